//! What executables and sessions share: the graph, its parameters as kernels read them, and a plan for each batch size.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ndarray::{ArrayD, ArrayViewD, IxDyn};

use super::cache::Kept;
use super::prepare::{Parameters, prepare};
use super::{RunError, RunOptions, execute, tune};
use crate::ir::{Net, NodeId};
use crate::kernel::buffer::Buffer;
use crate::kernel::conv::Context;
use crate::kernel::isa::Isa;
use crate::kernel::scratch::Scratch;
use crate::kernel::threads::Threads;
use crate::opt::Optimised;
use crate::opt::values::Tensors;
use crate::plan::{self, Plan, Step};
use crate::weights::{Checkpoint, Parameter, Wanted, bind, parameters};

/// A net with its parameters.
#[derive(Debug)]
pub(super) struct Model {
    optimised: Optimised,
    parameters: Parameters,
    options: plan::Options,
    plans: Mutex<HashMap<usize, Arc<Plan>>>,
    inputs: Vec<(String, Vec<usize>)>,
    isa: Isa,
    idle_patterns: Vec<String>,
}

/// The memory of one run, kept for the next.
#[derive(Debug, Default)]
pub(super) struct Workspace {
    arena: Buffer,
    scratch: Scratch,
    /// An input that did not lie in the standard order.
    straight: Vec<f32>,
}

impl Model {
    pub(super) fn new(
        net: &Net,
        shapes: &crate::shape::Shapes,
        optimised: Optimised,
        checkpoint: &Checkpoint,
        options: &RunOptions,
        threads: &Threads,
    ) -> Result<Model, RunError> {
        let wanted: Vec<Wanted> = parameters(net, shapes).iter().map(Parameter::wanted).collect();
        let bound = bind(checkpoint, &wanted, &options.bind)?;
        let tensors: Tensors = wanted
            .iter()
            .zip(&bound.tensors)
            .filter_map(|(wanted, tensor)| Some((wanted.name.as_str(), tensor.clone()?)))
            .collect();
        let isa = options.instructions.unwrap_or_else(Isa::detect);
        let mut plan_options = options.plan.clone();
        if options.tune {
            plan_options.picks = Some(Arc::new(tune::picks(&optimised, &options.plan, isa, options.cache.as_deref())?));
        }
        let plan = plan::plan(&optimised, 1, &plan_options)?;
        let parameters = prepare(&plan, &optimised, &tensors, (threads, isa), options.cache.as_deref());
        let sizes = |id: NodeId| optimised.shapes.of(id.into()).as_known().unwrap_or_default();
        let name = |id: NodeId| optimised.net.node(id).path.clone();
        Ok(Model {
            inputs: optimised.net.inputs.iter().map(|&id| (name(id), sizes(id))).collect(),
            optimised,
            parameters,
            options: plan_options,
            plans: Mutex::new(HashMap::from([(1, Arc::new(plan))])),
            isa,
            idle_patterns: bound.idle_patterns,
        })
    }

    pub(super) fn prepared_bytes(&self) -> usize {
        self.parameters.bytes()
    }

    pub(super) fn kept(&self) -> &Kept {
        &self.parameters.kept
    }

    pub(super) fn optimised(&self) -> &Optimised {
        &self.optimised
    }

    pub(super) fn idle_patterns(&self) -> &[String] {
        &self.idle_patterns
    }

    /// Names and sizes of one sample.
    pub(super) fn inputs(&self) -> &[(String, Vec<usize>)] {
        &self.inputs
    }

    /// The plan for a batch size, made when it is first asked for.
    pub(super) fn plan(&self, batch: usize) -> Result<Arc<Plan>, RunError> {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = plans.get(&batch) {
            return Ok(Arc::clone(plan));
        }
        let plan = Arc::new(plan::plan(&self.optimised, batch, &self.options)?);
        plans.insert(batch, Arc::clone(&plan));
        Ok(plan)
    }

    /// Runs a batch. `outputs` are used again where they have the right sizes, and made anew where not.
    pub(super) fn run(
        &self,
        threads: &Threads,
        workspace: &mut Workspace,
        inputs: &[ArrayViewD<f32>],
        outputs: &mut Vec<ArrayD<f32>>,
        observe: &mut dyn FnMut(&Step, Duration),
    ) -> Result<(), RunError> {
        let plan = self.plan(self.batch_of(inputs)?)?;
        let Workspace { arena, scratch, straight } = workspace;
        arena.reserve(plan.arena);
        let mut cx = Context { isa: self.isa, threads, scratch };
        for (input, slot) in inputs.iter().zip(&plan.inputs) {
            let values = input.as_slice().unwrap_or_else(|| {
                straight.clear();
                straight.extend(input);
                straight
            });
            execute::put(&cx, values, slot, arena);
        }
        for step in &plan.steps {
            let start = Instant::now();
            execute::execute(&mut cx, step, self.parameters.of(step.node), &[], arena);
            observe(step, start.elapsed());
        }
        outputs.truncate(plan.outputs.len());
        for (at, (_, slot)) in plan.outputs.iter().enumerate() {
            if outputs.get(at).is_none_or(|output| output.shape() != slot.dims) {
                outputs.truncate(at);
                outputs.push(ArrayD::zeros(IxDyn(&slot.dims)));
            }
            let values = outputs[at].as_slice_mut().unwrap_or_else(|| unreachable!("made in the standard order"));
            execute::take(&cx, slot, arena, values);
        }
        Ok(())
    }

    /// The batch size that all inputs have.
    fn batch_of(&self, inputs: &[ArrayViewD<f32>]) -> Result<usize, RunError> {
        let wanted = &self.inputs;
        let batch = inputs.first().and_then(|input| input.shape().first().copied()).unwrap_or(0);
        if inputs.len() != wanted.len() {
            let names: Vec<String> = wanted.iter().map(|(name, _)| format!("`{name}`")).collect();
            return Err(RunError::Inputs {
                net: self.optimised.net.name.clone(),
                expected: names.join(", "),
                given: format!("{} {}", inputs.len(), if inputs.len() == 1 { "is" } else { "are" }),
            });
        }
        for (input, (name, expected)) in inputs.iter().zip(wanted) {
            match input.shape().split_first() {
                Some((&given, sizes)) if sizes == expected && given != 0 => {
                    if given != batch {
                        let (first, _) = wanted[0].clone();
                        return Err(RunError::Batch { input: name.clone(), given, first, batch });
                    }
                }
                _ => {
                    let (input, expected, given) = (name.clone(), expected.clone(), input.shape().to_vec());
                    return Err(RunError::Shape { input, expected, given });
                }
            }
        }
        Ok(batch)
    }
}
