//! What a training pass costs: operations of both directions, and the memory that its plan takes.

use serde::Serialize;

use crate::Compiled;
use crate::dim::{Dim, DimError};
use crate::grad::{GradError, Objective, differentiate};
use crate::op::Op;
use crate::op::loss::LossKind;
use crate::plan::{self, PlanError};
use crate::run::{packed_bytes, pass_options};
use crate::weights::{Parameter, parameters};

/// A pass of all parameters for a batch, and the memory of a step of SGD with momentum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PassCost {
    /// Samples in a batch.
    pub batch: u64,
    /// Multiply-accumulates of the forward pass, the losses included.
    pub forward_macs: u64,
    /// Those of the gradients.
    pub backward_macs: u64,
    /// Floating-point operations of the forward pass.
    pub forward_flops: u64,
    /// Those of the gradients.
    pub backward_flops: u64,
    /// Bytes of all that a step takes.
    pub memory_bytes: u64,
    /// Of these the arena in which values lie: inputs, activations, gradients.
    pub value_bytes: u64,
    /// The parameters and buffers.
    pub parameter_bytes: u64,
    /// What the optimiser keeps of each parameter: one number with momentum.
    pub optimiser_bytes: u64,
    /// The weights in the forms in which kernels read them.
    pub packed_bytes: u64,
    /// Bytes of all where values between blocks are computed again.
    pub recomputed_memory_bytes: u64,
    /// Floating-point operations that computing again adds.
    pub recomputed_flops: u64,
}

/// Why a pass has no cost.
#[derive(Debug, thiserror::Error)]
pub enum PassCostError {
    /// There is no gradient.
    #[error(transparent)]
    Gradient(#[from] GradError),
    /// It cannot be planned.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A count does not fit 64 bits.
    #[error("the operations of a training pass are more than 64 bits can count")]
    TooLarge,
}

impl From<DimError> for PassCostError {
    fn from(_: DimError) -> Self {
        PassCostError::TooLarge
    }
}

/// Counts the operations of a training pass, and plans its memory.
///
/// # Errors
/// When there is nothing to train, a size is not known, or a count is too large.
///
/// ```
/// let compiled = netc::compile("specs/lenet5.net")?;
/// let cost = netc::train::cost::pass(&compiled, 64)?;
/// assert_eq!(cost.forward_macs, 64 * 416_520);
/// // The gradients of weights, and of all inputs but the first layer's.
/// assert_eq!(cost.backward_macs, 64 * (2 * 416_520 - 117_600));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn pass(compiled: &Compiled, batch: u64) -> Result<PassCost, PassCostError> {
    let [kept, again] = [measured(compiled, batch, false)?, measured(compiled, batch, true)?];
    let sum = |counts: &Counts| counts.forward_flops.checked_add(counts.backward_flops).ok_or(PassCostError::TooLarge);
    Ok(PassCost {
        batch,
        forward_macs: kept.forward_macs,
        backward_macs: kept.backward_macs,
        forward_flops: kept.forward_flops,
        backward_flops: kept.backward_flops,
        memory_bytes: kept.memory.iter().sum(),
        value_bytes: kept.memory[0],
        parameter_bytes: kept.memory[1],
        optimiser_bytes: kept.memory[2],
        packed_bytes: kept.memory[3],
        recomputed_memory_bytes: again.memory.iter().sum(),
        recomputed_flops: sum(&again)? - sum(&kept)?,
    })
}

struct Counts {
    forward_macs: u64,
    backward_macs: u64,
    forward_flops: u64,
    backward_flops: u64,
    /// Bytes of values, parameters, the optimiser's numbers and packed weights.
    memory: [u64; 4],
}

fn measured(compiled: &Compiled, batch: u64, recompute: bool) -> Result<Counts, PassCostError> {
    let objective = Objective { loss: LossKind::CrossEntropy, trained: &|_| true, recompute };
    let graph = differentiate(&compiled.net, &compiled.shapes, &objective)?.graph;
    let options = pass_options(true);
    let samples = usize::try_from(batch).map_err(|_| PassCostError::TooLarge)?;
    let plan = plan::plan(&graph, samples, &options)?;
    let parameters = parameters(&compiled.net, &compiled.shapes);
    let floats = |counted: &dyn Fn(&Parameter) -> bool| -> u64 {
        parameters.iter().filter(|parameter| counted(parameter)).filter_map(|parameter| parameter.spec.elements()).sum()
    };
    let bytes = |floats: u64| floats * size_of::<f32>() as u64;
    let trained = |parameter: &Parameter| parameter.spec.role.trainable();
    let memory = [
        bytes(plan.arena as u64),
        bytes(floats(&|_| true)),
        bytes(floats(&trained)),
        packed_bytes(&plan, &options) as u64,
    ];
    let mut sums = [[Dim::ZERO, Dim::ZERO], [Dim::ZERO, Dim::ZERO]];
    let mut is_backward = false;
    for id in graph.net.topological() {
        let op = &graph.net.node(id).op;
        // Nodes are made in order: what comes from the first gradient on is the backward pass.
        is_backward |= matches!(op, Op::Gradient(_));
        let cost = op.cost(&graph.shapes.operands(&graph.net, id), graph.shapes.results(id))?;
        let sum = &mut sums[usize::from(is_backward)];
        *sum = [sum[0].add(&cost.macs)?, sum[1].add(&cost.flops)?];
    }
    let whole = |count: &Dim| count.mul(&batch.into())?.as_u64().ok_or(PassCostError::TooLarge);
    Ok(Counts {
        forward_macs: whole(&sums[0][0])?,
        backward_macs: whole(&sums[1][0])?,
        forward_flops: whole(&sums[0][1])?,
        backward_flops: whole(&sums[1][1])?,
        memory,
    })
}
