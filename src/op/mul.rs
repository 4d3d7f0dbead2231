//! Elementwise product: gates, as in squeeze-and-excitation (Hu et al. 2017, arXiv:1709.01507).

use super::attr::{ArgError, Call, Operands, Signature, Value};
use super::gradient::{Backward, GradBuilder, Ref, Wrt, fill};
use super::{Cost, Op, Operator, ParamSpec, Reach, ShapeError, axis};
use super::onnx::{Export, Import, Live, Unfit};
use super::pytorch::{self, Expr, PyTorch};
use crate::dim::{Dim, DimError};
use crate::tensor::{Element, Shape, View, ViewMut};

/// The product of two or more values of the same shape, some of which may be `[c, 1, 1]` next to `[c, h, w]` and then
/// count for every position; broadcasts nothing else.
#[derive(Clone, Debug, PartialEq)]
pub struct Mul;

impl Operator for Mul {
    fn signatures() -> &'static [Signature] {
        &[Signature {
            layer: "mul",
            params: &[],
            operands: Operands::Group,
            doc: "the product of values of one shape; [c, 1, 1] counts for every position",
        }]
    }

    fn build(_call: &Call) -> Result<Self, ArgError> {
        Ok(Mul)
    }

    fn describe(&self) -> (&'static str, Vec<(&'static str, Value)>) {
        ("mul", Vec::new())
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>, ShapeError> {
        let left = inputs.iter().position(|input| !is_gate(input)).unwrap_or(0);
        for (right, input) in inputs.iter().enumerate() {
            let differ = |axes| ShapeError::Differ { left, right, axes };
            let mut axes = axis::differing(&inputs[left], input).ok_or_else(|| differ(Vec::new()))?;
            if is_gate(input) {
                axes.retain(|&axis| axis == 0);
            }
            if !axes.is_empty() {
                return Err(differ(axes));
            }
        }
        Ok(vec![inputs[left].clone()])
    }

    fn arithmetic(&self, inputs: &[Shape], outputs: &[Shape]) -> Vec<String> {
        let gates = inputs.iter().filter(|input| **input != outputs[0] && is_gate(input));
        match (gates.count(), outputs[0].chw()) {
            (1.., Some((c, h, w))) => vec![format!("{c}x1x1 counts for each of the {h}x{w} positions")],
            _ => Vec::new(),
        }
    }

    fn params(&self, _inputs: &[Shape]) -> Vec<ParamSpec> {
        Vec::new()
    }

    /// One multiplication for each element of the result and each operand after the first.
    fn cost(&self, inputs: &[Shape], outputs: &[Shape]) -> Result<Cost, DimError> {
        Cost::elementwise(&outputs[0], (inputs.len() as u64).saturating_sub(1))
    }

    fn reach(&self, _inputs: &[Shape]) -> Reach {
        Reach::Point
    }

    fn forward<E: Element>(&self, inputs: &[View<E>], _params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        let product = &mut outputs[0].data;
        let len = product.len();
        for (at, total) in product.iter_mut().enumerate() {
            *total = E::of(inputs.iter().map(|input| input.data[at / (len / input.data.len())].f64()).product());
        }
    }

    fn gradient(&self, g: &mut GradBuilder) {
        let incoming = g.incoming(0);
        let operands: Vec<Ref> = (0..g.inputs().len()).map(Ref::Operand).collect();
        for at in g.wanted_operands() {
            if g.inputs().iter().all(|shape| *shape == g.outputs()[0]) {
                let mut others = operands.clone();
                others[at] = incoming;
                let product = g.emit(Op::Mul(Mul), &others);
                g.set(Wrt::Operand(at), product);
            } else {
                let taken = [operands.as_slice(), &[incoming]].concat();
                g.backward(self, &[Wrt::Operand(at)], &taken, &[]);
            }
        }
    }

    const ONNX: &'static [&'static str] = &["Mul"];

    fn from_onnx(node: &mut Import) -> Result<(), Unfit> {
        let lives = node.lives()?;
        let mut lives = node.with_equal_axes(lives)?;
        if !node.fits(Mul, &lives) {
            lives = node.alike(lives)?;
        }
        let widest = lives.iter().find(|live| live.shape.0.get(1..).is_some_and(|plane| plane.iter().any(|size| *size != Dim::ONE)));
        let axes = widest.unwrap_or(&lives[0]).axes.clone();
        let made = node.emit_one(Mul, &lives.iter().collect::<Vec<_>>(), Vec::new())?;
        node.result(Live { axes, ..made });
        Ok(())
    }

    fn to_onnx(&self, g: &mut Export) -> Result<(), Unfit> {
        let mut operands = g.operands().into_iter();
        let mut product = operands.next().unwrap_or_default();
        let last = operands.next_back().unwrap_or_default();
        for operand in operands {
            product = g.between("Mul", vec![product, operand], Vec::new());
        }
        g.last("Mul", vec![product, last], Vec::new());
        Ok(())
    }

    fn to_pytorch(&self, g: &mut PyTorch) -> Result<(), Unfit> {
        g.call(Expr::new(pytorch::joined(g.inputs.len(), "*")));
        Ok(())
    }
}

impl Backward for Mul {
    fn backward_cost(&self, _wrt: &[Wrt], inputs: &[Shape], _outputs: &[Shape]) -> Result<Cost, DimError> {
        let (gradient, operands) = (&inputs[inputs.len() - 1], inputs.len() as u64 - 1);
        Cost::elementwise(gradient, operands)
    }

    fn backward<E: Element>(&self, wrt: &[Wrt], inputs: &[View<E>], _params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        let (operands, gradients) = inputs.split_at(inputs.len() - 1);
        let gradients = gradients[0].data;
        for (wrt, output) in wrt.iter().zip(outputs) {
            let &Wrt::Operand(of) = wrt else { continue };
            let mut sums = vec![0.0; output.data.len()];
            let own = gradients.len() / sums.len().max(1);
            for (at, gradient) in gradients.iter().enumerate() {
                let others = operands.iter().enumerate().filter(|(operand, _)| *operand != of);
                let factor = |(_, operand): (usize, &View<E>)| operand.data[at / (gradients.len() / operand.data.len())].f64();
                sums[at / own] += gradient.f64() * others.map(factor).product::<f64>();
            }
            fill(output, &sums);
        }
    }
}

fn is_gate(shape: &Shape) -> bool {
    shape.chw().is_some_and(|(_, h, w)| *h == Dim::ONE && *w == Dim::ONE)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::op::testing::{infer_one, run};

    #[test]
    fn takes_equal_shapes_and_gates() {
        assert_eq!(infer_one(&Mul, &[&[3, 5, 2], &[3, 5, 2], &[3, 5, 2]]), Ok(vec![3, 5, 2]));
        assert_eq!(infer_one(&Mul, &[&[3, 1, 1], &[3, 5, 2], &[3, 1, 1]]), Ok(vec![3, 5, 2]));
        assert_eq!(infer_one(&Mul, &[&[3, 1, 1], &[3, 1, 1]]), Ok(vec![3, 1, 1]));
        assert_eq!(infer_one(&Mul, &[&[7], &[7]]), Ok(vec![7]));
    }

    #[test]
    fn broadcasts_nothing_else() {
        let differ = |left, right, axes| Err(ShapeError::Differ { left, right, axes });
        assert_eq!(infer_one(&Mul, &[&[3, 5, 2], &[3, 5, 1]]), differ(0, 1, vec![2]));
        assert_eq!(infer_one(&Mul, &[&[3, 5, 2], &[3, 1, 2]]), differ(0, 1, vec![1]));
        assert_eq!(infer_one(&Mul, &[&[3, 5, 2], &[1, 1, 1]]), differ(0, 1, vec![0]));
        assert_eq!(infer_one(&Mul, &[&[4, 1, 1], &[3, 5, 2]]), differ(1, 0, vec![0]));
        assert_eq!(infer_one(&Mul, &[&[1, 5, 2], &[3, 5, 2]]), differ(0, 1, vec![0]));
        assert_eq!(infer_one(&Mul, &[&[3, 5, 2], &[3]]), differ(0, 1, vec![]));
    }

    #[test]
    fn a_gate_counts_for_every_position_of_unknown_sizes() {
        let map = Shape(vec![8u64.into(), Dim::symbol("H", 1), Dim::symbol("W", 1)]);
        let inputs = [Shape::known(&[8, 1, 1]), map.clone()];
        let outputs = Mul.infer(&inputs).unwrap();
        assert_eq!(outputs, std::slice::from_ref(&map));
        assert_eq!(Mul.arithmetic(&inputs, &outputs), ["8x1x1 counts for each of the HxW positions"]);
        assert_eq!(Mul.cost(&inputs, &outputs).unwrap().flops, map.elements().unwrap());
    }

    #[test]
    fn multiplies_channels_by_their_gates() {
        let gate = vec![2.0, 0.5, -1.0, 0.0];
        let map: Vec<f32> = (1..=12).map(|x| x as f32).collect();
        let expected = [2.0, 4.0, 6.0, 2.0, 2.5, 3.0, -7.0, -8.0, -9.0, 0.0, 0.0, 0.0];
        let output = run(&Mul, &[(&[2, 2, 1, 1], gate.clone()), (&[2, 2, 3, 1], map.clone())], &[]);
        assert_eq!(output, [expected]);
        let output = run(&Mul, &[(&[2, 2, 3, 1], map.clone()), (&[2, 2, 1, 1], gate)], &[]);
        assert_eq!(output, [expected]);
        let squares = run(&Mul, &[(&[1, 12], map.clone()), (&[1, 12], map.clone())], &[]);
        assert_eq!(squares, [map.iter().map(|x| x * x).collect::<Vec<_>>()]);
    }
}
