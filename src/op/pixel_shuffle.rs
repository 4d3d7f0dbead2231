//! Pixel shuffle and its inverse: channels become positions (Shi et al. 2016, arXiv:1609.05158), or positions channels.

use super::attr::{ArgError, Call, Operands, Param, Signature, Value, param, words};
use super::gradient::{GradBuilder, Wrt};
use super::{Cost, Op, Operator, ParamSpec, Reach, ShapeError, Window, geom};
use super::onnx::{Atom, Attr, Axes, Export, Import, Of, Unfit};
use super::pytorch::{Expr, Helper, PyTorch};
use crate::dim::{Dim, DimError};
use crate::tensor::{Element, Nchw, Shape, View, ViewMut};

/// Each position of a map with `k · f²` channels becomes a square of `f · f` positions with `k` channels: cell `(i, j)`
/// of the square has of channel `c` what stood in channel `c · f² + i · f + j` (order `Crd`), or in channel
/// `(i · f + j) · k + c` (order `Dcr`). The inverse puts it back there.
#[derive(Clone, Debug, PartialEq)]
pub struct PixelShuffle {
    /// The side of the square.
    pub factor: u64,
    /// Where the cells of a square stand among the channels.
    pub order: ChannelOrder,
    /// Which way.
    pub way: Way,
}

/// Where the cells of a square stand among the channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelOrder {
    /// The cells of one channel side by side, as PyTorch has them: channel, row, column.
    Crd,
    /// The channels of one cell side by side, as TensorFlow has them: row, column, channel.
    Dcr,
}

/// Which way a pixel shuffle goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Channels become positions: depth to space.
    ToSpace,
    /// Positions become channels: space to depth.
    ToDepth,
}

const FACTOR: Param = param("factor", "", "the side of the square of positions");
const ORDER: Param =
    words("order", &["crd", "dcr"], "crd", "crd: the cells of one channel side by side; dcr: the channels of one cell");

static SIGNATURES: [Signature; 2] = [
    Signature {
        layer: "pixel_shuffle",
        params: &[FACTOR, ORDER],
        operands: Operands::Above,
        doc: "channels as squares of positions: depth to space",
    },
    Signature {
        layer: "pixel_unshuffle",
        params: &[FACTOR, ORDER],
        operands: Operands::Above,
        doc: "squares of positions as channels: space to depth",
    },
];

static DEPTH_TO_SPACE: Helper = Helper {
    name: "depth_to_space",
    text: r#"def depth_to_space(x: Tensor, factor: int) -> Tensor:
    """Channels as squares of positions, in TensorFlow's order: row, column, channel."""
    n, c, h, w = x.shape
    x = x.reshape(n, factor, factor, c // (factor * factor), h, w).permute(0, 3, 4, 1, 5, 2)
    return x.reshape(n, c // (factor * factor), h * factor, w * factor)
"#,
};

static SPACE_TO_DEPTH: Helper = Helper {
    name: "space_to_depth",
    text: r#"def space_to_depth(x: Tensor, factor: int) -> Tensor:
    """Squares of positions as channels, in TensorFlow's order: row, column, channel."""
    n, c, h, w = x.shape
    x = x.reshape(n, c, h // factor, factor, w // factor, factor).permute(0, 3, 5, 1, 2, 4)
    return x.reshape(n, c * factor * factor, h // factor, w // factor)
"#,
};

impl Operator for PixelShuffle {
    fn signatures() -> &'static [Signature] {
        &SIGNATURES
    }

    fn build(call: &Call) -> Result<Self, ArgError> {
        let order = match call.choice("order", &["crd", "dcr"])? {
            "dcr" => ChannelOrder::Dcr,
            _ => ChannelOrder::Crd,
        };
        let way = if call.layer == "pixel_shuffle" { Way::ToSpace } else { Way::ToDepth };
        Ok(PixelShuffle { factor: call.count("factor", None, 1)?, order, way })
    }

    fn describe(&self) -> (&'static str, Vec<(&'static str, Value)>) {
        let layer = match self.way {
            Way::ToSpace => "pixel_shuffle",
            Way::ToDepth => "pixel_unshuffle",
        };
        let order = match self.order {
            ChannelOrder::Crd => "crd",
            ChannelOrder::Dcr => "dcr",
        };
        (layer, vec![("factor", Value::int(self.factor)), ("order", Value::word(order))])
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>, ShapeError> {
        let (c, h, w) = geom::feature_map(inputs, 0)?;
        let side = Dim::from(self.factor);
        let cells = side.mul(&side)?;
        let sizes = match self.way {
            Way::ToSpace => {
                let by = self.factor.saturating_mul(self.factor);
                vec![divided(c, by, "channels")?, h.mul(&side)?, w.mul(&side)?]
            }
            Way::ToDepth => {
                vec![c.mul(&cells)?, divided(h, self.factor, "rows")?, divided(w, self.factor, "columns")?]
            }
        };
        Ok(vec![Shape(sizes)])
    }

    fn arithmetic(&self, inputs: &[Shape], outputs: &[Shape]) -> Vec<String> {
        let line = |(name, at): (&str, usize)| {
            let sign = if (self.way == Way::ToSpace) == (at == 0) { "/" } else { "*" };
            let cells = if at == 0 { format!("{0}*{0}", self.factor) } else { self.factor.to_string() };
            let cells = if at == 0 && sign == "/" { format!("({cells})") } else { cells };
            format!("{name}: {} {sign} {cells} = {}", inputs[0].0[at], outputs[0].0[at])
        };
        [("channels", 0), ("height", 1), ("width", 2)].into_iter().map(line).collect()
    }

    fn params(&self, _inputs: &[Shape]) -> Vec<ParamSpec> {
        Vec::new()
    }

    fn cost(&self, _inputs: &[Shape], _outputs: &[Shape]) -> Result<Cost, DimError> {
        Ok(Cost::free())
    }

    fn reach(&self, _inputs: &[Shape]) -> Reach {
        let window = match self.way {
            Way::ToSpace => Window { stride: (1, self.factor), first: 0, last: 0 },
            Way::ToDepth => Window::sliding(self.factor, self.factor, 0),
        };
        Reach::Window([window; 2])
    }

    fn forward<E: Element>(&self, inputs: &[View<E>], _params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        let (from, to) = (Nchw::of(inputs[0].dims), Nchw::of(outputs[0].dims));
        let side = self.factor as usize;
        // The map with few channels, and the one with many.
        let (wide, deep) = if self.way == Way::ToSpace { (to, from) } else { (from, to) };
        for n in 0..wide.n {
            for c in 0..wide.c {
                for y in 0..wide.h {
                    for x in 0..wide.w {
                        let cell = y % side * side + x % side;
                        let channel = match self.order {
                            ChannelOrder::Crd => c * side * side + cell,
                            ChannelOrder::Dcr => cell * wide.c + c,
                        };
                        let (spread, stacked) = (wide.at(n, c, y, x), deep.at(n, channel, y / side, x / side));
                        let (read, write) =
                            if self.way == Way::ToSpace { (stacked, spread) } else { (spread, stacked) };
                        outputs[0].data[write] = inputs[0].data[read];
                    }
                }
            }
        }
    }

    fn gradient(&self, g: &mut GradBuilder) {
        let incoming = g.incoming(0);
        let way = if self.way == Way::ToSpace { Way::ToDepth } else { Way::ToSpace };
        let back = g.emit(Op::PixelShuffle(PixelShuffle { way, ..self.clone() }), &[incoming]);
        g.set(Wrt::Operand(0), back);
    }

    const ONNX: &'static [&'static str] = &["DepthToSpace", "SpaceToDepth"];

    fn from_onnx(node: &mut Import) -> Result<(), Unfit> {
        let (x, rank) = node.map(0)?;
        let factor = u64::try_from(node.attrs.int("blocksize", 0)?).ok().filter(|&factor| factor > 0);
        let factor = factor.ok_or_else(|| Unfit::new("`blocksize` is not positive"))?;
        let order = match node.attrs.text("mode", "DCR")? {
            "CRD" => ChannelOrder::Crd,
            _ => ChannelOrder::Dcr,
        };
        let way = if node.op_type == "DepthToSpace" { Way::ToSpace } else { Way::ToDepth };
        let made = node.emit_one(PixelShuffle { factor, order, way }, &[&x], Vec::new())?;
        node.map_result(made, rank);
        Ok(())
    }

    /// ONNX's SpaceToDepth has one order; for the other the map is cut, turned and joined.
    fn to_onnx(&self, g: &mut Export) -> Result<(), Unfit> {
        let size = ("blocksize", Attr::Int(self.factor as i64));
        match (self.way, self.order) {
            (Way::ToSpace, ChannelOrder::Dcr) => g.unary("DepthToSpace", vec![size]),
            (Way::ToSpace, ChannelOrder::Crd) if 11 <= g.opset => {
                g.unary("DepthToSpace", vec![size, ("mode", Attr::Text("CRD".to_owned()))]);
            }
            (Way::ToSpace, ChannelOrder::Crd) => {
                let f = Dim::from(self.factor);
                let [c, h, w] = [g.outputs[0].0[0].clone(), g.inputs[0].0[1].clone(), g.inputs[0].0[2].clone()];
                turned(g, [c, f.clone(), f, h, w], [0, 1, 4, 2, 5, 3])?;
            }
            (Way::ToDepth, ChannelOrder::Dcr) => g.unary("SpaceToDepth", vec![size]),
            (Way::ToDepth, ChannelOrder::Crd) => {
                let (c, f) = (g.inputs[0].0[0].clone(), Dim::from(self.factor));
                let [h, w] = [1, 2].map(|axis| g.outputs[0].0[axis].clone());
                turned(g, [c, h, f.clone(), w, f], [0, 1, 3, 5, 2, 4])?;
            }
        }
        Ok(())
    }

    fn to_pytorch(&self, g: &mut PyTorch) -> Result<(), Unfit> {
        let text = match (self.way, self.order) {
            (Way::ToSpace, ChannelOrder::Crd) => "F.pixel_shuffle({x}, {})",
            (Way::ToDepth, ChannelOrder::Crd) => "F.pixel_unshuffle({x}, {})",
            (Way::ToSpace, ChannelOrder::Dcr) => {
                g.helper(&DEPTH_TO_SPACE);
                "depth_to_space({x}, {})"
            }
            (Way::ToDepth, ChannelOrder::Dcr) => {
                g.helper(&SPACE_TO_DEPTH);
                "space_to_depth({x}, {})"
            }
        };
        g.call(Expr::new(text).arg("factor", self.factor));
        Ok(())
    }
}

impl PixelShuffle {
    /// The shuffle that brings the elements of a value into the order of these axes, and the axes on its result. Exporters
    /// cut the channels, or height and width, turn the parts and join them.
    pub fn of_axes(axes: &Axes, shape: &Shape) -> Option<(PixelShuffle, Axes)> {
        let atoms: Vec<&Atom> = axes.atoms().into_iter().filter(|atom| atom.of != Of::Batch).collect();
        let orders = [(Way::ToSpace, ChannelOrder::Crd), (Way::ToSpace, ChannelOrder::Dcr)];
        let back = [(Way::ToDepth, ChannelOrder::Crd), (Way::ToDepth, ChannelOrder::Dcr)];
        for (way, order) in orders.into_iter().chain(back) {
            let Some((op, steps)) = matched(&atoms, shape, way, order) else { continue };
            let mut steps = steps.into_iter();
            let mut moved = |atom: &Atom| match (atom.of, steps.next()) {
                (Of::Axis(_), Some((axis, step))) => Atom { of: Of::Axis(axis), step, ..atom.clone() },
                _ => atom.clone(),
            };
            let mut of_axis = |axis: &Vec<Atom>| {
                axis.iter().map(|atom| if atom.of == Of::Batch { atom.clone() } else { moved(atom) }).collect()
            };
            let moved = Axes(axes.0.iter().map(&mut of_axis).collect()).rejoined();
            if moved.in_order() {
                return Some((op, moved));
            }
        }
        None
    }
}

/// The shuffle that goes this way, if atoms in their order are its parts; with the axis of the result on which each lies,
/// and its step there.
fn matched(
    atoms: &[&Atom],
    shape: &Shape,
    way: Way,
    order: ChannelOrder,
) -> Option<(PixelShuffle, Vec<(usize, u64)>)> {
    // A map with one channel has no part for it.
    let alone = atoms.len() == 4;
    let mut parts = match (way, order) {
        (Way::ToSpace, _) => vec![Part::Channel, Part::High, Part::Row, Part::Wide, Part::Col],
        (Way::ToDepth, ChannelOrder::Crd) => vec![Part::Channel, Part::Row, Part::Col, Part::High, Part::Wide],
        (Way::ToDepth, ChannelOrder::Dcr) => vec![Part::Row, Part::Col, Part::Channel, Part::High, Part::Wide],
    };
    parts.retain(|part| !alone || *part != Part::Channel);
    if atoms.len() != parts.len() || shape.rank() != 3 {
        return None;
    }
    let size = |wanted: Part| {
        parts.iter().position(|part| *part == wanted).map_or(Some(1), |at| atoms[at].size.as_u64())
    };
    let (factor, channels) = (size(Part::Row)?, size(Part::Channel)?);
    // Where the parts lie on the map with many channels, and on the one with few.
    let square = factor.checked_mul(factor)?;
    let [channel, row, col] = match order {
        ChannelOrder::Crd => [square, factor, 1],
        ChannelOrder::Dcr => [1, factor.checked_mul(channels)?, channels],
    };
    let deep = |part: &Part| match part {
        Part::Channel => (0, channel),
        Part::Row => (0, row),
        Part::Col => (0, col),
        Part::High => (1, 1),
        Part::Wide => (2, 1),
    };
    let spread = |part: &Part| match part {
        Part::Channel => (0, 1),
        Part::Row => (1, 1),
        Part::Col => (2, 1),
        Part::High => (1, factor),
        Part::Wide => (2, factor),
    };
    let lie = |places: &dyn Fn(&Part) -> (usize, u64)| -> Vec<(usize, u64)> { parts.iter().map(places).collect() };
    let (from, to) = if way == Way::ToSpace { (lie(&deep), lie(&spread)) } else { (lie(&spread), lie(&deep)) };
    let fits = atoms.iter().zip(from).all(|(atom, (axis, step))| atom.of == Of::Axis(axis) && atom.step == step);
    // Together they must be all of the map.
    let many = if way == Way::ToSpace { channels.checked_mul(square)? } else { channels };
    let whole = size(Part::Col) == Some(factor) && shape.0[0].as_u64() == Some(many);
    (fits && whole).then_some((PixelShuffle { factor, order, way }, to))
}

/// What an axis that is cut for a shuffle has parts for.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    Channel,
    /// The row and the column in the square.
    Row,
    Col,
    /// The height and width of the map with many channels.
    High,
    Wide,
}

/// A size that has to divide.
fn divided(size: &Dim, by: u64, what: &str) -> Result<Dim, ShapeError> {
    match size.exact_div(by) {
        Err(DimError::NotDivisible { value, .. }) => {
            let message = format!("{value} {what} do not divide by {by}");
            Err(ShapeError::Misfit { attr: Some("factor"), message, help: None })
        }
        divided => Ok(divided?),
    }
}

/// The layer's result as the operand cut into these axes, the batch in front, put into this order.
fn turned(g: &mut Export, cut: [Dim; 5], order: [i64; 6]) -> Result<(), Unfit> {
    let cut: Vec<Dim> = std::iter::once(Dim::ZERO).chain(cut).collect();
    let inputs = vec![g.operand(0), g.dims(&cut)?];
    let cells = g.between("Reshape", inputs, Vec::new());
    let turned = g.between("Transpose", vec![cells], vec![("perm", Attr::Ints(order.to_vec()))]);
    let whole = g.result_sizes()?;
    g.last("Reshape", vec![turned, whole], Vec::new());
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::op::onnx::Target;
    use crate::op::testing::{assert_round_trip, build, infer_one, run, seeded};

    fn shuffle(factor: u64, order: ChannelOrder, way: Way) -> PixelShuffle {
        PixelShuffle { factor, order, way }
    }

    #[test]
    fn channels_become_positions_and_back() {
        let (up, down) =
            (shuffle(2, ChannelOrder::Crd, Way::ToSpace), shuffle(2, ChannelOrder::Crd, Way::ToDepth));
        assert_eq!(infer_one(&up, &[&[12, 5, 1]]), Ok(vec![3, 10, 2]));
        assert_eq!(infer_one(&down, &[&[3, 10, 2]]), Ok(vec![12, 5, 1]));
        let odd = |message: &str| {
            Err(ShapeError::Misfit { attr: Some("factor"), message: message.to_owned(), help: None })
        };
        assert_eq!(infer_one(&up, &[&[6, 5, 1]]), odd("6 channels do not divide by 4"));
        assert_eq!(infer_one(&down, &[&[6, 5, 2]]), odd("5 rows do not divide by 2"));
        assert_eq!(infer_one(&down, &[&[6, 2, 3]]), odd("3 columns do not divide by 2"));
        assert_eq!(infer_one(&up, &[&[4]]), Err(ShapeError::needs_feature_map(0)));
        let shapes = [[12, 5, 1], [3, 10, 2]].map(|sizes: [u64; 3]| Shape::known(&sizes));
        let lines = up.arithmetic(&shapes[..1], &shapes[1..]);
        assert_eq!(lines, ["channels: 12 / (2*2) = 3", "height: 5 * 2 = 10", "width: 1 * 2 = 2"]);
        let lines = down.arithmetic(&shapes[1..], &shapes[..1]);
        assert_eq!(lines, ["channels: 3 * 2*2 = 12", "height: 10 / 2 = 5", "width: 2 / 2 = 1"]);
    }

    #[test]
    fn describes_itself() {
        for way in [Way::ToSpace, Way::ToDepth] {
            for order in [ChannelOrder::Crd, ChannelOrder::Dcr] {
                assert_round_trip(&shuffle(3, order, way), &[]);
            }
        }
        let built: PixelShuffle = build("pixel_shuffle", &[("factor", Value::int(2))], &[]);
        assert_eq!(built, shuffle(2, ChannelOrder::Crd, Way::ToSpace));
    }

    #[test]
    fn cells_come_from_their_channels() {
        let channels: Vec<f32> = (0..8).map(|c| c as f32).collect();
        let of = |order| run(&shuffle(2, order, Way::ToSpace), &[(&[1, 8, 1, 1], channels.clone())], &[]).remove(0);
        assert_eq!(of(ChannelOrder::Crd), channels);
        assert_eq!(of(ChannelOrder::Dcr), [0.0, 2.0, 4.0, 6.0, 1.0, 3.0, 5.0, 7.0]);
    }

    proptest! {
        #[test]
        fn the_other_way_undoes_it(
            factor in 1u64..4,
            dcr: bool,
            (c, h, w) in (1usize..4, 1usize..3, 1usize..4),
        ) {
            let order = if dcr { ChannelOrder::Dcr } else { ChannelOrder::Crd };
            let dims = [2, c * (factor * factor) as usize, h, w];
            let data = seeded(dims.iter().product(), 3);
            let up = run(&shuffle(factor, order, Way::ToSpace), &[(&dims, data.clone())], &[]).remove(0);
            let side = factor as usize;
            let back = run(&shuffle(factor, order, Way::ToDepth), &[(&[2, c, h * side, w * side], up)], &[]);
            prop_assert_eq!(back, vec![data]);
        }
    }

    #[test]
    fn cut_and_turned_axes_are_a_shuffle() {
        let targets = |sizes: &[u64]| sizes.iter().map(|&size| Target::Size(size.into())).collect::<Vec<_>>();
        let (space, depth) = ([12, 3, 5], [3, 6, 10]);
        for (way, order, from, cut, turned, to) in [
            (Way::ToSpace, ChannelOrder::Crd, space, vec![3, 2, 2, 3, 5], vec![0, 3, 1, 4, 2], [3, 6, 10]),
            (Way::ToSpace, ChannelOrder::Dcr, space, vec![2, 2, 3, 3, 5], vec![2, 3, 0, 4, 1], [3, 6, 10]),
            (Way::ToSpace, ChannelOrder::Crd, [4, 3, 5], vec![2, 2, 3, 5], vec![2, 0, 3, 1], [1, 6, 10]),
            (Way::ToDepth, ChannelOrder::Crd, depth, vec![3, 3, 2, 5, 2], vec![0, 2, 4, 1, 3], [12, 3, 5]),
            (Way::ToDepth, ChannelOrder::Dcr, depth, vec![3, 3, 2, 5, 2], vec![2, 4, 0, 1, 3], [12, 3, 5]),
            (Way::ToDepth, ChannelOrder::Crd, [1, 6, 10], vec![3, 2, 5, 2], vec![1, 3, 0, 2], [4, 3, 5]),
        ] {
            let shape = Shape::known(&from);
            let axes = Axes::plain(None, &shape).reshaped(&targets(&cut)).unwrap();
            let axes = axes.permuted(&turned).unwrap().reshaped(&targets(&to)).unwrap();
            let (op, moved) = PixelShuffle::of_axes(&axes, &shape).unwrap();
            assert_eq!(op, PixelShuffle { factor: 2, order, way });
            assert!(moved.whole(&Shape::known(&to)) && moved.in_order());
        }
        let plain = Axes::plain(None, &Shape::known(&space)).permuted(&[1, 2, 0]).unwrap();
        assert_eq!(PixelShuffle::of_axes(&plain, &Shape::known(&space)), None);
    }
}
