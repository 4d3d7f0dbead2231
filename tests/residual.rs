//! A residual block whose last batch norm has the scale zero is the identity in training too: nothing of its branch gets
//! through, forward or back.
#![allow(clippy::unwrap_used)]

use netc::Settings;
use netc::grad::Objective;
use netc::op::loss::LossKind;
use netc::run::{LearnOptions, Learner};
use netc::weights::{Checkpoint, Scheme, StoredTensor, init};

/// Random weights, with the scale of the block's last batch norm zero.
fn weights(compiled: &netc::Compiled, last: &str) -> Checkpoint {
    let mut weights = Checkpoint::new();
    for (name, tensor) in init(&compiled.init_specs(), Scheme::He, 3).unwrap().iter() {
        let zeros = StoredTensor::from_f32(tensor.shape().to_vec(), vec![0.0; tensor.len()]).unwrap();
        weights.insert(name, if name == format!("b.{last}.weight") { zeros } else { tensor.clone() });
    }
    weights
}

fn input() -> Vec<f32> {
    (0..2 * 16 * 7 * 6).map(|i: usize| ((i * 7919) % 613) as f32 / 300.0 - 1.0).collect()
}

/// The loss of a net with a block of this kind, whose last batch norm this is, and the gradients of its parameters.
fn learn(kind: &str, last: &str) -> (Vec<f32>, Vec<(String, Vec<f32>)>) {
    let settings = Settings { set: vec![format!("kind=\"{kind}\"")], ..Settings::default() };
    let compiled = netc::compile_with("tests/residual/net.net", &settings).unwrap();
    let objective = Objective { loss: LossKind::CrossEntropy, trained: &|_| true, recompute: false };
    let options = LearnOptions { threads: 2, ..LearnOptions::default() };
    let weights = weights(&compiled, last);
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
