//! A net as a model: the layers' rules give the nodes, here they get names, tensors, shapes and a frame.

mod encode;
mod file;
mod image;
mod print;
mod sizes;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::RangeInclusive;

use super::error::{OnnxError, UnfitNode};
use super::head;
use crate::dim::Dim;
use crate::ir::{Net, NodeId, ValueId};
use crate::op::Op;
use crate::op::onnx::export::{Node, bounded};
use crate::op::onnx::{BATCH, Constant, Data, Export};
use crate::opt::values::{Tensors, resolve};
use crate::opt::{self, Optimised};
use crate::shape::Shapes;
use crate::tensor::Shape;
use crate::weights::{BindOptions, Checkpoint, Parameter, StoredTensor, Wanted, bind, parameters};

/// The operator sets that models are written for.
pub const OPSETS: RangeInclusive<i64> = 7..=27;

/// How a net is written as a model.
#[derive(Clone, Debug)]
pub struct ExportOptions {
    /// The operator set.
    pub opset: i64,
    /// Whether batch norms are folded into the layers in front of them.
    pub folded: bool,
    /// Whether the net's preprocessing stands in the graph, so that the model takes images as bytes.
    pub with_preprocess: bool,
    /// What the model says beside its graph, as class names; goes before what the checkpoint says.
    pub metadata: BTreeMap<String, String>,
    /// What is let pass of a checkpoint that does not fit the net.
    pub bind: BindOptions,
}

impl Default for ExportOptions {
    /// Operator set 21, and layers as they stand.
    fn default() -> ExportOptions {
        ExportOptions {
            opset: 21,
            folded: false,
            with_preprocess: false,
            metadata: BTreeMap::new(),
            bind: BindOptions::default(),
        }
    }
}

/// A model that can be written: see [`Model::write`].
#[derive(Clone, Debug)]
pub struct Model {
    name: String,
    opset: i64,
    nodes: Vec<Node>,
    tensors: Vec<(String, Tensor)>,
    inputs: Vec<Info>,
    outputs: Vec<Info>,
    values: Vec<Info>,
    metadata: BTreeMap<String, String>,
}

/// A tensor of a model.
#[derive(Clone, Debug)]
enum Tensor {
    /// Of the checkpoint, as 32 bit floats.
    Stored(StoredTensor),
    /// Of a layer's rule: floats or integers.
    Known(Constant),
    /// Zeros of these sizes that the model only describes.
    Described(Vec<u64>),
}

impl Size {
    fn known(&self) -> Option<usize> {
        match self {
            Size::Known(size) => usize::try_from(*size).ok(),
            Size::Named(_) => None,
        }
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Size::Known(size) => size.fmt(f),
            Size::Named(name) => f.write_str(name),
        }
    }
}

/// The name, element type and sizes of a value.
#[derive(Clone, Debug)]
struct Info {
    name: String,
    element: i64,
    dims: Vec<Size>,
}

/// A size of a value.
#[derive(Clone, Debug, PartialEq)]
enum Size {
    Known(i64),
    Named(String),
}

const FLOAT: i64 = 1;
const UINT8: i64 = 2;
const INT64: i64 = 7;

/// Makes a model of a net for inference: heads that exist in training only are left out. Without a checkpoint each
/// parameter is a tensor of zeros that the model only describes, which leaves the structure and next to no bytes.
///
/// Values and nodes have the paths of the net as names, parameters theirs; the batch is free, and so are height and width
/// where the net leaves them free.
///
/// # Errors
/// When the checkpoint does not fit the net, the operator set is unknown or lacks what a layer needs, or a layer has no
/// counterpart in ONNX: all such layers are listed.
///
/// ```
/// use netc::onnx::{ExportOptions, ImportOptions, export, import_bytes};
/// use netc::weights::{Scheme, init};
///
/// let compiled = netc::compile("specs/lenet5.net")?;
/// let weights = init(&compiled.init_specs(), Scheme::He, 1)?;
/// let model = export(&compiled.net, &compiled.shapes, Some(&weights), &ExportOptions::default())?;
/// let back = import_bytes(&model.to_bytes()?, &ImportOptions::default())?;
/// assert_eq!(netc::outline::difference(&compiled.net, &back.net), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn export(
    net: &Net,
    shapes: &Shapes,
    weights: Option<&Checkpoint>,
    options: &ExportOptions,
) -> Result<Model, OnnxError> {
    if !OPSETS.contains(&options.opset) {
        let what = format!("operator set {} is none that models are written for", options.opset);
        return Err(OnnxError::wrong(what, format!("choose one from {} to {}", OPSETS.start(), OPSETS.end())));
    }
    if weights.is_none() && options.opset < 9 {
        let what = "tensors that a model only describes need operator set 9";
        return Err(OnnxError::wrong(what, "export with --opset 9 or later, or with weights"));
    }
    let (wanted, bound) = match weights {
        Some(weights) => bound(net, shapes, weights, &options.bind)?,
        None => (Vec::new(), Vec::new()),
    };
    let stored: Tensors = wanted
        .iter()
        .zip(&bound)
        .filter_map(|(wanted, tensor)| Some((wanted.name.as_str(), tensor.clone()?)))
        .collect();
    let optimised = opt::for_export(net, shapes, options.folded);
    let mut exporting = Exporting {
        optimised: &optimised,
        stored: weights.is_some().then_some(stored),
        names: names(&optimised.net),
        free: Free::of(&optimised.net, &optimised.shapes),
        sizes: sizes::Sizes::of(&optimised.net, &optimised.shapes),
        unfit: Vec::new(),
        model: Model {
            name: net.name.clone(),
            opset: options.opset,
            nodes: Vec::new(),
            tensors: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            values: Vec::new(),
            metadata: metadata(net, weights, options),
        },
    };
    exporting.graph(options)?;
    let model = exporting.model;
    model.check_names()?;
    Ok(model)
}

/// The tensor of each parameter.
fn bound(
    net: &Net,
    shapes: &Shapes,
    weights: &Checkpoint,
    options: &BindOptions,
) -> Result<(Vec<Wanted>, Vec<Option<StoredTensor>>), OnnxError> {
    let parameters = parameters(net, shapes);
    if let Some(parameter) = parameters.iter().find(|parameter| parameter.spec.shape.contains(&0)) {
        let what = format!("the sizes of `{}` depend on those of the input", parameter.name);
        return Err(OnnxError::wrong(what, "fix height and width, as with --set or --shape"));
    }
    let wanted: Vec<Wanted> = parameters.iter().map(Parameter::wanted).collect();
    let bound = bind(weights, &wanted, options)?;
    Ok((wanted, bound.tensors))
}

/// What the model says beside its graph.
fn metadata(net: &Net, weights: Option<&Checkpoint>, options: &ExportOptions) -> BTreeMap<String, String> {
    let mut metadata = weights.map(|weights| weights.metadata().clone()).unwrap_or_default();
    // What safetensors say of their own form.
    metadata.remove("format");
    metadata.extend(options.metadata.clone());
    let mut told = net.clone();
    if options.with_preprocess {
        // What stands in the graph is not to be done twice.
        told.preprocess = None;
    }
    metadata.insert(head::KEY.to_owned(), head::text(&told));
    metadata
}

/// A name for every value: an output's where it is one, else its path.
fn names(net: &Net) -> HashMap<ValueId, String> {
    let mut names: HashMap<ValueId, String> = HashMap::new();
    for &input in &net.inputs {
        names.insert(input.into(), net.node(input).path.clone());
    }
    for output in &net.outputs {
        names.entry(output.value).or_insert_with(|| output.name.clone());
    }
    let mut taken: HashSet<String> = names.values().cloned().collect();
    taken.extend(net.outputs.iter().map(|output| output.name.clone()));
    for id in net.nodes() {
        let node = net.node(id);
        for (output, path) in std::iter::once(&node.path).chain(&node.others).enumerate() {
            let value = ValueId { node: id, output: output as u32 };
            if let std::collections::hash_map::Entry::Vacant(free) = names.entry(value) {
                let name = if taken.contains(path) { format!("{path}/value") } else { path.clone() };
                taken.insert(name.clone());
                free.insert(name);
            }
        }
    }
    names
}

/// A model that is being made.
struct Exporting<'a> {
    optimised: &'a Optimised,
    /// The tensors of the net's own parameters; `None` where the model describes them.
    stored: Option<Tensors<'a>>,
    names: HashMap<ValueId, String>,
    free: Free,
    sizes: sizes::Sizes,
    unfit: Vec<UnfitNode>,
    model: Model,
}

impl Exporting<'_> {
    fn graph(&mut self, options: &ExportOptions) -> Result<(), OnnxError> {
        let net = &self.optimised.net;
        self.model.inputs = net.inputs.iter().map(|&input| self.info(input.into())).collect();
        if let (Some(preprocess), [input]) = (&net.preprocess, self.model.inputs.as_slice()) {
            image::check(preprocess, &input.dims)?;
        }
        for id in net.topological() {
            if !matches!(net.node(id).op, Op::Input(_)) {
                self.layer(id);
            }
        }
        for output in &net.outputs {
            let name = self.names[&output.value].clone();
            if name != output.name {
                // One value under two names, or an input that is an output.
                self.model.nodes.push(Node {
                    name: format!("{}/Identity", output.name),
                    op_type: "Identity",
                    inputs: vec![name],
                    outputs: vec![output.name.clone()],
                    attrs: Vec::new(),
                });
            }
            let info = Info { name: output.name.clone(), ..self.info(output.value) };
            self.model.outputs.push(info);
        }
        let shown: HashSet<&String> = self.model.outputs.iter().map(|output| &output.name).collect();
        self.model.values.retain(|value| !shown.contains(&value.name));
        if !self.unfit.is_empty() {
            return Err(OnnxError::Inexpressible(std::mem::take(&mut self.unfit)));
        }
        let sizes = std::mem::take(&mut self.sizes);
        self.model.nodes.splice(0..0, sizes.nodes);
        self.model.tensors.extend(sizes.constants.into_iter().map(|(name, constant)| (name, Tensor::Known(constant))));
        if options.with_preprocess {
            image::preprocess(&mut self.model, net, &self.free)?;
        }
        Ok(())
    }

    /// The nodes of a layer by its rule, and what they read.
    fn layer(&mut self, id: NodeId) {
        let (net, shapes) = (&self.optimised.net, &self.optimised.shapes);
        let node = net.node(id);
        let operands = net.operands(id);
        let names = |values: &[ValueId]| values.iter().map(|value| self.names[value].clone()).collect::<Vec<_>>();
        let results: Vec<ValueId> =
            (0..shapes.results(id).len()).map(|output| ValueId { node: id, output: output as u32 }).collect();
        let (operand_names, result_names) = (names(&operands), names(&results));
        let inputs = shapes.operands(net, id);
        let params: Vec<(&'static str, Vec<u64>)> =
            shapes.params(net, id).into_iter().map(|spec| (spec.leaf, spec.shape)).collect();
        let values = |leaf: &str| {
            let at = params.iter().position(|(own, _)| *own == leaf)?;
            match &self.stored {
                Some(stored) => {
                    let source = self.optimised.params.get(&id)?.get(at)?;
                    Some(resolve(source, stored)?.to_f32().into_owned())
                }
                None => Some(vec![0.0; bounded(&params[at].1).ok()?]),
            }
        };
        let mut export = Export::new(
            self.model.opset,
            &node.path,
            (&operand_names, &inputs),
            (&result_names, shapes.results(id)),
            &values,
        );
        let outcome = node.op.to_onnx(&mut export);
        let Export { nodes, constants, sizes, .. } = export;
        let outcome =
            outcome.and_then(|()| sizes.into_iter().try_for_each(|(name, dims)| self.sizes.list(name, &dims)));
        if let Err(unfit) = outcome {
            let op_type = node.op.describe().0.to_owned();
            self.unfit.push(UnfitNode { name: node.path.clone(), op_type, reason: unfit.0 });
            return;
        }
        let known = constants.into_iter().map(|constant| (constant.name.to_string(), Tensor::Known(constant)));
        self.model.tensors.extend(known);
        let read: HashSet<&String> = nodes.iter().flat_map(|node| &node.inputs).collect();
        for (at, (leaf, shape)) in params.iter().enumerate() {
            let name = format!("{}.{leaf}", node.path);
            if read.contains(&name) {
                self.param(id, at, name, shape);
            }
        }
        self.model.nodes.extend(nodes);
        let infos = results.iter().map(|&value| self.info(value)).collect::<Vec<_>>();
        self.model.values.extend(infos);
    }

    /// A parameter that a node reads.
    fn param(&mut self, id: NodeId, at: usize, name: String, shape: &[u64]) {
        if let Some(stored) = &self.stored {
            let source = self.optimised.params.get(&id).and_then(|sources| sources.get(at));
            if let Some(tensor) = source.and_then(|source| resolve(source, stored)) {
                self.model.tensors.push((name, Tensor::Stored(tensor)));
            }
        } else {
            self.model.tensors.push((name, Tensor::Described(shape.to_vec())));
        }
    }

    fn info(&self, value: ValueId) -> Info {
        let dims = self.free.batched(self.optimised.shapes.of(value));
        Info { name: self.names[&value].clone(), element: FLOAT, dims }
    }
}

/// Names of sizes that are free in the model and not in the net.
#[derive(Debug)]
struct Free {
    batch: String,
    image: [String; 2],
}

impl Free {
    /// Names that no free size of the net has.
    fn of(net: &Net, shapes: &Shapes) -> Free {
        let inputs = net.inputs.iter().flat_map(|&input| &shapes.of(input.into()).0);
        let taken: HashSet<String> = inputs.flat_map(Dim::symbols).collect();
        let name = |name: &str| {
            let mut name = name.to_owned();
            while taken.contains(&name) {
                name.push('_');
            }
            name
        };
        Free { batch: name(BATCH), image: [name("height"), name("width")] }
    }

    /// The sizes of a value with the batch in front.
    fn batched(&self, shape: &Shape) -> Vec<Size> {
        let size = |dim: &Dim| match dim.as_u64().and_then(|size| i64::try_from(size).ok()) {
            Some(size) => Size::Known(size),
            None => Size::Named(dim.to_string()),
        };
        std::iter::once(Size::Named(self.batch.clone())).chain(shape.0.iter().map(size)).collect()
    }
}

impl Model {
    /// How much it is, for people: nodes, tensors, operator set.
    pub fn summary(&self) -> String {
        format!("{} nodes of operator set {}, {} tensors", self.nodes.len(), self.opset, self.tensors.len())
    }

    /// Refuses two values of one name, which a path with a slash in it could make.
    fn check_names(&self) -> Result<(), OnnxError> {
        let inputs = self.inputs.iter().map(|input| &input.name);
        let mut taken = HashSet::new();
        let all = inputs.chain(self.tensors.iter().map(|(name, _)| name));
        match all.chain(self.nodes.iter().flat_map(|node| &node.outputs)).find(|name| !taken.insert(*name)) {
            Some(name) => {
                let what = format!("two values of the model would be named `{}`", super::error::show(name));
                Err(OnnxError::wrong(what, "give the layer of that name another label"))
            }
            None => Ok(()),
        }
    }
}

impl Tensor {
    fn dims(&self) -> Vec<u64> {
        match self {
            Tensor::Stored(tensor) => tensor.shape().to_vec(),
            Tensor::Known(constant) => constant.dims(),
            Tensor::Described(dims) => dims.clone(),
        }
    }

    fn element(&self) -> i64 {
        match self {
            Tensor::Stored(_) | Tensor::Described(_) => FLOAT,
            Tensor::Known(constant) => match constant.data {
                Data::Floats(_) | Data::Fill(..) => FLOAT,
                Data::Ints(_) | Data::Sizes(_) => INT64,
            },
        }
    }

    /// How many bytes its elements take.
    fn size(&self) -> u64 {
        let elements: u64 = self.dims().iter().product();
        elements * if self.element() == INT64 { 8 } else { 4 }
    }
}
