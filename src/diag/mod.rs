//! What the compiler tells its users: plain data here, words put on paper by [`human`] and [`json`].
//!
//! A stage finds facts and turns them into a [`Diagnostic`] beside the place where the fact is defined. Exactly one
//! label is primary. Codes live in [`codes`]; every code has a fixture in `tests/errors/`.

pub mod codes;
mod edit;
mod excerpt;
pub mod human;
pub mod json;
mod source;

pub use codes::Code;
pub use edit::apply;
pub use source::{FileId, Position, SourceFile, SourceMap, Span};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Advice: the net means what it says, but probably not what its author wants.
    Warning,
    /// The input is wrong.
    Error,
}

/// A place in a source and what to say there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The place.
    pub span: Span,
    /// The words under the place; may be empty.
    pub text: String,
}

/// One replacement in a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// What is replaced; an empty span inserts.
    pub span: Span,
    /// What stands there afterwards.
    pub replacement: String,
}

/// A suggestion; with edits it can be applied as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Help {
    /// The suggestion in words.
    pub text: String,
    /// The edits that carry it out; empty when it cannot be given as text.
    pub edits: Vec<Edit>,
}

/// One mistake or one piece of advice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The code, a row of [`codes::TABLE`].
    pub code: Code,
    /// Error or warning.
    pub severity: Severity,
    /// One line: what is wrong.
    pub title: String,
    /// The place to look at first.
    pub primary: Label,
    /// Other places that explain it, in the order in which they should be read.
    pub secondary: Vec<Label>,
    /// Facts without a place, such as the arithmetic that led to a size.
    pub notes: Vec<String>,
    /// Suggestions.
    pub help: Vec<Help>,
}

impl Diagnostic {
    /// A diagnostic of the code's own severity at `span`, with no label text.
    pub fn new(code: Code, span: Span, title: impl Into<String>) -> Self {
        Diagnostic {
            code,
            severity: code.severity(),
            title: title.into(),
            primary: Label { span, text: String::new() },
            secondary: Vec::new(),
            notes: Vec::new(),
            help: Vec::new(),
        }
    }

    /// Sets the words under the primary place.
    #[must_use]
    pub fn label(mut self, text: impl Into<String>) -> Self {
        self.primary.text = text.into();
        self
    }

    /// Adds another place.
    #[must_use]
    pub fn also(mut self, span: Span, text: impl Into<String>) -> Self {
        self.secondary.push(Label { span, text: text.into() });
        self
    }

    /// Adds a fact.
    #[must_use]
    pub fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.push(text.into());
        self
    }

    /// Adds a suggestion in words.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help.push(Help { text: text.into(), edits: Vec::new() });
        self
    }

    /// Adds a suggestion that is one edit.
    #[must_use]
    pub fn fix(mut self, text: impl Into<String>, span: Span, replacement: impl Into<String>) -> Self {
        self.help.push(Help { text: text.into(), edits: vec![Edit { span, replacement: replacement.into() }] });
        self
    }

    /// Adds a suggestion, if there is one.
    #[must_use]
    pub fn with_fix(mut self, fix: Option<Help>) -> Self {
        self.help.extend(fix);
        self
    }
}

/// Collects the diagnostics of a run; the same code at the same place is kept once, so a mistake in a block that is
/// called sixteen times is one error.
#[derive(Debug, Default)]
pub struct Sink {
    diagnostics: Vec<Diagnostic>,
    seen: std::collections::HashSet<(Code, Span)>,
    errors: usize,
}

impl Sink {
    /// Adds a diagnostic unless its code has been reported at its primary place.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        if self.seen.insert((diagnostic.code, diagnostic.primary.span)) {
            self.errors += usize::from(diagnostic.severity == Severity::Error);
            self.diagnostics.push(diagnostic);
        }
    }

    /// Whether this code has been reported at this place, so that pushing it again adds nothing.
    pub fn has(&self, code: Code, span: Span) -> bool {
        self.seen.contains(&(code, span))
    }

    /// Whether an error has been reported.
    pub fn has_errors(&self) -> bool {
        self.errors != 0
    }

    /// How many errors have been reported.
    pub fn errors(&self) -> usize {
        self.errors
    }

    /// The diagnostics so far, in the order reported.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// The diagnostics ordered by place, errors and warnings together.
    pub fn into_sorted(mut self) -> Vec<Diagnostic> {
        self.diagnostics.sort_by_key(|d| (d.primary.span.file, d.primary.span.start, d.code));
        self.diagnostics
    }
}

/// The candidate nearest to a misspelt `name`, if one is near enough to be meant: a few letters away, or with the same
/// beginning or end, as `pad` and `padding` or `channels` and `out_channels`.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Of a single letter every other is one step away.
    let allowed = match name.chars().count() {
        0 | 1 => 0,
        letters => (letters / 3).max(1),
    };
    let distance = |candidate: &str| {
        let (short, long) = if candidate.len() < name.len() { (candidate, name) } else { (name, candidate) };
        let is_part = 3 <= short.len() && (long.starts_with(short) || long.ends_with(short));
        let letters = strsim::damerau_levenshtein(name, candidate);
        if name.eq_ignore_ascii_case(candidate) {
            return (0 < letters).then_some(1);
        }
        if letters <= allowed { (0 < letters).then_some(letters) } else { is_part.then_some(allowed + letters) }
    };
    candidates
        .into_iter()
        .filter_map(|candidate| Some((distance(candidate)?, candidate)))
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_a_few_letters_away_or_a_part() {
        let params = ["channels", "kernel", "stride", "pad", "bias"];
        for (name, near) in [
            ("strides", Some("stride")),
            ("knerel", Some("kernel")),
            ("padding", Some("pad")),
            ("kernel_size", Some("kernel")),
            ("out_channels", Some("channels")),
            ("chan", Some("channels")),
            ("pad", None),
            ("dilation", None),
            ("k", None),
            ("Bias", Some("bias")),
            ("STRIDE", Some("stride")),
            ("", None),
        ] {
            assert_eq!(nearest(name, params), near, "{name}");
        }
        assert_eq!(nearest("d", ["c", "h", "w"]), None);
        assert_eq!(nearest("h", ["H", "W"]), Some("H"));
        assert_eq!(nearest("layer12", ["layer1", "layer2", "lay"]), Some("layer1"));
    }

    #[test]
    fn a_mistake_in_a_block_called_twice_is_one() {
        let mut sink = Sink::default();
        let at = |start| Span { start, end: 9, ..Span::default() };
        for start in [5, 5, 2] {
            sink.push(Diagnostic::new(codes::E0301, at(start), "x"));
        }
        sink.push(Diagnostic::new(codes::W0501, at(5), "x"));
        assert!(sink.has_errors());
        let places: Vec<_> = sink.into_sorted().iter().map(|d| (d.primary.span.start, d.code)).collect();
        assert_eq!(places, [(2, codes::E0301), (5, codes::E0301), (5, codes::W0501)]);
    }
}
