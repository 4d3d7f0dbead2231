//! The cost report as a page.

use super::{bottlenecks, convention, grid, paths, peak_text, predicted_text, title};
use crate::cost::number::{bytes, grouped, short};
use crate::cost::{By, Field, Group, Ratio, Report, rollup};
use crate::dim::Dim;
use crate::report::chart::{Chart, Unit};
use crate::report::grid::Grid;
use crate::report::html::{self, escaped};

/// Rows that a page shows; of more, the heaviest.
const MOST_ROWS: usize = 5000;
/// Blocks that the bars show; the lightest of more are one bar.
const MOST_BARS: usize = 32;

/// The page.
pub(super) fn page(report: &Report, groups: &[Group], by: By) -> String {
    let mut body = format!("<p>{}</p>\n{}", escaped(&convention(report)), cards(report));
    body += &bars(report);
    body += &memory(report);
    body += &receptive_field(report);
    body += &bottleneck_section(report);
    body += &rows(report, groups, by);
    html::page(&report.net, &title(report), &body)
}

fn cards(report: &Report) -> String {
    let totals = &report.totals;
    let rounded = |count: &Dim| count.as_u64().map_or_else(|| grouped(count), |known| short(known as f64));
    let card = |name: &str, value: String, detail: String| {
        format!(
            "<div class=\"card\"><span>{}</span><b{}>{}</b><span>{}</span></div>\n",
            escaped(name),
            if value.chars().count() < 9 { "" } else { " class=\"long\"" },
            escaped(&value),
            escaped(&detail)
        )
    };
    let exact = |count: &Dim, symbolic: &str| if count.is_symbolic() { symbolic.to_owned() } else { grouped(count) };
    let (peak, exact_peak) = match &report.memory.peak_bytes {
        Some(peak) if peak.is_symbolic() => (peak.to_string(), "bytes".to_owned()),
        Some(peak) => (bytes(peak.as_u64().unwrap_or(0) as f64), format!("{} bytes", grouped(peak))),
        None => ("-".to_owned(), peak_text(report)),
    };
    let mut text = String::from("<div class=\"cards\">\n");
    text += &card("MACs", rounded(&totals.macs), exact(&totals.macs, "multiply-accumulates"));
    text += &card("FLOPs", rounded(&totals.flops), exact(&totals.flops, "floating-point operations"));
    text += &card("parameters", rounded(&totals.params.into()), grouped(&totals.params.into()));
    text += &card("weights", bytes(totals.weight_bytes as f64), format!("{} buffers", grouped(&totals.buffers.into())));
    text += &card("activations", rounded(&totals.activations), "written by conv and linear layers".to_owned());
    text += &card("peak activation memory", peak, exact_peak);
    if let Some(seconds) = report.predicted {
        text += &card("predicted time", crate::cost::number::time(seconds), predicted_text(report, seconds));
    }
    text + "</div>\n"
}

/// Operations and parameters of each block as parts of the whole.
fn bars(report: &Report) -> String {
    let Ok(groups) = rollup(report, By::Block { depth: 1 }) else { return String::new() };
    let part = |ratio: Option<Ratio>| ratio.map_or(0.0, |Ratio(part)| part);
    let params = |group: &Group| part(Ratio::of(&group.counts.params.into(), &report.totals.params.into()));
    let mut parts: Vec<(String, f64, f64)> =
        groups.iter().map(|group| (group.name.clone(), part(group.share), params(group))).collect();
    parts.retain(|(_, ops, params)| 0.0 < *ops || 0.0 < *params);
    if parts.is_empty() {
        return String::new();
    }
    if MOST_BARS < parts.len() {
        let mut weights: Vec<f64> = parts.iter().map(|(_, ops, params)| ops.max(*params)).collect();
        weights.sort_by(f64::total_cmp);
        let least = weights[weights.len() - (MOST_BARS - 1)];
        let (kept, others): (Vec<_>, Vec<_>) =
            parts.into_iter().partition(|(_, ops, params)| least <= ops.max(*params));
        let sum = |of: fn(&(String, f64, f64)) -> f64| others.iter().map(of).sum();
        let rest = (format!("{} others", others.len()), sum(|part| part.1), sum(|part| part.2));
        parts = kept.into_iter().chain([rest]).collect();
    }
    let most = parts.iter().map(|(_, ops, params)| ops.max(*params)).fold(f64::MIN_POSITIVE, f64::max);
    let heading = escaped(report.options.convention.heading());
    let mut text = format!(
        "<h2>By block</h2>\n<p class=\"soft\"><span class=\"key\" style=\"margin-left:0\"></span>{heading}\
         <span class=\"key b\"></span>parameters, as parts of the whole</p>\n<div class=\"panel bars\">\n"
    );
    for (name, ops, params) in parts {
        let name = escaped(&name);
        text += &format!(
            "<div class=\"name\" title=\"{name}\">{name}</div><div><div class=\"bar\" style=\"width:{:.2}%\"></div>\
             <div class=\"bar\" style=\"width:{:.2}%\"></div></div><div class=\"value\">{:.1} % · {:.1} %</div>\n",
            ops / most * 100.0,
            params / most * 100.0,
            ops * 100.0,
            params * 100.0
        );
    }
    text + "</div>\n"
}

fn memory(report: &Report) -> String {
    let schedule = &report.memory.schedule;
    let paths = paths(report);
    let points: Vec<(&str, f64)> = schedule
        .order
        .iter()
        .zip(&schedule.alive)
        .filter_map(|(id, &alive)| Some((*paths.get(id)?, alive as f64)))
        .collect();
    if points.is_empty() {
        return String::new();
    }
    let peak = schedule.peak_bytes as f64;
    let mark = Some((peak, format!("peak {}", bytes(peak))));
    let chart = Chart { label: "bytes of activations alive at each step", points, unit: Unit::Bytes, mark };
    let sizes: Vec<String> = report.memory.sample.iter().map(|(name, size)| format!("{name} = {size}")).collect();
    let at = if sizes.is_empty() { String::new() } else { format!(" for {}", sizes.join(", ")) };
    let sure = if schedule.optimal { "no order has a lower peak" } else { "the best order found" };
    format!(
        "<h2>Activation memory</h2>\n<figure class=\"panel\">{}<figcaption>Bytes alive while each layer runs, in order of \
         execution{}; {sure}.</figcaption></figure>\n",
        chart.svg(),
        escaped(&at)
    )
}

fn receptive_field(report: &Report) -> String {
    let points: Vec<(&str, f64)> = report
        .layers
        .iter()
        .filter_map(|layer| match layer.field[0] {
            Field::Window { extent, .. } => Some((layer.path.as_str(), extent as f64)),
            Field::Whole | Field::Mixed => None,
        })
        .collect();
    if points.len() < 2 {
        return String::new();
    }
    let input = report.inputs.first().and_then(|input| input.shape.chw()).and_then(|(_, h, _)| h.as_u64());
    let mark = input.map(|size| (size as f64, format!("input {size}")));
    let chart = Chart { label: "receptive field of each layer", points, unit: Unit::Count, mark };
    format!(
        "<h2>Receptive field</h2>\n<figure class=\"panel\">{}<figcaption>Rows of the input that one position of each layer \
         can see; layers that see everything are left out.</figcaption></figure>\n",
        chart.svg()
    )
}

fn bottleneck_section(report: &Report) -> String {
    let ids = ["bottlenecks", "inverted", "pointwise"];
    let section = |(part, id): (bottlenecks::Part, &str)| {
        let (title, words) = (escaped(part.title), escaped(&under(part.title, &part.words)));
        format!("<h2>{title}</h2>\n<p>{words}</p>\n{}", html::table(&part.grid, id))
    };
    bottlenecks::parts(report).into_iter().zip(ids).map(section).collect()
}

/// A text without the heading that it begins with, from a capital letter on.
fn under(heading: &str, words: &str) -> String {
    let rest = words.strip_prefix(&format!("{}: ", heading.to_lowercase())).unwrap_or(words);
    let mut letters = rest.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

fn rows(report: &Report, groups: &[Group], by: By) -> String {
    let whole = grid(report, groups, by);
    let count = whole.rows.len();
    let (grid, note) = if MOST_ROWS < count {
        let note =
            format!("<p class=\"soft\">The {MOST_ROWS} heaviest of {count} rows; CSV and JSON have them all.</p>\n");
        (heaviest(whole), note)
    } else {
        (whole, String::new())
    };
    let heading = match by {
        By::Layer => "Layers",
        By::Block { .. } => "Blocks",
        By::Kind => "Kinds",
    };
    format!("<h2>{heading}</h2>\n{note}{}", html::table(&grid, "rows"))
}

/// The rows with the most operations, in their order.
fn heaviest(mut grid: Grid) -> Grid {
    let Some(ops) = grid.columns.iter().position(|column| column.key == "ops") else { return grid };
    let weight = |row: &[crate::report::grid::Cell]| row[ops].value().unwrap_or(0.0);
    let mut order: Vec<usize> = (0..grid.rows.len()).collect();
    order.sort_by(|&a, &b| weight(&grid.rows[b]).total_cmp(&weight(&grid.rows[a])));
    let mut kept = vec![false; grid.rows.len()];
    order.iter().take(MOST_ROWS).for_each(|&row| kept[row] = true);
    let mut kept = kept.into_iter();
    grid.rows.retain(|_| kept.next().unwrap_or(false));
    grid
}
