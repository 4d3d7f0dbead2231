//! The tree as text, for tests: one part a line, indented by depth, without places. Operators stand before their
//! operands, so that precedence shows.

use super::ast::{
    Args, Body, Definition, Expr, ExprKind, File, Item, LabelName, LabelPart, Let, Name, Param, Path, Pattern, Source,
    Statement, StatementKind, UnaryOp, ValueStatement,
};
use std::fmt::Write as _;

/// The tree of a file as text. Equal texts mean equal trees, places aside.
pub fn ast_text(file: &File) -> String {
    let mut printer = Printer { text: String::new(), depth: 0 };
    for item in &file.items {
        match item {
            Item::Import(import) => printer.line(format_args!("import {:?}", import.path.text)),
            Item::Block(definition) => printer.definition("block", definition),
            Item::Net(definition) => printer.definition("net", definition),
            Item::Let(binding) => printer.binding(binding),
        }
    }
    printer.text
}

struct Printer {
    text: String,
    depth: usize,
}

impl Printer {
    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        for _ in 0..self.depth {
            self.text.push_str("  ");
        }
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{line}");
    }

    fn nested(&mut self, inside: impl FnOnce(&mut Self)) {
        self.depth += 1;
        inside(self);
        self.depth -= 1;
    }

    fn definition(&mut self, keyword: &str, definition: &Definition) {
        self.allows(&definition.allows);
        let params: Vec<String> = definition.params.iter().map(param).collect();
        self.line(format_args!("{keyword} {} ({})", definition.name.text, params.join(", ")));
        self.body(&definition.body);
    }

    fn allows(&mut self, allows: &[Name]) {
        if !allows.is_empty() {
            self.line(format_args!("allow {}", names(allows)));
        }
    }

    fn binding(&mut self, binding: &Let) {
        self.line(format_args!("let {} = {}", binding.name.text, expr(&binding.value)));
    }

    fn body(&mut self, body: &Body) {
        self.nested(|this| body.statements.iter().for_each(|statement| this.statement(statement)));
    }

    fn statement(&mut self, statement: &Statement) {
        self.allows(&statement.allows);
        match &statement.kind {
            StatementKind::Let(binding) => self.binding(binding),
            StatementKind::Input(input) => {
                self.line(format_args!("input {} [{}]", input.name.text, exprs(&input.shape)));
                for condition in &input.conditions {
                    self.nested(|this| this.line(format_args!("where {}", expr(condition))));
                }
            }
            StatementKind::Output(output) => {
                let value = output.value.as_ref().map_or_else(String::new, |value| format!(" = {}", path(value)));
                let train = output.train.as_ref().map_or_else(String::new, |train| {
                    train
                        .weight
                        .as_ref()
                        .map_or_else(|| " train".to_owned(), |weight| format!(" train {}", expr(weight)))
                });
                self.line(format_args!("output {}{value}{train}", output.name.text));
            }
            StatementKind::If(branches) => {
                for (i, (test, body)) in branches.arms.iter().enumerate() {
                    self.line(format_args!("{} {}", if i == 0 { "if" } else { "else if" }, expr(test)));
                    self.body(body);
                }
                if let Some(body) = &branches.otherwise {
                    self.line(format_args!("else"));
                    self.body(body);
                }
            }
            StatementKind::Repeat(repeat) => {
                let binding = repeat.binding.as_ref().map_or_else(String::new, |name| format!(" as {}", name.text));
                self.line(format_args!("repeat {}{binding}", expr(&repeat.count)));
                self.body(&repeat.body);
            }
            StatementKind::For(repeat) => {
                let index = repeat.index.as_ref().map_or_else(String::new, |name| format!("{}, ", name.text));
                let pattern = match &repeat.pattern {
                    Pattern::Name(name) => name.text.clone(),
                    Pattern::List(list, _) => format!("[{}]", names(list)),
                };
                self.line(format_args!("for {index}{pattern} in {}", expr(&repeat.list)));
                self.body(&repeat.body);
            }
            StatementKind::Preprocess(entries) => {
                self.line(format_args!("preprocess"));
                for entry in entries {
                    self.nested(|this| this.line(format_args!("{} {}", entry.name.text, exprs(&entry.values))));
                }
            }
            StatementKind::Budget(entries) => {
                self.line(format_args!("budget"));
                for entry in entries {
                    let unit = entry.unit.as_ref().map_or("", |unit| &unit.text);
                    let bound = expr(&entry.bound);
                    self.nested(|this| this.line(format_args!("{} <= {bound} {unit}", entry.metric.text)));
                }
            }
            StatementKind::Value(value) => self.value(value),
        }
    }

    fn value(&mut self, value: &ValueStatement) {
        let labels: Vec<String> = value.labels.iter().map(label_text).collect();
        let labels = if labels.is_empty() { String::new() } else { labels.join(", ") + ": " };
        let claim = value.claim.as_ref().map_or_else(String::new, |claim| format!(" -> [{}]", exprs(&claim.shape)));
        let body = match &value.source {
            Source::Call(call) => {
                let args = call.args.as_ref().map_or_else(String::new, args);
                let body = if call.body.is_some() { " {}" } else { "" };
                self.line(format_args!("{labels}{}{args}{body}{claim}", call.name.text));
                call.body.as_ref()
            }
            Source::Braces(body) => {
                self.line(format_args!("{labels}{{}}{claim}"));
                Some(body)
            }
            Source::From { value, body } => {
                self.line(format_args!("{labels}from {}{claim}", path(value)));
                Some(body)
            }
        };
        if let Some(body) = body {
            self.body(body);
        }
    }
}

fn names(names: &[Name]) -> String {
    let names: Vec<&str> = names.iter().map(|name| &*name.text).collect();
    names.join(", ")
}

fn param(param: &Param) -> String {
    match &param.default {
        Some(default) => format!("{} = {}", param.name.text, expr(default)),
        None => param.name.text.clone(),
    }
}

fn label_text(label: &LabelName) -> String {
    if label.quoted { format!("{:?}", parts(&label.parts)) } else { parts(&label.parts) }
}

fn path(path: &Path) -> String {
    parts(&path.parts)
}

fn parts(parts: &[LabelPart]) -> String {
    let part = |part: &LabelPart| match part {
        LabelPart::Text(text) => text.clone(),
        LabelPart::Expr(inner) => format!("{{{}}}", expr(inner)),
    };
    parts.iter().map(part).collect()
}

fn args(args: &Args) -> String {
    let list: Vec<String> = args
        .list
        .iter()
        .map(|arg| match &arg.name {
            Some(name) => format!("{} = {}", name.text, expr(&arg.value)),
            None => expr(&arg.value),
        })
        .collect();
    format!("({})", list.join(", "))
}

fn exprs(list: &[Expr]) -> String {
    let list: Vec<String> = list.iter().map(expr).collect();
    list.join(", ")
}

fn expr(value: &Expr) -> String {
    match &value.kind {
        ExprKind::Int(value) => value.to_string(),
        ExprKind::Float(value) => format!("{value:?}"),
        ExprKind::Bool(value) => value.to_string(),
        ExprKind::Str(value) => format!("{value:?}"),
        ExprKind::List(list) => format!("[{}]", exprs(list)),
        ExprKind::Path(value) => path(value),
        ExprKind::Call(name, list) => format!("{}{}", name.text, args(list)),
        ExprKind::Unary(UnaryOp::Neg, a) => format!("(- {})", expr(a)),
        ExprKind::Unary(UnaryOp::Not, a) => format!("(not {})", expr(a)),
        ExprKind::Binary(op, a, b) => format!("({} {} {})", op.sign(), expr(a), expr(b)),
        ExprKind::If(test, a, b) => format!("(if {} {} {})", expr(test), expr(a), expr(b)),
        ExprKind::Index(list, at) => format!("{}[{}]", expr(list), expr(at)),
        ExprKind::Range(a, b) => format!("{}..{}", expr(a), expr(b)),
        ExprKind::Paren(inner) => format!("paren({})", expr(inner)),
    }
}
