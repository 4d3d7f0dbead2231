//! Runs of recipes through the command: they learn, they do not depend on threads, and they go on after any end.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

const NET: &str = "net stripes(classes = 3) {
  input image: [3, 32, 32]
  conv1: conv(8, 3, stride = 2, pad = 1, bias = false)
  bn1: bn
  relu
  conv2: conv(8, 3, stride = 2, pad = 1)
  relu
  dropout(0.1)
  avgpool(global)
  flatten
  fc: linear(classes)
  output logits
}
";

const RECIPE: &str = "net = \"stripes.net\"
seed = 3
epochs = 4
batch = 20

[data]
train = { kind = \"cifar\", files = [\"train.bin\"], classes = [\"across\", \"down\", \"plain\"] }
test = { kind = \"cifar\", files = [\"test.bin\"], classes = [\"across\", \"down\", \"plain\"] }
validation = 0.1

[augment]
mirror = 0.5
crop = 2

[optimiser]
rate = 0.1
momentum = 0.9
average = 0.5

[run]
threads = 2
";

/// A folder with a net, a recipe and images: stripes across or down, or none, with noise.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        for (name, count, seed) in [("train.bin", 240, 1u32), ("test.bin", 60, 2)] {
            let mut state = seed;
            let mut noise = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 26) as u8
            };
            let mut bytes = Vec::new();
            for image in 0..count {
                let class = image % 3;
                bytes.push(class as u8);
                for _ in 0..3 {
                    for at in 0..1024usize {
                        let stripe = match class {
                            0 => at / 32 % 4 < 2,
                            1 => at % 4 < 2,
                            _ => true,
                        };
                        bytes.push(if stripe { 120 + noise() } else { 20 + noise() });
                    }
                }
            }
            std::fs::write(folder.path().join(name), bytes).unwrap();
        }
        std::fs::write(folder.path().join("stripes.net"), NET).unwrap();
        std::fs::write(folder.path().join("r.toml"), RECIPE).unwrap();
        Place(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_netc"));
        command.current_dir(self.path()).args(args).stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs a command that must succeed; what it prints.
    fn done(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {told}");
        format!("{}{told}", String::from_utf8_lossy(&output.stdout))
    }

    /// Runs a command that must fail with this code; what it says.
    fn refused(&self, args: &[&str], code: i32) -> String {
        let output = self.run(args);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {told}");
        told
    }

    fn result(&self, run: &str, file: &str) -> PathBuf {
        self.path().join("runs").join(run).join(file)
    }

    /// The weights of a run, and its figures without times.
    fn results(&self, run: &str) -> (Vec<u8>, Vec<serde_json::Value>) {
        let weights = std::fs::read(self.result(run, "last.safetensors")).unwrap();
        let text = std::fs::read_to_string(self.result(run, "metrics.jsonl")).unwrap();
        let lines = text.lines().map(|line| {
            let mut record: serde_json::Value = serde_json::from_str(line).unwrap();
            for key in ["seconds", "images_per_second", "waited", "speedup"] {
                record.as_object_mut().unwrap().remove(key);
            }
            record
        });
        (weights, lines.collect())
    }
}

#[test]
fn a_recipe_learns_and_leaves_its_results() {
    let place = Place::new();
    let said = place.done(&["train", "r.toml", "epochs=8"]);
    assert!(said.contains("216 images of 3 classes, 24 held out, 60 test"), "{said}");
    for file in ["best.safetensors", "last.safetensors", "state.safetensors", "recipe.toml", "curves.svg", "curves.png"]
    {
        assert!(place.result("r", file).exists(), "{file}");
    }
    let (_, records) = place.results("r");
    assert_eq!(records.len(), 8);
    let right = records[7]["test"]["top1"].as_f64().unwrap();
    assert!(right > 0.9, "{right}");
    // The weights are those of the net, with the names of its classes.
    let eval = place.done(&["eval", "r.toml", "--confusion", "c.png", "--mistakes", "m.png"]);
    assert!(eval.contains("60 images, 1 net") && eval.contains("across"), "{eval}");
    assert!(place.path().join("c.png").exists() && place.path().join("m.png").exists());
    let data = place.done(&["data", "r.toml", "-o", "grid.png"]);
    assert!(data.contains("principal components") && place.path().join("grid.png").exists(), "{data}");
    // What is there is not written over.
    let refused = place.refused(&["train", "r.toml"], 1);
    assert!(refused.contains("--resume"), "{refused}");
}

#[test]
fn an_ensemble_averages_probabilities() {
    let place = Place::new();
    for seed in ["1", "2"] {
        place.done(&["train", "r.toml", "epochs=2", &format!("seed={seed}"), &format!("run.folder=runs/s{seed}")]);
    }
    let weights = |run: &str| place.result(run, "last.safetensors").display().to_string();
    let eval = |args: &[&str]| {
        let text = place.done(&[&["eval", "r.toml", "--format", "json"], args].concat());
        let start = text.find('{').unwrap();
        serde_json::from_str::<serde_json::Value>(&text[start..=text.rfind('}').unwrap()]).unwrap()
    };
    let (first, second) = (weights("s1"), weights("s2"));
    let alone = eval(&["--weights", &first]);
    assert_eq!(eval(&["--weights", &first, "--weights", &second, "--shares", "1,0"])["figures"], alone["figures"]);
    let both = eval(&["--weights", &first, "--member", &format!("stripes.net={second}")]);
    assert_eq!((both["members"].as_u64(), both["figures"]["count"].as_u64()), (Some(2), Some(60)));
    let refused = place.refused(&["eval", "r.toml", "--weights", &first, "--shares", "1,2"], 2);
    assert!(refused.contains("takes 1 numbers"), "{refused}");
}

#[test]
fn runs_are_compared() {
    let place = Place::new();
    for rate in ["0.1", "0.001"] {
        let keys = [format!("optimiser.rate={rate}"), format!("run.folder=runs/rate_{rate}")];
        place.done(&["train", "r.toml", "epochs=2", &keys[0], &keys[1]]);
    }
    let runs = ["runs/rate_0.1", "runs/rate_0.001"];
    let table = place.done(&["compare", runs[0], runs[1], "-o", "c.svg", "--gradients", "g.svg", "--format", "csv"]);
    let (_, records) = place.results("rate_0.1");
    let error = format!("{:.2} %", 100.0 * (1.0 - records[1]["test"]["top1"].as_f64().unwrap()));
    let row = table.lines().find(|line| line.contains("rate_0.1,")).unwrap();
    assert!(row.contains("optimiser.rate = 0.1") && row.contains(&error), "{table}");
    let drawn = |name: &str| std::fs::read_to_string(place.path().join(name)).unwrap();
    assert_eq!(drawn("c.svg").matches("<polyline").count(), 4);
    // Two convolutions and the linear layer.
    let gradients = drawn("g.svg");
    assert_eq!((gradients.matches("<polyline").count(), gradients.matches("<circle").count()), (2, 2 * 3));
    place.done(&["compare", runs[0], runs[1], "-o", "a.svg", "--against", "optimiser.rate"]);
    assert_eq!(drawn("a.svg").matches("<circle").count(), 2 * 2);
    for (args, said) in [
        (vec!["compare", "."], "cannot read `./recipe.toml`"),
        (vec!["compare", runs[0], "-o", "x.svg", "--against", "net"], "has no number `net`"),
    ] {
        assert!(place.refused(&args, 1).contains(said), "{args:?}");
    }
}

#[test]
fn bits_do_not_depend_on_threads_or_workers() {
    let place = Place::new();
    for (run, threads, workers) in [("a", "1", "0"), ("b", "2", "1"), ("c", "3", "3")] {
        let keys =
            [format!("run.threads={threads}"), format!("data.workers={workers}"), format!("run.folder=runs/{run}")];
        place.done(&["train", "r.toml", "epochs=2", &keys[0], &keys[1], &keys[2]]);
    }
    let expected = place.results("a");
    assert!(place.results("b") == expected && place.results("c") == expected);
}

fn kill(child: &mut Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Killed at any moment, a run goes on as if it had not been: the state is saved after each step here, and what was
/// computed since the last one is computed again. It takes some seconds for the many starts.
#[test]
fn a_killed_run_goes_on_bit_for_bit() {
    let place = Place::new();
    place.done(&["train", "r.toml", "run.folder=runs/whole"]);
    let args = ["train", "r.toml", "run.folder=runs/killed", "run.save_seconds=0"];
    let state = place.result("killed", "state.safetensors");
    let saved = || std::fs::metadata(&state).ok().and_then(|data| data.modified().ok());
    let (mut kills, mut pause) = (0u64, 0);
    loop {
        let before = saved();
        let resume: &[&str] = if before.is_some() { &["--resume"] } else { &[] };
        let mut command = place.command(&[&args[..], resume].concat());
        let mut child = command.stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        // However slow the start is, the run gets on; then it is killed at another moment each time.
        while saved() == before && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(pause));
        pause = (kills * 37) % 101;
        match child.try_wait().unwrap() {
            Some(status) => {
                assert!(status.success());
                break;
            }
            None => kill(&mut child),
        }
        kills += 1;
    }
    assert!((5..=60).contains(&kills), "only {kills} kills");
    assert!(place.results("whole") == place.results("killed"), "after {kills} kills");
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_ends_after_its_step_and_goes_on() {
    let place = Place::new();
    place.done(&["train", "r.toml", "run.folder=runs/whole"]);
    let mut child = place
        .command(&["train", "r.toml", "run.folder=runs/cut"])
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    while !place.result("cut", "metrics.jsonl").exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(child.wait().unwrap().success());
    let refused = place.refused(&["train", "r.toml", "run.folder=runs/cut", "--resume", "optimiser.rate=0.2"], 1);
    assert!(refused.contains("rate = 0.2"), "{refused}");
    place.done(&["train", "r.toml", "run.folder=runs/cut", "--resume"]);
    assert!(place.results("whole") == place.results("cut"));
}

#[test]
fn a_loss_that_explodes_ends_the_run_with_advice() {
    let place = Place::new();
    let said = place.refused(&["train", "r.toml", "optimiser.rate=1e9"], 1);
    assert!(said.contains("help: lower `optimiser.rate`") && said.contains("state.safetensors"), "{said}");
    assert!(place.result("r", "state.safetensors").exists());
}

#[test]
fn weights_are_transferred_and_frozen_ones_stay() {
    let place = Place::new();
    place.done(&["train", "r.toml", "epochs=1"]);
    let head = place.path().join("head.toml");
    let text = RECIPE.replace("epochs = 4", "epochs = 2")
        + "folder = \"runs/head\"\n[init]\nweights = \"runs/r/last.safetensors\"\n\
        fresh = [\"fc.*\"]\n[freeze]\nfreeze = [\"*\"]\nunfreeze = [\"fc.*\"]\nthaw = [{ epoch = 2, paths = [\"conv2.*\"] }]\n";
    std::fs::write(&head, text).unwrap();
    let said = place.done(&["train", "head.toml"]);
    assert!(said.contains("drawn anew: fc.weight (as asked), fc.bias (as asked)"), "{said}");
    let open = |run: &str| {
        let path = place.result(run, "last.safetensors");
        netc::weights::Checkpoint::open(&path, &Default::default()).unwrap()
    };
    let (before, after) = (open("r"), open("head"));
    let same = |name: &str| before.get(name).unwrap().to_f32() == after.get(name).unwrap().to_f32();
    assert!(same("conv1.weight") && same("bn1.running_mean") && !same("fc.weight") && !same("conv2.weight"));
}

/// What frozen layers give is computed once, again when another layer thaws, and changes nothing but the time.
#[test]
fn what_frozen_layers_give_is_kept() {
    let place = Place::new();
    let text = RECIPE.replace("mirror = 0.5\ncrop = 2\n", "")
        + "\n[freeze]\nfreeze = [\"conv1.*\", \"bn1.*\", \"conv2.*\"]\nthaw = [{ epoch = 3, paths = [\"conv2.*\"] }]\n";
    std::fs::write(place.path().join("k.toml"), text).unwrap();
    let said = place.done(&["train", "k.toml", "run.folder=runs/kept"]);
    assert!(said.contains("up to `relu2` give is kept") && said.contains("up to `relu1` give is kept"), "{said}");
    assert!(said.contains("times as fast as with the frozen layers"), "{said}");
    let plain_said = place.done(&["train", "k.toml", "freeze.keep=false", "run.folder=runs/plain"]);
    assert!(!plain_said.contains("is kept"), "{plain_said}");
    let open = |run: &str| {
        netc::weights::Checkpoint::open(&place.result(run, "last.safetensors"), &Default::default()).unwrap()
    };
    let (kept, plain) = (open("kept"), open("plain"));
    assert_eq!(kept.iter().count(), plain.iter().count());
    for (name, tensor) in plain.iter() {
        let pairs = kept.get(name).unwrap().to_f32().into_owned().into_iter().zip(tensor.to_f32().into_owned());
        let worst = pairs.into_iter().map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-3, "{name}: {worst}\n{plain_said}\n{said}");
    }
    // An interrupted run takes what is there, and goes on bit for bit.
    let mut child = place.command(&["train", "k.toml", "run.folder=runs/again"]).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    kill(&mut child);
    place.done(&[
        "train",
        "k.toml",
        "run.folder=runs/again",
        if place.result("again", "state.safetensors").exists() { "--resume" } else { "--threads=1" },
    ]);
    assert_eq!(place.results("again"), place.results("kept"));
    let random = place.done(&["train", "k.toml", "augment.mirror=0.5", "run.folder=runs/random", "epochs=1"]);
    assert!(random.contains("are computed anew for each image: augmentation"), "{random}");
}

#[test]
fn a_batch_in_parts_is_a_batch() {
    let place = Place::new();
    // Without batch norm and dropout, whose values depend on the parts.
    let net = NET.replace("  bn1: bn\n", "").replace("  dropout(0.1)\n", "");
    std::fs::write(place.path().join("stripes.net"), net).unwrap();
    for (run, parts) in [("one", "1"), ("four", "4")] {
        let keys = [format!("accumulate={parts}"), format!("run.folder=runs/{run}")];
        place.done(&["train", "r.toml", "epochs=1", "optimiser.average=0", &keys[0], &keys[1]]);
    }
    let open = |run: &str| {
        netc::weights::Checkpoint::open(&place.result(run, "last.safetensors"), &Default::default()).unwrap()
    };
    let (one, four) = (open("one"), open("four"));
    for (name, tensor) in one.iter() {
        let pairs = four.get(name).unwrap().to_f32().into_owned().into_iter().zip(tensor.to_f32().into_owned());
        assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-4), "{name}");
    }
}

#[test]
fn mistakes_in_recipes_are_named() {
    let place = Place::new();
    for (args, code, said) in [
        (vec!["train", "none.toml"], 1, "cannot read none.toml"),
        (vec!["train", "r.toml", "epochs"], 2, "KEY=VALUE"),
        (vec!["train", "r.toml", "freeze.freeze=[\"conv9.*\"]"], 1, "did you mean `conv1.*`"),
        (vec!["train", "r.toml", "optimizer.rate=1"], 1, "did you mean `optimiser`"),
        (vec!["train", "r.toml", "net=other.net"], 1, "other.net"),
        (vec!["train", "r.toml", "set.classes=5"], 1, "[set] classes = 3"),
        (vec!["train", "r.toml", "data.train.files=[\"none.bin\"]"], 1, "none.bin"),
        (vec!["train", "r.toml", "init.weights=none.pth"], 1, "none.pth"),
        (vec!["train", "r.toml", "freeze.freeze=[\"*\"]"], 1, "no parameter of net `stripes` is trained"),
        (vec!["train", "r.toml", "augment.mirror=2"], 1, "`augment.mirror` is 2"),
        (vec!["train", "r.toml", "--resume"], 1, "state.safetensors"),
    ] {
        let told = place.refused(&args, code);
        assert!(told.contains(said), "{args:?}: {told}");
    }
    let defaults = place.done(&["train", "--print-defaults"]);
    assert!(defaults.contains("[optimiser]") && defaults.contains("rate = 0.1"), "{defaults}");
}
