//! What ARCHITECTURE.md says of the modules, held against the source: the order of imports, where `unsafe` may stand,
//! who touches files and who prints; and what the package needs.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The modules of the crate from the ground up, as the list under "Modules" has them: lines that begin with "1. `name`".
fn order() -> Vec<String> {
    let text = fs::read_to_string("ARCHITECTURE.md").unwrap();
    let list = text.split("\n## ").find(|section| section.starts_with("Modules")).expect("a section \"Modules\"");
    let module = |line: &str| {
        let (number, rest) = line.split_once(". `")?;
        number.parse::<u32>().ok()?;
        Some(rest.split('`').next()?.to_owned())
    };
    list.lines().filter_map(module).collect()
}

/// A source file without comments and without what is compiled for tests only.
struct Source {
    path: PathBuf,
    /// Its modules from the crate's root: `["op", "geom"]`.
    module: Vec<String>,
    text: String,
}

fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    rust_files(Path::new("src"), &mut files);
    let mut tests_only = BTreeSet::new();
    let mut sources = Vec::new();
    for path in files {
        let (text, modules) = without_tests(&fs::read_to_string(&path).unwrap());
        let module = module_of(&path);
        tests_only.extend(modules.into_iter().map(|name| [module.clone(), vec![name]].concat()));
        sources.push(Source { path, module, text });
    }
    sources.retain(|source| !tests_only.iter().any(|tests| source.module.starts_with(tests)));
    sources
}

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn module_of(path: &Path) -> Vec<String> {
    let parts = path.with_extension("");
    let parts = parts.iter().skip(1).map(|part| part.to_str().unwrap().to_owned());
    parts.filter(|part| !["mod", "lib"].contains(&part.as_str())).collect()
}

/// The text without comments and items under `#[cfg(test)]`, and the files that such items name.
fn without_tests(text: &str) -> (String, Vec<String>) {
    let (mut kept, mut modules) = (String::new(), Vec::new());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim() == "#[cfg(test)]" {
            let indent = &line[..line.len() - line.trim_start().len()];
            let item = lines.by_ref().find(|line| !line.trim_start().starts_with("#[")).unwrap_or("");
            if let Some((_, name)) = item.trim_end_matches(';').split_once("mod ").filter(|_| item.ends_with(';')) {
                modules.push(name.to_owned());
            } else if item.ends_with('{') {
                let end = format!("{indent}}}");
                lines.by_ref().find(|line| *line == end);
            }
            continue;
        }
        kept.push_str(line.split("//").next().unwrap_or(""));
        kept.push('\n');
    }
    (kept, modules)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The places of a word that stands by itself.
fn words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    text.match_indices(word)
        .map(|(at, _)| at)
        .filter(move |&at| !text[..at].ends_with(is_word) && !text[at + word.len()..].starts_with(is_word))
}

/// The names at the front of what a path goes on with: `b` of `b::c`, `b` and `d` of `{b::c, d}`.
fn first_names(rest: &str) -> Vec<String> {
    let name = |text: &str| text.trim_start().chars().take_while(|&c| is_word(c)).collect::<String>();
    let Some(group) = rest.strip_prefix('{') else { return vec![name(rest)] };
    let (mut names, mut depth) = (vec![name(group)], 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(name(&group[at + 1..])),
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// What a file takes from the root of the crate, by `crate::` or by as many `super::` as lead there.
fn imports(source: &Source) -> Vec<String> {
    let text = &source.text;
    let mut names = Vec::new();
    for at in words(text, "crate").filter(|&at| !text[..at].ends_with('$')) {
        if let Some(rest) = text[at + "crate".len()..].strip_prefix("::") {
            names.extend(first_names(rest));
        }
    }
    let mut end = 0;
    for at in words(text, "super") {
        if at < end {
            continue;
        }
        let (mut rest, mut steps) = (&text[at..], 0);
        while let Some(next) = rest.strip_prefix("super::") {
            (rest, steps) = (next, steps + 1);
        }
        end = text.len() - rest.len();
        if steps >= source.module.len().max(1) {
            names.extend(first_names(rest));
        }
    }
    names
}

/// Where the names come from that lib.rs gives to the whole crate: `Compiled` is `compile`'s.
fn reexports() -> BTreeMap<String, String> {
    let (text, _) = without_tests(&fs::read_to_string("src/lib.rs").unwrap());
    let mut origins = BTreeMap::new();
    for statement in text.split("pub use ").skip(1) {
        let (module, rest) = statement.split_once("::").unwrap();
        for name in first_names(rest) {
            origins.insert(name, module.trim_start_matches("crate::").to_owned());
        }
    }
    origins
}

#[test]
fn every_module_has_its_place_in_the_list() {
    let (text, _) = without_tests(&fs::read_to_string("src/lib.rs").unwrap());
    let modules: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';'))
        .map(str::to_owned)
        .collect();
    let order = order();
    let listed: BTreeSet<String> = order.iter().cloned().collect();
    assert_eq!(order.len(), listed.len(), "a module is listed twice in ARCHITECTURE.md");
    assert_eq!(listed, modules, "the list in ARCHITECTURE.md, and the modules of src/lib.rs");
}

#[test]
fn a_module_imports_only_from_those_before_it() {
    let (order, reexports) = (order(), reexports());
    let place = |name: &str| order.iter().position(|module| module == name);
    let mut faults = BTreeSet::new();
    let mut found = 0;
    for source in sources() {
        let Some(own) = source.module.first().filter(|name| *name != "main") else { continue };
        for name in imports(&source) {
            let from = reexports.get(&name).unwrap_or(&name);
            let Some(there) = place(from) else {
                faults.insert(format!("{}: `{name}` is no module of the list", source.path.display()));
                continue;
            };
            found += usize::from(from != own);
            if place(own).is_none_or(|here| here < there) {
                faults.insert(format!("{}: `{own}` takes `{name}` of `{from}`", source.path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
    assert!(found > 100, "only {found} imports were found: the test does not read them any more");
}

#[test]
fn unsafe_stands_in_kernel_only() {
    let with_unsafe: BTreeSet<_> = sources()
        .into_iter()
        .filter(|source| words(&source.text, "unsafe").next().is_some())
        .map(|source| source.module[0].clone())
        .collect();
    assert_eq!(with_unsafe, BTreeSet::from(["kernel".to_owned()]));
    let mut others = Vec::new();
    ["tests", "benches", "examples"].iter().map(Path::new).filter(|folder| folder.exists()).for_each(|folder| {
        rust_files(folder, &mut others);
    });
    // rten is a package of its own, which only maps a rival's model with the rival's own unsafe function.
    others.retain(|path| *path != Path::new(file!()) && !path.starts_with("benches/rivals/rten"));
    for path in others {
        let (text, _) = without_tests(&fs::read_to_string(&path).unwrap());
        assert_eq!(words(&text, "unsafe").next(), None, "{}", path.display());
    }
}

/// The modules in which one of the texts occurs.
fn modules_with(texts: &[&str]) -> BTreeSet<String> {
    let has = |source: &Source| texts.iter().any(|text| source.text.contains(text));
    sources().into_iter().filter(has).filter_map(|source| source.module.first().cloned()).collect()
}

#[test]
fn only_the_edges_touch_files() {
    let allowed = ["data", "kernel", "weights", "run", "compile", "train", "cli"].map(str::to_owned);
    let others: Vec<_> = modules_with(&["std::fs", "fs::", "File::open", "File::create"])
        .into_iter()
        .filter(|module| !allowed.contains(module))
        .collect();
    assert!(others.is_empty(), "{others:?} touch files");
}

#[test]
fn only_the_command_line_prints() {
    let printing = modules_with(&["println!", "print!", "stdout()", "stderr()"]);
    assert_eq!(printing, BTreeSet::from(["cli".to_owned()]));
}

/// What a registry asks of a package, and that all that the build reads is in it.
#[test]
fn the_package_can_be_published() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest: toml::Table = fs::read_to_string(root.join("Cargo.toml")).unwrap().parse().unwrap();
    let package = &manifest["package"];
    for field in ["description", "license", "repository", "readme", "rust-version"] {
        assert!(package[field].as_str().is_some_and(|text| !text.is_empty()), "{field}");
    }
    let list = |field: &str| -> Vec<String> {
        package[field].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    assert!((1..=5).contains(&list("keywords").len()) && (1..=5).contains(&list("categories").len()));
    let included = list("include");
    for needed in ["src/**", "grammar/**", "specs/**", "/README.md", "LICENSE-*"] {
        assert!(included.iter().any(|pattern| pattern == needed), "{needed}");
    }
    assert_eq!(package["license"].as_str(), Some("MIT OR Apache-2.0"));
    for (file, words) in [("LICENSE-MIT", "Permission is hereby granted"), ("LICENSE-APACHE", "Apache License")] {
        assert!(fs::read_to_string(root.join(file)).unwrap().contains(words), "{file}");
    }
    let changes = fs::read_to_string(root.join("CHANGELOG.md")).unwrap();
    assert!(changes.contains(package["version"].as_str().unwrap()), "CHANGELOG.md does not name the version");
}
