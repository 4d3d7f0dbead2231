//! The inverse cosine transform of a block: Loeffler, Ligtenberg and Moschytz 1989 ("Practical fast 1-D DCT algorithms
//! with 11 multiplications"), in the fixed point of libjpeg's accurate integer method, rounding for rounding.

use super::ZIGZAG;

/// Fractional bits of the constants.
const CONSTANT_BITS: u32 = 13;

/// Fractional bits kept between the passes.
const PASS_BITS: u32 = 2;

const fn fixed(value: f64) -> i32 {
    (value * (1 << CONSTANT_BITS) as f64 + 0.5) as i32
}

/// Eight values of a column or row, times `2^CONSTANT_BITS * sqrt(8)`. Inputs are 16-bit values: the weights of a sum
/// add up to less than 2^16, so that no sum leaves 32 bits.
fn transform(input: [i32; 8]) -> [i32; 8] {
    let [c0, c1, c2, c3, c4, c5, c6, c7] = input;
    let rotated = (c2 + c6) * const { fixed(0.541196100) };
    let even2 = rotated - c6 * const { fixed(1.847759065) };
    let even3 = rotated + c2 * const { fixed(0.765366865) };
    let (even0, even1) = ((c0 + c4) << CONSTANT_BITS, (c0 - c4) << CONSTANT_BITS);
    let even = [even0 + even3, even1 + even2, even1 - even2, even0 - even3];

    let both = (c7 + c3 + c5 + c1) * const { fixed(1.175875602) };
    let z1 = (c7 + c1) * const { fixed(0.899976223) };
    let z2 = (c5 + c3) * const { fixed(2.562915447) };
    let z3 = both - (c7 + c3) * const { fixed(1.961570560) };
    let z4 = both - (c5 + c1) * const { fixed(0.390180644) };
    let odd = [
        c1 * const { fixed(1.501321110) } - z1 + z4,
        c3 * const { fixed(3.072711026) } - z2 + z3,
        c5 * const { fixed(2.053119869) } - z2 + z4,
        c7 * const { fixed(0.298631336) } - z1 + z3,
    ];
    std::array::from_fn(|at| if at < 4 { even[at] + odd[at] } else { even[7 - at] - odd[7 - at] })
}

/// Divides by `2^bits` to the nearest; what does not fit 16 bits, which no image leads to, is clamped.
fn descale(value: i32, bits: u32) -> i32 {
    ((value + (1 << (bits - 1))) >> bits).clamp(i32::from(i16::MIN), i32::from(i16::MAX))
}

/// The samples of a block, row by row. `coefficients` are in natural order, `quantisation` in zigzag order.
pub(super) fn block(coefficients: &[i16; 64], quantisation: &[u16; 64]) -> [[u8; 8]; 8] {
    let mut values = [0i32; 64];
    for (&at, &step) in ZIGZAG.iter().zip(quantisation) {
        let value = i32::from(coefficients[usize::from(at)]) * i32::from(step);
        values[usize::from(at)] = value.clamp(i32::from(i16::MIN), i32::from(i16::MAX));
    }
    for x in 0..8 {
        let column: [i32; 8] = std::array::from_fn(|y| values[8 * y + x]);
        let flat = column[1..].iter().all(|&value| value == 0);
        let result = if flat {
            [descale(column[0] << CONSTANT_BITS, CONSTANT_BITS - PASS_BITS); 8]
        } else {
            transform(column).map(|value| descale(value, CONSTANT_BITS - PASS_BITS))
        };
        for (y, value) in result.into_iter().enumerate() {
            values[8 * y + x] = value;
        }
    }
    std::array::from_fn(|y| {
        let row = std::array::from_fn(|x| values[8 * y + x]);
        // The two passes leave a factor of 8 besides the fractional bits.
        transform(row).map(|value| (descale(value, CONSTANT_BITS + PASS_BITS + 3) + 128).clamp(0, 255) as u8)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, T.81 A.3.3.
    fn exact(coefficients: &[i16; 64], quantisation: &[u16; 64]) -> [[f64; 8]; 8] {
        let mut steps = [0; 64];
        for (&at, &step) in ZIGZAG.iter().zip(quantisation) {
            steps[usize::from(at)] = step;
        }
        let scale = |k: usize| if k == 0 { 0.5f64.sqrt() } else { 1.0 };
        let wave = |k: usize, x: usize| (std::f64::consts::PI * (2 * x + 1) as f64 * k as f64 / 16.0).cos();
        std::array::from_fn(|y| {
            std::array::from_fn(|x| {
                let terms = (0..64).map(|at| {
                    let (v, u) = (at / 8, at % 8);
                    let value = f64::from(coefficients[at]) * f64::from(steps[at]);
                    scale(u) * scale(v) * value * wave(u, x) * wave(v, y) / 4.0
                });
                (terms.sum::<f64>() + 128.0).clamp(0.0, 255.0)
            })
        })
    }

    proptest! {
        /// Two passes with 2 fractional bits in between: at most one step from the exact value.
        #[test]
        fn within_one_of_the_definition(
            coefficients in prop::array::uniform32(-40i16..40),
            steps in prop::array::uniform32(1u16..20),
        ) {
            let block64 = std::array::from_fn(|at| coefficients[at % 32]);
            let steps = std::array::from_fn(|at| steps[at / 2]);
            let ours = block(&block64, &steps);
            let exact = exact(&block64, &steps);
            for (ours, exact) in ours.iter().flatten().zip(exact.iter().flatten()) {
                prop_assert!((f64::from(*ours) - exact).abs() <= 1.0, "{ours} for {exact}");
            }
        }

        /// No block overflows, however far from any image.
        #[test]
        fn any_block_has_samples(
            coefficients in prop::array::uniform32(prop::sample::select(vec![i16::MIN, -1, 0, 1, i16::MAX])),
            steps in prop::array::uniform32(prop::sample::select(vec![0, 1, 255, u16::MAX])),
        ) {
            block(&std::array::from_fn(|at| coefficients[at % 32]), &std::array::from_fn(|at| steps[at / 2]));
        }
    }
}
