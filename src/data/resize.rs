//! Resampling as Pillow does it, bit for bit: a horizontal pass, rounding to bytes, a vertical pass, with coefficients
//! in fixed point of 22 fractional bits. When shrinking, the filter is widened by the scale, so that every old pixel
//! counts (antialiasing).

use std::borrow::Cow;

use super::pixels::Pixels;
use super::preprocess::Interpolation;

/// Fractional bits of a coefficient: a 32-bit sum less 8 bits of pixel and 2 of headroom for negative lobes.
const PRECISION: u32 = 22;

/// `old` at `h` x `w`, both at least 1.
pub(super) fn resize(old: &Pixels, h: usize, w: usize, interpolation: Interpolation) -> Pixels {
    let (support, filter): (f64, fn(f64) -> f64) = match interpolation {
        Interpolation::Nearest => return nearest(old, h, w),
        Interpolation::Bilinear => (1.0, triangle),
        Interpolation::Bicubic => (2.0, cubic),
    };
    let mut pixels = Cow::Borrowed(old);
    if w != old.w {
        pixels = Cow::Owned(match old.c {
            1 => horizontal::<1>(&pixels, &windows(old.w, w, support, filter)),
            _ => horizontal::<3>(&pixels, &windows(old.w, w, support, filter)),
        });
    }
    if h != old.h {
        pixels = Cow::Owned(vertical(&pixels, &windows(old.h, h, support, filter)));
    }
    pixels.into_owned()
}

fn triangle(x: f64) -> f64 {
    (1.0 - x.abs()).max(0.0)
}

/// Keys 1981, "Cubic convolution interpolation for digital image processing", with a = -0.5.
fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

/// The old pixels from `first` on, each with its coefficient, that make a new pixel.
struct Window {
    first: usize,
    coefficients: Vec<i32>,
}

/// One window for each of `new` pixels made of `old` ones.
fn windows(old: usize, new: usize, support: f64, filter: fn(f64) -> f64) -> Vec<Window> {
    let scale = old as f64 / new as f64;
    let widening = scale.max(1.0);
    let (support, narrowing) = (support * widening, 1.0 / widening);
    let window = |index: usize| {
        let centre = (index as f64 + 0.5) * scale;
        // Casts to integers saturate at 0, which is the bound wanted here.
        let first = (centre - support + 0.5) as usize;
        let end = ((centre + support + 0.5) as usize).min(old);
        let weights: Vec<f64> = (first..end).map(|at| filter((at as f64 - centre + 0.5) * narrowing)).collect();
        let total: f64 = weights.iter().sum();
        let coefficients = weights
            .iter()
            .map(|weight| if total == 0.0 { *weight } else { weight / total })
            .map(|weight| (weight * f64::from(1u32 << PRECISION) + 0.5f64.copysign(weight)) as i32)
            .collect();
        Window { first, coefficients }
    };
    (0..new).map(window).collect()
}

/// A sum in fixed point to the nearest byte.
fn to_byte(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

/// What a sum starts from, so that [`to_byte`] rounds.
const HALF: i32 = 1 << (PRECISION - 1);

fn horizontal<const C: usize>(old: &Pixels, windows: &[Window]) -> Pixels {
    let mut bytes = Vec::with_capacity(old.h * windows.len() * C);
    for row in old.bytes.chunks_exact(old.w * C) {
        for window in windows {
            let mut sums = [HALF; C];
            for (pixel, &weight) in row[window.first * C..].chunks_exact(C).zip(&window.coefficients) {
                for (sum, &byte) in sums.iter_mut().zip(pixel) {
                    *sum += i32::from(byte) * weight;
                }
            }
            bytes.extend(sums.map(to_byte));
        }
    }
    Pixels { c: C, h: old.h, w: windows.len(), bytes }
}

fn vertical(old: &Pixels, windows: &[Window]) -> Pixels {
    let width = old.w * old.c;
    let mut bytes = Vec::with_capacity(windows.len() * width);
    let mut sums = vec![HALF; width];
    for window in windows {
        sums.fill(HALF);
        for (row, &weight) in old.bytes[window.first * width..].chunks_exact(width).zip(&window.coefficients) {
            for (sum, &byte) in sums.iter_mut().zip(row) {
                *sum += i32::from(byte) * weight;
            }
        }
        bytes.extend(sums.iter().map(|&sum| to_byte(sum)));
    }
    Pixels { c: old.c, h: windows.len(), w: old.w, bytes }
}

fn nearest(old: &Pixels, h: usize, w: usize) -> Pixels {
    let (rows, columns) = (nearest_positions(old.h, h), nearest_positions(old.w, w));
    let mut bytes = Vec::with_capacity(h * w * old.c);
    for y in rows {
        for &x in &columns {
            let at = (y * old.w + x) * old.c;
            bytes.extend_from_slice(&old.bytes[at..at + old.c]);
        }
    }
    Pixels { c: old.c, h, w, bytes }
}

/// The old position of each new pixel. The position is a running sum, because Pillow's is, and rounding tells on it.
fn nearest_positions(old: usize, new: usize) -> Vec<usize> {
    let step = old as f64 / new as f64;
    let mut position = step * 0.5;
    (0..new)
        .map(|_| {
            let at = (position as usize).min(old - 1);
            position += step;
            at
        })
        .collect()
}
