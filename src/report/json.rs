//! Pieces that the JSON reports share.

use std::io::Write;

use serde::Serialize;
use serde_json::ser::Formatter;
use serde_json::{Map, Value, json};

use crate::cost::{Counts, Field, Ratio, Report, Terminal};
use crate::dim::Dim;
use crate::tensor::Shape;

/// An exact count: an integer, or a formula as a string.
pub(super) fn count(size: &Dim) -> Value {
    let known = size.as_known();
    match (size.as_u64(), known.and_then(|known| i64::try_from(known).ok())) {
        (Some(count), _) => json!(count),
        (None, Some(count)) => json!(count),
        (None, None) => json!(size.to_string()),
    }
}

/// The sizes of one sample.
pub(super) fn shape(shape: &Shape) -> Value {
    shape.0.iter().map(count).collect()
}

/// Names with shapes.
pub(super) fn terminals(terminals: &[Terminal]) -> Value {
    let entries = terminals.iter().map(|terminal| (terminal.name.clone(), shape(&terminal.shape)));
    Value::Object(entries.collect::<Map<String, Value>>())
}

/// A part of a whole, or null.
pub(super) fn ratio(ratio: Option<Ratio>) -> Value {
    ratio.map_or(Value::Null, |Ratio(value)| json!(value))
}

/// What a report of this schema starts with.
pub(super) fn head(schema: &str, report: &Report) -> Map<String, Value> {
    object(json!({
        "schema": schema,
        "net": report.net,
        "input": terminals(&report.inputs),
        "output": terminals(&report.outputs),
        "batch": report.options.batch,
        "train": report.options.train,
    }))
}

/// The results of a layer: the first, and all of them where there are several.
pub(super) fn outputs(shapes: &[Shape]) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("output".to_owned(), shapes.first().map_or(Value::Null, shape));
    if 1 < shapes.len() {
        fields.insert("outputs".to_owned(), shapes.iter().map(shape).collect());
    }
    fields
}

/// All counts.
pub(super) fn counts(counts: &Counts) -> Map<String, Value> {
    object(json!({
        "params": counts.params,
        "trainable": counts.params,
        "buffers": counts.buffers,
        "macs": count(&counts.macs),
        "flops": count(&counts.flops),
        "fvcore": count(&counts.fvcore),
        "activations": count(&counts.activations),
        "activation_bytes": count(&counts.activation_bytes),
        "weight_bytes": counts.weight_bytes,
        "moved_bytes": count(&counts.moved_bytes),
    }))
}

/// A receptive field: `[height, width]` of a number, `"all"`, or null where no one field describes it.
pub(super) fn field(field: [Field; 2]) -> Map<String, Value> {
    let extent = |field: Field| match field {
        Field::Whole => json!("all"),
        Field::Mixed => Value::Null,
        Field::Window { extent, .. } => json!(extent),
    };
    let stride = |field: Field| match field {
        Field::Whole | Field::Mixed => Value::Null,
        Field::Window { stride: (step, 1), .. } => json!(step),
        Field::Window { stride: (step, by), .. } => json!(format!("{step}/{by}")),
    };
    object(json!({ "receptive_field": field.map(extent), "receptive_stride": field.map(stride) }))
}

/// The fields of a value made as an object.
pub(super) fn object(value: Value) -> Map<String, Value> {
    if let Value::Object(fields) = value { fields } else { Map::new() }
}

/// As text: a line for each field, and for each object in a list.
pub(super) fn text(fields: Map<String, Value>) -> String {
    let mut lines = Vec::with_capacity(fields.len());
    for (name, value) in &fields {
        let name = line(&Value::String(name.clone()));
        match value {
            Value::Array(items) if items.iter().any(Value::is_object) => {
                let items: Vec<String> = items.iter().map(|item| format!("    {}", line(item))).collect();
                lines.push(format!("  {name}: [\n{}\n  ]", items.join(",\n")));
            }
            Value::Array(_) | Value::Object(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                lines.push(format!("  {name}: {}", line(value)))
            }
        }
    }
    format!("{{\n{}\n}}\n", lines.join(",\n"))
}

/// A value on one line, with blanks behind commas and colons.
fn line(value: &Value) -> String {
    let mut text = Vec::new();
    let mut writer = serde_json::Serializer::with_formatter(&mut text, OneLine);
    // Writing to memory does not fail, and what is written is UTF-8.
    let _ = value.serialize(&mut writer);
    String::from_utf8(text).unwrap_or_default()
}

struct OneLine;

impl Formatter for OneLine {
    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}
