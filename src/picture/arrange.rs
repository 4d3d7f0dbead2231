//! The drawing of one cluster's inside, from the drawings of the clusters in it.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::PictureError;
use super::draft::Draft;
use super::level::{Level, Vertex};
use super::measure::{self, Size};
use super::model::{Body, Model};
use super::order::order;
use super::place::place;
use super::ranks::{Slot, layered};
use super::tree::ROOT;
use crate::ir::ValueId;

/// Between the frame of a cluster and what is in it.
pub(super) const PADDING: f64 = 14.0;

/// A rectangle; y grows downwards.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rect {
    /// The left end.
    pub x: f64,
    /// The upper end.
    pub y: f64,
    /// The width.
    pub w: f64,
    /// The height.
    pub h: f64,
}

/// The course of a line.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Course {
    /// Where it goes through: straight down between two points below each other, in an S between others.
    pub(super) points: Vec<Point>,
    /// Whether it arrives from the side; then its last piece turns once.
    pub(super) sideways: bool,
}

/// A place in the plane.
pub(super) type Point = (f64, f64);

/// The drawing of a part, measured from its upper left corner.
#[derive(Clone, Debug, Default)]
pub(super) struct Drawing {
    pub(super) width: f64,
    pub(super) height: f64,
    /// Where the name and the block of the title start.
    pub(super) title: (f64, f64),
    /// The children.
    pub(super) rects: Vec<(usize, Rect)>,
    /// The course of each edge of the level.
    pub(super) courses: Vec<Course>,
    /// Where labels start, and the wires they are of.
    pub(super) labels: Vec<(Point, usize)>,
    pub(super) enters: HashMap<ValueId, f64>,
    pub(super) leaves: HashMap<ValueId, f64>,
}

/// A level while it is arranged.
pub(super) struct Arranging<'a> {
    pub(super) model: &'a Model,
    pub(super) level: &'a Level,
    drawings: &'a [Drawing],
    /// The label of what leaves a vertex as a value: the wire it is of.
    pub(super) labels: BTreeMap<(usize, ValueId), usize>,
}

/// Draws the inside of a cluster; `drawings` has the clusters in it.
///
/// # Errors
/// When it is too large.
pub(super) fn arrange(
    model: &Model,
    part: usize,
    level: &Level,
    drawings: &[Drawing],
) -> Result<Drawing, PictureError> {
    let arranging = Arranging { model, level, drawings, labels: labels(model, level) };
    let mut layered = layered(level, |vertex| arranging.slot(vertex), |edge| arranging.ports(edge))?;
    order(&mut layered);
    let axes = place(&layered);
    Ok(arranging.draw(part, Draft::new(&arranging, part, layered, axes)))
}

/// What is labelled: each value once, where it goes from one child to another in a shape that did not enter the first.
fn labels(model: &Model, level: &Level) -> BTreeMap<(usize, ValueId), usize> {
    let mut entering: HashMap<usize, HashSet<&str>> = HashMap::new();
    for edge in &level.edges {
        entering.entry(edge.to).or_default().insert(&model.wires[edge.wire].shape);
    }
    let terminal = |vertex: usize| match level.vertices[vertex] {
        Vertex::Child(part) => matches!(model.parts[part].body, Body::Terminal(_)),
        Vertex::In(_) | Vertex::Out(_) => false,
    };
    let told = |edge: &&super::level::Edge| {
        let shape = model.wires[edge.wire].shape.as_str();
        let known = entering.get(&edge.from).is_some_and(|shapes| shapes.contains(shape));
        edge.across && !known && !terminal(edge.from) && !terminal(edge.to)
    };
    level.edges.iter().filter(told).map(|edge| ((edge.from, model.wires[edge.wire].value), edge.wire)).collect()
}

impl Arranging<'_> {
    fn size(&self, vertex: usize) -> Size {
        match self.level.vertices[vertex] {
            Vertex::Child(part) if self.model.parts[part].is_cluster() => {
                Size { w: self.drawings[part].width, h: self.drawings[part].height }
            }
            Vertex::Child(part) => measure::size(&self.model.parts[part]),
            Vertex::In(_) | Vertex::Out(_) => Size { w: 0.0, h: 0.0 },
        }
    }

    fn slot(&self, vertex: usize) -> Slot {
        let Size { w, h } = self.size(vertex);
        let labels = self.labels.range((vertex, ValueId::default())..).take_while(|((from, _), _)| *from == vertex);
        let right = labels
            .map(|(&(_, value), &wire)| self.leaves(vertex, value) + measure::label(&self.model.wires[wire].shape));
        Slot { left: w / 2.0, right: right.fold(w / 2.0, f64::max), height: h, ..Slot::default() }
    }

    /// Where a value leaves a vertex, from its axis.
    pub(super) fn leaves(&self, vertex: usize, value: ValueId) -> f64 {
        match self.level.vertices[vertex] {
            Vertex::Child(part) => {
                let drawing = &self.drawings[part];
                drawing.leaves.get(&value).map_or(0.0, |x| x - drawing.width / 2.0)
            }
            Vertex::In(_) | Vertex::Out(_) => 0.0,
        }
    }

    pub(super) fn ports(&self, edge: usize) -> (f64, f64) {
        let edge = &self.level.edges[edge];
        let value = self.model.wires[edge.wire].value;
        let enters = match self.level.vertices[edge.to] {
            Vertex::Child(part) => {
                let drawing = &self.drawings[part];
                drawing.enters.get(&value).map_or(0.0, |x| x - drawing.width / 2.0)
            }
            Vertex::In(_) | Vertex::Out(_) => 0.0,
        };
        (self.leaves(edge.from, value), enters)
    }

    /// The body of a vertex, where it is a child.
    pub(super) fn body(&self, vertex: usize) -> Option<&Body> {
        match self.level.vertices.get(vertex) {
            Some(&Vertex::Child(part)) => Some(&self.model.parts[part].body),
            _ => None,
        }
    }

    fn draw(&self, part: usize, draft: Draft) -> Drawing {
        let mut drawing = Drawing { width: draft.width, height: draft.height(), ..Drawing::default() };
        for (slot, vertex) in self.level.vertices.iter().enumerate() {
            match *vertex {
                Vertex::In(value) => drop(drawing.enters.insert(value, draft.axes[slot])),
                Vertex::Out(value) => drop(drawing.leaves.insert(value, draft.axes[slot])),
                Vertex::Child(part) => drawing.rects.push((part, draft.rect(slot))),
            }
        }
        for (&(vertex, value), &wire) in &self.labels {
            let x = draft.axes[vertex] + self.leaves(vertex, value) + 5.0;
            drawing.labels.push(((x, draft.label(vertex)), wire));
        }
        drawing.courses = (0..self.level.edges.len()).map(|edge| draft.course(edge)).collect();
        self.share(&mut drawing.courses);
        if part != ROOT {
            self.title(part, &mut drawing);
        }
        drawing
    }

    /// Leaves the piece that several lines of one value have in common to one of them, best one that is no skip.
    fn share(&self, courses: &mut [Course]) {
        let mut edges: Vec<usize> = (0..courses.len()).collect();
        edges.sort_by_key(|&edge| self.level.edges[edge].skip);
        let mut drawn = HashSet::new();
        for edge in edges {
            let (from, wire) = (self.level.edges[edge].from, self.level.edges[edge].wire);
            let points = &mut courses[edge].points;
            let straight = matches!(points[..], [(a, _), (b, _), _, ..] if a == b);
            if !drawn.insert((from, self.model.wires[wire].value)) && straight {
                points.remove(0);
            }
        }
    }

    /// Puts the title's name into the corner, and its block where no line crosses it.
    fn title(&self, part: usize, drawing: &mut Drawing) {
        let (name, block) = measure::title(&self.model.parts[part]);
        let mut lines: Vec<f64> = drawing.enters.values().copied().collect();
        lines.sort_by(f64::total_cmp);
        let name_end = 10.0 + name;
        let starts = std::iter::once(name_end).chain(lines.iter().copied());
        let ends = lines.iter().copied().chain(std::iter::once(drawing.width));
        let room = block + 12.0;
        let free = starts.zip(ends).find(|(start, end)| room <= end - start).map(|(start, _)| start);
        let start = free.unwrap_or_else(|| lines.last().copied().unwrap_or(name_end).max(name_end));
        drawing.title = (10.0, start + 7.0);
        let end = if block == 0.0 { name_end + 8.0 } else { start + room };
        drawing.width = drawing.width.max(end);
    }
}
