//! What each function is, and its derivative.

use super::{Activation, HARD_SIGMOID};

const SLOPE: f64 = HARD_SIGMOID[0];
const SHIFT: f64 = HARD_SIGMOID[1];
/// The factor of `selu`.
const LAMBDA: f64 = 1.050_700_987_355_480_5;
/// The limit of `selu` at minus infinity, negated.
const LAMBDA_ALPHA: f64 = LAMBDA * 1.673_263_242_354_377_2;

impl Activation {
    /// The function itself; NaN stays NaN.
    #[inline]
    pub fn apply(self, x: f32) -> f32 {
        match self {
            Activation::Relu => if x < 0.0 { 0.0 } else { x },
            Activation::Relu6 => x.clamp(0.0, 6.0),
            Activation::LeakyRelu { slope } => if x < 0.0 { slope as f32 * x } else { x },
            Activation::Elu { alpha } => if x < 0.0 { alpha as f32 * x.exp_m1() } else { x },
            Activation::Gelu => {
                let x = f64::from(x);
                (0.5 * x * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2))) as f32
            }
            Activation::GeluTanh => 0.5 * x * (1.0 + (0.797_884_6 * (x + 0.044_715 * x * x * x)).tanh()),
            Activation::Silu { beta } => x * sigmoid(beta as f32 * x),
            Activation::Sigmoid => sigmoid(x),
            Activation::HardSigmoid { slope: SLOPE, shift: SHIFT } => (x + 3.0).clamp(0.0, 6.0) / 6.0,
            Activation::HardSwish => x * ((x + 3.0).clamp(0.0, 6.0) / 6.0),
            Activation::Tanh { scale, slope } => scale as f32 * (slope as f32 * x).tanh(),
            Activation::HardSigmoid { .. }
            | Activation::Clip { .. }
            | Activation::Selu
            | Activation::Celu { .. }
            | Activation::Softplus { .. }
            | Activation::Softsign
            | Activation::Mish
            | Activation::ThresholdedRelu { .. }
            | Activation::Abs
            | Activation::Exp
            | Activation::Log
            | Activation::Sqrt
            | Activation::Pow { .. }
            | Activation::Erf => self.value(f64::from(x)) as f32,
        }
    }
}

impl Activation {
    /// The function in `f64`; NaN stays NaN.
    pub fn value(self, x: f64) -> f64 {
        match self {
            Activation::Relu => if x < 0.0 { 0.0 } else { x },
            Activation::Relu6 => x.clamp(0.0, 6.0),
            Activation::LeakyRelu { slope } => if x < 0.0 { slope * x } else { x },
            Activation::Elu { alpha } => if x < 0.0 { alpha * x.exp_m1() } else { x },
            Activation::Gelu => 0.5 * x * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2)),
            Activation::GeluTanh => 0.5 * x * (1.0 + inner(x).tanh()),
            Activation::Silu { beta } => x / (1.0 + (-beta * x).exp()),
            Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Activation::HardSigmoid { slope: SLOPE, shift: SHIFT } => (x + 3.0).clamp(0.0, 6.0) / 6.0,
            Activation::HardSigmoid { slope, shift } => (slope * x + shift).clamp(0.0, 1.0),
            Activation::HardSwish => x * ((x + 3.0).clamp(0.0, 6.0) / 6.0),
            Activation::Tanh { scale, slope } => scale * (slope * x).tanh(),
            Activation::Clip { low, high } => x.clamp(single(low), single(high)),
            Activation::Selu => if x < 0.0 { LAMBDA_ALPHA * x.exp_m1() } else { LAMBDA * x },
            Activation::Celu { alpha } => if x < 0.0 { alpha * (x / alpha).exp_m1() } else { x },
            Activation::Softplus { beta } => softplus(beta * x) / beta,
            Activation::Softsign => x / (1.0 + x.abs()),
            Activation::Mish => if x < -1e3 { -0.0 } else { x * softplus(x).tanh() },
            Activation::ThresholdedRelu { alpha } => if x <= single(alpha) { 0.0 } else { x },
            Activation::Abs => x.abs(),
            Activation::Exp => x.exp(),
            Activation::Log => x.ln(),
            Activation::Sqrt => x.sqrt(),
            Activation::Pow { exponent } => x.powf(exponent),
            Activation::Erf => erf(x),
        }
    }

    /// Whether its derivative is found by its result, which then is all that has to be kept; by its operand where not.
    pub fn differentiates_by_result(self) -> bool {
        match self {
            Activation::Relu | Activation::Relu6 | Activation::Sigmoid | Activation::Tanh { .. } => true,
            Activation::LeakyRelu { slope } => 0.0 <= slope,
            Activation::Elu { alpha } => 0.0 <= alpha,
            Activation::Clip { .. } | Activation::Selu | Activation::Celu { .. } => true,
            Activation::Softplus { .. } | Activation::Softsign | Activation::Exp | Activation::Sqrt => true,
            Activation::ThresholdedRelu { alpha } => 0.0 <= alpha,
            Activation::Gelu | Activation::GeluTanh | Activation::Silu { .. } | Activation::Mish => false,
            Activation::HardSigmoid { .. } | Activation::HardSwish | Activation::Abs | Activation::Log => false,
            Activation::Pow { .. } | Activation::Erf => false,
        }
    }

    /// Its derivative where its result, or its operand, is `at`: see
    /// [`differentiates_by_result`](Self::differentiates_by_result). At a bend that of the side below, as PyTorch has it,
    /// and of `abs` zero.
    pub fn derivative(self, at: f64) -> f64 {
        match self {
            Activation::Relu => f64::from(0.0 < at),
            Activation::Relu6 => f64::from(0.0 < at && at < 6.0),
            Activation::LeakyRelu { slope } => if 0.0 < at { 1.0 } else { slope },
            Activation::Elu { .. } if 0.0 < at => 1.0,
            Activation::Elu { alpha } if 0.0 <= alpha => at + alpha,
            Activation::Elu { alpha } => alpha * at.exp(),
            Activation::Gelu => {
                let bell = (-at * at / 2.0).exp() / std::f64::consts::TAU.sqrt();
                0.5 * (1.0 + erf(at * std::f64::consts::FRAC_1_SQRT_2)) + at * bell
            }
            Activation::GeluTanh => {
                let tanh = inner(at).tanh();
                let slope = (2.0 / std::f64::consts::PI).sqrt() * (1.0 + 3.0 * 0.044_715 * at * at);
                0.5 * (1.0 + tanh) + 0.5 * at * (1.0 - tanh * tanh) * slope
            }
            Activation::Silu { beta } => {
                let sigmoid = 1.0 / (1.0 + (-beta * at).exp());
                sigmoid * (1.0 + beta * at * (1.0 - sigmoid))
            }
            Activation::Sigmoid => at * (1.0 - at),
            Activation::HardSigmoid { slope: SLOPE, shift: SHIFT } => {
                if -3.0 < at && at < 3.0 { 1.0 / 6.0 } else { 0.0 }
            }
            Activation::HardSigmoid { slope, shift } => {
                let y = slope * at + shift;
                if 0.0 < y && y < 1.0 { slope } else { 0.0 }
            }
            Activation::HardSwish => if at <= -3.0 { 0.0 } else if at < 3.0 { at / 3.0 + 0.5 } else { 1.0 },
            Activation::Tanh { scale: 0.0, .. } => 0.0,
            Activation::Tanh { scale, slope } => slope * (scale - at * at / scale),
            Activation::Clip { low, high } => f64::from(single(low) < at && at < single(high)),
            Activation::Selu => if 0.0 < at { LAMBDA } else { at + LAMBDA_ALPHA },
            Activation::Celu { alpha } => if 0.0 < at { 1.0 } else { at / alpha + 1.0 },
            Activation::Softplus { beta } => -(-beta * at).exp_m1(),
            Activation::Softsign => (1.0 - at.abs()).powi(2),
            Activation::Mish => {
                let tanh = softplus(at).tanh();
                tanh + at / (1.0 + (-at).exp()) * (1.0 - tanh * tanh)
            }
            Activation::ThresholdedRelu { alpha } => f64::from(single(alpha) < at),
            Activation::Abs => if at == 0.0 { 0.0 } else { at.signum() },
            Activation::Exp => at,
            Activation::Log => 1.0 / at,
            Activation::Sqrt => 0.5 / at,
            Activation::Pow { exponent: 0.0 } => 0.0,
            Activation::Pow { exponent } => exponent * at.powf(exponent - 1.0),
            Activation::Erf => std::f64::consts::FRAC_2_SQRT_PI * (-at * at).exp(),
        }
    }
}

/// What `GeluTanh` takes the tanh of.
fn inner(x: f64) -> f64 {
    (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3))
}

/// A number as kernels compare with it.
fn single(x: f64) -> f64 {
    f64::from(x as f32)
}

/// ln(1 + exp(x)), without a large exponential.
fn softplus(x: f64) -> f64 {
    let above = if x < 0.0 { 0.0 } else { x };
    above + (-x.abs()).exp().ln_1p()
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// The error function by its Maclaurin series near zero and the continued fraction of `erfc` beyond (Abramowitz &
/// Stegun 7.1.5 and 7.1.14), to 1e-12.
pub(super) fn erf(x: f64) -> f64 {
    let magnitude = x.abs();
    let value = if magnitude < 2.5 {
        let mut term = magnitude;
        let mut sum = magnitude;
        for n in 1..60 {
            let n = f64::from(n);
            term *= -magnitude * magnitude / n;
            sum += term / (2.0 * n + 1.0);
        }
        sum * std::f64::consts::FRAC_2_SQRT_PI
    } else if magnitude < 6.0 {
        let fraction = (1..=40).rev().fold(magnitude, |below, n| magnitude + 0.5 * f64::from(n) / below);
        1.0 - (-magnitude * magnitude).exp() / (fraction * std::f64::consts::PI.sqrt())
    } else if magnitude.is_nan() {
        magnitude
    } else {
        1.0
    };
    value.copysign(x)
}
