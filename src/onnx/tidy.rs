//! What exporters take apart, put together again: passes over a net that has just been read, each a function that says
//! whether it changed something. A pass changes nodes or takes them away and adds none, so that a node stays behind those
//! that it takes, as a text has them.

use crate::ir::{NodeId, ValueId};
use crate::op::Op;
use crate::op::activation::{Activation, HARD_SIGMOID};
use crate::op::affine::Affine;
use crate::op::geom::Padding;
use crate::op::onnx::{Constant, Param, shortest};
use crate::op::pad::{Fill, Pad};
use crate::op::pad_shortcut::PadShortcut;
use crate::op::pool::{Extent, Pool};

use super::error::OnnxError;
use super::formulas::{gelu, layer_norm};
use super::lower::Lowered;

type Pass = fn(&mut Lowered, NodeId) -> bool;

/// Applies all passes until none finds anything, and leaves out what no output needs.
///
/// # Errors
/// When the net does not fit together afterwards, which is a fault of a pass.
pub fn tidy(made: &mut Lowered) -> Result<(), OnnxError> {
    const PASSES: [Pass; 10] = [
        scale_into_layer,
        scale_of_image,
        constants,
        pad_into_conv,
        stride_into_shortcut,
        product_with_gate,
        scales_of_tanh,
        hard_functions,
        gelu,
        layer_norm,
    ];
    loop {
        let mut changed = false;
        for id in made.net.nodes().collect::<Vec<_>>() {
            changed |= made.net.contains(id) && PASSES.iter().any(|pass| pass(made, id));
        }
        if !changed {
            break;
        }
    }
    for id in made.net.unneeded() {
        if !matches!(made.net.node(id).op, Op::Input(_)) {
            made.net.remove(id, None);
        }
    }
    made.infer()
}

/// The node that makes the operand of another and nothing else's, unless an output shows it.
fn only_operand(made: &Lowered, id: NodeId, at: usize) -> Option<NodeId> {
    let operand = *made.net.operands(id).get(at)?;
    let alone = made.net.has_one_use(operand.node) && !made.net.outputs.iter().any(|output| output.value == operand);
    alone.then_some(operand.node)
}

/// Lets everything that uses a node use a value instead, and takes the node away.
fn replace(made: &mut Lowered, id: NodeId, by: ValueId) {
    made.net.replace_uses(id.into(), by);
    made.net.remove(id, None);
    made.params.remove(&id);
}

/// A tensor of a node as floats.
pub(super) fn floats(made: &Lowered, id: NodeId, leaf: &str) -> Option<Vec<f32>> {
    let param = made.params.get(&id)?.iter().find(|param| param.leaf == leaf)?;
    Some(param.value.to_floats()?.iter().copied().collect())
}

/// Puts numbers in a tensor's place; under its name where it has one, else under that of `from`.
fn set(made: &mut Lowered, id: NodeId, leaf: &'static str, values: Vec<f32>, from: NodeId) {
    let Some(constant) = Constant::floats(&[values.len() as u64], values) else { return };
    let name = made
        .params
        .get(&from)
        .and_then(|params| params.iter().find(|param| param.leaf == leaf))
        .map(|param| param.value.name.clone());
    let params = made.params.entry(id).or_default();
    match params.iter_mut().find(|param| param.leaf == leaf) {
        Some(param) => param.value = Constant { name: param.value.name.clone(), ..constant },
        None => params.push(Param::new(leaf, Constant { name: name.unwrap_or_default(), ..constant })),
    }
}

/// A sum with one number for each channel is the bias of the layer in front; behind batch norm, or another scale, a
/// product is too.
fn scale_into_layer(made: &mut Lowered, id: NodeId) -> bool {
    let Op::ChannelScale(scale) = made.net.node(id).op.clone() else { return false };
    let Some(before) = only_operand(made, id, 0) else { return false };
    let Some(factors) = floats(made, id, "weight") else { return false };
    let summands = if scale.bias { floats(made, id, "bias") } else { None }.unwrap_or_else(|| vec![0.0; factors.len()]);
    let sums_only = factors.iter().all(|&factor| factor == 1.0);
    let bias = floats(made, before, "bias").unwrap_or_else(|| vec![0.0; factors.len()]);
    if bias.len() != factors.len() {
        return false;
    }
    let shifted =
        bias.iter().zip(&factors).zip(&summands).map(|((bias, factor), summand)| bias * factor + summand).collect();
    let op = match made.net.node(before).op.clone() {
        Op::Conv(conv) if sums_only => Op::Conv(crate::op::conv::Conv { bias: true, ..conv }),
        Op::ConvTranspose(conv) if sums_only => {
            Op::ConvTranspose(crate::op::conv_transpose::ConvTranspose { bias: true, ..conv })
        }
        Op::Linear(linear) if sums_only => Op::Linear(crate::op::linear::Linear { bias: true, ..linear }),
        Op::LayerNorm(norm) if !norm.affine => {
            set(made, before, "weight", factors.clone(), id);
            Op::LayerNorm(crate::op::layer_norm::LayerNorm { affine: true, ..norm })
        }
        op @ (Op::BatchNorm(_) | Op::ChannelScale(_) | Op::LayerNorm(_)) => {
            let Some(weight) = floats(made, before, "weight") else { return false };
            let scaled = weight.iter().zip(&factors).map(|(weight, factor)| weight * factor).collect();
            set(made, before, "weight", scaled, id);
            match op {
                Op::ChannelScale(before) => {
                    Op::ChannelScale(crate::op::channel_scale::ChannelScale { bias: before.bias || scale.bias })
                }
                op => op,
            }
        }
        _ => return false,
    };
    let has_bias = !matches!(op, Op::ChannelScale(crate::op::channel_scale::ChannelScale { bias: false }));
    made.net.set_op(before, op);
    if has_bias {
        set(made, before, "bias", shifted, id);
    }
    replace(made, id, before.into());
    true
}

/// What normalises an image is part of the net's text, and no weight.
fn scale_of_image(made: &mut Lowered, id: NodeId) -> bool {
    const IMAGE_CHANNELS: usize = 4;
    let Op::ChannelScale(scale) = made.net.node(id).op.clone() else { return false };
    let operand = made.net.operands(id)[0];
    let (Op::Input(_), Some(factors)) = (&made.net.node(operand.node).op, floats(made, id, "weight")) else {
        return false;
    };
    if IMAGE_CHANNELS < factors.len() {
        return false;
    }
    let summands = if scale.bias { floats(made, id, "bias") } else { None }.unwrap_or_else(|| vec![0.0; factors.len()]);
    let list = |values: Vec<f32>| {
        let all: Vec<f64> = values.into_iter().map(|value| shortest(f64::from(value))).collect();
        if all.iter().all(|value| *value == all[0]) { vec![all[0]] } else { all }
    };
    if !factors.iter().chain(&summands).all(|value| value.is_finite()) {
        return false;
    }
    made.net.set_op(id, Affine { scale: list(factors), shift: list(summands) }.into());
    made.params.remove(&id);
    true
}

/// A product with constants and then a sum are one layer.
fn constants(made: &mut Lowered, id: NodeId) -> bool {
    let Op::Affine(Affine { scale, shift }) = made.net.node(id).op.clone() else { return false };
    let Some(before) = only_operand(made, id, 0) else { return false };
    let Op::Affine(first) = made.net.node(before).op.clone() else { return false };
    if scale != [1.0] || first.shift != [0.0] {
        return false;
    }
    made.net.set_op(id, Affine { shift, ..first }.into());
    let operand = made.net.operands(before)[0];
    replace(made, before, operand);
    true
}

/// Zeros around the operand of a convolution are its own padding.
fn pad_into_conv(made: &mut Lowered, id: NodeId) -> bool {
    let Op::Conv(conv) = made.net.node(id).op.clone() else { return false };
    let Some(before) = only_operand(made, id, 0) else { return false };
    let (Op::Pad(Pad { sides, fill: Fill::Constant(0.0) }), Padding::Sides(own)) =
        (made.net.node(before).op.clone(), conv.windows.padding)
    else {
        return false;
    };
    let padding = Padding::Sides([0, 1, 2, 3].map(|side| sides[side] + own[side]));
    let windows = crate::op::geom::Windows { padding, ..conv.windows };
    made.net.set_op(id, crate::op::conv::Conv { windows, ..conv }.into());
    let operand = made.net.operands(before)[0];
    replace(made, before, operand);
    true
}

/// Every so many-th position with zero channels added is a padded shortcut.
fn stride_into_shortcut(made: &mut Lowered, id: NodeId) -> bool {
    let Op::PadShortcut(shortcut) = made.net.node(id).op.clone() else { return false };
    let (Some(before), [1, 1]) = (only_operand(made, id, 0), shortcut.stride) else { return false };
    let Op::Pool(Pool { extent: Extent::Windows(windows), .. }) = made.net.node(before).op.clone() else {
        return false;
    };
    if made.net.node(before).op != Pool::subsampling(windows.stride).into() {
        return false;
    }
    made.net.set_op(id, PadShortcut { stride: windows.stride, ..shortcut }.into());
    let operand = made.net.operands(before)[0];
    replace(made, before, operand);
    true
}

/// `x * sigmoid(x)` is silu, `x * hard_sigmoid(x)` is hard_swish, `x * tanh(softplus(x))` is mish.
fn product_with_gate(made: &mut Lowered, id: NodeId) -> bool {
    if !matches!(made.net.node(id).op, Op::Mul(_)) {
        return false;
    }
    let operands = made.net.operands(id);
    let &[left, right] = operands.as_slice() else { return false };
    for (at, x) in [(0, right), (1, left)] {
        let Some(gate) = only_operand(made, id, at) else { continue };
        let op = match made.net.node(gate).op {
            Op::Activation(Activation::Sigmoid) => Activation::Silu { beta: 1.0 },
            Op::Activation(Activation::HardSigmoid { slope, shift }) if [slope, shift] == HARD_SIGMOID => {
                Activation::HardSwish
            }
            Op::Activation(Activation::Tanh { scale: 1.0, slope: 1.0 }) => {
                let Some(soft) = only_operand(made, gate, 0) else { continue };
                let is_soft = matches!(made.net.node(soft).op, Op::Activation(Activation::Softplus { beta: 1.0 }));
                if is_soft && made.net.operands(soft) == [x] {
                    become_layer(made, id, Activation::Mish, &[x]);
                    return true;
                }
                continue;
            }
            _ => continue,
        };
        if made.net.operands(gate) == [x] {
            become_layer(made, id, op, &[x]);
            return true;
        }
    }
    false
}

/// Makes a node another layer on other values, and takes away what it took and nothing else needs.
pub(super) fn become_layer(made: &mut Lowered, id: NodeId, op: impl Into<Op>, operands: &[ValueId]) {
    let mut unneeded = made.net.operands(id);
    made.net.set_op(id, op.into());
    made.net.set_operands(id, operands);
    while let Some(ValueId { node, .. }) = unneeded.pop() {
        let shown = made.net.outputs.iter().any(|output| output.value.node == node);
        let is_free = made.net.contains(node) && made.net.users(node).is_empty() && !shown;
        if is_free && !matches!(made.net.node(node).op, Op::Input(_)) {
            unneeded.extend(made.net.operands(node));
            made.net.remove(node, None);
            made.params.remove(&node);
        }
    }
}

/// `b * tanh(a * x)` is tanh with a slope and a scale.
fn scales_of_tanh(made: &mut Lowered, id: NodeId) -> bool {
    let mut changed = false;
    // All factors in front at once: a long product takes no sweep for each.
    while made.net.contains(id) && scale_of_tanh(made, id) {
        changed = true;
    }
    changed
}

fn scale_of_tanh(made: &mut Lowered, id: NodeId) -> bool {
    let factor = |op: &Op| match op {
        Op::Affine(affine) if affine.shift == [0.0] && affine.scale.len() == 1 => Some(affine.scale[0]),
        _ => None,
    };
    let Some(before) = only_operand(made, id, 0) else { return false };
    match (made.net.node(id).op.clone(), made.net.node(before).op.clone()) {
        (Op::Activation(Activation::Tanh { scale, slope }), inner) => {
            let Some(inner) = factor(&inner) else { return false };
            made.net.set_op(id, Activation::Tanh { scale, slope: slope * inner }.into());
            let operand = made.net.operands(before)[0];
            replace(made, before, operand);
            true
        }
        (outer, Op::Activation(Activation::Tanh { scale, slope })) => {
            let Some(outer) = factor(&outer) else { return false };
            made.net.set_op(before, Activation::Tanh { scale: scale * outer, slope }.into());
            replace(made, id, before.into());
            true
        }
        _ => false,
    }
}

/// `relu6(x + 3)/6` is hard_sigmoid, `x * relu6(x + 3)/6` is hard_swish.
fn hard_functions(made: &mut Lowered, id: NodeId) -> bool {
    let sixth = |op: &Op| matches!(op, Op::Affine(affine) if affine.shift == [0.0] && matches!(affine.scale.as_slice(), [scale] if (scale * 6.0 - 1.0).abs() < 1e-5));
    if !sixth(&made.net.node(id).op) {
        return false;
    }
    let Some(before) = only_operand(made, id, 0) else { return false };
    let bent = |made: &Lowered, id: NodeId| -> Option<ValueId> {
        let shifted = matches!(made.net.node(id).op, Op::Activation(Activation::Relu6))
            .then(|| only_operand(made, id, 0))
            .flatten()?;
        let by_three =
            matches!(&made.net.node(shifted).op, Op::Affine(affine) if affine.scale == [1.0] && affine.shift == [3.0]);
        by_three.then(|| made.net.operands(shifted)[0])
    };
    if let Some(x) = bent(made, before) {
        let [slope, shift] = HARD_SIGMOID;
        become_layer(made, id, Activation::HardSigmoid { slope, shift }, &[x]);
        return true;
    }
    if matches!(made.net.node(before).op, Op::Mul(_)) && made.net.operands(before).len() == 2 {
        for at in [0, 1] {
            let other = made.net.operands(before)[1 - at];
            if only_operand(made, before, at).and_then(|gate| bent(made, gate)) == Some(other) {
                become_layer(made, id, Activation::HardSwish, &[other]);
                return true;
            }
        }
    }
    false
}
