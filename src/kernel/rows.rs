//! Values in an arena: rows of floats at a fixed distance. The pixels of a feature map are rows of channels (NHWC), so a
//! part of a concatenation over channels is a range of columns of a wider value.

use std::marker::PhantomData;

use super::isa::Lanes;

/// Where a value lies: `count` rows of `width` floats, `stride` apart, from `start` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The first element.
    pub start: usize,
    /// Rows.
    pub count: usize,
    /// Elements of a row.
    pub width: usize,
    /// Elements from one row to the next.
    pub stride: usize,
}

impl Place {
    /// Rows without gaps.
    pub fn dense(start: usize, count: usize, width: usize) -> Place {
        Place { start, count, width, stride: width }
    }

    /// Whether there is no gap between the rows.
    pub fn is_dense(&self) -> bool {
        self.stride == self.width || self.count <= 1
    }

    /// One past the last element.
    pub fn end(&self) -> usize {
        if self.count == 0 || self.width == 0 {
            self.start
        } else {
            self.start + (self.count - 1) * self.stride + self.width
        }
    }

    /// Elements without the gaps.
    pub fn elements(&self) -> usize {
        self.count * self.width
    }

    /// Whether no element belongs to both: they lie apart, or are ranges of columns of the same rows.
    pub fn is_apart_from(&self, other: &Place) -> bool {
        if self.end() <= other.start || other.end() <= self.start {
            return true;
        }
        let stride = self.stride;
        if stride != other.stride || stride == 0 {
            return false;
        }
        let ahead = (other.start % stride + stride - self.start % stride) % stride;
        self.width <= ahead && ahead + other.width <= stride
    }
}

/// A value that is read.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    ptr: *const f32,
    count: usize,
    width: usize,
    stride: usize,
    lifetime: PhantomData<&'a [f32]>,
}

/// A value that is written. Kernels deal disjoint parts of it to threads.
#[derive(Debug)]
pub struct RowsMut<'a> {
    ptr: *mut f32,
    count: usize,
    width: usize,
    stride: usize,
    lifetime: PhantomData<&'a mut [f32]>,
}

// SAFETY: `Rows` stands for shared borrows of floats.
unsafe impl Send for Rows<'_> {}
// SAFETY: as above.
unsafe impl Sync for Rows<'_> {}
// SAFETY: `RowsMut` stands for an exclusive borrow of floats.
unsafe impl Send for RowsMut<'_> {}
// SAFETY: through a shared `RowsMut` memory is reached only by the unsafe `row_shared` and raw pointers.
unsafe impl Sync for RowsMut<'_> {}

impl<'a> Rows<'a> {
    /// A dense slice as rows.
    ///
    /// # Panics
    /// When the slice has another length.
    pub fn of(values: &'a [f32], count: usize, width: usize) -> Rows<'a> {
        assert_eq!(values.len(), count * width);
        Rows { ptr: values.as_ptr(), count, width, stride: width, lifetime: PhantomData }
    }

    /// How many rows.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Elements of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Elements from one row to the next.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Each `rows` neighbouring rows as one.
    ///
    /// # Panics
    /// When there is a gap between them, or rows are left.
    pub(super) fn joined(&self, rows: usize) -> Rows<'a> {
        assert!(rows == 1 || (self.stride == self.width && self.count.is_multiple_of(rows)));
        let (count, width, stride) = (self.count / rows, self.width * rows, self.stride * rows);
        Rows { count, width, stride, ..*self }
    }

    /// `count` rows from `first` on.
    ///
    /// # Panics
    /// When there are fewer.
    pub fn part(&self, first: usize, count: usize) -> Rows<'a> {
        assert!(first + count <= self.count);
        Rows { ptr: self.ptr.wrapping_add(first * self.stride), count, ..*self }
    }

    /// `count` rows from `first` on as one slice, where there is no gap between them.
    ///
    /// # Panics
    /// When there are fewer.
    pub fn dense(&self, first: usize, count: usize) -> Option<&'a [f32]> {
        assert!(first + count <= self.count);
        // SAFETY: the rows are part of what is borrowed, and lie one behind the other.
        let slice = || unsafe { std::slice::from_raw_parts(self.ptr.add(first * self.stride), count * self.width) };
        (self.stride == self.width).then(slice)
    }

    /// A row.
    ///
    /// # Panics
    /// When there is none of this number.
    #[inline(always)]
    pub fn row(&self, row: usize) -> &'a [f32] {
        assert!(row < self.count);
        // SAFETY: the row is part of what is borrowed.
        unsafe { std::slice::from_raw_parts(self.ptr.add(row * self.stride), self.width) }
    }

    /// Eight columns of a row, or the `count` that are left.
    ///
    /// # Safety
    /// The row is there, and `column + count` is at most its width.
    #[inline(always)]
    pub(super) unsafe fn load<L: Lanes>(&self, l: L, row: usize, column: usize, count: usize) -> L::V {
        debug_assert!(row < self.count && column + count <= self.width);
        // SAFETY: the caller's duty.
        unsafe { l.load_up_to(self.ptr.add(row * self.stride + column), count) }
    }

    /// The first element of the first row.
    #[inline(always)]
    pub(super) fn ptr(&self) -> *const f32 {
        self.ptr
    }
}

impl<'a> RowsMut<'a> {
    /// A dense slice as rows.
    ///
    /// # Panics
    /// When the slice has another length.
    pub fn of(values: &'a mut [f32], count: usize, width: usize) -> RowsMut<'a> {
        assert_eq!(values.len(), count * width);
        RowsMut { ptr: values.as_mut_ptr(), count, width, stride: width, lifetime: PhantomData }
    }

    /// How many rows.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Elements of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Elements from one row to the next.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Each `rows` neighbouring rows as one.
    ///
    /// # Panics
    /// When there is a gap between them, or rows are left.
    pub(super) fn joined(&mut self, rows: usize) -> RowsMut<'_> {
        let Rows { count, width, stride, .. } = self.as_rows().joined(rows);
        RowsMut { ptr: self.ptr, count, width, stride, lifetime: PhantomData }
    }

    /// `count` rows from `first` on.
    ///
    /// # Panics
    /// When there are fewer.
    pub fn part(&mut self, first: usize, count: usize) -> RowsMut<'_> {
        assert!(first + count <= self.count);
        let ptr = self.ptr.wrapping_add(first * self.stride);
        RowsMut { ptr, count, width: self.width, stride: self.stride, lifetime: PhantomData }
    }

    /// The same, to be read.
    pub fn as_rows(&self) -> Rows<'_> {
        Rows { ptr: self.ptr, count: self.count, width: self.width, stride: self.stride, lifetime: PhantomData }
    }

    /// The same, to be read while it is written.
    ///
    /// # Safety
    /// Each element is read before it is written, and through pointers.
    pub(super) unsafe fn aliased(&self) -> Rows<'a> {
        Rows { ptr: self.ptr, count: self.count, width: self.width, stride: self.stride, lifetime: PhantomData }
    }

    /// A row.
    ///
    /// # Panics
    /// When there is none of this number.
    pub fn row(&mut self, row: usize) -> &mut [f32] {
        // SAFETY: the exclusive borrow of `self` is passed on.
        unsafe { self.row_shared(row) }
    }

    /// A row, from a shared borrow.
    ///
    /// # Safety
    /// Nobody else uses the row as long as the result lives.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)] // Several threads write different rows.
    pub(super) unsafe fn row_shared(&self, row: usize) -> &mut [f32] {
        assert!(row < self.count);
        // SAFETY: the row is part of what is borrowed; that it is borrowed once is the caller's duty.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.add(row * self.stride), self.width) }
    }

    /// The first element of the first row.
    #[inline(always)]
    pub(super) fn ptr(&self) -> *mut f32 {
        self.ptr
    }
}

/// An arena of which one value is being written; all others can be read.
#[derive(Debug)]
pub struct Others<'a> {
    ptr: *const f32,
    len: usize,
    written: Place,
    lifetime: PhantomData<&'a [f32]>,
}

/// The value to write, and the rest of the arena.
///
/// # Panics
/// When the place is not in the arena.
pub fn split(arena: &mut [f32], write: Place) -> (RowsMut<'_>, Others<'_>) {
    assert!(write.end() <= arena.len() && (write.width <= write.stride || write.count <= 1), "{write:?}");
    let ptr = arena.as_mut_ptr();
    let Place { start, count, width, stride } = write;
    let rows = RowsMut { ptr: ptr.wrapping_add(start), count, width, stride, lifetime: PhantomData };
    (rows, Others { ptr, len: arena.len(), written: write, lifetime: PhantomData })
}

impl<'a> Others<'a> {
    /// A value to read.
    ///
    /// # Panics
    /// When it is not in the arena, or shares an element with the value that is written.
    pub fn read(&self, place: Place) -> Rows<'a> {
        assert!(place.end() <= self.len && place.is_apart_from(&self.written), "{place:?}, {:?}", self.written);
        let Place { start, count, width, stride } = place;
        Rows { ptr: self.ptr.wrapping_add(start), count, width, stride, lifetime: PhantomData }
    }
}

#[cfg(test)]
mod tests {
    use super::{Place, split};

    #[test]
    fn columns_of_the_same_rows_are_apart() {
        let whole = |start, width| Place { start, count: 4, width, stride: 10 };
        assert!(whole(0, 3).is_apart_from(&whole(3, 7)));
        assert!(whole(3, 7).is_apart_from(&whole(0, 3)));
        assert!(whole(23, 7).is_apart_from(&whole(0, 3)));
        assert!(!whole(0, 4).is_apart_from(&whole(3, 7)));
        assert!(!whole(0, 3).is_apart_from(&Place { start: 3, count: 4, width: 1, stride: 9 }));
        assert!(Place::dense(0, 2, 5).is_apart_from(&Place::dense(10, 1, 3)));
    }

    #[test]
    fn a_value_is_written_while_its_neighbours_are_read() {
        let mut arena: Vec<f32> = (0u8..20).map(f32::from).collect();
        let (mut to, others) = split(&mut arena, Place { start: 1, count: 2, width: 2, stride: 5 });
        let from = others.read(Place { start: 3, count: 2, width: 2, stride: 5 });
        to.row(1).copy_from_slice(from.row(1));
        assert_eq!(arena[5..10], [5.0, 8.0, 9.0, 8.0, 9.0]);
    }

    #[test]
    #[should_panic(expected = "Place")]
    fn refuses_what_is_written() {
        split(&mut [0.0; 8], Place::dense(2, 1, 4)).1.read(Place::dense(5, 1, 2));
    }
}
