//! Packed weights in files.
//!
//! A file is named after a hash of all that its contents depend on: the weights, how each layer is packed, and the
//! version of that. It is written aside and renamed, so that a reader meets a whole file or none and the last of several
//! writers stays. Its head says the hash of the name, the length and a hash of the contents; a file that is anything
//! else is packed anew and replaced. What is read is a copy: nothing happens when the file is changed later.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::data::{DataError, write_atomic};
use crate::kernel::buffer::Buffer;
use crate::kernel::map::{bytes_of, bytes_of_mut};
use crate::opt::values::Tensors;

/// Counts the ways in which weights have been packed: to be raised with every change of an order in memory.
const VERSION: u32 = 1;
/// What each file begins with.
const MAGIC: &[u8; 16] = b"netc packed f32\n";
/// Magic, key, floats, hash of the contents.
const HEAD: usize = 48;

/// What became of the file that keeps packed weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// None was wanted.
    Off,
    /// The weights are from the file.
    Found,
    /// The weights were packed and the file has been written.
    Written,
    /// The weights were packed, but the file cannot be written.
    Failed(String),
}

/// A hash of all that packed weights depend on.
pub(super) fn key(packings: &str, tensors: &Tensors) -> u128 {
    let mut hash = Xxh3::new();
    let mut add = |bytes: &[u8]| {
        hash.update(&(bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    add(&VERSION.to_le_bytes());
    add(&[u8::from(cfg!(target_endian = "big"))]);
    add(packings.as_bytes());
    for (name, tensor) in tensors {
        add(name.as_bytes());
        add(format!("{:?} {:?}", tensor.dtype(), tensor.shape()).as_bytes());
        add(&tensor.bytes());
    }
    hash.digest128()
}

fn path(folder: &Path, key: u128) -> PathBuf {
    folder.join(format!("{key:032x}.packed"))
}

fn head(key: u128, packed: &[f32]) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[..16].copy_from_slice(MAGIC);
    head[16..32].copy_from_slice(&key.to_le_bytes());
    head[32..40].copy_from_slice(&(packed.len() as u64).to_le_bytes());
    head[40..].copy_from_slice(&xxh3_64(bytes_of(packed)).to_le_bytes());
    head
}

/// The packed weights of the folder's file; where it has no sound one they are made, and kept.
pub(super) fn find_or_make(folder: &Path, key: u128, floats: usize, make: impl FnOnce() -> Buffer) -> (Buffer, Kept) {
    if let Some(packed) = read(folder, key, floats) {
        return (packed, Kept::Found);
    }
    let packed = make();
    let kept = match write(folder, key, &packed) {
        Ok(()) => Kept::Written,
        Err(error) => Kept::Failed(error.to_string()),
    };
    (packed, kept)
}

/// The packed weights, where the folder has a sound file of them.
fn read(folder: &Path, key: u128, floats: usize) -> Option<Buffer> {
    let mut file = File::open(path(folder, key)).ok()?;
    let length = (HEAD + floats * size_of::<f32>()) as u64;
    if file.metadata().ok()?.len() != length {
        return None;
    }
    let (mut found, mut packed) = ([0; HEAD], Buffer::zeros(floats));
    file.read_exact(&mut found).ok()?;
    file.read_exact(bytes_of_mut(&mut packed)).ok()?;
    (found == head(key, &packed)).then_some(packed)
}

/// Keeps packed weights.
fn write(folder: &Path, key: u128, packed: &[f32]) -> Result<(), DataError> {
    fs::create_dir_all(folder).map_err(DataError::io("write", folder))?;
    write_atomic(path(folder, key), |out| {
        out.write_all(&head(key, packed))?;
        out.write_all(bytes_of(packed))
    })
}
