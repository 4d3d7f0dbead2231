//! The frozen layers in front of the first trained one: computed once for each image, and kept on disk.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::error::TrainError;
use super::evaluation::outputs;
use super::recipe::Recipe;
use super::sets::Sets;
use super::watch::Watch;
use crate::compile::Compiled;
use crate::data::DataError;
use crate::data::activations::{About, Activations, Writer};
use crate::data::loader::{Loader, Order};
use crate::data::statistics::fingerprint;
use crate::grad::parts::{Parts, split};
use crate::ir::Net;
use crate::ir::expand::flat;
use crate::opt;
use crate::run::{Executable, RunOptions};
use crate::shape::Shapes;
use crate::weights::{Checkpoint, parameters};

/// The most bytes that are kept.
const MOST: u64 = 8 << 30;

/// What is left to be trained, and what it takes.
#[derive(Debug)]
pub struct Frozen {
    /// The layers behind the frozen ones.
    pub back: (Net, Shapes),
    /// The weights of the whole net.
    pub weights: Checkpoint,
    /// What the frozen layers give.
    pub activations: Arc<Activations>,
}

impl Frozen {
    /// How many times as long an epoch would take that computes the frozen layers anew.
    pub fn speedup(&self, images_per_second: f64) -> f64 {
        let about = self.activations.about();
        1.0 + about.seconds / about.count.max(1) as f64 * images_per_second
    }
}

/// Layers that are to be computed once.
struct Front {
    /// The path of the last of them.
    at: String,
    net: Net,
    shapes: Shapes,
    weights: Checkpoint,
    /// Values that they give for a sample.
    floats: usize,
}

/// Computes what the layers give that are frozen in an epoch, or takes what the folder of the run has, and tells of it.
/// `None` where nothing is frozen, where what the first trained layer takes is not the same each time, or when the watcher
/// ends it.
///
/// # Errors
/// When an image cannot be read, or the file cannot be written.
pub fn freeze(
    recipe: &Recipe,
    (compiled, weights): (&Compiled, &Checkpoint),
    sets: &Sets,
    (epoch, folder): (u64, &Path),
    watch: &mut dyn Watch,
) -> Result<Option<Frozen>, TrainError> {
    let trained = |name: &str| recipe.is_trained(name, epoch);
    if !recipe.freeze.keep || recipe.freeze.freeze.is_empty() {
        return Ok(None);
    }
    let Some(Parts { at, front: (net, shapes), back }) = split(&compiled.net, &compiled.shapes, &trained) else {
        return Ok(None);
    };
    let Some(sizes) = shapes.of(net.outputs[0].value).as_known() else { return Ok(None) };
    let weights_of_front = part(&net, &shapes, weights);
    if weights_of_front.is_empty() {
        return Ok(None);
    }
    let front = Front { at, floats: sizes.iter().product(), net, shapes, weights: weights_of_front };
    let (at, bytes) = (&front.at, 4 * front.floats as u64 * sets.train.len() as u64);
    let size = bytes as f64 / f64::from(1 << 20);
    if recipe.augment.is_random() || MOST < bytes {
        let why = match recipe.augment.is_random() {
            true => "augmentation changes it each time".to_owned(),
            false => format!("to keep what they give would take {size:.0} MiB"),
        };
        watch.told(&format!("the frozen layers up to `{at}` are computed anew for each image: {why}"));
        return Ok(None);
    }
    let key = front.key(recipe, sets);
    let activations = match Activations::kept(folder, &key) {
        Some(activations) => activations,
        None => match front.compute(recipe, sets, key, folder, watch)? {
            Some(activations) => activations,
            None => return Ok(None),
        },
    };
    let seconds = activations.about().seconds;
    watch.told(&format!("what the frozen layers up to `{at}` give is kept: {size:.1} MiB, computed in {seconds:.1} s"));
    Ok(Some(Frozen { back, weights: weights.clone(), activations: Arc::new(activations) }))
}

/// The weights of a part of a net.
pub fn part(net: &Net, shapes: &Shapes, weights: &Checkpoint) -> Checkpoint {
    let mut found = Checkpoint::new();
    for parameter in parameters(net, shapes) {
        if let Some(tensor) = weights.get(&parameter.name) {
            found.insert(parameter.name, tensor.clone());
        }
    }
    found
}

impl Front {
    /// A hash of the layers, their weights, and the images with what is done to them.
    fn key(&self, recipe: &Recipe, sets: &Sets) -> String {
        let mut hash = xxhash_rust::xxh3::Xxh3::new();
        hash.update(flat(&self.net).as_bytes());
        hash.update(format!("{:?} {:?} {}", sets.pipeline.preprocess(), recipe.data, recipe.seed).as_bytes());
        hash.update(fingerprint(&sets.train, &recipe.data.train).as_bytes());
        for (name, tensor) in self.weights.iter() {
            hash.update(name.as_bytes());
            tensor.to_f32().iter().for_each(|value| hash.update(&value.to_le_bytes()));
        }
        format!("{:032x}", hash.digest128())
    }

    fn compute(
        &self,
        recipe: &Recipe,
        sets: &Sets,
        key: String,
        folder: &Path,
        watch: &mut dyn Watch,
    ) -> Result<Option<Activations>, TrainError> {
        let options = RunOptions { threads: recipe.run.threads, ..RunOptions::default() };
        let optimised = opt::optimise(&self.net, &self.shapes);
        let executable = Executable::new(&self.net, &self.shapes, optimised, &self.weights, &options)?;
        let (begin, count) = (Instant::now(), sets.train.len());
        let mut about = About { key, count, floats: self.floats, ..About::default() };
        std::fs::create_dir_all(folder).map_err(DataError::io("write", folder))?;
        let mut writer = Writer::new(folder)?;
        let gap = vec![0.0; self.floats];
        let mut done = 0;
        let order = Order::plain(recipe.evaluate.batch);
        let mut loader = Loader::new(&sets.train, &sets.pipeline.plain(), order, 0, recipe.data.preparation());
        while let Some(batch) = loader.next() {
            let batch = batch?;
            let values = if batch.labels.is_empty() { Vec::new() } else { outputs(&executable, &batch)? };
            let mut rows = batch.samples.iter().zip(values.chunks_exact(self.floats)).peekable();
            for sample in done..count.min(done + recipe.evaluate.batch) {
                match rows.next_if(|(of, _)| **of == sample) {
                    Some((_, values)) => writer.row(values)?,
                    None => writer.row(&gap)?,
                }
            }
            about.skipped.extend(batch.skipped.iter().cloned());
            done = count.min(done + recipe.evaluate.batch);
            loader.give_back(batch);
            watch.prepared(done, count);
            if watch.ends() {
                return Ok(None);
            }
        }
        about.seconds = begin.elapsed().as_secs_f64();
        Ok(Some(writer.finish(about)?))
    }
}
