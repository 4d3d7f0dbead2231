//! Elementwise difference.

use super::add::same_shape;
use super::attr::{ArgError, Call, Operands, Signature, Value};
use super::gradient::{GradBuilder, Wrt};
use super::affine::Affine;
use super::{Cost, Op, Operator, ParamSpec, Reach, ShapeError};
use super::onnx::{Export, Import, Live, Unfit};
use super::pytorch::{Expr, PyTorch};
use crate::dim::DimError;
use crate::tensor::{Element, Shape, View, ViewMut};

/// The first of two values of the same shape minus the second; never broadcasts.
#[derive(Clone, Debug, PartialEq)]
pub struct Sub;

impl Operator for Sub {
    fn signatures() -> &'static [Signature] {
        &[Signature { layer: "sub", params: &[], operands: Operands::Listed(2), doc: "the first value minus the second" }]
    }

    fn build(_call: &Call) -> Result<Self, ArgError> {
        Ok(Sub)
    }

    fn describe(&self) -> (&'static str, Vec<(&'static str, Value)>) {
        ("sub", Vec::new())
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>, ShapeError> {
        Ok(vec![same_shape(inputs)?])
    }

    fn arithmetic(&self, _inputs: &[Shape], _outputs: &[Shape]) -> Vec<String> {
        Vec::new()
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
        for ((difference, &left), &right) in outputs[0].data.iter_mut().zip(inputs[0].data).zip(inputs[1].data) {
            *difference = E::of(left.f64() - right.f64());
        }
    }

    fn gradient(&self, g: &mut GradBuilder) {
        g.pass();
        if g.wants(Wrt::Operand(1)) {
            let incoming = g.incoming(0);
            let negative = g.emit(Op::Affine(Affine { scale: vec![-1.0], shift: vec![0.0] }), &[incoming]);
            g.set(Wrt::Operand(1), negative);
        }
    }

    const ONNX: &'static [&'static str] = &["Sub"];

    fn from_onnx(node: &mut Import) -> Result<(), Unfit> {
        let lives = node.lives()?;
        let lives = node.alike(lives)?;
        let made = node.emit_one(Sub, &lives.iter().collect::<Vec<_>>(), Vec::new())?;
        node.result(Live { axes: lives[0].axes.clone(), ..made });
        Ok(())
    }

    fn to_onnx(&self, g: &mut Export) -> Result<(), Unfit> {
        let operands = g.operands();
        g.last("Sub", operands, Vec::new());
        Ok(())
    }

    fn to_pytorch(&self, g: &mut PyTorch) -> Result<(), Unfit> {
        g.call(Expr::new("{x} - {y}"));
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::op::testing::{infer_one, run};

    #[test]
    fn takes_equal_shapes_only() {
        assert_eq!(infer_one(&Sub, &[&[3, 5, 1], &[3, 5, 1]]), Ok(vec![3, 5, 1]));
        let differ = |axes| Err(ShapeError::Differ { left: 0, right: 1, axes });
        assert_eq!(infer_one(&Sub, &[&[3, 5, 1], &[3, 1, 1]]), differ(vec![1]));
        assert_eq!(infer_one(&Sub, &[&[3, 5, 1], &[4, 5, 2]]), differ(vec![0, 2]));
        assert_eq!(infer_one(&Sub, &[&[3, 5, 1], &[15]]), differ(vec![]));
    }

    #[test]
    fn subtracts_the_second_from_the_first() {
        let (left, right) = (vec![1.0, 2.0, 3.0, 4.0], vec![0.5, 3.0, -1.0, 4.0]);
        let output = run(&Sub, &[(&[2, 2], left), (&[2, 2], right)], &[]);
        assert_eq!(output, [[0.5, -1.0, 4.0, 0.0]]);
    }
}
