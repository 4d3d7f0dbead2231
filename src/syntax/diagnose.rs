//! From what the grammar says (a place, and the rules that it tried there) to what the author did.

use super::error::{Found, Problem, SyntaxError};
use super::grammar::Rule;
use super::scan::{string_end, word_end};
use crate::diag::FileId;
use pest::error::{Error, ErrorVariant, InputLocation};

/// A text that the grammar did not read.
pub(super) struct Failure<'a> {
    pub(super) file: FileId,
    /// What the grammar saw.
    pub(super) input: &'a str,
    /// Where in the file that begins.
    pub(super) base: usize,
    /// The entry rule.
    pub(super) rule: Rule,
}

/// The word, number, string or sign at the start of a text.
pub(super) fn token(text: &str) -> &str {
    let bytes = text.as_bytes();
    let signs = ["==", "!=", "<=", ">=", "//", "/*", "..", "->", "&&", "||", "**", "=>", ":="];
    let word = word_end(bytes, 0);
    let length = match bytes.first() {
        None => 0,
        Some(b'"') => string_end(bytes, 0).0,
        Some(_) if word > 0 => word,
        Some(_) => match signs.iter().find(|sign| text.starts_with(**sign)) {
            Some(sign) => sign.len(),
            None => text.chars().next().map_or(0, char::len_utf8),
        },
    };
    &text[..length]
}

/// What is wrong with a text that the grammar did not read.
pub(super) fn diagnose(failure: &Failure<'_>, error: &Error<Rule>) -> SyntaxError {
    let at = match error.location {
        InputLocation::Pos(at) | InputLocation::Span((at, _)) => at.min(failure.input.len()),
    };
    let rules = match &error.variant {
        ErrorVariant::ParsingError { positives, .. } => positives.as_slice(),
        ErrorVariant::CustomError { .. } => &[],
    };
    let found = token(&failure.input[at..]);
    let span = super::span(failure.file, failure.base + at, failure.base + at + found.len());
    let found = if found.is_empty() { Found::End } else { Found::Text(found.to_owned()) };
    let mut expected: Vec<&'static str> = rules.iter().filter_map(|&rule| words(rule)).collect();
    expected.dedup();
    if expected.is_empty() {
        expected.push("something else");
    }
    let _ = failure.rule;
    SyntaxError { span, problem: Problem::Expected { expected, found, hint: None } }
}

/// A rule in the words of its users; `None` for what goes without saying.
fn words(rule: Rule) -> Option<&'static str> {
    Some(match rule {
        Rule::item => "`net`, `block`, `let` or `import`",
        Rule::expr | Rule::arg => "a value",
        _ => return None,
    })
}
