//! Lines with columns that line up.

use super::doc::Trailing;

/// What a line lines up with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    /// Nothing.
    Nothing,
    /// The labels of its neighbours.
    Labels,
    /// A `preprocess` or `budget` beside it.
    Settings,
}

/// A line of the formatted text.
#[derive(Debug)]
pub(super) struct Line {
    /// Whether a blank line stands above.
    pub(super) blank_above: bool,
    /// Blanks before it.
    pub(super) indent: usize,
    /// What stands before the column that lines up: a label with its colon.
    pub(super) label: String,
    pub(super) align: Align,
    pub(super) code: String,
    /// `-> […]`, where it lines up with the claims of the neighbours, with the column at which it stood.
    pub(super) claim: Option<Trailing>,
    pub(super) comment: Option<Trailing>,
    /// Whether a body begins behind it.
    pub(super) opens: bool,
}

/// The blanks before a column of claims or comments, at least.
pub(super) const BEFORE_COLUMN: usize = 2;

/// Lines the columns up and puts the text together.
pub(super) fn join(mut lines: Vec<Line>) -> String {
    let labelled = |line: &Line| line.align != Align::Nothing;
    runs(
        &mut lines,
        labelled,
        |a, b| a.align == b.align,
        |run| {
            let width = run.iter().map(|line| width(&line.label)).max().unwrap_or(0);
            for line in run {
                let padding = width + 1 - self::width(&line.label);
                line.code = format!("{}{:padding$}{}", line.label, "", line.code);
            }
        },
    );
    let is_end = |line: &Line| line.code.starts_with(['}', ']', ')']);
    runs(
        &mut lines,
        |line| line.claim.is_some(),
        |a, b| !is_end(a) && !is_end(b),
        |run| {
            let blanks = if run.len() == 1 { 1 } else { BEFORE_COLUMN };
            append_column(run, blanks, |line| line.claim.take());
        },
    );
    let column = |line: &Line| line.comment.as_ref().and_then(|comment| comment.column);
    let commented = |line: &Line| line.comment.is_some();
    runs(
        &mut lines,
        commented,
        |a, b| column(a).is_some() && column(a) == column(b),
        |run| {
            append_column(run, BEFORE_COLUMN, |line| line.comment.take());
        },
    );
    let mut text = String::new();
    for Line { blank_above, indent, code, .. } in lines {
        text.push_str(if blank_above { "\n" } else { "" });
        text.extend(std::iter::repeat_n(' ', indent));
        text.push_str(&code);
        text.push('\n');
    }
    text
}

/// Appends something to each line at one column: where the rightmost of them stood, or `blanks` behind the longest line.
fn append_column(run: &mut [Line], blanks: usize, mut take: impl FnMut(&mut Line) -> Option<Trailing>) {
    let added: Vec<Trailing> = run.iter_mut().filter_map(&mut take).collect();
    let end = run.iter().map(|line| line.indent + width(&line.code)).max().unwrap_or(0) + blanks;
    let column = added.iter().filter_map(|added| added.column).max().unwrap_or(0).max(end);
    for (line, added) in run.iter_mut().zip(added) {
        let padding = column - line.indent - width(&line.code);
        line.code = format!("{}{:padding$}{}", line.code, "", added.text);
    }
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// Calls `each` with every longest run of neighbours that take part and go together.
fn runs(
    lines: &mut [Line],
    takes_part: impl Fn(&Line) -> bool,
    together: impl Fn(&Line, &Line) -> bool,
    mut each: impl FnMut(&mut [Line]),
) {
    let mut start = 0;
    while start < lines.len() {
        let mut end = start + 1;
        if takes_part(&lines[start]) {
            while end < lines.len()
                && takes_part(&lines[end])
                && !lines[end].blank_above
                && lines[end].indent == lines[start].indent
                && together(&lines[start], &lines[end])
            {
                end += 1;
            }
            each(&mut lines[start..end]);
        }
        start = end;
    }
}
