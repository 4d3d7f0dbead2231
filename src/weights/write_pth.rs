//! Writes what `torch.save(state_dict, …)` of today's PyTorch does: a zip archive of stored entries, the numbers of
//! each at a multiple of 64 bytes, with a pickle that says which tensor is where.
//!
//! Metadata becomes an attribute of the dictionary, `torch.load(…).metadata`, which `load_state_dict` does not look at.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use ::zip::write::SimpleFileOptions;
use ::zip::{CompressionMethod, DateTime, System, ZipWriter};

use super::write::{Entry, entries, to_file};
use super::{Checkpoint, Dtype, WeightsError, WriteOptions};

/// The attribute of the dictionary that holds metadata.
pub(super) const METADATA: &str = "metadata";
/// PyTorch's own alignment.
const ALIGNMENT: u16 = 64;
/// From here on sizes need the longer fields of a zip archive.
const LARGE: usize = u32::MAX as usize;

impl Checkpoint {
    /// Writes the tensors as they are to the file at `path`, as `torch.save` writes a state dict: PyTorch's
    /// `torch.load(path, weights_only=True)` reads it, and so does [`Checkpoint::open`].
    ///
    /// Tensors keep their order; views become tensors of their own. The same tensors always give the same bytes. An
    /// existing file is replaced only once the new one is whole.
    ///
    /// # Errors
    /// Where the file cannot be written, or a tensor without numbers has sizes that PyTorch cannot count.
    pub fn write_pth(&self, path: &Path) -> Result<(), WeightsError> {
        write(self, path, &WriteOptions::default())
    }
}

pub(super) fn write(checkpoint: &Checkpoint, path: &Path, options: &WriteOptions) -> Result<(), WeightsError> {
    let entries = entries(checkpoint, options);
    to_file(path, |out| {
        let pickle = state_dict(&entries, checkpoint.metadata())?;
        let mut zip = ZipWriter::new_stream(out);
        let mut add = |name: &str, content: &[u8]| -> io::Result<()> {
            let options = stored().large_file(LARGE <= content.len());
            zip.start_file(format!("archive/{name}"), options)?;
            zip.write_all(content)
        };
        add("data.pkl", &pickle)?;
        add(".format_version", b"1")?;
        add(".storage_alignment", ALIGNMENT.to_string().as_bytes())?;
        add("byteorder", b"little")?;
        for (key, entry) in entries.iter().enumerate() {
            add(&format!("data/{key}"), &entry.bytes()?)?;
        }
        add("version", b"3\n")?;
        zip.finish()?;
        Ok(())
    })
}

/// The same whatever the time and the machine.
fn stored() -> SimpleFileOptions {
    SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(DateTime::default())
        .system(System::Unix)
        .unix_permissions(0o644)
        .with_alignment(ALIGNMENT)
}

/// The pickle of an `OrderedDict` of tensors, the storage of each called by its place.
fn state_dict(entries: &[Entry], metadata: &BTreeMap<String, String>) -> io::Result<Vec<u8>> {
    let mut pickler = Pickler { bytes: b"\x80\x02".to_vec(), kept: Vec::new() };
    pickler.ordered_dict();
    pickler.code(b"(");
    for (key, entry) in entries.iter().enumerate() {
        let strides = strides(entry.tensor.shape()).ok_or_else(|| {
            let problem = format!("its sizes {:?} multiply to more than PyTorch counts", entry.tensor.shape());
            entry.refused(problem, "write it as .safetensors, or leave it out")
        })?;
        pickler.text(entry.name);
        pickler.once(b"ctorch._utils\n_rebuild_tensor_v2\n");
        pickler.code(b"((");
        pickler.once(b"X\x07\0\0\0storage");
        pickler.once(storage(entry.dtype));
        pickler.text(&key.to_string());
        pickler.once(b"X\x03\0\0\0cpu");
        pickler.count(entry.tensor.len() as u64);
        // The storage is complete; it begins with the tensor's first number.
        pickler.code(b"tQK\0");
        pickler.counts(entry.tensor.shape());
        pickler.counts(&strides);
        // No gradient is wanted, and there are no hooks.
        pickler.code(b"\x89");
        pickler.ordered_dict();
        pickler.code(b"tR");
    }
    pickler.code(b"u");
    // What a safetensors file says of itself is no news of the tensors.
    let said: Vec<_> =
        metadata.iter().filter(|(key, value)| (key.as_str(), value.as_str()) != ("format", "pt")).collect();
    if !said.is_empty() {
        pickler.code(b"}");
        pickler.text(METADATA);
        pickler.code(b"}(");
        said.iter().for_each(|(key, value)| {
            pickler.text(key);
            pickler.text(value);
        });
        pickler.code(b"usb");
    }
    pickler.code(b".");
    Ok(pickler.bytes)
}

/// Of a tensor in row-major order, axes of size 0 counted as 1; `None` beyond 64 bits with a sign.
fn strides(shape: &[u64]) -> Option<Vec<u64>> {
    let mut strides = vec![0; shape.len()];
    let mut product = 1u64;
    for (stride, &size) in strides.iter_mut().zip(shape).rev() {
        *stride = product;
        product = product.checked_mul(size.max(1)).filter(|&product| i64::try_from(product).is_ok())?;
    }
    Some(strides)
}

/// The class of a typed storage, as an instruction.
fn storage(dtype: Dtype) -> &'static [u8] {
    match dtype {
        Dtype::F32 => b"ctorch\nFloatStorage\n",
        Dtype::F16 => b"ctorch\nHalfStorage\n",
        Dtype::BF16 => b"ctorch\nBFloat16Storage\n",
        Dtype::F64 => b"ctorch\nDoubleStorage\n",
        Dtype::I64 => b"ctorch\nLongStorage\n",
        Dtype::I32 => b"ctorch\nIntStorage\n",
        Dtype::I16 => b"ctorch\nShortStorage\n",
        Dtype::I8 => b"ctorch\nCharStorage\n",
        Dtype::U8 => b"ctorch\nByteStorage\n",
        Dtype::Bool => b"ctorch\nBoolStorage\n",
    }
}

/// Instructions of protocol 2, as in CPython's `Lib/pickletools.py`.
struct Pickler {
    bytes: Vec<u8>,
    /// The instructions whose values are kept in the memo, by place.
    kept: Vec<&'static [u8]>,
}

impl Pickler {
    fn code(&mut self, code: &[u8]) {
        self.bytes.extend_from_slice(code);
    }

    /// The value of an instruction, which is kept the first time and recalled from then on.
    fn once(&mut self, code: &'static [u8]) {
        // There are fewer such instructions than a byte counts: classes of storages and five more.
        match self.kept.iter().position(|&kept| kept == code) {
            Some(place) => self.code(&[b'h', place as u8]),
            None => {
                self.code(code);
                self.code(&[b'q', self.kept.len() as u8]);
                self.kept.push(code);
            }
        }
    }

    fn ordered_dict(&mut self) {
        self.once(b"ccollections\nOrderedDict\n");
        self.code(b")R");
    }

    fn text(&mut self, text: &str) {
        self.code(b"X");
        // Names come from headers, which are shorter than 4 GiB.
        self.code(&(text.len() as u32).to_le_bytes());
        self.code(text.as_bytes());
    }

    fn count(&mut self, count: u64) {
        let bytes = count.to_le_bytes();
        match count {
            0..0x100 => self.code(&[b'K', bytes[0]]),
            0x100..0x1_0000 => self.code(&[b'M', bytes[0], bytes[1]]),
            0x1_0000..0x8000_0000 => self.code(&[b"J", &bytes[..4]].concat()),
            _ => self.code(&[b"\x8a\x08", &bytes[..]].concat()),
        }
    }

    fn counts(&mut self, counts: &[u64]) {
        self.code(b"(");
        counts.iter().for_each(|&count| self.count(count));
        self.code(b"t");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::write::tests::{same, sample};
    use super::super::{Bytes, Format, OpenOptions, StoredTensor};
    use super::*;

    fn written(checkpoint: &Checkpoint) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.pth");
        checkpoint.write_pth(&path).unwrap();
        std::fs::read(path).unwrap()
    }

    fn read(content: Vec<u8>) -> Checkpoint {
        Checkpoint::from_bytes(&Bytes::from(content), Path::new("w.pth")).unwrap()
    }

    #[test]
    fn what_is_written_is_read_back_in_order() {
        let checkpoint = sample();
        let back = read(written(&checkpoint));
        same(&checkpoint, &back);
        let names = |checkpoint: &Checkpoint| checkpoint.iter().map(|(name, _)| name.to_owned()).collect::<Vec<_>>();
        assert_eq!(names(&back), names(&checkpoint));
        assert_eq!((back.format(), back.metadata()), (Format::PthZip, checkpoint.metadata()));
        assert_eq!((back.skipped(), back.unwrapped().len()), (0, 0));
    }

    #[test]
    fn the_bytes_are_always_the_same() {
        assert_eq!(written(&sample()), written(&sample()));
        assert!(read(written(&Checkpoint::new())).is_empty());
    }

    #[test]
    fn numbers_lie_at_multiples_of_64_bytes() {
        let content = written(&sample());
        let mut zip = ::zip::ZipArchive::new(std::io::Cursor::new(content)).unwrap();
        for at in 0..zip.len() {
            let entry = zip.by_index(at).unwrap();
            assert_eq!(entry.compression(), CompressionMethod::Stored);
            assert_eq!(entry.data_start().unwrap() % 64, 0, "{:?}", entry.name());
        }
    }

    #[test]
    fn views_are_written_in_order_of_their_rows() {
        let storage = Bytes::from(vec![0.0f32, 1.0, 2.0, 3.0, 4.0, 5.0]);
        let mut checkpoint = Checkpoint::new();
        checkpoint.insert("w", StoredTensor::view(Dtype::F32, vec![3, 2], &[1, 3], 0, &storage).unwrap());
        assert_eq!(read(written(&checkpoint)).get("w").unwrap().to_f32()[..], [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    }

    #[test]
    fn counts_of_every_width_are_read_back() {
        let sizes = [0, 255, 256, 65_535, 65_536, 0x7fff_ffff, 0x8000_0000, 1 << 40, i64::MAX as u64];
        let mut checkpoint = Checkpoint::new();
        for size in sizes {
            let tensor = StoredTensor::from_f32(vec![0, size], vec![]).unwrap();
            checkpoint.insert(size.to_string(), tensor);
        }
        same(&checkpoint, &read(written(&checkpoint)));
    }

    #[test]
    fn sizes_beyond_counting_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        for shape in [vec![0, u64::MAX], vec![1 << 40, 1 << 40, 0]] {
            let mut checkpoint = Checkpoint::new();
            checkpoint.insert("odd", StoredTensor::from_f32(shape, vec![]).unwrap());
            let error = checkpoint.write_pth(&folder.path().join("w.pth")).unwrap_err().to_string();
            assert!(error.contains("w.pth: tensor `odd`: its sizes") && error.contains("help:"), "{error}");
        }
        let error = sample().write_pth(&folder.path().join("no/w.pth")).unwrap_err().to_string();
        assert!(error.contains("there is no such folder"), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_mapped_checkpoint_can_be_written_over_its_own_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.pth");
        sample().write_pth(&path).unwrap();
        let mapped = Checkpoint::open(&path, &OpenOptions { mapped: true }).unwrap();
        mapped.write_pth(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), written(&sample()));
    }
}
