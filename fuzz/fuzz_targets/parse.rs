//! Any bytes parse into a tree or into messages that can be shown.

#![no_main]

use libfuzzer_sys::fuzz_target;
use netc::diag::{Sink, SourceMap, human, json};
use netc::syntax::{add_source, parse};

fuzz_target!(|bytes: &[u8]| {
    let (mut sources, mut sink) = (SourceMap::default(), Sink::default());
    if let Some(file) = add_source(&mut sources, "fuzz.net", bytes.to_vec(), &mut sink) {
        parse(&sources, file, &mut sink);
    }
    let diagnostics = sink.into_sorted();
    human::render(&sources, &diagnostics, human::Style { color: false, width: 100 });
    json::render(&sources, &diagnostics);
});
