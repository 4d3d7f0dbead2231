//! The part of a source that a report shows: few lines, each of bounded length.

use super::SourceFile;
use std::ops::Range;

/// Lines apart from which two places are shown in blocks of their own.
const MAX_GAP: usize = 60;
/// Bytes above which a line is cut.
const MAX_LINE: usize = 1000;
/// Bytes that stay on each side of a place in a cut line.
const AROUND: usize = 200;

/// Some consecutive lines of a file. Those that no place touches are empty unless they stand next to one that is
/// touched; long ones are cut around the first place on them.
#[derive(Debug)]
pub(super) struct Excerpt {
    /// The lines, each with a line break behind it.
    pub text: String,
    /// The number of the first.
    pub first_line: usize,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    /// Where the line starts in the file.
    line_start: usize,
    /// The bytes of the file that the row shows.
    shown: Range<usize>,
    /// Where the row starts in the excerpt.
    row_start: usize,
    /// Where the shown bytes start in the excerpt: behind the ellipsis of a line that is cut on the left.
    at: usize,
}

impl Excerpt {
    /// The lines of `places`, which lie on character boundaries inside the text.
    pub fn new<T>(file: &SourceFile, places: &[(Range<usize>, T)]) -> Self {
        let lines: Vec<_> =
            places.iter().map(|(place, _)| file.line_at(place.start)..file.line_at(place.end) + 1).collect();
        let first_line = lines.iter().map(|lines| lines.start).min().unwrap_or(1);
        let end = lines.iter().map(|lines| lines.end).max().unwrap_or(first_line);
        let mut excerpt = Excerpt { text: String::new(), first_line, rows: Vec::new() };
        for line in first_line..end {
            let range = file.line_range(line);
            let is_near = lines.iter().any(|lines| lines.start <= line + 1 && line < lines.end + 1);
            let place = places.iter().zip(&lines).find(|(_, lines)| lines.contains(&line)).map(|((place, _), _)| place);
            let shown = if is_near { cut(&file.text, &range, place) } else { range.start..range.start };
            excerpt.push(&file.text, range, shown, is_near);
        }
        excerpt
    }

    fn push(&mut self, text: &str, line: Range<usize>, shown: Range<usize>, is_near: bool) {
        let row_start = self.text.len();
        if line.start < shown.start {
            self.text.push('\u{2026}');
        }
        let at = self.text.len();
        self.text.push_str(&text[shown.clone()]);
        if is_near && shown.end < line.end {
            self.text.push('\u{2026}');
        }
        self.text.push('\n');
        self.rows.push(Row { line_start: line.start, shown, row_start, at });
    }

    /// Where a byte of the file stands in the excerpt; what is not shown stands at the nearest end of its line.
    pub fn place(&self, offset: usize) -> usize {
        self.row(offset).map_or(0, |row| row.at + offset.clamp(row.shown.start, row.shown.end) - row.shown.start)
    }

    /// The column, from 1, at which a byte of the file stands in the excerpt.
    pub fn column(&self, offset: usize) -> usize {
        self.row(offset).map_or(1, |row| self.text[row.row_start..self.place(offset)].chars().count() + 1)
    }

    fn row(&self, offset: usize) -> Option<&Row> {
        self.rows[..self.rows.partition_point(|row| row.line_start <= offset)].last()
    }
}

/// The bytes of a line to show.
fn cut(text: &str, line: &Range<usize>, place: Option<&Range<usize>>) -> Range<usize> {
    if line.len() <= MAX_LINE {
        return line.clone();
    }
    let start = place.map_or(line.start, |place| place.start.clamp(line.start, line.end));
    let end = place.map_or(start, |place| place.end.clamp(start, start + AROUND).min(line.end));
    let from = text.floor_char_boundary(start.saturating_sub(AROUND).max(line.start));
    from..text.ceil_char_boundary((end + AROUND).min(line.end))
}

/// Splits what stands at places into groups whose lines are close enough for one excerpt; all in the order of the text.
pub(super) fn groups_of_lines<T>(file: &SourceFile, mut places: Vec<(Range<usize>, T)>) -> Vec<Vec<(Range<usize>, T)>> {
    places.sort_by_key(|(place, _)| place.start);
    let mut groups: Vec<Vec<(Range<usize>, T)>> = Vec::new();
    let mut last_line = 0;
    for (place, content) in places {
        let first = file.line_at(place.start);
        let last = file.line_at(place.end).max(last_line);
        match groups.last_mut() {
            Some(group) if first <= last_line + MAX_GAP => group.push((place, content)),
            _ => groups.push(vec![(place, content)]),
        }
        last_line = last;
    }
    groups
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::diag::SourceMap;

    fn excerpt(text: &str, places: &[Range<usize>]) -> Excerpt {
        let mut sources = SourceMap::default();
        let file = sources.add("a.net", text);
        let places: Vec<_> = places.iter().map(|place| (place.clone(), ())).collect();
        Excerpt::new(sources.file(file), &places)
    }

    #[test]
    fn lines_far_from_every_place_are_empty() {
        let excerpt = excerpt("one\ntwo\r\nthree\nfour\nfive\nsix", &[4..6, 25..27]);
        assert_eq!((excerpt.first_line, excerpt.text.as_str()), (2, "two\nthree\n\nfive\nsix\n"));
        assert_eq!(&excerpt.text[excerpt.place(4)..excerpt.place(7)], "two");
        assert_eq!(excerpt.place(8), 3, "inside a line break is the end of the line");
        assert_eq!(excerpt.place(500), excerpt.text.len() - 1);
        assert_eq!(excerpt.place(0), 0);
    }

    #[test]
    fn a_long_line_is_cut_around_its_place() {
        let text = format!("{}conv{}", "\u{e9}".repeat(3000), "x".repeat(9000));
        let excerpt = excerpt(&text, &[6000..6004, 6000..6000]);
        assert_eq!(&excerpt.text[excerpt.place(6000)..excerpt.place(6004)], "conv");
        assert!(excerpt.text.len() < 2 * AROUND + 20 && excerpt.text.starts_with('\u{2026}'));
        assert_eq!(excerpt.column(6000), 1 + AROUND / 2 + 1);
        assert_eq!(excerpt.place(0), '\u{2026}'.len_utf8());
    }

    #[test]
    fn an_empty_text_has_one_empty_line() {
        let excerpt = excerpt("", std::slice::from_ref(&(0..0)));
        assert_eq!((excerpt.text.as_str(), excerpt.place(0), excerpt.column(0)), ("\n", 0, 1));
    }

    #[test]
    fn places_far_apart_are_shown_apart() {
        let mut sources = SourceMap::default();
        let file = sources.add("a.net", "\n".repeat(1000));
        let file = sources.file(file);
        let groups = groups_of_lines(file, vec![(900..900, 'c'), (0..0, 'a'), (40..40, 'b'), (901..902, 'd')]);
        let groups: Vec<String> = groups.iter().map(|group| group.iter().map(|(_, c)| *c).collect()).collect();
        assert_eq!(groups, ["ab", "cd"]);
    }
}
