//! From a graph to what is executed: steps in order, a kernel for each, and a place in one arena for every value.
//!
//! `schedule` orders the nodes; [`select`] picks the kernel of each from its geometry; [`fuse`] says which nodes one step
//! computes; [`buffers`] joins values that can share memory (views, results in place, the parts of a concatenation) and
//! lays them out by the times at which they are alive. Feature maps lie as rows of channels, a row a pixel (NHWC). A plan is for one batch size and one input size, knows no weights and never fails on a graph that
//! has been checked. [`explain`] says why it is as it is.

pub mod buffers;
pub mod explain;
pub mod fuse;
mod gaps;
pub mod select;

use std::collections::HashMap;
use std::sync::Arc;

use crate::cost;
use crate::ir::{NodeId, ValueId};
use crate::kernel::product::Range;
use crate::kernel::rows::Place;
use crate::op::gradient::{Differentiated, Gradient};
use crate::op::pool::Pool;
use crate::op::pool::span::{Span, spans};
use crate::op::{Op, activation::Activation};
use crate::opt::Optimised;

pub use select::{Kernel, Machine, Picks};

/// A value's place in the arena and its sizes with the batch in front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Its rows in the arena.
    pub place: Place,
    /// Sizes as users see them, batch first.
    pub dims: Vec<usize>,
}

/// One kernel call.
#[derive(Clone, Debug)]
pub struct Step {
    /// The node that does the work.
    pub node: NodeId,
    /// The path of that node.
    pub path: String,
    /// The operator.
    pub op: Op,
    /// The kernel.
    pub kernel: Kernel,
    /// A batch norm that is applied to the operand on its way, and the range behind it.
    pub prologue: Option<(NodeId, Range)>,
    /// Whether the last operand is a value that the result is added to.
    pub has_residual: bool,
    /// An activation applied to the result while it is at hand.
    pub activation: Option<Activation>,
    /// The range of an activation whose gradient is taken on the way; its results are the last operand.
    pub mask: Option<Range>,
    /// The operands.
    pub inputs: Vec<Slot>,
    /// The results.
    pub outputs: Vec<Slot>,
    /// The sizes of the parameters.
    pub params: Vec<Vec<usize>>,
    /// For pooling, the rows and columns that each position covers.
    pub spans: Option<[Vec<Span>; 2]>,
}

impl Step {
    /// Whether the result takes the place of an operand.
    pub fn in_place(&self) -> bool {
        self.inputs.iter().any(|input| self.outputs.iter().any(|output| output.place == input.place))
    }
}

/// How a plan is made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// Whether convolutions are summed product by product, without Winograd's transforms.
    pub exact: bool,
    /// The kernel of every convolution that it can compute, whatever is expected of it: for tests, and for finding the
    /// one at fault.
    pub forced: Option<Kernel>,
    /// What is expected of the machine, where nothing is forced.
    pub machine: Machine,
    /// Kernels that have been timed on this machine; they count more than what is expected of it.
    pub picks: Option<Arc<Picks>>,
    /// Whether nodes are executed in the order in which they were made, as a graph of gradients is made to be, instead of
    /// one that is searched for.
    pub as_made: bool,
}

/// A program for one batch size.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Samples in a batch.
    pub batch: usize,
    /// How it was made.
    pub options: Options,
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
pub fn plan(optimised: &Optimised, batch: usize, options: &Options) -> Result<Plan, PlanError> {
    let net = &optimised.net;
    let order = if options.as_made { net.topological() } else { order(optimised) };
    let dims = dims(optimised, &order, batch)?;
    let (groups, aliases) = fuse::groups(optimised, &order, &dims, options);
    let layout = buffers::lay_out(optimised, &groups, &aliases, &dims);
    let slot = |value: ValueId| Slot { place: layout.place(value), dims: dims[&value].clone() };
    let steps = groups.into_iter().map(|group| {
        let node = net.node(group.node);
        let inputs: Vec<Slot> = group.reads.into_iter().map(slot).collect();
        let outputs: Vec<Slot> = group.results.into_iter().map(slot).collect();
        let spans = match &node.op {
            Op::Pool(pool) => Some(spans_of(pool, &inputs[0], &outputs[0])),
            Op::Gradient(Gradient { of: Differentiated::Pool(pool), .. }) => {
                inputs.last().map(|gradient| spans_of(pool, &outputs[0], gradient))
            }
            _ => None,
        };
        Step {
            node: group.node,
            path: node.path.clone(),
            op: node.op.clone(),
            kernel: group.kernel,
            prologue: group.prologue,
            has_residual: group.residual.is_some(),
            activation: group.activation,
            mask: group.mask,
            params: param_sizes(optimised, group.node),
            inputs,
            outputs,
            spans,
        }
    });
    Ok(Plan {
        batch,
        options: options.clone(),
        steps: steps.filter(|step| !lies_in_place(step)).collect(),
        inputs: net.inputs.iter().map(|&id| slot(id.into())).collect(),
        outputs: net.outputs.iter().map(|output| (output.name.clone(), slot(output.value))).collect(),
        arena: layout.arena,
        lower_bound: layout.lower_bound,
    })
}

/// The sizes of the parameters of a node.
fn param_sizes(optimised: &Optimised, id: NodeId) -> Vec<Vec<usize>> {
    let specs = optimised.shapes.params(&optimised.net, id).into_iter();
    specs.map(|spec| spec.shape.iter().map(|&size| size as usize).collect()).collect()
}

/// The rows and columns that each position of a result covers.
fn spans_of(pool: &Pool, from: &Slot, to: &Slot) -> [Vec<Span>; 2] {
    let sizes = |slot: &Slot| [slot.dims[2], slot.dims[3]];
    spans(&pool.extent, sizes(from), sizes(to))
}

/// Whether nothing is left to do: all parts of a concatenation are where they belong, a slice is a part of its operand.
fn lies_in_place(step: &Step) -> bool {
    match step.kernel {
        Kernel::Concat => step.parts().all(|(from, to)| from == to),
        Kernel::Columns => step.columns() == Some(step.outputs[0].place),
        _ => false,
    }
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
            let sizes: Vec<usize> = if optimised.net.node(id).op.is_per_sample(output as usize) {
                std::iter::once(batch).chain(known).collect()
            } else {
                vec![1, known.iter().product()]
            };
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
    /// For a concatenation over channels, where each part is and where it belongs.
    pub fn parts(&self) -> impl Iterator<Item = (Place, Place)> {
        let whole = self.outputs[0].place;
        self.inputs.iter().scan(0, move |column, part| {
            let to = Place { start: whole.start + *column, width: part.place.width, ..whole };
            *column += part.place.width;
            Some((part.place, to))
        })
    }

    /// For a slice of channels, where it is in its operand.
    pub fn columns(&self) -> Option<Place> {
        let Op::Slice(slice) = &self.op else { return None };
        let whole = self.inputs[0].place;
        Some(Place { start: whole.start + slice.start as usize, width: self.outputs[0].place.width, ..whole })
    }

    /// Multiply-accumulates of the step for one sample; zero for everything but convolutions and linear layers.
    pub fn macs(&self, optimised: &Optimised) -> u64 {
        let inputs = optimised.shapes.operands(&optimised.net, self.node);
        let cost = self.op.cost(&inputs, optimised.shapes.results(self.node));
        cost.ok().and_then(|cost| cost.macs.as_u64()).unwrap_or(0)
    }
}
