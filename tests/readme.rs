//! The console sessions of README.md and docs/, run: what stands below each `$ netc …` is what the command prints, its
//! messages before its data; a line `...` stands for any lines. A block fenced as `net` that begins with `# NAME.net`, or
//! one of `toml` that begins with `# NAME.toml`, is the file of that name in the document's later sessions. Commands on `.material` need `scripts/fetch-material` and are
//! skipped without it.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A folder that looks like the project's root and can be written to.
fn workplace() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["specs", "assets", "docs", "tests", ".material"] {
        symlink(Path::new(ROOT).join(name), folder.path().join(name)).unwrap();
    }
    folder
}

/// What a command line prints: messages, then data.
fn printed(line: &str, folder: &Path) -> String {
    let args: Vec<&str> = line.split_whitespace().skip(1).collect();
    let mut command = Command::new(env!("CARGO_BIN_EXE_netc"));
    let output = command.args(&args).current_dir(folder).env("COLUMNS", "100").env("NO_COLOR", "1").output().unwrap();
    String::from_utf8([output.stderr, output.stdout].concat()).unwrap()
}

/// Whether the text is as written, where a line `...` stands for any lines.
fn matches(written: &[&str], text: &[&str]) -> bool {
    match written.split_first() {
        None => text.is_empty(),
        Some((&"...", rest)) => (0..=text.len()).any(|at| matches(rest, &text[at..])),
        Some((first, rest)) => {
            text.split_first().is_some_and(|(line, more)| line.trim_end() == *first && matches(rest, more))
        }
    }
}

/// Runs the sessions of a document; gives how many commands ran.
fn sessions(document: &Path, faults: &mut String) -> usize {
    let text = fs::read_to_string(document).unwrap();
    let folder = workplace();
    let fetched = Path::new(ROOT).join(".material/.photos.json").exists();
    let mut count = 0;
    let mut parts = text.split("```");
    parts.next();
    while let (Some(block), _) = (parts.next(), parts.next()) {
        let (info, body) = block.split_once('\n').unwrap_or((block, ""));
        let ending = match info.trim() {
            "toml" => ".toml",
            _ => ".net",
        };
        let named = body.lines().next().and_then(|line| line.strip_prefix("# ")).filter(|name| name.ends_with(ending));
        if let (true, Some(name)) = (info.starts_with("net") || ending == ".toml", named) {
            fs::write(folder.path().join(name), body).unwrap();
        }
        if info.trim() != "console" {
            continue;
        }
        for session in format!("\n{body}").split("\n$ ").skip(1) {
            let (line, written) = session.split_once('\n').unwrap_or((session, ""));
            if !line.starts_with("netc ") {
                faults.push_str(&format!("{}: `{line}` is no netc command\n", document.display()));
            } else if line.contains(".material") && !fetched {
                println!("skipped, run scripts/fetch-material for it: {line}");
            } else {
                let text = printed(line, folder.path());
                let (written, lines): (Vec<_>, Vec<_>) =
                    (written.trim_end().lines().collect(), text.trim_end().lines().collect());
                if !matches(&written, &lines) {
                    faults.push_str(&format!("{}: `{line}` prints\n{text}\n", document.display()));
                }
                count += 1;
            }
        }
    }
    count
}

#[test]
fn the_sessions_of_the_documents_are_what_the_commands_print() {
    let mut documents: Vec<PathBuf> =
        fs::read_dir(Path::new(ROOT).join("docs")).unwrap().map(|entry| entry.unwrap().path()).collect();
    documents.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    documents.push(Path::new(ROOT).join("README.md"));
    documents.sort();
    let mut faults = String::new();
    let count: usize = documents.iter().map(|document| sessions(document, &mut faults)).sum();
    assert!(faults.is_empty(), "{faults}");
    assert!(count > 3, "{count} commands ran");
}
