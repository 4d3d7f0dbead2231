//! One look over a source before the grammar sees it: which bracket closes which, where the comments are, and what is
//! wrong with either. Linear in the length of the source, and without recursion.

use super::ast::Comment;
use super::error::{Problem, Result, SyntaxError};
use crate::diag::{FileId, Span};

/// How deep brackets may nest.
pub(super) const MAX_NESTING: usize = 256;

/// What a bracket encloses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `(…)`.
    Paren,
    /// `[…]`.
    Square,
    /// `{…}` that touches the text before it: an expression in a label or a path.
    Splice,
    /// `{…}` around statements.
    Body,
}

impl Kind {
    fn closer(self) -> char {
        match self {
            Kind::Paren => ')',
            Kind::Square => ']',
            Kind::Splice | Kind::Body => '}',
        }
    }
}

/// An opening bracket with what closes it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bracket {
    pub(super) open: usize,
    /// Where the closing bracket stands, or where it should have stood.
    pub(super) close: usize,
    pub(super) closed: bool,
    pub(super) kind: Kind,
}

impl Bracket {
    /// The place behind it.
    pub(super) fn behind(self) -> usize {
        self.close + usize::from(self.closed)
    }
}

/// What the scan found.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// In the order of their opening.
    pub(super) brackets: Vec<Bracket>,
    /// In source order.
    pub(super) comments: Vec<Comment>,
    /// How deep the brackets nest.
    pub(super) depth: usize,
    /// By the place of their primary span.
    pub(super) errors: Vec<SyntaxError>,
}

impl Scan {
    /// The bracket that opens at `open`.
    pub(super) fn bracket(&self, open: usize) -> Option<Bracket> {
        let index = self.brackets.binary_search_by_key(&open, |bracket| bracket.open).ok()?;
        self.brackets.get(index).copied()
    }
}

/// Scans a whole source; an error is one that leaves nothing to parse.
pub(super) fn scan(text: &str, file: FileId) -> Result<Scan> {
    let found = scan_once(text, file, false)?;
    let missing = found.brackets.iter().any(|bracket| bracket.kind == Kind::Body && !bracket.closed);
    // Only where a brace is missing does `net` at the start of a line show where it should have stood.
    if missing { scan_once(text, file, true) } else { Ok(found) }
}

fn scan_once(text: &str, file: FileId, definitions_end_bodies: bool) -> Result<Scan> {
    let mut scanner = Scanner {
        text,
        bytes: text.as_bytes(),
        file,
        at: 0,
        stack: Vec::new(),
        indent: 0,
        fresh_line: true,
        last: b'\n',
        splice_end: None,
        suspects: Vec::new(),
        definitions_end_bodies,
        found: Scan::default(),
    };
    scanner.start_line();
    while scanner.at < scanner.bytes.len() {
        scanner.step()?;
    }
    scanner.finish();
    scanner.found.errors.sort_by_key(|error| error.span.start);
    Ok(scanner.found)
}

/// Whether an attribute starts here, rather than a comment.
pub(super) fn is_allow(text: &str) -> bool {
    text.strip_prefix("#[allow").is_some_and(|rest| !rest.bytes().next().is_some_and(is_word))
}

/// The end of the string that opens at `open`, behind its closing quote; the end of the line where it is missing.
pub(super) fn string_end(bytes: &[u8], open: usize) -> (usize, bool) {
    let quote = bytes.get(open).copied();
    let mut at = open + 1;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\n' => return (at, false),
            b'\\' if bytes.get(at + 1).is_some_and(|&next| next != b'\n') => at += 2,
            _ if Some(byte) == quote => return (at + 1, true),
            _ => at += 1,
        }
    }
    (bytes.len(), false)
}

pub(super) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The end of the word at `at`.
pub(super) fn word_end(bytes: &[u8], at: usize) -> usize {
    at + bytes.get(at..).unwrap_or(&[]).iter().take_while(|&&byte| is_word(byte)).count()
}

struct Open {
    /// In [`Scan::brackets`].
    index: usize,
    /// Of the line on which it stands.
    indent: usize,
}

struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    file: FileId,
    at: usize,
    stack: Vec<Open>,
    /// Blanks before the first sign of this line.
    indent: usize,
    /// Whether only blanks have been seen on this line.
    fresh_line: bool,
    /// The last byte that is neither blank nor comment.
    last: u8,
    /// Behind the `}` of a splice.
    splice_end: Option<usize>,
    /// Braces whose closing line is indented otherwise than their opening line, as (open, close).
    suspects: Vec<(usize, usize)>,
    definitions_end_bodies: bool,
    found: Scan,
}

impl Scanner<'_> {
    fn step(&mut self) -> Result<()> {
        let byte = self.bytes[self.at];
        match byte {
            b' ' | b'\t' | b'\r' => {
                self.at += 1;
                return Ok(());
            }
            b'\n' => {
                self.at += 1;
                self.start_line();
                return Ok(());
            }
            b'#' if !is_allow(&self.text[self.at..]) => {
                self.comment();
                return Ok(());
            }
            b'"' | b'\'' => self.string(byte),
            b'(' => self.open(Kind::Paren)?,
            b'[' => self.open(Kind::Square)?,
            b'{' => {
                let kind = if self.is_splice() { Kind::Splice } else { Kind::Body };
                self.open(kind)?;
            }
            b')' | b']' | b'}' => self.close(byte),
            b';' => {
                self.settle_splices();
                self.at += 1;
            }
            control if control.is_ascii_control() => {
                let character = char::from(control);
                self.error(self.at, self.at + 1, Problem::ControlCharacter { character });
                self.at += 1;
            }
            _ => self.at += 1,
        }
        self.last = byte;
        self.fresh_line = false;
        Ok(())
    }

    fn span(&self, start: usize, end: usize) -> Span {
        super::span(self.file, start, end)
    }

    fn error(&mut self, start: usize, end: usize, problem: Problem) {
        let span = self.span(start, end);
        self.found.errors.push(SyntaxError { span, problem });
    }

    fn top(&self) -> Option<Bracket> {
        self.stack.last().and_then(|open| self.found.brackets.get(open.index).copied())
    }

    fn comment(&mut self) {
        let rest = &self.text[self.at..];
        let line = rest.split('\n').next().unwrap_or(rest);
        let text = line.trim_end();
        let span = self.span(self.at, self.at + text.len());
        self.found.comments.push(Comment { text: text.to_owned(), span, own_line: self.fresh_line });
        self.at += line.len();
    }

    fn string(&mut self, quote: u8) {
        let (end, closed) = string_end(self.bytes, self.at);
        if quote == b'"' {
            if !closed {
                let rest = &self.text[self.at..end];
                // It was probably meant to end before the next sign that ends a label, a value or a list.
                let likely = rest.find([':', ',', ')', ']', '#']).map_or(rest, |length| &rest[..length]);
                self.error(self.at, self.at + likely.trim_end().len(), Problem::UnclosedString);
            }
            self.at = end;
        } else if closed {
            let text = self.text[self.at + 1..end - 1].to_owned();
            self.error(self.at, end, Problem::WrongQuotes { text });
            self.at = end;
        } else {
            self.at += 1;
        }
    }

    /// Whether the `{` here touches a name, a number or a dot, or another splice.
    fn is_splice(&self) -> bool {
        let Some(before) = self.at.checked_sub(1) else { return false };
        match self.bytes[before] {
            b'}' => self.splice_end == Some(self.at),
            b'.' => true,
            byte if is_word(byte) => {
                let length = self.bytes[..self.at].iter().rev().take(16).take_while(|&&byte| is_word(byte)).count();
                let word = self.at - length;
                let is_segment = self.text[..word].ends_with('.');
                is_segment || !super::KEYWORDS.contains(&&self.text[word..self.at])
            }
            _ => false,
        }
    }

    fn open(&mut self, kind: Kind) -> Result<()> {
        if self.stack.len() >= MAX_NESTING {
            return Err(SyntaxError::new(self.span(self.at, self.at + 1), Problem::NestingTooDeep));
        }
        let index = self.found.brackets.len();
        self.found.brackets.push(Bracket { open: self.at, close: self.bytes.len(), closed: false, kind });
        self.stack.push(Open { index, indent: self.indent });
        self.found.depth = self.found.depth.max(self.stack.len());
        self.at += 1;
        Ok(())
    }

    fn close(&mut self, byte: u8) {
        // A `)` or `]` never reaches over a `{` of statements, whose own `}` is more to be trusted.
        let mut partner = None;
        for (depth, open) in self.stack.iter().enumerate().rev() {
            let Some(bracket) = self.found.brackets.get(open.index) else { break };
            if bracket.kind.closer() == char::from(byte) {
                partner = Some(depth);
                break;
            }
            if bracket.kind == Kind::Body {
                break;
            }
        }
        match partner {
            Some(depth) => {
                while depth + 1 < self.stack.len() {
                    self.pop_unclosed(self.at);
                }
                self.pop_closed();
            }
            None => match self.top() {
                Some(top) if top.kind != Kind::Body => {
                    let open = self.span(top.open, top.open + 1);
                    self.error(
                        self.at,
                        self.at + 1,
                        Problem::WrongCloser { open, found: char::from(byte), wanted: top.kind.closer() },
                    );
                    self.pop_closed();
                }
                Some(_) | None => self.error(self.at, self.at + 1, Problem::StrayCloser { found: char::from(byte) }),
            },
        }
        self.at += 1;
    }

    fn pop_closed(&mut self) {
        let Some(open) = self.stack.pop() else { return };
        let Some(bracket) = self.found.brackets.get_mut(open.index) else { return };
        (bracket.close, bracket.closed) = (self.at, true);
        match bracket.kind {
            Kind::Splice => self.splice_end = Some(self.at + 1),
            Kind::Body if self.fresh_line && self.indent != open.indent => self.suspects.push((bracket.open, self.at)),
            Kind::Body | Kind::Paren | Kind::Square => {}
        }
    }

    /// Takes the innermost bracket off the stack as one that should have been closed at `close`, or before.
    fn pop_unclosed(&mut self, close: usize) {
        let Some(open) = self.stack.pop() else { return };
        let Some(bracket) = self.found.brackets.get_mut(open.index) else { return };
        bracket.close = close;
        let (start, bracket) = (bracket.open, char::from(self.bytes[bracket.open]));
        self.error(start, start + 1, Problem::Unclosed { bracket, suspect: None, others: Vec::new(), fix: None });
    }

    /// Looks at the line that begins here, while brackets are open.
    fn start_line(&mut self) {
        self.fresh_line = true;
        self.indent = self.bytes[self.at..].iter().take_while(|&&byte| byte == b' ' || byte == b'\t').count();
        if self.stack.is_empty() {
            return;
        }
        self.settle_splices();
        let start = self.at + self.indent;
        let word = &self.text[start..word_end(self.bytes, start)];
        let outer_indent = self.stack.first().map_or(0, |open| open.indent);
        if self.definitions_end_bodies && self.indent <= outer_indent && matches!(word, "block" | "net" | "import") {
            self.close_all(self.at);
        } else if self.top().is_some_and(|top| top.kind != Kind::Body) && self.begins_statement(start, word) {
            while self.top().is_some_and(|top| top.kind != Kind::Body) {
                self.pop_unclosed(self.at);
            }
        }
    }

    /// Whether this line cannot be inside ( ) or [ ]: it begins with a keyword of statements, or with a label although
    /// the line above does not ask for more.
    fn begins_statement(&self, start: usize, word: &str) -> bool {
        const STARTERS: [&str; 11] =
            ["block", "net", "import", "let", "input", "output", "repeat", "for", "from", "preprocess", "budget"];
        if STARTERS.contains(&word) {
            return true;
        }
        if matches!(self.last, b',' | b'(' | b'[' | b'=' | b'+' | b'-' | b'*' | b'/' | b'%' | b'<' | b'>')
            || word.is_empty()
        {
            return false;
        }
        let rest = &self.bytes[start + word.len()..];
        let label = rest.iter().take_while(|&&byte| is_word(byte) || matches!(byte, b'.' | b' ')).count();
        rest.get(label) == Some(&b':')
    }

    /// At the end of a line or a statement no expression in a label can be open: what looked like one is a body whose
    /// `{` lacks the blank before it.
    fn settle_splices(&mut self) {
        for depth in (0..self.stack.len()).rev() {
            let Some(bracket) = self.found.brackets.get_mut(self.stack[depth].index) else { return };
            match bracket.kind {
                Kind::Splice => {
                    bracket.kind = Kind::Body;
                    let open = bracket.open;
                    self.error(open, open + 1, Problem::MissingBlank);
                }
                Kind::Body | Kind::Paren | Kind::Square => return,
            }
        }
    }

    /// Everything that is open should have been closed before `close`.
    fn close_all(&mut self, close: usize) {
        while self.top().is_some_and(|top| top.kind != Kind::Body) {
            self.pop_unclosed(close);
        }
        let mut bodies = Vec::new();
        while let Some(open) = self.stack.pop() {
            let Some(bracket) = self.found.brackets.get_mut(open.index) else { continue };
            bracket.close = close;
            if bracket.kind == Kind::Body {
                bodies.push(bracket.open);
            }
        }
        let Some(&inner) = bodies.first() else { return };
        let suspect = self.suspects.iter().find(|&&(open, _)| inner < open).copied();
        let others = bodies[1..].iter().map(|&open| self.span(open, open + 1)).collect();
        match suspect {
            Some((open, closer)) => {
                let suspect = Some((self.span(closer, closer + 1), self.span(inner, inner + 1)));
                self.error(open, open + 1, Problem::Unclosed { bracket: '{', suspect, others, fix: None });
            }
            None => self.error(inner, inner + 1, Problem::Unclosed { bracket: '{', suspect: None, others, fix: None }),
        }
        self.suspects.clear();
    }

    fn finish(&mut self) {
        self.close_all(self.bytes.len());
    }
}
