//! Whether two nets are the same, but for the order of their nodes and the paths of layers without parameters.

use std::collections::HashMap;

use crate::ir::{Net, NodeId, ValueId};
use crate::op::Op;

/// What differs between two nets: their inputs and outputs by name, and how these are computed, by which operators from which
/// parameters. `None` when they are the same.
pub fn difference(left: &Net, right: &Net) -> Option<String> {
    let names = |net: &Net| net.inputs.iter().map(|&id| net.node(id).path.clone()).collect::<Vec<_>>();
    if names(left) != names(right) {
        return Some(format!("the inputs {:?} and {:?}", names(left), names(right)));
    }
    if left.outputs.len() != right.outputs.len() {
        return Some(format!("{} outputs and {}", left.outputs.len(), right.outputs.len()));
    }
    let mut matched: HashMap<NodeId, NodeId> = HashMap::new();
    let mut open = Vec::new();
    for output in &left.outputs {
        let other = right.outputs.iter().find(|other| other.name == output.name);
        let Some(other) = other.filter(|other| output.train == other.train) else {
            return Some(format!("the output `{}`", output.name));
        };
        open.push((through(left, output.value), through(right, other.value)));
    }
    while let Some((ValueId { node: a, output }, ValueId { node: b, output: other })) = open.pop() {
        if output != other {
            return Some(format!("results {output} and {other} of `{}`", left.node(a).path));
        }
        let (node, other) = (left.node(a), right.node(b));
        let differ = || Some(format!("`{}`: {:?}, and `{}`: {:?}", node.path, node.op, other.path, other.op));
        match matched.insert(a, b) {
            Some(before) if before == b => continue,
            Some(_) => return differ(),
            None => {}
        }
        let (operands, others) = (left.operands(a), right.operands(b));
        let owns = matches!(node.op, Op::Input(_)) || has_params(&node.op);
        if node.op != other.op || operands.len() != others.len() || (owns && node.path != other.path) {
            return differ();
        }
        open.extend(
            operands.iter().zip(&others).map(|(&operand, &other)| (through(left, operand), through(right, other))),
        );
    }
    None
}

/// The value that identities pass on.
fn through(net: &Net, mut value: ValueId) -> ValueId {
    while let (Op::Identity(_), [operand]) = (&net.node(value.node).op, net.operands(value.node).as_slice()) {
        value = *operand;
    }
    value
}

/// Whether layers of this kind own tensors.
pub(super) fn has_params(op: &Op) -> bool {
    // Parameters depend on the shapes of operands only in their sizes.
    let some = crate::tensor::Shape::known(&[1, 1, 1]);
    match op {
        Op::Linear(_) => true,
        Op::TableConv(_) => true,
        Op::Input(_) | Op::Loss(_) | Op::Gradient(_) => false,
        op => !op.params(&[some.clone(), some]).is_empty(),
    }
}
