//! Shape inference: one node at a time as the elaborator appends it, or a whole graph after a rewrite. The result is
//! a side table; [`error`] words what does not fit, and [`advice`] finds what fits but is hardly meant.

pub mod advice;
pub mod error;
mod fix;
mod mend;
mod written;

use crate::ir::{Net, NodeId, ValueId};
use crate::op::{ParamSpec, ShapeError};
use crate::tensor::Shape;

/// The shape of every value of a graph, without the batch.
#[derive(Clone, Debug, Default)]
pub struct Shapes {
    table: Vec<Vec<Shape>>,
}

impl Shapes {
    /// The shape of a value.
    pub fn of(&self, value: ValueId) -> &Shape {
        &self.table[value.node.index()][value.output as usize]
    }

    /// The shapes of all results of a node.
    pub fn results(&self, id: NodeId) -> &[Shape] {
        &self.table[id.index()]
    }

    /// The shapes of a node's operands.
    pub fn operands(&self, net: &Net, id: NodeId) -> Vec<Shape> {
        net.operands(id).into_iter().map(|value| self.of(value).clone()).collect()
    }

    /// The tensors that a node owns.
    pub fn params(&self, net: &Net, id: NodeId) -> Vec<ParamSpec> {
        net.node(id).op.params(&self.operands(net, id))
    }

    /// Enters the shapes of a node that has been appended.
    pub fn insert(&mut self, id: NodeId, results: Vec<Shape>) {
        if self.table.len() <= id.index() {
            self.table.resize(id.index() + 1, Vec::new());
        }
        self.table[id.index()] = results;
    }

    /// Whether some size is symbolic.
    pub fn symbolic(&self) -> bool {
        self.table.iter().flatten().flat_map(|shape| &shape.0).any(crate::dim::Dim::is_symbolic)
    }
}

/// Infers every node of a graph.
///
/// # Errors
/// The first node whose operands do not fit; after a rewrite that is a fault of the rewrite.
pub fn infer(net: &Net) -> Result<Shapes, (NodeId, ShapeError)> {
    let mut shapes = Shapes::default();
    for id in net.topological() {
        let operands = shapes.operands(net, id);
        let results = net.node(id).op.infer(&operands).map_err(|error| (id, error))?;
        shapes.insert(id, results);
    }
    Ok(shapes)
}
