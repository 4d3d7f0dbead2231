//! The structure of a net as a person would write it: chains, groups, scopes, and blocks for what occurs more than once.
//!
//! [`outline`] takes a net whose layers have paths, from wherever it comes. `chain` finds branches that part and join again
//! (a series-parallel decomposition), `scope` makes scopes of the paths, `block` makes blocks of scopes that are alike but for
//! their arguments (`columns` says which of these are parameters), `text` writes it down. What cannot be written so is wired by name; that the text means the same net is
//! for the caller to check, with [`difference`].

mod block;
mod chain;
pub mod columns;
mod same;
mod scope;
mod text;

use crate::diag::{Sink, SourceMap};
use crate::elab;
use crate::ir::{Net, NodeId};
use crate::op::Value;
use crate::shape::Shapes;
use crate::syntax;
use crate::tensor::Shape;

pub use same::difference;

/// A net as a person would write it.
#[derive(Clone, Debug, Default)]
pub struct Outline {
    /// Blocks, each behind those that it calls.
    pub blocks: Vec<Block>,
    /// The statements of the net behind its inputs.
    pub body: Vec<Statement>,
}

/// A block.
#[derive(Clone, Debug)]
pub struct Block {
    /// Its name.
    pub name: String,
    /// Its parameters with their defaults; those without come first.
    pub params: Vec<(String, Option<Value>)>,
    /// Its statements.
    pub body: Vec<Statement>,
}

/// A statement, with its label.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statement {
    /// The label, a word, a number or a dotted path.
    pub label: Option<String>,
    /// Labels of further results.
    pub others: Vec<String>,
    /// What it does.
    pub what: What,
    /// The shape of its value, where that is worth saying.
    pub claim: Option<Shape>,
    /// Which scopes it is alike; see `block`.
    class: Option<usize>,
}

/// What a statement does.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A layer; takes the value above it unless values are listed.
    Layer {
        /// Its name.
        layer: &'static str,
        /// All its arguments, defaults too.
        args: Vec<(&'static str, Arg)>,
        /// The values it takes by name.
        operands: Vec<String>,
    },
    /// Branches from the value above, joined by a layer.
    Group {
        /// The layer that joins them.
        layer: &'static str,
        /// Its arguments.
        args: Vec<(&'static str, Arg)>,
        /// The branches.
        branches: Vec<Statement>,
    },
    /// Statements after one another, numbered or not.
    Chain {
        /// Whether they take their numbers as labels.
        numbered: bool,
        /// The statements.
        body: Vec<Statement>,
    },
    /// A chain from a value further up.
    From {
        /// The value.
        value: String,
        /// The chain.
        body: Vec<Statement>,
    },
    /// A call of a block.
    Call {
        /// Its number.
        block: usize,
        /// Arguments, one for each parameter.
        args: Vec<Arg>,
    },
    /// The same statement several times; with a label that counts, from the number given.
    Repeat {
        /// How often.
        times: usize,
        /// Where the label counts from, if it has a number.
        first: Option<u64>,
        /// The statement.
        statement: Box<Statement>,
    },
    /// An output of the net: the value above.
    Output(usize),
}

impl Default for What {
    fn default() -> Self {
        What::Chain { numbered: false, body: Vec::new() }
    }
}

/// An argument.
#[derive(Clone, Debug, PartialEq)]
pub enum Arg {
    /// A value.
    Value(Value),
    /// A parameter of the block, times a number.
    Param(usize, u64),
}

/// Layers in which structure is looked for; that of more is hardly read, and the search takes their square.
const MOST_LAYERS: usize = 5_000;

/// Finds the structure of a net.
pub fn outline(net: &Net, shapes: &Shapes) -> Outline {
    let items = chain::chain(net);
    let body = scope::statements(net, shapes, &items);
    block::blocks(body)
}

/// The layers of each group of branches, without those that stand in another group.
pub fn groups(net: &Net) -> Vec<Vec<NodeId>> {
    let mut found = Vec::new();
    if MOST_LAYERS < net.len() {
        return found;
    }
    let mut open = chain::chain(net);
    while let Some(item) = open.pop() {
        match item {
            chain::Item::Group(..) => found.push(item.nodes()),
            chain::Item::From(_, body) => open.extend(body),
            chain::Item::Layer(_) | chain::Item::Wired(_) | chain::Item::Output(_) => {}
        }
    }
    found.reverse();
    found
}

/// The net as a source of the language, with the structure that is found in it where that means the same net; else, and
/// where there are very many layers, with a line for each layer.
pub fn source(net: &Net, shapes: &Shapes) -> String {
    if MOST_LAYERS < net.len() {
        return crate::ir::expand::flat(net);
    }
    let text = text::write(net, &outline(net, shapes));
    if elaborated(&text).is_some_and(|back| difference(net, &back).is_none()) {
        text
    } else {
        crate::ir::expand::flat(net)
    }
}

/// The net of a text, if it is right.
fn elaborated(text: &str) -> Option<Net> {
    let (mut sources, mut sink) = (SourceMap::default(), Sink::default());
    let file = syntax::add_source(&mut sources, "outline", text.as_bytes().to_vec(), &mut sink)?;
    let program = elab::load(&mut sources, file, &elab::load::NoImports, &mut sink);
    let net = elab::elaborate(&sources, &program, &elab::Options::default(), &mut sink)?.net;
    (!sink.has_errors()).then_some(net)
}
