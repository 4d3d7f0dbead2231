//! Texts in, trees out: the face of the parser.

use super::ast::{Comment, Expr, File};
use super::error::{Problem, Result, SyntaxError};
use super::grammar::Rule;
use super::lines::Parser;
use super::read::{Extent, Text, read};
use super::scan::{self, Scan};
use crate::diag::{FileId, Sink, SourceMap};

/// The largest source, in bytes.
pub const MAX_SOURCE: usize = 64 << 20;

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
    parse_with_depth(sources, id, sink).0
}

/// Parses, and says how deep the brackets nest.
pub(super) fn parse_with_depth(sources: &SourceMap, id: FileId, sink: &mut Sink) -> (Parsed, usize) {
    let text = &sources.file(id).text;
    let scan = match scan_source(text, id) {
        Ok(scan) => scan,
        Err(error) => {
            sink.push(error.to_diagnostic());
            return (Parsed::default(), 0);
        }
    };
    let read = with_stack_for(scan.depth, || {
        let mut parser = Parser::new(text, id, &scan);
        (parser.items(), parser.into_errors())
    });
    let Some((items, errors)) = read else {
        sink.push(no_stack(id).to_diagnostic());
        return (Parsed::default(), 0);
    };
    for error in errors {
        sink.push(error.to_diagnostic());
    }
    (Parsed { file: File { items }, comments: scan.comments }, scan.depth)
}

/// Parses a source that is one expression, as behind `--set name=`.
pub fn parse_expr(sources: &SourceMap, id: FileId, sink: &mut Sink) -> Option<Expr> {
    let text = &sources.file(id).text;
    let expr = scan_source(text, id).and_then(|mut scan| {
        if !scan.errors.is_empty() {
            return Err(Box::new(scan.errors.swap_remove(0)));
        }
        with_stack_for(scan.depth, || {
            let source = Text { text, file: id, comments: &scan.comments };
            let extent = Extent { start: 0, end: text.len(), body: None };
            read(source, Rule::lone_expr, extent, |builder, whole| {
                let span = builder.span(&whole);
                let expr = whole.into_inner().find(|part| part.as_rule() == Rule::expr);
                builder.expr(builder.need(expr, span)?)
            })
        })
        .unwrap_or_else(|| Err(no_stack(id)))
    });
    expr.map_err(|error| sink.push(error.to_diagnostic())).ok()
}

pub(super) fn no_stack(id: FileId) -> Box<SyntaxError> {
    SyntaxError::new(super::span(id, 0, 0), Problem::NestingTooDeep)
}

fn scan_source(text: &str, id: FileId) -> Result<Scan> {
    if text.len() > MAX_SOURCE {
        return Err(SyntaxError::new(super::span(id, 0, 0), Problem::SourceTooLarge));
    }
    scan::scan(text, id)
}

/// How deep brackets nest in what people write; the stack of any thread suffices for that.
pub(super) const ORDINARY_DEPTH: usize = 24;

/// Enough for [`scan::MAX_NESTING`] levels without optimisation.
const DEEP_STACK: usize = 64 << 20;

/// Runs `work`, which recurses as deep as the brackets of a source nest, on a stack that suffices. `None` where the
/// system gives no thread for that.
pub(super) fn with_stack_for<T: Send>(depth: usize, work: impl FnOnce() -> T + Send) -> Option<T> {
    if depth <= ORDINARY_DEPTH {
        return Some(work());
    }
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(DEEP_STACK).spawn_scoped(scope, work).ok()?;
        match thread.join() {
            Ok(value) => Some(value),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}
