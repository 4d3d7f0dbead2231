//! Diagnostics for people, as rustc draws them.
//!
//! The printing crate gets no whole source: only the lines that labels and edits touch, long ones cut to the
//! neighbourhood (see `excerpt`), every place moved into the text. So the cost of a report depends on
//! the number of its labels and not on the size of the source.

use super::edit::in_file;
use super::excerpt::{Excerpt, groups_of_lines};
use super::{Diagnostic, Edit, FileId, Help, Label, Severity, SourceFile, SourceMap};
use annotate_snippets::{
    Annotation, AnnotationKind, Element, Group, Level, Patch, Renderer, Snippet, normalize_untrusted_str,
};
use std::ops::Range;

/// How many diagnostics are drawn; the others are counted.
pub const MAX_DIAGNOSTICS: usize = 100;
/// How many labels of one diagnostic are drawn.
const MAX_LABELS: usize = 24;
/// How many characters of a title, label, note or suggestion are drawn.
const MAX_TEXT: usize = 2000;
/// Edits that touch more bytes or lines than this are told in words only.
const MAX_PATCH: usize = 4000;
const MAX_PATCH_LINES: usize = 60;

/// How a report looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Whether to colour it with ANSI escape codes.
    pub color: bool,
    /// Columns of the terminal; source lines are cut to fit, words are not wrapped. Taken as 40 when less.
    pub width: usize,
}

impl Default for Style {
    fn default() -> Self {
        Style { color: false, width: 100 }
    }
}

/// The diagnostics as text, a blank line after each; empty when there are none.
///
/// Of more than [`MAX_DIAGNOSTICS`] the first errors are drawn, then warnings as far as there is room, all in the order
/// given; the last line says how many are left out. [`summary`] is the line to print below.
pub fn render(sources: &SourceMap, diagnostics: &[Diagnostic], style: Style) -> String {
    let renderer = if style.color { Renderer::styled() } else { Renderer::plain() }.term_width(style.width.max(40));
    let errors = diagnostics.iter().filter(|d| d.severity == Severity::Error).count().min(MAX_DIAGNOSTICS);
    let mut room = [MAX_DIAGNOSTICS - errors, errors];
    let mut text = String::new();
    for diagnostic in diagnostics {
        let room = &mut room[usize::from(diagnostic.severity == Severity::Error)];
        if *room == 0 {
            continue;
        }
        *room -= 1;
        text.push_str(&report(sources, diagnostic, &renderer));
        text.push_str("\n\n");
    }
    if diagnostics.len() > MAX_DIAGNOSTICS {
        text.push_str(&format!("and {} more\n", diagnostics.len() - MAX_DIAGNOSTICS));
    }
    text
}

/// `2 errors, 1 warning`; empty when there are none.
pub fn summary(diagnostics: &[Diagnostic]) -> String {
    let errors = diagnostics.iter().filter(|d| d.severity == Severity::Error).count();
    let counts = [(errors, "error"), (diagnostics.len() - errors, "warning")];
    let parts: Vec<_> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, noun)| format!("{count} {noun}{}", if *count == 1 { "" } else { "s" }))
        .collect();
    parts.join(", ")
}

/// One diagnostic without a line break at its end.
fn report(sources: &SourceMap, diagnostic: &Diagnostic, renderer: &Renderer) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let shown = diagnostic.secondary.len().min(MAX_LABELS - 1);
    let mut labels = vec![(AnnotationKind::Primary, &diagnostic.primary)];
    labels.extend(diagnostic.secondary[..shown].iter().map(|label| (AnnotationKind::Context, label)));

    let mut columns = Vec::new();
    let title = level.primary_title(plain(&diagnostic.title)).id(diagnostic.code.0);
    let mut first = Group::with_title(title).elements(causes(sources, &labels, &mut columns));
    if shown < diagnostic.secondary.len() {
        let hidden = diagnostic.secondary.len() - shown;
        first = first.element(Level::NOTE.message(format!("and {hidden} more places")));
    }
    first = first.elements(diagnostic.notes.iter().map(|note| Level::NOTE.message(plain(note))));
    let mut others = Vec::new();
    for help in &diagnostic.help {
        let patches = suggestions(sources, help, &mut columns);
        if patches.is_empty() {
            first = first.element(Level::HELP.message(plain(&help.text)));
        } else {
            others.push(Group::with_title(Level::HELP.secondary_title(plain(&help.text))).elements(patches));
        }
    }
    others.insert(0, first);
    let mut text = renderer.render(&others);
    for (drawn, real) in columns {
        text = replace_position(&text, &drawn, &real);
    }
    text
}

/// The places with their source lines, the block of the primary place first.
fn causes<'a>(
    sources: &'a SourceMap,
    labels: &[(AnnotationKind, &Label)],
    columns: &mut Vec<(String, String)>,
) -> Vec<Element<'a>> {
    let mut files: Vec<FileId> = Vec::new();
    for (_, label) in labels {
        if !files.contains(&label.span.file) {
            files.push(label.span.file);
        }
    }
    let mut blocks = Vec::new();
    for id in files {
        let Some(file) = sources.get(id) else { continue };
        let places: Vec<_> = labels
            .iter()
            .filter(|(_, label)| label.span.file == id)
            .map(|(kind, label)| (first_line_of(file, file.clamp(label.span)), (*kind, label.text.as_str())))
            .collect();
        for group in groups_of_lines(file, places) {
            let is_primary = group.iter().any(|(_, (kind, _))| *kind == AnnotationKind::Primary);
            let block = cause(file, &group, columns);
            blocks.insert(if is_primary { 0 } else { blocks.len() }, Element::from(block));
        }
    }
    blocks
}

/// A place on several lines is drawn as far as the end of its first.
fn first_line_of(file: &SourceFile, range: Range<usize>) -> Range<usize> {
    let line = file.line_range(file.line_at(range.start));
    let start = range.start.min(line.end);
    start..range.end.min(line.end).max(start)
}

fn cause<'a>(
    file: &SourceFile,
    labels: &[(Range<usize>, (AnnotationKind, &str))],
    columns: &mut Vec<(String, String)>,
) -> Snippet<'a, Annotation<'a>> {
    let excerpt = Excerpt::new(file, labels);
    columns.extend(labels.iter().filter_map(|(place, _)| moved_column(file, &excerpt, place.start)));
    let annotations: Vec<_> = labels
        .iter()
        .map(|(place, (kind, text))| {
            let annotation = kind.span(excerpt.place(place.start)..excerpt.place(place.end));
            if text.is_empty() { annotation } else { annotation.label(plain(text)) }
        })
        .collect();
    Snippet::source(excerpt.text).line_start(excerpt.first_line).path(path(file)).annotations(annotations)
}

/// The edits of a help as patches; empty when it has none that change anything or they are too long to show.
fn suggestions<'a>(sources: &'a SourceMap, help: &'a Help, columns: &mut Vec<(String, String)>) -> Vec<Element<'a>> {
    let mut files: Vec<FileId> = help.edits.iter().map(|edit| edit.span.file).collect();
    files.sort();
    files.dedup();
    let mut patches = Vec::new();
    for id in files {
        let Some(file) = sources.get(id) else { continue };
        let edits: Vec<_> = in_file(sources, id, &help.edits)
            .into_iter()
            .filter(|(range, edit)| file.text[range.clone()] != edit.replacement)
            .collect();
        if edits.iter().any(|(range, edit)| !is_short(file, range, edit)) {
            return Vec::new();
        }
        for group in groups_of_lines(file, edits) {
            patches.push(Element::from(patch(file, &group, columns)));
        }
    }
    patches
}

fn is_short(file: &SourceFile, range: &Range<usize>, edit: &Edit) -> bool {
    let lines = file.line_at(range.end) - file.line_at(range.start);
    range.len() <= MAX_PATCH
        && lines <= MAX_PATCH_LINES
        && edit.replacement.len() <= MAX_PATCH
        && edit.replacement.matches('\n').count() <= MAX_PATCH_LINES
}

fn patch<'a>(
    file: &SourceFile,
    edits: &[(Range<usize>, &'a Edit)],
    columns: &mut Vec<(String, String)>,
) -> Snippet<'a, Patch<'a>> {
    let excerpt = Excerpt::new(file, edits);
    columns.extend(edits.iter().filter_map(|(range, _)| moved_column(file, &excerpt, range.start)));
    let patches: Vec<_> = edits
        .iter()
        .map(|(range, edit)| {
            Patch::new(excerpt.place(range.start)..excerpt.place(range.end), edit.replacement.as_str())
        })
        .collect();
    Snippet::source(excerpt.text).line_start(excerpt.first_line).path(path(file)).patches(patches)
}

/// `file:line:column` as it is drawn for a cut line, and as it should be.
fn moved_column(file: &SourceFile, excerpt: &Excerpt, offset: usize) -> Option<(String, String)> {
    let at = file.position(offset);
    let drawn = excerpt.column(offset);
    let name = path(file);
    (drawn != at.column).then(|| (format!("{name}:{}:{drawn}", at.line), format!("{name}:{}:{}", at.line, at.column)))
}

/// Replaces `drawn` where it first stands with no further digit behind it.
fn replace_position(text: &str, drawn: &str, real: &str) -> String {
    let is_whole = |&(at, _): &(usize, &str)| !text[at + drawn.len()..].starts_with(|c: char| c.is_ascii_digit());
    match text.match_indices(drawn).find(is_whole) {
        Some((at, _)) => format!("{}{real}{}", &text[..at], &text[at + drawn.len()..]),
        None => text.to_owned(),
    }
}

fn path(file: &SourceFile) -> String {
    normalize_untrusted_str(&clip(&file.name)).replace('\n', " ")
}

/// Words for places where the printing crate prints control characters as they are.
fn plain(text: &str) -> String {
    normalize_untrusted_str(&clip(text))
}

fn clip(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => format!("{}\u{2026}", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
