//! Gradients and steps of training against PyTorch's: tools/make_gradient_references.py has made the references.
#![allow(clippy::unwrap_used)]

use netc::grad::Objective;
use netc::op::loss::LossKind;
use netc::run::{LearnOptions, Learner};
use netc::train::optimiser::{Kind, Optimiser};
use netc::train::stepper::{Samples, Stepper};
use netc::weights::{Checkpoint, OpenOptions};

const CASES: [(&str, &str); 5] = [
    ("lenet5", "specs/lenet5.net"),
    ("residual_stage", "tests/gradients/residual_stage.net"),
    ("inception_module", "tests/gradients/inception_module.net"),
    ("inverted_residual", "tests/gradients/inverted_residual.net"),
    ("unet", "tests/gradients/unet.net"),
];

/// A net with what PyTorch makes of it.
struct Case {
    name: &'static str,
    compiled: netc::Compiled,
    file: Checkpoint,
    weights: Checkpoint,
}

impl Case {
    fn open((name, net): (&'static str, &str)) -> Case {
        let path = format!("tests/gradients/{name}.safetensors");
        let file = Checkpoint::open(path.as_ref(), &OpenOptions::default()).unwrap();
        let mut weights = Checkpoint::new();
        for (name, tensor) in file.iter().filter(|(name, _)| !name.starts_with("__")) {
            weights.insert(name, tensor.clone());
        }
        Case { name, compiled: netc::compile(net).unwrap(), file, weights }
    }

    fn values(&self, name: &str) -> Vec<f32> {
        self.file.get(name).unwrap_or_else(|| panic!("{}: no {name}", self.name)).to_f32().into_owned()
    }

    fn learner(&self, threads: usize) -> Learner {
        self.learner_of(threads, false)
    }

    fn learner_of(&self, threads: usize, recompute: bool) -> Learner {
        let objective = Objective { loss: LossKind::CrossEntropy, trained: &|_| true, recompute };
        let options = LearnOptions { threads, fast: true, ..LearnOptions::default() };
        Learner::new(&self.compiled.net, &self.compiled.shapes, &objective, &self.weights, &options).unwrap()
    }

    /// The losses of 20 steps, and the net after them.
    fn steps(&self, optimiser: Optimiser, threads: usize) -> (Vec<f64>, Stepper) {
        let (input, target) = (self.values("__input"), self.values("__target"));
        let batch = self.file.get("__input").unwrap().shape()[0] as usize;
        let mut stepper = Stepper::new(self.learner(threads), optimiser, 0);
        let samples = Samples { batch, inputs: &[&input], targets: &[&target] };
        let rate = stepper.optimiser().rate;
        let losses = (0..20).map(|_| stepper.step(&samples, rate).unwrap().loss).collect();
        (losses, stepper)
    }
}

fn sgd() -> Optimiser {
    Optimiser { rate: 0.05, momentum: 0.9, nesterov: true, decay: 0.01, ..Optimiser::default() }
}

/// max |a - b| / max |b|.
fn relative_error(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let worst = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    worst / b.iter().map(|b| b.abs()).fold(f32::MIN_POSITIVE, f32::max)
}

#[test]
fn gradients_are_pytorchs() {
    for case in CASES.map(Case::open) {
        let mut learner = case.learner(2);
        let (input, target) = (case.values("__input"), case.values("__target"));
        let batch = case.file.get("__input").unwrap().shape()[0] as usize;
        let gradients = learner.training().gradients.clone();
        let loss = learner.training().heads[0].loss;
        let mut pass = learner.pass(batch, &[&input, &target]).unwrap();
        let losses = pass.output(loss);
        let mean = losses.iter().sum::<f32>() / batch as f32;
        assert!((mean - case.values("__loss")[0]).abs() <= 1e-5, "{}: loss {mean}", case.name);
        let expected = case.file.iter().filter(|(name, _)| name.starts_with("__gradient.")).count();
        assert_eq!(gradients.len(), expected, "{}", case.name);
        for (name, output) in gradients {
            let error = relative_error(pass.row(output), &case.values(&format!("__gradient.{name}")));
            assert!(error <= 1e-4, "{}: the gradient of {name} is off by {error:e}", case.name);
        }
    }
}

#[test]
fn steps_are_pytorchs() {
    for case in CASES.map(Case::open) {
        let adamw = Optimiser { kind: Kind::Adamw, rate: 0.002, decay: 0.1, ..Optimiser::default() };
        for (name, optimiser) in [("__sgd", sgd()), ("__adamw", adamw)] {
            let (losses, stepper) = case.steps(optimiser, 2);
            for (step, (&loss, expected)) in losses.iter().zip(case.values(name)).enumerate() {
                let error = (loss / f64::from(expected) - 1.0).abs();
                assert!(error <= 1e-3, "{} {name}: {loss} instead of {expected} at step {step}", case.name);
            }
            for (after, tensor) in case.file.iter().filter(|_| name == "__sgd") {
                let Some(buffer) = after.strip_prefix("__after.") else { continue };
                let error = relative_error(stepper.learner().value(buffer).unwrap(), &tensor.to_f32());
                assert!(error <= 1e-3, "{}: {buffer} is off by {error:e}", case.name);
            }
        }
    }
}

/// Parts of a batch count by their samples.
#[test]
fn parts_of_a_batch_make_its_step() {
    let case = Case::open(CASES[0]);
    let (input, target) = (case.values("__input"), case.values("__target"));
    let (floats, classes) = (input.len() / 5, target.len() / 5);
    let after = |cuts: &[usize]| {
        let mut stepper = Stepper::new(case.learner(2), sgd(), 0);
        let mut first = 0;
        for &end in cuts {
            let inputs = [&input[first * floats..end * floats]];
            let targets = [&target[first * classes..end * classes]];
            let part = Samples { batch: end - first, inputs: &inputs, targets: &targets };
            if end < 5 {
                stepper.gather(&part).unwrap()
            } else {
                stepper.step(&part, 0.05).unwrap()
            };
            first = end;
        }
        stepper.learner().value("conv1.weight").unwrap().to_vec()
    };
    let whole = after(&[5]);
    for cuts in [&[3, 5][..], &[1, 2, 5]] {
        assert!(relative_error(&after(cuts), &whole) <= 1e-6, "{cuts:?}");
    }
}

/// The same seed gives the same bits.
#[test]
fn steps_do_not_depend_on_threads() {
    for case in CASES.map(Case::open) {
        let bits = |threads| {
            let (losses, stepper) = case.steps(sgd(), threads);
            let checkpoint = stepper.learner().checkpoint();
            let weights = checkpoint.iter().flat_map(|(_, tensor)| tensor.to_f32().into_owned());
            (
                losses.iter().map(|loss| loss.to_bits()).collect::<Vec<_>>(),
                weights.map(f32::to_bits).collect::<Vec<_>>(),
            )
        };
        let one = bits(1);
        assert!([2, 3, 8].into_iter().all(|threads| bits(threads) == one), "{}", case.name);
    }
}

/// What is computed again is the same, bit for bit.
#[test]
fn gradients_do_not_depend_on_what_is_kept() {
    for case in CASES.map(Case::open) {
        let (input, target) = (case.values("__input"), case.values("__target"));
        let batch = case.file.get("__input").unwrap().shape()[0] as usize;
        let bits = |recompute| {
            let mut learner = case.learner_of(2, recompute);
            let gradients = learner.training().gradients.clone();
            let pass = learner.pass(batch, &[&input, &target]).unwrap();
            let values = gradients.iter().flat_map(|(_, output)| pass.row(*output).to_vec());
            values.map(f32::to_bits).collect::<Vec<_>>()
        };
        assert_eq!(bits(false), bits(true), "{}", case.name);
    }
}
