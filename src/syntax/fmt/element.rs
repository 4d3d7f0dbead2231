//! Statements and items as heads and bodies.

use super::Formatter;
use super::doc::Doc;
use crate::diag::Span;
use crate::syntax::ast::{
    Body, BudgetEntry, Call, Claim, Definition, Expr, For, Import, Input, Item, LabelName, Let, Name, Output, Path,
    Pattern, PreprocessEntry, Repeat, Source, Statement, StatementKind, ValueStatement,
};

/// An item of a file or a statement of a body.
pub(super) struct Element<'a> {
    pub(super) allows: &'a [Name],
    pub(super) labels: &'a [LabelName],
    /// Heads, each with its body if it has one; the second and further ones follow a `}` on its line.
    pub(super) parts: Vec<(Head<'a>, Option<Inside<'a>>)>,
    pub(super) claim: Option<&'a Claim>,
    pub(super) span: Span,
}

/// What stands before a body, or all of a statement without one.
#[derive(Clone, Copy)]
pub(super) enum Head<'a> {
    Import(&'a Import),
    Definition(&'a Definition, &'static str),
    Let(&'a Let),
    Input(&'a Input),
    Output(&'a Output),
    If(&'a Expr),
    ElseIf(&'a Expr),
    Repeat(&'a Repeat),
    For(&'a For),
    Call(&'a Call),
    From(&'a Path),
    Word(&'static str),
    Preprocess(&'a PreprocessEntry),
    Budget(&'a BudgetEntry),
}

/// What stands between braces.
#[derive(Clone, Copy)]
pub(super) struct Inside<'a> {
    contents: Contents<'a>,
    /// From brace to brace.
    pub(super) span: Span,
}

#[derive(Clone, Copy)]
enum Contents<'a> {
    Statements(&'a [Statement]),
    Preprocess(&'a [PreprocessEntry]),
    Budget(&'a [BudgetEntry]),
}

impl<'a> Element<'a> {
    fn plain(head: Head<'a>, span: Span) -> Self {
        Element { allows: &[], labels: &[], parts: vec![(head, None)], claim: None, span }
    }

    pub(super) fn item(item: &'a Item) -> Self {
        match item {
            Item::Import(import) => Element::plain(Head::Import(import), import.span),
            Item::Let(binding) => Element::plain(Head::Let(binding), binding.span),
            Item::Block(definition) => Element::definition(definition, "block"),
            Item::Net(definition) => Element::definition(definition, "net"),
        }
    }

    fn definition(definition: &'a Definition, keyword: &'static str) -> Self {
        let parts = vec![(Head::Definition(definition, keyword), Some(Inside::body(&definition.body)))];
        Element { allows: &definition.allows, labels: &[], parts, claim: None, span: definition.span }
    }

    fn statement(statement: &'a Statement, text: &str) -> Self {
        let span = statement.span;
        let mut element = match &statement.kind {
            StatementKind::Let(binding) => Element::plain(Head::Let(binding), span),
            StatementKind::Input(input) => Element::plain(Head::Input(input), span),
            StatementKind::Output(output) => Element::plain(Head::Output(output), span),
            StatementKind::Repeat(repeat) => Element::with_body(Head::Repeat(repeat), &repeat.body, span),
            StatementKind::For(repeat) => Element::with_body(Head::For(repeat), &repeat.body, span),
            StatementKind::If(branches) => {
                let mut parts = Vec::new();
                for (test, body) in &branches.arms {
                    let head = if parts.is_empty() { Head::If(test) } else { Head::ElseIf(test) };
                    parts.push((head, Some(Inside::body(body))));
                }
                let otherwise = branches.otherwise.as_ref();
                parts.extend(otherwise.map(|body| (Head::Word("else"), Some(Inside::body(body)))));
                Element { parts, ..Element::plain(Head::Word(""), span) }
            }
            StatementKind::Preprocess(entries) => {
                Element::settings("preprocess", Contents::Preprocess(entries), span, text)
            }
            StatementKind::Budget(entries) => Element::settings("budget", Contents::Budget(entries), span, text),
            StatementKind::Value(value) => Element::value(value, span),
        };
        element.allows = &statement.allows;
        element
    }

    fn with_body(head: Head<'a>, body: &'a Body, span: Span) -> Self {
        Element { parts: vec![(head, Some(Inside::body(body)))], ..Element::plain(head, span) }
    }

    /// The tree keeps no place for these braces: they are the first and the last of the statement.
    fn settings(word: &'static str, contents: Contents<'a>, span: Span, text: &str) -> Self {
        let whole = text.get(span.start as usize..span.end as usize).unwrap_or("");
        let open = whole.find('{').map_or(span.start, |at| span.start + u32::try_from(at).unwrap_or(0));
        let inside = Inside { contents, span: Span { start: open, ..span } };
        Element { parts: vec![(Head::Word(word), Some(inside))], ..Element::plain(Head::Word(word), span) }
    }

    fn value(value: &'a ValueStatement, span: Span) -> Self {
        let part = match &value.source {
            Source::Call(call) => (Head::Call(call), call.body.as_ref().map(Inside::body)),
            Source::Braces(body) => (Head::Word(""), Some(Inside::body(body))),
            Source::From { value, body } => (Head::From(value), Some(Inside::body(body))),
        };
        Element { allows: &[], labels: &value.labels, parts: vec![part], claim: value.claim.as_ref(), span }
    }

    /// Whether it is one of the blocks whose braces line up.
    pub(super) fn is_settings(&self) -> bool {
        matches!(self.parts.first(), Some((Head::Word("preprocess" | "budget"), _)))
    }
}

impl<'a> Inside<'a> {
    fn body(body: &'a Body) -> Self {
        Inside { contents: Contents::Statements(&body.statements), span: body.span }
    }

    pub(super) fn is_empty(self) -> bool {
        match self.contents {
            Contents::Statements(list) => list.is_empty(),
            Contents::Preprocess(list) => list.is_empty(),
            Contents::Budget(list) => list.is_empty(),
        }
    }

    /// What stands there, one after the other.
    pub(super) fn elements(self, text: &str) -> Vec<Element<'a>> {
        match self.contents {
            Contents::Statements(list) => list.iter().map(|statement| Element::statement(statement, text)).collect(),
            Contents::Preprocess(list) => {
                list.iter().map(|entry| Element::plain(Head::Preprocess(entry), entry.span)).collect()
            }
            Contents::Budget(list) => {
                list.iter().map(|entry| Element::plain(Head::Budget(entry), entry.span)).collect()
            }
        }
    }
}

impl Formatter<'_> {
    pub(super) fn head(&mut self, head: Head<'_>) -> Doc {
        match head {
            Head::Import(import) => Doc::text(format!("import {}", self.source(import.path.span))),
            Head::Definition(definition, keyword) => {
                let name = Doc::text(format!("{keyword} {}", definition.name.text));
                let params = self.params(&definition.params, definition.name.span);
                Doc::seq(vec![name, params])
            }
            Head::Let(binding) => {
                let value = self.expr(&binding.value);
                Doc::seq(vec![Doc::text(format!("let {} = ", binding.name.text)), value])
            }
            Head::Input(input) => self.input(input),
            Head::Output(output) => self.output(output),
            Head::If(test) => Doc::seq(vec![Doc::text("if "), self.expr(test)]),
            Head::ElseIf(test) => Doc::seq(vec![Doc::text("else if "), self.expr(test)]),
            Head::Repeat(repeat) => {
                let count = self.expr(&repeat.count);
                let binding = repeat.binding.as_ref().map_or_else(String::new, |name| format!(" as {}", name.text));
                Doc::seq(vec![Doc::text("repeat "), count, Doc::text(binding)])
            }
            Head::For(repeat) => {
                let index = repeat.index.as_ref().map_or_else(String::new, |name| format!("{}, ", name.text));
                let pattern = match &repeat.pattern {
                    Pattern::Name(name) => Doc::text(&*name.text),
                    Pattern::List(names, span) => self.names(names, *span),
                };
                let list = self.expr(&repeat.list);
                Doc::seq(vec![Doc::text(format!("for {index}")), pattern, Doc::text(" in "), list])
            }
            Head::Call(call) => {
                let args = call.args.as_ref().map_or_else(|| Doc::text(""), |args| self.args(args));
                Doc::seq(vec![Doc::text(&*call.name.text), args])
            }
            Head::From(path) => Doc::seq(vec![Doc::text("from "), self.path(path)]),
            Head::Word(word) => Doc::text(word),
            Head::Preprocess(entry) => {
                let mut docs = vec![Doc::text(&*entry.name.text)];
                for value in &entry.values {
                    docs.push(Doc::text(" "));
                    docs.push(self.expr(value));
                }
                Doc::seq(docs)
            }
            Head::Budget(entry) => {
                let bound = self.expr(&entry.bound);
                let unit = entry.unit.as_ref().map_or_else(String::new, |unit| format!(" {}", unit.text));
                Doc::seq(vec![Doc::text(format!("{} <= ", entry.metric.text)), bound, Doc::text(unit)])
            }
        }
    }

    fn input(&mut self, input: &Input) -> Doc {
        let name = input.name.span;
        let span = self.up_to(name, input.shape.last().map_or(name, |last| last.span), ']');
        let shape = self.list(&input.shape, span);
        let mut docs = vec![Doc::text(format!("input {}: ", input.name.text)), shape];
        for (i, condition) in input.conditions.iter().enumerate() {
            docs.push(Doc::text(if i == 0 { " where " } else { ", " }));
            docs.push(self.expr(condition));
        }
        Doc::seq(docs)
    }

    fn output(&mut self, output: &Output) -> Doc {
        let mut docs = vec![Doc::text(format!("output {}", output.name.text))];
        if let Some(value) = &output.value {
            docs.push(Doc::text(" = "));
            docs.push(self.path(value));
        }
        if let Some(train) = &output.train {
            docs.push(Doc::text(": train"));
            if let Some(weight) = &train.weight {
                docs.push(Doc::text(" weight "));
                docs.push(self.expr(weight));
            }
        }
        Doc::seq(docs)
    }

    pub(super) fn claim(&mut self, claim: &Claim) -> Doc {
        let shape = self.list(&claim.shape, claim.span);
        Doc::seq(vec![Doc::text("-> "), shape])
    }
}
