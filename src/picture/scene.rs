//! The whole picture with its coordinates.

use super::PictureError;
use super::arrange::{Course, Drawing, Point, Rect, arrange};
use super::level::{Vertex, inside_out, levels};
use super::model::Model;
use super::tree::ROOT;

/// Around everything, and for the net's name above it.
const MARGIN: f64 = 10.0;
const HEADING: f64 = 40.0;

/// A line.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) course: Course,
    pub(super) wire: usize,
    pub(super) skip: bool,
    /// Whether it ends at a box.
    pub(super) arrives: bool,
}

/// Parts with their places, lines and labels.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    pub(super) width: f64,
    pub(super) height: f64,
    /// By part; that of the root is everything.
    pub(super) rects: Vec<Rect>,
    /// Where the name and the block of each cluster start, from its corner.
    pub(super) titles: Vec<(f64, f64)>,
    pub(super) lines: Vec<Line>,
    /// Where labels start, and the wires they are of.
    pub(super) labels: Vec<(Point, usize)>,
}

/// Lays the model out, the innermost clusters first.
///
/// # Errors
/// When it is too large.
pub(super) fn scene(model: &Model, heading: f64) -> Result<Scene, PictureError> {
    let levels = levels(model);
    let mut drawings = vec![Drawing::default(); model.parts.len()];
    for part in inside_out(&model.parts) {
        drawings[part] = arrange(model, part, &levels[part], &drawings)?;
    }
    let root = &drawings[ROOT];
    let size = Rect { x: MARGIN, y: HEADING, w: root.width.max(heading), h: root.height };
    let mut scene = Scene {
        width: size.w + 2.0 * MARGIN,
        height: size.h + HEADING + MARGIN,
        rects: vec![size; model.parts.len()],
        titles: drawings.iter().map(|drawing| drawing.title).collect(),
        lines: Vec::new(),
        labels: Vec::new(),
    };
    for (part, drawing) in drawings.iter().enumerate() {
        let (x, y) = (scene.rects[part].x, scene.rects[part].y);
        let x = if part == ROOT { x + (size.w - root.width) / 2.0 } else { x };
        let moved = |(px, py): Point| (px + x, py + y);
        for (child, rect) in &drawing.rects {
            scene.rects[*child] = Rect { x: rect.x + x, y: rect.y + y, ..*rect };
        }
        for (course, edge) in drawing.courses.iter().zip(&levels[part].edges) {
            let arrives = match levels[part].vertices[edge.to] {
                Vertex::Child(part) => !model.parts[part].is_cluster(),
                Vertex::In(_) | Vertex::Out(_) => false,
            };
            let points = course.points.iter().map(|&point| moved(point)).collect();
            let course = Course { points, ..*course };
            scene.lines.push(Line { course, wire: edge.wire, skip: edge.skip, arrives });
        }
        scene.labels.extend(drawing.labels.iter().map(|&(place, wire)| (moved(place), wire)));
    }
    Ok(scene)
}
