//! Folds the inference form of a batch norm into the convolution or linear layer in front of it:
//! `scale·(w·x + b - mean) + shift` with `scale = gamma/√(variance + eps)` is a layer with weights `scale·w` and bias
//! `(b - mean)·scale + shift` (Jacob et al. 2017, arXiv:1712.05877, section 3.2).

use std::collections::{HashMap, HashSet};

use super::{Norm, Optimised, Source};
use crate::ir::{NodeId, ValueId};
use crate::op::Op;
use crate::op::batch_norm::BatchNorm;

pub(super) fn fold_batch_norm(optimised: &mut Optimised) {
    let mut shown = optimised.net.shown();
    let mut replaced = HashMap::new();
    for id in optimised.net.topological() {
        let Op::BatchNorm(norm) = &optimised.net.node(id).op else { continue };
        let norm = norm.clone();
        let path = optimised.net.node(id).path.clone();
        match foldable(optimised, id, &shown) {
            Ok((layer, op, axis)) => {
                fold(optimised, id, layer, op, axis, &norm);
                replaced.insert(id.into(), layer.into());
                if shown.contains(&id.into()) {
                    shown.insert(layer.into());
                }
                let into = optimised.net.node(layer).path.clone();
                optimised.note("fold_batch_norm", &path, true, format!("folded into `{into}`"));
            }
            Err(why) => optimised.note("fold_batch_norm", &path, false, why),
        }
    }
    optimised.net.replace_outputs(&replaced);
}

/// The layer in front with a bias, and the axis of its weight that runs over output channels; or why not.
fn foldable(optimised: &Optimised, id: NodeId, shown: &HashSet<ValueId>) -> Result<(NodeId, Op, usize), String> {
    let net = &optimised.net;
    let Some(&operand) = net.operands(id).first() else { return Err("it has no operand".to_owned()) };
    let node = net.node(operand.node);
    let (op, axis) = match &node.op {
        Op::Conv(conv) => (Op::Conv(crate::op::conv::Conv { bias: true, ..conv.clone() }), 0),
        Op::Linear(linear) => (Op::Linear(crate::op::linear::Linear { bias: true, ..linear.clone() }), 0),
        Op::ConvTranspose(conv) if conv.groups == 1 => {
            (Op::ConvTranspose(crate::op::conv_transpose::ConvTranspose { bias: true, ..conv.clone() }), 1)
        }
        _ => return Err(format!("`{}` in front of it has no weight to scale", node.path)),
    };
    if !net.has_one_use(operand.node) || shown.contains(&operand) {
        return Err(format!("the value of `{}` is used elsewhere too", node.path));
    }
    if optimised.is_trained(operand.node) {
        return Err(format!("the weight of `{}` is trained", node.path));
    }
    Ok((operand.node, op, axis))
}

fn fold(optimised: &mut Optimised, id: NodeId, layer: NodeId, op: Op, axis: usize, norm: &BatchNorm) {
    let channels = optimised.shapes.results(id)[0].0[0].as_u64().unwrap_or(0);
    let path = optimised.net.node(id).path.clone();
    let norm = Norm { path, eps: norm.eps, affine: norm.affine, channels };
    let mut sources = optimised.params.remove(&layer).unwrap_or_default().into_iter();
    if let Some(weight) = sources.next() {
        let bias = sources.next().map(Box::new);
        let weight = Source::Scaled { weight: Box::new(weight), axis, norm: norm.clone() };
        optimised.params.insert(layer, vec![weight, Source::Shifted { bias, norm }]);
    }
    optimised.net.set_op(layer, op);
    optimised.net.replace_operands(id.into(), layer.into());
    optimised.net.remove(id, Some(layer));
    optimised.params.remove(&id);
}
