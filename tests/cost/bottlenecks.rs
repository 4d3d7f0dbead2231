//! What 1x1 convolutions save.

use netc::cost::bottleneck::Form;
use netc::cost::{Bottleneck, Report};
use netc::op::conv::Conv;
use netc::op::geom::{Padding, Windows};
use netc::op::linear::Linear;
use netc::op::{Op, Operator};
use netc::tensor::{Shape, View, ViewMut};

use super::{known, net, report, spec};

fn only(report: &Report) -> &Bottleneck {
    let [found] = report.bottlenecks.reduce.as_slice() else { panic!("{:?}", report.bottlenecks) };
    found
}

#[test]
fn the_classic_example() {
    let report = report(&spec("bottleneck"));
    let found = only(&report);
    assert_eq!((known(&found.macs), known(&found.without_macs)), (12_443_648, 120_422_400));
    assert_eq!((found.params, found.without_params), (15_920, 153_632));
    assert_eq!(known(&found.saved_macs), 120_422_400 - 12_443_648);
    assert_eq!(format!("{:.2}", found.factor.unwrap().0), "9.68");
    // The direct form costs what is said of it.
    let direct = super::report(&spec("bottleneck_direct"));
    assert_eq!((known(&direct.totals.macs), direct.totals.params), (120_422_400, 153_632));
}

#[test]
fn resnet50_has_sixteen() {
    let report = report(&spec("resnet50"));
    let found = &report.bottlenecks;
    assert_eq!((found.reduce.len(), found.inverted.len()), (16, 0));
    assert!(found.reduce.iter().all(|found| found.convs.len() == 3 && found.form == Form::Reduce));
    // The second of the first stage: 256 -> 64 -> 64 -> 256 on 56x56 against 3x3 from 256 to 256.
    let second = &found.reduce[1];
    assert_eq!(second.layers, ["layer1.1.conv1", "layer1.1.conv2", "layer1.1.conv3"]);
    assert_eq!(known(&second.macs), 56 * 56 * (256 * 64 + 9 * 64 * 64 + 64 * 256));
    assert_eq!(known(&second.without_macs), 56 * 56 * 9 * 256 * 256);
    // The first of the second stage has the stride in the 3x3, and so has its direct form.
    let strided = &found.reduce[3];
    assert_eq!((strided.direct[0].stride, known(&strided.without_macs)), ([2, 2], 28 * 28 * 9 * 256 * 512));
    let sum: u64 = found.reduce.iter().map(|found| known(&found.saved_macs)).sum();
    assert_eq!(known(&found.saved_macs), sum);
}

#[test]
fn each_inception_module_has_two() {
    let report = report(&spec("googlenet_2014"));
    let found = &report.bottlenecks;
    assert_eq!((found.reduce.len(), found.inverted.len()), (18, 0));
    for module in ["3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"] {
        let of_module = found.reduce.iter().filter(|found| found.layer.starts_with(&format!("inception{module}.")));
        let kernels: Vec<[u64; 2]> = of_module.map(|found| found.direct[0].kernel).collect();
        assert_eq!(kernels, [[3, 3], [5, 5]], "{module}");
    }
    let five = &found.reduce[1];
    assert_eq!(known(&five.macs), 28 * 28 * (192 * 16 + 25 * 16 * 32));
    assert_eq!(known(&five.without_macs), 28 * 28 * 25 * 192 * 32);
    // The 1x1 of the stem keeps 64 channels.
    let [stem] = found.pointwise.as_slice() else { panic!("{:?}", found.pointwise) };
    assert_eq!((stem.layer.as_str(), stem.channels), ("conv2.conv", 64));
}

/// SqueezeNet's fire module: the squeeze is shared and counted once, and each that reads it gets its own direct form.
#[test]
fn a_shared_squeeze_is_counted_once() {
    let report = report(&net("input x: [96, 55, 55]
         squeeze: conv(16, 1)
         relu
         concat { { e1: conv(64, 1); relu }; { e3: conv(64, 3, pad = 1); relu } }
         output y"));
    let found = only(&report);
    assert_eq!(found.layers, ["squeeze", "e1", "e3"]);
    assert_eq!(known(&found.macs), 55 * 55 * 16 * (96 + 64 + 9 * 64));
    assert_eq!(known(&found.without_macs), 55 * 55 * 96 * (64 + 9 * 64));
    assert_eq!(found.params, 96 * 16 + 16 + 16 * 64 + 64 + 16 * 9 * 64 + 64);
    assert_eq!(found.without_params, 96 * 64 + 64 + 96 * 9 * 64 + 64);
}

#[test]
fn what_else_reads_the_squeeze_keeps_it() {
    let report = report(&net("input x: [96, 8, 8]
         squeeze: conv(16, 1)
         concat { { e3: conv(64, 3, pad = 1) }; identity }
         output y"));
    let found = only(&report);
    assert_eq!(known(&found.without_macs), 64 * (96 * 9 * 64 + 96 * 16));
}

#[test]
fn mobilenet_v2_is_inverted() {
    let report = report(&spec("mobilenet_v2"));
    let found = &report.bottlenecks;
    assert_eq!((found.reduce.len(), found.inverted.len()), (0, 16));
    assert!(found.inverted.iter().all(|found| found.form == Form::Inverted && found.convs.len() == 3));
    assert_eq!((known(&found.macs), known(&found.saved_macs)), (0, 0), "inverted ones are in no total");
    // 24 -> 144, 3x3 on each of 144, -> 24 against a dense 3x3 from 24 to 24.
    let second = &found.inverted[1];
    assert_eq!(second.width, 144);
    assert_eq!(known(&second.macs), 56 * 56 * 144 * (24 + 9 + 24));
    assert_eq!((second.direct[0].groups, known(&second.without_macs)), (1, 56 * 56 * 9 * 24 * 24));
}

/// MobileNetV3 and EfficientNet have a gate between the depthwise convolution and the last 1x1.
#[test]
fn a_gate_does_not_hide_the_end() {
    let report = report(&net("input x: [16, 8, 8]
         up: conv(64, 1); bn; silu
         dw: depthwise(3, pad = 1); bn; act: silu
         gate: from act { avgpool(global); s: conv(8, 1); relu; e: conv(64, 1); sigmoid }
         mul(act, gate)
         down: conv(16, 1)
         output y"));
    let [found] = report.bottlenecks.inverted.as_slice() else { panic!("{:?}", report.bottlenecks) };
    assert_eq!(found.layers, ["up", "dw", "down"]);
    assert!(report.bottlenecks.reduce.is_empty());
}

#[test]
fn separable_convolutions_and_projections_are_no_bottlenecks() {
    // MobileNetV1: depthwise and pointwise in turn; a residual block with a projection.
    let separable = report(&net("input x: [32, 8, 8]
         p1: conv(64, 1); relu; d1: depthwise(3, pad = 1); relu; p2: conv(128, 1); relu
         d2: depthwise(3, pad = 1); relu; p3: conv(128, 1)
         output y"));
    assert!(separable.bottlenecks.reduce.is_empty() && separable.bottlenecks.inverted.is_empty());
    let resnet18 = report(&spec("resnet18"));
    assert!(resnet18.bottlenecks.reduce.is_empty() && resnet18.bottlenecks.inverted.is_empty());
}

#[test]
fn groups_are_kept() {
    // ResNeXt: 256 -> 128 -> 128 in 32 groups -> 256.
    let report = report(&net("input x: [256, 8, 8]
         add {
           { c1: conv(128, 1); relu; c2: conv(128, 3, pad = 1, groups = 32); relu; c3: conv(256, 1) }
           identity
         }
         output y"));
    let found = only(&report);
    assert_eq!((found.direct[0].groups, known(&found.without_macs)), (32, 64 * 9 * 256 * 256 / 32));
}

#[test]
fn formulas_are_compared_as_well() {
    let report = report(&net("input x: [192, H, W]\nreduce: conv(16, 1)\nrelu\nc: conv(32, 5, pad = 2)\noutput y"));
    let found = only(&report);
    assert_eq!(found.macs.to_string(), "15872*H*W");
    assert_eq!(found.without_macs.to_string(), "153600*H*W");
    assert_eq!(format!("{:.2}", found.factor.unwrap().0), "9.68");
}

/// A 1x1 convolution is a linear layer applied at each pixel.
#[test]
fn a_1x1_is_linear_at_each_pixel() {
    let (in_c, out_c, h, w) = (5usize, 3usize, 4usize, 6usize);
    let windows =
        Windows { kernel: [1, 1], stride: [1, 1], dilation: [1, 1], padding: Padding::Sides([0; 4]), ceil: false };
    let conv = Op::Conv(Conv { out_c: out_c as u64, windows, groups: 1, bias: true });
    let linear = Linear { features: out_c as u64, bias: true };
    let value = |at: usize| ((at * 37 % 101) as f32 - 50.0) / 64.0;
    let data: Vec<f32> = (0..in_c * h * w).map(value).collect();
    let weight: Vec<f32> = (0..in_c * out_c).map(|at| value(at + 7)).collect();
    let bias: Vec<f32> = (0..out_c).map(|at| value(at + 3)).collect();
    let mut convolved = vec![f32::NAN; out_c * h * w];
    conv.forward(
        &[View { dims: &[1, in_c, h, w], data: &data }],
        &[View { dims: &[out_c, in_c, 1, 1], data: &weight }, View { dims: &[out_c], data: &bias }],
        &mut [ViewMut { dims: &[1, out_c, h, w], data: &mut convolved }],
    );
    for pixel in 0..h * w {
        let vector: Vec<f32> = (0..in_c).map(|c| data[c * h * w + pixel]).collect();
        let mut out = vec![f32::NAN; out_c];
        linear.forward(
            &[View { dims: &[1, in_c], data: &vector }],
            &[View { dims: &[out_c, in_c], data: &weight }, View { dims: &[out_c], data: &bias }],
            &mut [ViewMut { dims: &[1, out_c], data: &mut out }],
        );
        let of_conv: Vec<f32> = (0..out_c).map(|c| convolved[c * h * w + pixel]).collect();
        assert_eq!(out, of_conv, "pixel {pixel}");
    }
    let inputs = [Shape::known(&[in_c as u64, h as u64, w as u64])];
    let cost = conv.cost(&inputs, &conv.infer(&inputs).unwrap()).unwrap();
    let vector = [Shape::known(&[in_c as u64])];
    let each = linear.cost(&vector, &linear.infer(&vector).unwrap()).unwrap();
    assert_eq!(known(&cost.macs), (h * w) as u64 * known(&each.macs));
}
