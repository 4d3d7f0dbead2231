//! An axis cut into parts, the inverse of `concat`.

use super::attr::{ArgError, Call, Operands, Signature, Value, as_count, param};
use super::slice::copy_range;
use super::{Cost, Operator, ParamSpec, Reach, ShapeError, axis};
use crate::dim::{Dim, DimError};
use crate::tensor::{Shape, View, ViewMut};

/// An axis cut into consecutive parts; each is a result.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// The parts.
    pub parts: Parts,
    /// The axis, 0 for the channel.
    pub axis: usize,
}

/// The sizes of the parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parts {
    /// This many of one size.
    Equal(u64),
    /// These, which are the whole axis.
    Sizes(Vec<u64>),
}

/// The most results that one `split` may have.
const MAX_PARTS: u64 = 4096;

impl Operator for Split {
    fn signatures() -> &'static [Signature] {
        static SIGNATURES: [Signature; 1] = [Signature {
            layer: "split",
            params: &[param("parts", "", "a number of equal parts, or a list of their sizes"), axis::AXIS],
            operands: Operands::Above,
            doc: "the channels, or another axis, cut into parts: `a, b: split(2)`",
        }];
        &SIGNATURES
    }

    fn build(call: &Call) -> Result<Self, ArgError> {
        let (parts, count) = match call.get("parts") {
            None => return Err(ArgError::new("parts", "is missing")),
            Some(Value::List(sizes)) => {
                let sizes = sizes.iter().map(|size| as_count("parts", size, 1)).collect::<Result<Vec<_>, _>>()?;
                let count = sizes.len() as u64;
                (Parts::Sizes(sizes), count)
            }
            Some(value) => as_count("parts", value, 1).map(|count| (Parts::Equal(count), count))?,
        };
        match count {
            0 => Err(ArgError::new("parts", "needs at least one part")),
            1..=MAX_PARTS => Ok(Split { parts, axis: axis::of(call)? }),
            _ => Err(ArgError::new("parts", format!("makes {count} parts, more than {MAX_PARTS}"))),
        }
    }

    fn describe(&self) -> (&'static str, Vec<(&'static str, Value)>) {
        let parts = match &self.parts {
            Parts::Equal(count) => Value::int(*count),
            Parts::Sizes(sizes) => Value::ints(sizes),
        };
        ("split", vec![("parts", parts), ("axis", axis::value(self.axis))])
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>, ShapeError> {
        let size = axis::size(inputs, 0, self.axis)?;
        let part = |size: Dim| axis::resized(&inputs[0], self.axis, size);
        match &self.parts {
            Parts::Equal(count) => match size.exact_div(*count) {
                Ok(each) => Ok((0..*count).map(|_| part(each.clone())).collect()),
                Err(DimError::NotDivisible { value, .. }) => {
                    let what = axis::NAMES[self.axis];
                    Err(ShapeError::Indivisible { attr: "parts", what, value, by: *count })
                }
                Err(other) => Err(other.into()),
            },
            Parts::Sizes(sizes) => {
                let total = Dim::from(sizes.iter().sum::<u64>());
                if size.equals(&total) != Some(true) {
                    let (name, sum) = (axis::NAMES[self.axis], sum_text(sizes));
                    let message = format!("the parts {sum} = {total} are not the {size} of the {name}");
                    return Err(ShapeError::Misfit { attr: Some("parts"), message, help: None });
                }
                Ok(sizes.iter().map(|&size| part(size.into())).collect())
            }
        }
    }

    fn arithmetic(&self, inputs: &[Shape], outputs: &[Shape]) -> Vec<String> {
        let (name, size) = (axis::NAMES[self.axis], &inputs[0].0[self.axis]);
        vec![match &self.parts {
            Parts::Equal(count) => format!("{name}: {size}/{count} = {}", outputs[0].0[self.axis]),
            Parts::Sizes(sizes) => format!("{name}: {size} = {}", sum_text(sizes)),
        }]
    }

    fn params(&self, _inputs: &[Shape]) -> Vec<ParamSpec> {
        Vec::new()
    }

    fn cost(&self, _inputs: &[Shape], _outputs: &[Shape]) -> Result<Cost, DimError> {
        Ok(Cost::free())
    }

    /// On height and width the positions of later parts move, but each still sees itself only.
    fn reach(&self, _inputs: &[Shape]) -> Reach {
        Reach::Point
    }

    fn forward(&self, inputs: &[View], _params: &[View], outputs: &mut [ViewMut]) {
        let mut start = 0;
        for output in outputs {
            copy_range(&inputs[0], self.axis, start, output);
            start += output.dims[self.axis + 1];
        }
    }
}

fn sum_text(sizes: &[u64]) -> String {
    sizes.iter().map(u64::to_string).collect::<Vec<_>>().join(" + ")
}
