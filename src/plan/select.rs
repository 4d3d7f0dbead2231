//! Which kernel computes a step: a function of its geometry alone, never of the number of threads, so that results do
//! not depend on it.

use std::collections::HashMap;

use super::Slot;
use crate::ir::NodeId;
use crate::op::Op;
use crate::op::conv::Conv;
use crate::op::pool::Extent;
use crate::opt::Optimised;

/// How a step is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// A 1x1 convolution as one matrix product per sample, on the input as it lies.
    ConvPointwise,
    /// A convolution as matrix products over blocks of unfolded input rows.
    ConvUnfolded,
    /// A convolution of each channel by itself, a row at a time.
    ConvDepthwise,
    /// A linear layer on one sample: a dot product for each output, on the weights as they lie.
    LinearVector,
    /// A linear layer on several samples, as one matrix product.
    LinearMatrix,
    /// Pooling windows with their borders worked out beforehand.
    Pool,
    /// A function of each element, in parallel.
    Pointwise,
    /// A scale and a shift for each channel, in parallel.
    PerChannel,
    /// A sum of values, in parallel.
    Sum,
    /// The parts copied to their places; nothing where they have been computed there.
    Concat,
    /// The operator's own plain loops.
    Plain,
}

impl Kernel {
    /// A short name for tables.
    pub fn name(self) -> &'static str {
        match self {
            Kernel::ConvPointwise => "gemm 1x1",
            Kernel::ConvUnfolded => "unfold+gemm",
            Kernel::ConvDepthwise => "depthwise rows",
            Kernel::LinearVector => "matrix-vector",
            Kernel::LinearMatrix => "gemm",
            Kernel::Pool => "windows",
            Kernel::Pointwise => "pointwise",
            Kernel::PerChannel => "per channel",
            Kernel::Sum => "sum",
            Kernel::Concat => "concat",
            Kernel::Plain => "plain loops",
        }
    }

    /// Why it was picked, for `netc plan --explain`.
    pub fn reason(self) -> &'static str {
        match self {
            Kernel::ConvPointwise => {
                "a 1x1 window at stride 1 without padding is a matrix product on the input as it lies"
            }
            Kernel::ConvUnfolded => {
                "windows overlap, so input rows are unfolded block by block in front of the product"
            }
            Kernel::ConvDepthwise => "each channel by itself has too few products for a matrix",
            Kernel::LinearVector => "one sample reads every weight once: bound by memory",
            Kernel::LinearMatrix => "several samples share the weights",
            Kernel::Pool => "each channel plane by itself",
            Kernel::Pointwise | Kernel::PerChannel | Kernel::Sum => "bound by memory; split evenly",
            Kernel::Concat => "parts that could be computed in place are; the rest is copied",
            Kernel::Plain => "no kernel of its own: the operator's plain loops",
        }
    }
}

/// Whether a node only looks at its operand's elements under another shape.
pub fn is_view(op: &Op) -> bool {
    matches!(op, Op::Flatten(_) | Op::Reshape(_))
}

/// Whether a node can write its result over its first operand.
pub fn works_in_place(op: &Op) -> bool {
    matches!(op, Op::Activation(_) | Op::Add(_) | Op::BatchNorm(_) | Op::ChannelScale(_) | Op::Affine(_))
}

/// The kernel of a step.
pub fn kernel(op: &Op, inputs: &[Slot], outputs: &[Slot]) -> Kernel {
    match op {
        Op::Conv(conv) => conv_kernel(conv, &inputs[0].dims),
        Op::Linear(_) if inputs[0].dims[0] == 1 => Kernel::LinearVector,
        Op::Linear(_) => Kernel::LinearMatrix,
        Op::Pool(pool) if matches!(pool.extent, Extent::Windows(_)) => Kernel::Pool,
        Op::Activation(_) => Kernel::Pointwise,
        Op::BatchNorm(_) | Op::ChannelScale(_) => Kernel::PerChannel,
        Op::Add(_) => Kernel::Sum,
        Op::Concat(_) if outputs[0].dims.len() > 1 => Kernel::Concat,
        _ => Kernel::Plain,
    }
}

fn conv_kernel(conv: &Conv, dims: &[usize]) -> Kernel {
    let windows = &conv.windows;
    if conv.groups > 1 && conv.groups == dims[1] as u64 && conv.groups == conv.out_c {
        return Kernel::ConvDepthwise;
    }
    let padded = windows.sides([dims[2], dims[3]]).iter().any(|&side| side != 0);
    if windows.kernel == [1, 1] && windows.stride == [1, 1] && !padded {
        return Kernel::ConvPointwise;
    }
    Kernel::ConvUnfolded
}

/// Activations that the step in front of them applies, with that step's node.
pub fn fused_activations(optimised: &Optimised) -> HashMap<NodeId, NodeId> {
    let net = &optimised.net;
    let mut fused = HashMap::new();
    let shown = net.shown();
    for id in net.nodes() {
        if !matches!(net.node(id).op, Op::Activation(_)) {
            continue;
        }
        let Some(&front) = net.operands(id).first() else { continue };
        let has_epilogue =
            matches!(net.node(front.node).op, Op::Conv(_) | Op::Linear(_) | Op::Add(_) | Op::BatchNorm(_));
        if has_epilogue && !shown.contains(&front) && net.has_one_use(front.node) {
            fused.insert(id, front.node);
        }
    }
    fused
}
