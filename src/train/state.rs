//! What a run is resumed from: one file with weights, optimiser, position and what has been measured so far.
//!
//! Everything random is drawn from the seed and the position, so the two are the state of the generators too.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::evaluation::Evaluation;
use super::stepper::Stepper;
use crate::weights::{Checkpoint, OpenOptions, StoredTensor, WeightsError};

/// Where a run stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// The epoch, counted from 1.
    pub epoch: u64,
    /// Batches of it that are done.
    pub batch: usize,
    /// Steps of the optimiser.
    pub step: u64,
    /// Figures of the epoch so far.
    pub sums: Sums,
    /// Seconds that the run has taken.
    pub seconds: f64,
    /// The best share of right classes so far.
    pub best: Option<f64>,
    /// The epochs that are done.
    pub records: Vec<Record>,
}

/// Sums over the samples of an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sums {
    /// Of losses, times samples: the bits of an `f64`, which text would round.
    pub loss: u64,
    /// Samples whose class had the largest logit.
    pub right: usize,
    /// Samples.
    pub count: usize,
    /// Images that could not be read.
    pub skipped: usize,
    /// Seconds.
    pub seconds: f64,
    /// Seconds in which the step waited for its batch.
    pub waited: f64,
}

impl Sums {
    /// Adds a step.
    pub fn add(&mut self, loss: f64, right: usize, count: usize) {
        self.loss = (f64::from_bits(self.loss) + loss * count as f64).to_bits();
        self.right += right;
        self.count += count;
    }

    /// The mean loss.
    pub fn mean_loss(&self) -> f64 {
        f64::from_bits(self.loss) / self.count.max(1) as f64
    }

    /// Images a second.
    pub fn images_per_second(&self) -> f64 {
        self.count as f64 / self.seconds.max(1e-9)
    }

    /// The share of the time in which steps waited for their batch.
    pub fn share_waited(&self) -> f64 {
        self.waited / self.seconds.max(1e-9)
    }

    /// The share of right classes.
    pub fn accuracy(&self) -> f64 {
        self.right as f64 / self.count.max(1) as f64
    }
}

/// An epoch that is done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Counted from 1.
    pub epoch: u64,
    /// Steps of the optimiser up to its end.
    pub step: u64,
    /// The mean loss of its steps, regularisation and augmentation included as they are.
    pub loss: f64,
    /// The share of right classes in its steps.
    pub accuracy: f64,
    /// The learning rate of its last step.
    pub rate: f64,
    /// Seconds of its steps.
    pub seconds: f64,
    /// Images a second.
    pub images_per_second: f64,
    /// The share of the time in which steps waited for their batch.
    pub waited: f64,
    /// Images that could not be read.
    pub skipped: usize,
    /// How many times as long its steps would have taken with the frozen layers whose results are kept.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub speedup: Option<f64>,
    /// Figures on images that are learned from, without augmentation and in the form of inference.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub train: Option<Evaluation>,
    /// Figures on the images that are held out.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub validation: Option<Evaluation>,
    /// Figures on the test set.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub test: Option<Evaluation>,
}

const AVERAGE: &str = "average:";

fn moment(which: usize) -> String {
    format!("moment{which}:")
}

/// A run as it stands in a file.
#[derive(Debug)]
pub struct State {
    /// Where it stands.
    pub position: Position,
    /// The recipe that it follows, as text.
    pub recipe: String,
    /// Weights, moments and average.
    tensors: Checkpoint,
}

impl State {
    /// Writes the state of a run with these weights; the file is whole or as it was.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(
        path: &Path,
        weights: Checkpoint,
        stepper: &Stepper,
        position: &Position,
        recipe: &str,
    ) -> Result<(), WeightsError> {
        let mut file = weights;
        let mut add = |name: String, values: &[f32]| {
            if let Some(tensor) = StoredTensor::from_f32(vec![values.len() as u64], values.to_vec()) {
                file.insert(name, tensor);
            }
        };
        for (name, _) in &stepper.learner().training().gradients {
            for (which, values) in stepper.moments(name).into_iter().flatten().enumerate() {
                add(format!("{}{name}", moment(which)), values);
            }
            if let Some(values) = stepper.average(name) {
                add(format!("{AVERAGE}{name}"), values);
            }
        }
        file.set_metadata("position", serde_json::to_string(position).unwrap_or_default());
        file.set_metadata("recipe", recipe);
        file.write_safetensors(path)
    }

    /// Reads a state.
    ///
    /// # Errors
    /// When it cannot be read, or is none.
    pub fn read(path: &Path) -> Result<State, WeightsError> {
        let tensors = Checkpoint::open(path, &OpenOptions { mapped: false })?;
        let said = tensors.metadata();
        let position = said.get("position").and_then(|text| serde_json::from_str(text).ok());
        let (Some(position), Some(recipe)) = (position, said.get("recipe")) else {
            return Err(WeightsError::Malformed {
                path: path.to_owned(),
                place: "header".to_owned(),
                problem: "it is no state of a run".to_owned(),
                help: "name the folder of a run that `netc train` has begun".to_owned(),
            });
        };
        Ok(State { position, recipe: recipe.clone(), tensors })
    }

    /// The weights alone.
    pub fn weights(&self) -> Checkpoint {
        let mut weights = Checkpoint::new();
        for (name, tensor) in self.tensors.iter().filter(|(name, _)| !name.contains(':')) {
            weights.insert(name, tensor.clone());
        }
        weights
    }

    /// Lets a run go on from here.
    pub fn hand_over(&self, stepper: &mut Stepper) {
        let values: std::collections::HashMap<&str, std::borrow::Cow<[f32]>> =
            self.tensors.iter().map(|(name, tensor)| (name, tensor.to_f32())).collect();
        let find = |name: String| values.get(name.as_str()).map(|values| &**values);
        stepper.take_up(
            self.position.step,
            |name| find(format!("{AVERAGE}{name}")),
            |which, name| find(format!("{}{name}", moment(which))),
        );
    }
}
