//! What netc writes about a net beside its graph, and reads again: preprocessing, budgets, and conditions on free sizes.

use std::collections::BTreeMap;

use crate::diag::{Sink, SourceMap};
use crate::dim::{Dim, Factor};
use crate::elab;
use crate::ir::{Net, NodeId, expand};
use crate::shape::Shapes;
use crate::syntax;

/// The key of a model's metadata.
pub const KEY: &str = "netc.head";

/// What stands in front of the layers of a net.
#[derive(Clone, Debug)]
pub struct Head {
    net: Net,
    shapes: Shapes,
}

/// What is written of a net.
pub fn text(net: &Net) -> String {
    let lines: Vec<String> = expand::head(net).lines().map(|line| line.trim().to_owned()).collect();
    lines.join("\n")
}

impl Head {
    /// Reads what was written; `None` where the text is no head of a net.
    pub fn read(text: &str) -> Option<Head> {
        let (mut sources, mut sink) = (SourceMap::default(), Sink::default());
        let name = text.lines().find_map(|line| line.strip_prefix("input ")?.split(':').next())?;
        let text = format!("net head {{\n{text}\noutput head_ = {name}\n}}\n");
        let file = syntax::add_source(&mut sources, KEY, text.into_bytes(), &mut sink)?;
        let program = elab::load(&mut sources, file, &elab::load::NoImports, &mut sink);
        let elab::Elaborated { net, shapes } =
            elab::elaborate(&sources, &program, &elab::Options::default(), &mut sink)?;
        (!sink.has_errors()).then_some(Head { net, shapes })
    }

    /// What is known to divide the free sizes.
    pub fn divisors(&self) -> BTreeMap<String, u64> {
        let sizes = self.net.inputs.iter().flat_map(|&input| self.shapes.of(input.into()).0.iter());
        let factors = sizes.flat_map(Dim::terms).flat_map(|term| term.factors);
        let divisor = |factor| match factor {
            Factor::Symbol { name, divisor } => Some((name, divisor)),
            Factor::Floor { .. } => None,
        };
        factors.filter_map(divisor).collect()
    }

    /// Gives a net of the same inputs what stands in front of its layers.
    pub fn put(self, net: &mut Net, shapes: &Shapes) {
        let inputs = |net: &Net, shapes: &Shapes| -> Vec<_> {
            net.inputs.iter().map(|&id| (net.node(id).path.clone(), shapes.of(id.into()).clone())).collect()
        };
        if inputs(net, shapes) != inputs(&self.net, &self.shapes) {
            return;
        }
        let own: BTreeMap<NodeId, NodeId> = self.net.inputs.iter().copied().zip(net.inputs.iter().copied()).collect();
        net.preprocess = self.net.preprocess;
        net.budgets = self.net.budgets;
        net.conditions = self.net.conditions.into_iter().map(|(input, text)| (own[&input], text)).collect();
    }
}
