//! Who watches a run, and what is told.

use std::time::Duration;

use super::state::Record;

/// Who watches a run.
pub trait Watch {
    /// Something to be told once.
    fn told(&mut self, text: &str);
    /// So many images of so many have passed the frozen layers.
    fn prepared(&mut self, done: usize, count: usize);
    /// A step is done.
    fn step(&mut self, progress: &Progress);
    /// An epoch is done.
    fn epoch(&mut self, record: &Record);
    /// Whether the run shall end after this step.
    fn ends(&self) -> bool;
}

/// Where a run stands, for people.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// The epoch, counted from 1, and how many there are.
    pub epoch: (u64, u64),
    /// Batches of the epoch that are done, and how many there are.
    pub batch: (usize, usize),
    /// The mean loss of the epoch so far.
    pub loss: f64,
    /// The share of right classes so far.
    pub accuracy: f64,
    /// Images a second.
    pub rate: f64,
    /// The share of the time in which steps waited for their batch.
    pub waited: f64,
    /// How long the rest of the run will take.
    pub left: Duration,
}

/// How a run has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All epochs are done.
    Done,
    /// It was asked to end; it can be resumed.
    Interrupted,
}
