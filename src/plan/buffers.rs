//! Memory: which values share a place, and where each place lies.
//!
//! A root is a stretch of memory. A view and a result in place live in their operand's root; at batch 1 the parts of a
//! concatenation over channels live inside its root. A root is alive from the first write into it to the last read of
//! any value in it. Roots are laid out greedily by size at the lowest offset that is free while they live (Pisarchyk &
//! Lee 2020, arXiv:2001.03288).

use std::collections::HashMap;
use std::ops::Range;

use super::gaps::{self, Stretch};
use super::select::{is_view, works_in_place};
use crate::ir::{NodeId, ValueId};
use crate::op::Op;
use crate::opt::Optimised;

/// Places start at multiples of this many elements: 64 bytes.
pub const ALIGN: usize = 16;

/// How many roots are compared with each other; of more, places are found in the order of time ([`gaps`]).
const MOST_COMPARED: usize = 4096;

/// Where every value lies.
#[derive(Clone, Debug)]
pub struct Layout {
    values: HashMap<ValueId, (usize, usize, usize)>,
    offsets: Vec<usize>,
    /// Elements of the arena.
    pub arena: usize,
    /// The largest sum of sizes alive at once.
    pub lower_bound: usize,
}

impl Layout {
    /// The elements of a value.
    pub fn place(&self, value: ValueId) -> Range<usize> {
        let (root, offset, len) = self.values[&value];
        let start = self.offsets[root] + offset;
        start..start + len
    }
}

#[derive(Clone, Debug)]
struct Root {
    len: usize,
    first: usize,
    last: usize,
    /// Whether it is part of, or has parts of, a concatenation: then no result may overwrite it.
    shared: bool,
    /// The root it moved into, with its offset there.
    moved: Option<(usize, usize)>,
}

struct Roots {
    roots: Vec<Root>,
    values: HashMap<ValueId, (usize, usize)>,
}

impl Roots {
    fn make(&mut self, value: ValueId, len: usize, first: usize, last: usize) -> usize {
        self.roots.push(Root { len, first, last, shared: false, moved: None });
        self.values.insert(value, (self.roots.len() - 1, 0));
        self.roots.len() - 1
    }

    /// The root that a value lies in after all moves, and its offset there.
    fn resolve(&self, value: ValueId) -> (usize, usize) {
        let (mut root, mut offset) = self.values[&value];
        while let Some((into, at)) = self.roots[root].moved {
            root = into;
            offset += at;
        }
        (root, offset)
    }

    fn share(&mut self, value: ValueId, with: ValueId, last: usize) {
        self.values.insert(value, self.values[&with]);
        let (root, _) = self.resolve(value);
        self.roots[root].last = self.roots[root].last.max(last);
    }
}

/// Lays out the values of a graph that is computed in this order. `fused` are activations that the node in front of
/// them applies.
pub fn lay_out(
    optimised: &Optimised,
    order: &[NodeId],
    dims: &HashMap<ValueId, Vec<usize>>,
    fused: &HashMap<NodeId, NodeId>,
) -> Layout {
    let net = &optimised.net;
    let last_uses = last_uses(optimised, order);
    let len = |value: ValueId| dims[&value].iter().product::<usize>();
    let mut roots = Roots { roots: Vec::new(), values: HashMap::new() };
    for (time, &id) in order.iter().enumerate() {
        let node = net.node(id);
        let operands = net.operands(id);
        let value = ValueId::from(id);
        let last = |value: ValueId| last_uses.get(&value).copied().unwrap_or(time);
        if is_view(&node.op) || fused.contains_key(&id) {
            roots.share(value, operands[0], last(value));
            continue;
        }
        if let Some(&operand) = operands.first()
            && works_in_place(&node.op)
            && len(operand) == len(value)
            && !operands[1..].contains(&operand)
        {
            let (root, _) = roots.resolve(operand);
            if roots.roots[root].last == time && !roots.roots[root].shared {
                roots.share(value, operand, last(value));
                continue;
            }
        }
        for output in (0u32..).take(optimised.shapes.results(id).len()) {
            let value = ValueId { node: id, output };
            // Inputs are all written before the first step.
            let first = if matches!(node.op, Op::Input(_)) { 0 } else { time };
            roots.make(value, len(value), first, last(value));
        }
        if let Op::Concat(concat) = &node.op
            && concat.axis == 0
            && dims[&value].first() == Some(&1)
        {
            place_parts(&mut roots, value, &operands, &len);
        }
    }
    offsets(roots, dims)
}

/// Moves the parts of a concatenation into it, where each still has a root of its own.
fn place_parts(roots: &mut Roots, whole: ValueId, parts: &[ValueId], len: &impl Fn(ValueId) -> usize) {
    let (into, _) = roots.resolve(whole);
    let mut at = 0;
    for &part in parts {
        let (root, offset) = roots.resolve(part);
        let own = root != into && offset == 0 && !roots.roots[root].shared && roots.roots[root].len == len(part);
        if own && at % ALIGN == 0 {
            let (first, last) = (roots.roots[root].first, roots.roots[root].last);
            roots.roots[root].moved = Some((into, at));
            let whole = &mut roots.roots[into];
            whole.shared = true;
            whole.first = whole.first.min(first);
            whole.last = whole.last.max(last);
        }
        at += len(part);
    }
}

/// The last step that reads each value; outputs are read after the last step.
fn last_uses(optimised: &Optimised, order: &[NodeId]) -> HashMap<ValueId, usize> {
    let mut last = HashMap::new();
    for (time, &id) in order.iter().enumerate() {
        for operand in optimised.net.operands(id) {
            last.insert(operand, time);
        }
    }
    for output in &optimised.net.outputs {
        last.insert(output.value, order.len());
    }
    last
}

fn offsets(roots: Roots, dims: &HashMap<ValueId, Vec<usize>>) -> Layout {
    let own: Vec<usize> = (0..roots.roots.len()).filter(|&root| roots.roots[root].moved.is_none()).collect();
    let stretches: Vec<Stretch> = own
        .iter()
        .map(|&root| &roots.roots[root])
        .map(|&Root { len, first, last, .. }| Stretch { len: len.next_multiple_of(ALIGN), first, last })
        .collect();
    let places = if stretches.len() <= MOST_COMPARED { by_size(&stretches) } else { gaps::place(&stretches) };
    let mut offsets = vec![0; roots.roots.len()];
    own.iter().zip(&places).for_each(|(&root, &place)| offsets[root] = place);
    let arena = stretches.iter().zip(&places).map(|(stretch, place)| place + stretch.len).max().unwrap_or(0);
    let lower_bound = lower_bound(&roots);
    let values = roots
        .values
        .keys()
        .map(|&value| {
            let (root, offset) = roots.resolve(value);
            (value, (root, offset, dims[&value].iter().product()))
        })
        .collect();
    Layout { values, offsets, arena, lower_bound }
}

/// The largest first, each at the lowest offset that is free while it lives.
fn by_size(stretches: &[Stretch]) -> Vec<usize> {
    let mut largest: Vec<usize> = (0..stretches.len()).collect();
    largest.sort_by_key(|&at| (std::cmp::Reverse(stretches[at].len), at));
    let mut offsets = vec![0; stretches.len()];
    // What is placed by offset, so that the first gap that fits is found in one sweep.
    let mut placed: Vec<usize> = Vec::new();
    for at in largest {
        let Stretch { len, first, last } = stretches[at];
        let mut offset = 0;
        for &other in &placed {
            let neighbour = &stretches[other];
            if neighbour.last < first || last < neighbour.first {
                continue;
            }
            if offset + len <= offsets[other] {
                break;
            }
            offset = offset.max(offsets[other] + neighbour.len);
        }
        offsets[at] = offset;
        let place = placed.partition_point(|&other| offsets[other] <= offset);
        placed.insert(place, at);
    }
    offsets
}

fn lower_bound(roots: &Roots) -> usize {
    let mut changes: Vec<(usize, bool, usize)> = Vec::new();
    for root in roots.roots.iter().filter(|root| root.moved.is_none()) {
        changes.push((root.first, true, root.len));
        changes.push((root.last + 1, false, root.len));
    }
    // Ends sort in front of beginnings at the same time.
    changes.sort_unstable();
    let (mut alive, mut most) = (0usize, 0usize);
    for (_, begins, len) in changes {
        alive = if begins { alive + len } else { alive - len };
        most = most.max(alive);
    }
    most
}
