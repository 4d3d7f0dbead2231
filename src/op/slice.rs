//! A range of an axis.

use super::attr::{ArgError, Call, Operands, Signature, Value, as_count, param};
use super::{Cost, Operator, ParamSpec, Reach, ShapeError, Window, axis};
use crate::dim::{Dim, DimError};
use crate::tensor::{Shape, View, ViewMut};

/// The positions `start..end` of an axis, without `end`.
#[derive(Clone, Debug, PartialEq)]
pub struct Slice {
    /// The first position.
    pub start: u64,
    /// One past the last; on height and width it may depend on them.
    pub end: Dim,
    /// The axis, 0 for the channel.
    pub axis: usize,
}

impl Operator for Slice {
    fn signatures() -> &'static [Signature] {
        static SIGNATURES: [Signature; 1] = [Signature {
            layer: "slice",
            params: &[param("range", "", "the positions: a..b, without b"), axis::AXIS],
            operands: Operands::Above,
            doc: "a range of the channels, or of another axis",
        }];
        &SIGNATURES
    }

    fn build(call: &Call) -> Result<Self, ArgError> {
        let (start, end) = match call.get("range") {
            None => return Err(ArgError::new("range", "is missing")),
            Some(Value::Range(start, end)) => (start, end),
            Some(other) => return Err(ArgError::new("range", format!("takes a range a..b, not {}", other.kind()))),
        };
        let start = as_count("range", &Value::Int(start.clone()), 0)?;
        if !end.is_symbolic() {
            as_count("range", &Value::Int(end.clone()), 0)?;
        }
        if end.at_least(&Dim::from(start + 1)) == Some(false) {
            return Err(ArgError::new("range", format!("is empty: {start}..{end} ends before it starts")));
        }
        Ok(Slice { start, end: end.clone(), axis: axis::of(call)? })
    }

    fn describe(&self) -> (&'static str, Vec<(&'static str, Value)>) {
        let range = Value::Range(self.start.into(), self.end.clone());
        ("slice", vec![("range", range), ("axis", axis::value(self.axis))])
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>, ShapeError> {
        let size = axis::size(inputs, 0, self.axis)?;
        let asked = || format!("{}..{}", self.start, self.end);
        axis::reaches(size, &self.end, self.axis, "range", asked)?;
        if self.end.at_least(&Dim::from(self.start + 1)) != Some(true) {
            return Err(axis::undecided("range", format!("whether {} is empty depends on the input", asked())));
        }
        let length = self.end.sub(&self.start.into())?;
        Ok(vec![axis::resized(&inputs[0], self.axis, length)])
    }

    fn arithmetic(&self, _inputs: &[Shape], outputs: &[Shape]) -> Vec<String> {
        vec![format!("{}: {} - {} = {}", axis::NAMES[self.axis], self.end, self.start, outputs[0].0[self.axis])]
    }

    fn params(&self, _inputs: &[Shape]) -> Vec<ParamSpec> {
        Vec::new()
    }

    fn cost(&self, _inputs: &[Shape], _outputs: &[Shape]) -> Result<Cost, DimError> {
        Ok(Cost::free())
    }

    fn reach(&self, _inputs: &[Shape]) -> Reach {
        let start = i64::try_from(self.start).unwrap_or(i64::MAX);
        let from = |before| Window { extent: 1, stride: (1, 1), before };
        match self.axis {
            1 => Reach::Window([from(-start), from(0)]),
            2 => Reach::Window([from(0), from(-start)]),
            _ => Reach::Point,
        }
    }

    fn forward(&self, inputs: &[View], _params: &[View], outputs: &mut [ViewMut]) {
        copy_range(&inputs[0], self.axis, self.start as usize, &mut outputs[0]);
    }
}

/// Fills a value with the positions of an axis from `start` on.
pub(super) fn copy_range(input: &View, axis: usize, start: usize, output: &mut ViewMut) {
    let (outer, inner) = axis::around(input.dims, axis);
    let (size, length) = (input.dims[axis + 1], output.dims[axis + 1]);
    for run in 0..outer {
        let from = (run * size + start) * inner;
        let to = run * length * inner;
        output.data[to..to + length * inner].copy_from_slice(&input.data[from..from + length * inner]);
    }
}
