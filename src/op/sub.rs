//! Elementwise difference.

use super::add::same_shape;
use super::attr::{ArgError, Call, Operands, Signature, Value};
use super::{Cost, Operator, ParamSpec, Reach, ShapeError};
use crate::dim::DimError;
use crate::tensor::{Shape, View, ViewMut};

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

    fn forward(&self, inputs: &[View], _params: &[View], outputs: &mut [ViewMut]) {
        for ((difference, &left), &right) in outputs[0].data.iter_mut().zip(inputs[0].data).zip(inputs[1].data) {
            *difference = left - right;
        }
    }
}
