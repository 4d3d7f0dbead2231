//! Scale and shift by constants, for example to undo one preprocessing and apply another.

use super::attr::{ArgError, Call, Operands, Signature, Value, param};
use super::{Cost, Operator, ParamSpec, Reach, ShapeError, axis};
use crate::dim::DimError;
use crate::tensor::{Shape, View, ViewMut};

/// `out = in · scale + shift` with constants, one for all channels or one for each.
#[derive(Clone, Debug, PartialEq)]
pub struct Affine {
    /// One factor, or one for each channel.
    pub scale: Vec<f64>,
    /// One summand, or one for each channel.
    pub shift: Vec<f64>,
}

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
                return Err(ShapeError::Misfit { attr: Some(attr), message, help: None });
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

    fn forward(&self, inputs: &[View], _params: &[View], outputs: &mut [ViewMut]) {
        let channels = inputs[0].dims[1];
        let area: usize = inputs[0].dims[2..].iter().product();
        for (at, (output, &x)) in outputs[0].data.iter_mut().zip(inputs[0].data).enumerate() {
            let channel = at / area % channels;
            *output = x * of_channel(&self.scale, channel) + of_channel(&self.shift, channel);
        }
    }
}

fn of_channel(constants: &[f64], channel: usize) -> f32 {
    constants[if constants.len() == 1 { 0 } else { channel }] as f32
}
