//! `netc weights ls`: the tensors of a checkpoint.

use rayon::prelude::*;
use serde_json::{Map, Value, json};

use super::super::column::width;
use super::super::grid::{Cell, Column, Grid, printable, shortened};
use super::super::{Style, json, left_out, wrapped};
use super::{facts, sizes, tensors};
use crate::weights::{Checkpoint, Statistics, StoredTensor, statistics};

/// The version of the JSON.
pub const SCHEMA: &str = "netc.weights/1";

/// A tensor that is listed.
#[derive(Clone, Debug)]
pub struct Row<'c> {
    name: &'c str,
    tensor: &'c StoredTensor,
    statistics: Option<Statistics>,
}

/// The tensors whose names are kept, in the order of the file, with figures of their numbers where these are asked for.
pub fn rows(checkpoint: &Checkpoint, keep: impl Fn(&str) -> bool, figures: bool) -> Vec<Row<'_>> {
    let kept: Vec<_> = checkpoint.iter().filter(|(name, _)| keep(name)).collect();
    let row = |(name, tensor)| Row { name, tensor, statistics: figures.then(|| statistics(tensor)) };
    kept.into_par_iter().map(row).collect()
}

/// A table that fits, below what the file is and says.
pub fn table(checkpoint: &Checkpoint, rows: &[Row], style: Style) -> String {
    let mut text = wrapped(&title(checkpoint, rows), style, 2);
    for (key, value) in checkpoint.metadata() {
        let line = printable(&format!("  {key}: {value}"));
        text += &match style.width {
            Some(columns) if columns < width(&line) => shortened(&line, columns),
            Some(_) | None => line,
        };
        text += "\n";
    }
    let (table, missing) = grid(rows).table(style);
    text + "\n" + &table + &left_out(&missing, style)
}

/// JSON of [`SCHEMA`].
pub fn json(checkpoint: &Checkpoint, rows: &[Row]) -> String {
    let row = |row: &Row| {
        let mut fields = json::object(json!({ "name": row.name }));
        fields.extend(json::object(facts(row.tensor)));
        fields.extend(json::object(json!({ "elements": row.tensor.len(), "bytes": bytes(row.tensor) })));
        fields.extend(row.statistics.map(figures).unwrap_or_default());
        Value::Object(fields)
    };
    let (elements, bytes) = totals(rows);
    json::text(json::object(json!({
        "schema": SCHEMA,
        "file": checkpoint.path().display().to_string(),
        "format": checkpoint.format().name(),
        "metadata": checkpoint.metadata(),
        "unwrapped": checkpoint.unwrapped(),
        "skipped": checkpoint.skipped(),
        "tensors": rows.iter().map(row).collect::<Vec<_>>(),
        "totals": { "tensors": rows.len(), "elements": elements, "bytes": bytes },
    })))
}

fn figures(of: Statistics) -> Map<String, Value> {
    json::object(json!({
        "min": of.min, "max": of.max, "mean": of.mean, "std": of.std, "nan": of.nan, "inf": of.infinite,
    }))
}

fn title(checkpoint: &Checkpoint, rows: &[Row]) -> String {
    let of = if rows.len() == checkpoint.len() { String::new() } else { format!("{} of ", rows.len()) };
    let mut parts = vec![checkpoint.format().name().to_owned(), of + &tensors(checkpoint.len())];
    if !checkpoint.unwrapped().is_empty() {
        parts.push(format!("inside {}", checkpoint.unwrapped().join(", ")));
    }
    if 0 < checkpoint.skipped() {
        parts.push(format!("entries that are no tensors: {}", checkpoint.skipped()));
    }
    format!("{}: {}", checkpoint.path().display(), parts.join(", "))
}

fn bytes(tensor: &StoredTensor) -> usize {
    tensor.len() * tensor.dtype().size()
}

fn totals(rows: &[Row]) -> (u64, u64) {
    let sum = |of: fn(&StoredTensor) -> usize| rows.iter().map(|row| of(row.tensor) as u64).sum();
    (sum(StoredTensor::len), sum(bytes))
}

fn grid(rows: &[Row]) -> Grid {
    let mut columns = vec![
        Column::words("name", "tensor", 0),
        Column::words("dtype", "dtype", 0),
        Column::words("shape", "shape", 0),
        Column::numbers("elements", "elements", 2),
        Column::numbers("bytes", "bytes", 1),
    ];
    if rows.iter().any(|row| row.statistics.is_some()) {
        let titles = ["min", "max", "mean", "std", "NaN", "inf"];
        columns.extend(titles.map(|title| Column::numbers(title, title, if title == "NaN" { 1 } else { 3 })));
    }
    let (elements, all) = totals(rows);
    let mut total = vec!["total".into(), Cell::Missing, Cell::Missing, elements.into(), Cell::Bytes(all.into())];
    total.resize(columns.len(), Cell::Missing);
    let rows = rows.iter().map(|row| {
        let mut cells = vec![
            row.name.into(),
            row.tensor.dtype().name().into(),
            Cell::Text(sizes(row.tensor)),
            (row.tensor.len() as u64).into(),
            Cell::Bytes((bytes(row.tensor) as u64).into()),
        ];
        if let Some(of) = row.statistics {
            cells.extend([of.min, of.max, of.mean, of.std].map(|value| value.map_or(Cell::Missing, figure)));
            cells.extend([of.nan.into(), of.infinite.into()]);
        }
        cells
    });
    Grid { columns, rows: rows.collect(), total: Some(total) }
}

/// Four digits behind the point, or behind the first.
fn figure(value: f64) -> Cell {
    let plain = value == 0.0 || (0.01..10_000.0).contains(&value.abs());
    Cell::Text(if plain { format!("{value:.4}") } else { format!("{value:.4e}") })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn sample() -> Checkpoint {
        let mut checkpoint = Checkpoint::new();
        let values = vec![0.5, f32::NAN, -2.0e-5, 0.25, f32::INFINITY, 0.0];
        checkpoint.insert("conv.weight", StoredTensor::from_f32(vec![2, 3], values).unwrap());
        checkpoint.insert("steps", StoredTensor::from_f32(vec![], vec![12_345.0]).unwrap());
        checkpoint.insert("none", StoredTensor::from_f32(vec![0], vec![]).unwrap());
        checkpoint.set_metadata("classes", "cat\n\u{1b}[2Jdog");
        checkpoint
    }

    #[test]
    fn a_table_has_every_figure_and_no_control_characters() {
        let checkpoint = sample();
        let text = table(&checkpoint, &rows(&checkpoint, |_| true, true), Style::default());
        insta::assert_snapshot!(text, @r"
        : memory, 3 tensors
          classes: cat\n\u{1b}[2Jdog

        tensor       dtype  shape   elements  bytes         min       max      mean     std  NaN  inf
        ─────────────────────────────────────────────────────────────────────────────────────────────
        conv.weight  F32    2x3            6   24 B  -2.0000e-5    0.5000    0.1875  0.2073    1    1
        steps        F32    scalar         1    4 B    1.2345e4  1.2345e4  1.2345e4  0.0000    0    0
        none         F32    0              0    0 B           -         -         -       -    0    0
        ─────────────────────────────────────────────────────────────────────────────────────────────
        total                              7   28 B
        ");
    }

    #[test]
    fn a_part_says_of_how_much() {
        let checkpoint = sample();
        let text = table(&checkpoint, &rows(&checkpoint, |name| name == "steps", false), Style::default());
        assert!(text.starts_with(": memory, 1 of 3 tensors\n"), "{text}");
        assert!(!text.contains("conv.weight") && text.contains("scalar") && text.contains("4 B"), "{text}");
    }

    #[test]
    fn json_has_exact_counts_and_null_where_there_is_no_figure() {
        let checkpoint = sample();
        let report: Value = serde_json::from_str(&json(&checkpoint, &rows(&checkpoint, |_| true, true))).unwrap();
        assert_eq!((&report["schema"], &report["format"]), (&json!(SCHEMA), &json!("memory")));
        assert_eq!(report["totals"], json!({ "tensors": 3, "elements": 7, "bytes": 28 }));
        let tensors = report["tensors"].as_array().unwrap();
        assert_eq!((&tensors[0]["nan"], &tensors[0]["inf"]), (&json!(1), &json!(1)));
        assert_eq!(tensors[0]["shape"], json!([2, 3]));
        assert_eq!((&tensors[2]["mean"], &tensors[1]["max"]), (&Value::Null, &json!(12_345.0)));
        assert_eq!(report["metadata"]["classes"], "cat\n\u{1b}[2Jdog");
    }
}
