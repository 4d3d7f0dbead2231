//! Any bytes parse into a tree or into messages that can be shown. What parses has a canonical text, which means the
//! same, keeps the comments, and is its own canonical text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use netc::diag::{FileId, Sink, SourceMap, human, json};
use netc::syntax::{add_source, ast_text, format, parse};

fuzz_target!(|bytes: &[u8]| {
    let (mut sources, mut sink) = (SourceMap::default(), Sink::default());
    let Some(file) = add_source(&mut sources, "fuzz.net", bytes.to_vec(), &mut sink) else { return show(&sources, sink) };
    let parsed = parse(&sources, file, &mut sink);
    if sink.has_errors() {
        return show(&sources, sink);
    }
    let once = canonical(&sources, file);
    let again = sources.add("once.net", once.as_str());
    let mut sink = Sink::default();
    let reparsed = parse(&sources, again, &mut sink);
    assert!(!sink.has_errors(), "the canonical text does not parse:\n{once}");
    assert_eq!(ast_text(&parsed.file), ast_text(&reparsed.file), "the canonical text means something else:\n{once}");
    assert_eq!(parsed.comments.len(), reparsed.comments.len(), "a comment is lost:\n{once}");
    assert_eq!(once, canonical(&sources, again));
});

fn canonical(sources: &SourceMap, file: FileId) -> String {
    format(sources, file, &mut Sink::default()).expect("what parses can be formatted")
}

fn show(sources: &SourceMap, sink: Sink) {
    let diagnostics = sink.into_sorted();
    human::render(sources, &diagnostics, human::Style { color: false, width: 100 });
    json::render(sources, &diagnostics);
}
