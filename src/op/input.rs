//! A value from outside.

use super::attr::{ArgError, Call, Signature, Value};
use super::gradient::GradBuilder;
use super::{Cost, Operator, ParamSpec, Reach, ShapeError};
use super::onnx::{Export, Import, Unfit};
use super::pytorch::PyTorch;
use crate::dim::DimError;
use crate::tensor::{Element, Shape, View, ViewMut};

/// A value from outside; it is written `input name: [c, h, w]` and is no layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// The sizes of one sample.
    pub shape: Shape,
}

impl Operator for Input {
    fn signatures() -> &'static [Signature] {
        &[]
    }

    fn build(call: &Call) -> Result<Self, ArgError> {
        Ok(Input { shape: Shape(call.sizes("shape")?) })
    }

    fn describe(&self) -> (&'static str, Vec<(&'static str, Value)>) {
        ("input", vec![("shape", Value::Shape(self.shape.clone()))])
    }

    fn infer(&self, _inputs: &[Shape]) -> Result<Vec<Shape>, ShapeError> {
        Ok(vec![self.shape.clone()])
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

    /// The executor puts inputs in place itself; here the first operand, when there is one, is handed through.
    fn forward<E: Element>(&self, inputs: &[View<E>], _params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        if let ([input], [output]) = (inputs, outputs) {
            output.data.copy_from_slice(input.data);
        }
    }

    fn gradient(&self, _g: &mut GradBuilder) {}

    const ONNX: &'static [&'static str] = &[];

    fn from_onnx(_node: &mut Import) -> Result<(), Unfit> {
        Err(Unfit::new("an input is no node"))
    }

    /// An input is declared, not computed.
    fn to_onnx(&self, _g: &mut Export) -> Result<(), Unfit> {
        Ok(())
    }

    /// An input is declared, not computed.
    fn to_pytorch(&self, _g: &mut PyTorch) -> Result<(), Unfit> {
        Ok(())
    }
}
