//! Convolutions on feature maps in NCHW order, by matrix products or row by row.

use rayon::prelude::*;

use super::gemm::{Matrix, multiply};
use crate::tensor::Nchw;

/// The numbers of a convolution that the loops need.
#[derive(Clone, Copy, Debug)]
pub struct Geometry {
    /// Input sizes.
    pub from: Nchw,
    /// Output sizes.
    pub to: Nchw,
    /// Kernel height and width.
    pub kernel: [usize; 2],
    /// Strides.
    pub stride: [usize; 2],
    /// Dilations.
    pub dilation: [usize; 2],
    /// Padding at the top and on the left.
    pub before: [usize; 2],
    /// Groups.
    pub groups: usize,
}

impl Geometry {
    fn group_in(&self) -> usize {
        self.from.c / self.groups
    }

    fn group_out(&self) -> usize {
        self.to.c / self.groups
    }

    /// Output positions of an axis at which tap `k` reads inside the input, as a range.
    fn valid(&self, axis: usize, k: usize) -> std::ops::Range<usize> {
        let (size, outputs) = if axis == 0 { (self.from.h, self.to.h) } else { (self.from.w, self.to.w) };
        let (shift, stride, before) = (k * self.dilation[axis], self.stride[axis], self.before[axis]);
        let start = before.saturating_sub(shift).div_ceil(stride).min(outputs);
        let end = (size + before).saturating_sub(shift).div_ceil(stride).min(outputs);
        start..end.max(start)
    }
}

/// What is done to each result while it is at hand: add a bias, apply a function.
pub type Epilogue<'a> = &'a (dyn Fn(f32) -> f32 + Sync);

fn finish(row: &mut [f32], bias: f32, epilogue: Option<Epilogue>) {
    match epilogue {
        Some(function) => row.iter_mut().for_each(|value| *value = function(*value + bias)),
        None if bias != 0.0 => row.iter_mut().for_each(|value| *value += bias),
        None => {}
    }
}

/// Elements of unfolded input that are made at a time: they stay in the second-level cache while they are multiplied.
const UNFOLDED: usize = 96 * 1024;

/// A 1x1 convolution at stride 1: for each sample and group, `weight · input`.
pub fn pointwise(
    g: &Geometry,
    input: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    output: &mut [f32],
    epilogue: Option<Epilogue>,
) {
    let pixels = g.to.h * g.to.w;
    let (group_in, group_out) = (g.group_in(), g.group_out());
    let rows = rows_per_task(group_out, pixels * group_in);
    for (image, result) in input.chunks(g.from.c * pixels).zip(output.chunks_mut(g.to.c * pixels)) {
        for group in 0..g.groups {
            let columns = Matrix::dense(&image[group * group_in * pixels..], group_in, pixels);
            let result = &mut result[group * group_out * pixels..][..group_out * pixels];
            result.par_chunks_mut(rows * pixels).enumerate().for_each(|(task, result)| {
                let first = group * group_out + task * rows;
                let count = result.len() / pixels;
                let weight = Matrix::dense(&weight[first * group_in..], count, group_in);
                multiply(weight, columns, result, pixels, false);
                for (row, result) in result.chunks_mut(pixels).enumerate() {
                    finish(result, bias.map_or(0.0, |bias| bias[first + row]), epilogue);
                }
            });
        }
    }
}

/// Output channels for one task, so that the work is split but each part is worth it. Depends on the geometry only.
fn rows_per_task(rows: usize, macs_per_row: usize) -> usize {
    const WORTH_IT: usize = 1 << 18;
    rows.div_ceil(2).min(rows).max(WORTH_IT.div_ceil(macs_per_row.max(1))).clamp(1, rows)
}

/// Any convolution: blocks of output rows, each as `weight · unfolded input`. Blocks run in parallel and write their
/// own rows of every output channel, through a buffer of their own.
pub fn unfolded(
    g: &Geometry,
    input: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    output: &mut [f32],
    epilogue: Option<Epilogue>,
) {
    let (group_in, group_out) = (g.group_in(), g.group_out());
    let depth = group_in * g.kernel[0] * g.kernel[1];
    let rows = (UNFOLDED / (depth * g.to.w).max(1)).clamp(1, g.to.h);
    let blocks = g.to.h.div_ceil(rows);
    let (in_len, out_len) = (g.from.c * g.from.h * g.from.w, g.to.c * g.to.h * g.to.w);
    for (image, result) in input.chunks(in_len).zip(output.chunks_mut(out_len)) {
        for group in 0..g.groups {
            let image = &image[group * group_in * g.from.h * g.from.w..];
            let weight = Matrix::dense(&weight[group * group_out * depth..], group_out, depth);
            let result = &mut result[group * group_out * g.to.h * g.to.w..][..group_out * g.to.h * g.to.w];
            let bias = bias.map(|bias| &bias[group * group_out..][..group_out]);
            for_each_block(result, g, rows, blocks, group_out, |block, mut parts| {
                let top = block * rows;
                let count = rows.min(g.to.h - top);
                let pixels = count * g.to.w;
                let mut columns = vec![0.0; depth * pixels];
                unfold(g, image, top, count, &mut columns);
                let mut product = vec![0.0; group_out * pixels];
                multiply(weight, Matrix::dense(&columns, depth, pixels), &mut product, pixels, false);
                for (o, (part, product)) in parts.iter_mut().zip(product.chunks(pixels)).enumerate() {
                    part.copy_from_slice(product);
                    finish(part, bias.map_or(0.0, |bias| bias[o]), epilogue);
                }
            });
        }
    }
}

/// Runs `work` for each block of `rows` output rows with those rows of every channel of `result`.
fn for_each_block<'a>(
    result: &'a mut [f32],
    g: &Geometry,
    rows: usize,
    blocks: usize,
    channels: usize,
    work: impl Fn(usize, Vec<&'a mut [f32]>) + Sync,
) {
    let mut parts: Vec<Vec<&'a mut [f32]>> = (0..blocks).map(|_| Vec::with_capacity(channels)).collect();
    for plane in result.chunks_mut(g.to.h * g.to.w) {
        for (block, part) in plane.chunks_mut(rows * g.to.w).enumerate() {
            parts[block].push(part);
        }
    }
    parts.into_par_iter().enumerate().for_each(|(block, parts)| work(block, parts));
}

/// Writes the input cells of each tap under `count` output rows from `top` on: `columns[(i, ky, kx)][(y, x)]`, zero
/// where the tap falls on padding.
fn unfold(g: &Geometry, image: &[f32], top: usize, count: usize, columns: &mut [f32]) {
    let [k_h, k_w] = g.kernel;
    let pixels = count * g.to.w;
    for (tap, column) in columns.chunks_mut(pixels).enumerate() {
        let (i, ky, kx) = (tap / (k_h * k_w), tap / k_w % k_h, tap % k_w);
        let plane = &image[i * g.from.h * g.from.w..][..g.from.h * g.from.w];
        let (valid_y, valid_x) = (g.valid(0, ky), g.valid(1, kx));
        for (row, out) in column.chunks_mut(g.to.w).enumerate() {
            let y = top + row;
            if !valid_y.contains(&y) {
                continue;
            }
            let from = &plane[(y * g.stride[0] + ky * g.dilation[0] - g.before[0]) * g.from.w..][..g.from.w];
            copy_row(g, from, kx, valid_x.clone(), out);
        }
    }
}

fn copy_row(g: &Geometry, from: &[f32], kx: usize, valid: std::ops::Range<usize>, out: &mut [f32]) {
    if valid.is_empty() {
        return;
    }
    let stride = g.stride[1];
    let start = valid.start * stride + kx * g.dilation[1] - g.before[1];
    if stride == 1 {
        out[valid.clone()].copy_from_slice(&from[start..start + valid.len()]);
    } else {
        for (out, &value) in out[valid].iter_mut().zip(from[start..].iter().step_by(stride)) {
            *out = value;
        }
    }
}

/// A convolution of each channel by itself: planes in parallel, each output row as a sum of shifted input rows.
pub fn depthwise(
    g: &Geometry,
    input: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    output: &mut [f32],
    epilogue: Option<Epilogue>,
) {
    let (in_plane, out_plane) = (g.from.h * g.from.w, g.to.h * g.to.w);
    let taps = g.kernel[0] * g.kernel[1];
    output.par_chunks_mut(out_plane).enumerate().with_min_len(4).for_each(|(plane, result)| {
        let channel = plane % g.to.c;
        let image = &input[plane * in_plane..][..in_plane];
        let weight = &weight[channel * taps..][..taps];
        result.fill(0.0);
        for ky in 0..g.kernel[0] {
            for y in g.valid(0, ky) {
                let from = &image[(y * g.stride[0] + ky * g.dilation[0] - g.before[0]) * g.from.w..][..g.from.w];
                let out = &mut result[y * g.to.w..][..g.to.w];
                for kx in 0..g.kernel[1] {
                    accumulate_row(g, from, kx, weight[ky * g.kernel[1] + kx], out);
                }
            }
        }
        finish(result, bias.map_or(0.0, |bias| bias[channel]), epilogue);
    });
}

fn accumulate_row(g: &Geometry, from: &[f32], kx: usize, weight: f32, out: &mut [f32]) {
    let valid = g.valid(1, kx);
    if valid.is_empty() {
        return;
    }
    let start = valid.start * g.stride[1] + kx * g.dilation[1] - g.before[1];
    let taken = from[start..].iter();
    if g.stride[1] == 1 {
        for (out, &value) in out[valid].iter_mut().zip(taken) {
            *out += weight * value;
        }
    } else {
        for (out, &value) in out[valid].iter_mut().zip(taken.step_by(g.stride[1])) {
            *out += weight * value;
        }
    }
}
