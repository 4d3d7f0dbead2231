//! Receptive fields of nets against published figures and figures by hand.

use netc::cost::{Field, Report};

use super::{net, report, spec};

fn field(report: &Report, path: &str) -> [Field; 2] {
    report.layers.iter().find(|layer| layer.path == path).unwrap_or_else(|| panic!("no layer `{path}`")).field
}

fn window(extent: u64, stride: (u64, u64)) -> Field {
    Field::Window { extent, stride }
}

fn square(extent: u64, stride: u64) -> [Field; 2] {
    [window(extent, (stride, 1)); 2]
}

/// Araujo, Norris & Sim 2019, "Computing receptive fields of convolutional neural networks": AlexNet 195, VGG-16 212,
/// ResNet-50 and -101 and -152 of the paper 483, 1027, 1507.
#[test]
fn published_figures() {
    let last = |name: &str| {
        let report = report(&spec(name));
        let mut windows = report.layers.iter().filter(|layer| matches!(layer.field[0], Field::Window { .. }));
        windows.next_back().unwrap().field
    };
    assert_eq!(last("alexnet"), square(195, 32));
    assert_eq!(last("vgg16"), square(212, 32));
    assert_eq!(last("resnet50_paper"), square(483, 32));
}

#[test]
fn the_larger_branch_counts() {
    let report = report(&net("input x: [4, 32, 32]
         sum: add { { a: conv(4, 3, pad = 1); b: conv(4, [3, 1], pad = [1, 0]) }; c: conv(4, 5, pad = 2) }
         shifted: conv(4, 3, pad = [0, 0, 2, 2])
         wide: concat { { left: conv(2, [1, 5], pad = [0, 4, 0, 0]) }; { right: conv(2, [1, 3], pad = [0, 0, 0, 2]) } }
         output y"));
    assert_eq!(field(&report, "sum"), square(5, 1));
    assert_eq!(field(&report, "sum.b"), [window(5, (1, 1)), window(3, (1, 1))]);
    assert_eq!(field(&report, "shifted"), square(7, 1));
    // One branch sees four positions to the left, the other two to the right: together seven.
    assert_eq!(field(&report, "wide"), [window(7, (1, 1)), window(13, (1, 1))]);
}

#[test]
fn steps_multiply_and_upsampling_divides() {
    let report = report(&net("input x: [4, 33, 48]
         a: conv(4, 3, stride = 2, pad = 1)
         b: conv(4, 3, stride = [1, 3], pad = 1, dilation = [2, 1])
         up: conv_transpose(4, 2, stride = 2)
         half: upsample(2)
         output y"));
    assert_eq!(field(&report, "a"), square(3, 2));
    assert_eq!(field(&report, "b"), [window(11, (2, 1)), window(7, (6, 1))]);
    assert_eq!(field(&report, "up"), [window(11, (1, 1)), window(7, (3, 1))]);
    assert_eq!(field(&report, "half"), [window(11, (1, 2)), window(7, (3, 2))]);
}

#[test]
fn a_decoder_sees_the_bottom_and_the_skip() {
    let report = report(&net("input x: [4, 32, 32]
         top: conv(4, 3, pad = 1)
         maxpool(2)
         mid: conv(4, 3, pad = 1)
         up: conv_transpose(4, 2, stride = 2)
         both: concat(top, prev)
         out: conv(4, 3, pad = 1)
         output y"));
    assert_eq!(field(&report, "mid"), square(8, 2));
    assert_eq!(field(&report, "both"), square(8, 1));
    // Three columns of the doubled map are two of the lower one: two more input columns.
    assert_eq!(field(&report, "out"), square(10, 1));
}

#[test]
fn global_pooling_gates_and_vectors_see_everything() {
    let report = report(&net("input x: [4, 16, 16]
         body: conv(4, 3, pad = 1)
         gate: from body { avgpool(global); squeeze: conv(2, 1); relu; excite: conv(4, 1); sigmoid }
         mul(body, gate)
         flatten
         fc: linear(3)
         output y"));
    assert_eq!(field(&report, "body"), square(3, 1));
    for path in ["gate.excite", "mul1", "fc"] {
        assert_eq!(field(&report, path), [Field::Whole; 2], "{path}");
    }
}

#[test]
fn paths_of_different_steps_have_no_one_field() {
    let report = report(&net("input x: [4, 16, 16]
         a: conv(4, 3, stride = 2, pad = 1)
         big: upsample(size = [16, 8])
         b: from x { conv(4, [1, 9]) }
         sum: add(big, b)
         output y"));
    // Rows step by one on both sides; columns by two and by one.
    assert_eq!(field(&report, "sum"), [window(3, (1, 1)), Field::Mixed]);
}
