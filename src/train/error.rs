//! Why a run has ended before its end.

use std::path::PathBuf;

use super::evaluation::EvaluationError;
use super::recipe::RecipeError;
use crate::compile::CompileError;
use crate::data::DataError;
use crate::run::{LearnError, RunError};
use crate::weights::WeightsError;

/// Why a run has ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The recipe is wrong.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// The net is wrong.
    #[error(transparent)]
    Net(#[from] CompileError),
    /// A file of images is wrong, or one cannot be written.
    #[error("{}\n  help: {}", error, error.fix())]
    Data {
        /// The mistake.
        #[from]
        error: DataError,
    },
    /// A file of weights is wrong.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The net cannot be trained.
    #[error(transparent)]
    Learn(#[from] LearnError),
    /// The net cannot be run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Net, images and recipe do not go together.
    #[error("{0}")]
    Misfit(String),
    /// The loss is no number any more, or a very large one.
    #[error(
        "the loss is {loss} at step {step}, in epoch {epoch}\n  help: lower `optimiser.rate` (now {rate:.3e}), let it rise \
         with `schedule.warmup = 1`, or bound gradients with `optimiser.clip = 1`; the state before is in {}",
        state.display()
    )]
    Exploded {
        /// The loss.
        loss: f64,
        /// The step.
        step: u64,
        /// The epoch.
        epoch: u64,
        /// The learning rate.
        rate: f64,
        /// The last state that was saved.
        state: PathBuf,
    },
}

impl From<EvaluationError> for TrainError {
    fn from(error: EvaluationError) -> Self {
        match error {
            EvaluationError::Data(error) => error.into(),
            EvaluationError::Run(error) => error.into(),
        }
    }
}
