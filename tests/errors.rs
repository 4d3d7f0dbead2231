//! One fixture for each mistake: `tests/errors/CODE-short-name.net`, or a folder `CODE-short-name/` whose `main.net` is
//! compiled.
//!
//! A line that is reported as the primary place of a diagnostic ends in `# error: CODE` or `# warning: CODE`; where no
//! comment can stand, a line `# expect: CODE at LINE` or `# expect: CODE at SOURCE:LINE` says so. A line
//! `# set: name=value` does what `--set` does. No other diagnostics may occur. The drawn
//! report is a snapshot in `snapshots/error/`. Each suggested edit, applied, must make its diagnostic go and bring no
//! other; `# fix-incomplete: reason` in a fixture says that further edits are needed by nature.
#![allow(clippy::unwrap_used)]

use netc::diag::{self, Diagnostic, FileId, Help, Severity, SourceMap, codes, human};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Component, Path, PathBuf};

const FOLDER: &str = "tests/errors";

/// All that is found in a file and what it imports, with the settings of its lines `# set: name=value`.
fn diagnose(path: &Path) -> (SourceMap, Vec<Diagnostic>) {
    let bytes = fs::read(path).unwrap();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let set = text.lines().filter_map(|line| line.strip_prefix("# set: ")).map(str::to_owned).collect();
    // The limit on values is lowered so that its own fixture stays quick.
    let settings = netc::Settings { set, max_values: 10_000, ..netc::Settings::default() };
    let checked = netc::check(&path.to_string_lossy(), bytes, &netc::FileLoader, &settings);
    (checked.sources, checked.diagnostics)
}

struct Fixture {
    /// `CODE-short-name`.
    name: String,
    /// What is compiled.
    main: PathBuf,
    /// All its `.net` files.
    files: Vec<PathBuf>,
}

impl Fixture {
    fn code(&self) -> &str {
        self.name.split('-').next().unwrap_or("")
    }

    fn texts(&self) -> impl Iterator<Item = (&PathBuf, String)> {
        self.files.iter().map(|path| (path, String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned()))
    }
}

fn net_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(net_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "net") {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn fixtures() -> Vec<Fixture> {
    let mut fixtures = Vec::new();
    for entry in fs::read_dir(FOLDER).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            fixtures.push(Fixture { name, main: path.join("main.net"), files: net_files(&path) });
        } else if path.extension().is_some_and(|extension| extension == "net") {
            fixtures.push(Fixture { name, main: path.clone(), files: vec![path] });
        }
    }
    fixtures.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(!fixtures.is_empty(), "no fixture in {FOLDER}");
    fixtures
}

/// A diagnostic as a fixture states it.
type Finding = (PathBuf, usize, String);

fn expected(fixture: &Fixture) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in fixture.texts() {
        for stated in text.lines().filter_map(|line| line.strip_prefix("# expect: ")) {
            let (code, place) = stated.split_once(" at ").expect("`# expect: CODE at LINE`");
            let (file, line) = match place.rsplit_once(':') {
                Some((file, line)) => (PathBuf::from(file), line),
                None => (path.clone(), place),
            };
            findings.push((file, line.parse().unwrap(), code.to_owned()));
        }
        for (i, line) in text.lines().enumerate() {
            for (mark, initial) in [("# error:", 'E'), ("# warning:", 'W')] {
                let Some((_, codes)) = line.split_once(mark) else { continue };
                for code in codes.split(',').map(str::trim) {
                    assert!(code.starts_with(initial), "{}: `{mark}` with {code}", fixture.name);
                    findings.push((path.clone(), i + 1, code.to_owned()));
                }
            }
        }
    }
    findings.sort();
    findings
}

fn found(sources: &SourceMap, diagnostics: &[Diagnostic]) -> Vec<Finding> {
    let finding = |d: &Diagnostic| {
        let file = sources.file(d.primary.span.file);
        (normalized(Path::new(&file.name)), sources.position(d.primary.span).line, d.code.to_string())
    };
    let mut findings: Vec<_> = diagnostics.iter().map(finding).collect();
    findings.sort();
    findings
}

/// A path without `.` and `..`.
fn normalized(path: &Path) -> PathBuf {
    let mut result = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => drop(result.pop()),
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => result.push(component),
        }
    }
    result
}

/// Runs a check on each fixture, and fails with the names of all that failed.
fn for_each_fixture(check: impl Fn(&Fixture)) {
    let failed: Vec<_> = fixtures()
        .into_iter()
        .filter(|fixture| catch_unwind(AssertUnwindSafe(|| check(fixture))).is_err())
        .map(|fixture| fixture.name)
        .collect();
    assert!(failed.is_empty(), "failed: {failed:#?}");
}

#[test]
fn each_fixture_has_the_diagnostics_that_it_states_and_no_others() {
    for_each_fixture(|fixture| {
        let expected = expected(fixture);
        let (sources, diagnostics) = diagnose(&fixture.main);
        let report = human::render(&sources, &diagnostics, human::Style::default());
        assert!(expected.iter().any(|(.., code)| code == fixture.code()), "{} states other codes", fixture.name);
        assert_eq!(found(&sources, &diagnostics), expected, "{}: found, stated\n{report}", fixture.name);
        for diagnostic in &diagnostics {
            assert_eq!(diagnostic.severity, diagnostic.code.severity(), "{}", fixture.name);
        }
    });
}

#[test]
fn each_report_is_as_its_snapshot_has_it() {
    for_each_fixture(|fixture| {
        let (sources, diagnostics) = diagnose(&fixture.main);
        let report = human::render(&sources, &diagnostics, human::Style::default());
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path("../snapshots/error");
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| {
            insta::assert_snapshot!(fixture.name.as_str(), report + &human::summary(&diagnostics));
        });
    });
}

#[test]
fn no_snapshot_is_without_a_fixture() {
    let names: BTreeSet<_> = fixtures().into_iter().map(|fixture| format!("{}.snap", fixture.name)).collect();
    let snapshots = fs::read_dir("snapshots/error").unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let orphans: Vec<_> = snapshots.filter(|name| !names.contains(name)).collect();
    assert!(orphans.is_empty(), "{orphans:?}");
}

#[test]
fn each_suggested_edit_mends_its_diagnostic() {
    for_each_fixture(|fixture| {
        let is_incomplete = fixture.texts().any(|(_, text)| text.contains("# fix-incomplete: "));
        let (sources, diagnostics) = diagnose(&fixture.main);
        let mut all_mend = true;
        for diagnostic in &diagnostics {
            for help in diagnostic.help.iter().filter(|help| !help.edits.is_empty()) {
                let mut allowed = counted(&diagnostics);
                *allowed.entry(diagnostic.code).or_default() -= 1;
                let (sources, left) = diagnose_mended(fixture, &sources, help);
                let mends = counted(&left).iter().all(|(code, n)| n <= allowed.get(code).unwrap_or(&0));
                all_mend &= mends;
                let report = human::render(&sources, &left, human::Style::default());
                assert!(mends || is_incomplete, "{}: `{}` leaves\n{report}", fixture.name, help.text);
            }
        }
        assert!(!all_mend || !is_incomplete, "{}: every fix is complete", fixture.name);
    });
}

fn counted(diagnostics: &[Diagnostic]) -> BTreeMap<diag::Code, usize> {
    let mut counts = BTreeMap::new();
    for diagnostic in diagnostics {
        *counts.entry(diagnostic.code).or_default() += 1;
    }
    counts
}

/// What is found in a copy of the fixture with the edits of a help applied.
fn diagnose_mended(fixture: &Fixture, sources: &SourceMap, help: &Help) -> (SourceMap, Vec<Diagnostic>) {
    let copy = tempfile::tempdir().unwrap();
    for path in &fixture.files {
        let to = copy.path().join(path);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(path, to).unwrap();
    }
    let touched: BTreeSet<FileId> = help.edits.iter().map(|edit| edit.span.file).collect();
    for file in touched {
        let path = normalized(Path::new(&sources.file(file).name));
        assert!(fixture.files.contains(&path), "{}: an edit of {}", fixture.name, path.display());
        fs::write(copy.path().join(path), diag::apply(sources, file, &help.edits)).unwrap();
    }
    diagnose(&copy.path().join(&fixture.main))
}

#[test]
fn the_fixtures_are_those_of_the_table() {
    let fixtures = fixtures();
    let fixed: BTreeSet<&str> = fixtures.iter().map(Fixture::code).collect();
    let table: BTreeSet<&str> = codes::TABLE.iter().map(|row| row.code.0).collect();
    let missing: Vec<_> = table.difference(&fixed).collect();
    let unknown: Vec<_> = fixed.difference(&table).collect();
    assert!(missing.is_empty(), "codes without a fixture: {missing:?}");
    assert!(unknown.is_empty(), "fixtures of codes that do not exist: {unknown:?}");
}

/// The examples of an explanation: whether it is a wrong one, and its text.
fn examples(explanation: &str) -> Vec<(bool, String)> {
    let mut examples = Vec::new();
    let mut lines = explanation.lines();
    while let Some(line) = lines.next() {
        if let Some(info) = line.strip_prefix("```") {
            let text: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
            assert!(["net", "net wrong"].contains(&info), "a fence of `{info}`");
            examples.push((info == "net wrong", text.join("\n")));
        }
    }
    examples
}

#[test]
fn the_examples_of_explanations_are_wrong_and_right_as_they_say() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("blocks")).unwrap();
    let residual = "block residual(c) {\n  add {\n    conv1: conv(c, 3, pad = 1)\n    identity\n  }\n}\n";
    fs::write(folder.path().join("blocks/residual.net"), residual).unwrap();
    let main = folder.path().join("example.net");
    let mut faults = String::new();
    for row in codes::TABLE {
        for (is_wrong, example) in examples(row.explanation) {
            let is_whole = example.lines().any(|line| line.starts_with("net ") || line.starts_with("block "));
            let text = if is_whole {
                example
            } else {
                format!("net example {{\ninput image: [16, 32, 32]\n{example}\noutput features\n}}\n")
            };
            fs::write(&main, &text).unwrap();
            let (sources, diagnostics) = diagnose(&main);
            let codes: Vec<_> = diagnostics.iter().map(|d| d.code).collect();
            let stated = if is_wrong { vec![row.code] } else { Vec::new() };
            if codes != stated {
                let report = human::render(&sources, &diagnostics, human::Style::default());
                faults.push_str(&format!("{}: stated {stated:?}, found {codes:?} in\n{text}\n{report}\n", row.code));
            }
        }
    }
    assert!(faults.is_empty(), "{faults}");
}

#[test]
fn every_advice_can_be_allowed() {
    for fixture in fixtures().iter().filter(|fixture| fixture.code().starts_with('W')) {
        let row = codes::lookup(fixture.code()).unwrap();
        let (sources, diagnostics) = diagnose(&fixture.main);
        for advice in diagnostics.iter().filter(|d| d.severity == Severity::Warning) {
            let at = advice.primary.span;
            let file = sources.file(at.file);
            let line = file.line_range(sources.position(at).line).start;
            let span = diag::Span { start: line as u32, end: line as u32, ..at };
            let replacement = format!("#[allow({})]\n", row.name);
            let allow = Help { text: String::new(), edits: vec![diag::Edit { span, replacement }] };
            let (sources, left) = diagnose_mended(fixture, &sources, &allow);
            let report = human::render(&sources, &left, human::Style::default());
            assert!(left.len() < diagnostics.len(), "{}: not allowed\n{report}", fixture.name);
        }
    }
}
