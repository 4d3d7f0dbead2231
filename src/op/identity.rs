//! The operand as it is: an empty branch of a skip connection.

use super::attr::{ArgError, Call, Operands, Signature, Value};
use super::gradient::GradBuilder;
use super::{Cost, Operator, ParamSpec, Reach, ShapeError};
use super::onnx::{Export, Import, Unfit};
use super::pytorch::{Expr, PyTorch};
use crate::dim::DimError;
use crate::tensor::{Element, Shape, View, ViewMut};

/// `out = in`.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity;

impl Operator for Identity {
    fn signatures() -> &'static [Signature] {
        &[Signature { layer: "identity", params: &[], operands: Operands::Above, doc: "the value above as it is" }]
    }

    fn build(_call: &Call) -> Result<Self, ArgError> {
        Ok(Identity)
    }

    fn describe(&self) -> (&'static str, Vec<(&'static str, Value)>) {
        ("identity", Vec::new())
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

    fn cost(&self, _inputs: &[Shape], _outputs: &[Shape]) -> Result<Cost, DimError> {
        Ok(Cost::free())
    }

    fn reach(&self, _inputs: &[Shape]) -> Reach {
        Reach::Point
    }

    fn forward<E: Element>(&self, inputs: &[View<E>], _params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        outputs[0].data.copy_from_slice(inputs[0].data);
    }

    fn gradient(&self, g: &mut GradBuilder) {
        g.pass();
    }

    const ONNX: &'static [&'static str] = &["Identity"];

    fn from_onnx(node: &mut Import) -> Result<(), Unfit> {
        let x = node.live(0)?;
        node.result(x);
        Ok(())
    }

    fn to_onnx(&self, g: &mut Export) -> Result<(), Unfit> {
        g.unary("Identity", Vec::new());
        Ok(())
    }

    fn to_pytorch(&self, g: &mut PyTorch) -> Result<(), Unfit> {
        g.either(Expr::new("{x}"), Expr::new("nn.Identity()"));
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::op::testing::{infer_one, run};

    #[test]
    fn changes_nothing() {
        assert_eq!(infer_one(&Identity, &[&[3, 5, 1]]), Ok(vec![3, 5, 1]));
        let data = vec![1.0, -2.0, 3.0, 0.0];
        assert_eq!(run(&Identity, &[(&[2, 2], data.clone())], &[]), [data]);
    }
}
