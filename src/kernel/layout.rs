//! Between the order that users see, `[n, c, h, w]`, and rows of channels.

use super::conv::Context;
use super::rows::{Rows, RowsMut};

/// Pixels that are turned at a time.
const BLOCK: usize = 16;

/// Turns `values: [samples, channels, pixels]` into rows of channels, a row a pixel.
pub fn to_rows(cx: &Context, values: &[f32], samples: usize, to: &mut RowsMut) {
    let (channels, pixels) = (to.width(), to.count() / samples.max(1));
    assert!(values.len() == to.count() * channels && to.count() == samples * pixels, "other sizes");
    let to = &*to;
    let blocks = pixels.div_ceil(BLOCK);
    cx.threads.run(tasks(samples, blocks, values.len()), |task, _| {
        for block in share(samples, blocks, values.len(), task) {
            let (sample, first) = (block / blocks, block % blocks * BLOCK);
            for pixel in first..pixels.min(first + BLOCK) {
                // SAFETY: each row is written once.
                let row = unsafe { to.row_shared(sample * pixels + pixel) };
                let from = values[sample * channels * pixels + pixel..].iter().step_by(pixels);
                row.iter_mut().zip(from).for_each(|(to, &from)| *to = from);
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
                    *to = from.row(sample * pixels + pixel)[channel];
                }
            }
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
