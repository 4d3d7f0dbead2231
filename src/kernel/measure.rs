//! What this machine can do: the rate of a large matrix product, and the bandwidth of a large copy.

use std::time::Instant;

use rayon::prelude::*;

use super::gemm::{Matrix, multiply};

/// The best of several runs in seconds.
fn fastest(runs: usize, mut work: impl FnMut()) -> f64 {
    let once = |work: &mut dyn FnMut()| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    };
    (0..runs).map(|_| once(&mut work)).fold(f64::INFINITY, f64::min)
}

/// Floating-point operations a second of matrix products on `threads` threads at once, in units of 10^9.
pub fn peak_gflops(threads: usize) -> f64 {
    const SIZE: usize = 512;
    let a = vec![0.5f32; SIZE * SIZE];
    let mut results = vec![vec![0.0f32; SIZE * SIZE]; threads];
    let seconds = fastest(8, || {
        results.par_iter_mut().for_each(|c| {
            multiply(Matrix::dense(&a, SIZE, SIZE), Matrix::dense(&a, SIZE, SIZE), c, SIZE, false);
        });
    });
    2.0 * (SIZE * SIZE * SIZE * threads) as f64 / seconds / 1e9
}

/// Bytes read and written a second when memory far larger than the caches is copied, in units of 10^9.
pub fn bandwidth_gbs() -> f64 {
    const ELEMENTS: usize = 1 << 25;
    let from = vec![1.0f32; ELEMENTS];
    let mut to = vec![0.0f32; ELEMENTS];
    let seconds = fastest(5, || super::elementwise::copy(&from, &mut to));
    (2 * ELEMENTS * size_of::<f32>()) as f64 / seconds / 1e9
}
