//! Budgets that fail, and those that are nearly used up. `tests/errors/` shows the messages whole.

use netc::diag::{Code, codes};
use netc::elab::load::NoImports;
use netc::{Settings, check};

/// The codes that a text gives, with the title and the labels of each.
fn messages(text: &str) -> Vec<(Code, String, Vec<String>)> {
    let checked = check("net.net", text.as_bytes().to_vec(), &NoImports, &Settings::default());
    let words = checked.diagnostics.into_iter().map(|found| {
        let labels = found.secondary.into_iter().map(|label| label.text);
        (found.code, found.title, std::iter::once(found.primary.text).chain(labels).collect())
    });
    words.collect()
}

#[test]
fn an_excess_names_the_heaviest_layers() {
    let found = messages(
        "net n {
           budget { macs <= 100 K }
           input x: [3, 16, 16]
           a: conv(8, 3, pad = 1)
           b: conv(16, 3, pad = 1)
           c: conv(4, 1)
           d: conv(4, 1)
           output y
         }",
    );
    let [(code, title, labels)] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(*code, codes::E0402);
    assert_eq!(title, "`n` takes 370,688 MACs, more than its budget");
    assert_eq!(
        labels.as_slice(),
        [
            "at most 100,000: 270,688 (270.7 %) too many",
            "`b`: 294,912 MACs, 79.6 %",
            "`a`: 55,296 MACs, 14.9 %",
            "`c`: 16,384 MACs, 4.4 %",
        ]
    );
}

#[test]
fn a_block_has_its_own_budget_and_says_where_it_was_called() {
    let block = "block two(c) {
           budget { params <= 300 }
           a: conv(c, 3, pad = 1, bias = false)
           b: conv(c, 3, pad = 1, bias = false)
         }
         net n { input x: [4, 8, 8]; first: two(4); second: two(5); output y }";
    let found = messages(block);
    let [(code, title, labels)] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((*code, title.as_str()), (codes::E0402, "`two` takes 405 parameters, more than its budget"));
    assert!(labels.iter().any(|label| label == "`second.b`: 225 parameters, 55.6 %"), "{labels:?}");
    assert!(labels.iter().any(|label| label.contains("called here with c = 5")), "{labels:?}");
    assert!(labels.iter().all(|label| !label.contains("first")), "{labels:?}");
}

#[test]
fn two_percent_are_tight() {
    let with = |bound: u64, allow: &str| {
        let text = format!(
            "net n {{ {allow}\nbudget {{ macs <= {bound} }}\ninput x: [1, 10, 10]; c: conv(10, 1); output y }}"
        );
        messages(&text).into_iter().map(|(code, ..)| code).collect::<Vec<Code>>()
    };
    assert_eq!(with(999, ""), [codes::E0402]);
    assert_eq!(with(1000, ""), [codes::W0506]);
    assert_eq!(with(1020, ""), [codes::W0506]);
    assert_eq!(with(1021, ""), []);
    assert_eq!(with(1000, "#[allow(tight_budget)]"), []);
}

#[test]
fn every_metric_is_held() {
    // 10 channels on 10x10 from one: 1000 MACs, 3000 operations with the bias, 20 parameters, 1000 activations, and the
    // output beside the input in bytes.
    for (metric, exact) in
        [("macs", 1000), ("flops", 3000), ("params", 20), ("activations", 1000), ("peak_memory", 4400)]
    {
        let with = |bound: u64| {
            let unit = if metric == "peak_memory" { " B" } else { "" };
            let text = format!(
                "net n {{ budget {{ {metric} <= {bound}{unit} }}\ninput x: [1, 10, 10]; c: conv(10, 1); output y }}"
            );
            messages(&text).into_iter().map(|(code, ..)| code).collect::<Vec<Code>>()
        };
        assert_eq!(with(exact - 1), [codes::E0402], "{metric}");
        assert_eq!(with(exact), [codes::W0506], "{metric}");
        assert_eq!(with(2 * exact), [], "{metric}");
    }
}

#[test]
fn what_only_training_needs_is_free() {
    let found = messages(
        "net n {
           budget { params <= 200 }
           input x: [4, 8, 8]
           a: conv(4, 3, pad = 1)
           from a { avgpool(global); flatten; aux: linear(1000); output side: train weight 0.3 }
           output y
         }",
    );
    assert_eq!(found, []);
}

#[test]
fn a_budget_that_depends_on_the_size_cannot_be_decided() {
    let text = |bound: &str| format!("net n {{ budget {{ {bound} }}\ninput x: [1, H, W]; c: conv(2, 1); output y }}");
    let found = messages(&text("macs <= 100 K"));
    let [(code, title, labels)] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((*code, title.as_str()), (codes::E0402, "the budget of `macs` depends on H and W"));
    assert_eq!(labels.as_slice(), ["it is 2*H*W"]);
    assert_eq!(messages(&text("params <= 100")), []);
}
