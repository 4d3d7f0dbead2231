//! What differs between two nets: structure by path, shapes and costs.
//!
//! Labelled layers correspond by path. Layers without a label correspond by their place: the labelled layer before them
//! in their scope, their kind and their number after it, so that an insertion elsewhere does not shift them. Where only
//! one side has a label, as in the flat form of a net, the same path and kind will do. What is
//! left over after the same labelled layer is paired in order, as one operator in the place of another.

use std::collections::{HashMap, HashSet, VecDeque};

use super::{Convention, Counts, Layer, Report, Terminal};
use crate::dim::Dim;
use crate::ir::print::op_text;
use crate::ir::{Net, NodeId};
use crate::op::Op;
use crate::tensor::Shape;

/// A net with its costs.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// The graph.
    pub net: &'a Net,
    /// Its costs; both sides under the same options.
    pub report: &'a Report,
}

/// A layer that one side alone has.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its path.
    pub path: String,
    /// The outermost block around it of which the other side has nothing.
    pub block: Option<String>,
    /// The layer's name in the language.
    pub kind: &'static str,
    /// The operator with all arguments.
    pub op: String,
    /// The shapes of its results.
    pub outputs: Vec<Shape>,
    /// Its costs.
    pub counts: Counts,
}

/// A layer that both sides have, with a difference.
#[derive(Clone, Debug)]
pub struct Change {
    /// It before.
    pub before: Entry,
    /// It after.
    pub after: Entry,
    /// The arguments that differ, with both values; the operator itself under the name `layer`.
    pub arguments: Vec<(&'static str, String, String)>,
    /// Whether it takes other values than before.
    pub rewired: bool,
}

impl Change {
    /// Whether the text of the net says something else, and not only the sizes around the layer.
    pub fn is_structural(&self) -> bool {
        !self.arguments.is_empty() || self.rewired
    }
}

/// Whole-net figures of one side.
#[derive(Clone, Debug)]
pub struct Totals {
    /// The net's name.
    pub net: String,
    /// Its inputs.
    pub inputs: Vec<Terminal>,
    /// Its outputs.
    pub outputs: Vec<Terminal>,
    /// How many layers it has.
    pub layers: usize,
    /// The sum of its layers.
    pub counts: Counts,
    /// The peak of activation memory, where it is one number or formula.
    pub peak_bytes: Option<Dim>,
}

/// All differences.
#[derive(Clone, Debug)]
pub struct Diff {
    /// The first net.
    pub before: Totals,
    /// The second net.
    pub after: Totals,
    /// What is called operations.
    pub convention: Convention,
    /// Samples in a batch.
    pub batch: u64,
    /// Layers of the second net alone, in its order.
    pub added: Vec<Entry>,
    /// Layers of the first net alone, in its order.
    pub removed: Vec<Entry>,
    /// Layers of both with a difference, in the order of the second.
    pub changed: Vec<Change>,
}

impl Diff {
    /// Whether there is no difference but perhaps the name.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty()
            && self.removed.is_empty()
            && self.changed.is_empty()
            && self.before.inputs == self.after.inputs
            && self.before.outputs == self.after.outputs
    }
}

/// Compares two nets.
pub fn diff(before: Side, after: Side) -> Diff {
    let partner = pair(before, after);
    let mut taken: HashMap<NodeId, NodeId> = HashMap::new();
    let (mut added, mut changed) = (Vec::new(), Vec::new());
    let (old_blocks, new_blocks) = (blocks(before), blocks(after));
    let layers: HashMap<NodeId, &Layer> = before.report.layers.iter().map(|layer| (layer.id, layer)).collect();
    for layer in &after.report.layers {
        match partner.get(&layer.id).and_then(|old| layers.get(old)) {
            Some(old) => {
                taken.insert(old.id, layer.id);
                changed.extend(compare((before, old), (after, layer), &partner));
            }
            None => added.push(entry(after, layer, &old_blocks)),
        }
    }
    let gone = before.report.layers.iter().filter(|layer| !taken.contains_key(&layer.id));
    Diff {
        removed: gone.map(|layer| entry(before, layer, &new_blocks)).collect(),
        before: totals(before.report),
        after: totals(after.report),
        convention: after.report.options.convention,
        batch: after.report.options.batch,
        added,
        changed,
    }
}

fn totals(report: &Report) -> Totals {
    Totals {
        net: report.net.clone(),
        inputs: report.inputs.clone(),
        outputs: report.outputs.clone(),
        layers: report.layers.len(),
        counts: report.totals.clone(),
        peak_bytes: report.memory.peak_bytes.clone(),
    }
}

/// The paths of all blocks and labelled layers.
fn blocks(side: Side<'_>) -> HashSet<&str> {
    let paths = side.report.layers.iter().map(|layer| layer.path.as_str());
    paths.flat_map(|path| path.match_indices('.').map(|(at, _)| &path[..at]).chain([path])).collect()
}

/// A layer, where the other side has these blocks.
fn entry(side: Side, layer: &Layer, others: &HashSet<&str>) -> Entry {
    let path = layer.path.as_str();
    let block = path.match_indices('.').map(|(at, _)| &path[..at]).find(|block| !others.contains(block));
    Entry {
        path: path.to_owned(),
        block: block.map(str::to_owned),
        kind: layer.kind,
        op: op_text(&side.net.node(layer.id).op),
        outputs: layer.outputs.clone(),
        counts: layer.counts.clone(),
    }
}

/// The difference between two layers that correspond, if there is one.
fn compare(old: (Side, &Layer), new: (Side, &Layer), partner: &HashMap<NodeId, NodeId>) -> Option<Change> {
    let ((before, old), (after, new)) = (old, new);
    let arguments = arguments(&before.net.node(old.id).op, &after.net.node(new.id).op);
    let from = before.net.operands(old.id).into_iter().map(|value| (Some(value.node), value.output));
    let to = after.net.operands(new.id).into_iter().map(|value| (partner.get(&value.node).copied(), value.output));
    // A layer of one operand takes another value by anything put in or taken out above it.
    let several = 1 < after.net.operands(new.id).len() || 1 < before.net.operands(old.id).len();
    let rewired = several && !from.eq(to);
    if arguments.is_empty() && !rewired && old.outputs == new.outputs && old.counts == new.counts {
        return None;
    }
    let none = HashSet::new();
    let (mut before, mut after) = (entry(before, old, &none), entry(after, new, &none));
    (before.block, after.block) = (None, None);
    Some(Change { before, after, arguments, rewired })
}

fn arguments(old: &Op, new: &Op) -> Vec<(&'static str, String, String)> {
    let ((old_layer, old_args), (layer, args)) = (old.describe(), new.describe());
    if old_layer != layer {
        return vec![("layer", old_layer.to_owned(), layer.to_owned())];
    }
    let value = |args: &[(&'static str, crate::op::Value)], name: &str| {
        args.iter().find(|(other, _)| *other == name).map_or("-".to_owned(), |(_, value)| value.to_string())
    };
    let mut names: Vec<&'static str> = args.iter().chain(&old_args).map(|(name, _)| *name).collect();
    let mut seen = HashSet::new();
    names.retain(|name| seen.insert(*name));
    let both = names.into_iter().map(|name| (name, value(&old_args, name), value(&args, name)));
    both.filter(|(_, old, new)| old != new).collect()
}

/// The layer before of each layer after, inputs included.
fn pair(before: Side, after: Side) -> HashMap<NodeId, NodeId> {
    let (old, new) = (places(before), places(after));
    let by_place: HashMap<&Place, NodeId> = old.iter().map(|(id, place)| (place, *id)).collect();
    let mut partner: HashMap<NodeId, NodeId> =
        new.iter().filter_map(|(id, place)| Some((*id, *by_place.get(place)?))).collect();
    let mut found: HashSet<NodeId> = partner.values().copied().collect();
    let key = |side: Side, id: NodeId| (side.net.node(id).path.clone(), side.net.node(id).op.describe().0);
    // By path and kind, and whether there is a label: one with a label is for one without.
    let alone = old.iter().filter(|(id, _)| !found.contains(id));
    let by_path: HashMap<_, NodeId> =
        alone.map(|(id, place)| ((key(before, *id), place.anchor().is_none()), *id)).collect();
    for (id, place) in &new {
        if let (false, Some(&old)) =
            (partner.contains_key(id), by_path.get(&(key(after, *id), place.anchor().is_some())))
        {
            partner.insert(*id, old);
            found.insert(old);
        }
    }
    // What has no counterpart, in lists by the labelled layer before it.
    let mut left: HashMap<(&str, &str), VecDeque<NodeId>> = HashMap::new();
    for (id, place) in old.iter().filter(|(id, _)| !found.contains(id)) {
        if let Some(anchor) = place.anchor() {
            left.entry(anchor).or_default().push_back(*id);
        }
    }
    for (id, place) in &new {
        if partner.contains_key(id) {
            continue;
        }
        let first = place.anchor().and_then(|anchor| left.get_mut(&anchor)).and_then(|left| left.pop_front());
        if let Some(old) = first {
            partner.insert(*id, old);
        }
    }
    partner
}

/// Where a layer stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Place {
    /// By its own label, or an input by its name.
    Label(String),
    /// In a scope, behind a labelled layer: the how manieth of its kind.
    Behind { scope: String, anchor: String, kind: &'static str, ordinal: usize },
}

impl Place {
    fn anchor(&self) -> Option<(&str, &str)> {
        match self {
            Place::Label(_) => None,
            Place::Behind { scope, anchor, .. } => Some((scope, anchor)),
        }
    }
}

fn places(side: Side) -> Vec<(NodeId, Place)> {
    let layers = side.report.layers.iter().map(|layer| layer.id);
    let mut anchors: HashMap<String, String> = HashMap::new();
    let mut ordinals: HashMap<(String, String, &'static str), usize> = HashMap::new();
    let place = |id: NodeId| {
        let node = side.net.node(id);
        let scope = node.path.rsplit_once('.').map_or("", |(scope, _)| scope).to_owned();
        if node.labelled || matches!(node.op, Op::Input(_)) {
            anchors.insert(scope, node.path.clone());
            return (id, Place::Label(node.path.clone()));
        }
        let anchor = anchors.get(&scope).cloned().unwrap_or_default();
        let kind = node.op.describe().0;
        let ordinal = ordinals.entry((scope.clone(), anchor.clone(), kind)).or_insert(0);
        *ordinal += 1;
        (id, Place::Behind { scope, anchor, kind, ordinal: *ordinal })
    };
    side.net.inputs.iter().copied().chain(layers).map(place).collect()
}
