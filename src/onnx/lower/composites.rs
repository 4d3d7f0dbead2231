//! Nodes that together are one layer, and apart none: they are read as one node, of an operator that the layer's rule
//! names and ONNX does not have.

use std::collections::{HashMap, HashSet};

use crate::onnx::error::OnnxError;
use crate::onnx::proto::{Message, Node};

/// What becomes of the nodes of a graph, by their place; those that are not in it stay.
#[derive(Debug, Default)]
pub(super) struct Composites<'a> {
    /// Nodes that are read as another operator with other operands.
    pub(super) heads: HashMap<usize, (&'static str, Vec<&'a str>)>,
    /// Nodes that are part of these.
    pub(super) parts: HashSet<usize>,
}

/// The nodes of a graph by what they make, and how often that is taken.
struct Nodes<'a, 't> {
    nodes: Vec<Node<'a>>,
    makers: HashMap<&'a str, usize>,
    uses: HashMap<&'a str, usize>,
    is_tensor: &'t dyn Fn(&str) -> bool,
}

impl<'a> Nodes<'a, '_> {
    /// The node of this operator that makes an operand which nobody else takes but as often.
    fn maker(&self, name: &str, op_type: &str, uses: usize) -> Option<(usize, &Node<'a>)> {
        let at = *self.makers.get(name)?;
        let node = &self.nodes[at];
        let fits = node.op_type == op_type && node.domain.is_empty() && self.uses.get(name) == Some(&uses);
        fits.then_some((at, node))
    }
}

/// Finds them. `shown` are names that somebody outside the graph takes; `is_tensor` says which names stand for tensors of
/// the file.
///
/// # Errors
/// When a node is damaged.
pub(super) fn composites<'a>(
    messages: &[Message<'a>],
    shown: &HashSet<&'a str>,
    is_tensor: &dyn Fn(&str) -> bool,
) -> Result<Composites<'a>, OnnxError> {
    let nodes = messages.iter().map(|message| Node::read(message)).collect::<Result<Vec<_>, _>>()?;
    let (mut makers, mut uses) = (HashMap::new(), HashMap::new());
    for (at, node) in nodes.iter().enumerate() {
        node.inputs.iter().for_each(|&name| *uses.entry(name).or_default() += 1);
        makers.extend(node.outputs.iter().map(|&name| (name, at)));
    }
    shown.iter().for_each(|&name| *uses.entry(name).or_default() += 1);
    let nodes = Nodes { nodes, makers, uses, is_tensor };
    let mut found = Composites::default();
    for (at, node) in nodes.nodes.iter().enumerate() {
        let composite = match node.op_type {
            "ReduceSum" => distances(&nodes, node),
            "Conv" => table_conv(&nodes, node),
            "MatMul" => adaptive_average(&nodes, node),
            _ => None,
        };
        if let Some((op_type, inputs, parts)) = composite {
            found.heads.insert(at, (op_type, inputs));
            found.parts.extend(parts);
        }
    }
    Ok(found)
}

type Composite<'a> = (&'static str, Vec<&'a str>, Vec<usize>);

/// Squared distances to codes: the sums of the squares of what `Sub` makes of a row and a matrix.
fn distances<'a>(nodes: &Nodes<'a, '_>, sum: &Node<'a>) -> Option<Composite<'a>> {
    let (square_at, square) = nodes.maker(sum.inputs.first()?, "Mul", 1)?;
    let &[left, right] = square.inputs.as_slice() else { return None };
    let (difference_at, difference) = nodes.maker(left, "Sub", 2).filter(|_| left == right)?;
    let &[row, codes] = difference.inputs.as_slice() else { return None };
    nodes.maker(row, "Unsqueeze", 1)?;
    let mut inputs = vec![row, codes];
    inputs.extend(sum.inputs.get(1));
    Some(("Distances", inputs, vec![square_at, difference_at]))
}

/// Means over the parts of both axes: a map between two matrices.
fn adaptive_average<'a>(nodes: &Nodes<'a, '_>, product: &Node<'a>) -> Option<Composite<'a>> {
    let &[left, across] = product.inputs.as_slice() else { return None };
    let (inner_at, inner) = nodes.maker(left, "MatMul", 1)?;
    let &[down, x] = inner.inputs.as_slice() else { return None };
    ((nodes.is_tensor)(down) && (nodes.is_tensor)(across))
        .then(|| ("AdaptiveAverage", vec![x, down, across], vec![inner_at]))
}

/// A convolution with a connection table: its kernels are put in their places among zeros.
fn table_conv<'a>(nodes: &Nodes<'a, '_>, conv: &Node<'a>) -> Option<Composite<'a>> {
    let (scatter_at, scatter) = nodes.maker(conv.inputs.get(1)?, "ScatterND", 1)?;
    let &[zeros, places, kernels] = scatter.inputs.as_slice() else { return None };
    let bias = conv.inputs.get(2).copied().unwrap_or("");
    Some(("TableConv", vec![conv.inputs[0], kernels, bias, places, zeros], vec![scatter_at]))
}
