//! Classes as a file of Python.

use std::collections::HashSet;

use super::PyTorchError;
use super::body::Plan;
use super::class::{Class, Classes, Fill};
use super::draft::{Line, Piece};
use super::names::{plain, quoted};
use super::size::size;
use super::tree::Tree;
use crate::dim::Dim;
use crate::ir::{Net, NodeId};
use crate::op::Op;
use crate::op::pytorch::Py;
use crate::shape::Shapes;

/// Columns of a line.
const WIDTH: usize = 100;
/// Scopes that a docstring lists.
const LISTED: usize = 4;

/// Writes the file.
pub fn write(
    net: &Net,
    shapes: &Shapes,
    tree: &Tree,
    plan: &Plan,
    classes: &Classes,
    weights: Option<&str>,
) -> Result<String, PyTorchError> {
    let mut writer = Writer { plan, classes, text: String::new() };
    writer.head(net, weights);
    for helper in &plan.helpers {
        writer.text.push_str(&format!("\n\n{}", helper.text));
    }
    for class in &classes.list {
        writer.class(net, shapes, tree, class)?;
    }
    writer.load(net, weights.is_some());
    Ok(writer.text)
}

struct Writer<'a> {
    plan: &'a Plan,
    classes: &'a Classes,
    text: String,
}

impl Writer<'_> {
    fn line(&mut self, depth: usize, line: &str) {
        self.text.push_str(&"    ".repeat(depth));
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn head(&mut self, net: &Net, weights: Option<&str>) {
        let name = plain(&net.name);
        self.line(0, &format!("\"\"\"The net `{name}`, with the names of its parameters in netc's checkpoints."));
        self.line(0, "");
        self.line(0, "Written by `netc export`. Shapes are those of one sample: channels, height, width.");
        self.line(0, "\"\"\"");
        let renames = self.classes.list.iter().any(|class| class.draft.init.iter().any(is_renaming));
        let source = self.plan.helpers.iter().map(|helper| helper.text).collect::<String>();
        let several = self.classes.list.iter().any(|class| 1 < class.draft.results || !class.draft.heads.is_empty());
        let typed: Vec<&str> = [("List", source.contains("List[")), ("Tuple", several)]
            .into_iter()
            .filter_map(|(name, used)| used.then_some(name))
            .collect();
        self.line(0, "");
        if weights.is_some() {
            self.line(0, "import os");
        }
        if !typed.is_empty() {
            self.line(0, &format!("from typing import {}", typed.join(", ")));
        }
        if weights.is_some() || !typed.is_empty() {
            self.line(0, "");
        }
        self.line(0, "import torch");
        self.line(0, "import torch.nn.functional as F");
        self.line(0, "from torch import Tensor, nn");
        if let Some(weights) = weights {
            self.line(0, "");
            self.line(
                0,
                &format!("WEIGHTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), {})", quoted(weights)),
            );
        }
        if source.contains("_pair(") {
            self.text.push_str(PAIR);
        }
        if renames {
            self.text.push_str(RENAME);
        }
    }

    fn class(&mut self, net: &Net, shapes: &Shapes, tree: &Tree, class: &Class) -> Result<(), PyTorchError> {
        let draft = &class.draft;
        self.text.push_str("\n\n");
        let base = if draft.is_chain { "nn.Sequential" } else { "nn.Module" };
        self.line(0, &format!("class {}({base}):", class.name));
        self.doc(net, shapes, tree, class);
        self.line(0, "");
        let params: String = class.params.iter().map(|param| format!(", {param}")).collect();
        self.line(1, &format!("def __init__(self{params}):"));
        if draft.is_chain {
            let items: Vec<String> = draft.init.iter().map(|line| self.code(class, &line.code)).collect();
            self.wrapped(2, &format!("super().__init__({})", items.join(", ")), "");
            return Ok(());
        }
        self.line(2, "super().__init__()");
        for param in stored(class) {
            let name = &class.params[param];
            self.line(2, &format!("self.{} = {name}", class.attributes[param]));
        }
        for line in &draft.init {
            let code = self.code(class, &line.code);
            self.wrapped(2, &code, "");
        }
        self.function(class, "forward", &draft.forward, net, shapes)?;
        if !draft.heads.is_empty() {
            self.function(class, "heads", &draft.heads, net, shapes)?;
        }
        Ok(())
    }

    fn function(
        &mut self,
        class: &Class,
        name: &str,
        lines: &[Line],
        net: &Net,
        shapes: &Shapes,
    ) -> Result<(), PyTorchError> {
        let (draft, is_net) = (&class.draft, class.scopes == [0]);
        let results = if is_net { net.outputs_for(name == "heads").count() } else { draft.results };
        let returns =
            if results == 1 { "Tensor".to_owned() } else { format!("Tuple[{}]", vec!["Tensor"; results].join(", ")) };
        let mut inputs: Vec<String> = draft.inputs.iter().map(|input| format!("{input}: Tensor")).collect();
        if !is_net {
            inputs.extend(draft.symbols.iter().map(|symbol| format!("{}: int", self.plan.symbol(symbol))));
        }
        self.line(0, "");
        self.wrapped(1, &format!("def {name}(self, {}) -> {returns}:", inputs.join(", ")), "");
        if name == "heads" {
            let names: Vec<&str> = net.outputs.iter().map(|output| output.name.as_str()).collect();
            self.line(2, &format!("\"\"\"All outputs, those of training too: {}.\"\"\"", plain(&names.join(", "))));
        }
        if is_net {
            for symbol in &draft.symbols {
                let place =
                    place_of(net, shapes, symbol).ok_or_else(|| PyTorchError::Size { symbol: symbol.clone() })?;
                self.line(2, &format!("{} = {}.shape[{}]", self.plan.symbol(symbol), draft.inputs[place.0], place.1));
            }
        }
        let mut shape = String::new();
        for line in lines {
            let code = self.code(class, &line.code);
            let comment = match &line.shape {
                Some(own) if is_net && *own != shape => {
                    shape.clone_from(own);
                    format!("  # {}", plain(own))
                }
                _ => String::new(),
            };
            self.wrapped(2, &code, &comment);
        }
        Ok(())
    }

    fn doc(&mut self, net: &Net, shapes: &Shapes, tree: &Tree, class: &Class) {
        if class.scopes == [0] {
            let inputs = net.inputs.iter().map(|&id| {
                let name = plain(&net.node(id).path);
                format!("{name} {}", shapes.of(id.into()).claim())
            });
            let outputs = net
                .outputs_for(false)
                .map(|output| format!("{} {}", plain(&output.name), shapes.of(output.value).claim()));
            let (inputs, outputs): (Vec<String>, Vec<String>) = (inputs.collect(), outputs.collect());
            let text = format!("{} -> {}", inputs.join(", "), outputs.join(", "));
            return self.line(1, &format!("\"\"\"{}.\"\"\"", plain(&text)));
        }
        let title = class
            .block
            .as_ref()
            .map_or_else(|| "A part of the net:".to_owned(), |block| format!("`{}`:", plain(block)));
        let one = |&scope: &usize| {
            let nodes = &tree.scopes[scope].nodes;
            let first = nodes.first().and_then(|&id| net.operands(id).first().copied());
            let from = first.map_or_else(String::new, |value| shapes.of(value).claim());
            let to = nodes.last().map_or_else(String::new, |&id| shapes.of(id.into()).claim());
            plain(&format!("{} {from} -> {to}", tree.scopes[scope].path))
        };
        let mut listed: Vec<String> = class.scopes.iter().take(LISTED).map(one).collect();
        if LISTED < class.scopes.len() {
            listed.push(format!("and {} more", class.scopes.len() - LISTED));
        }
        if let [only] = listed.as_slice() {
            return self.line(1, &format!("\"\"\"{title} {only}.\"\"\""));
        }
        self.line(1, &format!("\"\"\"{title}"));
        self.line(0, "");
        for line in listed {
            self.line(1, &line);
        }
        self.line(1, "\"\"\"");
    }

    fn load(&mut self, net: &Net, has_weights: bool) {
        let class = self.classes.list.last().map_or("", |class| class.name.as_str());
        let default = if has_weights { " = WEIGHTS" } else { "" };
        let heads: Vec<String> = train_only(net).iter().map(|prefix| quoted(prefix)).collect();
        self.text.push_str(&format!(
            "\n\ndef load(path: str{default}) -> {class}:\n    \"\"\"The net with the weights of a safetensors file, for \
             inference.\"\"\"\n    from safetensors.torch import load_file\n\n    net = {class}()\n    \
             fill(net, load_file(path))\n    return net.eval()\n"
        ));
        let heads_line =
            if heads.is_empty() { String::new() } else { format!("\nHEADS = ({},)\n\n", heads.join(", ")) };
        let (also, or_heads) = match heads.is_empty() {
            true => ("", ""),
            false => (" and heads of training", " and not name.startswith(HEADS)"),
        };
        self.text.push_str(&format!(
            "\n{heads_line}\ndef fill(net: nn.Module, weights: dict) -> None:\n    \"\"\"Gives a net its weights; counters{also} \
             may be missing.\"\"\"\n    missing, unknown = net.load_state_dict(weights, strict=False)\n    missing = \
             [name for name in missing if not name.endswith(\"num_batches_tracked\"){or_heads}]\n    if missing or \
             unknown:\n        raise ValueError(f\"weights that are missing: {{missing}}; that are not of the net: \
             {{unknown}}\")\n",
        ));
    }

    /// Pieces with their slots filled.
    fn code(&self, class: &Class, pieces: &[Piece]) -> String {
        let mut text = String::new();
        for piece in pieces {
            match piece {
                Piece::Text(part) => text.push_str(part),
                Piece::One(slot) => text.push_str(&self.slot(class, *slot)),
                Piece::Args(slots) => text.push_str(&self.args(class, slots)),
                Piece::Class(number, slots) => {
                    let own = &self.classes.list[*number];
                    let args: Vec<String> = slots
                        .iter()
                        .zip(&own.params)
                        .enumerate()
                        .map(|(at, (slot, name))| match self.slot(class, *slot) {
                            value if at < own.by_place => value,
                            value => format!("{name}={value}"),
                        })
                        .collect();
                    text.push_str(&format!("{}({})", own.name, args.join(", ")));
                }
                Piece::Chain(items) => {
                    let items: Vec<String> = items.iter().map(|item| self.code(class, item)).collect();
                    text.push_str(&format!("nn.Sequential({})", repeated(&items)));
                }
            }
        }
        text
    }

    fn args(&self, class: &Class, slots: &[usize]) -> String {
        let shown = slots.iter().filter(|&&slot| !class.omitted[slot]);
        let texts = shown.map(|&slot| match class.draft.slots[slot].default {
            Some(_) => format!("{}={}", class.draft.slots[slot].name, self.slot(class, slot)),
            None => self.slot(class, slot),
        });
        texts.collect::<Vec<_>>().join(", ")
    }

    fn slot(&self, class: &Class, slot: usize) -> String {
        match &class.fill[slot] {
            Fill::Value(value) => value_text(value, &|symbol| self.plan.symbol(symbol)),
            Fill::Param(param, times) => {
                let name = if is_computed(class, slot) {
                    format!("self.{}", class.attributes[*param])
                } else {
                    class.params[*param].clone()
                };
                if *times == 1 { name } else { format!("{times} * {name}") }
            }
        }
    }

    /// A line, or several where it is too long: what stands between brackets goes to lines of its own.
    fn wrapped(&mut self, depth: usize, code: &str, comment: &str) {
        if 4 * depth + code.len() + comment.len() <= WIDTH {
            return self.line(depth, &format!("{code}{comment}"));
        }
        if 4 * depth + code.len() <= WIDTH {
            return self.line(depth, code);
        }
        let Some((open, close)) = brackets(code) else { return self.line(depth, code) };
        let items = split(&code[open + 1..close]);
        self.line(depth, &code[..=open]);
        let of_modules = code[..open].ends_with("Sequential") || code[..open].ends_with("__init__");
        let is_numbers = items.iter().all(|item| item.len() < 12 && !item.contains('('));
        if is_numbers {
            let mut line = String::new();
            for item in items {
                if WIDTH < 4 * (depth + 1) + line.len() + item.len() + 2 {
                    self.line(depth + 1, line.trim_end());
                    line.clear();
                }
                line.push_str(&format!("{item}, "));
            }
            self.line(depth + 1, line.trim_end());
        } else if !of_modules && 4 * (depth + 1) + items.join(", ").len() <= WIDTH {
            self.line(depth + 1, &items.join(", "));
        } else {
            for item in &items {
                self.wrapped(depth + 1, &format!("{item},"), "");
            }
        }
        self.wrapped(depth, &code[close..], comment);
    }
}

/// The characters of code that stand in no string, with their places.
fn outside_strings(code: &str) -> impl Iterator<Item = (usize, char)> {
    let (mut quoted, mut escaped) = (false, false);
    code.char_indices().filter(move |&(_, c)| {
        let inside = quoted;
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        !inside && c != '"'
    })
}

/// The first brackets that are worth to be broken: those with the most between them.
fn brackets(code: &str) -> Option<(usize, usize)> {
    let mut open = Vec::new();
    let mut found: Option<(usize, usize)> = None;
    for (at, c) in outside_strings(code) {
        match c {
            '(' | '[' => open.push(at),
            ')' | ']' => {
                let first = open.pop()?;
                let is_wider = found.is_none_or(|(from, to)| to - from < at - first);
                if open.is_empty() && first + 1 < at && is_wider {
                    found = Some((first, at));
                }
            }
            _ => {}
        }
    }
    found
}

/// What stands between commas.
fn split(code: &str) -> Vec<&str> {
    let (mut items, mut depth, mut from) = (Vec::new(), 0usize, 0);
    for (at, c) in outside_strings(code) {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                items.push(code[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    items.push(code[from..].trim());
    items.retain(|item| !item.is_empty());
    items
}

/// Items joined, those that are the same in a loop.
fn repeated(items: &[String]) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut at = 0;
    while at < items.len() {
        let same = items[at..].iter().take_while(|item| **item == items[at]).count();
        if 2 < same {
            texts.push(format!("*[{} for _ in range({same})]", items[at]));
            at += same;
        } else {
            texts.push(items[at].clone());
            at += 1;
        }
    }
    texts.join(", ")
}

/// The arguments of a class that are needed when it computes.
fn stored(class: &Class) -> Vec<usize> {
    let mut stored: Vec<usize> = (0..class.fill.len())
        .filter(|&slot| is_computed(class, slot))
        .filter_map(|slot| if let Fill::Param(param, _) = class.fill[slot] { Some(param) } else { None })
        .collect();
    stored.sort_unstable();
    stored.dedup();
    stored
}

/// Whether a slot stands in what is computed, and not in what is made.
fn is_computed(class: &Class, slot: usize) -> bool {
    slot >= class.draft.first_computed
}

fn is_renaming(line: &Line) -> bool {
    matches!(line.code.as_slice(), [Piece::Text(text)] if text.starts_with("rename("))
}

/// The first input, and the axis of it, that has a symbol as its size.
fn place_of(net: &Net, shapes: &Shapes, symbol: &str) -> Option<(usize, usize)> {
    net.inputs.iter().enumerate().find_map(|(at, &id)| {
        let is_it = |dim: &Dim| dim.symbols() == [symbol] && dim.to_string() == symbol;
        let axis = shapes.of(id.into()).0.iter().position(is_it)?;
        Some((at, axis + 1))
    })
}

/// The paths of layers that exist in training only, with the dot behind them: their first parts, where these have no
/// other layers.
fn train_only(net: &Net) -> Vec<String> {
    let train_only = net.train_only();
    let first = |id: &NodeId| net.node(*id).path.split('.').next().unwrap_or_default();
    let is_layer = |id: &NodeId| !matches!(net.node(*id).op, Op::Input(_));
    let (heads, kept): (Vec<NodeId>, Vec<NodeId>) = net.nodes().partition(|id| train_only[id.index()]);
    let heads: Vec<NodeId> = heads.into_iter().filter(is_layer).collect();
    let kept: HashSet<&str> = kept.iter().map(first).collect();
    let is_shared = heads.iter().any(|id| kept.contains(first(id)));
    let mut paths: Vec<String> = heads
        .iter()
        .map(|id| format!("{}.", if is_shared { net.node(*id).path.as_str() } else { first(id) }))
        .collect();
    paths.sort();
    paths.dedup();
    paths
}

/// A value of Python, with a name for each symbol.
fn value_text(value: &Py, name: &dyn Fn(&str) -> String) -> String {
    match value {
        Py::Int(value) => value.to_string(),
        Py::Float(value) => float_text(*value),
        Py::Bool(true) => "True".to_owned(),
        Py::Bool(false) => "False".to_owned(),
        Py::Text(text) => quoted(text),
        Py::List(values) => {
            format!("[{}]", values.iter().map(|value| value_text(value, name)).collect::<Vec<_>>().join(", "))
        }
        Py::Size(dim) => size(dim, name),
    }
}

/// A float of Python.
pub fn float_text(value: f64) -> String {
    if value.is_finite() { format!("{value:?}") } else { format!("float(\"{value}\")") }
}

const PAIR: &str = "

def _pair(value) -> List[int]:
    return [value, value] if isinstance(value, int) else list(value)
";

const RENAME: &str = r#"

def rename(module: nn.Module, attribute: str, name: str) -> None:
    """Gives what stands at `attribute` another name in checkpoints, one that Python does not take."""

    def save(module, state, prefix, _):
        old = prefix + attribute + "."
        for key in [key for key in state if key.startswith(old)]:
            state[prefix + name + "." + key[len(old) :]] = state.pop(key)

    def load(state, prefix, *_):
        for key in getattr(module, attribute).state_dict():
            if prefix + name + "." + key in state:
                state[prefix + attribute + "." + key] = state.pop(prefix + name + "." + key)

    module._register_state_dict_hook(save)
    module._register_load_state_dict_pre_hook(load)
"#;
