//! An exhaustive search for the order of a few tasks with the smallest peak.
//!
//! What is alive depends on the set of tasks that have run, not on their order, so the search walks over sets, best
//! peak first. A task that does not raise the peak and leaves no more alive than before is run at once: later it would
//! free no less and everything in between would have more memory, so nothing is lost.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::ops::Range;

use super::problem::Problem;

/// Tasks that one search can handle: a set is a word.
const MOST: usize = 64;

/// What a search came to.
pub(super) enum Found {
    /// An order and its peak.
    Better(Vec<u32>, u64),
    /// No order has a smaller peak.
    Nothing,
    /// Too many tasks or states.
    GaveUp,
}

/// A buffer that tasks of the segment read or write.
struct Local {
    bytes: u64,
    /// The tasks of the segment that read it.
    users: u64,
    /// Whether it is alive after the segment.
    outlives: bool,
    may_overwrite: bool,
}

/// The tasks of a segment. A set of them has the bit `task - first` for each.
struct Segment<'a> {
    problem: &'a Problem,
    tasks: Range<u32>,
    before: Vec<u64>,
    locals: HashMap<u32, Local>,
}

/// Searches the orders of a segment, which starts with `alive` bytes, for one with a peak below `peaks.end`; anything
/// down to `peaks.start` is as good.
pub(super) fn search(
    problem: &Problem,
    segment: Range<usize>,
    alive: u64,
    peaks: Range<u64>,
    states: &mut usize,
) -> Found {
    if segment.len() > MOST {
        return Found::GaveUp;
    }
    Segment::new(problem, segment.start as u32..segment.end as u32).search(alive, peaks, states)
}

impl<'a> Segment<'a> {
    fn new(problem: &'a Problem, tasks: Range<u32>) -> Self {
        let mask = |all: &[u32]| {
            all.iter().filter(|task| tasks.contains(task)).fold(0u64, |mask, task| mask | 1 << (task - tasks.start))
        };
        let before = tasks.clone().map(|task| mask(&problem.before[task as usize])).collect();
        let mut locals = HashMap::new();
        for task in &problem.tasks[tasks.start as usize..tasks.end as usize] {
            for &buffer in task.reads.iter().chain(&task.writes) {
                locals.entry(buffer).or_insert_with(|| {
                    let whole = &problem.buffers[buffer as usize];
                    Local {
                        bytes: whole.bytes,
                        users: mask(&whole.users),
                        outlives: whole.kept || whole.users.iter().any(|&user| tasks.end <= user),
                        may_overwrite: !whole.input && !whole.kept,
                    }
                });
            }
        }
        Segment { problem, tasks, before, locals }
    }

    /// Bytes alive while a task runs after a set of others, and afterwards.
    fn run(&self, done: u64, alive: u64, at: usize) -> (u64, u64) {
        let task = &self.problem.tasks[self.tasks.start as usize + at];
        let added: u64 = task.writes.iter().map(|buffer| self.locals[buffer].bytes).sum();
        let (mut freed, mut saved) = (0, 0);
        for buffer in &task.writes {
            let local = &self.locals[buffer];
            freed += if local.users == 0 && !local.outlives { local.bytes } else { 0 };
        }
        for buffer in &task.reads {
            let local = &self.locals[buffer];
            if local.users & !done == 1 << at && !local.outlives {
                freed += local.bytes;
                if task.in_place && task.writes.len() == 1 && local.bytes == added && local.may_overwrite {
                    saved = added;
                }
            }
        }
        (alive + added - saved, alive + added - freed)
    }

    fn ready(&self, done: u64) -> impl Iterator<Item = usize> + '_ {
        (0..self.tasks.len()).filter(move |&at| done & 1 << at == 0 && self.before[at] & !done == 0)
    }

    fn search(&self, start: u64, peaks: Range<u64>, states: &mut usize) -> Found {
        let full = if self.tasks.len() == MOST { u64::MAX } else { (1 << self.tasks.len()) - 1 };
        // For each set the best peak so far, what is alive after it, and the task by which it was reached.
        let mut known: HashMap<u64, (u64, u64, usize)> = HashMap::from([(0, (peaks.start, start, 0))]);
        let mut open = BinaryHeap::from([(Reverse(peaks.start), 0u32, 0u64)]);
        while let Some((Reverse(highest), _, done)) = open.pop() {
            let (best, alive, _) = known[&done];
            if best < highest {
                continue;
            }
            if done == full {
                return Found::Better(self.path(&known, full), highest);
            }
            if *states == 0 {
                return Found::GaveUp;
            }
            *states -= 1;
            let free = self.ready(done).find(|&at| {
                let (during, after) = self.run(done, alive, at);
                during <= highest && after <= alive
            });
            let choices: Vec<usize> = free.map_or_else(|| self.ready(done).collect(), |at| vec![at]);
            for at in choices {
                let (during, after) = self.run(done, alive, at);
                let (next, reached) = (done | 1 << at, highest.max(during));
                if reached < peaks.end && known.get(&next).is_none_or(|&(best, _, _)| reached < best) {
                    known.insert(next, (reached, after, at));
                    open.push((Reverse(reached), next.count_ones(), next));
                }
            }
        }
        Found::Nothing
    }

    fn path(&self, known: &HashMap<u64, (u64, u64, usize)>, full: u64) -> Vec<u32> {
        let mut order = Vec::with_capacity(self.tasks.len());
        let mut done = full;
        while done != 0 {
            let (_, _, at) = known[&done];
            order.push(self.tasks.start + at as u32);
            done &= !(1 << at);
        }
        order.reverse();
        order
    }
}
