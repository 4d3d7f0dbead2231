//! Elementwise sum: where a skip connection joins (He et al. 2015, arXiv:1512.03385).

use super::affine::Affine;
use super::attr::{ArgError, Call, Operands, Signature, Value};
use super::gradient::{GradBuilder, Wrt};
use super::{Cost, Operator, ParamSpec, Reach, ShapeError, axis};
use super::onnx::{Export, Import, Live, Unfit};
use super::pytorch::{self, Expr, PyTorch};
use crate::dim::DimError;
use crate::tensor::{Element, Shape, View, ViewMut};

/// The sum of two or more values of the same shape; never broadcasts.
#[derive(Clone, Debug, PartialEq)]
pub struct Add;

/// The shape that all operands have.
///
/// # Errors
/// Names the first operand that differs from operand 0, and the axes.
pub fn same_shape(inputs: &[Shape]) -> Result<Shape, ShapeError> {
    let first = &inputs[0];
    for (right, shape) in inputs.iter().enumerate().skip(1) {
        match axis::differing(first, shape) {
            Some(axes) if axes.is_empty() => {}
            axes => return Err(ShapeError::Differ { left: 0, right, axes: axes.unwrap_or_default() }),
        }
    }
    Ok(first.clone())
}

impl Operator for Add {
    fn signatures() -> &'static [Signature] {
        &[Signature { layer: "add", params: &[], operands: Operands::Group, doc: "the sum of values of one shape" }]
    }

    fn build(_call: &Call) -> Result<Self, ArgError> {
        Ok(Add)
    }

    fn describe(&self) -> (&'static str, Vec<(&'static str, Value)>) {
        ("add", Vec::new())
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

    fn cost(&self, inputs: &[Shape], outputs: &[Shape]) -> Result<Cost, DimError> {
        Cost::elementwise(&outputs[0], inputs.len() as u64 - 1)
    }

    fn reach(&self, _inputs: &[Shape]) -> Reach {
        Reach::Point
    }

    fn forward<E: Element>(&self, inputs: &[View<E>], _params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        for (at, sum) in outputs[0].data.iter_mut().enumerate() {
            *sum = E::of(inputs.iter().map(|input| input.data[at].f64()).sum());
        }
    }

    fn gradient(&self, g: &mut GradBuilder) {
        let incoming = g.incoming(0);
        (0..g.inputs().len()).for_each(|at| g.set(Wrt::Operand(at), incoming));
    }

    const ONNX: &'static [&'static str] = &["Add", "Sum", "Mean"];

    fn from_onnx(node: &mut Import) -> Result<(), Unfit> {
        let lives = node.lives()?;
        if let [only] = lives.as_slice() {
            node.result(only.clone());
            return Ok(());
        }
        let lives = node.alike(lives)?;
        let mut made = node.emit_one(Add, &lives.iter().collect::<Vec<_>>(), Vec::new())?;
        if node.op_type == "Mean" {
            let share = Affine { scale: vec![1.0 / lives.len() as f64], shift: vec![0.0] };
            made = node.emit_one(share, &[&made], Vec::new())?;
        }
        node.result(Live { axes: lives[0].axes.clone(), ..made });
        Ok(())
    }

    fn to_onnx(&self, g: &mut Export) -> Result<(), Unfit> {
        let operands = g.operands();
        g.last(if operands.len() == 2 { "Add" } else { "Sum" }, operands, Vec::new());
        Ok(())
    }

    fn to_pytorch(&self, g: &mut PyTorch) -> Result<(), Unfit> {
        g.call(Expr::new(pytorch::joined(g.inputs.len(), "+")));
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::dim::Dim;
    use crate::op::testing::{assert_round_trip, infer_one, run};

    #[test]
    fn takes_values_of_one_shape() {
        let (map, vector): (&[u64], &[u64]) = (&[8, 5, 4], &[160]);
        assert_eq!(infer_one(&Add, &[map, map, map]), Ok(map.to_vec()));
        assert_eq!(infer_one(&Add, &[vector, vector]), Ok(vector.to_vec()));
        let differ = |right, axes| Err(ShapeError::Differ { left: 0, right, axes });
        assert_eq!(infer_one(&Add, &[map, map, &[8, 4, 5]]), differ(2, vec![1, 2]));
        assert_eq!(infer_one(&Add, &[map, &[8, 1, 1]]), differ(1, vec![1, 2]));
        assert_eq!(infer_one(&Add, &[map, vector]), differ(1, vec![]));
    }

    #[test]
    fn sizes_may_be_equal_in_another_form() {
        let h = Dim::symbol("H", 1);
        let halves = h.floor_div(2).unwrap().add(&h.ceil_div(2).unwrap()).unwrap();
        let shape = |height: &Dim| Shape(vec![1u64.into(), height.clone(), 3u64.into()]);
        assert_eq!(Add.infer(&[shape(&h), shape(&halves)]), Ok(vec![shape(&h)]));
        let other = shape(&h.add(&Dim::ONE).unwrap());
        assert!(matches!(Add.infer(&[shape(&h), other]), Err(ShapeError::Differ { .. })));
    }

    #[test]
    fn adds_each_operand() {
        assert_round_trip(&Add, &[]);
        let shapes = [(); 3].map(|()| Shape::known(&[1, 2, 2]));
        assert_eq!(Add.cost(&shapes, &shapes[..1]).unwrap().flops, Dim::from(8u64));
        let operand = |factor: f32| [1.0, 2.0, 3.0, 4.0].map(|x| x * factor).to_vec();
        let dims: &[usize] = &[1, 1, 2, 2];
        let output = run(&Add, &[(dims, operand(1.0)), (dims, operand(10.0)), (dims, operand(-0.5))], &[]);
        assert_eq!(output[0], operand(10.5));
    }
}
