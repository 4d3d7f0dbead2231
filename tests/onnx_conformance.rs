//! The conformance suites of ONNX against netc: which operators pass, and why the others are out of scope.
//!
//! `scripts/fetch-material onnx` brings the suites; without them the test says so and ends. The table is a snapshot, so
//! that a test which no longer passes is seen.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ndarray::{ArrayD, IxDyn};
use netc::onnx::{ImportOptions, OnnxError, Turned, import_bytes, input_names, operators, read_tensor};
use netc::op::onnx::{Constant, Data};
use netc::opt::optimise;
use netc::{Executable, RunOptions};

/// The tolerance of the suites, relative, and what rounding may do to small numbers beside large ones.
const RELATIVE: f32 = 1e-3;
const OF_LARGEST: f32 = 1e-5;

enum Outcome {
    Passed,
    Failed(String),
    OutOfScope(String),
}

/// What became of the tests of one operator.
#[derive(Default)]
struct Row {
    passed: usize,
    failed: Vec<String>,
    /// How many for each reason.
    out: BTreeMap<String, usize>,
}

/// Takes some seconds: the suites have 1,900 models.
#[test]
fn suites() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(".material/onnx");
    if !root.exists() {
        eprintln!("skipped: no {}; run scripts/fetch-material onnx", root.display());
        return;
    }
    let mut text = String::new();
    let mut failures = Vec::new();
    for suite in ["node", "node, functions taken apart", "simple", "pytorch-converted", "pytorch-operator"] {
        let mut table: BTreeMap<String, Row> = BTreeMap::new();
        let (folder, apart) = suite.split_once(", ").map_or((suite, false), |(folder, _)| (folder, true));
        for folder in folders(&root.join(folder)) {
            let name = folder.file_name().unwrap().to_string_lossy().into_owned();
            if name.contains("_expanded") != apart && suite.starts_with("node") {
                continue;
            }
            let bytes = std::fs::read(folder.join("model.onnx")).unwrap();
            let key = if apart { name[5..name.find("_expanded").unwrap()].to_owned() } else { operator(&bytes) };
            let row = table.entry(key).or_default();
            match run(&folder, &bytes) {
                Outcome::Passed => row.passed += 1,
                Outcome::Failed(why) => row.failed.push(format!("{name}: {why}")),
                Outcome::OutOfScope(why) => *row.out.entry(why).or_default() += 1,
            }
        }
        describe(suite, &table, &mut text);
        failures.extend(table.into_values().flat_map(|row| row.failed));
    }
    failures.retain(|failure| !ROUNDED.iter().any(|name| failure.starts_with(name)));
    assert!(failures.is_empty(), "{failures:#?}");
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../snapshots/onnx");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!("conformance", text));
}

/// Numbers that the model rounds to 16 bits and netc leaves at 32.
const ROUNDED: [&str; 3] =
    ["test_cast_FLOAT_to_BFLOAT16", "test_castlike_FLOAT_to_BFLOAT16", "test_castlike_FLOAT_to_BFLOAT16_expanded"];

/// A line for each operator of which a test passes or fails, with the reasons of the others; the rest by name.
fn describe(suite: &str, table: &BTreeMap<String, Row>, text: &mut String) {
    let total = |count: fn(&Row) -> usize| table.values().map(count).sum::<usize>();
    let out = |row: &Row| row.out.values().sum::<usize>();
    *text += &format!(
        "{suite}: {} passed, {} failed, {} out of scope\n",
        total(|row| row.passed),
        total(|row| row.failed.len()),
        total(out)
    );
    let mut none = BTreeMap::new();
    for (key, row) in table {
        if row.passed == 0 && row.failed.is_empty() {
            none.insert(key, row);
            continue;
        }
        *text += &format!("  {key}: {} passed, {} failed, {} out of scope\n", row.passed, row.failed.len(), out(row));
        row.failed.iter().for_each(|why| *text += &format!("    failed {why}\n"));
        row.out.iter().for_each(|(why, count)| *text += &format!("    {count}: {why}\n"));
    }
    if none.is_empty() {
        return;
    }
    *text += "  none passed:\n";
    for (key, row) in none {
        let why = row.out.keys().next().map_or("", String::as_str);
        *text += &format!("    {key} {}: {why}\n", out(row));
    }
}

fn folders(root: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = std::fs::read_dir(root)
        .map(|entries| {
            entries.flatten().map(|entry| entry.path()).filter(|path| path.join("model.onnx").exists()).collect()
        })
        .unwrap_or_default();
    folders.sort();
    folders
}

/// The operator that a test is about: the first that does not merely prepare its operands.
fn operator(bytes: &[u8]) -> String {
    let all = operators(bytes).unwrap_or_default();
    let first =
        all.iter().find(|name| !matches!(name.as_str(), "Constant" | "Identity" | "Cast" | "Transpose" | "Unsqueeze"));
    first.or(all.first()).cloned().unwrap_or_else(|| "none".to_owned())
}

fn tensors(folder: &Path, kind: &str) -> Result<Vec<Constant>, String> {
    let mut found = Vec::new();
    for at in 0.. {
        let path = folder.join(format!("test_data_set_0/{kind}_{at}.pb"));
        let Ok(bytes) = std::fs::read(&path) else { break };
        match read_tensor(&bytes) {
            Ok(Some(constant)) => found.push(constant),
            _ => return Err(format!("{kind} {at} is no tensor of numbers")),
        }
    }
    Ok(found)
}

fn run(folder: &Path, bytes: &[u8]) -> Outcome {
    let (inputs, outputs) = match (tensors(folder, "input"), tensors(folder, "output")) {
        (Ok(inputs), Ok(outputs)) => (inputs, outputs),
        (Err(why), _) | (_, Err(why)) => return Outcome::OutOfScope(why),
    };
    let Ok(names) = input_names(bytes) else { return Outcome::Failed("the model cannot be read".to_owned()) };
    // What layers take as weights or arguments the suites give as inputs: all are tried as values of the net, then each
    // by itself with the others fixed.
    let is_float = |at: &usize| matches!(inputs.get(*at).map(|input| &input.data), Some(Data::Floats(_)));
    let all: Vec<usize> = (0..names.len()).filter(is_float).collect();
    let mut choices = vec![all.clone()];
    choices.extend(all.iter().map(|&at| vec![at]));
    let mut reason = None;
    for live in choices {
        let fixed = (0..names.len().min(inputs.len())).filter(|at| !live.contains(at));
        let fixed = fixed.map(|at| (names[at].clone(), inputs[at].clone())).collect();
        let options = ImportOptions { fixed, ..ImportOptions::default() };
        let outcome = match import_bytes(bytes, &options) {
            Ok(imported) => compare(imported, &live.iter().map(|&at| &inputs[at]).collect::<Vec<_>>(), &outputs),
            Err(OnnxError::Unfit(nodes)) => Outcome::OutOfScope(format!("{}: {}", nodes[0].op_type, nodes[0].reason)),
            Err(error) => Outcome::OutOfScope(error.to_string().replace('\n', " ")),
        };
        match outcome {
            Outcome::Passed => return Outcome::Passed,
            Outcome::Failed(why) => return Outcome::Failed(why),
            // The reason that counts is that of the first input as the only one that is computed.
            Outcome::OutOfScope(_) if reason.is_none() || live == all[..1] => reason = Some(outcome),
            Outcome::OutOfScope(_) => {}
        }
    }
    reason.unwrap_or(Outcome::OutOfScope("it has no input of floats".to_owned()))
}

fn compare(imported: netc::onnx::Imported, inputs: &[&Constant], outputs: &[Constant]) -> Outcome {
    let failed = |why: String| Outcome::Failed(why);
    let mut arrays = Vec::new();
    for (&id, input) in imported.net.inputs.iter().zip(inputs) {
        let shape = imported.shapes.of(id.into());
        let Some(sizes) = shape.as_known() else { return failed("free sizes".to_owned()) };
        let values = input.to_floats().unwrap_or_default();
        let elements: usize = sizes.iter().product();
        let batch = values.len() / elements.max(1);
        let turned = imported.turned.iter().find(|turned| turned.name == imported.net.node(id).path);
        match array(batch, &sizes, turned, values.iter().copied().collect()) {
            Some(array) => arrays.push(array),
            None => return failed(format!("input of {} numbers for {shape}", values.len())),
        }
    }
    let optimised = optimise(&imported.net, &imported.shapes);
    let executable =
        match Executable::new(&imported.net, &imported.shapes, optimised, &imported.weights, &RunOptions::default()) {
            Ok(executable) => executable,
            Err(error) => return failed(error.to_string().replace('\n', " ")),
        };
    let results = match executable.run_all(&arrays.iter().map(|array| array.view()).collect::<Vec<_>>()) {
        Ok(results) => results,
        Err(error) => return failed(error.to_string()),
    };
    for (at, (result, wanted)) in results.iter().zip(outputs).enumerate() {
        let name = &imported.net.outputs[at].name;
        let turned = imported.turned.iter().find(|turned| turned.name == *name);
        let found = match turned {
            Some(turned) => {
                let order: Vec<usize> = std::iter::once(0).chain(turned.order.iter().map(|axis| axis + 1)).collect();
                result.view().permuted_axes(IxDyn(&order)).iter().copied().collect()
            }
            None => result.iter().copied().collect::<Vec<f32>>(),
        };
        let wanted: Vec<f32> = wanted.to_floats().unwrap_or_default().iter().copied().collect();
        if found.len() != wanted.len() {
            return failed(format!("output {at} has {} numbers instead of {}", found.len(), wanted.len()));
        }
        let largest = wanted.iter().filter(|value| value.is_finite()).fold(0f32, |most, value| most.max(value.abs()));
        let close = |(a, b): (&f32, &f32)| {
            a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= RELATIVE * b.abs() + OF_LARGEST * largest
        };
        if let Some(at) = found.iter().zip(&wanted).position(|pair| !close(pair)) {
            return failed(format!("{} instead of {} at {at}", found[at], wanted[at]));
        }
    }
    Outcome::Passed
}

/// The numbers of a model's tensor as the net takes them.
fn array(batch: usize, sizes: &[usize], turned: Option<&Turned>, values: Vec<f32>) -> Option<ArrayD<f32>> {
    let whole = |sizes: &[usize]| -> Vec<usize> { std::iter::once(batch).chain(sizes.iter().copied()).collect() };
    let Some(turned) = turned else { return ArrayD::from_shape_vec(whole(sizes), values).ok() };
    let given: Vec<usize> = turned.order.iter().map(|&axis| sizes[axis]).collect();
    let array = ArrayD::from_shape_vec(whole(&given), values).ok()?;
    let back: Vec<usize> =
        (0..sizes.len()).filter_map(|axis| turned.order.iter().position(|&own| own == axis)).collect();
    let order: Vec<usize> = std::iter::once(0).chain(back.iter().map(|axis| axis + 1)).collect();
    Some(array.permuted_axes(IxDyn(&order)).as_standard_layout().into_owned())
}
