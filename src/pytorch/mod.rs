//! A net as a module of PyTorch: one Python file with a class for each block, whose `state_dict` has the names of the
//! net's parameters. Pure: a net goes in, text comes out.
//!
//! `tree` makes scopes of paths and finds those that can be called as a whole, `body` lets each operator's rule say what
//! it is and orders the calls, `draft` makes code of it with slots for arguments, `class` one class of scopes that are
//! alike but for these, `text` writes it down; `names` keeps to what Python takes as a name,
//! `size` writes sizes. `train` makes a
//! program of a recipe that trains the module.

mod body;
mod class;
mod draft;
mod names;
mod size;
mod text;
mod train;
mod tree;

use std::path::PathBuf;

use crate::ir::Net;
use crate::shape::Shapes;

pub use train::{Places, program};

/// Why a net has no module.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PyTorchError {
    /// A layer is nothing that PyTorch has.
    #[error(
        "layer `{path}` has no form in PyTorch: {reason}\n  help: write it with layers that have one, or export the net to ONNX"
    )]
    Layer {
        /// Its path.
        path: String,
        /// Why not.
        reason: String,
    },
    /// A key of a recipe has a value that a program cannot follow.
    #[error("{}: `{key}` {what}", path.display())]
    Recipe {
        /// The recipe.
        path: PathBuf,
        /// The key.
        key: String,
        /// What is wrong, and what helps.
        what: String,
    },
    /// A pattern of a recipe meets nothing.
    #[error("{}: {fault}", path.display())]
    Pattern {
        /// The recipe.
        path: PathBuf,
        /// Which, and what may be meant.
        fault: String,
    },
    /// Scopes are inside one another too deeply for Python.
    #[error("`{path}` has more than {MOST_DEPTH} parts\n  help: label layers with shorter paths")]
    Depth {
        /// The path.
        path: String,
    },
    /// The size of an input that other sizes depend on is nowhere to be read.
    #[error("size `{symbol}` is not the height or width of an input\n  help: fix it with `--set {symbol}=VALUE`")]
    Size {
        /// The symbol.
        symbol: String,
    },
}

/// How many parts a path may have: Python walks modules by recursion.
const MOST_DEPTH: usize = 100;

/// The module of a net. `weights` is the file beside it that `load` reads.
///
/// # Errors
/// When a layer has no form in PyTorch.
///
/// ```
/// let compiled = netc::compile("specs/lenet5.net")?;
/// let text = netc::pytorch::module(&compiled.net, &compiled.shapes, Some("lenet5.safetensors"))?;
/// assert!(text.contains("class Lenet5(nn.Module):"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn module(net: &Net, shapes: &Shapes, weights: Option<&str>) -> Result<String, PyTorchError> {
    let tree = tree::Tree::of(net)?;
    let plan = body::Plan::of(net, shapes, &tree)?;
    let classes = class::classes(net, shapes, &tree, &plan);
    text::write(net, shapes, &tree, &plan, &classes, weights)
}

/// Whether Python can import a file of this name.
pub fn is_module_name(stem: &str) -> bool {
    names::is_attribute(stem)
}

/// Whether a file of this name beside a program would stand for what the program imports.
pub fn hides_import(stem: &str) -> bool {
    names::hides_import(stem)
}

/// The name of the class of a net.
pub fn class_name(net: &Net) -> String {
    names::net_class(&net.name)
}
