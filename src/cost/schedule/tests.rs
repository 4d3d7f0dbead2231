//! Orders of small random problems against all orders there are, and what is alive against its definition.

use proptest::prelude::*;

use super::problem::{Buffer, Problem, Task};
use super::{orders, segments};
use crate::ir::NodeId;

/// Task `t` writes buffer `t + inputs` and reads what `reads` says; buffers before `inputs` are inputs.
#[derive(Clone, Debug)]
struct Net {
    inputs: usize,
    bytes: Vec<u64>,
    reads: Vec<Vec<u32>>,
    in_place: Vec<bool>,
    kept: Vec<u32>,
}

impl Net {
    fn problem(&self) -> Problem {
        let nodes: Vec<NodeId> = (0..self.reads.len()).map(|task| NodeId::new(task + self.inputs)).collect();
        let tasks = self.reads.iter().zip(&self.in_place).enumerate().map(|(at, (reads, &in_place))| {
            let task = Task { reads: reads.clone(), writes: vec![(at + self.inputs) as u32], in_place };
            (task, reads.iter().map(|&read| NodeId::new(read as usize)).collect())
        });
        let buffers = self.bytes.iter().enumerate().map(|(at, &bytes)| Buffer {
            bytes,
            input: at < self.inputs,
            kept: self.kept.contains(&(at as u32)),
            users: Vec::new(),
        });
        Problem::new(tasks.collect(), &nodes, buffers.collect())
    }

    /// The peak by its definition: at each step, everything that has been written or is an input, and is kept or used
    /// at this step or later or written at this step; once less where an operand is written over.
    fn peak(&self, order: &[u32]) -> u64 {
        let made = |task: u32| task + self.inputs as u32;
        let at_start = (0..self.inputs).map(|input| self.bytes[input]).sum::<u64>();
        let steps = (0..order.len()).map(|step| {
            let task = order[step];
            let used_from = |buffer: u32, from: usize| {
                order[from..].iter().any(|&later| self.reads[later as usize].contains(&buffer))
            };
            let alive = (0..self.bytes.len() as u32).filter(|&buffer| {
                let exists = (buffer as usize) < self.inputs || order[..=step].iter().any(|&t| made(t) == buffer);
                let needed = self.kept.contains(&buffer) || used_from(buffer, step) || buffer == made(task);
                // What nobody uses goes after its own step, an input after the start of nothing at all.
                exists && (needed || ((buffer as usize) < self.inputs && !used_from(buffer, 0)))
            });
            let size = self.bytes[made(task) as usize];
            let over = self.in_place[task as usize]
                && self.reads[task as usize].iter().any(|&read| {
                    let dies = !used_from(read, step + 1) && !self.kept.contains(&read);
                    dies && self.inputs <= read as usize && self.bytes[read as usize] == size
                });
            alive.map(|buffer| self.bytes[buffer as usize]).sum::<u64>() - if over { size } else { 0 }
        });
        steps.max().unwrap_or(0).max(at_start)
    }

    /// The least peak of all orders.
    fn least(&self) -> u64 {
        let mut best = u64::MAX;
        self.extend(&mut Vec::new(), &mut best);
        best
    }

    fn extend(&self, order: &mut Vec<u32>, best: &mut u64) {
        if order.len() == self.reads.len() {
            *best = (*best).min(self.peak(order));
            return;
        }
        for task in 0..self.reads.len() as u32 {
            let done = |read: &u32| (*read as usize) < self.inputs || order.contains(&(*read - self.inputs as u32));
            if !order.contains(&task) && self.reads[task as usize].iter().all(done) {
                order.push(task);
                self.extend(order, best);
                order.pop();
            }
        }
    }

    fn assert_possible(&self, order: &[u32]) {
        let mut sorted = order.to_vec();
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..self.reads.len() as u32), "every task once: {order:?}");
        for (step, &task) in order.iter().enumerate() {
            for &read in &self.reads[task as usize] {
                let made =
                    (read as usize) < self.inputs || order[..step].iter().any(|&t| t + self.inputs as u32 == read);
                assert!(made, "{task} reads {read} before it is made in {order:?}");
            }
        }
    }
}

/// Problems of up to `most` tasks in which everything is connected to something.
fn nets(most: usize) -> impl Strategy<Value = Net> {
    (1usize..3, 1usize..=most).prop_flat_map(|(inputs, tasks)| {
        let reads: Vec<_> = (0..tasks).map(|task| prop::collection::vec(0..(inputs + task) as u32, 1..4)).collect();
        let bytes = prop::collection::vec(prop::sample::select(vec![1u64, 2, 4, 4, 8, 16]), inputs + tasks);
        let in_place = prop::collection::vec(any::<bool>(), tasks);
        let kept = prop::collection::vec(0..(inputs + tasks) as u32, 0..3);
        (Just(inputs), bytes, reads, in_place, kept).prop_map(|(inputs, bytes, mut reads, in_place, kept)| {
            for reads in &mut reads {
                reads.sort_unstable();
                reads.dedup();
            }
            Net { inputs, bytes, reads, in_place, kept }
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn finds_the_least_peak(net in nets(7)) {
        let problem = net.problem();
        let best = segments::best(&problem);
        net.assert_possible(&best.order);
        let peak = problem.trace(&best.order).into_iter().max().unwrap_or(0).max(problem.at_start());
        prop_assert_eq!(peak, net.peak(&best.order));
        prop_assert!(best.optimal);
        prop_assert_eq!(peak, net.least());
    }

    #[test]
    fn guesses_are_possible(net in nets(40)) {
        let problem = net.problem();
        net.assert_possible(&orders::greedy(&problem));
        net.assert_possible(&orders::depth_first(&problem));
        let best = segments::best(&problem);
        net.assert_possible(&best.order);
        let peak = |order: &[u32]| problem.trace(order).into_iter().max().unwrap_or(0).max(problem.at_start());
        let program: Vec<u32> = (0..problem.tasks.len() as u32).collect();
        prop_assert!(peak(&best.order) <= peak(&program));
        let floor = (0..problem.tasks.len() as u32).map(|task| problem.least(task)).max().unwrap_or(0);
        prop_assert!(floor <= peak(&best.order));
    }
}

/// Two branches, each of which blows up before it shrinks: one after the other, not side by side.
#[test]
fn finishes_a_branch_before_the_next() {
    // 0 is the input; 1 and 3 are large, 2 and 4 small, 5 joins them.
    let net = Net {
        inputs: 1,
        bytes: vec![1, 100, 1, 100, 1, 2],
        reads: vec![vec![0], vec![1], vec![0], vec![3], vec![2, 4]],
        in_place: vec![false; 5],
        kept: vec![5],
    };
    let problem = net.problem();
    let sideways = [0, 2, 1, 3, 4];
    assert_eq!(net.peak(&sideways), 201);
    let best = segments::best(&problem);
    assert_eq!((net.peak(&best.order), best.optimal), (102, true));
}
