//! Memory that kernels work in, kept from call to call.

use super::buffer::Buffer;
use super::product::Packed;

/// Zeros to read, and a part for each thread to write.
#[derive(Debug, Default)]
pub struct Scratch {
    zeros: Vec<f32>,
    parts: Buffer,
    /// An input between columns of zeros.
    pub(super) padded: Vec<f32>,
    /// A row of zeros that outlives a use of the parts.
    pub(super) zero_row: Vec<f32>,
    /// The pixels of one phase of a gradient.
    pub(super) phase: Buffer,
    /// The samples of a batch as the weights of a product, for each number of samples and of elements that was met.
    pub(super) samples: Vec<Packed>,
}

/// Parts of the scratch memory by thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts {
    ptr: *mut f32,
    len: usize,
    threads: usize,
}

// SAFETY: the memory is reached through the unsafe `of` only.
unsafe impl Send for Parts {}
// SAFETY: as above.
unsafe impl Sync for Parts {}

impl Scratch {
    /// `zeros` zeros, and `len` floats for each of `threads` threads with whatever was there.
    pub(super) fn parts(&mut self, zeros: usize, threads: usize, len: usize) -> (&[f32], Parts) {
        if self.zeros.len() < zeros {
            self.zeros.resize(zeros, 0.0);
        }
        // Parts of different threads lie on different cache lines, wherever the first begins.
        let len = len.next_multiple_of(16) + 16;
        self.parts.reserve(len * threads);
        (&self.zeros, Parts { ptr: self.parts.as_mut_ptr(), len, threads })
    }
}

impl Parts {
    /// The beginning of a part.
    ///
    /// # Safety
    /// As for [`of`](Self::of), of those elements that are used.
    pub(super) unsafe fn pointer(self, thread: usize) -> *mut f32 {
        assert!(thread < self.threads);
        self.ptr.wrapping_add(thread * self.len)
    }

    /// The part of a thread.
    ///
    /// # Safety
    /// The scratch memory is borrowed for `'a`, and nobody else uses the part of this thread meanwhile.
    #[inline(always)]
    pub(super) unsafe fn of<'a>(self, thread: usize) -> &'a mut [f32] {
        assert!(thread < self.threads);
        // SAFETY: the parts of all threads lie in the scratch memory; the rest is the caller's duty.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.add(thread * self.len), self.len) }
    }
}
