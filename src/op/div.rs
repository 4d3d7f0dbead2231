//! Elementwise quotient.

use super::affine::Affine;
use super::attr::{ArgError, Call, Operands, Signature, Value};
use super::gradient::{Backward, GradBuilder, Ref, Wrt, fill};
use super::mul::Mul;
use super::{Cost, Op, Operator, ParamSpec, Reach, ShapeError};
use super::onnx::{Export, Import, Live, Unfit};
use super::pytorch::{Expr, PyTorch};
use crate::dim::DimError;
use crate::tensor::{Element, Shape, View, ViewMut};

/// The first of two values divided by the second: of the same shape, or one of them `[c, 1, 1]` next to `[c, h, w]`,
/// which then counts for every position as in [`Mul`].
#[derive(Clone, Debug, PartialEq)]
pub struct Div;

impl Operator for Div {
    fn signatures() -> &'static [Signature] {
        &[Signature {
            layer: "div",
            params: &[],
            operands: Operands::Listed(2),
            doc: "the first value divided by the second; [c, 1, 1] counts for every position",
        }]
    }

    fn build(_call: &Call) -> Result<Self, ArgError> {
        Ok(Div)
    }

    fn describe(&self) -> (&'static str, Vec<(&'static str, Value)>) {
        ("div", Vec::new())
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>, ShapeError> {
        Mul.infer(inputs)
    }

    fn arithmetic(&self, inputs: &[Shape], outputs: &[Shape]) -> Vec<String> {
        Mul.arithmetic(inputs, outputs)
    }

    fn params(&self, _inputs: &[Shape]) -> Vec<ParamSpec> {
        Vec::new()
    }

    fn cost(&self, _inputs: &[Shape], outputs: &[Shape]) -> Result<Cost, DimError> {
        Cost::elementwise(&outputs[0], 1)
    }

    fn reach(&self, _inputs: &[Shape]) -> Reach {
        Reach::Point
    }

    fn forward<E: Element>(&self, inputs: &[View<E>], _params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        let quotients = &mut outputs[0].data;
        let shared = [0, 1].map(|operand| quotients.len() / inputs[operand].data.len());
        for (at, quotient) in quotients.iter_mut().enumerate() {
            let [above, below] = [0, 1].map(|operand| inputs[operand].data[at / shared[operand]].f64());
            *quotient = E::of(above / below);
        }
    }

    /// With respect to the first `gradient / second`, with respect to the second `-gradient · result / second`; what
    /// counts for every position is summed over them.
    fn gradient(&self, g: &mut GradBuilder) {
        let incoming = g.incoming(0);
        let whole = [0, 1].map(|operand| g.inputs()[operand] == g.outputs()[0]);
        for operand in g.wanted_operands() {
            if !whole[operand] {
                let taken = [Ref::Operand(0), Ref::Operand(1), incoming];
                g.backward(self, &[Wrt::Operand(operand)], &taken, &[]);
                continue;
            }
            let mut gradient = incoming;
            if operand == 1 {
                gradient = g.emit(Op::Mul(Mul), &[gradient, Ref::Result(0)]);
                gradient = g.emit(Op::Affine(Affine { scale: vec![-1.0], shift: vec![0.0] }), &[gradient]);
            }
            let gradient = g.emit(Op::Div(Div), &[gradient, Ref::Operand(1)]);
            g.set(Wrt::Operand(operand), gradient);
        }
    }

    const ONNX: &'static [&'static str] = &["Div"];

    fn from_onnx(node: &mut Import) -> Result<(), Unfit> {
        let lives = node.lives()?;
        let mut lives = node.with_equal_axes(lives)?;
        if !node.fits(Div, &lives) {
            lives = node.alike(lives)?;
        }
        let axes = lives[0].axes.clone();
        let made = node.emit_one(Div, &lives.iter().collect::<Vec<_>>(), Vec::new())?;
        node.result(Live { axes, ..made });
        Ok(())
    }

    fn to_onnx(&self, g: &mut Export) -> Result<(), Unfit> {
        let operands = g.operands();
        g.last("Div", operands, Vec::new());
        Ok(())
    }

    fn to_pytorch(&self, g: &mut PyTorch) -> Result<(), Unfit> {
        g.call(Expr::new("{x} / {y}"));
        Ok(())
    }
}

impl Backward for Div {
    fn backward_cost(&self, wrt: &[Wrt], inputs: &[Shape], _outputs: &[Shape]) -> Result<Cost, DimError> {
        // A quotient and a sum; with respect to the second operand two more products.
        let each = |wrt: &Wrt| if *wrt == Wrt::Operand(0) { 2 } else { 4 };
        Cost::elementwise(&inputs[2], wrt.iter().map(each).sum())
    }

    fn backward<E: Element>(&self, wrt: &[Wrt], inputs: &[View<E>], _params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        let gradients = inputs[2].data;
        let shared = [0, 1].map(|operand| gradients.len() / inputs[operand].data.len());
        for (wrt, output) in wrt.iter().zip(outputs) {
            let &Wrt::Operand(of) = wrt else { continue };
            let mut sums = vec![0.0; output.data.len()];
            for (at, gradient) in gradients.iter().enumerate() {
                let [above, below] = [0, 1].map(|operand| inputs[operand].data[at / shared[operand]].f64());
                let slope = if of == 0 { 1.0 / below } else { -above / (below * below) };
                sums[at / shared[of]] += gradient.f64() * slope;
            }
            fill(output, &sums);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::op::testing::{infer_one, run};

    #[test]
    fn takes_equal_shapes_and_values_for_every_position() {
        assert_eq!(infer_one(&Div, &[&[3, 5, 2], &[3, 5, 2]]), Ok(vec![3, 5, 2]));
        assert_eq!(infer_one(&Div, &[&[3, 5, 2], &[3, 1, 1]]), Ok(vec![3, 5, 2]));
        assert_eq!(infer_one(&Div, &[&[3, 1, 1], &[3, 5, 2]]), Ok(vec![3, 5, 2]));
        assert_eq!(infer_one(&Div, &[&[7], &[7]]), Ok(vec![7]));
        let differ = |axes| Err(ShapeError::Differ { left: 0, right: 1, axes });
        assert_eq!(infer_one(&Div, &[&[3, 5, 2], &[1, 1, 1]]), differ(vec![0]));
        assert_eq!(infer_one(&Div, &[&[3, 5, 2], &[3, 1, 2]]), differ(vec![1]));
    }

    #[test]
    fn divides_the_first_by_the_second() {
        let (map, channels) = (vec![1.0, 2.0, 3.0, 4.0], vec![2.0, -4.0]);
        let output = run(&Div, &[(&[1, 2, 2, 1], map.clone()), (&[1, 2, 1, 1], channels.clone())], &[]);
        assert_eq!(output, [[0.5, 1.0, -0.75, -1.0]]);
        let output = run(&Div, &[(&[1, 2, 1, 1], channels), (&[1, 2, 2, 1], map.clone())], &[]);
        assert_eq!(output, [[2.0, 1.0, -4.0 / 3.0, -1.0]]);
        assert_eq!(run(&Div, &[(&[2, 2], map.clone()), (&[2, 2], map)], &[]), [[1.0; 4]]);
    }
}
