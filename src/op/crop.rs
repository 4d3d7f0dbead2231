//! A part of the height and width, as U-Net's skip connections take it (Ronneberger et al. 2015, arXiv:1505.04597).

use super::attr::{ArgError, Call, Operands, Signature, Value, size_of, words};
use super::{Cost, Operator, ParamSpec, Reach, ShapeError, Window, axis, geom};
use crate::dim::{Dim, DimError};
use crate::tensor::{Nchw, Shape, View, ViewMut};

/// A rectangle of a feature map.
#[derive(Clone, Debug, PartialEq)]
pub struct Crop {
    /// Its height and width.
    pub size: [Dim; 2],
    /// Where it lies.
    pub at: At,
}

/// Where a rectangle lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// In the middle: `floor((in - out) / 2)` cells are cut at the top and the left.
    Center,
    /// Behind this many cells at the top and the left.
    Offset([u64; 2]),
}

const WORDS: &[&str] = &["center", "top_left"];

impl Operator for Crop {
    fn signatures() -> &'static [Signature] {
        static SIGNATURES: [Signature; 1] = [Signature {
            layer: "crop",
            params: &[
                size_of("to", "", "the sizes: s, [h, w] or those of a value"),
                words("at", WORDS, "center", "center, top_left or [top, left]"),
            ],
            operands: Operands::Above,
            doc: "a rectangle of height and width",
        }];
        &SIGNATURES
    }

    fn build(call: &Call) -> Result<Self, ArgError> {
        let size = axis::plane(call, "to")?;
        let at = match call.get("at") {
            Some(Value::List(_)) => At::Offset(call.pair("at", None, 0)?),
            _ if call.choice("at", WORDS)? == "top_left" => At::Offset([0, 0]),
            _ => At::Center,
        };
        Ok(Crop { size, at })
    }

    fn describe(&self) -> (&'static str, Vec<(&'static str, Value)>) {
        let at = match self.at {
            At::Center => Value::word("center"),
            At::Offset(offset) => Value::ints(&offset),
        };
        ("crop", vec![("to", axis::plane_value(&self.size)), ("at", at)])
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>, ShapeError> {
        let (c, h, w) = geom::feature_map(inputs, 0)?;
        for (at, size) in [h, w].into_iter().enumerate() {
            let (attr, offset) = match self.at {
                At::Offset(offset) if offset[at] > 0 => ("at", offset[at]),
                At::Offset(_) | At::Center => ("to", 0),
            };
            let end = self.size[at].add(&Dim::from(offset))?;
            let asked = || if offset == 0 { end.to_string() } else { format!("{offset}..{end}") };
            axis::reaches(size, &end, at + 1, attr, asked)?;
        }
        let [h, w] = self.size.clone();
        Ok(vec![Shape(vec![c.clone(), h, w])])
    }

    fn arithmetic(&self, inputs: &[Shape], outputs: &[Shape]) -> Vec<String> {
        let line = |at: usize| {
            let (from, to) = (&inputs[0].0[at + 1], &outputs[0].0[at + 1]);
            (from != to).then(|| format!("{}: {from} cropped to {to}", geom::AXES[at]))
        };
        (0..2).filter_map(line).collect()
    }

    fn params(&self, _inputs: &[Shape]) -> Vec<ParamSpec> {
        Vec::new()
    }

    fn cost(&self, _inputs: &[Shape], _outputs: &[Shape]) -> Result<Cost, DimError> {
        Ok(Cost::free())
    }

    /// A middle whose place depends on symbols counts as the top left.
    fn reach(&self, inputs: &[Shape]) -> Reach {
        let window = |at: usize| {
            let offset = match self.at {
                At::Offset(offset) => Some(offset[at]),
                At::Center => inputs[0].0.get(at + 1).and_then(|from| center(from, &self.size[at])),
            };
            let cut = offset.and_then(|offset| i64::try_from(offset).ok()).unwrap_or(0);
            Window { extent: 1, stride: (1, 1), before: -cut }
        };
        Reach::Window([window(0), window(1)])
    }

    fn forward(&self, inputs: &[View], _params: &[View], outputs: &mut [ViewMut]) {
        let (from, to) = (Nchw::of(inputs[0].dims), Nchw::of(outputs[0].dims));
        let [top, left] = match self.at {
            At::Center => [(from.h - to.h) / 2, (from.w - to.w) / 2],
            At::Offset(offset) => offset.map(|cells| cells as usize),
        };
        for n in 0..to.n {
            for c in 0..to.c {
                for y in 0..to.h {
                    for x in 0..to.w {
                        outputs[0].data[to.at(n, c, y, x)] = inputs[0].data[from.at(n, c, top + y, left + x)];
                    }
                }
            }
        }
    }
}

fn center(from: &Dim, to: &Dim) -> Option<u64> {
    from.sub(to).and_then(|cut| cut.floor_div(2)).ok()?.as_u64()
}
