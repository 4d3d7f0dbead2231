//! Rewrites of a graph that leave its meaning alone: the ordered list and nothing else. Each rewrite is one file and
//! one function over the graph; after each the invariants of `ir` hold and shapes are inferred afresh.

mod drop_identities;
mod fold_batch_norm;
mod fold_pad;
mod prune;
pub mod values;

use std::collections::{HashMap, HashSet};

use crate::ir::{Net, NodeId, verify};
use crate::op::ParamSpec;
use crate::shape::{self, Shapes};

/// A graph made for inference, and where its parameters come from.
#[derive(Clone, Debug)]
pub struct Optimised {
    /// The graph.
    pub net: Net,
    /// Its shapes.
    pub shapes: Shapes,
    /// The parameters of each node in the order of [`Operator::params`](crate::op::Operator::params).
    pub params: HashMap<NodeId, Vec<Source>>,
    /// The names of the parameters that training changes; none in inference.
    pub trained: HashSet<String>,
    /// What was done, and what was declined and why, in order.
    pub log: Vec<Entry>,
}

/// Where a parameter of an optimised graph comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// A tensor of the checkpoint.
    Stored {
        /// Its name: path and leaf.
        name: String,
        /// What the operator says of it.
        spec: ParamSpec,
    },
    /// A weight whose output channels are scaled by a batch norm behind it.
    Scaled {
        /// The weight.
        weight: Box<Source>,
        /// Which axis of the weight runs over output channels, and in how many groups it is repeated before that.
        axis: usize,
        /// The batch norm.
        norm: Norm,
    },
    /// The bias that remains of a batch norm: `(bias - mean) * scale + shift`.
    Shifted {
        /// The bias in front of it, if there was one.
        bias: Option<Box<Source>>,
        /// The batch norm.
        norm: Norm,
    },
}

/// A batch norm by its parameters' names.
#[derive(Clone, Debug, PartialEq)]
pub struct Norm {
    /// The path of the batch norm.
    pub path: String,
    /// Added to the variance.
    pub eps: f64,
    /// Whether it has a scale and a shift of its own.
    pub affine: bool,
    /// Channels.
    pub channels: u64,
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The rewrite.
    pub rewrite: &'static str,
    /// The node it was tried on.
    pub path: String,
    /// What was done, or why nothing was.
    pub outcome: String,
    /// Whether something was done.
    pub applied: bool,
}

impl Optimised {
    fn new(net: &Net, shapes: &Shapes) -> Optimised {
        let (params, trained) = (stored_params(net, shapes), HashSet::new());
        Optimised { net: net.clone(), shapes: shapes.clone(), params, trained, log: Vec::new() }
    }

    /// Whether a node has a parameter that training changes.
    fn is_trained(&self, id: NodeId) -> bool {
        let sources = self.params.get(&id).into_iter().flatten();
        sources.into_iter().any(|source| matches!(source, Source::Stored { name, .. } if self.trained.contains(name)))
    }

    fn note(&mut self, rewrite: &'static str, path: &str, applied: bool, outcome: String) {
        self.log.push(Entry { rewrite, path: path.to_owned(), outcome, applied });
    }
}

type Rewrite = fn(&mut Optimised);

const REWRITES: [Rewrite; 4] =
    [prune::prune, drop_identities::drop_identities, fold_batch_norm::fold_batch_norm, fold_pad::fold_pad];

/// Makes a graph ready for inference.
pub fn optimise(net: &Net, shapes: &Shapes) -> Optimised {
    let mut optimised = Optimised::new(net, shapes);
    optimised.net.outputs.retain(|output| output.train.is_none());
    rewrite(optimised, &REWRITES)
}

/// A graph as it leaves for other programs: every layer stays but those of heads that exist in training only, and, where
/// `folded`, the batch norms that the layers in front of them can take in.
pub fn for_export(net: &Net, shapes: &Shapes, folded: bool) -> Optimised {
    let mut optimised = Optimised::new(net, shapes);
    optimised.net.outputs.retain(|output| output.train.is_none());
    rewrite(optimised, if folded { &[prune::prune, fold_batch_norm::fold_batch_norm] } else { &[prune::prune] })
}

/// Makes a graph ready for training, in which these parameters change: they stay what they are, as do the outputs that
/// exist in training only.
pub fn optimise_for_training(net: &Net, shapes: &Shapes, trained: &dyn Fn(&str) -> bool) -> Optimised {
    let mut optimised = Optimised::new(net, shapes);
    let names = optimised.params.values().flatten().filter_map(|source| match source {
        Source::Stored { name, spec } => (spec.role.trainable() && trained(name)).then(|| name.clone()),
        Source::Scaled { .. } | Source::Shifted { .. } => None,
    });
    optimised.trained = names.collect();
    rewrite(optimised, &REWRITES)
}

fn rewrite(mut optimised: Optimised, rewrites: &[Rewrite]) -> Optimised {
    for rewrite in rewrites {
        rewrite(&mut optimised);
        debug_assert_eq!(verify(&optimised.net), Ok(()));
        if let Ok(shapes) = shape::infer(&optimised.net) {
            optimised.shapes = shapes;
        }
    }
    optimised
}

fn stored_params(net: &Net, shapes: &Shapes) -> HashMap<NodeId, Vec<Source>> {
    net.nodes()
        .map(|id| {
            let path = &net.node(id).path;
            let stored = |spec: ParamSpec| Source::Stored { name: format!("{path}.{}", spec.leaf), spec };
            (id, shapes.params(net, id).into_iter().map(stored).collect())
        })
        .collect()
}
