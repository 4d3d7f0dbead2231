//! The order in which a person would write a net's layers: a main line, with groups where it parts and joins again.

use std::collections::{HashMap, HashSet};

use crate::ir::{Net, NodeId, ValueId};
use crate::op::Op;

/// A piece of a chain.
#[derive(Clone, Debug)]
pub enum Item {
    /// A layer on the value above it.
    Layer(NodeId),
    /// A layer on values that are named, as a label of each wants.
    Wired(NodeId),
    /// Branches from the value above, joined by a node; an empty one is the identity.
    Group(NodeId, Vec<Vec<Item>>),
    /// A chain from a value further up; what comes after goes on from where it was.
    From(ValueId, Vec<Item>),
    /// An output of the value above.
    Output(usize),
}

/// Groups and side chains inside one another, beyond which layers are wired by name; the language allows 256.
const MAX_DEPTH: usize = 64;

/// The whole net behind its inputs.
pub fn chain(net: &Net) -> Vec<Item> {
    let order: Vec<NodeId> = net.topological();
    let nodes: Vec<NodeId> = order.iter().copied().filter(|&id| !matches!(net.node(id).op, Op::Input(_))).collect();
    let builder = Builder { net, place: order.iter().enumerate().map(|(at, &id)| (id, at)).collect() };
    let within = Within { depth: 0, outermost: true };
    builder.line(net.inputs.last().map(|&id| ValueId::from(id)), nodes, within)
}

/// Where a line stands.
#[derive(Clone, Copy)]
struct Within {
    /// How many groups and side chains are around it.
    depth: usize,
    /// Whether there is no group around it, so that outputs may stand in it.
    outermost: bool,
}

struct Builder<'a> {
    net: &'a Net,
    /// Where each node stands in the order.
    place: HashMap<NodeId, usize>,
}

impl Builder<'_> {
    /// All these nodes, in order, from the value above; with the outputs of the net that name their results.
    fn line(&self, above: Option<ValueId>, nodes: Vec<NodeId>, within: Within) -> Vec<Item> {
        let (mut above, mut left, mut items) = (above, nodes, Vec::new());
        let (outermost, inner) = (within.outermost, Within { depth: within.depth + 1, ..within });
        if outermost {
            self.show(above, &mut items);
        }
        while let Some(&next) = left.first() {
            let users = self.users(above, &left);
            if let [user] = users.as_slice()
                && self.net.operands(*user).len() == 1
            {
                left.retain(|id| id != user);
                items.push(Item::Layer(*user));
                above = Some((*user).into());
            } else if let Some((join, branches, inside)) =
                above.and_then(|value| self.group(value, &users, &left, inner))
            {
                left.retain(|&id| id != join && !inside.contains(&id));
                items.push(Item::Group(join, branches));
                above = Some(join.into());
            } else if let Some((from, side)) = self.side(above, &users, &left, next, inner) {
                left.retain(|id| !side.contains(id));
                let body = self.line(Some(from), side, inner);
                if Some(from) == above && self.users(above, &left).is_empty() {
                    // Nothing else goes on from here: the main line itself.
                    above = body.iter().rev().find_map(Item::node).map(ValueId::from);
                    items.extend(body);
                } else {
                    items.push(Item::From(from, body));
                }
                continue;
            } else {
                left.retain(|&id| id != next);
                match self.net.operands(next).as_slice() {
                    // Others that take the value above do so by name.
                    [only] if Some(*only) == above => items.push(Item::Layer(next)),
                    &[from] => {
                        items.push(Item::From(from, vec![Item::Layer(next)]));
                        continue;
                    }
                    _ => items.push(Item::Wired(next)),
                }
                above = Some(next.into());
            }
            if outermost {
                self.show(above, &mut items);
            }
        }
        items
    }

    /// The outputs that show a value, when it stands above.
    fn show(&self, value: Option<ValueId>, items: &mut Vec<Item>) {
        let outputs = self.net.outputs.iter().enumerate().filter(|(_, output)| Some(output.value) == value);
        items.extend(outputs.map(|(at, _)| Item::Output(at)));
    }

    /// Those of the nodes, which are in order, that take a value.
    fn users(&self, value: Option<ValueId>, left: &[NodeId]) -> Vec<NodeId> {
        let Some(value) = value else { return Vec::new() };
        let mut users: Vec<NodeId> = self
            .net
            .users(value.node)
            .into_iter()
            .filter(|(output, _, _)| *output == value.output)
            .map(|(_, user, _)| user)
            .filter(|user| left.binary_search_by_key(&self.place[user], |id| self.place[id]).is_ok())
            .collect();
        users.sort_unstable_by_key(|id| self.place[id]);
        users.dedup();
        users
    }

    /// Branches from a value that join again, with the nodes in them: the first join that holds all they make.
    fn group(
        &self,
        above: ValueId,
        users: &[NodeId],
        left: &[NodeId],
        inner: Within,
    ) -> Option<(NodeId, Vec<Vec<Item>>, HashSet<NodeId>)> {
        if users.is_empty() || MAX_DEPTH < inner.depth {
            return None;
        }
        let here: HashSet<NodeId> = left.iter().copied().collect();
        let mut reached: HashSet<NodeId> = HashSet::new();
        for &join in left {
            let operands = self.net.operands(join);
            if operands.iter().any(|value| *value == above || reached.contains(&value.node)) {
                reached.insert(join);
            }
            let joins =
                matches!(self.net.node(join).op, Op::Add(_) | Op::Concat(_) | Op::Mul(_)) && 2 <= operands.len();
            let fed = operands.iter().all(|value| *value == above || reached.contains(&value.node));
            if joins
                && reached.contains(&join)
                && fed
                && let Some(group) = self.branches(above, join, &here, inner)
            {
                return Some(group);
            }
        }
        None
    }

    fn branches(
        &self,
        above: ValueId,
        join: NodeId,
        here: &HashSet<NodeId>,
        inner: Within,
    ) -> Option<(NodeId, Vec<Vec<Item>>, HashSet<NodeId>)> {
        // The end of a branch is used by the join alone; most joins that hold no group fail here, at no cost.
        let ends = self.net.operands(join).into_iter().filter(|operand| *operand != above);
        if ends.into_iter().any(|operand| operand.output != 0 || !self.net.has_one_use(operand.node)) {
            return None;
        }
        let mut inside = HashSet::new();
        let mut branches = Vec::new();
        for operand in self.net.operands(join) {
            if operand == above {
                branches.push(Vec::new());
                continue;
            }
            let branch = self.between(above, operand.node, here)?;
            if branch.iter().any(|id| !inside.insert(*id)) {
                return None;
            }
            branches.push(branch);
        }
        let shown = self.net.shown();
        let escapes = |&id: &NodeId| {
            shown.iter().any(|value| value.node == id)
                || self.net.users(id).iter().any(|(_, user, _)| *user != join && !inside.contains(user))
        };
        // At most one branch may be the value itself.
        if inside.iter().any(escapes) || branches.iter().filter(|branch| branch.is_empty()).count() > 1 {
            return None;
        }
        let lines = branches
            .into_iter()
            .map(|branch| self.line(Some(above), branch, Within { outermost: false, ..inner }))
            .collect();
        Some((join, lines, inside))
    }

    /// The nodes that a node needs back to a value; `None` where it needs something else.
    fn between(&self, above: ValueId, end: NodeId, here: &HashSet<NodeId>) -> Option<Vec<NodeId>> {
        let (mut found, mut open) = (HashSet::from([end]), vec![end]);
        while let Some(id) = open.pop() {
            for operand in self.net.operands(id) {
                if operand != above && found.insert(operand.node) {
                    if !here.contains(&operand.node) {
                        return None;
                    }
                    open.push(operand.node);
                }
            }
        }
        let mut nodes: Vec<NodeId> = found.into_iter().collect();
        nodes.sort_unstable_by_key(|id| self.place[id]);
        here.contains(&end).then_some(nodes)
    }

    /// A chain that goes off from a value and is used nowhere else but at its end. From the value above, the shortest of
    /// several that end in outputs.
    fn side(
        &self,
        above: Option<ValueId>,
        users: &[NodeId],
        left: &[NodeId],
        next: NodeId,
        inner: Within,
    ) -> Option<(ValueId, Vec<NodeId>)> {
        if MAX_DEPTH < inner.depth {
            return None;
        }
        if let (Some(above), true) = (above, 2 <= users.len()) {
            let sides =
                users.iter().filter_map(|&user| self.grown(above, user, left)).filter(|(_, escapes)| *escapes == 0);
            let shortest = sides.min_by_key(|(side, _)| side.len());
            if let Some((side, _)) = shortest.filter(|(side, _)| side.len() < left.len()) {
                return Some((above, side));
            }
        }
        let &[from] = self.net.operands(next).as_slice() else { return None };
        if Some(from) == above {
            return None;
        }
        let (side, escapes) = self.grown(from, next, left)?;
        Some((from, if 1 < escapes { vec![next] } else { side }))
    }

    /// The nodes that need nothing but a value and each other, from a first one on; and how many of their results are
    /// used elsewhere.
    fn grown(&self, from: ValueId, first: NodeId, left: &[NodeId]) -> Option<(Vec<NodeId>, usize)> {
        let mut side = vec![first];
        let mut inside = HashSet::from([first]);
        if self.net.operands(first).iter().any(|value| *value != from) {
            return None;
        }
        for &id in left {
            let operands = self.net.operands(id);
            let fits = operands.iter().all(|value| *value == from || inside.contains(&value.node));
            if !inside.contains(&id) && fits && operands.iter().any(|value| inside.contains(&value.node)) {
                inside.insert(id);
                side.push(id);
            }
        }
        side.sort_unstable_by_key(|id| self.place[id]);
        let escapes =
            side.iter().filter(|&&id| self.net.users(id).iter().any(|(_, user, _)| !inside.contains(user))).count();
        Some((side, escapes))
    }
}

impl Item {
    /// The node whose first result it leaves above.
    fn node(&self) -> Option<NodeId> {
        match self {
            Item::Layer(id) | Item::Wired(id) | Item::Group(id, _) => Some(*id),
            Item::From(..) | Item::Output(_) => None,
        }
    }

    /// All nodes in it.
    pub fn nodes(&self) -> Vec<NodeId> {
        match self {
            Item::Layer(id) | Item::Wired(id) => vec![*id],
            Item::Group(id, branches) => branches.iter().flatten().flat_map(Item::nodes).chain([*id]).collect(),
            Item::From(_, body) => body.iter().flat_map(Item::nodes).collect(),
            Item::Output(_) => Vec::new(),
        }
    }
}
