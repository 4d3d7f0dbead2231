//! The cells of a column as text in one piece: a table of a hundred thousand rows is written once, not cell by cell.

use unicode_width::UnicodeWidthStr;

use super::grid::Cell;

/// Cells as people read them, one behind the other.
pub(super) struct Texts {
    text: String,
    /// Where each cell ends.
    ends: Vec<usize>,
    /// Columns of a terminal that the widest takes.
    pub(super) width: usize,
}

impl Texts {
    pub(super) fn new<'a>(cells: impl Iterator<Item = &'a Cell>) -> Texts {
        let mut texts = Texts { text: String::new(), ends: Vec::new(), width: 0 };
        for cell in cells {
            let shown = cell.shown();
            texts.width = texts.width.max(width(&shown));
            texts.text.push_str(&shown);
            texts.ends.push(texts.text.len());
        }
        texts
    }

    pub(super) fn cell(&self, row: usize) -> &str {
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start..self.ends[row]]
    }
}

/// Columns of a terminal; text that is shown holds no control characters.
pub(super) fn width(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.width() }
}
