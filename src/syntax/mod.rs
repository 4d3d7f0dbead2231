//! Text to [`ast`] and back. Knows no layer.
//!
//! `scan` pairs the brackets and finds the comments, `lines` cuts the text into statements, the grammar
//! (`grammar/net.pest`) reads one statement at a time, `build` and `expr` turn what it read into the tree, and `diagnose`
//! turns what it could not read into an [`error::SyntaxError`].

pub mod ast;
mod build;
mod diagnose;
pub mod error;
mod expr;
mod fmt;
mod lines;
mod parse;
mod pieces;
mod print;
mod read;
mod scan;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use fmt::format;
pub use parse::{MAX_SOURCE, Parsed, add_source, parse, parse_expr};
pub use print::ast_text;

use crate::diag::{FileId, Span};

/// The words that cannot be names or unquoted labels.
pub const KEYWORDS: [&str; 23] = [
    "and",
    "as",
    "block",
    "budget",
    "else",
    "false",
    "for",
    "from",
    "if",
    "import",
    "in",
    "input",
    "let",
    "net",
    "not",
    "or",
    "output",
    "preprocess",
    "repeat",
    "then",
    "train",
    "true",
    "where",
];

fn span(file: FileId, start: usize, end: usize) -> Span {
    let offset = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    Span { file, start: offset(start), end: offset(end) }
}

/// The parser that pest derives from the grammar.
mod grammar {
    #[derive(pest_derive::Parser)]
    #[grammar = "../grammar/net.pest"]
    pub(super) struct Grammar;
}
