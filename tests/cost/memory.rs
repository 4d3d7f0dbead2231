//! Orders of execution of whole nets.

use std::collections::HashMap;

use netc::cost::{Options, schedule};

use super::{net, report, spec};

const KIB: u64 = 1024;

/// `[c, 16, 16]` is `c` KiB.
#[test]
fn a_chain_needs_two_neighbours() {
    let report = report(&net("input x: [3, 16, 16]\na: conv(8, 3, pad = 1)\nbn: bn\nrelu\nb: conv(5, 1)\noutput y"));
    let schedule = &report.memory.schedule;
    assert_eq!(schedule.alive, [3 * KIB, 11 * KIB, 8 * KIB, 8 * KIB, 13 * KIB]);
    assert_eq!((schedule.peak_bytes, schedule.optimal, schedule.peak_step()), (13 * KIB, true, Some(4)));
    let at_peak: Vec<u64> = report.memory.at_peak.iter().map(|(_, bytes)| bytes.as_u64().unwrap()).collect();
    assert_eq!(at_peak, [8 * KIB, 5 * KIB]);
}

#[test]
fn inputs_and_outputs_are_never_written_over() {
    let report = report(&net("input x: [4, 16, 16]\nrelu\noutput first\nsigmoid\noutput second"));
    // The first relu beside its input, then both outputs.
    assert_eq!(report.memory.schedule.alive, [4 * KIB, 8 * KIB, 8 * KIB]);
}

#[test]
fn renaming_needs_nothing() {
    let report = report(&net("input x: [4, 16, 16]\na: conv(4, 1)\nflatten\ndropout(0.5)\nfc: linear(256)\noutput y"));
    assert_eq!(report.memory.schedule.alive, [4 * KIB, 8 * KIB, 4 * KIB, 4 * KIB, 5 * KIB]);
}

/// Each branch is wide inside and narrow at its end; written side by side they are best run one after the other.
#[test]
fn branches_are_finished_one_by_one() {
    let report = report(&net("input x: [1, 16, 16]
         a1: conv(40, 1)
         b1: from x { conv(40, 1) }
         a2: from a1 { conv(1, 1) }
         b2: from b1 { conv(1, 1) }
         add(a2, b2)
         output y"));
    let schedule = &report.memory.schedule;
    assert_eq!((schedule.peak_bytes, schedule.optimal), (42 * KIB, true));
}

#[test]
fn a_skip_is_alive_until_it_is_added() {
    let report = report(&net("input x: [8, 16, 16]
         stem: conv(8, 3, pad = 1)
         add { { a: conv(2, 1); b: conv(8, 3, pad = 1) }; identity }
         relu
         output y"));
    let schedule = &report.memory.schedule;
    let alive = |path: &str| {
        let layer = report.layers.iter().find(|layer| layer.path == path).unwrap();
        let step = schedule.order.iter().position(|id| *id == layer.id).unwrap();
        schedule.alive[step] / KIB
    };
    // The stem beside the input; beside a; beside a and b; the sum written over one of its operands; relu over the sum.
    assert_eq!(["stem", "a", "b", "add1", "relu1"].map(alive), [16, 10, 18, 16, 8]);
    assert_eq!((schedule.peak_bytes, schedule.optimal), (18 * KIB, true));
}

/// Every order runs each node once, after its operands, and no step needs less than its own operands and results.
#[test]
fn orders_of_the_specs_are_possible() {
    for name in ["lenet5", "resnet50", "googlenet", "googlenet_2014", "mobilenet_v2", "densenet121", "unet"] {
        let compiled = spec(name);
        for train in [false, true] {
            let options = Options { train, ..Options::default() };
            let schedule = schedule(&compiled.net, &compiled.shapes, &options).unwrap();
            let place: HashMap<_, _> = schedule.order.iter().enumerate().map(|(at, id)| (*id, at)).collect();
            assert_eq!(place.len(), schedule.order.len());
            for (&id, &at) in &place {
                assert!(compiled.net.operands(id).iter().all(|value| place[&value.node] < at), "{name}");
            }
            assert_eq!(schedule.alive.len(), schedule.order.len());
            assert_eq!(schedule.alive.iter().max(), Some(&schedule.peak_bytes));
            assert!(schedule.optimal || train, "{name} is solved exactly");
        }
    }
}

/// In proportion to the net: ten times the layers take about ten times as long. Only the result is checked here.
#[test]
fn long_and_wide_nets_are_ordered() {
    let deep = net("input x: [2, 4, 4]\nsequential { repeat 3000 { conv(2, 3, pad = 1); relu } }\noutput y");
    assert_eq!(report(&deep).memory.schedule.peak_bytes, 2 * 2 * 16 * 4);
    let wide =
        net("input x: [1, 8, 8]\nconcat { for i in 0..300 { { c{i}: conv(4, 1); d{i}: conv(1, 1) } } }\noutput y");
    let memory = report(&wide).memory;
    // All 300 results and, at the end, their concatenation.
    assert_eq!(memory.schedule.peak_bytes, 2 * 300 * 64 * 4);
    assert!(memory.schedule.optimal);
}
