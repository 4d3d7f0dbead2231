//! Padding of height and width by itself.

use super::attr::{ArgError, Call, Operands, Signature, Value, param, words};
use super::axis::{self, undecided};
use super::geom::inside;
use super::{Cost, Operator, ParamSpec, Reach, ShapeError, Window, geom};
use crate::dim::{Dim, DimError};
use crate::tensor::{Nchw, Shape, View, ViewMut};

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
        let shifted = |before| Window { extent: 1, stride: (1, 1), before: i64::try_from(before).unwrap_or(i64::MAX) };
        Reach::Window([shifted(self.sides[0]), shifted(self.sides[1])])
    }

    fn forward(&self, inputs: &[View], _params: &[View], outputs: &mut [ViewMut]) {
        let (from, to) = (Nchw::of(inputs[0].dims), Nchw::of(outputs[0].dims));
        let [top, left, _, _] = self.sides.map(|side| side as usize);
        for n in 0..to.n {
            for c in 0..to.c {
                for y in 0..to.h {
                    for x in 0..to.w {
                        let source = self.fill.source(y, top, from.h).zip(self.fill.source(x, left, from.w));
                        outputs[0].data[to.at(n, c, y, x)] = match (source, self.fill) {
                            (Some((row, col)), _) => inputs[0].data[from.at(n, c, row, col)],
                            (None, Fill::Constant(value)) => value as f32,
                            (None, Fill::Reflect | Fill::Replicate) => 0.0,
                        };
                    }
                }
            }
        }
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
