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
}

/// Collects the diagnostics of a run; the same code at the same place is kept once, so a mistake in a block that is
/// called sixteen times is one error.
#[derive(Debug, Default)]
pub struct Sink {
    diagnostics: Vec<Diagnostic>,
    seen: std::collections::HashSet<(Code, Span)>,
}

impl Sink {
    /// Adds a diagnostic unless its code has been reported at its primary place.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        if self.seen.insert((diagnostic.code, diagnostic.primary.span)) {
            self.diagnostics.push(diagnostic);
        }
    }

    /// Whether an error has been reported.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|d| d.severity == Severity::Error)
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

/// The candidate nearest to a misspelt `name`, if one is near enough to be meant.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (name.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|&(distance, _)| 0 < distance && distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}
