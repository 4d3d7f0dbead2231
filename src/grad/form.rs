//! The form of training: batch norms that are not frozen take the statistics of their batch, dropout is a product with a
//! mask from outside.

use std::collections::HashMap;

use crate::ir::{Net, Node, NodeId, Origin};
use crate::op::batch_norm::BatchNorm;
use crate::op::normalise::Normalise;
use crate::op::{Op, input::Input, mul::Mul};
use crate::shape::{self, Shapes};
use crate::tensor::Shape;

/// What a dropout multiplies by: zero with probability `p`, else `1 / (1 - p)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Mask {
    /// The node of the input that takes it.
    pub node: NodeId,
    /// The probability of zero.
    pub p: f64,
}

/// A batch norm that takes the statistics of its batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Norm {
    /// Its node.
    pub node: NodeId,
    /// Its path.
    pub path: String,
    /// The share of the batch in the running statistics.
    pub momentum: f64,
}

/// A net in the form of training.
pub(super) struct Form {
    pub(super) net: Net,
    pub(super) shapes: Shapes,
    /// The batch norms that are not frozen.
    pub(super) norms: Vec<Norm>,
    /// The inputs that take masks.
    pub(super) masks: Vec<Mask>,
}

/// Brings a net into the form of training. A batch norm is frozen when neither its scale nor its shift is trained; where
/// it has none, when its statistics are not.
pub(super) fn training_form(net: &Net, shapes: &Shapes, trained: &dyn Fn(&str) -> bool) -> Form {
    let (mut net, mut norms, mut masks, mut replaced) = (net.clone(), Vec::new(), Vec::new(), HashMap::new());
    for id in net.topological() {
        let node = net.node(id);
        match &node.op {
            Op::BatchNorm(norm) if is_trained(norm, &node.path, trained) => {
                let (norm, path) = (norm.clone(), node.path.clone());
                norms.push(Norm { node: id, path, momentum: norm.momentum });
                net.set_op(id, Op::Normalise(Normalise { norm }));
            }
            Op::Dropout(dropout) if 0.0 < dropout.p => {
                let shape = shapes.of(id.into());
                let shape = if dropout.channels { gate(shape) } else { shape.clone() };
                let (path, origin, p) = (format!("mask of {}", node.path), node.origin.clone(), dropout.p);
                let product = format!("{} by its mask", node.path);
                let operand = net.operands(id)[0];
                let mask = net.append(plain(Op::Input(Input { shape }), path, Origin::default()), &[]);
                net.inputs.push(mask);
                masks.push(Mask { node: mask, p });
                let product = net.append(plain(Op::Mul(Mul), product, origin), &[operand, mask.into()]);
                net.replace_operands(id.into(), product.into());
                replaced.insert(id.into(), product.into());
                net.remove(id, None);
            }
            _ => {}
        }
    }
    net.replace_outputs(&replaced);
    let shapes = shape::infer(&net).unwrap_or_else(|_| unreachable!("sizes are as before"));
    Form { net, shapes, norms, masks }
}

pub(super) fn plain(op: Op, path: String, origin: Origin) -> Node {
    Node { op, path, others: Vec::new(), labelled: false, origin }
}

/// One position for each channel.
fn gate(shape: &Shape) -> Shape {
    Shape(shape.0.iter().take(1).cloned().chain([1u64.into(), 1u64.into()]).collect())
}

/// Whether training changes what a node gives for the same operands: its parameters, the statistics that it normalises by,
/// or what it drops.
pub(super) fn changes(net: &Net, shapes: &Shapes, id: NodeId, trained: &dyn Fn(&str) -> bool) -> bool {
    let node = net.node(id);
    match &node.op {
        Op::BatchNorm(norm) => is_trained(norm, &node.path, trained),
        Op::Dropout(dropout) => 0.0 < dropout.p,
        _ => {
            let specs = shapes.params(net, id);
            specs.iter().any(|spec| spec.role.trainable() && trained(&format!("{}.{}", node.path, spec.leaf)))
        }
    }
}

fn is_trained(norm: &BatchNorm, path: &str, trained: &dyn Fn(&str) -> bool) -> bool {
    let leaves: &[&str] = if norm.affine { &["weight", "bias"] } else { &["running_mean", "running_var"] };
    leaves.iter().any(|leaf| trained(&format!("{path}.{leaf}")))
}
