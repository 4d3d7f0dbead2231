//! The picture's parts and wires in Graphviz's language, for those who want its layout: clusters are subgraphs, each layer
//! is a node.

use std::fmt::Write;

use super::label::Family;
use super::level::levels;
use super::model::{Body, Model, Part, Row};
use super::tree::ROOT;

/// A picture as a DOT graph.
pub(super) fn dot(model: &Model) -> String {
    let mut out = format!(
        "digraph {} {{\n  label={};\n  labelloc=t;\n  rankdir=TB;\n  \
         node [shape=box, style=\"filled,rounded\", fontname=\"DejaVu Sans\", fontsize=11];\n  \
         edge [fontname=\"DejaVu Sans\", fontsize=9];\n",
        quoted(&model.title),
        quoted(&format!("{}: {}", model.title, model.subtitle))
    );
    let mut children = vec![Vec::new(); model.parts.len()];
    for (at, part) in model.parts.iter().enumerate().skip(ROOT + 1) {
        children[part.parent].push(at);
    }
    // Children from the last to the first, each closing cluster below what is in it.
    let mut open: Vec<Step> = children[ROOT].iter().rev().map(|&part| Step::Part(part)).collect();
    while let Some(step) = open.pop() {
        let part = match step {
            Step::Close(level) => {
                let _ = writeln!(out, "{}}}", "  ".repeat(level));
                continue;
            }
            Step::Part(part) => part,
        };
        let own = &model.parts[part];
        if own.is_cluster() {
            head(&mut out, part, own);
            open.push(Step::Close(own.level));
            open.extend(children[part].iter().rev().map(|&part| Step::Part(part)));
        } else {
            nodes(&mut out, part, own);
        }
    }
    edges(&mut out, model);
    out.push_str("}\n");
    out
}

enum Step {
    Part(usize),
    Close(usize),
}

fn head(out: &mut String, at: usize, part: &Part) {
    let indent = "  ".repeat(part.level);
    let title = if part.block.is_empty() { part.name.clone() } else { format!("{}  {}", part.name, part.block) };
    let style = if part.train { "rounded,dashed" } else { "rounded" };
    let _ = writeln!(out, "{indent}subgraph cluster_{at} {{");
    let _ = writeln!(out, "{indent}  label={}; style={}; color=gray60;", quoted(&title), quoted(style));
}

fn nodes(out: &mut String, at: usize, part: &Part) {
    let indent = "  ".repeat(part.level);
    let dashed = if part.train { ", style=\"filled,rounded,dashed\"" } else { "" };
    let mut node = |row: usize, label: &str, more: &str| {
        let _ = writeln!(out, "{indent}{} [label={}, {more}{dashed}];", id(at, row), quoted(label));
    };
    let text = |row: &Row| format!("{} {}", row.name, row.detail).trim_end().to_owned();
    match &part.body {
        Body::Cluster => {}
        Body::Stack(rows) => {
            for (line, row) in rows.iter().enumerate() {
                node(line, &text(row), &format!("fillcolor=\"{}\"", color(row.family)));
            }
        }
        Body::Folded => {
            let title = format!("{}  {}", part.name, part.block);
            node(0, &format!("{}\n{}", title.trim_end(), part.cost), "shape=box3d, fillcolor=\"#f1f4f8\"");
        }
        Body::Sign(_, sign) => node(0, sign, "shape=circle, fillcolor=white, width=0.3, fixedsize=true"),
        Body::Bar(row) => node(0, &text(row), "fillcolor=\"#374151\", fontcolor=white, width=2, height=0.25"),
        Body::Terminal(row) => node(0, &text(row), "shape=oval, fillcolor=white"),
    }
}

fn id(part: usize, row: usize) -> String {
    if row == 0 { format!("n{part}") } else { format!("n{part}_{row}") }
}

/// All wires, each with its shape; a way past layers in red.
fn edges(out: &mut String, model: &Model) {
    for (at, part) in model.parts.iter().enumerate() {
        if let Body::Stack(rows) = &part.body {
            for row in 1..rows.len() {
                let _ = writeln!(out, "  {} -> {};", id(at, row - 1), id(at, row));
            }
        }
    }
    let mut skips = vec![false; model.wires.len()];
    for edge in levels(model).iter().flat_map(|level| &level.edges).filter(|edge| edge.skip) {
        skips[edge.wire] = true;
    }
    for (wire, skip) in model.wires.iter().zip(skips) {
        let last = match &model.parts[wire.from].body {
            Body::Stack(rows) => rows.len() - 1,
            _ => 0,
        };
        let color = if skip { ", color=\"#d0306f\", penwidth=2" } else { "" };
        let style = if wire.train { ", style=dashed" } else { "" };
        let _ = writeln!(
            out,
            "  {} -> {} [label={}{color}{style}];",
            id(wire.from, last),
            id(wire.to, 0),
            quoted(&wire.shape)
        );
    }
}

fn color(family: Family) -> &'static str {
    match family {
        Family::Conv => "#dbe8fb",
        Family::Norm => "#ece4f8",
        Family::Activation => "#fdf0cf",
        Family::Pool => "#d9f0e0",
        Family::Linear => "#fbdfd7",
        Family::Join | Family::Other => "#eceff3",
        Family::Terminal => "#ffffff",
    }
}

/// A text between quotes. A backslash of its own must not start one of Graphviz's escapes.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
