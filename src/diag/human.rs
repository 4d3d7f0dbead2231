//! Diagnostics for people, as rustc draws them.
//!
//! The printing crate gets no whole source: only the lines that labels and edits touch, long ones cut to the
//! neighbourhood (see [`excerpt`](super::excerpt)), every place moved into the text. So the cost of a report depends on
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
    /// Columns of the terminal; source lines are cut to fit, words are not wrapped.
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
mod tests {
    use super::*;
    use crate::diag::{Code, Span, codes};
    use proptest::prelude::*;

    const NET: &str = "\
net tiny(classes = 10) {
  input image: [3, 32, 32]
  conv1: conv(16, 3)
  bn1: bn
  add {
    {
      conv2: conv(8, 3, pad = 1)
    }
    identity
  }
  output logits
}
";

    fn at(text: &str, word: &str) -> Span {
        let start = text.find(word).unwrap();
        Span { file: FileId(0), start: start as u32, end: (start + word.len()) as u32 }
    }

    fn one(text: &str) -> SourceMap {
        let mut sources = SourceMap::default();
        sources.add("tiny.net", text);
        sources
    }

    fn drawn(sources: &SourceMap, diagnostic: Diagnostic) -> String {
        render(sources, &[diagnostic], Style::default())
    }

    #[test]
    fn labels_notes_and_a_help_in_words() {
        let error = Diagnostic::new(codes::E0301, at(NET, "add {"), "the branches of `add` differ in channels")
            .label("8 and 16 channels meet here")
            .also(at(NET, "conv(8, 3, pad = 1)"), "[8, 30, 30]")
            .also(at(NET, "identity"), "[16, 30, 30], from line 4")
            .note("`add` neither broadcasts nor crops")
            .help("give `conv2` 16 channels");
        insta::assert_snapshot!(drawn(&one(NET), error), @r"
        error[E0301]: the branches of `add` differ in channels
         --> tiny.net:5:3
          |
        5 |   add {
          |   ^^^^^ 8 and 16 channels meet here
        6 |     {
        7 |       conv2: conv(8, 3, pad = 1)
          |              ------------------- [8, 30, 30]
        8 |     }
        9 |     identity
          |     -------- [16, 30, 30], from line 4
          |
          = note: `add` neither broadcasts nor crops
          = help: give `conv2` 16 channels
        ");
    }

    #[test]
    fn an_edit_is_shown_as_the_mended_line() {
        let insertion = at(NET, "16, 3").after();
        let advice = Diagnostic::new(codes::W0501, at(NET, "conv(16, 3)"), "a bias in front of batch norm")
            .also(at(NET, "bn\n"), "subtracts it again")
            .fix("leave it out", insertion, ", bias = false");
        insta::assert_snapshot!(drawn(&one(NET), advice), @r"
        warning[W0501]: a bias in front of batch norm
         --> tiny.net:3:10
          |
        3 |   conv1: conv(16, 3)
          |          ^^^^^^^^^^^
        4 |   bn1: bn
          |        -- subtracts it again
          |
        help: leave it out
          |
        3 |   conv1: conv(16, 3, bias = false)
          |                    ++++++++++++++
        ");
    }

    #[test]
    fn a_replacement_and_a_new_line_are_shown_as_a_patch() {
        let error = Diagnostic::new(codes::E0401, at(NET, "conv2: conv(8"), "x")
            .fix("use 16 channels", at(NET, "8, 3"), "16, 3")
            .fix("project the skip", at(NET, "    identity\n").before(), "    skip: conv(8, 1)\n")
            .fix("drop the braces", at(NET, "    {\n      conv2: conv(8, 3, pad = 1)\n    }\n"), "");
        insta::assert_snapshot!(drawn(&one(NET), error), @r"
        error[E0401]: x
         --> tiny.net:7:7
          |
        7 |       conv2: conv(8, 3, pad = 1)
          |       ^^^^^^^^^^^^^
          |
        help: use 16 channels
          |
        7 -       conv2: conv(8, 3, pad = 1)
        7 +       conv2: conv(16, 3, pad = 1)
          |
        help: project the skip
          |
        9 +     skip: conv(8, 1)
          |
        help: drop the braces
          |
        6 -     {
        7 -       conv2: conv(8, 3, pad = 1)
        8 -     }
          |
        ");
    }

    #[test]
    fn places_in_an_imported_file_have_their_own_block() {
        let mut sources = one("import \"b.net\"\nnet n {\n  wide(0)\n}\n");
        let block = "block wide(n) {\n  conv(n, 1)\n}\n";
        let b = sources.add("blocks/b.net", block);
        let error = Diagnostic::new(codes::E0221, Span { file: b, ..at(block, "n, 1") }, "0 output channels")
            .label("`n` is 0")
            .also(Span { file: FileId(0), start: 25, end: 32 }, "called here with n = 0");
        insta::assert_snapshot!(drawn(&sources, error), @r"
        error[E0221]: 0 output channels
         --> blocks/b.net:2:8
          |
        2 |   conv(n, 1)
          |        ^^^^ `n` is 0
          |
         ::: tiny.net:3:3
          |
        3 |   wide(0)
          |   ------- called here with n = 0
        ");
    }

    #[test]
    fn colour_and_plain_text_say_the_same() {
        let sources = one(NET);
        let error = [Diagnostic::new(codes::E0401, at(NET, "bn1"), "x").fix("y", at(NET, "bn1"), "bn2")];
        let colour = render(&sources, &error, Style { color: true, width: 80 });
        assert!(colour.contains("\u{1b}["));
        assert_eq!(anstream::adapter::strip_str(&colour).to_string(), render(&sources, &error, Style::default()));
    }

    #[test]
    fn one_hundred_are_drawn_and_errors_come_before_advice() {
        let sources = one(NET);
        let diagnostic = |code| Diagnostic::new(code, at(NET, "bn1"), "x");
        let mut all = vec![diagnostic(codes::W0502); 60];
        all.extend(vec![diagnostic(codes::E0203); 70]);
        let text = render(&sources, &all, Style::default());
        assert_eq!((text.matches("warning[W0502]").count(), text.matches("error[E0203]").count()), (30, 70));
        assert!(text.ends_with("and 30 more\n"));
        assert!(!render(&sources, &all[..100], Style::default()).contains("more"));
        assert_eq!(summary(&all), "70 errors, 60 warnings");
        assert_eq!(summary(&all[59..61]), "1 error, 1 warning");
        assert_eq!((summary(&all[..1]), summary(&[])), ("1 warning".into(), String::new()));
        assert_eq!(render(&sources, &[], Style::default()), "");
    }

    #[test]
    fn a_line_of_ten_megabytes_is_cut_and_keeps_its_column() {
        let text = format!("net n {{ {}wrong; {}}}", "relu; ".repeat(900_000), "relu; ".repeat(900_000));
        let sources = one(&text);
        let error = Diagnostic::new(codes::E0201, at(&text, "wrong"), "unknown layer `wrong`").label("here").fix(
            "did you mean `relu`?",
            at(&text, "wrong"),
            "relu",
        );
        let report = drawn(&sources, error);
        assert!(report.len() < 3000 && report.contains("--> tiny.net:1:5400009\n"), "{report}");
        assert!(report.contains("wrong; relu"), "{report}");
        assert!(report.contains("+ \u{2026}"), "{report}");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let mut sources = SourceMap::default();
        let file = sources.add("a\u{1b}[2J.net", "conv\u{1b}[31m(8)\r\n\tbn");
        let error = Diagnostic::new(codes::E0101, Span { file, start: 4, end: 6 }, "bad \u{1b}[1m")
            .label("\u{1b}[1m")
            .note("\u{1b}[1m")
            .help("\u{1b}[1m")
            .fix("\u{1b}[1m", Span { file, start: 4, end: 9 }, "");
        assert!(!drawn(&sources, error).contains('\u{1b}'));
    }

    fn any_span() -> impl Strategy<Value = Span> {
        (0u32..3, 0u32..70, 0u32..70).prop_map(|(file, start, end)| Span { file: FileId(file), start, end })
    }

    fn any_diagnostic() -> impl Strategy<Value = Diagnostic> {
        let words = "[a\u{4e16}\n\t\u{301}]{0,6}";
        let help = (words, proptest::collection::vec((any_span(), words), 0..4));
        let code = prop_oneof![Just(codes::E0101), Just(codes::W0501)];
        let labels = proptest::collection::vec((any_span(), words), 1..5);
        (code, words, labels, proptest::collection::vec(help, 0..3)).prop_map(|(code, title, labels, help)| {
            let label = |(span, text): (Span, String)| Label { span, text };
            let mut labels: Vec<Label> = labels.into_iter().map(label).collect();
            let primary = labels.remove(0);
            let edit = |(span, replacement)| Edit { span, replacement };
            let help =
                help.into_iter().map(|(text, edits)| Help { text, edits: edits.into_iter().map(edit).collect() });
            Diagnostic {
                primary,
                secondary: labels,
                help: help.collect(),
                ..Diagnostic::new(code, Span::default(), title)
            }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]
        #[test]
        fn no_place_and_no_text_makes_it_panic(
            first in "[ab {}\t\u{e9}\u{4e16}\u{1f600}\u{301}\r\n\u{0}]{0,40}",
            second in "(a\n){0,3}",
            diagnostic in any_diagnostic(),
            width in 0usize..200,
        ) {
            let mut sources = SourceMap::default();
            sources.add("a.net", first);
            sources.add("b.net", second);
            let code = Code::to_string(&diagnostic.code);
            let text = render(&sources, &[diagnostic], Style { color: false, width });
            prop_assert!(text.contains(&code));
        }
    }
}
