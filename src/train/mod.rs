//! Training: a recipe says what is trained on what and how, a trainer runs it.
//!
//! [`recipe`] is the file, [`trainer`] the run: it makes batches (`data::loader`), passes them through the net and its
//! gradients (`run::Learner`), lets the optimiser step ([`stepper`], [`optimiser`], [`schedule`]), evaluates
//! ([`evaluation`]) and saves its [`state`], from which it goes on bit for bit as if it had never stopped.

pub mod compare;
pub mod confusion;
pub mod cost;
pub mod curves;
pub mod error;
pub mod evaluation;
pub mod frozen;
pub mod optimiser;
pub mod recipe;
pub mod schedule;
pub mod sets;
pub mod sheet;
pub mod start;
pub mod state;
pub mod stepper;
pub mod trainer;
pub mod watch;
