//! Pointwise functions.

use super::attr::{ArgError, Call, Operands, Param, Signature, Value, param, words};
use super::gradient::{Backward, GradBuilder, Ref, Wrt};
use super::{Cost, Operator, ParamSpec, Reach, ShapeError};
use super::onnx::{self, Attr, Export, Import, Unfit};
use crate::dim::DimError;
use crate::tensor::{Element, Shape, View, ViewMut};

/// A function applied to each element by itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// max(x, 0).
    Relu,
    /// min(max(x, 0), 6).
    Relu6,
    /// x, or slope·x below zero.
    LeakyRelu {
        /// The slope below zero.
        slope: f64,
    },
    /// x, or alpha·(exp(x) - 1) below zero (Clevert et al. 2015, arXiv:1511.07289).
    Elu {
        /// The negated limit at minus infinity.
        alpha: f64,
    },
    /// x·Φ(x) with the error function (Hendrycks & Gimpel 2016, arXiv:1606.08415).
    Gelu,
    /// 0.5·x·(1 + tanh(√(2/π)·(x + 0.044715·x³))).
    GeluTanh,
    /// x·sigmoid(x).
    Silu,
    /// 1/(1 + exp(-x)).
    Sigmoid,
    /// min(max(x + 3, 0), 6)/6 (Howard et al. 2019, arXiv:1905.02244).
    HardSigmoid,
    /// x·hard_sigmoid(x).
    HardSwish,
    /// scale·tanh(slope·x); LeCun et al. 1998 take 1.7159 and 2/3.
    Tanh {
        /// The limit at infinity.
        scale: f64,
        /// The factor inside.
        slope: f64,
    },
}

const fn layer(layer: &'static str, params: &'static [Param], doc: &'static str) -> Signature {
    Signature { layer, params, operands: Operands::Above, doc }
}

static SIGNATURES: [Signature; 10] = [
    layer("relu", &[], "max(x, 0)"),
    layer("relu6", &[], "min(max(x, 0), 6)"),
    layer("leaky_relu", &[param("slope", "0.01", "the slope below zero")], "x, or slope*x below zero"),
    layer("elu", &[param("alpha", "1.0", "the negated limit")], "x, or alpha*(exp(x) - 1) below zero"),
    layer("gelu", &[words("form", &["erf", "tanh"], "erf", "exact, or the tanh form")], "x*Phi(x)"),
    layer("silu", &[], "x*sigmoid(x)"),
    layer("sigmoid", &[], "1/(1 + exp(-x))"),
    layer("hard_sigmoid", &[], "min(max(x + 3, 0), 6)/6"),
    layer("hard_swish", &[], "x*hard_sigmoid(x)"),
    layer(
        "tanh",
        &[param("scale", "1.0", "the limit at infinity"), param("slope", "1.0", "the factor inside")],
        "scale*tanh(slope*x)",
    ),
];

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
            Activation::Silu => x * sigmoid(x),
            Activation::Sigmoid => sigmoid(x),
            Activation::HardSigmoid => (x + 3.0).clamp(0.0, 6.0) / 6.0,
            Activation::HardSwish => x * ((x + 3.0).clamp(0.0, 6.0) / 6.0),
            Activation::Tanh { scale, slope } => scale as f32 * (slope as f32 * x).tanh(),
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
            Activation::Silu => x / (1.0 + (-x).exp()),
            Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Activation::HardSigmoid => (x + 3.0).clamp(0.0, 6.0) / 6.0,
            Activation::HardSwish => x * ((x + 3.0).clamp(0.0, 6.0) / 6.0),
            Activation::Tanh { scale, slope } => scale * (slope * x).tanh(),
        }
    }

    /// Whether its derivative is found by its result, which then is all that has to be kept; by its operand where not.
    pub fn differentiates_by_result(self) -> bool {
        match self {
            Activation::Relu | Activation::Relu6 | Activation::Sigmoid | Activation::Tanh { .. } => true,
            Activation::LeakyRelu { slope } => 0.0 <= slope,
            Activation::Elu { alpha } => 0.0 <= alpha,
            Activation::Gelu | Activation::GeluTanh | Activation::Silu => false,
            Activation::HardSigmoid | Activation::HardSwish => false,
        }
    }

    /// Its derivative where its result, or its operand, is `at`: see
    /// [`differentiates_by_result`](Self::differentiates_by_result). At a bend that of the side below, as PyTorch has it.
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
            Activation::Silu => {
                let sigmoid = 1.0 / (1.0 + (-at).exp());
                sigmoid * (1.0 + at * (1.0 - sigmoid))
            }
            Activation::Sigmoid => at * (1.0 - at),
            Activation::HardSigmoid => if -3.0 < at && at < 3.0 { 1.0 / 6.0 } else { 0.0 },
            Activation::HardSwish => if at <= -3.0 { 0.0 } else if at < 3.0 { at / 3.0 + 0.5 } else { 1.0 },
            Activation::Tanh { scale: 0.0, .. } => 0.0,
            Activation::Tanh { scale, slope } => slope * (scale - at * at / scale),
        }
    }
}

/// What `GeluTanh` takes the tanh of.
fn inner(x: f64) -> f64 {
    (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3))
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// The error function by its Maclaurin series near zero and the continued fraction of `erfc` beyond (Abramowitz &
/// Stegun 7.1.5 and 7.1.14), to 1e-12.
fn erf(x: f64) -> f64 {
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

impl Operator for Activation {
    fn signatures() -> &'static [Signature] {
        &SIGNATURES
    }

    fn build(call: &Call) -> Result<Self, ArgError> {
        Ok(match call.layer {
            "relu" => Activation::Relu,
            "relu6" => Activation::Relu6,
            "leaky_relu" => Activation::LeakyRelu { slope: call.float("slope", Some(0.01))? },
            "elu" => Activation::Elu { alpha: call.float("alpha", Some(1.0))? },
            "gelu" if call.choice("form", &["erf", "tanh"])? == "tanh" => Activation::GeluTanh,
            "gelu" => Activation::Gelu,
            "silu" => Activation::Silu,
            "sigmoid" => Activation::Sigmoid,
            "hard_sigmoid" => Activation::HardSigmoid,
            "hard_swish" => Activation::HardSwish,
            _ => Activation::Tanh { scale: call.float("scale", Some(1.0))?, slope: call.float("slope", Some(1.0))? },
        })
    }

    fn describe(&self) -> (&'static str, Vec<(&'static str, Value)>) {
        match *self {
            Activation::Relu => ("relu", vec![]),
            Activation::Relu6 => ("relu6", vec![]),
            Activation::LeakyRelu { slope } => ("leaky_relu", vec![("slope", Value::Float(slope))]),
            Activation::Elu { alpha } => ("elu", vec![("alpha", Value::Float(alpha))]),
            Activation::Gelu => ("gelu", vec![("form", Value::word("erf"))]),
            Activation::GeluTanh => ("gelu", vec![("form", Value::word("tanh"))]),
            Activation::Silu => ("silu", vec![]),
            Activation::Sigmoid => ("sigmoid", vec![]),
            Activation::HardSigmoid => ("hard_sigmoid", vec![]),
            Activation::HardSwish => ("hard_swish", vec![]),
            Activation::Tanh { scale, slope } => {
                ("tanh", vec![("scale", Value::Float(scale)), ("slope", Value::Float(slope))])
            }
        }
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>, ShapeError> {
        Ok(inputs.to_vec())
    }

    fn arithmetic(&self, _inputs: &[Shape], _outputs: &[Shape]) -> Vec<String> {
        Vec::new()
    }

    fn params(&self, _inputs: &[Shape]) -> Vec<ParamSpec> {
        Vec::new()
    }

    /// Comparisons, additions, multiplications, divisions and each transcendental function count one; factors of one
    /// in `tanh` count nothing.
    fn cost(&self, _inputs: &[Shape], outputs: &[Shape]) -> Result<Cost, DimError> {
        let per_element = match *self {
            Activation::Relu => 1,
            Activation::Relu6 | Activation::LeakyRelu { .. } => 2,
            Activation::Elu { .. } | Activation::Sigmoid => 3,
            Activation::Silu | Activation::HardSigmoid => 4,
            Activation::Gelu | Activation::HardSwish => 5,
            Activation::GeluTanh => 9,
            Activation::Tanh { scale, slope } => 1 + u64::from(scale != 1.0) + u64::from(slope != 1.0),
        };
        Cost::elementwise(&outputs[0], per_element)
    }

    fn reach(&self, _inputs: &[Shape]) -> Reach {
        Reach::Point
    }

    fn forward<E: Element>(&self, inputs: &[View<E>], _params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        for (output, &x) in outputs[0].data.iter_mut().zip(inputs[0].data) {
            *output = E::of(self.value(x.f64()));
        }
    }

    fn gradient(&self, g: &mut GradBuilder) {
        let at = if self.differentiates_by_result() { Ref::Result(0) } else { Ref::Operand(0) };
        let incoming = g.incoming(0);
        g.backward(self, &[Wrt::Operand(0)], &[at, incoming], &[]);
    }

    const ONNX: &'static [&'static str] =
        &["Relu", "LeakyRelu", "Elu", "Gelu", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Clip"];

    fn from_onnx(node: &mut Import) -> Result<(), Unfit> {
        let x = node.live(0)?;
        let float = |name: &str, default: f32| Ok::<f64, Unfit>(onnx::shortest(f64::from(node.attrs.float(name, default)?)));
        let op = match node.op_type {
            "Relu" => Activation::Relu,
            "LeakyRelu" => Activation::LeakyRelu { slope: float("alpha", 0.01)? },
            "Elu" => Activation::Elu { alpha: float("alpha", 1.0)? },
            "Gelu" if node.attrs.text("approximate", "none")? == "tanh" => Activation::GeluTanh,
            "Gelu" => Activation::Gelu,
            "Sigmoid" => Activation::Sigmoid,
            "HardSigmoid" => hard_sigmoid(float("alpha", 0.2)?, float("beta", 0.5)?)?,
            "HardSwish" => Activation::HardSwish,
            "Tanh" => Activation::Tanh { scale: 1.0, slope: 1.0 },
            _ => clip(node)?,
        };
        node.pointwise(op, &x, Vec::new())
    }

    fn to_onnx(&self, g: &mut Export) -> Result<(), Unfit> {
        let x = g.operand(0);
        match *self {
            Activation::Relu => g.unary("Relu", Vec::new()),
            Activation::Relu6 => g.clipped(Some(0.0), Some(6.0))?,
            Activation::LeakyRelu { slope } => g.unary("LeakyRelu", vec![("alpha", Attr::Float(slope as f32))]),
            Activation::Elu { alpha } => g.unary("Elu", vec![("alpha", Attr::Float(alpha as f32))]),
            Activation::Gelu | Activation::GeluTanh if g.opset < 20 => {
                return Err(Unfit::new("Gelu needs operator set 20: export with --opset 20 or later"));
            }
            Activation::Gelu => g.unary("Gelu", Vec::new()),
            Activation::GeluTanh => g.unary("Gelu", vec![("approximate", Attr::Text("tanh".to_owned()))]),
            Activation::Silu => {
                let gate = g.between("Sigmoid", vec![x.clone()], Vec::new());
                g.last("Mul", vec![x, gate], Vec::new());
            }
            Activation::Sigmoid => g.unary("Sigmoid", Vec::new()),
            Activation::HardSigmoid => {
                g.unary("HardSigmoid", vec![("alpha", Attr::Float(1.0 / 6.0)), ("beta", Attr::Float(0.5))]);
            }
            Activation::HardSwish if g.opset < 14 => {
                let attrs = vec![("alpha", Attr::Float(1.0 / 6.0)), ("beta", Attr::Float(0.5))];
                let gate = g.between("HardSigmoid", vec![x.clone()], attrs);
                g.last("Mul", vec![x, gate], Vec::new());
            }
            Activation::HardSwish => g.unary("HardSwish", Vec::new()),
            Activation::Tanh { scale, slope } => {
                let mut x = x;
                if slope != 1.0 {
                    let slope = g.float(slope)?;
                    x = g.between("Mul", vec![x, slope], Vec::new());
                }
                if scale == 1.0 {
                    g.last("Tanh", vec![x], Vec::new());
                } else {
                    let bent = g.between("Tanh", vec![x], Vec::new());
                    let scale = g.float(scale)?;
                    g.last("Mul", vec![bent, scale], Vec::new());
                }
            }
        }
        Ok(())
    }
}

/// A hard sigmoid of any slope.
fn hard_sigmoid(slope: f64, shift: f64) -> Result<Activation, Unfit> {
    if (slope as f32, shift as f32) == (1.0 / 6.0, 0.5) || ((slope * 6.0 - 1.0).abs() < 1e-5 && shift == 0.5) {
        return Ok(Activation::HardSigmoid);
    }
    Err(Unfit::new(format!("its slope {slope} and shift {shift} are not those of hard_sigmoid")))
}

/// The function that has these bounds.
fn clip(node: &Import) -> Result<Activation, Unfit> {
    let bound = |at: usize, name: &str, none: f32| match node.known(at, name)? {
        Some(bound) => bound.scalar().ok_or_else(|| Unfit::new("a bound is not one number")),
        None => node.attrs.float(name, none),
    };
    match (bound(1, "min", f32::MIN)?, bound(2, "max", f32::MAX)?) {
        (0.0, 6.0) => Ok(Activation::Relu6),
        (0.0, most) if f32::MAX <= most => Ok(Activation::Relu),
        (least, most) => Err(Unfit::new(format!("its bounds {least} and {most} are not those of relu or relu6"))),
    }
}

impl Backward for Activation {
    fn backward_cost(&self, _wrt: &[Wrt], inputs: &[Shape], outputs: &[Shape]) -> Result<Cost, DimError> {
        // A product, and about what the function itself takes.
        let own = self.cost(inputs, outputs)?;
        Ok(Cost { flops: own.flops.add(&outputs[0].elements()?)?, ..own })
    }

    fn backward<E: Element>(&self, _wrt: &[Wrt], inputs: &[View<E>], _params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        for ((output, at), gradient) in outputs[0].data.iter_mut().zip(inputs[0].data).zip(inputs[1].data) {
            *output = E::of(gradient.f64() * self.derivative(at.f64()));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::dim::Dim;
    use crate::op::testing::{assert_close, assert_round_trip, build, run, try_build};

    const ALL: [Activation; 13] = [
        Activation::Relu,
        Activation::Relu6,
        Activation::LeakyRelu { slope: 0.2 },
        Activation::Elu { alpha: 1.5 },
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::Silu,
        Activation::Sigmoid,
        Activation::HardSigmoid,
        Activation::HardSwish,
        Activation::Tanh { scale: 1.0, slope: 1.0 },
        Activation::Tanh { scale: 1.7159, slope: 2.0 / 3.0 },
        Activation::Tanh { scale: 2.0, slope: 1.0 },
    ];

    /// The formulas in `f64`, with Φ as an integral of the bell curve.
    fn formula(activation: Activation, x: f64) -> f64 {
        let sigmoid = 1.0 / (1.0 + (-x).exp());
        let hard = if x <= -3.0 { 0.0 } else if x >= 3.0 { 1.0 } else { x / 6.0 + 0.5 };
        match activation {
            Activation::Relu => if x > 0.0 { x } else { 0.0 },
            Activation::Relu6 => if x > 6.0 { 6.0 } else if x > 0.0 { x } else { 0.0 },
            Activation::LeakyRelu { slope } => if x > 0.0 { x } else { slope * x },
            Activation::Elu { alpha } => if x > 0.0 { x } else { alpha * (x.exp() - 1.0) },
            Activation::Gelu => x * (0.5 + simpson(|t| (-t * t / 2.0).exp(), x) / std::f64::consts::TAU.sqrt()),
            Activation::GeluTanh => {
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
                0.5 * x * (1.0 + inner.tanh())
            }
            Activation::Silu => x * sigmoid,
            Activation::Sigmoid => sigmoid,
            Activation::HardSigmoid => hard,
            Activation::HardSwish => x * hard,
            Activation::Tanh { scale, slope } => scale * (slope * x).tanh(),
        }
    }

    /// The integral from 0 to `x`, by Simpson's rule.
    fn simpson(f: impl Fn(f64) -> f64, x: f64) -> f64 {
        let step = x / 1000.0;
        let inner: f64 = (1..1000).map(|i| f(f64::from(i) * step) * if i % 2 == 1 { 4.0 } else { 2.0 }).sum();
        (f(0.0) + inner + f(x)) * step / 3.0
    }

    #[test]
    fn functions_match_their_formulas() {
        let x: Vec<f32> = (-80..=80).map(|i| i as f32 * 0.125).collect();
        for activation in ALL {
            let output = run(&activation, &[(&[1, x.len()], x.clone())], &[]);
            let expected: Vec<f64> = x.iter().map(|&x| formula(activation, f64::from(x))).collect();
            // A few roundings of numbers up to 10; `assert_close` scales by the largest.
            assert_close(&output[0], &expected, 2e-7);
        }
    }

    #[test]
    fn nan_stays_nan_and_large_numbers_do_not_make_one() {
        for activation in ALL {
            assert!(activation.apply(f32::NAN).is_nan(), "{activation:?}");
            for x in [-1e4, 1e4] {
                assert!(activation.apply(x).is_finite(), "{activation:?} of {x}");
            }
        }
    }

    #[test]
    fn erf_matches_tabulated_values() {
        for (x, expected) in [
            (0.0, 0.0),
            (0.5, 0.520_499_877_813_05),
            (1.0, 0.842_700_792_949_71),
            (2.0, 0.995_322_265_018_95),
            (2.5, 0.999_593_047_982_56),
            (3.0, 0.999_977_909_503_00),
        ] {
            assert!((erf(x) - expected).abs() < 1e-13, "erf({x})");
            assert!((erf(-x) + expected).abs() < 1e-13, "erf(-{x})");
        }
        let (below, above) = (erf(2.5 - 1e-9), erf(2.5));
        assert!(below < above && above - below < 1e-10, "{below} {above}");
    }

    #[test]
    fn describes_itself() {
        for activation in ALL {
            assert_round_trip(&activation, &[]);
        }
        for signature in Activation::signatures() {
            let default: Activation = build(signature.layer, &[], &[]);
            assert_eq!(default.describe().0, signature.layer);
            assert_round_trip(&default, &[]);
        }
        let error = try_build::<Activation>("gelu", &[("form", Value::word("exact"))], &[]);
        assert_eq!(error.unwrap_err().param, Some("form"));
    }

    #[test]
    fn counts_per_element() {
        let shape = [Shape::known(&[2, 3, 4])];
        let flops = ALL.map(|activation| activation.cost(&shape, &shape).unwrap().flops);
        assert_eq!(flops, [1, 2, 2, 3, 5, 9, 4, 3, 4, 5, 1, 3, 2].map(|each: u64| Dim::from(24 * each)));
    }

    #[test]
    fn a_tanh_of_scale_zero_is_flat() {
        assert_eq!(Activation::Tanh { scale: 0.0, slope: 2.0 }.derivative(0.0), 0.0);
    }
}
