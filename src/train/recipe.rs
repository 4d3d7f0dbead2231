//! Recipes: what is trained, on what, and how, as a TOML file.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::optimiser::Optimiser;
use super::schedule::Schedule;
use crate::data::augment::Augment;
use crate::data::dataset::Source;
use crate::data::loader::{OnCorrupt, Preparation};
use crate::data::toml_fault;
use crate::diag::nearest;
use crate::op::loss::LossKind;
use crate::weights::{Scheme, matches};

/// A recipe. Paths are relative to the file that it comes from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The net: a `.net` file.
    pub net: PathBuf,
    /// Values of the net's parameters and free sizes, as `--set` takes them.
    #[serde(default)]
    pub set: toml::Table,
    /// What everything random comes from.
    #[serde(default)]
    pub seed: u64,
    /// How often every sample is learned from.
    #[serde(default = "ten")]
    pub epochs: u64,
    /// Samples of a step.
    #[serde(default = "hundred")]
    pub batch: usize,
    /// In how many parts a batch is passed through the net, where it would not fit the memory as a whole.
    #[serde(default = "one")]
    pub accumulate: usize,
    /// The images.
    pub data: Data,
    /// What is changed of them at random.
    #[serde(default)]
    pub augment: Augment,
    /// What is made small.
    #[serde(default)]
    pub loss: Loss,
    /// How weights follow their gradients.
    #[serde(default)]
    pub optimiser: Optimiser,
    /// The learning rate over the run.
    #[serde(default)]
    pub schedule: Schedule,
    /// Where weights begin.
    #[serde(default)]
    pub init: Init,
    /// What is not trained.
    #[serde(default)]
    pub freeze: Freeze,
    /// When and on what the net is evaluated.
    #[serde(default)]
    pub evaluate: Evaluate,
    /// How the run is executed, and where its results go.
    #[serde(default)]
    pub run: Run,
}

fn one() -> usize {
    1
}

fn ten() -> u64 {
    10
}

fn hundred() -> usize {
    100
}

/// The images of a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// What is learned from.
    pub train: Source,
    /// What is evaluated, and never learned from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<Source>,
    /// The share of each class of `train` that is held out and evaluated, where there is no `test` or beside it.
    #[serde(default)]
    pub validation: f64,
    /// How many images of each class are learned from; 0 for all.
    #[serde(default)]
    pub per_class: usize,
    /// Whether colours are brought to mean 0 and deviation 1 as the net says, or by the statistics of `train`.
    #[serde(default)]
    pub normalise: Normalise,
    /// What happens to an image that cannot be read.
    #[serde(default)]
    pub on_corrupt: OnCorrupt,
    /// Threads that prepare batches ahead.
    #[serde(default = "one")]
    pub workers: usize,
    /// Batches that are prepared ahead, at most.
    #[serde(default = "four")]
    pub ahead: usize,
}

fn four() -> usize {
    4
}

impl Default for Data {
    fn default() -> Self {
        Data {
            train: Source::Folder { path: "train".into() },
            test: None,
            validation: 0.0,
            per_class: 0,
            normalise: Normalise::default(),
            on_corrupt: OnCorrupt::default(),
            workers: 1,
            ahead: 4,
        }
    }
}

impl Data {
    /// How batches are prepared.
    pub fn preparation(&self) -> Preparation {
        Preparation { workers: self.workers, ahead: self.ahead, on_corrupt: self.on_corrupt }
    }
}

/// Where the mean and the deviation of colours come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalise {
    /// The net's `preprocess` block.
    #[default]
    Net,
    /// The images that are learned from.
    Data,
}

/// The loss of a recipe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Loss {
    /// What is measured.
    pub kind: LossKind,
    /// The share of a label that is spread over all classes (Szegedy et al. 2015, arXiv:1512.00567, section 7).
    pub smoothing: f64,
}

/// Where the weights of a recipe begin.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Init {
    /// How weights are drawn that no file gives.
    pub scheme: Scheme,
    /// A checkpoint; what it does not have, or has in other sizes, is drawn, which is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<PathBuf>,
    /// A map of names, as `netc run --rename` takes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rename: Option<PathBuf>,
    /// Parameters that are drawn even where the checkpoint has them, by patterns.
    pub fresh: Vec<String>,
    /// Scales that begin at zero, by patterns: a residual block whose last batch norm does begins as the identity (Goyal et
    /// al. 2017, arXiv:1706.02677, section 5.1).
    pub zero: Vec<String>,
}

/// What a recipe does not train: parameters by patterns of their paths, with `*` and `?`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Freeze {
    /// What is frozen.
    pub freeze: Vec<String>,
    /// What of that is trained all the same.
    pub unfreeze: Vec<String>,
    /// Whether what the layers in front of the first trained one give is computed once and kept in the run's folder, where
    /// nothing random stands in front of it.
    pub keep: bool,
    /// What is trained later.
    pub thaw: Vec<Thaw>,
    /// Factors of the learning rate; of several that meet a parameter the last counts.
    pub rates: Vec<Rate>,
}

impl Default for Freeze {
    fn default() -> Self {
        Freeze { freeze: Vec::new(), unfreeze: Vec::new(), keep: true, thaw: Vec::new(), rates: Vec::new() }
    }
}

/// Parameters that are trained from an epoch on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thaw {
    /// The first epoch in which they are, counted from 1.
    pub epoch: u64,
    /// Which.
    pub paths: Vec<String>,
}

/// A factor of the learning rate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Of which parameters.
    pub paths: Vec<String>,
    /// The factor.
    pub factor: f64,
}

/// When and on what a recipe evaluates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Evaluate {
    /// Epochs from one evaluation to the next; the last epoch is always evaluated. 0 for that alone.
    pub every: u64,
    /// How many images of those that are learned from are evaluated too, without augmentation; 0 for none.
    pub train: usize,
    /// Samples of a batch.
    pub batch: usize,
}

impl Default for Evaluate {
    fn default() -> Self {
        Evaluate { every: 1, train: 0, batch: 100 }
    }
}

/// How a recipe is executed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Run {
    /// The folder of results; beside the recipe, and named as it, where it is empty.
    pub folder: PathBuf,
    /// Threads; the number of physical cores where 0. Results do not depend on it.
    pub threads: usize,
    /// How convolutions are computed.
    pub precision: Precision,
    /// Whether values between blocks are computed again for the backward pass instead of being kept.
    pub checkpoint_activations: bool,
    /// Seconds from one state that a run can be resumed from to the next, beside that of each epoch.
    pub save_seconds: f64,
}

impl Default for Run {
    fn default() -> Self {
        let precision = Precision::default();
        Run { folder: PathBuf::new(), threads: 0, precision, checkpoint_activations: false, save_seconds: 60.0 }
    }
}

/// How convolutions of a training pass are computed; everything is in single precision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// With Winograd's transforms where they are faster, as a net that is run uses them.
    #[default]
    Fast,
    /// Product by product.
    Exact,
}

/// What is wrong with a recipe.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// It cannot be read.
    #[error("cannot read {}: {reason}", path.display())]
    Read {
        /// The recipe.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// It is not the TOML that it should be.
    #[error("{}: {fault}{hint}", path.display())]
    Toml {
        /// The recipe.
        path: PathBuf,
        /// What is wrong, and where.
        fault: String,
        /// What may be meant.
        hint: String,
    },
    /// A value is out of its range.
    #[error("{}: `{key}` {what}", path.display())]
    Value {
        /// The recipe.
        path: PathBuf,
        /// The key.
        key: String,
        /// What is wrong, and what it takes.
        what: String,
    },
    /// A value given with the call is no `key=value`.
    #[error("`{given}` {what}")]
    Override {
        /// What was given.
        given: String,
        /// What is wrong.
        what: String,
    },
}

impl Recipe {
    /// Reads a recipe, with some values replaced: `optimiser.rate=0.01`.
    ///
    /// # Errors
    /// When it cannot be read, has an unknown key or a value out of range.
    pub fn read(path: &Path, replaced: &[String]) -> Result<Recipe, RecipeError> {
        let text = std::fs::read_to_string(path).map_err(|error| RecipeError::Read {
            path: path.to_path_buf(),
            reason: crate::data::reason("read", &error),
        })?;
        Recipe::parse(&text, path, replaced)
    }

    /// [`read`](Self::read) for a text that is at hand.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn parse(text: &str, path: &Path, replaced: &[String]) -> Result<Recipe, RecipeError> {
        // The text by itself first: its mistakes have a place in it.
        let mut table: toml::Table = toml::from_str(text).map_err(|error| toml_error(path, &error))?;
        if replaced.is_empty() {
            let recipe: Recipe = toml::from_str(text).map_err(|error| toml_error(path, &error))?;
            return recipe.checked(path);
        }
        for given in replaced {
            replace(&mut table, given)?;
        }
        let recipe: Recipe = table.try_into().map_err(|error| toml_error(path, &error))?;
        recipe.checked(path)
    }

    fn checked(self, path: &Path) -> Result<Recipe, RecipeError> {
        match self.fault() {
            Some((key, what)) => Err(RecipeError::Value { path: path.to_path_buf(), key, what }),
            None => Ok(self),
        }
    }

    /// What is wrong with it: the key, and what it takes.
    fn fault(&self) -> Option<(String, String)> {
        let nested = |table: &str, fault: Option<(&'static str, String)>| {
            fault.map(|(key, what)| (format!("{table}.{key}"), what))
        };
        let own = |key: &str, what: String| Some((key.to_owned(), what));
        let share = |value: f64| (0.0..1.0).contains(&value);
        if self.epochs == 0 || self.batch == 0 {
            return own(if self.epochs == 0 { "epochs" } else { "batch" }, "is 0, but must be at least 1".to_owned());
        }
        if self.accumulate == 0 || !self.batch.is_multiple_of(self.accumulate) {
            let what = format!("is {}, which does not divide the batch of {}", self.accumulate, self.batch);
            return own("accumulate", what);
        }
        if !share(self.data.validation) {
            return own(
                "data.validation",
                format!("is {}, but a share is at least 0 and below 1", self.data.validation),
            );
        }
        if !share(self.loss.smoothing) {
            return own("loss.smoothing", format!("is {}, but a share is at least 0 and below 1", self.loss.smoothing));
        }
        if self.evaluate.batch == 0 {
            return own("evaluate.batch", "is 0, but must be at least 1".to_owned());
        }
        if let Some(rate) = self.freeze.rates.iter().find(|rate| !(rate.factor.is_finite() && 0.0 <= rate.factor)) {
            return own("freeze.rates", format!("has the factor {}, but it is at least 0", rate.factor));
        }
        if !(self.run.save_seconds.is_finite() && 0.0 <= self.run.save_seconds) {
            return own("run.save_seconds", format!("is {}, but it is at least 0", self.run.save_seconds));
        }
        nested("augment", self.augment.fault())
            .or_else(|| nested("optimiser", self.optimiser.fault()))
            .or_else(|| nested("schedule", self.schedule.fault()))
    }

    /// What is wrong with the first pattern that meets none of these parameters.
    pub fn idle_pattern<'a>(&self, names: impl Iterator<Item = &'a str> + Clone) -> Option<String> {
        let Freeze { freeze, unfreeze, thaw, rates, .. } = &self.freeze;
        let all = [("freeze.freeze", freeze), ("freeze.unfreeze", unfreeze)]
            .into_iter()
            .chain(thaw.iter().map(|thaw| ("freeze.thaw", &thaw.paths)))
            .chain(rates.iter().map(|rate| ("freeze.rates", &rate.paths)))
            .chain([("init.fresh", &self.init.fresh), ("init.zero", &self.init.zero)]);
        let mut patterns = all.flat_map(|(key, patterns)| patterns.iter().map(move |pattern| (key, pattern)));
        let (key, pattern) = patterns.find(|(_, pattern)| !names.clone().any(|name| matches(pattern, name)))?;
        let parts =
            |name: &str| name.match_indices('.').map(|(at, _)| format!("{}.*", &name[..at])).collect::<Vec<_>>();
        let meant: Vec<String> = names.flat_map(|name| parts(name).into_iter().chain([name.to_owned()])).collect();
        let hint = nearest(pattern, meant.iter().map(String::as_str));
        let hint = hint.map_or_else(
            || "`*` stands for any part of a name, as in `layer4.*`".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        Some(format!("`{key}` has the pattern `{pattern}`, which meets no parameter of the net\n  help: {hint}"))
    }

    /// The folder of results of a recipe at this path.
    pub fn folder(&self, path: &Path) -> PathBuf {
        let base = path.parent().unwrap_or(Path::new(""));
        if self.run.folder.as_os_str().is_empty() {
            base.join("runs").join(path.file_stem().unwrap_or_default())
        } else {
            base.join(&self.run.folder)
        }
    }

    /// Whether a parameter is trained in an epoch, counted from 1.
    pub fn is_trained(&self, name: &str, epoch: u64) -> bool {
        let meets = |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, name));
        let Freeze { freeze, unfreeze, thaw, .. } = &self.freeze;
        !meets(freeze) || meets(unfreeze) || thaw.iter().any(|thaw| thaw.epoch <= epoch && meets(&thaw.paths))
    }

    /// The epochs in which other parameters are trained than in the one before, counted from 1.
    pub fn thaws(&self) -> Vec<u64> {
        let mut epochs: Vec<u64> = self.freeze.thaw.iter().map(|thaw| thaw.epoch).filter(|&epoch| 1 < epoch).collect();
        epochs.sort_unstable();
        epochs.dedup();
        epochs
    }

    /// The factor of a parameter's learning rate.
    pub fn rate_of(&self, name: &str) -> f64 {
        let meets = |rate: &&Rate| rate.paths.iter().any(|pattern| matches(pattern, name));
        self.freeze.rates.iter().rev().find(meets).map_or(1.0, |rate| rate.factor)
    }

    /// The recipe as a file has it, all values included.
    pub fn text(&self) -> String {
        toml::to_string(self).unwrap_or_default()
    }
}

/// Puts `key.key=value` into a table; the value is TOML, or a word that stands for itself.
fn replace(table: &mut toml::Table, given: &str) -> Result<(), RecipeError> {
    let fault = |what: String| RecipeError::Override { given: given.to_owned(), what };
    let (key, value) =
        given.split_once('=').ok_or_else(|| fault("is no KEY=VALUE; write it as in optimiser.rate=0.01".to_owned()))?;
    let value = toml::from_str::<toml::Table>(&format!("value = {value}"))
        .ok()
        .and_then(|mut parsed| parsed.remove("value"))
        .unwrap_or_else(|| toml::Value::String(value.to_owned()));
    let mut keys: Vec<&str> = key.trim().split('.').collect();
    let last = keys.pop().unwrap_or_default();
    let mut at = table;
    for key in keys {
        let next = at.entry(key.to_owned()).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        at = next.as_table_mut().ok_or_else(|| fault(format!("goes into `{key}`, which is no table")))?;
    }
    at.insert(last.to_owned(), value);
    Ok(())
}

/// A mistake in a recipe, with what may be meant by an unknown key.
fn toml_error(path: &Path, error: &toml::de::Error) -> RecipeError {
    let message = error.message();
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let hint = match quoted.split_first() {
        Some((unknown, known)) if message.starts_with("unknown ") => {
            nearest(unknown, known.iter().copied()).map(|near| format!("\n  help: did you mean `{near}`?"))
        }
        _ => None,
    };
    RecipeError::Toml { path: path.to_path_buf(), fault: toml_fault(error), hint: hint.unwrap_or_default() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TEXT: &str =
        "net = \"a.net\"\nepochs = 3\n[data]\ntrain = { kind = \"folder\", path = \"x\" }\n[optimiser]\nrate = 0.5\n";

    fn parse(text: &str, replaced: &[&str]) -> Result<Recipe, String> {
        let replaced: Vec<String> = replaced.iter().map(|&given| given.to_owned()).collect();
        Recipe::parse(text, Path::new("r.toml"), &replaced).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_left_out_has_defaults_and_every_key_can_be_replaced() {
        let recipe = parse(TEXT, &[]).unwrap();
        assert_eq!((recipe.epochs, recipe.batch, recipe.optimiser.rate), (3, 100, 0.5));
        let replaced =
            parse(TEXT, &["optimiser.rate=0.25", "augment.resized_crop.scale=[0.5, 1.0]", "optimiser.kind=adamw"]);
        let replaced = replaced.unwrap();
        assert_eq!(replaced.optimiser.rate, 0.25);
        assert_eq!(replaced.augment.resized_crop.unwrap().scale, [0.5, 1.0]);
        assert_eq!(replaced.optimiser.kind, super::super::optimiser::Kind::Adamw);
    }

    #[test]
    fn its_text_is_read_back_as_the_same() {
        let text = format!("{TEXT}[freeze]\nthaw = [{{ epoch = 2, paths = [\"a.*\"] }}]\n[set]\nclasses = 7\n");
        let recipe = parse(&text, &["init.weights=w.pth"]).unwrap();
        assert_eq!(parse(&recipe.text(), &[]).unwrap(), recipe);
    }

    #[test]
    fn the_recipes_of_the_documents_and_of_the_project_are_read() {
        let text = include_str!("../../docs/train.md");
        let written: Vec<&str> = text.split("```toml\n").skip(1).filter_map(|part| part.split("```").next()).collect();
        assert_eq!(written.len(), 2);
        for text in written {
            parse(text, &[]).unwrap_or_else(|error| panic!("{error}"));
        }
        for entry in std::fs::read_dir("recipes").unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                let recipe = Recipe::read(&path, &[]).unwrap_or_else(|error| panic!("{error}"));
                let compiled = super::super::trainer::compile(&recipe, Path::new("recipes"));
                compiled.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            }
        }
    }

    #[test]
    fn mistakes_name_the_key_and_what_is_meant() {
        for (text, replaced, said) in [
            (TEXT.replace("rate", "rte"), &[][..], "did you mean `rate`"),
            (TEXT.replace("epochs", "epoch"), &[], "did you mean `epochs`"),
            (TEXT.replace("rate = 0.5", "kind = \"sdg\""), &[], "did you mean `sgd`"),
            (TEXT.replace("folder", "fodler"), &[], "did you mean `folder`"),
            (TEXT.to_owned(), &["optimiser.rate=-1"], "`optimiser.rate` is -1"),
            (TEXT.to_owned(), &["optimiser.rte=1"], "did you mean `rate`"),
            (TEXT.to_owned(), &["epochs.x=1"], "no table"),
            (TEXT.to_owned(), &["epochs"], "KEY=VALUE"),
            (TEXT.to_owned(), &["accumulate=3"], "does not divide"),
            (TEXT.replace("net = \"a.net\"\n", ""), &[], "net"),
        ] {
            let replaced: Vec<&str> = replaced.to_vec();
            let error = parse(&text, &replaced).unwrap_err();
            assert!(error.contains(said) && (error.contains("r.toml") || error.starts_with('`')), "{error}");
        }
    }

    #[test]
    fn patterns_meet_parameters() {
        let names = ["conv1.weight", "layer1.0.conv2.weight", "fc.bias"];
        let said = |freeze: &str| {
            let recipe = parse(&format!("{TEXT}[freeze]\n{freeze}\n"), &[]).unwrap();
            recipe.idle_pattern(names.into_iter())
        };
        assert_eq!(said("freeze = [\"layer1.*\", \"*.bias\"]"), None);
        assert!(said("freeze = [\"conv2.*\"]").unwrap().contains("did you mean `conv1.*`"));
        assert!(
            said("rates = [{ paths = [\"layer1.0.conv3.*\"], factor = 2.0 }]").unwrap().contains("`layer1.0.conv2.*`")
        );
        assert!(
            said("thaw = [{ epoch = 2, paths = [\"zzz\"] }]").unwrap().contains("`freeze.thaw` has the pattern `zzz`")
        );
    }

    #[test]
    fn what_is_frozen_thaws() {
        let freeze = "[freeze]\nfreeze = [\"*\"]\nunfreeze = [\"fc.*\"]\nthaw = [{ epoch = 3, paths = [\"layer4.*\"] }]\n\
                      rates = [{ paths = [\"*\"], factor = 0.1 }, { paths = [\"fc.*\"], factor = 1.0 }]\n";
        let recipe = parse(&format!("{TEXT}{freeze}"), &[]).unwrap();
        assert!(recipe.is_trained("fc.weight", 1) && !recipe.is_trained("conv1.weight", 9));
        assert!(!recipe.is_trained("layer4.0.weight", 2) && recipe.is_trained("layer4.0.weight", 3));
        assert_eq!((recipe.rate_of("fc.bias"), recipe.rate_of("conv1.weight"), recipe.thaws()), (1.0, 0.1, vec![3]));
    }
}
