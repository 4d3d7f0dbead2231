//! Files that nobody should have written, given to the command in a process that may have a gigabyte of addresses: one
//! clear error that names the file, exit code 1, and no memory that the file's size does not explain.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write;
use std::process::{Command, Output};

use tempfile::TempDir;

const TINY: &str = "net tiny { input x: [3, 8, 8]; c: conv(4, 3); output y }";

/// Runs `netc` with at most 1.5 GB of addresses; the threads' stacks and the program itself count too.
fn netc(folder: &TempDir, args: &[&str]) -> Output {
    let script = "ulimit -v 1500000; exec \"$0\" \"$@\"";
    let program = env!("CARGO_BIN_EXE_netc");
    Command::new("sh").args(["-c", script, program]).args(args).current_dir(folder.path()).output().unwrap()
}

/// A call that is refused with these words.
#[track_caller]
fn refused(folder: &TempDir, args: &[&str], words: &[&str]) {
    let output = netc(folder, args);
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{args:?}:\n{err}");
    assert!(output.stdout.is_empty(), "{args:?}");
    assert!(err.len() < 200_000, "{args:?}: an error of {} bytes", err.len());
    for part in words {
        assert!(err.contains(part), "{args:?}: no {part:?} in\n{err}");
    }
}

fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("tiny.net"), TINY).unwrap();
    for (name, content) in files {
        fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

#[track_caller]
fn weights(content: &[u8], words: &[&str]) {
    let folder = folder(&[("w", content), ("x.npy", &input()), ("y.npy", b"as it was")]);
    let args = ["run", "tiny.net", "--weights", "w", "--input", "x.npy", "--output", "y.npy"];
    refused(&folder, &args, &[&["w: "], words].concat());
    assert_eq!(fs::read(folder.path().join("y.npy")).unwrap(), b"as it was");
}

#[track_caller]
fn image(content: &[u8], words: &[&str]) {
    let folder = folder(&[("photo.png", content)]);
    refused(&folder, &["run", "tiny.net", "--input", "photo.png"], &[&["photo.png"], words].concat());
}

#[track_caller]
fn array(content: &[u8], words: &[&str]) {
    let folder = folder(&[("x.npy", content)]);
    refused(&folder, &["run", "tiny.net", "--input", "x.npy"], &[&["x.npy"], words].concat());
}

#[track_caller]
fn source(text: &str, words: &[&str]) {
    let folder = folder(&[("bad.net", text.as_bytes())]);
    refused(&folder, &["check", "bad.net", "--max-values", "50000"], &[&["bad.net"], words].concat());
}

fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
}

fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}}}\n");
    [&b"\x93NUMPY\x01\x00"[..], &(header.len() as u16).to_le_bytes(), header.as_bytes(), data].concat()
}

fn input() -> Vec<u8> {
    npy("<f4", "(1, 3, 8, 8)", &[0; 768])
}

/// A zip file with one deflated entry of zeros.
fn bomb(name: &str, len: u64) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
    let zeros = vec![0u8; 1 << 20];
    (0..len >> 20).for_each(|_| zip.write_all(&zeros).unwrap());
    zip.finish().unwrap().into_inner()
}

fn png(width: u32, height: u32, depth: u8, color: u8) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
    bytes.extend(width.to_be_bytes().into_iter().chain(height.to_be_bytes()).chain([depth, color, 0, 0, 0]));
    let checksum = bytes[12..].iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 * (crc & 1)))
    });
    bytes.extend((!checksum).to_be_bytes());
    bytes.extend(b"\0\0\0\0IDAT\x35\xaf\x06\x1e\0\0\0\0IEND\xae\x42\x60\x82");
    bytes
}

fn jpeg(width: u16, height: u16) -> Vec<u8> {
    let mut bytes = b"\xff\xd8\xff\xc0\0\x0b\x08".to_vec();
    bytes.extend(height.to_be_bytes().into_iter().chain(width.to_be_bytes()));
    bytes.extend(b"\x01\x01\x11\0\xff\xda\0\x08\x01\x01\0\0\x3f\0\xff\xd9");
    bytes
}

fn reference(name: &str) -> Vec<u8> {
    fs::read(format!("{}/tests/reference/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[test]
fn weights_that_lie_are_refused() {
    let one = |dtype: &str, shape: &str, at: &str| {
        format!(
            r#"{{"c.weight":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{at}}},"c.bias":{{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}}}"#
        )
    };
    weights(b"", &[]);
    weights(&[&(1u64 << 40).to_le_bytes()[..], b"{}"].concat(), &["longer than the 100000000 that the format allows"]);
    weights(&[&90_000_000u64.to_le_bytes()[..], b"{}"].concat(), &["says it has 90000000 bytes"]);
    weights(&safetensors(&one("F32", "[4,3,3,3]", "[8,440]"), &[0; 440]), &["overlap"]);
    weights(&safetensors(&one("F32", "[4,3,3,3]", "[16,4000000000000]"), &[0; 448]), &["reach beyond"]);
    weights(&safetensors(&one("F4", "[4,3,3,3]", "[16,448]"), &[0; 448]), &["holds F4, which is not read"]);
    weights(&safetensors(&one("F32", "[4,3,3,99999999999]", "[16,448]"), &[0; 448]), &["takes", "not 432"]);
    let nan = [&[0u8; 16][..], &f32::NAN.to_le_bytes(), &[0; 428]].concat();
    weights(&safetensors(&one("F32", "[4,3,3,3]", "[16,448]"), &nan), &["c.weight", "NaN"]);
    weights(&bomb("archive/data.pkl", 2 << 30), &["archive/data.pkl", "out of proportion"]);
    let pickles = ["malicious_zip.pth", "malicious_legacy.pth"];
    pickles
        .iter()
        .for_each(|name| weights(&reference(&format!("weights/{name}")), &["`posix.system`, which is refused"]));
    let whole = reference("weights/zip.pth");
    weights(&whole[..whole.len() / 2], &[]);
}

#[test]
fn images_that_lie_are_refused() {
    image(&png(60_000, 60_000, 8, 2), &["claims 60000 x 60000 pixels"]);
    image(&png(9_000, 9_000, 16, 6), &["9000"]);
    image(&png(0, 8, 8, 2), &[]);
    image(&png(8, 8, 7, 2), &[]);
    image(&jpeg(60_000, 60_000), &["claims 60000 x 60000 pixels"]);
    image(&jpeg(8, 0), &[]);
    image(&jpeg(0, 8), &[]);
    for name in ["progressive_420.jpg", "cmyk.jpg", "rgb16.png", "interlaced.png"] {
        let whole = reference(&format!("images/decode/{name}"));
        image(&whole[..whole.len() - 20], &["is cut off"]);
    }
    image(b"GIF89a", &["is neither a JPEG nor a PNG"]);
}

#[test]
fn arrays_that_lie_are_refused() {
    array(&npy("<f4", "(1000000000000,)", &[0; 8]), &["cut off"]);
    array(&npy("<f4", "(4294967296, 4294967296, 4294967296)", &[0; 8]), &["larger than any file"]);
    array(&npy("|O", "(1, 3, 8, 8)", &[0; 8]), &["`|O`"]);
    array(&npy("<f4", "(1, 3, 8, 8)", &[0; 764]), &["cut off"]);
    array(&npy("<f4", "(1, 3, 9, 9)", &[0; 972]), &["[1, 3, 9, 9]"]);
}

#[test]
fn rules_and_profiles_that_lie_are_refused() {
    let good = safetensors(r#"{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, &[0; 4]);
    let deep = format!("a = {}", "[".repeat(1 << 19));
    let many: String = (0..20_000).map(|at| format!("\"w{at}*\" = \"*\"\n")).collect();
    for (rules, words) in [
        ("[names]\nw = 3".as_bytes(), "line 2"),
        (b"\xff\xfe", "not UTF-8"),
        (deep.as_bytes(), "recursion"),
        (format!("[patterns]\n{many}").as_bytes(), "more than 10000 rules"),
    ] {
        let folder = folder(&[("w", &good), ("map.toml", rules), ("x.npy", &input())]);
        let args = ["run", "tiny.net", "--weights", "w", "--rename", "map.toml", "--input", "x.npy"];
        refused(&folder, &args, &["map.toml", words]);
    }
    let figures = |peak: &str| format!("name = \"m\"\npeak_gflops = {peak}\nbandwidth_gbs = 1.0\ncores = 1\n");
    for (profile, words) in [
        (figures("nan").as_bytes(), "`peak_gflops` must be a positive number"),
        (figures("-1.0").as_bytes(), "`peak_gflops` must be a positive number"),
        (figures("1.0\nwatts = 3").as_bytes(), "watts"),
        (figures("\"fast\"").as_bytes(), "line 2"),
        (b"\xff\xfe", "not UTF-8"),
        (deep.as_bytes(), "recursion"),
    ] {
        let folder = folder(&[("machine.toml", profile)]);
        refused(&folder, &["cost", "tiny.net", "--profile", "machine.toml"], &["machine.toml", words]);
    }
    let endless = folder(&[("x.npy", &input())]);
    refused(&endless, &["cost", "tiny.net", "--profile", "/dev/zero"], &["/dev/zero"]);
    refused(&endless, &["run", "tiny.net", "--weights", "/dev/zero", "--input", "x.npy"], &["/dev/zero"]);
    refused(&endless, &["run", "tiny.net", "--input", "/dev/zero"], &["/dev/zero"]);
}

#[test]
fn sources_that_grow_are_refused() {
    let net = |body: &str| format!("net n {{\n  input x: [3, 8, 8]\n{body}\n  output y\n}}\n");
    let doubled: String = (1..60).map(|at| format!("let l{at} = [l{0}, l{0}]\n", at - 1)).collect();
    source(&format!("let l0 = [1, 1]\n{doubled}{}", net("  conv(l59, 1)")), &["E0216", "--max-values"]);
    let long = "a".repeat(1 << 19);
    source(&net(&format!("  {long}: {{ repeat 1000000 as i {{ r{{i}}: relu }} }}")), &["E0216", "bytes of paths"]);
    source(&net(&format!("  let s = \"{long}\"\n  a{{s}}{{s}}: relu")), &["a label of more than 65536 bytes"]);
    let list = "1, ".repeat(100_000);
    source(&net(&format!("  repeat 1000000 {{ let l = [{list}1] }}")), &["E0216", "expressions and statements"]);
    source(&net("  repeat 1000000000 { }"), &["E0216"]);
    source(&net("  repeat 100000 { add(prev, nobody) }"), &["E0203", "1 error"]);
    source(&net(&"  upsample(4294967295)\n".repeat(5)), &["E0306"]);
    source(&format!("block a {{ b }}\nblock b {{ a }}\n{}", net("  a")), &["E0211"]);
    source(&net(&format!("  {}", "relu; ".repeat(100_000).replace("relu", "rleu"))), &["did you mean `relu`?"]);
}
