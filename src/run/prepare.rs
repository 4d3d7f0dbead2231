//! Parameters in the form in which kernels read them.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use crate::ir::NodeId;
use crate::kernel::conv::{self, Prologue};
use crate::kernel::product::Range;
use crate::kernel::threads::Threads;
use crate::kernel::{depthwise, winograd};
use crate::op::Op;
use crate::opt::{Norm, Optimised, Source};
use crate::plan::select::geometry;
use crate::plan::{Kernel, Plan, Step};
use crate::weights::StoredTensor;

/// The tensors of a checkpoint by name.
pub(super) type Tensors<'a> = BTreeMap<&'a str, StoredTensor>;

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
    /// As they are stored.
    Stored(Vec<StoredTensor>),
}

impl Prepared {
    /// Bytes beyond those of the file.
    pub(super) fn bytes(&self) -> usize {
        match &self.own {
            Form::Product(weights) => weights.bytes(),
            Form::Winograd(weights) => weights.bytes(),
            Form::Depthwise(_) | Form::PerChannel(_) | Form::Stored(_) => 0,
        }
    }
}

/// Prepares the parameters of every step, several steps at a time.
pub(super) fn prepare(
    plan: &Plan,
    optimised: &Optimised,
    tensors: &Tensors,
    threads: &Threads,
) -> HashMap<NodeId, Prepared> {
    let done: Vec<std::sync::OnceLock<Prepared>> = plan.steps.iter().map(|_| std::sync::OnceLock::new()).collect();
    threads.run(plan.steps.len(), |at, _| {
        let step = &plan.steps[at];
        let of = |id: NodeId| -> Vec<StoredTensor> {
            let sources = optimised.params.get(&id).map_or(&[][..], |sources| sources);
            sources.iter().filter_map(|source| resolve(source, tensors)).collect()
        };
        let prologue = step
            .prologue
            .map(|(norm, range)| Prologue { range, ..per_channel(&optimised.net.node(norm).op, &of(norm)) });
        let _ = done[at].set(Prepared { own: form(step, of(step.node)), prologue });
    });
    plan.steps.iter().zip(done).filter_map(|(step, prepared)| Some((step.node, prepared.into_inner()?))).collect()
}

fn form(step: &Step, tensors: Vec<StoredTensor>) -> Form {
    let values: Vec<Cow<[f32]>> = tensors.iter().map(StoredTensor::to_f32).collect();
    let (weight, bias) = (values.first(), values.get(1).map(|bias| &**bias));
    let (Some(weight), Op::Conv(conv)) = (weight, &step.op) else {
        return match step.kernel {
            Kernel::PerChannel => Form::PerChannel(per_channel(&step.op, &tensors)),
            _ => Form::Stored(tensors),
        };
    };
    let g = geometry(conv, &step.inputs[0].dims, &step.outputs[0].dims);
    match step.kernel {
        Kernel::Winograd4 | Kernel::Winograd2 => {
            let unit = if step.kernel == Kernel::Winograd4 { 4 } else { 2 };
            Form::Winograd(winograd::Weights::new(unit, [g.to.c, g.from.c], weight, bias))
        }
        Kernel::Depthwise => Form::Depthwise(depthwise::Weights::new(g.to.c, g.kernel[0] * g.kernel[1], weight, bias)),
        _ => Form::Product(conv::Weights::new(&g, weight, bias)),
    }
}

/// A batch norm or a learnable scale as a factor and a summand for each channel.
fn per_channel(op: &Op, tensors: &[StoredTensor]) -> Prologue {
    let values: Vec<Cow<[f32]>> = tensors.iter().map(StoredTensor::to_f32).collect();
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

/// The tensor that a source stands for.
fn resolve(source: &Source, tensors: &Tensors) -> Option<StoredTensor> {
    match source {
        Source::Stored { name, .. } => {
            let tensor = tensors.get(name.as_str())?;
            match tensor.to_f32() {
                Cow::Borrowed(_) => Some(tensor.clone()),
                Cow::Owned(values) => StoredTensor::from_f32(tensor.shape().to_vec(), values),
            }
        }
        Source::Scaled { weight, axis, norm } => {
            let weight = resolve(weight, tensors)?;
            let (scale, _, _) = norm_terms(norm, tensors)?;
            let sizes = weight.shape().to_vec();
            let inner: u64 = sizes[axis + 1..].iter().product();
            let mut values = weight.to_f32().into_owned();
            for (at, block) in values.chunks_mut(usize::try_from(inner).ok()?.max(1)).enumerate() {
                let factor = scale[at % scale.len()];
                block.iter_mut().for_each(|value| *value = (f64::from(*value) * factor) as f32);
            }
            StoredTensor::from_f32(sizes, values)
        }
        Source::Shifted { bias, norm } => {
            let (scale, shift, mean) = norm_terms(norm, tensors)?;
            let bias = match bias {
                Some(bias) => Some(resolve(bias, tensors)?.to_f32().into_owned()),
                None => None,
            };
            let values = (0..scale.len())
                .map(|c| {
                    let bias = bias.as_ref().map_or(0.0, |bias| f64::from(bias[c]));
                    ((bias - mean[c]) * scale[c] + shift[c]) as f32
                })
                .collect();
            StoredTensor::from_f32(vec![norm.channels], values)
        }
    }
}

/// Scale, shift and mean of a batch norm, for each channel, in `f64` so that folding rounds once.
fn norm_terms(norm: &Norm, tensors: &Tensors) -> Option<(Vec<f64>, Vec<f64>, Vec<f64>)> {
    let get = |leaf: &str| -> Option<Vec<f64>> {
        let tensor = tensors.get(format!("{}.{leaf}", norm.path).as_str())?;
        Some(tensor.to_f32().iter().map(|&value| f64::from(value)).collect())
    };
    let (mean, variance) = (get("running_mean")?, get("running_var")?);
    let gamma = if norm.affine { get("weight")? } else { vec![1.0; mean.len()] };
    let shift = if norm.affine { get("bias")? } else { vec![0.0; mean.len()] };
    let scale = gamma.iter().zip(&variance).map(|(gamma, variance)| gamma / (variance + norm.eps).sqrt()).collect();
    Some((scale, shift, mean))
}
