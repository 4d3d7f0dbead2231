//! How good a net is on a set.

use serde::{Deserialize, Serialize};

use rayon::prelude::*;

use crate::data::augment::Pipeline;
use crate::data::dataset::Dataset;
use crate::data::loader::{Batch, Loader, OnCorrupt, Order, Preparation};
use crate::data::{Crops, DataError};
use crate::op::Op;
use crate::run::{Executable, RunError};

/// Figures over a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The mean cross entropy.
    pub loss: f64,
    /// The share whose class has the largest logit.
    pub top1: f64,
    /// The share whose class is among the five largest.
    pub top5: f64,
    /// Images.
    pub count: usize,
}

impl Evaluation {
    /// The share whose class has not the largest logit.
    pub fn error(&self) -> f64 {
        1.0 - self.top1
    }
}

/// The probabilities that logits stand for.
pub fn softmax(logits: &[f32]) -> Vec<f64> {
    let most = logits.iter().fold(f32::NEG_INFINITY, |most, &x| most.max(x));
    let powers: Vec<f64> = logits.iter().map(|&x| f64::from(x - most).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

/// The probabilities of a net's output, which they are already where it ends with a softmax.
fn probabilities(output: &[f32], is_probability: bool) -> Vec<f64> {
    if is_probability { output.iter().map(|&x| f64::from(x)).collect() } else { softmax(output) }
}

/// The class with the largest value; of equal ones the first.
pub fn best(values: &[f32]) -> usize {
    values.iter().enumerate().fold(0, |best, (at, value)| if *value > values[best] { at } else { best })
}

/// Sums of what is counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    loss: f64,
    first: usize,
    five: usize,
    count: usize,
}

impl Tally {
    /// Counts a prediction: the probability of each class.
    pub fn add(&mut self, probabilities: &[f64], label: usize) {
        let own = probabilities[label];
        let ahead = probabilities.iter().enumerate();
        let ahead = ahead.filter(|&(at, &other)| other > own || (other == own && at < label)).count();
        self.loss -= own.max(f64::MIN_POSITIVE).ln();
        self.first += usize::from(ahead == 0);
        self.five += usize::from(ahead < 5);
        self.count += 1;
    }

    /// The figures.
    pub fn figures(&self) -> Evaluation {
        let count = self.count.max(1) as f64;
        let (top1, top5) = (self.first as f64 / count, self.five as f64 / count);
        Evaluation { loss: self.loss / count, top1, top5, count: self.count }
    }
}

/// Why a net could not be evaluated.
#[derive(Debug, thiserror::Error)]
pub enum EvaluationError {
    /// An image cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The net does not run.
    #[error(transparent)]
    Run(#[from] RunError),
}

/// Whether a net gives probabilities itself.
fn ends_with_softmax(executable: &Executable) -> bool {
    let net = &executable.optimised().net;
    let last = net.outputs.first().map(|output| &net.node(output.value.node).op);
    matches!(last, Some(Op::Softmax(softmax)) if !softmax.log)
}

/// What a net gives for the samples of a batch, one after the other.
///
/// # Errors
/// When the net does not take them.
pub fn outputs(executable: &Executable, batch: &Batch) -> Result<Vec<f32>, RunError> {
    let dims: Vec<usize> =
        std::iter::once(batch.labels.len()).chain(executable.inputs()[0].1.iter().copied()).collect();
    let view = ndarray::ArrayViewD::from_shape(dims, &batch.images)
        .unwrap_or_else(|_| unreachable!("the pipeline gives what the net takes"));
    Ok(executable.run(view)?.into_iter().collect())
}

/// Runs a net on every image of a set; tells the probabilities of each sample, in order.
///
/// # Errors
/// When an image cannot be read or the net does not take it.
pub fn predict(
    executable: &Executable,
    (set, pipeline): (&Dataset, &Pipeline),
    batch: usize,
    crops: Crops,
    by: Preparation,
    mut told: impl FnMut(usize, usize, Vec<f64>),
) -> Result<(), EvaluationError> {
    if crops != Crops::One {
        return predict_views(executable, (set, pipeline), crops, by.on_corrupt, told);
    }
    let mut loader = Loader::new(set, pipeline, Order::plain(batch), 0, by);
    let (is_probability, classes) = (ends_with_softmax(executable), set.classes().len());
    while let Some(batch) = loader.next() {
        let batch = batch?;
        if batch.labels.is_empty() {
            continue;
        }
        let logits = outputs(executable, &batch)?;
        for (row, (&label, &sample)) in logits.chunks_exact(classes).zip(batch.labels.iter().zip(&batch.samples)) {
            let probabilities = if is_probability { row.iter().map(|&x| f64::from(x)).collect() } else { softmax(row) };
            told(sample, label, probabilities);
        }
        loader.give_back(batch);
    }
    Ok(())
}

/// Images whose views are prepared together.
const TOGETHER: usize = 32;

/// [`predict`] with several views of each image, whose probabilities are averaged.
fn predict_views(
    executable: &Executable,
    (set, pipeline): (&Dataset, &Pipeline),
    crops: Crops,
    on_corrupt: OnCorrupt,
    mut told: impl FnMut(usize, usize, Vec<f64>),
) -> Result<(), EvaluationError> {
    let sizes = executable.inputs()[0].1.clone();
    let dims: Vec<usize> = std::iter::once(crops.count()).chain(sizes).collect();
    let is_probability = ends_with_softmax(executable);
    for first in (0..set.len()).step_by(TOGETHER) {
        let samples = first..set.len().min(first + TOGETHER);
        let prepared: Vec<_> = samples
            .clone()
            .into_par_iter()
            .map(|sample| set.image(sample).and_then(|image| pipeline.views(&image, crops)))
            .collect();
        for (sample, views) in samples.zip(prepared) {
            let views = match views {
                Err(_) if on_corrupt == OnCorrupt::Skip => continue,
                views => views?,
            };
            let view = ndarray::ArrayViewD::from_shape(dims.clone(), &views)
                .unwrap_or_else(|_| unreachable!("the pipeline gives what the net takes"));
            let results = executable.run(view)?;
            let mut mean = vec![0.0; set.classes().len()];
            for row in results.rows() {
                let probabilities = probabilities(&row.to_vec(), is_probability);
                mean.iter_mut().zip(probabilities).for_each(|(sum, p)| *sum += p / crops.count() as f64);
            }
            told(sample, set.label(sample), mean);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_a_few_predictions() {
        let mut tally = Tally::default();
        tally.add(&[0.7, 0.1, 0.05, 0.05, 0.05, 0.05], 0);
        tally.add(&[0.3, 0.25, 0.2, 0.15, 0.05, 0.05], 5);
        tally.add(&[0.5, 0.5, 0.0, 0.0, 0.0, 0.0], 1);
        let figures = tally.figures();
        assert_eq!((figures.top1, figures.top5, figures.count), (1.0 / 3.0, 2.0 / 3.0, 3));
        let loss = -(0.7f64.ln() + 0.05f64.ln() + 0.5f64.ln()) / 3.0;
        assert!((figures.loss - loss).abs() < 1e-12 && (figures.error() - 2.0 / 3.0).abs() < 1e-12);
        assert!((softmax(&[1.0, 1.0, 1e4])[2] - 1.0).abs() < 1e-12);
        assert_eq!(best(&[1.0, 3.0, 3.0]), 1);
    }
}
