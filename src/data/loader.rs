//! Batches prepared by workers ahead of the step that takes them.
//!
//! What a batch holds depends on the seed, the epoch and its number alone, never on the workers: sample `i` of epoch `e`
//! is changed by a stream of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::activations::Activations;
use super::augment::Pipeline;
use super::dataset::Dataset;
use super::error::DataError;
use super::random;

/// The order of the samples of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// What everything random comes from.
    pub seed: u64,
    /// The epoch.
    pub epoch: u64,
    /// Samples of a batch.
    pub batch: usize,
    /// Whether they come in an order that the epoch decides, or in that of the set.
    pub shuffle: bool,
    /// Whether a last batch with fewer samples is left out.
    pub drop_last: bool,
}

impl Order {
    /// All samples in the order of the set.
    pub fn plain(batch: usize) -> Order {
        Order { seed: 0, epoch: 0, batch, shuffle: false, drop_last: false }
    }

    /// How many batches an epoch of so many samples has.
    pub fn batches(&self, samples: usize) -> usize {
        if self.drop_last { samples / self.batch } else { samples.div_ceil(self.batch) }
    }

    /// All samples in their order.
    fn samples(&self, count: usize) -> Vec<usize> {
        let mut samples: Vec<usize> = (0..count).collect();
        if self.shuffle {
            random::shuffle(&mut samples, &mut random::stream("order", [self.seed, self.epoch, 0]));
        }
        samples
    }
}

/// What happens to an image that cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnCorrupt {
    /// The run stops and names it.
    #[default]
    Stop,
    /// It is named, counted and left out of its batch.
    Skip,
}

/// Where the values that batches hold come from.
#[derive(Clone, Debug)]
pub enum Inputs {
    /// The images of the set, prepared for a net.
    Images(Box<Pipeline>),
    /// What its frozen layers give for them.
    Kept(Arc<Activations>),
}

impl From<&Pipeline> for Inputs {
    fn from(pipeline: &Pipeline) -> Self {
        Inputs::Images(Box::new(pipeline.clone()))
    }
}

impl Inputs {
    /// Values of a sample.
    pub fn floats(&self) -> usize {
        match self {
            Inputs::Images(pipeline) => pipeline.floats(),
            Inputs::Kept(activations) => activations.about().floats,
        }
    }

    fn mixup(&self) -> f64 {
        match self {
            Inputs::Images(pipeline) => pipeline.augment().mixup,
            Inputs::Kept(_) => 0.0,
        }
    }
}

/// Samples that are passed through a net together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// The inputs, sample by sample: `[n, c, h, w]` where they are images.
    pub images: Vec<f32>,
    /// The class of each.
    pub labels: Vec<usize>,
    /// Where each image is mixed with another of the batch: the classes of those, and the share of its own.
    pub mixed: Option<(Vec<usize>, f32)>,
    /// Which sample of the set each is.
    pub samples: Vec<usize>,
    /// Images that could not be read: which samples, and why.
    pub skipped: Vec<(usize, String)>,
}

/// What all workers need.
#[derive(Debug)]
struct Work {
    set: Dataset,
    inputs: Inputs,
    order: Order,
    samples: Vec<usize>,
    on_corrupt: OnCorrupt,
}

impl Work {
    /// Makes a batch in the memory of another.
    fn make(&self, number: usize, mut batch: Batch) -> Result<Batch, DataError> {
        let first = number * self.order.batch;
        let samples = &self.samples[first..self.samples.len().min(first + self.order.batch)];
        let floats = self.inputs.floats();
        batch.images.resize(samples.len() * floats, 0.0);
        (batch.mixed, batch.skipped) = (None, Vec::new());
        batch.labels.clear();
        batch.samples.clear();
        for &sample in samples {
            let at = batch.labels.len() * floats;
            let to = &mut batch.images[at..at + floats];
            let prepared = match &self.inputs {
                Inputs::Kept(activations) => match activations.about().skipped.get(&sample) {
                    Some(reason) => {
                        batch.skipped.push((sample, reason.clone()));
                        continue;
                    }
                    None => activations.row(sample, to),
                },
                Inputs::Images(pipeline) => {
                    let mut random = random::stream("sample", [self.order.seed, self.order.epoch, sample as u64]);
                    self.set.image(sample).and_then(|image| pipeline.prepare(&image, &mut random, to))
                }
            };
            match prepared {
                Ok(()) => {
                    batch.labels.push(self.set.label(sample));
                    batch.samples.push(sample);
                }
                Err(error) if self.on_corrupt == OnCorrupt::Skip => {
                    batch.skipped.push((sample, error.to_string()));
                }
                Err(error) => return Err(error),
            }
        }
        batch.images.truncate(batch.labels.len() * floats);
        self.mix(number, &mut batch);
        Ok(batch)
    }

    /// Mixes each image with that at the other end of the batch.
    fn mix(&self, number: usize, batch: &mut Batch) {
        let alpha = self.inputs.mixup();
        if alpha <= 0.0 || batch.labels.len() < 2 {
            return;
        }
        let random = &mut random::stream("mixup", [self.order.seed, self.order.epoch, number as u64]);
        let share = random::beta(random, alpha) as f32;
        let floats = self.inputs.floats();
        let half = batch.images.len() / floats / 2;
        let (front, back) = batch.images.split_at_mut((batch.labels.len() - half) * floats);
        for (a, b) in front.chunks_exact_mut(floats).zip(back.chunks_exact_mut(floats).rev()) {
            for (a, b) in a.iter_mut().zip(b) {
                (*a, *b) = (share * *a + (1.0 - share) * *b, share * *b + (1.0 - share) * *a);
            }
        }
        batch.mixed = Some((batch.labels.iter().rev().copied().collect(), share));
    }
}

#[derive(Debug, Default)]
struct State {
    /// The next batch that a worker makes.
    next: usize,
    /// The next batch that is taken.
    taken: usize,
    ready: BTreeMap<usize, Result<Batch, DataError>>,
    spare: Vec<Batch>,
    stop: bool,
    panicked: bool,
}

#[derive(Debug)]
struct Shared {
    work: Work,
    batches: usize,
    ahead: usize,
    state: Mutex<State>,
    /// A batch is ready, or a worker has ended.
    made: Condvar,
    /// There is room for another batch.
    room: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The batches of an epoch in order. See the module's documentation.
#[derive(Debug)]
pub struct Loader {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    waited: Duration,
}

/// How batches are prepared.
#[derive(Clone, Copy, Debug)]
pub struct Preparation {
    /// Threads that prepare batches; with none they are prepared when they are asked for.
    pub workers: usize,
    /// Batches that are prepared ahead, at most.
    pub ahead: usize,
    /// What happens to an image that cannot be read.
    pub on_corrupt: OnCorrupt,
}

impl Loader {
    /// Begins to prepare the batches of an epoch from number `first` on.
    pub fn new(set: &Dataset, inputs: impl Into<Inputs>, order: Order, first: usize, by: Preparation) -> Loader {
        let samples = order.samples(set.len());
        let shared = Arc::new(Shared {
            batches: order.batches(samples.len()),
            work: Work { set: set.clone(), inputs: inputs.into(), order, samples, on_corrupt: by.on_corrupt },
            ahead: by.ahead.max(1),
            state: Mutex::new(State { next: first, taken: first, ..State::default() }),
            made: Condvar::new(),
            room: Condvar::new(),
        });
        let worker = |number: usize| {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new().name(format!("netc-data-{number}")).spawn(move || work(&shared)).ok()
        };
        let workers = (0..by.workers).filter_map(worker).collect();
        Loader { shared, workers, waited: Duration::ZERO }
    }

    /// How many batches the epoch has, those before the first included.
    pub fn batches(&self) -> usize {
        self.shared.batches
    }

    /// How long batches have been waited for.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// Gives a batch's memory back, for another one.
    pub fn give_back(&self, batch: Batch) {
        self.shared.lock().spare.push(batch);
    }
}

/// The life of a worker.
fn work(shared: &Shared) {
    loop {
        let (number, memory) = {
            let full = |state: &mut State| !state.stop && shared.ahead <= state.next - state.taken;
            let mut state = shared.room.wait_while(shared.lock(), full).unwrap_or_else(PoisonError::into_inner);
            if state.stop || shared.batches <= state.next {
                return;
            }
            state.next += 1;
            (state.next - 1, state.spare.pop().unwrap_or_default())
        };
        let made = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| shared.work.make(number, memory)));
        let mut state = shared.lock();
        match made {
            Ok(batch) => drop(state.ready.insert(number, batch)),
            Err(_) => state.panicked = true,
        }
        shared.made.notify_all();
    }
}

impl Iterator for Loader {
    type Item = Result<Batch, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let begin = Instant::now();
        let shared = &self.shared;
        let mut state = shared.lock();
        let number = state.taken;
        if shared.batches <= number {
            return None;
        }
        if self.workers.is_empty() {
            state.taken += 1;
            let memory = state.spare.pop().unwrap_or_default();
            drop(state);
            let batch = shared.work.make(number, memory);
            self.waited += begin.elapsed();
            return Some(batch);
        }
        let missing = |state: &mut State| !state.panicked && !state.ready.contains_key(&number);
        state = shared.made.wait_while(state, missing).unwrap_or_else(PoisonError::into_inner);
        assert!(!state.panicked, "a worker that prepares batches has panicked");
        let batch = state.ready.remove(&number);
        state.taken += 1;
        drop(state);
        shared.room.notify_all();
        self.waited += begin.elapsed();
        batch
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.room.notify_all();
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::augment::Augment;
    use super::super::dataset::Source;
    use super::super::preprocess::Preprocess;
    use super::*;

    /// 23 CIFAR records.
    fn set(folder: &std::path::Path) -> Dataset {
        let record = |at: usize| [vec![(at % 3) as u8], (0..3072).map(|i| (i * 31 + at * 97) as u8).collect()].concat();
        std::fs::write(folder.join("set"), (0..23).flat_map(record).collect::<Vec<u8>>()).unwrap();
        let source = Source::Cifar { files: vec!["set".into()], labels: Default::default(), classes: Vec::new() };
        Dataset::open(&source, folder).unwrap()
    }

    fn pipeline(augment: Augment) -> Pipeline {
        Pipeline::new(&Preprocess::default(), augment, None, [3, 32, 32]).unwrap()
    }

    const ORDER: Order = Order { seed: 5, epoch: 2, batch: 5, shuffle: true, drop_last: false };

    fn by(workers: usize) -> Preparation {
        Preparation { workers, ahead: 3, on_corrupt: OnCorrupt::Stop }
    }

    #[test]
    fn batches_do_not_depend_on_workers_and_can_begin_anywhere() {
        let folder = tempfile::tempdir().unwrap();
        let set = set(folder.path());
        let pipeline = pipeline(Augment { mirror: 0.5, crop: 4, mixup: 0.4, color_shift: 0.1, ..Augment::default() });
        let all = |workers, first| -> Vec<Batch> {
            Loader::new(&set, &pipeline, ORDER, first, by(workers)).map(Result::unwrap).collect()
        };
        let expected = all(0, 0);
        assert_eq!(expected.iter().map(|batch| batch.labels.len()).collect::<Vec<_>>(), [5, 5, 5, 5, 3]);
        for workers in [1, 2, 4] {
            assert_eq!(all(workers, 0), expected);
        }
        assert_eq!(all(2, 3), expected[3..]);
        let mut samples: Vec<usize> = expected.iter().flat_map(|batch| batch.samples.clone()).collect();
        assert_ne!(samples, (0..23).collect::<Vec<_>>());
        samples.sort_unstable();
        assert_eq!(samples, (0..23).collect::<Vec<_>>());
        let other = Loader::new(&set, &pipeline, Order { epoch: 3, ..ORDER }, 0, by(0)).next().unwrap().unwrap();
        assert_ne!(other.samples, expected[0].samples);
    }

    #[test]
    fn pairs_are_mixed_in_one_share() {
        let folder = tempfile::tempdir().unwrap();
        let set = set(folder.path());
        let batch = |augment| Loader::new(&set, &pipeline(augment), ORDER, 0, by(1)).next().unwrap().unwrap();
        let (plain, mixed) = (batch(Augment::default()), batch(Augment { mixup: 0.5, ..Augment::default() }));
        let (labels, share) = mixed.mixed.unwrap();
        assert_eq!(labels, plain.labels.iter().rev().copied().collect::<Vec<_>>());
        for sample in 0..5 {
            for at in 0..3072 {
                let (own, other) = (plain.images[sample * 3072 + at], plain.images[(4 - sample) * 3072 + at]);
                let off = mixed.images[sample * 3072 + at] - (share * own + (1.0 - share) * other);
                assert!(off.abs() < 1e-6 || sample == 2);
            }
        }
    }

    #[test]
    fn unreadable_images_stop_or_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        for class in ["a", "b"] {
            std::fs::create_dir(folder.path().join(class)).unwrap();
            std::fs::write(folder.path().join(class).join("x.png"), b"no image").unwrap();
        }
        let set = Dataset::open(&Source::Folder { path: ".".into() }, folder.path()).unwrap();
        let loader = |workers, on_corrupt| {
            Loader::new(&set, &pipeline(Augment::default()), ORDER, 0, Preparation { workers, ahead: 1, on_corrupt })
        };
        for workers in [0, 2] {
            let error = loader(workers, OnCorrupt::Stop).next().unwrap().unwrap_err();
            assert!(error.to_string().contains("x.png"), "{error}");
            let batch = loader(workers, OnCorrupt::Skip).next().unwrap().unwrap();
            assert_eq!((batch.labels.len(), batch.images.len(), batch.skipped.len()), (0, 0, 2));
        }
    }

    #[test]
    fn an_epoch_that_is_left_early_ends_its_workers() {
        let folder = tempfile::tempdir().unwrap();
        let set = set(folder.path());
        let mut loader = Loader::new(&set, &pipeline(Augment::default()), ORDER, 0, by(3));
        let batch = loader.next().unwrap().unwrap();
        loader.give_back(batch);
        drop(loader);
        assert_eq!(Order { drop_last: true, ..ORDER }.batches(23), 4);
    }
}
