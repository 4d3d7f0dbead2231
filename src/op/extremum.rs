//! Elementwise maximum and minimum. The maximum of several convolutions is maxout (Goodfellow et al. 2013,
//! arXiv:1302.4389).

use super::add::same_shape;
use super::attr::{ArgError, Call, Operands, Signature, Value};
use super::gradient::{Backward, GradBuilder, Ref, Wrt, fill};
use super::{Cost, Operator, ParamSpec, Reach, ShapeError};
use super::onnx::{Export, Import, Live, Unfit};
use super::pytorch::{Expr, PyTorch};
use crate::dim::DimError;
use crate::tensor::{Element, Shape, View, ViewMut};

/// The largest or the smallest of two or more values of the same shape, element by element; NaN where one of them is.
/// Never broadcasts.
#[derive(Clone, Debug, PartialEq)]
pub struct Extremum {
    /// Which of the elements is taken.
    pub which: Which,
}

/// Which of some elements is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The largest.
    Maximum,
    /// The smallest.
    Minimum,
}

const fn layer(layer: &'static str, doc: &'static str) -> Signature {
    Signature { layer, params: &[], operands: Operands::Group, doc }
}

static SIGNATURES: [Signature; 2] = [
    layer("maximum", "the largest of values of one shape, element by element"),
    layer("minimum", "the smallest of values of one shape, element by element"),
];

impl Extremum {
    /// The element that is taken.
    fn of(&self, elements: impl Iterator<Item = f64>) -> f64 {
        let further = |best: f64, x: f64| match self.which {
            Which::Maximum => x > best,
            Which::Minimum => x < best,
        };
        let taken = |best: f64, x: f64| if x.is_nan() || further(best, x) { x } else { best };
        elements.reduce(taken).unwrap_or(f64::NAN)
    }
}

impl Operator for Extremum {
    fn signatures() -> &'static [Signature] {
        &SIGNATURES
    }

    fn build(call: &Call) -> Result<Self, ArgError> {
        Ok(Extremum { which: if call.layer == "maximum" { Which::Maximum } else { Which::Minimum } })
    }

    fn describe(&self) -> (&'static str, Vec<(&'static str, Value)>) {
        let layer = match self.which {
            Which::Maximum => "maximum",
            Which::Minimum => "minimum",
        };
        (layer, Vec::new())
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

    /// One comparison for each element and each operand after the first.
    fn cost(&self, inputs: &[Shape], outputs: &[Shape]) -> Result<Cost, DimError> {
        Cost::elementwise(&outputs[0], (inputs.len() as u64).saturating_sub(1))
    }

    fn reach(&self, _inputs: &[Shape]) -> Reach {
        Reach::Point
    }

    fn forward<E: Element>(&self, inputs: &[View<E>], _params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        for (at, output) in outputs[0].data.iter_mut().enumerate() {
            *output = E::of(self.of(inputs.iter().map(|input| input.data[at].f64())));
        }
    }

    fn gradient(&self, g: &mut GradBuilder) {
        let incoming = g.incoming(0);
        let operands: Vec<Ref> = (0..g.inputs().len()).map(Ref::Operand).chain([incoming]).collect();
        let wrt: Vec<Wrt> = (0..g.inputs().len()).map(Wrt::Operand).collect();
        g.backward(self, &wrt, &operands, &[]);
    }

    const ONNX: &'static [&'static str] = &["Max", "Min"];

    fn from_onnx(node: &mut Import) -> Result<(), Unfit> {
        let lives = node.lives()?;
        if let [only] = lives.as_slice() {
            node.result(only.clone());
            return Ok(());
        }
        let which = if node.op_type == "Max" { Which::Maximum } else { Which::Minimum };
        let lives = node.alike(lives)?;
        let made = node.emit_one(Extremum { which }, &lives.iter().collect::<Vec<_>>(), Vec::new())?;
        node.result(Live { axes: lives[0].axes.clone(), ..made });
        Ok(())
    }

    fn to_onnx(&self, g: &mut Export) -> Result<(), Unfit> {
        let operands = g.operands();
        g.last(if self.which == Which::Maximum { "Max" } else { "Min" }, operands, Vec::new());
        Ok(())
    }

    fn to_pytorch(&self, g: &mut PyTorch) -> Result<(), Unfit> {
        g.call(Expr::new(match (self.which, g.inputs.len()) {
            (Which::Maximum, 2) => "torch.maximum({x}, {y})",
            (Which::Minimum, 2) => "torch.minimum({x}, {y})",
            (Which::Maximum, _) => "torch.amax(torch.stack([{xs}]), 0)",
            (Which::Minimum, _) => "torch.amin(torch.stack([{xs}]), 0)",
        }));
        Ok(())
    }
}

impl Backward for Extremum {
    fn backward_cost(&self, _wrt: &[Wrt], inputs: &[Shape], _outputs: &[Shape]) -> Result<Cost, DimError> {
        // A comparison for each operand to find the element that was taken, one to find those equal to it.
        Cost::elementwise(&inputs[0], 2 * (inputs.len() as u64).saturating_sub(1))
    }

    /// Equal elements share what reaches them, as PyTorch has it.
    fn backward<E: Element>(&self, wrt: &[Wrt], inputs: &[View<E>], _params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        let (operands, gradients) = inputs.split_at(inputs.len() - 1);
        let mut results: Vec<Vec<f64>> = outputs.iter().map(|output| vec![0.0; output.data.len()]).collect();
        for (at, gradient) in gradients[0].data.iter().enumerate() {
            let elements = || operands.iter().map(|operand| operand.data[at].f64());
            let taken = self.of(elements());
            let equal = elements().filter(|x| *x == taken).count();
            for (wrt, result) in wrt.iter().zip(&mut results) {
                if let &Wrt::Operand(of) = wrt
                    && operands[of].data[at].f64() == taken
                {
                    result[at] = gradient.f64() / equal as f64;
                }
            }
        }
        outputs.iter_mut().zip(&results).for_each(|(output, result)| fill(output, result));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::op::testing::{assert_round_trip, infer_one, run};

    const MAXIMUM: Extremum = Extremum { which: Which::Maximum };
    const MINIMUM: Extremum = Extremum { which: Which::Minimum };

    #[test]
    fn takes_values_of_one_shape() {
        assert_eq!(infer_one(&MAXIMUM, &[&[3, 5, 1], &[3, 5, 1], &[3, 5, 1]]), Ok(vec![3, 5, 1]));
        let differ = |axes| Err(ShapeError::Differ { left: 0, right: 1, axes });
        assert_eq!(infer_one(&MINIMUM, &[&[3, 5, 2], &[3, 1, 1]]), differ(vec![1, 2]));
        assert_round_trip(&MAXIMUM, &[]);
        assert_round_trip(&MINIMUM, &[]);
    }

    #[test]
    fn takes_the_largest_or_the_smallest() {
        let operands: [(&[usize], Vec<f32>); 3] = [
            (&[2, 2], vec![1.0, 2.0, -3.0, f32::NAN]),
            (&[2, 2], vec![0.0, 5.0, -3.0, 1.0]),
            (&[2, 2], vec![0.5, f32::INFINITY, -4.0, 2.0]),
        ];
        let largest = run(&MAXIMUM, &operands, &[]).remove(0);
        assert_eq!(largest[..3], [1.0, f32::INFINITY, -3.0]);
        let smallest = run(&MINIMUM, &operands, &[]).remove(0);
        assert_eq!(smallest[..3], [0.0, 2.0, -4.0]);
        assert!(largest[3].is_nan() && smallest[3].is_nan());
    }

    #[test]
    fn equal_elements_share_their_gradient() {
        let data: [&[f32]; 3] = [&[1.0, 2.0], &[1.0, 3.0], &[6.0, 8.0]];
        let inputs = data.map(|data| View { dims: &[1, 2], data });
        let mut gradients = [[f32::NAN; 2]; 2];
        let mut outputs: Vec<ViewMut> = gradients.iter_mut().map(|data| ViewMut { dims: &[1, 2], data }).collect();
        MAXIMUM.backward(&[Wrt::Operand(0), Wrt::Operand(1)], &inputs, &[], &mut outputs);
        assert_eq!(gradients, [[3.0, 0.0], [3.0, 8.0]]);
    }
}
