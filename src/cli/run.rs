use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use ndarray::{ArrayD, ArrayViewD, Axis};
use rayon::prelude::*;

use super::input::{Item, batch, items, normalise_by, preprocess_of};
use super::weights::Weights;
use super::{Failure, Outcome, Source, print};
use crate::data::{Crops, Labels, npy, write_atomic};
use crate::diag::nearest;
use crate::ir::{Net, Output, ValueId};
use crate::op::{Op, softmax::Softmax};
use crate::train::trainer::CLASSES;
use crate::weights::{Checkpoint, StoredTensor};
use crate::{Compiled, Executable};

/// Run a net on photos or arrays
#[derive(Debug, Args)]
pub(super) struct Run {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    weights: Weights,
    /// A photo (JPEG or PNG), a folder of photos, or an .npy array; NAME=FILE for a net with several inputs
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    input: Vec<String>,
    /// Write the outputs to a file: .npy, .safetensors or .json
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// How many classes to print for each input
    #[arg(long, value_name = "K", default_value_t = 5)]
    top: usize,
    /// Class names: JSON, or text with one name a line
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Also give the value at this path (repeatable)
    #[arg(long, value_name = "PATH")]
    tap: Vec<String>,
    /// Views of each photo whose predictions are averaged: 1 (centre), 5 (corners too), 10 (mirrored too)
    #[arg(long, value_name = "N", default_value = "1", value_parser = parse_crops)]
    crops: Crops,
    /// How results are printed
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Format {
    /// For people
    Table,
    /// For tools
    Json,
}

pub(super) fn parse_crops(text: &str) -> Result<Crops, String> {
    text.parse().ok().and_then(Crops::from_count).ok_or_else(|| "1, 5 or 10".to_owned())
}

/// Photos decoded at a time while the net runs.
const AHEAD: usize = 8;

impl Run {
    pub(super) fn run(self) -> Outcome {
        let mut compiled = self.source.compile()?;
        let notes = self.weights.notes(&compiled)?;
        let labels = match (&self.labels, notes.get(CLASSES)) {
            (Some(path), _) => Some(Labels::read(path)?),
            (None, Some(classes)) => Some(Labels::parse("the weights", classes.as_bytes())?),
            (None, None) => None,
        };
        if let Some(path) = &self.output {
            Kind::of(path)?;
        }
        normalise_by(&mut compiled, &notes);
        if compiled.net.inputs.len() == 1 {
            self.single(compiled, labels.as_ref())
        } else {
            self.several(compiled, labels.as_ref())
        }
    }

    fn several(&self, compiled: Compiled, labels: Option<&Labels>) -> Outcome {
        if self.crops != Crops::One {
            return Err(Failure::Call("--crops is for nets with a single input".to_owned()));
        }
        let arrays = self.named_inputs(&compiled)?;
        let item = Item {
            name: self.input.join(" "),
            source: super::input::ItemSource::Array(ArrayD::default(ndarray::IxDyn(&[0]))),
        };
        let mut ready = Ready { run: self, compiled, executables: BTreeMap::new() };
        let mut report = Report { rows: Vec::new(), names: Vec::new(), values: Vec::new() };
        let views: Vec<ArrayViewD<f32>> = arrays.iter().map(|array| array.view()).collect();
        let text = ready.item(&item, &views, labels, 1, &mut report)?;
        print(&text)?;
        self.finish(report)
    }

    /// The arrays of a net with several inputs, in the net's order.
    fn named_inputs(&self, compiled: &Compiled) -> Result<Vec<ArrayD<f32>>, Failure> {
        let mut given = BTreeMap::new();
        for input in &self.input {
            let Some((name, path)) = input.split_once('=') else {
                return Err(Failure::Call(format!("the net has several inputs: write --input NAME={input}")));
            };
            if given.insert(name, PathBuf::from(path)).is_some() {
                return Err(Failure::Call(format!("input `{name}` is given twice")));
            }
        }
        let names: Vec<&str> = compiled.net.inputs.iter().map(|&id| compiled.net.node(id).path.as_str()).collect();
        if let Some(unknown) = given.keys().find(|name| !names.contains(name)) {
            return Err(Failure::Call(format!("the net has no input `{unknown}`; it has {}", names.join(", "))));
        }
        let mut arrays = Vec::new();
        for (&id, name) in compiled.net.inputs.iter().zip(&names) {
            let Some(path) = given.remove(name) else {
                return Err(Failure::Call(format!("input `{name}` is missing: write --input {name}=FILE")));
            };
            let shape = compiled.shapes.of(id.into());
            if path.is_dir() {
                return Err(Failure::Call(format!(
                    "input `{name}` takes one photo or array, not the folder {}",
                    path.display()
                )));
            }
            let item = items(std::slice::from_ref(&path))?.swap_remove(0);
            arrays.push(batch(&item, &preprocess_of(compiled, shape), shape.rank(), Crops::One)?);
        }
        Ok(arrays)
    }

    fn single(&self, compiled: Compiled, labels: Option<&Labels>) -> Outcome {
        let paths: Vec<PathBuf> = self.input.iter().map(|path| strip_name(path, &compiled)).collect();
        let items = items(&paths)?;
        let shape = compiled.shapes.of(compiled.net.inputs[0].into()).clone();
        let preprocess = preprocess_of(&compiled, &shape);
        let mut ready = Ready { run: self, compiled, executables: BTreeMap::new() };
        let mut report = Report { rows: Vec::new(), names: Vec::new(), values: Vec::new() };
        let progress = progress(items.len());
        for chunk in items.chunks(AHEAD) {
            let batches: Vec<Result<ArrayD<f32>, Failure>> =
                chunk.par_iter().map(|item| batch(item, &preprocess, shape.rank(), self.crops)).collect();
            for (item, batch) in chunk.iter().zip(batches) {
                let text = ready.item(item, &[batch?.view()], labels, items.len(), &mut report)?;
                progress.suspend(|| print(&text))?;
                progress.inc(1);
            }
        }
        progress.finish_and_clear();
        self.finish(report)
    }

    /// Prints what is printed at the end, and writes the outputs to their file.
    fn finish(&self, report: Report) -> Outcome {
        if self.format == Format::Json {
            print(&format!("{:#}\n", serde_json::json!({"schema": "netc.run/1", "results": report.rows})))?;
        }
        let Some(path) = &self.output else { return Ok(()) };
        let joined: Result<Vec<_>, _> = report
            .values
            .iter()
            .map(|parts| ndarray::concatenate(Axis(0), &parts.iter().map(|array| array.view()).collect::<Vec<_>>()))
            .collect();
        let joined = joined.map_err(|_| {
            Failure::Input(
                "the results have different sizes and do not fit one file; run the inputs one by one".to_owned(),
            )
        })?;
        save(path, &report.names, &joined)
    }
}

/// `name=path` without the name of the single input.
fn strip_name(text: &str, compiled: &Compiled) -> PathBuf {
    let name = &compiled.net.node(compiled.net.inputs[0]).path;
    match text.split_once('=') {
        Some((given, path)) if given == name => PathBuf::from(path),
        _ => PathBuf::from(text),
    }
}

fn progress(items: usize) -> ProgressBar {
    if items < 3 || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style =
        ProgressStyle::with_template("running {bar:30} {pos}/{len}").unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(items as u64).with_style(style)
}

struct Report {
    rows: Vec<serde_json::Value>,
    names: Vec<String>,
    /// The results of each output, item by item.
    values: Vec<Vec<ArrayD<f32>>>,
}

/// The net made ready for each input size that occurs.
struct Ready<'a> {
    run: &'a Run,
    compiled: Compiled,
    executables: BTreeMap<Vec<usize>, (Executable, bool)>,
}

impl Ready<'_> {
    /// Runs an item; gives the text to print.
    fn item(
        &mut self,
        item: &Item,
        batches: &[ArrayViewD<f32>],
        labels: Option<&Labels>,
        items: usize,
        report: &mut Report,
    ) -> Result<String, Failure> {
        let sizes = batches.first().map_or(&[][..], |batch| batch.shape());
        let (executable, probabilities) = self.executable(sizes.get(1..).unwrap_or_default())?;
        let probabilities = *probabilities;
        let results = executable.run_all(batches).map_err(|error| Failure::Input(format!("{}: {error}", item.name)))?;
        if report.names.is_empty() {
            report.names = executable.outputs();
            report.values = vec![Vec::new(); report.names.len()];
        }
        let crops = self.run.crops != Crops::One && matches!(item.source, super::input::ItemSource::Photo(_));
        let scores = scores(&results[0], probabilities, crops);
        for (values, result) in report.values.iter_mut().zip(&results) {
            values.push(if crops { mean(result) } else { result.clone() });
        }
        if let (true, Some(first), Some(scores)) = (crops, report.values.first_mut(), &scores) {
            first.pop();
            first.push(scores.clone());
        }
        let run = self.run;
        let mut text = String::new();
        let samples = scores.as_ref().map_or(0, |scores| scores.shape()[0]);
        for sample in 0..samples {
            let Some(scores) = &scores else { break };
            let name = if samples == 1 { item.name.clone() } else { format!("{}[{sample}]", item.name) };
            let top = best(&scores.index_axis(Axis(0), sample).iter().copied().collect::<Vec<_>>(), run.top);
            text.push_str(&row(&name, &top, labels, items * samples));
            let listed: Vec<_> = top
                .iter()
                .map(|&(class, score)| serde_json::json!({"class": class, "label": labels.and_then(|l| l.get(class)), "score": score}))
                .collect();
            report.rows.push(serde_json::json!({"input": name, "top": listed}));
        }
        // Of a vector the classes tell all; what is tapped is told beside them, unless a file takes it.
        let tapped = if run.output.is_none() { run.tap.len() } else { 0 };
        let told = if scores.is_none() { results.len() } else { tapped };
        let skipped = results.len().saturating_sub(told);
        for (name, result) in report.names.iter().zip(&results).skip(skipped) {
            text.push_str(&format!("{}: {name} {}\n", item.name, summary(result)));
            report.rows.push(serde_json::json!({"input": item.name, "output": name, "shape": result.shape()}));
        }
        Ok(if run.format == Format::Json { String::new() } else { text })
    }

    /// The net for inputs of these sizes, and whether its first output holds probabilities already.
    fn executable(&mut self, sizes: &[usize]) -> Result<&(Executable, bool), Failure> {
        if !self.executables.contains_key(sizes) {
            let mut compiled = self.compiled.clone();
            let declared = compiled.shapes.of(compiled.net.inputs[0].into()).as_known();
            if declared.is_none() && compiled.net.inputs.len() == 1 {
                let mut settings = self.run.source.settings();
                settings.shape = Some(sizes.iter().map(|&size| size as u64).collect());
                compiled = self.run.source.compile_with(&settings)?;
            }
            add_taps(&mut compiled, &self.run.tap)?;
            let last = compiled.net.outputs_for(false).next().map(|output| output.value.node);
            let softmax = last.map(|id| matches!(&compiled.net.node(id).op, Op::Softmax(Softmax { log: false, .. })));
            let executable = self.run.weights.executable(&compiled)?;
            self.executables.insert(sizes.to_vec(), (executable, softmax == Some(true)));
        }
        Ok(&self.executables[sizes])
    }
}

/// Adds the values at these paths to the outputs.
fn add_taps(compiled: &mut Compiled, taps: &[String]) -> Result<(), Failure> {
    for tap in taps {
        let net = &compiled.net;
        let Some(value) = find_value(net, tap) else {
            let paths: Vec<&str> = net.nodes().map(|id| net.node(id).path.as_str()).collect();
            let hint = nearest(tap, paths).map_or(String::new(), |near| format!("; did you mean {near}?"));
            return Err(Failure::Call(format!("--tap {tap}: there is no such path{hint} (`netc expand` lists them)")));
        };
        let span = net.node(value.node).origin.span;
        compiled.net.outputs.push(Output { name: tap.clone(), value, train: None, span });
    }
    Ok(())
}

/// The value at a path: a layer's, one of several results, or the last in a labelled scope.
fn find_value(net: &Net, path: &str) -> Option<ValueId> {
    let scope = format!("{path}.");
    for id in net.nodes() {
        let node = net.node(id);
        if node.path == path {
            return Some(id.into());
        }
        if let Some(other) = node.others.iter().position(|other| other == path) {
            return Some(ValueId { node: id, output: other as u32 + 1 });
        }
    }
    net.nodes().rfind(|&id| net.node(id).path.starts_with(&scope)).map(ValueId::from)
}

/// Class probabilities, one row a sample or one for all crops together; `None` where the output is no vector.
fn scores(result: &ArrayD<f32>, probabilities: bool, crops: bool) -> Option<ArrayD<f32>> {
    if result.ndim() != 2 {
        return None;
    }
    let mut scores = result.clone();
    if !probabilities {
        for mut row in scores.rows_mut() {
            let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            row.mapv_inplace(|x| (x - most).exp());
            let sum = row.sum();
            row.mapv_inplace(|x| x / sum);
        }
    }
    Some(if crops { mean(&scores) } else { scores })
}

/// The mean over the batch, as a batch of one.
fn mean(values: &ArrayD<f32>) -> ArrayD<f32> {
    values.mean_axis(Axis(0)).unwrap_or_else(|| values.clone()).insert_axis(Axis(0))
}

/// The `count` largest with their indices; equal ones by index.
fn best(scores: &[f32], count: usize) -> Vec<(usize, f32)> {
    let mut order: Vec<(usize, f32)> = scores.iter().copied().enumerate().collect();
    order.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    order.truncate(count);
    order
}

fn row(name: &str, top: &[(usize, f32)], labels: Option<&Labels>, rows: usize) -> String {
    let label = |class: usize| labels.and_then(|labels| labels.get(class)).unwrap_or("");
    if rows > 1 {
        let classes: Vec<String> = top
            .iter()
            .map(|&(class, score)| match label(class) {
                "" => format!("{class} {score:.3}"),
                name => format!("{name} {score:.3}"),
            })
            .collect();
        return format!("{name}: {}\n", classes.join(", "));
    }
    let mut text = format!("{name}\n");
    for &(class, score) in top {
        text.push_str(format!("  {score:7.4}  {class:>4}  {}", label(class)).trim_end());
        text.push('\n');
    }
    text
}

fn summary(values: &ArrayD<f32>) -> String {
    let (least, most) = values.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(a, b), &x| (a.min(x), b.max(x)));
    let sizes: Vec<String> = values.shape().iter().map(usize::to_string).collect();
    let range = if least <= most { format!(" from {least:.6} to {most:.6}") } else { String::new() };
    match values.iter().filter(|value| value.is_nan()).count() {
        0 => format!("{}{range}", sizes.join("x")),
        nan => format!("{}{range}, {nan} of {} values are NaN", sizes.join("x"), values.len()),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Npy,
    Safetensors,
    Json,
}

impl Kind {
    fn of(path: &Path) -> Result<Kind, Failure> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("npy") => Ok(Kind::Npy),
            Some("safetensors") => Ok(Kind::Safetensors),
            Some("json") => Ok(Kind::Json),
            _ => Err(Failure::Call(format!("{}: write to a .npy, .safetensors or .json file", path.display()))),
        }
    }
}

fn save(path: &Path, names: &[String], results: &[ArrayD<f32>]) -> Outcome {
    match (Kind::of(path)?, results) {
        (Kind::Npy, [only]) => npy::save(path, only.view())?,
        (Kind::Npy, _) => {
            let names = names.join(", ");
            return Err(Failure::Call(format!("one .npy holds one array, but there are {names}: write .safetensors")));
        }
        (Kind::Safetensors, _) => {
            let mut checkpoint = Checkpoint::new();
            for (name, result) in names.iter().zip(results) {
                let shape = result.shape().iter().map(|&size| size as u64).collect();
                if let Some(tensor) = StoredTensor::from_f32(shape, result.iter().copied().collect()) {
                    checkpoint.insert(name.clone(), tensor);
                }
            }
            checkpoint.write_safetensors(path)?;
        }
        (Kind::Json, _) => {
            let outputs: serde_json::Map<String, serde_json::Value> = names
                .iter()
                .zip(results)
                .map(|(name, result)| {
                    let data: Vec<f32> = result.iter().copied().collect();
                    (name.clone(), serde_json::json!({"shape": result.shape(), "data": data}))
                })
                .collect();
            let text = format!("{}\n", serde_json::json!({"schema": "netc.outputs/1", "outputs": outputs}));
            write_atomic(path, |out| out.write_all(text.as_bytes()))?;
        }
    }
    Ok(())
}
