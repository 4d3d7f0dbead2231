//! Positions across: slots that should stand below each other are joined to columns, and each column moves to the mean
//! of what it is linked with as far as its neighbours let it.

use super::ranks::{Layered, Link};

/// Room between boxes, between a box and a bend, and between bends.
const BOX_GAP: f64 = 26.0;
pub(super) const BEND_GAP: f64 = 16.0;
const ROUNDS: usize = 24;

/// Slots that keep their distance across, and the columns they are in.
struct Columns {
    of: Vec<usize>,
    /// Where a slot's axis is from its column's.
    shift: Vec<f64>,
    count: usize,
}

/// Where the axis of each slot is; the smallest left end is at 0.
pub(super) fn place(layered: &Layered) -> Vec<f64> {
    let columns = columns(layered);
    let (left, right) = constraints(layered, &columns);
    let order = sorted(&left, &right);
    let mut x = vec![0.0f64; columns.count];
    for &column in &order {
        let least = left[column].iter().map(|&(other, gap)| x[other] + gap);
        x[column] = least.fold(0.0, f64::max);
    }
    let pulls = pulls(layered, &columns);
    for round in 0..ROUNDS {
        let rightwards = round % 2 == 1;
        for at in 0..order.len() {
            let column = if rightwards { order[at] } else { order[order.len() - 1 - at] };
            let (sum, weight) = pulls[column]
                .iter()
                .fold((0.0, 0.0), |(sum, weight), &(other, off, pull)| (sum + pull * (x[other] + off), weight + pull));
            if weight == 0.0 {
                continue;
            }
            let least = left[column].iter().map(|&(other, gap)| x[other] + gap).fold(f64::NEG_INFINITY, f64::max);
            let most = right[column].iter().map(|&(other, gap)| x[other] - gap).fold(f64::INFINITY, f64::min);
            x[column] = (sum / weight).min(most).max(least);
        }
    }
    let axes: Vec<f64> = (0..layered.slots.len()).map(|slot| x[columns.of[slot]] + columns.shift[slot]).collect();
    let least = axes.iter().zip(&layered.slots).map(|(axis, slot)| axis - slot.left).fold(f64::INFINITY, f64::min);
    axes.into_iter().map(|axis| axis - if least.is_finite() { least } else { 0.0 }).collect()
}

/// Joins slots along links that do not cross: first bends, then the middle ones of each fan.
fn columns(layered: &Layered) -> Columns {
    let count = layered.slots.len();
    let mut position = vec![0usize; count];
    for layer in &layered.layers {
        layer.iter().enumerate().for_each(|(at, &slot)| position[slot] = at);
    }
    let (mut below, mut above) = (vec![Vec::new(); count], vec![Vec::new(); count]);
    for (at, link) in layered.links.iter().enumerate() {
        below[link.from].push(at);
        above[link.to].push(at);
    }
    let middle = |links: &[usize], end: fn(&Link) -> usize| {
        let mut sorted: Vec<usize> = links.to_vec();
        sorted.sort_by_key(|&link| position[end(&layered.links[link])]);
        match sorted.len() {
            0 => None,
            2 => Some(sorted[0]),
            n if n % 2 == 0 => None,
            n => Some(sorted[n / 2]),
        }
    };
    let favourite = |at: usize| {
        let link = &layered.links[at];
        let (bend_from, bend_to) = (layered.slots[link.from].bend, layered.slots[link.to].bend);
        if bend_from && bend_to {
            return Some(0);
        }
        let from = middle(&below[link.from], |link| link.to) == Some(at);
        let to = middle(&above[link.to], |link| link.from) == Some(at);
        (from && to).then_some(1)
    };
    let mut wanted: Vec<(usize, usize, usize)> = (0..layered.links.len())
        .filter_map(|at| favourite(at).map(|class| (class, layered.slots[layered.links[at].from].layer, at)))
        .collect();
    wanted.sort_unstable();
    let mut taken = vec![std::collections::BTreeMap::new(); layered.layers.len()];
    let (mut next, mut has_above) = (vec![None; count], vec![false; count]);
    for (_, layer, at) in wanted {
        let link = layered.links[at];
        let (from, to) = (position[link.from], position[link.to]);
        let row: &mut std::collections::BTreeMap<usize, usize> = &mut taken[layer];
        let before = row.range(..=from).next_back().is_none_or(|(&f, &t)| f < from && t < to);
        let behind = row.range(from..).next().is_none_or(|(&f, &t)| from < f && to < t);
        if before && behind && next[link.from].is_none() && !has_above[link.to] {
            row.insert(from, to);
            next[link.from] = Some((link.to, link.leaves - link.enters));
            has_above[link.to] = true;
        }
    }
    let mut columns = Columns { of: vec![0; count], shift: vec![0.0; count], count: 0 };
    for top in (0..count).filter(|&slot| !has_above[slot]) {
        let (mut slot, mut shift) = (top, 0.0);
        loop {
            columns.of[slot] = columns.count;
            columns.shift[slot] = shift;
            let Some((below, by)) = next[slot] else { break };
            (slot, shift) = (below, shift + by);
        }
        columns.count += 1;
    }
    columns
}

type Gaps = Vec<Vec<(usize, f64)>>;

/// What stands directly left and right of each column, and how far its axis must be.
fn constraints(layered: &Layered, columns: &Columns) -> (Gaps, Gaps) {
    let (mut left, mut right) = (vec![Vec::new(); columns.count], vec![Vec::new(); columns.count]);
    for pair in layered.layers.iter().flat_map(|layer| layer.windows(2)) {
        let (a, b) = (&layered.slots[pair[0]], &layered.slots[pair[1]]);
        let room = if a.bend || b.bend { BEND_GAP } else { BOX_GAP };
        let gap = a.right + room + b.left + columns.shift[pair[0]] - columns.shift[pair[1]];
        let (a, b) = (columns.of[pair[0]], columns.of[pair[1]]);
        left[b].push((a, gap));
        right[a].push((b, gap));
    }
    (left, right)
}

/// The columns from left to right.
fn sorted(left: &Gaps, right: &Gaps) -> Vec<usize> {
    let mut missing: Vec<usize> = left.iter().map(Vec::len).collect();
    let mut open: Vec<usize> = (0..left.len()).rev().filter(|&column| missing[column] == 0).collect();
    let mut order = Vec::with_capacity(left.len());
    while let Some(column) = open.pop() {
        order.push(column);
        for &(other, _) in &right[column] {
            missing[other] -= 1;
            if missing[other] == 0 {
                open.push(other);
            }
        }
    }
    order
}

/// What pulls at each column: another column, where it pulls to from that column's axis, and how hard.
fn pulls(layered: &Layered, columns: &Columns) -> Vec<Vec<(usize, f64, f64)>> {
    let mut pulls = vec![Vec::new(); columns.count];
    for link in &layered.links {
        let (from, to) = (columns.of[link.from], columns.of[link.to]);
        if from == to {
            continue;
        }
        let bends = usize::from(layered.slots[link.from].bend) + usize::from(layered.slots[link.to].bend);
        let weight = if bends == 2 { 4.0 } else { 1.0 };
        let off = columns.shift[link.from] + link.leaves - columns.shift[link.to] - link.enters;
        pulls[to].push((from, off, weight));
        pulls[from].push((to, -off, weight));
    }
    pulls
}
