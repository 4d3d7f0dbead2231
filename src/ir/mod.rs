//! The graph: the one representation that shapes, costs, pictures, execution, gradients and ONNX all read.
//!
//! A node is an operator, an edge carries one value from an output slot to an input slot. Nodes hold what the text
//! says and nothing that is computed: shapes, costs and plans are side tables keyed by [`NodeId`]. Reading is free;
//! changes go through `edit.rs`. [`verify()`] lists the invariants; it runs after every pass in debug builds and tests.

mod edit;
pub mod expand;
pub mod print;
mod verify;

use std::collections::{BinaryHeap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use petgraph::Direction;
use petgraph::stable_graph::{NodeIndex, StableDiGraph};
use petgraph::visit::EdgeRef;

use crate::data::preprocess::Preprocess;
use crate::diag::Span;
use crate::op::Op;

pub use verify::{Broken, verify};

/// A node of a [`Net`]; stays the same when other nodes are removed.
pub type NodeId = NodeIndex<u32>;

/// One result of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId {
    /// The node.
    pub node: NodeId,
    /// Which of its results, from 0.
    pub output: u32,
}

impl From<NodeId> for ValueId {
    /// The first result.
    fn from(node: NodeId) -> Self {
        ValueId { node, output: 0 }
    }
}

/// Where an edge starts and ends. petgraph keeps no order of edges, so the slots are the edge's weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// Which result of the source.
    pub output: u32,
    /// Which operand of the target.
    pub input: u32,
}

/// An operator in its place.
#[derive(Clone, Debug)]
pub struct Node {
    /// The operator.
    pub op: Op,
    /// Its path, unique in the net: the label path, or the scope with kind and ordinal. Parameters are named
    /// `path.leaf`.
    pub path: String,
    /// The paths of its further results, when it has several.
    pub others: Vec<String>,
    /// Whether the text labels it (a number given by `sequential` counts).
    pub labelled: bool,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where a node comes from in the text.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The statement.
    pub span: Span,
    /// The block call it stands in, if any.
    pub call: Option<Arc<CallSite>>,
    /// Statements of nodes that a rewrite merged into this one.
    pub merged: Vec<Span>,
    /// Advice allowed on it.
    pub allows: Arc<[String]>,
}

/// A call of a block, for messages.
#[derive(Debug)]
pub struct CallSite {
    /// The call.
    pub span: Span,
    /// The block's name.
    pub block: String,
    /// Its parameters in order, with their values as they may be written: `mid` and `64`.
    pub args: Vec<(String, String)>,
    /// The call that this one stands in.
    pub caller: Option<Arc<CallSite>>,
}

impl CallSite {
    /// What to say at the call when something in the block is at fault.
    pub fn words(&self) -> String {
        if self.args.is_empty() {
            format!("in `{}`, called here", self.block)
        } else {
            let args: Vec<String> = self.args.iter().map(|(name, value)| format!("{name} = {value}")).collect();
            format!("in `{}`, called here with {}", self.block, args.join(", "))
        }
    }
}

/// A named result of the net.
#[derive(Clone, Debug)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// The value.
    pub value: ValueId,
    /// The weight of its loss when it exists only in training.
    pub train: Option<f64>,
    /// The statement.
    pub span: Span,
}

/// What a budget bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Metric {
    /// Multiply-accumulates by torchvision's convention.
    Macs,
    /// Floating-point operations: twice the MACs and the rest.
    Flops,
    /// Parameters.
    Params,
    /// Elements written by convolutions and linear layers.
    Activations,
    /// Bytes of activations alive at once, at most.
    PeakMemory,
}

impl Metric {
    /// All metrics under their names in the language.
    pub const NAMES: [(&'static str, Metric); 5] = [
        ("macs", Metric::Macs),
        ("flops", Metric::Flops),
        ("params", Metric::Params),
        ("activations", Metric::Activations),
        ("peak_memory", Metric::PeakMemory),
    ];

    /// The name in the language.
    pub fn name(self) -> &'static str {
        match self {
            Metric::Macs => "macs",
            Metric::Flops => "flops",
            Metric::Params => "params",
            Metric::Activations => "activations",
            Metric::PeakMemory => "peak_memory",
        }
    }
}

/// An upper bound that the author set.
#[derive(Clone, Debug)]
pub struct Budget {
    /// What is bounded.
    pub metric: Metric,
    /// The bound in the metric's unit (a count, or bytes), rounded down.
    pub bound: u64,
    /// The indices of the nodes it covers: those appended while its block was elaborated. `None`: all.
    pub members: Option<Range<usize>>,
    /// The entry.
    pub span: Span,
    /// Where its block was called.
    pub call: Option<Arc<CallSite>>,
    /// Advice allowed on it.
    pub allows: Arc<[String]>,
}

/// A checked network. See the module's documentation.
#[derive(Clone, Debug, Default)]
pub struct Net {
    graph: StableDiGraph<Node, Port, u32>,
    /// The net's name.
    pub name: String,
    /// The nodes of its inputs in the order declared.
    pub inputs: Vec<NodeId>,
    /// Its outputs in the order declared.
    pub outputs: Vec<Output>,
    /// How a photo becomes its input, where the net says so.
    pub preprocess: Option<Preprocess>,
    /// Its budgets and those of the blocks in it.
    pub budgets: Vec<Budget>,
    /// What is known of free sizes: conditions behind `where`, by input.
    pub conditions: Vec<(NodeId, String)>,
    /// The net's declaration.
    pub span: Span,
}

impl Net {
    /// The node of an identity.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.graph[id]
    }

    /// Whether the identity names a node that has not been removed.
    pub fn contains(&self, id: NodeId) -> bool {
        self.graph.contains_node(id)
    }

    /// How many nodes there are, inputs included.
    pub fn len(&self) -> usize {
        self.graph.node_count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.graph.node_count() == 0
    }

    /// One past the largest index of a node, for tables indexed by node.
    pub fn bound(&self) -> usize {
        self.graph.node_indices().next_back().map_or(0, |id| id.index() + 1)
    }

    /// All nodes, oldest first.
    pub fn nodes(&self) -> impl DoubleEndedIterator<Item = NodeId> {
        self.graph.node_indices()
    }

    /// The operands of a node by input slot.
    pub fn operands(&self, id: NodeId) -> Vec<ValueId> {
        let mut operands: Vec<(u32, ValueId)> = self
            .graph
            .edges_directed(id, Direction::Incoming)
            .map(|edge| (edge.weight().input, ValueId { node: edge.source(), output: edge.weight().output }))
            .collect();
        operands.sort_unstable();
        operands.into_iter().map(|(_, value)| value).collect()
    }

    /// Where a node's results are used: which result, by which node, as which operand; ordered by user.
    pub fn users(&self, id: NodeId) -> Vec<(u32, NodeId, u32)> {
        let mut users: Vec<_> = self
            .graph
            .edges_directed(id, Direction::Outgoing)
            .map(|edge| (edge.weight().output, edge.target(), edge.weight().input))
            .collect();
        users.sort_unstable_by_key(|&(output, user, input)| (user, input, output));
        users
    }

    /// Whether exactly one operand of one node is a result of this node; a net's outputs are not counted.
    pub fn has_one_use(&self, id: NodeId) -> bool {
        self.graph.edges_directed(id, Direction::Outgoing).take(2).count() == 1
    }

    /// The values that outputs name.
    pub fn shown(&self) -> HashSet<ValueId> {
        self.outputs.iter().map(|output| output.value).collect()
    }

    /// All nodes such that each comes after its operands, the oldest first among those that could come next.
    pub fn topological(&self) -> Vec<NodeId> {
        let mut missing = vec![0usize; self.bound()];
        let mut ready = BinaryHeap::new();
        for id in self.graph.node_indices() {
            missing[id.index()] = self.graph.edges_directed(id, Direction::Incoming).count();
            if missing[id.index()] == 0 {
                ready.push(std::cmp::Reverse(id));
            }
        }
        let mut order = Vec::with_capacity(self.len());
        while let Some(std::cmp::Reverse(id)) = ready.pop() {
            order.push(id);
            for edge in self.graph.edges_directed(id, Direction::Outgoing) {
                let left = &mut missing[edge.target().index()];
                *left -= 1;
                if *left == 0 {
                    ready.push(std::cmp::Reverse(edge.target()));
                }
            }
        }
        order
    }

    /// For each node by index, whether one of these values needs it.
    pub fn needed_by(&self, values: impl IntoIterator<Item = ValueId>) -> Vec<bool> {
        let mut needed = vec![false; self.bound()];
        let mut open: Vec<NodeId> = values.into_iter().map(|value| value.node).collect();
        while let Some(id) = open.pop() {
            if !std::mem::replace(&mut needed[id.index()], true) {
                open.extend(self.graph.neighbors_directed(id, Direction::Incoming));
            }
        }
        needed
    }

    /// The nodes that no output needs, each before its operands.
    pub fn unneeded(&self) -> Vec<NodeId> {
        let needed = self.needed_by(self.outputs.iter().map(|output| output.value));
        self.topological().into_iter().rev().filter(|id| !needed[id.index()]).collect()
    }

    /// For each node by index, whether it exists only for outputs that exist only in training.
    pub fn train_only(&self) -> Vec<bool> {
        let values = |train: bool| {
            self.outputs.iter().filter(move |output| output.train.is_some() == train).map(|output| output.value)
        };
        let (always, training) = (self.needed_by(values(false)), self.needed_by(values(true)));
        always.iter().zip(&training).map(|(&always, &training)| training && !always).collect()
    }

    /// The outputs that exist outside training, or all of them.
    pub fn outputs_for(&self, train: bool) -> impl Iterator<Item = &Output> {
        self.outputs.iter().filter(move |output| train || output.train.is_none())
    }
}
