//! Texts in, trees out: the face of the parser.

use super::ast::{Comment, Expr, File};
use super::error::{Problem, SyntaxError};
use super::expr::Builder;
use super::grammar::Rule;
use super::lines::{Extent, Parser, read};
use super::scan::{self, Scan};
use crate::diag::{FileId, Sink, SourceMap};

/// The largest source, in bytes.
pub const MAX_SOURCE: usize = 64 << 20;

/// The longest statement without its body, in bytes.
pub(super) const MAX_STATEMENT: usize = 1 << 20;

/// After so many errors the rest of a file is not read.
pub(super) const MAX_ERRORS: usize = 1000;

/// A source as a tree.
#[derive(Debug, Default)]
pub struct Parsed {
    /// What it says.
    pub file: File,
    /// Its comments in source order.
    pub comments: Vec<Comment>,
}

/// Adds a source to the map. Bytes that are not UTF-8, or too many of them, are an error in the sink (E0105) and no
/// source to parse; a byte order mark at the start is dropped.
pub fn add_source(sources: &mut SourceMap, name: &str, bytes: Vec<u8>, sink: &mut Sink) -> Option<FileId> {
    let fail = |sources: &mut SourceMap, text: String, at: usize, problem, sink: &mut Sink| {
        let length = text.len() - at;
        let file = sources.add(name, text);
        sink.push(SyntaxError { span: super::span(file, at, at + length), problem }.to_diagnostic());
        None
    };
    if bytes.len() > MAX_SOURCE {
        return fail(sources, String::new(), 0, Problem::SourceTooLarge, sink);
    }
    match String::from_utf8(bytes) {
        Ok(mut text) => {
            if text.starts_with('\u{feff}') {
                text.drain(..'\u{feff}'.len_utf8());
            }
            Some(sources.add(name, text))
        }
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let mut text = String::from_utf8_lossy(&error.into_bytes()[..at]).into_owned();
            text.push('\u{fffd}');
            fail(sources, text, at, Problem::NotUtf8, sink)
        }
    }
}

/// Parses everything it can. Each line that does not parse is one error in the sink, and parsing resumes at the next.
pub fn parse(sources: &SourceMap, id: FileId, sink: &mut Sink) -> Parsed {
    let text = &sources.file(id).text;
    let scan = match scan_source(text, id) {
        Ok(scan) => scan,
        Err(error) => {
            sink.push(error.to_diagnostic());
            return Parsed::default();
        }
    };
    let mut parser = Parser::new(text, id, &scan, sink);
    let items = parser.items();
    parser.report_errors_before(usize::MAX);
    Parsed { file: File { items }, comments: scan.comments }
}

/// Parses a source that is one expression, as behind `--set name=`.
pub fn parse_expr(sources: &SourceMap, id: FileId, sink: &mut Sink) -> Option<Expr> {
    let text = &sources.file(id).text;
    let expr = scan_source(text, id).and_then(|scan| {
        if let Some(error) = scan.errors.first() {
            return Err(error.clone());
        }
        let builder = Builder { file: id, base: 0 };
        let whole = read(text, id, Rule::lone_expr, Extent { start: 0, end: text.len(), body: None })?;
        let expr = whole.into_inner().find(|part| part.as_rule() == Rule::expr);
        let span = super::span(id, 0, text.len());
        builder.need(expr, span).and_then(|expr| builder.expr(expr)).map_err(|error| *error)
    });
    expr.map_err(|error| sink.push(error.to_diagnostic())).ok()
}

fn scan_source(text: &str, id: FileId) -> Result<Scan, SyntaxError> {
    if text.len() > MAX_SOURCE {
        return Err(SyntaxError { span: super::span(id, 0, 0), problem: Problem::SourceTooLarge });
    }
    scan::scan(text, id)
}
