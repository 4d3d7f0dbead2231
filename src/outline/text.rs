//! An outline as a source of the language.

use super::{Arg, Block, Outline, Statement, What};
use crate::diag::{Sink, SourceMap};
use crate::ir::Net;
use crate::ir::expand::{head, label, written};
use crate::op::{self, Value};
use crate::syntax;

/// The source, in its canonical form.
pub fn write(net: &Net, outline: &Outline) -> String {
    let mut writer = Writer { net, outline, text: String::new(), depth: 0 };
    for block in &outline.blocks {
        writer.block(block);
    }
    writer.line(&format!("net {} {{", net.name));
    writer.text.push_str(&head(net));
    writer.depth = 1;
    let names = Names(&[]);
    writer.body(&outline.body, &names);
    for (at, output) in net.outputs.iter().enumerate() {
        if !shows(&outline.body, at) {
            let named = crate::ir::expand::reference(net, output.value);
            writer.line(&format!("output {} = {named}", output.name));
        }
    }
    writer.depth = 0;
    writer.line("}");
    canonical(&writer.text)
}

fn canonical(text: &str) -> String {
    let (mut sources, mut sink) = (SourceMap::default(), Sink::default());
    let file = syntax::add_source(&mut sources, "outline", text.as_bytes().to_vec(), &mut sink);
    file.and_then(|file| syntax::format(&sources, file, &mut sink)).unwrap_or_else(|| text.to_owned())
}

fn shows(body: &[Statement], output: usize) -> bool {
    body.iter().any(|statement| match &statement.what {
        What::Output(at) => *at == output,
        What::Chain { body, .. } | What::From { body, .. } => shows(body, output),
        What::Layer { .. } | What::Group { .. } | What::Call { .. } | What::Repeat { .. } => false,
    })
}

/// The parameters that can be seen.
struct Names<'a>(&'a [(String, Option<Value>)]);

struct Writer<'a> {
    net: &'a Net,
    outline: &'a Outline,
    text: String,
    depth: usize,
}

impl Writer<'_> {
    fn line(&mut self, line: &str) {
        self.text.push_str(&"  ".repeat(self.depth));
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn block(&mut self, block: &Block) {
        let param = |(name, default): &(String, Option<Value>)| match default {
            Some(default) => format!("{name} = {}", written(default)),
            None => name.clone(),
        };
        let params: Vec<String> = block.params.iter().map(param).collect();
        let params = if params.is_empty() { String::new() } else { format!("({})", params.join(", ")) };
        self.line(&format!("block {}{params} {{", block.name));
        self.depth += 1;
        self.body(&block.body, &Names(&block.params));
        self.depth -= 1;
        self.line("}\n");
    }

    fn body(&mut self, body: &[Statement], names: &Names) {
        for statement in body {
            self.statement(statement, names);
        }
    }

    fn statement(&mut self, statement: &Statement, names: &Names) {
        let labels: Vec<String> = statement.label.iter().chain(&statement.others).map(|own| counted(own)).collect();
        let front = if labels.is_empty() { String::new() } else { format!("{}: ", labels.join(", ")) };
        let claim = statement.claim.as_ref().map_or(String::new(), |shape| format!("  -> {}", shape.claim()));
        match &statement.what {
            What::Layer { layer, args, operands } => {
                let operands = operands.iter().map(|path| quoted(path));
                let args = call(operands.collect(), plain_args(layer, args, names));
                self.line(&format!("{front}{layer}{args}{claim}"));
            }
            What::Call { block, args } => {
                let block = &self.outline.blocks[*block];
                let given =
                    block.params.iter().zip(args).map(|((name, default), arg)| (name.as_str(), default.as_ref(), arg));
                let args = given
                    .filter(|(_, default, arg)| default.is_none_or(|default| **arg != Arg::Value(default.clone())));
                let texts = args.map(|(name, default, arg)| match default {
                    Some(_) => format!("{name} = {}", arg_text(arg, names)),
                    None => arg_text(arg, names),
                });
                let args = call(texts.collect(), Vec::new());
                self.line(&format!("{front}{}{args}{claim}", block.name));
            }
            What::Group { layer, args, branches } => {
                let args = call(plain_args(layer, args, names), Vec::new());
                self.open(&format!("{front}{layer}{args} {{"), branches, names, &claim);
            }
            What::Chain { numbered, body } => {
                let word = if *numbered { "sequential " } else { "" };
                self.open(&format!("{front}{word}{{"), body, names, &claim);
            }
            What::From { value, body } => {
                self.open(&format!("{front}from {} {{", quoted(value)), body, names, &claim);
            }
            What::Repeat { times, first, statement } => {
                let line = match first {
                    Some(first) => format!("for i in {first}..{} {{", first + *times as u64),
                    None => format!("repeat {times} {{"),
                };
                self.open(&line, std::slice::from_ref(statement), names, &claim);
            }
            What::Output(at) => {
                let output = &self.net.outputs[*at];
                let weight = output
                    .train
                    .map_or(String::new(), |weight| format!(": train weight {}", op::attr::float_text(weight)));
                self.line(&format!("output {}{weight}", output.name));
            }
        }
    }

    fn open(&mut self, line: &str, body: &[Statement], names: &Names, claim: &str) {
        self.line(line);
        self.depth += 1;
        self.body(body, names);
        self.depth -= 1;
        self.line(&format!("}}{claim}"));
    }
}

/// A label; one that counts holds an expression, and is written as it is.
fn counted(own: &str) -> String {
    if own.ends_with("{i}") { own.to_owned() } else { label(own) }
}

/// A path where a value is meant: between quotes where it begins with a digit.
fn quoted(path: &str) -> String {
    if path.starts_with(|c: char| c.is_ascii_digit()) { Value::Str(path.to_owned()).to_string() } else { label(path) }
}

fn call(first: Vec<String>, rest: Vec<String>) -> String {
    let args: Vec<String> = first.into_iter().chain(rest).collect();
    if args.is_empty() { String::new() } else { format!("({})", args.join(", ")) }
}

fn arg_text(arg: &Arg, names: &Names) -> String {
    match arg {
        Arg::Value(value) => written(value),
        Arg::Param(at, 1) => names.0[*at].0.clone(),
        Arg::Param(at, times) => format!("{times} * {}", names.0[*at].0),
    }
}

/// Whether two texts are the same value; floats may be written differently.
fn is_equal(left: &str, right: &str) -> bool {
    let number = |text: &str| match text.split_once(" / ") {
        Some((a, b)) => Some(a.parse::<f64>().ok()? / b.parse::<f64>().ok()?),
        None => text.parse().ok(),
    };
    left == right || number(left).is_some_and(|value| Some(value) == number(right))
}

/// The arguments of a layer that differ from their defaults; those that must be given come by place, in order.
fn plain_args(layer: &str, args: &[(&'static str, Arg)], names: &Names) -> Vec<String> {
    let Some(signature) = op::signatures().find(|signature| signature.layer == layer) else { return Vec::new() };
    let mut texts = Vec::new();
    let mut by_place = true;
    for param in signature.params {
        let Some((_, arg)) = args.iter().find(|(name, _)| *name == param.name) else {
            by_place = false;
            continue;
        };
        let text = arg_text(arg, names);
        let default = args.iter().find(|(name, _)| *name == param.default).map(|(_, arg)| arg_text(arg, names));
        let is_default = is_equal(default.as_deref().unwrap_or(param.default), &text);
        // What has no default comes first, and so does the window of a pooling.
        let first = param.default.is_empty() || param.default == "-";
        if is_default && !first {
            by_place = false;
        } else if first && by_place {
            texts.push(text);
        } else {
            by_place = false;
            texts.push(format!("{} = {text}", param.name));
        }
    }
    texts
}
