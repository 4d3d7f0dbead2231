use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::{Failure, Outcome, print, write_drawing};
use crate::data::augment::Pipeline;
use crate::data::dataset::Dataset;
use crate::data::{Crops, write_atomic};
use crate::train::confusion::Confusion;
use crate::train::evaluation::{Tally, predict};
use crate::train::recipe::Recipe;
use crate::train::sets::Sets;
use crate::train::sheet::{SIDE, Tile, sheet};
use crate::train::trainer::{WEIGHTS, compile};
use crate::weights::{Checkpoint, OpenOptions};
use crate::{Compiled, Executable, RunOptions};

/// Evaluate trained weights on a recipe's images
#[derive(Debug, Args)]
pub(super) struct Eval {
    /// The recipe that the weights come from
    recipe: PathBuf,
    /// Values of the recipe to replace, as in data.per_class=0
    #[arg(value_name = "KEY=VALUE")]
    replaced: Vec<String>,
    /// Weights of the recipe's net; several are an ensemble [default: the best of the recipe's run]
    #[arg(long, value_name = "FILE")]
    weights: Vec<PathBuf>,
    /// Another net of the ensemble with its weights (repeatable)
    #[arg(long, value_name = "NET=FILE")]
    member: Vec<String>,
    /// The share of each member of an ensemble, in order, as in 2,1,1 [default: all alike]
    #[arg(long, value_name = "A,B,…", value_delimiter = ',')]
    shares: Vec<f64>,
    /// Which images
    #[arg(long, value_enum, default_value_t = On::Test)]
    on: On,
    /// Views of each image whose predictions are averaged: 1 (centre), 5 (corners too), 10 (mirrored too)
    #[arg(long, value_name = "N", default_value = "1", value_parser = super::run::parse_crops)]
    crops: Crops,
    /// Draw the confusion matrix: .svg or .png
    #[arg(long, value_name = "FILE")]
    confusion: Option<PathBuf>,
    /// Draw the worst mistakes: .png
    #[arg(long, value_name = "FILE")]
    mistakes: Option<PathBuf>,
    /// Threads [default: the physical cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// How results are written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum On {
    /// The test set
    Test,
    /// The images that are held out
    Validation,
    /// The images that are learned from, without augmentation
    Train,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
}

/// How many of the worst mistakes are drawn.
const MISTAKES: usize = 40;

/// A net with its weights.
struct Member {
    executable: Executable,
    pipeline: Pipeline,
    share: f64,
}

impl Eval {
    pub(super) fn run(self) -> Outcome {
        let recipe = Recipe::read(&self.recipe, &self.replaced).map_err(|error| Failure::Input(error.to_string()))?;
        let base = self.recipe.parent().unwrap_or(Path::new("")).to_path_buf();
        let folder = recipe.folder(&self.recipe);
        let compiled = compile(&recipe, &base)?;
        let sets = Sets::open(&recipe, &compiled, &base, &folder)?;
        let set = match self.on {
            On::Train => Some(&sets.train),
            On::Validation => sets.validation.as_ref(),
            On::Test => sets.test.as_ref(),
        };
        let Some(set) = set else {
            let key = if self.on == On::Test { "data.test" } else { "data.validation" };
            return Err(Failure::Call(format!("the recipe has no `{key}`; choose others with --on")));
        };
        let members = self.members(&recipe, &compiled, &sets, &folder)?;
        let by = recipe.data.preparation();
        let classes = set.classes().len();
        let mut mean = vec![vec![0.0; classes]; set.len()];
        let mut seen = vec![false; set.len()];
        for member in &members {
            let add = |sample: usize, _: usize, probabilities: Vec<f64>| {
                seen[sample] = true;
                mean[sample].iter_mut().zip(probabilities).for_each(|(sum, p)| *sum += member.share * p);
            };
            predict(&member.executable, (set, &member.pipeline), recipe.evaluate.batch, self.crops, by, add)
                .map_err(|error| Failure::Input(error.to_string()))?;
        }
        self.report(set, &mean, &seen, &members)
    }

    fn members(
        &self,
        recipe: &Recipe,
        compiled: &Compiled,
        sets: &Sets,
        folder: &Path,
    ) -> Result<Vec<Member>, Failure> {
        let mut files = self.weights.clone();
        if files.is_empty() && self.member.is_empty() {
            let found = WEIGHTS.iter().rev().map(|name| folder.join(name)).find(|path| path.exists());
            files.push(found.ok_or_else(|| {
                Failure::Input(format!("there are no weights in {}; train first, or give --weights", folder.display()))
            })?);
        }
        let options = || RunOptions { threads: self.threads.map_or(0, usize::from), ..RunOptions::default() };
        let mut members = Vec::new();
        let plain = sets.pipeline.plain();
        for file in &files {
            let weights = Checkpoint::open(file, &OpenOptions::default())?;
            let executable = compiled.plan_with(&weights, &options())?;
            members.push(Member { executable, pipeline: plain.clone(), share: 1.0 });
        }
        for member in &self.member {
            let Some((net, file)) = member.split_once('=') else {
                return Err(Failure::Call(format!("--member {member}: write NET.net=FILE")));
            };
            let other = Recipe { net: std::path::absolute(net).unwrap_or_else(|_| net.into()), ..recipe.clone() };
            let compiled = compile(&Recipe { set: toml::Table::new(), ..other }, Path::new(""))?;
            let own = Sets::open(recipe, &compiled, self.recipe.parent().unwrap_or(Path::new("")), folder)?;
            let weights = Checkpoint::open(Path::new(file), &OpenOptions::default())?;
            let executable = compiled.plan_with(&weights, &options())?;
            members.push(Member { executable, pipeline: own.pipeline.plain(), share: 1.0 });
        }
        let shares = if self.shares.is_empty() { vec![1.0; members.len()] } else { self.shares.clone() };
        let sum: f64 = shares.iter().sum();
        if shares.len() != members.len() || !(sum.is_finite() && 0.0 < sum && shares.iter().all(|share| 0.0 <= *share))
        {
            return Err(Failure::Call(format!("--shares takes {} numbers, at least 0 and not all 0", members.len())));
        }
        members.iter_mut().zip(shares).for_each(|(member, share)| member.share = share / sum);
        Ok(members)
    }

    fn report(&self, set: &Dataset, mean: &[Vec<f64>], seen: &[bool], members: &[Member]) -> Outcome {
        let mut tally = Tally::default();
        let mut confusion = Confusion::new(set.classes());
        // How sure the net was of something wrong.
        let mut wrong: Vec<(f64, usize, usize)> = Vec::new();
        for (sample, probabilities) in mean.iter().enumerate().filter(|&(sample, _)| seen[sample]) {
            let label = set.label(sample);
            tally.add(probabilities, label);
            let best = (0..probabilities.len())
                .fold(0, |best, at| if probabilities[at] > probabilities[best] { at } else { best });
            confusion.add(label, best);
            if best != label {
                wrong.push((probabilities[best] - probabilities[label], sample, best));
            }
        }
        wrong.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        if let Some(path) = &self.confusion {
            write_drawing(path, confusion.svg())?;
        }
        if let Some(path) = &self.mistakes {
            let tiles: Vec<Tile> = wrong
                .iter()
                .take(MISTAKES)
                .filter_map(|&(_, sample, best)| tile(set, sample, best, &mean[sample]))
                .collect();
            let bytes = sheet(&format!("the {} worst mistakes of {}", tiles.len(), wrong.len()), &tiles, 8)?;
            write_atomic(path, |out| out.write_all(&bytes))?;
        }
        let figures = tally.figures();
        if self.format == Format::Json {
            let report = serde_json::json!({
                "schema": "netc.eval/1",
                "members": members.len(),
                "crops": self.crops.count(),
                "figures": figures,
                "classes": set.classes(),
                "confusion": confusion.counts,
                "mistakes": wrong.iter().take(MISTAKES).map(|&(_, sample, best)| serde_json::json!({
                    "image": set.describe(sample), "class": set.label(sample), "taken_for": best,
                })).collect::<Vec<_>>(),
            });
            return print(&format!("{report:#}\n"));
        }
        let mut text = format!(
            "{} images, {} {}, {} {}: loss {:.4}, top-1 {:.2} %, top-5 {:.2} %\n\n",
            figures.count,
            members.len(),
            if members.len() == 1 { "net" } else { "nets" },
            self.crops.count(),
            if self.crops == Crops::One { "view" } else { "views" },
            figures.loss,
            100.0 * figures.top1,
            100.0 * figures.top5
        );
        let width = set.classes().iter().map(|class| class.chars().count()).max().unwrap_or(0).max(5);
        text.push_str(&format!("{:width$}  images  right      most often taken for\n", "class"));
        for (class, name) in set.classes().iter().enumerate() {
            let total = confusion.total(class);
            let right = 100.0 * confusion.counts[class][class] as f64 / total.max(1) as f64;
            let worst = confusion
                .worst(class)
                .map_or(String::new(), |(other, count)| format!("{} ({count})", set.classes()[other]));
            text.push_str(format!("{name:width$}  {total:>6}  {right:>6.2} %  {worst}").trim_end());
            text.push('\n');
        }
        if set.classes().len() <= 20 {
            text.push_str("\nrows are classes, columns what they are taken for\n");
            text.push_str(&confusion.table());
        }
        print(&text)
    }
}

/// A mistake on a sheet.
fn tile(set: &Dataset, sample: usize, best: usize, probabilities: &[f64]) -> Option<Tile> {
    let image = set.image(sample).ok()?;
    let classes = set.classes();
    let line = |class: usize| format!("{} {:.2}", classes[class], probabilities[class]);
    Some(Tile { rgb: image.nearest(SIDE, SIDE), lines: [format!("is {}", line(set.label(sample))), line(best)] })
}
