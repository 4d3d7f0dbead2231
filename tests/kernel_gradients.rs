//! The kernels of gradients against what they mean: the graph of a pass on every instruction set against the plain loops of
//! its operators.
#![allow(clippy::unwrap_used)]

mod common;

use common::{LAYER, graph_by_plain_loops, some_values, stored};
use ndarray::ArrayD;
use netc::grad::Objective;
use netc::kernel::isa::Isa;
use netc::op::loss::LossKind;
use netc::opt::Source;
use netc::plan::Kernel;
use netc::run::{LearnOptions, Learner};
use netc::weights::{Scheme, init};
use proptest::prelude::*;

/// The gradients of all parameters of a net with this body, by kernels and by plain loops; gives the kernels of the steps.
///
/// A gradient sums over every pixel of the batch, and what reaches it has passed the layers up to the loss and back: four
/// times the bound of a layer.
fn check(body: &str, batch: usize, fast: bool) -> Vec<Kernel> {
    let compiled = netc::compile_text("random.net", &format!("net random {{\n{body}\noutput y\n}}")).unwrap();
    let weights = init(&compiled.init_specs(), Scheme::He, 5).unwrap();
    let objective = Objective { loss: LossKind::SquaredError, trained: &|_| true, recompute: false };
    let mut kernels = Vec::new();
    for isa in Isa::all() {
        let options = LearnOptions { threads: 2, instructions: Some(isa), fast };
        let mut learner = Learner::new(&compiled.net, &compiled.shapes, &objective, &weights, &options).unwrap();
        let graph = learner.training().graph.clone();
        let inputs: Vec<ArrayD<f32>> = (0..)
            .zip(&graph.net.inputs)
            .map(|(at, &id)| {
                let sizes = graph.shapes.of(id.into()).as_known().unwrap();
                some_values(&std::iter::once(batch).chain(sizes).collect::<Vec<_>>(), at)
            })
            .collect();
        let params = |id| {
            let of = |source: &Source| match source {
                Source::Stored { name, spec } => stored(&weights, name, spec),
                other => panic!("{other:?} in a net whose parameters are all trained"),
            };
            graph.params.get(&id).into_iter().flatten().map(of).collect()
        };
        let values = graph_by_plain_loops(&graph.net, &graph.shapes, params, &inputs, |_| {});
        let gradients = learner.training().gradients.clone();
        kernels = learner.plan(batch).unwrap().steps.iter().map(|step| step.kernel).collect();
        let expected = |output: usize| &values[&graph.net.outputs[output].value];
        // What a batch norm takes has gradients that cancel, so those of the whole net are the measure.
        let all = gradients.iter().flat_map(|(_, output)| expected(*output));
        let largest = all.map(|x| x.abs()).fold(f32::MIN_POSITIVE, f32::max);
        let inputs: Vec<&[f32]> = inputs.iter().map(|input| input.as_slice().unwrap()).collect();
        // A second pass meets memory that has been used.
        for _ in 0..2 {
            let pass = learner.pass(batch, &inputs).unwrap();
            for (name, output) in &gradients {
                let expected = expected(*output);
                let worst = pass.row(*output).iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                let error = worst / largest;
                assert!(error <= 4.0 * LAYER, "{name} with {}: relative error {error:e} of\n{body}", isa.name());
            }
        }
    }
    kernels
}

/// A layer with something trained in front of it, so that it has a gradient for its operand too.
fn behind_a_layer(sizes: [usize; 3], layer: &str) -> String {
    format!("input x: {sizes:?}\nfront: scale\n{layer}")
}

#[test]
fn layers_have_kernels_for_their_gradients() {
    for (sizes, layer) in [
        ([7, 5, 6], "lrn"),
        ([24, 3, 4], "lrn(3, beta = 0.5, k = 2.0, alpha = 0.2)"),
        ([5, 2, 3], "lrn(100, alpha = 3.0)"),
        ([1, 3, 3], "lrn(1)"),
        ([6, 4, 5], "b: bn"),
        ([19, 4, 5], "b: bn\nrelu"),
        ([16, 4, 5], "c: conv(9, 3, pad = 1, bias = false)\nb: bn(affine = false)\nrelu6"),
        ([6, 4, 5], "c: conv_transpose(9, 2, stride = 2)"),
        ([16, 4, 5], "c: conv_transpose(8, 3, stride = 2, pad = 1, output_pad = 1, bias = false)\nrelu"),
        ([6, 4, 5], "c: conv_transpose(9, 2, stride = 1, dilation = 3, groups = 3)"),
        ([19, 4, 5], "b: bn\nclip(-0.4, 0.7)"),
        ([6, 4, 5], "clip(max = 0.3)"),
        ([6, 4, 5], "silu"),
        ([6, 4, 5], "silu(1.702)"),
        ([6, 4, 5], "hard_sigmoid(0.731, 0.412)"),
        ([6, 4, 5], "mish"),
        ([6, 4, 5], "softplus(2)"),
        ([6, 4, 5], "abs"),
        ([6, 4, 5], "tanh"),
        ([6, 6, 5], "pad_shortcut(9, stride = 2)"),
        ([6, 4, 5], "avgpool(global)"),
        ([6, 8, 7], "avgpool([3, 2], dilation = [2, 3], pad = 1, stride = 1, count_pad = false)"),
        ([6, 4, 5], "maxpool(global)"),
        ([6, 4, 5], "flatten\nf: linear(9)"),
        ([6, 4, 5], "flatten\nf: linear(17, bias = false)"),
        ([6, 4, 5], "concat { { c: conv(3, 1) }; identity; { d: conv(5, 3, pad = 1); relu } }"),
        ([16, 6, 6], "add { { c: conv(16, 3, pad = 1); d: bn }; identity }\nrelu"),
    ] {
        let kernels = check(&behind_a_layer(sizes, layer), 3, false);
        let plain = kernels.iter().filter(|&&kernel| kernel == Kernel::Plain).count();
        // The front scale and the loss are computed by their plain loops; a transposed convolution is, forward.
        assert!(plain <= if layer.contains("transpose") { 4 } else { 3 }, "{layer}: {kernels:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn convolutions((sizes, layers) in common::convolutions(), batch in 1usize..4, fast: bool) {
        check(&behind_a_layer(sizes, &layers), batch, fast);
    }

    #[test]
    fn winograd(
        channels in (2usize..6, 2usize..6),
        sizes in (1usize..14, 1usize..14),
        pad in prop::array::uniform4(0usize..3),
        batch in 1usize..4,
    ) {
        prop_assume!(3 <= sizes.0 + pad[0] + pad[2] && 3 <= sizes.1 + pad[1] + pad[3]);
        let layer = format!("c: conv({}, 3, pad = {pad:?})\nrelu", channels.1 * 8);
        check(&behind_a_layer([channels.0 * 8, sizes.0, sizes.1], &layer), batch, true);
    }

    #[test]
    fn windows_and_single_channels((sizes, layers) in common::windows(), batch in 1usize..3) {
        check(&behind_a_layer(sizes, &layers), batch, false);
    }
}
