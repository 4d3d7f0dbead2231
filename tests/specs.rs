//! What each stage makes of every shipped net: `snapshots/STAGE/NAME.snap`. Files of blocks have a tree only.
//! `INSTA_UPDATE=always cargo test --test specs` writes them anew.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use netc::cost::{By, Options, analyse, rollup};
use netc::diag::{Sink, SourceMap};
use netc::plan::{explain, plan};
use netc::report::{self, Style};
use netc::syntax::ast_text;
use netc::{Settings, compile, compile_with, ir, opt, syntax};

/// Compares with `snapshots/STAGE/NAME.snap`.
fn assert_stage(stage: &str, name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(Path::new("../snapshots").join(stage));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.remove_snapshot_suffix();
    settings.bind(|| insta::assert_snapshot!(name, text));
}

fn tree(path: &Path) -> String {
    let (mut sources, mut sink) = (SourceMap::default(), Sink::default());
    let id = syntax::add_source(&mut sources, "spec.net", std::fs::read(path).unwrap(), &mut sink).unwrap();
    let parsed = syntax::parse(&sources, id, &mut sink);
    assert!(!sink.has_errors(), "{}", path.display());
    ast_text(&parsed.file)
}

/// The steps of one sample and why they are as they are; sizes that the net leaves free are 64.
fn steps(path: &Path, free: &[String]) -> String {
    let set = free.iter().map(|symbol| format!("{symbol}=64")).collect();
    let compiled = compile_with(path, &Settings { set, ..Settings::default() }).unwrap();
    let optimised = opt::optimise(&compiled.net, &compiled.shapes);
    explain::text(&optimised, &plan(&optimised, 1).unwrap(), true)
}

#[test]
fn each_stage_is_as_its_snapshot_has_it() {
    insta::glob!("../specs", "**/*.net", |path| {
        let name = path.file_stem().unwrap().to_str().unwrap();
        if path.parent().unwrap().ends_with("blocks") {
            return assert_stage("ast/blocks", name, &tree(path));
        }
        assert_stage("ast", name, &tree(path));
        let compiled = compile(path).unwrap_or_else(|error| panic!("{error}"));
        assert_stage("ir", name, &ir::print::text(&compiled.net));
        let style = Style { width: None, color: false };
        let report = analyse(&compiled.net, &compiled.shapes, &Options::default()).unwrap();
        assert_stage("shape", name, &report::shapes::table(&report, style));
        let rows = rollup(&report, By::Layer).unwrap();
        assert_stage("cost", name, &report::cost::table(&report, &rows, By::Layer, style));
        assert_stage("plan", name, &steps(path, &report.symbols));
    });
}
