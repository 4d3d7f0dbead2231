//! A range of an axis.

use super::attr::{ArgError, Call, Operands, Signature, Value, as_count, param};
use super::gradient::{Backward, GradBuilder, Wrt};
use super::{Cost, Operator, ParamSpec, Reach, ShapeError, Window, axis};
use super::onnx::{Export, Import, Live, Unfit};
use super::pytorch::{Expr, PyTorch};
use crate::dim::{Dim, DimError};
use crate::tensor::{Element, Shape, View, ViewMut};

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
        let start = i128::from(self.start);
        match self.axis {
            1 => Reach::Window([Window::shifted(start), Window::shifted(0)]),
            2 => Reach::Window([Window::shifted(0), Window::shifted(start)]),
            _ => Reach::Point,
        }
    }

    fn forward<E: Element>(&self, inputs: &[View<E>], _params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        copy_range(&inputs[0], self.axis, self.start as usize, &mut outputs[0]);
    }

    fn gradient(&self, g: &mut GradBuilder) {
        let incoming = g.incoming(0);
        g.backward(self, &[Wrt::Operand(0)], &[incoming], &[]);
    }

    const ONNX: &'static [&'static str] = &["Slice", "Gather"];

    /// A layer for each axis that is cut. Every so many-th position of height and width is a pooling of single cells.
    fn from_onnx(node: &mut Import) -> Result<(), Unfit> {
        if node.op_type == "Gather" {
            return gathered(node);
        }
        let x = node.live(0)?;
        let mut x = node.whole(&x)?;
        let mut stride = [1, 1];
        for (at, range) in node.ranges(&x)? {
            let axis = node.axis_of(&x, at)?;
            if range.step != 1 {
                let axis = axis.checked_sub(1).ok_or_else(|| Unfit::new("it takes every so many-th channel"))?;
                stride[axis] = range.step;
            }
            if range.start != 0 || range.end != x.shape.0[axis] {
                let op = Slice { start: range.start, end: range.end, axis };
                let made = node.emit_one(op, &[&x], Vec::new())?;
                x = Live { axes: x.axes.resized(&made.shape), ..made };
            }
        }
        if stride != [1, 1] {
            let made = node.emit_one(super::pool::Pool::subsampling(stride), &[&x], Vec::new())?;
            x = Live { axes: x.axes.resized(&made.shape), ..made };
        }
        node.result(x);
        Ok(())
    }

    fn to_onnx(&self, g: &mut Export) -> Result<(), Unfit> {
        g.sliced(&[self.axis as i64 + 1], &[self.start.into()], std::slice::from_ref(&self.end))
    }

    fn to_pytorch(&self, g: &mut PyTorch) -> Result<(), Unfit> {
        let text = ["{x}[:, {0}:{1}]", "{x}[:, :, {0}:{1}]", "{x}[:, :, :, {0}:{1}]"][self.axis];
        g.call(Expr::new(text).arg("start", self.start).arg("end", &self.end));
        Ok(())
    }
}

/// Positions of an axis, picked by constants: stretches of them, behind one another.
fn gathered(node: &mut Import) -> Result<(), Unfit> {
    const MOST: usize = 256;
    let x = node.live(0)?;
    let x = node.whole(&x)?;
    let at = node.axis_at(node.attrs.int("axis", 0)?, x.axes.rank())?;
    let axis = node.axis_of(&x, at)?;
    let indices = node.weight(1, "list of positions")?;
    let size = x.shape.0[axis].as_u64().ok_or_else(|| Unfit::new("it picks from an axis whose size is not known"))?;
    let picked = indices.ints().filter(|picked| !picked.is_empty() && picked.len() <= MOST);
    let picked = picked.ok_or_else(|| Unfit::new("its positions are no integers, or too many"))?;
    let mut stretches: Vec<[u64; 2]> = Vec::new();
    for position in picked {
        let position = if position < 0 { position.saturating_add_unsigned(size) } else { position };
        let position = u64::try_from(position).ok().filter(|&position| position < size);
        let position = position.ok_or_else(|| Unfit::new("it picks a position outside its operand"))?;
        match stretches.last_mut() {
            Some(stretch) if stretch[1] == position => stretch[1] += 1,
            _ => stretches.push([position, position + 1]),
        }
    }
    let mut parts = Vec::new();
    for &[start, end] in &stretches {
        let whole = [start, end] == [0, size];
        parts.push(if whole { x.clone() } else { node.emit_one(Slice { start, end: end.into(), axis }, &[&x], Vec::new())? });
    }
    let made = match parts.as_slice() {
        [only] => only.clone(),
        all => node.emit_one(super::concat::Concat { axis }, &all.iter().collect::<Vec<_>>(), Vec::new())?,
    };
    let mut axes = x.axes.resized(&made.shape);
    match indices.dims().as_slice() {
        [] => _ = axes.0.remove(at),
        [_] => {}
        _ => return Err(Unfit::new("its positions are no list")),
    }
    node.result(Live { axes, ..made });
    Ok(())
}

impl Backward for Slice {
    fn backward_cost(&self, _wrt: &[Wrt], _inputs: &[Shape], _outputs: &[Shape]) -> Result<Cost, DimError> {
        Ok(Cost::free())
    }

    fn backward<E: Element>(&self, _wrt: &[Wrt], inputs: &[View<E>], _params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        let (outer, inner) = axis::around(outputs[0].dims, self.axis);
        let (size, length) = (outputs[0].dims[self.axis + 1], inputs[0].dims[self.axis + 1]);
        outputs[0].data.fill(E::default());
        for run in 0..outer {
            let to = (run * size + self.start as usize) * inner;
            let from = run * length * inner;
            outputs[0].data[to..to + length * inner].copy_from_slice(&inputs[0].data[from..from + length * inner]);
        }
    }
}

/// Fills a value with the positions of an axis from `start` on.
pub(super) fn copy_range<E: Element>(input: &View<E>, axis: usize, start: usize, output: &mut ViewMut<E>) {
    let (outer, inner) = axis::around(input.dims, axis);
    let (size, length) = (input.dims[axis + 1], output.dims[axis + 1]);
    for run in 0..outer {
        let from = (run * size + start) * inner;
        let to = run * length * inner;
        output.data[to..to + length * inner].copy_from_slice(&input.data[from..from + length * inner]);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::op::testing::{assert_round_trip, build, infer_one, run, try_build};

    fn slice(start: u64, end: u64, axis: usize) -> Slice {
        Slice { start, end: end.into(), axis }
    }

    #[test]
    fn lengths_are_differences() {
        assert_eq!(infer_one(&slice(16, 64, 0), &[&[64, 5, 1]]), Ok(vec![48, 5, 1]));
        assert_eq!(infer_one(&slice(4, 5, 1), &[&[64, 5, 1]]), Ok(vec![64, 1, 1]));
        assert_eq!(infer_one(&slice(0, 3, 0), &[&[10]]), Ok(vec![3]));
        let (inputs, outputs) = ([Shape::known(&[64, 5, 1])], [Shape::known(&[48, 5, 1])]);
        assert_eq!(slice(16, 64, 0).arithmetic(&inputs, &outputs), ["channels: 64 - 16 = 48"]);
    }

    #[test]
    fn ranges_stay_inside() {
        let (asked, size) = ("60..65".to_owned(), Dim::from(64u64));
        let expected = ShapeError::OutOfRange { attr: "range", asked, axis: "channels", size };
        assert_eq!(infer_one(&slice(60, 65, 0), &[&[64, 5, 1]]), Err(expected));
        assert_eq!(infer_one(&slice(0, 1, 2), &[&[64]]), Err(ShapeError::needs_feature_map(0)));
        for (start, end) in [(3, 3), (4, 3), (-1, 3), (0, 1 << 40)] {
            let range = Value::Range(Dim::known(start), Dim::known(end));
            assert_eq!(try_build::<Slice>("slice", &[("range", range)], &[]).unwrap_err().param, Some("range"));
        }
        assert!(try_build::<Slice>("slice", &[("range", Value::int(3))], &[]).is_err());
    }

    #[test]
    fn the_end_may_depend_on_the_size() {
        let h = Dim::symbol("H", 2);
        let half = h.exact_div(2).unwrap();
        let input = [Shape(vec![3u64.into(), h.clone(), 4u64.into()])];
        let upto = |end: &Dim, start| Slice { start, end: end.clone(), axis: 1 };
        assert_eq!(upto(&half, 0).infer(&input).unwrap()[0].0[1], half);
        assert_eq!(upto(&h, 1).infer(&input).unwrap()[0].0[1], h.sub(&Dim::ONE).unwrap());
        let refused = [upto(&half, 1), upto(&h, 2), upto(&Dim::from(3u64), 0), upto(&Dim::symbol("W", 1), 0)];
        for op in refused {
            assert!(matches!(op.infer(&input), Err(ShapeError::Misfit { attr: Some("range"), .. })), "{op:?}");
        }
        let beyond = upto(&h.add(&Dim::ONE).unwrap(), 0);
        assert!(matches!(beyond.infer(&input), Err(ShapeError::OutOfRange { .. })));
        assert_round_trip(&upto(&half, 0), &[]);
    }

    #[test]
    fn describes_itself() {
        assert_round_trip(&slice(2, 7, 2), &[]);
        let range = Value::Range(Dim::ONE, Dim::from(3u64));
        assert_eq!(build::<Slice>("slice", &[("range", range)], &[]), slice(1, 3, 0));
    }

    #[test]
    fn takes_the_range_of_each_sample() {
        let data: Vec<f32> = (0..16).map(|x| x as f32).collect();
        let channels = run(&slice(1, 3, 0), &[(&[2, 4, 1, 2], data.clone())], &[]);
        assert_eq!(channels, [[2.0, 3.0, 4.0, 5.0, 10.0, 11.0, 12.0, 13.0]]);
        let cols = run(&slice(1, 2, 2), &[(&[2, 2, 2, 2], data)], &[]);
        assert_eq!(cols, [[1.0, 3.0, 5.0, 7.0, 9.0, 11.0, 13.0, 15.0]]);
    }

    #[test]
    fn rows_in_front_are_not_seen() {
        let Reach::Window([height, width]) = slice(3, 5, 1).reach(&[]) else { panic!("a window") };
        assert_eq!((height.seen(0), width.seen(0)), (3..=3, 0..=0));
        assert_eq!(slice(3, 5, 0).reach(&[]), Reach::Point);
    }
}
