//! Differences between nets.

use netc::cost::diff::{Diff, Side, diff};
use netc::report::{Style, diff as paper};

use super::{assert_snapshot, net, report, spec};

fn compare(before: &netc::Compiled, after: &netc::Compiled) -> Diff {
    let (old, new) = (report(before), report(after));
    diff(Side { net: &before.net, report: &old }, Side { net: &after.net, report: &new })
}

const BEFORE: &str = "input x: [3, 32, 32]
    conv1: conv(16, 3, pad = 1)
    relu
    maxpool(2)
    conv2: conv(32, 3, pad = 1)
    relu
    skip: add { { conv3: conv(32, 3, pad = 1); relu }; identity }
    avgpool(global)
    flatten
    fc: linear(10)
    output logits";

const AFTER: &str = "input x: [3, 32, 32]
    conv1: conv(24, 3, pad = 1)
    bn1: bn
    silu
    conv2: conv(32, 3, stride = 2, pad = 1)
    relu
    skip: add { { conv3: conv(32, 3, pad = 1); relu }; identity }
    avgpool(global)
    flatten
    dropout(0.2)
    fc: linear(100)
    output logits";

/// In the flat form every layer has a label.
#[test]
fn a_net_equals_its_flat_form() {
    let before = net(BEFORE);
    let flat = netc::ir::expand::flat(&before.net);
    let body = flat.split_once('{').and_then(|(_, body)| body.trim_end().strip_suffix('}')).unwrap();
    let difference = compare(&before, &net(body));
    assert!(difference.is_empty(), "{:?} {:?}", difference.added, difference.removed);
}

#[test]
fn a_net_equals_itself() {
    for name in ["resnet18", "googlenet", "unet"] {
        let same = compare(&spec(name), &spec(name));
        assert!(same.is_empty(), "{:?}", same.changed);
        assert!(paper::table(&same, Style::default()).contains("the same layers, shapes and costs"));
    }
}

#[test]
fn structure_by_path() {
    let found = compare(&net(BEFORE), &net(AFTER));
    let paths =
        |entries: &[netc::cost::diff::Entry]| entries.iter().map(|entry| entry.path.clone()).collect::<Vec<String>>();
    // relu1 stood behind conv1 and silu1 stands behind bn1: one went, the other came.
    assert_eq!(paths(&found.added), ["bn1", "silu1", "dropout1"]);
    assert_eq!(paths(&found.removed), ["relu1", "maxpool1"]);
    let structural: Vec<&str> =
        found.changed.iter().filter(|change| change.is_structural()).map(|change| change.after.path.as_str()).collect();
    assert_eq!(structural, ["conv1", "conv2", "fc"]);
    let conv2 = found.changed.iter().find(|change| change.after.path == "conv2").unwrap();
    assert_eq!(conv2.arguments, [("stride", "[1, 1]".to_owned(), "[2, 2]".to_owned())]);
}

#[test]
fn an_operator_in_the_place_of_another() {
    let text = |activation: &str| {
        format!("input x: [3, 8, 8]\nc: conv(4, 3)\n{activation}\nd: conv(4, 1)\n{activation}\noutput y")
    };
    let found = compare(&net(&text("relu")), &net(&text("gelu")));
    assert!(found.added.is_empty() && found.removed.is_empty());
    let changes: Vec<_> = found.changed.iter().map(|change| change.arguments.clone()).collect();
    assert_eq!(
        changes,
        [[("layer", "relu".to_owned(), "gelu".to_owned())], [("layer", "relu".to_owned(), "gelu".to_owned())]]
    );
}

#[test]
fn an_insertion_does_not_shift_the_rest() {
    let with = |line: &str| {
        net(&format!(
            "input x: [3, 8, 8]\na: conv(3, 3, pad = 1)\n{line}\nb: conv(3, 1)\nrelu\nc: conv(3, 1)\nrelu\noutput y"
        ))
    };
    let found = compare(&with("relu"), &with("relu; dropout(0.1)"));
    assert_eq!((found.added.len(), found.removed.len(), found.changed.len()), (1, 0, 0));
}

#[test]
fn operands_that_change_places_are_seen() {
    let with = |line: &str| net(&format!("input x: [3, 8, 8]\na: conv(3, 1)\nb: conv(3, 1)\ns: {line}\noutput y"));
    let found = compare(&with("sub(a, b)"), &with("sub(b, a)"));
    let [change] = found.changed.as_slice() else { panic!("{found:?}") };
    assert!(change.rewired && change.arguments.is_empty() && change.after.path == "s");
}

#[test]
fn formats() {
    let found = compare(&net(BEFORE), &net(AFTER));
    assert_snapshot("diff-table", &paper::table(&found, Style { width: Some(100), color: false }));
    assert_snapshot("diff-markdown", &paper::markdown(&found));
    assert_snapshot("diff-json", &paper::json(&found));
}

#[test]
fn a_deeper_resnet() {
    let found = compare(&spec("resnet18"), &spec("resnet34"));
    assert!(found.removed.is_empty() && found.changed.is_empty(), "{:?}", found.changed);
    assert_snapshot("diff-resnet", &paper::table(&found, Style { width: Some(80), color: false }));
}
