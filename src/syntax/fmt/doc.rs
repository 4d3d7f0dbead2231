//! Text that can be laid out on one line or on several.

/// The longest line, in characters, where it can be helped.
pub(super) const MAX_WIDTH: usize = 100;

/// The blanks of one level of indentation.
pub(super) const INDENT: usize = 2;

/// A comment behind something, with the column at which it stood.
#[derive(Clone, Debug)]
pub(super) struct Trailing {
    pub(super) text: String,
    /// `None` where blanks before it have no certain width.
    pub(super) column: Option<usize>,
}

/// Text that can be laid out on one line or on several.
pub(super) struct Doc {
    kind: Kind,
    /// Its width on one line.
    width: usize,
    /// Whether it does not go on one line.
    breaks: bool,
}

enum Kind {
    Text(String),
    Seq(Vec<Doc>),
    Group(Group),
}

/// Items between brackets: `a, b` on one line, or each on a line of its own, or, filled, as many on a line as fit, or,
/// where the author set the lines, as they were.
pub(super) struct Group {
    pub(super) open: char,
    pub(super) close: char,
    pub(super) items: Vec<Item>,
    pub(super) is_filled: bool,
    /// Whether the author set the lines: the last item ends in a comma and a line break.
    pub(super) is_set: bool,
    /// Comments behind the last item, on lines of their own.
    pub(super) after: Vec<String>,
}

impl Group {
    fn is_commented(&self) -> bool {
        !self.after.is_empty() || self.items.iter().any(|item| !item.before.is_empty() || item.trailing.is_some())
    }
}

/// An item of a group.
pub(super) struct Item {
    /// Whether it was the first of its line.
    pub(super) starts_line: bool,
    /// Comments before it, on lines of their own.
    pub(super) before: Vec<String>,
    pub(super) doc: Doc,
    pub(super) trailing: Option<Trailing>,
}

impl Doc {
    pub(super) fn text(text: impl Into<String>) -> Doc {
        let text = text.into();
        Doc { width: text.chars().count(), kind: Kind::Text(text), breaks: false }
    }

    pub(super) fn seq(docs: Vec<Doc>) -> Doc {
        let width = docs.iter().map(|doc| doc.width).sum();
        let breaks = docs.iter().any(|doc| doc.breaks);
        Doc { kind: Kind::Seq(docs), width, breaks }
    }

    pub(super) fn group(group: Group) -> Doc {
        let items: usize = group.items.iter().map(|item| item.doc.width).sum();
        let width = 2 + items + 2 * group.items.len().saturating_sub(1);
        let breaks = group.is_set || group.is_commented() || group.items.iter().any(|item| item.doc.breaks);
        Doc { kind: Kind::Group(group), width, breaks }
    }

    /// Whether it is a list, or ends in one behind plain text, so that `f(5, table = [` can begin its lines.
    fn ends_in_list(&self) -> bool {
        match &self.kind {
            Kind::Text(_) => false,
            Kind::Group(group) => group.open == '[' && !group.items.is_empty(),
            Kind::Seq(docs) => match docs.as_slice() {
                [texts @ .., last] => last.ends_in_list() && texts.iter().all(|doc| matches!(doc.kind, Kind::Text(_))),
                [] => false,
            },
        }
    }

    /// Its width on one line, if it goes on one.
    pub(super) fn flat_width(&self) -> Option<usize> {
        if self.breaks { None } else { Some(self.width) }
    }

    /// Its width up to the first place where a line could end.
    pub(super) fn lead_width(&self) -> usize {
        self.lead().0
    }

    /// The text on one line, without any comments.
    pub(super) fn flat(&self) -> String {
        let mut text = String::with_capacity(self.width);
        self.write_flat(&mut text);
        text
    }

    fn write_flat(&self, out: &mut String) {
        match &self.kind {
            Kind::Text(text) => out.push_str(text),
            Kind::Seq(docs) => docs.iter().for_each(|doc| doc.write_flat(out)),
            Kind::Group(group) => {
                out.push(group.open);
                for (i, item) in group.items.iter().enumerate() {
                    out.push_str(if i == 0 { "" } else { ", " });
                    item.doc.write_flat(out);
                }
                out.push(group.close);
            }
        }
    }

    /// Its width up to the first place where a line could end, and whether there is such a place.
    fn lead(&self) -> (usize, bool) {
        match &self.kind {
            Kind::Text(_) => (self.width, false),
            Kind::Seq(docs) => {
                let mut width = 0;
                for doc in docs {
                    let (lead, ends) = doc.lead();
                    width += lead;
                    if ends {
                        return (width, true);
                    }
                }
                (width, false)
            }
            Kind::Group(group) if group.items.is_empty() && group.after.is_empty() => (self.width, false),
            Kind::Group(_) => (1, true),
        }
    }
}

/// A line of a laid out text.
pub(super) struct Piece {
    /// Blanks before it.
    pub(super) indent: usize,
    pub(super) text: String,
    pub(super) trailing: Option<Trailing>,
}

/// Lays a text out behind `start`, indented by `indent` blanks, with `rest` characters to follow its last line.
pub(super) fn layout(doc: &Doc, start: String, indent: usize, rest: usize) -> Vec<Piece> {
    let column = indent + start.chars().count();
    let mut layout = Layout { done: Vec::new(), line: start, column, indent };
    layout.doc(doc, rest);
    layout.end_line(None);
    layout.done
}

struct Layout {
    done: Vec<Piece>,
    line: String,
    column: usize,
    indent: usize,
}

impl Layout {
    fn push(&mut self, text: &str, width: usize) {
        self.line.push_str(text);
        self.column += width;
    }

    fn end_line(&mut self, trailing: Option<Trailing>) {
        let text = std::mem::take(&mut self.line);
        let text = text.trim_end().to_owned();
        self.done.push(Piece { indent: self.indent, text, trailing });
    }

    fn start_line(&mut self, indent: usize) {
        self.indent = indent;
        self.column = indent;
    }

    fn doc(&mut self, doc: &Doc, rest: usize) {
        match &doc.kind {
            Kind::Text(text) => self.push(text, doc.width),
            Kind::Seq(docs) => {
                let mut rests = vec![rest; docs.len()];
                for i in (1..docs.len()).rev() {
                    let (lead, ends) = docs[i].lead();
                    rests[i - 1] = if ends { lead } else { lead + rests[i] };
                }
                for (doc, rest) in docs.iter().zip(rests) {
                    self.doc(doc, rest);
                }
            }
            Kind::Group(group) => {
                let fits = self.column + doc.width + rest <= MAX_WIDTH;
                // Where what follows is too long for any line, breaking this would not help.
                let helps = self.indent + 1 + rest <= MAX_WIDTH && !group.items.is_empty();
                if !doc.breaks && (fits || !helps) {
                    self.push(&doc.flat(), doc.width);
                } else if !self.hugged(group, rest) {
                    self.broken(group);
                }
            }
        }
    }

    /// `f(5, table = [`, the lines of the list, `])`: only the list at the end is broken, if that is enough.
    fn hugged(&mut self, group: &Group, rest: usize) -> bool {
        let Some((last, others)) = group.items.split_last() else { return false };
        let possible = group.open == '('
            && !group.is_set
            && !group.is_commented()
            && last.doc.ends_in_list()
            && others.iter().all(|item| !item.doc.breaks);
        let before: usize = others.iter().map(|item| item.doc.width + 2).sum();
        if !possible || self.column + 1 + before + last.doc.lead().0 > MAX_WIDTH {
            return false;
        }
        self.push("(", 1);
        for item in others {
            self.push(&item.doc.flat(), item.doc.width);
            self.push(", ", 2);
        }
        self.doc(&last.doc, rest + 1);
        self.push(")", 1);
        true
    }

    fn broken(&mut self, group: &Group) {
        let outer = self.indent;
        let inner = outer + INDENT;
        self.line.push(group.open);
        self.end_line(None);
        self.start_line(inner);
        let is_filled = group.is_filled && !group.is_commented();
        let mut ends_line = false;
        for item in &group.items {
            let goes_on = (if group.is_set { !item.starts_line } else { is_filled })
                && !ends_line
                && item.before.is_empty()
                && !item.doc.breaks
                && self.column + 1 + item.doc.width < MAX_WIDTH;
            if self.line.is_empty() {
                self.comments(&item.before);
            } else if goes_on {
                self.push(" ", 1);
            } else {
                self.end_line(None);
                self.start_line(inner);
                self.comments(&item.before);
            }
            let lines = self.done.len();
            self.doc(&item.doc, 1);
            self.push(",", 1);
            ends_line = lines < self.done.len();
            if item.trailing.is_some() {
                self.end_line(item.trailing.clone());
                self.start_line(inner);
            }
        }
        if !self.line.is_empty() {
            self.end_line(None);
        }
        self.start_line(inner);
        self.comments(&group.after);
        self.start_line(outer);
        self.push(group.close.encode_utf8(&mut [0; 4]), 1);
    }

    fn comments(&mut self, comments: &[String]) {
        for comment in comments {
            self.line.push_str(comment);
            self.end_line(None);
        }
    }
}
