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

/// Pixels that are computed at once: their weights are loaded once.
const PIXELS: usize = 4;

/// A convolution with as many groups as channels in and out.
pub fn convolve(cx: &mut Context, g: &Geometry, weights: &Weights, from: Rows, to: &mut RowsMut, range: Range) {
    assert!(g.groups == g.from.c && g.groups == g.to.c, "one channel a group");
    assert!(from.count() == g.from.n * g.from.h * g.from.w && from.width() == g.from.c, "input of another size");
    assert!(to.count() == g.pixels() && to.width() == g.to.c, "output of another size");
    assert!(weights.taps.len() == g.kernel[0] * g.kernel[1] * g.to.c && weights.bias.len() == g.to.c);
    let (isa, to) = (cx.isa, &*to);
    cx.threads.run(g.to.n * g.to.h, |line, _| isa.run(Line { g, weights, from, to, range, line }));
}

/// One line of the output.
struct Line<'a> {
    g: &'a Geometry,
    weights: &'a Weights,
    from: Rows<'a>,
    to: &'a RowsMut<'a>,
    range: Range,
    line: usize,
}

impl Task for Line<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let g = self.g;
        // Positions at which no column of the window lies beside the input.
        let inner = (0..g.kernel[1])
            .map(|kx| g.valid(1, kx))
            .fold(0..g.to.w, |all, valid| all.start.max(valid.start)..all.end.min(valid.end));
        let mut x = 0;
        while x < g.to.w {
            if inner.contains(&x) && x + PIXELS <= inner.end {
                self.pixels::<L, PIXELS>(lanes, x);
                x += PIXELS;
            } else {
                self.pixels::<L, 1>(lanes, x);
                x += 1;
            }
        }
    }
}

impl Line<'_> {
    /// `P` neighbouring pixels; with more than one, every column of their windows lies in the input.
    #[inline(always)]
    fn pixels<L: Lanes, const P: usize>(&self, lanes: L, x: usize) {
        let (g, channels) = (self.g, self.g.to.c);
        let (n, y) = (self.line / g.to.h, self.line % g.to.h);
        let taps = |axis: usize, at: usize| {
            let start = at * g.stride[axis];
            let size = if axis == 0 { g.from.h } else { g.from.w };
            let first = g.before[axis].saturating_sub(start).div_ceil(g.dilation[axis]);
            let end = (size + g.before[axis]).saturating_sub(start).div_ceil(g.dilation[axis]);
            first..end.min(g.kernel[axis]).max(first)
        };
        let (rows, columns) = (taps(0, y), taps(1, x));
        let pixel = self.line * g.to.w + x;
        let whole = channels - channels % LANES;
        for c in (0..whole).step_by(LANES) {
            // SAFETY: the taps in `rows` and `columns` lie in the input for each of the P pixels; weights, bias, input
            // and output rows hold `channels` floats, and `c + 8 <= channels`; this line of the output is written here
            // only.
            unsafe {
                let mut sums = [lanes.load(self.weights.bias.as_ptr().add(c)); P];
                for ky in rows.clone() {
                    let line = (n * g.from.h + y * g.stride[0] + ky * g.dilation[0] - g.before[0]) * g.from.w;
                    for kx in columns.clone() {
                        let weight = lanes.load(self.weights.taps.as_ptr().add((ky * g.kernel[1] + kx) * channels + c));
                        let first = line + x * g.stride[1] + kx * g.dilation[1] - g.before[1];
                        let from = self.from.ptr().add(first * self.from.stride() + c);
                        for (p, sum) in sums.iter_mut().enumerate() {
                            *sum = lanes.fma(lanes.load(from.add(p * g.stride[1] * self.from.stride())), weight, *sum);
                        }
                    }
                }
                for (p, &sum) in sums.iter().enumerate() {
                    let to = self.to.ptr().add((pixel + p) * self.to.stride() + c);
                    lanes.store(to, self.range.apply(lanes, sum));
                }
            }
        }
        for c in whole..channels {
            for p in 0..P {
                let mut sum = self.weights.bias[c];
                for ky in rows.clone() {
                    let line = (n * g.from.h + y * g.stride[0] + ky * g.dilation[0] - g.before[0]) * g.from.w;
                    for kx in columns.clone() {
                        let first = line + (x + p) * g.stride[1] + kx * g.dilation[1] - g.before[1];
                        sum += self.from.row(first)[c] * self.weights.taps[(ky * g.kernel[1] + kx) * channels + c];
                    }
                }
                // SAFETY: this line of the output is written here only.
                unsafe { self.to.row_shared(pixel + p)[c] = self.range.apply_one(sum) };
            }
        }
    }
}
