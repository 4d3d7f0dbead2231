use super::*;
use crate::compile_text;
use crate::op::gradient::Differentiated;

const STAGE: &str = "net stage {
  input x: [4, 8, 8]
  repeat 6 { conv(4, 3, pad = 1); bn; relu }
  from prev { avgpool(global); flatten; linear(3); output aux: train weight 0.3 }
  dropout(0.5)
  avgpool(global)
  flatten
  fc: linear(3)
  output logits
}";

fn training(text: &str, trained: &dyn Fn(&str) -> bool, recompute: bool) -> Result<Training, GradError> {
    let compiled = compile_text("a.net", text).unwrap();
    let objective = Objective { loss: LossKind::CrossEntropy, trained, recompute };
    differentiate(&compiled.net, &compiled.shapes, &objective)
}

fn count(training: &Training, of: impl Fn(&Op) -> bool) -> usize {
    let net = &training.graph.net;
    net.nodes().filter(|&id| of(&net.node(id).op)).count()
}

#[test]
fn every_trained_parameter_has_a_gradient_and_every_head_a_loss() {
    let found = training(STAGE, &|_| true, false).unwrap();
    assert_eq!(found.gradients.len(), 6 * 4 + 4);
    let heads: Vec<_> = found.heads.iter().map(|head| (head.name.as_str(), head.weight)).collect();
    assert_eq!(heads, [("aux", 0.3), ("logits", 1.0)]);
    assert_eq!((found.inputs, found.masks.len(), found.statistics.len()), (1, 1, 6));
    assert_eq!(found.graph.net.inputs.len(), 1 + 1 + 2);
}

#[test]
fn what_is_frozen_costs_nothing() {
    let found = training(STAGE, &|name| name.starts_with("fc."), false).unwrap();
    assert_eq!(found.gradients.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["fc.weight", "fc.bias"]);
    let gradients = |op: &Op| matches!(op, Op::Gradient(gradient) if !matches!(gradient.of, Differentiated::Loss(_)));
    assert_eq!(count(&found, gradients), 1);
    // Frozen batch norms stay in the form of inference and join the convolutions in front of them.
    assert_eq!(count(&found, |op| matches!(op, Op::Normalise(_) | Op::BatchNorm(_))), 0);
    assert!(matches!(training(STAGE, &|_| false, false), Err(GradError::NothingTrained { .. })));
}

#[test]
fn batch_norms_that_are_trained_are_not_folded() {
    let found = training(STAGE, &|name| name.contains("bn"), false).unwrap();
    assert_eq!(count(&found, |op| matches!(op, Op::Normalise(_))), 6);
    assert_eq!(found.gradients.len(), 12);
    let found = training(STAGE, &|name| name.contains("conv"), false).unwrap();
    assert_eq!(count(&found, |op| matches!(op, Op::BatchNorm(_))), 6);
}

#[test]
fn a_softmax_at_the_end_is_the_loss_own() {
    let text = "net a { input x: [4]; linear(3); softmax; output p }";
    let found = training(text, &|_| true, false).unwrap();
    assert_eq!(count(&found, |op| matches!(op, Op::Softmax(_))), 0);
}

#[test]
fn stretches_are_computed_again_and_need_less_memory() {
    let plan = |recompute| {
        let found = training(STAGE, &|_| true, recompute).unwrap();
        let options = crate::plan::Options { as_made: true, ..Default::default() };
        (crate::plan::plan(&found.graph, 8, &options).unwrap().arena, count(&found, |op| matches!(op, Op::Conv(_))))
    };
    let ((kept, convolutions), (again, computed)) = (plan(false), plan(true));
    assert_eq!(convolutions, 6);
    assert!((8..=12).contains(&computed) && again * 10 < kept * 8, "{computed} convolutions, {again} of {kept}");
}

#[test]
fn sizes_must_be_known() {
    let text = "net a { input x: [3, H, W]; concat(x, x, axis = 1); conv(2, 3); avgpool(global); flatten; linear(2); output y }";
    assert!(matches!(training(text, &|_| true, false), Err(GradError::UnknownSize { .. })));
}

#[test]
fn a_net_is_split_where_one_value_joins_what_is_frozen_to_the_rest() {
    let text = "net a {
      input x: [4, 8, 8]
      stem: conv(8, 3, pad = 1)
      add { { c: conv(8, 3, pad = 1); b: bn }; identity }
      join: relu
      concat { d: conv(3, 1); e: conv(5, 1) }
      avgpool(global)
      flatten
      dropout(0.5)
      fc: linear(3)
      output y
    }";
    let compiled = compile_text("a.net", text).unwrap();
    let at = |trained: &dyn Fn(&str) -> bool| {
        let parts = parts::split(&compiled.net, &compiled.shapes, trained)?;
        for (net, shapes) in [&parts.front, &parts.back] {
            assert_eq!(crate::ir::verify(net), Ok(()));
            assert_eq!((net.inputs.len(), net.outputs.len()), (1, 1));
            assert!(shapes.of(net.outputs[0].value).as_known().is_some());
        }
        let names = |(net, shapes): &(Net, Shapes)| crate::weights::parameters(net, shapes).len();
        assert_eq!(
            names(&parts.front) + names(&parts.back),
            crate::weights::parameters(&compiled.net, &compiled.shapes).len()
        );
        Some(parts.at)
    };
    let of = |leaf: &'static str| at(&move |name: &str| name.starts_with(leaf));
    // Dropout draws anew, so the value in front of it is the last one.
    assert_eq!(of("fc").as_deref(), Some("flatten1"));
    assert_eq!(of("e").as_deref(), Some("join"));
    assert_eq!(of("b.").as_deref(), Some("stem"));
    assert_eq!(of("stem"), None);
    assert_eq!(at(&|_| true), None);
}
