//! Writes checkpoints, in the form that the extension of a file's name says.

use std::borrow::Cow;
use std::io::{self, Write};
use std::path::Path;

use super::cast::{Float, cast};
use super::error::show;
use super::{Checkpoint, Dtype, Format, StoredTensor, WeightsError, write_pth, write_safetensors};
use crate::data::{DataError, write_atomic};

/// How a checkpoint is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// The type of all floating numbers, rounded to the nearest; `None` leaves each as it is. Integers and booleans stay.
    pub float: Option<Float>,
}

impl Format {
    /// The form in which a file of this name is written: `.safetensors`, or `.pth` and `.pt`.
    ///
    /// # Errors
    /// Where the extension is another one, or there is none.
    pub fn to_write(path: &Path) -> Result<Format, WeightsError> {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        match extension.to_ascii_lowercase().as_str() {
            "safetensors" => Ok(Format::Safetensors),
            "pth" | "pt" => Ok(Format::PthZip),
            _ => Err(WeightsError::Extension { path: path.to_owned() }),
        }
    }
}

impl Checkpoint {
    /// Writes the tensors and the metadata to the file at `path`, as safetensors or for PyTorch: see
    /// [`Format::to_write`].
    ///
    /// The same tensors always give the same bytes. Tensors are written one by one; no second copy of all is held. An
    /// existing file is replaced only once the new one is whole, so a checkpoint may be written over the file that it
    /// is mapped from.
    ///
    /// ```
    /// use netc::weights::{Checkpoint, Dtype, Float, OpenOptions, StoredTensor, WriteOptions};
    ///
    /// let mut weights = Checkpoint::new();
    /// weights.insert("fc.bias", StoredTensor::from_f32(vec![2], vec![0.5, -2.0]).ok_or("sizes")?);
    /// let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("half.pth");
    /// weights.write(&path, &WriteOptions { float: Some(Float::F16) })?;
    ///
    /// let back = Checkpoint::open(&path, &OpenOptions::default())?;
    /// let bias = back.get("fc.bias").ok_or("lost")?;
    /// assert_eq!((bias.dtype(), bias.to_f32().to_vec()), (Dtype::F16, vec![0.5, -2.0]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Where the extension is unknown, the file cannot be written, the form has no place for a tensor, or a number is
    /// beyond the range of the type asked for.
    pub fn write(&self, path: &Path, options: &WriteOptions) -> Result<(), WeightsError> {
        match Format::to_write(path)? {
            Format::Safetensors => write_safetensors::write(self, path, options),
            Format::PthZip | Format::PthLegacy | Format::Memory => write_pth::write(self, path, options),
        }
    }
}

/// A tensor to be written.
pub(super) struct Entry<'c> {
    pub(super) name: &'c str,
    pub(super) tensor: &'c StoredTensor,
    /// The type to be written in.
    pub(super) dtype: Dtype,
    cast: Option<Float>,
}

/// All tensors, in the order of the checkpoint.
pub(super) fn entries<'c>(checkpoint: &'c Checkpoint, options: &WriteOptions) -> Vec<Entry<'c>> {
    let entry = |(name, tensor): (&'c str, &'c StoredTensor)| {
        let cast = options.float.filter(|&to| tensor.dtype().is_float() && tensor.dtype() != Dtype::from(to));
        Entry { name, tensor, dtype: cast.map_or(tensor.dtype(), Dtype::from), cast }
    };
    checkpoint.iter().map(entry).collect()
}

impl<'c> Entry<'c> {
    /// How many bytes are written.
    pub(super) fn size(&self) -> usize {
        self.tensor.len() * self.dtype.size()
    }

    /// The numbers to be written.
    pub(super) fn bytes(&self) -> io::Result<Cow<'c, [u8]>> {
        let bytes = self.tensor.bytes();
        let Some(to) = self.cast else { return Ok(bytes) };
        let cast = cast(self.tensor.dtype(), &bytes, to);
        cast.map(Cow::Owned).map_err(|error| {
            let index = self.tensor.index_of(error.at);
            let problem =
                format!("{:?} at {index:?} is beyond the range of {}, {:e}", error.value, self.dtype, to.largest());
            self.refused(problem, "choose a wider type; BF16 reaches as far as F32")
        })
    }

    /// That this tensor cannot be written, as an error that [`to_file`] unwraps.
    pub(super) fn refused(&self, problem: String, help: &str) -> io::Error {
        let (tensor, help) = (show(self.name), help.to_owned());
        io::Error::other(WeightsError::Unwritable { path: Default::default(), tensor, problem, help })
    }
}

/// Writes a file aside and renames it.
pub(super) fn to_file(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), WeightsError> {
    write_atomic(path, fill).map_err(|error| match error {
        DataError::Io { source, file, action } => match source.downcast::<WeightsError>() {
            Ok(WeightsError::Unwritable { tensor, problem, help, .. }) => {
                WeightsError::Unwritable { path: path.to_owned(), tensor, problem, help }
            }
            Ok(other) => other,
            Err(source) => WeightsError::Write(DataError::Io { source, file, action }),
        },
        other => WeightsError::Write(other),
    })
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{Bytes, OpenOptions};
    use super::*;

    /// A tensor of every type, one without axes, one without numbers, and metadata.
    pub(in super::super) fn sample() -> Checkpoint {
        let mut checkpoint = Checkpoint::new();
        for (i, dtype) in Dtype::ALL.into_iter().enumerate() {
            let bytes = (0..3 * dtype.size()).map(|b| (b + i) as u8).collect::<Vec<u8>>();
            checkpoint.insert(format!("t{i}"), StoredTensor::new(dtype, vec![3], Bytes::from(bytes)).unwrap());
        }
        checkpoint.insert("a.scalar", StoredTensor::from_f32(vec![], vec![1.5]).unwrap());
        checkpoint.insert("a.empty", StoredTensor::from_f32(vec![2, 0], vec![]).unwrap());
        checkpoint.set_metadata("classes", "cat\ndog");
        checkpoint
    }

    /// That both have the same tensors, bit for bit.
    #[track_caller]
    pub(in super::super) fn same(a: &Checkpoint, b: &Checkpoint) {
        assert_eq!(a.len(), b.len());
        for (name, tensor) in a.iter() {
            let other = b.get(name).unwrap();
            assert_eq!((other.dtype(), other.shape()), (tensor.dtype(), tensor.shape()), "{name}");
            assert_eq!(other.bytes(), tensor.bytes(), "{name}");
        }
    }

    #[test]
    fn the_extension_says_the_form() {
        let form = |name: &str| Format::to_write(Path::new(name));
        assert_eq!(form("a/w.safetensors").unwrap(), Format::Safetensors);
        assert_eq!((form("w.pth").unwrap(), form("w.PT").unwrap()), (Format::PthZip, Format::PthZip));
        for name in ["w", "w.bin", "w.pth.gz", ".pth"] {
            let error = form(name).unwrap_err().to_string();
            assert!(error.starts_with(name) && error.contains("help: name it .safetensors, .pth or .pt"), "{error}");
        }
    }

    #[test]
    fn what_goes_around_comes_back_bit_for_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let open = |name: &str| Checkpoint::open(&path(name), &OpenOptions::default()).unwrap();
        let write = |checkpoint: &Checkpoint, name: &str| checkpoint.write(&path(name), &WriteOptions::default());
        write(&sample(), "a.safetensors").unwrap();
        write(&open("a.safetensors"), "b.pth").unwrap();
        write(&open("b.pth"), "c.safetensors").unwrap();
        same(&sample(), &open("c.safetensors"));
        assert_eq!(open("b.pth").metadata(), sample().metadata());
        assert_eq!(std::fs::read(path("a.safetensors")).unwrap(), std::fs::read(path("c.safetensors")).unwrap());
    }

    #[test]
    fn only_floating_numbers_change_their_type() {
        let folder = tempfile::tempdir().unwrap();
        let mut checkpoint = Checkpoint::new();
        checkpoint.insert("w", StoredTensor::from_f32(vec![3], vec![0.1, -0.0, 65504.0]).unwrap());
        checkpoint.insert("n", StoredTensor::new(Dtype::I64, vec![1], Bytes::from(vec![7; 8])).unwrap());
        for name in ["w.pth", "w.safetensors"] {
            let path = folder.path().join(name);
            checkpoint.write(&path, &WriteOptions { float: Some(Float::F16) }).unwrap();
            let back = Checkpoint::open(&path, &OpenOptions::default()).unwrap();
            assert_eq!(back.get("w").unwrap().dtype(), Dtype::F16);
            assert_eq!(back.get("w").unwrap().to_f32()[..], [half::f16::from_f32(0.1).to_f32(), -0.0, 65504.0]);
            assert_eq!(back.get("n").unwrap().bytes(), checkpoint.get("n").unwrap().bytes());
        }
    }

    #[test]
    fn a_number_beyond_the_range_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut checkpoint = Checkpoint::new();
        checkpoint.insert("fc.w", StoredTensor::from_f32(vec![2, 2], vec![1.0, 2.0, 1e6, 3.0]).unwrap());
        for name in ["w.pth", "w.safetensors"] {
            let path = folder.path().join(name);
            std::fs::write(&path, b"old").unwrap();
            let error = checkpoint.write(&path, &WriteOptions { float: Some(Float::F16) }).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("`fc.w`: 1000000.0 at [1, 0] is beyond"), "{error}");
            assert!(error.contains("of F16, 6.5504e4\n  help: choose a wider type"), "{error}");
            assert_eq!(std::fs::read(&path).unwrap(), b"old");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
