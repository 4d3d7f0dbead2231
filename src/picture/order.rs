//! The order within layers: sweeps down and up, each slot to the mean of its neighbours, as long as crossings get fewer.

use super::ranks::Layered;

/// Orders the layers so that few links cross.
pub(super) fn order(layered: &mut Layered) {
    let rounds = if layered.links.len() < 4_000 { 12 } else { 2 };
    let (up, down) = neighbours(layered);
    let mut best = (crossings(layered), layered.layers.clone());
    for round in 0..rounds {
        if best.0 == 0 {
            break;
        }
        let count = layered.layers.len();
        if round % 2 == 0 {
            (1..count).for_each(|layer| sort(layered, layer, &up));
        } else {
            (0..count.saturating_sub(1)).rev().for_each(|layer| sort(layered, layer, &down));
        }
        let found = crossings(layered);
        if found < best.0 {
            best = (found, layered.layers.clone());
        }
    }
    layered.layers = best.1;
}

type Neighbours = Vec<Vec<(usize, f64)>>;

/// The slots above and below each, with where on them the link ends.
fn neighbours(layered: &Layered) -> (Neighbours, Neighbours) {
    let count = layered.slots.len();
    let (mut up, mut down) = (vec![Vec::new(); count], vec![Vec::new(); count]);
    for link in &layered.links {
        up[link.to].push((link.from, link.leaves));
        down[link.from].push((link.to, link.enters));
    }
    (up, down)
}

/// Positions in a layer, with the part of a slot's width that a port is off its axis.
fn places(layered: &Layered, layer: usize) -> Vec<(usize, f64)> {
    layered.layers[layer].iter().enumerate().map(|(place, &slot)| (slot, place as f64)).collect()
}

fn sort(layered: &mut Layered, layer: usize, neighbours: &Neighbours) {
    let mut place = std::collections::HashMap::new();
    for other in [layer.wrapping_sub(1), layer + 1] {
        if other < layered.layers.len() {
            place.extend(places(layered, other));
        }
    }
    let shift = |slot: usize, port: f64| {
        let slot = &layered.slots[slot];
        port / (slot.left + slot.right).max(1.0)
    };
    let own: std::collections::HashMap<usize, f64> = places(layered, layer).into_iter().collect();
    let mean = |slot: usize| {
        let near: Vec<f64> = neighbours[slot]
            .iter()
            .filter_map(|&(other, port)| place.get(&other).map(|place| place + shift(other, port)))
            .collect();
        if near.is_empty() { own[&slot] } else { near.iter().sum::<f64>() / near.len() as f64 }
    };
    let mut keyed: Vec<(f64, usize)> = layered.layers[layer].iter().map(|&slot| (mean(slot), slot)).collect();
    keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
    layered.layers[layer] = keyed.into_iter().map(|(_, slot)| slot).collect();
}

/// How many pairs of links cross.
fn crossings(layered: &Layered) -> usize {
    let mut position = vec![0usize; layered.slots.len()];
    for layer in &layered.layers {
        layer.iter().enumerate().for_each(|(at, &slot)| position[slot] = at);
    }
    let mut by_layer = vec![Vec::new(); layered.layers.len()];
    for link in &layered.links {
        let ends = ((position[link.from], link.leaves), (position[link.to], link.enters));
        by_layer[layered.slots[link.from].layer].push(ends);
    }
    by_layer.into_iter().map(inversions).sum()
}

type End = (usize, f64);

/// Pairs whose ends stand in opposite order, counted with a tree of prefix sums.
fn inversions(mut ends: Vec<(End, End)>) -> usize {
    let less = |a: &End, b: &End| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1));
    ends.sort_by(|a, b| less(&a.0, &b.0).then(less(&a.1, &b.1)));
    let mut targets: Vec<End> = ends.iter().map(|&(_, to)| to).collect();
    targets.sort_by(less);
    targets.dedup_by(|a, b| less(a, b).is_eq());
    let mut sums = vec![0usize; targets.len() + 1];
    let mut crossings = 0;
    for (seen, (_, to)) in ends.iter().enumerate() {
        let rank = targets.partition_point(|other| less(other, to).is_lt()) + 1;
        let mut at = rank;
        let mut not_right = 0;
        while 0 < at {
            not_right += sums[at];
            at &= at - 1;
        }
        crossings += seen - not_right;
        at = rank;
        while at < sums.len() {
            sums[at] += 1;
            at += at & at.wrapping_neg();
        }
    }
    crossings
}
