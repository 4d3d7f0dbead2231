//! Long bodies are read in pieces, several at a time.

use super::ast::Statement;
use super::lines::Parser;
use super::parse::ORDINARY_DEPTH;
use super::scan;
use rayon::prelude::*;
use std::ops::Range;

/// The length of a piece in bytes, at least.
const PIECE: usize = 1 << 16;

impl Parser<'_> {
    /// The statements before `end`.
    pub(super) fn statements(&mut self, end: usize) -> Vec<Statement> {
        let is_short = end.saturating_sub(self.at) < 2 * PIECE;
        // The threads of the pool have ordinary stacks.
        if is_short || self.scan.depth > ORDINARY_DEPTH {
            return self.statements_in_order(end);
        }
        let pieces = self.pieces(end);
        let read: Vec<_> = pieces
            .into_par_iter()
            .map(|piece| {
                let mut parser = self.at_place(piece.start);
                let statements = parser.statements_in_order(piece.end);
                parser.report_errors_before(piece.end);
                (statements, parser.errors)
            })
            .collect();
        let mut all = Vec::with_capacity(read.iter().map(|(statements, _)| statements.len()).sum());
        for (statements, errors) in read {
            all.extend(statements);
            self.errors.extend(errors);
        }
        self.at = end;
        self.pass_errors_before(end);
        all
    }

    /// Cuts what stands before `end` into pieces of whole statements.
    fn pieces(&self, end: usize) -> Vec<Range<usize>> {
        let mut walker = self.at_place(self.at);
        let (mut pieces, mut start) = (Vec::new(), self.at);
        while walker.next_statement(end) {
            let is_attribute = scan::is_allow(&self.text[walker.at..]);
            let mut extent = Some(walker.extent(end));
            while let Some(bracket) = extent.and_then(|extent| extent.body) {
                walker.at = bracket.behind();
                extent = walker.extent_after_body(end);
            }
            if walker.at - start >= PIECE && !is_attribute {
                pieces.push(start..walker.at);
                start = walker.at;
            }
        }
        pieces.push(start..end);
        pieces
    }
}
