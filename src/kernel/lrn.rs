//! Local response normalisation across the channels of a row.

use super::conv::Context;
use super::isa::{LANES, Lanes, Task};
use super::rows::{Rows, RowsMut};

/// The constants: `out[c] = in[c] / (k + factor · Σ in[j]²)^beta` over `size` channels from `c - size / 2` on.
#[derive(Clone, Copy, Debug)]
pub struct Lrn {
    /// Channels in a window.
    pub size: usize,
    /// The factor of the sum of squares.
    pub factor: f32,
    /// The exponent.
    pub beta: f32,
    /// Added to the sum.
    pub k: f32,
}

impl Lrn {
    /// The constants for rows of so many channels: a window that reaches beyond both ends takes zeros only from there on.
    fn within(self, channels: usize) -> Lrn {
        Lrn { size: self.size.min(2 * channels), ..self }
    }

    /// Floats that hold a row with zeros around it, in which every window of a vector of channels lies.
    fn padded(&self, channels: usize) -> usize {
        channels + self.size + LANES
    }
}

/// Calls `of` with each row, and with `count` rows of scratch memory with room for zeros around them.
fn rows(
    cx: &mut Context,
    lrn: &Lrn,
    to: &mut RowsMut,
    count: usize,
    of: impl Fn(usize, &mut [f32], &mut [f32]) + Sync,
) {
    let (rows, width) = (to.count(), to.width());
    let (_, parts) = cx.scratch.parts(0, cx.threads.count(), count * lrn.padded(width));
    let blocks = rows.div_ceil((1 << 14) / width.max(1) + 1);
    let to = &*to;
    cx.threads.run(blocks, |block, thread| {
        // SAFETY: the scratch memory is borrowed until the loop has ended; a thread runs one call at a time.
        let scratch = unsafe { parts.of(thread) };
        for row in rows * block / blocks..rows * (block + 1) / blocks {
            // SAFETY: each row is written once.
            let to = unsafe { to.row_shared(row) };
            of(row, scratch, to);
        }
    });
}

/// Normalises each row.
pub fn normalise(cx: &mut Context, lrn: Lrn, from: Rows, to: &mut RowsMut) {
    assert!(from.count() == to.count() && from.width() == to.width(), "other sizes");
    let (isa, lrn) = (cx.isa, lrn.within(from.width()));
    rows(cx, &lrn, to, 1, |row, squares, to| isa.run(Row { lrn, from: from.row(row), squares, to }));
}

/// The gradient of [`normalise`] with respect to `from`, from that of its result: with `b[c] = k + factor · Σ from[j]²` it
/// is `g[c] · b[c]^-beta - 2 · beta · factor · from[c] · Σ g[j] · from[j] · b[j]^(-beta - 1)`, over those `j` whose windows
/// hold `c`.
pub fn gradient(cx: &mut Context, lrn: Lrn, from: Rows, gradient: Rows, to: &mut RowsMut) {
    let all = [from, gradient];
    assert!(all.iter().all(|rows| rows.count() == to.count() && rows.width() == to.width()), "other sizes");
    let (isa, lrn) = (cx.isa, lrn.within(from.width()));
    rows(cx, &lrn, to, 2, |row, scratch, to| {
        let (squares, shares) = scratch.split_at_mut(lrn.padded(to.len()));
        isa.run(GradientRow { lrn, from: from.row(row), gradient: gradient.row(row), squares, shares, to });
    });
}

struct Row<'a> {
    lrn: Lrn,
    from: &'a [f32],
    /// The squares with zeros around them.
    squares: &'a mut [f32],
    to: &'a mut [f32],
}

impl Task for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let Lrn { size, factor, beta, k } = self.lrn;
        let channels = self.from.len();
        square(self.from, self.squares, &self.lrn);
        for c in (0..channels).step_by(LANES) {
            let count = LANES.min(channels - c);
            // SAFETY: windows of a vector of channels lie in `squares`; both rows hold `c + count` channels.
            unsafe {
                let base = l.fma(l.splat(factor), window(l, self.squares.as_ptr().add(c), size), l.splat(k));
                let x = l.load_up_to(self.from.as_ptr().add(c), count);
                l.store_part(self.to.as_mut_ptr().add(c), l.div(x, power(l, base, beta)), count);
            }
        }
    }
}

struct GradientRow<'a> {
    lrn: Lrn,
    from: &'a [f32],
    gradient: &'a [f32],
    /// The squares of `from` with zeros around them.
    squares: &'a mut [f32],
    /// `g · from · b^(-beta - 1)` with zeros around them.
    shares: &'a mut [f32],
    to: &'a mut [f32],
}

impl Task for GradientRow<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let Lrn { size, factor, beta, k } = self.lrn;
        let channels = self.from.len();
        square(self.from, self.squares, &self.lrn);
        // The windows that hold a channel reach as far beyond it as its own does in front of it.
        let before = (size - 1) - size / 2;
        let padded = self.lrn.padded(channels);
        self.shares[..before].fill(0.0);
        self.shares[before + channels..padded].fill(0.0);
        for c in (0..channels).step_by(LANES) {
            let count = LANES.min(channels - c);
            // SAFETY: as in `Row`; of `shares` the elements of the row are written, which lie behind `before` zeros.
            unsafe {
                let base = l.fma(l.splat(factor), window(l, self.squares.as_ptr().add(c), size), l.splat(k));
                let x = l.load_up_to(self.from.as_ptr().add(c), count);
                let gradient = l.load_up_to(self.gradient.as_ptr().add(c), count);
                let scaled = l.div(gradient, power(l, base, beta));
                l.store_part(self.to.as_mut_ptr().add(c), scaled, count);
                let share = l.div(l.mul(scaled, x), base);
                l.store_part(self.shares.as_mut_ptr().add(before + c), share, count);
            }
        }
        let factor = l.splat(-2.0 * beta * factor);
        for c in (0..channels).step_by(LANES) {
            let count = LANES.min(channels - c);
            // SAFETY: as above.
            unsafe {
                let sum = window(l, self.shares.as_ptr().add(c), size);
                let x = l.load_up_to(self.from.as_ptr().add(c), count);
                let scaled = l.load_up_to(self.to.as_ptr().add(c), count);
                l.store_part(self.to.as_mut_ptr().add(c), l.fma(l.mul(factor, x), sum, scaled), count);
            }
        }
    }
}

/// The squares of a row between zeros, so that the window of channel `c` begins at `c`.
#[inline(always)]
fn square(from: &[f32], squares: &mut [f32], lrn: &Lrn) {
    let (channels, before) = (from.len(), lrn.size / 2);
    squares[..before].fill(0.0);
    squares[before + channels..lrn.padded(channels)].fill(0.0);
    for (square, &x) in squares[before..].iter_mut().zip(from) {
        *square = x * x;
    }
}

/// The sums of `size` elements from each of a vector of places on.
///
/// # Safety
/// `size + LANES` elements can be read.
#[inline(always)]
unsafe fn window<L: Lanes>(l: L, from: *const f32, size: usize) -> L::V {
    let mut sum = l.splat(0.0);
    for j in 0..size {
        // SAFETY: the caller's.
        sum = l.add(sum, unsafe { l.load(from.add(j)) });
    }
    sum
}

/// `base^beta`.
#[inline(always)]
fn power<L: Lanes>(l: L, base: L::V, beta: f32) -> L::V {
    if beta == 0.75 {
        let root = l.sqrt(base);
        return l.mul(root, l.sqrt(root));
    }
    let mut powers = [0.0f32; LANES];
    // SAFETY: the array is a vector long.
    unsafe {
        l.store(powers.as_mut_ptr(), base);
        for power in &mut powers {
            *power = power.powf(beta);
        }
        l.load(powers.as_ptr())
    }
}
