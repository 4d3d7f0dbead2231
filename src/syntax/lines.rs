//! Cuts a source into statements, lets the grammar read one at a time, and puts bodies where they belong.

use super::ast::{
    Body, BudgetEntry, Call, Definition, Expr, For, If, Item, LabelName, Name, PreprocessEntry, Repeat, Source,
    Statement, StatementKind, ValueStatement,
};
use super::build::{After, Head, ItemHead, SourceHead};
use super::diagnose;
use super::error::{Found, Problem, Result, SyntaxError};
use super::expr::Builder;
use super::grammar::Rule;
use super::read::{Extent, Text, read};
use super::scan::{self, Kind, Scan};
use crate::diag::{FileId, Span};
use pest::iterators::Pair;

/// After so many errors the rest of a file is not read.
pub(super) const MAX_ERRORS: usize = 1000;

pub(super) struct Parser<'a> {
    pub(super) text: &'a str,
    bytes: &'a [u8],
    file: FileId,
    pub(super) scan: &'a Scan,
    pub(super) at: usize,
    /// The first of the scan's errors that has not been passed.
    next_error: usize,
    /// In source order, but for bodies whose heads did not parse.
    pub(super) errors: Vec<SyntaxError>,
    /// Whether a statement at the top of the file has been reported since the last definition.
    outside: bool,
}

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a str, file: FileId, scan: &'a Scan) -> Self {
        Parser { text, bytes: text.as_bytes(), file, scan, at: 0, next_error: 0, errors: Vec::new(), outside: false }
    }

    /// A parser of the same source that begins at `at` and has found no errors.
    pub(super) fn at_place(&self, at: usize) -> Self {
        let mut parser = Parser { at, ..Parser::new(self.text, self.file, self.scan) };
        parser.pass_errors_before(at);
        parser
    }

    /// Leaves the scan's errors before `end` to somebody else.
    pub(super) fn pass_errors_before(&mut self, end: usize) {
        let passed = self.scan.errors.partition_point(|error| (error.span.start as usize) < end);
        self.next_error = self.next_error.max(passed);
    }

    fn report(&mut self, error: &SyntaxError) {
        // One `}` too many: what follows is outside, up to the next definition.
        let outside = error.problem == Problem::StatementOutside;
        if self.outside && (outside || error.problem == Problem::StrayCloser { found: '}' }) {
            return;
        }
        self.outside |= outside;
        self.errors.push(error.clone());
    }

    /// The errors found, in source order, and no more than the limit.
    pub(super) fn into_errors(mut self) -> Vec<SyntaxError> {
        self.report_errors_before(usize::MAX);
        self.errors.sort_by_key(|error| error.span.start);
        self.errors.truncate(MAX_ERRORS);
        if self.errors.len() == MAX_ERRORS
            && let Some(last) = self.errors.last_mut()
        {
            last.problem = Problem::TooManyErrors;
        }
        self.errors
    }

    fn span(&self, start: usize, end: usize) -> Span {
        super::span(self.file, start, end)
    }

    /// Reports what the scan found before `end` and has not been reported.
    pub(super) fn report_errors_before(&mut self, end: usize) {
        let scan = self.scan;
        while let Some(error) = scan.errors.get(self.next_error).filter(|error| (error.span.start as usize) < end) {
            self.next_error += 1;
            self.report(error);
        }
    }

    /// Reports what the scan found in a statement; whether the grammar need not look at it.
    fn report_errors_in(&mut self, extent: Extent) -> bool {
        self.report_errors_before(extent.start);
        let first = self.next_error;
        self.next_error = self.scan.errors.partition_point(|error| (error.span.start as usize) < extent.end).max(first);
        let (harmless, fatal): (Vec<_>, Vec<_>) = self.scan.errors[first..self.next_error]
            .iter()
            .partition(|error| matches!(error.problem, Problem::MissingBlank | Problem::Unclosed { bracket: '{', .. }));
        for error in harmless {
            self.report(error);
        }
        // What follows an open string says nothing about the brackets before it.
        let open_string = fatal.iter().find(|error| error.problem == Problem::UnclosedString);
        match (open_string.or(fatal.first()), fatal.len()) {
            (Some(error), 1) => self.report(&self.closable(error, extent)),
            (Some(error), _) => self.report(error),
            (None, _) => {}
        }
        !fatal.is_empty()
    }

    /// An unclosed bracket that alone spoils a line is closed at the end of that line.
    fn closable(&self, error: &SyntaxError, extent: Extent) -> SyntaxError {
        let mut error = error.clone();
        if let Problem::Unclosed { bracket: '(' | '[', fix, .. } = &mut error.problem
            && extent.body.is_none()
        {
            *fix = Some(super::span(self.file, extent.end, extent.end));
        }
        error
    }

    /// Reads one statement with the grammar and turns it into a piece of the tree.
    fn read<T>(
        &mut self,
        rule: Rule,
        extent: Extent,
        build: impl for<'i> FnOnce(Builder<'i>, Pair<'i, Rule>) -> Result<T>,
    ) -> Option<T> {
        if self.report_errors_in(extent) {
            return None;
        }
        let source = Text { text: self.text, file: self.file, comments: &self.scan.comments };
        read(source, rule, extent, build).map_err(|error| self.report(&error)).ok()
    }

    /// Like `read`, for the rules that choose between several kinds of statements.
    fn read_choice<T>(
        &mut self,
        rule: Rule,
        extent: Extent,
        build: impl for<'i> FnOnce(Builder<'i>, Pair<'i, Rule>) -> Result<T>,
    ) -> Option<T> {
        self.read(rule, extent, |builder, pair| {
            let span = builder.span(&pair);
            build(builder, builder.need(pair.into_inner().next(), span)?)
        })
    }

    /// Moves to the next statement before `end`; false where there is none.
    pub(super) fn next_statement(&mut self, end: usize) -> bool {
        while self.at < end && self.errors.len() < MAX_ERRORS {
            match self.bytes[self.at] {
                b' ' | b'\t' | b'\r' | b'\n' | b';' => self.at += 1,
                b'#' if !scan::is_allow(&self.text[self.at..]) => self.at = self.line_end(self.at),
                // The scan has reported it: it closes nothing, or what a spoilt line opened.
                b'}' => self.at += 1,
                0xef if self.at == 0 && self.text.starts_with('\u{feff}') => self.at += '\u{feff}'.len_utf8(),
                _ => return true,
            }
        }
        self.at = self.at.max(end);
        false
    }

    fn line_end(&self, at: usize) -> usize {
        at + self.bytes[at..].iter().take_while(|&&byte| byte != b'\n').count()
    }

    /// The extent of the statement that begins here; moves behind it.
    pub(super) fn extent(&mut self, end: usize) -> Extent {
        let start = self.at;
        let mut body = None;
        while self.at < end {
            match self.bytes[self.at] {
                b'\n' | b';' | b'}' => break,
                b'#' if !scan::is_allow(&self.text[self.at..]) => break,
                quote @ (b'"' | b'\'') => match scan::string_end(self.bytes, self.at) {
                    (_, false) if quote == b'\'' => self.at += 1,
                    (close, _) => self.at = close,
                },
                b'(' | b'[' | b'{' => match self.scan.bracket(self.at) {
                    Some(bracket) if bracket.kind == Kind::Body => {
                        self.at += 1;
                        body = Some(bracket);
                        break;
                    }
                    Some(bracket) if bracket.closed => self.at = bracket.close + 1,
                    Some(_) | None => self.at += 1,
                },
                _ => self.at += 1,
            }
        }
        let end = start + self.text[start..self.at].trim_end().len();
        Extent { start, end, body }
    }

    /// The extent of what follows a `}` on its line.
    pub(super) fn extent_after_body(&mut self, end: usize) -> Option<Extent> {
        if self.at.checked_sub(1).is_none_or(|last| self.bytes[last] != b'}') {
            return None;
        }
        while self.at < end && matches!(self.bytes[self.at], b' ' | b'\t' | b'\r') {
            self.at += 1;
        }
        match self.bytes[..end].get(self.at) {
            None | Some(b'\n' | b';' | b'}') => None,
            Some(b'#') if !scan::is_allow(&self.text[self.at..]) => None,
            Some(_) => Some(self.extent(end)),
        }
    }

    /// The top of a file.
    pub(super) fn items(&mut self) -> Vec<Item> {
        let (mut items, mut allows) = (Vec::new(), Vec::new());
        let end = self.bytes.len();
        while self.next_statement(end) {
            if self.allow(end, &mut allows) {
                continue;
            }
            let extent = self.extent(end);
            match self.read_choice(Rule::item, extent, |builder, pair| builder.item(pair)) {
                Some(ItemHead::Definition { is_net, name, params, start }) => {
                    self.outside = false;
                    let body = self.body(extent);
                    let span = start.to(body.span);
                    self.nothing_after_body(end);
                    let allows = std::mem::take(&mut allows);
                    let definition = Definition { name, params, allows, body, span };
                    items.push(if is_net { Item::Net(definition) } else { Item::Block(definition) });
                }
                Some(ItemHead::Import(import)) => items.push(Item::Import(import)),
                Some(ItemHead::Let(binding)) => items.push(Item::Let(binding)),
                None => {
                    allows.clear();
                    self.skip_body(extent, end);
                }
            }
            self.check_loose(&mut allows);
        }
        self.check_loose(&mut allows);
        items
    }

    pub(super) fn statements_in_order(&mut self, end: usize) -> Vec<Statement> {
        let (mut statements, mut allows) = (Vec::new(), Vec::new());
        while self.next_statement(end) {
            if self.allow(end, &mut allows) {
                continue;
            }
            let extent = self.extent(end);
            match self.read_choice(Rule::statement, extent, |builder, pair| builder.statement(pair)) {
                Some(head) => {
                    let whole = self.span(extent.start, extent.end);
                    let (kind, last) = self.statement(head, extent, end);
                    let span = last.map_or(whole, |last| whole.to(last));
                    statements.push(Statement { allows: std::mem::take(&mut allows), kind, span });
                }
                None => {
                    allows.clear();
                    self.skip_body(extent, end);
                }
            }
        }
        self.check_loose(&mut allows);
        statements
    }

    /// Reads a line of `#[allow(…)]`, if one begins here.
    fn allow(&mut self, end: usize, allows: &mut Vec<Name>) -> bool {
        if !scan::is_allow(&self.text[self.at..]) {
            return false;
        }
        let extent = self.extent(end);
        if let Some(names) = self.read(Rule::allow, extent, |builder, pair| Ok(builder.allow(pair))) {
            allows.extend(names);
        }
        true
    }

    fn check_loose(&mut self, allows: &mut Vec<Name>) {
        if let (Some(first), Some(last)) = (allows.first(), allows.last()) {
            let span = first.span.to(last.span);
            self.report(&SyntaxError { span, problem: Problem::LooseAllow });
            allows.clear();
        }
    }

    /// The rest of a statement, and the place of the last part of that rest.
    fn statement(&mut self, head: Head, extent: Extent, end: usize) -> (StatementKind, Option<Span>) {
        let kind = match head {
            Head::Let(binding) => return (StatementKind::Let(binding), None),
            Head::Input(input) => return (StatementKind::Input(input), None),
            Head::Output(output) => return (StatementKind::Output(output), None),
            Head::If(test) => return self.branches(test, extent, end),
            Head::Value { labels, source } => return self.value(labels, source, extent, end),
            Head::Repeat { count, binding } => {
                StatementKind::Repeat(Repeat { count, binding, body: self.body(extent) })
            }
            Head::For { index, pattern, list } => {
                StatementKind::For(For { index, pattern, list, body: self.body(extent) })
            }
            Head::Preprocess => StatementKind::Preprocess(self.preprocess(extent)),
            Head::Budget => StatementKind::Budget(self.budget(extent)),
        };
        let last = self.span(self.at, self.at);
        self.nothing_after_body(end);
        (kind, Some(last))
    }

    fn branches(&mut self, test: Expr, extent: Extent, end: usize) -> (StatementKind, Option<Span>) {
        let body = self.body(extent);
        let mut last = body.span;
        let (mut arms, mut otherwise) = (vec![(test, body)], None);
        while let Some(after) = self.extent_after_body(end) {
            match self.read_choice(Rule::after_body, after, |builder, pair| builder.after_body(pair)) {
                Some(After::ElseIf(test)) if otherwise.is_none() => {
                    let body = self.body(after);
                    last = body.span;
                    arms.push((test, body));
                }
                Some(After::Else) if otherwise.is_none() => {
                    let body = self.body(after);
                    last = body.span;
                    otherwise = Some(body);
                }
                Some(_) => self.unexpected_after_body(after),
                None => self.ignore_body(after),
            }
        }
        (StatementKind::If(If { arms, otherwise }), Some(last))
    }

    fn value(
        &mut self,
        labels: Vec<LabelName>,
        source: SourceHead,
        extent: Extent,
        end: usize,
    ) -> (StatementKind, Option<Span>) {
        let mut last = None;
        let mut body = None;
        if extent.body.is_some() {
            let read = self.body(extent);
            last = Some(read.span);
            body = Some(read);
        }
        let mut claim = None;
        if body.is_some() {
            while let Some(after) = self.extent_after_body(end) {
                match self.read_choice(Rule::after_body, after, |builder, pair| builder.after_body(pair)) {
                    Some(After::Claim(read)) if claim.is_none() => {
                        last = Some(read.span);
                        claim = Some(read);
                    }
                    Some(_) => self.unexpected_after_body(after),
                    None => self.ignore_body(after),
                }
            }
        }
        let empty = |body: Option<Body>| {
            body.unwrap_or_else(|| Body { statements: Vec::new(), span: self.span(extent.end, extent.end) })
        };
        let source = match source {
            SourceHead::Call { name, args, claim: on_line } => {
                claim = claim.or(on_line);
                let span = args.as_ref().map_or(name.span, |args| name.span.to(args.span));
                Source::Call(Call { name, args, body, span })
            }
            SourceHead::Braces => Source::Braces(empty(body)),
            SourceHead::From(value) => Source::From { value, body: empty(body) },
        };
        (StatementKind::Value(ValueStatement { labels, source, claim }), last)
    }

    /// The statements in the braces that an extent ends with; moves behind them.
    fn body(&mut self, extent: Extent) -> Body {
        self.in_braces(extent, Self::statements, |statements, span| Body { statements, span })
    }

    fn preprocess(&mut self, extent: Extent) -> Vec<PreprocessEntry> {
        self.in_braces(
            extent,
            |parser, end| parser.entries(Rule::preprocess_entry, end, |builder, pair| builder.preprocess_entry(pair)),
            |list, _| list,
        )
    }

    fn budget(&mut self, extent: Extent) -> Vec<BudgetEntry> {
        self.in_braces(
            extent,
            |parser, end| parser.entries(Rule::budget_entry, end, |builder, pair| builder.budget_entry(pair)),
            |list, _| list,
        )
    }

    fn in_braces<S, T>(
        &mut self,
        extent: Extent,
        statements: impl FnOnce(&mut Self, usize) -> Vec<S>,
        whole: impl FnOnce(Vec<S>, Span) -> T,
    ) -> T {
        let Some(bracket) = extent.body else { return whole(Vec::new(), self.span(extent.end, extent.end)) };
        self.at = bracket.open + 1;
        let statements = statements(self, bracket.close);
        self.at = bracket.behind();
        whole(statements, self.span(bracket.open, self.at))
    }

    fn entries<T>(
        &mut self,
        rule: Rule,
        end: usize,
        build: impl for<'i> Fn(Builder<'i>, Pair<'i, Rule>) -> Result<T>,
    ) -> Vec<T> {
        let mut entries = Vec::new();
        while self.next_statement(end) {
            let extent = self.extent(end);
            entries.extend(self.read(rule, extent, &build));
            self.ignore_body(extent);
        }
        entries
    }

    /// Only a new line, `;` or `}` may follow a body here.
    fn nothing_after_body(&mut self, end: usize) {
        while let Some(after) = self.extent_after_body(end) {
            if !self.report_errors_in(after) {
                self.unexpected_after_body(after);
            } else {
                self.ignore_body(after);
            }
        }
    }

    fn unexpected_after_body(&mut self, after: Extent) {
        let found = diagnose::token(&self.text[after.start..after.end]).to_owned();
        let span = self.span(after.start, after.start + found.len());
        let problem = Problem::Expected { expected: vec!["a new line", "`;`"], found: Found::Text(found), hint: None };
        self.report(&SyntaxError { span, problem });
        self.ignore_body(after);
    }

    /// Reads the bodies of a statement that did not parse, for the errors on further lines; one line gives one error.
    fn skip_body(&mut self, extent: Extent, end: usize) {
        let mut extent = extent;
        while let Some(bracket) = extent.body {
            if bracket.closed && !self.text[bracket.open..bracket.close].contains('\n') {
                self.at = bracket.close + 1;
            } else {
                self.ignore_body(extent);
            }
            self.pass_errors_before(self.at);
            match self.extent_after_body(end) {
                Some(after) => extent = after,
                None => return,
            }
        }
    }

    fn ignore_body(&mut self, extent: Extent) {
        match &self.text[extent.start..scan::word_end(self.bytes, extent.start)] {
            _ if extent.body.is_none() => {}
            "preprocess" => drop(self.preprocess(extent)),
            "budget" => drop(self.budget(extent)),
            _ => drop(self.body(extent)),
        }
    }
}
