//! A graph in its own language again: the flat form, one value a line, every default written out. Compiling it gives
//! the same graph under the same paths.

use std::fmt::Write;

use super::{Net, Node, NodeId, ValueId};
use crate::data::preprocess::{Interpolation, Order, Preprocess, ResizeTo, Step};
use crate::op::attr::{Operands, float_text};
use crate::op::input::Input;
use crate::op::{self, Op, Value};
use crate::syntax::KEYWORDS;

/// The flat form. Claims and the budgets of blocks are not part of it: they speak of the text that was expanded.
pub fn flat(net: &Net) -> String {
    let mut text = format!("net {} {{\n", net.name);
    text.push_str(&preamble(net));
    let mut above = None;
    for id in net.nodes() {
        let node = net.node(id);
        for allow in node.origin.allows.iter() {
            let _ = writeln!(text, "  #[allow({allow})]");
        }
        if let Op::Input(input) = &node.op {
            text.push_str(&input_line(net, id, input));
            above = Some(ValueId::from(id));
            continue;
        }
        above = line(&mut text, net, id, above);
    }
    for output in &net.outputs {
        let train = output.train.map_or(String::new(), |weight| format!(": train weight {}", float_text(weight)));
        let _ = writeln!(text, "  output {} = {}{train}", output.name, reference(net, output.value));
    }
    text.push_str("}\n");
    text
}

/// What stands in front of the layers: `preprocess`, the budget of the whole net, and the inputs.
pub fn head(net: &Net) -> String {
    let mut text = preamble(net);
    for &id in &net.inputs {
        if let Op::Input(input) = &net.node(id).op {
            text.push_str(&input_line(net, id, input));
        }
    }
    text
}

fn input_line(net: &Net, id: NodeId, input: &Input) -> String {
    let conditions: Vec<&str> =
        net.conditions.iter().filter(|(of, _)| *of == id).map(|(_, text)| text.as_str()).collect();
    let place = if conditions.is_empty() { String::new() } else { format!(" where {}", conditions.join(", ")) };
    format!("  input {}: {}{place}\n", net.node(id).path, input.shape.claim())
}

fn preamble(net: &Net) -> String {
    let mut text = String::new();
    if let Some(preprocess) = &net.preprocess {
        let _ = writeln!(text, "  preprocess {{ {} }}", preprocess_text(preprocess));
    }
    let bounds: Vec<String> = net
        .budgets
        .iter()
        .filter(|budget| budget.members.is_none())
        .map(|budget| format!("{} <= {}", budget.metric.name(), budget.bound))
        .collect();
    if !bounds.is_empty() {
        let _ = writeln!(text, "  budget {{ {} }}", bounds.join("; "));
    }
    text
}

/// Writes a node and gives the value that stands above the next line.
fn line(text: &mut String, net: &Net, id: NodeId, above: Option<ValueId>) -> Option<ValueId> {
    let node = net.node(id);
    let (layer, args) = node.op.describe();
    let mut args: Vec<String> = args.iter().map(|(name, value)| format!("{name} = {}", written(value))).collect();
    let operands = net.operands(id);
    let takes = op::signatures().find(|signature| signature.layer == layer).map(|signature| signature.operands);
    let takes_above = takes == Some(Operands::Above);
    if !takes_above {
        args.splice(0..0, operands.iter().map(|&value| reference(net, value)));
    }
    let args = if args.is_empty() { String::new() } else { format!("({})", args.join(", ")) };
    let call = format!("{}: {layer}{args}", labels(node));
    if takes_above && operands.first().copied() != above {
        let from = operands.first().map(|&value| reference(net, value)).unwrap_or_default();
        let _ = writeln!(text, "  from {from} {{ {call} }}");
        return above;
    }
    let _ = writeln!(text, "  {call}");
    Some(id.into())
}

fn labels(node: &Node) -> String {
    let paths = std::iter::once(&node.path).chain(&node.others);
    paths.map(|path| label(path)).collect::<Vec<_>>().join(", ")
}

/// A value as it is named by its path.
pub fn reference(net: &Net, value: ValueId) -> String {
    let node = net.node(value.node);
    let other = (value.output as usize).checked_sub(1).and_then(|other| node.others.get(other));
    let path = other.unwrap_or(&node.path);
    // A reference that begins with a number stands between quotes.
    if path.starts_with(|c: char| c.is_ascii_digit()) { Value::Str(path.to_owned()).to_string() } else { label(path) }
}

/// A path as a label: between quotes unless each part is a word or a number.
pub fn label(path: &str) -> String {
    let plain = |part: &str| {
        let word = part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && !KEYWORDS.contains(&part);
        let number = !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
        (word || number) && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    if path.split('.').all(plain) { path.to_owned() } else { Value::Str(path.to_owned()).to_string() }
}

/// A value as the language writes it.
pub fn written(value: &Value) -> String {
    let text = value.to_string();
    match value {
        Value::Str(_) | Value::Word(_) => text,
        _ => floors_written(&text),
    }
}

/// `floor(P/n)` as the language writes it: `(P//n)`.
fn floors_written(text: &str) -> String {
    let Some(start) = text.find("floor(") else { return text.to_owned() };
    let inner_start = start + "floor(".len();
    let mut depth = 1usize;
    let close = text[inner_start..].char_indices().find_map(|(at, c)| {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        (depth == 0).then_some(inner_start + at)
    });
    let Some(close) = close else { return text.to_owned() };
    let inner = &text[inner_start..close];
    let (numerator, by) = inner.rsplit_once('/').unwrap_or((inner, "1"));
    format!("{}({}//{by}){}", &text[..start], floors_written(numerator), floors_written(&text[close + 1..]))
}

fn preprocess_text(preprocess: &Preprocess) -> String {
    let mut entries = Vec::new();
    for step in &preprocess.steps {
        entries.push(match step {
            Step::Resize { to: ResizeTo::Short(short), .. } => format!("resize {short}"),
            Step::Resize { to: ResizeTo::Exact { h, w }, .. } => format!("resize [{h}, {w}]"),
            Step::Crop { h, w } => format!("crop [{h}, {w}]"),
            Step::Pad { top, left, bottom, right, .. } => format!("pad [{top}, {left}, {bottom}, {right}]"),
            Step::Gray => "gray".to_owned(),
        });
    }
    let interpolation = preprocess.steps.iter().find_map(|step| match step {
        Step::Resize { interpolation, .. } => Some(*interpolation),
        Step::Crop { .. } | Step::Pad { .. } | Step::Gray => None,
    });
    if let Some(interpolation) = interpolation {
        let word = match interpolation {
            Interpolation::Bilinear => "bilinear",
            Interpolation::Bicubic => "bicubic",
            Interpolation::Nearest => "nearest",
        };
        entries.push(format!("interpolation {word}"));
    }
    let order = match preprocess.order {
        Order::Rgb => "rgb",
        Order::Bgr => "bgr",
    };
    entries.push(format!("order {order}"));
    entries.push(format!("scale {}..{}", preprocess.scale.lo, preprocess.scale.hi));
    for (name, values) in [("mean", &preprocess.mean), ("std", &preprocess.std)] {
        if !values.is_empty() {
            let values: Vec<String> = values.iter().map(|value| format!("{value:?}")).collect();
            entries.push(format!("{name} [{}]", values.join(", ")));
        }
    }
    entries.join("; ")
}
