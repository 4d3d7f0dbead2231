//! The section on 1x1 convolutions.

use serde_json::{Map, Value, json};

use crate::cost::bottleneck::{Bottleneck, Direct, Pointwise};
use crate::cost::number::{grouped, short};
use crate::cost::{Ratio, Report};
use crate::dim::Dim;
use crate::report::Style;
use crate::report::grid::{Cell, Column, Grid};
use crate::report::{json, wrapped};

/// The section for a terminal; `None` when there is nothing to say.
pub(super) fn table(report: &Report, style: Style) -> Option<String> {
    let parts = parts(report);
    let texts = parts.into_iter().map(|part| {
        let (table, left_out) = part.grid.table(style);
        format!("{}{table}{}", wrapped(&part.words, style, 0), crate::report::left_out(&left_out, style))
    });
    Some(texts.collect::<Vec<String>>().join("\n")).filter(|text| !text.is_empty())
}

/// The section in markdown.
pub(super) fn markdown(report: &Report) -> Option<String> {
    let parts = parts(report);
    let texts =
        parts.into_iter().map(|part| format!("### {}\n\n{}\n\n{}", part.title, part.words, part.grid.markdown()));
    Some(texts.collect::<Vec<String>>().join("\n")).filter(|text| !text.is_empty())
}

/// One of the three kinds that are told apart.
pub(super) struct Part {
    pub title: &'static str,
    pub words: String,
    pub grid: Grid,
}

/// The kinds that the net has.
pub(super) fn parts(report: &Report) -> Vec<Part> {
    let found = &report.bottlenecks;
    let mut parts = Vec::new();
    if !found.reduce.is_empty() {
        let mut grid = grid(&found.reduce);
        grid.total = Some(total(&grid, report));
        parts.push(Part { title: "Bottlenecks", words: saving_words(report), grid });
    }
    if !found.inverted.is_empty() {
        let words = "inverted bottlenecks: a 1x1 convolution raises the channels in front of a larger one. They are \
                     compared with one convolution between their narrow ends, and are in no total.";
        parts.push(Part { title: "Inverted bottlenecks", words: words.to_owned(), grid: grid(&found.inverted) });
    }
    if !found.pointwise.is_empty() {
        let words = "1x1 convolutions of equal width: they save nothing and add non-linearity.";
        let grid = pointwise_grid(&found.pointwise);
        parts.push(Part { title: "Added non-linearity", words: words.to_owned(), grid });
    }
    parts
}

fn saving_words(report: &Report) -> String {
    let found = &report.bottlenecks;
    let amount = |count: &Dim| count.as_known().map_or_else(|| grouped(count), |known| short(known as f64));
    let times = match found.factor {
        Some(Ratio(factor)) => format!(", {factor:.2} times fewer"),
        None => String::new(),
    };
    format!(
        "bottlenecks: 1x1 convolutions in front of larger ones take {} MACs, where one convolution of the same kernel, \
         stride and groups in the place of each would take {}: {} saved{times}.",
        amount(&found.macs),
        amount(&found.without_macs),
        amount(&found.saved_macs),
    )
}

fn grid(found: &[Bottleneck]) -> Grid {
    let columns = vec![
        Column::words("layer", "layer", 0),
        Column::words("channels", "channels", 3),
        Column::words("direct", "direct", 4),
        Column::numbers("macs", "MACs", 1),
        Column::numbers("without_macs", "MACs direct", 1),
        Column::numbers("saved_macs", "saved", 2),
        Column::numbers("factor", "factor", 1),
        Column::numbers("params", "params", 5),
        Column::numbers("without_params", "params direct", 6),
    ];
    let row = |found: &Bottleneck| {
        vec![
            found.layer.as_str().into(),
            Cell::Text(channels(found)),
            Cell::Text(found.direct.iter().map(direct_text).collect::<Vec<String>>().join(", ")),
            Cell::Count(found.macs.clone()),
            Cell::Count(found.without_macs.clone()),
            Cell::Count(found.saved_macs.clone()),
            factor(found.factor),
            found.params.into(),
            found.without_params.into(),
        ]
    };
    Grid { columns, rows: found.iter().map(row).collect(), total: None }
}

fn total(grid: &Grid, report: &Report) -> Vec<Cell> {
    let found = &report.bottlenecks;
    let cells = grid.columns.iter().map(|column| match column.key {
        "layer" => "total".into(),
        "macs" => Cell::Count(found.macs.clone()),
        "without_macs" => Cell::Count(found.without_macs.clone()),
        "saved_macs" => Cell::Count(found.saved_macs.clone()),
        "factor" => factor(found.factor),
        _ => Cell::Missing,
    });
    cells.collect()
}

fn factor(factor: Option<Ratio>) -> Cell {
    factor.map_or(Cell::Missing, |Ratio(factor)| Cell::Text(format!("{factor:.2}x")))
}

/// `256 -> 64 -> 256`, with a sum for several consumers: `96 -> 16 -> 64 + 64`.
fn channels(found: &Bottleneck) -> String {
    let ends: Vec<String> =
        found.direct.iter().map(|direct| direct.output.0.first().map_or(String::new(), Dim::to_string)).collect();
    let in_c = found.direct.first().map_or(0, |direct| direct.in_c);
    format!("{in_c} -> {} -> {}", found.width, ends.join(" + "))
}

/// `3x3`, `3x3 /2`, `5x5 in 32 groups`.
fn direct_text(direct: &Direct) -> String {
    let [k_h, k_w] = direct.kernel;
    let stride = match direct.stride {
        [1, 1] => String::new(),
        [h, w] if h == w => format!(" /{h}"),
        [h, w] => format!(" /{h}x{w}"),
    };
    let groups = if direct.groups == 1 { String::new() } else { format!(" in {} groups", direct.groups) };
    format!("{k_h}x{k_w}{stride}{groups}")
}

fn pointwise_grid(found: &[Pointwise]) -> Grid {
    let columns = vec![
        Column::words("layer", "layer", 0),
        Column::numbers("channels", "channels", 1),
        Column::numbers("macs", "MACs", 1),
        Column::numbers("params", "params", 2),
    ];
    let row = |found: &Pointwise| {
        vec![found.layer.as_str().into(), found.channels.into(), Cell::Count(found.macs.clone()), found.params.into()]
    };
    Grid { columns, rows: found.iter().map(row).collect(), total: None }
}

/// The fields of the JSON.
pub(super) fn json(report: &Report) -> Map<String, Value> {
    let found = &report.bottlenecks;
    let all = found.reduce.iter().chain(&found.inverted).map(one_json);
    let pointwise = found.pointwise.iter().map(|found| {
        json!({
            "layer": found.layer,
            "channels": found.channels,
            "macs": json::count(&found.macs),
            "params": found.params,
        })
    });
    json::object(json!({
        "bottlenecks": all.collect::<Vec<Value>>(),
        "bottleneck_totals": {
            "macs": json::count(&found.macs),
            "without_macs": json::count(&found.without_macs),
            "saving": json::count(&found.saved_macs),
            "saved_macs": json::count(&found.saved_macs),
            "factor": json::ratio(found.factor),
        },
        "added_nonlinearity": pointwise.collect::<Vec<Value>>(),
    }))
}

fn one_json(found: &Bottleneck) -> Value {
    let direct = found.direct.iter().map(|direct| {
        json!({
            "in_channels": direct.in_c,
            "output": json::shape(&direct.output),
            "kernel": direct.kernel,
            "stride": direct.stride,
            "groups": direct.groups,
        })
    });
    json!({
        "layer": found.layer,
        "form": found.form.name(),
        "layers": found.layers,
        "width": found.width,
        "direct": direct.collect::<Vec<Value>>(),
        "macs": json::count(&found.macs),
        "params": found.params,
        "without_macs": json::count(&found.without_macs),
        "without_params": found.without_params,
        "saving": json::count(&found.saved_macs),
        "saved_macs": json::count(&found.saved_macs),
        "factor": json::ratio(found.factor),
    })
}
