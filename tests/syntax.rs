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
    check("mistakes", &report);
}

#[test]
fn the_tree_of_the_tour_is_as_its_snapshot_has_it() {
    let (mut sources, mut sink) = (SourceMap::default(), Sink::default());
    let id = sources.add("tour.net", include_str!("syntax/tour.net"));
    let parsed = netc::syntax::parse(&sources, id, &mut sink);
    assert!(sink.diagnostics().is_empty());
    check("tour", &netc::syntax::ast_text(&parsed.file));
}

/// Every part of the language that the tour leaves out.
#[test]
fn the_tree_of_the_rest_is_as_its_snapshot_has_it() {
    let (sources, errors) = diagnose(include_str!("syntax/rest.net"));
    assert!(errors.is_empty(), "{errors:#?}");
    let (id, mut sink) = (diag::FileId(0), Sink::default());
    let parsed = netc::syntax::parse(&sources, id, &mut sink);
    check("rest", &netc::syntax::ast_text(&parsed.file));
    assert_eq!(netc::syntax::format(&sources, id, &mut sink).as_deref(), Some(include_str!("syntax/rest.net")));
}

fn check(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../snapshots/syntax");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}
