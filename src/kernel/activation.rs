//! Pointwise functions on vectors.
//!
//! The exponential is Cephes' (Moshier): `x = n ln 2 + r`, a polynomial in `r`, and `2^n` by the exponent's bits; within
//! 2 ulp. Functions without a vector form here are the operator's own, element by element.

use super::conv::Context;
use super::elementwise::{blocks, each_row, map};
use super::isa::{LANES, Lanes, Task};
use super::rows::{Rows, RowsMut};
use crate::op::activation::{Activation, HARD_SIGMOID};

const SLOPE: f64 = HARD_SIGMOID[0];
const SHIFT: f64 = HARD_SIGMOID[1];

/// `values = activation(values)`.
pub fn activate(cx: &Context, activation: Activation, values: &mut RowsMut) {
    if !has_vector_form(activation) {
        return map(cx, values, |x| activation.apply(x));
    }
    let isa = cx.isa;
    if values.width() == values.stride() {
        // Without gaps the rows are one, which no short row interrupts.
        let (len, values) = (values.count() * values.width(), &*values);
        return blocks(cx, len.div_ceil(STRETCH), STRETCH, |stretches| {
            let (first, end) = (stretches.start * STRETCH, len.min(stretches.end * STRETCH));
            // SAFETY: each stretch of the dense rows is written once.
            let row = unsafe { std::slice::from_raw_parts_mut(values.ptr().add(first), end - first) };
            isa.run(Stretch { activation, row });
        });
    }
    each_row(cx, values, |_, row| isa.run(Stretch { activation, row }));
}

/// Elements of dense rows that are taken together.
const STRETCH: usize = 1024;

/// `values = values · activation'`, where `at` is the activation's result or its operand: see
/// [`Activation::differentiates_by_result`].
pub fn differentiate(cx: &Context, activation: Activation, at: Rows, values: &mut RowsMut) {
    assert!(at.count() == values.count() && at.width() == values.width(), "other sizes");
    let isa = cx.isa;
    if let (Some(from), Some(_)) = (at.dense(0, at.count()), values.as_rows().dense(0, at.count())) {
        let (len, values) = (from.len(), &*values);
        return blocks(cx, len.div_ceil(STRETCH), STRETCH, |stretches| {
            let (first, end) = (stretches.start * STRETCH, len.min(stretches.end * STRETCH));
            // SAFETY: each stretch of the dense rows is written once.
            let row = unsafe { std::slice::from_raw_parts_mut(values.ptr().add(first), end - first) };
            isa.run(Slope { activation, at: &from[first..end], row });
        });
    }
    each_row(cx, values, |index, row| isa.run(Slope { activation, at: at.row(index), row }));
}

struct Slope<'a> {
    activation: Activation,
    at: &'a [f32],
    row: &'a mut [f32],
}

impl Task for Slope<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        assert_eq!(self.at.len(), self.row.len());
        // A macro, because a closure would not become part of the function that has the instructions.
        macro_rules! each {
            ($at:ident, $gradient:ident => $value:expr) => {
                for first in (0..self.row.len()).step_by(LANES) {
                    let count = LANES.min(self.row.len() - first);
                    // SAFETY: both slices hold `count` floats from `first` on.
                    unsafe {
                        let to = self.row.as_mut_ptr().add(first);
                        let $at = l.load_up_to(self.at.as_ptr().add(first), count);
                        let $gradient = l.load_up_to(to, count);
                        l.store_part(to, $value, count);
                    }
                }
            };
        }
        let zero = l.splat(0.0);
        match self.activation {
            Activation::Relu => each!(y, g => l.select_less(zero, y, g, zero)),
            Activation::Relu6 => each!(y, g => {
                l.select_less(y, l.splat(6.0), l.select_less(zero, y, g, zero), zero)
            }),
            Activation::LeakyRelu { slope } if 0.0 <= slope => {
                each!(y, g => l.select_less(zero, y, g, l.mul(l.splat(slope as f32), g)))
            }
            Activation::Sigmoid => each!(y, g => l.mul(g, l.mul(y, l.sub(l.splat(1.0), y)))),
            Activation::Tanh { scale, slope } => {
                let below = if scale == 0.0 { 0.0 } else { -slope / scale };
                let (top, below) = (l.splat((scale * slope) as f32), l.splat(below as f32));
                each!(y, g => l.mul(g, l.fma(l.mul(below, y), y, top)))
            }
            Activation::Silu { beta: 1.0 } => each!(x, g => l.mul(g, silu_slope(l, x))),
            Activation::Silu { beta } => each!(x, g => l.mul(g, silu_slope(l, l.mul(l.splat(beta as f32), x)))),
            Activation::Mish => each!(x, g => {
                let tanh = mish_factor(l, x);
                let rest = l.sub(l.splat(1.0), l.mul(tanh, tanh));
                l.mul(g, l.fma(l.mul(x, sigmoid(l, x)), rest, tanh))
            }),
            Activation::HardSwish => each!(x, g => {
                let slope = l.fma(l.splat(1.0 / 3.0), x, l.splat(0.5));
                let inside = l.select_less(l.splat(-3.0), x, l.mul(g, slope), zero);
                l.select_less(x, l.splat(3.0), inside, g)
            }),
            Activation::HardSigmoid { slope: SLOPE, shift: SHIFT } => each!(x, g => {
                let inside = l.select_less(l.splat(-3.0), x, l.mul(g, l.splat(1.0 / 6.0)), zero);
                l.select_less(x, l.splat(3.0), inside, zero)
            }),
            Activation::HardSigmoid { slope, shift } => each!(x, g => {
                let y = l.fma(l.splat(slope as f32), x, l.splat(shift as f32));
                let inside = l.select_less(zero, y, l.mul(g, l.splat(slope as f32)), zero);
                l.select_less(y, l.splat(1.0), inside, zero)
            }),
            Activation::Clip { low, high } => each!(y, g => {
                l.select_less(y, l.splat(high as f32), l.select_less(l.splat(low as f32), y, g, zero), zero)
            }),
            Activation::LeakyRelu { .. }
            | Activation::Elu { .. }
            | Activation::Gelu
            | Activation::GeluTanh
            | Activation::Selu
            | Activation::Celu { .. }
            | Activation::Softplus { .. }
            | Activation::Softsign
            | Activation::ThresholdedRelu { .. }
            | Activation::Abs
            | Activation::Exp
            | Activation::Log
            | Activation::Sqrt
            | Activation::Pow { .. }
            | Activation::Erf => {
                for (to, &at) in self.row.iter_mut().zip(self.at) {
                    *to *= self.activation.derivative(f64::from(at)) as f32;
                }
            }
        }
    }
}

fn has_vector_form(activation: Activation) -> bool {
    match activation {
        Activation::Elu { .. } | Activation::Gelu | Activation::Selu | Activation::Celu { .. } => false,
        Activation::Softplus { .. } | Activation::Exp | Activation::Log => false,
        Activation::Pow { .. } | Activation::Erf => false,
        Activation::Relu
        | Activation::Relu6
        | Activation::LeakyRelu { .. }
        | Activation::GeluTanh
        | Activation::Silu { .. }
        | Activation::Sigmoid
        | Activation::HardSigmoid { .. }
        | Activation::HardSwish
        | Activation::Tanh { .. }
        | Activation::Clip { .. }
        | Activation::Softsign
        | Activation::Mish
        | Activation::ThresholdedRelu { .. }
        | Activation::Abs
        | Activation::Sqrt => true,
    }
}

struct Stretch<'a> {
    activation: Activation,
    row: &'a mut [f32],
}

impl Task for Stretch<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        // A macro, because a closure would not become part of the function that has the instructions.
        macro_rules! each {
            ($x:ident => $value:expr) => {{
                let mut vectors = self.row.chunks_exact_mut(LANES);
                for vector in &mut vectors {
                    // SAFETY: the chunk holds 8 floats.
                    unsafe {
                        let $x = l.load(vector.as_ptr());
                        l.store(vector.as_mut_ptr(), $value);
                    }
                }
                let rest = vectors.into_remainder();
                let mut last = [0.0f32; LANES];
                last[..rest.len()].copy_from_slice(rest);
                // SAFETY: `last` holds 8 floats.
                unsafe {
                    let $x = l.load(last.as_ptr());
                    l.store(last.as_mut_ptr(), $value);
                }
                rest.copy_from_slice(&last[..rest.len()]);
            }};
        }
        match self.activation {
            Activation::Relu => each!(x => l.max(l.splat(0.0), x)),
            Activation::Relu6 => each!(x => l.min(l.splat(6.0), l.max(l.splat(0.0), x))),
            Activation::LeakyRelu { slope } => each!(x => {
                l.fma(l.splat(slope as f32), l.min(l.splat(0.0), x), l.max(l.splat(0.0), x))
            }),
            Activation::HardSigmoid { slope: SLOPE, shift: SHIFT } => each!(x => hard_sigmoid(l, x)),
            Activation::HardSigmoid { slope, shift } => each!(x => {
                let y = l.fma(l.splat(slope as f32), x, l.splat(shift as f32));
                l.min(l.splat(1.0), l.max(l.splat(0.0), y))
            }),
            Activation::HardSwish => each!(x => l.mul(x, hard_sigmoid(l, x))),
            Activation::Sigmoid => each!(x => sigmoid(l, x)),
            Activation::Silu { beta: 1.0 } => each!(x => l.mul(x, sigmoid(l, x))),
            Activation::Silu { beta } => each!(x => l.mul(x, sigmoid(l, l.mul(l.splat(beta as f32), x)))),
            Activation::Tanh { scale, slope } => {
                each!(x => l.mul(l.splat(scale as f32), tanh(l, l.mul(l.splat(slope as f32), x))))
            }
            Activation::GeluTanh => each!(x => {
                let cube = l.mul(l.mul(l.splat(0.044_715), x), l.mul(x, x));
                let inner = l.mul(l.splat(0.797_884_6), l.add(x, cube));
                l.mul(l.mul(l.splat(0.5), x), l.add(l.splat(1.0), tanh(l, inner)))
            }),
            Activation::Clip { low, high } => each!(x => {
                l.min(l.splat(high as f32), l.max(l.splat(low as f32), x))
            }),
            Activation::Softsign => each!(x => {
                let magnitude = l.max(l.sub(l.splat(0.0), x), x);
                l.div(x, l.add(l.splat(1.0), magnitude))
            }),
            // Below -100 the factor is the smallest that there is.
            Activation::Mish => each!(x => l.mul(l.max(l.splat(-100.0), x), mish_factor(l, x))),
            Activation::ThresholdedRelu { alpha } => {
                let above = (alpha as f32).next_up();
                each!(x => l.select_less(x, l.splat(above), l.splat(0.0), x))
            }
            Activation::Abs => each!(x => l.max(l.sub(l.splat(0.0), x), x)),
            Activation::Sqrt => each!(x => l.sqrt(x)),
            Activation::Elu { .. }
            | Activation::Gelu
            | Activation::Selu
            | Activation::Celu { .. }
            | Activation::Softplus { .. }
            | Activation::Exp
            | Activation::Log
            | Activation::Pow { .. }
            | Activation::Erf => {
                self.row.iter_mut().for_each(|x| *x = self.activation.apply(*x));
            }
        }
    }
}

#[inline(always)]
fn hard_sigmoid<L: Lanes>(l: L, x: L::V) -> L::V {
    let shifted = l.add(x, l.splat(3.0));
    l.div(l.min(l.splat(6.0), l.max(l.splat(0.0), shifted)), l.splat(6.0))
}

#[inline(always)]
fn sigmoid<L: Lanes>(l: L, x: L::V) -> L::V {
    l.div(l.splat(1.0), l.add(l.splat(1.0), exp(l, l.sub(l.splat(0.0), x))))
}

/// The derivative of `x·sigmoid(x)`; of `x·sigmoid(beta·x)` that at `beta·x`.
#[inline(always)]
fn silu_slope<L: Lanes>(l: L, x: L::V) -> L::V {
    let s = sigmoid(l, x);
    l.fma(s, l.mul(x, l.sub(l.splat(1.0), s)), s)
}

/// `tanh(ln(1 + e^x)) = e^x (e^x + 2) / (e^x (e^x + 2) + 2)`, which is 1 from 20 on.
#[inline(always)]
fn mish_factor<L: Lanes>(l: L, x: L::V) -> L::V {
    let power = exp(l, l.min(l.splat(20.0), x));
    let above = l.mul(power, l.add(power, l.splat(2.0)));
    l.div(above, l.add(above, l.splat(2.0)))
}

/// `e^x`; 0 and infinity beyond what fits, NaN for NaN.
#[inline(always)]
pub(super) fn exp<L: Lanes>(l: L, x: L::V) -> L::V {
    let x = l.min(l.splat(88.7), l.max(l.splat(-87.3), x));
    let n = l.round(l.mul(x, l.splat(std::f32::consts::LOG2_E)));
    // ln 2 in two parts, the first exact in few bits.
    let r = l.fma(n, l.splat(-0.693_359_4), x);
    let r = l.fma(n, l.splat(2.121_944_4e-4), r);
    let coefficients = [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_65, 0.5];
    let mut sum = l.splat(coefficients[0]);
    for c in &coefficients[1..] {
        sum = l.fma(sum, r, l.splat(*c));
    }
    l.scale(l.add(l.fma(l.mul(r, r), sum, r), l.splat(1.0)), n)
}

/// An odd rational function, fitted to tanh by the least relative error up to 9, near which tanh becomes 1; within 3 ulp.
#[inline(always)]
fn tanh<L: Lanes>(l: L, x: L::V) -> L::V {
    const ABOVE: [f32; 4] = [1.335_459_8e-8, 2.060_903_4e-5, 3.495_585e-3, 0.133_810_24];
    const BELOW: [f32; 4] = [7.776_531e-7, 3.285_63e-4, 2.587_697_1e-2, 0.467_143_4];
    let z = l.mul(x, x);
    let (mut above, mut below) = (l.splat(ABOVE[0]), l.splat(BELOW[0]));
    for i in 1..4 {
        above = l.fma(above, z, l.splat(ABOVE[i]));
        below = l.fma(below, z, l.splat(BELOW[i]));
    }
    let one = l.splat(1.0);
    let ratio = l.div(l.mul(x, l.fma(above, z, one)), l.fma(below, z, one));
    l.select_less(z, l.splat(80.0), ratio, l.min(one, l.max(l.splat(-1.0), x)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::isa::Isa;
    use crate::kernel::scratch::Scratch;
    use crate::kernel::threads::Threads;

    /// Vector forms keep within 4 ulp of the operator, or 4 ulp of 1 where that is larger: sums near zero cancel.
    #[test]
    #[allow(clippy::unwrap_used)]
    fn vectors_are_the_operator() {
        let threads = Threads::new(2).unwrap();
        let all = [
            Activation::Relu,
            Activation::Relu6,
            Activation::LeakyRelu { slope: 0.1 },
            Activation::Elu { alpha: 1.0 },
            Activation::Gelu,
            Activation::GeluTanh,
            Activation::Silu { beta: 1.0 },
            Activation::Silu { beta: 1.702 },
            Activation::Sigmoid,
            Activation::HardSigmoid { slope: SLOPE, shift: SHIFT },
            Activation::HardSigmoid { slope: 0.2, shift: 0.5 },
            Activation::HardSwish,
            Activation::Tanh { scale: 1.7159, slope: 2.0 / 3.0 },
            Activation::Clip { low: -0.1, high: 0.3 },
            Activation::Clip { low: 0.7, high: f64::INFINITY },
            Activation::Selu,
            Activation::Celu { alpha: 0.5 },
            Activation::Softplus { beta: 2.0 },
            Activation::Softsign,
            Activation::Mish,
            Activation::ThresholdedRelu { alpha: 1.0 },
            Activation::ThresholdedRelu { alpha: -0.1 },
            Activation::Abs,
            Activation::Exp,
            Activation::Log,
            Activation::Sqrt,
            Activation::Pow { exponent: 1.5 },
            Activation::Erf,
        ];
        let special =
            [0.0, -0.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e-30, -88.0, 88.0, 1e30, -1e30, f32::MAX];
        let values: Vec<f32> = (-3000i16..3000).map(|i| f32::from(i) / 150.0).chain(special).collect();
        for isa in Isa::all() {
            for activation in all {
                let mut results = values.clone();
                let cx = Context { isa, threads: &threads, scratch: &mut Scratch::default() };
                let len = results.len();
                activate(&cx, activation, &mut RowsMut::of(&mut results, 1, len));
                for (&x, &y) in values.iter().zip(&results) {
                    let wanted = activation.apply(x);
                    let close = (y - wanted).abs() <= 4.0 * f32::EPSILON * wanted.abs().max(1.0);
                    let same = y == wanted || (y.is_nan() && wanted.is_nan());
                    assert!(close || same, "{activation:?} of {x} is {wanted}, not {y} ({})", isa.name());
                }
            }
        }
    }
}
