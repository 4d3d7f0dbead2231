//! What can be wrong with an ONNX file.

use std::fmt;
use std::path::PathBuf;

use crate::data::DataError;
use crate::weights::{BindError, WeightsError};

/// Why a file is no model that can be read, or a model cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum OnnxError {
    /// The bytes are no protocol buffer of a model.
    #[error("{0}")]
    Damaged(#[from] Damage),
    /// The file cannot be read.
    #[error("cannot read it: {}\n  help: name an .onnx file", crate::data::reason("read", .0))]
    Read(#[source] std::io::Error),
    /// What the model says contradicts itself or is refused.
    #[error("{what}\n  help: {help}")]
    Wrong {
        /// What is wrong, with its place.
        what: String,
        /// What to do about it.
        help: String,
    },
    /// Nodes that the language does not express.
    #[error("{}", Listed(.0))]
    Unfit(Vec<UnfitNode>),
    /// Layers that ONNX does not express.
    #[error("{}", Layers(.0))]
    Inexpressible(Vec<UnfitNode>),
    /// The files that were to be written.
    #[error("{0}")]
    Write(#[from] DataError),
    /// The weights that were to be written.
    #[error("{0}")]
    Weights(#[from] WeightsError),
    /// Weights that do not fit the net.
    #[error("{0}")]
    Bind(#[from] Box<BindError>),
    /// Any of these, with the file it is about.
    #[error("{}: {error}", path.display())]
    In {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        error: Box<OnnxError>,
    },
}

impl OnnxError {
    pub(super) fn wrong(what: impl Into<String>, help: impl Into<String>) -> OnnxError {
        OnnxError::Wrong { what: what.into(), help: help.into() }
    }

    pub(super) fn within(self, path: &std::path::Path) -> OnnxError {
        OnnxError::In { path: path.to_owned(), error: Box::new(self) }
    }
}

/// How bytes fail to be a protocol buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// A field is said to be longer than what is left.
    #[error(
        "the file ends in the middle of a field\n  help: it is truncated or no ONNX model; fetch or export it again"
    )]
    Truncated,
    /// A field's number, type or length is impossible.
    #[error(
        "this is no ONNX model, or a damaged one: a field has an impossible number or type\n  help: fetch or export it again"
    )]
    Field,
    /// A field of another type than the format says.
    #[error(
        "this is no ONNX model, or a damaged one: a field has another type than ONNX says\n  help: fetch or export it again"
    )]
    Kind,
    /// A name that is no UTF-8.
    #[error("this is no ONNX model, or a damaged one: a name is not UTF-8\n  help: fetch or export it again")]
    Text,
}

/// A node that the language does not express, or a layer that ONNX does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnfitNode {
    /// Its name, or that of its first output where it has none; the path of a layer.
    pub name: String,
    /// Its operator, or its layer.
    pub op_type: String,
    /// Why not.
    pub reason: String,
}

struct Listed<'a>(&'a [UnfitNode]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (nodes, are) = if self.0.len() == 1 { ("node", "is") } else { ("nodes", "are") };
        write!(f, "{} {nodes} of the model {are} nothing that the language expresses:", self.0.len())?;
        each(f, self.0)?;
        write!(f, "\n  help: docs/onnx.md lists what is expressed; simplify the model, or cut these parts off")
    }
}

struct Layers<'a>(&'a [UnfitNode]);

impl fmt::Display for Layers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (layers, have) = if self.0.len() == 1 { ("layer", "has") } else { ("layers", "have") };
        write!(f, "{} {layers} of the net {have} no counterpart in ONNX:", self.0.len())?;
        each(f, self.0)?;
        write!(f, "\n  help: docs/to-onnx.md says what each operator set lacks")
    }
}

/// A line for each.
fn each(f: &mut fmt::Formatter<'_>, nodes: &[UnfitNode]) -> fmt::Result {
    nodes.iter().try_for_each(|node| write!(f, "\n  {} `{}`: {}", node.op_type, show(&node.name), node.reason))
}

/// A name from a file as a message shows it: short and without control characters.
pub(super) fn show(name: &str) -> String {
    const SHOWN: usize = 80;
    let mut text: String = name.chars().take(SHOWN).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if name.chars().nth(SHOWN).is_some() {
        text.push('…');
    }
    text
}
