//! The examples of README.md and docs/; tests/docs.rs says how they are written.
#![allow(dead_code)] // Each test takes a part of it.

use std::fs;
use std::path::{Path, PathBuf};

/// A block of a document.
pub struct Example {
    /// `docs/language.md:17`.
    pub place: String,
    /// The codes that it must give.
    pub codes: Vec<String>,
    /// A whole file.
    pub text: String,
}

pub fn documents() -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir("docs").unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    files.extend(Some(PathBuf::from("README.md")).filter(|path| path.exists()));
    files.sort();
    files
}

pub fn examples(path: &Path) -> Vec<Example> {
    let text = fs::read_to_string(path).unwrap();
    let (mut examples, mut fenced) = (Vec::new(), false);
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let Some(info) = line.trim_start().strip_prefix("```") else { continue };
        fenced = !fenced;
        let place = format!("{}:{}", path.display(), at + 1);
        let mut words = info.split_whitespace();
        if !fenced || words.next() != Some("net") {
            continue;
        }
        let codes: Vec<String> = match words.next() {
            None => Vec::new(),
            Some("wrong") => words.map(str::to_owned).collect(),
            Some(other) => panic!("{place}: a fence of `net {other}`"),
        };
        assert!(codes.iter().all(|code| netc::diag::codes::lookup(code).is_some()), "{place}: an unknown code");
        assert!(info.trim() == "net" || !codes.is_empty(), "{place}: no code behind `wrong`");
        let body: Vec<&str> = lines.by_ref().map(|(_, line)| line).take_while(|line| line.trim() != "```").collect();
        fenced = false;
        examples.push(Example { place, codes, text: whole(&body.join("\n")) });
    }
    examples
}

/// The example as a file.
fn whole(text: &str) -> String {
    let begins = |words: &[&str]| text.lines().any(|line| words.iter().any(|word| line.trim_start().starts_with(word)));
    if text.lines().any(|line| line.starts_with("net ") || line.starts_with("block ")) {
        return text.to_owned();
    }
    let input = if begins(&["input "]) { "" } else { "input image: [16, 32, 32]\n" };
    let output = if begins(&["output "]) { "" } else { "output features\n" };
    format!("net example {{\n{input}{text}\n{output}}}\n")
}
