//! Models in the form of their file. Field numbers are those of onnx.proto
//! (<https://github.com/onnx/onnx/blob/main/onnx/onnx.proto>).

use std::borrow::Cow;
use std::io::{self, Write};
use std::path::Path;

use super::encode::Writer;
use super::{Info, Model, Node, Size, Tensor};
use crate::data::{DataError, write_atomic};
use crate::onnx::error::OnnxError;
use crate::op::onnx::{Attr, Constant, Data};

/// Bytes that a protocol buffer may have.
const MOST_BYTES: u64 = i32::MAX as u64;
/// Tensors of fewer bytes stay in the model where others lie beside it.
const SMALL: u64 = 1024;
/// Where tensors in a file beside the model begin: at a page, so that they can be mapped.
const PAGE: u64 = 4096;

/// A tensor's message, of which its elements are a part or not.
struct Part<'a> {
    head: Vec<u8>,
    elements: Option<&'a Tensor>,
}

impl Part<'_> {
    fn len(&self) -> u64 {
        self.head.len() as u64 + self.elements.map_or(0, Tensor::size)
    }
}

impl Model {
    /// Writes the model to a file. Tensors are written one by one, no second copy of all is held; an existing file is
    /// replaced only once the new one is whole.
    ///
    /// With `beside`, or where the model is larger than the 2 GiB that a protocol buffer may have, tensors go to a file
    /// beside it, with `.data` behind the model's name.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, path: &Path, beside: bool) -> Result<(), OnnxError> {
        let (frame, parts) = self.parts(None);
        if !beside && total(&frame, &parts) <= MOST_BYTES {
            return Ok(write_atomic(path, |out| stream(out, &frame, &parts))?);
        }
        let mut data = path.as_os_str().to_owned();
        data.push(".data");
        let name = Path::new(&data).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (frame, parts) = self.parts(Some(&name));
        // The model takes its place last: until then the old one is whole, but for tensors in a file of the same name.
        Ok(write_atomic(path, |out| {
            stream(out, &frame, &parts)?;
            write_atomic(&data, |out| self.elements(out)).map_err(io::Error::other)
        })
        .map_err(inner_error)?)
    }

    /// The file in memory.
    ///
    /// # Errors
    /// When it is larger than the 2 GiB that a protocol buffer may have.
    pub fn to_bytes(&self) -> Result<Vec<u8>, OnnxError> {
        let (frame, parts) = self.parts(None);
        let len = total(&frame, &parts);
        if MOST_BYTES < len {
            let what = format!("the model takes {len} bytes, and a protocol buffer has at most {MOST_BYTES}");
            return Err(OnnxError::wrong(what, "write it to a file, with its tensors beside it"));
        }
        let mut bytes = Vec::new();
        stream(&mut bytes, &frame, &parts).map_err(DataError::io("write", Path::new("the model")))?;
        Ok(bytes)
    }

    /// What stands around the tensors, and the message of each; with the name of another file, large ones lie there.
    fn parts(&self, beside: Option<&str>) -> (Frame, Vec<Part<'_>>) {
        let mut offset = 0;
        let held = self.tensors.iter().filter(|(_, tensor)| !matches!(tensor, Tensor::Described(_)));
        let parts: Vec<Part> = held.map(|(name, tensor)| part(name, tensor, beside, &mut offset)).collect();
        let mut model = Writer::default();
        model.int(1, ir_version(self.opset));
        model.text(2, "netc");
        model.text(3, env!("CARGO_PKG_VERSION"));
        model.message(8, |opset| opset.int(2, self.opset));
        for (key, value) in &self.metadata {
            model.message(14, |entry| pair(entry, key, value));
        }
        let mut graph = Writer::default();
        for (name, tensor) in &self.tensors {
            if let Tensor::Described(dims) = tensor {
                describe(&mut graph, name, dims);
            }
        }
        self.nodes.iter().for_each(|node| graph.message(1, |message| write_node(message, node)));
        graph.text(2, &self.name);
        for (field, infos) in [(11, &self.inputs), (12, &self.outputs), (13, &self.values)] {
            infos.iter().for_each(|info| graph.message(field, |message| write_info(message, info)));
        }
        let inner: u64 = parts.iter().map(|part| part.len() + head_len(part)).sum();
        model.head(7, graph.0.len() as u64 + inner);
        (Frame([model.0, graph.0].concat()), parts)
    }

    /// The elements of the tensors that lie beside the model.
    fn elements(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut at = 0;
        for tensor in self.tensors.iter().map(|(_, tensor)| tensor).filter(|tensor| tensor.goes_beside()) {
            let start = u64::next_multiple_of(at, PAGE);
            out.write_all(&vec![0; (start - at) as usize])?;
            out.write_all(&tensor.bytes())?;
            at = start + tensor.size();
        }
        Ok(())
    }
}

/// What stands in front of the tensors; these are the last fields of the graph, and the graph that of the model.
struct Frame(Vec<u8>);

/// The field of tensors in a graph.
const INITIALIZER: u32 = 5;

fn tensor_head(part: &Part) -> Vec<u8> {
    let mut head = Writer::default();
    head.head(INITIALIZER, part.len());
    head.0
}

fn head_len(part: &Part) -> u64 {
    tensor_head(part).len() as u64
}

fn total(frame: &Frame, parts: &[Part]) -> u64 {
    frame.0.len() as u64 + parts.iter().map(|part| part.len() + head_len(part)).sum::<u64>()
}

fn stream(out: &mut dyn Write, frame: &Frame, parts: &[Part]) -> io::Result<()> {
    out.write_all(&frame.0)?;
    for part in parts {
        out.write_all(&tensor_head(part))?;
        out.write_all(&part.head)?;
        if let Some(tensor) = part.elements {
            out.write_all(&tensor.bytes())?;
        }
    }
    Ok(())
}

/// An error of the file that is written inside another one.
fn inner_error(error: DataError) -> DataError {
    match error {
        DataError::Io { source, file, action } => match source.downcast::<DataError>() {
            Ok(inner) => inner,
            Err(source) => DataError::Io { source, file, action },
        },
        other => other,
    }
}

fn part<'a>(name: &str, tensor: &'a Tensor, beside: Option<&str>, offset: &mut u64) -> Part<'a> {
    let mut head = Writer::default();
    tensor.dims().iter().for_each(|&size| head.int(1, size as i64));
    head.int(2, tensor.element());
    head.text(8, name);
    let size = tensor.size();
    match beside.filter(|_| tensor.goes_beside()) {
        Some(file) => {
            let start = offset.next_multiple_of(PAGE);
            *offset = start + size;
            for (key, value) in [("location", file), ("offset", &start.to_string()), ("length", &size.to_string())] {
                head.message(13, |entry| pair(entry, key, value));
            }
            head.int(14, 1);
            Part { head: head.0, elements: None }
        }
        None => {
            head.head(9, size);
            Part { head: head.0, elements: Some(tensor) }
        }
    }
}

fn pair(entry: &mut Writer, key: &str, value: &str) {
    entry.text(1, key);
    entry.text(2, value);
}

/// The nodes that make zeros of some sizes.
fn describe(graph: &mut Writer, name: &str, dims: &[u64]) {
    let dims = ndarray::Array1::from_iter(dims.iter().map(|&size| size as i64)).into_dyn();
    let zero = ndarray::Array1::from(vec![0f32]).into_dyn();
    let (list, value) = (format!("{name}/sizes"), |constant| vec![("value", Attr::Tensor(constant))]);
    let nodes = [
        (list.clone(), "Constant", Vec::new(), value(Constant::new(dims))),
        (name.to_owned(), "ConstantOfShape", vec![list], value(Constant::new(zero))),
    ];
    for (name, op_type, inputs, attrs) in nodes {
        let node = Node { name: name.clone(), op_type, inputs, outputs: vec![name], attrs };
        graph.message(1, |message| write_node(message, &node));
    }
}

fn write_node(message: &mut Writer, node: &Node) {
    node.inputs.iter().for_each(|input| message.bytes(1, input.as_bytes()));
    node.outputs.iter().for_each(|output| message.bytes(2, output.as_bytes()));
    message.text(3, &node.name);
    message.text(4, node.op_type);
    for (name, value) in &node.attrs {
        message.message(5, |attribute| write_attribute(attribute, name, value));
    }
}

fn write_attribute(message: &mut Writer, name: &str, value: &Attr) {
    message.text(1, name);
    let kind = match value {
        Attr::Float(value) => {
            message.float(2, *value);
            1
        }
        Attr::Int(value) => {
            message.int(3, *value);
            2
        }
        Attr::Text(text) => {
            message.bytes(4, text.as_bytes());
            3
        }
        Attr::Tensor(constant) => {
            let tensor = Tensor::Known(constant.clone());
            let part = part("", &tensor, None, &mut 0);
            message.bytes(5, &[&part.head, &*tensor.bytes()].concat());
            4
        }
        Attr::Floats(values) => {
            values.iter().for_each(|&value| message.float(7, value));
            6
        }
        Attr::Ints(values) => {
            values.iter().for_each(|&value| message.int(8, value));
            7
        }
        Attr::Other => 0,
    };
    message.int(20, kind);
}

fn write_info(message: &mut Writer, info: &Info) {
    message.text(1, &info.name);
    message.message(2, |kind| {
        kind.message(1, |tensor| {
            tensor.int(1, info.element);
            tensor.message(2, |shape| {
                for size in &info.dims {
                    shape.message(1, |dim| match size {
                        Size::Known(size) => dim.int(1, *size),
                        Size::Named(name) => dim.text(2, name),
                    });
                }
            });
        });
    });
}

/// The version of the format that came with an operator set, from the table in ONNX's docs/Versioning.md; from the fourth
/// on, tensors need not be listed among the inputs.
fn ir_version(opset: i64) -> i64 {
    match opset {
        ..=9 => 4,
        10 => 5,
        11 => 6,
        12..=14 => 7,
        15..=18 => 8,
        19..=20 => 9,
        21..=22 => 10,
        23 => 11,
        24 => 12,
        _ => 13,
    }
}

impl Tensor {
    /// Whether it is large enough to lie in a file beside the model.
    fn goes_beside(&self) -> bool {
        SMALL <= self.size() && !matches!(self, Tensor::Described(_))
    }

    /// Its elements, little-endian.
    fn bytes(&self) -> Cow<'_, [u8]> {
        match self {
            Tensor::Stored(tensor) => tensor.bytes(),
            Tensor::Known(constant) => Cow::Owned(constant_bytes(constant)),
            Tensor::Described(_) => Cow::Borrowed(&[]),
        }
    }
}

fn constant_bytes(constant: &Constant) -> Vec<u8> {
    match &constant.data {
        Data::Ints(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        Data::Sizes(values) => {
            values.iter().flat_map(|value| (value.as_known().unwrap_or(0) as i64).to_le_bytes()).collect()
        }
        Data::Floats(_) | Data::Fill(..) => {
            let values = constant.to_floats().unwrap_or_default();
            values.iter().flat_map(|value| value.to_le_bytes()).collect()
        }
    }
}
