//! One step of training: the pass, the statistics of batch norms, and what the optimiser makes of the gradients.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use super::optimiser::{Optimiser, Part, State};
use crate::kernel::buffer::Buffer;
use crate::kernel::update;
use crate::op::Role;
use crate::plan::Step;
use crate::run::{LearnError, Learner};

/// A net in training with the state of its optimiser.
#[derive(Debug)]
pub struct Stepper {
    learner: Learner,
    optimiser: Optimiser,
    state: State,
    /// The factor of the learning rate of each trained parameter.
    rates: Vec<f64>,
    /// Where the state of each trained parameter begins, and its role.
    places: Vec<(usize, Role)>,
    /// The moving average of the trained parameters, where one is kept.
    average: Option<Buffer>,
    /// Gradients of the parts of a batch, where it has several, each times its samples.
    gathered: Buffer,
    /// The parts that have been gathered, and their samples.
    parts: u64,
    samples: usize,
    seed: u64,
}

/// A part of a batch: for each input of the net its values, and the target of each output.
#[derive(Clone, Copy, Debug)]
pub struct Samples<'a> {
    /// Samples.
    pub batch: usize,
    /// The net's inputs in its order.
    pub inputs: &'a [&'a [f32]],
    /// The target of each output in its order.
    pub targets: &'a [&'a [f32]],
}

/// What a pass has found.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The sum of the outputs' mean losses, each with its weight.
    pub loss: f64,
    /// The loss of each sample at the output that exists outside training.
    pub losses: Vec<f32>,
    /// That output.
    pub prediction: Vec<f32>,
}

/// How large the gradient of a parameter is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GradientNorm {
    /// The parameter.
    pub name: String,
    /// Values.
    pub elements: usize,
    /// The Euclidean norm of its gradient.
    pub norm: f64,
}

impl Stepper {
    /// A net that is trained by an optimiser; `seed` decides what is dropped.
    pub fn new(learner: Learner, optimiser: Optimiser, seed: u64) -> Stepper {
        let role = |name: &str| {
            let parameter = learner.parameters().iter().find(|parameter| parameter.name == name);
            parameter.map_or(Role::Weight, |parameter| parameter.spec.role)
        };
        let (mut places, mut total) = (Vec::new(), 0);
        for (name, _) in &learner.training().gradients {
            places.push((total, role(name)));
            total += learner.value(name).map_or(0, <[f32]>::len);
        }
        let average = (0.0 < optimiser.average).then(|| {
            let mut average = Buffer::zeros(total);
            for ((name, _), (start, _)) in learner.training().gradients.iter().zip(&places) {
                let values = learner.value(name).unwrap_or_default();
                average[*start..start + values.len()].copy_from_slice(values);
            }
            average
        });
        let state = State::new(&optimiser, total);
        let rates = vec![1.0; places.len()];
        Stepper {
            learner,
            optimiser,
            state,
            rates,
            places,
            average,
            gathered: Buffer::default(),
            parts: 0,
            samples: 0,
            seed,
        }
    }

    /// The net.
    pub fn learner(&self) -> &Learner {
        &self.learner
    }

    /// The net, to be changed.
    pub fn learner_mut(&mut self) -> &mut Learner {
        &mut self.learner
    }

    /// The optimiser's settings.
    pub fn optimiser(&self) -> &Optimiser {
        &self.optimiser
    }

    /// The state of the optimiser.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Steps that have been made.
    pub fn steps(&self) -> u64 {
        self.state.step
    }

    /// The moving average of a trained parameter, where one is kept.
    pub fn average(&self, name: &str) -> Option<&[f32]> {
        let (at, len) = self.place(name)?;
        Some(&self.average.as_ref()?[self.places[at].0..][..len])
    }

    /// The buffers that the optimiser keeps for a trained parameter.
    pub fn moments(&self, name: &str) -> Option<Vec<&[f32]>> {
        let (at, len) = self.place(name)?;
        Some(self.state.moments.iter().map(|moment| &moment[self.places[at].0..][..len]).collect())
    }

    /// Takes up where another run stood: so many steps, and for a name its average and its moments, where it has had any.
    pub fn take_up<'a>(
        &mut self,
        step: u64,
        average: impl Fn(&str) -> Option<&'a [f32]>,
        moment: impl Fn(usize, &str) -> Option<&'a [f32]>,
    ) {
        self.state.step = step;
        for (at, (name, _)) in self.learner.training().gradients.iter().enumerate() {
            let start = self.places[at].0;
            for (which, buffer) in self.state.moments.iter_mut().enumerate() {
                if let Some(values) = moment(which, name) {
                    buffer[start..start + values.len()].copy_from_slice(values);
                }
            }
            if let (Some(buffer), Some(values)) = (&mut self.average, average(name)) {
                buffer[start..start + values.len()].copy_from_slice(values);
            }
        }
    }

    /// The number of a trained parameter, and how many values it has.
    fn place(&self, name: &str) -> Option<(usize, usize)> {
        let at = self.learner.training().gradients.iter().position(|(other, _)| other == name)?;
        Some((at, self.learner.value(name)?.len()))
    }

    /// Sets the factor of each parameter's learning rate, by its name.
    pub fn set_rates(&mut self, factor: impl Fn(&str) -> f64) {
        let names = self.learner.training().gradients.iter();
        self.rates = names.map(|(name, _)| factor(name)).collect();
    }

    /// Passes one part of a batch of several; [`step`](Self::step) with the last one makes the step.
    ///
    /// # Errors
    /// When the part cannot be planned.
    pub fn gather(&mut self, part: &Samples) -> Result<Outcome, LearnError> {
        let outcome = self.pass(part, true, &mut |_, _| {})?;
        self.parts += 1;
        Ok(outcome)
    }

    /// Passes a batch, or its last part, and makes a step at a learning rate.
    ///
    /// # Errors
    /// When the batch cannot be planned.
    pub fn step(&mut self, part: &Samples, rate: f64) -> Result<Outcome, LearnError> {
        self.step_observed(part, rate, &mut |_, _| {})
    }

    /// [`step`](Self::step) that tells how long each step of the pass took.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub fn step_observed(
        &mut self,
        part: &Samples,
        rate: f64,
        observe: &mut dyn FnMut(&Step, Duration),
    ) -> Result<Outcome, LearnError> {
        let gathers = self.parts != 0;
        let outcome = self.pass(part, gathers, observe)?;
        if outcome.loss.is_finite() {
            self.update(rate, gathers);
        }
        Ok(outcome)
    }

    /// Computes the gradients of a part; adds them to those before where `gathers` holds.
    fn pass(
        &mut self,
        part: &Samples,
        gathers: bool,
        observe: &mut dyn FnMut(&Step, Duration),
    ) -> Result<Outcome, LearnError> {
        let training = self.learner.training();
        let masks = self.masks(part.batch);
        let masks = masks.iter().map(Vec::as_slice);
        let inputs: Vec<&[f32]> =
            part.inputs.iter().copied().chain(masks).chain(part.targets.iter().copied()).collect();
        let (heads, main, statistics) = (training.heads.clone(), training.main, training.statistics.clone());
        let mut pass = self.learner.pass_observed(part.batch, &inputs, observe)?;
        let mut loss = 0.0;
        let mut losses = Vec::new();
        for (at, head) in heads.iter().enumerate() {
            let found = pass.output(head.loss);
            loss += head.weight * found.iter().map(|&x| f64::from(x)).sum::<f64>() / part.batch as f64;
            if at == main {
                losses = found;
            }
        }
        let prediction = pass.output(heads[main].prediction);
        let found: Vec<[Vec<f32>; 2]> =
            statistics.iter().map(|statistics| statistics.outputs.map(|output| pass.row(output).to_vec())).collect();
        if gathers {
            let (places, gathered, first) = (&self.places, &mut self.gathered, self.parts == 0);
            gathered.reserve(self.state.moments[0].len());
            pass.update(|at, (threads, isa), gradient, _| {
                let to = &mut gathered[places[at].0..][..gradient.len()];
                update::blend(threads, isa, if first { 0.0 } else { 1.0 }, part.batch as f32, gradient, to);
            });
            self.samples += part.batch;
        }
        for (statistics, [mean, variance]) in statistics.iter().zip(&found) {
            let count = (part.batch * statistics.positions) as f64;
            self.move_statistics(&statistics.path, statistics.momentum, mean, variance, count);
        }
        Ok(Outcome { loss, losses, prediction })
    }

    /// Moves running statistics as PyTorch does: the variance with the divisor `count - 1`.
    fn move_statistics(&mut self, path: &str, momentum: f64, mean: &[f32], variance: &[f32], count: f64) {
        let unbiased = count / (count - 1.0).max(1.0);
        for (leaf, values, factor) in [("running_mean", mean, 1.0), ("running_var", variance, unbiased)] {
            let running = self.learner.value_mut(&format!("{path}.{leaf}")).unwrap_or_default();
            for (running, &value) in running.iter_mut().zip(values) {
                let moved = (1.0 - momentum) * f64::from(*running) + momentum * factor * f64::from(value);
                *running = moved as f32;
            }
        }
        if let Some([counter]) = self.learner.value_mut(&format!("{path}.num_batches_tracked")) {
            *counter += 1.0;
        }
    }

    /// The Euclidean norm of each trained parameter's gradient in the last pass.
    pub fn gradient_norms(&mut self) -> Vec<GradientNorm> {
        let names: Vec<String> = self.learner.training().gradients.iter().map(|(name, _)| name.clone()).collect();
        let mut found = Vec::new();
        if let Some(mut pass) = self.learner.last_pass() {
            pass.update(|at, _, gradient, _| {
                let (name, norm) = (names[at].clone(), update::squares(gradient).sqrt());
                found.push(GradientNorm { name, elements: gradient.len(), norm });
            });
        }
        found
    }

    /// What is dropped in the next pass: a function of the seed, the step and the part.
    fn masks(&self, batch: usize) -> Vec<Vec<f32>> {
        let training = self.learner.training();
        let masks = training.masks.iter().enumerate();
        masks
            .map(|(at, (mask, _))| {
                let mut key = [0; 32];
                let numbers = [self.seed, self.state.step, self.parts, at as u64];
                key.chunks_exact_mut(8).zip(numbers).for_each(|(to, number)| to.copy_from_slice(&number.to_le_bytes()));
                let mut random = ChaCha8Rng::from_seed(key);
                let sizes = training.graph.shapes.of(mask.node.into()).as_known().unwrap_or_default();
                let kept = (1.0 / (1.0 - mask.p)) as f32;
                // Dropped where a number below 2³² is below p · 2³².
                let bound = (mask.p * 4_294_967_296.0) as u64;
                let draw = |_| if u64::from(random.next_u32()) < bound { 0.0 } else { kept };
                (0..batch * sizes.iter().product::<usize>()).map(draw).collect()
            })
            .collect()
    }

    fn update(&mut self, rate: f64, gathered: bool) {
        let Stepper { learner, optimiser, state, rates, places, average, gathered: sums, parts, samples, .. } = self;
        state.step += 1;
        *parts = 0;
        let samples = std::mem::take(samples);
        let mut factor = if gathered { 1.0 / samples as f64 } else { 1.0 };
        let Some(mut pass) = learner.last_pass() else { return };
        if 0.0 < optimiser.clip {
            let mut squares = 0.0;
            pass.update(|at, _, gradient, _| {
                let gradient = if gathered { &sums[places[at].0..][..gradient.len()] } else { gradient };
                squares += update::squares(gradient);
            });
            let norm = squares.sqrt() * factor;
            factor *= (optimiser.clip / (norm + 1e-6)).min(1.0);
        }
        pass.update(|at, (threads, isa), gradient, weight| {
            let (start, role) = places[at];
            let gradient = if gathered { &sums[start..][..gradient.len()] } else { gradient };
            let part = Part { role, start, rate: rate * rates[at], gradient, factor };
            state.update(optimiser, (threads, isa), part, weight);
            if let Some(average) = average {
                let keep = optimiser.average as f32;
                update::blend(threads, isa, keep, 1.0 - keep, weight, &mut average[start..][..weight.len()]);
            }
        });
    }
}
