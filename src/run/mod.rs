//! Executes plans.
//!
//! [`Executable`] holds an optimised graph with its parameters (`prepare`) and runs it (`execute`), from several threads
//! at once if need be. A plan is made for each batch size when it is first met; memory is kept and used again.

mod execute;
mod prepare;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ndarray::{ArrayD, ArrayViewD, IxDyn};

use crate::ir::{Net, NodeId};
use crate::kernel::buffer::Buffer;
use crate::kernel::conv::Context;
use crate::kernel::isa::Isa;
use crate::kernel::scratch::Scratch;
use crate::kernel::threads::Threads;
use crate::kernel::{elementwise, layout, rows};
use crate::opt::Optimised;
use crate::plan::{self, Plan, PlanError, Slot, Step};
use crate::weights::{BindError, BindOptions, Checkpoint, Parameter, Wanted, bind, parameters};

use prepare::{Prepared, Tensors, prepare};

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
    /// How the plan is made.
    pub plan: plan::Options,
    /// What of a checkpoint may be left out, and whether NaN is let through.
    pub bind: BindOptions,
}

/// A net with its parameters, ready to run. Shared freely between threads.
#[derive(Debug)]
pub struct Executable {
    optimised: Optimised,
    prepared: HashMap<NodeId, Prepared>,
    options: plan::Options,
    plans: Mutex<HashMap<usize, Arc<Plan>>>,
    workspaces: Mutex<Vec<Workspace>>,
    threads: Threads,
    isa: Isa,
    idle_patterns: Vec<String>,
}

/// The memory of one run.
#[derive(Debug, Default)]
struct Workspace {
    arena: Buffer,
    scratch: Scratch,
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
        let tensors: Tensors = wanted
            .iter()
            .zip(&bound.tensors)
            .filter_map(|(wanted, tensor)| Some((wanted.name.as_str(), tensor.clone()?)))
            .collect();
        let count = if options.threads == 0 { physical_cores() } else { options.threads };
        let threads =
            Threads::new(count).map_err(|error| RunError::Threads { threads: count, reason: error.to_string() })?;
        let plan = plan::plan(&optimised, 1, &options.plan)?;
        let prepared = prepare(&plan, &optimised, &tensors, &threads);
        Ok(Executable {
            optimised,
            prepared,
            options: options.plan,
            plans: Mutex::new(HashMap::from([(1, Arc::new(plan))])),
            workspaces: Mutex::new(Vec::new()),
            threads,
            isa: Isa::detect(),
            idle_patterns: bound.idle_patterns,
        })
    }

    /// Bytes that parameters take in the form in which kernels read them, beyond the file that they come from.
    pub fn prepared_bytes(&self) -> usize {
        self.prepared.values().map(Prepared::bytes).sum()
    }

    /// The graph that is executed.
    pub fn optimised(&self) -> &Optimised {
        &self.optimised
    }

    /// The threads that it runs on.
    pub fn threads(&self) -> &Threads {
        &self.threads
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
        let plan = Arc::new(plan::plan(&self.optimised, batch, &self.options)?);
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
        observe: &mut dyn FnMut(&Step, Duration),
    ) -> Result<Vec<ArrayD<f32>>, RunError> {
        let batch = self.check_inputs(inputs)?;
        let plan = self.plan(batch)?;
        let mut workspace = self.workspaces.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        let Workspace { arena, scratch } = &mut workspace;
        arena.reserve(plan.arena);
        let mut cx = Context { isa: self.isa, threads: &self.threads, scratch };
        for (input, slot) in inputs.iter().zip(&plan.inputs) {
            match input.as_slice() {
                Some(values) => put(&cx, values, slot, arena),
                None => put(&cx, &input.iter().copied().collect::<Vec<f32>>(), slot, arena),
            }
        }
        for step in &plan.steps {
            let start = Instant::now();
            execute::execute(&mut cx, step, self.prepared.get(&step.node), arena);
            observe(step, start.elapsed());
        }
        let outputs = plan.outputs.iter().map(|(_, slot)| take(&cx, slot, arena)).collect();
        self.workspaces.lock().unwrap_or_else(PoisonError::into_inner).push(workspace);
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

/// Puts values in the order of users into their rows.
fn put(cx: &Context, values: &[f32], slot: &Slot, arena: &mut [f32]) {
    let (mut to, _) = rows::split(arena, slot.place);
    if slot.dims.len() == 4 {
        layout::to_rows(cx, values, slot.dims[0], &mut to);
    } else {
        elementwise::copy(cx, rows::Rows::of(values, to.count(), to.width()), &mut to);
    }
}

/// Takes a value out of its rows, in the order of users.
fn take(cx: &Context, slot: &Slot, arena: &mut [f32]) -> ArrayD<f32> {
    let (from, _) = rows::split(arena, slot.place);
    let mut values = vec![0.0; slot.place.elements()];
    if slot.dims.len() == 4 {
        layout::from_rows(cx, from.as_rows(), slot.dims[0], &mut values);
    } else {
        let mut to = rows::RowsMut::of(&mut values, from.count(), from.width());
        elementwise::copy(cx, from.as_rows(), &mut to);
    }
    ArrayD::from_shape_vec(IxDyn(&slot.dims), values)
        .unwrap_or_else(|_| unreachable!("a slot's place has the length of its sizes"))
}
