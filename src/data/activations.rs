//! What the frozen layers of a net give for each image of a set, computed once and kept on disk.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use super::error::DataError;
use super::write_atomic;

/// The file of values: `f32`, little-endian, a row for each sample.
const VALUES: &str = "activations.f32";
/// The file that says what they are.
const ABOUT: &str = "activations.json";

/// Rows of values in a file.
#[derive(Debug)]
pub struct Activations {
    about: About,
    path: PathBuf,
    file: Mutex<File>,
}

/// Rows on their way into a file, which takes its place when all have been written.
#[derive(Debug)]
pub struct Writer {
    folder: PathBuf,
    file: BufWriter<NamedTempFile>,
    row: Vec<u8>,
}

impl Writer {
    /// Begins to write values for a folder; those that it has kept are gone.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn new(folder: &Path) -> Result<Writer, DataError> {
        let about = folder.join(ABOUT);
        // Without its description a file of values is none, so the two always belong together.
        if about.exists() {
            std::fs::remove_file(&about).map_err(DataError::io("write", &about))?;
        }
        let file = tempfile::Builder::new().prefix(".netc-").suffix(".tmp").tempfile_in(folder);
        let file = BufWriter::new(file.map_err(DataError::io("write", folder))?);
        Ok(Writer { folder: folder.to_path_buf(), file, row: Vec::new() })
    }

    /// Writes the values of the next sample.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn row(&mut self, values: &[f32]) -> Result<(), DataError> {
        self.row.clear();
        self.row.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        self.file.write_all(&self.row).map_err(DataError::io("write", &self.folder))
    }

    /// Ends the file and says what its values are.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(self, about: About) -> Result<Activations, DataError> {
        let path = self.folder.join(VALUES);
        let file = self.file.into_inner().map_err(|error| DataError::io("write", &path)(error.into_error()))?;
        file.persist(&path).map_err(|error| DataError::io("write", &path)(error.error))?;
        let text = serde_json::to_string_pretty(&about).unwrap_or_default();
        write_atomic(self.folder.join(ABOUT), |out| out.write_all(text.as_bytes()))?;
        Activations::open(&self.folder, about)
    }
}

/// What the values are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// A hash of all that they are computed from.
    pub key: String,
    /// Samples.
    pub count: usize,
    /// Values of a sample.
    pub floats: usize,
    /// Seconds that it took to compute them.
    pub seconds: f64,
    /// Images that could not be read, with the reason.
    pub skipped: BTreeMap<usize, String>,
}

impl Activations {
    /// The values that a folder keeps, where they have this key.
    pub fn kept(folder: &Path, key: &str) -> Option<Activations> {
        let about: About = serde_json::from_slice(&std::fs::read(folder.join(ABOUT)).ok()?).ok()?;
        let found = Activations::open(folder, about).ok()?;
        let bytes = found.about.count as u64 * found.row_bytes() as u64;
        let len = std::fs::metadata(&found.path).ok()?.len();
        (found.about.key == key && bytes == len).then_some(found)
    }

    fn open(folder: &Path, about: About) -> Result<Activations, DataError> {
        let path = folder.join(VALUES);
        let file = File::open(&path).map_err(DataError::io("read", &path))?;
        Ok(Activations { about, path, file: Mutex::new(file) })
    }

    /// What the values are.
    pub fn about(&self) -> &About {
        &self.about
    }

    fn row_bytes(&self) -> usize {
        4 * self.about.floats
    }

    /// Reads the values of a sample.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn row(&self, sample: usize, to: &mut [f32]) -> Result<(), DataError> {
        let mut bytes = vec![0; self.row_bytes()];
        let mut read = || {
            let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
            file.seek(SeekFrom::Start((sample * bytes.len()) as u64))?;
            file.read_exact(&mut bytes)
        };
        read().map_err(DataError::io("read", &self.path))?;
        for (to, bytes) in to.iter_mut().zip(bytes.chunks_exact(4)) {
            *to = f32::from_le_bytes(bytes.try_into().unwrap_or_default());
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_kept_under_their_key() {
        let folder = tempfile::tempdir().unwrap();
        let rows = [[1.0f32, -2.0, 3.5], [0.0, f32::MIN_POSITIVE, 1e9]];
        let about = About { key: "k".into(), count: 2, floats: 3, ..About::default() };
        let mut writer = Writer::new(folder.path()).unwrap();
        rows.iter().for_each(|values| writer.row(values).unwrap());
        let kept = writer.finish(about).unwrap();
        for found in [kept, Activations::kept(folder.path(), "k").unwrap()] {
            for sample in [1, 0] {
                let mut row = [0.0; 3];
                found.row(sample, &mut row).unwrap();
                assert_eq!(row, rows[sample]);
            }
        }
        assert!(Activations::kept(folder.path(), "other").is_none());
        // What is cut short, or given up, is not there.
        std::fs::write(folder.path().join(VALUES), [0; 23]).unwrap();
        assert!(Activations::kept(folder.path(), "k").is_none());
        drop(Writer::new(folder.path()).unwrap());
        assert!(Activations::kept(folder.path(), "k").is_none() && !folder.path().join(ABOUT).exists());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
