//! Costs of whole nets against figures found elsewhere or by hand, and every format of the reports.
#![allow(clippy::unwrap_used)]

mod bottlenecks;
mod budgets;
mod counts;
mod diff;
mod fields;
mod formats;
mod memory;

use netc::Compiled;
use netc::cost::{Options, Report, analyse};
use netc::dim::Dim;

/// A net of these statements.
fn net(statements: &str) -> Compiled {
    netc::compile_text("net.net", &format!("net example {{\n{statements}\n}}"))
        .unwrap_or_else(|error| panic!("{error}"))
}

fn spec(name: &str) -> Compiled {
    netc::compile(format!("specs/{name}.net")).unwrap_or_else(|error| panic!("{error}"))
}

fn report(compiled: &Compiled) -> Report {
    report_with(compiled, &Options::default())
}

fn report_with(compiled: &Compiled, options: &Options) -> Report {
    analyse(&compiled.net, &compiled.shapes, options).unwrap()
}

fn known(size: &Dim) -> u64 {
    size.as_u64().unwrap_or_else(|| panic!("{size} is no number"))
}

/// Compares with `snapshots/report/NAME.snap`.
fn assert_snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../snapshots/report");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}
