//! The picture as SVG. Every text of the net is escaped; colours and letters are set in one style sheet.

use std::fmt::Write;

use super::arrange::{Point, Rect};
use super::label::Family;
use super::measure::ROW;
use super::model::{Body, Model, Part, Row};
use super::scene::{Line, Scene};
use super::tree::ROOT;
use crate::report::escaped;

/// A picture as an SVG document.
pub(super) fn svg(model: &Model, scene: &Scene) -> String {
    let (w, h) = (scene.width.ceil(), scene.height.ceil());
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w}\" height=\"{h}\" viewBox=\"0 0 {w} {h}\">\n\
         <style>\n{}</style>\n<rect width=\"{w}\" height=\"{h}\" class=\"paper\"/>\n",
        include_str!("svg.css")
    );
    let _ = writeln!(
        out,
        "<text x=\"16\" y=\"26\"><tspan class=\"net\">{}</tspan><tspan class=\"s\" dx=\"10\">{}</tspan></text>",
        escaped(&model.title),
        escaped(&model.subtitle)
    );
    for (at, part) in model.parts.iter().enumerate().skip(ROOT + 1).filter(|(_, part)| part.is_cluster()) {
        cluster(&mut out, part, &scene.rects[at], scene.titles[at]);
    }
    for line in scene.lines.iter().filter(|line| !line.skip).chain(scene.lines.iter().filter(|line| line.skip)) {
        course(&mut out, model, line);
    }
    for (at, part) in model.parts.iter().enumerate().skip(ROOT + 1) {
        draw(&mut out, part, &scene.rects[at]);
    }
    for ((x, y), wire) in &scene.labels {
        let (x, y) = (short(*x), short(*y));
        let _ = writeln!(out, "<text x=\"{x}\" y=\"{y}\" class=\"s\">{}</text>", escaped(&model.wires[*wire].shape));
    }
    out.push_str("</svg>\n");
    out
}

/// A coordinate with at most one digit behind the point.
fn short(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").unwrap_or(&text).to_owned()
}

fn frame(out: &mut String, rect: &Rect, round: f64, class: &str) {
    let _ = write!(
        out,
        "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"{round}\" class=\"{class}\"/>",
        short(rect.x),
        short(rect.y),
        short(rect.w),
        short(rect.h)
    );
}

fn dashed(part: &Part) -> &'static str {
    if part.train { " t" } else { "" }
}

fn cluster(out: &mut String, part: &Part, rect: &Rect, (name, block): (f64, f64)) {
    let _ = write!(out, "<g><title>{}: {}</title>", escaped(&part.path), escaped(&part.cost));
    frame(out, rect, 8.0, &format!("cluster{}", dashed(part)));
    let y = short(rect.y + 15.5);
    let _ = write!(out, "<text x=\"{}\" y=\"{y}\" class=\"b\">{}</text>", short(rect.x + name), escaped(&part.name));
    if !part.block.is_empty() {
        let x = short(rect.x + block);
        let _ = write!(out, "<text x=\"{x}\" y=\"{y}\" class=\"s\">{}</text>", escaped(&part.block));
    }
    out.push_str("</g>\n");
}

/// A name in bold and what stands behind it.
fn named(out: &mut String, (x, y): Point, class: &str, name: &str, rest: &str, rest_class: &str) {
    let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
    let _ =
        write!(out, "<text x=\"{}\" y=\"{}\"{class}><tspan class=\"b\">{}</tspan>", short(x), short(y), escaped(name));
    if !rest.is_empty() {
        let rest_class = if rest_class.is_empty() { String::new() } else { format!(" class=\"{rest_class}\"") };
        let _ = write!(out, "<tspan dx=\"6\"{rest_class}>{}</tspan>", escaped(rest));
    }
    out.push_str("</text>");
}

fn draw(out: &mut String, part: &Part, rect: &Rect) {
    let (x, y) = (rect.x + rect.w / 2.0, rect.y + rect.h / 2.0);
    match &part.body {
        Body::Cluster => {}
        Body::Stack(rows) => {
            for (at, row) in rows.iter().enumerate() {
                let own = Rect { y: rect.y + at as f64 * ROW, h: ROW, ..*rect };
                boxed(out, row, &own, 3.0, dashed(part));
            }
        }
        Body::Folded => {
            let _ = write!(out, "<g><title>{}: {}</title>", escaped(&part.path), escaped(&part.cost));
            frame(out, rect, 4.0, &format!("folded{}", dashed(part)));
            let (left, right) = (short(rect.x + 6.0), short(rect.x + rect.w - 6.0));
            let (top, h) = (short(rect.y), short(rect.h));
            let _ = write!(out, "<path class=\"folded\" d=\"M{left} {top}v{h}M{right} {top}v{h}\"/>");
            named(out, (x, y - 3.0), "m", &part.name, &part.block, "s");
            let (x, y, cost) = (short(x), short(y + 13.0), escaped(&part.cost));
            let _ = writeln!(out, "<text x=\"{x}\" y=\"{y}\" class=\"m s\">{cost}</text></g>");
        }
        Body::Sign(row, sign) => {
            let (r, path) = (short(rect.h / 2.0), escaped(&row.path));
            let (x, y, text) = (short(x), short(y), short(y + 5.5));
            let _ = writeln!(
                out,
                "<g><title>{path}</title><circle cx=\"{x}\" cy=\"{y}\" r=\"{r}\" class=\"join{}\"/>\
                 <text x=\"{x}\" y=\"{text}\" class=\"m sign\">{sign}</text></g>",
                dashed(part)
            );
        }
        Body::Bar(row) => boxed(out, row, rect, 3.0, dashed(part)),
        Body::Terminal(row) => boxed(out, row, rect, 12.0, dashed(part)),
    }
}

fn boxed(out: &mut String, row: &Row, rect: &Rect, round: f64, dashed: &str) {
    let class = class(row.family);
    let _ = write!(out, "<g class=\"{class}\"><title>{}</title>", escaped(&row.path));
    frame(out, rect, round, &format!("box{dashed}"));
    named(out, (rect.x + rect.w / 2.0, rect.y + rect.h / 2.0 + 4.0), "m", &row.name, &row.detail, "");
    out.push_str("</g>\n");
}

fn class(family: Family) -> &'static str {
    match family {
        Family::Conv => "conv",
        Family::Norm => "norm",
        Family::Activation => "act",
        Family::Pool => "pool",
        Family::Linear => "lin",
        Family::Join => "bar",
        Family::Terminal => "end",
        Family::Other => "other",
    }
}

/// A line: straight down, in an S from one axis to another, or with one turn into the side of a sign.
fn course(out: &mut String, model: &Model, line: &Line) {
    /// What the tip of an arrow covers.
    const TIP: f64 = 4.0;
    let wire = &model.wires[line.wire];
    let mut path = String::new();
    let mut points = line.course.points.iter().copied().peekable();
    let Some((mut x, mut y)) = points.next() else { return };
    let _ = write!(path, "M{} {}", short(x), short(y));
    let mut tip = format!("M{} ", short(x));
    while let Some((to_x, to_y)) = points.next() {
        let last = points.peek().is_none();
        let end = if last && line.arrives { to_y - TIP } else { to_y };
        if last && line.course.sideways {
            let before = if x < to_x { to_x - TIP } else { to_x + TIP };
            let _ = write!(
                path,
                "C{} {} {} {} {} {}",
                short(x),
                short(to_y),
                short(x),
                short(to_y),
                short(before),
                short(to_y)
            );
            tip = format!("M{} {}l{} -3.5v7z", short(to_x), short(to_y), if x < to_x { "-6.5" } else { "6.5" });
        } else {
            if (to_x - x).abs() < 0.05 {
                let _ = write!(path, "V{}", short(end));
            } else {
                let middle = short((y + end) / 2.0);
                let _ = write!(path, "C{} {middle} {} {middle} {} {}", short(x), short(to_x), short(to_x), short(end));
            }
            tip = format!("M{} {}l-3.5 -6.5h7z", short(to_x), short(to_y));
        }
        (x, y) = (to_x, to_y);
    }
    let class = match (line.skip, wire.train) {
        (true, true) => "line skip t",
        (true, false) => "line skip",
        (false, true) => "line t",
        (false, false) => "line",
    };
    let _ = write!(out, "<g class=\"{class}\"><path d=\"{path}\"/>");
    if line.arrives {
        let _ = write!(out, "<path class=\"tip\" d=\"{tip}\"/>");
    }
    let (from, to) = (&model.parts[wire.from].path, &model.parts[wire.to].path);
    let _ = writeln!(out, "<title>{} to {}: {}</title></g>", escaped(from), escaped(to), escaped(&wire.shape));
}
