//! Sums over rows, cut into blocks at fixed places: the same bits whatever the number of threads.

use super::conv::Context;
use super::isa::{LANES, Lanes, Task};
use super::product::Range;
use super::rows::Rows;

/// Rows that are summed in `f32`; the sums of blocks are added in `f64`.
const ROWS: usize = 512;

/// Calls `work` with each block and zeros to add to; the sums of all blocks, added in order.
pub(super) fn blocks(cx: &mut Context, blocks: usize, len: usize, work: impl Fn(usize, &mut [f32]) + Sync) -> Vec<f64> {
    let threads = cx.threads;
    let (_, parts) = cx.scratch.parts(0, blocks, len);
    threads.run(blocks, |block, _| {
        // SAFETY: the scratch memory is borrowed until the loop has ended; each block has a part of its own.
        let part = &mut unsafe { parts.of(block) }[..len];
        part.fill(0.0);
        work(block, part);
    });
    let mut sums = vec![0.0; len];
    for block in 0..blocks {
        // SAFETY: the loop over the parts has ended; the memory is still borrowed.
        let part = unsafe { parts.of(block) };
        sums.iter_mut().zip(&*part).for_each(|(sum, &part)| *sum += f64::from(part));
    }
    sums
}

/// Calls `work` with blocks of rows and zeros to add to; the sums of all.
pub(super) fn rows(
    cx: &mut Context,
    count: usize,
    len: usize,
    work: impl Fn(std::ops::Range<usize>, &mut [f32]) + Sync,
) -> Vec<f64> {
    let number = count.div_ceil(ROWS).max(1);
    blocks(cx, number, len, |block, part| work(count * block / number..count * (block + 1) / number, part))
}

/// The sum of each column: the gradient of a bias.
pub fn columns(cx: &mut Context, from: Rows, to: &mut [f32]) {
    assert_eq!(from.width(), to.len());
    let (isa, width) = (cx.isa, from.width());
    let zeros = vec![0.0; width];
    let sums = rows(cx, from.count(), 2 * width, |rows, part| {
        isa.run(Moments { from, factor: None, shift: &zeros, rows, to: part });
    });
    to.iter_mut().zip(&sums).for_each(|(to, &sum)| *to = sum as f32);
}

/// Where an activation behind a batch norm lets a gradient through.
#[derive(Clone, Copy, Debug)]
pub struct Mask<'a> {
    /// The operand of the batch norm.
    pub from: Rows<'a>,
    /// For each column the factor and the summand that the batch norm came to.
    pub terms: [&'a [f32]; 2],
    /// The range of the activation.
    pub range: Range,
}

/// A gradient, or what is left of it in front of an activation: nothing where that was at a bound.
#[derive(Clone, Copy, Debug)]
pub struct Masked<'a> {
    /// The gradient.
    pub gradient: Rows<'a>,
    /// The activation.
    pub mask: Option<Mask<'a>>,
}

impl Masked<'_> {
    /// Whether the rows are those of a value of these sizes.
    pub(super) fn fits(&self, count: usize, width: usize) -> bool {
        let fits = |rows: Rows| rows.count() == count && rows.width() == width;
        let mask = |mask: Mask| fits(mask.from) && mask.terms.iter().all(|term| term.len() == width);
        fits(self.gradient) && self.mask.is_none_or(mask)
    }

    /// The gradient of eight columns of a row, or of fewer.
    ///
    /// # Safety
    /// The row is there, `column + count` is at most its width, and the value [`fits`](Self::fits) these rows.
    #[inline(always)]
    pub(super) unsafe fn load<L: Lanes>(&self, l: L, row: usize, column: usize, count: usize) -> L::V {
        // SAFETY: the caller's duty.
        unsafe {
            let gradient = self.gradient.load(l, row, column, count);
            let Some(Mask { from, terms, range }) = &self.mask else { return gradient };
            let [factor, summand] = terms.map(|term| l.load_up_to(term.as_ptr().add(column), count));
            // As the forward pass has computed it, to the bit.
            let result = l.fma(factor, from.load(l, row, column, count), summand);
            let zero = l.splat(0.0);
            let above = l.select_less(l.splat(range.low), result, gradient, zero);
            l.select_less(result, l.splat(range.high), above, zero)
        }
    }
}

/// For each column `Σ f` and `Σ f · (x - shift)` over these rows, where `f` is the factor, or `x - shift` itself.
pub(super) struct Moments<'a> {
    pub(super) from: Rows<'a>,
    pub(super) factor: Option<Masked<'a>>,
    pub(super) shift: &'a [f32],
    pub(super) rows: std::ops::Range<usize>,
    /// The first sums of all columns, then the second ones; added to.
    pub(super) to: &'a mut [f32],
}

impl Task for Moments<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(mut self, l: L) {
        let width = self.from.width();
        assert!(self.shift.len() == width && self.to.len() == 2 * width && self.rows.end <= self.from.count());
        assert!(self.factor.is_none_or(|factor| factor.fits(self.from.count(), width)));
        let mut column = 0;
        while column + 4 * LANES <= width {
            self.vectors::<L, 4, true>(l, column);
            column += 4 * LANES;
        }
        while column + 2 * LANES <= width {
            self.vectors::<L, 2, true>(l, column);
            column += 2 * LANES;
        }
        while column < width {
            if column + LANES <= width {
                self.vectors::<L, 1, true>(l, column);
            } else {
                self.vectors::<L, 1, false>(l, column);
            }
            column += LANES;
        }
    }
}

impl Moments<'_> {
    /// `N` vectors of columns; two rows at a time, so that there are enough independent sums.
    #[inline(always)]
    fn vectors<L: Lanes, const N: usize, const WHOLE: bool>(&mut self, l: L, column: usize) {
        let width = self.from.width();
        let count = if WHOLE { LANES } else { width - column };
        let mut shift = [l.splat(0.0); N];
        let mut sums = [[[l.splat(0.0); N]; 2]; 2];
        // SAFETY: `column` and N vectors from it on, or `count` columns where they are not whole, are at most `width`;
        // `run` has checked that `rows` are there and that all values have them.
        unsafe {
            for n in 0..N {
                shift[n] = l.load_up_to(self.shift.as_ptr().add(column + n * LANES), count);
            }
            let mut row = self.rows.start;
            while row < self.rows.end {
                let both = (self.rows.end - row).min(2);
                for at in 0..both {
                    let sums = &mut sums[at];
                    for n in 0..N {
                        let column = column + n * LANES;
                        let moved = l.sub(self.from.load(l, row + at, column, count), shift[n]);
                        let factor = match &self.factor {
                            Some(factor) => factor.load(l, row + at, column, count),
                            None => moved,
                        };
                        sums[0][n] = l.add(sums[0][n], factor);
                        sums[1][n] = l.fma(factor, moved, sums[1][n]);
                    }
                }
                row += both;
            }
            for n in 0..N {
                for which in 0..2 {
                    let to = self.to.as_mut_ptr().add(which * width + column + n * LANES);
                    let sum = l.add(sums[0][which][n], sums[1][which][n]);
                    l.store_part(to, l.add(l.load_up_to(to, count), sum), count);
                }
            }
        }
    }
}
