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
/// let digit = ndarray::ArrayD::<f32>::zeros(vec![1, 1, 32, 32]);
/// std::thread::scope(|scope| {
///     let callers = [(); 2].map(|()| executable.session(1).map(|mut session| {
///         let digit = &digit;
///         scope.spawn(move || session.run(&[digit.view()]).map(|outputs| outputs[0].shape().to_vec()))
///     }));
///     for caller in callers {
///         assert_eq!(caller?.join().expect("no caller panics")?, [1, 10]);
///     }
///     Ok(())
/// })
/// # .map_err(|error: netc::RunError| Box::<dyn std::error::Error>::from(error))
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
    /// plain loops.
    ///
    /// # Errors
    /// When an input is missing, one is too many, or sizes do not fit.
    pub fn run(&mut self, inputs: &[ArrayViewD<f32>]) -> Result<&[ArrayD<f32>], RunError> {
        let Session { model, threads, workspace, outputs } = self;
        model.run(threads, workspace, inputs, outputs, &mut |_, _| {})?;
        Ok(outputs)
    }
}
