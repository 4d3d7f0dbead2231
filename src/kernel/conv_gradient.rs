//! Gradients of convolutions.
//!
//! With respect to the input it is a convolution of the result's gradient with the weights turned around. At a stride the
//! input falls into phases, one for each remainder of its coordinates by the stride: each is a convolution of its own,
//! at stride 1 and with those taps that meet it, so that no zero is multiplied. With respect to the weights it is a sum
//! of outer products over all pixels (`outer`), cut into blocks at fixed places.

use super::conv::{self, Around, Context, Geometry, Summand};
use super::isa::WIDE;
use super::outer::{self, Outer, slots};
use super::product::Range;
use super::reduce;
use super::rows::{Rows, RowsMut};
use super::winograd;
use crate::tensor::Nchw;

/// The pixels of the input whose coordinates have the same remainders by the stride.
#[derive(Clone, Debug)]
pub struct Phase {
    /// The first of them.
    first: [usize; 2],
    /// The convolution of the result's gradient that gives theirs; none where no tap meets them.
    geometry: Option<Geometry>,
    /// The tap of the forward convolution that each tap of this one is; none for one that is zero.
    taps: [Vec<Option<usize>>; 2],
}

/// The phases of a convolution's input; `None` where one is no convolution: taps at a dilation and a stride may be met at
/// uneven distances.
pub fn phases(g: &Geometry) -> Option<Vec<Phase>> {
    let mut phases = Vec::new();
    for y in 0..g.stride[0].min(g.from.h) {
        for x in 0..g.stride[1].min(g.from.w) {
            phases.push(phase(g, [y, x])?);
        }
    }
    Some(phases)
}

fn phase(g: &Geometry, first: [usize; 2]) -> Option<Phase> {
    let [rows, columns] = [axis(g, 0, first[0])?, axis(g, 1, first[1])?];
    let count = |size: usize, axis: usize| (size - first[axis]).div_ceil(g.stride[axis]);
    let to = Nchw { n: g.from.n, c: g.from.c, h: count(g.from.h, 0), w: count(g.from.w, 1) };
    let is_met = !rows.taps.is_empty() && !columns.taps.is_empty();
    let geometry = is_met.then_some(Geometry {
        from: g.to,
        to,
        kernel: [rows.taps.len(), columns.taps.len()],
        stride: [1, 1],
        dilation: [rows.dilation, columns.dilation],
        before: [rows.before, columns.before],
        groups: g.groups,
    });
    Some(Phase { first, geometry, taps: [rows.taps, columns.taps] })
}

/// The taps that meet the input positions of a phase on one axis.
struct Axis {
    taps: Vec<Option<usize>>,
    dilation: usize,
    before: usize,
}

/// Output position `o` reads input position `o · stride + tap · dilation - before`: of input position `first + j · stride`
/// the tap `k` sees output `j + (first + before - k · dilation) / stride`, where that is whole.
fn axis(g: &Geometry, axis: usize, first: usize) -> Option<Axis> {
    let (stride, dilation) = (g.stride[axis], g.dilation[axis]);
    let ahead = |k: usize| (first + g.before[axis]) as i64 - (k * dilation) as i64;
    let met = (0..g.kernel[axis]).rev().filter(|&k| ahead(k).rem_euclid(stride as i64) == 0);
    let met: Vec<(usize, i64)> = met.map(|k| (k, ahead(k) / stride as i64)).collect();
    let Some(&(_, lowest)) = met.first() else { return Some(Axis { taps: Vec::new(), dilation: 1, before: 0 }) };
    let step = met.get(1).map_or(1, |&(_, second)| second - lowest);
    let mut taps: Vec<Option<usize>> = met.iter().map(|&(k, _)| Some(k)).collect();
    if 0 < lowest {
        // Nothing is met at the first outputs: taps of zero reach back to them.
        let missing = usize::try_from(lowest / step).ok().filter(|_| lowest % step == 0)?;
        taps.splice(0..0, std::iter::repeat_n(None, missing));
    }
    let before = usize::try_from((-lowest).max(0)).ok()?;
    Some(Axis { taps, dilation: usize::try_from(step).ok()?, before })
}

impl Phase {
    /// The convolution that gives the gradient of these pixels; none where it is zero.
    pub fn geometry(&self) -> Option<&Geometry> {
        self.geometry.as_ref()
    }

    /// Turns the weights of the forward convolution, `[out_c, in_c / groups, k_h, k_w]`, into those of this one:
    /// `[in_c, out_c / groups, …]`.
    pub fn turn(&self, g: &Geometry, weight: &[f32]) -> Vec<f32> {
        let (group_in, group_out, [k_h, k_w]) = (g.group_in(), g.group_out(), g.kernel);
        assert_eq!(weight.len(), g.to.c * group_in * k_h * k_w);
        let [rows, columns] = &self.taps;
        let mut turned = Vec::with_capacity(g.from.c * group_out * rows.len() * columns.len());
        for i in 0..g.from.c {
            let (group, i) = (i / group_in, i % group_in);
            for o in group * group_out..(group + 1) * group_out {
                let kernel = &weight[(o * group_in + i) * k_h * k_w..][..k_h * k_w];
                for y in rows {
                    let tap = |x: &Option<usize>| Some(kernel[(*y)? * k_w + (*x)?]);
                    turned.extend(columns.iter().map(|x| tap(x).unwrap_or(0.0)));
                }
            }
        }
        turned
    }
}

/// The weights of a phase.
#[derive(Clone, Debug)]
pub enum Weights {
    /// Packed for products.
    Product(conv::Weights),
    /// Carried over to the positions of tiles.
    Winograd(winograd::Weights),
}

impl Weights {
    /// The convolution of a phase.
    fn convolve(&self, cx: &mut Context, g: &Geometry, from: Rows, to: &mut RowsMut, summand: Summand) {
        let around = Around { prologue: None, summand, range: Range::ALL };
        match self {
            Weights::Product(weights) => conv::direct(cx, g, weights, from, to, &around),
            Weights::Winograd(weights) => winograd::convolve(cx, g, weights, from, to, &around),
        }
    }
}

/// The gradient with respect to the input, from that of the result. `weights` are those of each phase that is met.
pub fn input(
    cx: &mut Context,
    g: &Geometry,
    phases: &[Phase],
    weights: &[Option<Weights>],
    gradient: Rows,
    to: &mut RowsMut,
    summand: Summand,
) {
    assert!(to.count() == g.from.n * g.from.h * g.from.w && to.width() == g.from.c, "input of another size");
    if let ([Phase { geometry: Some(geometry), .. }], [Some(weights)]) = (phases, weights) {
        return weights.convolve(cx, geometry, gradient, to, summand);
    }
    assert!(phases.len() == weights.len() && matches!(summand, Summand::None), "weights for each phase");
    let mut dense = std::mem::take(&mut cx.scratch.phase);
    for (phase, weights) in phases.iter().zip(weights) {
        if let (Some(geometry), Some(weights)) = (&phase.geometry, weights) {
            let pixels = geometry.pixels();
            dense.reserve(pixels * g.from.c);
            let mut part = RowsMut::of(&mut dense[..pixels * g.from.c], pixels, g.from.c);
            weights.convolve(cx, geometry, gradient, &mut part, Summand::None);
            spread(cx, g, phase, Some((part.as_rows(), geometry.to)), to);
        } else {
            spread(cx, g, phase, None, to);
        }
    }
    cx.scratch.phase = dense;
}

/// Puts the pixels of a phase into their places; zeros where there are none.
fn spread(cx: &Context, g: &Geometry, phase: &Phase, from: Option<(Rows, Nchw)>, to: &mut RowsMut) {
    let [first_y, first_x] = phase.first;
    let lines = (g.from.h - first_y).div_ceil(g.stride[0]);
    let to = &*to;
    cx.threads.run(g.from.n * lines, |line, _| {
        let y = line / lines * g.from.h + first_y + line % lines * g.stride[0];
        for (at, x) in (first_x..g.from.w).step_by(g.stride[1]).enumerate() {
            // SAFETY: each pixel is met by one phase, and there once.
            let to = unsafe { to.row_shared(y * g.from.w + x) };
            match from {
                Some((rows, size)) => to.copy_from_slice(rows.row(line * size.w + at)),
                None => to.fill(0.0),
            }
        }
    });
}

/// Pointers of a task: rows of one stretch of pixels for each tap.
const POINTERS: usize = 2560;
/// The most blocks that pixels are cut into.
const BLOCKS: usize = 32;
/// Pixels of a block, at least.
const PIXELS: usize = 2048;
/// Floats of all blocks' sums together, where one block has fewer.
const SUMS: usize = 1 << 22;
/// Tasks that are wanted at least, whatever the number of threads.
const TASKS: usize = 16;

/// The gradient with respect to the weights, `[out_c, in_c / groups, k_h, k_w]`.
pub fn weight(cx: &mut Context, g: &Geometry, input: Rows, gradient: Rows, to: &mut [f32]) {
    let group_in = g.group_in();
    assert!(input.count() == g.from.n * g.from.h * g.from.w && input.width() == g.from.c, "input of another size");
    assert!(gradient.count() == g.pixels() && gradient.width() == g.to.c, "gradient of another size");
    assert_eq!(to.len(), g.to.c * group_in * g.kernel[0] * g.kernel[1]);
    let joined = g.joins_taps() && g.from.c < WIDE;
    if !joined {
        return sums(cx, g, false, input, gradient, to);
    }
    let mut padded = std::mem::take(&mut cx.scratch.padded);
    let (wide, rows) = conv::widened(cx, g, input, &mut padded);
    sums(cx, &wide, true, rows, gradient, to);
    cx.scratch.padded = padded;
}

fn sums(cx: &mut Context, g: &Geometry, joined: bool, input: Rows, gradient: Rows, to: &mut [f32]) {
    let (group_in, group_out, [k_h, k_w]) = (g.group_in(), g.group_out(), g.kernel);
    let (taps, len) = if joined { (k_h, k_w * group_in) } else { (k_h * k_w, group_in) };
    let (isa, threads, slots, pixels) = (cx.isa, cx.threads, slots(taps, len), g.pixels());
    let (stride, size) = (taps * len, taps * len * g.to.c);
    let blocks = (pixels / PIXELS).min(SUMS / size).clamp(1, BLOCKS);
    let parts = TASKS.div_ceil(blocks * g.groups).min(group_out.div_ceil(outer::ROWS));
    let mut zeros = std::mem::take(&mut cx.scratch.zero_row);
    zeros.resize(zeros.len().max(len), 0.0);
    let (_, memory) = cx.scratch.parts(0, blocks, size);
    threads.run(blocks * g.groups * parts, |task, _| {
        let (block, group, part) = (task / parts / g.groups, task / parts % g.groups, task % parts);
        let cut = |total: usize, at: usize, of: usize| total * at / of..total * (at + 1) / of;
        let outputs = cut(group_out.div_ceil(outer::ROWS), part, parts);
        let outputs = outputs.start * outer::ROWS..group_out.min(outputs.end * outer::ROWS);
        let pixels = cut(pixels, block, blocks);
        let depth = (POINTERS / taps).clamp(1, outer::DEPTH);
        let (mut stack, mut heap) = ([std::ptr::null(); POINTERS], Vec::new());
        let table: &mut [*const f32] = if taps <= POINTERS {
            &mut stack
        } else {
            heap.resize(taps, std::ptr::null());
            &mut heap
        };
        // SAFETY: only this task's rows of the block's part are used here, through the pointer.
        let out = unsafe { memory.pointer(block) }.wrapping_add(group * group_out * stride);
        for first in pixels.clone().step_by(depth) {
            let count = depth.min(pixels.end - first);
            let table = &mut table[..taps * count];
            conv::point(g, joined, &input, group * group_in, first..first + count, &zeros, table);
            let a = gradient.ptr().wrapping_add(first * gradient.stride() + group * group_out);
            // SAFETY: `point` leaves pointers to rows of the input or of zeros that are as long as a tap; the gradient has
            // a row for each pixel. Rows `outputs` of this group's sums of this block are written by this task alone.
            isa.run(unsafe {
                let (a, out) = ((a, gradient.stride()), (out, stride));
                Outer::new(a, table, count, outputs.clone(), &slots, out, first != pixels.start)
            });
        }
    });
    let row = group_in * k_h * k_w;
    let result = &RowsMut::of(to, g.to.c, row);
    threads.run(g.to.c, |o, _| {
        // SAFETY: each row is written once.
        let to = unsafe { result.row_shared(o) };
        let mut sums = vec![0.0f64; row];
        for block in 0..blocks {
            // SAFETY: the loop that wrote the parts has ended; they are only read here.
            let from = unsafe { std::slice::from_raw_parts(memory.pointer(block).add(o * stride), stride) };
            sums.iter_mut().zip(from).for_each(|(sum, &x)| *sum += f64::from(x));
        }
        for i in 0..group_in {
            for tap in 0..k_h * k_w {
                to[i * k_h * k_w + tap] = sums[tap * group_in + i] as f32;
            }
        }
    });
    cx.scratch.zero_row = zeros;
}

/// The gradient with respect to the bias.
pub fn bias(cx: &mut Context, gradient: Rows, to: &mut [f32]) {
    reduce::columns(cx, gradient, to);
}
