//! Resampling as Pillow 13 does it, bit for bit: a horizontal and a vertical pass with rounding to bytes after each, and
//! coefficients in fixed point of 22 fractional bits. When shrinking, the filter is widened by the scale, so that every
//! old pixel counts (antialiasing).
//!
//! Pillow up to version 12 always starts with the horizontal pass; where the order differs, so does the last bit of some
//! bytes.

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
    let across = |pixels: &Pixels| match pixels.c {
        _ if w == pixels.w => pixels.clone(),
        1 => horizontal::<1>(pixels, &windows(pixels.w, w, support, filter)),
        _ => horizontal::<3>(pixels, &windows(pixels.w, w, support, filter)),
    };
    let down = |pixels: &Pixels| match pixels.h {
        same if same == h => pixels.clone(),
        _ => vertical(pixels, &windows(pixels.h, h, support, filter)),
    };
    if vertical_first((old.h, old.w), (h, w)) { across(&down(old)) } else { down(&across(old)) }
}

/// Pillow's rule, which saves work where much more height goes than width. The order shows in the last bit. In either
/// order the image between the passes is no larger than the old or the new one.
fn vertical_first(old: (usize, usize), new: (usize, usize)) -> bool {
    let lost_height = old.0.saturating_sub(new.0);
    let twice_lost_width = old.1.saturating_sub(new.1).saturating_mul(2);
    lost_height > twice_lost_width
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The coefficients of a window add up to 1, so that an even area stays as it is.
        #[test]
        fn an_even_image_stays_even(
            (h, w, new_h, new_w) in (1usize..40, 1usize..40, 1usize..60, 1usize..60),
            value: u8,
            c in prop::sample::select(vec![1usize, 3]),
        ) {
            let old = Pixels { c, h, w, bytes: vec![value; c * h * w] };
            for interpolation in [Interpolation::Bilinear, Interpolation::Bicubic, Interpolation::Nearest] {
                let new = resize(&old, new_h, new_w, interpolation);
                prop_assert_eq!(new, Pixels { c, h: new_h, w: new_w, bytes: vec![value; c * new_h * new_w] });
            }
        }

        /// Against the definition in floating point: each pass rounds once.
        #[test]
        fn bilinear_is_within_one_of_the_exact_sum(
            (h, w, new_h, new_w) in (1usize..20, 1usize..20, 1usize..30, 1usize..30),
            noise in prop::collection::vec(any::<u8>(), 400),
        ) {
            let old = Pixels { c: 1, h, w, bytes: noise[..h * w].to_vec() };
            let new = resize(&old, new_h, new_w, Interpolation::Bilinear);
            let weight = |old: usize, new: usize, to: usize, from: usize| {
                let scale = old as f64 / new as f64;
                let distance = from as f64 + 0.5 - (to as f64 + 0.5) * scale;
                (1.0 - distance.abs() / scale.max(1.0)).max(0.0)
            };
            for y in 0..new_h {
                for x in 0..new_w {
                    let (mut sum, mut total) = (0.0, 0.0);
                    for (from_y, from_x) in (0..h).flat_map(|y| (0..w).map(move |x| (y, x))) {
                        let weight = weight(h, new_h, y, from_y) * weight(w, new_w, x, from_x);
                        sum += weight * f64::from(old.bytes[from_y * w + from_x]);
                        total += weight;
                    }
                    let error = (f64::from(new.bytes[y * new_w + x]) - sum / total).abs();
                    prop_assert!(error <= 1.01, "off by {error}");
                }
            }
        }
    }
}
