//! Gradients of convolutions of each channel by itself, on rows of channels.

use super::conv::{Context, Geometry};
use super::depthwise::{self, Weights};
use super::isa::{LANES, Lanes, Task};
use super::product::Range;
use super::reduce;
use super::rows::{Rows, RowsMut};
use crate::tensor::Nchw;

/// The convolution of the result's gradient that gives the input's, where the stride is one.
fn turned(g: &Geometry) -> Option<Geometry> {
    let reach = [0, 1].map(|axis| (g.kernel[axis] - 1) * g.dilation[axis]);
    let fits = g.stride == [1, 1] && g.before[0] <= reach[0] && g.before[1] <= reach[1];
    let before = [0, 1].map(|axis| reach[axis].saturating_sub(g.before[axis]));
    fits.then_some(Geometry { from: g.to, to: g.from, before, ..*g })
}

/// The weights for [`input`], from those of the forward convolution: `[c, 1, k_h, k_w]`.
pub fn weights(g: &Geometry, weight: &[f32]) -> Weights {
    let taps = g.kernel[0] * g.kernel[1];
    if turned(g).is_none() {
        return Weights::new(g.from.c, taps, weight, None);
    }
    let turned: Vec<f32> = weight.chunks_exact(taps).flat_map(|kernel| kernel.iter().rev().copied()).collect();
    Weights::new(g.from.c, taps, &turned, None)
}

/// The gradient with respect to the input, from that of the result; `weights` are those of [`weights`].
pub fn input(cx: &mut Context, g: &Geometry, weights: &Weights, gradient: Rows, to: &mut RowsMut) {
    if let Some(turned) = turned(g) {
        return depthwise::convolve(cx, &turned, weights, gradient, to, Range::ALL);
    }
    assert!(to.count() == g.from.n * g.from.h * g.from.w && to.width() == g.from.c, "input of another size");
    assert!(gradient.count() == g.pixels() && gradient.width() == g.to.c, "gradient of another size");
    assert!(weights.taps().len() == g.kernel[0] * g.kernel[1] * g.to.c, "weights of another size");
    let (isa, to) = (cx.isa, &*to);
    let columns: Vec<Vec<Met>> = (0..g.from.w).map(|x| met(g, 1, x)).collect();
    cx.threads.run(g.from.n * g.from.h, |line, _| {
        let rows = met(g, 0, line % g.from.h);
        isa.run(InputLine { g, weights: weights.taps(), gradient, to, line, rows: &rows, columns: &columns });
    });
}

/// A tap that an input position meets, and at which output position.
type Met = (usize, usize);

fn met(g: &Geometry, axis: usize, position: usize) -> Vec<Met> {
    let outputs = if axis == 0 { g.to.h } else { g.to.w };
    let at = |k: usize| {
        let ahead = (position + g.before[axis]).checked_sub(k * g.dilation[axis])?;
        let output = ahead / g.stride[axis];
        (ahead.is_multiple_of(g.stride[axis]) && output < outputs).then_some((k, output))
    };
    (0..g.kernel[axis]).filter_map(at).collect()
}

/// One line of the input's gradient.
struct InputLine<'a> {
    g: &'a Geometry,
    weights: &'a [f32],
    gradient: Rows<'a>,
    to: &'a RowsMut<'a>,
    line: usize,
    rows: &'a [Met],
    columns: &'a [Vec<Met>],
}

impl Task for InputLine<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let (g, channels) = (self.g, self.g.from.c);
        let sample = self.line / g.from.h * g.to.h * g.to.w;
        for (x, columns) in self.columns.iter().enumerate() {
            // SAFETY: each line is written once.
            let to = unsafe { self.to.row_shared(self.line * g.from.w + x) };
            for c in (0..channels).step_by(LANES) {
                let count = LANES.min(channels - c);
                let mut sum = l.splat(0.0);
                for &(ky, oy) in self.rows {
                    for &(kx, ox) in columns {
                        let from = self.gradient.row(sample + oy * g.to.w + ox);
                        let weight = &self.weights[(ky * g.kernel[1] + kx) * channels..][..channels];
                        // SAFETY: both slices hold `channels` floats, `count` from `c` on.
                        unsafe {
                            let (a, b) = (from.as_ptr().add(c), weight.as_ptr().add(c));
                            sum = l.fma(l.load_up_to(a, count), l.load_up_to(b, count), sum);
                        }
                    }
                }
                // SAFETY: `to` holds `channels` floats, `count` from `c` on.
                unsafe { l.store_part(to.as_mut_ptr().add(c), sum, count) };
            }
        }
    }
}

/// Blocks that the lines are cut into, at most.
const BLOCKS: usize = 64;

/// The gradient with respect to the weights, `[c, 1, k_h, k_w]`.
pub fn weight(cx: &mut Context, g: &Geometry, input: Rows, gradient: Rows, to: &mut [f32]) {
    let (channels, taps) = (g.from.c, g.kernel[0] * g.kernel[1]);
    assert!(g.groups == channels && g.groups == g.to.c && to.len() == channels * taps, "one channel a group");
    assert!(input.count() == g.from.n * g.from.h * g.from.w && input.width() == channels, "input of another size");
    assert!(gradient.count() == g.pixels() && gradient.width() == channels, "gradient of another size");
    let (isa, lines, zeros) = (cx.isa, g.to.n * g.to.h, vec![0.0; channels]);
    let blocks = lines.min(BLOCKS);
    let sums = reduce::blocks(cx, blocks, channels * taps, |block, part| {
        let mut cells = vec![std::ptr::null(); g.to.w * taps];
        for line in lines * block / blocks..lines * (block + 1) / blocks {
            point(g, input, line, &zeros, &mut cells);
            isa.run(WeightLine { g, cells: &cells, gradient: gradient.part(line * g.to.w, g.to.w), to: part });
        }
    });
    for (at, to) in to.iter_mut().enumerate() {
        *to = sums[at % taps * channels + at / taps] as f32;
    }
}

/// For each pixel of a line of the result the cells of its window, zeros outside of the input.
fn point(g: &Geometry, input: Rows, line: usize, zeros: &[f32], cells: &mut [*const f32]) {
    let Nchw { h, w, .. } = g.from;
    let (sample, y) = (line / g.to.h * h, line % g.to.h);
    let taps = g.kernel[0] * g.kernel[1];
    for (x, cells) in cells.chunks_exact_mut(taps).enumerate() {
        for (tap, cell) in cells.iter_mut().enumerate() {
            let in_y = (y * g.stride[0] + tap / g.kernel[1] * g.dilation[0]).wrapping_sub(g.before[0]);
            let in_x = (x * g.stride[1] + tap % g.kernel[1] * g.dilation[1]).wrapping_sub(g.before[1]);
            let inside = in_y < h && in_x < w;
            *cell = if inside { input.row((sample + in_y) * w + in_x).as_ptr() } else { zeros.as_ptr() };
        }
    }
}

/// Adds the products of one line of the result: `[tap][channel]`.
struct WeightLine<'a> {
    g: &'a Geometry,
    /// `[pixel][tap]`, each a row of channels.
    cells: &'a [*const f32],
    gradient: Rows<'a>,
    to: &'a mut [f32],
}

impl Task for WeightLine<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(mut self, l: L) {
        match self.g.kernel[0] * self.g.kernel[1] {
            1 => self.taps::<L, 1>(l, 0),
            9 => self.taps::<L, 9>(l, 0),
            taps => {
                for first in (0..taps).step_by(5) {
                    match taps - first {
                        1 => self.taps::<L, 1>(l, first),
                        2 => self.taps::<L, 2>(l, first),
                        3 => self.taps::<L, 3>(l, first),
                        4 => self.taps::<L, 4>(l, first),
                        _ => self.taps::<L, 5>(l, first),
                    }
                }
            }
        }
    }
}

impl WeightLine<'_> {
    /// `T` taps from `first` on, all channels.
    #[inline(always)]
    fn taps<L: Lanes, const T: usize>(&mut self, l: L, first: usize) {
        let channels = self.g.from.c;
        let taps = self.g.kernel[0] * self.g.kernel[1];
        assert!(self.cells.len() == self.gradient.count() * taps && self.to.len() == taps * channels);
        for c in (0..channels).step_by(LANES) {
            let count = LANES.min(channels - c);
            // SAFETY: cells, rows of the gradient and sums of a tap hold `channels` floats, `count` from `c` on; there are
            // `taps` cells for each pixel and `first + T <= taps`.
            unsafe {
                let mut sums = [l.splat(0.0); T];
                for x in 0..self.gradient.count() {
                    let gradient = self.gradient.load(l, x, c, count);
                    let cells = self.cells.as_ptr().add(x * taps + first);
                    for t in 0..T {
                        sums[t] = l.fma(gradient, l.load_up_to((*cells.add(t)).add(c), count), sums[t]);
                    }
                }
                for t in 0..T {
                    let to = self.to.as_mut_ptr().add((first + t) * channels + c);
                    l.store_part(to, l.add(sums[t], l.load_up_to(to, count)), count);
                }
            }
        }
    }
}
