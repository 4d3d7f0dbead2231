//! Rows and columns, as a table that fits, as CSV and as markdown.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::Style;
use crate::cost::{Ratio, number};
use crate::dim::Dim;

/// What stands in a cell.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Words.
    Text(String),
    /// An exact count.
    Count(Dim),
    /// Bytes; people read them in KiB or MiB.
    Bytes(Dim),
    /// A number with so many digits behind the point.
    Real(f64, usize),
    /// A part of the whole, read in percent.
    Share(Ratio),
    /// Seconds; people read them in ms or µs.
    Seconds(f64),
    /// Nothing that could be said.
    Missing,
}

impl Cell {
    /// For people.
    pub fn shown(&self) -> String {
        match self {
            Cell::Text(text) => printable(text),
            Cell::Count(count) => number::grouped(count),
            Cell::Bytes(count) => match count.as_u64() {
                Some(bytes) => number::bytes(bytes as f64),
                None => count.to_string(),
            },
            Cell::Real(value, digits) => format!("{value:.digits$}"),
            Cell::Share(Ratio(part)) => format!("{:.1} %", part * 100.0),
            Cell::Seconds(seconds) => number::time(*seconds),
            Cell::Missing => "-".to_owned(),
        }
    }

    /// For programs.
    pub fn exact(&self) -> String {
        match self {
            Cell::Text(text) => text.clone(),
            Cell::Count(count) | Cell::Bytes(count) => count.to_string(),
            Cell::Real(value, _) | Cell::Share(Ratio(value)) | Cell::Seconds(value) => value.to_string(),
            Cell::Missing => String::new(),
        }
    }

    /// What it is worth in an order of its column; `None` for words.
    pub fn value(&self) -> Option<f64> {
        match self {
            Cell::Count(count) | Cell::Bytes(count) => count.as_known().map(|count| count as f64),
            Cell::Real(value, _) | Cell::Share(Ratio(value)) | Cell::Seconds(value) => Some(*value),
            Cell::Text(_) | Cell::Missing => None,
        }
    }
}

impl From<Option<Ratio>> for Cell {
    fn from(ratio: Option<Ratio>) -> Cell {
        ratio.map_or(Cell::Missing, Cell::Share)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell::Text(text.to_owned())
    }
}

impl From<u64> for Cell {
    fn from(count: u64) -> Cell {
        Cell::Count(count.into())
    }
}

/// A column.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its name for programs.
    pub key: &'static str,
    /// Its heading for people.
    pub title: &'static str,
    /// Whether it is aligned to the right, as numbers are.
    pub right: bool,
    /// 0 stays in every table; the larger, the sooner it is left out.
    pub rank: u8,
}

impl Column {
    /// A column of words.
    pub fn words(key: &'static str, title: &'static str, rank: u8) -> Column {
        Column { key, title, right: false, rank }
    }

    /// A column of numbers.
    pub fn numbers(key: &'static str, title: &'static str, rank: u8) -> Column {
        Column { key, title, right: true, rank }
    }
}

/// Rows of cells under columns.
#[derive(Clone, Debug, Default)]
pub struct Grid {
    /// The columns.
    pub columns: Vec<Column>,
    /// The rows; each has a cell for each column.
    pub rows: Vec<Vec<Cell>>,
    /// The row of sums.
    pub total: Option<Vec<Cell>>,
}

/// Blanks between columns.
const GAP: usize = 2;
/// Characters to which the first column can be cut.
const LEAST: usize = 24;

impl Grid {
    /// A table with a heading, and the headings of the columns that did not fit.
    pub fn table(&self, style: Style) -> (String, Vec<&'static str>) {
        let (kept, left_out) = self.fit(style.width);
        let shown = |row: &[Cell]| kept.iter().map(|&at| row[at].shown()).collect::<Vec<String>>();
        let rows: Vec<Vec<String>> = self.rows.iter().map(|row| shown(row)).collect();
        let total: Option<Vec<String>> =
            self.total.as_ref().map(|row| kept.iter().map(|&at| shown_total(&row[at])).collect());
        let heading: Vec<String> = kept.iter().map(|&at| self.columns[at].title.to_owned()).collect();
        let mut widths: Vec<usize> = kept.iter().map(|&at| self.width(at)).collect();
        let whole = |widths: &[usize]| widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1);
        let excess = style.width.map_or(0, |width| whole(&widths).saturating_sub(width));
        if let Some(first) = widths.first_mut() {
            *first = first.saturating_sub(excess).max((*first).min(LEAST));
        }
        let line = |cells: &[String]| {
            let columns = cells.iter().zip(&widths).zip(&kept);
            let padded = columns.map(|((cell, &width), &at)| aligned(cell, width, self.columns[at].right));
            padded.collect::<Vec<String>>().join("  ").trim_end().to_owned()
        };
        let strong = |text: String| if style.color { format!("\u{1b}[1m{text}\u{1b}[0m") } else { text };
        let faint = |text: String| if style.color { format!("\u{1b}[2m{text}\u{1b}[0m") } else { text };
        let rule = faint("─".repeat(whole(&widths)));
        let mut lines = vec![strong(line(&heading)), rule.clone()];
        lines.extend(rows.iter().map(|row| line(row)));
        lines.extend(total.into_iter().flat_map(|total| [rule.clone(), strong(line(&total))]));
        (lines.join("\n") + "\n", left_out)
    }

    /// The columns that fit, as indices, and the headings of the others.
    fn fit(&self, width: Option<usize>) -> (Vec<usize>, Vec<&'static str>) {
        let mut widths: Vec<usize> = (0..self.columns.len()).map(|at| self.width(at) + GAP).collect();
        let mut kept: Vec<usize> = (0..self.columns.len()).collect();
        let Some(width) = width else { return (kept, Vec::new()) };
        // Long paths are cut before figures are left out.
        if let Some(first) = widths.first_mut() {
            *first = (*first).min(LEAST.max(width * 2 / 5) + GAP);
        }
        while width + GAP < kept.iter().map(|&at| widths[at]).sum::<usize>() {
            // The rightmost of the least important.
            let worst = (0..kept.len()).max_by_key(|&place| (self.columns[kept[place]].rank, place));
            match worst.filter(|&place| self.columns[kept[place]].rank != 0) {
                Some(place) => kept.remove(place),
                None => break,
            };
        }
        let left_out = (0..self.columns.len()).filter(|at| !kept.contains(at)).map(|at| self.columns[at].title);
        let left_out = left_out.collect();
        (kept, left_out)
    }

    fn width(&self, at: usize) -> usize {
        let cells = self.rows.iter().map(|row| row[at].shown().width());
        let total = self.total.iter().map(|row| shown_total(&row[at]).width());
        cells.chain(total).max().unwrap_or(0).max(self.columns[at].title.width())
    }

    /// Comma-separated values with a heading line (RFC 4180), exact; without the sums.
    pub fn csv(&self) -> String {
        let line = |cells: Vec<String>| {
            let quoted: Vec<String> = cells.into_iter().map(quote).collect();
            quoted.join(",") + "\n"
        };
        let mut text = line(self.columns.iter().map(|column| column.key.to_owned()).collect());
        for row in &self.rows {
            text += &line(row.iter().map(Cell::exact).collect());
        }
        text
    }

    /// A table as GitHub's markdown has it.
    pub fn markdown(&self) -> String {
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let rule = |column: &Column| if column.right { "---:" } else { "---" }.to_owned();
        let mut text = line(self.columns.iter().map(|column| escaped(column.title)).collect());
        text += &line(self.columns.iter().map(rule).collect());
        for row in &self.rows {
            text += &line(row.iter().map(|cell| escaped(&cell.shown())).collect());
        }
        if let Some(total) = &self.total {
            let bold = |cell: &Cell| match shown_total(cell) {
                text if text.is_empty() => text,
                text => format!("**{}**", escaped(&text)),
            };
            text += &line(total.iter().map(bold).collect());
        }
        text
    }
}

/// Text in so many columns of a terminal; of longer text the middle is left out, as paths differ at their ends.
fn aligned(text: &str, width: usize, right: bool) -> String {
    let own = text.width();
    if own <= width {
        let blank = " ".repeat(width - own);
        return if right { blank + text } else { text.to_owned() + &blank };
    }
    let cut = |chars: &mut dyn Iterator<Item = char>, room: usize| {
        let mut used = 0;
        chars
            .take_while(|c| {
                used += c.width().unwrap_or(0);
                used <= room
            })
            .collect::<String>()
    };
    let room = width.saturating_sub(1);
    let front = cut(&mut text.chars(), room / 2);
    let back: String = cut(&mut text.chars().rev(), room - room / 2).chars().rev().collect();
    let blank = " ".repeat(room.saturating_sub(front.width() + back.width()));
    format!("{front}…{back}{blank}")
}

/// Paths can hold any text; a control character would reach the terminal.
fn printable(text: &str) -> String {
    if text.chars().any(char::is_control) { text.escape_debug().to_string() } else { text.to_owned() }
}

/// In the row of sums, what has none stays empty.
fn shown_total(cell: &Cell) -> String {
    if *cell == Cell::Missing { String::new() } else { cell.shown() }
}

fn quote(cell: String) -> String {
    if cell.contains([',', '"', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
}

/// Text that markdown leaves as it is.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' | '*' | '_' | '`' | '<' | '[' | ']' | '\\' => out.extend(['\\', c]),
            '\n' | '\r' => out.push(' '),
            _ => out.push(c),
        }
    }
    out
}
