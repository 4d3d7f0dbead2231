use super::*;
use crate::diag::{Sink, SourceMap};

/// The tree, and each error as `line:column code title | text of the place`.
pub(super) fn parsed(text: &str) -> (Parsed, Vec<String>) {
    let (mut sources, mut sink) = (SourceMap::default(), Sink::default());
    let id = sources.add("test.net", text);
    let parsed = parse(&sources, id, &mut sink);
    let describe = |d: crate::diag::Diagnostic| {
        let at = sources.position(d.primary.span);
        format!("{}:{} {} {} | {}", at.line, at.column, d.code, d.title, sources.text(d.primary.span))
    };
    (parsed, sink.into_sorted().into_iter().map(describe).collect())
}

#[test]
fn the_tour_of_the_language_parses() {
    let (parsed, errors) = parsed(include_str!("../../tests/syntax/tour.net"));
    assert_eq!(errors, Vec::<String>::new());
    assert_eq!(parsed.file.items.len(), 5);
    assert_eq!(parsed.comments.len(), 11);
}
