//! Executes plans.
//!
//! `model` holds an optimised graph with its parameters (`prepare`) and runs it step by step (`execute`). A plan is made
//! for each batch size when it is first met. [`Executable`] and [`Session`] are two faces of it: one for callers from
//! any thread, one for a caller that has threads and memory of its own.

mod cache;
mod execute;
mod gradient;
mod learner;
mod model;
mod prepare;
mod session;
mod tune;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ndarray::{ArrayD, ArrayViewD};

use crate::ir::Net;
use crate::kernel::isa::Isa;
use crate::kernel::threads::Threads;
use crate::opt::Optimised;
use crate::plan::{self, Plan, PlanError, Step};
use crate::weights::{BindError, BindOptions, Checkpoint};

use model::{Model, Workspace};

pub use cache::Kept;
pub use learner::{LearnError, LearnOptions, Learner, Pass, packed_bytes, pass_options};
pub use session::Session;

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
    /// The instructions; the best of this machine where `None`. See [`Isa::detect`].
    pub instructions: Option<Isa>,
    /// How the plan is made.
    pub plan: plan::Options,
    /// What of a checkpoint may be left out, and whether NaN is let through.
    pub bind: BindOptions,
    /// Whether the kernels of convolutions are timed where their estimates are close, which takes a second or two; the
    /// folder `cache` remembers the result.
    pub tune: bool,
    /// A folder in which packed weights are kept, so that the next start need not pack them: one file for each net,
    /// weights and version of the planner. Nothing is kept where `None`.
    pub cache: Option<PathBuf>,
}

/// A net with its parameters, ready to run. Shared freely between threads.
///
/// Runs from several threads at once are safe: one of them has the workers, the others run on their own thread. Where
/// every caller should have its own, [`session`](Self::session) makes as many as are needed of one set of parameters.
#[derive(Debug)]
pub struct Executable {
    model: Arc<Model>,
    workspaces: Mutex<Vec<Workspace>>,
    threads: Threads,
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
        let threads = start(options.threads)?;
        let model = Arc::new(Model::new(net, shapes, optimised, checkpoint, options, &threads)?);
        Ok(Executable { model, workspaces: Mutex::new(Vec::new()), threads })
    }

    /// A caller of its own on the same parameters, with so many threads; the number of physical cores where 0.
    ///
    /// # Errors
    /// When the threads cannot be started.
    pub fn session(&self, threads: usize) -> Result<Session, RunError> {
        Ok(Session::new(Arc::clone(&self.model), start(threads)?))
    }

    /// Bytes that packed weights take, beyond the checkpoint that they come from.
    pub fn prepared_bytes(&self) -> usize {
        self.model.prepared_bytes()
    }

    /// What became of the file in which packed weights are kept.
    pub fn kept(&self) -> &Kept {
        self.model.kept()
    }

    /// The graph that is executed.
    pub fn optimised(&self) -> &Optimised {
        self.model.optimised()
    }

    /// The threads that it runs on.
    pub fn threads(&self) -> &Threads {
        &self.threads
    }

    /// Patterns of names to ignore that met no name of the checkpoint.
    pub fn idle_patterns(&self) -> &[String] {
        self.model.idle_patterns()
    }

    /// The names and sizes (of one sample) of the inputs, in the order in which [`run`](Self::run) takes them.
    pub fn inputs(&self) -> &[(String, Vec<usize>)] {
        self.model.inputs()
    }

    /// The names of the outputs, in the order in which [`run`](Self::run) gives them.
    pub fn outputs(&self) -> Vec<String> {
        self.optimised().net.outputs.iter().map(|output| output.name.clone()).collect()
    }

    /// The plan for a batch size, made when it is first asked for.
    ///
    /// # Errors
    /// When it would need more memory than any machine here has.
    pub fn plan(&self, batch: usize) -> Result<Arc<Plan>, RunError> {
        self.model.plan(batch)
    }

    /// Runs a batch: for each input of the net an array `[N, …]`, for each output an array `[N, …]`.
    ///
    /// After the first run of a batch size nothing is allocated but what it gives; a [`Session`] keeps that too.
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
        let spare = || self.workspaces.lock().unwrap_or_else(PoisonError::into_inner);
        let mut workspace = spare().pop().unwrap_or_default();
        let mut outputs = Vec::new();
        let result = self.model.run(&self.threads, &mut workspace, inputs, &mut outputs, observe);
        spare().push(workspace);
        result.map(|()| outputs)
    }
}

/// Starts threads; the number of physical cores where 0.
fn start(threads: usize) -> Result<Threads, RunError> {
    let threads = if threads == 0 { physical_cores() } else { threads };
    Threads::new(threads).map_err(|error| RunError::Threads { threads, reason: error.to_string() })
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
