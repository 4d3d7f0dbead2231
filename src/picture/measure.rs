//! How large the boxes are.

use super::font::width;
use super::model::{Body, Part, Row};

/// Sizes of the letters in boxes, of titles and of labels.
pub(super) const TEXT: f64 = 12.0;
pub(super) const SMALL: f64 = 10.5;
/// The height of one layer.
pub(super) const ROW: f64 = 22.0;

/// A width and a height.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) w: f64,
    pub(super) h: f64,
}

/// The size of a box.
pub(super) fn size(part: &Part) -> Size {
    match &part.body {
        Body::Stack(rows) => {
            let widest = rows.iter().map(row).fold(0.0, f64::max);
            Size { w: (widest + 22.0).max(80.0), h: ROW * rows.len() as f64 }
        }
        Body::Folded | Body::Cluster => {
            let (name, block) = title(part);
            let widest = (name + block + 6.0).max(width(&part.cost, SMALL, false));
            Size { w: (widest + 34.0).max(120.0), h: 42.0 }
        }
        Body::Sign(..) => Size { w: 24.0, h: 24.0 },
        Body::Bar(bar) => Size { w: (row(bar) + 26.0).max(90.0), h: 20.0 },
        Body::Terminal(terminal) => Size { w: row(terminal) + 28.0, h: 24.0 },
    }
}

fn row(row: &Row) -> f64 {
    let detail = if row.detail.is_empty() { 0.0 } else { width(&row.detail, TEXT, false) + 6.0 };
    width(&row.name, TEXT, true) + detail
}

/// The widths of a cluster's name and of its block.
pub(super) fn title(part: &Part) -> (f64, f64) {
    let block = if part.block.is_empty() { 0.0 } else { width(&part.block, SMALL, false) };
    (width(&part.name, TEXT, true), block)
}

/// The room for the label of a line.
pub(super) fn label(text: &str) -> f64 {
    width(text, SMALL, false) + 9.0
}

/// The width of the line above the picture.
pub(super) fn heading(model: &super::model::Model) -> f64 {
    width(&model.title, 16.0, true) + width(&model.subtitle, SMALL, false) + 24.0
}
