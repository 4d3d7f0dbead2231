//! Compile-time values.

use std::fmt::{self, Write};
use std::sync::Arc;

use super::load::BlockId;
use crate::diag::Span;
use crate::dim::Dim;
use crate::ir::ValueId;
use crate::op::{Signature, attr};

/// A compile-time value.
#[derive(Clone, Debug)]
pub enum Value {
    /// An integer, possibly symbolic.
    Int(Dim),
    /// A float.
    Float(f64),
    /// A boolean.
    Bool(bool),
    /// A string.
    Str(Arc<str>),
    /// A bare word that a layer takes.
    Word(Arc<str>),
    /// A list.
    List(Arc<[Value]>),
    /// `a..b`.
    Range(Dim, Dim),
    /// A layer or a block, possibly with some arguments given.
    Callable(Arc<Callable>),
    /// A value of the net.
    Tensor(Tensor),
}

/// A value of the net, or the place of one that could not be made; its consumers stay quiet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tensor {
    /// Its making has been reported as a mistake.
    Failed,
    /// A value.
    Value(ValueId),
}

/// A layer or a block with some arguments given.
#[derive(Clone, Debug)]
pub struct Callable {
    /// What is called.
    pub target: Target,
    /// The arguments given so far.
    pub args: Vec<Given>,
}

/// What can be called.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// A layer.
    Layer(&'static Signature),
    /// A block.
    Block(BlockId),
}

/// An evaluated argument; `value` is `None` when its mistake has been reported.
#[derive(Clone, Debug)]
pub struct Given {
    /// Index of the parameter.
    pub param: usize,
    /// The value.
    pub value: Option<Value>,
    /// Where it stands.
    pub span: Span,
}

impl Value {
    /// What kind of value it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Int(_) => "an integer",
            Value::Float(_) => "a float",
            Value::Bool(_) => "a boolean",
            Value::Str(_) => "a string",
            Value::Word(_) => "a word",
            Value::List(_) => "a list",
            Value::Range(..) => "a range",
            Value::Callable(callable) => match callable.target {
                Target::Layer(_) => "a layer",
                Target::Block(_) => "a block",
            },
            Value::Tensor(_) => "a value of the net",
        }
    }

    /// As an operator sees it; `None` for layers, blocks and values of the net, which operators do not take as
    /// arguments.
    pub fn plain(&self) -> Option<attr::Value> {
        Some(match self {
            Value::Int(dim) => attr::Value::Int(dim.clone()),
            Value::Float(value) => attr::Value::Float(*value),
            Value::Bool(value) => attr::Value::Bool(*value),
            Value::Str(text) => attr::Value::Str(text.to_string()),
            Value::Word(word) => attr::Value::Word(word.to_string()),
            Value::List(values) => attr::Value::List(values.iter().map(Value::plain).collect::<Option<_>>()?),
            Value::Range(start, end) => attr::Value::Range(start.clone(), end.clone()),
            Value::Callable(_) | Value::Tensor(_) => return None,
        })
    }

    /// How many elements it has at any depth, counted up to `limit`. Lists share their elements, so that a short text
    /// can name more than memory holds.
    pub fn elements(&self, limit: usize) -> usize {
        let Value::List(values) = self else { return 1 };
        let mut sum = 1usize;
        for value in values.iter() {
            if limit <= sum {
                break;
            }
            sum = sum.saturating_add(value.elements(limit - sum));
        }
        sum
    }

    /// As text for messages, cut after about `limit` characters.
    pub fn brief(&self, limit: usize) -> String {
        let mut text = String::new();
        self.write(&mut text, limit);
        text
    }

    fn write(&self, text: &mut String, limit: usize) {
        if text.len() > limit {
            return;
        }
        match self {
            Value::List(values) => {
                text.push('[');
                for (at, value) in values.iter().enumerate() {
                    if text.len() > limit {
                        text.push_str(", …");
                        break;
                    }
                    text.push_str(if at == 0 { "" } else { ", " });
                    value.write(text, limit);
                }
                text.push(']');
            }
            Value::Callable(_) | Value::Tensor(_) => text.push_str(self.kind()),
            Value::Int(_) | Value::Float(_) | Value::Bool(_) | Value::Str(_) | Value::Word(_) | Value::Range(..) => {
                if let Some(plain) = self.plain() {
                    let _ = write!(text, "{plain}");
                }
            }
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.brief(80))
    }
}
