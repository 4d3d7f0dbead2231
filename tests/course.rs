//! What docs/course.md claims and no single command shows.
#![allow(clippy::unwrap_used)]

use ndarray::{Array2, Array4, ArrayD, IxDyn};
use netc::weights::{Checkpoint, Scheme, StoredTensor, init};
use netc::{Compiled, FileLoader, Settings};

/// A net that stands beside the shipped ones, so that it can import their blocks.
fn beside_specs(text: &str) -> Compiled {
    let checked = netc::check("specs/here.net", text.as_bytes().to_vec(), &FileLoader, &Settings::default());
    assert!(checked.diagnostics.is_empty(), "{:?}", checked.diagnostics);
    checked.compiled.unwrap()
}

/// Numbers between -0.5 and 0.5.
fn some_values(shape: &[usize]) -> ArrayD<f32> {
    let count = shape.iter().product();
    let values = (0..count).map(|i: usize| (i * 7919 % 101) as f32 / 101.0 - 0.5).collect();
    ArrayD::from_shape_vec(IxDyn(shape), values).unwrap()
}

#[test]
fn a_1x1_is_linear_at_each_pixel() {
    let conv = beside_specs("net here { input x: [5, 4, 3]; mix: conv(7, 1); output y }");
    let linear = beside_specs("net here { input x: [5]; mix: linear(7); output y }");
    let weights = init(&linear.init_specs(), Scheme::He, 1).unwrap();
    let mut as_kernel = Checkpoint::new();
    for (name, tensor) in weights.iter() {
        let shape = if name == "mix.weight" { vec![7, 5, 1, 1] } else { vec![7] };
        as_kernel.insert(name, StoredTensor::from_f32(shape, tensor.to_f32().into_owned()).unwrap());
    }

    let image = some_values(&[1, 5, 4, 3]);
    let convolved = conv.plan(&as_kernel).unwrap().run(&image).unwrap();
    let image: Array4<f32> = image.into_dimensionality().unwrap();
    let pixels = Array2::from_shape_fn((12, 5), |(pixel, c)| image[[0, c, pixel / 3, pixel % 3]]).into_dyn();
    let mapped = linear.plan(&weights).unwrap().run(&pixels).unwrap();
    for pixel in 0..12 {
        for c in 0..7 {
            let (a, b) = (convolved[[0, c, pixel / 3, pixel % 3]], mapped[[pixel, c]]);
            // Six terms of magnitude below one, summed in any order.
            assert!((a - b).abs() < 6.0 * f32::EPSILON, "{a} and {b} at pixel {pixel}, channel {c}");
        }
    }
}

#[test]
fn a_block_with_a_zero_scale_is_the_identity() {
    let compiled = beside_specs(
        "import \"blocks/basic_block.net\"
         import \"blocks/residual.net\"
         net here { input x: [16, 8, 8]; relu; layer1: stage(3, basic_block, 16); output y }",
    );
    let mut weights = Checkpoint::new();
    for (name, tensor) in init(&compiled.init_specs(), Scheme::He, 1).unwrap().iter() {
        let zeros = StoredTensor::from_f32(vec![16], vec![0.0; 16]).unwrap();
        weights.insert(name, if name.ends_with("bn2.weight") { zeros } else { tensor.clone() });
    }
    let x = some_values(&[2, 16, 8, 8]);
    let y = compiled.plan(&weights).unwrap().run(&x).unwrap();
    assert_eq!(y, x.mapv(|value| value.max(0.0)));
}

#[test]
fn both_forms_of_resnet50_have_the_same_parameters() {
    let parameters = |name: &str| {
        let compiled = netc::compile(format!("specs/{name}.net")).unwrap();
        let weights = init(&compiled.init_specs(), Scheme::He, 1).unwrap();
        weights.iter().map(|(name, tensor)| (name.to_owned(), tensor.shape().to_vec())).collect::<Vec<_>>()
    };
    assert_eq!(parameters("resnet50"), parameters("resnet50_paper"));
}

/// The drawing of a digit, seen as F6's values, is nearest to itself.
#[test]
fn lenet5_of_1998_scores_the_nearest_drawing_highest() {
    let compiled = beside_specs(
        "import \"blocks/digits.net\"
         net here { input f6: [84]; distance_to_digits; affine(-1.0); output scores }",
    );
    let codes = compiled.net.nodes().find_map(|id| {
        if let netc::op::Op::Rbf(rbf) = &compiled.net.node(id).op { Some(rbf.codes.clone()) } else { None }
    });
    let codes = Array2::from_shape_vec((10, 84), codes.unwrap().concat()).unwrap().mapv(|bit| bit as f32);
    let scores = compiled.plan(&Checkpoint::new()).unwrap().run(&codes.into_dyn()).unwrap();
    for digit in 0..10 {
        for other in (0..10).filter(|&other| other != digit) {
            // Each cell in which two drawings differ is 2 apart.
            assert_eq!(scores[[digit, other]], scores[[other, digit]]);
            assert!(scores[[digit, other]] <= -4.0 * 12.0);
        }
        assert_eq!(scores[[digit, digit]], 0.0);
    }
}
