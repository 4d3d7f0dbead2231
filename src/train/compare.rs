//! Runs side by side: what they have come to, and their curves in one picture.

use std::collections::BTreeMap;
use std::path::Path;

use super::curves::{COLORS, Chart, Line};
use super::error::TrainError;
use super::state::Record;
use super::stepper::GradientNorm;
use super::trainer::{GRADIENTS, METRICS, RECIPE};
use crate::data::DataError;
use crate::report::grid::{Cell, Column, Grid};

/// What a run has left in its folder.
#[derive(Clone, Debug)]
pub struct Run {
    /// The folder's name.
    pub name: String,
    /// The values of its recipe by key.
    pub recipe: BTreeMap<String, String>,
    /// Its epochs.
    pub records: Vec<Record>,
    /// The gradients of its first step; none where it has not kept them.
    pub gradients: Vec<GradientNorm>,
}

impl Run {
    /// Reads the folder of a run.
    ///
    /// # Errors
    /// When it is none.
    pub fn open(folder: &Path) -> Result<Run, TrainError> {
        let text = |name: &str| {
            let path = folder.join(name);
            std::fs::read_to_string(&path).map_err(DataError::io("read", &path))
        };
        let fault = |name: &str, line: usize, what: String| {
            let path = folder.join(name);
            TrainError::Misfit(format!(
                "{}:{line}: {what}\n  help: name a folder that `netc train` has written",
                path.display()
            ))
        };
        let table: toml::Table = text(RECIPE)?.parse().map_err(|error| fault(RECIPE, 1, format!("{error}")))?;
        let mut recipe = BTreeMap::new();
        flatten("", &toml::Value::Table(table), &mut recipe);
        let lines = text(METRICS)?;
        let records = (1..)
            .zip(lines.lines())
            .map(|(line, text)| serde_json::from_str(text).map_err(|error| fault(METRICS, line, error.to_string())));
        let gradients = match text(GRADIENTS) {
            Ok(text) => {
                serde_json::from_str(&text).map_err(|error| fault(GRADIENTS, error.line(), error.to_string()))?
            }
            Err(_) => Vec::new(),
        };
        let name = folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy().into_owned();
        Ok(Run { name, recipe, records: records.collect::<Result<_, _>>()?, gradients })
    }
}

/// `key.key` and its value, for each value of a table.
fn flatten(key: &str, value: &toml::Value, to: &mut BTreeMap<String, String>) {
    match value {
        toml::Value::Table(table) => {
            for (name, value) in table {
                flatten(&if key.is_empty() { name.clone() } else { format!("{key}.{name}") }, value, to);
            }
        }
        value => drop(to.insert(key.to_owned(), value.to_string())),
    }
}

/// The keys in which runs differ, but for how they are executed.
fn differing(runs: &[Run]) -> Vec<&str> {
    let mut keys: Vec<&str> = runs.iter().flat_map(|run| run.recipe.keys()).map(String::as_str).collect();
    keys.sort_unstable();
    keys.dedup();
    keys.retain(|key| {
        !key.starts_with("run.") && runs.iter().any(|run| run.recipe.get(*key) != runs[0].recipe.get(*key))
    });
    keys
}

/// A run by the values that tell it from others.
fn label<'a>(run: &Run, keys: impl IntoIterator<Item = &'a &'a str>) -> String {
    let said = |key: &&str| format!("{key} = {}", run.recipe.get(*key).map_or("-", String::as_str));
    keys.into_iter().map(said).collect::<Vec<_>>().join(", ")
}

/// A table: what tells the runs apart, and where each stands after its last epoch.
pub fn grid(runs: &[Run]) -> Grid {
    let keys = differing(runs);
    let columns = vec![
        Column::words("run", "run", 0),
        Column::words("differs", "what differs", 3),
        Column::numbers("epochs", "epochs", 4),
        Column::numbers("loss", "loss of steps", 5),
        Column::numbers("train_error", "training error", 1),
        Column::numbers("test_error", "test error", 0),
        Column::numbers("best", "lowest", 6),
        Column::numbers("seconds", "s of steps", 7),
    ];
    let error = |value: Option<f64>| value.map_or(Cell::Missing, |error| Cell::Text(format!("{:.2} %", 100.0 * error)));
    let cells = |run: &Run| {
        let last = run.records.last();
        let errors = run.records.iter().filter_map(tested);
        vec![
            Cell::Text(run.name.clone()),
            Cell::Text(label(run, &keys)),
            Cell::Count((run.records.len() as u64).into()),
            last.map_or(Cell::Missing, |record| Cell::Real(record.loss, 4)),
            error(last.and_then(|record| record.train).map(|figures| figures.error())),
            error(last.and_then(tested)),
            error(errors.reduce(f64::min)),
            Cell::Real(run.records.iter().map(|record| record.seconds).sum(), 0),
        ]
    };
    Grid { columns, rows: runs.iter().map(cells).collect(), total: None }
}

/// The error on images that are not learned from.
fn tested(record: &Record) -> Option<f64> {
    record.test.or(record.validation).map(|figures| figures.error())
}

impl Run {
    /// The error on images that are learned from: in the form of inference, of the epochs in which the run has measured
    /// that; of the steps where it never has.
    fn trained(&self, record: &Record) -> Option<f64> {
        let is_measured = self.records.iter().any(|record| record.train.is_some());
        if is_measured { record.train.map(|figures| figures.error()) } else { Some(1.0 - record.accuracy) }
    }
}

/// A line: its name, and its points, each with the run and the record that it shows.
type Series<'a> = (String, Vec<(f64, &'a Run, &'a Record)>);

/// Training and test error of all runs: over their epochs, or where each ends against the number that a key of its recipe
/// has.
///
/// # Errors
/// When a run has no such number.
pub fn charts(runs: &[Run], against: Option<&str>) -> Result<Vec<Chart>, TrainError> {
    let series = match against {
        Some(key) => by_number(runs, key)?,
        None => by_epoch(runs),
    };
    let chart = |title: &str, value: &dyn Fn(&Run, &Record) -> Option<f64>| {
        let line = |((name, points), color): (&Series, &&'static str)| {
            let points = points.iter().filter_map(|&(at, run, record)| Some((at, value(run, record)?)));
            Line::new(name, color, points.collect())
        };
        Chart {
            title: title.to_owned(),
            axes: [against.unwrap_or("epoch").to_owned(), "share of wrong classes".to_owned()],
            is_logarithmic: false,
            lines: series.iter().zip(COLORS.iter().cycle()).map(line).collect(),
        }
    };
    Ok(vec![chart("training error", &Run::trained), chart("test error", &|_, record| tested(record))])
}

/// A line for each run.
fn by_epoch(runs: &[Run]) -> Vec<Series<'_>> {
    let keys = differing(runs);
    let mut series = Vec::new();
    for run in runs {
        let points = run.records.iter().map(|record| (record.epoch as f64, run, record));
        series.push((name(run, &keys), points.collect()));
    }
    series
}

/// A line for all runs that differ in this key alone: where each ends.
fn by_number<'a>(runs: &'a [Run], key: &str) -> Result<Vec<Series<'a>>, TrainError> {
    let others: Vec<&str> = differing(runs).into_iter().filter(|other| *other != key).collect();
    let mut series: Vec<Series> = Vec::new();
    for run in runs {
        let at = run.recipe.get(key).and_then(|value| value.parse::<f64>().ok());
        let (Some(at), Some(last)) = (at, run.records.last()) else {
            let name = &run.name;
            return Err(TrainError::Misfit(format!("run {name} has no number `{key}` in its recipe, or no epoch")));
        };
        let name = label(run, &others);
        match series.iter_mut().find(|(other, _)| *other == name) {
            Some((_, points)) => points.push((at, run, last)),
            None => series.push((name, vec![(at, run, last)])),
        }
    }
    series.iter_mut().for_each(|(_, points)| points.sort_by(|a, b| a.0.total_cmp(&b.0)));
    Ok(series)
}

/// Letters of a name that a chart has room for.
const ROOM: usize = 36;

/// A run by what tells it from others, where that is short; else by its folder.
fn name(run: &Run, keys: &[&str]) -> String {
    let label = label(run, keys);
    if (1..=ROOM).contains(&label.chars().count()) { label } else { run.name.clone() }
}

/// The norms of the gradients of weights in the first step, from the layer next to the input on.
pub fn gradient_chart(runs: &[Run]) -> Chart {
    let keys = differing(runs);
    let points = |run: &Run| {
        let weights =
            run.gradients.iter().filter(|gradient| gradient.name.ends_with(".weight") && is_weight(run, gradient));
        (1..).zip(weights).map(|(at, gradient)| (f64::from(at), gradient.norm)).collect()
    };
    let lines = runs.iter().zip(COLORS.iter().cycle());
    Chart {
        title: "norm of the gradient in the first step".to_owned(),
        axes: ["layer".to_owned(), "norm".to_owned()],
        is_logarithmic: true,
        lines: lines.map(|(run, color)| Line::new(&name(run, &keys), color, points(run))).collect(),
    }
}

/// Whether a parameter multiplies: the scale of a batch norm has as many values as its shift.
fn is_weight(run: &Run, gradient: &GradientNorm) -> bool {
    let bias = gradient.name.strip_suffix("weight").map(|path| format!("{path}bias"));
    let bias = run.gradients.iter().find(|other| Some(&other.name) == bias.as_ref());
    bias.is_none_or(|bias| bias.elements != gradient.elements)
}
