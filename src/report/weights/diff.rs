//! `netc weights diff`: how two checkpoints differ.

use serde_json::{Value, json};

use super::super::grid::{Cell, Column, Grid};
use super::super::{Style, json, left_out, wrapped};
use super::{facts, sizes, tensors};
use crate::weights::{Comparison, Pair, StoredTensor};

/// The version of the JSON.
pub const SCHEMA: &str = "netc.weights_diff/1";

/// Tables that fit. `names` are those of the two checkpoints.
pub fn table(comparison: &Comparison, names: [&str; 2], style: Style) -> String {
    let [before, after] = names;
    let mut text = wrapped(&format!("{before} -> {after}: {}", verdict(comparison)), style, 2);
    for (title, grid) in sections(comparison) {
        let (table, missing) = grid.table(style);
        text += &format!("\n{}{table}{}", wrapped(&title, style, 0), left_out(&missing, style));
    }
    text
}

/// JSON of [`SCHEMA`]. An error that cannot be measured is null.
pub fn json(comparison: &Comparison, names: [&str; 2]) -> String {
    let only = |entries: &[(&str, &StoredTensor)]| {
        let entry = |(name, tensor): &(&str, &StoredTensor)| {
            let mut fields = json::object(json!({ "name": name }));
            fields.extend(json::object(facts(tensor)));
            Value::Object(fields)
        };
        entries.iter().map(entry).collect::<Vec<_>>()
    };
    let pair = |pair: &Pair| {
        json!({
            "name": pair.name,
            "same": pair.is_same(comparison.tolerance),
            "error": pair.error,
            "before": facts(pair.before),
            "after": facts(pair.after),
        })
    };
    json::text(json::object(json!({
        "schema": SCHEMA,
        "equal": comparison.is_same(),
        "tolerance": comparison.tolerance,
        "before": names[0],
        "after": names[1],
        "removed": only(&comparison.removed),
        "added": only(&comparison.added),
        "common": comparison.common.iter().map(pair).collect::<Vec<_>>(),
    })))
}

fn verdict(comparison: &Comparison) -> String {
    let within = match comparison.tolerance {
        0.0 => String::new(),
        tolerance => format!(" within {tolerance:e}"),
    };
    let common = &comparison.common;
    if comparison.is_same() {
        return format!("the same {}{within}", tensors(common.len()));
    }
    let differ = common.iter().filter(|pair| !pair.is_same(comparison.tolerance)).count();
    format!("{differ} of the {} in both differ{within}", tensors(common.len()))
}

fn sections(comparison: &Comparison) -> Vec<(String, Grid)> {
    let of_other_form = |pair: &&Pair| pair.error.is_none() || pair.before.dtype() != pair.after.dtype();
    let (recast, rest): (Vec<&Pair>, Vec<&Pair>) = comparison.common.iter().partition(of_other_form);
    let other: Vec<&Pair> = rest.into_iter().filter(|pair| pair.error != Some(0.0)).collect();
    let mut sections = Vec::new();
    for (title, entries) in [("Removed", &comparison.removed), ("Added", &comparison.added)] {
        if !entries.is_empty() {
            sections.push((format!("{title}: {}", tensors(entries.len())), only_grid(entries)));
        }
    }
    if !recast.is_empty() {
        sections.push((format!("Other types or shapes: {}", tensors(recast.len())), recast_grid(&recast)));
    }
    if !other.is_empty() {
        let title = format!("Other numbers, by max |before - after| / max |after|: {}", tensors(other.len()));
        sections.push((title, numbers_grid(&other)));
    }
    sections
}

fn only_grid(entries: &[(&str, &StoredTensor)]) -> Grid {
    let columns = vec![
        Column::words("name", "tensor", 0),
        Column::words("dtype", "dtype", 0),
        Column::words("shape", "shape", 0),
    ];
    let row = |(name, tensor): &(&str, &StoredTensor)| {
        vec![(*name).into(), tensor.dtype().name().into(), Cell::Text(sizes(tensor))]
    };
    Grid { columns, rows: entries.iter().map(row).collect(), total: None }
}

fn recast_grid(pairs: &[&Pair]) -> Grid {
    let columns = vec![
        Column::words("name", "tensor", 0),
        Column::words("before", "before", 0),
        Column::words("after", "after", 0),
        Column::numbers("error", "error", 1),
    ];
    let side = |tensor: &StoredTensor| Cell::Text(format!("{} {}", tensor.dtype(), sizes(tensor)));
    let row = |pair: &&Pair| vec![pair.name.into(), side(pair.before), side(pair.after), error(pair)];
    Grid { columns, rows: pairs.iter().map(row).collect(), total: None }
}

fn numbers_grid(pairs: &[&Pair]) -> Grid {
    let columns = vec![
        Column::words("name", "tensor", 0),
        Column::words("dtype", "dtype", 1),
        Column::words("shape", "shape", 1),
        Column::numbers("error", "error", 0),
    ];
    let row = |pair: &&Pair| {
        vec![pair.name.into(), pair.after.dtype().name().into(), Cell::Text(sizes(pair.after)), error(pair)]
    };
    Grid { columns, rows: pairs.iter().map(row).collect(), total: None }
}

fn error(pair: &Pair) -> Cell {
    match pair.error {
        None => Cell::Missing,
        Some(0.0) => "0".into(),
        Some(error) => Cell::Text(format!("{error:.2e}")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::weights::{Checkpoint, compare};

    fn checkpoint(entries: &[(&str, &[u64], f32)]) -> Checkpoint {
        let mut checkpoint = Checkpoint::new();
        for (name, shape, value) in entries {
            let values = vec![*value; shape.iter().product::<u64>() as usize];
            checkpoint.insert(*name, StoredTensor::from_f32(shape.to_vec(), values).unwrap());
        }
        checkpoint
    }

    #[test]
    fn each_kind_of_difference_has_its_table() {
        let a = checkpoint(&[("old", &[2], 1.0), ("same", &[2], 1.0), ("fc.weight", &[2, 3], 1.0), ("w", &[4], 1.0)]);
        let b = checkpoint(&[("same", &[2], 1.0), ("fc.weight", &[5, 3], 1.0), ("w", &[4], 1.25), ("new", &[], 1.0)]);
        insta::assert_snapshot!(table(&compare(&a, &b, 0.0), ["a", "b"], Style::default()), @r"
        a -> b: 2 of the 3 tensors in both differ

        Removed: 1 tensor
        tensor  dtype  shape
        ────────────────────
        old     F32    2

        Added: 1 tensor
        tensor  dtype  shape
        ─────────────────────
        new     F32    scalar

        Other types or shapes: 1 tensor
        tensor     before   after    error
        ──────────────────────────────────
        fc.weight  F32 2x3  F32 5x3      -

        Other numbers, by max |before - after| / max |after|: 1 tensor
        tensor  dtype  shape    error
        ─────────────────────────────
        w       F32    4      2.00e-1
        ");
        let report: Value = serde_json::from_str(&json(&compare(&a, &b, 0.0), ["a", "b"])).unwrap();
        assert_eq!((&report["schema"], &report["equal"]), (&json!(SCHEMA), &json!(false)));
        assert_eq!(report["removed"], json!([{ "name": "old", "dtype": "F32", "shape": [2] }]));
        let errors: Vec<&Value> = report["common"].as_array().unwrap().iter().map(|pair| &pair["error"]).collect();
        assert_eq!(errors, [&json!(0.0), &Value::Null, &json!(0.2)]);
    }

    #[test]
    fn what_is_the_same_is_one_line() {
        let a = checkpoint(&[("w", &[4], 1.0)]);
        let b = checkpoint(&[("w", &[4], 1.001)]);
        assert_eq!(table(&compare(&a, &a, 0.0), ["a", "b"], Style::default()), "a -> b: the same 1 tensor\n");
        let text = table(&compare(&a, &b, 1e-2), ["a", "b"], Style::default());
        assert!(text.starts_with("a -> b: the same 1 tensor within 1e-2\n") && text.contains("9.99e-4"), "{text}");
    }
}
