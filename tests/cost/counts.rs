//! Counts by all conventions, batches, symbols and what only training needs.

use std::collections::BTreeMap;

use netc::cost::{By, Convention, CostError, Options, analyse, rollup};
use netc::dim::Dim;
use netc::{Settings, compile_with};

use super::{known, net, report, report_with, spec};

/// What fvcore itself counted, in all and by operator; `tests/reference/` has the script.
#[test]
fn fvcore_is_reproduced_to_the_unit() {
    let text = std::fs::read_to_string("tests/reference/fvcore.json").unwrap();
    let reference: serde_json::Value = serde_json::from_str(&text).unwrap();
    let nets = reference["nets"].as_object().unwrap();
    assert_eq!(nets.len(), 5);
    for (name, expected) in nets {
        let options = Options { convention: Convention::Fvcore, ..Options::default() };
        let report = report_with(&spec(name), &options);
        assert_eq!(known(report.totals.ops(Convention::Fvcore)), expected["total"].as_u64().unwrap(), "{name}");
        let kinds = rollup(&report, By::Kind).unwrap();
        let of =
            |kind: &str| kinds.iter().find(|group| group.name == kind).map_or(0, |group| known(&group.counts.fvcore));
        let pairs = [("conv", "conv"), ("batch_norm", "bn"), ("linear", "linear"), ("adaptive_avg_pool2d", "avgpool")];
        for (theirs, ours) in pairs {
            let expected = expected["by_operator"][theirs].as_u64().unwrap_or(0);
            assert_eq!(of(ours), expected, "{ours} of {name}");
        }
    }
}

#[test]
fn resnet50_as_published() {
    let report = report(&spec("resnet50"));
    let totals = &report.totals;
    assert_eq!((totals.params, known(&totals.macs)), (25_557_032, 4_089_184_256));
    assert_eq!(known(&totals.activations), 11_114_984);
    // 53 batch norms of 26,560 channels in all: two statistics a channel and a counter each.
    assert_eq!(totals.buffers, 2 * 26_560 + 53);
    assert_eq!(totals.weight_bytes, 4 * (25_557_032 + 2 * 26_560));
}

#[test]
fn one_convolution_by_hand() {
    let report = report(&net("input x: [3, 8, 10]\nc: conv(4, 3, stride = 2, pad = 1)\noutput y"));
    let counts = &report.totals;
    let outputs = 4 * 4 * 5;
    assert_eq!(counts.params, 4 * 3 * 9 + 4);
    assert_eq!(known(&counts.macs), outputs * 27);
    assert_eq!(known(&counts.flops), outputs * 27 * 2 + outputs);
    assert_eq!(known(&counts.activations), outputs);
    assert_eq!(known(&counts.activation_bytes), outputs * 4);
    assert_eq!(counts.weight_bytes, 4 * (4 * 27 + 4));
    let moved = 4 * (3 * 8 * 10 + outputs + 4 * 27 + 4);
    assert_eq!(known(&counts.moved_bytes), moved);
    assert_eq!(counts.intensity(), Some((outputs * 27 * 2 + outputs) as f64 / moved as f64));
}

#[test]
fn a_batch_multiplies_what_depends_on_it() {
    let compiled = spec("lenet5");
    let one = report(&compiled);
    let eight = report_with(&compiled, &Options { batch: 8, ..Options::default() });
    for (layer, batch) in one.layers.iter().zip(&eight.layers) {
        for convention in [Convention::Torchvision, Convention::Fvcore, Convention::Flops] {
            let (layer, batch) = (layer.counts.ops(convention), batch.counts.ops(convention));
            assert_eq!(8 * known(layer), known(batch));
        }
        assert_eq!(8 * known(&layer.counts.activations), known(&batch.counts.activations));
        assert_eq!(8 * known(&layer.counts.activation_bytes), known(&batch.counts.activation_bytes));
        assert_eq!(layer.counts.params, batch.counts.params);
    }
    assert_eq!(8 * one.memory.schedule.peak_bytes, eight.memory.schedule.peak_bytes);
}

#[test]
fn what_only_training_needs_is_left_out() {
    let compiled = spec("googlenet_2014");
    let without = report(&compiled);
    let with = report_with(&compiled, &Options { train: true, ..Options::default() });
    assert_eq!(without.totals.params, 6_998_552);
    // A side head: a 1x1 of 128 channels and two linear layers on 4x4 cells, on 512 and on 528 channels.
    let head = |in_c: u64| 128 * in_c + 128 + 128 * 16 * 1024 + 1024 + 1024 * 1000 + 1000;
    assert_eq!(with.totals.params, 6_998_552 + head(512) + head(528));
    assert!(without.layers.iter().all(|layer| !layer.path.starts_with("aux")));
    assert_eq!((without.outputs.len(), with.outputs.len()), (1, 3));
}

#[test]
fn formulas_give_the_numbers() {
    let symbolic = report(&spec("unet"));
    for size in [16u64, 64, 208] {
        let set = vec![format!("H={size}"), format!("W={}", 2 * size)];
        let fixed = report(&compile_with("specs/unet.net", &Settings { set, ..Settings::default() }).unwrap());
        let at = BTreeMap::from([("H".to_owned(), size), ("W".to_owned(), 2 * size)]);
        let value = |formula: &Dim| formula.evaluate(&at).unwrap();
        for (formula, number) in symbolic.layers.iter().zip(&fixed.layers) {
            assert_eq!(value(&formula.counts.flops), number.counts.flops, "{}", formula.path);
            assert_eq!(formula.field, number.field, "{}", formula.path);
            assert_eq!(formula.share, number.share, "{}", formula.path);
        }
        assert_eq!(value(&symbolic.totals.macs), fixed.totals.macs);
        assert_eq!(value(&symbolic.totals.moved_bytes), fixed.totals.moved_bytes);
        assert_eq!(value(symbolic.memory.peak_bytes.as_ref().unwrap()), fixed.memory.peak_bytes.unwrap());
    }
    assert_eq!(symbolic.symbols, ["H", "W"]);
}

#[test]
fn shares_that_depend_on_the_size_are_left_out() {
    let report = report(&net(
        "input x: [3, H, 8]\nc: conv(4, 3)\nadaptive: avgpool(to = [1, 1])\nflatten\nfc: linear(5)\noutput y",
    ));
    assert!(report.layers.iter().filter(|layer| layer.counts.macs != Dim::ZERO).all(|layer| layer.share.is_none()));
    let relu = &report.layers[1];
    assert_eq!(relu.share.map(|share| share.0), Some(0.0));
}

#[test]
fn counts_beyond_64_bits_are_refused() {
    let compiled = net("input x: [64, 4000000000, 4000000000]\nc: conv(64, 1)\noutput y");
    let error = analyse(&compiled.net, &compiled.shapes, &Options::default()).unwrap_err();
    assert!(matches!(&error, CostError::TooLarge { what: "multiply-accumulates", .. }), "{error:?}");
    let fine = net("input x: [1, 1000, 1000]\nc: conv(1, 1)\noutput y");
    let options = Options { batch: u64::MAX, ..Options::default() };
    assert!(analyse(&fine.net, &fine.shapes, &options).is_err());
}

/// Blocks at any depth add up to the whole.
#[test]
fn rollups_add_up() {
    let report = report(&spec("resnet18"));
    for by in [By::Layer, By::Kind, By::Block { depth: 1 }, By::Block { depth: 2 }, By::Block { depth: 9 }] {
        let groups = rollup(&report, by).unwrap();
        let sum: u64 = groups.iter().map(|group| known(&group.counts.macs)).sum();
        assert_eq!(sum, known(&report.totals.macs));
        assert_eq!(groups.iter().map(|group| group.layers.len()).sum::<usize>(), report.layers.len());
    }
    let names = |depth| -> Vec<String> {
        rollup(&report, By::Block { depth }).unwrap().into_iter().map(|group| group.name).collect()
    };
    assert!(names(1).contains(&"layer2".to_owned()) && !names(1).contains(&"layer2.0".to_owned()));
    assert!(names(2).contains(&"layer2.0".to_owned()) && names(9).contains(&"layer2.0.downsample".to_owned()));
    // Four 3x3 convolutions of 128 channels, the first on 64, and the projection of the shortcut.
    let layer2 = 28 * 28 * 128 * (9 * 64 + 3 * 9 * 128 + 64);
    let groups = rollup(&report, By::Block { depth: 1 }).unwrap();
    assert!(groups.iter().any(|group| group.name == "layer2" && known(&group.counts.macs) == layer2));
}
