//! The order of execution with the least activation memory, and that memory.
//!
//! What is counted, for a batch, in bytes of `f32`:
//! - inputs of the net are alive from the start to their last use; outputs of the net, from their step to the end;
//! - any other value, from its step to its last use; what nobody uses, for its own step;
//! - at a step, everything alive, the operands and the results stand in memory together, except that an operator that
//!   looks at each position by itself ([`in_place`]) writes over an operand of the same size that dies there (inputs and
//!   outputs of the net are never written over), and that identity, dropout, flatten and reshape only rename their
//!   operand's memory;
//! - weights and the scratch memory of kernels are not activations.
//!
//! A node that comes before or after every other node in any order cuts the problem in two. Between cuts the best of
//! several orders is taken; where that is more than some step needs in any order, the orders are searched exhaustively
//! as far as a fixed number of states allows. Everything else takes time in proportion to the edges, or to that times
//! a logarithm.

mod orders;
mod problem;
mod search;
mod segments;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::collections::BTreeMap;

use super::counts::{BYTES, is_view};
use super::{CostError, Options, covered, symbolic};
use crate::dim::{self, Dim, DimError};
use crate::ir::{Net, NodeId, ValueId};
use crate::op::Op;
use crate::shape::Shapes;

use problem::{Buffer, Problem, Task};

/// Symbolic peaks of which none is known to be the largest, kept in the hope of one that is.
const MOST_PEAKS: usize = 8;

/// An order of execution.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// Every covered node: the inputs of the net, then each after its operands.
    pub order: Vec<NodeId>,
    /// Bytes alive while each node of `order` runs; for an input, those of all inputs.
    pub alive: Vec<u64>,
    /// The largest of `alive`.
    pub peak_bytes: u64,
    /// Whether it is proved that no order needs less.
    pub optimal: bool,
}

impl Schedule {
    /// The first step at which the most bytes are alive, as an index into `order`.
    pub fn peak_step(&self) -> Option<usize> {
        self.alive.iter().position(|&alive| alive == self.peak_bytes)
    }
}

/// The memory that activations take.
#[derive(Clone, Debug, PartialEq)]
pub struct Memory {
    /// The order. Where sizes are symbolic it is the best at the sizes of `sample`, and `alive` speaks of those.
    pub schedule: Schedule,
    /// The sizes for which the order was chosen, where they are symbolic.
    pub sample: Vec<(String, u64)>,
    /// The peak under that order; `None` where it depends on the symbols which step has it.
    pub peak_bytes: Option<Dim>,
    /// The values alive at the peak, largest first, with their bytes.
    pub at_peak: Vec<(ValueId, Dim)>,
}

/// The best order found, for a batch. Where sizes are symbolic, the one for sizes of about 256.
///
/// # Errors
/// When bytes do not fit 64 bits.
pub fn schedule(net: &Net, shapes: &Shapes, options: &Options) -> Result<Schedule, CostError> {
    Ok(memory(net, shapes, options)?.schedule)
}

/// The best order found and what its peak consists of.
///
/// # Errors
/// When bytes do not fit 64 bits.
pub fn memory(net: &Net, shapes: &Shapes, options: &Options) -> Result<Memory, CostError> {
    let failed = |source| CostError::Sum { net: net.name.clone(), span: net.span, source };
    let lowered = Lowered::new(net, shapes, options).map_err(failed)?;
    let best = segments::best(&lowered.problem);
    let alive = lowered.problem.trace(&best.order);
    let peak_bytes = alive.iter().copied().max().unwrap_or(0).max(lowered.problem.at_start());
    let peak = if lowered.sample.is_empty() {
        Some(Dim::from(peak_bytes))
    } else {
        lowered.symbolic_peak(&best.order).map_err(failed)?
    };
    let at_peak = lowered.at_peak(&best.order, &alive, peak_bytes);
    let order = lowered.inputs.iter().copied().chain(best.order.iter().map(|&task| lowered.nodes[task as usize]));
    let inputs = std::iter::repeat_n(lowered.problem.at_start(), lowered.inputs.len());
    let (order, alive) = (order.collect(), inputs.chain(alive).collect());
    let schedule = Schedule { order, alive, peak_bytes, optimal: best.optimal };
    Ok(Memory { schedule, sample: lowered.sample, peak_bytes: peak, at_peak })
}

/// Whether the operator can write its result over an operand of the same size.
pub fn in_place(op: &Op) -> bool {
    matches!(
        op,
        Op::Activation(_)
            | Op::BatchNorm(_)
            | Op::LayerNorm(_)
            | Op::GroupNorm(_)
            | Op::Prelu(_)
            | Op::Softmax(_)
            | Op::ChannelScale(_)
            | Op::Affine(_)
            | Op::Add(_)
            | Op::Sub(_)
            | Op::Mul(_)
            | Op::Div(_)
            | Op::Extremum(_)
    )
}

/// A net as tasks and buffers.
struct Lowered {
    problem: Problem,
    inputs: Vec<NodeId>,
    /// The node of each task.
    nodes: Vec<NodeId>,
    /// The value that each buffer was made for, and its bytes.
    values: Vec<(ValueId, Dim)>,
    sample: Vec<(String, u64)>,
}

impl Lowered {
    fn new(net: &Net, shapes: &Shapes, options: &Options) -> Result<Lowered, DimError> {
        let covered = covered(net, options.train);
        let order: Vec<NodeId> = net.topological().into_iter().filter(|id| covered[id.index()]).collect();
        let mut values = Vec::new();
        let mut buffer_of: Vec<Vec<u32>> = vec![Vec::new(); net.bound()];
        for &id in &order {
            let op = &net.node(id).op;
            if let (true, Some(from)) = (is_view(op), net.operands(id).first()) {
                buffer_of[id.index()] = vec![buffer_of[from.node.index()][from.output as usize]];
                continue;
            }
            for (output, shape) in (0u32..).zip(shapes.results(id)) {
                let bytes = shape.elements()?.mul(&Dim::from(BYTES))?.mul(&Dim::from(options.batch))?;
                buffer_of[id.index()].push(values.len() as u32);
                values.push((ValueId { node: id, output }, bytes));
            }
        }
        let buffer = |value: ValueId| buffer_of[value.node.index()][value.output as usize];
        let kept: Vec<u32> = net.outputs_for(options.train).map(|output| buffer(output.value)).collect();
        let sample = sample(&values);
        let buffers = buffers(&values, &sample, net, &kept)?;
        let (inputs, nodes): (Vec<NodeId>, Vec<NodeId>) =
            order.into_iter().partition(|&id| matches!(net.node(id).op, Op::Input(_)));
        let tasks = nodes.iter().map(|&id| {
            let op = &net.node(id).op;
            let reads = net.operands(id).into_iter().map(buffer).collect();
            let writes = if is_view(op) { Vec::new() } else { buffer_of[id.index()].clone() };
            let after = net.operands(id).into_iter().map(|value| value.node).collect();
            (Task { reads, writes, in_place: in_place(op) }, after)
        });
        let problem = Problem::new(tasks.collect(), &nodes, buffers);
        Ok(Lowered { problem, inputs, nodes, values, sample: sample.into_iter().collect() })
    }

    /// The largest of the sums of symbolic sizes along an order, if there is one for all values of the symbols.
    fn symbolic_peak(&self, order: &[u32]) -> Result<Option<Dim>, DimError> {
        let bytes = |buffer: u32| &self.values[buffer as usize].1;
        let inputs = self.problem.buffers.iter().zip(&self.values).filter(|(buffer, _)| buffer.input);
        let mut alive = dim::sum(inputs.map(|(_, (_, bytes))| bytes))?;
        let mut walk = self.problem.walk();
        let mut highest = vec![alive.clone()];
        for &task in order {
            let step = walk.step(task);
            for &buffer in &step.written {
                alive = alive.add(bytes(buffer))?;
            }
            let during = match step.overwritten {
                Some(buffer) => alive.sub(bytes(buffer))?,
                None => alive.clone(),
            };
            for &buffer in &step.freed {
                alive = alive.sub(bytes(buffer))?;
            }
            let covered = |peak: &Dim| *peak == during || peak.at_least(&during) == Some(true);
            if !highest.iter().any(covered) {
                highest.retain(|peak| during.at_least(peak) != Some(true));
                highest.push(during);
            }
            if MOST_PEAKS < highest.len() {
                return Ok(None);
            }
        }
        Ok(highest.pop().filter(|_| highest.is_empty()))
    }

    /// The values alive at the first step that has the peak, largest first.
    fn at_peak(&self, order: &[u32], alive: &[u64], peak: u64) -> Vec<(ValueId, Dim)> {
        let mut live: Vec<bool> = self.problem.buffers.iter().map(|buffer| buffer.input).collect();
        let mut walk = self.problem.walk();
        let steps = if self.problem.at_start() == peak { 0 } else { order.len() };
        for (&task, &bytes) in order.iter().zip(alive).take(steps) {
            let step = walk.step(task);
            step.written.iter().for_each(|&buffer| live[buffer as usize] = true);
            if bytes == peak {
                step.overwritten.into_iter().for_each(|buffer| live[buffer as usize] = false);
                break;
            }
            step.freed.iter().for_each(|&buffer| live[buffer as usize] = false);
        }
        let mut values: Vec<usize> = (0..live.len()).filter(|&buffer| live[buffer]).collect();
        values.sort_by_key(|&buffer| std::cmp::Reverse(self.problem.buffers[buffer].bytes));
        values.into_iter().map(|buffer| self.values[buffer].clone()).collect()
    }
}

/// The sizes of symbols for which buffers are counted.
fn sample(values: &[(ValueId, Dim)]) -> BTreeMap<String, u64> {
    let sizes: Vec<&Dim> = values.iter().map(|(_, bytes)| bytes).filter(|bytes| bytes.is_symbolic()).collect();
    symbolic::sample(&sizes).unwrap_or_default()
}

/// The buffers in numbers.
fn buffers(
    values: &[(ValueId, Dim)],
    sample: &BTreeMap<String, u64>,
    net: &Net,
    kept: &[u32],
) -> Result<Vec<Buffer>, DimError> {
    let mut total = 0u64;
    let mut buffers = Vec::with_capacity(values.len());
    for (value, bytes) in values {
        let bytes = bytes.evaluate(sample)?.as_u64().ok_or(DimError::Overflow)?;
        // No sum of buffers can overflow when that of all does not.
        total = total.checked_add(bytes).ok_or(DimError::Overflow)?;
        let input = matches!(net.node(value.node).op, Op::Input(_));
        buffers.push(Buffer { bytes, input, kept: false, users: Vec::new() });
    }
    kept.iter().for_each(|&buffer| buffers[buffer as usize].kept = true);
    Ok(buffers)
}
