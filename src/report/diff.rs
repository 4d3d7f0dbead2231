//! `netc diff`: how two nets differ, for a terminal, for a pull request, and for programs.

use std::cmp::Reverse;

use serde_json::{Map, Value, json};

use super::grid::{Cell, Column, Grid};
use super::{Style, json, wrapped};
use crate::cost::diff::{Change, Diff, Entry, Totals};
use crate::cost::number::{bytes, grouped};
use crate::cost::{Counts, Ratio, Terminal};
use crate::dim::Dim;

/// The version of the JSON.
pub const SCHEMA: &str = "netc.diff/1";

/// Layers of the same text with other sizes that are shown; JSON has them all.
const MOST_RESIZED: usize = 20;

/// Tables that fit.
pub fn table(diff: &Diff, style: Style) -> String {
    let mut text = wrapped(&title(diff), style, 2);
    for section in sections(diff) {
        let (table, left_out) = section.grid.table(style);
        text += &format!("\n{}{table}{}", wrapped(&section.title, style, 0), super::left_out(&left_out, style));
        text += &section.note.map_or(String::new(), |note| note + "\n");
    }
    text
}

/// Markdown for a pull request.
pub fn markdown(diff: &Diff) -> String {
    let mut text = format!("## {}\n", title(diff));
    for section in sections(diff) {
        text += &format!("\n### {}\n\n{}", section.title, section.grid.markdown());
        text += &section.note.map_or(String::new(), |note| format!("\n{note}\n"));
    }
    text
}

/// JSON of [`SCHEMA`].
pub fn json(diff: &Diff) -> String {
    let entries =
        |entries: &[Entry]| entries.iter().map(|entry| Value::Object(entry_json(entry))).collect::<Vec<Value>>();
    json::text(json::object(json!({
        "schema": SCHEMA,
        "equal": diff.is_empty(),
        "convention": diff.convention.name(),
        "batch": diff.batch,
        "before": totals_json(&diff.before),
        "after": totals_json(&diff.after),
        "added": entries(&diff.added),
        "removed": entries(&diff.removed),
        "changed": diff.changed.iter().map(change_json).collect::<Vec<Value>>(),
    })))
}

fn totals_json(totals: &Totals) -> Value {
    let mut fields = json::object(json!({
        "net": totals.net,
        "input": json::terminals(&totals.inputs),
        "output": json::terminals(&totals.outputs),
        "layers": totals.layers,
    }));
    fields.extend(json::counts(&totals.counts));
    fields.insert("peak_activation_bytes".to_owned(), totals.peak_bytes.as_ref().map_or(Value::Null, json::count));
    Value::Object(fields)
}

fn entry_json(entry: &Entry) -> Map<String, Value> {
    let mut fields = json::object(json!({ "name": entry.path, "kind": entry.kind, "operator": entry.op }));
    fields.extend(json::outputs(&entry.outputs));
    fields.extend(json::counts(&entry.counts));
    fields
}

fn change_json(change: &Change) -> Value {
    let arguments = change.arguments.iter().map(|(name, old, new)| ((*name).to_owned(), json!([old, new])));
    json!({
        "name": change.after.path,
        "arguments": arguments.collect::<Map<String, Value>>(),
        "rewired": change.rewired,
        "before": entry_json(&change.before),
        "after": entry_json(&change.after),
    })
}

fn title(diff: &Diff) -> String {
    let (before, after) = (&diff.before.net, &diff.after.net);
    let same = if diff.is_empty() { ": the same layers, shapes and costs" } else { "" };
    format!("{before} -> {after}{same}")
}

struct Section {
    title: String,
    grid: Grid,
    note: Option<String>,
}

fn sections(diff: &Diff) -> Vec<Section> {
    let section = |title: String, grid: Grid| Section { title, grid, note: None };
    let mut sections = vec![section("Totals".to_owned(), totals_grid(diff))];
    let (structural, mut resized): (Vec<&Change>, Vec<&Change>) =
        diff.changed.iter().partition(|change| change.is_structural());
    let layers = |count: usize| if count == 1 { "1 layer".to_owned() } else { format!("{count} layers") };
    if !diff.added.is_empty() {
        sections.push(section(format!("Added: {}", layers(diff.added.len())), entries_grid(diff, &diff.added, "+")));
    }
    if !diff.removed.is_empty() {
        let title = format!("Removed: {}", layers(diff.removed.len()));
        sections.push(section(title, entries_grid(diff, &diff.removed, "-")));
    }
    if !structural.is_empty() {
        sections.push(section(format!("Changed: {}", layers(structural.len())), changes_grid(diff, &structural)));
    }
    if !resized.is_empty() {
        let title = format!("Other sizes by what stands above: {}", layers(resized.len()));
        let more = resized.len().saturating_sub(MOST_RESIZED);
        resized.sort_by_key(|change| Reverse(weight(diff, change)));
        resized.truncate(MOST_RESIZED);
        let note = (0 < more).then(|| format!("and {more} more that change less; JSON lists them all"));
        sections.push(Section { title, grid: changes_grid(diff, &resized), note });
    }
    sections
}

/// How much a change matters.
fn weight(diff: &Diff, change: &Change) -> (u128, u64) {
    let ops = |entry: &Entry| entry.counts.ops(diff.convention).clone();
    let by = ops(&change.after).sub(&ops(&change.before)).ok().and_then(|by| by.as_known());
    (by.map_or(u128::MAX, i128::unsigned_abs), change.after.counts.params.abs_diff(change.before.counts.params))
}

fn totals_grid(diff: &Diff) -> Grid {
    let columns = vec![
        Column::words("figure", "", 0),
        Column::numbers("before", "before", 0),
        Column::numbers("after", "after", 0),
        Column::numbers("change", "change", 1),
        Column::numbers("percent", "%", 1),
    ];
    let (before, after) = (&diff.before, &diff.after);
    let mut rows = Vec::new();
    for (name, old, new) in [
        ("input", terminals(&before.inputs), terminals(&after.inputs)),
        ("output", terminals(&before.outputs), terminals(&after.outputs)),
    ] {
        if old != new {
            rows.push(vec![name.into(), Cell::Text(old), Cell::Text(new), Cell::Missing, Cell::Missing]);
        }
    }
    let counts = |of: fn(&Totals) -> Dim| (of(before), of(after));
    let mut figures = vec![
        ("layers", counts(|totals| (totals.layers as u64).into())),
        ("parameters", counts(|totals| totals.counts.params.into())),
        ("MACs", counts(|totals| totals.counts.macs.clone())),
        ("FLOPs", counts(|totals| totals.counts.flops.clone())),
        ("activations", counts(|totals| totals.counts.activations.clone())),
        ("weight bytes", counts(|totals| totals.counts.weight_bytes.into())),
    ];
    if diff.convention == crate::cost::Convention::Fvcore {
        figures.push(("fvcore flops", counts(|totals| totals.counts.fvcore.clone())));
    }
    if let (Some(old), Some(new)) = (&before.peak_bytes, &after.peak_bytes) {
        figures.push(("peak activation bytes", (old.clone(), new.clone())));
    }
    for (name, (old, new)) in figures {
        let percent = percent(&old, &new);
        let change = delta(&old, &new);
        rows.push(vec![name.into(), Cell::Count(old), Cell::Count(new), Cell::Text(change), Cell::Text(percent)]);
    }
    Grid { columns, rows, total: None }
}

fn terminals(terminals: &[Terminal]) -> String {
    let texts: Vec<String> = terminals.iter().map(|one| format!("{} {}", one.name, one.shape)).collect();
    texts.join(", ")
}

/// `+36,864`, `-12`, `0`.
fn delta(old: &Dim, new: &Dim) -> String {
    match new.sub(old) {
        Ok(by) if by == Dim::ZERO => "0".to_owned(),
        Ok(by) if by.as_known().is_some_and(|by| by < 0) => grouped(&by),
        Ok(by) => format!("+{}", grouped(&by)),
        Err(_) => "-".to_owned(),
    }
}

fn percent(old: &Dim, new: &Dim) -> String {
    match Ratio::of(new, old) {
        Some(Ratio(ratio)) if ratio != 1.0 => format!("{:+.1}", (ratio - 1.0) * 100.0),
        Some(_) => "0".to_owned(),
        None => "-".to_owned(),
    }
}

fn outputs(entry: &Entry) -> String {
    let shapes: Vec<String> = entry.outputs.iter().map(ToString::to_string).collect();
    shapes.join(", ")
}

fn entries_grid(diff: &Diff, entries: &[Entry], sign: &str) -> Grid {
    let columns = vec![
        Column::words("name", "layer", 0),
        Column::words("kind", "kind", 1),
        Column::words("output", "output", 2),
        Column::numbers("params", "params", 1),
        Column::numbers("ops", diff.convention.heading(), 1),
        Column::numbers("weights", "weights", 3),
    ];
    // A block that the other side lacks altogether is one row.
    let runs = entries.chunk_by(|a, b| a.block.is_some() && a.block == b.block);
    let row = |run: &[Entry]| {
        let last = run.last()?;
        let counts = Counts::sum(run.iter().map(|entry| &entry.counts)).ok()?;
        let (name, kind) = match (&last.block, run.len()) {
            (Some(block), 2..) => (block, format!("{} layers", run.len())),
            (_, _) => (&last.path, last.kind.to_owned()),
        };
        Some(vec![
            Cell::Text(format!("{sign} {name}")),
            Cell::Text(kind),
            Cell::Text(outputs(last)),
            counts.params.into(),
            Cell::Count(counts.ops(diff.convention).clone()),
            Cell::Text(bytes(counts.weight_bytes as f64)),
        ])
    };
    Grid { columns, rows: runs.filter_map(row).collect(), total: None }
}

fn changes_grid(diff: &Diff, changes: &[&Change]) -> Grid {
    let columns = vec![
        Column::words("name", "layer", 0),
        Column::words("change", "change", 1),
        Column::words("output", "output", 2),
        Column::numbers("params", "params", 1),
        Column::numbers("ops", diff.convention.heading(), 1),
    ];
    let row = |change: &&Change| {
        let (before, after) = (&change.before, &change.after);
        let (old, new) = (outputs(before), outputs(after));
        let ops = |entry: &Entry| entry.counts.ops(diff.convention).clone();
        vec![
            Cell::Text(if before.path == after.path {
                after.path.clone()
            } else {
                format!("{} -> {}", before.path, after.path)
            }),
            Cell::Text(what(change)),
            Cell::Text(if old == new { new } else { format!("{old} -> {new}") }),
            Cell::Text(delta(&before.counts.params.into(), &after.counts.params.into())),
            Cell::Text(delta(&ops(before), &ops(after))),
        ]
    };
    let mut grid = Grid { columns, rows: changes.iter().map(row).collect(), total: None };
    if changes.iter().all(|change| !change.is_structural()) {
        grid.columns.remove(1);
        grid.rows.iter_mut().for_each(|row| {
            row.remove(1);
        });
    }
    grid
}

/// `stride [1, 1] -> [2, 2]`, `relu -> gelu`, `takes other values`.
fn what(change: &Change) -> String {
    let argument = |(name, old, new): &(&'static str, String, String)| match *name {
        "layer" => format!("{old} -> {new}"),
        name => format!("{name} {old} -> {new}"),
    };
    let mut parts: Vec<String> = change.arguments.iter().map(argument).collect();
    if parts.is_empty() && change.rewired {
        parts.push("takes other values".to_owned());
    }
    parts.join("; ")
}
