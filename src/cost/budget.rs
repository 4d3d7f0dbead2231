//! Whether a net keeps within the bounds that its author set.
//!
//! Budgets speak of one sample by torchvision's convention, without what exists only in training.

use std::cmp::Reverse;
use std::sync::Arc;

use super::number::{bytes, grouped};
use super::{Counts, Memory, Options, layers, schedule};
use crate::diag::{Diagnostic, Sink, Span, codes};
use crate::dim::{self, Dim, DimError};
use crate::ir::{Budget, CallSite, Metric, Net, NodeId};
use crate::shape::Shapes;

/// A count with the layers that make it up: path, statement, part.
struct Spent {
    value: Dim,
    parts: Vec<(String, Span, Dim)>,
}

/// How many of the heaviest layers are shown.
const HEAVIEST: usize = 3;

/// Reports budgets that are exceeded, cannot be decided, or leave less than 2 %.
pub fn check_budgets(net: &Net, shapes: &Shapes, sink: &mut Sink) {
    if net.budgets.is_empty() {
        return;
    }
    let options = Options::default();
    let layers = match layers(net, shapes, &options) {
        Ok(layers) => layers,
        Err(error) => return sink.push(error.into()),
    };
    let memory = if net.budgets.iter().any(|budget| budget.metric == Metric::PeakMemory) {
        match schedule::memory(net, shapes, &options) {
            Ok(memory) => Some(memory),
            Err(error) => return sink.push(error.into()),
        }
    } else {
        None
    };
    let counts: Vec<(NodeId, &Counts)> = layers.iter().map(|layer| (layer.id, &layer.counts)).collect();
    for budget in &net.budgets {
        let spent = match (budget.metric, &memory) {
            (Metric::PeakMemory, Some(memory)) => peak(net, budget, memory),
            (metric, _) => sum(net, budget, metric, &counts),
        };
        match spent {
            Ok(spent) => judge(net, budget, &spent, sink),
            Err(error) => {
                let title = format!("the {} of this budget cannot be counted: {error}", budget.metric.name());
                sink.push(Diagnostic::new(codes::E0306, budget.span, title));
            }
        }
    }
}

fn of(metric: Metric, counts: &Counts) -> Dim {
    match metric {
        Metric::Macs => counts.macs.clone(),
        Metric::Flops => counts.flops.clone(),
        Metric::Params => Dim::from(counts.params),
        Metric::Activations => counts.activations.clone(),
        Metric::PeakMemory => counts.activation_bytes.clone(),
    }
}

/// The nodes that a budget covers, by index; `None`: all.
fn members(net: &Net, budget: &Budget) -> Option<Vec<bool>> {
    let nodes = budget.members.as_ref()?;
    let mut members = vec![false; net.bound()];
    nodes.iter().filter(|id| net.contains(**id)).for_each(|id| members[id.index()] = true);
    Some(members)
}

fn sum(net: &Net, budget: &Budget, metric: Metric, layers: &[(NodeId, &Counts)]) -> Result<Spent, DimError> {
    let members = members(net, budget);
    let covered = |id: NodeId| members.as_ref().is_none_or(|members| members[id.index()]);
    let parts: Vec<(String, Span, Dim)> = layers
        .iter()
        .filter(|(id, _)| covered(*id))
        .map(|&(id, counts)| (net.node(id).path.clone(), net.node(id).origin.span, of(metric, counts)))
        .collect();
    Ok(Spent { value: dim::sum(parts.iter().map(|(_, _, part)| part))?, parts })
}

/// Of a net its peak and the values that are alive there; of a block the most bytes alive while one of its nodes runs,
/// and that node.
fn peak(net: &Net, budget: &Budget, memory: &Memory) -> Result<Spent, DimError> {
    let mut step = None;
    let value = match members(net, budget) {
        None => memory.peak_bytes.clone(),
        Some(members) if memory.sample.is_empty() => {
            let schedule = &memory.schedule;
            let steps = schedule.order.iter().zip(&schedule.alive).filter(|(id, _)| members[id.index()]);
            step = steps.max_by_key(|&(_, &alive)| alive);
            Some(Dim::from(step.map_or(0, |(_, &alive)| alive)))
        }
        Some(_) => None,
    };
    let text = || format!("the peak depends on {}", symbols(memory));
    let value = value.ok_or_else(|| DimError::NotProvable { text: text() })?;
    let part = |id: NodeId, bytes: Dim| (net.node(id).path.clone(), net.node(id).origin.span, bytes);
    let parts = match budget.members {
        None => memory.at_peak.iter().map(|(value, bytes)| part(value.node, bytes.clone())).collect(),
        Some(_) => step.iter().map(|&(&id, &alive)| part(id, Dim::from(alive))).collect(),
    };
    Ok(Spent { value, parts })
}

fn symbols(memory: &Memory) -> String {
    let names: Vec<&str> = memory.sample.iter().map(|(name, _)| name.as_str()).collect();
    names.join(", ")
}

fn judge(net: &Net, budget: &Budget, spent: &Spent, sink: &mut Sink) {
    let bound = Dim::from(budget.bound);
    let within = bound.at_least(&spent.value);
    let tight = || {
        let (Some(value), Some(row)) = (spent.value.as_u64(), codes::W0506.row()) else { return false };
        u128::from(budget.bound) * 98 <= u128::from(value) * 100 && !budget.allows.iter().any(|name| name == row.name)
    };
    let diagnostic = match within {
        Some(true) if !tight() => return,
        Some(true) => tight_budget(budget, &spent.value),
        Some(false) => exceeded(net, budget, spent),
        None => undecided(budget, &spent.value),
    };
    sink.push(with_calls(diagnostic, budget.call.clone()));
}

fn with_calls(mut diagnostic: Diagnostic, mut call: Option<Arc<CallSite>>) -> Diagnostic {
    while let Some(site) = call {
        diagnostic = diagnostic.also(site.span, site.words());
        call = site.caller.clone();
    }
    diagnostic
}

/// `4,089,184,256 MACs`, `327,680 bytes (320 KiB)`.
fn amount(metric: Metric, value: &Dim) -> String {
    let unit = match metric {
        Metric::Macs => "MACs",
        Metric::Flops => "FLOPs",
        Metric::Params => "parameters",
        Metric::Activations => "activations",
        Metric::PeakMemory => "bytes",
    };
    match (metric, value.as_u64()) {
        (Metric::PeakMemory, Some(known)) => format!("{} {unit} ({})", grouped(value), bytes(known as f64)),
        (_, _) => format!("{} {unit}", grouped(value)),
    }
}

fn tight_budget(budget: &Budget, value: &Dim) -> Diagnostic {
    let left = Dim::from(budget.bound).sub(value).unwrap_or(Dim::ZERO);
    let title = format!("`{}` is within 2 % of its budget", budget.metric.name());
    Diagnostic::new(codes::W0506, budget.span, title)
        .label(format!("{} of {}", amount(budget.metric, value), grouped(&Dim::from(budget.bound))))
        .note(format!("{} are left", amount(budget.metric, &left)))
}

fn undecided(budget: &Budget, value: &Dim) -> Diagnostic {
    let symbols = value.symbols();
    let title = format!("the budget of `{}` depends on {}", budget.metric.name(), symbols.join(" and "));
    let set: Vec<String> = symbols.iter().map(|symbol| format!("--set {symbol}=…")).collect();
    Diagnostic::new(codes::E0402, budget.span, title)
        .label(format!("it is {value}"))
        .help(format!("check it at a size: {}", set.join(" ")))
}

fn exceeded(net: &Net, budget: &Budget, spent: &Spent) -> Diagnostic {
    let who = match &budget.call {
        Some(call) => call.block.clone(),
        None => net.name.clone(),
    };
    let (value, bound) = (&spent.value, Dim::from(budget.bound));
    let title = format!("`{who}` takes {}, more than its budget", amount(budget.metric, value));
    let excess = value.sub(&bound).unwrap_or(Dim::ZERO);
    let percent = match (excess.as_known(), budget.bound) {
        (Some(excess), 1..) => format!(" ({:.1} %)", excess as f64 * 100.0 / budget.bound as f64),
        _ => String::new(),
    };
    let label = format!("at most {}: {}{percent} too many", grouped(&bound), grouped(&excess));
    let diagnostic = Diagnostic::new(codes::E0402, budget.span, title).label(label);
    heaviest(&spent.parts).into_iter().fold(diagnostic, |diagnostic, (span, text, part)| {
        let share = match (part.as_known(), value.as_known()) {
            (Some(part), Some(value)) if 0 < value => format!(", {:.1} %", part as f64 * 100.0 / value as f64),
            _ => String::new(),
        };
        let alive = match (budget.metric, &budget.members) {
            (Metric::PeakMemory, None) => " at the peak",
            (Metric::PeakMemory, Some(_)) => " alive while it runs",
            _ => "",
        };
        diagnostic.also(span, format!("{text}: {}{alive}{share}", amount(budget.metric, &part)))
    })
}

/// The statements that cost most, with the layers that they stand for.
fn heaviest(parts: &[(String, Span, Dim)]) -> Vec<(Span, String, Dim)> {
    let mut places = std::collections::HashMap::new();
    let mut statements: Vec<(Span, &str, usize, Dim)> = Vec::new();
    for (path, span, part) in parts {
        let place = *places.entry(*span).or_insert(statements.len());
        match statements.get_mut(place) {
            Some((_, _, others, sum)) => {
                *others += 1;
                *sum = sum.add(part).unwrap_or_else(|_| sum.clone());
            }
            None => statements.push((*span, path, 0, part.clone())),
        }
    }
    statements.retain(|(_, _, _, part)| *part != Dim::ZERO);
    statements.sort_by_key(|(_, _, _, part)| Reverse(part.as_known()));
    let words = |(span, path, others, part)| match others {
        0 => (span, format!("`{path}`"), part),
        _ => (span, format!("`{path}` and {others} more"), part),
    };
    statements.into_iter().take(HEAVIEST).map(words).collect()
}
