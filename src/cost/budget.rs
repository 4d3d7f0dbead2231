//! Whether a net keeps within the bounds that its author set.
//!
//! Budgets speak of one sample by torchvision's convention, without what exists only in training.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::number::{bytes, grouped};
use super::{Counts, Layer, Memory, Options, layers, schedule};
use crate::diag::{Diagnostic, Sink, Span, codes};
use crate::dim::{self, Dim, DimError};
use crate::ir::{Budget, CallSite, Metric, Net, NodeId};
use crate::shape::Shapes;

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
    let mut ledger = Ledger::new(net, &layers, memory.as_ref());
    for budget in &net.budgets {
        let diagnostic = match ledger.value(budget) {
            Ok(value) => judge(&ledger, budget, &value, sink),
            Err(error) => {
                let title = format!("the {} of this budget cannot be counted: {error}", budget.metric.name());
                Some(Diagnostic::new(codes::E0306, budget.span, title))
            }
        };
        diagnostic.into_iter().for_each(|diagnostic| sink.push(diagnostic));
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

/// What the nodes of a net cost. A budget takes time in proportion to the nodes that it covers, and those that bound
/// the same of the same nodes are counted once.
struct Ledger<'a> {
    net: &'a Net,
    /// The counts of each node by index.
    counts: Vec<Option<&'a Counts>>,
    /// The bytes alive while each node runs, by index.
    alive: Vec<u64>,
    memory: Option<&'a Memory>,
    values: HashMap<Bounded, Result<Dim, DimError>>,
}

/// A metric of some nodes.
type Bounded = (Metric, Option<Range<usize>>);

impl<'a> Ledger<'a> {
    fn new(net: &'a Net, layers: &'a [Layer], memory: Option<&'a Memory>) -> Self {
        let (mut counts, mut alive) = (vec![None; net.bound()], vec![0; net.bound()]);
        layers.iter().for_each(|layer| counts[layer.id.index()] = Some(&layer.counts));
        if let Some(Memory { schedule, .. }) = memory {
            schedule.order.iter().zip(&schedule.alive).for_each(|(id, &bytes)| alive[id.index()] = bytes);
        }
        Ledger { net, counts, alive, memory, values: HashMap::new() }
    }

    /// The indices of the nodes that a budget covers.
    fn members(&self, budget: &Budget) -> Range<usize> {
        budget.members.clone().unwrap_or(0..self.counts.len())
    }

    /// What a budget bounds, as it is.
    fn value(&mut self, budget: &Budget) -> Result<Dim, DimError> {
        let key = (budget.metric, budget.members.clone());
        if let Some(value) = self.values.get(&key) {
            return value.clone();
        }
        let value = match (budget.metric, self.memory) {
            (Metric::PeakMemory, Some(memory)) => self.peak(budget, memory),
            (metric, _) => {
                let counts = self.counts[self.members(budget)].iter().flatten();
                dim::sum(&counts.map(|counts| of(metric, counts)).collect::<Vec<Dim>>())
            }
        };
        self.values.insert(key, value.clone());
        value
    }

    /// The most bytes alive while a node of the budget runs.
    fn peak(&self, budget: &Budget, memory: &Memory) -> Result<Dim, DimError> {
        let value = match &budget.members {
            None => memory.peak_bytes.clone(),
            Some(members) if memory.sample.is_empty() => {
                Some(Dim::from(self.alive[members.clone()].iter().copied().max().unwrap_or(0)))
            }
            Some(_) => None,
        };
        value.ok_or_else(|| DimError::NotProvable { text: format!("the peak depends on {}", symbols(memory)) })
    }

    /// The layers that make it up, or the values that are alive at the net's peak: path, statement, part.
    fn parts(&self, budget: &Budget) -> Vec<(String, Span, Dim)> {
        let part = |id: NodeId, part: Dim| {
            let node = self.net.node(id);
            (node.path.clone(), node.origin.span, part)
        };
        match (budget.metric, self.memory) {
            (Metric::PeakMemory, Some(memory)) if budget.members.is_none() => {
                memory.at_peak.iter().map(|(value, bytes)| part(value.node, bytes.clone())).collect()
            }
            (Metric::PeakMemory, _) => Vec::new(),
            (metric, _) => self
                .members(budget)
                .filter_map(|index| Some(part(NodeId::new(index), of(metric, self.counts[index]?))))
                .collect(),
        }
    }
}

fn symbols(memory: &Memory) -> String {
    let names: Vec<&str> = memory.sample.iter().map(|(name, _)| name.as_str()).collect();
    names.join(", ")
}

/// What to say of a budget, unless it has been said at its place or nothing need be said.
fn judge(ledger: &Ledger, budget: &Budget, value: &Dim, sink: &Sink) -> Option<Diagnostic> {
    let bound = Dim::from(budget.bound);
    let within = bound.at_least(value);
    let tight = || {
        let (Some(value), Some(row)) = (value.as_u64(), codes::W0506.row()) else { return false };
        u128::from(budget.bound) * 98 <= u128::from(value) * 100 && !budget.allows.iter().any(|name| name == row.name)
    };
    let diagnostic = match within {
        Some(true) if !tight() => return None,
        Some(true) => tight_budget(budget, value),
        Some(false) if sink.has(codes::E0402, budget.span) => return None,
        Some(false) => exceeded(ledger, budget, value),
        None => undecided(budget, value),
    };
    Some(with_calls(diagnostic, budget.call.clone()))
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

fn exceeded(ledger: &Ledger, budget: &Budget, value: &Dim) -> Diagnostic {
    let who = match &budget.call {
        Some(call) => call.block.clone(),
        None => ledger.net.name.clone(),
    };
    let bound = Dim::from(budget.bound);
    let title = format!("`{who}` takes {}, more than its budget", amount(budget.metric, value));
    let excess = value.sub(&bound).unwrap_or(Dim::ZERO);
    let percent = match (excess.as_known(), budget.bound) {
        (Some(excess), 1..) => format!(" ({:.1} %)", excess as f64 * 100.0 / budget.bound as f64),
        _ => String::new(),
    };
    let label = format!("at most {}: {}{percent} too many", grouped(&bound), grouped(&excess));
    let diagnostic = Diagnostic::new(codes::E0402, budget.span, title).label(label);
    heaviest(&ledger.parts(budget)).into_iter().fold(diagnostic, |diagnostic, (span, text, part)| {
        let share = match (part.as_known(), value.as_known()) {
            (Some(part), Some(value)) if 0 < value => format!(", {:.1} %", part as f64 * 100.0 / value as f64),
            _ => String::new(),
        };
        let alive = if budget.metric == Metric::PeakMemory { " at the peak" } else { "" };
        diagnostic.also(span, format!("{text}: {}{alive}{share}", amount(budget.metric, &part)))
    })
}

/// The statements that cost most, with the layers that they stand for.
fn heaviest(parts: &[(String, Span, Dim)]) -> Vec<(Span, String, Dim)> {
    let mut places = HashMap::new();
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
