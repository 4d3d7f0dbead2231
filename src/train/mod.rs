//! Training: optimisers, schedules.

pub mod optimiser;
pub mod schedule;
pub mod stepper;
