//! Linear layers on weights as they lie in the file: `[out, in]`, row-major.

use rayon::prelude::*;

use super::gemm::{Matrix, multiply};

/// Lanes of the running sums of a dot product: enough independent additions to hide their latency.
const LANES: usize = 32;

/// `x · y` in `LANES` running sums that are added pairwise at the end.
pub fn dot(x: &[f32], y: &[f32]) -> f32 {
    let mut sums = [0.0f32; LANES];
    let (x_chunks, y_chunks) = (x.chunks_exact(LANES), y.chunks_exact(LANES));
    let rest: f32 = x_chunks.remainder().iter().zip(y_chunks.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in x_chunks.zip(y_chunks) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
    }
    sums[0] + rest
}

/// One sample: a dot product for each output.
pub fn vector(input: &[f32], weight: &[f32], output: &mut [f32], finish: impl Fn(usize, f32) -> f32 + Sync) {
    let task = (64 * 1024 / input.len().max(1)).max(8);
    output.par_chunks_mut(task).enumerate().for_each(|(at, output)| {
        for (row, output) in output.iter_mut().enumerate() {
            let o = at * task + row;
            *output = finish(o, dot(input, &weight[o * input.len()..][..input.len()]));
        }
    });
}

/// Several samples: `input · weightᵀ`, blocks of outputs in parallel, each in a buffer of its own.
pub fn matrix(
    input: &[f32],
    batch: usize,
    weight: &[f32],
    output: &mut [f32],
    finish: impl Fn(usize, f32) -> f32 + Sync,
) {
    const BLOCK: usize = 128;
    let (depth, outputs) = (input.len() / batch, output.len() / batch);
    let mut parts: Vec<Vec<&mut [f32]>> = (0..outputs.div_ceil(BLOCK)).map(|_| Vec::with_capacity(batch)).collect();
    for row in output.chunks_mut(outputs) {
        for (block, part) in row.chunks_mut(BLOCK).enumerate() {
            parts[block].push(part);
        }
    }
    parts.into_par_iter().enumerate().for_each(|(block, rows)| {
        let first = block * BLOCK;
        let count = BLOCK.min(outputs - first);
        let weight = Matrix::dense(&weight[first * depth..], count, depth).transpose();
        let mut product = vec![0.0; batch * count];
        multiply(Matrix::dense(input, batch, depth), weight, &mut product, count, false);
        for (row, product) in rows.into_iter().zip(product.chunks(count)) {
            for (at, (out, &value)) in row.iter_mut().zip(product).enumerate() {
                *out = finish(first + at, value);
            }
        }
    });
}
