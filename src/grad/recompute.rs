//! Which stretches of the forward pass are computed again for the backward pass (Chen et al. 2016, arXiv:1604.06174).
//!
//! A stretch begins and ends where a single value passes from all that is before to all that is behind. Only those
//! values are kept; about as many stretches as the root of the number of such places make the memory least.

use std::ops::Range;

use crate::ir::NodeId;
use crate::op::Op;
use crate::opt::Optimised;

/// The stretches, as ranges of `forward`; the last one, whose values are at hand when the backward pass begins, is left
/// out.
pub(super) fn segments(graph: &Optimised, forward: &[NodeId]) -> Vec<Range<usize>> {
    let narrow = narrow_places(graph, forward);
    let weights: Vec<usize> = forward.iter().map(|&id| elements(graph, id)).collect();
    let total: usize = weights.iter().sum();
    let count = ((narrow.len() + 1) as f64).sqrt().ceil() as usize;
    let mut segments = Vec::new();
    let (mut begin, mut passed, mut at) = (0, 0, 0);
    for place in narrow {
        passed += weights[at..place].iter().sum::<usize>();
        at = place;
        if total * (segments.len() + 1) <= passed * count {
            segments.push(begin..place);
            begin = place;
        }
    }
    segments
}

/// Elements of a node's results for one sample.
fn elements(graph: &Optimised, id: NodeId) -> usize {
    let sizes = graph.shapes.results(id).iter().filter_map(crate::tensor::Shape::as_known);
    sizes.map(|sizes| sizes.iter().product::<usize>()).sum()
}

/// The places in front of which exactly one value is needed behind them; values from outside do not count.
fn narrow_places(graph: &Optimised, forward: &[NodeId]) -> Vec<usize> {
    let mut place = vec![usize::MAX; graph.net.bound()];
    forward.iter().enumerate().for_each(|(at, id)| place[id.index()] = at);
    // How many values begin or end to be needed at a place.
    let mut change = vec![0isize; forward.len() + 1];
    for (at, &id) in forward.iter().enumerate() {
        if matches!(graph.net.node(id).op, Op::Input(_)) {
            continue;
        }
        for output in 0..graph.shapes.results(id).len() {
            let users = graph.net.users(id).into_iter().filter(|&(from, ..)| from as usize == output);
            if let Some(last) = users.map(|(_, user, _)| place[user.index()]).max() {
                change[at + 1] += 1;
                change[(last + 1).min(forward.len())] -= 1;
            }
        }
    }
    let crossing = change.iter().scan(0, |sum, change| {
        *sum += change;
        Some(*sum)
    });
    crossing.enumerate().filter(|&(_, crossing)| crossing == 1).map(|(at, _)| at).collect()
}
