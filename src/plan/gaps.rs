//! Places for more stretches of memory than can be compared with each other: in the order of time, each in the smallest
//! gap that holds it. Takes time in proportion to their number times its logarithm.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

/// A stretch of memory: its length, and the first and last step at which it is alive.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    pub(super) len: usize,
    pub(super) first: usize,
    pub(super) last: usize,
}

/// An offset for each stretch, such that no two overlap that are alive at once.
pub(super) fn place(stretches: &[Stretch]) -> Vec<usize> {
    let mut by_time: Vec<usize> = (0..stretches.len()).collect();
    by_time.sort_by_key(|&at| (stretches[at].first, Reverse(stretches[at].len), at));
    let mut offsets = vec![0; stretches.len()];
    let mut alive: BinaryHeap<Reverse<(usize, usize)>> = BinaryHeap::new();
    let mut gaps = Gaps::default();
    for at in by_time {
        let Stretch { len, first, last } = stretches[at];
        while let Some(&Reverse((end, other))) = alive.peek()
            && end < first
        {
            alive.pop();
            gaps.give(offsets[other], stretches[other].len);
        }
        offsets[at] = gaps.take(len);
        alive.push(Reverse((last, at)));
    }
    offsets
}

/// Free stretches below `end`, none of which touches another.
#[derive(Default)]
struct Gaps {
    by_offset: BTreeMap<usize, usize>,
    by_len: BTreeSet<(usize, usize)>,
    end: usize,
}

impl Gaps {
    fn insert(&mut self, offset: usize, len: usize) {
        if 0 < len {
            self.by_offset.insert(offset, len);
            self.by_len.insert((len, offset));
        }
    }

    fn remove(&mut self, offset: usize, len: usize) {
        self.by_offset.remove(&offset);
        self.by_len.remove(&(len, offset));
    }

    fn take(&mut self, len: usize) -> usize {
        if let Some(&(room, offset)) = self.by_len.range((len, 0)..).next() {
            self.remove(offset, room);
            self.insert(offset + len, room - len);
            return offset;
        }
        let last = self.by_offset.last_key_value().map(|(&offset, &room)| (offset, room));
        let offset = match last.filter(|(offset, room)| offset + room == self.end) {
            Some((offset, room)) => {
                self.remove(offset, room);
                offset
            }
            None => self.end,
        };
        self.end = offset + len;
        offset
    }

    fn give(&mut self, mut offset: usize, mut len: usize) {
        let before = self.by_offset.range(..offset).next_back().map(|(&offset, &room)| (offset, room));
        if let Some((start, room)) = before.filter(|(start, room)| start + room == offset) {
            self.remove(start, room);
            (offset, len) = (start, len + room);
        }
        if let Some(&room) = self.by_offset.get(&(offset + len)) {
            self.remove(offset + len, room);
            len += room;
        }
        self.insert(offset, len);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_alive_at_once_lies_apart(rows in prop::collection::vec((0usize..9, 0usize..20, 0usize..9), 0..40)) {
            let stretches: Vec<Stretch> =
                rows.iter().map(|&(len, first, life)| Stretch { len, first, last: first + life }).collect();
            let offsets = place(&stretches);
            for (a, b) in (0..rows.len()).flat_map(|b| (0..b).map(move |a| (a, b))) {
                let (x, y) = (stretches[a], stretches[b]);
                let together = x.first <= y.last && y.first <= x.last;
                let apart = offsets[a] + x.len <= offsets[b] || offsets[b] + y.len <= offsets[a];
                prop_assert!(!together || apart || x.len == 0 || y.len == 0, "{a} and {b} of {stretches:?}: {offsets:?}");
            }
        }
    }

    #[test]
    fn what_has_died_makes_room() {
        let stretches: Vec<Stretch> = (0..100).map(|at| Stretch { len: 16, first: at, last: at + 1 }).collect();
        assert_eq!(place(&stretches).into_iter().max(), Some(16));
    }
}
