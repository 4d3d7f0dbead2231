//! Why a plan is as it is, as text.

use std::fmt::Write;

use super::Plan;
use super::select::{Kernel, candidates, geometry};
use crate::kernel::rows::Place;
use crate::op::Op;
use crate::opt::Optimised;

/// The rewrites that were made and declined, then the steps with their kernels, places and reasons.
pub fn text(optimised: &Optimised, plan: &Plan, reasons: bool) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{}: batch {}, {} steps, arena {} bytes, lower bound of this order {} bytes",
        optimised.net.name,
        plan.batch,
        plan.steps.len(),
        plan.arena * 4,
        plan.lower_bound * 4
    );
    if reasons {
        let _ = writeln!(text, "\nrewrites");
        for entry in &optimised.log {
            let mark = if entry.applied { "+" } else { "-" };
            let _ = writeln!(text, "  {mark} {} {}: {}", entry.rewrite, entry.path, entry.outcome);
        }
    }
    let _ = writeln!(text, "\nsteps");
    for step in &plan.steps {
        let places: Vec<String> =
            step.outputs.iter().map(|slot| format!("{:?} at {}", slot.dims, place(&slot.place))).collect();
        let activation = step
            .activation
            .map_or(String::new(), |activation| format!(" + {}", crate::op::Op::Activation(activation).describe().0));
        let prologue = if step.prologue.is_some() { "batch norm + " } else { "" };
        let residual = if step.has_residual { " + sum" } else { "" };
        let in_place = if step.in_place() { " in place" } else { "" };
        let _ = writeln!(
            text,
            "  {}: {prologue}{}{residual}{activation} by {}{in_place} -> {}",
            step.path,
            step.op.describe().0,
            step.kernel.name(),
            places.join(", ")
        );
        if reasons {
            let _ = writeln!(text, "      {}", step.kernel.reason());
            if let (Op::Conv(conv), None) = (&step.op, step.prologue) {
                let found = candidates(&geometry(conv, &step.inputs[0].dims, &step.outputs[0].dims), &plan.options);
                let listed = |of: Kernel, cycles: f64| format!("{} {:.0}", of.name(), cycles / 1e3);
                let found: Vec<_> = found.iter().map(|candidate| listed(candidate.kernel, candidate.cycles)).collect();
                let _ = writeln!(text, "      thousands of cycles expected: {}", found.join(", "));
            }
        }
    }
    text
}

/// `start..end`, and the columns where rows have others beside them.
fn place(place: &Place) -> String {
    let end = place.end();
    if place.is_dense() {
        format!("{}..{end}", place.start)
    } else {
        format!("{}..{end}, {} of {} columns", place.start, place.width, place.stride)
    }
}
