//! Scale and shift by constants, for example to undo one preprocessing and apply another.

use super::attr::{ArgError, Call, Operands, Signature, Value, param};
use super::gradient::{GradBuilder, Wrt};
use super::activation::Activation;
use super::{Cost, Op, Operator, ParamSpec, Reach, ShapeError, axis};
use super::onnx::{self, Export, Import, Live, Unfit};
use super::pytorch::{Expr, Helper, Py, PyTorch};
use crate::dim::DimError;
use crate::tensor::{Element, Shape, View, ViewMut};

/// `out = in · scale + shift` with constants, one for all channels or one for each.
#[derive(Clone, Debug, PartialEq)]
pub struct Affine {
    /// One factor, or one for each channel.
    pub scale: Vec<f64>,
    /// One summand, or one for each channel.
    pub shift: Vec<f64>,
}

static AFFINE: Helper = Helper {
    name: "Affine",
    text: r#"class Affine(nn.Module):
    """Constants that each channel is multiplied with, and that are added to it."""

    def __init__(self, scale: List[float], shift: List[float]):
        super().__init__()
        self.register_buffer("scale", torch.tensor(scale), persistent=False)
        self.register_buffer("shift", torch.tensor(shift), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        sizes = [-1] + [1] * (x.dim() - 2)
        return x * self.scale.view(sizes) + self.shift.view(sizes)
"#,
};

impl Operator for Affine {
    fn signatures() -> &'static [Signature] {
        static SIGNATURES: [Signature; 1] = [Signature {
            layer: "affine",
            params: &[
                param("scale", "1.0", "the factor: a number, or a list with one for each channel"),
                param("shift", "0.0", "the summand: a number, or a list with one for each channel"),
            ],
            operands: Operands::Above,
            doc: "x*scale + shift with constants",
        }];
        &SIGNATURES
    }

    fn build(call: &Call) -> Result<Self, ArgError> {
        let constants = |name, default| match call.floats(name, Some(default)) {
            Ok(values) if values.is_empty() => Err(ArgError::new(name, "needs at least one number")),
            values => values,
        };
        Ok(Affine { scale: constants("scale", 1.0)?, shift: constants("shift", 0.0)? })
    }

    fn describe(&self) -> (&'static str, Vec<(&'static str, Value)>) {
        let value = |constants: &[f64]| match *constants {
            [constant] => Value::Float(constant),
            _ => Value::List(constants.iter().map(|&constant| Value::Float(constant)).collect()),
        };
        ("affine", vec![("scale", value(&self.scale)), ("shift", value(&self.shift))])
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>, ShapeError> {
        let channels = axis::size(inputs, 0, 0)?;
        for (attr, constants) in [("scale", &self.scale), ("shift", &self.shift)] {
            let count = constants.len();
            if count != 1 && channels.as_usize() != Some(count) {
                let message = format!("lists {count} numbers for {channels} channels");
                let help = Some(format!("write one number for all channels, or a list of {channels}"));
                return Err(ShapeError::Misfit { attr: Some(attr), message, help });
            }
        }
        Ok(inputs.to_vec())
    }

    fn arithmetic(&self, _inputs: &[Shape], _outputs: &[Shape]) -> Vec<String> {
        Vec::new()
    }

    fn params(&self, _inputs: &[Shape]) -> Vec<ParamSpec> {
        Vec::new()
    }

    /// One multiplication for each element unless the scale is one, one addition unless the shift is zero.
    fn cost(&self, _inputs: &[Shape], outputs: &[Shape]) -> Result<Cost, DimError> {
        let scaled = self.scale.iter().any(|&scale| scale != 1.0);
        let shifted = self.shift.iter().any(|&shift| shift != 0.0);
        Cost::elementwise(&outputs[0], u64::from(scaled) + u64::from(shifted))
    }

    fn reach(&self, _inputs: &[Shape]) -> Reach {
        Reach::Point
    }

    /// Computes in `f64`.
    fn forward<E: Element>(&self, inputs: &[View<E>], _params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        let channels = inputs[0].dims[1];
        let area: usize = inputs[0].dims[2..].iter().product();
        for (at, (output, &x)) in outputs[0].data.iter_mut().zip(inputs[0].data).enumerate() {
            let channel = at / area % channels;
            *output = E::of(x.f64() * of_channel(&self.scale, channel) + of_channel(&self.shift, channel));
        }
    }

    fn gradient(&self, g: &mut GradBuilder) {
        let incoming = g.incoming(0);
        let scaled = Affine { scale: self.scale.clone(), shift: vec![0.0] };
        let scaled = g.emit(Op::Affine(scaled), &[incoming]);
        g.set(Wrt::Operand(0), scaled);
    }

    const ONNX: &'static [&'static str] = &["Add", "Sub", "Mul", "Div", "Neg"];

    /// Arithmetic with one number.
    fn from_onnx(node: &mut Import) -> Result<(), Unfit> {
        if node.op_type == "Neg" {
            let x = node.live(0)?;
            return node.pointwise(Affine { scale: vec![-1.0], shift: vec![0.0] }, &x, Vec::new());
        }
        let (mut x, constant, first) = node.live_and_known()?;
        let value = constant.scalar().filter(|_| constant.dims().len() <= x.axes.rank());
        let value = value.ok_or_else(|| node.decline("its constant is not one number"))?;
        let values = [onnx::shortest(f64::from(value))];
        let each = |change: fn(f64) -> f64| values.iter().map(|&value| change(value)).collect::<Vec<f64>>();
        let (scale, shift) = match (node.op_type, first) {
            ("Add", _) => (vec![1.0], values.to_vec()),
            ("Sub", false) => (vec![1.0], each(|value| -value)),
            ("Sub", true) => (vec![-1.0], values.to_vec()),
            ("Mul", _) => (values.to_vec(), vec![0.0]),
            ("Div", false) => (each(f64::recip), vec![0.0]),
            _ => {
                let inverse = Activation::Pow { exponent: -1.0 };
                x = Live { axes: x.axes.clone(), ..node.emit_one(inverse, &[&x], Vec::new())? };
                (values.to_vec(), vec![0.0])
            }
        };
        if !scale.iter().chain(&shift).all(|&value| (value as f32).is_finite()) {
            return Err(Unfit::new("its constant is not finite"));
        }
        if (scale.as_slice(), shift.as_slice()) == (&[1.0], &[0.0]) {
            node.result(x);
            return Ok(());
        }
        node.pointwise(Affine { scale, shift }, &x, Vec::new())
    }

    fn to_onnx(&self, g: &mut Export) -> Result<(), Unfit> {
        let scaled = self.scale.iter().any(|&scale| scale != 1.0);
        let shifted = self.shift.iter().any(|&shift| shift != 0.0);
        let x = g.operand(0);
        match (scaled, shifted) {
            (false, false) => g.unary("Identity", Vec::new()),
            (true, false) => {
                let scale = g.numbers(&self.scale)?;
                g.last("Mul", vec![x, scale], Vec::new());
            }
            (false, true) => {
                let shift = g.numbers(&self.shift)?;
                g.last("Add", vec![x, shift], Vec::new());
            }
            (true, true) => {
                let scale = g.numbers(&self.scale)?;
                let scaled = g.between("Mul", vec![x, scale], Vec::new());
                let shift = g.numbers(&self.shift)?;
                g.last("Add", vec![scaled, shift], Vec::new());
            }
        }
        Ok(())
    }

    fn to_pytorch(&self, g: &mut PyTorch) -> Result<(), Unfit> {
        if let ([scale], [shift]) = (self.scale.as_slice(), self.shift.as_slice()) {
            let text = match (*scale == 1.0, *shift == 0.0) {
                (true, _) => "{x} + {1}",
                (false, true) => "{x} * {0}",
                (false, false) => "{x} * {0} + {1}",
            };
            g.call(Expr::new(text).arg("scale", *scale).arg("shift", *shift));
            return Ok(());
        }
        g.helper(&AFFINE);
        let [scale, shift] = [&self.scale, &self.shift].map(|values| Py::list(values.iter().copied()));
        g.module(Expr::new("Affine({})").arg("scale", scale).arg("shift", shift));
        Ok(())
    }
}

fn of_channel(constants: &[f64], channel: usize) -> f64 {
    constants[if constants.len() == 1 { 0 } else { channel }]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::dim::Dim;
    use crate::op::testing::{assert_round_trip, build, infer_one, run, try_build};

    fn affine(scale: &[f64], shift: &[f64]) -> Affine {
        Affine { scale: scale.to_vec(), shift: shift.to_vec() }
    }

    #[test]
    fn lists_have_one_number_for_each_channel() {
        assert_eq!(infer_one(&affine(&[2.0], &[0.0, 1.0, 2.0]), &[&[3, 5, 1]]), Ok(vec![3, 5, 1]));
        assert_eq!(infer_one(&affine(&[1.0, 2.0], &[0.0]), &[&[2]]), Ok(vec![2]));
        let scales = infer_one(&affine(&[1.0, 2.0], &[0.0]), &[&[3, 5, 1]]);
        assert!(matches!(scales, Err(ShapeError::Misfit { attr: Some("scale"), .. })));
        let shifts = infer_one(&affine(&[1.0], &[0.0; 4]), &[&[3, 5, 1]]);
        assert!(matches!(shifts, Err(ShapeError::Misfit { attr: Some("shift"), .. })));
    }

    #[test]
    fn describes_itself() {
        assert_round_trip(&affine(&[2.0], &[-1.0]), &[]);
        assert_round_trip(&affine(&[2.0, 0.5], &[0.25, 1e-7]), &[]);
        assert_eq!(build::<Affine>("affine", &[], &[]), affine(&[1.0], &[0.0]));
    }

    #[test]
    fn refuses_what_is_no_number() {
        let huge = Value::Float(1e39);
        for value in [Value::List(vec![]), Value::word("mean"), Value::Float(f64::NAN), huge, Value::List(vec![Value::Bool(true)])] {
            assert_eq!(try_build::<Affine>("affine", &[("shift", value)], &[]).unwrap_err().param, Some("shift"));
        }
    }

    #[test]
    fn only_what_changes_a_value_costs() {
        let shape = [Shape::known(&[2, 3, 5])];
        for (op, flops) in [
            (affine(&[1.0], &[0.0]), 0u64),
            (affine(&[2.0], &[0.0]), 30),
            (affine(&[1.0], &[0.0, 3.0]), 30),
            (affine(&[1.0, 2.0], &[1.0]), 60),
        ] {
            assert_eq!(op.cost(&shape, &shape).unwrap().flops, Dim::from(flops), "{op:?}");
        }
    }

    #[test]
    fn scales_and_shifts_each_channel() {
        let data: Vec<f32> = (0..8).map(|x| x as f32).collect();
        let output = run(&affine(&[2.0, -1.0], &[0.5]), &[(&[2, 2, 1, 2], data.clone())], &[]);
        assert_eq!(output, [[0.5, 2.5, -1.5, -2.5, 8.5, 10.5, -5.5, -6.5]]);
        let output = run(&affine(&[0.5], &[0.0, 1.0, 2.0, 3.0]), &[(&[2, 4], data)], &[]);
        assert_eq!(output, [[0.0, 1.5, 3.0, 4.5, 2.0, 3.5, 5.0, 6.5]]);
    }
}
