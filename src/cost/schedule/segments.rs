//! The best order: between cuts the best of the guesses, and a search where they may not be the best there is.

use std::ops::Range;

use super::orders;
use super::problem::Problem;
use super::search::{self, Found};

/// How many states all searches together may look at.
const STATES: usize = 1 << 17;

/// An order.
pub(super) struct Best {
    pub order: Vec<u32>,
    /// Whether no order has a smaller peak.
    pub optimal: bool,
}

/// The order with the smallest peak that was found.
pub(super) fn best(problem: &Problem) -> Best {
    let program: Vec<u32> = (0..problem.tasks.len() as u32).collect();
    let guesses = [program, orders::depth_first(problem), orders::greedy(problem)];
    let traces = guesses.each_ref().map(|order| problem.trace(order));
    let segments = cuts(problem);
    let mut order: Vec<u32> = Vec::with_capacity(problem.tasks.len());
    let mut open: Vec<(u64, Range<usize>)> = Vec::new();
    for range in segments {
        let peak = |trace: &Vec<u64>| trace[range.clone()].iter().copied().max().unwrap_or(0);
        let Some((guess, lowest)) = traces.iter().map(peak).enumerate().min_by_key(|&(at, peak)| (peak, at)) else {
            continue;
        };
        order.extend(&guesses[guess][range.clone()]);
        open.push((lowest, range));
    }
    let mut walk = problem.walk();
    let before = order.iter().map(|&task| (walk.alive, walk.run(task)).0).collect::<Vec<u64>>();
    let optimal = improve(problem, &mut order, &before, &mut open);
    Best { order, optimal }
}

/// Searches the segments with the highest peaks for better orders, until one remains that has none.
/// `before` is what is alive before each step; at the start of a segment that is the same in all orders.
fn improve(problem: &Problem, order: &mut [u32], before: &[u64], open: &mut [(u64, Range<usize>)]) -> bool {
    let floor = (0..problem.tasks.len() as u32).map(|task| problem.least(task)).max().unwrap_or(0);
    let floor = floor.max(problem.at_start());
    let mut states = STATES;
    let mut settled = floor;
    open.sort_by_key(|(peak, range)| (std::cmp::Reverse(*peak), range.start));
    for (peak, range) in open.iter() {
        if *peak <= settled {
            return true;
        }
        match search::search(problem, range.clone(), before[range.start], settled..*peak, &mut states) {
            Found::Better(better, peak) => {
                order[range.clone()].copy_from_slice(&better);
                settled = settled.max(peak);
            }
            Found::Nothing => settled = *peak,
            Found::GaveUp => return false,
        }
    }
    true
}

/// The ranges between tasks that have one place in every order. A task has one if, when it can run, nothing else can,
/// in the order and in its reverse.
fn cuts(problem: &Problem) -> Vec<Range<usize>> {
    let count = problem.tasks.len();
    let forward = alone(0..count, &problem.before, &problem.after);
    let backward = alone((0..count).rev(), &problem.after, &problem.before);
    let mut ranges = Vec::new();
    let mut start = 0;
    for at in 0..count {
        if forward[at] && backward[at] {
            ranges.push(start..at + 1);
            start = at + 1;
        }
    }
    if start < count {
        ranges.push(start..count);
    }
    ranges
}

/// For each task, walking in an order that is possible, whether it is the only one that can run when its turn comes.
fn alone(order: impl Iterator<Item = usize>, waits_for: &[Vec<u32>], frees: &[Vec<u32>]) -> Vec<bool> {
    let mut waits: Vec<usize> = waits_for.iter().map(Vec::len).collect();
    let mut ready = waits.iter().filter(|&&waits| waits == 0).count();
    let mut alone = vec![false; waits.len()];
    for task in order {
        alone[task] = ready == 1;
        ready -= 1;
        for &next in &frees[task] {
            waits[next as usize] -= 1;
            ready += usize::from(waits[next as usize] == 0);
        }
    }
    alone
}
