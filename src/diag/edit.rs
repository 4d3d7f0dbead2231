//! Carrying out a [`Help`](super::Help): its edits applied to a text.

use super::{Edit, FileId, SourceMap};
use std::ops::Range;

/// The text of `file` after those of `edits` that lie in it; the empty text for a file that `sources` does not hold.
///
/// Edits may come in any order. Of two that overlap the one that starts first is applied; insertions at one place are
/// applied in the order given.
pub fn apply(sources: &SourceMap, file: FileId, edits: &[Edit]) -> String {
    let Some(source) = sources.get(file) else { return String::new() };
    let mut result = String::with_capacity(source.text.len());
    let mut done = 0;
    for (range, edit) in in_file(sources, file, edits) {
        result.push_str(&source.text[done..range.start]);
        result.push_str(&edit.replacement);
        done = range.end;
    }
    result.push_str(&source.text[done..]);
    result
}

/// The edits of one file in text order and without overlaps, with the bytes that each replaces.
pub(super) fn in_file<'a>(sources: &SourceMap, file: FileId, edits: &'a [Edit]) -> Vec<(Range<usize>, &'a Edit)> {
    let Some(source) = sources.get(file) else { return Vec::new() };
    let mut placed: Vec<_> =
        edits.iter().filter(|edit| edit.span.file == file).map(|edit| (source.clamp(edit.span), edit)).collect();
    placed.sort_by_key(|(range, _)| (range.start, range.end));
    let mut done = 0;
    placed.retain(|(range, _)| {
        let free = done <= range.start;
        if free {
            done = range.end;
        }
        free
    });
    placed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::Span;

    fn edit(start: u32, end: u32, replacement: &str) -> Edit {
        Edit { span: Span { file: FileId(0), start, end }, replacement: replacement.into() }
    }

    fn applied(text: &str, edits: &[Edit]) -> String {
        let mut sources = SourceMap::default();
        let file = sources.add("a.net", text);
        apply(&sources, file, edits)
    }

    #[test]
    fn edits_apply_in_text_order() {
        assert_eq!(applied("conv(8, 3)", &[edit(8, 9, "5"), edit(5, 6, "16"), edit(0, 0, "c: ")]), "c: conv(16, 5)");
    }

    #[test]
    fn insertions_at_one_place_keep_their_order() {
        assert_eq!(applied("ab", &[edit(1, 1, "1"), edit(1, 1, "2"), edit(1, 2, "")]), "a12");
    }

    #[test]
    fn the_first_of_two_overlapping_edits_wins() {
        assert_eq!(applied("abcdef", &[edit(2, 5, "x"), edit(1, 3, "y")]), "aydef");
    }

    #[test]
    fn edits_past_the_end_and_off_a_boundary_are_clamped() {
        assert_eq!(applied("a\u{e9}", &[edit(2, 2, "-"), edit(90, 95, "!")]), "a-\u{e9}!");
    }

    #[test]
    fn edits_of_other_files_are_left_out() {
        let other = Edit { span: Span { file: FileId(7), start: 0, end: 1 }, replacement: "x".into() };
        assert_eq!(applied("ab", std::slice::from_ref(&other)), "ab");
        assert_eq!(apply(&SourceMap::default(), FileId(7), &[other]), "");
    }
}
