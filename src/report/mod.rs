//! Reports on paper: tables, JSON, CSV, markdown and HTML. Everything here turns results into text and prints nothing.
//!
//! JSON has a `schema` field with a version; its counts are integers, or strings where they are formulas in symbols.
//! Snapshots of every format stand in `tests/cost/`.

mod chart;
mod column;
pub mod cost;
pub mod diff;

pub mod grid;
mod html;
mod json;
pub mod shapes;
pub mod weights;

pub(crate) use html::escaped;

/// How a table looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// Columns of the terminal; a table leaves out its least important columns to fit. `None`: as wide as it needs.
    pub width: Option<usize>,
    /// Whether to colour it with ANSI escape codes.
    pub color: bool,
}

/// Lines no longer than the style allows, broken at blanks; those after the first are indented.
fn wrapped(text: &str, style: Style, indent: usize) -> String {
    use unicode_width::UnicodeWidthStr;
    let Some(width) = style.width else { return format!("{text}\n") };
    let (mut lines, mut used) = (String::new(), 0);
    for word in text.split(' ') {
        let own = word.width();
        if 0 < used && width < used + 1 + own {
            lines += "\n";
            lines += &" ".repeat(indent);
            used = indent;
        } else if !lines.is_empty() {
            lines.push(' ');
            used += 1;
        }
        lines += word;
        used += own;
    }
    lines + "\n"
}

/// A line that says which columns a table has left out to fit; empty when there are none.
fn left_out(columns: &[&str], style: Style) -> String {
    if columns.is_empty() {
        return String::new();
    }
    wrapped(&format!("(no room for: {})", columns.join(", ")), style, 1)
}
