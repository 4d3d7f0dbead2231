//! The syntax as seen from outside: what mistakes are answered with.
#![allow(clippy::unwrap_used)]

use netc::diag::{self, Diagnostic, Sink, SourceMap};
use std::fmt::Write as _;

/// What a text gives rise to, in order of place.
fn diagnose(text: &str) -> (SourceMap, Vec<Diagnostic>) {
    let (mut sources, mut sink) = (SourceMap::default(), Sink::default());
    let id = sources.add("test.net", text);
    netc::syntax::parse(&sources, id, &mut sink);
    (sources, sink.into_sorted())
}

fn in_a_net(line: &str) -> String {
    format!("net a {{\n  {line}\n  bn\n}}\n")
}

/// Every line of `mistakes.txt` is one statement with one mistake.
#[test]
fn each_mistake_is_one_error_and_its_fix_mends_it() {
    let (mut report, mut failed) = (String::new(), Vec::new());
    for line in include_str!("syntax/mistakes.txt").lines() {
        let (sources, errors) = diagnose(&in_a_net(line));
        if errors.len() != 1 {
            failed.push(line.to_owned());
        }
        writeln!(report, "{line}").unwrap();
        for error in &errors {
            let place = sources.text(error.primary.span);
            writeln!(report, "    {}: {} `{place}` {}", error.code, error.title, error.primary.text).unwrap();
            for help in &error.help {
                writeln!(report, "    {}", help.text).unwrap();
                if help.edits.is_empty() {
                    continue;
                }
                let mended = diag::apply(&sources, error.primary.span.file, &help.edits);
                writeln!(report, "    => {}", mended.lines().nth(1).unwrap().trim()).unwrap();
                let (_, left) = diagnose(&mended);
                if !left.is_empty() {
                    failed.push(mended);
                }
            }
        }
    }
    assert_eq!(failed, Vec::<String>::new());
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../snapshots/syntax");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!("mistakes", report));
}
