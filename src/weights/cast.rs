//! Numbers as `f64`, and floating ones in another floating type: each rounded once, to the nearest, ties to even.

use half::{bf16, f16};

use super::Dtype;

/// Numbers that are looked at in one piece.
pub(super) const BLOCK: usize = 4096;

/// A floating type that weights can be written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Float {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary16.
    F16,
    /// The upper half of a binary32.
    BF16,
    /// IEEE 754 binary64.
    F64,
}

impl From<Float> for Dtype {
    fn from(float: Float) -> Dtype {
        match float {
            Float::F32 => Dtype::F32,
            Float::F16 => Dtype::F16,
            Float::BF16 => Dtype::BF16,
            Float::F64 => Dtype::F64,
        }
    }
}

impl Float {
    /// The largest number of the type.
    pub(super) fn largest(self) -> f64 {
        match self {
            Float::F32 => f32::MAX.into(),
            Float::F16 => f16::MAX.into(),
            Float::BF16 => bf16::MAX.into(),
            Float::F64 => f64::MAX,
        }
    }
}

/// A number that would become infinite: its place among the numbers, and itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct OutOfRange {
    pub(super) at: usize,
    pub(super) value: f64,
}

/// Numbers of type `dtype` in another floating type. NaN and infinity stay what they are.
pub(super) fn cast(dtype: Dtype, bytes: &[u8], to: Float) -> Result<Vec<u8>, OutOfRange> {
    let mut written = Vec::with_capacity(bytes.len() / dtype.size() * Dtype::from(to).size());
    for (block, bytes) in bytes.chunks(BLOCK * dtype.size()).enumerate() {
        for (at, value) in to_f64(dtype, bytes).into_iter().enumerate() {
            let infinite = match to {
                Float::F32 => put(&mut written, (value as f32).to_le_bytes(), (value as f32).is_infinite()),
                Float::F16 => {
                    let half = f16::from_f32(to_odd(value));
                    put(&mut written, half.to_le_bytes(), half.is_infinite())
                }
                Float::BF16 => {
                    let half = bf16::from_f32(to_odd(value));
                    put(&mut written, half.to_le_bytes(), half.is_infinite())
                }
                Float::F64 => put(&mut written, value.to_le_bytes(), value.is_infinite()),
            };
            if infinite && value.is_finite() {
                return Err(OutOfRange { at: block * BLOCK + at, value });
            }
        }
    }
    Ok(written)
}

fn put<const N: usize>(written: &mut Vec<u8>, bytes: [u8; N], infinite: bool) -> bool {
    written.extend(bytes);
    infinite
}

/// The `f32` from which halves are rounded as they would be from `value` itself: where it lies between two `f32`, the
/// one of them whose last bit is 1, which is never half-way between two halves.
fn to_odd(value: f64) -> f32 {
    let near = value as f32;
    if f64::from(near) == value || !near.is_finite() {
        return near;
    }
    let beyond = value.abs() < f64::from(near).abs();
    f32::from_bits((near.to_bits() - u32::from(beyond)) | 1)
}

/// The numbers as `f64`; `I64` is rounded, `BOOL` becomes 0 or 1.
pub(super) fn to_f64(dtype: Dtype, bytes: &[u8]) -> Vec<f64> {
    fn each<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f64) -> Vec<f64> {
        bytes.as_chunks::<N>().0.iter().map(|&chunk| number(chunk)).collect()
    }
    match dtype {
        Dtype::F32 => each(bytes, |b| f32::from_le_bytes(b).into()),
        Dtype::F64 => each(bytes, f64::from_le_bytes),
        Dtype::F16 => each(bytes, |b| f16::from_le_bytes(b).into()),
        Dtype::BF16 => each(bytes, |b| bf16::from_le_bytes(b).into()),
        Dtype::I64 => each(bytes, |b| i64::from_le_bytes(b) as f64),
        Dtype::I32 => each(bytes, |b| i32::from_le_bytes(b).into()),
        Dtype::I16 => each(bytes, |b| i16::from_le_bytes(b).into()),
        Dtype::I8 => each(bytes, |b| i8::from_le_bytes(b).into()),
        Dtype::U8 => each(bytes, |[b]| b.into()),
        Dtype::Bool => each(bytes, |[b]| u8::from(b != 0).into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn one(value: f64, to: Float) -> f64 {
        to_f64(to.into(), &cast(Dtype::F64, &value.to_le_bytes(), to).unwrap())[0]
    }

    #[test]
    fn every_half_survives_a_stay_in_a_wider_type() {
        let halves: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        for (dtype, half) in [(Dtype::F16, Float::F16), (Dtype::BF16, Float::BF16)] {
            for wide in [Float::F32, Float::F64] {
                let back = cast(wide.into(), &cast(dtype, &halves, wide).unwrap(), half).unwrap();
                for (before, after) in to_f64(dtype, &halves).into_iter().zip(to_f64(dtype, &back)) {
                    assert!(before.to_bits() == after.to_bits() || before.is_nan() && after.is_nan(), "{before}");
                }
            }
        }
    }

    #[test]
    fn rounding_is_to_the_nearest_and_once() {
        // Half of the step behind 1, and a little more; the little is lost in an f32.
        let tie = 1.0 + 2f64.powi(-11);
        assert_eq!(one(tie, Float::F16), 1.0);
        assert_eq!(one(tie + 2f64.powi(-40), Float::F16), 1.0 + 2f64.powi(-10));
        assert_eq!(one(-tie - 2f64.powi(-40), Float::F16), -1.0 - 2f64.powi(-10));
        assert_eq!(one(1.0 + 2f64.powi(-8), Float::BF16), 1.0);
        assert_eq!(one(1.0 + 2f64.powi(-8) + 2f64.powi(-40), Float::BF16), 1.0 + 2f64.powi(-7));
        assert_eq!(one(0.1, Float::F32), f64::from(0.1f32));
        assert_eq!(one(1e-300, Float::F16), 0.0);
        assert_eq!(one(f64::NEG_INFINITY, Float::BF16), f64::NEG_INFINITY);
    }

    #[test]
    fn what_would_become_infinite_is_an_error_with_its_place() {
        let mut values = vec![65504.0f32; BLOCK + 3];
        let bytes = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
        assert!(cast(Dtype::F32, &bytes(&values), Float::F16).is_ok());
        values[BLOCK + 1] = -65520.0;
        let error = cast(Dtype::F32, &bytes(&values), Float::F16).unwrap_err();
        assert_eq!(error, OutOfRange { at: BLOCK + 1, value: -65520.0 });
        assert!(cast(Dtype::F64, &1e39f64.to_le_bytes(), Float::F32).is_err());
        assert_eq!(Float::F16.largest(), 65504.0);
    }

    proptest! {
        #[test]
        fn no_half_is_nearer(value in -70.0f64..70.0, wide in any::<bool>()) {
            let value = if wide { value * 900.0 } else { value / 1e6 };
            let rounded = f16::from_f64(one(value, Float::F16));
            let distance = |bits: u16| (f64::from(f16::from_bits(bits)) - value).abs();
            for step in [-1, 1] {
                let bits = rounded.to_bits().wrapping_add_signed(step);
                if f16::from_bits(bits).is_finite() {
                    prop_assert!(distance(rounded.to_bits()) <= distance(bits), "{value} {rounded}");
                }
            }
        }
    }
}
