//! Elementwise sum: where a skip connection joins (He et al. 2015, arXiv:1512.03385).

use super::attr::{ArgError, Call, Operands, Signature, Value};
use super::{Cost, Operator, ParamSpec, Reach, ShapeError, axis};
use crate::dim::DimError;
use crate::tensor::{Shape, View, ViewMut};

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

    fn forward(&self, inputs: &[View], _params: &[View], outputs: &mut [ViewMut]) {
        let sum = &mut outputs[0].data;
        sum.copy_from_slice(inputs[0].data);
        for input in &inputs[1..] {
            for (total, &value) in sum.iter_mut().zip(input.data) {
                *total += value;
            }
        }
    }
}
