//! Sums, functions and per-channel scales of rows; bound by memory.

use super::conv::{Context, Prologue};
use super::isa::{LANES, Lanes, Task};
use super::product::Range;
use super::rows::{Rows, RowsMut};

/// Elements for one task.
const TASK: usize = 16 * 1024;

/// Calls `work` with ranges of rows that are worth a task.
pub(super) fn blocks(cx: &Context, count: usize, width: usize, work: impl Fn(std::ops::Range<usize>) + Sync) {
    let tasks = (count * width).div_ceil(TASK).min(count);
    cx.threads.run(tasks, |task, _| work(count * task / tasks..count * (task + 1) / tasks));
}

/// Calls `work` with the number of each row and the row.
pub(super) fn each_row(cx: &Context, values: &mut RowsMut, work: impl Fn(usize, &mut [f32]) + Sync) {
    let values = &*values;
    blocks(cx, values.count(), values.width(), |rows| {
        for row in rows {
            // SAFETY: each row is met once.
            work(row, unsafe { values.row_shared(row) });
        }
    });
}

/// `values = function(values)`.
pub fn map(cx: &Context, values: &mut RowsMut, function: impl Fn(f32) -> f32 + Sync) {
    each_row(cx, values, |_, row| row.iter_mut().for_each(|x| *x = function(*x)));
}

/// `to = from`.
pub fn copy(cx: &Context, from: Rows, to: &mut RowsMut) {
    assert!(from.count() == to.count() && from.width() == to.width(), "other sizes");
    each_row(cx, to, |at, row| row.copy_from_slice(from.row(at)));
}

/// `to = range(to + from)`.
pub fn add(cx: &Context, from: Rows, to: &mut RowsMut, range: Range) {
    assert!(from.count() == to.count() && from.width() == to.width(), "other sizes");
    let isa = cx.isa;
    each_row(cx, to, |at, row| isa.run(Add { from: from.row(at), to: row, range }));
}

struct Add<'a> {
    from: &'a [f32],
    to: &'a mut [f32],
    range: Range,
}

impl Task for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let whole = self.to.len() - self.to.len() % LANES;
        assert!(self.from.len() == self.to.len());
        for at in (0..whole).step_by(LANES) {
            // SAFETY: both slices hold 8 floats from `at` on.
            unsafe {
                let to = self.to.as_mut_ptr().add(at);
                let sum = lanes.add(lanes.load(to), lanes.load(self.from.as_ptr().add(at)));
                lanes.store(to, self.range.apply(lanes, sum));
            }
        }
        for at in whole..self.to.len() {
            self.to[at] = self.range.apply_one(self.to[at] + self.from[at]);
        }
    }
}

/// `to = to · from`.
pub fn multiply(cx: &Context, from: Rows, to: &mut RowsMut) {
    assert!(from.count() == to.count() && from.width() == to.width(), "other sizes");
    each_row(cx, to, |at, row| row.iter_mut().zip(from.row(at)).for_each(|(to, &x)| *to *= x));
}

/// `to = range(scale · to + shift)`, with a scale and a shift for each column.
pub fn scale(cx: &Context, terms: &Prologue, range: Range, to: &mut RowsMut) {
    let isa = cx.isa;
    assert!(terms.scale.len() == to.width() && terms.shift.len() == to.width(), "terms of other channels");
    each_row(cx, to, |_, row| isa.run(Scale { terms, range, to: row }));
}

struct Scale<'a> {
    terms: &'a Prologue,
    range: Range,
    to: &'a mut [f32],
}

impl Task for Scale<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let (range, Prologue { scale, shift, .. }) = (self.range, self.terms);
        let whole = self.to.len() - self.to.len() % LANES;
        assert!(scale.len() == self.to.len() && shift.len() == self.to.len());
        for at in (0..whole).step_by(LANES) {
            // SAFETY: all slices hold 8 floats from `at` on.
            unsafe {
                let to = self.to.as_mut_ptr().add(at);
                let (scale, shift) = (lanes.load(scale.as_ptr().add(at)), lanes.load(shift.as_ptr().add(at)));
                lanes.store(to, range.apply(lanes, lanes.fma(lanes.load(to), scale, shift)));
            }
        }
        for at in whole..self.to.len() {
            self.to[at] = range.apply_one(self.to[at] * scale[at] + shift[at]);
        }
    }
}
