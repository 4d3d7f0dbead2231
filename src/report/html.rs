//! Pieces of the HTML reports: one page with everything in it and nothing from elsewhere.

use super::grid::{Cell, Grid};

/// Text as it can stand in an element or a quoted attribute, of HTML and of XML.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c if c.is_control() && !matches!(c, '\t' | '\n' | '\r') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// A whole page around a body that is HTML already; the subtitle need not repeat the title.
pub(super) fn page(title: &str, subtitle: &str, body: &str) -> String {
    let subtitle = subtitle.strip_prefix(&format!("{title}: ")).unwrap_or(subtitle);
    let (title, subtitle) = (escaped(title), escaped(subtitle));
    let (style, script) = (include_str!("page.css"), include_str!("page.js"));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <style>\n{style}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n<p class=\"soft\">{subtitle}</p>\n\
         {body}</main>\n<script>\n{script}</script>\n</body>\n</html>\n"
    )
}

/// A table that can be sorted by a click on a heading, with a field that filters its rows.
pub(super) fn table(grid: &Grid, id: &str) -> String {
    let class = |at: usize| if grid.columns[at].right { " class=\"n\"" } else { "" };
    let mut text = String::new();
    if 12 < grid.rows.len() {
        text +=
            &format!("<input type=\"search\" data-for=\"{id}\" placeholder=\"filter\" aria-label=\"filter rows\">\n");
    }
    text += &format!("<div class=\"panel\"><table class=\"sortable\" id=\"{id}\">\n<thead><tr>");
    for (at, column) in grid.columns.iter().enumerate() {
        text += &format!("<th{}><button>{}</button></th>", class(at), escaped(column.title));
    }
    text += "</tr></thead>\n<tbody>\n";
    for row in &grid.rows {
        text += "<tr>";
        for (at, cell) in row.iter().enumerate() {
            text += &format!("<td{}{}>{}</td>", class(at), value(cell), escaped(&cell.shown()));
        }
        text += "</tr>\n";
    }
    text += "</tbody>\n";
    if let Some(total) = &grid.total {
        text += "<tfoot><tr>";
        for (at, cell) in total.iter().enumerate() {
            let shown = if *cell == Cell::Missing { String::new() } else { escaped(&cell.shown()) };
            text += &format!("<td{}>{shown}</td>", class(at));
        }
        text += "</tr></tfoot>\n";
    }
    text + "</table></div>\n"
}

/// What the script sorts by.
fn value(cell: &Cell) -> String {
    match (cell, cell.value()) {
        (_, Some(value)) => format!(" data-v=\"{value}\""),
        // Words that begin with a number, such as a factor or a field, sort by it.
        (Cell::Text(text), None) => leading_number(text).map_or(String::new(), |value| format!(" data-v=\"{value}\"")),
        (_, None) => String::new(),
    }
}

fn leading_number(text: &str) -> Option<f64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    text[..end].parse().ok()
}
