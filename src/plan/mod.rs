//! From a graph to what is executed: steps in order, a kernel for each, and a place in one arena for every value.
//!
//! `schedule` orders the nodes; [`select`] picks the kernel of each from its geometry; [`buffers`] joins values that can
//! share memory (views, activations in place, the parts of a concatenation) and lays them out by the times at which
//! they are alive. A plan is for one batch size and one input size, knows no weights and never fails on a graph that
//! has been checked. [`explain`] says why it is as it is.

pub mod buffers;
pub mod explain;
mod gaps;
pub mod select;

use std::collections::HashMap;
use std::ops::Range;

use crate::cost;
use crate::ir::{NodeId, ValueId};
use crate::op::{Op, activation::Activation};
use crate::opt::Optimised;

pub use select::Kernel;

/// A value's place in the arena and its sizes with the batch in front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Elements of the arena.
    pub place: Range<usize>,
    /// Sizes, batch first.
    pub dims: Vec<usize>,
}

/// One kernel call.
#[derive(Clone, Debug)]
pub struct Step {
    /// The node it computes; with a fused activation the node in front of that.
    pub node: NodeId,
    /// The path of that node.
    pub path: String,
    /// The operator.
    pub op: Op,
    /// The kernel.
    pub kernel: Kernel,
    /// An activation applied to the result while it is at hand.
    pub activation: Option<Activation>,
    /// The operands.
    pub inputs: Vec<Slot>,
    /// The results.
    pub outputs: Vec<Slot>,
    /// Whether the result takes the place of operand 0.
    pub in_place: bool,
}

/// A program for one batch size.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Samples in a batch.
    pub batch: usize,
    /// The steps in order.
    pub steps: Vec<Step>,
    /// Where each input of the net is put, in the net's order.
    pub inputs: Vec<Slot>,
    /// Where each output of the net is found, with its name.
    pub outputs: Vec<(String, Slot)>,
    /// Elements of the arena.
    pub arena: usize,
    /// The largest sum of sizes of values that are alive at once, in elements: no plan of this order needs less
    /// without recomputing.
    pub lower_bound: usize,
}

/// The largest arena that a plan may ask for, in elements: 2^40 bytes.
const MAX_ARENA: usize = 1 << 38;

/// Why a graph cannot be planned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A size of the graph is not known.
    #[error("the size of `{path}` depends on {}; compile the net with a fixed size", symbols.join(", "))]
    Symbolic {
        /// The node.
        path: String,
        /// What it depends on.
        symbols: Vec<String>,
    },
    /// More memory than any machine here has.
    #[error("`{path}` needs more than 1 TiB of memory at batch {batch}")]
    TooLarge {
        /// The node.
        path: String,
        /// The batch.
        batch: usize,
    },
}

/// Plans an optimised graph for a batch of `batch` samples.
///
/// # Errors
/// When a size is symbolic or the memory needed is beyond reason.
pub fn plan(optimised: &Optimised, batch: usize) -> Result<Plan, PlanError> {
    let net = &optimised.net;
    let order = order(optimised);
    let dims = dims(optimised, &order, batch)?;
    let fused = select::fused_activations(optimised);
    let layout = buffers::lay_out(optimised, &order, &dims, &fused);
    let slot = |value: ValueId| Slot { place: layout.place(value), dims: dims[&value].clone() };
    let mut steps = Vec::new();
    for &id in &order {
        let node = net.node(id);
        let is_step = !matches!(node.op, Op::Input(_)) && !select::is_view(&node.op) && !fused.contains_key(&id);
        if !is_step {
            continue;
        }
        let operands = net.operands(id);
        let activation = net.users(id).first().and_then(|(_, user, _)| {
            fused.get(user).filter(|front| **front == id)?;
            match &net.node(*user).op {
                Op::Activation(activation) => Some(*activation),
                _ => None,
            }
        });
        let outputs: Vec<Slot> = (0u32..)
            .take(optimised.shapes.results(id).len())
            .map(|output| slot(ValueId { node: id, output }))
            .collect();
        let inputs: Vec<Slot> = operands.into_iter().map(slot).collect();
        let in_place = inputs.first().is_some_and(|input| outputs.first().is_some_and(|o| o.place == input.place));
        let kernel = select::kernel(&node.op, &inputs, &outputs);
        steps.push(Step {
            node: id,
            path: node.path.clone(),
            op: node.op.clone(),
            kernel,
            activation,
            inputs,
            outputs,
            in_place,
        });
    }
    Ok(Plan {
        batch,
        steps,
        inputs: net.inputs.iter().map(|&id| slot(id.into())).collect(),
        outputs: net.outputs.iter().map(|output| (output.name.clone(), slot(output.value))).collect(),
        arena: layout.arena,
        lower_bound: layout.lower_bound,
    })
}

/// The order that needs the least memory, as far as it is found; the topological one where costs do not say.
fn order(optimised: &Optimised) -> Vec<NodeId> {
    let options = cost::Options { train: true, ..cost::Options::default() };
    let topological = optimised.net.topological();
    match cost::schedule::schedule(&optimised.net, &optimised.shapes, &options) {
        Ok(schedule) if schedule.order.len() == topological.len() => schedule.order,
        _ => topological,
    }
}

fn dims(optimised: &Optimised, order: &[NodeId], batch: usize) -> Result<HashMap<ValueId, Vec<usize>>, PlanError> {
    let mut dims = HashMap::new();
    let mut total = 0usize;
    for &id in order {
        let path = &optimised.net.node(id).path;
        for (output, shape) in (0u32..).zip(optimised.shapes.results(id)) {
            let Some(known) = shape.as_known() else {
                let mut symbols: Vec<String> = shape.0.iter().flat_map(crate::dim::Dim::symbols).collect();
                symbols.sort();
                symbols.dedup();
                return Err(PlanError::Symbolic { path: path.clone(), symbols });
            };
            let sizes: Vec<usize> = std::iter::once(batch).chain(known).collect();
            let elements = sizes.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
            total = elements
                .and_then(|elements| total.checked_add(elements.next_multiple_of(buffers::ALIGN)))
                .filter(|&total| total <= MAX_ARENA)
                .ok_or_else(|| PlanError::TooLarge { path: path.clone(), batch })?;
            dims.insert(ValueId { node: id, output }, sizes);
        }
    }
    Ok(dims)
}

impl Step {
    /// Multiply-accumulates of the step for one sample; zero for everything but convolutions and linear layers.
    pub fn macs(&self, optimised: &Optimised) -> u64 {
        let inputs = optimised.shapes.operands(&optimised.net, self.node);
        let cost = self.op.cost(&inputs, optimised.shapes.results(self.node));
        cost.ok().and_then(|cost| cost.macs.as_u64()).unwrap_or(0)
    }
}
