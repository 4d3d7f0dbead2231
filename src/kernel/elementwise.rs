//! Sums, functions and per-channel scales, split evenly over the threads; bound by memory.

use rayon::prelude::*;

/// Elements for one task.
const TASK: usize = 16 * 1024;

/// `output = function(input)`.
pub fn map(input: &[f32], output: &mut [f32], function: impl Fn(f32) -> f32 + Sync) {
    output.par_chunks_mut(TASK).zip(input.par_chunks(TASK)).for_each(|(output, input)| {
        for (output, &x) in output.iter_mut().zip(input) {
            *output = function(x);
        }
    });
}

/// `values = function(values)`.
pub fn map_in_place(values: &mut [f32], function: impl Fn(f32) -> f32 + Sync) {
    values.par_chunks_mut(TASK).for_each(|values| {
        for x in values {
            *x = function(*x);
        }
    });
}

/// `output += input`.
pub fn add_assign(output: &mut [f32], input: &[f32]) {
    output.par_chunks_mut(TASK).zip(input.par_chunks(TASK)).for_each(|(output, input)| {
        for (output, &x) in output.iter_mut().zip(input) {
            *output += x;
        }
    });
}

/// `output = input`.
pub fn copy(input: &[f32], output: &mut [f32]) {
    output.par_chunks_mut(TASK).zip(input.par_chunks(TASK)).for_each(|(output, input)| output.copy_from_slice(input));
}

/// `values[.., c, ..] = function(c, values[.., c, ..])` for planes of `plane` elements, `channels` of them a sample.
pub fn map_planes(values: &mut [f32], plane: usize, channels: usize, function: impl Fn(usize, f32) -> f32 + Sync) {
    values.par_chunks_mut(plane.max(1)).enumerate().with_min_len(TASK.div_ceil(plane.max(1))).for_each(
        |(at, values)| {
            let channel = at % channels;
            for x in values {
                *x = function(channel, *x);
            }
        },
    );
}
