//! How every file of specs/ is written, and what each stage makes of it: `snapshots/STAGE/NAME.snap`. Files of blocks
//! have a tree only. `INSTA_UPDATE=always cargo test --test specs` writes the snapshots anew.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use netc::cost::{By, Options, analyse, rollup};
use netc::diag::{Sink, SourceMap};
use netc::plan::{self, explain, plan};
use netc::report::{self, Style};
use netc::syntax::ast_text;
use netc::{FileLoader, Settings, compile, compile_with, ir, opt, pytorch, syntax};

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
    let id = syntax::add_source(&mut sources, "spec.net", fs::read(path).unwrap(), &mut sink).unwrap();
    let parsed = syntax::parse(&sources, id, &mut sink);
    assert!(!sink.has_errors(), "{}", path.display());
    ast_text(&parsed.file)
}

/// The steps of one sample and why they are as they are; sizes that the net leaves free are 64.
fn steps(path: &Path, free: &[String]) -> String {
    let set = free.iter().map(|symbol| format!("{symbol}=64")).collect();
    let compiled = compile_with(path, &Settings { set, ..Settings::default() }).unwrap();
    let optimised = opt::optimise(&compiled.net, &compiled.shapes);
    explain::text(&optimised, &plan(&optimised, 1, &plan::Options::default()).unwrap(), true)
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
        assert_stage("pytorch", name, &pytorch::module(&compiled.net, &compiled.shapes, None).unwrap());
    });
}

/// Every file, and whether it is one of blocks.
fn files() -> Vec<(PathBuf, bool)> {
    let mut files = Vec::new();
    for (folder, of_blocks) in [("specs", false), ("specs/blocks", true)] {
        let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        files.extend(paths.filter(|path| path.is_file()).map(|path| (path, of_blocks)));
    }
    assert!(files.len() > 40);
    files
}

#[test]
fn every_file_is_as_fmt_writes_it() {
    for (path, _) in files() {
        let (mut sources, mut sink) = (SourceMap::default(), Sink::default());
        let text = fs::read_to_string(&path).unwrap();
        let id = sources.add(path.display().to_string(), text.clone());
        assert_eq!(syntax::format(&sources, id, &mut sink), Some(text), "{}", path.display());
    }
}

/// A preprint, or the year of a publication, in a comment.
#[test]
fn every_file_names_its_source() {
    let is_year = |word: &str| word.len() == 4 && word.parse().is_ok_and(|year: u32| (1980..2100).contains(&year));
    for (path, _) in files() {
        let text = fs::read_to_string(&path).unwrap();
        let mut comments = text.lines().filter_map(|line| line.strip_prefix("# "));
        let names = |line: &str| line.contains("arXiv:") || line.split(|c: char| !c.is_alphanumeric()).any(is_year);
        assert!(comments.any(names), "{}", path.display());
    }
}

#[test]
fn files_of_blocks_check_clean() {
    for (path, _) in files().into_iter().filter(|(_, of_blocks)| *of_blocks) {
        let name = path.display().to_string();
        let checked = netc::check(&name, fs::read(&path).unwrap(), &FileLoader, &Settings::default());
        assert!(checked.compiled.is_none() && checked.diagnostics.is_empty(), "{name}: {:?}", checked.diagnostics);
    }
}

/// Lines of a file and of everything it imports, comments and blank lines aside.
fn lines(path: &Path, seen: &mut BTreeSet<PathBuf>) -> usize {
    if !seen.insert(path.canonicalize().unwrap()) {
        return 0;
    }
    let text = fs::read_to_string(path).unwrap();
    let says = |line: &&str| !line.is_empty() && (!line.starts_with('#') || line.starts_with("#["));
    let imports = text.lines().filter_map(|line| line.strip_prefix("import "));
    let imported = imports.map(|import| path.parent().unwrap().join(import.trim_matches('"')));
    text.lines().map(str::trim).filter(says).count() + imported.map(|path| lines(&path, seen)).sum::<usize>()
}

#[test]
fn classic_nets_take_few_lines() {
    for (name, limit) in [("lenet5", 20), ("resnet50", 60), ("googlenet", 80)] {
        let count = lines(&Path::new("specs").join(format!("{name}.net")), &mut BTreeSet::new());
        println!("{name}: {count} lines");
        assert!(5 < count && count <= limit, "{name} takes {count} lines");
    }
}
