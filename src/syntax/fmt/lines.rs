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
    /// `-> […]`, where it lines up with the claims of the neighbours.
    pub(super) claim: String,
    pub(super) comment: Option<Trailing>,
    /// Whether a body begins behind it.
    pub(super) opens: bool,
}

/// The blanks before a claim.
pub(super) const BEFORE_CLAIM: usize = 3;

/// The blanks before a comment, at least.
const BEFORE_COMMENT: usize = 2;

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
    runs(
        &mut lines,
        |line| !line.claim.is_empty(),
        |_, _| true,
        |run| {
            let width = run.iter().map(|line| width(&line.code)).max().unwrap_or(0);
            for line in run {
                let padding = width + BEFORE_CLAIM - self::width(&line.code);
                line.code = format!("{}{:padding$}{}", line.code, "", line.claim);
            }
        },
    );
    let column = |line: &Line| line.comment.as_ref().and_then(|comment| comment.column);
    let commented = |line: &Line| line.comment.is_some();
    runs(
        &mut lines,
        commented,
        |a, b| column(a).is_some() && column(a) == column(b),
        |run| {
            let end = run.iter().map(|line| line.indent + width(&line.code)).max().unwrap_or(0) + BEFORE_COMMENT;
            for line in run {
                let at = column(line).map_or(end, |column| column.max(end));
                let padding = at - line.indent - self::width(&line.code);
                if let Some(comment) = &line.comment {
                    line.code = format!("{}{:padding$}{}", line.code, "", comment.text);
                }
            }
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
