//! One caller's own threads and memory.

use std::sync::Arc;

use ndarray::{ArrayD, ArrayViewD};

use super::RunError;
use super::model::{Model, Workspace};
use crate::kernel::threads::Threads;

/// A caller of an [`Executable`](super::Executable) with threads and memory of its own. All sessions share one set of
/// parameters; none waits for another. Many callers get the most done with one thread each.
///
/// ```
/// use netc::weights::{Scheme, init};
///
/// let compiled = netc::compile("specs/lenet5.net")?;
/// let executable = compiled.plan(&init(&compiled.init_specs(), Scheme::He, 1)?)?;
/// let mut sessions = [executable.session(1)?, executable.session(1)?];
/// std::thread::scope(|scope| {
///     for session in &mut sessions {
///         scope.spawn(|| {
///             let digit = ndarray::ArrayD::<f32>::zeros(vec![1, 1, 32, 32]);
///             let outputs = session.run(&[digit.view()]).expect("the sizes are those of the net");
///             assert_eq!(outputs[0].shape(), [1, 10]);
///         });
///     }
/// });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Session {
    model: Arc<Model>,
    threads: Threads,
    workspace: Workspace,
    outputs: Vec<ArrayD<f32>>,
}

impl Session {
    pub(super) fn new(model: Arc<Model>, threads: Threads) -> Session {
        Session { model, threads, workspace: Workspace::default(), outputs: Vec::new() }
    }

    /// Runs a batch: for each input of the net an array `[N, …]`, for each output an array `[N, …]`, which stays until
    /// the next run. Nothing is allocated when the run before had the same batch size, unless the plan has steps by
    /// plain loops or kernels of more than 2,500 taps.
    ///
    /// # Errors
    /// When an input is missing, one is too many, or sizes do not fit.
    pub fn run(&mut self, inputs: &[ArrayViewD<f32>]) -> Result<&[ArrayD<f32>], RunError> {
        let Session { model, threads, workspace, outputs } = self;
        model.run(threads, workspace, inputs, outputs, &mut |_, _| {})?;
        Ok(outputs)
    }
}
