//! What holds of every graph between passes:
//!
//! 1. the graph has no cycle;
//! 2. the operands of a node fill the slots 0, 1, … without a gap or a repetition;
//! 3. `inputs` are exactly the nodes with an [`Op::Input`], and they take no operand;
//! 4. every output names an existing node;
//! 5. paths are unique and not empty.

use std::collections::HashSet;

use petgraph::Direction;

use super::{Net, NodeId};
use crate::op::Op;

/// Which invariant a graph breaks, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Invariant 1.
    #[error("the graph has a cycle")]
    Cycle,
    /// Invariant 2.
    #[error("the operands of `{0}` do not fill its slots")]
    Slots(String),
    /// Invariant 3.
    #[error("`{0}` is an input in one place only")]
    Inputs(String),
    /// Invariant 4.
    #[error("output `{0}` names a node that does not exist")]
    Outputs(String),
    /// Invariant 5.
    #[error("the path `{0}` is empty or taken twice")]
    Paths(String),
}

/// Checks every invariant of the module's documentation.
///
/// # Errors
/// The first one that is broken.
pub fn verify(net: &Net) -> Result<(), Broken> {
    if net.topological().len() != net.len() {
        return Err(Broken::Cycle);
    }
    let mut paths = HashSet::new();
    for id in net.nodes() {
        let node = net.node(id);
        if node.path.is_empty() || !paths.insert(node.path.as_str()) {
            return Err(Broken::Paths(node.path.clone()));
        }
        if !slots_filled(net, id) {
            return Err(Broken::Slots(node.path.clone()));
        }
        let is_input = matches!(node.op, Op::Input(_));
        if is_input != net.inputs.contains(&id) || (is_input && !net.operands(id).is_empty()) {
            return Err(Broken::Inputs(node.path.clone()));
        }
    }
    match net.outputs.iter().find(|output| !net.contains(output.value.node)) {
        Some(output) => Err(Broken::Outputs(output.name.clone())),
        None => Ok(()),
    }
}

fn slots_filled(net: &Net, id: NodeId) -> bool {
    let mut slots: Vec<u32> =
        net.graph.edges_directed(id, Direction::Incoming).map(|edge| edge.weight().input).collect();
    slots.sort_unstable();
    slots.into_iter().eq(0..net.graph.edges_directed(id, Direction::Incoming).count() as u32)
}
