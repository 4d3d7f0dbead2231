//! Convolutions of each channel by itself, on rows of channels.

use super::conv::{Context, Geometry};
use super::isa::{LANES, Lanes, Task};
use super::product::Range;
use super::rows::{Rows, RowsMut};

/// Weights tap by tap: `[tap][channel]`.
#[derive(Clone, Debug)]
pub struct Weights {
    taps: Vec<f32>,
    bias: Vec<f32>,
}

impl Weights {
    /// Turns `weight: [c, 1, k_h, k_w]` around.
    pub fn new(channels: usize, taps: usize, weight: &[f32], bias: Option<&[f32]>) -> Weights {
        assert_eq!(weight.len(), channels * taps);
        let turned = (0..channels * taps).map(|at| weight[at % channels * taps + at / channels]).collect();
        Weights { taps: turned, bias: bias.map_or_else(|| vec![0.0; channels], <[f32]>::to_vec) }
    }
}

impl Weights {
    /// `[tap][channel]`.
    pub(super) fn taps(&self) -> &[f32] {
        &self.taps
    }
}

/// Pixels that are computed at once: their weights are loaded once.
const PIXELS: usize = 4;

/// A convolution with as many groups as channels in and out.
pub fn convolve(cx: &mut Context, g: &Geometry, weights: &Weights, from: Rows, to: &mut RowsMut, range: Range) {
    assert!(g.groups == g.from.c && g.groups == g.to.c, "one channel a group");
    assert!(from.count() == g.from.n * g.from.h * g.from.w && from.width() == g.from.c, "input of another size");
    assert!(to.count() == g.pixels() && to.width() == g.to.c, "output of another size");
    assert!(weights.taps.len() == g.kernel[0] * g.kernel[1] * g.to.c && weights.bias.len() == g.to.c);
    let (isa, to) = (cx.isa, &*to);
    let (zeros, _) = cx.scratch.parts(g.from.c, 0, 0);
    let (lines, work) = (g.to.n * g.to.h, g.pixels() * g.to.c * g.kernel[0] * g.kernel[1]);
    let blocks = (work / 200_000 + 1).min(lines);
    cx.threads.run(blocks, |block, _| {
        for line in lines * block / blocks..lines * (block + 1) / blocks {
            isa.run(Line { g, weights, from, to, range, line, zeros });
        }
    });
}

/// One line of the output.
struct Line<'a> {
    g: &'a Geometry,
    weights: &'a Weights,
    from: Rows<'a>,
    to: &'a RowsMut<'a>,
    range: Range,
    line: usize,
    zeros: &'a [f32],
}

impl Task for Line<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let g = self.g;
        let square = g.dilation == [1, 1] && g.kernel[0] == g.kernel[1] && g.stride[0] == g.stride[1];
        let mut done = g.to.c - g.to.c % LANES;
        match (square, g.kernel[0], g.stride[0]) {
            (true, 3, 1) => self.windows::<L, 3, 1>(lanes),
            (true, 3, 2) => self.windows::<L, 3, 2>(lanes),
            (true, 5, 1) => self.windows::<L, 5, 1>(lanes),
            (true, 5, 2) => self.windows::<L, 5, 2>(lanes),
            _ => done = 0,
        }
        if done < g.to.c {
            (0..g.to.w).for_each(|x| self.pixel(x, done));
        }
    }
}

/// Columns of the input below [`PIXELS`] windows of at most 5 columns at a stride of at most 2.
const COLUMNS: usize = (PIXELS - 1) * 2 + 5;

impl Line<'_> {
    /// All pixels, for square windows of `K` at stride `S`: whole vectors of channels.
    #[inline(always)]
    fn windows<L: Lanes, const K: usize, const S: usize>(&self, lanes: L) {
        let (g, channels) = (self.g, self.g.to.c);
        let (n, y) = (self.line / g.to.h, self.line % g.to.h);
        for x in (0..g.to.w).step_by(PIXELS) {
            let mut cells = [[self.zeros.as_ptr(); COLUMNS]; K];
            for (ky, cells) in cells.iter_mut().enumerate() {
                let in_y = (y * S + ky).wrapping_sub(g.before[0]);
                for (j, cell) in cells[..(PIXELS - 1) * S + K].iter_mut().enumerate() {
                    let in_x = (x * S + j).wrapping_sub(g.before[1]);
                    if in_y < g.from.h && in_x < g.from.w {
                        let pixel = (n * g.from.h + in_y) * g.from.w + in_x;
                        *cell = self.from.ptr().wrapping_add(pixel * self.from.stride());
                    }
                }
            }
            let count = PIXELS.min(g.to.w - x);
            for c in (0..channels - channels % LANES).step_by(LANES) {
                // SAFETY: every cell points to `channels` floats of the input or of zeros; weights, bias and output rows
                // hold as many, and `c + 8 <= channels`; this line of the output is written here only.
                unsafe {
                    let mut sums = [lanes.load(self.weights.bias.as_ptr().add(c)); PIXELS];
                    for ky in 0..K {
                        let mut weight = [lanes.splat(0.0); K];
                        for kx in 0..K {
                            weight[kx] = lanes.load(self.weights.taps.as_ptr().add((ky * K + kx) * channels + c));
                        }
                        for j in 0..(PIXELS - 1) * S + K {
                            let cell = lanes.load(cells[ky][j].add(c));
                            for p in 0..PIXELS {
                                if p * S <= j && j < p * S + K {
                                    sums[p] = lanes.fma(cell, weight[j - p * S], sums[p]);
                                }
                            }
                        }
                    }
                    let to = self.to.ptr().add((self.line * g.to.w + x) * self.to.stride() + c);
                    for p in 0..PIXELS {
                        if p < count {
                            lanes.store(to.add(p * self.to.stride()), self.range.apply(lanes, sums[p]));
                        }
                    }
                }
            }
        }
    }

    /// One pixel of any window, from this channel on.
    fn pixel(&self, x: usize, first: usize) {
        let g = self.g;
        let (n, y) = (self.line / g.to.h, self.line % g.to.h);
        let taps = |axis: usize, at: usize| {
            let size = if axis == 0 { g.from.h } else { g.from.w };
            let cell = move |k: usize| (at * g.stride[axis] + k * g.dilation[axis]).wrapping_sub(g.before[axis]);
            (0..g.kernel[axis]).map(move |k| (k, cell(k))).filter(move |&(_, cell)| cell < size)
        };
        // SAFETY: this line of the output is written here only.
        let to = &mut unsafe { self.to.row_shared(self.line * g.to.w + x) }[first..];
        to.copy_from_slice(&self.weights.bias[first..]);
        for (ky, in_y) in taps(0, y) {
            for (kx, in_x) in taps(1, x) {
                let from = &self.from.row((n * g.from.h + in_y) * g.from.w + in_x)[first..];
                let weights = &self.weights.taps[(ky * g.kernel[1] + kx) * g.to.c + first..];
                for ((sum, x), weight) in to.iter_mut().zip(from).zip(weights) {
                    *sum += x * weight;
                }
            }
        }
        to.iter_mut().for_each(|sum| *sum = self.range.apply_one(*sum));
    }
}
