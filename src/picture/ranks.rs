//! From a cluster's inside to layers: each vertex gets a layer below those of its operands, and an edge that spans several
//! layers gets a bend in each between.

use super::PictureError;
use super::level::{Level, Vertex};

/// Vertices and bends of one cluster at most.
const MAX_SLOTS: usize = 60_000;

/// A vertex or a bend in its layer. Extents are measured from its own axis.
#[derive(Clone, Debug, Default)]
pub(super) struct Slot {
    pub(super) layer: usize,
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) height: f64,
    pub(super) bend: bool,
}

/// Where an edge goes from a layer to the next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub(super) from: usize,
    pub(super) to: usize,
    /// Where it leaves and enters, from the axes of its ends.
    pub(super) leaves: f64,
    pub(super) enters: f64,
}

/// A cluster's inside in layers; the first slots are its vertices.
#[derive(Clone, Debug, Default)]
pub(super) struct Layered {
    pub(super) slots: Vec<Slot>,
    /// The slots of each layer from left to right.
    pub(super) layers: Vec<Vec<usize>>,
    pub(super) links: Vec<Link>,
    /// The slots along each edge of the level.
    pub(super) chains: Vec<Vec<usize>>,
}

/// The layer of each vertex: what enters on the first, what leaves on the last.
fn ranks(level: &Level) -> Vec<usize> {
    let count = level.vertices.len();
    let (mut after, mut missing) = (vec![Vec::new(); count], vec![0usize; count]);
    for edge in &level.edges {
        after[edge.from].push(edge.to);
        missing[edge.to] += 1;
    }
    let first = |vertex: &Vertex| usize::from(!matches!(vertex, Vertex::In(_)));
    let mut ranks: Vec<usize> = level.vertices.iter().map(first).collect();
    let mut open: Vec<usize> = (0..count).filter(|&at| missing[at] == 0).collect();
    let sources = open.clone();
    while let Some(at) = open.pop() {
        for &next in &after[at] {
            ranks[next] = ranks[next].max(ranks[at] + 1);
            missing[next] -= 1;
            if missing[next] == 0 {
                open.push(next);
            }
        }
    }
    // An input goes where it is first needed.
    for at in sources {
        if let (Vertex::Child(_), Some(next)) = (level.vertices[at], after[at].iter().map(|&next| ranks[next]).min()) {
            ranks[at] = next.saturating_sub(1).max(1);
        }
    }
    let last = ranks.iter().max().map_or(0, |&last| last + 1);
    let out = |at: usize| matches!(level.vertices[at], Vertex::Out(_));
    let inner = (0..count).filter(|&at| !out(at)).map(|at| ranks[at]).max().map_or(last, |inner| inner + 1);
    for at in (0..count).filter(|&at| out(at)) {
        ranks[at] = inner;
    }
    ranks
}

/// The layers, ordered as the text is, bends to the right of boxes, those of nearer sources first.
///
/// # Errors
/// When there would be too many bends.
pub(super) fn layered(
    level: &Level,
    sizes: impl Fn(usize) -> Slot,
    ports: impl Fn(usize) -> (f64, f64),
) -> Result<Layered, PictureError> {
    let ranks = ranks(level);
    let layers = vec![Vec::new(); ranks.iter().max().map_or(0, |&last| last + 1)];
    let mut layered = Layered { layers, ..Layered::default() };
    for (at, &layer) in ranks.iter().enumerate() {
        layered.slots.push(Slot { layer, ..sizes(at) });
        layered.layers[layer].push(at);
    }
    let bends: usize = level.edges.iter().map(|edge| (ranks[edge.to] - ranks[edge.from]).saturating_sub(1)).sum();
    if MAX_SLOTS < bends + level.vertices.len() {
        return Err(PictureError::TooLarge { boxes: bends + level.vertices.len(), most: MAX_SLOTS });
    }
    let mut long: Vec<usize> = (0..level.edges.len()).collect();
    long.sort_by_key(|&edge| std::cmp::Reverse(ranks[level.edges[edge].from]));
    layered.chains = vec![Vec::new(); level.edges.len()];
    for edge in long {
        let (from, to) = (level.edges[edge].from, level.edges[edge].to);
        let (leaves, enters) = ports(edge);
        let mut chain = vec![from];
        for layer in ranks[from] + 1..ranks[to] {
            layered.layers[layer].push(layered.slots.len());
            chain.push(layered.slots.len());
            layered.slots.push(Slot { layer, bend: true, ..Slot::default() });
        }
        chain.push(to);
        for (at, pair) in chain.windows(2).enumerate() {
            layered.links.push(Link {
                from: pair[0],
                to: pair[1],
                leaves: if at == 0 { leaves } else { 0.0 },
                enters: if at + 2 == chain.len() { enters } else { 0.0 },
            });
        }
        layered.chains[edge] = chain;
    }
    Ok(layered)
}
