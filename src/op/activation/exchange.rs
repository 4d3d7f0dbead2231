//! The operators of ONNX that are pointwise functions, and the other way round.

use super::{Activation, HARD_SIGMOID};
use crate::op::onnx::{Attr, Export, Import, Unfit, shortest};
use crate::op::pytorch::{Expr, PyTorch};

/// The constants of ONNX's Selu, and how far others may be from them.
const SELU: [f64; 2] = [1.673_263_242_354_377_2, 1.050_700_987_355_480_5];

pub(super) fn from_onnx(node: &mut Import) -> Result<(), Unfit> {
    let x = node.live(0)?;
    let op = function(node)?;
    node.pointwise(op, &x, Vec::new())
}

fn function(node: &Import) -> Result<Activation, Unfit> {
    let float = |name: &str, default: f64| -> Result<f64, Unfit> {
        Ok(shortest(f64::from(node.attrs.float(name, default as f32)?)))
    };
    Ok(match node.op_type {
        "Relu" => Activation::Relu,
        "LeakyRelu" => Activation::LeakyRelu { slope: float("alpha", 0.01)? },
        "Elu" => Activation::Elu { alpha: float("alpha", 1.0)? },
        "Gelu" if node.attrs.text("approximate", "none")? == "tanh" => Activation::GeluTanh,
        "Gelu" => Activation::Gelu,
        "Swish" => Activation::Silu { beta: float("alpha", 1.0)? },
        "Sigmoid" => Activation::Sigmoid,
        "HardSigmoid" => hard_sigmoid(float("alpha", 0.2)?, float("beta", 0.5)?),
        "HardSwish" => Activation::HardSwish,
        "Tanh" => Activation::Tanh { scale: 1.0, slope: 1.0 },
        "Clip" => clip(node)?,
        "Selu" => {
            let given = [float("alpha", SELU[0])?, float("gamma", SELU[1])?];
            if given.iter().zip(SELU).any(|(given, own)| (given - own).abs() > 1e-5) {
                return Err(Unfit::new(format!("its constants {given:?} are not those of selu")));
            }
            Activation::Selu
        }
        "Celu" => Activation::Celu { alpha: float("alpha", 1.0)? },
        "Softplus" => Activation::Softplus { beta: 1.0 },
        "Softsign" => Activation::Softsign,
        "Mish" => Activation::Mish,
        "ThresholdedRelu" => Activation::ThresholdedRelu { alpha: float("alpha", 1.0)? },
        "Abs" => Activation::Abs,
        "Exp" => Activation::Exp,
        "Log" => Activation::Log,
        "Pow" => power(node)?,
        "Reciprocal" => Activation::Pow { exponent: -1.0 },
        "Erf" => Activation::Erf,
        _ => Activation::Sqrt,
    })
}

/// Files have the sixth that PyTorch takes with the digits of 32 bits.
fn hard_sigmoid(slope: f64, shift: f64) -> Activation {
    let slope = if (slope - HARD_SIGMOID[0]).abs() < 1e-6 { HARD_SIGMOID[0] } else { slope };
    Activation::HardSigmoid { slope, shift }
}

/// A value to a constant power.
fn power(node: &Import) -> Result<Activation, Unfit> {
    let exponent = node.weight(1, "exponent")?.uniform().ok_or_else(|| Unfit::new("its exponent is not one number"))?;
    Ok(match shortest(f64::from(exponent)) {
        0.5 => Activation::Sqrt,
        exponent if exponent.is_finite() => Activation::Pow { exponent },
        _ => return Err(Unfit::new("its exponent is not finite")),
    })
}

/// The function that has these bounds.
fn clip(node: &Import) -> Result<Activation, Unfit> {
    let bound = |at: usize, name: &str, none: f32| match node.known(at, name)? {
        Some(bound) => bound.scalar().ok_or_else(|| Unfit::new("a bound is not one number")),
        None => node.attrs.float(name, none),
    };
    let (low, high) = (bound(1, "min", f32::MIN)?, bound(2, "max", f32::MAX)?);
    let open = |bound: f32, end: f64| if bound.abs() < f32::MAX { shortest(f64::from(bound)) } else { end };
    match (open(low, f64::NEG_INFINITY), open(high, f64::INFINITY)) {
        (0.0, 6.0) => Ok(Activation::Relu6),
        (0.0, f64::INFINITY) => Ok(Activation::Relu),
        (f64::NEG_INFINITY, f64::INFINITY) => Err(Unfit::new("it has no bounds")),
        // Where the bounds are crossed, ONNX takes the upper one everywhere.
        (low, high) => Ok(Activation::Clip { low: low.min(high), high }),
    }
}

/// Half of the operand times one more than this.
fn half_gate(g: &mut Export, bent: String) -> Result<(), Unfit> {
    let (x, one, half) = (g.operand(0), g.float(1.0)?, g.float(0.5)?);
    let gate = g.between("Add", vec![bent, one], Vec::new());
    let gated = g.between("Mul", vec![x, gate], Vec::new());
    g.last("Mul", vec![gated, half], Vec::new());
    Ok(())
}

pub(super) fn to_onnx(function: Activation, g: &mut Export) -> Result<(), Unfit> {
    let float = |name: &'static str, value: f64| vec![(name, Attr::Float(value as f32))];
    match function {
        Activation::Relu => g.unary("Relu", Vec::new()),
        Activation::Relu6 => g.clipped(Some(0.0), Some(6.0))?,
        Activation::Clip { low, high } => g.clipped(Some(low).filter(|x| x.is_finite()), Some(high).filter(|x| x.is_finite()))?,
        Activation::LeakyRelu { slope } => g.unary("LeakyRelu", float("alpha", slope)),
        Activation::Elu { alpha } => g.unary("Elu", float("alpha", alpha)),
        Activation::Gelu | Activation::Erf if g.opset < 9 => {
            return Err(Unfit::new("Erf needs operator set 9: export with --opset 9 or later"));
        }
        Activation::Gelu if g.opset < 20 => {
            let (x, factor) = (g.operand(0), g.float(std::f64::consts::FRAC_1_SQRT_2)?);
            let scaled = g.between("Mul", vec![x, factor], Vec::new());
            let bent = g.between("Erf", vec![scaled], Vec::new());
            half_gate(g, bent)?;
        }
        Activation::GeluTanh if g.opset < 20 => {
            let (x, share) = (g.operand(0), g.float(0.044715)?);
            let square = g.between("Mul", vec![x.clone(), x.clone()], Vec::new());
            let cube = g.between("Mul", vec![square, x.clone()], Vec::new());
            let part = g.between("Mul", vec![cube, share], Vec::new());
            let (sum, factor) = (g.between("Add", vec![x, part], Vec::new()), g.float((2.0 / std::f64::consts::PI).sqrt())?);
            let scaled = g.between("Mul", vec![sum, factor], Vec::new());
            let bent = g.between("Tanh", vec![scaled], Vec::new());
            half_gate(g, bent)?;
        }
        Activation::Gelu => g.unary("Gelu", Vec::new()),
        Activation::GeluTanh => g.unary("Gelu", vec![("approximate", Attr::Text("tanh".to_owned()))]),
        Activation::Silu { beta } => gated(g, "Sigmoid", beta, Vec::new())?,
        Activation::Sigmoid => g.unary("Sigmoid", Vec::new()),
        Activation::HardSigmoid { slope, shift } => {
            g.unary("HardSigmoid", [float("alpha", slope), float("beta", shift)].concat());
        }
        Activation::HardSwish if g.opset < 14 => {
            gated(g, "HardSigmoid", 1.0, [float("alpha", HARD_SIGMOID[0]), float("beta", HARD_SIGMOID[1])].concat())?;
        }
        Activation::HardSwish => g.unary("HardSwish", Vec::new()),
        Activation::Tanh { scale, slope } => scaled(g, "Tanh", slope, scale)?,
        Activation::Selu => g.unary("Selu", Vec::new()),
        Activation::Celu { alpha } if g.opset < 12 => scaled(g, "Elu", alpha.recip(), alpha)?,
        Activation::Celu { alpha } => g.unary("Celu", float("alpha", alpha)),
        Activation::Softplus { beta } => scaled(g, "Softplus", beta, beta.recip())?,
        Activation::Softsign => g.unary("Softsign", Vec::new()),
        Activation::Mish if g.opset < 18 => {
            let x = g.operand(0);
            let soft = g.between("Softplus", vec![x.clone()], Vec::new());
            let gate = g.between("Tanh", vec![soft], Vec::new());
            g.last("Mul", vec![x, gate], Vec::new());
        }
        Activation::Mish => g.unary("Mish", Vec::new()),
        Activation::ThresholdedRelu { .. } if g.opset < 10 => {
            return Err(Unfit::new("ThresholdedRelu needs operator set 10: export with --opset 10 or later"));
        }
        Activation::ThresholdedRelu { alpha } => g.unary("ThresholdedRelu", float("alpha", alpha)),
        Activation::Abs => g.unary("Abs", Vec::new()),
        Activation::Exp => g.unary("Exp", Vec::new()),
        Activation::Log => g.unary("Log", Vec::new()),
        Activation::Sqrt => g.unary("Sqrt", Vec::new()),
        Activation::Pow { exponent: -1.0 } => g.unary("Reciprocal", Vec::new()),
        Activation::Pow { exponent } => {
            let (x, exponent) = (g.operand(0), g.float(exponent)?);
            g.last("Pow", vec![x, exponent], Vec::new());
        }
        Activation::Erf => g.unary("Erf", Vec::new()),
    }
    Ok(())
}

/// `x * function(inside * x)`.
fn gated(g: &mut Export, op_type: &'static str, inside: f64, attrs: Vec<(&'static str, Attr)>) -> Result<(), Unfit> {
    let x = g.operand(0);
    let inner = times(g, x.clone(), inside)?;
    let gate = g.between(op_type, vec![inner], attrs);
    g.last("Mul", vec![x, gate], Vec::new());
    Ok(())
}

/// `outside * function(inside * x)`.
fn scaled(g: &mut Export, op_type: &'static str, inside: f64, outside: f64) -> Result<(), Unfit> {
    let x = g.operand(0);
    let inner = times(g, x, inside)?;
    if outside == 1.0 {
        g.last(op_type, vec![inner], Vec::new());
        return Ok(());
    }
    let bent = g.between(op_type, vec![inner], Vec::new());
    let factor = g.float(outside)?;
    g.last("Mul", vec![bent, factor], Vec::new());
    Ok(())
}

fn times(g: &mut Export, x: String, factor: f64) -> Result<String, Unfit> {
    if factor == 1.0 {
        return Ok(x);
    }
    let factor = g.float(factor)?;
    Ok(g.between("Mul", vec![x, factor], Vec::new()))
}

pub(super) fn to_pytorch(function: Activation, g: &mut PyTorch) {
    let mut plain = |call: &str, module: &str| g.either(Expr::new(call), Expr::new(module));
    match function {
        Activation::Relu => plain("F.relu({x})", "nn.ReLU()"),
        Activation::Relu6 => plain("F.relu6({x})", "nn.ReLU6()"),
        Activation::Gelu => plain("F.gelu({x})", "nn.GELU()"),
        Activation::GeluTanh => plain("F.gelu({x}, approximate=\"tanh\")", "nn.GELU(approximate=\"tanh\")"),
        Activation::Silu { beta: 1.0 } => plain("F.silu({x})", "nn.SiLU()"),
        Activation::Sigmoid => plain("torch.sigmoid({x})", "nn.Sigmoid()"),
        Activation::HardSigmoid { slope, shift } if [slope, shift] == HARD_SIGMOID => {
            plain("F.hardsigmoid({x})", "nn.Hardsigmoid()");
        }
        Activation::HardSwish => plain("F.hardswish({x})", "nn.Hardswish()"),
        Activation::Tanh { scale: 1.0, slope: 1.0 } => plain("torch.tanh({x})", "nn.Tanh()"),
        Activation::Selu => plain("F.selu({x})", "nn.SELU()"),
        Activation::Softsign => plain("F.softsign({x})", "nn.Softsign()"),
        Activation::Mish => plain("F.mish({x})", "nn.Mish()"),
        Activation::LeakyRelu { slope } => with_one(g, ["F.leaky_relu({x}, {})", "nn.LeakyReLU({})"], "slope", slope),
        Activation::Elu { alpha } => with_one(g, ["F.elu({x}, {})", "nn.ELU({})"], "alpha", alpha),
        Activation::Celu { alpha } => with_one(g, ["F.celu({x}, {})", "nn.CELU({})"], "alpha", alpha),
        Activation::Softplus { beta } => with_one(g, ["F.softplus({x}, {})", "nn.Softplus({})"], "beta", beta),
        Activation::ThresholdedRelu { alpha } => {
            with_one(g, ["F.threshold({x}, {}, 0.0)", "nn.Threshold({}, 0.0)"], "threshold", alpha);
        }
        Activation::Silu { beta } => g.call(Expr::new("{x} * torch.sigmoid({} * {x})").arg("beta", beta)),
        Activation::HardSigmoid { slope, shift } => {
            let call = Expr::new("torch.clamp({0} * {x} + {1}, 0.0, 1.0)");
            g.call(call.arg("slope", slope).arg("shift", shift));
        }
        Activation::Tanh { scale, slope } => {
            g.call(Expr::new("{0} * torch.tanh({1} * {x})").arg("scale", scale).arg("slope", slope));
        }
        Activation::Clip { low, high } => {
            let texts = match (low.is_finite(), high.is_finite()) {
                (true, true) if low < high => ["F.hardtanh({x}, {0}, {1})", "nn.Hardtanh({0}, {1})"],
                (false, _) => ["torch.clamp({x}, max={1})", ""],
                (_, false) => ["torch.clamp({x}, min={0})", ""],
                (true, true) => ["torch.clamp({x}, {0}, {1})", ""],
            };
            let [call, module] = texts.map(|text| Expr::new(text).arg("low", low).arg("high", high));
            g.call(call);
            g.module = Some(module).filter(|module| !module.text.is_empty());
        }
        Activation::Pow { exponent } => g.call(Expr::new("torch.pow({x}, {})").arg("exponent", exponent)),
        Activation::Erf => g.call(Expr::new("torch.erf({x})")),
        Activation::Abs => g.call(Expr::new("torch.abs({x})")),
        Activation::Exp => g.call(Expr::new("torch.exp({x})")),
        Activation::Log => g.call(Expr::new("torch.log({x})")),
        Activation::Sqrt => g.call(Expr::new("torch.sqrt({x})")),
    }
}

fn with_one(g: &mut PyTorch, texts: [&str; 2], name: &'static str, value: f64) {
    let [call, module] = texts.map(|text| Expr::new(text).arg(name, value));
    g.either(call, module);
}
