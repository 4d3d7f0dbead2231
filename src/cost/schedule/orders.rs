//! Orders that are good guesses.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::problem::Problem;

/// Of the tasks that can run, always the one after which the least is alive; the oldest of several.
pub(super) fn greedy(problem: &Problem) -> Vec<u32> {
    let count = problem.tasks.len();
    let mut walk = problem.walk();
    let mut waits: Vec<u32> = problem.before.iter().map(|before| before.len() as u32).collect();
    let mut done = vec![false; count];
    let mut order = Vec::with_capacity(count);
    // For each buffer the sum of the users that have not run: with one left, that one.
    let mut users: Vec<u64> =
        problem.buffers.iter().map(|buffer| buffer.users.iter().map(|&user| u64::from(user)).sum()).collect();
    let mut ready = BinaryHeap::new();
    let growth = |walk: &super::problem::Walk, task: u32| {
        let (added, freed, _) = walk.effect(task);
        i128::from(added) - i128::from(freed)
    };
    for task in (0..count as u32).filter(|&task| waits[task as usize] == 0) {
        ready.push(Reverse((growth(&walk, task), task)));
    }
    while let Some(Reverse((_, task))) = ready.pop() {
        if std::mem::replace(&mut done[task as usize], true) {
            continue;
        }
        order.push(task);
        walk.run(task);
        for &buffer in &problem.tasks[task as usize].reads {
            users[buffer as usize] -= u64::from(task);
            if walk.left[buffer as usize] == 1 {
                let last = users[buffer as usize] as u32;
                // Running it has become cheaper; what stands in the heap for it comes later and finds it done.
                if waits[last as usize] == 0 {
                    ready.push(Reverse((growth(&walk, last), last)));
                }
            }
        }
        for &next in &problem.after[task as usize] {
            waits[next as usize] -= 1;
            if waits[next as usize] == 0 {
                ready.push(Reverse((growth(&walk, next), next)));
            }
        }
    }
    order
}

/// Depth first from what nobody waits for: each task directly after what it needs, of which the most demanding first
/// (Sethi & Ullman 1970, with sizes in the place of registers; a value used twice counts as two).
pub(super) fn depth_first(problem: &Problem) -> Vec<u32> {
    let count = problem.tasks.len();
    let operands = by_demand(problem);
    let mut seen = vec![false; count];
    let mut order = Vec::with_capacity(count);
    let mut open: Vec<(u32, usize)> = Vec::new();
    for root in (0..count as u32).filter(|&task| problem.after[task as usize].is_empty()) {
        seen[root as usize] = true;
        open.push((root, 0));
        while let Some((task, next)) = open.pop() {
            let Some(&operand) = operands[task as usize].get(next) else {
                order.push(task);
                continue;
            };
            open.push((task, next + 1));
            if !std::mem::replace(&mut seen[operand as usize], true) {
                open.push((operand, 0));
            }
        }
    }
    order
}

/// What each task waits for, in the order in which it should run.
fn by_demand(problem: &Problem) -> Vec<Vec<u32>> {
    let made = |task: u32| -> u64 {
        let writes = &problem.tasks[task as usize].writes;
        writes.iter().map(|&buffer| problem.buffers[buffer as usize].bytes).sum()
    };
    let mut demand = vec![0u64; problem.tasks.len()];
    let mut sorted = Vec::with_capacity(problem.tasks.len());
    for task in 0..problem.tasks.len() as u32 {
        let mut operands = problem.before[task as usize].clone();
        operands.sort_by_key(|&operand| {
            (Reverse(i128::from(demand[operand as usize]) - i128::from(made(operand))), operand)
        });
        let (mut held, mut most) = (0u64, problem.least(task));
        for &operand in &operands {
            most = most.max(held.saturating_add(demand[operand as usize]));
            held = held.saturating_add(made(operand));
        }
        demand[task as usize] = most;
        sorted.push(operands);
    }
    sorted
}
