//! Callers of a net: sessions, packed weights in files, kernels that are timed or forced.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use ndarray::{ArrayD, IxDyn};
use netc::plan::{self, Kernel, Machine};
use netc::weights::{Checkpoint, Scheme, init};
use netc::{Compiled, Executable, Kept, RunOptions};
use tempfile::TempDir;

const NET: &str = "net small { input x: [32, 14, 14]
  a: conv(32, 3, pad = 1); relu
  b: conv(32, 3, pad = 1); relu
  c: conv(24, 5, pad = 2, stride = 2); relu
  d: conv(8, 1)
  flatten; f: linear(10); softmax
  output y }";

fn compiled() -> Compiled {
    netc::compile_text("small.net", NET).unwrap()
}

fn weights(compiled: &Compiled, seed: u64) -> Checkpoint {
    init(&compiled.init_specs(), Scheme::He, seed).unwrap()
}

fn input(batch: usize, shift: usize) -> ArrayD<f32> {
    let value = |at: usize| (((at + shift) * 7919 + 13) % 1009) as f32 / 504.0 - 1.0;
    let values = (0..batch * 32 * 14 * 14).map(value).collect();
    ArrayD::from_shape_vec(IxDyn(&[batch, 32, 14, 14]), values).unwrap()
}

fn executable(seed: u64, options: &RunOptions) -> Executable {
    let compiled = compiled();
    compiled.plan_with(&weights(&compiled, seed), options).unwrap()
}

#[test]
fn sessions_share_parameters_and_give_what_the_executable_gives() {
    let executable = executable(1, &RunOptions { threads: 2, ..RunOptions::default() });
    let batches = [1, 3, 1, 2];
    let expected: Vec<_> =
        batches.iter().enumerate().map(|(shift, &batch)| executable.run(&input(batch, shift)).unwrap()).collect();
    std::thread::scope(|scope| {
        for threads in [1, 1, 2, 3] {
            let (mut session, expected) = (executable.session(threads).unwrap(), &expected);
            scope.spawn(move || {
                for _ in 0..3 {
                    for (shift, &batch) in batches.iter().enumerate() {
                        assert_eq!(session.run(&[input(batch, shift).view()]).unwrap()[0], expected[shift]);
                    }
                }
            });
        }
    });
    let mut session = executable.session(1).unwrap();
    drop(executable);
    assert_eq!(session.run(&[input(3, 1).view()]).unwrap()[0], expected[1]);
    assert!(session.run(&[]).unwrap_err().to_string().contains("`x`"));
}

#[test]
fn an_input_in_another_order_of_memory_is_the_same_input() {
    let executable = executable(1, &RunOptions::default());
    let straight = input(2, 0);
    let turned = straight.t().as_standard_layout().into_owned();
    assert_eq!(executable.run(turned.t()).unwrap(), executable.run(&straight).unwrap());
}

fn cached(folder: &Path, seed: u64) -> (Executable, Kept) {
    let executable = executable(seed, &RunOptions { cache: Some(folder.to_path_buf()), ..RunOptions::default() });
    let kept = executable.kept().clone();
    (executable, kept)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn packed_weights_are_kept_and_found() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path().join("made/when/needed");
    let expected = executable(1, &RunOptions::default()).run(&input(1, 0)).unwrap();
    assert_eq!(executable(1, &RunOptions::default()).kept(), &Kept::Off);
    for wanted in [Kept::Written, Kept::Found, Kept::Found] {
        let (executable, kept) = cached(&folder, 1);
        assert_eq!(kept, wanted);
        assert_eq!(executable.run(&input(1, 0)).unwrap(), expected);
    }
    // Other weights, and weights packed for other kernels, are other files.
    assert_eq!(cached(&folder, 2).1, Kept::Written);
    let exact = plan::Options { exact: true, ..plan::Options::default() };
    let options = RunOptions { cache: Some(folder.clone()), plan: exact, ..RunOptions::default() };
    assert_eq!(executable(1, &options).kept(), &Kept::Written);
    assert_eq!(files(&folder).len(), 3);
    assert_eq!(cached(&folder, 1).1, Kept::Found);
}

#[test]
fn files_of_packed_weights_that_are_not_whole_are_written_again() {
    let folder = TempDir::new().unwrap();
    let (executable, _) = cached(folder.path(), 1);
    let expected = executable.run(&input(1, 0)).unwrap();
    let file = files(folder.path()).remove(0);
    let sound = fs::read(&file).unwrap();
    let mut damages: Vec<Vec<u8>> =
        [0, 1, 47, sound.len() / 2, sound.len() - 1].map(|len| sound[..len].to_vec()).into();
    for at in [0, 20, 35, 45, 60, sound.len() - 1] {
        let mut damaged = sound.clone();
        damaged[at] ^= 0x10;
        damages.push(damaged);
    }
    damages.push([sound.as_slice(), b"more"].concat());
    for damage in damages {
        fs::write(&file, damage).unwrap();
        let (executable, kept) = cached(folder.path(), 1);
        assert_eq!(kept, Kept::Written);
        assert_eq!(executable.run(&input(1, 0)).unwrap(), expected);
        assert_eq!(fs::read(&file).unwrap(), sound);
    }
}

#[test]
fn several_may_keep_packed_weights_at_once() {
    let folder = TempDir::new().unwrap();
    let expected = executable(1, &RunOptions::default()).run(&input(1, 0)).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let (executable, kept) = cached(folder.path(), 1);
                assert!(matches!(kept, Kept::Written | Kept::Found), "{kept:?}");
                assert_eq!(executable.run(&input(1, 0)).unwrap(), expected);
            });
        }
    });
    assert_eq!(files(folder.path()).len(), 1);
}

#[test]
fn a_folder_that_cannot_be_written_is_said_and_nothing_else() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("a file");
    fs::write(&file, "as it was").unwrap();
    let (executable, kept) = cached(&file, 1);
    assert!(matches!(&kept, Kept::Failed(reason) if reason.contains("a file")), "{kept:?}");
    executable.run(&input(1, 0)).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "as it was");
}

fn kernels(executable: &Executable) -> Vec<Kernel> {
    executable.plan(1).unwrap().steps.iter().map(|step| step.kernel).collect()
}

fn largest_difference(a: &ArrayD<f32>, b: &ArrayD<f32>) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn timed_kernels_are_remembered() {
    let folder = TempDir::new().unwrap();
    let expected = executable(1, &RunOptions::default()).run(&input(2, 0)).unwrap();
    let options = RunOptions { tune: true, cache: Some(folder.path().to_path_buf()), ..RunOptions::default() };
    let first = executable(1, &options);
    assert!(largest_difference(&first.run(&input(2, 0)).unwrap(), &expected) < 1e-5);
    let table = folder.path().join("kernels.toml");
    let text = fs::read_to_string(&table).unwrap();
    // Both layers of 3x3 at stride 1 have a choice; the one at stride 2 has none.
    assert!(text.contains("32x14x14 to 32x14x14, kernel 3x3") && !text.contains("stride 2x2"), "{text}");
    // What the file says is taken, and it is written again only where something is new.
    let other = |name: &str, kernel: &str| text.replace(&format!("\"{name}\""), &format!("\"{kernel}\""));
    let forced = other("winograd4x4", "product");
    let forced = forced.replace("\"winograd2x2\"", "\"product\"");
    fs::write(&table, &forced).unwrap();
    let again = executable(1, &options);
    assert_eq!(kernels(&again)[1], Kernel::Product);
    assert_eq!(fs::read_to_string(&table).unwrap(), forced);
    // What is not a table, or names no kernel, is timed again.
    for damage in ["", "= not TOML", "[\"another machine\"]\nx = \"product\"\n", &other("winograd4x4", "abacus")] {
        fs::write(&table, damage).unwrap();
        let again = executable(1, &options);
        assert!(largest_difference(&again.run(&input(2, 0)).unwrap(), &expected) < 1e-5);
    }
}

#[test]
fn forced_kernels_are_taken_where_they_fit() {
    for (name, kernel) in Kernel::FORCIBLE {
        assert_eq!(Kernel::named(name), Some(kernel));
        let plan = plan::Options { forced: Some(kernel), ..plan::Options::default() };
        let found = kernels(&executable(1, &RunOptions { plan, ..RunOptions::default() }));
        let fits = match kernel {
            Kernel::Product => 4,
            Kernel::Winograd(tile) if tile.taps() == 3 => 2,
            _ => 0,
        };
        assert_eq!(found.iter().filter(|&&found| found == kernel).count(), fits, "{name}: {found:?}");
    }
    assert_eq!(Kernel::named("abacus"), None);
}

/// A machine whose memory is slow for its arithmetic gains less from Winograd's larger weights.
#[test]
fn kernels_are_picked_for_the_machine() {
    let profile = |bandwidth: f64| netc::cost::Profile {
        name: "some".to_owned(),
        peak_gflops: 100.0,
        bandwidth_gbs: bandwidth,
        cores: 1,
    };
    let of = |bandwidth: f64| {
        let machine = Machine::of(&profile(bandwidth));
        let compiled =
            netc::compile_text("deep.net", "net deep { input x: [512, 14, 14]; c: conv(512, 3, pad = 1); output y }");
        let optimised = netc::opt::optimise(&compiled.as_ref().unwrap().net, &compiled.as_ref().unwrap().shapes);
        let options = plan::Options { machine, ..plan::Options::default() };
        plan::plan(&optimised, 1, &options).unwrap().steps[0].kernel
    };
    assert_ne!(of(1.0), of(100.0));
    assert_eq!(of(1.0), Kernel::Product);
}
