//! Executes plans.
//!
//! [`Model`] holds an optimised graph with its parameters; [`Executable`] runs it, from several threads at once if
//! need be. A plan is made for each batch size when it is first met; arenas are kept and used again.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ndarray::{ArrayD, ArrayViewD, IxDyn};
use rayon::prelude::*;

use crate::ir::{Net, NodeId};
use crate::kernel::{arena, conv, elementwise, linear};
use crate::op::Op;
use crate::opt::{Norm, Optimised, Source};
use crate::plan::{self, Kernel, Plan, PlanError, Step};
use crate::tensor::{Nchw, View, ViewMut};
use crate::weights::{BindError, BindOptions, Checkpoint, Parameter, StoredTensor, Wanted, bind, parameters};

/// Why a net does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The checkpoint does not fit the net.
    #[error(transparent)]
    Weights(#[from] Box<BindError>),
    /// The graph cannot be planned.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// An input is missing, or one too many is given.
    #[error("net `{net}` takes {expected}, but {given} given")]
    Inputs {
        /// The net.
        net: String,
        /// Its inputs.
        expected: String,
        /// What was given.
        given: String,
    },
    /// An input has other sizes than the net declares.
    #[error("input `{input}` takes [N, {}], not {given:?}", expected.iter().map(usize::to_string).collect::<Vec<_>>().join(", "))]
    Shape {
        /// The input.
        input: String,
        /// The sizes of one sample.
        expected: Vec<usize>,
        /// The sizes given.
        given: Vec<usize>,
    },
    /// An input has another number of samples than the first one.
    #[error("input `{input}` has {given} samples, but `{first}` has {batch}; all inputs are one batch")]
    Batch {
        /// The input.
        input: String,
        /// Its samples.
        given: usize,
        /// The first input.
        first: String,
        /// The samples of that.
        batch: usize,
    },
    /// The threads cannot be started.
    #[error("cannot start {threads} threads: {reason}")]
    Threads {
        /// How many.
        threads: usize,
        /// Why not.
        reason: String,
    },
}

/// How a net is executed.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Threads; the number of physical cores where 0. Results do not depend on it.
    pub threads: usize,
    /// What of a checkpoint may be left out, and whether NaN is let through.
    pub bind: BindOptions,
}

/// A net with its parameters, ready to run. Shared freely between threads.
#[derive(Debug)]
pub struct Executable {
    optimised: Optimised,
    params: HashMap<NodeId, Vec<StoredTensor>>,
    plans: Mutex<HashMap<usize, Arc<Plan>>>,
    arenas: Mutex<Vec<Vec<f32>>>,
    pool: rayon::ThreadPool,
    idle_patterns: Vec<String>,
}

impl Executable {
    /// Binds a checkpoint to an optimised graph. `net` and `shapes` are those of the graph before it was optimised:
    /// they say what a checkpoint must hold.
    ///
    /// # Errors
    /// When the checkpoint does not fit, or a size is not known.
    pub fn new(
        net: &Net,
        shapes: &crate::shape::Shapes,
        optimised: Optimised,
        checkpoint: &Checkpoint,
        options: &RunOptions,
    ) -> Result<Executable, RunError> {
        let wanted: Vec<Wanted> = parameters(net, shapes).iter().map(Parameter::wanted).collect();
        let bound = bind(checkpoint, &wanted, &options.bind)?;
        let tensors: BTreeMap<&str, StoredTensor> = wanted
            .iter()
            .zip(&bound.tensors)
            .filter_map(|(wanted, tensor)| Some((wanted.name.as_str(), tensor.clone()?)))
            .collect();
        let params = optimised
            .params
            .iter()
            .map(|(&id, sources)| (id, sources.iter().filter_map(|source| resolve(source, &tensors)).collect()))
            .collect();
        let threads = if options.threads == 0 { physical_cores() } else { options.threads };
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .map_err(|error| RunError::Threads { threads, reason: error.to_string() })?;
        let executable = Executable {
            optimised,
            params,
            plans: Mutex::new(HashMap::new()),
            arenas: Mutex::new(Vec::new()),
            pool,
            idle_patterns: bound.idle_patterns,
        };
        executable.plan(1)?;
        Ok(executable)
    }

    /// The graph that is executed.
    pub fn optimised(&self) -> &Optimised {
        &self.optimised
    }

    /// Patterns of names to ignore that met no name of the checkpoint.
    pub fn idle_patterns(&self) -> &[String] {
        &self.idle_patterns
    }

    /// The names and sizes (of one sample) of the inputs, in the order in which [`run`](Self::run) takes them.
    pub fn inputs(&self) -> Vec<(String, Vec<usize>)> {
        let Optimised { net, shapes, .. } = &self.optimised;
        let sizes = |id: NodeId| shapes.of(id.into()).as_known().unwrap_or_default();
        net.inputs.iter().map(|&id| (net.node(id).path.clone(), sizes(id))).collect()
    }

    /// The names of the outputs, in the order in which [`run`](Self::run) gives them.
    pub fn outputs(&self) -> Vec<String> {
        self.optimised.net.outputs.iter().map(|output| output.name.clone()).collect()
    }

    /// The plan for a batch size, made when it is first asked for.
    ///
    /// # Errors
    /// When it would need more memory than any machine here has.
    pub fn plan(&self, batch: usize) -> Result<Arc<Plan>, RunError> {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = plans.get(&batch) {
            return Ok(Arc::clone(plan));
        }
        let plan = Arc::new(plan::plan(&self.optimised, batch)?);
        plans.insert(batch, Arc::clone(&plan));
        Ok(plan)
    }

    /// Runs a batch: for each input of the net an array `[N, …]`, for each output an array `[N, …]`.
    ///
    /// # Errors
    /// When an input is missing, one is too many, or sizes do not fit.
    pub fn run_all(&self, inputs: &[ArrayViewD<f32>]) -> Result<Vec<ArrayD<f32>>, RunError> {
        self.run_timed(inputs, &mut |_, _| {})
    }

    /// Runs a batch on a net with one input; gives its first output.
    ///
    /// # Errors
    /// As [`run_all`](Self::run_all).
    pub fn run<'a>(&self, input: impl Into<ArrayViewD<'a, f32>>) -> Result<ArrayD<f32>, RunError> {
        let mut outputs = self.run_all(&[input.into()])?;
        Ok(outputs.swap_remove(0))
    }

    /// Runs a batch and tells how long each step took.
    ///
    /// # Errors
    /// As [`run_all`](Self::run_all).
    pub fn run_timed(
        &self,
        inputs: &[ArrayViewD<f32>],
        observe: &mut (dyn FnMut(&Step, Duration) + Send),
    ) -> Result<Vec<ArrayD<f32>>, RunError> {
        let batch = self.check_inputs(inputs)?;
        let plan = self.plan(batch)?;
        let mut arena = self.arenas.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        if arena.len() < plan.arena {
            arena.resize(plan.arena, 0.0);
        }
        for (input, slot) in inputs.iter().zip(&plan.inputs) {
            let place = &mut arena[slot.place.clone()];
            match input.as_slice() {
                Some(values) => place.copy_from_slice(values),
                None => place.iter_mut().zip(input.iter()).for_each(|(to, &from)| *to = from),
            }
        }
        let empty = Vec::new();
        self.pool.install(|| {
            for step in &plan.steps {
                let start = Instant::now();
                execute(step, self.params.get(&step.node).unwrap_or(&empty), &mut arena);
                observe(step, start.elapsed());
            }
        });
        let outputs = plan
            .outputs
            .iter()
            .map(|(_, slot)| {
                let values = arena[slot.place.clone()].to_vec();
                ArrayD::from_shape_vec(IxDyn(&slot.dims), values)
                    .unwrap_or_else(|_| unreachable!("a slot's place has the length of its sizes"))
            })
            .collect();
        self.arenas.lock().unwrap_or_else(PoisonError::into_inner).push(arena);
        Ok(outputs)
    }

    /// The batch size that all inputs have.
    fn check_inputs(&self, inputs: &[ArrayViewD<f32>]) -> Result<usize, RunError> {
        let wanted = self.inputs();
        let batch = inputs.first().and_then(|input| input.shape().first().copied()).unwrap_or(0);
        if inputs.len() != wanted.len() {
            let names: Vec<String> = wanted.into_iter().map(|(name, _)| format!("`{name}`")).collect();
            return Err(RunError::Inputs {
                net: self.optimised.net.name.clone(),
                expected: names.join(", "),
                given: format!("{} {}", inputs.len(), if inputs.len() == 1 { "is" } else { "are" }),
            });
        }
        let first = wanted.first().map(|(name, _)| name.clone()).unwrap_or_default();
        for (input, (name, expected)) in inputs.iter().zip(wanted) {
            match input.shape().split_first() {
                Some((&given, sizes)) if sizes == expected && given != 0 => {
                    if given != batch {
                        return Err(RunError::Batch { input: name, given, first, batch });
                    }
                }
                _ => return Err(RunError::Shape { input: name, expected, given: input.shape().to_vec() }),
            }
        }
        Ok(batch)
    }
}

/// Physical cores, not counting the second thread of a core where the system says; at least 1.
pub fn physical_cores() -> usize {
    let logical = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |line: &str, name: &str| {
        line.split_once(':').filter(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned())
    };
    let mut cores = std::collections::HashSet::new();
    let mut package = String::new();
    for line in text.lines() {
        if let Some(id) = field(line, "physical id") {
            package = id;
        } else if let Some(id) = field(line, "core id") {
            cores.insert((package.clone(), id));
        }
    }
    if cores.is_empty() { logical } else { cores.len().min(logical) }
}

/// The tensor that a source stands for.
fn resolve(source: &Source, tensors: &BTreeMap<&str, StoredTensor>) -> Option<StoredTensor> {
    match source {
        Source::Stored { name, .. } => {
            let tensor = tensors.get(name.as_str())?;
            match tensor.to_f32() {
                std::borrow::Cow::Borrowed(_) => Some(tensor.clone()),
                std::borrow::Cow::Owned(values) => StoredTensor::from_f32(tensor.shape().to_vec(), values),
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
fn norm_terms(norm: &Norm, tensors: &BTreeMap<&str, StoredTensor>) -> Option<(Vec<f64>, Vec<f64>, Vec<f64>)> {
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

/// Computes one step in the arena.
fn execute(step: &Step, params: &[StoredTensor], arena: &mut [f32]) {
    let read: Vec<Range<usize>> = step.inputs.iter().map(|slot| slot.place.clone()).collect();
    let write: Vec<Range<usize>> = step.outputs.iter().map(|slot| slot.place.clone()).collect();
    if step.kernel == Kernel::Concat {
        return concat(step, arena);
    }
    let tensors = params;
    let params: Vec<_> = tensors.iter().map(StoredTensor::to_f32).collect();
    let mut parts = arena::split(arena, &read, &write);
    let activation = step.activation;
    let function = move |x: f32| activation.map_or(x, |activation| activation.apply(x));
    let epilogue: Option<conv::Epilogue> = if activation.is_some() { Some(&function) } else { None };
    match (&step.op, step.kernel) {
        (Op::Conv(op), Kernel::ConvPointwise | Kernel::ConvUnfolded | Kernel::ConvDepthwise) => {
            let (from, to) = (Nchw::of(&step.inputs[0].dims), Nchw::of(&step.outputs[0].dims));
            let [top, left, _, _] = op.windows.sides([from.h, from.w]);
            let sizes = |pair: [u64; 2]| pair.map(|size| size as usize);
            let geometry = conv::Geometry {
                from,
                to,
                kernel: sizes(op.windows.kernel),
                stride: sizes(op.windows.stride),
                dilation: sizes(op.windows.dilation),
                before: [top, left],
                groups: op.groups as usize,
            };
            let bias = op.bias.then(|| &*params[1]);
            let run = match step.kernel {
                Kernel::ConvPointwise => conv::pointwise,
                Kernel::ConvDepthwise => conv::depthwise,
                _ => conv::unfolded,
            };
            run(&geometry, parts.read[0].unwrap_or_default(), &params[0], bias, parts.write[0], epilogue);
        }
        (Op::Linear(op), _) => {
            let input = parts.read[0].unwrap_or_default();
            let finish = |o: usize, sum: f32| function(if op.bias { sum + params[1][o] } else { sum });
            if step.kernel == Kernel::LinearVector {
                linear::vector(input, &params[0], parts.write[0], finish);
            } else {
                linear::matrix(input, step.inputs[0].dims[0], &params[0], parts.write[0], finish);
            }
        }
        (Op::Activation(activation), _) => match parts.read[0] {
            Some(input) => elementwise::map(input, parts.write[0], |x| activation.apply(x)),
            None => elementwise::map_in_place(parts.write[0], |x| activation.apply(x)),
        },
        (Op::Add(_), _) => {
            if let Some(first) = parts.read[0] {
                elementwise::copy(first, parts.write[0]);
            }
            for input in parts.read[1..].iter().flatten() {
                elementwise::add_assign(parts.write[0], input);
            }
            finish_activation(step, parts.write[0]);
        }
        (Op::BatchNorm(_) | Op::ChannelScale(_), Kernel::PerChannel) => {
            if let Some(first) = parts.read[0] {
                elementwise::copy(first, parts.write[0]);
            }
            per_channel(step, &params, parts.write[0]);
        }
        (Op::Pool(op), Kernel::Pool) => {
            let (from, to) = (Nchw::of(&step.inputs[0].dims), Nchw::of(&step.outputs[0].dims));
            let (in_dims, out_dims) = ([1, 1, from.h, from.w], [1, 1, to.h, to.w]);
            let input = parts.read[0].unwrap_or_default();
            parts.write[0]
                .par_chunks_mut(to.h * to.w)
                .zip(input.par_chunks(from.h * from.w))
                .with_min_len((16 * 1024 / (from.h * from.w).max(1)).max(1))
                .for_each(|(output, input)| {
                    let input = View { dims: &in_dims, data: input };
                    crate::op::Operator::forward(op, &[input], &[], &mut [ViewMut { dims: &out_dims, data: output }]);
                });
        }
        _ => plain(step, tensors, &mut parts),
    }
}

fn finish_activation(step: &Step, values: &mut [f32]) {
    if let Some(activation) = step.activation {
        elementwise::map_in_place(values, |x| activation.apply(x));
    }
}

/// A batch norm or a learnable scale over values that are already in place.
fn per_channel(step: &Step, params: &[std::borrow::Cow<[f32]>], values: &mut [f32]) {
    let dims = &step.outputs[0].dims;
    let (channels, plane) = (dims[1], dims[2..].iter().product::<usize>());
    let (scale, shift): (Vec<f32>, Vec<f32>) = match &step.op {
        Op::BatchNorm(norm) => {
            let (mean, variance) = if norm.affine { (&params[2], &params[3]) } else { (&params[0], &params[1]) };
            (0..channels)
                .map(|c| {
                    let gamma = if norm.affine { f64::from(params[0][c]) } else { 1.0 };
                    let beta = if norm.affine { f64::from(params[1][c]) } else { 0.0 };
                    let scale = gamma / (f64::from(variance[c]) + norm.eps).sqrt();
                    (scale as f32, (beta - f64::from(mean[c]) * scale) as f32)
                })
                .unzip()
        }
        _ => (params[0].to_vec(), params.get(1).map_or_else(|| vec![0.0; channels], |bias| bias.to_vec())),
    };
    let activation = step.activation;
    elementwise::map_planes(values, plane, channels, |c, x| {
        let y = scale[c] * x + shift[c];
        activation.map_or(y, |activation| activation.apply(y))
    });
}

/// The operator's own loops; a result in place gets a copy of its operand.
fn plain(step: &Step, tensors: &[StoredTensor], parts: &mut arena::Parts) {
    let own = if parts.read.contains(&None) { parts.write[0].to_vec() } else { Vec::new() };
    let inputs: Vec<View> = step
        .inputs
        .iter()
        .zip(&parts.read)
        .map(|(slot, data)| View { dims: &slot.dims, data: data.unwrap_or(&own) })
        .collect();
    let params: Vec<(Vec<usize>, std::borrow::Cow<[f32]>)> = tensors
        .iter()
        .map(|tensor| (tensor.shape().iter().map(|&size| size as usize).collect(), tensor.to_f32()))
        .collect();
    let params: Vec<View> = params.iter().map(|(dims, data)| View { dims, data }).collect();
    let mut outputs: Vec<ViewMut> = step
        .outputs
        .iter()
        .zip(parts.write.iter_mut())
        .map(|(slot, data)| ViewMut { dims: &slot.dims, data })
        .collect();
    step.op.forward(&inputs, &params, &mut outputs);
}

/// Copies the parts of a concatenation that have not been computed in their places.
fn concat(step: &Step, arena: &mut [f32]) {
    let Op::Concat(op) = &step.op else { return };
    let whole = &step.outputs[0];
    let axis = op.axis + 1;
    let outer: usize = whole.dims[..axis].iter().product();
    let run = |dims: &[usize]| dims[axis..].iter().product::<usize>();
    let stride = run(&whole.dims);
    let mut at = 0;
    for part in &step.inputs {
        let len = run(&part.dims);
        for block in 0..outer {
            let from = part.place.start + block * len;
            let to = whole.place.start + block * stride + at;
            if from != to {
                arena.copy_within(from..from + len, to);
            }
        }
        at += len;
    }
}
