//! Concatenation, where the branches of an inception module or the layers of a dense block join (Szegedy et al. 2014,
//! arXiv:1409.4842; Huang et al. 2016, arXiv:1608.06993).

use super::attr::{ArgError, Call, Operands, Signature, Value};
use super::{Cost, Operator, ParamSpec, Reach, ShapeError, axis};
use crate::dim::{self, DimError};
use crate::tensor::{Shape, View, ViewMut};

/// Two or more values behind one another on an axis, in the order of the operands; equal on all other axes. Vectors
/// have the first axis only.
#[derive(Clone, Debug, PartialEq)]
pub struct Concat {
    /// The axis, 0 for the channel.
    pub axis: usize,
}

impl Operator for Concat {
    fn signatures() -> &'static [Signature] {
        static SIGNATURES: [Signature; 1] = [Signature {
            layer: "concat",
            params: &[axis::AXIS],
            operands: Operands::Group,
            doc: "values behind one another on an axis",
        }];
        &SIGNATURES
    }

    fn build(call: &Call) -> Result<Self, ArgError> {
        Ok(Concat { axis: axis::of(call)? })
    }

    fn describe(&self) -> (&'static str, Vec<(&'static str, Value)>) {
        ("concat", vec![("axis", axis::value(self.axis))])
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>, ShapeError> {
        axis::size(inputs, 0, self.axis)?;
        for right in 1..inputs.len() {
            let differ = |axes| ShapeError::Differ { left: 0, right, axes };
            let mut axes = axis::differing(&inputs[0], &inputs[right]).ok_or_else(|| differ(Vec::new()))?;
            axes.retain(|&axis| axis != self.axis);
            if !axes.is_empty() {
                return Err(differ(axes));
            }
        }
        let total = dim::sum(inputs.iter().map(|input| &input.0[self.axis]))?;
        Ok(vec![axis::resized(&inputs[0], self.axis, total)])
    }

    fn arithmetic(&self, inputs: &[Shape], outputs: &[Shape]) -> Vec<String> {
        let sizes: Vec<String> = inputs.iter().map(|input| input.0[self.axis].to_string()).collect();
        vec![format!("{}: {} = {}", axis::NAMES[self.axis], sizes.join(" + "), outputs[0].0[self.axis])]
    }

    fn params(&self, _inputs: &[Shape]) -> Vec<ParamSpec> {
        Vec::new()
    }

    fn cost(&self, _inputs: &[Shape], _outputs: &[Shape]) -> Result<Cost, DimError> {
        Ok(Cost::free())
    }

    /// On height and width the positions of later operands move, but each still sees itself only.
    fn reach(&self, _inputs: &[Shape]) -> Reach {
        Reach::Point
    }

    fn forward(&self, inputs: &[View], _params: &[View], outputs: &mut [ViewMut]) {
        let (outer, inner) = axis::around(outputs[0].dims, self.axis);
        let total = outputs[0].dims[self.axis + 1];
        let mut start = 0;
        for input in inputs {
            let size = input.dims[self.axis + 1];
            for run in 0..outer {
                let from = run * size * inner;
                let to = (run * total + start) * inner;
                outputs[0].data[to..to + size * inner].copy_from_slice(&input.data[from..from + size * inner]);
            }
            start += size;
        }
    }
}
