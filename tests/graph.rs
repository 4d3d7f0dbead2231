//! `netc graph` as a user meets it, and the pictures under docs/img: they are what the commands draw today.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

const TINY: &str = "net tiny { input x: [1, 8, 8]; c: conv(4, 3); relu; flatten; fc: linear(3); output y }";

fn netc(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_netc"));
    command.args(args).current_dir(env!("CARGO_MANIFEST_DIR")).env("COLUMNS", "100").output().unwrap()
}

#[track_caller]
fn expect(args: &[&str], code: i32) -> (Vec<u8>, String) {
    let output = netc(args);
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {err}");
    assert!(!err.contains("panicked") && !err.contains("os error"), "{err}");
    (output.stdout, err)
}

#[track_caller]
fn fails(args: &[&str], code: i32, said: &[&str]) {
    let (out, err) = expect(args, code);
    assert!(out.is_empty(), "{args:?}");
    for part in said {
        assert!(err.contains(part), "{args:?}: no {part:?} in\n{err}");
    }
}

#[test]
fn the_ending_of_the_file_says_the_format() {
    let folder = TempDir::new().unwrap();
    for (name, start) in [("a.svg", "<svg "), ("b.PNG", "\u{fffd}PNG"), ("c.dot", "digraph "), ("d.gv", "digraph ")] {
        let path = folder.path().join(name);
        let (out, err) = expect(&["graph", "specs/lenet5.net", "-o", path.to_str().unwrap()], 0);
        assert_eq!((out, err), (Vec::new(), String::new()));
        assert!(String::from_utf8_lossy(&fs::read(&path).unwrap()).starts_with(start), "{name}");
    }
    let path = folder.path().join("picture");
    expect(&["graph", "specs/lenet5.net", "--format", "dot", "-o", path.to_str().unwrap()], 0);
    assert!(fs::read_to_string(&path).unwrap().starts_with("digraph "));
}

#[test]
fn without_a_file_the_picture_goes_to_standard_output() {
    let svg = expect(&["graph", "specs/lenet5.net"], 0).0;
    assert!(svg.starts_with(b"<svg ") && svg.ends_with(b"</svg>\n"));
    assert_eq!(expect(&["graph", "specs/lenet5.net", "--format", "svg"], 0).0, svg);
    assert!(expect(&["graph", "specs/lenet5.net", "--format", "dot"], 0).0.starts_with(b"digraph "));
    fails(&["graph", "specs/lenet5.net", "--format", "png"], 2, &["--output"]);
}

#[test]
fn wrong_calls_and_wrong_nets_leave_files_as_they_were() {
    let folder = TempDir::new().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (tiny, wrong) =
        (file("tiny.net", TINY), file("wrong.net", "net wrong { input x: [1, 8, 8]; convv(3); output y }"));
    let flat = format!("net flat {{ input x: [1, 8, 8]\n{}output y }}", "relu\n".repeat(20_001));
    let flat = file("flat.net", &flat);
    for (net, name, code, said) in [
        (&tiny, "a.jpeg", 2, [".svg, .png or .dot", "a.jpeg"]),
        (&tiny, "picture", 2, [".svg, .png or .dot", "--format"]),
        (&wrong, "b.svg", 1, ["E0201", "convv"]),
        (&flat, "c.svg", 1, ["20002 boxes", "--depth"]),
    ] {
        let path = file(name, "as it was");
        fails(&["graph", net, "-o", &path], code, &said);
        assert_eq!(fs::read_to_string(&path).unwrap(), "as it was", "{name}");
    }
    let nowhere = folder.path().join("nowhere/a.svg");
    fails(&["graph", &tiny, "-o", nowhere.to_str().unwrap()], 1, &["nowhere", "create the folder first"]);
    fails(&["graph", &tiny, "--depth", "0"], 2, &["--depth"]);
    fails(&["graph", "nosuch.net", "-o", "x.svg"], 1, &["nosuch.net", "no such file"]);
}

#[test]
fn a_net_of_ten_thousand_layers_is_folded_with_a_note() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("deep.net");
    let text = "block b { conv1: conv(8, 3, pad = 1); relu }
      net deep { input x: [8, 8, 8]\n for i in 0..1250 { stage{i}: { for j in 0..4 { b{j}: b } } }\n output y }";
    fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap();
    let (svg, err) = expect(&["graph", path], 0);
    assert!(err.contains("10001 layers are too many to read") && err.contains("--depth 1"), "{err}");
    assert_eq!(String::from_utf8(svg).unwrap().matches("4 layers").count() % 1250, 0);
    let (_, err) = expect(&["graph", path, "--depth", "3"], 0);
    assert_eq!(err, "");
}

/// The command of each file, as docs/graph.md has them.
#[test]
fn the_committed_pictures_are_what_the_commands_draw() {
    let commands: [(&str, &[&str]); 4] = [
        ("lenet5.svg", &["graph", "specs/lenet5.net"]),
        ("resnet18.svg", &["graph", "specs/resnet18.net"]),
        ("googlenet.svg", &["graph", "specs/googlenet.net", "--depth", "2"]),
        ("resnet50.html", &["cost", "specs/resnet50.net", "--format", "html"]),
    ];
    for (name, args) in commands {
        let path = Path::new("docs/img").join(name);
        let committed = fs::read(&path).unwrap();
        let drawn = expect(args, 0).0;
        assert!(committed == drawn, "{name} is out of date: netc {} --output {}", args.join(" "), path.display());
        assert!(committed.len() < 400_000, "{name}");
        if let Some(stem) = name.strip_suffix(".svg") {
            let png = fs::read(Path::new("docs/img").join(format!("{stem}.png"))).unwrap();
            assert!(png.starts_with(b"\x89PNG") && png.len() < 400_000, "{stem}.png: {} bytes", png.len());
            assert_eq!(png_scale(&png, &drawn), [1.5, 1.5], "{stem}.png is out of date");
        }
    }
}

/// Pixels of a PNG for a unit of an SVG, rounded to tenths: across and down.
fn png_scale(png: &[u8], svg: &[u8]) -> [f64; 2] {
    let pixels = |at: usize| f64::from(u32::from_be_bytes(png[at..at + 4].try_into().unwrap()));
    let svg = std::str::from_utf8(svg).unwrap();
    let units = |name: &str| {
        let value = svg.split(&format!("{name}=\"")).nth(1).unwrap();
        value.split('"').next().unwrap().parse::<f64>().unwrap()
    };
    [pixels(16) / units("width"), pixels(20) / units("height")].map(|scale| (scale * 10.0).round() / 10.0)
}
