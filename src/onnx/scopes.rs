//! Scopes for nets whose names have none: the layers of a group of branches belong together.
//!
//! Where the names of a group begin alike and no others do (`res2_0_branch2a`, `res2_0_branch2b`), that is the scope. Where
//! names are only counted through the net (`gconv1_6`, `gconv1_7`), groups are counted instead.

use std::collections::HashSet;

use crate::ir::NodeId;
use crate::outline;

use super::lower::Lowered;
use super::names::Taken;

/// Gives the layers of groups paths in scopes of their own.
pub fn scopes(made: &mut Lowered) {
    let groups: Vec<Vec<NodeId>> = outline::groups(&made.net).into_iter().map(|nodes| flat(made, nodes)).collect();
    let mut counted = Vec::new();
    for nodes in groups.iter().filter(|nodes| 2 <= nodes.len()) {
        match prefix(made, nodes) {
            Some(tokens) => into_scope(made, nodes, &tokens),
            None => counted.push(nodes),
        }
    }
    if counted.len() < 2 {
        return;
    }
    let taken: HashSet<String> = made.net.nodes().map(|id| made.net.node(id).path.clone()).collect();
    let scopes = (1u64..).map(|number| format!("unit{number}")).filter(|name| !taken.contains(name));
    for (nodes, scope) in counted.into_iter().zip(scopes) {
        let mut labels = Taken::default();
        for &id in nodes {
            let label = labels.take(&uncounted(&made.net.node(id).path));
            made.net.set_path(id, format!("{scope}.{label}"));
        }
    }
}

/// The labelled layers that stand in no scope; none where others stand in one.
fn flat(made: &Lowered, nodes: Vec<NodeId>) -> Vec<NodeId> {
    let labelled: Vec<NodeId> = nodes.into_iter().filter(|&id| made.net.node(id).labelled).collect();
    if labelled.iter().any(|&id| made.net.node(id).path.contains('.')) { Vec::new() } else { labelled }
}

fn tokens(path: &str) -> Vec<&str> {
    path.split('_').collect()
}

/// What the names of these begin with and no other name does.
fn prefix(made: &Lowered, nodes: &[NodeId]) -> Option<Vec<String>> {
    let path = |id: NodeId| made.net.node(id).path.as_str();
    let mut common = tokens(path(*nodes.first()?));
    for &id in nodes {
        let shared = common.iter().zip(tokens(path(id))).take_while(|(a, b)| **a == *b).count();
        common.truncate(shared);
    }
    let others = made.net.nodes().filter(|id| !nodes.contains(id));
    let alone = others.into_iter().all(|id| !tokens(path(id)).starts_with(&common));
    // What is left of each must be a label.
    let labels: HashSet<String> = nodes.iter().map(|&id| tokens(path(id))[common.len()..].join("_")).collect();
    let fit =
        labels.len() == nodes.len() && labels.iter().all(|label| label.starts_with(|c: char| c.is_ascii_alphabetic()));
    (!common.is_empty() && alone && fit).then(|| common.into_iter().map(str::to_owned).collect())
}

fn into_scope(made: &mut Lowered, nodes: &[NodeId], prefix: &[String]) {
    for &id in nodes {
        let label = tokens(&made.net.node(id).path)[prefix.len()..].join("_");
        made.net.set_path(id, format!("{}.{label}", prefix.join("_")));
    }
}

/// `gconv1` and `gconv1_bn` of `gconv1_6` and `gconv1_6_bn`: a name without the last number that stands by itself.
fn uncounted(path: &str) -> String {
    let mut tokens = tokens(path);
    if let Some(at) = tokens.iter().rposition(|token| !token.is_empty() && token.chars().all(|c| c.is_ascii_digit())) {
        tokens.remove(at);
    } else if let Some(last) = tokens.last_mut() {
        *last = last.trim_end_matches(|c: char| c.is_ascii_digit());
    }
    tokens.retain(|token| !token.is_empty());
    if tokens.is_empty() { "layer".to_owned() } else { tokens.join("_") }
}
