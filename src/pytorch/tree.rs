//! Scopes out of the paths of layers.

use std::collections::{HashMap, HashSet};

use super::{MOST_DEPTH, PyTorchError};
use crate::ir::{Net, NodeId, ValueId};
use crate::op::Op;

/// The scopes of a net; the first is the net itself.
#[derive(Debug)]
pub struct Tree {
    /// All scopes, each behind the one that it is in.
    pub scopes: Vec<Scope>,
    /// For each node by index its last part and the scope that it is in.
    pub places: Vec<(String, usize)>,
    /// For each node by index its place in the order in which it is computed.
    pub order: Vec<usize>,
    /// For each node by index the value that it hands on, if it does no more.
    handed: Vec<Option<ValueId>>,
    /// For each value the layers that take it and that an output needs.
    pub users: HashMap<ValueId, Vec<NodeId>>,
    /// The values that are outputs of the net.
    pub shown: HashSet<ValueId>,
    /// For each node by index whether an output needs it.
    pub needed: Vec<bool>,
    /// For each node by index whether it exists in training only.
    pub train_only: Vec<bool>,
}

/// A part of the paths of its layers.
#[derive(Debug, Default)]
pub struct Scope {
    /// The last part of its path.
    pub part: String,
    /// Its path.
    pub path: String,
    /// The scope that it is in.
    pub parent: usize,
    /// The layers and scopes in it.
    pub items: Vec<Item>,
    /// All layers in it and in its scopes.
    pub nodes: Vec<NodeId>,
}

/// What is in a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Item {
    /// A layer.
    Layer(NodeId),
    /// A scope.
    Scope(usize),
}

impl Tree {
    /// The scopes of a net.
    pub fn of(net: &Net) -> Result<Tree, PyTorchError> {
        let mut order = vec![0; net.bound()];
        let sorted = net.topological();
        sorted.iter().enumerate().for_each(|(at, id)| order[id.index()] = at);
        let needed = net.needed_by(net.outputs.iter().map(|output| output.value));
        let mut tree = Tree {
            scopes: vec![Scope::default()],
            places: vec![(String::new(), 0); net.bound()],
            order,
            handed: vec![None; net.bound()],
            users: HashMap::new(),
            shown: HashSet::new(),
            needed,
            train_only: net.train_only(),
        };
        for &id in &sorted {
            let mut operands = net.operands(id).into_iter().map(|value| tree.source(value));
            if let Op::Identity(_) = net.node(id).op {
                tree.handed[id.index()] = operands.next_back();
            } else if tree.needed[id.index()] {
                for value in operands.collect::<Vec<_>>() {
                    tree.users.entry(value).or_default().push(id);
                }
            }
        }
        tree.shown = net.outputs.iter().map(|output| tree.source(output.value)).collect();
        let mut found: HashMap<(usize, String), usize> = HashMap::new();
        let layers: Vec<NodeId> = sorted.into_iter().filter(|&id| !is_passed(net, id)).collect();
        for &id in &layers {
            let parts: Vec<&str> = net.node(id).path.split('.').collect();
            if MOST_DEPTH < parts.len() {
                let path = net.node(id).path.chars().take(80).collect();
                return Err(PyTorchError::Depth { path });
            }
            let mut scope = 0;
            for part in &parts[..parts.len() - 1] {
                scope = tree.scope(&mut found, scope, part);
            }
            tree.places[id.index()] = ((*parts[parts.len() - 1]).to_owned(), scope);
        }
        for id in layers {
            let (part, mut scope) = tree.places[id.index()].clone();
            // A group has the path of its branches' scope.
            let inner = found.get(&(scope, part.clone())).filter(|_| net.operands(id).len() > 1);
            if let Some(&inner) = inner {
                scope = inner;
                tree.places[id.index()] = (net.node(id).op.describe().0.to_owned(), inner);
            }
            tree.scopes[scope].items.push(Item::Layer(id));
            tree.scopes[0].nodes.push(id);
            while scope != 0 {
                let parent = tree.scopes[scope].parent;
                if tree.scopes[scope].nodes.is_empty() {
                    tree.scopes[parent].items.push(Item::Scope(scope));
                }
                tree.scopes[scope].nodes.push(id);
                scope = parent;
            }
        }
        Ok(tree)
    }

    /// The scope of a part in another.
    fn scope(&mut self, found: &mut HashMap<(usize, String), usize>, parent: usize, part: &str) -> usize {
        let key = (parent, part.to_owned());
        if let Some(&scope) = found.get(&key) {
            return scope;
        }
        let scope = self.scopes.len();
        let above = &self.scopes[parent].path;
        let path = if above.is_empty() && parent == 0 { part.to_owned() } else { format!("{above}.{part}") };
        self.scopes.push(Scope { part: part.to_owned(), path, parent, ..Scope::default() });
        found.insert(key, scope);
        scope
    }

    /// The value that a value is: what identities hand on is their operand.
    pub fn source(&self, value: ValueId) -> ValueId {
        self.handed[value.node.index()].unwrap_or(value)
    }

    /// The values that a layer takes.
    pub fn operands(&self, net: &Net, id: NodeId) -> Vec<ValueId> {
        net.operands(id).into_iter().map(|value| self.source(value)).collect()
    }

    /// The layers of an item.
    pub fn nodes<'a>(&'a self, item: &'a Item) -> &'a [NodeId] {
        match item {
            Item::Layer(id) => std::slice::from_ref(id),
            Item::Scope(scope) => &self.scopes[*scope].nodes,
        }
    }

    /// The last part of an item's path.
    pub fn part(&self, item: Item) -> &str {
        match item {
            Item::Layer(id) => &self.places[id.index()].0,
            Item::Scope(scope) => &self.scopes[scope].part,
        }
    }
}

/// Whether a node computes nothing: inputs, and what hands its operand on.
fn is_passed(net: &Net, id: NodeId) -> bool {
    matches!(net.node(id).op, Op::Input(_) | Op::Identity(_))
}
