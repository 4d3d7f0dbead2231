//! The messages of ONNX, read where they lie. Field numbers are those of onnx.proto
//! (<https://github.com/onnx/onnx/blob/main/onnx/onnx.proto>).
//!
//! Lists of messages are kept as the bytes of each, and read when they are looked at: a file takes no more memory than
//! two words for each of its messages.

use super::error::OnnxError;
use super::wire::fields;

/// A message as it lies in the file.
pub type Message<'a> = &'a [u8];

/// A whole model.
#[derive(Clone, Debug, Default)]
pub struct Model<'a> {
    /// The version of the operator set of each domain.
    pub opsets: Vec<(&'a str, i64)>,
    /// The graph; `None` where the file has none.
    pub graph: Option<Message<'a>>,
    /// Functions that the model brings along.
    pub functions: Vec<Message<'a>>,
    /// What it says beside the graph.
    pub metadata: Vec<(&'a str, &'a str)>,
}

impl<'a> Model<'a> {
    /// Reads a file.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn read(message: Message<'a>) -> Result<Model<'a>, OnnxError> {
        let mut model = Model::default();
        for field in fields(message) {
            match field? {
                (7, graph) => model.graph = Some(graph.bytes()?),
                (8, opset) => model.opsets.push(opset_of(opset.bytes()?)?),
                (14, entry) => model.metadata.push(entry_of(entry.bytes()?)?),
                (25, function) => model.functions.push(function.bytes()?),
                _ => {}
            }
        }
        Ok(model)
    }
}

fn opset_of(message: Message<'_>) -> Result<(&str, i64), OnnxError> {
    let mut opset = ("", 0);
    for field in fields(message) {
        match field? {
            (1, domain) => opset.0 = domain.text()?,
            (2, version) => opset.1 = version.int()?,
            _ => {}
        }
    }
    Ok(opset)
}

fn entry_of(message: Message<'_>) -> Result<(&str, &str), OnnxError> {
    let mut entry = ("", "");
    for field in fields(message) {
        match field? {
            (1, key) => entry.0 = key.text()?,
            (2, value) => entry.1 = value.text()?,
            _ => {}
        }
    }
    Ok(entry)
}

/// A graph, or the body of a branch.
#[derive(Clone, Debug, Default)]
pub struct Graph<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its nodes.
    pub nodes: Vec<Message<'a>>,
    /// Its tensors.
    pub initializers: Vec<Message<'a>>,
    /// Its inputs.
    pub inputs: Vec<ValueInfo<'a>>,
    /// Its outputs.
    pub outputs: Vec<ValueInfo<'a>>,
    /// Whether it has tensors that list only what is not zero.
    pub sparse: bool,
}

impl<'a> Graph<'a> {
    /// Reads a graph, its nodes and tensors not yet.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn read(message: Message<'a>) -> Result<Graph<'a>, OnnxError> {
        let mut graph = Graph::default();
        for field in fields(message) {
            match field? {
                (1, node) => graph.nodes.push(node.bytes()?),
                (2, name) => graph.name = name.text()?,
                (5, tensor) => graph.initializers.push(tensor.bytes()?),
                (11, input) => graph.inputs.push(ValueInfo::read(input.bytes()?)?),
                (12, output) => graph.outputs.push(ValueInfo::read(output.bytes()?)?),
                (15, _) => graph.sparse = true,
                _ => {}
            }
        }
        Ok(graph)
    }
}

/// A function of the model.
#[derive(Clone, Debug, Default)]
pub struct Function<'a> {
    /// Its name and domain.
    pub key: (&'a str, &'a str),
    /// The names of its operands.
    pub inputs: Vec<&'a str>,
    /// The names of its results.
    pub outputs: Vec<&'a str>,
    /// Its nodes.
    pub nodes: Vec<Message<'a>>,
    /// Attributes with defaults.
    pub defaults: Vec<Message<'a>>,
    /// The operator sets that it uses.
    pub opsets: Vec<(&'a str, i64)>,
}

impl<'a> Function<'a> {
    /// Reads a function, its nodes not yet.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn read(message: Message<'a>) -> Result<Function<'a>, OnnxError> {
        let mut function = Function::default();
        for field in fields(message) {
            match field? {
                (1, name) => function.key.1 = name.text()?,
                (4, input) => function.inputs.push(input.text()?),
                (5, output) => function.outputs.push(output.text()?),
                (7, node) => function.nodes.push(node.bytes()?),
                (9, opset) => function.opsets.push(opset_of(opset.bytes()?)?),
                (10, domain) => function.key.0 = domain.text()?,
                (11, attribute) => function.defaults.push(attribute.bytes()?),
                _ => {}
            }
        }
        Ok(function)
    }
}

/// A node.
#[derive(Clone, Debug, Default)]
pub struct Node<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its operator.
    pub op_type: &'a str,
    /// The domain of the operator; empty for ONNX's own.
    pub domain: &'a str,
    /// The names of its operands; empty where one is left out.
    pub inputs: Vec<&'a str>,
    /// The names of its results; empty where one is left out.
    pub outputs: Vec<&'a str>,
    /// Its attributes.
    pub attributes: Vec<Message<'a>>,
}

impl<'a> Node<'a> {
    /// Reads a node, its attributes not yet.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn read(message: Message<'a>) -> Result<Node<'a>, OnnxError> {
        let mut node = Node::default();
        for field in fields(message) {
            match field? {
                (1, input) => node.inputs.push(input.text()?),
                (2, output) => node.outputs.push(output.text()?),
                (3, name) => node.name = name.text()?,
                (4, op_type) => node.op_type = op_type.text()?,
                (5, attribute) => node.attributes.push(attribute.bytes()?),
                (7, domain) => node.domain = domain.text()?,
                _ => {}
            }
        }
        if node.domain == "ai.onnx" {
            node.domain = "";
        }
        Ok(node)
    }

    /// The name, or that of the first result.
    pub fn title(&self) -> &'a str {
        if self.name.is_empty() { self.outputs.iter().find(|name| !name.is_empty()).unwrap_or(&"") } else { self.name }
    }
}

/// An attribute.
#[derive(Clone, Debug, Default)]
pub struct Attribute<'a> {
    /// Its name.
    pub name: &'a str,
    /// What type it says it has; 0 in old files.
    pub kind: i64,
    /// The float.
    pub float: Option<f32>,
    /// The integer.
    pub int: Option<i64>,
    /// The text.
    pub text: Option<&'a [u8]>,
    /// The tensor.
    pub tensor: Option<Message<'a>>,
    /// The graph.
    pub graph: Option<Message<'a>>,
    /// The floats.
    pub floats: Vec<f32>,
    /// The integers.
    pub ints: Vec<i64>,
    /// The attribute of the function it stands for.
    pub reference: &'a str,
}

impl<'a> Attribute<'a> {
    /// Reads an attribute.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn read(message: Message<'a>) -> Result<Attribute<'a>, OnnxError> {
        let mut attribute = Attribute::default();
        for field in fields(message) {
            match field? {
                (1, name) => attribute.name = name.text()?,
                (2, value) => attribute.float = Some(value.float()?),
                (3, value) => attribute.int = Some(value.int()?),
                (4, value) => attribute.text = Some(value.bytes()?),
                (5, value) => attribute.tensor = Some(value.bytes()?),
                (6, value) => attribute.graph = Some(value.bytes()?),
                (7, values) => values.floats(&mut attribute.floats)?,
                (8, values) => values.ints(&mut attribute.ints)?,
                (20, kind) => attribute.kind = kind.int()?,
                (21, name) => attribute.reference = name.text()?,
                _ => {}
            }
        }
        Ok(attribute)
    }
}

/// An input or output.
#[derive(Clone, Debug, Default)]
pub struct ValueInfo<'a> {
    /// Its name.
    pub name: &'a str,
    /// The type of its elements; 0 where it is no tensor.
    pub element: i64,
    /// Its sizes; `None` where the number of axes is not known.
    pub dims: Option<Vec<Size<'a>>>,
}

/// A size of an input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Size<'a> {
    /// A number.
    Known(i64),
    /// A name, empty where nothing is said.
    Named(&'a str),
}

impl<'a> ValueInfo<'a> {
    fn read(message: Message<'a>) -> Result<ValueInfo<'a>, OnnxError> {
        let mut info = ValueInfo::default();
        for field in fields(message) {
            match field? {
                (1, name) => info.name = name.text()?,
                (2, kind) => {
                    for field in fields(kind.bytes()?) {
                        if let (1, tensor) = field? {
                            info.tensor(tensor.bytes()?)?;
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(info)
    }

    fn tensor(&mut self, message: Message<'a>) -> Result<(), OnnxError> {
        for field in fields(message) {
            match field? {
                (1, element) => self.element = element.int()?,
                (2, shape) => {
                    let mut dims = Vec::new();
                    for field in fields(shape.bytes()?) {
                        if let (1, dim) = field? {
                            dims.push(size_of(dim.bytes()?)?);
                        }
                    }
                    self.dims = Some(dims);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn size_of(message: Message<'_>) -> Result<Size<'_>, OnnxError> {
    let mut size = Size::Named("");
    for field in fields(message) {
        match field? {
            // Older exporters of Paddle write -1 for a size that is free.
            (1, value) => {
                let value = value.int()?;
                size = if value == -1 { Size::Named("") } else { Size::Known(value) };
            }
            (2, name) => size = Size::Named(name.text()?),
            _ => {}
        }
    }
    Ok(size)
}

/// A tensor.
#[derive(Clone, Debug, Default)]
pub struct Tensor<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its sizes.
    pub dims: Vec<i64>,
    /// The type of its elements.
    pub element: i64,
    /// Its elements as bytes.
    pub raw: Option<&'a [u8]>,
    /// Fields that hold its elements one by one: their numbers and values.
    pub listed: Vec<(u32, super::wire::Field<'a>)>,
    /// Where in another file they are.
    pub external: Vec<(&'a str, &'a str)>,
    /// Whether they are in another file.
    pub is_external: bool,
}

impl<'a> Tensor<'a> {
    /// Reads a tensor, its elements not yet.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn read(message: Message<'a>) -> Result<Tensor<'a>, OnnxError> {
        let mut tensor = Tensor::default();
        for field in fields(message) {
            match field? {
                (1, dims) => dims.ints(&mut tensor.dims)?,
                (2, element) => tensor.element = element.int()?,
                (8, name) => tensor.name = name.text()?,
                (9, raw) => tensor.raw = Some(raw.bytes()?),
                (number @ (4 | 5 | 7 | 10 | 11), value) => tensor.listed.push((number, value)),
                (13, entry) => tensor.external.push(entry_of(entry.bytes()?)?),
                (14, place) => tensor.is_external = place.int()? == 1,
                _ => {}
            }
        }
        Ok(tensor)
    }
}

/// The name of a tensor, without reading the rest.
///
/// # Errors
/// When the message is damaged.
pub fn tensor_name(message: Message<'_>) -> Result<&str, OnnxError> {
    for field in fields(message) {
        if let (8, name) = field? {
            return name.text();
        }
    }
    Ok("")
}
