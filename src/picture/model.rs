//! What is drawn: parts (clusters and boxes) and the wires between boxes. No coordinates.

use std::collections::HashSet;

use super::content::{Content, block, calls, contents, weight, words};
use super::font::shortened;
use super::label::{Family, Look, detail, look};
use super::tree::{Kind, Place, ROOT, Tree};
use crate::ir::{Net, NodeId, ValueId};
use crate::shape::Shapes;

/// Characters of a name, and of what stands behind it, at most.
pub(super) const MAX_NAME: usize = 36;
pub(super) const MAX_DETAIL: usize = 48;

/// One layer of a box.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) path: String,
    pub(super) name: String,
    pub(super) detail: String,
    pub(super) family: Family,
}

/// How a part looks.
#[derive(Clone, Debug)]
pub(super) enum Body {
    /// A frame around other parts.
    Cluster,
    /// Layers on top of each other, each taking what the one above gives.
    Stack(Vec<Row>),
    /// A cluster whose inside is not shown.
    Folded,
    /// A circle with a sign.
    Sign(Row, &'static str),
    /// A wide bar.
    Bar(Row),
    /// An input or output of the net.
    Terminal(Row),
}

/// A cluster or a box. Parents stand before their children.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) parent: usize,
    pub(super) level: usize,
    pub(super) path: String,
    pub(super) name: String,
    /// The block of a cluster.
    pub(super) block: String,
    /// What its layers cost together, in words.
    pub(super) cost: String,
    pub(super) body: Body,
    /// Whether it exists in training only.
    pub(super) train: bool,
    /// Layers in it, for finding the shorter way round.
    pub(super) layers: usize,
}

/// A value on its way from a box to a box.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) value: ValueId,
    pub(super) shape: String,
    pub(super) train: bool,
}

/// What a picture shows.
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) title: String,
    pub(super) subtitle: String,
    pub(super) parts: Vec<Part>,
    pub(super) wires: Vec<Wire>,
}

/// The model of a net whose nodes have these places.
pub(super) fn model(net: &Net, shapes: &Shapes, tree: &Tree) -> Model {
    let train = net.train_only();
    let contents = contents(net, shapes, tree, &train);
    let stacks = stacks(net, tree, &train);
    let calls = calls(tree, &contents);
    let part = |place: &Place, content: &Content, parent: usize, scope: &str, body: Body| Part {
        parent,
        level: place.level,
        path: place.path.to_owned(),
        name: shortened(inside(place.path, scope), MAX_NAME),
        block: block(content.call.as_ref(), contents[place.parent].call.as_ref(), &calls, place.parent),
        cost: words(content.sum()),
        body,
        train: content.train_only(),
        layers: weight(net, place, content.sum()),
    };
    let mut parts = vec![part(&tree.places[ROOT], &contents[ROOT], ROOT, "", Body::Cluster)];
    let (mut part_of_place, mut part_of_node) = (vec![ROOT; tree.places.len()], vec![ROOT; net.bound()]);
    for (at, place) in tree.places.iter().enumerate().skip(1) {
        let parent = part_of_place[place.parent];
        let scope = &parts[parent].path;
        let body = match (place.kind, place.nodes.first()) {
            (Kind::Node, Some(&id)) if stacks[id.index()] => {
                // The operand's box takes the layer in.
                let above = net.operands(id).first().map_or(ROOT, |value| part_of_node[value.node.index()]);
                part_of_node[id.index()] = above;
                let row = row(net, id, scope);
                if let Body::Stack(rows) = &mut parts[above].body {
                    rows.push(row);
                    parts[above].layers += 1;
                }
                continue;
            }
            (Kind::Node, Some(&id)) => body(net, shapes, id, scope),
            (Kind::Folded, _) => Body::Folded,
            _ => Body::Cluster,
        };
        part_of_place[at] = parts.len();
        place.nodes.iter().for_each(|id| part_of_node[id.index()] = parts.len());
        let own = part(place, &contents[at], parent, scope, body);
        parts.push(own);
    }
    let mut model = Model { title: net.name.clone(), subtitle: words(contents[ROOT].sum()), parts, wires: Vec::new() };
    wires(net, shapes, &part_of_node, &train, &mut model);
    model
}

/// A path without the scope that it stands in.
fn inside<'a>(path: &'a str, scope: &str) -> &'a str {
    path.strip_prefix(scope).and_then(|rest| rest.strip_prefix('.')).unwrap_or(path)
}

fn row(net: &Net, id: NodeId, scope: &str) -> Row {
    let node = net.node(id);
    let name = inside(&node.path, scope);
    let (Look { family, .. }, detail) = (look(&node.op), detail(&node.op, name));
    Row { path: node.path.clone(), name: shortened(name, MAX_NAME), detail: shortened(&detail, MAX_DETAIL), family }
}

fn body(net: &Net, shapes: &Shapes, id: NodeId, scope: &str) -> Body {
    let row = row(net, id, scope);
    match look(&net.node(id).op) {
        Look { family: Family::Terminal, .. } => {
            let shape = shapes.results(id).first().map(ToString::to_string).unwrap_or_default();
            Body::Terminal(Row { detail: shortened(&shape, MAX_DETAIL), ..row })
        }
        Look { sign: Some(sign), .. } => Body::Sign(row, sign),
        Look { bar: true, .. } => Body::Bar(row),
        Look { .. } => Body::Stack(vec![row]),
    }
}

/// Which nodes join the box of their operand: pointwise layers and norms that alone use a layer of the same scope.
fn stacks(net: &Net, tree: &Tree, train: &[bool]) -> Vec<bool> {
    let mut stacks = vec![false; net.bound()];
    let outputs: HashSet<NodeId> = net.outputs.iter().map(|output| output.value.node).collect();
    let place = |id: NodeId| &tree.places[tree.of[id.index()]];
    for id in net.topological() {
        let [value] = net.operands(id)[..] else { continue };
        let (own, above) = (look(&net.node(id).op), look(&net.node(value.node).op));
        let same = |a: NodeId, b: NodeId| place(a).parent == place(b).parent && train[a.index()] == train[b.index()];
        let users = net.users(value.node).len();
        stacks[id.index()] = own.follows
            && above.stacks()
            && place(id).kind == Kind::Node
            && place(value.node).kind == Kind::Node
            && same(id, value.node)
            && (users, outputs.contains(&value.node), value.output) == (1, false, 0);
    }
    stacks
}

/// The wires, and a box for each output.
fn wires(net: &Net, shapes: &Shapes, part_of: &[usize], train: &[bool], model: &mut Model) {
    let mut seen = HashSet::new();
    let wire = |from: usize, to: usize, value: ValueId, train: bool, wires: &mut Vec<Wire>| {
        let shape = shortened(&shapes.of(value).to_string(), MAX_DETAIL);
        wires.push(Wire { from, to, value, shape, train });
    };
    for id in net.nodes() {
        for value in net.operands(id) {
            let (from, to) = (part_of[value.node.index()], part_of[id.index()]);
            // A box takes a value once; a join shows each of its operands.
            let joins = matches!(model.parts[to].body, Body::Sign(..) | Body::Bar(_));
            if from != to && (seen.insert((from, to, value)) || joins) {
                wire(from, to, value, train[id.index()], &mut model.wires);
            }
        }
    }
    for output in &net.outputs {
        let row = Row {
            path: output.name.clone(),
            name: shortened(&output.name, MAX_NAME),
            detail: shortened(&shapes.of(output.value).to_string(), MAX_DETAIL),
            family: Family::Terminal,
        };
        let train = output.train.is_some();
        wire(part_of[output.value.node.index()], model.parts.len(), output.value, train, &mut model.wires);
        model.parts.push(Part {
            parent: ROOT,
            level: 1,
            path: output.name.clone(),
            name: row.name.clone(),
            block: String::new(),
            cost: String::new(),
            body: Body::Terminal(row),
            train,
            layers: 0,
        });
    }
}

impl Part {
    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.body, Body::Cluster)
    }

    /// Whether it joins values by arithmetic.
    pub(super) fn adds(&self) -> bool {
        matches!(self.body, Body::Sign(..))
    }
}
