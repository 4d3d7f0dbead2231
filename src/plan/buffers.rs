//! Memory: which values share a place, and where each place lies.
//!
//! A root is a stretch of rows. A view and a result in place live in their operand's root; the parts of a concatenation
//! over channels are columns of its root. A root is alive from the first write into it to the last read of any value in
//! it. Roots are laid out greedily by size at the lowest offset that is free while they live (Pisarchyk & Lee 2020,
//! arXiv:2001.03288).

use std::collections::HashMap;

use super::fuse::{Dims, Group};
use super::gaps::{self, Stretch};
use super::select::{Kernel, rows};
use crate::ir::ValueId;
use crate::kernel::rows::Place;
use crate::op::Op;
use crate::opt::Optimised;

/// Roots start at multiples of this many elements: 64 bytes.
pub const ALIGN: usize = 16;

/// How many roots are compared with each other; of more, places are found in the order of time ([`gaps`]).
const MOST_COMPARED: usize = 4096;

/// Where every value lies.
#[derive(Clone, Debug)]
pub struct Layout {
    values: HashMap<ValueId, Place>,
    /// Elements of the arena.
    pub arena: usize,
    /// The largest sum of sizes alive at once.
    pub lower_bound: usize,
}

impl Layout {
    /// The rows of a value.
    pub fn place(&self, value: ValueId) -> Place {
        self.values[&value]
    }
}

#[derive(Clone, Debug)]
struct Root {
    count: usize,
    width: usize,
    first: usize,
    last: usize,
    /// Whether it is part of, or has parts of, a concatenation: then no result may overwrite it.
    shared: bool,
    /// The root it moved into, with its first column there.
    moved: Option<(usize, usize)>,
}

impl Root {
    fn len(&self) -> usize {
        (self.count * self.width).next_multiple_of(ALIGN)
    }
}

/// A value's root, its first column and its width.
type Columns = (usize, usize, usize);

struct Roots<'a> {
    roots: Vec<Root>,
    values: HashMap<ValueId, Columns>,
    dims: &'a Dims,
    last_uses: HashMap<ValueId, usize>,
}

impl Roots<'_> {
    /// When a value that is made at `time` is read for the last time.
    fn last_use(&self, value: ValueId, time: usize) -> usize {
        self.last_uses.get(&value).copied().unwrap_or(time)
    }

    fn make(&mut self, value: ValueId, first: usize) {
        let (count, width) = rows(&self.dims[&value]);
        let last = self.last_use(value, first);
        self.roots.push(Root { count, width, first, last, shared: false, moved: None });
        self.values.insert(value, (self.roots.len() - 1, 0, width));
    }

    /// The root that a value lies in after all moves, and its first column there.
    fn resolve(&self, value: ValueId) -> (usize, usize) {
        let (mut root, mut column, _) = self.values[&value];
        while let Some((into, at)) = self.roots[root].moved {
            root = into;
            column += at;
        }
        (root, column)
    }

    /// Puts a value where another is.
    fn share(&mut self, value: ValueId, with: ValueId, time: usize) {
        self.values.insert(value, self.values[&with]);
        let (root, _) = self.resolve(value);
        self.roots[root].last = self.roots[root].last.max(self.last_use(value, time));
    }

    /// Makes a slice of channels a range of columns of its operand.
    fn cut(&mut self, group: &Group, optimised: &Optimised, time: usize) {
        let (value, operand) = (group.results[0], group.reads[0]);
        let Op::Slice(slice) = &optimised.net.node(group.node).op else { return self.make(value, time) };
        let (root, column, _) = self.values[&operand];
        let (_, width) = rows(&self.dims[&value]);
        self.values.insert(value, (root, column + slice.start as usize, width));
        let (root, _) = self.resolve(value);
        let last = self.last_use(value, time);
        let root = &mut self.roots[root];
        root.last = root.last.max(last);
        root.shared = true;
    }

    /// Whether a result of `group` may take the place of `operand`, which it reads element by element.
    fn may_overwrite(&self, group: &Group, time: usize, operand: ValueId) -> bool {
        let (root, _) = self.resolve(operand);
        let others = group.reads.iter().filter(|&&read| self.resolve(read).0 == root).count();
        let same = rows(&self.dims[&operand]) == rows(&self.dims[&group.results[0]]);
        same && others == 1 && self.roots[root].last == time && !self.roots[root].shared
    }
}

/// Lays out the values of these steps; `aliases` are values that only look at another's memory.
pub(super) fn lay_out(
    optimised: &Optimised,
    groups: &[Group],
    aliases: &HashMap<ValueId, ValueId>,
    dims: &Dims,
) -> Layout {
    let root_of = |mut value: ValueId| {
        while let Some(&of) = aliases.get(&value) {
            value = of;
        }
        value
    };
    let groups: Vec<Group> = groups
        .iter()
        .map(|group| Group { reads: group.reads.iter().map(|&read| root_of(read)).collect(), ..group.clone() })
        .collect();
    let mut last_uses = HashMap::new();
    for (time, group) in groups.iter().enumerate() {
        last_uses.extend(group.reads.iter().map(|&read| (read, time)));
    }
    // Outputs are read after the last step.
    last_uses.extend(optimised.net.outputs.iter().map(|output| (root_of(output.value), groups.len())));
    let mut roots = Roots { roots: Vec::new(), values: HashMap::new(), dims, last_uses };
    // Inputs are all written before the first step.
    optimised.net.inputs.iter().for_each(|&id| roots.make(id.into(), 0));
    for (time, group) in groups.iter().enumerate() {
        let overwritten = match group.residual {
            Some(_) => group.reads.last(),
            None => group.overwritable.map(|at| &group.reads[at]),
        };
        match overwritten {
            Some(&operand) if roots.may_overwrite(group, time, operand) => {
                roots.share(group.results[0], operand, time);
                group.results[1..].iter().for_each(|&value| roots.make(value, time));
            }
            _ if group.kernel == Kernel::Columns => roots.cut(group, optimised, time),
            _ => group.results.iter().for_each(|&value| roots.make(value, time)),
        }
        if group.kernel == Kernel::Concat {
            place_parts(&mut roots, group);
        }
    }
    offsets(roots, aliases, root_of)
}

/// Moves the parts of a concatenation into it, where each still has a root of its own.
fn place_parts(roots: &mut Roots, group: &Group) {
    let (into, _) = roots.resolve(group.results[0]);
    let mut column = 0;
    for &part in &group.reads {
        let (root, offset) = roots.resolve(part);
        let (count, width) = rows(&roots.dims[&part]);
        let from = &roots.roots[root];
        let own = root != into && offset == 0 && from.width == width && from.count == count && from.moved.is_none();
        // An input is written as a whole before the first step, and need not be spread.
        if own {
            let (first, last) = (from.first, from.last);
            roots.roots[root].moved = Some((into, column));
            let whole = &mut roots.roots[into];
            whole.shared = true;
            whole.first = whole.first.min(first);
            whole.last = whole.last.max(last);
        }
        column += width;
    }
}

fn offsets(roots: Roots, aliases: &HashMap<ValueId, ValueId>, root_of: impl Fn(ValueId) -> ValueId) -> Layout {
    let own: Vec<usize> = (0..roots.roots.len()).filter(|&root| roots.roots[root].moved.is_none()).collect();
    let stretch = |root: &Root| Stretch { len: root.len(), first: root.first, last: root.last };
    let stretches: Vec<Stretch> = own.iter().map(|&root| stretch(&roots.roots[root])).collect();
    let places = if stretches.len() <= MOST_COMPARED { by_size(&stretches) } else { gaps::place(&stretches) };
    let mut offsets = vec![0; roots.roots.len()];
    own.iter().zip(&places).for_each(|(&root, &place)| offsets[root] = place);
    let arena = stretches.iter().zip(&places).map(|(stretch, place)| place + stretch.len).max().unwrap_or(0);
    let lower_bound = lower_bound(&roots);
    let place = |value: ValueId| {
        let ((root, column), (.., width)) = (roots.resolve(value), roots.values[&value]);
        let Root { count, width: stride, .. } = roots.roots[root];
        Place { start: offsets[root] + column, count, width, stride }
    };
    let mut values: HashMap<ValueId, Place> = roots.values.keys().map(|&value| (value, place(value))).collect();
    values.extend(aliases.keys().map(|&alias| (alias, place(root_of(alias)))).collect::<Vec<_>>());
    Layout { values, arena, lower_bound }
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
        changes.push((root.first, true, root.len()));
        changes.push((root.last + 1, false, root.len()));
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
