//! A run of a recipe: epochs of steps, evaluations, and states from which it can be resumed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::curves;
use super::error::TrainError;
use super::evaluation::{Evaluation, Tally, best, predict};
use super::frozen::{Frozen, freeze, part};
use super::recipe::{Precision, Recipe};
use super::sets::Sets;
use super::start::start;
use super::state::{Position, Record, State, Sums};
use super::stepper::{Outcome, Samples, Stepper};
use super::watch::{End, Progress, Watch};
use crate::compile::{CompileError, Compiled, Settings, compile_with};
use crate::data::dataset::Dataset;
use crate::data::loader::{Batch, Inputs, Loader, Order};
use crate::data::{Crops, DataError, write_atomic};
use crate::grad::Objective;
use crate::run::{LearnOptions, Learner, RunOptions};
use crate::weights::{Checkpoint, parameters};

/// The file of a run's state in its folder.
pub const STATE: &str = "state.safetensors";
/// The weights after the last epoch, and those that were best.
pub const WEIGHTS: [&str; 2] = ["last.safetensors", "best.safetensors"];
/// The recipe with all its values.
pub const RECIPE: &str = "recipe.toml";
/// What was measured, a line an epoch.
pub const METRICS: &str = "metrics.jsonl";
/// How large the gradient of each parameter was in the first step.
pub const GRADIENTS: &str = "gradients.json";
/// The key under which weights keep the names of their classes.
pub const CLASSES: &str = "classes";
/// The keys under which weights keep the mean and the deviation of colours that they have been trained with.
pub const MEAN: &str = "mean";
/// See [`MEAN`].
pub const STD: &str = "std";
/// A loss above this is no loss that will come down.
const EXPLODED: f64 = 1e4;

/// A recipe with all that it names.
#[derive(Debug)]
pub struct Trainer {
    recipe: Recipe,
    folder: PathBuf,
    compiled: Compiled,
    sets: Sets,
    stepper: Stepper,
    /// The frozen layers in front of what the stepper has, where they are computed once.
    frozen: Option<Frozen>,
    position: Position,
    saved: Instant,
    begun: Instant,
}

impl Trainer {
    /// Makes a recipe ready to run; the one at `path`, whose values may have been replaced. With `resume` it goes on where
    /// the state in its folder stands.
    ///
    /// # Errors
    /// When something that it names is wrong.
    pub fn new(recipe: Recipe, path: &Path, resume: bool, watch: &mut dyn Watch) -> Result<Trainer, TrainError> {
        let base = path.parent().unwrap_or(Path::new("")).to_path_buf();
        let folder = recipe.folder(path);
        let compiled = compile(&recipe, &base)?;
        let sets = Sets::open(&recipe, &compiled, &base, &folder)?;
        check_outputs(&compiled, sets.train.classes().len())?;
        let parameters = parameters(&compiled.net, &compiled.shapes);
        if let Some(fault) = recipe.idle_pattern(parameters.iter().map(|parameter| parameter.name.as_str())) {
            return Err(TrainError::Misfit(fault));
        }
        let state_path = folder.join(STATE);
        let state = if resume { Some(State::read(&state_path)?) } else { None };
        if state.is_none() && state_path.exists() {
            return Err(TrainError::Misfit(format!(
                "there is a run in {} already\n  help: go on with it by `--resume`, name another `run.folder`, or remove it",
                folder.display()
            )));
        }
        let (weights, position) = match &state {
            Some(state) => {
                same_recipe(&recipe, &state.recipe)?;
                (state.weights(), state.position.clone())
            }
            None => {
                let found = start(&compiled, &recipe.init, recipe.seed, &base)?;
                if !found.report.is_empty() {
                    watch.told(&found.report);
                }
                (found.weights, Position { epoch: 1, ..Position::default() })
            }
        };
        let frozen = freeze(&recipe, (&compiled, &weights), &sets, (position.epoch, &folder), watch)?;
        let mut stepper = stepper(&recipe, &compiled, frozen.as_ref(), &weights, position.epoch)?;
        if let Some(state) = &state {
            state.hand_over(&mut stepper);
        }
        let now = Instant::now();
        Ok(Trainer { recipe, folder, compiled, sets, stepper, frozen, position, saved: now, begun: now })
    }

    /// The folder of results.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The images.
    pub fn sets(&self) -> &Sets {
        &self.sets
    }

    /// The net with its optimiser.
    pub fn stepper(&mut self) -> &mut Stepper {
        &mut self.stepper
    }

    /// The recipe.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// Where the run stands.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// Runs to the end, or until the watcher ends it.
    ///
    /// # Errors
    /// When an image or a file is wrong, or the loss is no number any more.
    pub fn run(&mut self, watch: &mut dyn Watch) -> Result<End, TrainError> {
        std::fs::create_dir_all(&self.folder).map_err(DataError::io("write", &self.folder))?;
        let text = self.recipe.text();
        write_atomic(self.folder.join(RECIPE), |out| out.write_all(text.as_bytes()))?;
        if !self.folder.join(STATE).exists() {
            self.save()?;
        }
        while self.position.epoch <= self.recipe.epochs {
            if watch.ends() {
                return Ok(End::Interrupted);
            }
            if self.epoch(watch)? == End::Interrupted {
                self.save()?;
                return Ok(End::Interrupted);
            }
            let next = self.position.epoch;
            if next <= self.recipe.epochs && self.recipe.thaws().contains(&next) {
                self.thaw(watch)?;
            }
        }
        Ok(End::Done)
    }

    /// Trains other parameters from here on; what is known of those that stay is kept.
    fn thaw(&mut self, watch: &mut dyn Watch) -> Result<(), TrainError> {
        let (weights, epoch) = (self.parameters(), self.position.epoch);
        self.frozen = freeze(&self.recipe, (&self.compiled, &weights), &self.sets, (epoch, &self.folder), watch)?;
        let mut next = stepper(&self.recipe, &self.compiled, self.frozen.as_ref(), &weights, epoch)?;
        let before = &self.stepper;
        next.take_up(
            before.steps(),
            |name| before.average(name),
            |which, name| before.moments(name).and_then(|moments| moments.get(which).copied()),
        );
        self.stepper = next;
        Ok(())
    }

    /// What the net takes that is trained.
    fn inputs(&self) -> Inputs {
        match &self.frozen {
            Some(frozen) => Inputs::Kept(Arc::clone(&frozen.activations)),
            None => Inputs::from(&self.sets.pipeline),
        }
    }

    /// All parameters and buffers as they are.
    fn parameters(&self) -> Checkpoint {
        self.parameters_with(|_| None)
    }

    /// All parameters and buffers; `other` may give other values for a name.
    fn parameters_with<'a>(&'a self, other: impl Fn(&str) -> Option<&'a [f32]>) -> Checkpoint {
        let trained = self.stepper.learner().checkpoint_with(other);
        let Some(frozen) = &self.frozen else { return trained };
        let mut all = Checkpoint::new();
        for (name, tensor) in frozen.weights.iter() {
            all.insert(name, trained.get(name).unwrap_or(tensor).clone());
        }
        all
    }

    fn order(&self) -> Order {
        let count = self.sets.train.len();
        // A last batch with fewer samples would weigh them more; where there is no other it is taken.
        let (batch, drop_last) = (self.recipe.batch, self.recipe.batch <= count);
        Order { seed: self.recipe.seed, epoch: self.position.epoch, batch, shuffle: true, drop_last }
    }

    /// The rest of the current epoch, and its record.
    fn epoch(&mut self, watch: &mut dyn Watch) -> Result<End, TrainError> {
        let (inputs, by) = (self.inputs(), self.recipe.data.preparation());
        let floats = inputs.floats();
        let mut loader = Loader::new(&self.sets.train, inputs, self.order(), self.position.batch, by);
        let batches = loader.batches();
        let mut rate = 0.0;
        while self.position.batch < batches {
            let begin = Instant::now();
            let waited = loader.waited();
            let Some(batch) = loader.next() else { break };
            let batch = batch?;
            for (sample, reason) in &batch.skipped {
                watch.told(&format!("left out {}: {reason}", self.sets.train.describe(*sample)));
            }
            self.position.sums.skipped += batch.skipped.len();
            rate = self.rate(batches);
            if !batch.labels.is_empty() {
                self.step(&batch, floats, rate)?;
            }
            loader.give_back(batch);
            self.position.batch += 1;
            self.position.sums.waited += (loader.waited() - waited).as_secs_f64();
            self.position.sums.seconds += begin.elapsed().as_secs_f64();
            watch.step(&self.progress(batches));
            if watch.ends() {
                return Ok(End::Interrupted);
            }
            if self.saved.elapsed().as_secs_f64() > self.recipe.run.save_seconds && self.position.batch < batches {
                self.save()?;
            }
        }
        drop(loader);
        let record = self.record(rate)?;
        watch.epoch(&record);
        self.position.records.push(record);
        (self.position.epoch, self.position.batch, self.position.sums) = (self.position.epoch + 1, 0, Sums::default());
        self.results()?;
        self.save()?;
        Ok(if watch.ends() && self.position.epoch <= self.recipe.epochs { End::Interrupted } else { End::Done })
    }

    /// The learning rate of the next step.
    fn rate(&self, batches: usize) -> f64 {
        let Recipe { schedule, epochs, optimiser, .. } = &self.recipe;
        optimiser.rate * schedule.factor(self.stepper.steps(), *epochs, batches as f64)
    }

    /// One step on a batch, in parts where the recipe wants that.
    fn step(&mut self, batch: &Batch, floats: usize, rate: f64) -> Result<(), TrainError> {
        let count = batch.labels.len();
        let classes = self.sets.train.classes().len();
        let targets = targets(batch, classes, self.recipe.loss.smoothing);
        let heads = self.stepper.learner().training().heads.len();
        let part = count.div_ceil(self.recipe.accumulate);
        let mut loss = 0.0;
        let mut right = 0;
        for first in (0..count).step_by(part) {
            let end = count.min(first + part);
            let images = [&batch.images[first * floats..end * floats]];
            let target = vec![&targets[first * classes..end * classes]; heads];
            let samples = Samples { batch: end - first, inputs: &images, targets: &target };
            let outcome: Outcome =
                if end < count { self.stepper.gather(&samples)? } else { self.stepper.step(&samples, rate)? };
            loss += outcome.loss * (end - first) as f64 / count as f64;
            let rows = outcome.prediction.chunks_exact(classes).zip(&batch.labels[first..end]);
            right += rows.filter(|(row, label)| best(row) == **label).count();
        }
        if !loss.is_finite() || EXPLODED < loss {
            return Err(TrainError::Exploded {
                loss,
                step: self.stepper.steps(),
                epoch: self.position.epoch,
                rate,
                state: self.folder.join(STATE),
            });
        }
        self.position.sums.add(loss, right, count);
        self.position.step = self.stepper.steps();
        if self.position.step == 1 {
            let text = serde_json::to_string_pretty(&self.stepper.gradient_norms()).unwrap_or_default();
            write_atomic(self.folder.join(GRADIENTS), |out| out.write_all(text.as_bytes()))?;
        }
        Ok(())
    }

    fn progress(&self, batches: usize) -> Progress {
        let (sums, epochs) = (&self.position.sums, self.recipe.epochs);
        let done = self.position.batch.max(1) as f64;
        let left = (epochs - self.position.epoch) as f64 * batches as f64 + (batches - self.position.batch) as f64;
        Progress {
            epoch: (self.position.epoch, epochs),
            batch: (self.position.batch, batches),
            loss: sums.mean_loss(),
            accuracy: sums.accuracy(),
            rate: sums.images_per_second(),
            waited: sums.share_waited(),
            left: Duration::from_secs_f64(left * sums.seconds / done),
        }
    }

    /// The weights that are evaluated: their moving average, where one is kept.
    fn weights(&self) -> Checkpoint {
        let mut weights = self.parameters_with(|name| self.stepper.average(name));
        let classes = serde_json::to_string(self.sets.train.classes()).unwrap_or_default();
        weights.set_metadata(CLASSES, classes);
        weights.set_metadata("net", &self.compiled.net.name);
        let preprocess = self.sets.pipeline.preprocess();
        for (key, values) in [(MEAN, &preprocess.mean), (STD, &preprocess.std)] {
            weights.set_metadata(key, serde_json::to_string(values).unwrap_or_default());
        }
        weights
    }

    /// Evaluates where the recipe wants it, keeps the weights, and says what the epoch has brought.
    fn record(&mut self, rate: f64) -> Result<Record, TrainError> {
        let weights = self.weights();
        weights.write_safetensors(&self.folder.join(WEIGHTS[0]))?;
        let (epoch, sums) = (self.position.epoch, self.position.sums);
        let every = self.recipe.evaluate.every;
        let evaluates = epoch == self.recipe.epochs || (every != 0 && epoch.is_multiple_of(every));
        let (mut train, mut validation, mut test) = (None, None, None);
        if evaluates {
            let options = RunOptions { threads: self.recipe.run.threads, ..RunOptions::default() };
            let executable = self.compiled.plan_with(&weights, &options)?;
            let sets = &self.sets;
            let evaluated = |set: &Dataset| -> Result<Evaluation, TrainError> {
                let (mut tally, by) = (Tally::default(), self.recipe.data.preparation());
                let pipeline = sets.pipeline.plain();
                let batch = self.recipe.evaluate.batch;
                predict(&executable, (set, &pipeline), batch, Crops::One, by, |_, label, probabilities| {
                    tally.add(&probabilities, label);
                })?;
                Ok(tally.figures())
            };
            if self.recipe.evaluate.train != 0 {
                let classes = sets.train.classes().len();
                let part = sets.train.take_per_class(self.recipe.evaluate.train.div_ceil(classes), self.recipe.seed);
                train = Some(evaluated(&part)?);
            }
            validation = sets.validation.as_ref().map(evaluated).transpose()?;
            test = sets.test.as_ref().map(evaluated).transpose()?;
        }
        if let Some(found) = validation.or(test).map(|figures: Evaluation| figures.top1)
            && self.position.best.is_none_or(|best| best < found)
        {
            self.position.best = Some(found);
            weights.write_safetensors(&self.folder.join(WEIGHTS[1]))?;
        }
        let images_per_second = sums.images_per_second();
        Ok(Record {
            epoch,
            step: self.position.step,
            loss: sums.mean_loss(),
            accuracy: sums.accuracy(),
            rate,
            seconds: sums.seconds,
            images_per_second,
            speedup: self.frozen.as_ref().map(|frozen| frozen.speedup(images_per_second)),
            waited: sums.share_waited(),
            skipped: sums.skipped,
            train,
            validation,
            test,
        })
    }

    /// Writes the records and their curves.
    fn results(&self) -> Result<(), TrainError> {
        let records = &self.position.records;
        let lines: String =
            records.iter().map(|record| format!("{}\n", serde_json::to_string(record).unwrap_or_default())).collect();
        write_atomic(self.folder.join(METRICS), |out| out.write_all(lines.as_bytes()))?;
        curves::write(&self.folder, records)?;
        Ok(())
    }

    /// Saves the state.
    fn save(&mut self) -> Result<(), TrainError> {
        self.position.seconds += self.begun.elapsed().as_secs_f64();
        self.begun = Instant::now();
        State::write(&self.folder.join(STATE), self.parameters(), &self.stepper, &self.position, &self.recipe.text())?;
        self.saved = Instant::now();
        Ok(())
    }
}

/// Compiles the net of a recipe.
///
/// # Errors
/// When it is wrong.
pub fn compile(recipe: &Recipe, base: &Path) -> Result<Compiled, CompileError> {
    let set = recipe.set.iter().map(|(name, value)| format!("{name}={value}")).collect();
    compile_with(base.join(&recipe.net), &Settings { set, ..Settings::default() })
}

/// The net, or what is behind its frozen layers, with an optimiser that trains what the recipe trains in an epoch.
fn stepper(
    recipe: &Recipe,
    compiled: &Compiled,
    frozen: Option<&Frozen>,
    weights: &Checkpoint,
    epoch: u64,
) -> Result<Stepper, TrainError> {
    let trained = |name: &str| recipe.is_trained(name, epoch);
    let objective =
        Objective { loss: recipe.loss.kind, trained: &trained, recompute: recipe.run.checkpoint_activations };
    let options =
        LearnOptions { threads: recipe.run.threads, instructions: None, fast: recipe.run.precision == Precision::Fast };
    let (net, shapes) = frozen.map_or((&compiled.net, &compiled.shapes), |frozen| (&frozen.back.0, &frozen.back.1));
    let learner = Learner::new(net, shapes, &objective, &part(net, shapes, weights), &options)?;
    let mut stepper = Stepper::new(learner, recipe.optimiser.clone(), recipe.seed);
    stepper.set_rates(|name| recipe.rate_of(name));
    Ok(stepper)
}

/// Every output must have a value for each class.
fn check_outputs(compiled: &Compiled, classes: usize) -> Result<(), TrainError> {
    for output in &compiled.net.outputs {
        let shape = compiled.shapes.of(output.value);
        if shape.as_known().as_deref() != Some(&[classes]) {
            return Err(TrainError::Misfit(format!(
                "output `{}` of net `{}` is {}, but the images have {classes} classes\n  help: give the net as many by \
                 `[set] classes = {classes}`, where it has such a parameter",
                output.name,
                compiled.net.name,
                shape.claim()
            )));
        }
    }
    Ok(())
}

/// A run goes on by the recipe that it began with, up to how it is executed.
fn same_recipe(recipe: &Recipe, before: &str) -> Result<(), TrainError> {
    let comparable = |recipe: &Recipe| Recipe { run: Default::default(), ..recipe.clone() }.text();
    let parsed: Result<Recipe, _> = toml::from_str(before);
    let (now, before) = (comparable(recipe), parsed.as_ref().map(comparable).unwrap_or_default());
    let differing = now.lines().zip(before.lines()).find(|(now, before)| now != before);
    if now == before {
        return Ok(());
    }
    let what = differing.map_or_else(String::new, |(now, before)| format!(": `{now}` instead of `{before}`"));
    Err(TrainError::Misfit(format!(
        "the recipe is another than the run began with{what}\n  help: restore it, or begin anew in another `run.folder`"
    )))
}

/// The probability of each class for each sample: labels, smoothed and mixed.
fn targets(batch: &Batch, classes: usize, smoothing: f64) -> Vec<f32> {
    let mut targets = vec![(smoothing / classes as f64) as f32; batch.labels.len() * classes];
    let kept = (1.0 - smoothing) as f32;
    for (sample, (row, &label)) in targets.chunks_exact_mut(classes).zip(&batch.labels).enumerate() {
        match &batch.mixed {
            Some((others, share)) => {
                row[label] += kept * share;
                row[others[sample]] += kept * (1.0 - share);
            }
            None => row[label] += kept,
        }
    }
    targets
}
