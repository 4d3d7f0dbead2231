//! Linear layers on weights as they lie in the file: `[out, in]`, row-major.

use super::conv::Context;
use super::isa::{LANES, Lanes, MAX_ROWS, Task};
use super::product::{Packed, Product, Range};
use super::rows::{Rows, RowsMut};

/// Outputs that are computed at once: as many streams of weights from memory.
const STREAMS: usize = 8;
/// Weights of a task: enough to be worth waking a thread for.
const TASK: usize = 64 * 1024;

/// `to[n][o] = range(weight[o] · from[n] + bias[o])`.
pub fn linear(cx: &mut Context, from: Rows, weight: &[f32], bias: Option<&[f32]>, to: &mut RowsMut, range: Range) {
    let (depth, outputs) = (from.width(), to.width());
    assert!(from.count() == to.count() && weight.len() == depth * outputs, "other sizes");
    assert!(bias.is_none_or(|bias| bias.len() == outputs), "bias of another size");
    if from.count() == 1 {
        vector(cx, from.row(0), weight, bias, to, range);
    } else {
        matrix(cx, from, weight, bias, to, range);
    }
}

/// One sample: each weight is read once, in eight streams.
fn vector(cx: &Context, from: &[f32], weight: &[f32], bias: Option<&[f32]>, to: &mut RowsMut, range: Range) {
    let (isa, outputs, to) = (cx.isa, to.width(), &*to);
    let blocks = outputs.div_ceil(STREAMS);
    let tasks = weight.len().div_ceil(TASK).clamp(1, blocks);
    cx.threads.run(tasks, |task, _| {
        for block in blocks * task / tasks..blocks * (task + 1) / tasks {
            let first = block * STREAMS;
            let streams = std::array::from_fn(|i| &weight[(first + i).min(outputs - 1) * from.len()..][..from.len()]);
            let sums = isa.run(Dots { from, streams });
            for (o, sum) in (first..outputs).zip(sums) {
                let y = range.apply_one(sum + bias.map_or(0.0, |bias| bias[o]));
                // SAFETY: output `o` of the only row is written here only.
                unsafe { to.ptr().add(o).write(y) };
            }
        }
    });
}

/// Dot products of one vector with several.
struct Dots<'a> {
    from: &'a [f32],
    streams: [&'a [f32]; STREAMS],
}

impl Task for Dots<'_> {
    type Output = [f32; STREAMS];

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> [f32; STREAMS] {
        let whole = self.from.len() - self.from.len() % LANES;
        assert!(self.streams.iter().all(|stream| stream.len() == self.from.len()));
        let mut sums = [lanes.splat(0.0); STREAMS];
        for at in (0..whole).step_by(LANES) {
            // SAFETY: all slices hold 8 floats from `at` on.
            unsafe {
                let x = lanes.load(self.from.as_ptr().add(at));
                for (sum, stream) in sums.iter_mut().zip(self.streams) {
                    *sum = lanes.fma(x, lanes.load(stream.as_ptr().add(at)), *sum);
                }
            }
        }
        let mut results = [0.0; STREAMS];
        for (i, result) in results.iter_mut().enumerate() {
            let rest: f32 = self.from[whole..].iter().zip(&self.streams[i][whole..]).map(|(x, w)| x * w).sum();
            *result = lanes.sum(sums[i]) + rest;
        }
        results
    }
}

/// Several samples: the weights are the rows of a product whose outputs are the samples, so that they are read once and
/// as they lie.
fn matrix(cx: &mut Context, from: Rows, weight: &[f32], bias: Option<&[f32]>, to: &mut RowsMut, range: Range) {
    const BLOCK: usize = 48;
    let (isa, samples, depth, outputs) = (cx.isa, from.count(), from.width(), to.width());
    let element = |sample: usize, _: usize, k: usize| from.row(sample)[k];
    let known = cx.scratch.samples.iter().position(|x| x.outputs() == samples && x.tap_len() == depth);
    let packed = match known {
        Some(at) => {
            let mut packed = cx.scratch.samples.swap_remove(at);
            packed.repack(element);
            packed
        }
        None => Packed::new(samples, 1, depth, element, None),
    };
    let (_, parts) = cx.scratch.parts(0, cx.threads.count(), BLOCK * samples);
    let to = &*to;
    cx.threads.run(outputs.div_ceil(BLOCK), |task, thread| {
        let first = task * BLOCK;
        let count = BLOCK.min(outputs - first);
        let mut rows = [std::ptr::null(); BLOCK + MAX_ROWS];
        for (o, row) in rows[..count].iter_mut().enumerate() {
            *row = weight[(first + o) * depth..][..depth].as_ptr();
        }
        // SAFETY: the scratch memory is borrowed until the loop has ended; a thread runs one call at a time.
        let turned = unsafe { parts.of(thread) };
        let out = (turned.as_mut_ptr(), samples);
        // SAFETY: each pointer is to a row of weights; `turned` holds a row of `samples` for each of them.
        isa.run(unsafe { Product::new(&packed, &rows, count, 0..packed.panels(), out, None, Range::ALL) });
        for o in 0..count {
            let bias = bias.map_or(0.0, |bias| bias[first + o]);
            for sample in 0..samples {
                let y = range.apply_one(turned[o * samples + sample] + bias);
                // SAFETY: outputs of this task are written here only.
                unsafe { to.ptr().add(sample * to.stride() + first + o).write(y) };
            }
        }
    });
    cx.scratch.samples.push(packed);
}
