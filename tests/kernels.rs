//! What is executed against what operators mean: plans on every kernel against the operators' plain loops, node by node.
#![allow(clippy::unwrap_used)]

mod common;

use common::{LAYER, by_plain_loops, some_values};
use ndarray::ArrayD;
use netc::kernel::isa::Isa;
use netc::kernel::winograd::Tile;
use netc::plan::{self, Kernel};
use netc::weights::{Scheme, init};
use netc::{Compiled, RunOptions, Settings};
use proptest::prelude::*;

/// max |a - b| / max |b|.
fn relative_error(a: &ArrayD<f32>, b: &ArrayD<f32>) -> f32 {
    assert_eq!(a.shape(), b.shape());
    let worst = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    worst / b.iter().map(|b| b.abs()).fold(f32::MIN_POSITIVE, f32::max)
}

/// Runs a net both ways, with every instruction set of this machine; gives the kernels of its steps.
fn check(compiled: &Compiled, batch: usize, options: &plan::Options, bound: f32) -> Vec<Kernel> {
    let weights = init(&compiled.init_specs(), Scheme::He, 5).unwrap();
    let sizes = compiled.shapes.of(compiled.net.inputs[0].into()).as_known().unwrap();
    let input = some_values(&std::iter::once(batch).chain(sizes).collect::<Vec<_>>(), 0);
    let expected = by_plain_loops(compiled, &weights, std::slice::from_ref(&input), |_| ());
    let mut kernels = Vec::new();
    for isa in Isa::all() {
        let options =
            RunOptions { threads: 2, instructions: Some(isa), plan: options.clone(), ..RunOptions::default() };
        let executable = compiled.plan_with(&weights, &options).unwrap();
        // A second run meets memory that has been used.
        for _ in 0..2 {
            for (result, expected) in executable.run_all(&[input.view()]).unwrap().iter().zip(&expected) {
                let error = relative_error(result, expected);
                assert!(error <= bound, "{} with {}: relative error {error:e}", compiled.net.name, isa.name());
            }
        }
        kernels = executable.plan(batch).unwrap().steps.iter().map(|step| step.kernel).collect();
    }
    kernels
}

fn forced(kernel: Kernel) -> plan::Options {
    plan::Options { forced: Some(kernel), ..plan::Options::default() }
}

fn exact(exact: bool) -> plan::Options {
    plan::Options { exact, ..plan::Options::default() }
}

fn net(body: &str) -> Compiled {
    netc::compile_text("random.net", &format!("net random {{\n{body}\n}}")).unwrap()
}

fn on_input(sizes: [usize; 3], layers: &str) -> Compiled {
    net(&format!("input x: {sizes:?}\n{layers}\noutput y"))
}

#[test]
fn every_kernel_of_a_convolution_is_met() {
    let of = |body: &str, is_exact| check(&net(&format!("{body}\noutput y")), 2, &exact(is_exact), LAYER)[0];
    let input = "input x: [32, 13, 11]";
    assert_eq!(of(&format!("{input}\nc: conv(40, 3, pad = 1)"), false), Kernel::Winograd(Tile::F4x3));
    assert_eq!(of(&format!("{input}\nc: conv(40, 3, pad = 1)"), true), Kernel::Product);
    assert_eq!(of(&format!("{input}\nc: conv(20, 3, stride = 2, pad = 1)"), false), Kernel::Product);
    assert_eq!(of(&format!("{input}\nd: depthwise(3, pad = 1)"), false), Kernel::Depthwise);
    assert_eq!(of("input x: [3, 20, 21]\nc: conv(17, 7, stride = 2, pad = 3)", false), Kernel::JoinedProduct);
    assert_eq!(of("input x: [48, 12, 13]\nc: conv(24, 5, pad = 2)", false), Kernel::Winograd(Tile::F2x5));
    assert_eq!(of("input x: [256, 7, 7]\nc: conv(256, 3, pad = 1)", false), Kernel::Winograd(Tile::F2x3));
}

#[test]
fn fused_layers_are_what_they_were() {
    let residual =
        "input x: [32, 9, 9]\nadd { { a: conv(32, 3, pad = 1); relu; b: conv(32, 3, pad = 1) }; identity }\nrelu\n";
    for (body, is_exact) in [
        (format!("{residual}output y"), false),
        (format!("{residual}output y"), true),
        (format!("{residual}c: conv(5, 1)\nadd(prev, c)\nsilu\noutput y"), false),
        (format!("{residual}c: conv(5, 1)\nadd(prev, c)\nclip(-2, 3)\noutput y"), false),
        // Bounds that zero is not between, in front of a 1x1 convolution and behind others.
        ("input x: [24, 7, 5]\nb: bn\nclip(0.2, 0.5)\nc: conv(20, 1)\nclip(max = -0.1)\noutput y".to_owned(), false),
        ("input x: [32, 9, 9]\na: conv(32, 3, pad = 1)\nclip(min = 0.1)\nd: depthwise(3, pad = 1)\nmish\noutput y".to_owned(), false),
        // The value that is added is the convolution's own input.
        ("input x: [16, 6, 6]\nrelu\nadd { c: conv(16, 3, pad = 1); identity }\noutput y".to_owned(), false),
        // Batch norm and relu in front of a 1x1 convolution, on part of a concatenation.
        (
            "input x: [24, 7, 5]\nconcat { identity; a: conv(8, 3, pad = 1) }\nb: bn\nrelu\nc: conv(20, 1)\nrelu6\noutput y"
                .to_owned(),
            false,
        ),
        // Parts of a concatenation in their places, one of them used elsewhere, one twice.
        (
            "input x: [16, 6, 6]\na: conv(8, 1)\nb: from a { conv(8, 3, pad = 1); relu }\nconcat(a, b, a)\nmaxpool(2)\n\
             c: conv(4, 1)\noutput y\noutput z = a"
                .to_owned(),
            false,
        ),
        ("input x: [12, 6, 5]\nlrn\navgpool(global)\nflatten\nf: linear(7)\ntanh\nsoftmax\noutput y".to_owned(), false),
        (
            "input x: [12, 9, 8]\navgpool([3, 2], dilation = [2, 3], pad = 1, stride = 1)\n\
             avgpool(3, dilation = 2, stride = 2, pad = 2, count_pad = false, ceil = true)\noutput y"
                .to_owned(),
            false,
        ),
        ("input x: [3, 6, 5]\nflatten\nf: linear(9)\nrelu\nreshape([9, 1, 1])\ns: scale\noutput y".to_owned(), false),
        ("input x: [10, 6, 6]\na, b: split(2)\nsub(a, b)\nchannel_shuffle(5)\nupsample(2)\npad(1)\noutput y".to_owned(), false),
    ] {
        let body = body.replace("c: conv(5, 1)\nadd(prev, c)", "c: conv(32, 1)\nadd(prev, c)");
        check(&net(&body), 3, &exact(is_exact), LAYER);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn convolutions((sizes, layers) in common::convolutions(), batch in 1usize..4, is_exact: bool) {
        check(&on_input(sizes, &layers), batch, &exact(is_exact), LAYER);
    }

    /// Whole tiles of Winograd's and cut ones.
    #[test]
    fn winograd(
        channels in (4usize..9, 1usize..6),
        sizes in (1usize..20, 1usize..20),
        pad in prop::array::uniform4(0usize..3),
        batch in 1usize..4,
        tile in prop::sample::select(&Tile::ALL[..]),
    ) {
        let taps = tile.taps();
        prop_assume!(taps <= sizes.0 + pad[0] + pad[2] && taps <= sizes.1 + pad[1] + pad[3]);
        let body = format!(
            "input x: [{}, {}, {}]\nc: conv({}, {taps}, pad = {pad:?})\nrelu\noutput y",
            channels.0 * 8, sizes.0, sizes.1, channels.1 * 8,
        );
        check(&net(&body), batch, &forced(Kernel::Winograd(tile)), LAYER);
    }

    #[test]
    fn windows_and_single_channels((sizes, layers) in common::windows(), batch in 1usize..3) {
        check(&on_input(sizes, &layers), batch, &plan::Options::default(), LAYER);
    }
}

/// Whole nets, on small inputs where they take any. 2e-5 for a net of many layers. Half a minute: the plain loops sum in
/// double precision and are not optimised.
#[test]
fn specs_are_their_operators() {
    for (spec, shape) in [
        ("lenet5", None),
        ("lenet5_1998", None),
        ("cifar_resnet20", Some([3, 16, 16])),
        ("mobilenet_v2", Some([3, 32, 32])),
        ("googlenet", Some([3, 32, 32])),
        ("unet", Some([3, 16, 16])),
    ] {
        let settings = Settings { shape: shape.map(|sizes| sizes.to_vec()), ..Settings::default() };
        let compiled = netc::compile_with(format!("specs/{spec}.net"), &settings).unwrap();
        check(&compiled, 1, &plan::Options::default(), 2e-5);
    }
}
