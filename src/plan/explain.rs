//! Why a plan is as it is, as text.

use std::fmt::Write;

use super::Plan;
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
        let places: Vec<String> = step
            .outputs
            .iter()
            .map(|slot| format!("{:?} at {}..{}", slot.dims, slot.place.start, slot.place.end))
            .collect();
        let activation = step
            .activation
            .map_or(String::new(), |activation| format!(" + {}", crate::op::Op::Activation(activation).describe().0));
        let in_place = if step.in_place { " in place" } else { "" };
        let _ = writeln!(
            text,
            "  {}: {}{activation} by {}{in_place} -> {}",
            step.path,
            step.op.describe().0,
            step.kernel.name(),
            places.join(", ")
        );
        if reasons {
            let _ = writeln!(text, "      {}", step.kernel.reason());
        }
    }
    text
}
