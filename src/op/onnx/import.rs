//! A node of a model as the rule of an operator sees it, and the layers that the rule makes of it.

use std::cell::Cell;

use super::constant::MAX_SIZES;
use super::{Attributes, Axes, Constant, Data, Unfit};
use crate::dim::Dim;
use crate::op::Op;
use crate::op::attr::{Operands, Value};
use crate::op::conv::Conv;
use crate::op::flatten::Flatten;
use crate::op::geom::Windows;
use crate::op::linear::Linear;
use crate::op::permute::{Permute, Reordering};
use crate::op::pixel_shuffle::PixelShuffle;
use crate::op::reshape::Reshape;
use crate::op::shuffle::ChannelShuffle;
use crate::op::upsample::{Mode, Target, Upsample};
use crate::tensor::Shape;

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A value of the net so far, by the caller's number.
    Net(usize),
    /// Result `.1` of the layer that was emitted as number `.0`.
    Emitted(usize, u32),
}

/// A tensor that the net computes: one of its values, under axes of its own.
#[derive(Clone, Debug)]
pub struct Live {
    /// The value.
    pub source: Source,
    /// The value's shape.
    pub shape: Shape,
    /// How the tensor's axes lie on it.
    pub axes: Axes,
}

/// An operand of a node.
#[derive(Clone, Debug)]
pub enum Arg {
    /// Left out.
    Absent,
    /// Known when the model is read.
    Known(Constant),
    /// Computed by the net.
    Live(Live),
}

/// A tensor of an emitted layer.
#[derive(Clone, Debug)]
pub struct Param {
    /// The leaf of its name: `weight`.
    pub leaf: &'static str,
    /// Its numbers.
    pub value: Constant,
}

impl Param {
    /// A tensor under its leaf.
    pub fn new(leaf: &'static str, value: Constant) -> Param {
        Param { leaf, value }
    }
}

/// A layer that a rule makes.
#[derive(Clone, Debug)]
pub struct Emission {
    /// The operator.
    pub op: Op,
    /// What it takes.
    pub operands: Vec<Source>,
    /// The tensors it owns.
    pub params: Vec<Param>,
    /// The shapes of its results.
    pub shapes: Vec<Shape>,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Import<'a> {
    /// The ONNX operator.
    pub op_type: &'a str,
    /// The version of the operator set.
    pub opset: i64,
    /// The node's attributes.
    pub attrs: &'a Attributes,
    /// How many results others use.
    pub outputs: usize,
    args: &'a [Arg],
    emitted: Vec<Emission>,
    results: Vec<Live>,
    declined: Cell<bool>,
}

impl<'a> Import<'a> {
    /// A node with its operands.
    pub fn new(op_type: &'a str, opset: i64, attrs: &'a Attributes, args: &'a [Arg], outputs: usize) -> Import<'a> {
        let (emitted, results, declined) = (Vec::new(), Vec::new(), Cell::new(false));
        Import { op_type, opset, attrs, args, outputs, emitted, results, declined }
    }

    /// The layers and the results that a rule made.
    pub fn finish(self) -> (Vec<Emission>, Vec<Live>) {
        (self.emitted, self.results)
    }

    /// Refuses a node that is more the business of another operator, which has a better reason if it refuses too.
    pub fn decline(&self, reason: impl Into<String>) -> Unfit {
        self.declined.set(true);
        Unfit::new(reason)
    }

    /// Whether the rule has declined.
    pub fn is_declined(&self) -> bool {
        self.declined.get()
    }

    /// How many operands there are.
    pub fn len(&self) -> usize {
        self.args.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.args.is_empty()
    }

    /// An operand that the net computes.
    ///
    /// # Errors
    /// When it is left out or known.
    pub fn live(&self, at: usize) -> Result<Live, Unfit> {
        match self.args.get(at) {
            Some(Arg::Live(live)) => Ok(live.clone()),
            Some(Arg::Known(_)) => Err(self.decline(format!("operand {at} is a constant, and a layer takes a value"))),
            Some(Arg::Absent) | None => Err(Unfit::new(format!("operand {at} is missing"))),
        }
    }

    /// All operands, which the net computes.
    ///
    /// # Errors
    /// When one is left out or known.
    pub fn lives(&self) -> Result<Vec<Live>, Unfit> {
        (0..self.args.len()).map(|at| self.live(at)).collect()
    }

    /// A known operand; `None` when it is left out.
    ///
    /// # Errors
    /// When the net computes it.
    pub fn known(&self, at: usize, what: &str) -> Result<Option<&'a Constant>, Unfit> {
        match self.args.get(at) {
            Some(Arg::Known(constant)) => Ok(Some(constant)),
            Some(Arg::Absent) | None => Ok(None),
            Some(Arg::Live(_)) => Err(Unfit::new(format!("its {what} is computed by the net, and no constant"))),
        }
    }

    /// A known operand that must be there.
    ///
    /// # Errors
    /// When it is left out or computed.
    pub fn weight(&self, at: usize, what: &str) -> Result<&'a Constant, Unfit> {
        self.known(at, what)?.ok_or_else(|| Unfit::new(format!("its {what} is missing")))
    }

    /// The operand and the constant of a node with two operands, and whether the constant comes first.
    ///
    /// # Errors
    /// When the operands are anything else.
    pub fn live_and_known(&self) -> Result<(Live, &'a Constant, bool), Unfit> {
        match self.args {
            [Arg::Live(live), Arg::Known(constant)] => Ok((live.clone(), constant, false)),
            [Arg::Known(constant), Arg::Live(live)] => Ok((live.clone(), constant, true)),
            _ => Err(self.decline("its operands are not a value and a constant")),
        }
    }

    /// Emits a layer; gives its results under their own axes.
    ///
    /// # Errors
    /// When the operands do not fit it, or a tensor has another shape than it wants.
    pub fn emit(&mut self, op: impl Into<Op>, operands: &[&Live], params: Vec<Param>) -> Result<Vec<Live>, Unfit> {
        let op = op.into();
        let inputs: Vec<Shape> = operands.iter().map(|live| live.shape.clone()).collect();
        let shapes = inferred(&op, &inputs)?;
        for param in &params {
            let wanted = op.params(&inputs).into_iter().find(|spec| spec.leaf == param.leaf);
            if wanted.as_ref().is_none_or(|spec| spec.shape != param.value.dims()) {
                let wanted = wanted.map_or("none".to_owned(), |spec| format!("{:?}", spec.shape));
                let found = param.value.dims();
                return Err(Unfit::new(format!("its {} has the sizes {found:?} instead of {wanted}", param.leaf)));
            }
        }
        let batch = operands.first().and_then(|live| live.axes.batch());
        let number = self.emitted.len();
        let result = |(output, shape): (usize, &Shape)| Live {
            source: Source::Emitted(number, output as u32),
            shape: shape.clone(),
            axes: Axes::plain(batch, shape),
        };
        let results = shapes.iter().enumerate().map(result).collect();
        let operands = operands.iter().map(|live| live.source).collect();
        self.emitted.push(Emission { op, operands, params, shapes });
        Ok(results)
    }

    /// Whether a layer takes these values as they are.
    pub fn fits(&self, op: impl Into<Op>, operands: &[Live]) -> bool {
        let inputs: Vec<Shape> = operands.iter().map(|live| live.shape.clone()).collect();
        inferred(&op.into(), &inputs).is_ok()
    }

    /// Emits a layer with one result.
    ///
    /// # Errors
    /// As [`emit`](Self::emit).
    pub fn emit_one(&mut self, op: impl Into<Op>, operands: &[&Live], params: Vec<Param>) -> Result<Live, Unfit> {
        let results = self.emit(op, operands, params)?;
        results.into_iter().next().ok_or_else(|| Unfit::new("it has no result"))
    }

    /// Says that this is the node's next result.
    pub fn result(&mut self, live: Live) {
        self.results.push(live);
    }

    /// Emits a layer whose result has the axes of its operand, and makes it the node's result.
    ///
    /// # Errors
    /// As [`emit`](Self::emit).
    pub fn pointwise(&mut self, op: impl Into<Op>, operand: &Live, params: Vec<Param>) -> Result<(), Unfit> {
        let made = self.emit_one(op, &[operand], params)?;
        self.result(Live { axes: operand.axes.clone(), ..made });
        Ok(())
    }

    /// Makes the result of a layer on [`map`](Self::map) the node's result, with as many axes as the operand had.
    pub fn map_result(&mut self, made: Live, rank: usize) {
        let mut axes = made.axes.clone();
        if rank == 3 {
            axes.0.remove(2);
        }
        self.result(Live { axes, ..made });
    }

    /// An operand as a feature map with the axes N, C, H, W; without H where it has three axes. Gives the rank too.
    ///
    /// # Errors
    /// When it is no such thing.
    pub fn map(&mut self, at: usize) -> Result<(Live, usize), Unfit> {
        let live = self.live(at)?;
        self.as_map(&live)
    }

    /// A value as a feature map; see [`map`](Self::map).
    ///
    /// # Errors
    /// When it is no such thing.
    pub fn as_map(&mut self, live: &Live) -> Result<(Live, usize), Unfit> {
        let rank = live.axes.rank();
        if rank > 4 {
            return Err(Unfit::volume());
        }
        let mut axes = live.axes.clone();
        if rank == 3 {
            axes.0.insert(2, Vec::new());
        }
        let map = self.settled(&Live { axes, ..live.clone() })?;
        if map.shape.rank() == 3 { Ok((map, rank)) } else { Err(Unfit::new("its operand is no feature map")) }
    }

    /// A value whose own axes are those of the tensor in their order: emits what that takes, mostly nothing.
    ///
    /// # Errors
    /// When no layer brings the numbers into this order.
    pub fn settled(&mut self, live: &Live) -> Result<Live, Unfit> {
        let live = self.in_order(live)?;
        let dims = live.axes.dims()?;
        let own = match (live.axes.batch(), dims.as_slice()) {
            (None, own) => own,
            (Some(batch), [first, own @ ..]) if first == batch => own,
            (Some(_), _) => return Err(Unfit::new("the first axis of its operand is not the batch alone")),
        };
        let shape = match own {
            [_] | [_, _, _] => Shape(own.to_vec()),
            [c, w] => {
                let flat = Shape(vec![c.clone(), Dim::ONE, w.clone()]);
                let mut map = self.under(&live, flat)?;
                map.axes.0.remove(map.axes.rank() - 2);
                return Ok(map);
            }
            _ => {
                return Err(Unfit::new(format!(
                    "its operand has {} axes, and a value is [n] or [c, h, w]",
                    dims.len()
                )));
            }
        };
        self.under(&live, shape)
    }

    /// The same numbers in the same order as a value of that shape.
    fn under(&mut self, live: &Live, shape: Shape) -> Result<Live, Unfit> {
        if live.shape == shape {
            return Ok(Live { axes: Axes::plain(live.axes.batch(), &shape), ..live.clone() });
        }
        if shape.rank() == 1 {
            return self.emit_one(Flatten, &[live], Vec::new());
        }
        let to = shape.0.iter().cloned().map(Some).collect();
        self.emit_one(Reshape { to }, &[live], Vec::new())
    }

    /// The tensor on a value that has its elements in the tensor's order.
    fn in_order(&mut self, live: &Live) -> Result<Live, Unfit> {
        if live.axes.in_order() {
            return Ok(live.clone());
        }
        if let Some((op, axes)) = ChannelShuffle::of_axes(&live.axes, &live.shape) {
            let made = self.emit_one(op, &[live], Vec::new())?;
            return Ok(Live { axes, ..made });
        }
        if let Some((op, axes)) = PixelShuffle::of_axes(&live.axes, &live.shape) {
            let made = self.emit_one(op, &[live], Vec::new())?;
            return Ok(Live { axes, ..made });
        }
        let Some(Reordering { cut, permute, axes }) = Permute::of_axes(&live.axes, &live.shape) else {
            return Err(Unfit::new("its operand is transposed in a way that no layer expresses"));
        };
        let map = self.under(live, cut)?;
        let made = self.emit_one(permute, &[&map], Vec::new())?;
        Ok(Live { axes, ..made })
    }

    /// A value on which each axis of the tensor is a whole one, whatever their order: as it is where that is so.
    ///
    /// # Errors
    /// When no layer brings it into such a form.
    pub fn whole(&mut self, live: &Live) -> Result<Live, Unfit> {
        if live.axes.whole(&live.shape) { Ok(live.clone()) } else { self.settled(live) }
    }

    /// An axis of the node, counted from the end where negative, as an axis of a tensor.
    ///
    /// # Errors
    /// When there is no such axis.
    pub fn axis_at(&self, axis: i64, rank: usize) -> Result<usize, Unfit> {
        let at = if axis < 0 { axis + rank as i64 } else { axis };
        let at = usize::try_from(at).ok().filter(|&at| at < rank);
        at.ok_or_else(|| Unfit::new(format!("`axis` = {axis} is none of the {rank} axes of its operand")))
    }

    /// The axis of a value that an axis of the tensor is, for layers that work along one.
    ///
    /// # Errors
    /// When it is the batch, or no whole axis.
    pub fn axis_of(&self, live: &Live, at: usize) -> Result<usize, Unfit> {
        if let Some(axis) = live.axes.axis(at, &live.shape) {
            return Ok(axis);
        }
        let atoms = &live.axes.0[at];
        if atoms.iter().any(|atom| atom.of == super::Of::Batch) {
            return Err(Unfit::new("it works across the batch, and a net computes each sample by itself"));
        }
        // An axis of size 1 is the one that no other axis of the tensor is.
        let unused = (0..live.shape.rank()).find(|&axis| live.axes.place(axis).is_none());
        unused.filter(|_| atoms.is_empty()).ok_or_else(|| Unfit::new("it works along a part of an axis"))
    }

    /// A constant as one number for each channel of a value, or for all; `None` where it is something else.
    pub fn per_channel(&self, constant: &Constant, live: &Live) -> Option<Vec<f32>> {
        if let Some(value) = constant.uniform().filter(|_| is_broadcast_to(constant, live)) {
            return Some(vec![value]);
        }
        let values = constant.along(live.axes.rank(), live.axes.place(0)?)?;
        (Some(values.len() as u64) == live.shape.0[0].as_u64()).then_some(values)
    }

    /// Values of equal sizes under equal axes, for layers that take one with another. Where an axis has one position
    /// and that of another value more, it is spread over them.
    ///
    /// # Errors
    /// When sizes differ otherwise, or axes are transposed in ways that no layer expresses.
    pub fn alike(&mut self, lives: Vec<Live>) -> Result<Vec<Live>, Unfit> {
        let lives = self.with_equal_axes(lives)?;
        let differ = || Unfit::new("its operands have different sizes");
        let mut target = lives[0].shape.clone();
        for live in &lives {
            if live.shape.rank() != target.rank() || live.axes.batch() != lives[0].axes.batch() {
                return Err(differ());
            }
            for (size, own) in target.0.iter_mut().zip(&live.shape.0) {
                match (size.equals(own) == Some(true), *size == Dim::ONE, *own == Dim::ONE) {
                    (true, _, _) | (false, false, true) => {}
                    (false, true, _) => *size = own.clone(),
                    (false, false, false) => return Err(differ()),
                }
            }
        }
        // An axis of the tensor is where a value has more than one position on it.
        let at = |at: usize| lives.iter().map(|live| &live.axes.0[at]).find(|atoms| !atoms.is_empty());
        let axes = Axes((0..lives[0].axes.rank()).map(|axis| at(axis).cloned().unwrap_or_default()).collect());
        let spread = |live: &Live| Ok(Live { axes: axes.clone(), ..self.spread(live, &target)? });
        lives.iter().map(spread).collect()
    }

    /// A value whose axes of one position have as many as another shape has: copies of height and width, and channels
    /// as the products with ones.
    ///
    /// # Errors
    /// When the number of channels is not known.
    pub fn spread(&mut self, live: &Live, to: &Shape) -> Result<Live, Unfit> {
        let mut made = live.clone();
        if let ([_, h, w], Some((_, own_h, own_w))) = (to.0.as_slice(), made.shape.chw())
            && (own_h.equals(h) != Some(true) || own_w.equals(w) != Some(true))
        {
            let target = Target::Size([h.clone(), w.clone()]);
            made = self.emit_one(Upsample { target, mode: Mode::Nearest }, &[&made], Vec::new())?;
        }
        if made.shape.0[0].equals(&to.0[0]) != Some(true) {
            let unknown = || Unfit::new("the number of channels is not known");
            let out_c = to.0[0].as_u64().filter(|&c| c <= MAX_SIZES as u64).ok_or_else(unknown)?;
            let dims = if to.rank() == 3 { vec![out_c, 1, 1, 1] } else { vec![out_c, 1] };
            let ones = Param::new("weight", Constant::new(Data::Fill(dims, 1.0)));
            made = if to.rank() == 3 {
                let windows = Windows::single([1, 1]);
                self.emit_one(Conv { out_c, windows, groups: 1, bias: false }, &[&made], vec![ones])?
            } else {
                self.emit_one(Linear { features: out_c, bias: false }, &[&made], vec![ones])?
            };
        }
        Ok(made)
    }

    /// Values whose axes lie alike, whatever their sizes.
    ///
    /// # Errors
    /// When they have different numbers of axes, or are transposed in ways that no layer expresses.
    pub fn with_equal_axes(&mut self, lives: Vec<Live>) -> Result<Vec<Live>, Unfit> {
        if lives.is_empty() {
            return Err(Unfit::new("it has no operands"));
        }
        let rank = lives[0].axes.rank();
        if lives.iter().any(|live| live.axes.rank() != rank) {
            return Err(Unfit::new("its operands have different numbers of axes"));
        }
        let equal = lives.iter().all(|live| live.axes == lives[0].axes && live.shape == lives[0].shape);
        if equal {
            return Ok(lives);
        }
        let lives = lives.iter().map(|live| self.whole(live)).collect::<Result<Vec<_>, _>>()?;
        for at in 0..rank {
            let mut axes = lives.iter().flat_map(|live| live.axes.0[at].first()).map(|atom| atom.of);
            let first = axes.next();
            if axes.any(|of| Some(of) != first) {
                return lives.iter().map(|live| self.settled(live)).collect();
            }
        }
        if lives.iter().any(|live| live.shape.rank() != lives[0].shape.rank()) {
            return lives.iter().map(|live| self.settled(live)).collect();
        }
        Ok(lives)
    }

    /// A tensor with two axes as a vector. Where its elements are in another order than the vector's, gives for each
    /// of the tensor's its place in the vector.
    ///
    /// # Errors
    /// When it has other axes.
    pub fn vector(&mut self, live: &Live) -> Result<(Live, Option<Vec<usize>>), Unfit> {
        if live.axes.rank() != 2 {
            return Err(Unfit::new(format!("its operand has {} axes instead of two", live.axes.rank())));
        }
        if live.axes.in_order() {
            let settled = self.settled(live)?;
            return if settled.shape.rank() == 1 {
                Ok((settled, None))
            } else {
                Err(Unfit::new("its operand is no vector"))
            };
        }
        let [batch, columns] = live.axes.0.as_slice() else { return Err(Unfit::new("its operand is no vector")) };
        if batch.iter().any(|atom| atom.of != super::Of::Batch)
            || columns.iter().any(|atom| atom.of == super::Of::Batch)
        {
            return Err(Unfit::new("the first axis of its operand is not the batch alone"));
        }
        let order =
            places(columns, &live.shape).ok_or_else(|| Unfit::new("its operand depends on the input's size"))?;
        let flat = self.emit_one(Flatten, &[live], Vec::new())?;
        Ok((flat, Some(order)))
    }
}

/// The shapes of a layer's results, where it takes so many operands and its arguments are numbers that can be written.
fn inferred(op: &Op, inputs: &[Shape]) -> Result<Vec<Shape>, Unfit> {
    let (layer, args) = op.describe();
    if let Some((name, _)) = args.iter().find(|(_, value)| !is_finite(value)) {
        return Err(Unfit::new(format!("`{name}` of `{layer}` would not be finite")));
    }
    let wanted = crate::op::signatures().find(|signature| signature.layer == layer).map(|signature| signature.operands);
    let fits = match wanted {
        Some(Operands::Above) => inputs.len() == 1,
        Some(Operands::Group) => 2 <= inputs.len(),
        Some(Operands::Listed(count)) => inputs.len() == count,
        None => true,
    };
    if fits { Ok(op.infer(inputs)?) } else { Err(Unfit::new(format!("it has {} operands", inputs.len()))) }
}

fn is_finite(value: &Value) -> bool {
    match value {
        Value::Float(number) => number.is_finite(),
        Value::List(values) => values.iter().all(is_finite),
        Value::Int(_) | Value::Bool(_) | Value::Str(_) | Value::Word(_) | Value::Range(..) | Value::Shape(_) => true,
    }
}

/// Whether a constant has, for each of its axes, one number or as many as the tensor.
fn is_broadcast_to(constant: &Constant, live: &Live) -> bool {
    let (own, Ok(dims)) = (constant.dims(), live.axes.dims()) else { return false };
    let Some(surplus) = dims.len().checked_sub(own.len()) else { return false };
    own.iter().zip(&dims[surplus..]).all(|(&own, dim)| own == 1 || *dim == Dim::from(own))
}

/// For each element of an axis made of atoms, its place in the value's own order.
fn places(atoms: &[super::Atom], shape: &Shape) -> Option<Vec<usize>> {
    let sizes = shape.as_known()?;
    let mut places = vec![0usize];
    for atom in atoms {
        let super::Of::Axis(axis) = atom.of else { return None };
        let inner: usize = sizes[axis + 1..].iter().product();
        let step = inner * usize::try_from(atom.step).ok()?;
        let size = atom.size.as_usize()?;
        places = places.iter().flat_map(|&place| (0..size).map(move |at| place + at * step)).collect();
    }
    (places.len() == sizes.iter().product::<usize>()).then_some(places)
}
