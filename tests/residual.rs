//! A residual block whose last batch norm has the scale zero is the identity: nothing of its branch gets through, forward or
//! back.
#![allow(clippy::unwrap_used)]

use netc::Settings;
use netc::grad::Objective;
use netc::op::loss::LossKind;
use netc::run::{LearnOptions, Learner};
use netc::weights::{Checkpoint, Scheme, StoredTensor, init};

/// Random weights and running statistics, with the scale and shift of the last batch norm of `block` zero.
fn weights(compiled: &netc::Compiled, block: &str, last: &str) -> Checkpoint {
    let drawn = init(&compiled.init_specs(), Scheme::He, 3).unwrap();
    let mut weights = Checkpoint::new();
    for (at, (name, tensor)) in drawn.iter().enumerate() {
        let count = tensor.to_f32().len();
        let some = |low: f32| (0..count).map(|i| low + ((i * 37 + at * 11) % 64) as f32 / 64.0).collect();
        let values: Vec<f32> = match name {
            name if name.starts_with(&format!("{block}.{last}.")) && !name.contains("running") => vec![0.0; count],
            name if name.ends_with("running_var") => some(0.5),
            name if name.ends_with("running_mean") => some(-0.5),
            _ => {
                weights.insert(name, tensor.clone());
                continue;
            }
        };
        weights.insert(name, StoredTensor::from_f32(tensor.shape().to_vec(), values).unwrap());
    }
    weights
}

fn input() -> Vec<f32> {
    (0..2 * 16 * 7 * 6).map(|i: usize| ((i * 7919) % 613) as f32 / 300.0 - 1.0).collect()
}

fn compile(net: &str, set: &str) -> netc::Compiled {
    let settings = Settings { set: vec![set.to_owned()], ..Settings::default() };
    netc::compile_with(format!("tests/residual/{net}.net"), &settings).unwrap()
}

/// Behind a ReLU, so that the one at the end of the block changes nothing either.
#[test]
fn is_the_identity_to_the_last_bit() {
    for (wide, last) in [("wide=false", "bn2"), ("wide=true", "bn3")] {
        let compiled = compile("block", wide);
        let executable = compiled.plan(&weights(&compiled, "b", last)).unwrap();
        let input = ndarray::ArrayD::from_shape_vec(vec![2, 16, 7, 6], input()).unwrap();
        let outputs = executable.run_all(&[input.view()]).unwrap();
        assert_eq!(outputs[0], outputs[1], "{wide}");
        assert!(outputs[0].iter().any(|&x| x != 0.0));
    }
}

/// The loss of a net with a block of this kind, whose last batch norm this is, and the gradients of its parameters.
fn learn(kind: &str, last: &str) -> (Vec<f32>, Vec<(String, Vec<f32>)>) {
    let compiled = compile("net", &format!("kind=\"{kind}\""));
    let objective = Objective { loss: LossKind::CrossEntropy, trained: &|_| true, recompute: false };
    let options = LearnOptions { threads: 2, ..LearnOptions::default() };
    let weights = weights(&compiled, "b", last);
    let mut learner = Learner::new(&compiled.net, &compiled.shapes, &objective, &weights, &options).unwrap();
    let gradients = learner.training().gradients.clone();
    let loss = learner.training().heads[0].loss;
    let target: Vec<f32> = (0..10).map(|i| if i % 5 == i / 5 { 1.0 } else { 0.0 }).collect();
    let mut pass = learner.pass(2, &[&input(), &target]).unwrap();
    let loss = pass.output(loss);
    (loss, gradients.iter().map(|(name, at)| (name.clone(), pass.row(*at).to_vec())).collect())
}

/// In training, where batch norms take the statistics of the batch, the net with the block has the loss and the gradients
/// in front of it that the net without it has, to the last bit; in the block only the zero scale and shift have some.
#[test]
fn lets_gradients_through_as_they_are() {
    for (kind, last) in [("basic", "bn2"), ("bottleneck", "bn3")] {
        let ((loss, without), (same, with)) = (learn("none", last), learn(kind, last));
        assert_eq!(loss, same, "{kind}");
        let (inside, outside): (Vec<_>, Vec<_>) = with.into_iter().partition(|(name, _)| name.starts_with("b."));
        assert_eq!(outside, without, "{kind}");
        for (name, gradient) in inside {
            let is_last = name.starts_with(&format!("b.{last}."));
            assert_eq!(gradient.iter().any(|&x| x != 0.0), is_last, "{kind}: {name}");
        }
    }
}
