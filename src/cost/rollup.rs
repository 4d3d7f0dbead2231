//! Layers added up: each by itself, by the block they stand in, or by kind.

use std::collections::HashMap;

use super::{Counts, Layer, Ratio, Report};
use crate::dim::DimError;
use crate::tensor::Shape;

/// What makes a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Each layer.
    Layer,
    /// The layers whose paths begin with the same labels.
    Block {
        /// How many labels count; a layer's own label never does, unless it has no other.
        depth: usize,
    },
    /// The layers of one kind.
    Kind,
}

/// A row: one layer or the sum of several.
#[derive(Clone, Debug)]
pub struct Group {
    /// The path, the path's first labels, or the kind.
    pub name: String,
    /// The layers, as indices into [`Report::layers`].
    pub layers: Vec<usize>,
    /// Their sum.
    pub counts: Counts,
    /// Its part of the net's operations.
    pub share: Option<Ratio>,
    /// The sum of their predicted times, in seconds.
    pub predicted: Option<f64>,
}

impl Group {
    /// The layer, when it is one.
    pub fn layer<'a>(&self, report: &'a Report) -> Option<&'a Layer> {
        match self.layers.as_slice() {
            [layer] => report.layers.get(*layer),
            _ => None,
        }
    }

    /// The shapes of what its last layer makes.
    pub fn outputs<'a>(&self, report: &'a Report) -> &'a [Shape] {
        self.layers.last().and_then(|&layer| report.layers.get(layer)).map_or(&[], |layer| &layer.outputs)
    }
}

/// The rows of a report, in the order in which their first layers stand.
///
/// # Errors
/// When a sum overflows.
pub fn rollup(report: &Report, by: By) -> Result<Vec<Group>, DimError> {
    if by == By::Layer {
        let layers = report.layers.iter().enumerate();
        return layers.map(|(at, layer)| group(report, &layer.path, vec![at])).collect();
    }
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut rows: Vec<(&str, Vec<usize>)> = Vec::new();
    for (at, layer) in report.layers.iter().enumerate() {
        let name = match by {
            By::Layer => &layer.path,
            By::Block { depth } => block(&layer.path, depth),
            By::Kind => layer.kind,
        };
        let place = *places.entry(name).or_insert(rows.len());
        match rows.get_mut(place) {
            Some((_, layers)) => layers.push(at),
            None => rows.push((name, vec![at])),
        }
    }
    rows.into_iter().map(|(name, layers)| group(report, name, layers)).collect()
}

fn group(report: &Report, name: &str, layers: Vec<usize>) -> Result<Group, DimError> {
    let counts = match layers.as_slice() {
        [only] => report.layers[*only].counts.clone(),
        several => Counts::sum(several.iter().map(|&layer| &report.layers[layer].counts))?,
    };
    let convention = report.options.convention;
    let predicted = layers.iter().map(|&layer| report.layers[layer].predicted.map(|time| time.seconds)).sum();
    Ok(Group {
        name: name.to_owned(),
        share: Ratio::of(counts.ops(convention), report.totals.ops(convention)),
        layers,
        counts,
        predicted,
    })
}

/// The first labels of a path, without its last; the path itself when it is one label.
fn block(path: &str, depth: usize) -> &str {
    let ends: Vec<usize> = path.match_indices('.').map(|(at, _)| at).take(depth.max(1)).collect();
    ends.last().map_or(path, |&end| &path[..end])
}
