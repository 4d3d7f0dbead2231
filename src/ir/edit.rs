//! The only ways to change a graph.

use std::collections::HashMap;

use petgraph::Direction;
use petgraph::visit::EdgeRef;

use super::{Net, Node, NodeId, Port, ValueId};
use crate::op::Op;

impl Net {
    /// Adds a node that takes `operands` in this order.
    pub fn append(&mut self, node: Node, operands: &[ValueId]) -> NodeId {
        let id = self.graph.add_node(node);
        self.set_operands(id, operands);
        id
    }

    /// Gives a node its final path.
    pub fn set_path(&mut self, id: NodeId, path: String) {
        self.graph[id].path = path;
    }

    /// Says whether a node's path is a name that it is to keep.
    pub fn set_labelled(&mut self, id: NodeId, labelled: bool) {
        self.graph[id].labelled = labelled;
    }

    /// Puts another operator in a node's place; operands and users stay.
    pub fn set_op(&mut self, id: NodeId, op: Op) {
        self.graph[id].op = op;
    }

    /// Lets a node take `operands` instead of what it took.
    pub fn set_operands(&mut self, id: NodeId, operands: &[ValueId]) {
        let old: Vec<_> = self.graph.edges_directed(id, Direction::Incoming).map(|edge| edge.id()).collect();
        for edge in old {
            self.graph.remove_edge(edge);
        }
        for (input, operand) in (0u32..).zip(operands) {
            self.graph.add_edge(operand.node, id, Port { output: operand.output, input });
        }
    }

    /// Lets everything that uses `old`, outputs included, use `new`.
    pub fn replace_uses(&mut self, old: ValueId, new: ValueId) {
        self.replace_operands(old, new);
        self.replace_outputs(&HashMap::from([(old, new)]));
    }

    /// Lets the outputs that name a key name its value instead.
    pub fn replace_outputs(&mut self, replaced: &HashMap<ValueId, ValueId>) {
        for output in &mut self.outputs {
            if let Some(&new) = replaced.get(&output.value) {
                output.value = new;
            }
        }
    }

    /// Lets every node that takes `old` take `new`; outputs stay.
    pub fn replace_operands(&mut self, old: ValueId, new: ValueId) {
        let moved: Vec<_> = self
            .graph
            .edges_directed(old.node, Direction::Outgoing)
            .filter(|edge| edge.weight().output == old.output)
            .map(|edge| (edge.id(), edge.target(), edge.weight().input))
            .collect();
        for (edge, target, input) in moved {
            self.graph.remove_edge(edge);
            self.graph.add_edge(new.node, target, Port { output: new.output, input });
        }
    }

    /// Removes a node that nothing uses, with the edges to its operands; its statements go to `heir`, if there is one.
    pub fn remove(&mut self, id: NodeId, heir: Option<NodeId>) {
        debug_assert!(self.graph.edges_directed(id, Direction::Outgoing).next().is_none());
        let Some(node) = self.graph.remove_node(id) else { return };
        if matches!(node.op, Op::Input(_)) {
            self.inputs.retain(|&input| input != id);
        }
        if let Some(heir) = heir {
            let merged = &mut self.graph[heir].origin.merged;
            merged.push(node.origin.span);
            merged.extend(node.origin.merged);
        }
    }
}
