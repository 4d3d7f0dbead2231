//! What this machine can do: the rate of matrix products, and the bandwidth of a large copy.

use std::time::Instant;

use super::conv::{self, Around, Context, Geometry, Summand, Weights};
use super::elementwise;
use super::isa::Isa;
use super::product::Range;
use super::rows::{Rows, RowsMut};
use super::scratch::Scratch;
use super::threads::Threads;
use crate::tensor::Nchw;

/// The best of several runs in seconds.
fn fastest(runs: usize, mut work: impl FnMut()) -> f64 {
    let once = |work: &mut dyn FnMut()| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    };
    (0..runs).map(|_| once(&mut work)).fold(f64::INFINITY, f64::min)
}

/// Floating-point operations a second of a 1x1 convolution that fits the caches, in units of 10^9.
pub fn peak_gflops(threads: &Threads) -> f64 {
    let size = Nchw { n: 1, c: 256, h: 48, w: 48 };
    let one = [1, 1];
    let g = Geometry { from: size, to: size, kernel: one, stride: one, dilation: one, before: [0, 0], groups: 1 };
    let isa = Isa::detect();
    let weights = Weights::new(isa, &g, &vec![0.5; size.c * size.c], None);
    let pixels = size.h * size.w;
    let (from, mut to) = (vec![0.5; pixels * size.c], vec![0.0; pixels * size.c]);
    let (from, mut to) = (Rows::of(&from, pixels, size.c), RowsMut::of(&mut to, pixels, size.c));
    let around = Around { prologue: None, summand: Summand::None, range: Range::ALL };
    let mut cx = Context { isa, threads, scratch: &mut Scratch::default() };
    let seconds = fastest(20, || conv::direct(&mut cx, &g, &weights, from, &mut to, &around));
    2.0 * (pixels * size.c * size.c) as f64 / seconds / 1e9
}

/// Bytes read and written a second when memory far larger than the caches is copied, in units of 10^9.
pub fn bandwidth_gbs(threads: &Threads) -> f64 {
    const ROWS: usize = 1 << 11;
    const WIDTH: usize = 1 << 14;
    let (from, mut to) = (vec![1.0f32; ROWS * WIDTH], vec![0.0f32; ROWS * WIDTH]);
    let (from, mut to) = (Rows::of(&from, ROWS, WIDTH), RowsMut::of(&mut to, ROWS, WIDTH));
    let cx = Context { isa: Isa::detect(), threads, scratch: &mut Scratch::default() };
    let seconds = fastest(5, || elementwise::copy(&cx, from, &mut to));
    (2 * ROWS * WIDTH * size_of::<f32>()) as f64 / seconds / 1e9
}
