//! `netc cost`: operations, parameters, memory and receptive fields, by layer, block or kind.

mod bottlenecks;
mod page;

use serde_json::{Map, Value, json};

use super::grid::{Cell, Column, Grid};
use super::{Style, json, wrapped};
use crate::cost::number::{bytes, grouped, short, time};
use crate::cost::{By, Convention, Counts, Field, Group, Layer, Report};
use crate::dim::Dim;

/// The version of the JSON.
pub const SCHEMA: &str = "netc.cost/1";

/// A table that fits, with the totals and what bottlenecks save.
pub fn table(report: &Report, groups: &[Group], by: By, style: Style) -> String {
    let (table, left_out) = grid(report, groups, by).table(style);
    let mut text = wrapped(&title(report), style, 2) + &wrapped(&convention(report), style, 2);
    text += &format!("\n{table}{}\n", super::left_out(&left_out, style));
    for (name, value) in summary(report) {
        text += &wrapped(&format!("{name:<NAME_WIDTH$}{value}"), style, NAME_WIDTH);
    }
    if let Some(lines) = bottlenecks::table(report, style) {
        text += &format!("\n{lines}");
    }
    text
}

const NAME_WIDTH: usize = 24;

/// Comma-separated values: one line a row, every count exact.
pub fn csv(report: &Report, groups: &[Group], by: By) -> String {
    every_column(report, groups, by).csv()
}

/// Markdown with a heading, fit for a pull request.
pub fn markdown(report: &Report, groups: &[Group], by: By) -> String {
    let mut text =
        format!("## {}\n\n{}\n\n{}\n", title(report), convention(report), grid(report, groups, by).markdown());
    for (name, value) in summary(report) {
        text += &format!("- {name}: {value}\n");
    }
    if let Some(lines) = bottlenecks::markdown(report) {
        text += &format!("\n{lines}");
    }
    text
}

/// One self-contained page: totals, where the operations go, memory over time, receptive field, a table to sort, and
/// the bottlenecks.
pub fn html(report: &Report, groups: &[Group], by: By) -> String {
    page::page(report, groups, by)
}

/// JSON of [`SCHEMA`]; with another rollup than by layer it has `groups` as well.
pub fn json(report: &Report, groups: &[Group], by: By) -> String {
    let mut fields = json::head(SCHEMA, report);
    fields.insert("convention".to_owned(), json!(report.options.convention.name()));
    if let Some(profile) = &report.options.profile {
        fields.insert("profile".to_owned(), json!(profile));
    }
    fields.insert("layers".to_owned(), report.layers.iter().map(layer_json).collect());
    if by != By::Layer {
        let groups = groups.iter().map(|group| group_json(report, group)).collect();
        fields.insert("groups".to_owned(), groups);
    }
    fields.insert("totals".to_owned(), totals_json(report));
    fields.extend(memory_json(report));
    fields.extend(bottlenecks::json(report));
    json::text(fields)
}

fn layer_json(layer: &Layer) -> Value {
    let mut fields = json::object(json!({ "name": layer.path, "kind": layer.kind }));
    fields.extend(json::outputs(&layer.outputs));
    fields.extend(json::counts(&layer.counts));
    fields.insert("intensity".to_owned(), json!(layer.counts.intensity()));
    fields.extend(json::field(layer.field));
    fields.insert("share".to_owned(), json::ratio(layer.share));
    if let Some(predicted) = layer.predicted {
        fields.insert("predicted_seconds".to_owned(), json!(predicted.seconds));
        fields.insert("bound".to_owned(), json!(predicted.bound.name()));
    }
    Value::Object(fields)
}

fn group_json(report: &Report, group: &Group) -> Value {
    let mut fields = json::object(json!({ "name": group.name, "layers": group.layers.len() }));
    fields.extend(json::outputs(group.outputs(report)));
    fields.extend(json::counts(&group.counts));
    fields.insert("share".to_owned(), json::ratio(group.share));
    if let Some(seconds) = group.predicted {
        fields.insert("predicted_seconds".to_owned(), json!(seconds));
    }
    Value::Object(fields)
}

fn totals_json(report: &Report) -> Value {
    let mut fields: Map<String, Value> = json::counts(&report.totals);
    let peak = report.memory.peak_bytes.as_ref().map(json::count);
    fields.insert("peak_activation_bytes".to_owned(), peak.unwrap_or_else(|| json!(peak_text(report))));
    if let Some(seconds) = report.predicted {
        fields.insert("predicted_seconds".to_owned(), json!(seconds));
    }
    Value::Object(fields)
}

/// The order of execution with what is alive at each step.
fn memory_json(report: &Report) -> Map<String, Value> {
    let schedule = &report.memory.schedule;
    let paths = paths(report);
    let steps = schedule.order.iter().zip(&schedule.alive).filter_map(|(id, alive)| {
        let path = paths.get(id)?;
        Some(json!({ "layer": path, "alive_bytes": alive }))
    });
    let sample: Map<String, Value> =
        report.memory.sample.iter().map(|(symbol, size)| (symbol.clone(), json!(size))).collect();
    json::object(json!({
        "memory": { "optimal": schedule.optimal, "sample": sample },
        "schedule": steps.collect::<Vec<Value>>(),
    }))
}

/// The path of each layer by its node.
fn paths(report: &Report) -> std::collections::HashMap<crate::ir::NodeId, &str> {
    report.layers.iter().map(|layer| (layer.id, layer.path.as_str())).collect()
}

fn title(report: &Report) -> String {
    let inputs: Vec<String> = report.inputs.iter().map(|input| format!("{} {}", input.name, input.shape)).collect();
    let train = if report.options.train { ", with what only training needs" } else { "" };
    format!("{}: {}, batch {}{train}", report.net, inputs.join(", "), report.options.batch)
}

fn convention(report: &Report) -> String {
    let convention = report.options.convention;
    format!("{}: {} (convention {})", convention.heading(), convention.words(), convention.name())
}

/// The peak, or on what it depends.
fn peak_text(report: &Report) -> String {
    match &report.memory.peak_bytes {
        Some(peak) => match peak.as_u64() {
            Some(known) => format!("{} bytes, {}", grouped(peak), bytes(known as f64)),
            None => format!("{peak} bytes"),
        },
        None => format!("depends on {}", report.symbols.join(", ")),
    }
}

/// The totals as names and values.
fn summary(report: &Report) -> Vec<(&'static str, String)> {
    let totals = &report.totals;
    let rounded = |count: &Dim, text: fn(f64) -> String| match count.as_u64() {
        Some(known) if 1000 <= known => format!("{}, {}", grouped(count), text(known as f64)),
        _ => grouped(count),
    };
    let plain = |count: u64| grouped(&count.into());
    let mut lines = vec![
        ("parameters", format!("{} (all trainable)", plain(totals.params))),
        ("buffers", plain(totals.buffers)),
        ("weights", format!("{} bytes, {}", plain(totals.weight_bytes), bytes(totals.weight_bytes as f64))),
        ("MACs", rounded(&totals.macs, short)),
        ("FLOPs", rounded(&totals.flops, short)),
    ];
    if report.options.convention == Convention::Fvcore {
        lines.push(("fvcore flops", rounded(&totals.fvcore, short)));
    }
    lines.push(("activations", format!("{} written by conv and linear layers", rounded(&totals.activations, short))));
    lines.push(("peak activation memory", format!("{}{}", peak_text(report), peak_place(report))));
    if let Some(seconds) = report.predicted {
        lines.push(("predicted time", predicted_text(report, seconds)));
    }
    lines
}

/// Where the peak is, and how sure it is that no order has a smaller one.
fn peak_place(report: &Report) -> String {
    let schedule = &report.memory.schedule;
    let place = schedule.peak_step().and_then(|step| schedule.order.get(step));
    let at = place.and_then(|id| report.layers.iter().find(|layer| layer.id == *id));
    let at = at.map_or(String::new(), |layer| format!(", at {}", layer.path));
    let sure = match (schedule.optimal, report.memory.sample.is_empty()) {
        (true, true) => "; no order needs less",
        (false, true) => "; the best order found",
        (_, false) => "; in the order that is best at the sizes below",
    };
    let sizes: Vec<String> = report.memory.sample.iter().map(|(name, size)| format!("{name} = {size}")).collect();
    let sure = sure.replace("the sizes below", &sizes.join(", "));
    format!("{at}{sure}")
}

fn predicted_text(report: &Report, seconds: f64) -> String {
    let Some(profile) = &report.options.profile else { return time(seconds) };
    format!(
        "{} on {} ({} GFLOP/s, {} GB/s, {} cores)",
        time(seconds),
        profile.name,
        profile.peak_gflops,
        profile.bandwidth_gbs,
        profile.cores
    )
}

/// A column with what it says of a row and of the whole.
struct Source<'a> {
    column: Column,
    cell: Box<dyn Fn(&Group) -> Cell + 'a>,
    total: Cell,
}

/// The columns of a table: those that say something.
fn grid(report: &Report, groups: &[Group], by: By) -> Grid {
    let ops = ["macs", "fvcore", "flops"][report.options.convention as usize];
    let wanted = |key: &str| match key {
        "macs" | "flops" => key != ops,
        "fvcore" | "moved_bytes" => false,
        "buffers" => report.totals.buffers != 0,
        _ => true,
    };
    build(sources(report, by).into_iter().filter(|source| wanted(source.column.key)).collect(), groups)
}

fn every_column(report: &Report, groups: &[Group], by: By) -> Grid {
    build(sources(report, by), groups)
}

fn build(sources: Vec<Source>, groups: &[Group]) -> Grid {
    Grid {
        rows: groups.iter().map(|group| sources.iter().map(|source| (source.cell)(group)).collect()).collect(),
        total: Some(sources.iter().map(|source| source.total.clone()).collect()),
        columns: sources.into_iter().map(|source| source.column).collect(),
    }
}

fn sources<'a>(report: &'a Report, by: By) -> Vec<Source<'a>> {
    let mut sources = who(report, by);
    sources.extend(counted(report));
    if by != By::Kind {
        sources.extend(fields(report));
    }
    if report.options.profile.is_some() {
        sources.extend(times(report, by));
    }
    sources
}

/// What a row is.
fn who<'a>(report: &'a Report, by: By) -> Vec<Source<'a>> {
    let name = match by {
        By::Layer => Column::words("name", "layer", 0),
        By::Block { .. } => Column::words("name", "block", 0),
        By::Kind => Column::words("name", "kind", 0),
    };
    let mut sources =
        vec![Source { column: name, cell: Box::new(|group| group.name.as_str().into()), total: "total".into() }];
    if by == By::Layer {
        sources.push(Source {
            column: Column::words("kind", "kind", 6),
            cell: Box::new(|group| group.layer(report).map_or(Cell::Missing, |layer| layer.kind.into())),
            total: Cell::Missing,
        });
    } else {
        sources.push(Source {
            column: Column::numbers("layers", "layers", 6),
            cell: Box::new(|group| (group.layers.len() as u64).into()),
            total: (report.layers.len() as u64).into(),
        });
    }
    if by != By::Kind {
        sources.push(Source {
            column: Column::words("output", "output", 3),
            cell: Box::new(|group| {
                let shapes: Vec<String> = group.outputs(report).iter().map(ToString::to_string).collect();
                Cell::Text(shapes.join(", "))
            }),
            total: Cell::Missing,
        });
    }
    sources
}

/// What a row counts.
fn counted<'a>(report: &'a Report) -> Vec<Source<'a>> {
    fn of<'a>(report: &Report, column: Column, cell: impl Fn(&Counts) -> Cell + 'a) -> Source<'a> {
        let total = cell(&report.totals);
        Source { column, cell: Box::new(move |group| cell(&group.counts)), total }
    }
    let convention = report.options.convention;
    let share = Source {
        column: Column::numbers("share", "share", 2),
        cell: Box::new(|group| group.share.into()),
        total: Cell::Missing,
    };
    let count = |of: fn(&Counts) -> &Dim| move |counts: &Counts| Cell::Count(of(counts).clone());
    let size = |of: fn(&Counts) -> &Dim| move |counts: &Counts| Cell::Bytes(of(counts).clone());
    vec![
        of(report, Column::numbers("params", "params", 2), |counts| counts.params.into()),
        of(report, Column::numbers("buffers", "buffers", 13), |counts| counts.buffers.into()),
        of(report, Column::numbers("ops", convention.heading(), 1), move |counts| {
            Cell::Count(counts.ops(convention).clone())
        }),
        share,
        of(report, Column::numbers("macs", "MACs", 7), count(|counts| &counts.macs)),
        of(report, Column::numbers("flops", "FLOPs", 9), count(|counts| &counts.flops)),
        of(report, Column::numbers("fvcore", "fvcore flops", 14), count(|counts| &counts.fvcore)),
        of(report, Column::numbers("activations", "activations", 7), count(|counts| &counts.activations)),
        of(report, Column::numbers("activation_bytes", "written", 11), size(|counts| &counts.activation_bytes)),
        of(report, Column::numbers("weight_bytes", "weights", 12), |counts| Cell::Bytes(counts.weight_bytes.into())),
        of(report, Column::numbers("moved_bytes", "moved", 14), size(|counts| &counts.moved_bytes)),
        of(report, Column::numbers("intensity", "FLOP/byte", 10), |counts| {
            counts.intensity().map_or(Cell::Missing, |intensity| Cell::Real(intensity, 2))
        }),
    ]
}

/// What the last layer of a row sees of the input.
fn fields<'a>(report: &'a Report) -> Vec<Source<'a>> {
    let last = |group: &Group| group.layers.last().and_then(|&layer| report.layers.get(layer));
    let source = |column: Column, text: fn([Field; 2]) -> Option<String>| Source {
        column,
        cell: Box::new(move |group| last(group).and_then(|layer| text(layer.field)).map_or(Cell::Missing, Cell::Text)),
        total: Cell::Missing,
    };
    vec![
        source(Column::numbers("receptive_field", "field", 8), field_text),
        source(Column::numbers("receptive_stride", "step", 8), step_text),
    ]
}

/// `427`, `35x21`, `all`.
fn field_text(field: [Field; 2]) -> Option<String> {
    both(field.map(|field| match field {
        Field::Whole => Some("all".to_owned()),
        Field::Mixed => None,
        Field::Window { extent, .. } => Some(extent.to_string()),
    }))
}

/// `32`, `1/2`, `4x2`.
fn step_text(field: [Field; 2]) -> Option<String> {
    both(field.map(|field| match field {
        Field::Whole | Field::Mixed => None,
        Field::Window { stride: (step, 1), .. } => Some(step.to_string()),
        Field::Window { stride: (step, by), .. } => Some(format!("{step}/{by}")),
    }))
}

fn both(texts: [Option<String>; 2]) -> Option<String> {
    match texts {
        [None, None] => None,
        [height, width] if height == width => height,
        texts => {
            let [height, width] = texts.map(|text| text.unwrap_or_else(|| "-".to_owned()));
            Some(format!("{height}x{width}"))
        }
    }
}

/// How long a row should take, and why.
fn times<'a>(report: &'a Report, by: By) -> Vec<Source<'a>> {
    let mut sources = vec![Source {
        column: Column::numbers("predicted_seconds", "time", 4),
        cell: Box::new(|group| group.predicted.map_or(Cell::Missing, Cell::Seconds)),
        total: report.predicted.map_or(Cell::Missing, Cell::Seconds),
    }];
    if by == By::Layer {
        sources.push(Source {
            column: Column::words("bound", "bound", 5),
            cell: Box::new(|group| {
                let predicted = group.layer(report).and_then(|layer| layer.predicted);
                predicted.map_or(Cell::Missing, |predicted| predicted.bound.name().into())
            }),
            total: Cell::Missing,
        });
    }
    sources
}
