//! Source texts and places in them.

use std::ops::Range;

/// A file of a [`SourceMap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct FileId(pub u32);

/// A half-open range of bytes in a source file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Span {
    /// The file.
    pub file: FileId,
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The smallest range that covers both; `other` must be in the same file.
    #[must_use]
    pub fn to(self, other: Span) -> Span {
        debug_assert_eq!(self.file, other.file);
        Span { file: self.file, start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// The empty range at the end, where text would be inserted after it.
    #[must_use]
    pub fn after(self) -> Span {
        Span { start: self.end, ..self }
    }

    /// The empty range at the start, where text would be inserted before it.
    #[must_use]
    pub fn before(self) -> Span {
        Span { end: self.start, ..self }
    }
}

/// A line and a column, both from 1; the column counts Unicode scalar values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
}

/// A source text under the name users know it by.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// The path as given, or `<stdin>`.
    pub name: String,
    /// The text.
    pub text: String,
    line_starts: Vec<usize>,
    /// How many characters start before each multiple of [`STRIDE`] bytes: columns in very long lines cost no scan.
    characters: Vec<usize>,
}

const STRIDE: usize = 1024;

impl SourceFile {
    fn new(name: String, text: String) -> Self {
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let characters = std::iter::once(0)
            .chain(text.as_bytes().chunks(STRIDE).scan(0, |total, chunk| {
                *total += count_characters(chunk);
                Some(*total)
            }))
            .collect();
        SourceFile { name, text, line_starts, characters }
    }

    /// The line and column of a byte offset; an offset past the end counts as the end.
    pub fn position(&self, offset: usize) -> Position {
        let offset = offset.min(self.text.len());
        let line = self.line_at(offset);
        let start = self.line_starts[line - 1];
        Position { line, column: self.characters_before(offset) - self.characters_before(start) + 1 }
    }

    /// The line, from 1, on which a byte offset lies; an offset past the end is on the last line.
    pub fn line_at(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|&start| start <= offset)
    }

    /// The bytes of a line (from 1) without its line break; the empty range at the end of the text past the last line.
    pub fn line_range(&self, line: usize) -> Range<usize> {
        let Some(&start) = self.line_starts.get(line.wrapping_sub(1)) else {
            return self.text.len()..self.text.len();
        };
        let end = self.line_starts.get(line).copied().unwrap_or(self.text.len());
        start..start + self.text[start..end].trim_end_matches(['\n', '\r']).len()
    }

    /// The text of a line (from 1) without its line break, or the empty text past the end.
    pub fn line(&self, line: usize) -> &str {
        &self.text[self.line_range(line)]
    }

    /// The bytes of a span, moved into the text and outwards to character boundaries; an empty span stays empty.
    pub fn clamp(&self, span: Span) -> Range<usize> {
        let start = self.text.floor_char_boundary(span.start as usize);
        if span.end <= span.start {
            return start..start;
        }
        start..self.text.ceil_char_boundary(span.end as usize)
    }

    fn characters_before(&self, offset: usize) -> usize {
        let mark = offset / STRIDE;
        self.characters[mark] + count_characters(&self.text.as_bytes()[mark * STRIDE..offset])
    }
}

/// Characters that start in a piece of UTF-8.
fn count_characters(bytes: &[u8]) -> usize {
    bytes.iter().filter(|&&byte| byte & 0xc0 != 0x80).count()
}

/// All source texts of a run.
#[derive(Clone, Debug, Default)]
pub struct SourceMap {
    files: Vec<SourceFile>,
}

impl SourceMap {
    /// Adds a text and gives it an identity.
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<String>) -> FileId {
        self.files.push(SourceFile::new(name.into(), text.into()));
        FileId(u32::try_from(self.files.len() - 1).unwrap_or(u32::MAX))
    }

    /// The file of an identity made by this map.
    pub fn file(&self, id: FileId) -> &SourceFile {
        &self.files[id.0 as usize]
    }

    /// The file of an identity, if this map made it.
    pub fn get(&self, id: FileId) -> Option<&SourceFile> {
        self.files.get(id.0 as usize)
    }

    /// All files in the order in which they were added.
    pub fn files(&self) -> &[SourceFile] {
        &self.files
    }

    /// The text of a place.
    pub fn text(&self, span: Span) -> &str {
        self.file(span.file).text.get(span.start as usize..span.end as usize).unwrap_or("")
    }

    /// The line and column at which a place starts.
    pub fn position(&self, span: Span) -> Position {
        self.file(span.file).position(span.start as usize)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(text: &str) -> SourceFile {
        SourceFile::new("a.net".into(), text.into())
    }

    #[test]
    fn lines_end_before_their_break() {
        let file = file("one\r\ntwo\n\nfour");
        assert_eq!(
            [file.line(0), file.line(1), file.line(2), file.line(3), file.line(4), file.line(5)],
            ["", "one", "two", "", "four", ""]
        );
        assert_eq!(file.line_range(5), 14..14);
        assert_eq!(file.position(5), Position { line: 2, column: 1 });
        assert_eq!(file.position(1000), Position { line: 4, column: 5 });
    }

    #[test]
    fn a_column_counts_characters_in_long_lines() {
        let file = file(&format!("x\n{}!", "\u{e9}\u{1f600}".repeat(2000)));
        assert_eq!(file.position(2 + 6 * 2000), Position { line: 2, column: 4001 });
        assert_eq!(file.position(2 + 6 * 1000 + 2), Position { line: 2, column: 2002 });
    }

    #[test]
    fn a_span_off_the_boundaries_is_widened() {
        let file = file("a\u{e9}b");
        let span = |start, end| Span { file: FileId(0), start, end };
        assert_eq!(file.clamp(span(2, 2)), 1..1);
        assert_eq!(file.clamp(span(2, 3)), 1..3);
        assert_eq!(file.clamp(span(3, 90)), 3..4);
        assert_eq!(file.clamp(span(90, 3)), 4..4);
    }

    proptest! {
        #[test]
        fn a_position_is_that_of_counting(text in "[a\u{e9}\u{1f600}\n\r\t ]{0,40}", cut in 0usize..60) {
            let file = file(&text);
            let cut = text.floor_char_boundary(cut);
            let before = &text[..cut];
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap().chars().count() + 1;
            prop_assert_eq!(file.position(cut), Position { line, column });
        }
    }
}
