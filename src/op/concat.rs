//! Concatenation, where the branches of an inception module or the layers of a dense block join (Szegedy et al. 2014,
//! arXiv:1409.4842; Huang et al. 2016, arXiv:1608.06993).

use super::attr::{ArgError, Call, Operands, Signature, Value};
use super::gradient::{GradBuilder, Wrt};
use super::slice::Slice;
use super::{Cost, Op, Operator, ParamSpec, Reach, ShapeError, axis};
use super::onnx::{Attr, Export, Import, Live, Unfit};
use super::pytorch::{Expr, PyTorch};
use crate::dim::{self, DimError};
use crate::tensor::{Element, Shape, View, ViewMut};

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

    fn forward<E: Element>(&self, inputs: &[View<E>], _params: &[View<E>], outputs: &mut [ViewMut<E>]) {
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

    fn gradient(&self, g: &mut GradBuilder) {
        let incoming = g.incoming(0);
        let mut start = 0;
        for at in 0..g.inputs().len() {
            let Some(size) = g.inputs()[at].0[self.axis].as_u64() else { return };
            if g.wants(Wrt::Operand(at)) {
                let slice = Slice { start, end: (start + size).into(), axis: self.axis };
                let part = g.emit(Op::Slice(slice), &[incoming]);
                g.set(Wrt::Operand(at), part);
            }
            start += size;
        }
    }

    const ONNX: &'static [&'static str] = &["Concat", "Tile"];

    fn from_onnx(node: &mut Import) -> Result<(), Unfit> {
        if node.op_type == "Tile" {
            return tiled(node);
        }
        let lives = node.lives()?;
        let rank = lives.first().map_or(0, |live| live.axes.rank());
        let at = node.axis_at(node.attrs.int("axis", 1)?, rank)?;
        if let [only] = lives.as_slice() {
            node.result(only.clone());
            return Ok(());
        }
        let lives = node.with_equal_axes(lives)?;
        let widest = lives.iter().find(|live| !live.axes.0[at].is_empty()).unwrap_or(&lives[0]);
        let axis = node.axis_of(widest, at)?;
        let made = node.emit_one(Concat { axis }, &lives.iter().collect::<Vec<_>>(), Vec::new())?;
        let axes = widest.axes.resized(&made.shape);
        node.result(Live { axes, ..made });
        Ok(())
    }

    fn to_onnx(&self, g: &mut Export) -> Result<(), Unfit> {
        let operands = g.operands();
        g.last("Concat", operands, vec![("axis", Attr::Int(self.axis as i64 + 1))]);
        Ok(())
    }

    fn to_pytorch(&self, g: &mut PyTorch) -> Result<(), Unfit> {
        g.call(Expr::new("torch.cat([{xs}], {})").arg("dim", self.axis as u64 + 1));
        Ok(())
    }
}

/// A value several times behind itself.
fn tiled(node: &mut Import) -> Result<(), Unfit> {
    const MOST: i64 = 256;
    let x = node.live(0)?;
    let mut x = node.whole(&x)?;
    let times = node.weight(1, "list of numbers")?.ints().filter(|times| times.len() == x.axes.rank());
    let times = times.ok_or_else(|| Unfit::new("its numbers of times are not one for each axis"))?;
    for (at, times) in times.into_iter().enumerate().filter(|&(_, times)| times != 1) {
        if !(1..=MOST).contains(&times) {
            return Err(Unfit::new(format!("it repeats an axis {times} times")));
        }
        let axis = node.axis_of(&x, at)?;
        let made = node.emit_one(Concat { axis }, &vec![&x; times as usize], Vec::new())?;
        x = Live { axes: x.axes.resized(&made.shape), ..made };
    }
    node.result(x);
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::dim::Dim;
    use crate::op::testing::{assert_round_trip, build, infer_one, run};

    #[test]
    fn sizes_add_up_on_the_axis() {
        let inputs: [&[u64]; 3] = [&[3, 5, 1], &[1, 5, 1], &[60, 5, 1]];
        assert_eq!(infer_one(&Concat { axis: 0 }, &inputs), Ok(vec![64, 5, 1]));
        assert_eq!(infer_one(&Concat { axis: 2 }, &[&[3, 5, 1], &[3, 5, 7]]), Ok(vec![3, 5, 8]));
        assert_eq!(infer_one(&Concat { axis: 0 }, &[&[3], &[4]]), Ok(vec![7]));
        let shapes = inputs.map(Shape::known);
        let op = Concat { axis: 0 };
        let outputs = op.infer(&shapes).unwrap();
        assert_eq!(op.arithmetic(&shapes, &outputs), ["channels: 3 + 1 + 60 = 64"]);
    }

    #[test]
    fn all_other_axes_are_equal() {
        let differ = |right, axes| Err(ShapeError::Differ { left: 0, right, axes });
        let op = Concat { axis: 0 };
        assert_eq!(infer_one(&op, &[&[3, 5, 1], &[3, 5, 1], &[3, 4, 2]]), differ(2, vec![1, 2]));
        assert_eq!(infer_one(&op, &[&[3, 5, 1], &[15]]), differ(1, vec![]));
        assert_eq!(infer_one(&Concat { axis: 1 }, &[&[3, 5, 1], &[4, 5, 1]]), differ(1, vec![0]));
        assert_eq!(infer_one(&Concat { axis: 1 }, &[&[3], &[4]]), Err(ShapeError::needs_feature_map(0)));
    }

    #[test]
    fn the_axis_may_have_unknown_sizes() {
        let h = Dim::symbol("H", 1);
        let shape = |h: Dim| Shape(vec![3u64.into(), h, 4u64.into()]);
        let inputs = [shape(h.clone()), shape(h.clone()), shape(Dim::ONE)];
        let total = h.add(&h).unwrap().add(&Dim::ONE).unwrap();
        assert_eq!(Concat { axis: 1 }.infer(&inputs), Ok(vec![shape(total)]));
        assert_eq!(
            Concat { axis: 0 }.infer(&[shape(h.clone()), shape(h.add(&Dim::ONE).unwrap())]),
            Err(ShapeError::Differ { left: 0, right: 1, axes: vec![1] })
        );
    }

    #[test]
    fn describes_itself() {
        for axis in 0..3 {
            assert_round_trip(&Concat { axis }, &[]);
        }
        assert_eq!(build::<Concat>("concat", &[], &[]), Concat { axis: 0 });
    }

    #[test]
    fn operands_lie_behind_one_another_in_each_sample() {
        let (a, b) = (vec![1.0, 2.0, 3.0, 4.0], vec![5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0]);
        let vectors = run(&Concat { axis: 0 }, &[(&[2, 2], a.clone()), (&[2, 4], b.clone())], &[]);
        assert_eq!(vectors, [[1.0, 2.0, 5.0, 6.0, 7.0, 8.0, 3.0, 4.0, 9.0, 10.0, 11.0, 12.0]]);
        let rows = run(&Concat { axis: 1 }, &[(&[1, 2, 1, 2], a.clone()), (&[1, 2, 2, 2], b.clone())], &[]);
        assert_eq!(rows, [[1.0, 2.0, 5.0, 6.0, 7.0, 8.0, 3.0, 4.0, 9.0, 10.0, 11.0, 12.0]]);
        let cols = run(&Concat { axis: 2 }, &[(&[1, 2, 2, 1], a), (&[1, 2, 2, 2], b)], &[]);
        assert_eq!(cols, [[1.0, 5.0, 6.0, 2.0, 7.0, 8.0, 3.0, 9.0, 10.0, 4.0, 11.0, 12.0]]);
    }
}
