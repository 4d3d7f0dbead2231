//! From the nodes of a model to the layers of a net.
//!
//! Nodes are gone through in the order of the file. What is known is computed (`fold`), what only changes axes is
//! followed (`views`), and the rest is given to the operators that express it ([`Op::importers`]). A node that fails makes
//! its results failed, and what takes these stays quiet: the list of what is not expressed holds causes only.

mod composites;
mod ends;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

use crate::ir::{self, Net, NodeId, ValueId};
use crate::onnx::error::{OnnxError, UnfitNode, show};
use crate::onnx::fold::fold;
use crate::onnx::proto::{Attribute, Function, Graph, Message, Model, Node, Size, tensor_name};
use crate::onnx::tensor::{External, decode};
use crate::onnx::views::view;
use crate::op::Op;
use crate::op::onnx::{Arg, Attr, Attributes, Constant, Import, Live, Param, Source, Unfit};
use crate::shape::Shapes;

/// The first operator set that is read: from 7 on operators broadcast as they do today, and a node of set 6 that asks for
/// something else has an attribute that is not understood.
const FIRST_OPSET: i64 = 6;
/// Nodes that a model may come to, with those of its functions as often as they are called.
const MAX_NODES: usize = 1_000_000;
/// Functions and branches inside one another.
const MAX_DEPTH: usize = 64;

/// A model as a graph of layers, nothing yet tidied or named.
#[derive(Debug, Default)]
pub struct Lowered {
    /// The net. Its paths are `n0`, `n1`, …
    pub net: Net,
    /// The shape of every value.
    pub shapes: Shapes,
    /// The tensors of each node.
    pub params: HashMap<NodeId, Vec<Param>>,
    /// The name of the model's node that each node comes from.
    pub origins: HashMap<NodeId, Rc<str>>,
    /// Inputs and outputs whose axes the model has in another order.
    pub turned: Vec<Turned>,
}

/// An input or output whose axes lie differently in the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turned {
    /// Its name in the net.
    pub name: String,
    /// For each axis of the model's tensor behind the batch, the axis of the net's value: `[1, 2, 0]` for channels last.
    /// Axes of size 1 that the model's tensor lacks come last.
    pub order: Vec<usize>,
}

/// How a model is read.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Inputs that are fixed, so that they are weights or sizes.
    pub fixed: BTreeMap<String, Constant>,
    /// What free sizes are multiples of.
    pub multiple: u64,
    /// Whether the first axis of tensors is an axis as any, and the net computes one sample.
    pub unbatched: bool,
    /// What is known to divide free sizes of inputs.
    pub divisors: BTreeMap<String, u64>,
}

/// What a name stands for.
#[derive(Clone, Debug)]
enum Value {
    Known(Constant),
    Live(Live),
    /// A tensor of the file, not yet looked at.
    Stored(usize),
    /// An input of integers: no harm unless something takes it.
    Integers,
    /// What a failed node should have made.
    Failed,
}

/// Names in a graph; branches see those around them.
type Names<'a> = HashMap<&'a str, Value>;

struct Lowering<'a> {
    tensors: Vec<Message<'a>>,
    external: External,
    functions: HashMap<(&'a str, &'a str), Function<'a>>,
    opset: i64,
    reading: &'a Reading,
    values: Vec<ValueId>,
    made: Lowered,
    unfit: Vec<UnfitNode>,
    nodes: usize,
    /// Names that some node takes, or that an output has.
    used: HashSet<&'a str>,
}

/// Reads the graph of a model.
///
/// # Errors
/// When the file is damaged or contradicts itself, or has nodes that no layers express: all of these are listed.
pub fn lower<'a>(model: &Model<'a>, external: External, reading: &'a Reading) -> Result<Lowered, OnnxError> {
    let Some(graph) = model.graph else {
        return Err(OnnxError::wrong("the file has no graph", "it is no ONNX model; fetch or export it again"));
    };
    let graph = Graph::read(graph)?;
    let mut functions = HashMap::new();
    for message in &model.functions {
        let function = Function::read(message)?;
        functions.insert(function.key, function);
    }
    let mut lowering = Lowering {
        tensors: Vec::new(),
        external,
        functions,
        opset: opset_of(&model.opsets)?,
        reading,
        values: Vec::new(),
        made: Lowered::default(),
        unfit: Vec::new(),
        nodes: 0,
        used: graph.outputs.iter().map(|output| output.name).collect(),
    };
    lowering.made.net.name = graph.name.to_owned();
    let mut names = Names::new();
    lowering.tensors(&graph, &mut names)?;
    lowering.inputs(&graph, &mut names)?;
    lowering.body(&graph.nodes, &mut names, &HashMap::new(), 0)?;
    lowering.outputs(&graph, &names)?;
    if lowering.unfit.is_empty() { Ok(lowering.made) } else { Err(OnnxError::Unfit(lowering.unfit)) }
}

/// Whether an input has a size that the model leaves open, other than its batch.
///
/// # Errors
/// When the file is damaged.
pub fn has_free_sizes(model: &Model) -> Result<bool, OnnxError> {
    let graph = Graph::read(model.graph.unwrap_or_default())?;
    let free = |size: &Size| matches!(size, Size::Named(_));
    Ok(graph.inputs.iter().any(|input| input.dims.iter().flatten().skip(1).any(free)))
}

fn opset_of(opsets: &[(&str, i64)]) -> Result<i64, OnnxError> {
    let own = opsets.iter().find(|(domain, _)| matches!(*domain, "" | "ai.onnx")).map(|&(_, version)| version);
    match own {
        Some(version) if version < FIRST_OPSET => Err(OnnxError::wrong(
            format!("the model uses operator set {version}, and sets from {FIRST_OPSET} on are read"),
            "convert it with onnx.version_converter.convert_version(model, 13)",
        )),
        Some(version) => Ok(version),
        None => Err(OnnxError::wrong("the model does not say which operator set it uses", "export it again")),
    }
}

impl<'a> Lowering<'a> {
    fn tensors(&mut self, graph: &Graph<'a>, names: &mut Names<'a>) -> Result<(), OnnxError> {
        if graph.sparse {
            return Err(OnnxError::wrong("the model has sparse tensors", "export it with dense weights"));
        }
        for message in &graph.initializers {
            names.insert(tensor_name(message)?, Value::Stored(self.tensors.len()));
            self.tensors.push(message);
        }
        Ok(())
    }

    fn report(&mut self, name: &str, op_type: &str, reason: &str) {
        self.unfit.push(UnfitNode { name: name.to_owned(), op_type: op_type.to_owned(), reason: reason.to_owned() });
    }

    /// The nodes of a graph, a function or a branch; `bound` are the attributes of the function's call.
    fn body(
        &mut self,
        nodes: &[Message<'a>],
        names: &mut Names<'a>,
        bound: &HashMap<&'a str, Message<'a>>,
        depth: usize,
    ) -> Result<(), OnnxError> {
        if MAX_DEPTH < depth {
            let what = format!("functions or branches are nested deeper than {MAX_DEPTH}");
            return Err(OnnxError::wrong(what, "they may call each other in a circle; inline them in the model"));
        }
        let composites = composites::composites(nodes, &self.used, &|name| {
            matches!(names.get(name), Some(Value::Known(_) | Value::Stored(_)))
        })?;
        for message in nodes {
            self.used.extend(Node::read(message)?.inputs);
        }
        for (at, message) in nodes.iter().enumerate() {
            self.nodes += 1;
            if MAX_NODES < self.nodes {
                let what = format!("the model comes to more than {MAX_NODES} nodes");
                return Err(OnnxError::wrong(what, "its functions call each other too often; simplify the model"));
            }
            let mut node = Node::read(message)?;
            if composites.parts.contains(&at) {
                continue;
            }
            let model_type = node.op_type;
            if let Some((op_type, inputs)) = composites.heads.get(&at) {
                (node.op_type, node.inputs) = (op_type, inputs.clone());
            }
            self.node(&node, model_type, names, bound, depth)?;
        }
        Ok(())
    }

    /// A node, which the model has as one of `model_type`.
    fn node(
        &mut self,
        node: &Node<'a>,
        model_type: &str,
        names: &mut Names<'a>,
        bound: &HashMap<&'a str, Message<'a>>,
        depth: usize,
    ) -> Result<(), OnnxError> {
        for name in node.outputs.iter().filter(|name| !name.is_empty()) {
            if names.contains_key(name) {
                let what = format!("two nodes make `{}`, the second is `{}`", show(name), show(node.title()));
                return Err(OnnxError::wrong(what, "each name may be made once; export the model again"));
            }
        }
        let args = self.args(node, names)?;
        let failed = args.iter().any(Option::is_none);
        let args: Vec<Arg> = args.into_iter().flatten().collect();
        let results = if failed {
            Vec::new()
        } else if let Some(function) = self.functions.get(&(node.domain, node.op_type)).cloned() {
            self.call(node, &function, args, bound, depth)?
        } else if node.op_type == "If" && node.domain.is_empty() {
            self.branch(node, &args, names, bound, depth)?
        } else {
            match self.plain(node, &args, bound)? {
                Ok(results) => results,
                Err(Unfit(reason)) => {
                    self.report(node.title(), model_type, &reason);
                    Vec::new()
                }
            }
        };
        let mut results = results.into_iter();
        for name in &node.outputs {
            let value = results.next().unwrap_or(Value::Failed);
            if !name.is_empty() {
                names.insert(name, value);
            }
        }
        Ok(())
    }

    /// The operands; `None` for one whose making failed.
    fn args(&mut self, node: &Node<'a>, names: &mut Names<'a>) -> Result<Vec<Option<Arg>>, OnnxError> {
        let mut args = Vec::new();
        for name in &node.inputs {
            args.push(match names.get(name) {
                _ if name.is_empty() => Some(Arg::Absent),
                None => {
                    let what =
                        format!("node `{}` takes `{}`, which nothing above it makes", show(node.title()), show(name));
                    return Err(OnnxError::wrong(
                        what,
                        "the nodes are in a circle or out of order; export the model again",
                    ));
                }
                Some(Value::Failed) => None,
                Some(Value::Integers) => {
                    self.report(name, "Input", "it holds no floats; fix it with --fix");
                    names.insert(name, Value::Failed);
                    None
                }
                Some(Value::Known(constant)) => Some(Arg::Known(constant.clone())),
                Some(Value::Live(live)) => Some(Arg::Live(live.clone())),
                Some(&Value::Stored(at)) => {
                    let value = self.stored(at, name)?;
                    let arg = match &value {
                        Value::Known(constant) => Some(Arg::Known(constant.clone())),
                        _ => None,
                    };
                    names.insert(name, value);
                    arg
                }
            });
        }
        Ok(args)
    }

    fn stored(&mut self, at: usize, name: &str) -> Result<Value, OnnxError> {
        let tensor = crate::onnx::proto::Tensor::read(self.tensors[at])?;
        Ok(match decode(&tensor, &mut self.external)? {
            Some(constant) => Value::Known(constant),
            None => {
                self.report(name, "Initializer", "its elements are of a type that no net computes with");
                Value::Failed
            }
        })
    }

    fn attributes(
        &mut self,
        messages: &[Message<'a>],
        bound: &HashMap<&'a str, Message<'a>>,
    ) -> Result<Attributes, OnnxError> {
        let mut values = BTreeMap::new();
        for message in messages {
            let mut attribute = Attribute::read(message)?;
            let name = attribute.name;
            if !attribute.reference.is_empty() {
                let Some(given) = bound.get(attribute.reference) else { continue };
                attribute = Attribute::read(given)?;
            }
            values.insert(name.to_owned(), self.attribute(&attribute)?);
        }
        Ok(Attributes::new(values))
    }

    fn attribute(&mut self, attribute: &Attribute) -> Result<Attr, OnnxError> {
        // Old files do not say which of the fields is meant.
        Ok(match attribute.kind {
            1 => Attr::Float(attribute.float.unwrap_or(0.0)),
            2 => Attr::Int(attribute.int.unwrap_or(0)),
            3 => Attr::Text(String::from_utf8_lossy(attribute.text.unwrap_or_default()).into_owned()),
            6 => Attr::Floats(attribute.floats.clone()),
            7 => Attr::Ints(attribute.ints.clone()),
            _ => match attribute {
                Attribute { tensor: Some(tensor), .. } => {
                    let tensor = crate::onnx::proto::Tensor::read(tensor)?;
                    decode(&tensor, &mut self.external)?.map_or(Attr::Other, Attr::Tensor)
                }
                Attribute { float: Some(value), .. } => Attr::Float(*value),
                Attribute { int: Some(value), .. } => Attr::Int(*value),
                Attribute { text: Some(text), .. } => Attr::Text(String::from_utf8_lossy(text).into_owned()),
                Attribute { floats, .. } if !floats.is_empty() => Attr::Floats(floats.clone()),
                Attribute { ints, .. } if !ints.is_empty() => Attr::Ints(ints.clone()),
                _ => Attr::Other,
            },
        })
    }

    /// A call of a function of the model: its nodes with its operands in place of its inputs.
    fn call(
        &mut self,
        node: &Node<'a>,
        function: &Function<'a>,
        args: Vec<Arg>,
        bound: &HashMap<&'a str, Message<'a>>,
        depth: usize,
    ) -> Result<Vec<Value>, OnnxError> {
        let mut inner: HashMap<&str, Message> = HashMap::new();
        for message in &function.defaults {
            inner.insert(Attribute::read(message)?.name, message);
        }
        for message in &node.attributes {
            let attribute = Attribute::read(message)?;
            let given = if attribute.reference.is_empty() { Some(message) } else { bound.get(attribute.reference) };
            given.and_then(|given| inner.insert(attribute.name, given));
        }
        let mut names = Names::new();
        for (name, arg) in function.inputs.iter().zip(args) {
            match arg {
                Arg::Known(constant) => names.insert(name, Value::Known(constant)),
                Arg::Live(live) => names.insert(name, Value::Live(live)),
                Arg::Absent => None,
            };
        }
        let outer = self.opset;
        if !function.opsets.is_empty() {
            self.opset = opset_of(&function.opsets).unwrap_or(outer);
        }
        self.used.extend(&function.outputs);
        let done = self.body(&function.nodes, &mut names, &inner, depth + 1);
        self.opset = outer;
        done?;
        Ok(function.outputs.iter().map(|name| names.remove(name).unwrap_or(Value::Failed)).collect())
    }

    /// An If whose condition is known: the nodes of one branch.
    fn branch(
        &mut self,
        node: &Node<'a>,
        args: &[Arg],
        names: &Names<'a>,
        bound: &HashMap<&'a str, Message<'a>>,
        depth: usize,
    ) -> Result<Vec<Value>, OnnxError> {
        let condition = match args {
            [Arg::Known(condition)] => condition.scalar(),
            _ => None,
        };
        let Some(condition) = condition else {
            self.report(node.title(), node.op_type, "its condition is computed by the net");
            return Ok(Vec::new());
        };
        let wanted = if condition == 0.0 { "else_branch" } else { "then_branch" };
        for message in &node.attributes {
            let attribute = Attribute::read(message)?;
            if let (true, Some(graph)) = (attribute.name == wanted, attribute.graph) {
                let graph = Graph::read(graph)?;
                // The names around a branch are copied, which counts as work.
                self.nodes += names.len() / 16;
                let mut inner = names.clone();
                self.tensors(&graph, &mut inner)?;
                self.used.extend(graph.outputs.iter().map(|output| output.name));
                self.body(&graph.nodes, &mut inner, bound, depth + 1)?;
                return Ok(graph.outputs.iter().map(|info| inner.remove(info.name).unwrap_or(Value::Failed)).collect());
            }
        }
        Err(OnnxError::wrong(format!("the If `{}` has no {wanted}", show(node.title())), "export the model again"))
    }

    /// A node of ONNX's own operators.
    fn plain(
        &mut self,
        node: &Node<'a>,
        args: &[Arg],
        bound: &HashMap<&'a str, Message<'a>>,
    ) -> Result<Result<Vec<Value>, Unfit>, OnnxError> {
        if !node.domain.is_empty() {
            return Ok(Err(Unfit::new(format!("its domain `{}` is not ONNX's own", show(node.domain)))));
        }
        let mut attrs = self.attributes(&node.attributes, bound)?;
        let placed;
        let args = if self.opset < 7 && matches!(node.op_type, "Add" | "Sub" | "Mul" | "Div" | "Pow") {
            placed = placed_by_axis(&attrs, args);
            attrs = attrs.without(&["broadcast", "axis"]);
            placed.as_slice()
        } else {
            args
        };
        // Results behind the last that is used need not be made.
        let used = node.outputs.iter().rposition(|name| self.used.contains(name)).map_or(1, |last| last + 1);
        let known: Option<Vec<Option<&Constant>>> = args
            .iter()
            .map(|arg| match arg {
                Arg::Absent => Some(None),
                Arg::Known(constant) => Some(Some(constant)),
                Arg::Live(_) => None,
            })
            .collect();
        let folded = known.and_then(|known| fold(node.op_type, &attrs, &known, node.outputs.len()));
        if let Some(folded) = folded {
            return Ok(folded.map(|constants| self.named(node, constants)));
        }
        if let Some(seen) = view(node.op_type, self.opset, &attrs, args) {
            return Ok(seen.map(|arg| match arg {
                Arg::Live(live) if node.op_type == "Flatten" => vec![self.flat(node, live)],
                Arg::Live(live) => vec![Value::Live(live)],
                Arg::Known(constant) => self.named(node, vec![constant]),
                Arg::Absent => Vec::new(),
            }));
        }
        Ok(self.layers(node, &attrs, args, used))
    }

    /// A flattened value as a layer's result, so that it stands where the model has it; as a view of numbers that lie in
    /// another order, which the layer behind may want as they are.
    fn flat(&mut self, node: &Node, live: Live) -> Value {
        let (attrs, args) = (Attributes::default(), [Arg::Live(live.clone())]);
        let mut import = Import::new(node.op_type, self.opset, &attrs, &args, 1);
        if live.axes.in_order()
            && let Ok(settled) = import.settled(&live)
        {
            import.result(settled);
            return self.append(node, import).pop().unwrap_or(Value::Live(live));
        }
        Value::Live(live)
    }

    /// Constants under the names of a node's results, where they do not stem from tensors with names.
    fn named(&self, node: &Node, constants: Vec<Constant>) -> Vec<Value> {
        let name = |(at, constant): (usize, Constant)| {
            let own = constant.name.is_empty().then(|| node.outputs.get(at).copied()).flatten();
            Value::Known(own.map_or(constant.clone(), |own| Constant { name: own.into(), ..constant }))
        };
        constants.into_iter().enumerate().map(name).collect()
    }

    /// The layers that an operator makes of a node; each that may express it is asked in turn.
    fn layers(&mut self, node: &Node, attrs: &Attributes, args: &[Arg], used: usize) -> Result<Vec<Value>, Unfit> {
        let importers = Op::importers(node.op_type);
        let (mut reason, mut declined) = (None, None);
        for from_onnx in &importers {
            attrs.reset();
            let mut import = Import::new(node.op_type, self.opset, attrs, args, used);
            match from_onnx(&mut import) {
                Ok(()) => match attrs.unseen().filter(|&name| name != "consumed_inputs") {
                    Some(name) => {
                        reason = Some(Unfit::new(format!("its attribute `{}` is not understood", show(name))))
                    }
                    None => return Ok(self.append(node, import)),
                },
                Err(unfit) if import.is_declined() => declined = Some(unfit),
                Err(unfit) => reason = Some(unfit),
            }
        }
        Err(reason.or(declined).unwrap_or_else(|| Unfit::new("the language has no such layer")))
    }

    fn append(&mut self, node: &Node, import: Import) -> Vec<Value> {
        let (emitted, results) = import.finish();
        let mut first = Vec::new();
        let last = emitted.len();
        // Layers that a node does not name itself, and operands that it repeats, count as work.
        self.nodes +=
            last.saturating_sub(1) + emitted.iter().map(|emission| emission.operands.len() / 4).sum::<usize>();
        for (number, emission) in emitted.into_iter().enumerate() {
            let operands: Vec<ValueId> = emission.operands.iter().map(|&source| self.value(source, &first)).collect();
            let path = format!("n{}", self.made.net.len());
            let others = (1..emission.shapes.len()).map(|at| format!("{path}_{at}")).collect();
            let id = self.made.net.append(ir::Node { op: emission.op, others, ..blank(path) }, &operands);
            self.made.shapes.insert(id, emission.shapes);
            // Of several layers the name is that of the one with tensors, or the last.
            if number + 1 == last || !emission.params.is_empty() {
                self.made.origins.insert(id, node.title().into());
            }
            if !emission.params.is_empty() {
                self.made.params.insert(id, emission.params);
            }
            first.push(id);
        }
        let live = |live: Live| {
            let value = self.value(live.source, &first);
            (value, live)
        };
        let results: Vec<(ValueId, Live)> = results.into_iter().map(live).collect();
        let number = |(value, live): (ValueId, Live)| {
            self.values.push(value);
            Value::Live(Live { source: Source::Net(self.values.len() - 1), ..live })
        };
        results.into_iter().map(number).collect()
    }

    fn value(&self, source: Source, emitted: &[NodeId]) -> ValueId {
        match source {
            Source::Net(at) => self.values[at],
            Source::Emitted(at, output) => ValueId { node: emitted[at], output },
        }
    }
}

/// The operands of arithmetic in operator set 6, where `axis` says on which axes of the first the axes of the second lie:
/// the second with axes of size 1 behind its own.
fn placed_by_axis(attrs: &Attributes, args: &[Arg]) -> Vec<Arg> {
    let place = || -> Option<Constant> {
        let [Arg::Live(first), Arg::Known(second)] = args else { return None };
        let Some(Attr::Int(axis)) = attrs.get("axis") else { return None };
        let mut dims = second.dims();
        let behind = first.axes.rank().checked_sub(usize::try_from(*axis).ok()?)?.checked_sub(dims.len())?;
        dims.extend(vec![1; behind]);
        second.reshaped(&dims)
    };
    match (args, place()) {
        ([first, _], Some(second)) => vec![first.clone(), Arg::Known(second)],
        _ => args.to_vec(),
    }
}

fn blank(path: String) -> ir::Node {
    let (others, origin) = (Vec::new(), ir::Origin::default());
    ir::Node { op: crate::op::identity::Identity.into(), path, others, labelled: false, origin }
}

impl Lowered {
    /// Checks a net whose layers have been changed about.
    pub fn infer(&mut self) -> Result<(), OnnxError> {
        let error = |(_, error)| {
            OnnxError::wrong(format!("the net does not fit together: {}", Unfit::from(error).0), "report this model")
        };
        self.shapes = crate::shape::infer(&self.net).map_err(error)?;
        Ok(())
    }
}
