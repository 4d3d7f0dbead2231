use std::path::{Path, PathBuf};

use clap::Args;

use super::{Failure, Outcome, print};
use crate::data::augment::Pipeline;
use crate::data::random;
use crate::data::statistics::Statistics;
use crate::data::write_atomic;
use crate::train::recipe::Recipe;
use crate::train::sets::Sets;
use crate::train::sheet::{SIDE, Tile, sheet};
use crate::train::trainer::compile;

/// Show a recipe's images and their statistics
#[derive(Debug, Args)]
pub(super) struct Data {
    /// The recipe
    recipe: PathBuf,
    /// Values of the recipe to replace, as in augment.crop=8
    #[arg(value_name = "KEY=VALUE")]
    replaced: Vec<String>,
    /// Draw a sheet of images: .png
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Images on the sheet
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u16).range(1..=64))]
    images: u16,
    /// Augmented forms beside each
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u16).range(0..=16))]
    forms: u16,
}

impl Data {
    pub(super) fn run(self) -> Outcome {
        let recipe = Recipe::read(&self.recipe, &self.replaced).map_err(|error| Failure::Input(error.to_string()))?;
        let base = self.recipe.parent().unwrap_or(Path::new("")).to_path_buf();
        let compiled = compile(&recipe, &base)?;
        let sets = Sets::open(&recipe, &compiled, &base, &recipe.folder(&self.recipe))?;
        if let Some(path) = &self.output {
            let bytes = self.sheet(&recipe, &sets)?;
            write_atomic(path, |out| out.write_all(&bytes))?;
        }
        print(&statistics(&sets))
    }

    fn sheet(&self, recipe: &Recipe, sets: &Sets) -> Result<Vec<u8>, Failure> {
        let mut tiles = Vec::new();
        let order = &mut random::stream("sheet", [recipe.seed, 0, 0]);
        for _ in 0..self.images {
            let sample = random::below(order, sets.train.len());
            let label = sets.train.classes()[sets.train.label(sample)].clone();
            let image = sets.train.image(sample)?;
            tiles.push(Tile { rgb: image.nearest(SIDE, SIDE), lines: [label, "as it is".to_owned()] });
            for form in 1..=u64::from(self.forms) {
                let random = &mut random::stream("sample", [recipe.seed, form, sample as u64]);
                let mut values = vec![0.0; sets.pipeline.floats()];
                sets.pipeline.prepare(&image, random, &mut values)?;
                let rgb = shown(&sets.pipeline, &values);
                tiles.push(Tile { rgb, lines: [format!("epoch {form}"), String::new()] });
            }
        }
        let title = format!("{}: images as they are, and as they are learned from", self.recipe.display());
        Ok(sheet(&title, &tiles, 1 + usize::from(self.forms))?)
    }
}

/// An input of the net as pixels.
fn shown(pipeline: &Pipeline, values: &[f32]) -> Vec<u8> {
    let bytes = pipeline.bytes(values);
    let [_, h, w] = pipeline.size();
    let pixel = |y: usize, x: usize| 3 * (y * h / SIDE * w + x * w / SIDE);
    (0..SIDE).flat_map(|y| (0..SIDE).flat_map(move |x| pixel(y, x)..pixel(y, x) + 3)).map(|at| bytes[at]).collect()
}

fn statistics(sets: &Sets) -> String {
    let found = Statistics::of(&sets.train);
    let mut text = format!("{} images of {} classes are learned from\n", sets.train.len(), found.counts.len());
    for (name, set) in [("held out", &sets.validation), ("test", &sets.test)] {
        if let Some(set) = set {
            text.push_str(&format!("{name}: {} images\n", set.len()));
        }
    }
    if found.unreadable != 0 {
        text.push_str(&format!("{} images cannot be read\n", found.unreadable));
    }
    let width = sets.train.classes().iter().map(|class| class.chars().count()).max().unwrap_or(0);
    for (name, count) in sets.train.classes().iter().zip(&found.counts) {
        text.push_str(&format!("  {name:width$}  {count:>7}\n"));
    }
    let three = |values: [f64; 3]| values.map(|value| format!("{value:.4}")).join(", ");
    text.push_str(&format!(
        "\nmean [{}]\nstd  [{}]\nprincipal components of the colours:\n",
        three(found.mean),
        three(found.std)
    ));
    for (value, vector) in found.pca.values.iter().zip(found.pca.vectors) {
        text.push_str(&format!("  {value:.5} along [{}]\n", three(vector)));
    }
    text
}
