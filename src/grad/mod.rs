//! The gradient as a pass: from a net to a net whose outputs are the losses and the gradients of its parameters.
//!
//! [`differentiate`] brings the net into the form of training (`form`), joins a loss to each of its outputs, and walks
//! back from them: each operator's own rule ([`Operator::gradient`](crate::op::Operator::gradient)) emits the nodes that
//! compute its gradients. What does not lead from a trained parameter to a loss gets none, so what is frozen costs
//! nothing. Nodes are made in an order in which they can be executed: the forward pass, then for each of its nodes from
//! the last to the first the gradients of its parameters and of its operands.

mod form;
pub mod parts;
mod recompute;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use crate::ir::{Net, Node, NodeId, Output, ValueId};
use crate::op::gradient::{Emitted, GradBuilder, Ref, Wrt};
use crate::op::loss::{Loss, LossKind};
use crate::op::{Op, input::Input};
use crate::opt::{self, Optimised, Source};
use crate::shape::Shapes;

use form::Form;
pub use form::{Mask, Norm};

/// What is trained, and for what.
#[derive(Clone, Copy)]
pub struct Objective<'a> {
    /// The loss of every output.
    pub loss: LossKind,
    /// Whether a parameter is trained, by its name.
    pub trained: &'a dyn Fn(&str) -> bool,
    /// Whether the values between the blocks of the net are computed again for the backward pass instead of being kept.
    pub recompute: bool,
}

/// An output of the net with its loss. All numbers are places in lists of inputs or outputs of the graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// The output's name.
    pub name: String,
    /// The weight of its loss.
    pub weight: f64,
    /// The output that gives the prediction.
    pub prediction: usize,
    /// The input that takes the target: of the prediction's sizes, for classes their probabilities.
    pub target: usize,
    /// The output that gives the loss of each sample.
    pub loss: usize,
}

/// The statistics of a batch that move the running ones of a batch norm.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// The batch norm's path.
    pub path: String,
    /// The share of the batch in the running statistics.
    pub momentum: f64,
    /// The outputs that give mean and variance (with the divisor `n`).
    pub outputs: [usize; 2],
    /// How many elements of a sample a channel has.
    pub positions: usize,
}

/// A net in the form of training.
#[derive(Clone, Debug)]
pub struct Training {
    /// The graph. Its inputs are the net's, then the masks, then the targets.
    pub graph: Optimised,
    /// How many inputs are the net's own.
    pub inputs: usize,
    /// The outputs with their losses.
    pub heads: Vec<Head>,
    /// Which of the heads exists outside training: its prediction is the net's.
    pub main: usize,
    /// The inputs that take what is dropped, with places in the list of inputs.
    pub masks: Vec<(Mask, usize)>,
    /// For each trained parameter the output that gives its gradient, in the order of the net's parameters.
    pub gradients: Vec<(String, usize)>,
    /// For each batch norm that is not frozen the statistics of the batch.
    pub statistics: Vec<Statistics>,
}

/// Why a net cannot be trained.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GradError {
    /// No loss depends on a trained parameter.
    #[error("no parameter of net `{net}` is trained: all are frozen, or none leads to an output")]
    NothingTrained {
        /// The net.
        net: String,
    },
    /// Gradients are made for known sizes.
    #[error(
        "a size of net `{net}` is not known\n  help: fix the sizes of its inputs by `--shape`, or in the recipe by another net"
    )]
    UnknownSize {
        /// The net.
        net: String,
    },
}

/// Makes the graph that computes the losses and their gradients.
///
/// # Errors
/// When there is nothing to train, or a size is not known.
pub fn differentiate(net: &Net, shapes: &Shapes, objective: &Objective) -> Result<Training, GradError> {
    if shapes.symbolic() {
        return Err(GradError::UnknownSize { net: net.name.clone() });
    }
    let inputs = net.inputs.len();
    let form = form::training_form(net, shapes, objective.trained);
    let graph = opt::optimise_for_training(&form.net, &form.shapes, objective.trained);
    let mut tape = Tape::new(graph, objective);
    let main = tape.graph.net.outputs.iter().position(|output| output.train.is_none()).unwrap_or(0);
    let heads = tape.join_losses(objective.loss);
    tape.walk_back();
    if tape.found.is_empty() {
        return Err(GradError::NothingTrained { net: net.name.clone() });
    }
    Ok(tape.finish(inputs, heads, main, &form))
}

/// The graph while it grows.
struct Tape<'a> {
    graph: Optimised,
    objective: &'a Objective<'a>,
    /// The nodes of the forward pass in order.
    forward: Vec<NodeId>,
    /// For each of them by index whether a trained parameter leads to it.
    needed: Vec<bool>,
    /// The gradient of each value, as far as it has been found.
    gradients: HashMap<ValueId, ValueId>,
    /// The gradients of parameters.
    found: HashMap<String, ValueId>,
    /// Values of the forward pass that have been computed again.
    again: HashMap<ValueId, ValueId>,
    made: usize,
}

impl<'a> Tape<'a> {
    fn new(graph: Optimised, objective: &'a Objective<'a>) -> Tape<'a> {
        Tape {
            graph,
            objective,
            forward: Vec::new(),
            needed: Vec::new(),
            gradients: HashMap::new(),
            found: HashMap::new(),
            again: HashMap::new(),
            made: 0,
        }
    }

    /// Appends a node that is no part of the text.
    fn append(&mut self, op: Op, path: String, operands: &[ValueId], params: Vec<Source>) -> NodeId {
        let graph = &mut self.graph;
        let sizes: Vec<_> = operands.iter().map(|&value| graph.shapes.of(value).clone()).collect();
        let results = op.infer(&sizes).unwrap_or_else(|error| unreachable!("`{path}` does not fit: {error:?}"));
        let others = (1..results.len()).map(|at| format!("{path}.{at}")).collect();
        let node = Node { op, path, others, labelled: false, origin: Default::default() };
        let id = graph.net.append(node, operands);
        graph.shapes.insert(id, results);
        graph.params.insert(id, params);
        id
    }

    /// An input and a loss for each output.
    fn join_losses(&mut self, kind: LossKind) -> Vec<Head> {
        let outputs = std::mem::take(&mut self.graph.net.outputs);
        outputs.into_iter().map(|output| self.join_loss(kind, output)).collect()
    }

    fn join_loss(&mut self, kind: LossKind, output: Output) -> Head {
        let prediction = self.logits(kind, output.value);
        let shape = self.graph.shapes.of(prediction).clone();
        let name = &output.name;
        let target = self.append(Op::Input(Input { shape }), format!("{name} target"), &[], Vec::new());
        self.graph.net.inputs.push(target);
        let weight = output.train.unwrap_or(1.0);
        let loss = Op::Loss(Loss { kind, weight });
        let loss = self.append(loss, format!("{name} loss"), &[prediction, target.into()], Vec::new());
        let outputs = &mut self.graph.net.outputs;
        let head = Head {
            name: name.clone(),
            weight,
            prediction: outputs.len(),
            target: self.graph.net.inputs.len() - 1,
            loss: outputs.len() + 1,
        };
        outputs.push(Output { value: prediction, train: None, ..output.clone() });
        outputs.push(Output { name: format!("{name} loss"), value: loss.into(), train: None, span: output.span });
        head
    }

    /// What a softmax at the end is made of: the loss has a softmax of its own.
    fn logits(&self, kind: LossKind, value: ValueId) -> ValueId {
        match &self.graph.net.node(value.node).op {
            Op::Softmax(softmax) if kind == LossKind::CrossEntropy && softmax.axis == 0 => {
                self.graph.net.operands(value.node)[0]
            }
            _ => value,
        }
    }

    fn walk_back(&mut self) {
        self.forward = self.graph.net.topological();
        self.needed = self.needed_nodes();
        let segments =
            if self.objective.recompute { recompute::segments(&self.graph, &self.forward) } else { Vec::new() };
        let mut segments = segments.into_iter().rev().peekable();
        for at in (0..self.forward.len()).rev() {
            // The segment that ends with this node is computed again before its gradients are.
            while let Some(segment) = segments.next_if(|segment| at < segment.end) {
                self.compute_again(segment);
            }
            self.visit(self.forward[at]);
        }
    }

    /// Which nodes a gradient has to pass: those with trained parameters, and all behind them.
    fn needed_nodes(&self) -> Vec<bool> {
        let net = &self.graph.net;
        let mut needed = vec![false; net.bound()];
        for &id in &self.forward {
            let own = self.graph.params.get(&id).into_iter().flatten();
            let is_trained = own.into_iter().any(|source| self.trained_name(source).is_some());
            needed[id.index()] = is_trained || net.operands(id).iter().any(|operand| needed[operand.node.index()]);
        }
        needed
    }

    /// The name of a parameter that is trained.
    fn trained_name<'s>(&self, source: &'s Source) -> Option<&'s str> {
        match source {
            Source::Stored { name, .. } if self.graph.trained.contains(name) => Some(name),
            _ => None,
        }
    }

    /// Emits the gradients of one node.
    fn visit(&mut self, id: NodeId) {
        if !self.needed[id.index()] {
            return;
        }
        let (net, shapes) = (&self.graph.net, &self.graph.shapes);
        let (op, operands) = (net.node(id).op.clone(), net.operands(id));
        let results: Vec<ValueId> =
            (0u32..).take(shapes.results(id).len()).map(|output| ValueId { node: id, output }).collect();
        let reached: Vec<bool> = results.iter().map(|value| self.gradients.contains_key(value)).collect();
        if !reached.contains(&true) && !matches!(op, Op::Loss(_)) {
            return;
        }
        let sources = self.graph.params.get(&id).cloned().unwrap_or_default();
        let inputs = shapes.operands(net, id);
        let outputs = shapes.results(id).to_vec();
        let specs = op.params(&inputs);
        let params = sources.iter().enumerate().filter(|(_, source)| self.trained_name(source).is_some());
        let wanted = operands.iter().enumerate().filter(|(_, value)| self.needed[value.node.index()]);
        let wanted: Vec<Wrt> =
            params.map(|(at, _)| Wrt::Param(at)).chain(wanted.map(|(at, _)| Wrt::Operand(at))).collect();
        let mut rule = GradBuilder::new(&inputs, &outputs, &specs, reached, wanted);
        op.gradient(&mut rule);
        let (emitted, found) = (rule.nodes, rule.found);
        let incoming: Vec<Option<ValueId>> = results.iter().map(|value| self.gradients.get(value).copied()).collect();
        let mut nodes = Vec::new();
        for Emitted { op, operands: refs, params } in emitted {
            let value = |at: &Ref| self.value(*at, &operands, &results, &incoming, &nodes);
            let taken: Vec<ValueId> = refs.iter().map(value).collect();
            let params = params.iter().map(|&at| sources[at].clone()).collect();
            let path = self.name(id);
            nodes.push(self.append(op, path, &taken, params));
        }
        for (wrt, gradient) in found {
            let gradient = self.value(gradient, &operands, &results, &incoming, &nodes);
            match wrt {
                Wrt::Operand(at) => self.add(operands[at], gradient),
                Wrt::Param(at) => {
                    if let Some(name) = self.trained_name(&sources[at]).map(str::to_owned) {
                        self.found.insert(name, gradient);
                    }
                }
            }
        }
    }

    /// A path for a node of the backward pass.
    fn name(&mut self, of: NodeId) -> String {
        self.made += 1;
        format!("{} gradient {}", self.graph.net.node(of).path, self.made)
    }

    fn value(
        &self,
        at: Ref,
        operands: &[ValueId],
        results: &[ValueId],
        incoming: &[Option<ValueId>],
        nodes: &[NodeId],
    ) -> ValueId {
        let again = |value: ValueId| self.again.get(&value).copied().unwrap_or(value);
        match at {
            Ref::Operand(at) => again(operands[at]),
            Ref::Result(at) => again(results[at]),
            Ref::Incoming(at) => incoming[at].unwrap_or_else(|| unreachable!("the rule asks for what has been found")),
            Ref::Emitted(node, output) => ValueId { node: nodes[node], output },
        }
    }

    /// Adds to the gradient of a value.
    fn add(&mut self, value: ValueId, gradient: ValueId) {
        let sum = match self.gradients.get(&value) {
            None => gradient,
            Some(&before) => {
                let path = self.name(value.node);
                self.append(Op::Add(crate::op::add::Add), path, &[before, gradient], Vec::new()).into()
            }
        };
        self.gradients.insert(value, sum);
    }

    /// Computes the inner values of a segment of the forward pass again.
    fn compute_again(&mut self, segment: std::ops::Range<usize>) {
        for at in segment {
            let id = self.forward[at];
            let node = self.graph.net.node(id);
            if matches!(node.op, Op::Input(_) | Op::Loss(_)) {
                continue;
            }
            let (op, path) = (node.op.clone(), format!("{} again", node.path));
            let operands = self.graph.net.operands(id).into_iter();
            let operands: Vec<ValueId> =
                operands.map(|value| self.again.get(&value).copied().unwrap_or(value)).collect();
            let params = self.graph.params.get(&id).cloned().unwrap_or_default();
            let results = self.graph.shapes.results(id).len();
            let copy = self.append(op, path, &operands, params);
            for output in (0u32..).take(results) {
                self.again.insert(ValueId { node: id, output }, ValueId { node: copy, output });
            }
        }
    }

    fn finish(mut self, inputs: usize, heads: Vec<Head>, main: usize, form: &Form) -> Training {
        let span = self.graph.net.span;
        let show = |net: &mut Net, name: String, value: ValueId| {
            net.outputs.push(Output { name, value, train: None, span });
            net.outputs.len() - 1
        };
        let net = &mut self.graph.net;
        let order: BTreeMap<&str, usize> = names(&self.graph.params, &self.forward);
        let mut found: Vec<(String, ValueId)> = self.found.into_iter().collect();
        found.sort_by_key(|(name, _)| order.get(name.as_str()).copied());
        let gradients = found.into_iter().map(|(name, value)| {
            let output = show(net, name.clone(), value);
            (name, output)
        });
        let gradients: Vec<(String, usize)> = gradients.collect();
        let mut statistics = Vec::new();
        for norm in &form.norms {
            if !net.contains(norm.node) {
                continue;
            }
            let at = |output| ValueId { node: norm.node, output };
            let outputs = [
                show(net, format!("{}.running_mean", norm.path), at(1)),
                show(net, format!("{}.running_var", norm.path), at(2)),
            ];
            let sizes = self.graph.shapes.of(norm.node.into()).as_known().unwrap_or_default();
            let positions = sizes.iter().skip(1).product();
            statistics.push(Statistics { path: norm.path.clone(), momentum: norm.momentum, outputs, positions });
        }
        let place = |mask: &Mask| net.inputs.iter().position(|&id| id == mask.node);
        let masks = form.masks.iter().filter_map(|mask| Some((mask.clone(), place(mask)?))).collect();
        // What no loss and no gradient needs is not computed.
        for id in net.unneeded() {
            if !matches!(net.node(id).op, Op::Input(_)) {
                net.remove(id, None);
                self.graph.params.remove(&id);
            }
        }
        debug_assert_eq!(crate::ir::verify(net), Ok(()));
        Training { graph: self.graph, inputs, heads, main, masks, gradients, statistics }
    }
}

/// The place of each parameter in the order of the net.
fn names<'p>(params: &'p HashMap<NodeId, Vec<Source>>, forward: &[NodeId]) -> BTreeMap<&'p str, usize> {
    let all = forward.iter().filter_map(|id| params.get(id)).flatten();
    let names = all.filter_map(|source| match source {
        Source::Stored { name, .. } => Some(name.as_str()),
        _ => None,
    });
    names.enumerate().map(|(at, name)| (name, at)).collect()
}
