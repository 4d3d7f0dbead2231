//! From a feature map to the vector that a linear layer takes.

use super::attr::{ArgError, Call, Operands, Signature, Value};
use super::gradient::{GradBuilder, Wrt};
use super::reshape::Reshape;
use super::{Cost, Op, Operator, ParamSpec, Reach, ShapeError};
use super::onnx::{Attr, Export, Import, Unfit};
use super::pytorch::{Expr, PyTorch};
use crate::dim::DimError;
use crate::tensor::{Element, Shape, View, ViewMut};

/// All elements of a sample as one axis, in the order c, h, w (PyTorch's `flatten(1)`).
#[derive(Clone, Debug, PartialEq)]
pub struct Flatten;

impl Operator for Flatten {
    fn signatures() -> &'static [Signature] {
        &[Signature {
            layer: "flatten",
            params: &[],
            operands: Operands::Above,
            doc: "all elements as one vector, in the order c, h, w",
        }]
    }

    fn build(_call: &Call) -> Result<Self, ArgError> {
        Ok(Flatten)
    }

    fn describe(&self) -> (&'static str, Vec<(&'static str, Value)>) {
        ("flatten", Vec::new())
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>, ShapeError> {
        Ok(vec![Shape(vec![inputs[0].elements()?])])
    }

    fn arithmetic(&self, inputs: &[Shape], outputs: &[Shape]) -> Vec<String> {
        if inputs[0].rank() == 1 { Vec::new() } else { vec![format!("features: {} = {}", inputs[0], outputs[0])] }
    }

    fn params(&self, _inputs: &[Shape]) -> Vec<ParamSpec> {
        Vec::new()
    }

    fn cost(&self, _inputs: &[Shape], _outputs: &[Shape]) -> Result<Cost, DimError> {
        Ok(Cost::free())
    }

    /// The vector as a whole sees all positions.
    fn reach(&self, _inputs: &[Shape]) -> Reach {
        Reach::Everything
    }

    fn forward<E: Element>(&self, inputs: &[View<E>], _params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        outputs[0].data.copy_from_slice(inputs[0].data);
    }

    fn gradient(&self, g: &mut GradBuilder) {
        let incoming = g.incoming(0);
        let to = g.inputs()[0].0.iter().cloned().map(Some).collect();
        let back = g.emit(Op::Reshape(Reshape { to }), &[incoming]);
        g.set(Wrt::Operand(0), back);
    }

    const ONNX: &'static [&'static str] = &[];

    fn from_onnx(_node: &mut Import) -> Result<(), Unfit> {
        Err(Unfit::new("it changes a tensor's axes only, and those are followed"))
    }

    fn to_onnx(&self, g: &mut Export) -> Result<(), Unfit> {
        g.unary("Flatten", vec![("axis", Attr::Int(1))]);
        Ok(())
    }

    fn to_pytorch(&self, g: &mut PyTorch) -> Result<(), Unfit> {
        g.either(Expr::new("torch.flatten({x}, 1)"), Expr::new("nn.Flatten()"));
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::dim::Dim;
    use crate::op::testing::{infer_one, run};

    #[test]
    fn sizes_multiply() {
        assert_eq!(infer_one(&Flatten, &[&[256, 6, 6]]), Ok(vec![9216]));
        assert_eq!(infer_one(&Flatten, &[&[1, 1, 7]]), Ok(vec![7]));
        assert_eq!(infer_one(&Flatten, &[&[10]]), Ok(vec![10]));
        let (inputs, outputs) = ([Shape::known(&[256, 6, 6])], [Shape::known(&[9216])]);
        assert_eq!(Flatten.arithmetic(&inputs, &outputs), ["features: 256x6x6 = 9216"]);
        assert!(Flatten.arithmetic(&outputs, &outputs).is_empty());
    }

    #[test]
    fn unknown_sizes_multiply_too() {
        let (h, w) = (Dim::symbol("H", 1), Dim::symbol("W", 1));
        let outputs = Flatten.infer(&[Shape(vec![8u64.into(), h.clone(), w.clone()])]).unwrap();
        assert_eq!(outputs, [Shape(vec![h.mul(&w).unwrap().mul(&Dim::from(8u64)).unwrap()])]);
    }

    #[test]
    fn the_order_stays() {
        let data: Vec<f32> = (0..24).map(|x| x as f32).collect();
        assert_eq!(run(&Flatten, &[(&[2, 3, 1, 4], data.clone())], &[]), [data]);
    }
}
