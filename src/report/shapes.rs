//! `netc shapes`: every layer with the shape it makes and the tensors it owns.

use serde_json::{Map, Value, json};

use super::grid::{Cell, Column, Grid};
use super::{Style, html, json};
use crate::cost::Report;
use crate::cost::number::grouped;
use crate::op::ParamSpec;
use crate::tensor::Shape;

/// The version of the JSON.
pub const SCHEMA: &str = "netc.shapes/1";

/// A table that fits.
pub fn table(report: &Report, style: Style) -> String {
    let (table, left_out) = grid(report).table(style);
    format!("{}\n\n{table}\n{}{}", title(report), summary(report), super::left_out(&left_out, style))
}

/// Comma-separated values; shapes are those of one sample.
pub fn csv(report: &Report) -> String {
    let mut grid = grid(report);
    grid.rows.iter_mut().zip(rows(report)).for_each(|(cells, row)| cells[2] = Cell::Text(texts(row.outputs, 1)));
    grid.csv()
}

/// Markdown with a heading.
pub fn markdown(report: &Report) -> String {
    format!("## {}\n\n{}\n{}", title(report), grid(report).markdown(), summary(report))
}

/// One self-contained page.
pub fn html(report: &Report) -> String {
    let body = format!("<p>{}</p>\n{}", html::escaped(&summary(report)), html::table(&grid(report), "layers"));
    html::page(&report.net, &title(report), &body)
}

/// JSON of [`SCHEMA`]. Shapes are those of one sample, whatever the batch.
pub fn json(report: &Report) -> String {
    let mut fields = json::head(SCHEMA, report);
    let layers = report.layers.iter().map(|layer| {
        let mut fields = json::object(json!({ "name": layer.path, "kind": layer.kind }));
        fields.extend(json::outputs(&layer.outputs));
        let weights = layer.weights.iter().map(|spec| (spec.leaf.to_owned(), json!(spec.shape)));
        fields.insert("params".to_owned(), json!(layer.counts.params));
        fields.insert("buffers".to_owned(), json!(layer.counts.buffers));
        fields.insert("weights".to_owned(), Value::Object(weights.collect::<Map<String, Value>>()));
        Value::Object(fields)
    });
    fields.insert("layers".to_owned(), layers.collect());
    let totals = json!({
        "params": report.totals.params,
        "trainable": report.totals.params,
        "buffers": report.totals.buffers,
    });
    fields.insert("totals".to_owned(), totals);
    json::text(fields)
}

fn title(report: &Report) -> String {
    let inputs: Vec<String> = report.inputs.iter().map(|input| format!("{} {}", input.name, input.shape)).collect();
    let batch = report.options.batch;
    let batch = if batch == 1 { String::new() } else { format!(", batch {batch}") };
    format!("{}: {}{batch}", report.net, inputs.join(", "))
}

fn summary(report: &Report) -> String {
    let outputs: Vec<String> =
        report.outputs.iter().map(|output| format!("{} {}", output.name, output.shape)).collect();
    let (params, buffers) = (report.totals.params, report.totals.buffers);
    format!(
        "outputs: {}\nparameters: {}, buffers: {}\n",
        outputs.join(", "),
        grouped(&params.into()),
        grouped(&buffers.into())
    )
}

/// An input or a layer.
struct Row<'a> {
    path: &'a str,
    kind: &'static str,
    outputs: &'a [Shape],
    weights: &'a [ParamSpec],
    params: u64,
}

fn rows(report: &Report) -> Vec<Row<'_>> {
    let inputs = report.inputs.iter().map(|input| Row {
        path: &input.name,
        kind: "input",
        outputs: std::slice::from_ref(&input.shape),
        weights: &[],
        params: 0,
    });
    let layers = report.layers.iter().map(|layer| Row {
        path: &layer.path,
        kind: layer.kind,
        outputs: &layer.outputs,
        weights: &layer.weights,
        params: layer.counts.params,
    });
    inputs.chain(layers).collect()
}

fn grid(report: &Report) -> Grid {
    let columns = vec![
        Column::words("name", "layer", 0),
        Column::words("kind", "kind", 3),
        Column::words("output", "output", 1),
        Column::numbers("params", "params", 2),
        Column::words("weights", "weights", 4),
    ];
    let cells = |row: Row| {
        let trained = row.weights.iter().filter(|spec| spec.role.trainable());
        let weights: Vec<String> = trained.map(|spec| format!("{} {}", spec.leaf, sizes(spec))).collect();
        vec![
            row.path.into(),
            row.kind.into(),
            Cell::Text(texts(row.outputs, report.options.batch)),
            if row.params == 0 { Cell::Missing } else { row.params.into() },
            Cell::Text(weights.join(", ")),
        ]
    };
    let mut total = vec![Cell::Missing; columns.len()];
    (total[0], total[3]) = ("total".into(), report.totals.params.into());
    Grid { columns, rows: rows(report).into_iter().map(cells).collect(), total: Some(total) }
}

/// `64x3x7x7`.
fn sizes(spec: &ParamSpec) -> String {
    Shape::known(&spec.shape).to_string()
}

/// The shapes of results, with the batch in front where it is not 1.
fn texts(shapes: &[Shape], batch: u64) -> String {
    let lead = if batch == 1 { String::new() } else { format!("{batch}x") };
    let texts: Vec<String> = shapes.iter().map(|shape| format!("{lead}{shape}")).collect();
    texts.join(", ")
}
