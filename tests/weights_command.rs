//! `netc weights` as a user meets it: lists, comparisons, other names, and both forms of files.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::Command;

use netc::weights::{Bytes, Checkpoint, Dtype, Format, OpenOptions, StoredTensor};
use serde_json::{Value, json};
use tempfile::TempDir;

const LENET: &str = "assets/lenet5_fashion.safetensors";
const TYPES: &str = "tests/reference/weights/types_zip.pth";

/// Exit code, standard output, standard error.
fn weights(args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_netc"));
    let output = command.arg("weights").args(args).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[track_caller]
fn fine(args: &[&str]) -> String {
    let (code, out, err) = weights(args);
    assert_eq!(code, 0, "{args:?}\n{out}{err}");
    out
}

/// A call that fails with this code, prints no data, and says all of this.
#[track_caller]
fn fails(args: &[&str], code: i32, said: &[&str]) {
    let (found, out, err) = weights(args);
    assert_eq!((found, out.as_str()), (code, ""), "{args:?}\n{err}");
    assert!(!err.contains("panicked") && !err.contains("os error"), "{err}");
    for part in said {
        assert!(err.contains(part), "{args:?}: no {part:?} in\n{err}");
    }
}

fn open(path: &str) -> Checkpoint {
    Checkpoint::open(Path::new(path), &OpenOptions::default()).unwrap()
}

#[track_caller]
fn same(a: &Checkpoint, b: &Checkpoint) {
    assert_eq!(a.len(), b.len());
    for (name, tensor) in a.iter() {
        let other = b.get(name).unwrap();
        assert_eq!((other.dtype(), other.shape()), (tensor.dtype(), tensor.shape()), "{name}");
        assert_eq!(other.bytes(), tensor.bytes(), "{name}");
    }
}

struct Folder(TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(TempDir::new().unwrap())
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn file(&self, name: &str, content: &str) -> String {
        fs::write(self.path(name), content).unwrap();
        self.path(name)
    }

    /// A file of weights of one tensor `w`.
    fn weights(&self, name: &str, values: &[f32]) -> String {
        let mut checkpoint = Checkpoint::new();
        checkpoint.insert("w", StoredTensor::from_f32(vec![values.len() as u64], values.to_vec()).unwrap());
        checkpoint.write_safetensors(Path::new(&self.path(name))).unwrap();
        self.path(name)
    }
}

#[test]
fn a_list_has_every_tensor_in_the_order_of_the_file() {
    let report: Value = serde_json::from_str(&fine(&["ls", "--format", "json", TYPES])).unwrap();
    assert_eq!((&report["schema"], &report["format"]), (&json!("netc.weights/1"), &json!("pth-zip")));
    let checkpoint = open(TYPES);
    let listed = report["tensors"].as_array().unwrap();
    assert_eq!(listed.len(), checkpoint.len());
    for (entry, (name, tensor)) in listed.iter().zip(checkpoint.iter()) {
        let bytes = tensor.bytes().len();
        let expected = json!({
            "name": name, "dtype": tensor.dtype().name(), "shape": tensor.shape(), "elements": tensor.len(), "bytes": bytes,
        });
        assert_eq!(*entry, expected);
    }
    let sum = |key: &str| listed.iter().map(|entry| entry[key].as_u64().unwrap()).sum::<u64>();
    let totals = json!({ "tensors": listed.len(), "elements": sum("elements"), "bytes": sum("bytes") });
    assert_eq!(report["totals"], totals);
}

#[test]
fn patterns_choose_and_statistics_count() {
    let text = fine(&["ls", LENET, "conv?.bias", "fc3.*", "--stats"]);
    assert!(text.contains("4 of 10 tensors") && text.contains("conv2.bias") && text.contains("std"), "{text}");
    assert!(!text.contains("conv1.weight") && text.contains("classes: [\"T-shirt/top\""), "{text}");
    fails(&["ls", LENET, "fc3.*", "cnov1*"], 2, &[LENET, "no tensor is called `cnov1*`; did you mean `conv1.*`?"]);
    fails(&["ls", LENET, "zzzzzz", "yyyyyy"], 2, &["`zzzzzz`\n", "`yyyyyy`\n"]);
    let folder = Folder::new();
    let broken = folder.weights("w.safetensors", &[1.0, f32::NAN, f32::INFINITY, 3.0]);
    let report: Value = serde_json::from_str(&fine(&["ls", &broken, "--stats", "--format", "json"])).unwrap();
    let found = &report["tensors"][0];
    assert_eq!((&found["nan"], &found["inf"], &found["mean"]), (&json!(1), &json!(1), &json!(2.0)));
}

#[test]
fn what_is_the_same_exits_0_and_what_differs_1() {
    let folder = Folder::new();
    let a = folder.weights("a.safetensors", &[1.0, 8.0]);
    let b = folder.weights("b.safetensors", &[1.5, 8.0]);
    let c = folder.weights("c.safetensors", &[1.0]);
    assert_eq!(fine(&["diff", &a, &a]), format!("{a} -> {a}: the same 1 tensor\n"));
    let (code, out, err) = weights(&["diff", &a, &b]);
    assert_eq!((code, err.as_str()), (1, ""));
    assert!(out.contains("6.25e-2"), "{out}");
    assert!(fine(&["diff", &a, &b, "--tolerance", "0.1"]).contains("the same 1 tensor within 1e-1"));
    let (code, out, _) = weights(&["diff", &a, &c, "--format", "json", "--tolerance", "10"]);
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &report["schema"], &report["equal"]), (1, &json!("netc.weights_diff/1"), &json!(false)));
    assert_eq!((&report["common"][0]["same"], &report["common"][0]["error"]), (&json!(false), &Value::Null));
    for wrong in ["-1", "nan", "inf", "much"] {
        fails(&["diff", &a, &b, &format!("--tolerance={wrong}")], 2, &["--tolerance", "0 or larger"]);
    }
}

#[test]
fn other_names_are_compared_and_written_with_their_metadata() {
    let folder = Folder::new();
    let map = folder.file("map.toml", "[patterns]\n\"conv*.*\" = \"features.*.*\"\n");
    for name in ["renamed.safetensors", "renamed.pth"] {
        let out = folder.path(name);
        fine(&["rename", LENET, &map, "-o", &out]);
        let renamed = open(&out);
        assert!(renamed.get("features.1.weight").is_some() && renamed.get("conv1.weight").is_none());
        assert_eq!(renamed.metadata()["classes"], open(LENET).metadata()["classes"]);
        assert_eq!(weights(&["diff", LENET, &out]).0, 1);
        fine(&["diff", LENET, &out, "--rename", &map]);
    }
    let wrong = folder.file("wrong.toml", "[names]\n\"conv1.wieght\" = \"x\"\n");
    let out = folder.file("out.pth", "as it was");
    fails(&["rename", LENET, &wrong, "-o", &out], 1, &["wrong.toml", "did you mean \"conv1.weight\"?"]);
    assert_eq!(fs::read_to_string(&out).unwrap(), "as it was");
}

/// From PyTorch's file, to safetensors, to a `.pth` of netc's own, and back: every type, bit for bit.
#[test]
fn both_forms_hold_the_same() {
    let folder = Folder::new();
    let [first, second, third] = ["1.safetensors", "2.pth", "3.safetensors"].map(|name| folder.path(name));
    fine(&["convert", TYPES, "-o", &first]);
    fine(&["convert", &first, "-o", &second]);
    fine(&["convert", &second, "--output", &third]);
    let original = open(TYPES);
    assert_eq!(original.iter().map(|(_, tensor)| tensor.dtype()).collect::<std::collections::HashSet<_>>().len(), 10);
    same(&original, &open(&third));
    assert_eq!(open(&second).format(), Format::PthZip);
    assert_eq!(fs::read(&first).unwrap(), fs::read(&third).unwrap());
    let again = folder.path("again.pt");
    fine(&["convert", &first, "-o", &again]);
    assert_eq!(fs::read(&second).unwrap(), fs::read(&again).unwrap());
}

#[test]
fn numbers_are_rounded_and_integers_stay() {
    let folder = Folder::new();
    let [half, back, double] = ["half.pth", "back.safetensors", "double.pth"].map(|name| folder.path(name));
    fine(&["convert", LENET, "-o", &half, "--dtype", "f16"]);
    fine(&["convert", &half, "-o", &back, "--dtype", "f32"]);
    let (before, after) = (open(LENET), open(&back));
    for (name, tensor) in before.iter() {
        let rounded: Vec<f32> = tensor.to_f32().iter().map(|&v| half::f16::from_f32(v).to_f32()).collect();
        assert_eq!(after.get(name).unwrap().to_f32()[..], rounded[..], "{name}");
    }
    let (code, out, _) = weights(&["diff", LENET, &half]);
    assert!(code == 1 && out.contains("F32 6x1x5x5   F16 6x1x5x5   2.99e-4"), "{out}");
    fine(&["diff", LENET, &back, "--tolerance", "5e-4"]);
    fine(&["convert", TYPES, "-o", &double, "--dtype", "f64"]);
    let double = open(&double);
    for (name, tensor) in open(TYPES).iter() {
        let expected = if tensor.dtype().is_float() { Dtype::F64 } else { tensor.dtype() };
        assert_eq!(double.get(name).unwrap().dtype(), expected, "{name}");
        assert_eq!(double.get(name).unwrap().to_f32(), tensor.to_f32(), "{name}");
    }
}

#[test]
fn what_cannot_be_written_leaves_the_file_as_it_was() {
    let folder = Folder::new();
    let large = folder.weights("large.safetensors", &[1.0, 70_000.0]);
    let out = folder.file("out.pth", "as it was");
    fails(&["convert", &large, "-o", &out, "--dtype", "f16"], 1, &["out.pth", "`w`: 70000.0 at [1]", "help: "]);
    fails(&["convert", "nosuch.pth", "-o", &out], 1, &["cannot read nosuch.pth: no such file"]);
    fails(&["convert", "Cargo.toml", "-o", &out], 1, &["Cargo.toml", "neither safetensors nor", "help: "]);
    assert_eq!(fs::read_to_string(&out).unwrap(), "as it was");
    fails(&["convert", LENET, "-o", "w.bin"], 2, &["w.bin", "help: name it .safetensors, .pth or .pt"]);
    fails(&["convert", LENET, "-o", &folder.path("no/w.pth")], 1, &["no/w.pth", "there is no such folder", "help: "]);
    fails(&["convert", LENET], 2, &["--output"]);
    fails(&["convert", LENET, "-o", &out, "--dtype", "i8"], 2, &["i8", "bf16"]);
    fails(&["rename", LENET, "nosuch.toml", "-o", &out], 1, &["nosuch.toml", "no such file"]);
    fails(&["ls", "nosuch.pth"], 1, &["nosuch.pth", "no such file"]);
    fails(&["diff", LENET, "specs"], 1, &["specs"]);
}

/// The net that a file of weights belongs to takes both forms, with the names of its classes.
#[test]
fn a_net_runs_on_converted_weights() {
    let folder = Folder::new();
    let converted = folder.path("lenet5.pth");
    fine(&["convert", LENET, "-o", &converted]);
    let run = |weights: &str| {
        let args = ["run", "specs/lenet5.net", "--input", "assets/fashion-mnist/04_bag.png", "--weights", weights];
        let mut command = Command::new(env!("CARGO_BIN_EXE_netc"));
        let output = command.args(args).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(run(LENET).contains("bag"));
    assert_eq!(run(LENET), run(&converted));
}

#[test]
fn random_weights_are_written_in_both_forms() {
    let folder = Folder::new();
    let files = ["w.safetensors", "w.pth"].map(|name| folder.path(name));
    let init = |file: &str| {
        let args = ["init", "specs/lenet5.net", "--seed", "3", "-o", file];
        let mut command = Command::new(env!("CARGO_BIN_EXE_netc"));
        command.args(args).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap().status.code()
    };
    files.iter().for_each(|file| assert_eq!(init(file), Some(0)));
    assert_eq!(open(&files[1]).format(), Format::PthZip);
    fine(&["diff", &files[0], &files[1]]);
    assert_eq!(init(&folder.path("w.weights")), Some(2));
}

/// Damage to a file that was written here is an error or other numbers, never a panic.
#[test]
fn every_truncation_is_an_error() {
    let folder = Folder::new();
    let path = folder.path("w.pth");
    fine(&["convert", TYPES, "-o", &path]);
    let whole = fs::read(&path).unwrap();
    for len in 0..whole.len() {
        let cut = Checkpoint::from_bytes(&Bytes::from(whole[..len].to_vec()), Path::new("w.pth"));
        assert!(cut.is_err_and(|error| error.to_string().starts_with("w.pth: ")), "cut to {len} bytes");
    }
}
