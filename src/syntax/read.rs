//! One call of the grammar: one statement up to its body.

use super::ast::Comment;
use super::diagnose::{Failure, diagnose};
use super::error::{Found, Problem, Result, SyntaxError};
use super::expr::Builder;
use super::grammar::{Grammar, Rule};
use super::scan::Bracket;
use crate::diag::FileId;
use pest::Parser as _;
use pest::iterators::Pair;
use std::borrow::Cow;

/// The longest statement without its body, in bytes.
pub(super) const MAX_STATEMENT: usize = 1 << 20;

/// A statement up to and including the `{` of its body.
#[derive(Clone, Copy)]
pub(super) struct Extent {
    pub(super) start: usize,
    /// Without blanks and comments behind it.
    pub(super) end: usize,
    pub(super) body: Option<Bracket>,
}

/// A source whose comments are known.
#[derive(Clone, Copy)]
pub(super) struct Text<'a> {
    pub(super) text: &'a str,
    pub(super) file: FileId,
    /// In source order.
    pub(super) comments: &'a [Comment],
}

/// Reads one statement by a rule and turns it into a piece of the tree.
pub(super) fn read<T>(
    source: Text<'_>,
    rule: Rule,
    extent: Extent,
    build: impl for<'i> FnOnce(Builder<'i>, Pair<'i, Rule>) -> Result<T>,
) -> Result<T> {
    let Text { text, file, .. } = source;
    let Extent { start, end, .. } = extent;
    if end - start > MAX_STATEMENT {
        let length = text[start..].chars().next().map_or(0, char::len_utf8);
        return Err(SyntaxError::new(super::span(file, start, start + length), Problem::StatementTooLong));
    }
    let input = &*without_comments(source, start, end);
    let mut pairs =
        Grammar::parse(rule, input).map_err(|error| diagnose(&Failure { file, input, base: start, rule }, &error))?;
    let pair = pairs.next().ok_or_else(|| {
        let problem = Problem::Expected { expected: vec!["a statement"], found: Found::End, hint: None };
        SyntaxError::new(super::span(file, start, end), problem)
    })?;
    build(Builder { file, input, base: start }, pair)
}

/// A piece of the source with blanks in place of comments, so that all places stay what they are.
fn without_comments(source: Text<'_>, start: usize, end: usize) -> Cow<'_, str> {
    let piece = &source.text[start..end];
    let first = source.comments.partition_point(|comment| (comment.span.start as usize) < start);
    let inside = |comment: &&Comment| (comment.span.start as usize) < end;
    let mut comments = source.comments[first..].iter().take_while(inside).peekable();
    if comments.peek().is_none() {
        return Cow::Borrowed(piece);
    }
    let mut blanked = String::with_capacity(piece.len());
    for comment in comments {
        let at = comment.span.start as usize - start;
        blanked.push_str(&piece[blanked.len()..at]);
        blanked.extend(std::iter::repeat_n(' ', comment.text.len()));
    }
    blanked.push_str(&piece[blanked.len()..]);
    Cow::Owned(blanked)
}
