//! A net in training: parameters that change, and the graph of their gradients.
//!
//! Parameters lie in one stretch of memory, those that are trained first. Before each pass the weights of convolutions
//! are packed anew, for the forward pass and, turned around, for the gradients of inputs; all else reads them as they lie.

use std::collections::HashMap;
use std::ops::Range as Span;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::prepare::{Form, Packing, Prepared, has_dense_results, per_channel};
use super::{RunError, execute, start};
use crate::grad::{self, GradError, Objective, Training};
use crate::ir::{Net, NodeId};
use crate::kernel::buffer::Buffer;
use crate::kernel::conv::{self, Context, Geometry};
use crate::kernel::conv_gradient::{self, Phase};
use crate::kernel::isa::Isa;
use crate::kernel::scratch::Scratch;
use crate::kernel::threads::Threads;
use crate::kernel::winograd::Tile;
use crate::kernel::{depthwise, depthwise_gradient};
use crate::op::gradient::{Differentiated, Wrt};
use crate::op::{Op, Role};
use crate::opt::Source;
use crate::opt::values::{Tensors, resolve};
use crate::plan::select::{self, geometry};
use crate::plan::{self, Kernel, Plan, Slot, Step};
use crate::shape::Shapes;
use crate::weights::{BindOptions, Bytes, Checkpoint, Dtype, Parameter, StoredTensor, Wanted, bind, parameters};

/// How a net is trained.
#[derive(Clone, Debug, Default)]
pub struct LearnOptions {
    /// Threads; the number of physical cores where 0. Results do not depend on it.
    pub threads: usize,
    /// The instructions; the best of this machine where `None`.
    pub instructions: Option<Isa>,
    /// Whether convolutions may use Winograd's transforms: faster, and less exact.
    pub fast: bool,
}

/// How passes are planned. A batch has so many tiles that the largest save the most.
pub fn pass_options(fast: bool) -> plan::Options {
    let forced = fast.then_some(Kernel::Winograd(Tile::F4x3));
    plan::Options { exact: !fast, forced, as_made: true, ..plan::Options::default() }
}

/// Bytes of the weights of a pass in the forms in which kernels read them, beside the parameters themselves.
pub fn packed_bytes(plan: &Plan, options: &plan::Options) -> usize {
    plan.steps.iter().map(|step| size_of::<f32>() * Made::of(step, options).floats(step)).sum()
}

/// Why a net cannot be trained.
#[derive(Debug, thiserror::Error)]
pub enum LearnError {
    /// It has no gradient.
    #[error(transparent)]
    Gradient(#[from] GradError),
    /// It cannot be executed.
    #[error(transparent)]
    Run(#[from] RunError),
}

/// A net in training.
#[derive(Debug)]
pub struct Learner {
    training: Training,
    parameters: Vec<Parameter>,
    /// Parameters and buffers of the net by name, those that are trained first, then constants of the graph.
    values: Buffer,
    named: HashMap<String, Span<usize>>,
    /// How many of the values are trained.
    trained: usize,
    /// For each node of the graph where its parameters lie.
    owned: HashMap<NodeId, Vec<Span<usize>>>,
    programs: HashMap<usize, Program>,
    /// The plan of the last pass.
    last: Option<Arc<Plan>>,
    arena: Buffer,
    scratch: Scratch,
    threads: Threads,
    isa: Isa,
    fast: bool,
}

/// A plan for one batch size, and the weights of its steps in the form in which kernels read them.
#[derive(Debug)]
struct Program {
    plan: Arc<Plan>,
    steps: Vec<Mutex<Live>>,
}

/// The parameters of a step.
#[derive(Debug)]
struct Live {
    prepared: Option<Prepared>,
    made: Made,
}

/// How the parameters of a step are made from values that change.
#[derive(Debug)]
enum Made {
    /// They lie as they are read, or are none.
    Nothing,
    /// Packed.
    Packed { packing: Packing, memory: Memory },
    /// Packed for each phase of a gradient that is met.
    Phases { g: Geometry, phases: Vec<Phase>, packings: Vec<Option<(Packing, Memory)>> },
    /// Tap by tap.
    Depthwise(Geometry),
    /// Turned around, tap by tap.
    DepthwiseGradient(Geometry),
    /// As a factor and a summand for each channel of this operator.
    PerChannel(Op),
}

/// Packed weights, given back to be packed again.
type Memory = Option<Arc<Buffer>>;

impl Learner {
    /// A net with its parameters, ready to learn. The checkpoint has to have all of them, those of heads that exist in
    /// training only included.
    ///
    /// # Errors
    /// When there is nothing to train, the checkpoint does not fit, or a size is not known.
    pub fn new(
        net: &Net,
        shapes: &Shapes,
        objective: &Objective,
        checkpoint: &Checkpoint,
        options: &LearnOptions,
    ) -> Result<Learner, LearnError> {
        let training = grad::differentiate(net, shapes, objective)?;
        let parameters = parameters(net, shapes);
        let wanted: Vec<Wanted> =
            parameters.iter().map(|parameter| Wanted { train_only: false, ..parameter.wanted() }).collect();
        let bound = bind(checkpoint, &wanted, &BindOptions::default()).map_err(RunError::from)?;
        let tensors: Tensors = wanted
            .iter()
            .zip(&bound.tensors)
            .filter_map(|(wanted, tensor)| Some((wanted.name.as_str(), tensor.clone()?)))
            .collect();
        let mut values = Vec::new();
        let mut named = HashMap::new();
        let is_trained = |parameter: &&Parameter| training.graph.trained.contains(&parameter.name);
        let (first, rest): (Vec<&Parameter>, Vec<&Parameter>) = parameters.iter().partition(is_trained);
        let mut trained = 0;
        for (at, parameter) in first.iter().chain(&rest).enumerate() {
            let begin = values.len();
            match tensors.get(parameter.name.as_str()) {
                Some(tensor) => values.extend_from_slice(&tensor.to_f32()),
                // A counter of batches may be missing.
                None => values.extend(std::iter::repeat_n(0.0, parameter.spec.elements().unwrap_or(0) as usize)),
            }
            named.insert(parameter.name.clone(), begin..values.len());
            trained = if at < first.len() { values.len() } else { trained };
        }
        let mut owned = HashMap::new();
        for (&node, sources) in &training.graph.params {
            let span = |source: &Source| match source {
                Source::Stored { name, .. } => named[name].clone(),
                Source::Scaled { .. } | Source::Shifted { .. } => {
                    let begin = values.len();
                    let folded = resolve(source, &tensors);
                    values.extend_from_slice(&folded.as_ref().map(|tensor| tensor.to_f32()).unwrap_or_default());
                    begin..values.len()
                }
            };
            owned.insert(node, sources.iter().map(span).collect());
        }
        let mut buffer = Buffer::zeros(values.len());
        buffer.copy_from_slice(&values);
        Ok(Learner {
            training,
            parameters,
            values: buffer,
            named,
            trained,
            owned,
            programs: HashMap::new(),
            last: None,
            arena: Buffer::default(),
            scratch: Scratch::default(),
            threads: start(options.threads)?,
            isa: options.instructions.unwrap_or_else(Isa::detect),
            fast: options.fast,
        })
    }

    /// The graph that is executed, with what its inputs and outputs mean.
    pub fn training(&self) -> &Training {
        &self.training
    }

    /// The parameters and buffers of the net in its order.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The threads that it runs on.
    pub fn threads(&self) -> &Threads {
        &self.threads
    }

    /// The instructions that it runs with.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The values of a parameter or buffer.
    pub fn value(&self, name: &str) -> Option<&[f32]> {
        Some(&self.values[self.named.get(name)?.clone()])
    }

    /// The values of a parameter or buffer, to be changed.
    pub fn value_mut(&mut self, name: &str) -> Option<&mut [f32]> {
        Some(&mut self.values[self.named.get(name)?.clone()])
    }

    /// How many numbers are trained.
    pub fn trained(&self) -> usize {
        self.trained
    }

    /// All parameters and buffers under their names, as a checkpoint.
    pub fn checkpoint(&self) -> Checkpoint {
        self.checkpoint_with(|_| None)
    }

    /// A checkpoint in which `other` may give other values for a name.
    pub fn checkpoint_with<'a>(&'a self, other: impl Fn(&str) -> Option<&'a [f32]>) -> Checkpoint {
        let mut checkpoint = Checkpoint::new();
        for parameter in &self.parameters {
            let values = other(&parameter.name).unwrap_or(&self.values[self.named[&parameter.name].clone()]);
            let shape = parameter.spec.shape.clone();
            let tensor = match parameter.spec.role {
                Role::Counter => {
                    let bytes: Vec<u8> = values.iter().flat_map(|&count| (count as i64).to_le_bytes()).collect();
                    StoredTensor::new(Dtype::I64, shape, Bytes::from(bytes))
                }
                _ => StoredTensor::from_f32(shape, values.to_vec()),
            };
            if let Some(tensor) = tensor {
                checkpoint.insert(parameter.name.clone(), tensor);
            }
        }
        checkpoint
    }

    /// The plan for a batch size.
    ///
    /// # Errors
    /// When a size is not known or the memory needed is beyond reason.
    pub fn plan(&mut self, batch: usize) -> Result<Arc<Plan>, LearnError> {
        if let Some(program) = self.programs.get(&batch) {
            return Ok(Arc::clone(&program.plan));
        }
        let options = pass_options(self.fast);
        let plan = Arc::new(plan::plan(&self.training.graph, batch, &options).map_err(RunError::from)?);
        let steps = plan.steps.iter().map(|step| Mutex::new(self.live(step))).collect();
        self.programs.insert(batch, Program { plan: Arc::clone(&plan), steps });
        Ok(plan)
    }

    fn live(&self, step: &Step) -> Live {
        let spans = self.owned.get(&step.node).cloned().unwrap_or_default();
        let made = Made::of(step, &pass_options(self.fast));
        let prologue = step.prologue.map(|(norm, range)| {
            let spans = self.owned.get(&norm).cloned().unwrap_or_default();
            let values: Vec<_> = spans.iter().map(|span| self.values[span.clone()].into()).collect();
            conv::Prologue { range, ..per_channel(&self.training.graph.net.node(norm).op, &values) }
        });
        let prepared = (!spans.is_empty()).then(|| Prepared { own: Form::Live(spans), prologue });
        let mut live = Live { prepared, made };
        // What is frozen is prepared once.
        live.refresh(self.isa, &self.values, &self.owned.get(&step.node).cloned().unwrap_or_default());
        live
    }

    /// Computes losses and gradients of a batch: for each input of the graph its values in the order of users.
    ///
    /// # Errors
    /// When the batch cannot be planned.
    ///
    /// # Panics
    /// When an input has another number of values than the graph takes.
    pub fn pass(&mut self, batch: usize, inputs: &[&[f32]]) -> Result<Pass<'_>, LearnError> {
        self.pass_observed(batch, inputs, &mut |_, _| {})
    }

    /// [`pass`](Self::pass) that tells how long each step took.
    ///
    /// # Errors
    /// As [`pass`](Self::pass).
    pub fn pass_observed(
        &mut self,
        batch: usize,
        inputs: &[&[f32]],
        observe: &mut dyn FnMut(&Step, Duration),
    ) -> Result<Pass<'_>, LearnError> {
        let plan = self.plan(batch)?;
        let Learner { programs, arena, scratch, threads, isa, values, owned, trained, .. } = self;
        let program = &programs[&batch];
        arena.reserve(plan.arena);
        threads.run(plan.steps.len(), |at, _| {
            let spans = owned.get(&plan.steps[at].node).map_or(&[][..], |spans| spans);
            if spans.iter().any(|span| span.start < *trained) {
                let mut live = program.steps[at].lock().unwrap_or_else(PoisonError::into_inner);
                live.refresh(*isa, values, spans);
            }
        });
        let mut cx = Context { isa: *isa, threads, scratch };
        assert_eq!(inputs.len(), plan.inputs.len(), "inputs of the graph");
        for (values, slot) in inputs.iter().zip(&plan.inputs) {
            assert_eq!(values.len(), slot.place.elements(), "values of an input");
            execute::put(&cx, values, slot, arena);
        }
        for (step, live) in plan.steps.iter().zip(&program.steps) {
            let live = live.lock().unwrap_or_else(PoisonError::into_inner);
            let begin = Instant::now();
            execute::execute(&mut cx, step, live.prepared.as_ref(), values, arena);
            observe(step, begin.elapsed());
        }
        self.last = Some(Arc::clone(&plan));
        Ok(Pass { learner: self, plan })
    }

    /// What the last pass has computed, as long as no other has begun.
    pub fn last_pass(&mut self) -> Option<Pass<'_>> {
        let plan = self.last.clone()?;
        Some(Pass { learner: self, plan })
    }
}

impl Made {
    fn of(step: &Step, options: &plan::Options) -> Made {
        match (&step.op, step.kernel) {
            (_, Kernel::Plain | Kernel::Linear | Kernel::Normalise) => Made::Nothing,
            (Op::Conv(conv), Kernel::Depthwise) => {
                Made::Depthwise(geometry(conv, &step.inputs[0].dims, &step.outputs[0].dims))
            }
            (op, Kernel::PerChannel) => Made::PerChannel(op.clone()),
            (Op::Gradient(gradient), _) => match &gradient.of {
                Differentiated::Conv(conv) if gradient.wrt == [Wrt::Operand(0)] => {
                    let g = geometry(conv, &step.outputs[0].dims, &step.inputs[0].dims);
                    if g.is_depthwise() {
                        Made::DepthwiseGradient(g)
                    } else {
                        Made::phases(g, has_dense_results(step), options)
                    }
                }
                _ => Made::Nothing,
            },
            _ => Packing::of(step).map_or(Made::Nothing, |packing| Made::Packed { packing, memory: None }),
        }
    }

    /// `is_dense` says whether the rows of the gradient lie without gaps.
    fn phases(g: Geometry, is_dense: bool, options: &plan::Options) -> Made {
        let phases = conv_gradient::phases(&g).unwrap_or_default();
        // Several phases are computed apart, each without gaps, and then spread.
        let is_dense = is_dense || 1 < phases.len();
        let packing = |phase: &Phase| {
            let g = phase.geometry()?;
            Some((Packing::with(select::best(g, options)?, g, is_dense)?, None))
        };
        Made::Phases { g, packings: phases.iter().map(packing).collect(), phases }
    }

    /// Floats that it takes beside the values that it is made from.
    fn floats(&self, step: &Step) -> usize {
        match self {
            Made::Nothing => 0,
            Made::Packed { packing, .. } => packing.floats(),
            Made::Phases { packings, .. } => packings.iter().flatten().map(|(packing, _)| packing.floats()).sum(),
            Made::Depthwise(g) | Made::DepthwiseGradient(g) => g.to.c * g.kernel[0] * g.kernel[1],
            Made::PerChannel(_) => 2 * step.outputs[0].place.width,
        }
    }
}

impl Live {
    /// Makes the parameters from the values in `spans`.
    fn refresh(&mut self, isa: Isa, values: &[f32], spans: &[Span<usize>]) {
        let Some(prepared) = &mut self.prepared else { return };
        let tensor = |at: usize| spans.get(at).map(|span| &values[span.clone()]);
        let Some(weight) = tensor(0) else { return };
        match &mut self.made {
            Made::Nothing => {}
            Made::Packed { packing, memory } => {
                prepared.own = Form::Live(Vec::new());
                prepared.own = pack(packing, memory, isa, weight, tensor(1));
            }
            Made::Phases { g, phases, packings } => {
                prepared.own = Form::Live(Vec::new());
                let weights = phases.iter().zip(packings).map(|(phase, packing)| {
                    let (packing, memory) = packing.as_mut()?;
                    match pack(packing, memory, isa, &phase.turn(g, weight), None) {
                        Form::Product(weights) => Some(conv_gradient::Weights::Product(weights)),
                        Form::Winograd(weights) => Some(conv_gradient::Weights::Winograd(weights)),
                        _ => None,
                    }
                });
                prepared.own = Form::Phases(phases.clone(), weights.collect());
            }
            Made::Depthwise(g) => {
                let taps = g.kernel[0] * g.kernel[1];
                prepared.own = Form::Depthwise(depthwise::Weights::new(g.to.c, taps, weight, tensor(1)));
            }
            Made::DepthwiseGradient(g) => prepared.own = Form::Depthwise(depthwise_gradient::weights(g, weight)),
            Made::PerChannel(op) => {
                let values: Vec<_> = spans.iter().map(|span| values[span.clone()].into()).collect();
                prepared.own = Form::PerChannel(per_channel(op, &values));
            }
        }
    }
}

/// Packs weights into memory that only the form before has used, which is gone.
fn pack(packing: &Packing, memory: &mut Memory, isa: Isa, weight: &[f32], bias: Option<&[f32]>) -> Form {
    let buffer = memory.take().and_then(Arc::into_inner);
    let mut buffer = buffer.unwrap_or_else(|| Buffer::zeros(packing.floats()));
    packing.pack(isa, weight, &vec![1.0; packing.outputs()], &mut buffer);
    let buffer = memory.insert(Arc::new(buffer));
    packing.form(buffer, 0, bias)
}

/// What a pass has computed.
#[derive(Debug)]
pub struct Pass<'a> {
    learner: &'a mut Learner,
    plan: Arc<Plan>,
}

impl Pass<'_> {
    /// The values of an output of the graph, in the order of users.
    pub fn output(&mut self, at: usize) -> Vec<f32> {
        let slot: &Slot = &self.plan.outputs[at].1;
        let mut values = vec![0.0; slot.place.elements()];
        let Learner { arena, scratch, threads, isa, .. } = &mut *self.learner;
        execute::take(&Context { isa: *isa, threads, scratch }, slot, arena, &mut values);
        values
    }

    /// An output that is one row without gaps, as every gradient of a parameter is: as it lies in memory.
    pub fn row(&self, at: usize) -> &[f32] {
        let place = self.plan.outputs[at].1.place;
        &self.learner.arena[place.start..place.end()]
    }

    /// Gradients and parameters side by side: calls `update` with the number, the gradient and the values of each that is
    /// trained, in the order of [`Training::gradients`].
    pub fn update(&mut self, mut update: impl FnMut(usize, (&Threads, Isa), &[f32], &mut [f32])) {
        let Learner { training, arena, values, named, threads, isa, .. } = &mut *self.learner;
        for (at, (name, output)) in training.gradients.iter().enumerate() {
            let place = self.plan.outputs[*output].1.place;
            let value = &mut values[named[name].clone()];
            update(at, (threads, *isa), &arena[place.start..place.end()], value);
        }
    }
}
