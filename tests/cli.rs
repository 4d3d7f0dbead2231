//! The command as a user meets it: exit codes, what goes to which stream, and files that errors leave alone.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

const TINY: &str = "net tiny { input x: [1, 8, 8]; c: conv(4, 3); relu; flatten; fc: linear(3); output y }";
const WRONG: &str = "net wrong {\n  input x: [3, 8, 8]\n  c: convv(4, 3)\n  output y\n}\n";

/// Runs `netc` in the project's root with standard input from a text.
fn netc_with(args: &[&str], input: &str, change: impl FnOnce(&mut Command)) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_netc"));
    command.args(args).current_dir(env!("CARGO_MANIFEST_DIR")).env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    change(&mut command);
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().unwrap()
}

fn netc(args: &[&str]) -> Output {
    netc_with(args, "", |_| {})
}

#[track_caller]
fn expect(output: &Output, code: i32) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "stdout:\n{out}\nstderr:\n{err}");
    assert!(!err.contains("panicked") && !err.contains("os error"), "{err}");
    (out, err)
}

/// A call that fails with this code, says nothing on standard output, and says all of this on standard error.
#[track_caller]
fn fails(args: &[&str], code: i32, said: &[&str]) {
    let (out, err) = expect(&netc(args), code);
    assert_eq!(out, "", "{args:?}");
    for part in said {
        assert!(err.contains(part), "{args:?}: no {part:?} in\n{err}");
    }
}

fn file(folder: &TempDir, name: &str, text: &str) -> String {
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn exit_codes_tell_a_wrong_input_from_a_wrong_call() {
    let folder = TempDir::new().unwrap();
    let (tiny, wrong) = (file(&folder, "tiny.net", TINY), file(&folder, "wrong.net", WRONG));
    assert_eq!(expect(&netc(&["check", "specs/lenet5.net"]), 0), (String::new(), String::new()));
    fails(&["check", &wrong], 1, &["error[E0201]", "wrong.net:3:6", "did you mean `conv`?", "1 error"]);
    fails(&["run", &wrong, "--input", "x.npy"], 1, &["error[E0201]"]);
    fails(&["check"], 2, &["<FILE>", "--help"]);
    fails(&["chek", &tiny], 2, &["chek", "check"]);
    fails(&["check", &tiny, "--shape", "1x0x8"], 2, &["1x0x8", "3x224x224"]);
    fails(&["run", &tiny], 2, &["--input"]);
    fails(&["run", &tiny, "--threads", "0", "--input", "x.npy"], 2, &["--threads"]);
    fails(&["explain", "E9999"], 2, &["E9999"]);
}

#[test]
fn help_and_version_are_data() {
    let (out, err) = expect(&netc(&["--help"]), 0);
    assert!(out.contains("check") && out.contains("run") && err.is_empty(), "{out}{err}");
    let (out, err) = expect(&netc(&["--version"]), 0);
    assert_eq!((out.as_str(), err.as_str()), (concat!("netc ", env!("CARGO_PKG_VERSION"), "\n"), ""));
    assert_eq!(expect(&netc(&["run", "--help"]), 0).1, "");
}

#[test]
fn a_dash_reads_standard_input() {
    let (out, err) = expect(&netc_with(&["check", "-"], TINY, |_| {}), 0);
    assert_eq!(out, "");
    assert!(!err.contains("error"), "{err}");
    let (out, err) = expect(&netc_with(&["check", "-"], WRONG, |_| {}), 1);
    assert_eq!(out, "");
    assert!(err.contains("<stdin>:3:6"), "{err}");
    let (flat, _) = expect(&netc_with(&["expand", "-"], TINY, |_| {}), 0);
    let (again, _) = expect(&netc_with(&["expand", "-"], &flat, |_| {}), 0);
    assert_eq!(flat, again);
    let (_, err) = expect(&netc_with(&["expand", "-"], "block b { relu }", |_| {}), 1);
    assert!(err.contains("<stdin> holds blocks only"), "{err}");
}

#[test]
fn an_unreadable_file_does_not_hide_the_mistakes_of_the_others() {
    let folder = TempDir::new().unwrap();
    let wrong = file(&folder, "wrong.net", WRONG);
    fails(&["check", "nosuch.net", &wrong], 1, &["cannot read nosuch.net: no such file", "error[E0201]"]);
    let (out, err) = expect(&netc(&["check", "--format", "json", "nosuch.net", &wrong]), 1);
    assert!(err.contains("nosuch.net"), "{err}");
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((report["errors"].as_u64(), report["warnings"].as_u64()), (Some(1), Some(0)));
}

#[test]
fn json_diagnostics_go_to_standard_output() {
    let folder = TempDir::new().unwrap();
    let wrong = file(&folder, "wrong.net", WRONG);
    let (out, err) = expect(&netc(&["check", "--format", "json", &wrong, "specs/lenet5.net"]), 1);
    assert_eq!(err, "");
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert!(report["schema"].is_string() || report["schema"].is_number(), "{out}");
    let diagnostics = report["diagnostics"].as_array().unwrap();
    assert_eq!(diagnostics.len(), 1);
    assert_eq!(diagnostics[0]["code"], "E0201");
    let (out, _) = expect(&netc(&["check", "--format", "json", "specs/lenet5.net"]), 0);
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["diagnostics"], serde_json::json!([]));
}

#[test]
fn files_that_are_not_there_are_named_with_what_to_do() {
    let folder = TempDir::new().unwrap();
    let tiny = file(&folder, "tiny.net", TINY);
    let photo = "assets/fashion-mnist/00_ankle_boot.png";
    fails(&["check", "nosuch.net"], 1, &["nosuch.net", "no such file"]);
    fails(&["check", "specs"], 1, &["specs", "it is a folder"]);
    fails(&["run", &tiny, "--input", "nosuch.png"], 1, &["nosuch.png", "no such file", "help: check the path"]);
    fails(&["run", &tiny, "--input", "Cargo.toml"], 1, &["Cargo.toml", "neither a JPEG nor a PNG", "help: convert"]);
    fails(&["run", &tiny, "--input", "specs/blocks"], 1, &["specs/blocks", "no .jpg"]);
    fails(&["run", &tiny, "--input", photo, "--labels", "nosuch.txt"], 1, &["nosuch.txt", "no such file"]);
    fails(&["run", &tiny, "--input", photo, "--weights", "nosuch.pth"], 1, &["nosuch.pth", "no such file"]);
    fails(&["run", &tiny, "--input", photo, "--weights", "Cargo.toml"], 1, &["Cargo.toml", "help:"]);
    fails(&["run", &tiny, "--input", photo, "--tap", "cc"], 2, &["cc", "netc expand"]);
    fails(&["run", &tiny, "--input", photo, "--output", "y.txt"], 2, &["y.txt", ".safetensors"]);
    fails(&["run", &tiny, "--input", photo, "--rename", "map.toml"], 2, &["--weights"]);
    let nowhere = folder.path().join("nowhere/y.npy");
    let nowhere = nowhere.to_str().unwrap();
    let (_, err) = expect(&netc(&["run", &tiny, "--input", photo, "--output", nowhere]), 1);
    assert!(err.contains(nowhere) && err.contains("create the folder first") && !err.contains(".netc-"), "{err}");
}

#[test]
fn errors_leave_output_files_as_they_were() {
    let folder = TempDir::new().unwrap();
    let (tiny, wrong) = (file(&folder, "tiny.net", TINY), file(&folder, "wrong.net", WRONG));
    for (name, args) in [
        ("y.npy", ["run", &wrong, "--input", "assets/fashion-mnist", "--output"]),
        ("y.json", ["run", &tiny, "--input", "nosuch.png", "--output"]),
        ("w.safetensors", ["init", &wrong, "--seed", "1", "--output"]),
    ] {
        let path = file(&folder, name, "as it was");
        let mut args = args.to_vec();
        args.push(&path);
        expect(&netc(&args), 1);
        assert_eq!(fs::read_to_string(&path).unwrap(), "as it was", "{args:?}");
    }
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 5, "{left:?}");
}

#[test]
fn exports_and_imports_do_not_write_over_what_they_read() {
    let folder = TempDir::new().unwrap();
    let tiny = file(&folder, "tiny.net", TINY);
    let model = folder.path().join("tiny.onnx").to_str().unwrap().to_owned();
    expect(&netc(&["export", &tiny, "--without-weights", "-o", &model]), 0);
    let before = (fs::read(&tiny).unwrap(), fs::read(&model).unwrap());
    let over = &["would be written over", "help: name another file with -o"];
    fails(&["export", &tiny, "--without-weights", "--to", "onnx", "-o", &tiny], 2, over);
    fails(&["export", &model, "-o", &model], 2, over);
    fails(&["export", &tiny, "--weights", &model, "-o", &model], 2, over);
    fails(&["import", &model, "-o", &model], 2, over);
    let other = folder.path().join("other.onnx").to_str().unwrap().to_owned();
    fails(&["import", &model, "-o", &other], 2, &["a source is named .net"]);
    fails(&["import", &tiny], 2, &["is a source of netc already"]);
    fails(&["export", &tiny, "-o", &other, "--recipe", "r.toml"], 2, &["--recipe is for PyTorch"]);
    fails(&["export", &tiny, "-o", &other], 2, &["--weights", "--without-weights"]);
    fails(&["export", &tiny, "-o", "tiny"], 2, &["end it in .onnx or .py"]);
    assert_eq!((fs::read(&tiny).unwrap(), fs::read(&model).unwrap()), before);
    assert!(!Path::new(&other).exists());
}

#[test]
fn new_starts_a_net_that_checks_and_runs_and_never_overwrites() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("mine.net");
    let path = path.to_str().unwrap();
    expect(&netc(&["new", path]), 0);
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains("net mine("), "{text}");
    assert_eq!(expect(&netc(&["check", "--deny-warnings", path]), 0), (String::new(), String::new()));
    expect(&netc(&["run", path, "--input", "assets/fashion-mnist/04_bag.png"]), 0);
    fails(&["new", path], 2, &["mine.net exists"]);
    assert_eq!(fs::read_to_string(path).unwrap(), text);
    for name in ["9lives", "two words", "net", ""] {
        let path = folder.path().join(format!("{name}.net"));
        expect(&netc(&["new", path.to_str().unwrap()]), 2);
        assert!(!path.exists(), "{name}");
    }
    let nowhere = folder.path().join("nowhere/mine.net");
    fails(&["new", nowhere.to_str().unwrap()], 1, &["nowhere/mine.net", "create the folder first"]);
    let (out, _) = expect(&netc(&["new", folder.path().join("other").to_str().unwrap()]), 0);
    assert!(out.contains("other.net") && folder.path().join("other.net").is_file(), "{out}");
}

/// What `cargo install` leaves behind is the binary alone: the grammar, the explanations and all else are inside.
#[test]
fn the_binary_needs_no_file_beside_it() {
    let folder = TempDir::new().unwrap();
    let elsewhere = |command: &mut Command| {
        command.current_dir(folder.path());
    };
    expect(&netc_with(&["check", "-"], TINY, elsewhere), 0);
    let (out, _) = expect(&netc_with(&["cost", "-"], TINY, elsewhere), 0);
    assert!(out.contains("tiny: x 1x8x8"), "{out}");
    let (out, _) = expect(&netc_with(&["explain", "E0301"], "", elsewhere), 0);
    assert!(out.starts_with("E0301"), "{out}");
    expect(&netc_with(&["new", "mine"], "", elsewhere), 0);
    expect(&netc_with(&["shapes", "mine.net"], "", elsewhere), 0);
}

/// The commands that `netc --help` lists.
fn commands() -> Vec<String> {
    let (help, _) = expect(&netc(&["--help"]), 0);
    let section = help.split("Commands:\n").nth(1).unwrap();
    let lines = section.lines().take_while(|line| !line.is_empty()).filter(|line| line.starts_with("  "));
    lines.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

#[test]
fn completions_name_the_commands() {
    let commands = commands();
    assert!(commands.len() > 10, "{commands:?}");
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let (out, err) = expect(&netc(&["completions", shell]), 0);
        assert!(err.is_empty(), "{shell}");
        for command in &commands {
            assert!(out.contains(command.as_str()), "{shell}: {command}");
        }
    }
    fails(&["completions", "cmd"], 2, &["cmd", "bash"]);
}

fn has_colour(output: &Output) -> bool {
    output.stderr.contains(&0x1b) || output.stdout.contains(&0x1b)
}

#[test]
fn no_colour_without_a_terminal() {
    for args in [["check", "nosuch.net"], ["check", "-"], ["cost", "specs/bottleneck.net"]] {
        assert!(!has_colour(&netc_with(&args, WRONG, |_| {})), "{args:?}");
    }
}

/// On a terminal messages and tables are coloured unless `NO_COLOR` is set; `script` makes one.
#[test]
fn no_color_is_heeded_on_a_terminal() {
    let folder = TempDir::new().unwrap();
    let wrong = file(&folder, "wrong.net", WRONG);
    let binary = env!("CARGO_BIN_EXE_netc");
    for call in [format!("check {wrong}"), "check nosuch.net".to_owned(), "cost specs/bottleneck.net".to_owned()] {
        let on_terminal = |no_color: &str| {
            Command::new("script")
                .args(["-qec", &format!("{binary} {call}"), "/dev/null"])
                .current_dir(env!("CARGO_MANIFEST_DIR"))
                .envs([("NO_COLOR", no_color), ("TERM", "xterm"), ("COLUMNS", "100")])
                .stdin(Stdio::null())
                .output()
        };
        let Ok(coloured) = on_terminal("") else { return println!("skipped: there is no `script`") };
        if coloured.stdout.is_empty() {
            return println!("skipped: this `script` makes no terminal");
        }
        assert!(has_colour(&coloured), "{call}");
        assert!(!has_colour(&on_terminal("1").unwrap()), "{call}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_netc"))
        .args(["expand", "specs/resnet152.net"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(0), ""));
}

#[test]
fn results_are_data_and_the_note_on_random_weights_is_not() {
    let args = ["run", "specs/lenet5.net", "--input", "assets/fashion-mnist"];
    let (out, err) = expect(&netc(&args), 0);
    assert_eq!(out.lines().count(), 5, "{out}");
    assert!(err.contains("random weights of seed 0"), "{err}");
    assert_eq!(expect(&netc(&args), 0).0, out);
    let (other, _) = expect(&netc(&[&args[..], &["--seed", "1"]].concat()), 0);
    assert_ne!(other, out);
}

/// The five images that ship, through a net with seeded weights: as JSON, and as the logits in a file.
#[test]
fn the_shipped_images_run() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("logits.npy");
    let args = ["run", "specs/lenet5.net", "--input", "assets/fashion-mnist", "--top", "10", "--format", "json"];
    let labels = ["--labels", "assets/fashion-mnist/labels.txt", "--output", path.to_str().unwrap()];
    let (out, _) = expect(&netc(&[&args[..], &labels[..]].concat()), 0);
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["schema"], "netc.run/1");
    let results = report["results"].as_array().unwrap();
    assert_eq!(results.len(), 5);
    for result in results {
        let name = Path::new(result["input"].as_str().unwrap());
        assert!(name.starts_with("assets/fashion-mnist"), "{result}");
        let top = result["top"].as_array().unwrap();
        let scores: Vec<f64> = top.iter().map(|class| class["score"].as_f64().unwrap()).collect();
        assert!(scores.len() == 10 && scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
        // Ten f32 probabilities, each rounded once: 10 * 2^-24 and some slack.
        assert!((scores.iter().sum::<f64>() - 1.0).abs() < 2e-6, "{scores:?}");
        assert!(top.iter().all(|class| class["label"].is_string()), "{result}");
    }
    let logits = netc::data::npy::read(&path).unwrap();
    assert_eq!(logits.shape(), [5, 10]);
    assert!(logits.iter().all(|value| value.is_finite()));
    assert!(logits.iter().any(|&value| value != logits[[0, 0]]));
}

/// A value that is tapped is told when no file takes it; inputs of one run are one batch.
#[test]
fn taps_are_told_and_batches_must_agree() {
    let folder = TempDir::new().unwrap();
    let tiny = file(&folder, "tiny.net", TINY);
    let photo = "assets/fashion-mnist/04_bag.png";
    let (out, _) = expect(&netc(&["run", &tiny, "--input", photo, "--tap", "c", "--top", "1"]), 0);
    assert!(out.contains(": c 1x4x6x6 from "), "{out}");
    let two = "net two { input left: [1, 2, 2]; input right: [1, 2, 2]; add(left, right); output y }";
    let two = file(&folder, "two.net", two);
    let array = |name: &str, samples: usize, value: f32| {
        let path = folder.path().join(name);
        netc::data::npy::save(&path, ndarray::ArrayD::from_elem(vec![samples, 1, 2, 2], value).view()).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (one, more) = (array("one.npy", 1, 1.0), array("more.npy", 2, 1.0));
    let (left, right) = (format!("left={one}"), format!("right={more}"));
    fails(&["run", &two, "--input", &left, &right], 1, &["`right` has 2 samples, but `left` has 1"]);
    fails(&["run", &two, "--input", &left, &left, &right], 2, &["input `left` is given twice"]);
    let nan = format!("right={}", array("nan.npy", 1, f32::NAN));
    let (out, _) = expect(&netc(&["run", &two, "--input", &left, &nan]), 0);
    assert!(out.ends_with(": y 1x1x2x2, 4 of 4 values are NaN\n"), "{out}");
}

/// A value of `--set` that is wrong is one mistake: what uses the parameter stays quiet.
#[test]
fn a_wrong_setting_is_one_error() {
    let folder = TempDir::new().unwrap();
    let net = "net n(classes = 3) { input x: [1, 2, 2]; flatten; fc: linear(classes); output y }";
    let path = file(&folder, "n.net", net);
    fails(&["check", &path, "--set", "classes=many"], 1, &["unknown name `many`", "\n1 error\n"]);
    let (out, _) = expect(&netc(&["explain", "lost_border"]), 0);
    assert!(out.starts_with("W0505"), "{out}");
}

#[test]
fn the_environment_forces_kernels_and_instructions_or_says_what_it_takes() {
    let with = |name: &str, value: &str, args: &[&str]| netc_with(args, "", |command| _ = command.env(name, value));
    let plan = ["plan", "specs/vgg16.net", "--set", "classes=10"];
    let (forced, _) = expect(&with("NETC_KERNEL", "product", &plan), 0);
    let (free, _) = expect(&with("NETC_KERNEL", "", &plan), 0);
    assert!(free.contains("winograd") && !forced.contains("winograd"), "{free}\n{forced}");
    let (_, err) = expect(&with("NETC_KERNEL", "abacus", &plan), 2);
    assert!(err.contains("NETC_KERNEL is `abacus`, but takes one of product, joined, winograd4x4"), "{err}");
    let bench = ["bench", "specs/lenet5.net", "--runs", "1"];
    let (_, err) = expect(&with("NETC_ISA", "abacus", &bench), 2);
    assert!(err.contains("NETC_ISA is `abacus`, but this machine has portable"), "{err}");
    expect(&with("NETC_ISA", "portable", &bench), 0);
}

#[test]
fn starts_and_kernels_are_kept_in_a_folder() {
    let folder = TempDir::new().unwrap();
    let cache = folder.path().join("cache");
    let profile = folder.path().join("machine.toml");
    fs::write(&profile, "name = \"some\"\npeak_gflops = 100.0\nbandwidth_gbs = 10.0\ncores = 2\n").unwrap();
    let (cache, profile) = (cache.to_str().unwrap(), profile.to_str().unwrap());
    let args = ["bench", "specs/lenet5.net", "--runs", "2", "--cache", cache, "--tune", "--profile", profile];
    let args = [&args[..], &["--sessions", "2", "--format", "json"]].concat();
    for _ in 0..2 {
        let (out, _) = expect(&netc(&args), 0);
        let report: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(report["sessions"]["count"], 2);
        assert!(report["sessions"]["samples_per_second"].as_f64().unwrap() > 0.0);
    }
    assert_eq!(fs::read_dir(cache).unwrap().count(), 1, "packed weights; no convolution here has a choice");
    let (_, err) = expect(&netc(&["bench", "specs/lenet5.net", "--profile", "README.md"]), 1);
    assert!(err.contains("README.md"), "{err}");
}
