//! Rows and columns, as a table that fits, as CSV and as markdown.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::Style;
use super::column::{Texts, width};
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
        let texts: Vec<Texts> =
            (0..self.columns.len()).map(|at| Texts::new(self.rows.iter().map(|row| &row[at]))).collect();
        let total: Option<Vec<String>> = self.total.as_ref().map(|row| row.iter().map(shown_total).collect());
        let natural: Vec<usize> = (0..self.columns.len())
            .map(|at| {
                let total = total.as_ref().map_or(0, |total| width(&total[at]));
                texts[at].width.max(total).max(width(self.columns[at].title))
            })
            .collect();
        let (kept, left_out) = self.fit(style.width, &natural);
        let mut widths: Vec<usize> = kept.iter().map(|&at| natural[at]).collect();
        let whole = |widths: &[usize]| widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1);
        let excess = style.width.map_or(0, |width| whole(&widths).saturating_sub(width));
        if let Some(first) = widths.first_mut() {
            *first = first.saturating_sub(excess).max((*first).min(LEAST));
        }
        let (strong, faint) = if style.color { (BOLD, FAINT) } else { (PLAIN, PLAIN) };
        let rule = "─".repeat(whole(&widths));
        let mut lines = Lines { columns: &self.columns, kept: &kept, widths: &widths, out: String::new() };
        lines.row(strong, |at| self.columns[at].title);
        lines.text(faint, &rule);
        (0..self.rows.len()).for_each(|row| lines.row(PLAIN, |at| texts[at].cell(row)));
        if let Some(total) = &total {
            lines.text(faint, &rule);
            lines.row(strong, |at| &total[at]);
        }
        (lines.out, left_out)
    }

    /// The columns that fit, as indices, and the headings of the others.
    fn fit(&self, width: Option<usize>, natural: &[usize]) -> (Vec<usize>, Vec<&'static str>) {
        let mut widths: Vec<usize> = natural.iter().map(|width| width + GAP).collect();
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

/// What stands around a line to show it in bold or faintly.
const BOLD: [&str; 2] = ["\u{1b}[1m", "\u{1b}[0m"];
const FAINT: [&str; 2] = ["\u{1b}[2m", "\u{1b}[0m"];
const PLAIN: [&str; 2] = ["", ""];

/// The lines of a table.
struct Lines<'a> {
    columns: &'a [Column],
    kept: &'a [usize],
    widths: &'a [usize],
    out: String,
}

impl Lines<'_> {
    fn row<'t>(&mut self, [begin, end]: [&str; 2], cell: impl Fn(usize) -> &'t str) {
        self.out.push_str(begin);
        let start = self.out.len();
        for (place, (&at, &width)) in self.kept.iter().zip(self.widths).enumerate() {
            self.out.push_str(if place == 0 { "" } else { "  " });
            align(&mut self.out, cell(at), width, self.columns[at].right);
        }
        let shown = self.out[start..].trim_end().len();
        self.out.truncate(start + shown);
        self.out.push_str(end);
        self.out.push('\n');
    }

    fn text(&mut self, [begin, end]: [&str; 2], text: &str) {
        [begin, text, end, "\n"].iter().for_each(|part| self.out.push_str(part));
    }
}

/// Adds text in so many columns of a terminal; of longer text the middle is left out, as paths differ at their ends.
fn align(out: &mut String, text: &str, columns: usize, right: bool) {
    match columns.checked_sub(width(text)) {
        Some(blank) if right => {
            out.extend(std::iter::repeat_n(' ', blank));
            out.push_str(text);
        }
        Some(blank) => {
            out.push_str(text);
            out.extend(std::iter::repeat_n(' ', blank));
        }
        None => out.push_str(&shortened(text, columns)),
    }
}

pub(super) fn shortened(text: &str, width: usize) -> String {
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
pub(super) fn printable(text: &str) -> String {
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
