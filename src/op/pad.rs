//! Padding of height and width by itself.

use super::attr::{ArgError, Call, Operands, Signature, Value, param, words};
use super::axis::{self, undecided};
use super::geom::inside;
use super::gradient::{Backward, GradBuilder, Wrt, fill};
use super::slice::Slice;
use super::{Cost, Operator, ParamSpec, Reach, ShapeError, Window, geom};
use super::onnx::{self, Export, Import, Live, Unfit};
use super::pytorch::{Expr, Py, PyTorch};
use crate::dim::{Dim, DimError};
use crate::tensor::{Element, Nchw, Shape, View, ViewMut};

/// A feature map with cells added around height and width.
#[derive(Clone, Debug, PartialEq)]
pub struct Pad {
    /// How many at the top, left, bottom and right.
    pub sides: [u64; 4],
    /// What they hold.
    pub fill: Fill,
}

/// What padded cells hold (PyTorch's `ZeroPad2d` and `ConstantPad2d`, `ReflectionPad2d`, `ReplicationPad2d`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fill {
    /// One value.
    Constant(f64),
    /// The map mirrored at its border cells, which are not repeated; needs more cells than are added.
    Reflect,
    /// The nearest border cell.
    Replicate,
}

const MODES: &[&str] = &["zero", "reflect", "replicate"];

impl Operator for Pad {
    fn signatures() -> &'static [Signature] {
        static SIGNATURES: [Signature; 1] = [Signature {
            layer: "pad",
            params: &[
                param("sides", "", "cells to add: p, [p_h, p_w] or [top, left, bottom, right]"),
                words("mode", MODES, "zero", "what they hold: zero (or `value`), reflect or replicate"),
                param("value", "0.0", "what they hold in mode zero"),
            ],
            operands: Operands::Above,
            doc: "cells added around height and width",
        }];
        &SIGNATURES
    }

    fn build(call: &Call) -> Result<Self, ArgError> {
        if call.get("sides").is_none() {
            return Err(ArgError::new("sides", "is missing"));
        }
        let sides = call.sides("sides")?;
        let fill = match call.choice("mode", MODES)? {
            "zero" => Fill::Constant(call.float("value", Some(0.0))?),
            mode if call.get("value").is_some() => {
                return Err(ArgError::new("value", format!("has no meaning in mode {mode}")));
            }
            "reflect" => Fill::Reflect,
            _ => Fill::Replicate,
        };
        Ok(Pad { sides, fill })
    }

    fn describe(&self) -> (&'static str, Vec<(&'static str, Value)>) {
        let sides = ("sides", Value::ints(&self.sides));
        let args = match self.fill {
            Fill::Constant(value) => vec![sides, ("mode", Value::word("zero")), ("value", Value::Float(value))],
            Fill::Reflect => vec![sides, ("mode", Value::word("reflect"))],
            Fill::Replicate => vec![sides, ("mode", Value::word("replicate"))],
        };
        ("pad", args)
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>, ShapeError> {
        let (c, h, w) = geom::feature_map(inputs, 0)?;
        if self.fill == Fill::Reflect {
            for (at, size) in [h, w].into_iter().enumerate() {
                reflectable(self.sides[at].max(self.sides[at + 2]), size, geom::AXES[at])?;
            }
        }
        let [top, left, bottom, right] = self.sides;
        let (h, w) = (h.add(&Dim::from(top + bottom))?, w.add(&Dim::from(left + right))?);
        Ok(vec![Shape(vec![c.clone(), h, w])])
    }

    fn arithmetic(&self, inputs: &[Shape], outputs: &[Shape]) -> Vec<String> {
        let line = |at: usize| {
            let (name, before, after) = (axis::NAMES[at + 1], self.sides[at], self.sides[at + 2]);
            format!("{name}: {before} + {} + {after} = {}", inputs[0].0[at + 1], outputs[0].0[at + 1])
        };
        (0..2).filter(|&at| self.sides[at] + self.sides[at + 2] > 0).map(line).collect()
    }

    fn params(&self, _inputs: &[Shape]) -> Vec<ParamSpec> {
        Vec::new()
    }

    fn cost(&self, _inputs: &[Shape], _outputs: &[Shape]) -> Result<Cost, DimError> {
        Ok(Cost::free())
    }

    fn reach(&self, _inputs: &[Shape]) -> Reach {
        Reach::Window([0, 1].map(|axis| Window::shifted(-i128::from(self.sides[axis]))))
    }

    fn forward<E: Element>(&self, inputs: &[View<E>], _params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        let (from, to) = (Nchw::of(inputs[0].dims), Nchw::of(outputs[0].dims));
        let [top, left, _, _] = self.sides.map(|side| side as usize);
        for n in 0..to.n {
            for c in 0..to.c {
                for y in 0..to.h {
                    for x in 0..to.w {
                        let source = self.fill.source(y, top, from.h).zip(self.fill.source(x, left, from.w));
                        outputs[0].data[to.at(n, c, y, x)] = match (source, self.fill) {
                            (Some((row, col)), _) => inputs[0].data[from.at(n, c, row, col)],
                            (None, Fill::Constant(value)) => E::of(value),
                            (None, Fill::Reflect | Fill::Replicate) => E::default(),
                        };
                    }
                }
            }
        }
    }

    fn gradient(&self, g: &mut GradBuilder) {
        let incoming = g.incoming(0);
        g.backward(self, &[Wrt::Operand(0)], &[incoming], &[]);
    }

    const ONNX: &'static [&'static str] = &["Pad"];

    fn from_onnx(node: &mut Import) -> Result<(), Unfit> {
        let x = node.live(0)?;
        let mut x = node.whole(&x)?;
        let mut sides = [0u64; 4];
        for (at, before, after) in node.pads(x.axes.rank())? {
            let axis = node.axis_of(&x, at)?;
            // Negative numbers cut positions off.
            if before < 0 || after < 0 {
                if node.attrs.text("mode", "constant")? != "constant" {
                    return Err(Unfit::new("it mirrors or repeats a map that it cuts"));
                }
                let [start, cut] = [before, after].map(|side| if side < 0 { side.unsigned_abs() } else { 0 });
                let op = Slice { start, end: x.shape.0[axis].sub(&Dim::from(cut))?, axis };
                let made = node.emit_one(op, &[&x], Vec::new())?;
                x = Live { axes: x.axes.resized(&made.shape), ..made };
            }
            let [before, after] = [before, after].map(|side| u64::try_from(side).unwrap_or(0));
            if axis == 0 && [before, after] != [0, 0] {
                return Err(Unfit::new("it pads the channels"));
            }
            if let Some(side) = axis.checked_sub(1) {
                (sides[side], sides[side + 2]) = (before, after);
            }
        }
        let value = node.pad_value()?;
        let fill = match node.attrs.text("mode", "constant")? {
            "constant" => Fill::Constant(onnx::shortest(f64::from(value))),
            "reflect" => Fill::Reflect,
            "edge" => Fill::Replicate,
            other => return Err(Unfit::new(format!("`mode` = {other} is none of constant, reflect, edge"))),
        };
        if sides == [0; 4] {
            node.result(x);
            return Ok(());
        }
        let made = node.emit_one(Pad { sides, fill }, &[&x], Vec::new())?;
        let axes = x.axes.resized(&made.shape);
        node.result(Live { axes, ..made });
        Ok(())
    }

    fn to_onnx(&self, g: &mut Export) -> Result<(), Unfit> {
        let [top, left, bottom, right] = self.sides.map(|side| side as i64);
        let pads = vec![0, 0, top, left, 0, 0, bottom, right];
        let x = g.operand(0);
        match self.fill {
            Fill::Constant(value) => g.padded(x, pads, "constant", value),
            Fill::Reflect => g.padded(x, pads, "reflect", 0.0),
            Fill::Replicate => g.padded(x, pads, "edge", 0.0),
        }
    }

    fn to_pytorch(&self, g: &mut PyTorch) -> Result<(), Unfit> {
        let [top, left, bottom, right] = self.sides;
        let (text, value) = match self.fill {
            Fill::Constant(value) => ("F.pad({x}, {})", value),
            Fill::Reflect => ("F.pad({x}, {0}, mode=\"reflect\")", 0.0),
            Fill::Replicate => ("F.pad({x}, {0}, mode=\"replicate\")", 0.0),
        };
        g.call(Expr::new(text).arg("pad", Py::list([left, right, top, bottom])).key("value", value, 0.0));
        Ok(())
    }
}

impl Backward for Pad {
    fn backward_cost(&self, _wrt: &[Wrt], inputs: &[Shape], _outputs: &[Shape]) -> Result<Cost, DimError> {
        match self.fill {
            Fill::Constant(_) => Ok(Cost::free()),
            Fill::Reflect | Fill::Replicate => Cost::elementwise(&inputs[0], 1),
        }
    }

    fn backward<E: Element>(&self, _wrt: &[Wrt], inputs: &[View<E>], _params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        let (from, to) = (Nchw::of(outputs[0].dims), Nchw::of(inputs[0].dims));
        let [top, left, _, _] = self.sides.map(|side| side as usize);
        let mut sums = vec![0.0; outputs[0].data.len()];
        for n in 0..to.n {
            for c in 0..to.c {
                for y in 0..to.h {
                    for x in 0..to.w {
                        let source = self.fill.source(y, top, from.h).zip(self.fill.source(x, left, from.w));
                        if let Some((row, col)) = source {
                            sums[from.at(n, c, row, col)] += inputs[0].data[to.at(n, c, y, x)].f64();
                        }
                    }
                }
            }
        }
        fill(&mut outputs[0], &sums);
    }
}

impl Fill {
    /// The input position that an output position takes its value from; none for a constant.
    fn source(self, position: usize, before: usize, size: usize) -> Option<usize> {
        match self {
            Fill::Constant(_) => inside(position, before, size),
            Fill::Reflect => {
                let mirrored = position.abs_diff(before);
                Some(if mirrored < size { mirrored } else { (2 * size).checked_sub(mirrored + 2)? })
            }
            Fill::Replicate => Some(position.saturating_sub(before).min(size.checked_sub(1)?)),
        }
    }
}

fn reflectable(added: u64, size: &Dim, axis: &str) -> Result<(), ShapeError> {
    match size.at_least(&Dim::from(added + 1)) {
        Some(true) => Ok(()),
        Some(false) => Err(ShapeError::Misfit {
            attr: Some("sides"),
            message: format!("a {axis} of {size} has too few cells to mirror {added} of them"),
            help: Some(format!("reflection needs a {axis} of at least {}, or write `mode = replicate`", added + 1)),
        }),
        None => {
            Err(undecided("sides", format!("whether {added} cells can be mirrored depends on the {axis} `{size}`")))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::op::testing::{assert_round_trip, build, infer_one, run, try_build};

    const FILLS: [Fill; 3] = [Fill::Constant(-1.5), Fill::Reflect, Fill::Replicate];

    fn pad(sides: [u64; 4], fill: Fill) -> Pad {
        Pad { sides, fill }
    }

    #[test]
    fn sides_add_up() {
        for fill in FILLS {
            assert_eq!(infer_one(&pad([1, 2, 3, 4], fill), &[&[2, 5, 6]]), Ok(vec![2, 9, 12]));
            assert_eq!(infer_one(&pad([0; 4], fill), &[&[2, 1, 1]]), Ok(vec![2, 1, 1]));
            assert_eq!(infer_one(&pad([1; 4], fill), &[&[2]]), Err(ShapeError::needs_feature_map(0)));
        }
        let (inputs, outputs) = ([Shape::known(&[2, 5, 6])], [Shape::known(&[2, 9, 6])]);
        assert_eq!(pad([1, 0, 3, 0], Fill::Reflect).arithmetic(&inputs, &outputs), ["height: 1 + 5 + 3 = 9"]);
    }

    #[test]
    fn only_inner_cells_can_be_mirrored() {
        let reflect = |sides| pad(sides, Fill::Reflect);
        assert_eq!(infer_one(&reflect([4, 0, 4, 0]), &[&[1, 5, 1]]), Ok(vec![1, 13, 1]));
        for sides in [[5, 0, 0, 0], [0, 0, 5, 0], [0, 1, 0, 0]] {
            let error = infer_one(&reflect(sides), &[&[1, 5, 1]]).unwrap_err();
            assert!(matches!(error, ShapeError::Misfit { attr: Some("sides"), .. }), "{sides:?}");
        }
    }

    #[test]
    fn unknown_sizes_are_mirrored_when_they_suffice() {
        let map = |h: Dim| [Shape(vec![2u64.into(), h, 8u64.into()])];
        let multiple = Dim::symbol("H", 4);
        let op = pad([3, 0, 0, 0], Fill::Reflect);
        assert_eq!(op.infer(&map(multiple.clone())).unwrap()[0].0[1], multiple.add(&Dim::from(3u64)).unwrap());
        let error = op.infer(&map(Dim::symbol("H", 1))).unwrap_err();
        assert!(matches!(error, ShapeError::Misfit { attr: Some("sides"), help: Some(_), .. }));
        assert!(pad([3; 4], Fill::Replicate).infer(&map(Dim::symbol("H", 1))).is_ok());
    }

    #[test]
    fn describes_itself() {
        for fill in FILLS {
            assert_round_trip(&pad([1, 0, 3, 2], fill), &[]);
        }
        let built: Pad = build("pad", &[("sides", Value::ints(&[1, 2]))], &[]);
        assert_eq!(built, pad([1, 2, 1, 2], Fill::Constant(0.0)));
    }

    #[test]
    fn refuses_impossible_arguments() {
        let one = ("sides", Value::int(1));
        for (args, param) in [
            (vec![], "sides"),
            (vec![("sides", Value::Int(Dim::known(-1)))], "sides"),
            (vec![("sides", Value::ints(&[1, 2, 3]))], "sides"),
            (vec![one.clone(), ("mode", Value::word("circular"))], "mode"),
            (vec![one.clone(), ("mode", Value::word("reflect")), ("value", Value::Float(0.0))], "value"),
        ] {
            assert_eq!(try_build::<Pad>("pad", &args, &[]).unwrap_err().param, Some(param));
        }
    }

    #[test]
    fn cells_come_from_where_the_mode_says() {
        let row = |fill, left, right| {
            run(&pad([0, left, 0, right], fill), &[(&[1, 1, 1, 3], vec![1.0, 2.0, 3.0])], &[]).remove(0)
        };
        assert_eq!(row(Fill::Constant(9.0), 2, 1), [9.0, 9.0, 1.0, 2.0, 3.0, 9.0]);
        assert_eq!(row(Fill::Reflect, 2, 1), [3.0, 2.0, 1.0, 2.0, 3.0, 2.0]);
        assert_eq!(row(Fill::Reflect, 0, 2), [1.0, 2.0, 3.0, 2.0, 1.0]);
        assert_eq!(row(Fill::Replicate, 4, 2), [1.0, 1.0, 1.0, 1.0, 1.0, 2.0, 3.0, 3.0, 3.0]);
        let map = run(&pad([1, 0, 0, 1], Fill::Replicate), &[(&[1, 1, 2, 2], vec![1.0, 2.0, 3.0, 4.0])], &[]);
        assert_eq!(map, [[1.0, 2.0, 2.0, 1.0, 2.0, 2.0, 3.0, 4.0, 4.0]]);
        let corner = run(&pad([1, 1, 0, 0], Fill::Constant(0.0)), &[(&[2, 1, 1, 1], vec![5.0, 6.0])], &[]);
        assert_eq!(corner, [[0.0, 0.0, 0.0, 5.0, 0.0, 0.0, 0.0, 6.0]]);
    }
}
