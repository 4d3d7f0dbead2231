//! The examples of README.md and docs/, compiled, and the reference of docs/language.md, held against the operators.
//!
//! A block fenced as `net` must compile without a mistake or advice. One fenced as `net wrong E0301` must give exactly
//! the codes that stand behind `wrong`. A block without a `net` or a `block` stands for the lines of a net whose input
//! is `image: [16, 32, 32]`, unless it has an `input` of its own, and whose output is what stands last, unless it has an
//! `output` of its own. Files are imported from `specs/`.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use netc::diag::{Severity, Sink, SourceMap, human};
use netc::ir::{Net, Output, ValueId, expand};
use netc::op::{self, Op, Signature};
use netc::{FileLoader, Settings, syntax};

mod examples;

use examples::{documents, examples};

const REFERENCE: &str = "docs/language.md";

#[test]
fn the_examples_of_the_documents_are_right_and_wrong_as_they_say() {
    let mut faults = String::new();
    for example in documents().iter().flat_map(|path| examples(path)) {
        let bytes = example.text.clone().into_bytes();
        let checked = netc::check("specs/example.net", bytes, &FileLoader, &Settings::default());
        let found: Vec<String> = checked.diagnostics.iter().map(|diagnostic| diagnostic.code.to_string()).collect();
        if found != example.codes {
            let report = human::render(&checked.sources, &checked.diagnostics, human::Style::default());
            let (place, codes, text) = (&example.place, &example.codes, &example.text);
            faults.push_str(&format!("{place}: states {codes:?}, gives {found:?}\n{text}\n{report}\n"));
        }
        let blocks_only = checked.compiled.is_none();
        let right = checked.diagnostics.iter().all(|diagnostic| diagnostic.severity == Severity::Warning);
        if right && blocks_only {
            faults.push_str(&format!("{}: blocks that no net calls are not tried; add a net\n", example.place));
        }
    }
    assert!(faults.is_empty(), "{faults}");
}

/// The nodes of a net by path: the operator, and where its operands come from.
fn wiring(net: &Net) -> BTreeMap<String, (Op, Vec<(String, u32)>)> {
    let operand = |value: ValueId| (net.node(value.node).path.clone(), value.output);
    let node = |id| {
        let (node, operands) = (net.node(id), net.operands(id));
        (node.path.clone(), (node.op.clone(), operands.into_iter().map(operand).collect()))
    };
    net.nodes().map(node).collect()
}

/// What `netc expand` prints is valid input and means the same net: of every shipped net and every right example.
#[test]
fn flat_forms_mean_the_same_net() {
    let mut texts: Vec<(String, String)> = documents()
        .iter()
        .flat_map(|path| examples(path))
        .filter(|example| example.codes.is_empty())
        .map(|example| (example.place, example.text))
        .collect();
    for entry in fs::read_dir("specs").unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            texts.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
        }
    }
    for (place, text) in texts {
        let compile = |name: &str, text: String| {
            let checked = netc::check(name, text.into_bytes(), &FileLoader, &Settings::default());
            let report = human::render(&checked.sources, &checked.diagnostics, human::Style::default());
            checked.compiled.unwrap_or_else(|| panic!("{place}: {report}")).net
        };
        let net = compile("specs/example.net", text);
        let flat = expand::flat(&net);
        let again = compile("flat.net", flat.clone());
        assert_eq!(wiring(&net), wiring(&again), "{place}\n{flat}");
        let outputs = |net: &Net| -> Vec<_> {
            let of = |output: &Output| {
                (output.name.clone(), net.node(output.value.node).path.clone(), output.value.output, output.train)
            };
            net.outputs.iter().map(of).collect()
        };
        assert_eq!(outputs(&net), outputs(&again), "{place}\n{flat}");
        assert_eq!(flat, expand::flat(&again), "{place}");
    }
}

/// The canonical text of an example means the same net, and is its own canonical text.
#[test]
fn canonical_texts_mean_the_same_net() {
    let canonical = |text: &str| {
        let (mut sources, mut sink) = (SourceMap::default(), Sink::default());
        let id = syntax::add_source(&mut sources, "example.net", text.as_bytes().to_vec(), &mut sink).unwrap();
        syntax::format(&sources, id, &mut sink).unwrap()
    };
    for example in documents().iter().flat_map(|path| examples(path)).filter(|example| example.codes.is_empty()) {
        let flat = |text: &str| {
            let bytes = text.as_bytes().to_vec();
            let checked = netc::check("specs/example.net", bytes, &FileLoader, &Settings::default());
            checked.compiled.map(|compiled| expand::flat(&compiled.net))
        };
        let text = canonical(&example.text);
        assert_eq!(flat(&text), flat(&example.text), "{}\n{text}", example.place);
        assert_eq!(canonical(&text), text, "{}", example.place);
    }
}

/// The flat form keeps what a text says of its free sizes, and nothing of those that are fixed.
#[test]
fn flat_forms_keep_conditions_on_free_sizes() {
    let text = "net example(least = 30) {
        input image: [3, H, W] where H % 16 == 0, W % 4 == 0, H == 2 * W, W >= 2 and not W > 64, H > least
        relu
        output y
    }";
    let conditions = |set: &[&str]| {
        let set = set.iter().map(|&text| text.to_owned()).collect();
        let settings = Settings { set, ..Settings::default() };
        let checked = netc::check("example.net", text.as_bytes().to_vec(), &FileLoader, &settings);
        let flat = expand::flat(&checked.compiled.unwrap().net);
        assert!(netc::compile_text("flat.net", &flat).is_ok(), "{flat}");
        let line = flat.lines().find(|line| line.contains("input ")).unwrap().to_owned();
        line.split_once(" where ").map_or(String::new(), |(_, conditions)| conditions.to_owned())
    };
    assert_eq!(conditions(&[]), "H % 16 == 0, W % 4 == 0, H == 2 * W, W >= 2 and not W > 64");
    assert_eq!(conditions(&["H=64"]), "W % 4 == 0, W >= 2 and not W > 64");
    assert_eq!(conditions(&["H=64", "W=32"]), "");
}

/// How the reference writes a layer: `conv(channels, kernel, stride = 1)`; a parameter that may be left out and has no
/// default ends in `?`.
fn written(signature: &Signature) -> String {
    let params: Vec<String> = signature
        .params
        .iter()
        .map(|param| match param.default {
            "" => param.name.to_owned(),
            "-" => format!("{}?", param.name),
            default => format!("{} = {default}", param.name),
        })
        .collect();
    if params.is_empty() { signature.layer.to_owned() } else { format!("{}({})", signature.layer, params.join(", ")) }
}

/// The entries of the reference: the layer of each heading `### layer`, and the lines below it.
fn entries() -> Vec<(String, Vec<String>)> {
    let text = fs::read_to_string(REFERENCE).unwrap();
    let section = text.split("\n## ").find(|section| section.starts_with("Layers\n")).expect("a section \"Layers\"");
    let mut entries: Vec<(String, Vec<String>)> = Vec::new();
    for line in section.lines() {
        match line.strip_prefix("### ") {
            Some(layer) => entries.push((layer.trim().to_owned(), Vec::new())),
            None => entries.last_mut().into_iter().for_each(|(_, lines)| lines.push(line.to_owned())),
        }
    }
    entries
}

#[test]
fn the_reference_has_every_layer_with_its_parameters_and_defaults() {
    let entries = entries();
    let mut faults = Vec::new();
    for signature in op::signatures() {
        let layer = signature.layer;
        let mut own = entries.iter().filter(|(name, _)| name == layer);
        let (Some((_, lines)), None) = (own.next(), own.next()) else {
            faults.push(format!("`{layer}` has no entry of its own"));
            continue;
        };
        let line = format!("`{}`", written(signature));
        if lines.iter().find(|line| line.starts_with('`')) != Some(&line) {
            faults.push(format!("the entry of `{layer}` should begin with {line}"));
        }
        for part in ["- **Shape**: ", "- **Parameters**: ", "- **PyTorch**: ", "```net"] {
            if !lines.iter().any(|line| line.starts_with(part)) {
                faults.push(format!("the entry of `{layer}` has no line that begins with {part}"));
            }
        }
        for param in signature.params {
            if !lines.iter().skip_while(|l| **l != line).skip(1).any(|l| l.contains(&format!("`{}", param.name))) {
                faults.push(format!("the entry of `{layer}` says nothing of `{}`", param.name));
            }
        }
        let example = lines.iter().skip_while(|line| *line != "```net").take_while(|line| *line != "```");
        let uses = |line: &String| line.match_indices(layer).any(|(at, _)| is_call(line, at, layer));
        if !example.into_iter().any(uses) {
            faults.push(format!("the example of `{layer}` does not use it"));
        }
    }
    let layers: BTreeSet<&str> = op::signatures().map(|signature| signature.layer).collect();
    let unknown = entries.iter().map(|(name, _)| name).filter(|name| !layers.contains(name.as_str()));
    faults.extend(unknown.map(|name| format!("`{name}` is no layer")));
    assert!(faults.is_empty(), "{faults:#?}");
}

/// Whether the name at this place stands by itself.
fn is_call(line: &str, at: usize, name: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    !line[..at].ends_with(word) && !line[at + name.len()..].starts_with(word)
}

/// The names of all advice, functions, keywords and metrics are in the language's document.
#[test]
fn the_language_document_names_every_word() {
    let text = fs::read_to_string(REFERENCE).unwrap();
    let advice = netc::diag::codes::TABLE.iter().map(|row| row.name).filter(|name| !name.is_empty());
    let metrics = netc::ir::Metric::NAMES.iter().map(|(name, _)| *name);
    let words = advice.chain(metrics).chain(netc::syntax::KEYWORDS).chain(["sequential", "prev"]);
    let missing: Vec<_> = words.filter(|word| !text.contains(&format!("`{word}`"))).collect();
    assert!(missing.is_empty(), "{REFERENCE} lacks {missing:?}");
}
