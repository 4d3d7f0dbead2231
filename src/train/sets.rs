//! The images of a recipe, made ready for its net.

use std::path::Path;

use super::error::TrainError;
use super::recipe::{Normalise, Recipe};
use crate::compile::Compiled;
use crate::data::DataError;
use crate::data::augment::Pipeline;
use crate::data::dataset::Dataset;
use crate::data::preprocess::Preprocess;
use crate::data::statistics::Statistics;

/// The images of a run.
#[derive(Debug)]
pub struct Sets {
    /// What is learned from.
    pub train: Dataset,
    /// What is held out.
    pub validation: Option<Dataset>,
    /// What is evaluated only.
    pub test: Option<Dataset>,
    /// From an image to an input, with augmentation.
    pub pipeline: Pipeline,
}

impl Sets {
    /// Opens the images of a recipe for a net. Relative paths start from `base`; statistics are kept in `folder`.
    ///
    /// # Errors
    /// When a file is wrong, or images and net do not go together.
    pub fn open(recipe: &Recipe, compiled: &Compiled, base: &Path, folder: &Path) -> Result<Sets, TrainError> {
        let data = &recipe.data;
        let all = Dataset::open(&data.train, base)?;
        let test = data.test.as_ref().map(|source| Dataset::open(source, base)).transpose()?;
        let (mut train, held) = if 0.0 < data.validation {
            let (train, held) = all.split(data.validation, recipe.seed);
            (train, Some(held))
        } else {
            (all, None)
        };
        if data.per_class != 0 {
            train = train.take_per_class(data.per_class, recipe.seed);
        }
        if let Some(test) = test.as_ref().filter(|test| test.classes() != train.classes()) {
            let (ours, theirs) = (train.classes().len(), test.classes().len());
            return Err(TrainError::Misfit(format!(
                "the images that are learned from have {ours} classes, those of `data.test` {theirs}, or other names"
            )));
        }
        let input = compiled.net.inputs.first().filter(|_| compiled.net.inputs.len() == 1);
        let size = input.and_then(|&id| compiled.shapes.of(id.into()).as_known());
        let Some([c, h, w]) = size.as_deref() else {
            return Err(TrainError::Misfit(format!(
                "net `{}` must have one input of known sizes [c, h, w] to learn from images",
                compiled.net.name
            )));
        };
        let size = [*c, *h, *w];
        let fallback = || Preprocess::fallback(size[0], size[1], size[2]);
        let mut preprocess = compiled.net.preprocess.clone().unwrap_or_else(fallback);
        let mut pca = None;
        if 0.0 < recipe.augment.pca || data.normalise == Normalise::Data {
            std::fs::create_dir_all(folder).map_err(DataError::io("write", folder))?;
            let statistics = Statistics::cached(&train, &data.train, &folder.join("statistics.json"))?;
            if data.normalise == Normalise::Data {
                let of = |values: [f64; 3]| -> Vec<f32> {
                    let grey = values.iter().sum::<f64>() / 3.0;
                    if size[0] == 1 { vec![grey as f32] } else { values.map(|value| value as f32).to_vec() }
                };
                (preprocess.mean, preprocess.std) = (of(statistics.mean), of(statistics.std.map(|std| std.max(1e-3))));
            }
            pca = Some(statistics.pca);
        }
        let pipeline = Pipeline::new(&preprocess, recipe.augment.clone(), pca, size).map_err(TrainError::Misfit)?;
        Ok(Sets { train, validation: held, test, pipeline })
    }
}
