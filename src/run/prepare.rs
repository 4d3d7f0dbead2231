//! Parameters in the form in which kernels read them.
//!
//! All weights that are packed lie in one stretch of memory, in the order of the steps: it can be kept in a file as it
//! is, and large pages cover it whatever the size of a layer.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range as Span;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::cache::{self, Kept};
use crate::ir::NodeId;
use crate::kernel::buffer::Buffer;
use crate::kernel::conv::{self, Geometry, Prologue};
use crate::kernel::conv_gradient::{self, Phase};
use crate::kernel::depthwise;
use crate::kernel::isa::{Isa, LANES};
use crate::kernel::product::Range;
use crate::kernel::threads::Threads;
use crate::kernel::winograd::{self, Tile};
use crate::op::Op;
use crate::opt::values::{Tensors, norm_terms, resolve};
use crate::opt::{Optimised, Source};
use crate::plan::select::geometry;
use crate::plan::{Kernel, Plan, Step};
use crate::weights::StoredTensor;

/// The parameters of a step.
#[derive(Debug)]
pub(super) struct Prepared {
    /// Those of its own operator.
    pub(super) own: Form,
    /// Those of the batch norm in front.
    pub(super) prologue: Option<Prologue>,
}

/// Parameters as a kernel reads them.
#[derive(Debug)]
pub(super) enum Form {
    /// Packed for products.
    Product(conv::Weights),
    /// Carried over to the positions of tiles.
    Winograd(winograd::Weights),
    /// Tap by tap.
    Depthwise(depthwise::Weights),
    /// A factor and a summand for each channel.
    PerChannel(Prologue),
    /// Packed for the phases of a gradient that are met.
    Phases(Vec<Phase>, Vec<Option<conv_gradient::Weights>>),
    /// As they are stored.
    Stored(Vec<StoredTensor>),
    /// Ranges of values that training changes.
    Live(Vec<Span<usize>>),
}

impl Form {
    /// A parameter as it lies, that of [`Live`](Form::Live) in `live`; none where there is none, or it is packed.
    pub(super) fn tensor<'a>(&'a self, at: usize, live: &'a [f32]) -> Option<Cow<'a, [f32]>> {
        match self {
            Form::Stored(tensors) => tensors.get(at).map(StoredTensor::to_f32),
            Form::Live(spans) => spans.get(at).map(|span| Cow::Borrowed(&live[span.clone()])),
            Form::Product(_) | Form::Winograd(_) | Form::Depthwise(_) | Form::PerChannel(_) | Form::Phases(..) => None,
        }
    }
}

/// The parameters of all steps.
#[derive(Debug)]
pub(super) struct Parameters {
    steps: HashMap<NodeId, Prepared>,
    packed: Arc<Buffer>,
    /// What became of the file that keeps the packed weights.
    pub(super) kept: Kept,
}

impl Parameters {
    /// Those of the step that computes this node.
    pub(super) fn of(&self, node: NodeId) -> Option<&Prepared> {
        self.steps.get(&node)
    }

    /// Bytes of packed weights, beyond those of the checkpoint.
    pub(super) fn bytes(&self) -> usize {
        size_of_val::<[f32]>(&self.packed)
    }
}

/// How a convolution's weights are packed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Packing {
    /// As a product that computes so many pixels as one.
    Product(Geometry, usize),
    /// On tiles, between so many channels.
    Winograd(Tile, [usize; 2]),
}

/// Whether the rows of what a step gives, and of what is added to it, lie without gaps.
pub(super) fn has_dense_results(step: &Step) -> bool {
    let mut results = step.outputs.iter().chain(step.inputs.last().filter(|_| step.has_residual));
    results.all(|slot| slot.place.is_dense())
}

impl Packing {
    /// For steps whose weights are packed.
    pub(super) fn of(step: &Step) -> Option<Packing> {
        let Op::Conv(conv) = &step.op else { return None };
        let g = geometry(conv, &step.inputs[0].dims, &step.outputs[0].dims);
        Packing::with(step.kernel, &g, has_dense_results(step))
    }

    /// For kernels whose weights are packed; `is_dense` says whether the rows of the result lie without gaps.
    pub(super) fn with(kernel: Kernel, g: &Geometry, is_dense: bool) -> Option<Packing> {
        match kernel {
            Kernel::Winograd(tile) => Some(Packing::Winograd(tile, [g.to.c, g.from.c])),
            Kernel::Product | Kernel::JoinedProduct => {
                Some(Packing::Product(*g, if is_dense { g.best_fold() } else { 1 }))
            }
            _ => None,
        }
    }

    pub(super) fn floats(&self) -> usize {
        match self {
            Packing::Product(g, fold) => conv::floats(g, *fold),
            Packing::Winograd(tile, channels) => tile.floats(*channels),
        }
    }

    pub(super) fn outputs(&self) -> usize {
        match self {
            Packing::Product(g, _) => g.to.c,
            Packing::Winograd(_, [outputs, _]) => *outputs,
        }
    }

    pub(super) fn pack(&self, isa: Isa, weight: &[f32], scale: &[f64], to: &mut [f32]) {
        match self {
            Packing::Product(g, fold) => conv::pack(isa, g, *fold, weight, scale, to),
            Packing::Winograd(tile, channels) => winograd::carry_over(isa, *tile, *channels, weight, scale, to),
        }
    }

    pub(super) fn form(&self, packed: &Arc<Buffer>, start: usize, bias: Option<&[f32]>) -> Form {
        match self {
            Packing::Product(g, fold) => Form::Product(conv::Weights::on(g, *fold, packed, start, bias)),
            Packing::Winograd(tile, channels) => {
                Form::Winograd(winograd::Weights::on(*tile, *channels, packed, start, bias))
            }
        }
    }
}

/// Prepares the parameters of every step, several steps at a time. Packed weights are read from the folder `cache`
/// where it has them, and kept there where not.
pub(super) fn prepare(
    plan: &Plan,
    optimised: &Optimised,
    tensors: &Tensors,
    (threads, isa): (&Threads, Isa),
    cache: Option<&Path>,
) -> Parameters {
    let packings: Vec<Option<Packing>> = plan.steps.iter().map(Packing::of).collect();
    let mut total = 0;
    let spans = packings.iter().map(|packing| {
        let start = total;
        total += packing.map_or(0, |packing| packing.floats()).next_multiple_of(ALIGN);
        start..start + packing.map_or(0, |packing| packing.floats())
    });
    let spans: Vec<Span<usize>> = spans.collect();
    let sources = |id: NodeId| optimised.params.get(&id).map_or(&[][..], |sources| sources);
    let weight = |at: usize| scaled(sources(plan.steps[at].node).first()?, tensors);
    let make = || pack(&packings, &spans, total, (threads, isa), weight);
    let (packed, kept) = match cache {
        None => (make(), Kept::Off),
        Some(folder) => {
            let packed = plan.steps.iter().zip(&packings);
            let described = packed.filter_map(|(step, packing)| Some((*packing.as_ref()?, sources(step.node))));
            let key = cache::key(&format!("{:?}", described.collect::<Vec<_>>()), tensors);
            cache::find_or_make(folder, key, total, make)
        }
    };
    let packed = Arc::new(packed);
    let done: Vec<OnceLock<Prepared>> = plan.steps.iter().map(|_| OnceLock::new()).collect();
    threads.run(plan.steps.len(), |at, _| {
        let step = &plan.steps[at];
        let all = |id: NodeId| sources(id).iter().filter_map(|source| resolve(source, tensors)).collect::<Vec<_>>();
        let own = match &packings[at] {
            Some(packing) => {
                let bias = sources(step.node).get(1).and_then(|source| resolve(source, tensors));
                let bias = bias.as_ref().map(StoredTensor::to_f32);
                packing.form(&packed, spans[at].start, bias.as_deref())
            }
            None => form(step, all(step.node)),
        };
        let prologue = step.prologue.map(|(norm, range)| Prologue {
            range,
            ..per_channel(&optimised.net.node(norm).op, &values_of(&all(norm)))
        });
        let _ = done[at].set(Prepared { own, prologue });
    });
    let steps = plan.steps.iter().zip(done).filter_map(|(step, prepared)| Some((step.node, prepared.into_inner()?)));
    Parameters { steps: steps.collect(), packed, kept }
}

/// The weights of a step begin at a multiple of so many floats: two cache lines.
const ALIGN: usize = 4 * LANES;

/// Packs the weights of every step into its span.
fn pack(
    packings: &[Option<Packing>],
    spans: &[Span<usize>],
    total: usize,
    (threads, isa): (&Threads, Isa),
    weight: impl Fn(usize) -> Option<(StoredTensor, Option<Vec<f64>>)> + Sync,
) -> Buffer {
    let mut packed = Buffer::zeros(total);
    let (mut rest, mut at) = (&mut packed[..], 0);
    let mut parts = Vec::with_capacity(spans.len());
    for span in spans {
        let (part, behind) = std::mem::take(&mut rest)[span.start - at..].split_at_mut(span.len());
        (rest, at) = (behind, span.end);
        parts.push(Mutex::new(part));
    }
    threads.run(packings.len(), |step, _| {
        if let (Some(packing), Some((weight, scale))) = (&packings[step], weight(step)) {
            let scale = scale.unwrap_or_else(|| vec![1.0; packing.outputs()]);
            let part = &mut parts[step].lock().unwrap_or_else(PoisonError::into_inner);
            packing.pack(isa, &weight.to_f32(), &scale, part);
            weight.release();
        }
    });
    drop(parts);
    packed
}

fn values_of(tensors: &[StoredTensor]) -> Vec<Cow<'_, [f32]>> {
    tensors.iter().map(StoredTensor::to_f32).collect()
}

fn form(step: &Step, tensors: Vec<StoredTensor>) -> Form {
    let values = values_of(&tensors);
    match (&step.op, step.kernel, values.as_slice()) {
        (Op::Conv(conv), Kernel::Depthwise, [weight, bias @ ..]) => {
            let [k_h, k_w] = conv.windows.kernel;
            let taps = (k_h * k_w) as usize;
            let bias = bias.first().map(|bias| &**bias);
            Form::Depthwise(depthwise::Weights::new(weight.len() / taps, taps, weight, bias))
        }
        (_, Kernel::PerChannel, _) => Form::PerChannel(per_channel(&step.op, &values)),
        _ => Form::Stored(tensors),
    }
}

/// A batch norm or a learnable scale as a factor and a summand for each channel.
pub(super) fn per_channel(op: &Op, values: &[Cow<[f32]>]) -> Prologue {
    let all = |leaf: usize| values.get(leaf).map_or(&[][..], |values| values).iter().map(|&x| f64::from(x));
    let (scale, shift) = match op {
        Op::BatchNorm(norm) => {
            let statistics = if norm.affine { 2 } else { 0 };
            let (mean, variance): (Vec<f64>, Vec<f64>) = (all(statistics).collect(), all(statistics + 1).collect());
            let gamma = if norm.affine { all(0).collect() } else { vec![1.0; mean.len()] };
            let beta = if norm.affine { all(1).collect() } else { vec![0.0; mean.len()] };
            let scale: Vec<f64> =
                gamma.iter().zip(&variance).map(|(gamma, variance)| gamma / (variance + norm.eps).sqrt()).collect();
            let shift = scale.iter().zip(&mean).zip(&beta).map(|((scale, mean), beta)| beta - mean * scale).collect();
            (scale, shift)
        }
        _ => {
            let scale: Vec<f64> = all(0).collect();
            let shift = if values.len() == 2 { all(1).collect() } else { vec![0.0; scale.len()] };
            (scale, shift)
        }
    };
    let single = |values: Vec<f64>| values.into_iter().map(|value| value as f32).collect();
    Prologue { scale: single(scale), shift: single(shift), range: Range::ALL }
}

/// The tensor that a source stands for, with the factor of each first index where it has not been multiplied yet.
fn scaled(source: &Source, tensors: &Tensors) -> Option<(StoredTensor, Option<Vec<f64>>)> {
    match source {
        Source::Scaled { weight, axis: 0, norm } => {
            Some((resolve(weight, tensors)?, Some(norm_terms(norm, tensors)?.0)))
        }
        source => Some((resolve(source, tensors)?, None)),
    }
}
