//! The memory of a process that trains against what `netc cost --train` says. Linux says what a process takes.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::process::{Command, Stdio};
use std::time::Duration;

const NETC: &str = env!("CARGO_BIN_EXE_netc");

/// The most bytes that were resident while steps of a net were timed.
fn peak(spec: &str, batch: &str) -> f64 {
    let args = ["bench", spec, "--train", "--batch", batch, "--threads", "2", "--warmup", "0", "--runs", "1"];
    let mut child = Command::new(NETC).args(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut most = 0.0f64;
    while child.try_wait().unwrap().is_none() {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let kib =
            status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB")?.trim().parse::<f64>().ok());
        most = most.max(kib.unwrap_or(0.0) * 1024.0);
        std::thread::sleep(Duration::from_millis(5));
    }
    most
}

fn predicted(spec: &str, batch: &str) -> f64 {
    let output =
        Command::new(NETC).args(["cost", spec, "--train", "--batch", batch, "--format", "json"]).output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    report["training"]["memory_bytes"].as_f64().unwrap()
}

/// Within a tenth, beside what the program itself takes, which a small net shows. Some ten seconds: kernels are not
/// optimised here.
#[test]
fn a_process_takes_what_the_cost_of_a_pass_says() {
    let small = ("specs/lenet5.net", "1");
    let own = peak(small.0, small.1) - predicted(small.0, small.1);
    let (spec, batch) = ("specs/cifar_resnet56.net", "32");
    let (taken, said) = (peak(spec, batch) - own, predicted(spec, batch));
    let off = 100.0 * (taken / said - 1.0);
    assert!(off.abs() <= 10.0, "{spec}: {taken} bytes instead of {said}, {off:+.1} %");
}
