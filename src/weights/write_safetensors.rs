//! Writes safetensors.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use ::safetensors::tensor::Dtype as Written;

use super::write::{Entry, entries, to_file};
use super::{Checkpoint, Dtype, WeightsError, WriteOptions};

/// The key of the header that is no tensor.
const RESERVED: &str = "__metadata__";

impl Checkpoint {
    /// Writes the tensors as they are to the safetensors file at `path`, with its metadata and `format: pt`.
    ///
    /// The order is that of the reference implementation: the widest numbers first, which keeps all aligned, then by
    /// name; the same tensors always give the same bytes. An existing file is replaced only once the new one is whole,
    /// so a checkpoint may be written over the file it is mapped from.
    ///
    /// # Errors
    /// Where the file cannot be written, or a tensor is called `__metadata__`, which the format reserves.
    pub fn write_safetensors(&self, path: &Path) -> Result<(), WeightsError> {
        write(self, path, &WriteOptions::default())
    }
}

pub(super) fn write(checkpoint: &Checkpoint, path: &Path, options: &WriteOptions) -> Result<(), WeightsError> {
    let mut entries = entries(checkpoint, options);
    entries.sort_by_key(|entry| (std::cmp::Reverse(written(entry.dtype)), entry.name));
    to_file(path, |out| {
        let header = header(&entries, checkpoint.metadata())?;
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(&header)?;
        entries.iter().try_for_each(|entry| out.write_all(&entry.bytes()?))
    })
}

/// The header, padded with blanks to a multiple of 8 bytes.
fn header(tensors: &[Entry], metadata: &BTreeMap<String, String>) -> io::Result<Vec<u8>> {
    let mut end = 0;
    let mut metadata = metadata.clone();
    metadata.insert("format".to_owned(), "pt".to_owned());
    let mut entries = serde_json::Map::from_iter([(RESERVED.to_owned(), serde_json::json!(metadata))]);
    for entry in tensors {
        if entry.name == RESERVED {
            return Err(entry.refused("safetensors reserves this name".to_owned(), "give it another with a rename"));
        }
        let start = end;
        end += entry.size();
        let (dtype, shape) = (entry.dtype.name(), entry.tensor.shape());
        let info = serde_json::json!({"dtype": dtype, "shape": shape, "data_offsets": [start, end]});
        entries.insert(entry.name.to_owned(), info);
    }
    let mut header = serde_json::to_vec(&entries)?;
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok(header)
}

fn written(dtype: Dtype) -> Written {
    match dtype {
        Dtype::F32 => Written::F32,
        Dtype::F16 => Written::F16,
        Dtype::BF16 => Written::BF16,
        Dtype::F64 => Written::F64,
        Dtype::I64 => Written::I64,
        Dtype::I32 => Written::I32,
        Dtype::I16 => Written::I16,
        Dtype::I8 => Written::I8,
        Dtype::U8 => Written::U8,
        Dtype::Bool => Written::BOOL,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::write::tests::{same, sample};
    use super::super::{OpenOptions, StoredTensor};
    use super::*;
    use std::borrow::Cow;

    #[test]
    fn what_is_written_is_read_back_by_both_readers() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w.safetensors");
        let checkpoint = sample();
        checkpoint.write_safetensors(&path).unwrap();
        let back = Checkpoint::open(&path, &OpenOptions::default()).unwrap();
        let content = std::fs::read(&path).unwrap();
        let reference = ::safetensors::SafeTensors::deserialize(&content).unwrap();
        assert_eq!((back.len(), reference.len()), (checkpoint.len(), checkpoint.len()));
        same(&checkpoint, &back);
        for (name, tensor) in checkpoint.iter() {
            assert_eq!(&tensor.bytes()[..], reference.tensor(name).unwrap().data());
        }
        assert!(matches!(back.get("t0").unwrap().to_f32(), Cow::Borrowed(_)));
    }

    #[test]
    fn the_bytes_depend_on_the_tensors_only() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        let checkpoint = sample();
        let mut shuffled = Checkpoint::new();
        shuffled.set_metadata("classes", "cat\ndog");
        for (name, tensor) in checkpoint.iter().collect::<Vec<_>>().into_iter().rev() {
            shuffled.insert(name, tensor.clone());
        }
        checkpoint.write_safetensors(&a).unwrap();
        shuffled.write_safetensors(&b).unwrap();
        assert_eq!(std::fs::read(a).unwrap(), std::fs::read(b).unwrap());
    }

    #[test]
    fn a_mapped_checkpoint_can_be_written_over_its_own_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w.safetensors");
        sample().write_safetensors(&path).unwrap();
        let before = std::fs::read(&path).unwrap();
        let mapped = Checkpoint::open(&path, &OpenOptions { mapped: true }).unwrap();
        mapped.write_safetensors(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), before);
        assert_eq!(mapped.get("a.scalar").unwrap().to_f32()[0], 1.5);
    }

    #[test]
    fn a_failure_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w.safetensors");
        std::fs::write(&path, b"old").unwrap();
        let mut checkpoint = sample();
        checkpoint.insert("__metadata__", StoredTensor::from_f32(vec![1], vec![1.0]).unwrap());
        let error = checkpoint.write_safetensors(&path).unwrap_err().to_string();
        assert!(error.contains("cannot write") && error.contains("__metadata__"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(sample().write_safetensors(&dir.path().join("no/such/dir/w")).is_err());
    }
}
