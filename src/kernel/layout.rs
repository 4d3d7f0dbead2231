//! Between the order that users see, `[n, c, h, w]`, and rows of channels.

use super::conv::Context;
use super::elementwise::each_row;
use super::rows::{Rows, RowsMut};
use crate::tensor::Nchw;

/// Pixels, or channels, that are turned at a time: what is read and what is written both stay in the caches.
const BLOCK: usize = 64;

/// Turns `values: [samples, channels, pixels]` into rows of channels, a row a pixel.
pub fn to_rows(cx: &Context, values: &[f32], samples: usize, to: &mut RowsMut) {
    let (channels, pixels) = (to.width(), to.count() / samples.max(1));
    assert!(values.len() == to.count() * channels && to.count() == samples * pixels, "other sizes");
    let to = &*to;
    let blocks = pixels.div_ceil(BLOCK);
    cx.threads.run(tasks(samples, blocks, values.len()), |task, _| {
        for block in share(samples, blocks, values.len(), task) {
            let (sample, first) = (block / blocks, block % blocks * BLOCK);
            let count = BLOCK.min(pixels - first);
            let start = sample * pixels + first;
            for channel in 0..channels {
                let from = &values[(sample * channels + channel) * pixels + first..][..count];
                for (pixel, &value) in from.iter().enumerate() {
                    // SAFETY: the row and the channel are part of `to`; each is written once.
                    unsafe { to.ptr().add((start + pixel) * to.stride() + channel).write(value) };
                }
            }
        }
    });
}

/// Turns rows of channels into `values: [samples, channels, pixels]`.
pub fn from_rows(cx: &Context, from: Rows, samples: usize, values: &mut [f32]) {
    let (channels, pixels) = (from.width(), from.count() / samples.max(1));
    assert!(values.len() == from.count() * channels && from.count() == samples * pixels, "other sizes");
    let total = values.len();
    let to = RowsMut::of(values, samples * channels, pixels);
    let to = &to;
    let blocks = channels.div_ceil(BLOCK);
    cx.threads.run(tasks(samples, blocks, total), |task, _| {
        for block in share(samples, blocks, total, task) {
            let (sample, first) = (block / blocks, block % blocks * BLOCK);
            for channel in first..channels.min(first + BLOCK) {
                // SAFETY: each row is written once.
                let plane = unsafe { to.row_shared(sample * channels + channel) };
                for (pixel, to) in plane.iter_mut().enumerate() {
                    // SAFETY: the row and the channel are part of `from`.
                    *to = unsafe { from.ptr().add((sample * pixels + pixel) * from.stride() + channel).read() };
                }
            }
        }
    });
}

/// Every `stride`-th pixel of `from: [n, h, w]` pixels, behind `front` zero channels and before as many as are left.
pub fn shortcut(cx: &Context, sizes: [Nchw; 2], stride: [usize; 2], front: usize, from: Rows, to: &mut RowsMut) {
    let [size, result] = sizes;
    assert!(from.count() == size.n * size.h * size.w && from.width() == size.c, "other sizes");
    assert!(to.count() == result.n * result.h * result.w && front + size.c <= to.width(), "other sizes");
    assert!(result.n == size.n && (result.h - 1) * stride[0] < size.h && (result.w - 1) * stride[1] < size.w);
    each_row(cx, to, |at, row| {
        let (line, x) = (at / result.w, at % result.w);
        let y = line / result.h * size.h + line % result.h * stride[0];
        row[..front].fill(0.0);
        row[front..front + size.c].copy_from_slice(from.row(y * size.w + x * stride[1]));
        row[front + size.c..].fill(0.0);
    });
}

/// The gradient of [`shortcut`] with respect to its operand, from that of the result: `sizes` are as there.
pub fn shortcut_gradient(
    cx: &Context,
    sizes: [Nchw; 2],
    stride: [usize; 2],
    front: usize,
    gradient: Rows,
    to: &mut RowsMut,
) {
    let [size, result] = sizes;
    assert!(to.count() == size.n * size.h * size.w && to.width() == size.c, "other sizes");
    assert!(gradient.count() == result.n * result.h * result.w && front + size.c <= gradient.width(), "other sizes");
    each_row(cx, to, |at, row| {
        let (line, x) = (at / size.w, at % size.w);
        let (n, y) = (line / size.h, line % size.h);
        let (down, across) = (y / stride[0], x / stride[1]);
        let is_met = y.is_multiple_of(stride[0]) && x.is_multiple_of(stride[1]);
        if is_met && down < result.h && across < result.w {
            let from = gradient.row((n * result.h + down) * result.w + across);
            row.copy_from_slice(&from[front..front + size.c]);
        } else {
            row.fill(0.0);
        }
    });
}

/// Elements for one task.
const TASK: usize = 32 * 1024;

fn tasks(samples: usize, blocks: usize, elements: usize) -> usize {
    elements.div_ceil(TASK).clamp(1, (samples * blocks).max(1))
}

fn share(samples: usize, blocks: usize, elements: usize, task: usize) -> std::ops::Range<usize> {
    let (tasks, total) = (tasks(samples, blocks, elements), samples * blocks);
    total * task / tasks..total * (task + 1) / tasks
}
