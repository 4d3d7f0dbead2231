//! Models of ONNX (<https://onnx.ai/onnx/>).
//!
//! [`import`] reads a model: the wire format (`wire`, `proto`, `tensor`), nodes to layers by the rules that stand in each
//! operator's file (`lower`, `fold`, `views`), what exporters take apart put together again (`tidy`), and paths for all of it
//! (`names`). Out comes a net with its weights, or everything that the language does not express. [`export`] goes the other
//! way; what only netc says of a net stands in the model's metadata (`head`).

pub mod error;
mod export;
mod fold;
mod formulas;
mod head;
mod lower;
mod names;
mod proto;
mod scopes;
mod tensor;
mod tidy;
mod views;
mod wire;

use std::collections::BTreeMap;
use std::path::Path;

use crate::ir::Net;
use crate::kernel::map::Bytes;
use crate::op::onnx::Data;
use crate::op::onnx::constant::MAX_FILLED;
use crate::shape::Shapes;
use crate::weights::{Checkpoint, StoredTensor};

pub use crate::op::onnx::Constant;
pub use error::{OnnxError, UnfitNode};
pub use export::{ExportOptions, Model, OPSETS, export};
pub use lower::Turned;

/// How a model is read.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// Inputs that are fixed, by name: they become weights or arguments of layers.
    pub fixed: BTreeMap<String, Constant>,
    /// Whether the net alone is wanted, and its tensors are not made.
    pub without_weights: bool,
}

/// A model as a net with its weights.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The net. All its layers have paths; nothing in it has a place in a text.
    pub net: Net,
    /// The shape of every value.
    pub shapes: Shapes,
    /// The tensors, by the paths of the net, and what the model says beside its graph.
    pub weights: Checkpoint,
    /// What the model says beside the graph.
    pub metadata: BTreeMap<String, String>,
    /// Inputs and outputs whose axes the model has in another order.
    pub turned: Vec<Turned>,
}

impl Imported {
    /// The net as a source of the language, which compiles to the same net.
    pub fn text(&self) -> String {
        crate::outline::source(&self.net, &self.shapes)
    }

    /// The same with a line for each layer.
    pub fn flat_text(&self) -> String {
        crate::ir::expand::flat(&self.net)
    }
}

/// Names that exporters give to every graph.
const GENERIC: [&str; 10] = [
    "net",
    "net_",
    "graph",
    "main_graph",
    "torch_jit",
    "torch_jit_export",
    "tf2onnx",
    "paddle_onnx",
    "Model_from_PaddlePaddle",
    "PaddlePaddle_Graph_in_PIR_mode",
];

/// What free sizes may have to be multiples of: the strides of nets.
const MULTIPLES: [u64; 6] = [2, 4, 8, 16, 32, 64];

/// Reads a model from its file, and tensors from files beside it.
///
/// # Errors
/// When a file cannot be read or is damaged, or the model has nodes that no layers express: all of them are listed.
pub fn import(path: &Path, options: &ImportOptions) -> Result<Imported, OnnxError> {
    let read = || {
        let bytes = Bytes::open(path, true).map_err(OnnxError::Read)?;
        let mut imported = imported(&bytes, || tensor::External::beside(path), options)?;
        if GENERIC.contains(&imported.net.name.as_str()) {
            let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            imported.net.name = names::word(stem, "model");
        }
        Ok(imported)
    };
    read().map_err(|error: OnnxError| error.within(path))
}

/// Reads a model from memory; its tensors must all be in it.
///
/// # Errors
/// As [`import`].
pub fn import_bytes(bytes: &[u8], options: &ImportOptions) -> Result<Imported, OnnxError> {
    imported(bytes, tensor::External::default, options)
}

fn imported(
    bytes: &[u8],
    external: impl Fn() -> tensor::External,
    options: &ImportOptions,
) -> Result<Imported, OnnxError> {
    let model = proto::Model::read(bytes)?;
    let metadata: BTreeMap<String, String> =
        model.metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let head = metadata.get(head::KEY).and_then(|text| head::Head::read(text));
    let divisors = head.as_ref().map(head::Head::divisors).unwrap_or_default();
    let reading = lower::Reading { fixed: options.fixed.clone(), divisors, multiple: 1, unbatched: false };
    let mut made = lowered(&model, external, reading)?;
    tidy::tidy(&mut made)?;
    if head.is_some() {
        names::name_as_written(&mut made);
    } else {
        names::name(&mut made);
        scopes::scopes(&mut made);
    }
    if let Some(head) = head {
        head.put(&mut made.net, &made.shapes);
    }
    let mut weights = if options.without_weights { Checkpoint::new() } else { checkpoint(&made)? };
    for (key, value) in metadata.iter().filter(|(key, _)| *key != head::KEY) {
        weights.set_metadata(key, value);
    }
    Ok(Imported { net: made.net, shapes: made.shapes, weights, metadata, turned: made.turned })
}

/// The layers of a model, read in one of several ways: the first that succeeds, or what is wrong with the first.
fn lowered(
    model: &proto::Model,
    external: impl Fn() -> tensor::External,
    mut reading: lower::Reading,
) -> Result<lower::Lowered, OnnxError> {
    let first = match lower::lower(model, external(), &reading) {
        Err(OnnxError::Unfit(nodes)) => nodes,
        made => return made,
    };
    // Maps that are made smaller and larger again may meet at some free sizes only: at multiples of what they are divided by.
    if lower::has_free_sizes(model)? {
        for multiple in MULTIPLES {
            reading.multiple = multiple;
            if let Ok(made) = lower::lower(model, external(), &reading) {
                return Ok(made);
            }
        }
    }
    // Where nodes work across the first axis of tensors that have at most three, that may be no batch.
    reading.multiple = 1;
    reading.unbatched = true;
    lower::lower(model, external(), &reading).map_err(|_| OnnxError::Unfit(first))
}

/// The tensors by path and leaf.
fn checkpoint(made: &lower::Lowered) -> Result<Checkpoint, OnnxError> {
    let mut weights = Checkpoint::new();
    // Tensors that a file only describes are filled out here.
    let mut filled = 0u64;
    for id in made.net.nodes() {
        for param in made.params.get(&id).into_iter().flatten() {
            let name = format!("{}.{}", made.net.node(id).path, param.leaf);
            let large = || OnnxError::wrong(format!("tensor `{name}` is too large"), "it does not fit memory");
            if let Data::Fill(..) = param.value.data {
                filled += param.value.elements().ok_or_else(large)?;
            }
            if 2 * MAX_FILLED < filled {
                return Err(large());
            }
            let values = param.value.to_floats().ok_or_else(large)?;
            let tensor =
                StoredTensor::from_f32(param.value.dims(), values.iter().copied().collect()).ok_or_else(large)?;
            weights.insert(name.clone(), tensor);
        }
    }
    Ok(weights)
}

/// Reads a tensor from a file that holds nothing else, as the ONNX test suites have them; `None` where its elements are of a
/// type that no net computes with.
///
/// # Errors
/// When it is damaged.
pub fn read_tensor(bytes: &[u8]) -> Result<Option<Constant>, OnnxError> {
    tensor::decode(&proto::Tensor::read(bytes)?, &mut tensor::External::default())
}

/// The names of a model's inputs that are no weights, in order.
///
/// # Errors
/// When the file is damaged.
pub fn input_names(bytes: &[u8]) -> Result<Vec<String>, OnnxError> {
    let model = proto::Model::read(bytes)?;
    let graph = proto::Graph::read(model.graph.unwrap_or_default())?;
    let mut stored = std::collections::HashSet::new();
    for tensor in &graph.initializers {
        stored.insert(proto::tensor_name(tensor)?);
    }
    Ok(graph.inputs.iter().map(|input| input.name).filter(|name| !stored.contains(name)).map(str::to_owned).collect())
}

/// The operators of a model's nodes, in order.
///
/// # Errors
/// When the file is damaged.
pub fn operators(bytes: &[u8]) -> Result<Vec<String>, OnnxError> {
    let model = proto::Model::read(bytes)?;
    let graph = proto::Graph::read(model.graph.unwrap_or_default())?;
    graph.nodes.iter().map(|node| Ok(proto::Node::read(node)?.op_type.to_owned())).collect()
}
