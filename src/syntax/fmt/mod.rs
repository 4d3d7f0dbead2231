//! The canonical text of a source.
//!
//! One statement stands on a line, indented by its nesting; braces that stood on one line stay there if they fit. What
//! the author chose stays: numbers and strings as spelt, parentheses, comments, up to one blank line, `;` inside one-line
//! braces, the columns of claims and trailing comments, and the lines of a list that ends in a comma. Labels, claims and
//! the braces of `preprocess` and `budget` line up with those of the lines next to them.

mod doc;
mod element;
mod expr;
mod lines;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use self::doc::{Doc, INDENT, MAX_WIDTH, Trailing, layout};
use self::element::{Element, Inside};
use self::lines::{Align, BEFORE_COLUMN, Line};
use super::ast::{Claim, Comment, Name};
use super::parse::{Parsed, no_stack, parse_with_depth, with_stack_for};
use crate::diag::{FileId, Sink, SourceMap, Span};

/// The canonical text of a source: formatting it again changes nothing, it means the same, and every comment is kept.
/// `None` if the source has syntax errors, which are then in the sink.
pub fn format(sources: &SourceMap, id: FileId, sink: &mut Sink) -> Option<String> {
    let mut found = Sink::default();
    let (parsed, depth) = parse_with_depth(sources, id, &mut found);
    if found.has_errors() {
        found.into_sorted().into_iter().for_each(|error| sink.push(error));
        return None;
    }
    let text = &sources.file(id).text;
    with_stack_for(depth, || {
        let mut formatter = Formatter {
            text,
            comments: &parsed.comments,
            next: 0,
            stray: Vec::new(),
            lines: Vec::new(),
            last_end: 0,
            indent: 0,
        };
        formatter.file(&parsed);
        lines::join(formatter.lines)
    })
    .or_else(|| {
        sink.push(no_stack(id).to_diagnostic());
        None
    })
}

struct Formatter<'a> {
    text: &'a str,
    comments: &'a [Comment],
    /// The first comment that has not been placed.
    next: usize,
    /// Comments that cannot stay where they are, inside an expression or behind a label; they go before the list item or
    /// the statement.
    stray: Vec<String>,
    lines: Vec<Line>,
    /// Where in the source the last thing ended that was placed.
    last_end: usize,
    indent: usize,
}

impl Formatter<'_> {
    fn file(&mut self, parsed: &Parsed) {
        let elements = parsed.file.items.iter().map(Element::item).collect();
        self.elements(elements, self.text.len());
    }

    fn source(&self, span: Span) -> &str {
        self.text.get(span.start as usize..span.end as usize).unwrap_or("")
    }

    /// The next comment, if it begins before `end`.
    fn comment_before(&mut self, end: usize) -> Option<Comment> {
        let comment = self.comments.get(self.next).filter(|comment| (comment.span.start as usize) < end)?;
        self.next += 1;
        Some(comment.clone())
    }

    /// Takes the comments before `end` that nothing else has taken.
    fn stray_before(&mut self, end: usize) {
        while let Some(comment) = self.comment_before(end) {
            self.stray.push(comment.text);
        }
    }

    /// The comment behind something on its line, with nothing but blanks and `separator` between.
    fn trailing(&mut self, end: usize, separator: u8) -> Option<Trailing> {
        let comment = self.comments.get(self.next)?;
        let start = comment.span.start as usize;
        let between = self.text.get(end..start)?;
        if !between.bytes().all(|byte| byte == separator || matches!(byte, b' ' | b'\t' | b'\r')) {
            return None;
        }
        let trailing = Trailing { text: comment.text.clone(), column: self.column(start) };
        self.next += 1;
        self.last_end = comment.span.end as usize;
        Some(trailing)
    }

    /// The column of a place, if no tab before it makes that uncertain.
    fn column(&self, at: usize) -> Option<usize> {
        let before = self.text.get(..at)?;
        let line = &before[before.rfind('\n').map_or(0, |at| at + 1)..];
        if line.contains('\t') { None } else { Some(line.chars().count()) }
    }

    fn trailing_claim(&self, claim: Option<&Claim>, text: String) -> Option<Trailing> {
        let claim = claim?;
        Some(Trailing { text, column: self.column(claim.span.start as usize) })
    }

    /// From behind `before` to behind the bracket that closes a list whose last item is `last`.
    fn up_to(&self, before: Span, last: Span, close: char) -> Span {
        crate::syntax::span(before.file, before.end as usize, self.closer(last.end as usize, close) + 1)
    }

    /// The offset of the bracket that closes a list whose last item ends at `from`.
    fn closer(&self, from: usize, close: char) -> usize {
        let mut rest = self.text.get(from..).unwrap_or("");
        while let Some(at) = rest.find(['#', close]) {
            if rest[at..].starts_with(close) {
                return self.text.len() - rest.len() + at;
            }
            rest = rest[at..].split_once('\n').map_or("", |(_, below)| below);
        }
        self.text.len()
    }

    /// Whether a blank line separates what stands at `start` from what was placed last.
    fn blank_above(&self, start: usize) -> bool {
        let is_first = self.lines.last().is_none_or(|line| line.opens);
        let between = self.text.get(self.last_end..start).unwrap_or("");
        !is_first && between.bytes().filter(|&byte| byte == b'\n').nth(1).is_some()
    }

    fn line(&mut self, blank_above: bool, code: String) -> Line {
        Line {
            blank_above,
            indent: self.indent,
            label: String::new(),
            align: Align::Nothing,
            code,
            claim: None,
            comment: None,
            opens: false,
        }
    }

    fn push(&mut self, blank_above: bool, code: String) {
        let line = self.line(blank_above, code);
        self.lines.push(line);
    }

    /// Places the comments before `end` on lines of their own.
    fn comments_before(&mut self, end: usize) {
        while let Some(comment) = self.comment_before(end) {
            let blank = self.blank_above(comment.span.start as usize);
            self.push(blank, comment.text);
            self.last_end = comment.span.end as usize;
        }
    }

    fn elements(&mut self, elements: Vec<Element<'_>>, end: usize) {
        for element in elements {
            let start = element.allows.first().map_or(element.span.start as usize, |name| self.allow_start(name));
            self.comments_before(start);
            let mut blank = self.blank_above(start);
            if !element.allows.is_empty() {
                self.allows(element.allows, blank);
                self.comments_before(element.span.start as usize);
                blank = false;
            }
            self.element(&element, blank);
            self.strays(false);
            let end = element.span.end as usize;
            self.last_end = end;
            let comment = self.trailing(end, b';');
            if let Some(line) = self.lines.last_mut() {
                line.comment = comment;
            }
        }
        self.comments_before(end);
    }

    fn allow_start(&self, name: &Name) -> usize {
        let before = self.text.get(..name.span.start as usize).unwrap_or("");
        before.rfind("#[allow").unwrap_or(before.len())
    }

    /// `#[allow(…)]` lines; names that stood on one line stay on one.
    fn allows(&mut self, names: &[Name], blank_above: bool) {
        let same = |a: &Name, b: &Name| !self.source(a.span.after().to(b.span)).contains(']');
        let attributes: Vec<&[Name]> = names.chunk_by(same).collect();
        let mut blank = blank_above;
        for names in attributes {
            let end = names.last().map_or(0, |name| self.closer(name.span.end as usize, ']') + 1);
            self.comments_before(end);
            let list: Vec<&str> = names.iter().map(|name| &*name.text).collect();
            self.push(blank, format!("#[allow({})]", list.join(", ")));
            blank = false;
            self.last_end = end;
            let comment = self.trailing(end, b' ');
            if let Some(line) = self.lines.last_mut() {
                line.comment = comment;
            }
        }
    }

    fn element(&mut self, element: &Element<'_>, blank_above: bool) {
        let has_body = element.parts.iter().any(|(_, inside)| inside.is_some());
        if !has_body {
            return self.simple(element, blank_above);
        }
        let next = self.next;
        if self.may_be_inline(element)
            && let Some(inline) = self.inline(element, MAX_WIDTH)
            && self.indent + inline.width() <= MAX_WIDTH
        {
            self.stray_before(element.span.end as usize);
            let blank = self.strays(blank_above);
            let mut line = self.line(blank, inline.code);
            (line.label, line.align) = (inline.label, inline.align);
            line.claim = self.trailing_claim(element.claim, inline.claim);
            self.lines.push(line);
            return;
        }
        self.next = next;
        self.stray.clear();
        self.spread(element, blank_above);
    }

    /// Whether its bodies stood on one line, or are empty.
    fn may_be_inline(&self, element: &Element<'_>) -> bool {
        let mut bodies = element.parts.iter().filter_map(|(_, inside)| *inside);
        bodies.all(|inside| inside.is_empty() && !self.has_comment(inside.span))
            || !self.source(element.span).contains('\n')
    }

    fn has_comment(&self, span: Span) -> bool {
        let first = self.comments.partition_point(|comment| comment.span.start < span.start);
        self.comments.get(first).is_some_and(|comment| comment.span.start < span.end)
    }

    /// Places the comments that had to leave their place on lines of their own; whether a blank line is still due.
    fn strays(&mut self, blank_above: bool) -> bool {
        let mut blank = blank_above;
        for comment in std::mem::take(&mut self.stray) {
            self.push(blank, comment);
            blank = false;
        }
        blank
    }

    fn labels(&mut self, element: &Element<'_>) -> String {
        let labels: Vec<String> = element.labels.iter().map(|label| self.label(label)).collect();
        if labels.is_empty() { String::new() } else { labels.join(", ") + ":" }
    }

    /// A statement without a body, on one line if it fits.
    fn simple(&mut self, element: &Element<'_>, blank_above: bool) {
        let label = self.labels(element);
        let head = element.parts.first().map_or_else(|| Doc::text(""), |(head, _)| self.head(*head));
        let claim = element.claim.map(|claim| self.claim(claim));
        self.stray_before(element.span.end as usize);
        let blank = self.strays(blank_above);
        let separator = usize::from(!label.is_empty());
        let claim_width = claim.as_ref().map(|claim| claim.flat_width().map(|width| width + BEFORE_COLUMN));
        let width = head.flat_width().zip(claim_width.unwrap_or(Some(0))).map(|(head, claim)| head + claim);
        let before = self.indent + label.chars().count() + separator;
        if width.is_some_and(|width| before + width <= MAX_WIDTH) {
            let claim = claim.map_or_else(String::new, |claim| claim.flat());
            let claim = self.trailing_claim(element.claim, claim);
            return self.aligned(blank, label, head.flat(), claim);
        }
        let start = if label.is_empty() { String::new() } else { format!("{label} ") };
        let rest = claim.as_ref().map_or(0, |claim| 1 + claim.lead_width());
        self.lay(head, start, rest, blank);
        if let (Some(claim), Some(doc)) = (element.claim, claim) {
            self.claim_behind(claim, doc);
        }
    }

    /// Puts a claim behind the last line.
    fn claim_behind(&mut self, claim: &Claim, doc: Doc) {
        let column = self.column(claim.span.start as usize);
        let Some(line) = self.lines.last_mut() else { return };
        let end = line.indent + line.code.chars().count();
        if doc.flat_width().is_some_and(|width| end + 1 + width <= MAX_WIDTH) && line.claim.is_none() {
            line.claim = Some(Trailing { text: doc.flat(), column });
            return;
        }
        let start = std::mem::take(&mut line.code) + " ";
        let blank = line.blank_above;
        self.lines.pop();
        self.lay(doc, start, 0, blank);
    }

    fn aligned(&mut self, blank_above: bool, label: String, code: String, claim: Option<Trailing>) {
        let align = if label.is_empty() { Align::Nothing } else { Align::Labels };
        let line = self.line(blank_above, code);
        self.lines.push(Line { label, align, claim, ..line });
    }

    /// Lays a text out over lines of its own.
    fn lay(&mut self, doc: Doc, start: String, rest: usize, blank_above: bool) {
        for (i, piece) in layout(&doc, start, self.indent, rest).into_iter().enumerate() {
            let mut line = self.line(blank_above && i == 0, piece.text);
            (line.indent, line.comment) = (piece.indent, piece.trailing);
            self.lines.push(line);
        }
    }

    /// A statement whose bodies are spread over lines of their own.
    fn spread(&mut self, element: &Element<'_>, blank_above: bool) {
        let mut blank = blank_above;
        for (i, (head, inside)) in element.parts.iter().enumerate() {
            let mut start = String::new();
            if i == 0 {
                start = self.labels(element);
            } else if let Some(line) = self.lines.pop() {
                start = line.code;
            }
            let doc = self.head(*head);
            if let Some(inside) = inside {
                self.stray_before(inside.span.start as usize);
            }
            if i == 0 {
                blank = self.strays(blank);
            }
            if !start.is_empty() {
                start.push(' ');
            }
            self.lay(doc, start, " {".len(), blank && i == 0);
            if let Some(inside) = inside {
                self.body(*inside);
            }
        }
        if let Some(claim) = element.claim {
            let doc = self.claim(claim);
            self.claim_behind(claim, doc);
        }
    }

    /// `{`, behind what the last line has, the contents, and `}`.
    fn body(&mut self, inside: Inside<'_>) {
        let open = inside.span.start as usize + 1;
        let close = (inside.span.end as usize).saturating_sub(1);
        let elements = inside.elements(self.text);
        let is_empty = elements.is_empty() && !self.has_comment(inside.span) && self.stray.is_empty();
        let comment = self.trailing(open, b' ');
        if let Some(line) = self.lines.last_mut() {
            let blank = if line.code.is_empty() { "" } else { " " };
            line.code = format!("{}{blank}{}", line.code, if is_empty { "{}" } else { "{" });
            line.opens = !is_empty;
            line.comment = comment.or(line.comment.take());
        }
        if is_empty {
            return;
        }
        self.last_end = self.last_end.max(open);
        self.indent += INDENT;
        self.strays(false);
        self.elements(elements, close);
        self.indent -= INDENT;
        self.push(false, "}".to_owned());
    }

    /// A statement with its bodies on one line, unless that is much longer than `limit`.
    fn inline(&mut self, element: &Element<'_>, limit: usize) -> Option<Inline> {
        let mut label = self.labels(element);
        let mut align = if label.is_empty() { Align::Nothing } else { Align::Labels };
        let mut code = String::new();
        for (i, (head, inside)) in element.parts.iter().enumerate() {
            code.push_str(if i == 0 { "" } else { " " });
            let head = self.head(*head);
            if limit < head.flat_width()? {
                return None;
            }
            if element.is_settings() {
                (label, align) = (head.flat(), Align::Settings);
            } else {
                code.push_str(&head.flat());
            }
            if let Some(inside) = inside {
                code.push_str(if code.is_empty() || code.ends_with(' ') { "" } else { " " });
                self.inline_body(*inside, limit, &mut code)?;
            }
        }
        let mut claim = String::new();
        if let Some(sizes) = element.claim {
            let doc = self.claim(sizes);
            doc.flat_width()?;
            claim = doc.flat();
        }
        Some(Inline { label, align, code, claim })
    }

    fn inline_body(&mut self, inside: Inside<'_>, limit: usize, code: &mut String) -> Option<()> {
        code.push('{');
        let elements = inside.elements(self.text);
        for (i, element) in elements.iter().enumerate() {
            code.push_str(if i == 0 { " " } else { "; " });
            if !element.allows.is_empty() {
                return None;
            }
            let inline = self.inline(element, limit)?;
            code.push_str(&inline.label);
            code.push_str(if inline.label.is_empty() { "" } else { " " });
            code.push_str(&inline.code);
            code.push_str(if inline.claim.is_empty() { "" } else { " " });
            code.push_str(&inline.claim);
            // Characters are at most four bytes.
            if 4 * limit < code.len() {
                return None;
            }
        }
        code.push_str(if elements.is_empty() { "}" } else { " }" });
        Some(())
    }
}

/// A statement on one line.
struct Inline {
    label: String,
    align: Align,
    code: String,
    claim: String,
}

impl Inline {
    fn width(&self) -> usize {
        let count = |text: &str, before: usize| if text.is_empty() { 0 } else { text.chars().count() + before };
        count(&self.label, 1) + count(&self.code, 0) + count(&self.claim, BEFORE_COLUMN)
    }
}
