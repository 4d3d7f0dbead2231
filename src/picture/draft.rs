//! Where everything in one cluster stands, once its layers are ordered and its axes placed.

use std::collections::{HashMap, HashSet};

use super::arrange::{Arranging, Course, PADDING, Rect};
use super::level::Vertex;
use super::measure;
use super::model::Body;
use super::place::BEND_GAP;
use super::ranks::Layered;
use super::tree::ROOT;

/// The line of a cluster's title, and of the labels below a layer.
const TITLE: f64 = 22.0;
const LABEL: f64 = 15.0;
/// How far a line runs between two layers at least: between boxes, below a label, and from or to the frame.
const GAP: f64 = 20.0;
const LABELLED_GAP: f64 = 13.0;
const FRAME_GAP: f64 = 13.0;
/// From a line beside a sign to the sign's middle at least.
const BESIDE: f64 = 20.0;

/// A layer: its boxes, then the labels below them, then the room for lines to the next.
struct Band {
    top: f64,
    height: f64,
    bottom: f64,
    end: f64,
}

/// Positions in one cluster.
pub(super) struct Draft<'a> {
    arranging: &'a Arranging<'a>,
    layered: Layered,
    /// The axis of each slot.
    pub(super) axes: Vec<f64>,
    pub(super) width: f64,
    /// From where to where each slot reaches across.
    spans: Vec<(f64, f64)>,
    bands: Vec<Band>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(arranging: &'a Arranging<'a>, part: usize, layered: Layered, mut axes: Vec<f64>) -> Draft<'a> {
        let mut spans = spans(arranging, &layered, &axes);
        let left = spans.iter().map(|span| span.0).fold(f64::INFINITY, f64::min);
        let right = (0..axes.len()).map(|slot| (axes[slot] + layered.slots[slot].right).max(spans[slot].1));
        let right = right.fold(left, f64::max);
        let mut shift = if left.is_finite() { PADDING - left } else { 0.0 };
        // The cluster's name stands left of the first line that enters.
        let entering = |&(_, vertex): &(usize, &Vertex)| matches!(vertex, Vertex::In(_));
        let first = arranging.level.vertices.iter().enumerate().filter(entering).map(|(slot, _)| axes[slot] + shift);
        let name = measure::title(&arranging.model.parts[part]).0 + 18.0;
        let lacking = if part == ROOT { 0.0 } else { first.map(|x| name - x).fold(0.0, f64::max) };
        shift += lacking;
        axes.iter_mut().for_each(|x| *x += shift);
        spans.iter_mut().for_each(|(from, to)| (*from, *to) = (*from + shift, *to + shift));
        let width = if left.is_finite() { right + shift + PADDING } else { 2.0 * PADDING };
        let mut draft = Draft { arranging, layered, axes, width, spans, bands: Vec::new() };
        draft.bands = draft.bands(if part == ROOT { 0.0 } else { TITLE });
        draft
    }

    pub(super) fn height(&self) -> f64 {
        self.bands.last().map_or(TITLE, |band| band.end)
    }

    fn band(&self, slot: usize) -> &Band {
        &self.bands[self.layered.slots[slot].layer]
    }

    /// The place of a box: in the middle of its layer.
    pub(super) fn rect(&self, slot: usize) -> Rect {
        let (band, h, (from, to)) = (self.band(slot), self.layered.slots[slot].height, self.spans[slot]);
        Rect { x: from, y: band.top + (band.height - h) / 2.0, w: to - from, h }
    }

    /// Where the labels below a slot's layer stand.
    pub(super) fn label(&self, slot: usize) -> f64 {
        let band = self.band(slot);
        band.top + band.height + LABEL - 3.0
    }

    /// Where the layers are, from above; layer 0 is the cluster's upper frame and the last one its lower.
    fn bands(&self, mut top: f64) -> Vec<Band> {
        let layers = &self.layered.layers;
        let mut across = vec![0.0f64; layers.len()];
        for link in &self.layered.links {
            let from = self.axes[link.from] + link.leaves;
            let wanted = self.axes[link.to] + link.enters;
            let layer = self.layered.slots[link.from].layer;
            if !self.sideways(link.to, from) {
                across[layer] = across[layer].max((self.entry(link.to, wanted, from) - from).abs());
            }
        }
        let vertices = self.arranging.labels.keys().map(|&(vertex, _)| vertex);
        let labelled: HashSet<usize> = vertices.map(|vertex| self.layered.slots[vertex].layer).collect();
        let boxes = |layer: &Vec<usize>| layer.iter().any(|&slot| self.arranging.body(slot).is_some());
        let mut bands = Vec::with_capacity(layers.len());
        for (at, layer) in layers.iter().enumerate() {
            let height = layer.iter().map(|&slot| self.layered.slots[slot].height).fold(0.0, f64::max);
            let bottom = top + height + if labelled.contains(&at) { LABEL } else { 0.0 };
            let base = match layers.get(at + 1) {
                _ if layer.is_empty() => 0.0,
                // The frame below; without one, the picture's edge.
                None if !boxes(layer) => 0.0,
                Some(next) if !boxes(layer) || !boxes(next) => FRAME_GAP,
                None => FRAME_GAP,
                Some(_) if labelled.contains(&at) => LABELLED_GAP,
                Some(_) => GAP,
            };
            let end = bottom + base + (across[at] * 0.18).min(60.0);
            bands.push(Band { top, height, bottom, end });
            top = end;
        }
        bands
    }

    /// The course of an edge: straight down beside the boxes of a layer, across between layers.
    pub(super) fn course(&self, edge: usize) -> Course {
        let chain = &self.layered.chains[edge];
        let (leaves, enters) = self.arranging.ports(edge);
        let vertices = &self.arranging.level.vertices;
        let first = self.rect(chain[0]);
        let mut x = self.axes[chain[0]] + leaves;
        let start = if matches!(vertices[chain[0]], Vertex::In(_)) { 0.0 } else { first.y + first.h };
        let mut course = Course { points: vec![(x, start)], sideways: false };
        for (at, pair) in chain.windows(2).enumerate() {
            let (slot, last) = (pair[1], at + 2 == chain.len());
            course.points.push((x, self.band(pair[0]).bottom));
            let own = self.rect(slot);
            if last && self.sideways(slot, x) {
                let side = if x < own.x { own.x } else { own.x + own.w };
                course.points.push((side, own.y + own.h / 2.0));
                course.sideways = true;
                continue;
            }
            let wanted = self.axes[slot] + if last { enters } else { 0.0 };
            x = if last { self.entry(slot, wanted, x) } else { wanted };
            course.points.push((x, self.band(slot).top));
            if last {
                let out = matches!(vertices[slot], Vertex::Out(_));
                course.points.push((x, if out { self.band(slot).end } else { own.y }));
            }
        }
        course.points.dedup();
        course
    }

    /// Where a line that comes down at `from` enters a slot: a bar straight below, if it reaches as far.
    fn entry(&self, slot: usize, wanted: f64, from: f64) -> f64 {
        let (left, right) = self.spans[slot];
        if matches!(self.arranging.body(slot), Some(Body::Bar(_))) {
            from.max(left + 8.0).min(right - 8.0)
        } else {
            wanted
        }
    }

    /// Whether a line that comes down at `x` turns into a sign from the side: nothing stands between the two.
    fn sideways(&self, slot: usize, x: f64) -> bool {
        let sign = matches!(self.arranging.body(slot), Some(Body::Sign(..)));
        let axis = self.axes[slot];
        let between = |other: &usize| {
            let (left, right) = self.spans[*other];
            *other != slot && left.min(right) < axis.max(x) + BEND_GAP / 2.0 && axis.min(x) - BEND_GAP / 2.0 < right
        };
        sign && BESIDE < (x - axis).abs() && !self.layered.layers[self.layered.slots[slot].layer].iter().any(between)
    }
}

/// From where to where each slot reaches across: bars as far as what they take, if nothing is in their way.
fn spans(arranging: &Arranging, layered: &Layered, axes: &[f64]) -> Vec<(f64, f64)> {
    let mut reach: HashMap<usize, (f64, f64)> = HashMap::new();
    for link in &layered.links {
        let x = axes[link.from] + link.leaves;
        let (least, most) = reach.entry(link.to).or_insert((x, x));
        (*least, *most) = (least.min(x), most.max(x));
    }
    let plain = |slot: usize| (axes[slot] - layered.slots[slot].left, axes[slot] + layered.slots[slot].left);
    let mut spans: Vec<(f64, f64)> = (0..axes.len()).map(plain).collect();
    for layer in &layered.layers {
        for (at, &slot) in layer.iter().enumerate() {
            let is_bar = matches!(arranging.body(slot), Some(Body::Bar(_)));
            let (true, Some(&(least, most))) = (is_bar, reach.get(&slot)) else { continue };
            let before = at.checked_sub(1).map(|at| layer[at]);
            let start = before.map_or(f64::NEG_INFINITY, |slot| axes[slot] + layered.slots[slot].right + BEND_GAP);
            let end = layer.get(at + 1);
            let end = end.map_or(f64::INFINITY, |&slot| axes[slot] - layered.slots[slot].left - BEND_GAP);
            let own = spans[slot];
            spans[slot] = (own.0.min((least - 14.0).max(start)), own.1.max((most + 14.0).min(end)));
        }
    }
    spans
}
