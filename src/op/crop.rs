//! A part of the height and width, as U-Net's skip connections take it (Ronneberger et al. 2015, arXiv:1505.04597).

use super::attr::{ArgError, Call, Operands, Signature, Value, size_of, words};
use super::gradient::{Backward, GradBuilder, Wrt};
use super::{Cost, Operator, ParamSpec, Reach, ShapeError, Window, axis, geom};
use super::onnx::{Export, Import, Unfit};
use super::pytorch::{Expr, PyTorch};
use crate::dim::{Dim, DimError};
use crate::tensor::{Element, Nchw, Shape, View, ViewMut};

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
            Window::shifted(offset.map_or(0, i128::from))
        };
        Reach::Window([window(0), window(1)])
    }

    fn forward<E: Element>(&self, inputs: &[View<E>], _params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        let (from, to) = (Nchw::of(inputs[0].dims), Nchw::of(outputs[0].dims));
        let [top, left] = self.corner([from.h, from.w], [to.h, to.w]);
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

    fn gradient(&self, g: &mut GradBuilder) {
        let incoming = g.incoming(0);
        g.backward(self, &[Wrt::Operand(0)], &[incoming], &[]);
    }

    const ONNX: &'static [&'static str] = &[];

    fn from_onnx(_node: &mut Import) -> Result<(), Unfit> {
        Err(Unfit::new("a rectangle is cut by slices"))
    }

    fn to_onnx(&self, g: &mut Export) -> Result<(), Unfit> {
        let mut starts = Vec::new();
        for axis in [0, 1] {
            starts.push(match self.at {
                At::Center => g.inputs[0].0[axis + 1].sub(&self.size[axis])?.floor_div(2)?,
                At::Offset(offset) => offset[axis].into(),
            });
        }
        let ends = starts.iter().zip(&self.size).map(|(start, size)| start.add(size)).collect::<Result<Vec<_>, _>>()?;
        g.sliced(&[2, 3], &starts, &ends)
    }

    fn to_pytorch(&self, g: &mut PyTorch) -> Result<(), Unfit> {
        let mut call = Expr::new("{x}[:, :, {0}:{1}, {2}:{3}]");
        for axis in [0, 1] {
            let start = match self.at {
                At::Center => g.inputs[0].0[axis + 1].sub(&self.size[axis])?.floor_div(2)?,
                At::Offset(offset) => offset[axis].into(),
            };
            call = call.arg("start", &start).arg("end", &start.add(&self.size[axis])?);
        }
        g.call(call);
        Ok(())
    }
}

impl Backward for Crop {
    fn backward_cost(&self, _wrt: &[Wrt], _inputs: &[Shape], _outputs: &[Shape]) -> Result<Cost, DimError> {
        Ok(Cost::free())
    }

    fn backward<E: Element>(&self, _wrt: &[Wrt], inputs: &[View<E>], _params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        let (from, to) = (Nchw::of(outputs[0].dims), Nchw::of(inputs[0].dims));
        let [top, left] = self.corner([from.h, from.w], [to.h, to.w]);
        outputs[0].data.fill(E::default());
        for n in 0..to.n {
            for c in 0..to.c {
                for y in 0..to.h {
                    for x in 0..to.w {
                        outputs[0].data[from.at(n, c, top + y, left + x)] = inputs[0].data[to.at(n, c, y, x)];
                    }
                }
            }
        }
    }
}

impl Crop {
    /// The rows and columns that are cut at the top and the left.
    fn corner(&self, from: [usize; 2], to: [usize; 2]) -> [usize; 2] {
        match self.at {
            At::Center => [(from[0] - to[0]) / 2, (from[1] - to[1]) / 2],
            At::Offset(offset) => offset.map(|cells| cells as usize),
        }
    }
}

fn center(from: &Dim, to: &Dim) -> Option<u64> {
    from.sub(to).and_then(|cut| cut.floor_div(2)).ok()?.as_u64()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::op::pad::{Fill, Pad};
    use crate::op::testing::{assert_round_trip, build, infer_one, run, seeded, try_build};

    fn crop(size: [u64; 2], at: At) -> Crop {
        Crop { size: size.map(Dim::from), at }
    }

    #[test]
    fn takes_a_rectangle_inside_the_map() {
        assert_eq!(infer_one(&crop([5, 1], At::Center), &[&[3, 5, 8]]), Ok(vec![3, 5, 1]));
        assert_eq!(infer_one(&crop([2, 3], At::Offset([3, 5])), &[&[3, 5, 8]]), Ok(vec![3, 2, 3]));
        let outside = |attr, asked: &str, axis, size: u64| {
            Err(ShapeError::OutOfRange { attr, asked: asked.to_owned(), axis, size: size.into() })
        };
        assert_eq!(infer_one(&crop([6, 8], At::Center), &[&[3, 5, 8]]), outside("to", "6", "height", 5));
        let offset = infer_one(&crop([5, 8], At::Offset([0, 1])), &[&[3, 5, 8]]);
        assert_eq!(offset, outside("at", "1..9", "width", 8));
        let (inputs, outputs) = ([Shape::known(&[3, 5, 8])], [Shape::known(&[3, 5, 2])]);
        assert_eq!(crop([5, 2], At::Center).arithmetic(&inputs, &outputs), ["width: 8 cropped to 2"]);
    }

    #[test]
    fn unknown_sizes_must_provably_fit() {
        let (h, w) = (Dim::symbol("H", 4), Dim::symbol("W", 1));
        let map = [Shape(vec![3u64.into(), h.clone(), w.clone()])];
        let less = h.sub(&Dim::from(3u64)).unwrap();
        let fits = Crop { size: [less.clone(), w.clone()], at: At::Center };
        assert_eq!(fits.infer(&map), Ok(vec![Shape(vec![3u64.into(), less, w.clone()])]));
        assert_round_trip(&fits, &[]);
        let doubtful = Crop { size: [w.clone(), w], at: At::Center };
        assert!(matches!(doubtful.infer(&map), Err(ShapeError::Misfit { attr: Some("to"), .. })));
    }

    #[test]
    fn takes_the_sizes_of_a_value() {
        let to = Value::Shape(Shape::known(&[64, 5, 8]));
        assert_eq!(build::<Crop>("crop", &[("to", to)], &[]), crop([5, 8], At::Center));
        let args = [("to", Value::int(4)), ("at", Value::word("top_left"))];
        assert_eq!(build::<Crop>("crop", &args, &[]), crop([4, 4], At::Offset([0, 0])));
        for to in [Value::Shape(Shape::known(&[64])), Value::ints(&[1, 2, 3]), Value::int(0), Value::word("x")] {
            assert_eq!(try_build::<Crop>("crop", &[("to", to)], &[]).unwrap_err().param, Some("to"));
        }
        let args = [("to", Value::int(4)), ("at", Value::word("middle"))];
        assert_eq!(try_build::<Crop>("crop", &args, &[]).unwrap_err().param, Some("at"));
    }

    #[test]
    fn describes_itself() {
        for at in [At::Center, At::Offset([0, 0]), At::Offset([2, 7])] {
            assert_round_trip(&crop([3, 4], at), &[]);
        }
    }

    #[test]
    fn the_middle_leaves_the_odd_cell_behind() {
        let rows: Vec<f32> = (0..5).map(|x| x as f32).collect();
        let cut = |size, at| run(&crop([size, 1], at), &[(&[1, 1, 5, 1], rows.clone())], &[]).remove(0);
        assert_eq!(cut(3, At::Center), [1.0, 2.0, 3.0]);
        assert_eq!(cut(2, At::Center), [1.0, 2.0]);
        assert_eq!(cut(2, At::Offset([0, 0])), [0.0, 1.0]);
        assert_eq!(cut(2, At::Offset([3, 0])), [3.0, 4.0]);
        let Reach::Window([height, width]) = crop([2, 1], At::Center).reach(&[Shape::known(&[1, 5, 1])]) else {
            panic!("a window")
        };
        assert_eq!((height.seen(0), width.seen(0)), (1..=1, 0..=0));
    }

    proptest! {
        #[test]
        fn undoes_padding(
            sides in prop::array::uniform4(0u64..4),
            dims in prop::array::uniform4(1usize..4),
            replicate in any::<bool>(),
        ) {
            let fill = if replicate { Fill::Replicate } else { Fill::Constant(7.0) };
            let data = seeded(dims.iter().product(), 11);
            let padded = run(&Pad { sides, fill }, &[(&dims, data.clone())], &[]).remove(0);
            let [top, left, bottom, right] = sides.map(|side| side as usize);
            let padded_dims = [dims[0], dims[1], dims[2] + top + bottom, dims[3] + left + right];
            let op = crop([dims[2] as u64, dims[3] as u64], At::Offset([sides[0], sides[1]]));
            prop_assert_eq!(run(&op, &[(&padded_dims, padded)], &[]), vec![data]);
        }
    }
}
