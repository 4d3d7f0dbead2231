//! Bytes of a file, mapped or copied, shared without copying: the crate's one memory map.

use std::fs::File;
use std::io::{self, Read};
use std::ops::{Deref, Range};
use std::path::Path;
use std::sync::Arc;

/// An immutable, cheaply cloned window on bytes that are a mapped file, a copied file or memory.
///
/// Clones and [slices](Bytes::slice) share the same bytes and keep them alive.
///
/// A mapped file must stay as it is while any window on it lives. The operating system lets others write to it: bytes
/// changed in place may then be seen changed, and where the file was cut short a read ends the process with a bus
/// error. Replacing the file by renaming another over it is safe. Where that cannot be promised (network drives, files
/// still being written), open with `mapped = false`, which copies.
#[derive(Clone)]
pub struct Bytes {
    memory: Arc<Memory>,
    start: usize,
    len: usize,
}

enum Memory {
    Mapped(memmap2::Mmap),
    Plain(Vec<u8>),
    Floats(Vec<f32>),
}

impl Bytes {
    /// The bytes of the file at `path`, mapped into memory or copied.
    ///
    /// # Errors
    /// Those of the operating system, and `InvalidInput` for what is not a regular file (a pipe or a device has no
    /// length that would bound the memory it takes).
    pub fn open(path: &Path, mapped: bool) -> io::Result<Bytes> {
        let not_a_file = || io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
        if !std::fs::metadata(path)?.is_file() {
            return Err(not_a_file());
        }
        let mut file = File::open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(not_a_file());
        }
        if mapped && metadata.len() > 0 {
            // SAFETY: the map is private and read-only, and lives as long as any window on it. That nobody else
            // changes the file meanwhile cannot be established here; it is the caller's promise, documented on
            // `Bytes`, and `mapped = false` is the way out for those who cannot give it.
            let map = unsafe { memmap2::MmapOptions::new().map_copy_read_only(&file)? };
            return Ok(Bytes::new(Memory::Mapped(map)));
        }
        let len = usize::try_from(metadata.len()).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(len).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
        (&mut file).take(metadata.len()).read_to_end(&mut bytes)?;
        Ok(Bytes::from(bytes))
    }

    fn new(memory: Memory) -> Bytes {
        let len = memory.as_slice().len();
        Bytes { memory: Arc::new(memory), start: 0, len }
    }

    /// The window of `range`, counted from the start of this one; `None` where it reaches beyond the end.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Option<Bytes> {
        (range.start <= range.end && range.end <= self.len).then(|| Bytes {
            memory: Arc::clone(&self.memory),
            start: self.start + range.start,
            len: range.end - range.start,
        })
    }

    /// Gives the memory of whole pages of a mapped file back to the system. They are read from the file again when they
    /// are next looked at; where the system has no way to do this, or the bytes are not mapped, nothing happens.
    pub fn release(&self) {
        #[cfg(target_os = "linux")]
        if let Memory::Mapped(map) = &*self.memory {
            // The system's pages; where they are larger, it refuses and nothing is lost.
            const PAGE: usize = 4096;
            let (first, end) = (self.start.next_multiple_of(PAGE), (self.start + self.len) / PAGE * PAGE);
            if first < end {
                // SAFETY: the map is private, of a file, and nobody writes to it, so that pages which are dropped are
                // read again with the same contents, as long as the file stays as it is (the promise of `Bytes`).
                let _ = unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, first, end - first) };
            }
        }
    }

    /// Whether the bytes are those of a memory map.
    #[must_use]
    pub fn is_mapped(&self) -> bool {
        matches!(*self.memory, Memory::Mapped(_))
    }
}

impl Memory {
    fn as_slice(&self) -> &[u8] {
        match self {
            Memory::Mapped(map) => map,
            Memory::Plain(bytes) => bytes,
            Memory::Floats(floats) => bytes_of(floats),
        }
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory.as_slice()[self.start..self.start + self.len]
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bytes({} of {})", self.len, self.memory.as_slice().len())
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Bytes {
        Bytes::new(Memory::Plain(bytes))
    }
}

impl From<Vec<f32>> for Bytes {
    /// The numbers as little-endian bytes; without a copy where the machine is little-endian.
    fn from(floats: Vec<f32>) -> Bytes {
        if cfg!(target_endian = "little") {
            Bytes::new(Memory::Floats(floats))
        } else {
            Bytes::from(floats.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())
        }
    }
}

/// The bytes of numbers, as they lie in memory.
#[must_use]
pub fn bytes_of(floats: &[f32]) -> &[u8] {
    // SAFETY: an initialised `f32` is four initialised bytes without padding, any alignment suits `u8`, and the length is
    // the slice's own, in bytes.
    unsafe { std::slice::from_raw_parts(floats.as_ptr().cast(), size_of_val(floats)) }
}

/// The bytes of numbers, to be written.
#[must_use]
pub fn bytes_of_mut(floats: &mut [f32]) -> &mut [u8] {
    // SAFETY: as above; the borrow is exclusive, and every pattern of four bytes is a valid `f32`.
    unsafe { std::slice::from_raw_parts_mut(floats.as_mut_ptr().cast(), size_of_val(floats)) }
}

/// The little-endian `f32` numbers that `bytes` are, without a copy.
///
/// `None` where the bytes are not aligned to 4, their number is not divisible by 4, or the machine is big-endian.
#[must_use]
pub fn as_f32(bytes: &[u8]) -> Option<&[f32]> {
    if cfg!(target_endian = "big") {
        return None;
    }
    // SAFETY: every pattern of four bytes is a valid `f32`; `align_to` takes care of alignment and length.
    let (before, floats, after) = unsafe { bytes.align_to::<f32>() };
    (before.is_empty() && after.is_empty()).then_some(floats)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::Write;

    fn file(content: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        file
    }

    #[test]
    fn mapped_and_copied_are_the_same_bytes() {
        let file = file(b"0123456789");
        let mapped = Bytes::open(file.path(), true).unwrap();
        let copied = Bytes::open(file.path(), false).unwrap();
        assert!(mapped.is_mapped() && !copied.is_mapped());
        assert_eq!(&mapped[..], b"0123456789");
        assert_eq!(&mapped[..], &copied[..]);
    }

    #[test]
    fn a_copy_survives_the_file_being_cut_short() {
        let file = file(b"0123456789");
        let copied = Bytes::open(file.path(), false).unwrap();
        file.as_file().set_len(0).unwrap();
        assert_eq!(&copied[..], b"0123456789");
    }

    #[test]
    fn released_pages_are_read_again() {
        let content: Vec<u8> = (0..50_000u32).map(|at| (at % 251) as u8).collect();
        let file = file(&content);
        for mapped in [true, false] {
            let bytes = Bytes::open(file.path(), mapped).unwrap();
            for range in [0..50_000, 1..1, 5000..5001, 4095..12_289, 100..49_999] {
                bytes.slice(range).unwrap().release();
                assert_eq!(&bytes[..], content);
            }
        }
    }

    #[test]
    fn an_empty_file_is_empty() {
        let file = file(b"");
        assert!(Bytes::open(file.path(), true).unwrap().is_empty());
        assert!(Bytes::open(file.path(), false).unwrap().is_empty());
    }

    #[test]
    fn a_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for mapped in [true, false] {
            assert_eq!(Bytes::open(dir.path(), mapped).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn slices_stay_inside_and_outlive_their_parent() {
        let bytes = Bytes::from(b"0123456789".to_vec());
        let inner = bytes.slice(2..8).unwrap();
        drop(bytes);
        assert_eq!(&inner.slice(1..4).unwrap()[..], b"345");
        assert!(inner.slice(6..6).unwrap().is_empty());
        assert!(inner.slice(0..7).is_none());
        assert!(inner.slice(7..7).is_none());
        #[allow(clippy::reversed_empty_ranges)]
        let reversed = inner.slice(3..2);
        assert!(reversed.is_none());
    }

    #[test]
    fn floats_come_back_as_they_are() {
        let bytes = Bytes::from(vec![1.5f32, -0.0, f32::NAN]);
        assert_eq!(&bytes[..4], &1.5f32.to_le_bytes());
        let floats = as_f32(&bytes).unwrap();
        assert_eq!(floats.iter().map(|v| v.to_bits()).collect::<Vec<_>>()[1], 0x8000_0000);
        assert!(floats[2].is_nan());
        assert!(as_f32(&bytes[..3]).is_none());
        assert!(as_f32(&bytes[1..5]).is_none());
        assert!(as_f32(&[]).is_some());
    }

    #[test]
    fn bytes_cross_threads() {
        fn shared<T: Send + Sync + Clone + 'static>() {}
        shared::<Bytes>();
    }
}
