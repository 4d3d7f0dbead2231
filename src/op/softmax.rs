//! Softmax and its logarithm.

use super::attr::{ArgError, Call, Operands, Signature, Value};
use super::gradient::{Backward, GradBuilder, Ref, Wrt};
use super::{Cost, Operator, ParamSpec, Reach, ShapeError, axis};
use super::onnx::{Attr, Export, Import, Live, Target, Unfit};
use super::pytorch::{Expr, PyTorch};
use crate::dim::DimError;
use crate::tensor::{Element, Shape, View, ViewMut};

/// `exp(in) / Σ exp(in)` along an axis, or the logarithm of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Softmax {
    /// The axis, 0 for the channel.
    pub axis: usize,
    /// Whether the logarithm is taken.
    pub log: bool,
}

static SIGNATURES: [Signature; 2] = [
    Signature {
        layer: "softmax",
        params: &[axis::AXIS],
        operands: Operands::Above,
        doc: "exp(x)/sum of exp(x) along an axis",
    },
    Signature {
        layer: "log_softmax",
        params: &[axis::AXIS],
        operands: Operands::Above,
        doc: "the logarithm of softmax",
    },
];

impl Operator for Softmax {
    fn signatures() -> &'static [Signature] {
        &SIGNATURES
    }

    fn build(call: &Call) -> Result<Self, ArgError> {
        Ok(Softmax { axis: axis::of(call)?, log: call.layer == "log_softmax" })
    }

    fn describe(&self) -> (&'static str, Vec<(&'static str, Value)>) {
        (if self.log { "log_softmax" } else { "softmax" }, vec![("axis", axis::value(self.axis))])
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>, ShapeError> {
        axis::size(inputs, 0, self.axis)?;
        Ok(inputs.to_vec())
    }

    fn arithmetic(&self, _inputs: &[Shape], _outputs: &[Shape]) -> Vec<String> {
        Vec::new()
    }

    fn params(&self, _inputs: &[Shape]) -> Vec<ParamSpec> {
        Vec::new()
    }

    /// For each element a comparison, a subtraction, an exponential, an addition and a division; in the logarithm a
    /// second subtraction stands for the division.
    fn cost(&self, _inputs: &[Shape], outputs: &[Shape]) -> Result<Cost, DimError> {
        Cost::elementwise(&outputs[0], 5)
    }

    fn reach(&self, _inputs: &[Shape]) -> Reach {
        if self.axis == 0 { Reach::Point } else { Reach::Everything }
    }

    /// In `f64`, relative to the largest element so that nothing overflows.
    fn forward<E: Element>(&self, inputs: &[View<E>], _params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        let (outer, inner) = axis::around(inputs[0].dims, self.axis);
        let size = inputs[0].dims[self.axis + 1];
        for o in 0..outer {
            for k in 0..inner {
                let at = |i: usize| (o * size + i) * inner + k;
                let x = |i: usize| inputs[0].data[at(i)].f64();
                let largest = (0..size).map(x).fold(f64::NEG_INFINITY, f64::max);
                let sum: f64 = (0..size).map(|i| (x(i) - largest).exp()).sum();
                for i in 0..size {
                    let shifted = x(i) - largest;
                    let value = if self.log { shifted - sum.ln() } else { shifted.exp() / sum };
                    outputs[0].data[at(i)] = E::of(value);
                }
            }
        }
    }

    fn gradient(&self, g: &mut GradBuilder) {
        let incoming = g.incoming(0);
        g.backward(self, &[Wrt::Operand(0)], &[Ref::Result(0), incoming], &[]);
    }

    const ONNX: &'static [&'static str] = &["Softmax", "LogSoftmax"];

    /// Before operator set 13 all axes from `axis` on are one.
    fn from_onnx(node: &mut Import) -> Result<(), Unfit> {
        let log = node.op_type == "LogSoftmax";
        let x = node.live(0)?;
        let rank = x.axes.rank();
        let at = node.axis_at(node.attrs.int("axis", if node.opset < 13 { 1 } else { -1 })?, rank)?;
        let wide = (at..rank).filter(|&axis| !x.axes.0[axis].is_empty()).count();
        if node.opset < 13 && 1 < wide {
            if at != 1 {
                return Err(Unfit::new("it works along several axes, some of them by themselves"));
            }
            let flat = Live { axes: x.axes.reshaped(&[Target::Size(x.axes.dims()?[0].clone()), Target::Rest])?, ..x.clone() };
            let flat = node.settled(&flat)?;
            let made = node.emit_one(Softmax { axis: 0, log }, &[&flat], Vec::new())?;
            let dims: Vec<Target> = x.axes.dims()?.into_iter().map(Target::Size).collect();
            node.result(Live { axes: made.axes.reshaped(&dims)?, ..made });
            return Ok(());
        }
        let at = if node.opset < 13 { (at..rank).find(|&axis| !x.axes.0[axis].is_empty()).unwrap_or(at) } else { at };
        let x = node.whole(&x)?;
        let axis = node.axis_of(&x, at)?;
        node.pointwise(Softmax { axis, log }, &x, Vec::new())
    }

    fn to_onnx(&self, g: &mut Export) -> Result<(), Unfit> {
        let (rank, op_type) = (g.inputs[0].rank() as i64 + 1, if self.log { "LogSoftmax" } else { "Softmax" });
        let axis = self.axis as i64 + 1;
        if g.opset < 13 && axis + 1 != rank {
            // Before, all axes from this one on count as one: it has to be the last.
            let mut order: Vec<i64> = (0..rank).collect();
            order.swap(axis as usize, rank as usize - 1);
            let perm = vec![("perm", Attr::Ints(order))];
            let turned = g.between("Transpose", vec![g.operand(0)], perm.clone());
            let made = g.between(op_type, vec![turned], vec![("axis", Attr::Int(rank - 1))]);
            g.last("Transpose", vec![made], perm);
            return Ok(());
        }
        g.unary(op_type, vec![("axis", Attr::Int(axis))]);
        Ok(())
    }

    fn to_pytorch(&self, g: &mut PyTorch) -> Result<(), Unfit> {
        let dim = self.axis as u64 + 1;
        let (call, module) = match self.log {
            true => ("F.log_softmax({x}, {})", "nn.LogSoftmax({})"),
            false => ("F.softmax({x}, {})", "nn.Softmax({})"),
        };
        g.either(Expr::new(call).arg("dim", dim), Expr::new(module).arg("dim", dim));
        Ok(())
    }
}

impl Backward for Softmax {
    fn backward_cost(&self, _wrt: &[Wrt], _inputs: &[Shape], outputs: &[Shape]) -> Result<Cost, DimError> {
        Cost::elementwise(&outputs[0], if self.log { 4 } else { 3 })
    }

    fn backward<E: Element>(&self, _wrt: &[Wrt], inputs: &[View<E>], _params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        let (outer, inner) = axis::around(inputs[0].dims, self.axis);
        let size = inputs[0].dims[self.axis + 1];
        for o in 0..outer {
            for k in 0..inner {
                let at = |i: usize| (o * size + i) * inner + k;
                let (result, gradient) = (|i: usize| inputs[0].data[at(i)].f64(), |i: usize| inputs[1].data[at(i)].f64());
                let sum: f64 = (0..size).map(|i| if self.log { gradient(i) } else { gradient(i) * result(i) }).sum();
                for i in 0..size {
                    let slope = if self.log { gradient(i) - result(i).exp() * sum } else { result(i) * (gradient(i) - sum) };
                    outputs[0].data[at(i)] = E::of(slope);
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::dim::Dim;
    use crate::op::testing::{assert_close, assert_round_trip, build, infer_one, run, seeded};

    fn softmax(layer: &str, axis: &str) -> Softmax {
        build(layer, &[("axis", Value::word(axis))], &[])
    }

    #[test]
    fn keeps_maps_and_vectors() {
        assert_eq!(infer_one(&softmax("softmax", "c"), &[&[10]]), Ok(vec![10]));
        assert_eq!(infer_one(&softmax("softmax", "w"), &[&[10, 4, 3]]), Ok(vec![10, 4, 3]));
        assert_eq!(infer_one(&softmax("softmax", "w"), &[&[10]]), Err(ShapeError::needs_feature_map(0)));
    }

    #[test]
    fn describes_itself() {
        for layer in ["softmax", "log_softmax"] {
            for axis in ["c", "h", "w"] {
                assert_round_trip(&softmax(layer, axis), &[]);
            }
        }
        assert_eq!(build::<Softmax>("softmax", &[], &[]), softmax("softmax", "c"));
    }

    #[test]
    fn counts() {
        let shape = [Shape::known(&[4, 3, 2])];
        for layer in ["softmax", "log_softmax"] {
            assert_eq!(softmax(layer, "c").cost(&shape, &shape).unwrap().flops, Dim::from(24u64 * 5));
        }
    }

    #[test]
    fn large_logits_do_not_overflow() {
        let x = vec![1000.0, 1000.0 + 3f32.ln(), -1000.0];
        let output = run(&softmax("softmax", "c"), &[(&[1, 3], x.clone())], &[]);
        assert_close(&output[0], &[0.25, 0.75, 0.0], 1e-4);
        let output = run(&softmax("log_softmax", "c"), &[(&[1, 3], x)], &[]);
        assert_close(&output[0], &[0.25f64.ln(), 0.75f64.ln(), -2000.0 + 0.25f64.ln()], 1e-7);
    }

    #[test]
    fn sums_along_its_axis() {
        let dims = [2, 3, 4, 5];
        let x = seeded(120, 8);
        for (axis, word) in [(1, "c"), (2, "h"), (3, "w")] {
            let output = run(&softmax("softmax", word), &[(&dims, x.clone())], &[]);
            let log = run(&softmax("log_softmax", word), &[(&dims, x.clone())], &[]);
            let step: usize = dims[axis + 1..].iter().product();
            let mut expected = Vec::new();
            for at in 0..120 {
                let first = at - at / step % dims[axis] * step;
                let sum: f64 = (0..dims[axis]).map(|i| f64::from(x[first + i * step]).exp()).sum();
                expected.push(f64::from(x[at]).exp() / sum);
            }
            assert_close(&output[0], &expected, 1e-7);
            assert_close(&log[0], &expected.iter().map(|p| p.ln()).collect::<Vec<_>>(), 1e-6);
        }
    }
}
