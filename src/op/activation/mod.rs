//! Pointwise functions. What each is and its derivative stand in `functions`, what ONNX and PyTorch have for it in `exchange`,
//! the tests in `tests`.

mod exchange;
mod functions;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use super::attr::{ArgError, Call, Operands, Param, Signature, Value, param, words};
use super::gradient::{Backward, GradBuilder, Ref, Wrt};
use super::{Cost, Operator, ParamSpec, Reach, ShapeError};
use super::onnx::{Export, Import, Unfit};
use super::pytorch::PyTorch;
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
    /// x·sigmoid(beta·x) (Ramachandran et al. 2017, arXiv:1710.05941).
    Silu {
        /// The factor inside.
        beta: f64,
    },
    /// 1/(1 + exp(-x)).
    Sigmoid,
    /// min(max(slope·x + shift, 0), 1); with 1/6 and 1/2 that of Howard et al. 2019, arXiv:1905.02244.
    HardSigmoid {
        /// The slope between the bounds.
        slope: f64,
        /// The value at zero.
        shift: f64,
    },
    /// x·hard_sigmoid(x).
    HardSwish,
    /// scale·tanh(slope·x); LeCun et al. 1998 take 1.7159 and 2/3.
    Tanh {
        /// The limit at infinity.
        scale: f64,
        /// The factor inside.
        slope: f64,
    },
    /// min(max(x, low), high), with the bounds in single precision.
    Clip {
        /// The lower bound, or minus infinity.
        low: f64,
        /// The upper bound, or infinity.
        high: f64,
    },
    /// λ·x, or λ·α·(exp(x) - 1) below zero, with the constants that keep mean zero and variance one (Klambauer et al.
    /// 2017, arXiv:1706.02515).
    Selu,
    /// x, or alpha·(exp(x/alpha) - 1) below zero (Barron 2017, arXiv:1704.07483).
    Celu {
        /// The negated limit at minus infinity; above zero.
        alpha: f64,
    },
    /// ln(1 + exp(beta·x))/beta.
    Softplus {
        /// How sharp the bend is; above zero.
        beta: f64,
    },
    /// x/(1 + |x|).
    Softsign,
    /// x·tanh(ln(1 + exp(x))) (Misra 2019, arXiv:1908.08681).
    Mish,
    /// x where it is above alpha, elsewhere 0 (Konda et al. 2014, arXiv:1402.3337).
    ThresholdedRelu {
        /// The threshold, taken in single precision.
        alpha: f64,
    },
    /// |x|.
    Abs,
    /// e to the power of x.
    Exp,
    /// The natural logarithm; NaN below zero.
    Log,
    /// The square root; NaN below zero.
    Sqrt,
    /// x to a power; NaN below zero where that is no integer.
    Pow {
        /// The power.
        exponent: f64,
    },
    /// The error function, which `gelu` is made of.
    Erf,
}

/// The slope of `hard_sigmoid` and its value at zero where they are not given.
pub const HARD_SIGMOID: [f64; 2] = [1.0 / 6.0, 0.5];

const fn layer(layer: &'static str, params: &'static [Param], doc: &'static str) -> Signature {
    Signature { layer, params, operands: Operands::Above, doc }
}

static SIGNATURES: [Signature; 23] = [
    layer("relu", &[], "max(x, 0)"),
    layer("relu6", &[], "min(max(x, 0), 6)"),
    layer("leaky_relu", &[param("slope", "0.01", "the slope below zero")], "x, or slope*x below zero"),
    layer("elu", &[param("alpha", "1.0", "the negated limit")], "x, or alpha*(exp(x) - 1) below zero"),
    layer("gelu", &[words("form", &["erf", "tanh"], "erf", "exact, or the tanh form")], "x*Phi(x)"),
    layer("silu", &[param("beta", "1.0", "the factor inside")], "x*sigmoid(beta*x)"),
    layer("sigmoid", &[], "1/(1 + exp(-x))"),
    layer(
        "hard_sigmoid",
        &[param("slope", "1.0 / 6.0", "the slope between 0 and 1"), param("shift", "0.5", "the value at zero")],
        "min(max(slope*x + shift, 0), 1)",
    ),
    layer("hard_swish", &[], "x*hard_sigmoid(x)"),
    layer(
        "tanh",
        &[param("scale", "1.0", "the limit at infinity"), param("slope", "1.0", "the factor inside")],
        "scale*tanh(slope*x)",
    ),
    layer(
        "clip",
        &[param("min", "-", "the lower bound"), param("max", "-", "the upper bound")],
        "min(max(x, lower bound), upper bound)",
    ),
    layer("selu", &[], "lambda*x, or lambda*alpha*(exp(x) - 1) below zero"),
    layer("celu", &[param("alpha", "1.0", "the negated limit")], "x, or alpha*(exp(x/alpha) - 1) below zero"),
    layer("softplus", &[param("beta", "1.0", "how sharp the bend is")], "log(1 + exp(beta*x))/beta"),
    layer("softsign", &[], "x/(1 + |x|)"),
    layer("mish", &[], "x*tanh(softplus(x))"),
    layer("thresholded_relu", &[param("alpha", "1.0", "the threshold")], "x where it is above alpha, elsewhere 0"),
    layer("abs", &[], "|x|"),
    layer("exp", &[], "e to the power of x"),
    layer("log", &[], "the natural logarithm"),
    layer("sqrt", &[], "the square root"),
    layer("pow", &[param("exponent", "", "the power")], "x to a power"),
    layer("erf", &[], "the error function"),
];

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
            "silu" => Activation::Silu { beta: call.float("beta", Some(1.0))? },
            "sigmoid" => Activation::Sigmoid,
            "hard_sigmoid" => {
                let [slope, shift] = HARD_SIGMOID.map(Some);
                Activation::HardSigmoid { slope: call.float("slope", slope)?, shift: call.float("shift", shift)? }
            }
            "hard_swish" => Activation::HardSwish,
            "clip" => clip(call)?,
            "selu" => Activation::Selu,
            "celu" => Activation::Celu { alpha: positive(call, "alpha")? },
            "softplus" => Activation::Softplus { beta: positive(call, "beta")? },
            "softsign" => Activation::Softsign,
            "mish" => Activation::Mish,
            "thresholded_relu" => Activation::ThresholdedRelu { alpha: call.float("alpha", Some(1.0))? },
            "abs" => Activation::Abs,
            "exp" => Activation::Exp,
            "log" => Activation::Log,
            "sqrt" => Activation::Sqrt,
            "pow" => Activation::Pow { exponent: call.float("exponent", None)? },
            "erf" => Activation::Erf,
            _ => Activation::Tanh { scale: call.float("scale", Some(1.0))?, slope: call.float("slope", Some(1.0))? },
        })
    }

    fn describe(&self) -> (&'static str, Vec<(&'static str, Value)>) {
        let floats = |args: &[(&'static str, f64)]| args.iter().map(|&(name, x)| (name, Value::Float(x))).collect();
        match *self {
            Activation::Relu => ("relu", vec![]),
            Activation::Relu6 => ("relu6", vec![]),
            Activation::LeakyRelu { slope } => ("leaky_relu", floats(&[("slope", slope)])),
            Activation::Elu { alpha } => ("elu", floats(&[("alpha", alpha)])),
            Activation::Gelu => ("gelu", vec![("form", Value::word("erf"))]),
            Activation::GeluTanh => ("gelu", vec![("form", Value::word("tanh"))]),
            Activation::Silu { beta } => ("silu", floats(&[("beta", beta)])),
            Activation::Sigmoid => ("sigmoid", vec![]),
            Activation::HardSigmoid { slope, shift } => ("hard_sigmoid", floats(&[("slope", slope), ("shift", shift)])),
            Activation::HardSwish => ("hard_swish", vec![]),
            Activation::Tanh { scale, slope } => ("tanh", floats(&[("scale", scale), ("slope", slope)])),
            Activation::Clip { low, high } => {
                let mut args = vec![("min", low), ("max", high)];
                args.retain(|(_, bound)| bound.is_finite());
                ("clip", floats(&args))
            }
            Activation::Selu => ("selu", vec![]),
            Activation::Celu { alpha } => ("celu", floats(&[("alpha", alpha)])),
            Activation::Softplus { beta } => ("softplus", floats(&[("beta", beta)])),
            Activation::Softsign => ("softsign", vec![]),
            Activation::Mish => ("mish", vec![]),
            Activation::ThresholdedRelu { alpha } => ("thresholded_relu", floats(&[("alpha", alpha)])),
            Activation::Abs => ("abs", vec![]),
            Activation::Exp => ("exp", vec![]),
            Activation::Log => ("log", vec![]),
            Activation::Sqrt => ("sqrt", vec![]),
            Activation::Pow { exponent } => ("pow", floats(&[("exponent", exponent)])),
            Activation::Erf => ("erf", vec![]),
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
    /// in `tanh`, `silu` and `softplus` and bounds that `clip` does not have count nothing.
    fn cost(&self, _inputs: &[Shape], outputs: &[Shape]) -> Result<Cost, DimError> {
        let per_element = match *self {
            Activation::Relu | Activation::ThresholdedRelu { .. } => 1,
            Activation::Abs | Activation::Exp | Activation::Log | Activation::Sqrt => 1,
            Activation::Pow { .. } | Activation::Erf => 1,
            Activation::Relu6 | Activation::LeakyRelu { .. } => 2,
            Activation::Clip { low, high } => u64::from(low.is_finite()) + u64::from(high.is_finite()),
            Activation::Elu { .. } | Activation::Sigmoid | Activation::Softsign => 3,
            Activation::Softplus { beta } => 3 + 2 * u64::from(beta != 1.0),
            Activation::Silu { beta } => 4 + u64::from(beta != 1.0),
            Activation::HardSigmoid { .. } | Activation::Selu | Activation::Celu { .. } => 4,
            Activation::Gelu | Activation::HardSwish | Activation::Mish => 5,
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

    const ONNX: &'static [&'static str] = &[
        "Relu",
        "LeakyRelu",
        "Elu",
        "Gelu",
        "Swish",
        "Sigmoid",
        "HardSigmoid",
        "HardSwish",
        "Tanh",
        "Clip",
        "Selu",
        "Celu",
        "Softplus",
        "Softsign",
        "Mish",
        "ThresholdedRelu",
        "Abs",
        "Exp",
        "Log",
        "Sqrt",
        "Pow",
        "Reciprocal",
        "Erf",
    ];

    fn from_onnx(node: &mut Import) -> Result<(), Unfit> {
        exchange::from_onnx(node)
    }

    fn to_onnx(&self, g: &mut Export) -> Result<(), Unfit> {
        exchange::to_onnx(*self, g)
    }

    fn to_pytorch(&self, g: &mut PyTorch) -> Result<(), Unfit> {
        exchange::to_pytorch(*self, g);
        Ok(())
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

/// A number above zero, one where it is not given.
fn positive(call: &Call, name: &'static str) -> Result<f64, ArgError> {
    let number = call.float(name, Some(1.0))?;
    if 0.0 < number { Ok(number) } else { Err(ArgError::new(name, "must be above 0")) }
}

fn clip(call: &Call) -> Result<Activation, ArgError> {
    let (low, high) = (call.float("min", Some(f64::NEG_INFINITY))?, call.float("max", Some(f64::INFINITY))?);
    if call.get("min").is_none() && call.get("max").is_none() {
        return Err(ArgError::new("min", "is missing, and so is `max`").help("give one of the bounds, or both"));
    }
    if high < low {
        return Err(ArgError::new("max", "must not be below `min`"));
    }
    Ok(Activation::Clip { low, high })
}
