//! Weights: checkpoints read and written, renamed, bound to a net's parameters, and made from a seed.
//!
//! In goes a `.safetensors` file or a PyTorch `.pth`/`.pt` (the zip container or the older one), told apart by content.
//! Out comes a [`Checkpoint`]: names and [`StoredTensor`]s that are windows on the mapped file, so that `f32` weights
//! are used where they lie. [`Rename`] changes names, [`bind`](fn@bind) matches them against what a net wants and
//! reports every disagreement at once, [`init`](fn@init) makes seeded weights instead. [`Checkpoint::write`] writes either
//! form again, [`compare`](fn@compare) says how two checkpoints differ, [`statistics`] what numbers a tensor has.
//!
//! Pickles are read by a machine that knows tensors and plain containers and executes nothing. No file, however
//! hostile, makes any of this panic, hang, or take memory that its size does not explain. Tests: here,
//! `tests/weights.rs` and `tests/reference/weights/`, which holds files that PyTorch wrote.

mod archive;
mod bind;
mod cast;
mod compare;
mod error;
mod glob;
mod globals;
mod init;
mod machine;
mod near;
mod params;
mod pickle;
mod pth;
mod rename;
mod safetensors;
mod statistics;
mod stored;
mod write;
mod write_pth;
mod write_safetensors;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

pub use crate::kernel::map::Bytes;
pub use bind::{BindError, BindOptions, Bound, Misshapen, Unmatched, Wanted, bind};
pub use cast::Float;
pub use compare::{Comparison, Pair, compare};
pub use error::WeightsError;
pub use glob::matches;
pub use init::{InitSpec, Scheme, init};
pub use near::meant;
pub use params::{Parameter, parameters};
pub use rename::Rename;
pub use statistics::{Statistics, statistics};
pub use stored::{Dtype, NonFinite, StoredTensor};
pub use write::WriteOptions;

/// How a checkpoint is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenOptions {
    /// Whether the file is mapped rather than copied; see [`Bytes`] for what mapping asks of the file.
    pub mapped: bool,
}

impl Default for OpenOptions {
    fn default() -> Self {
        OpenOptions { mapped: true }
    }
}

/// A form of checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A safetensors file.
    Safetensors,
    /// PyTorch's zip container, written since 1.6.
    PthZip,
    /// PyTorch's older container: pickles, then storages.
    PthLegacy,
    /// Put together in memory.
    Memory,
}

impl Format {
    /// `safetensors`, `pth-zip`, `pth-legacy` or `memory`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Format::Safetensors => "safetensors",
            Format::PthZip => "pth-zip",
            Format::PthLegacy => "pth-legacy",
            Format::Memory => "memory",
        }
    }
}

/// Named tensors in the order of their file.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    names: Vec<String>,
    tensors: Vec<StoredTensor>,
    positions: HashMap<String, usize>,
    path: PathBuf,
    format: Format,
    unwrapped: Vec<String>,
    skipped: usize,
    metadata: BTreeMap<String, String>,
}

impl Default for Checkpoint {
    fn default() -> Self {
        Checkpoint::new()
    }
}

impl Checkpoint {
    /// One without tensors.
    #[must_use]
    pub fn new() -> Checkpoint {
        Checkpoint {
            names: Vec::new(),
            tensors: Vec::new(),
            positions: HashMap::new(),
            path: PathBuf::new(),
            format: Format::Memory,
            unwrapped: Vec::new(),
            skipped: 0,
            metadata: BTreeMap::new(),
        }
    }

    /// What the file says beside its tensors, such as the names of classes.
    #[must_use]
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Says something beside the tensors.
    pub fn set_metadata(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.metadata.insert(key.into(), value.into());
    }

    /// Reads the file at `path`, whatever its extension.
    ///
    /// # Errors
    /// Where it cannot be read, is of no known format, is damaged, or holds what is refused: see [`WeightsError`].
    pub fn open(path: &Path, options: &OpenOptions) -> Result<Checkpoint, WeightsError> {
        let bytes =
            Bytes::open(path, options.mapped).map_err(|source| WeightsError::Read { path: path.to_owned(), source })?;
        Checkpoint::from_bytes(&bytes, path)
    }

    /// Reads the content of a file; `path` is only what errors call it.
    ///
    /// # Errors
    /// As [`Checkpoint::open`], without those of the operating system.
    pub fn from_bytes(bytes: &Bytes, path: &Path) -> Result<Checkpoint, WeightsError> {
        let checkpoint = match recognise(bytes) {
            Ok(read) => read(bytes, path)?,
            Err((found, help)) => {
                return Err(WeightsError::Format { path: path.to_owned(), found: found.into(), help: help.into() });
            }
        };
        Ok(Checkpoint { path: path.to_owned(), ..checkpoint })
    }

    /// Adds a tensor behind the others; `false`, and nothing is changed, where the name is taken.
    pub fn insert(&mut self, name: impl Into<String>, tensor: StoredTensor) -> bool {
        let name = name.into();
        if self.positions.contains_key(&name) {
            return false;
        }
        self.positions.insert(name.clone(), self.names.len());
        self.names.push(name);
        self.tensors.push(tensor);
        true
    }

    /// The tensor of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&StoredTensor> {
        self.positions.get(name).map(|&i| &self.tensors[i])
    }

    /// Names and tensors in the order of the file.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &StoredTensor)> {
        self.names.iter().map(String::as_str).zip(&self.tensors)
    }

    /// How many tensors there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The file it was read from; empty where it was put together in memory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The form it was read from.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// What stood around the names and was taken off: dictionary keys such as `state_dict`, and `module.` last.
    #[must_use]
    pub fn unwrapped(&self) -> &[String] {
        &self.unwrapped
    }

    /// How many entries beside the tensors were left out because they are none (epochs, settings, metadata).
    #[must_use]
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    /// Every tensor that has a NaN or an infinity, with the first place.
    #[must_use]
    pub fn non_finite(&self) -> Vec<NonFinite> {
        self.iter().filter_map(|(name, tensor)| tensor.non_finite(name)).collect()
    }
}

type Reader = fn(&Bytes, &Path) -> Result<Checkpoint, WeightsError>;

/// The reader for what begins with these bytes, or what the content looks like and what to do about that.
fn recognise(bytes: &[u8]) -> Result<Reader, (&'static str, &'static str)> {
    const SAVE: &str =
        "give a .safetensors file, or a .pth that torch.save(model.state_dict(), …) or safetensors wrote";
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") {
        return Ok(pth::read_zip);
    }
    // A header of 128 bytes more than a multiple of 256 begins like a pickle, but its length ends in zeros.
    if bytes.get(8) == Some(&b'{') && bytes[4..8] == [0; 4] {
        return Ok(safetensors::read);
    }
    if bytes.first() == Some(&0x80) {
        return Ok(pth::read_legacy);
    }
    if bytes.get(8) == Some(&b'{') {
        return Ok(safetensors::read);
    }
    if bytes.is_empty() {
        return Err(("the file is empty", "fetch or save the file again"));
    }
    if bytes.starts_with(b"version https://git-lfs") {
        return Err(("a Git LFS pointer, not the weights it points to", "run `git lfs pull` where the file came from"));
    }
    if bytes.starts_with(b"\x89HDF\r\n\x1a\n") {
        return Err(("an HDF5 file (Keras), which is not read", "save the weights as safetensors"));
    }
    if bytes.starts_with(b"\x93NUMPY") {
        return Err(("a NumPy array, which has no parameter names", "save the weights as safetensors"));
    }
    let start = bytes.trim_ascii_start();
    if start.first() == Some(&b'<') {
        return Err(("a web page or XML, not weights", "look into the file: the download probably failed"));
    }
    Err(("neither safetensors nor a PyTorch checkpoint", SAVE))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_keep_their_order_and_are_unique() {
        let mut checkpoint = Checkpoint::new();
        let tensor = |v| StoredTensor::from_f32(vec![1], vec![v]).unwrap();
        assert!(checkpoint.insert("b", tensor(1.0)));
        assert!(checkpoint.insert("a", tensor(2.0)));
        assert!(!checkpoint.insert("b", tensor(3.0)));
        assert_eq!(checkpoint.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["b", "a"]);
        assert_eq!(checkpoint.get("b").unwrap().to_f32()[0], 1.0);
        assert_eq!((checkpoint.len(), checkpoint.get("c").is_none()), (2, true));
    }

    #[test]
    fn what_is_not_weights_is_named() {
        let cases: [(&[u8], &str); 7] = [
            (b"", "the file is empty"),
            (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
            (b"\n <!DOCTYPE html>", "a web page"),
            (b"\x89HDF\r\n\x1a\n....", "HDF5"),
            (b"\x93NUMPY\x01\x00", "NumPy"),
            (b"hello", "neither safetensors nor"),
            (b"\x08\x03\x12\x07pytorch", "neither safetensors nor"),
        ];
        for (content, expected) in cases {
            let error = Checkpoint::from_bytes(&Bytes::from(content.to_vec()), Path::new("w.bin")).unwrap_err();
            let text = error.to_string();
            assert!(text.starts_with("w.bin: ") && text.contains(expected) && text.contains("help:"), "{text}");
        }
    }

    #[test]
    fn checkpoints_cross_threads() {
        fn shared<T: Send + Sync + 'static>() {}
        shared::<Checkpoint>();
        shared::<WeightsError>();
        shared::<BindError>();
    }
}
