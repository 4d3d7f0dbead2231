//! Checking, costing and planning take time in proportion to a net's size, whatever its form. Measured as the time that
//! the thread spends on a processor, for a size and eight times that: eight times as long where it is linear, 64 times
//! where it is quadratic. `tools/scale.py` measures the command itself at 100,000 layers.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use netc::cost::{Options, analyse};

/// Seconds that this thread has run.
fn seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}

/// Seconds that it takes to check, cost and plan a net.
fn time(text: &str) -> f64 {
    let start = seconds();
    let net = netc::compile_text("scale.net", text).unwrap();
    analyse(&net.net, &net.shapes, &Options::default()).unwrap();
    let optimised = netc::opt::optimise(&net.net, &net.shapes);
    netc::plan::plan(&optimised, 1, &netc::plan::Options::default()).unwrap();
    seconds() - start
}

fn net(body: &str) -> String {
    format!("net scale {{\n  input x: [8, 4, 4]\n  stem: relu\n{body}  output end\n}}\n")
}

fn lines(n: usize, line: impl Fn(usize) -> String) -> String {
    (0..n).map(|at| line(at) + "\n").collect()
}

#[track_caller]
fn linear(name: &str, made: impl Fn(usize) -> String) {
    let (small, large) = (made(300), made(2400));
    let before = (0..3).map(|_| time(&small)).fold(f64::INFINITY, f64::min);
    let after = time(&large);
    assert!(after < 24.0 * before + 0.05, "{name}: {before:.3} s, and {after:.3} s for eight times the size");
}

#[test]
fn chains_and_groups_are_linear() {
    linear("a chain", |n| net(&lines(n, |at| format!("c{at}: conv(8, 1)"))));
    linear("branches", |n| net(&format!("concat {{\n{}}}\n", lines(n, |at| format!("b{at}: conv(1, 1)")))));
    linear("a list", |n| {
        let names: Vec<String> = (0..n).map(|at| format!("s{at}")).collect();
        let values = lines(n, |at| format!("s{at}: from stem {{ v{at}: conv(1, 1) }}"));
        net(&format!("{values}concat({})\n", names.join(", ")))
    });
    linear("gates", |n| {
        let gates = lines(n / 2, |at| format!("{{ avgpool(global); g{at}: conv(8, 1) }}"));
        net(&format!("mul {{\nidentity\n{gates}}}\n"))
    });
    linear("a ladder", |n| {
        let up: String = (0..n / 2).rev().map(|at| format!("add(prev, d{at})\n")).collect();
        net(&(lines(n / 2, |at| format!("d{at}: relu")) + &up))
    });
}

#[test]
fn names_and_outputs_are_linear() {
    linear("one value read everywhere", |n| net(&lines(n, |_| "add(prev, stem)".to_owned())));
    linear("outputs", |n| net(&lines(n, |at| format!("identity\noutput o{at}"))));
    linear("values with names", |n| {
        net(&lines(n, |at| format!("let n{at} = {}", if at == 0 { "8".to_owned() } else { format!("n{}", at - 1) })))
    });
    linear("parameters", |n| {
        let names: Vec<String> = (0..n).map(|at| format!("p{at}")).collect();
        let call = format!("many({})\n", vec!["8"; n].join(", "));
        format!("block many({}) {{ conv: conv(p{}, 1) }}\n{}", names.join(", "), n - 1, net(&call))
    });
    linear("budgets", |n| {
        let block = "block unit {\n  budget { macs <= 1 G; peak_memory <= 1 GB }\n  conv: conv(8, 1)\n}\n";
        block.to_owned() + &net(&lines(n, |at| format!("u{at}: unit")))
    });
}
