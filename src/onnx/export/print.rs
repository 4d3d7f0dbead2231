//! A model as text: a line for each input, tensor of a layer's rule, node and output.

use std::fmt;

use super::{Info, Model, Size, Tensor};
use crate::op::onnx::{Attr, Constant};

/// Numbers of a constant that are shown.
const SHOWN: usize = 8;

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "model {} of operator set {}", self.name, self.opset)?;
        for (key, value) in &self.metadata {
            writeln!(f, "metadata {key}: {value:?}")?;
        }
        self.inputs.iter().try_for_each(|info| writeln!(f, "input {}", Line(info)))?;
        for (name, tensor) in &self.tensors {
            match tensor {
                Tensor::Known(constant) => writeln!(f, "{name} = {}", numbers(constant))?,
                Tensor::Stored(_) | Tensor::Described(_) => writeln!(f, "{name}: {:?}", tensor.dims())?,
            }
        }
        for node in &self.nodes {
            write!(f, "{} = {}({})", node.outputs.join(", "), node.op_type, node.inputs.join(", "))?;
            for (name, attr) in &node.attrs {
                write!(f, " {name}={}", value(attr))?;
            }
            writeln!(f)?;
        }
        self.outputs.iter().try_for_each(|info| writeln!(f, "output {}", Line(info)))
    }
}

struct Line<'a>(&'a Info);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: [{}]", self.0.name, self.0.dims.iter().map(Size::to_string).collect::<Vec<_>>().join(", "))
    }
}

fn value(attr: &Attr) -> String {
    match attr {
        Attr::Int(value) => value.to_string(),
        Attr::Float(value) => value.to_string(),
        Attr::Text(text) => text.clone(),
        Attr::Ints(values) => format!("{values:?}"),
        Attr::Floats(values) => format!("{values:?}"),
        Attr::Tensor(constant) => numbers(constant),
        Attr::Other => String::new(),
    }
}

/// The first numbers of a constant, and its sizes where there are more.
fn numbers(constant: &Constant) -> String {
    let values = constant.to_floats().unwrap_or_default();
    let shown: Vec<String> = values.iter().take(SHOWN).map(f32::to_string).collect();
    let more = if SHOWN < values.len() { format!(", …] of {:?}", constant.dims()) } else { "]".to_owned() };
    format!("[{}{more}", shown.join(", "))
}
