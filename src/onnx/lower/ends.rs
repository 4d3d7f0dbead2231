//! What goes into a net and comes out of it: the inputs and outputs of a model, and how their axes lie.

use std::collections::BTreeSet;

use super::{Lowering, Names, Turned, Value, blank};
use crate::dim::Dim;
use crate::ir;
use crate::onnx::error::{OnnxError, show};
use crate::onnx::proto::{Attribute, Graph, Node, Size, ValueInfo};
use crate::onnx::tensor::is_float;
use crate::op::input::Input;
use crate::op::onnx::{Arg, Attributes, Axes, BATCH, Import, Live, Source, Target, Unfit};
use crate::tensor::Shape;

impl<'a> Lowering<'a> {
    pub(super) fn inputs(&mut self, graph: &Graph<'a>, names: &mut Names<'a>) -> Result<(), OnnxError> {
        for fixed in self.reading.fixed.keys() {
            if !graph.inputs.iter().any(|input| input.name == fixed) {
                let what = format!("`{}` is fixed, and the model has no input of that name", show(fixed));
                let names: Vec<String> = graph.inputs.iter().map(|input| show(input.name)).collect();
                return Err(OnnxError::wrong(what, format!("its inputs are {}", names.join(", "))));
            }
        }
        for input in &graph.inputs {
            if let Some(constant) = self.reading.fixed.get(input.name) {
                names.insert(input.name, Value::Known(constant.clone()));
            } else if !names.contains_key(input.name) {
                let value = self.input(input, graph)?;
                names.insert(input.name, value);
            }
        }
        Ok(())
    }

    fn input(&mut self, input: &ValueInfo<'a>, graph: &Graph<'a>) -> Result<Value, OnnxError> {
        let name = show(input.name);
        let wrong =
            |what: String| OnnxError::wrong(what, "fix the input's sizes in the model, or give its value with --fix");
        if input.element != 0 && !is_float(input.element) {
            return Ok(Value::Integers);
        }
        let Some(dims) = &input.dims else { return Err(wrong(format!("input `{name}` has no shape"))) };
        if dims.len() > 8 {
            return Err(wrong(format!("input `{name}` has {} axes", dims.len())));
        }
        let mut sizes = Vec::new();
        for (at, dim) in dims.iter().enumerate() {
            sizes.push(match *dim {
                Size::Known(size) if 0 < size && size <= i64::from(u32::MAX) => Dim::known(i128::from(size)),
                Size::Known(size) => return Err(wrong(format!("input `{name}` has the impossible size {size}"))),
                Size::Named(_) if at == 0 && !self.reading.unbatched => Dim::symbol(BATCH, 1),
                Size::Named(text) => {
                    let name = symbol(text, at, dims.len());
                    Dim::symbol(&name, self.reading.divisors.get(&name).copied().unwrap_or(self.reading.multiple))
                }
            });
        }
        let free: BTreeSet<String> = sizes.iter().flat_map(Dim::symbols).filter(|name| name != BATCH).collect();
        let batch = (!self.reading.unbatched && !sizes.is_empty()).then(|| sizes.remove(0));
        let own = sizes.clone();
        let (shape, axes) = input_shape(batch.as_ref(), sizes, has_channels_last(graph, input.name));
        if shape.0.iter().any(|size| size.is_symbolic() && !own.contains(size)) {
            return Err(wrong(format!("input `{name}` has more free sizes than a map's height and width")));
        }
        let path = format!("n{}", self.made.net.len());
        let node = ir::Node { op: Input { shape: shape.clone() }.into(), ..blank(path) };
        let id = self.made.net.append(node, &[]);
        self.made.net.inputs.push(id);
        if let multiple @ 2.. = self.reading.multiple {
            let conditions = free.into_iter().map(|name| (id, format!("{name} % {multiple} == 0")));
            self.made.net.conditions.extend(conditions);
        }
        self.made.shapes.insert(id, vec![shape.clone()]);
        self.made.origins.insert(id, input.name.into());
        self.values.push(id.into());
        let live = Live { source: Source::Net(self.values.len() - 1), shape, axes };
        self.made.turned.extend(turned(input.name, &live));
        Ok(Value::Live(live))
    }

    pub(super) fn outputs(&mut self, graph: &Graph<'a>, names: &Names<'a>) -> Result<(), OnnxError> {
        if graph.outputs.is_empty() {
            return Err(OnnxError::wrong("the graph has no outputs", "export the model again"));
        }
        for output in &graph.outputs {
            match names.get(output.name) {
                Some(Value::Live(live)) => self.output(output.name, &live.clone()),
                Some(Value::Failed) if !self.unfit.is_empty() => {}
                Some(Value::Failed) => self.report(output.name, "Output", "no layer makes it"),
                Some(Value::Known(_) | Value::Stored(_) | Value::Integers) => {
                    self.report(output.name, "Output", "it depends on no input");
                }
                None => {
                    let what = format!("nothing makes the output `{}`", show(output.name));
                    return Err(OnnxError::wrong(what, "export the model again"));
                }
            }
        }
        Ok(())
    }

    /// An output: its value under the axes that the model shows, as far as a net's value can have them.
    fn output(&mut self, name: &str, live: &Live) {
        let node = Node { name, op_type: "Output", ..Node::default() };
        let attrs = Attributes::default();
        let args = [Arg::Live(live.clone())];
        let mut import = Import::new("Output", self.opset, &attrs, &args, 1);
        let is_batched = live.axes.starts_with_batch();
        let settled = if is_batched && !live.axes.in_order() && live.axes.whole(&live.shape) {
            // Whole axes in another order are named.
            Ok(live.clone())
        } else {
            // Elements in the value's own order are the same under any sizes.
            import
                .settled(live)
                .or_else(|unfit| if is_batched && live.axes.in_order() { Ok(live.clone()) } else { Err(unfit) })
        };
        match settled {
            Ok(settled) => {
                import.result(settled);
                if let Some(Value::Live(live)) = self.append(&node, import).pop() {
                    let value = self.value(live.source, &[]);
                    self.made.turned.extend(turned(name, &live));
                    let output = ir::Output { name: name.to_owned(), value, train: None, span: Default::default() };
                    self.made.net.outputs.push(output);
                }
            }
            Err(Unfit(reason)) => self.report(name, "Output", &reason),
        }
    }
}

/// How the axes of the model's tensor lie on the value, where that is another order. Axes of size 1 are those that no
/// other is.
fn turned(name: &str, live: &Live) -> Option<Turned> {
    let first = usize::from(live.axes.batch().is_some());
    let own: Vec<Option<usize>> = (first..live.axes.rank()).map(|at| live.axes.axis(at, &live.shape)).collect();
    let mut rest = (0..live.shape.rank()).filter(|axis| !own.contains(&Some(*axis)));
    let mut order: Vec<usize> = own.iter().filter_map(|axis| axis.or_else(|| rest.next())).collect();
    order.extend(rest);
    (!live.axes.in_order()).then(|| Turned { name: name.to_owned(), order })
}

/// The symbol of a free size: its name in the model where that may stand in a text, else by its place.
fn symbol(text: &str, at: usize, rank: usize) -> String {
    let clean: String = text.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    let given = ["unk_", "p2oDynamicDimension", "DynamicDimension"].iter().any(|prefix| clean.starts_with(prefix));
    let is_name = clean.starts_with(|c: char| c.is_ascii_alphabetic()) && clean != BATCH && !given;
    match (rank - at, is_name && !crate::syntax::KEYWORDS.contains(&clean.as_str())) {
        (_, true) => clean,
        (1, false) => "W".to_owned(),
        (2, false) => "H".to_owned(),
        (_, false) => "C".to_owned(),
    }
}

/// The net's shape of an input, and how the model's axes lie on it.
fn input_shape(batch: Option<&Dim>, sizes: Vec<Dim>, channels_last: bool) -> (Shape, Axes) {
    match sizes.as_slice() {
        [] => (
            Shape(vec![Dim::ONE]),
            Axes(batch.map(|_| Axes::plain(batch, &Shape(vec![])).0[0].clone()).into_iter().collect()),
        ),
        [_] => {
            let shape = Shape(sizes);
            let axes = Axes::plain(batch, &shape);
            (shape, axes)
        }
        [c, w] => {
            let shape = Shape(vec![c.clone(), Dim::ONE, w.clone()]);
            let mut axes = Axes::plain(batch, &shape);
            axes.0.remove(axes.rank() - 2);
            (shape, axes)
        }
        [h, w, c] if channels_last => {
            let shape = Shape(vec![c.clone(), h.clone(), w.clone()]);
            let plain = Axes::plain(batch, &shape);
            let first = plain.rank() - 3;
            let order: Vec<usize> = (0..first).chain([first + 1, first + 2, first]).collect();
            (shape, Axes(order.into_iter().map(|axis| plain.0[axis].clone()).collect()))
        }
        [_, _, _] => {
            let shape = Shape(sizes);
            let axes = Axes::plain(batch, &shape);
            (shape, axes)
        }
        [c, h, rest @ ..] => {
            // More axes than a map has are parts of its width, for layers that look at single elements.
            let width = rest.iter().try_fold(Dim::ONE, |product, size| product.mul(size)).unwrap_or(Dim::ONE);
            let shape = Shape(vec![c.clone(), h.clone(), width]);
            let plain = Axes::plain(batch, &shape);
            let targets: Vec<Target> = batch.into_iter().chain(&sizes).cloned().map(Target::Size).collect();
            let axes = plain.reshaped(&targets).unwrap_or(plain);
            (shape, axes)
        }
    }
}

/// Whether an input is an image with its channels last: the first node that is no pointwise function of it brings them
/// to the front.
fn has_channels_last(graph: &Graph, input: &str) -> bool {
    const POINTWISE: &[&str] = &["Add", "Sub", "Mul", "Div", "Cast", "Identity", "Clip", "Relu"];
    let mut name = input;
    for message in &graph.nodes {
        let Ok(node) = Node::read(message) else { return false };
        if !node.inputs.contains(&name) {
            continue;
        }
        if node.op_type == "Transpose" {
            let perm = node
                .attributes
                .iter()
                .filter_map(|message| Attribute::read(message).ok())
                .find(|attr| attr.name == "perm");
            return perm.is_some_and(|perm| perm.ints == [0, 3, 1, 2]);
        }
        let (true, Some(output)) = (POINTWISE.contains(&node.op_type), node.outputs.first()) else { return false };
        name = output;
    }
    false
}
