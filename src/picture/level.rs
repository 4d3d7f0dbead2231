//! What one cluster holds: its children, the values that enter and leave it, and the edges between these.
//!
//! A wire between boxes of different clusters becomes a chain of edges: up through the clusters around its source, across
//! in the cluster that holds both, and down to its target.

use std::collections::HashMap;

use super::model::{Model, Part};
use super::tree::ROOT;
use crate::ir::ValueId;

/// A child of a cluster, or a place on its border where a value enters or leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Vertex {
    Child(usize),
    In(ValueId),
    Out(ValueId),
}

/// A piece of a wire inside one cluster.
#[derive(Clone, Debug)]
pub(super) struct Edge {
    pub(super) from: usize,
    pub(super) to: usize,
    /// A wire of it, as an index into the model's; where it passes a value on for several, the first.
    pub(super) wire: usize,
    /// Whether this is where the wire goes across from one child to another.
    pub(super) across: bool,
    /// Whether it leads past layers that stand between its ends.
    pub(super) skip: bool,
}

/// The inside of a cluster.
#[derive(Clone, Debug, Default)]
pub(super) struct Level {
    pub(super) vertices: Vec<Vertex>,
    pub(super) edges: Vec<Edge>,
    index: HashMap<Vertex, usize>,
    passing: HashMap<(usize, usize, ValueId), usize>,
    /// The wires of each edge.
    wires: Vec<Vec<usize>>,
}

impl Level {
    fn vertex(&mut self, vertex: Vertex) -> usize {
        *self.index.entry(vertex).or_insert_with(|| {
            self.vertices.push(vertex);
            self.vertices.len() - 1
        })
    }

    /// An edge that only passes a value on is entered once a value.
    fn connect(&mut self, from: Vertex, to: Vertex, wire: usize, value: ValueId, across: bool, once: bool) {
        let (from, to) = (self.vertex(from), self.vertex(to));
        let next = self.edges.len();
        let edge = *self.passing.entry((from, to, value)).or_insert(next);
        if edge == next || !once {
            self.edges.push(Edge { from, to, wire, across, skip: false });
            self.wires.push(vec![wire]);
        } else {
            self.wires[edge].push(wire);
        }
    }
}

/// The inside of each cluster, by part; empty for boxes.
pub(super) fn levels(model: &Model) -> Vec<Level> {
    let parts = &model.parts;
    let mut levels = vec![Level::default(); parts.len()];
    for (at, part) in parts.iter().enumerate().skip(1) {
        levels[part.parent].vertex(Vertex::Child(at));
    }
    for (at, wire) in model.wires.iter().enumerate() {
        let (mut from, mut to, value) = (wire.from, wire.to, wire.value);
        let single = |part: usize, end: usize| part != end;
        while parts[from].parent != parts[to].parent {
            if parts[from].level < parts[to].level {
                let inner = parts[to].parent;
                levels[inner].connect(Vertex::In(value), Vertex::Child(to), at, value, false, single(to, wire.to));
                to = inner;
            } else {
                let inner = parts[from].parent;
                levels[inner].connect(Vertex::Child(from), Vertex::Out(value), at, value, false, true);
                from = inner;
            }
        }
        let once = single(to, wire.to);
        levels[parts[from].parent].connect(Vertex::Child(from), Vertex::Child(to), at, value, true, once);
    }
    let mut skips = vec![false; model.wires.len()];
    for level in &mut levels {
        mark_skips(level, parts);
        let marked = level.edges.iter().zip(&level.wires).filter(|(edge, _)| edge.skip);
        marked.flat_map(|(_, wires)| wires).for_each(|&wire| skips[wire] = true);
    }
    // A skip stays one on its way through other clusters, where it goes by itself.
    for level in &mut levels {
        for (edge, wires) in level.edges.iter_mut().zip(&level.wires) {
            edge.skip |= wires.iter().all(|&wire| skips[wire]);
        }
    }
    levels
}

/// How many layers a vertex is.
fn layers(vertex: Vertex, parts: &[Part]) -> usize {
    match vertex {
        Vertex::Child(part) => parts[part].layers,
        Vertex::In(_) | Vertex::Out(_) => 0,
    }
}

/// Marks the shortest of several ways that part at one vertex and meet again at another.
fn mark_skips(level: &mut Level, parts: &[Part]) {
    let count = level.vertices.len();
    let (mut before, mut after) = (vec![Vec::new(); count], vec![0usize; count]);
    for (at, edge) in level.edges.iter().enumerate() {
        before[edge.to].push(at);
        after[edge.from] += 1;
    }
    for to in 0..count {
        if before[to].len() < 2 {
            continue;
        }
        let ways: Vec<(Vec<usize>, usize, usize)> =
            before[to].iter().map(|&edge| way(level, parts, &before, &after, edge)).collect();
        let longest = ways.iter().map(|(_, _, layers)| *layers).max().unwrap_or(0);
        for (edges, start, layers) in ways {
            // A way without layers is a skip; one with some is, where it is at most half of the other and adds to it.
            let adds = matches!(level.vertices[to], Vertex::Child(part) if parts[part].adds());
            let short = layers == 0 || (adds && 2 * layers <= longest);
            if short && layers < longest && 1 < after[start] {
                edges.into_iter().for_each(|edge| level.edges[edge].skip = true);
            }
        }
    }
}

/// The edges from where a way parts from others up to this edge, where it starts, and the layers on it.
fn way(
    level: &Level,
    parts: &[Part],
    before: &[Vec<usize>],
    after: &[usize],
    last: usize,
) -> (Vec<usize>, usize, usize) {
    const FAR: usize = 64;
    let (mut edges, mut layered) = (vec![last], 0);
    let mut at = level.edges[last].from;
    while let ([above], 1) = (before[at].as_slice(), after[at])
        && edges.len() < FAR
    {
        layered += layers(level.vertices[at], parts);
        edges.push(*above);
        at = level.edges[*above].from;
    }
    // What does not part from other ways is as long as they like.
    let layered = if 1 < after[at] { layered } else { layered + layers(level.vertices[at], parts) + 1 };
    (edges, at, layered)
}

/// The order in which clusters can be laid out: each before the one around it.
pub(super) fn inside_out(parts: &[Part]) -> impl Iterator<Item = usize> {
    let clusters: Vec<usize> = (ROOT..parts.len()).rev().filter(|&part| parts[part].is_cluster()).collect();
    clusters.into_iter()
}
