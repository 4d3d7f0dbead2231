//! Tasks that read and write buffers, and what is alive along an order of them.

use crate::ir::NodeId;

/// Something to run.
#[derive(Clone, Debug)]
pub(super) struct Task {
    /// The buffers it reads; each once.
    pub reads: Vec<u32>,
    /// The buffers it fills.
    pub writes: Vec<u32>,
    /// Whether it can write over a buffer that it reads.
    pub in_place: bool,
}

/// A piece of memory.
#[derive(Clone, Debug)]
pub(super) struct Buffer {
    pub bytes: u64,
    /// Filled before anything runs, and never written over.
    pub input: bool,
    /// Alive to the end, and never written over.
    pub kept: bool,
    /// The tasks that read it; each once.
    pub users: Vec<u32>,
}

/// Tasks in an order that is possible, with what each needs and feeds.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    pub tasks: Vec<Task>,
    pub buffers: Vec<Buffer>,
    /// The tasks that each waits for; each once.
    pub before: Vec<Vec<u32>>,
    /// The tasks that wait for it.
    pub after: Vec<Vec<u32>>,
}

impl Problem {
    /// Tasks with the nodes of their operands; `nodes` are their own, in a possible order.
    pub fn new(tasks: Vec<(Task, Vec<NodeId>)>, nodes: &[NodeId], mut buffers: Vec<Buffer>) -> Problem {
        let bound = nodes.iter().map(|id| id.index() + 1).max().unwrap_or(0);
        let mut task_of: Vec<Option<u32>> = vec![None; bound];
        for (task, id) in (0u32..).zip(nodes) {
            task_of[id.index()] = Some(task);
        }
        let mut after = vec![Vec::new(); tasks.len()];
        let mut before = Vec::with_capacity(tasks.len());
        let mut kept = Vec::with_capacity(tasks.len());
        for (at, (mut task, operands)) in (0u32..).zip(tasks) {
            distinct(&mut task.reads);
            task.reads.iter().for_each(|&buffer| buffers[buffer as usize].users.push(at));
            let mut waits: Vec<u32> =
                operands.iter().filter_map(|id| task_of.get(id.index()).copied().flatten()).collect();
            distinct(&mut waits);
            waits.iter().for_each(|&from| after[from as usize].push(at));
            before.push(waits);
            kept.push(task);
        }
        Problem { tasks: kept, buffers, before, after }
    }

    /// Bytes of the inputs.
    pub fn at_start(&self) -> u64 {
        self.buffers.iter().filter(|buffer| buffer.input).map(|buffer| buffer.bytes).sum()
    }

    /// A walk that has run nothing.
    pub fn walk(&self) -> Walk<'_> {
        Walk {
            problem: self,
            left: self.buffers.iter().map(|buffer| buffer.users.len() as u32).collect(),
            alive: self.at_start(),
        }
    }

    /// Bytes alive during each step of an order.
    pub fn trace(&self, order: &[u32]) -> Vec<u64> {
        let mut walk = self.walk();
        order.iter().map(|&task| walk.run(task)).collect()
    }

    /// What the task needs in any order: what it reads and writes, as far as it cannot be one.
    pub fn least(&self, task: u32) -> u64 {
        let Task { reads, writes, in_place } = &self.tasks[task as usize];
        let bytes = |buffers: &[u32]| buffers.iter().map(|&buffer| self.buffers[buffer as usize].bytes).sum::<u64>();
        let saved = if *in_place { self.overwritable(reads, writes).map_or(0, |(_, bytes)| bytes) } else { 0 };
        bytes(reads) + bytes(writes) - saved
    }

    /// A buffer among those read that has the size of the one written and may be written over once it dies.
    pub fn overwritable(&self, reads: &[u32], writes: &[u32]) -> Option<(u32, u64)> {
        let &[write] = writes else { return None };
        let bytes = self.buffers[write as usize].bytes;
        let fits = |buffer: &Buffer| buffer.bytes == bytes && !buffer.input && !buffer.kept;
        reads.iter().copied().find(|&read| fits(&self.buffers[read as usize])).map(|read| (read, bytes))
    }
}

/// What happens to buffers at a step.
#[derive(Clone, Debug, Default)]
pub(super) struct Step {
    pub written: Vec<u32>,
    /// The one of the freed buffers that the result is written over.
    pub overwritten: Option<u32>,
    pub freed: Vec<u32>,
}

/// The state of memory along an order.
pub(super) struct Walk<'a> {
    problem: &'a Problem,
    /// How many users of each buffer have not run.
    pub left: Vec<u32>,
    pub alive: u64,
}

impl Walk<'_> {
    /// Bytes that the task would add and free, were it to run now, and the bytes it would save by writing over an
    /// operand.
    pub fn effect(&self, task: u32) -> (u64, u64, u64) {
        let (mut added, mut freed, mut saved) = (0, 0, 0);
        let Task { reads, writes, in_place } = &self.problem.tasks[task as usize];
        for &write in writes {
            let buffer = &self.problem.buffers[write as usize];
            added += buffer.bytes;
            freed += if buffer.users.is_empty() && !buffer.kept { buffer.bytes } else { 0 };
        }
        for &read in reads {
            let buffer = &self.problem.buffers[read as usize];
            if self.left[read as usize] == 1 && !buffer.kept {
                freed += buffer.bytes;
                if *in_place && writes.len() == 1 && buffer.bytes == added && !buffer.input {
                    saved = added;
                }
            }
        }
        (added, freed, saved)
    }

    /// Runs a task and gives the bytes alive meanwhile.
    pub fn run(&mut self, task: u32) -> u64 {
        let (added, freed, saved) = self.effect(task);
        for &read in &self.problem.tasks[task as usize].reads {
            self.left[read as usize] -= 1;
        }
        let during = self.alive + added - saved;
        self.alive = self.alive + added - freed;
        during
    }

    /// Runs a task and names the buffers concerned.
    pub fn step(&mut self, task: u32) -> Step {
        let Task { reads, writes, in_place } = &self.problem.tasks[task as usize];
        let mut step = Step { written: writes.clone(), ..Step::default() };
        let dies = |left: &[u32], buffer: u32, last: u32| {
            left[buffer as usize] == last && !self.problem.buffers[buffer as usize].kept
        };
        step.freed = reads.iter().copied().filter(|&read| dies(&self.left, read, 1)).collect();
        if *in_place {
            step.overwritten = self.problem.overwritable(&step.freed, writes).map(|(buffer, _)| buffer);
        }
        step.freed.extend(writes.iter().copied().filter(|&write| dies(&self.left, write, 0)));
        self.run(task);
        step
    }
}

fn distinct(items: &mut Vec<u32>) {
    items.sort_unstable();
    items.dedup();
}
