//! Pictures of nets: blocks as clusters, layers as boxes, values as lines with their shapes; as SVG, PNG or DOT.
//!
//! The scopes of a net's paths make a tree (`tree`), which becomes parts and wires (`model`). The layout is layered and
//! recursive: the inside of each cluster is laid out by itself (`level`, `ranks`, `order`, `place`, `draft`, `arrange`), the innermost
//! first, and is one box of the cluster around it, which values enter above and leave below. So nothing foreign can stand
//! in a cluster, and lines run downwards. Nothing here depends on a program or font that is installed.

mod arrange;
mod content;
mod dot;
mod draft;
mod font;
mod label;
mod level;
mod measure;
mod model;
mod order;
mod place;
pub mod png;
mod ranks;
mod scene;
mod svg;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod tree;

use thiserror::Error;

use crate::ir::Net;
use crate::shape::Shapes;

/// Boxes above which a picture is folded by itself, and boxes at most.
const COMFORTABLE: usize = 1_500;
const MOST: usize = 20_000;

/// Why there is no picture.
#[derive(Debug, Error)]
pub enum PictureError {
    /// There is too much to draw.
    #[error(
        "the picture would have {boxes} boxes and bends, more than {most}; --depth folds blocks, and a label or a block \
         around layers makes them foldable"
    )]
    TooLarge {
        /// How many boxes, and bends of lines around them.
        boxes: usize,
        /// How many there may be.
        most: usize,
    },
    /// A PNG of it would not be readable or not fit memory.
    #[error("the picture is {w} by {h}, too large for a PNG; write .svg instead, or fold blocks with --depth")]
    TooTall {
        /// Its width.
        w: u32,
        /// Its height.
        h: u32,
    },
    /// The SVG could not be drawn.
    #[error("cannot draw the picture: {0}")]
    Drawing(String),
}

/// A net that is ready to be drawn.
#[derive(Clone, Debug)]
pub struct Picture {
    model: model::Model,
    folded: Option<usize>,
    nodes: usize,
}

impl Picture {
    /// A picture in which scopes with `depth` labels are one box each. Without a depth everything is shown, unless that is
    /// too much to read; then blocks are folded.
    ///
    /// # Errors
    /// When there is too much to draw at that depth.
    pub fn new(net: &Net, shapes: &Shapes, depth: Option<usize>) -> Result<Picture, PictureError> {
        let boxes = tree::boxes(net);
        let whole = boxes.len();
        let fitting = boxes.iter().rposition(|&boxes| boxes <= COMFORTABLE).map_or(1, |at| at + 1);
        let depth = depth.unwrap_or(fitting).clamp(1, whole);
        let nodes = boxes.last().copied().unwrap_or(0);
        match boxes.get(depth - 1) {
            Some(&boxes) if MOST < boxes => return Err(PictureError::TooLarge { boxes, most: MOST }),
            _ => {}
        }
        let model = model::model(net, shapes, &tree::tree(net, depth));
        Ok(Picture { model, folded: (depth < whole).then_some(depth), nodes })
    }

    /// The depth at which blocks are folded, if they are.
    pub fn folded(&self) -> Option<usize> {
        self.folded
    }

    /// How many boxes there would be if nothing were folded.
    pub fn nodes(&self) -> usize {
        self.nodes
    }

    /// An SVG document.
    ///
    /// # Errors
    /// When lines would have too many bends.
    pub fn svg(&self) -> Result<String, PictureError> {
        Ok(svg::svg(&self.model, &scene::scene(&self.model, measure::heading(&self.model))?))
    }

    /// A PNG file.
    ///
    /// # Errors
    /// As [`svg`](Self::svg), and when it would have too many pixels.
    pub fn png(&self) -> Result<Vec<u8>, PictureError> {
        png::png(&self.svg()?)
    }

    /// A graph for Graphviz.
    pub fn dot(&self) -> String {
        dot::dot(&self.model)
    }
}
