//! Which box each node is drawn in, and in which clusters that box stands: the labels of its path are scopes.
//!
//! A scope whose values leave it and come back through others cannot be one box of a drawing that runs downwards; such a
//! scope is dissolved, and what is in it stands in the scope around it. So is a scope around a single thing.

use std::collections::{BTreeMap, HashMap, HashSet};

use petgraph::algo::tarjan_scc;
use petgraph::graph::DiGraph;

use crate::ir::{Net, NodeId};
use crate::op::Op;

/// The part that is the whole picture.
pub(super) const ROOT: usize = 0;
/// Clusters that are drawn inside each other at most.
const MAX_NESTED: usize = 64;

/// A scope, a folded scope or a node; parents stand before their children.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pub(super) parent: usize,
    pub(super) level: usize,
    pub(super) path: &'a str,
    pub(super) kind: Kind,
    /// The nodes of a node's or a folded scope's box; none for an open scope.
    pub(super) nodes: Vec<NodeId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Scope,
    Folded,
    Node,
}

/// The places of all nodes.
#[derive(Debug)]
pub(super) struct Tree<'a> {
    pub(super) places: Vec<Place<'a>>,
    /// The place of each node by index.
    pub(super) of: Vec<usize>,
}

impl Tree<'_> {
    /// The scope that holds two places, and the places directly in it that hold each.
    fn fork(&self, mut a: usize, mut b: usize) -> (usize, usize, usize) {
        while self.places[a].parent != self.places[b].parent {
            if self.places[a].level < self.places[b].level {
                b = self.places[b].parent;
            } else {
                a = self.places[a].parent;
            }
        }
        (self.places[a].parent, a, b)
    }
}

/// How many boxes there are at each depth from 1 on; the last is the number of nodes.
pub(super) fn boxes(net: &Net) -> Vec<usize> {
    let paths: Vec<&str> = net.nodes().map(|id| net.node(id).path.as_str()).collect();
    let deepest = paths.iter().map(|path| path.matches('.').count()).max().unwrap_or(0).min(MAX_NESTED);
    let count = |depth: usize| {
        let folded = paths.iter().filter_map(|path| Some(&path[..ends(path).nth(depth - 1)?]));
        let folded: HashSet<&str> = folded.collect();
        folded.len() + paths.iter().filter(|path| ends(path).nth(depth - 1).is_none()).count()
    };
    (1..=deepest + 1).map(count).collect()
}

/// Where the scopes of a path end.
fn ends(path: &str) -> impl Iterator<Item = usize> {
    path.match_indices('.').map(|(at, _)| at).take(MAX_NESTED)
}

/// The places of all nodes, scopes with so many labels folded.
pub(super) fn tree(net: &Net, depth: usize) -> Tree<'_> {
    let mut dissolved = HashSet::new();
    loop {
        let tree = grow(net, depth, &dissolved);
        let mut needless = tangled(net, &tree);
        needless.extend(lonely(&tree));
        if needless.is_empty() {
            return tree;
        }
        dissolved.extend(needless);
    }
}

fn grow<'a>(net: &'a Net, depth: usize, dissolved: &HashSet<String>) -> Tree<'a> {
    let root = Place { parent: ROOT, level: 0, path: "", kind: Kind::Scope, nodes: Vec::new() };
    let mut tree = Tree { places: vec![root], of: vec![ROOT; net.bound()] };
    let mut scopes: HashMap<&str, usize> = HashMap::new();
    for id in net.nodes() {
        let path = net.node(id).path.as_str();
        let mut parent = ROOT;
        let mut folded = false;
        let plain = !matches!(net.node(id).op, Op::Input(_));
        for (at, end) in ends(path).enumerate().filter(|_| plain) {
            let scope = &path[..end];
            if dissolved.contains(scope) {
                continue;
            }
            folded = depth <= at + 1;
            let kind = if folded { Kind::Folded } else { Kind::Scope };
            let (level, next) = (tree.places[parent].level + 1, tree.places.len());
            let place = *scopes.entry(scope).or_insert(next);
            if place == next {
                tree.places.push(Place { parent, level, path: scope, kind, nodes: Vec::new() });
            }
            parent = place;
            if folded {
                break;
            }
        }
        if !folded {
            let level = tree.places[parent].level + 1;
            tree.places.push(Place { parent, level, path, kind: Kind::Node, nodes: Vec::new() });
            parent = tree.places.len() - 1;
        }
        tree.places[parent].nodes.push(id);
        tree.of[id.index()] = parent;
    }
    tree
}

/// Scopes to dissolve because a single thing is in them.
fn lonely(tree: &Tree) -> Vec<String> {
    let mut inside: Vec<usize> = tree.places.iter().map(|place| place.nodes.len()).collect();
    for place in tree.places.iter().skip(1) {
        inside[place.parent] += 1;
    }
    let alone = |&(at, place): &(usize, &Place)| at != ROOT && place.kind != Kind::Node && inside[at] == 1;
    tree.places.iter().enumerate().filter(alone).map(|(_, place)| place.path.to_owned()).collect()
}

/// Scopes to dissolve because they cannot be boxes: the smaller half of those on each cycle among the places of one scope.
fn tangled(net: &Net, tree: &Tree) -> Vec<String> {
    let mut wires: BTreeMap<usize, Vec<(usize, usize)>> = BTreeMap::new();
    for id in net.nodes() {
        let to = tree.of[id.index()];
        for value in net.operands(id) {
            let from = tree.of[value.node.index()];
            if from != to {
                let (scope, from, to) = tree.fork(from, to);
                wires.entry(scope).or_default().push((from, to));
            }
        }
    }
    let mut sizes = vec![0usize; tree.places.len()];
    for at in (1..tree.places.len()).rev() {
        sizes[at] += tree.places[at].nodes.len();
        sizes[tree.places[at].parent] += sizes[at];
    }
    let mut tangled = Vec::new();
    for wires in wires.values() {
        for cycle in cycles(wires) {
            let mut scopes: Vec<usize> =
                cycle.into_iter().filter(|&place| tree.places[place].kind != Kind::Node).collect();
            scopes.sort_by_key(|&place| (sizes[place], place));
            let half = scopes.len().div_ceil(2);
            tangled.extend(scopes[..half].iter().map(|&place| tree.places[place].path.to_owned()));
        }
    }
    tangled
}

/// The strongly connected sets of more than one place.
fn cycles(wires: &[(usize, usize)]) -> Vec<Vec<usize>> {
    let mut graph = DiGraph::<usize, ()>::new();
    let mut index = HashMap::new();
    for &(from, to) in wires {
        let mut node = |place| *index.entry(place).or_insert_with(|| graph.add_node(place));
        let (from, to) = (node(from), node(to));
        graph.add_edge(from, to, ());
    }
    let sets = tarjan_scc(&graph).into_iter().filter(|set| 1 < set.len());
    sets.map(|set| set.into_iter().map(|node| graph[node]).collect()).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn paths(text: &str, depth: usize) -> Vec<String> {
        let net = crate::compile_text("x.net", text).unwrap().net;
        let tree = tree(&net, depth);
        tree.places.iter().skip(1).map(|place| format!("{:?} {}", place.kind, place.path)).collect()
    }

    const NET: &str = "net n { input x: [4, 8, 8]\n a: { b: { c: conv(4, 1); relu }; d: conv(4, 1) }\n output y }";

    #[test]
    fn scopes_fold_at_a_depth() {
        let open = ["Node x", "Scope a", "Scope a.b", "Node a.b.c", "Node a.b.relu1", "Node a.d"];
        assert_eq!(paths(NET, 9), open);
        assert_eq!(paths(NET, 2), ["Node x", "Scope a", "Folded a.b", "Node a.d"]);
        assert_eq!(paths(NET, 1), ["Node x", "Folded a"]);
        let net = crate::compile_text("x.net", NET).unwrap().net;
        assert_eq!(boxes(&net), [2, 3, 4]);
    }

    #[test]
    fn a_scope_that_is_left_and_entered_again_is_dissolved() {
        let text = "net n { input x: [4, 8, 8]\n a.b: conv(4, 1)\n c.d: conv(4, 1)\n c.f: conv(4, 1)\n a.e: conv(4, 1)\n output y }";
        for depth in [1, 9] {
            let paths = paths(text, depth);
            assert!(!paths.iter().any(|path| path.ends_with(" a")), "{paths:?}");
            assert!(paths.iter().any(|path| path.ends_with(" c")), "{paths:?}");
        }
    }
}
