//! The cost report as a page.

use super::{bottlenecks, convention, grid, paths, peak_text, predicted_text, title};
use crate::cost::number::{bytes, grouped, short};
use crate::cost::{By, Field, Group, Ratio, Report, rollup};
use crate::dim::Dim;
use crate::report::grid::Grid;
use crate::report::html::{self, escaped};

/// Rows that a page shows; of more, the heaviest.
const MOST_ROWS: usize = 5000;
/// Blocks that the bars show; the lightest of more are one bar.
const MOST_BARS: usize = 32;
/// Points of a curve; of more, the highest of each stretch.
const MOST_POINTS: usize = 800;

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
            "<div class=\"card\"><span>{}</span><b>{}</b><span>{}</span></div>\n",
            escaped(name),
            escaped(&value),
            escaped(&detail)
        )
    };
    let peak = report.memory.peak_bytes.as_ref().and_then(Dim::as_u64);
    let mut text = String::from("<div class=\"cards\">\n");
    text += &card("MACs", rounded(&totals.macs), grouped(&totals.macs));
    text += &card("FLOPs", rounded(&totals.flops), grouped(&totals.flops));
    text += &card("parameters", rounded(&totals.params.into()), grouped(&totals.params.into()));
    text += &card("weights", bytes(totals.weight_bytes as f64), format!("{} buffers", grouped(&totals.buffers.into())));
    text += &card("activations", rounded(&totals.activations), "written by conv and linear layers".to_owned());
    text += &card("peak activation memory", peak.map_or("-".to_owned(), |peak| bytes(peak as f64)), peak_text(report));
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

/// A curve over the steps or layers of the net.
struct Chart<'a> {
    label: &'a str,
    /// A name and a height for each step.
    points: Vec<(&'a str, f64)>,
    shown: fn(f64) -> String,
    /// A height to mark, with its name.
    mark: Option<(f64, String)>,
}

const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 220.0;
/// Room above the curve, below it, and left of it.
const MARGIN: (f64, f64, f64) = (22.0, 8.0, 4.0);

impl Chart<'_> {
    fn svg(&self) -> String {
        let points = self.reduced();
        let highest = points.iter().map(|&(_, height)| height).chain(self.mark.iter().map(|(height, _)| *height));
        let highest = highest.fold(f64::MIN_POSITIVE, f64::max);
        let (top, bottom, left) = MARGIN;
        let step = (WIDTH - 2.0 * left) / points.len().max(1) as f64;
        let x = |at: usize| left + at as f64 * step;
        let y = |height: f64| top + (HEIGHT - top - bottom) * (1.0 - height / highest);
        let mut curve = String::new();
        let mut hits = String::new();
        for (at, (name, height)) in points.iter().enumerate() {
            let (from, to, level) = (x(at), x(at + 1), y(*height));
            curve += &format!("{}{from:.1} {level:.1}H{to:.1}", if at == 0 { "M" } else { "L" });
            hits += &format!(
                "<rect class=\"hit\" x=\"{from:.1}\" y=\"0\" width=\"{step:.2}\" height=\"{HEIGHT}\"><title>{}: {}</title></rect>",
                escaped(name),
                escaped(&(self.shown)(*height))
            );
        }
        let base = HEIGHT - bottom;
        let mark = self.mark.as_ref().map_or(String::new(), |(height, name)| {
            let level = y(*height);
            format!(
                "<line class=\"mark\" x1=\"{left}\" x2=\"{WIDTH}\" y1=\"{level:.1}\" y2=\"{level:.1}\"/>\
                 <text class=\"marked\" x=\"{left}\" y=\"{:.1}\">{}</text>",
                level - 6.0,
                escaped(name)
            )
        });
        format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\
             <path class=\"area\" d=\"{curve}V{base}H{left}Z\"/><path class=\"curve\" d=\"{curve}\"/>\
             <line class=\"rule\" x1=\"{left}\" x2=\"{WIDTH}\" y1=\"{base}\" y2=\"{base}\"/>{mark}{hits}</svg>\n",
            escaped(self.label)
        )
    }

    /// The highest point of each stretch, where there are more than can be seen.
    fn reduced(&self) -> Vec<(&str, f64)> {
        let stretch = self.points.len().div_ceil(MOST_POINTS).max(1);
        let highest = |points: &[(&'_ str, f64)]| points.iter().copied().map(|(_, height)| height).fold(0.0, f64::max);
        self.points
            .chunks(stretch)
            .map(|points| (points.last().map_or("", |(name, _)| name), highest(points)))
            .collect()
    }
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
    let chart = Chart { label: "bytes of activations alive at each step", points, shown: bytes, mark };
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
    let shown = |extent: f64| format!("{extent:.0}");
    let chart = Chart { label: "receptive field of each layer", points, shown, mark };
    format!(
        "<h2>Receptive field</h2>\n<figure class=\"panel\">{}<figcaption>Rows of the input that one position of each layer \
         can see; layers that see everything are left out.</figcaption></figure>\n",
        chart.svg()
    )
}

fn bottleneck_section(report: &Report) -> String {
    let ids = ["bottlenecks", "inverted", "pointwise"];
    let section = |(part, id): (bottlenecks::Part, &str)| {
        let (title, words) = (escaped(part.title), escaped(&part.words));
        format!("<h2>{title}</h2>\n<p>{words}</p>\n{}", html::table(&part.grid, id))
    };
    bottlenecks::parts(report).into_iter().zip(ids).map(section).collect()
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
