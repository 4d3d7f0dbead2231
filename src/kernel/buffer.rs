//! Large stretches of memory.
//!
//! Weights and values are read from end to end in every run. In pages of 4 KiB that costs a look-up of an address every
//! thousand floats, so large stretches ask the system for huge pages, which also makes their first use several times
//! cheaper. Where the system has none to give, nothing changes.

use std::fmt;
use std::ops::{Deref, DerefMut};

use memmap2::MmapMut;

/// Floats from which on a stretch is asked for in huge pages: 2 MiB.
const LARGE: usize = 1 << 19;

/// Floats, zero at first.
pub struct Buffer {
    memory: Memory,
}

enum Memory {
    Small(Vec<f32>),
    /// A map with room for so many floats.
    Large(MmapMut, usize),
}

impl Buffer {
    /// `len` zeros.
    pub fn zeros(len: usize) -> Buffer {
        let map = (LARGE <= len).then(|| MmapMut::map_anon(len * size_of::<f32>()).ok()).flatten();
        let Some(map) = map else { return Buffer { memory: Memory::Small(vec![0.0; len]) } };
        // Without huge pages the map serves as well.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        Buffer { memory: Memory::Large(map, len) }
    }

    /// Makes room for `len` floats; what was there is lost where there was less.
    pub fn reserve(&mut self, len: usize) {
        if self.len() < len {
            *self = Buffer::zeros(len);
        }
    }
}

impl Default for Buffer {
    fn default() -> Self {
        Buffer::zeros(0)
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &self.memory {
            Memory::Small(values) => values,
            // SAFETY: the map holds `len` floats, begins at a page, and any bits are a float.
            Memory::Large(map, len) => unsafe { std::slice::from_raw_parts(map.as_ptr().cast(), *len) },
        }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        match &mut self.memory {
            Memory::Small(values) => values,
            // SAFETY: as for reading; the map is borrowed exclusively.
            Memory::Large(map, len) => unsafe { std::slice::from_raw_parts_mut(map.as_mut_ptr().cast(), *len) },
        }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} floats)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::{Buffer, LARGE};

    #[test]
    fn buffers_of_every_size_are_zero_and_can_be_written() {
        for len in [0, 1, LARGE - 1, LARGE, LARGE + 5] {
            let mut buffer = Buffer::zeros(len);
            assert!(buffer.len() == len && buffer.iter().all(|&x| x == 0.0));
            buffer.iter_mut().for_each(|x| *x = 1.0);
            buffer.reserve(len);
            assert!(buffer.iter().all(|&x| x == 1.0));
            buffer.reserve(len + 1);
            assert_eq!(buffer.len(), len + 1);
        }
    }
}
