//! How a layer is written: its signature, the arguments of a call, and the values they hold.

use std::fmt;

use crate::dim::Dim;
use crate::tensor::Shape;

/// A compile-time value as an operator sees it.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// An integer, possibly symbolic.
    Int(Dim),
    /// A float.
    Float(f64),
    /// A boolean.
    Bool(bool),
    /// A string.
    Str(String),
    /// A bare word such as `reflect`.
    Word(String),
    /// A list.
    List(Vec<Value>),
    /// `a..b`, without b.
    Range(Dim, Dim),
    /// The shape of a value that was named, as in `crop(to = x)`.
    Shape(Shape),
}

impl Value {
    /// An integer.
    pub fn int(value: u64) -> Value {
        Value::Int(Dim::from(value))
    }

    /// A list of integers.
    pub fn ints(values: &[u64]) -> Value {
        Value::List(values.iter().map(|&value| Value::int(value)).collect())
    }

    /// A bare word.
    pub fn word(word: &str) -> Value {
        Value::Word(word.to_owned())
    }

    /// What kind of value it is, for messages: `an integer`, `a list`, …
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Int(_) => "an integer",
            Value::Float(_) => "a float",
            Value::Bool(_) => "a boolean",
            Value::Str(_) => "a string",
            Value::Word(_) => "a word",
            Value::List(_) => "a list",
            Value::Range(..) => "a range",
            Value::Shape(_) => "a value of the net",
        }
    }
}

/// As it is written in a `.net` file; reading it gives the same value.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Int(value) => write!(f, "{value}"),
            Value::Float(value) => write!(f, "{}", float_text(*value)),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Str(text) => write!(f, "\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
            Value::Word(word) => f.write_str(word),
            Value::List(values) => {
                f.write_str("[")?;
                for (at, value) in values.iter().enumerate() {
                    write!(f, "{}{value}", if at == 0 { "" } else { ", " })?;
                }
                f.write_str("]")
            }
            Value::Range(start, end) => write!(f, "{start}..{end}"),
            Value::Shape(shape) => f.write_str(&shape.claim()),
        }
    }
}

/// The shortest text that reads back as the same float and not as an integer.
pub fn float_text(value: f64) -> String {
    if value != 0.0 && !(1e-4..1e15).contains(&value.abs()) { format!("{value:e}") } else { format!("{value:?}") }
}

/// What an argument may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamKind {
    /// Any compile-time value; `build` says more.
    Plain,
    /// A compile-time value or one of these bare words.
    Words(&'static [&'static str]),
    /// A compile-time value, or a value of the net whose shape is meant.
    SizeOf,
}

/// A parameter of a layer.
#[derive(Clone, Copy, Debug)]
pub struct Param {
    /// Its name.
    pub name: &'static str,
    /// What it may be.
    pub kind: ParamKind,
    /// Its default as it would be written; empty when it must be given, `-` when leaving it out means something that
    /// no text says.
    pub default: &'static str,
    /// A line for the reference.
    pub doc: &'static str,
}

/// A parameter that takes a compile-time value.
pub const fn param(name: &'static str, default: &'static str, doc: &'static str) -> Param {
    Param { name, kind: ParamKind::Plain, default, doc }
}

/// A parameter that also takes bare words.
pub const fn words(
    name: &'static str,
    words: &'static [&'static str],
    default: &'static str,
    doc: &'static str,
) -> Param {
    Param { name, kind: ParamKind::Words(words), default, doc }
}

/// A parameter that takes sizes or a value of the net with those sizes.
pub const fn size_of(name: &'static str, default: &'static str, doc: &'static str) -> Param {
    Param { name, kind: ParamKind::SizeOf, default, doc }
}

/// Which values a layer takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operands {
    /// The value above.
    Above,
    /// Two or more, listed by name, or the branches of a body.
    Group,
    /// Exactly these, listed by name.
    Listed(usize),
}

/// How a layer is written.
#[derive(Clone, Copy, Debug)]
pub struct Signature {
    /// Its name in the language.
    pub layer: &'static str,
    /// Its parameters in positional order.
    pub params: &'static [Param],
    /// Which values it takes.
    pub operands: Operands,
    /// One line for the reference.
    pub doc: &'static str,
}

/// A call of a layer, as [`Operator::build`](super::Operator::build) sees it.
#[derive(Debug)]
pub struct Call<'a> {
    /// The signature that was called.
    pub layer: &'static str,
    /// The arguments given; defaults are the operator's.
    pub args: &'a [(&'static str, Value)],
    /// The shapes of the operands.
    pub inputs: &'a [Shape],
}

/// Why a call does not make an operator.
#[derive(Clone, Debug, PartialEq)]
pub struct ArgError {
    /// The argument at fault; `None` for the call as a whole.
    pub param: Option<&'static str>,
    /// What is wrong with it, in a clause: "must be at least 1".
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl ArgError {
    /// A fault of one argument.
    pub fn new(param: &'static str, message: impl Into<String>) -> Self {
        ArgError { param: Some(param), message: message.into(), help: None }
    }

    /// Adds what to write instead.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl Call<'_> {
    /// The argument of this name, if given.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.args.iter().find(|(given, _)| *given == name).map(|(_, value)| value)
    }

    /// A count of at least `least`.
    ///
    /// # Errors
    /// When it is missing without a default, no known integer, or too small.
    pub fn count(&self, name: &'static str, default: Option<u64>, least: u64) -> Result<u64, ArgError> {
        match (self.get(name), default) {
            (Some(value), _) => as_count(name, value, least),
            (None, Some(default)) => Ok(default),
            (None, None) => Err(ArgError::new(name, "is missing")),
        }
    }

    /// One count for both axes or `[height, width]`, each at least `least`.
    ///
    /// # Errors
    /// When it is missing without a default, or anything else.
    pub fn pair(&self, name: &'static str, default: Option<[u64; 2]>, least: u64) -> Result<[u64; 2], ArgError> {
        match (self.get(name), default) {
            (Some(Value::List(sizes)), _) => match sizes.as_slice() {
                [h, w] => Ok([as_count(name, h, least)?, as_count(name, w, least)?]),
                _ => Err(ArgError::new(
                    name,
                    format!("takes one number or [height, width], not {} numbers", sizes.len()),
                )),
            },
            (Some(value), _) => as_count(name, value, least).map(|both| [both, both]),
            (None, Some(default)) => Ok(default),
            (None, None) => Err(ArgError::new(name, "is missing")),
        }
    }

    /// Top, left, bottom and right from one number, `[height, width]` or all four; zero where not given.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn sides(&self, name: &'static str) -> Result<[u64; 4], ArgError> {
        match self.get(name) {
            None => Ok([0; 4]),
            Some(Value::List(sizes)) => {
                let sizes = sizes.iter().map(|size| as_count(name, size, 0)).collect::<Result<Vec<_>, _>>()?;
                match *sizes.as_slice() {
                    [h, w] => Ok([h, w, h, w]),
                    [top, left, bottom, right] => Ok([top, left, bottom, right]),
                    _ => Err(ArgError::new(
                        name,
                        format!("takes 1 number, [height, width] or [top, left, bottom, right], not {}", sizes.len()),
                    )),
                }
            }
            Some(value) => as_count(name, value, 0).map(|all| [all; 4]),
        }
    }

    /// A finite number.
    ///
    /// # Errors
    /// When it is missing without a default or anything else.
    pub fn float(&self, name: &'static str, default: Option<f64>) -> Result<f64, ArgError> {
        match (self.get(name), default) {
            (Some(value), _) => as_float(name, value),
            (None, Some(default)) => Ok(default),
            (None, None) => Err(ArgError::new(name, "is missing")),
        }
    }

    /// A boolean.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn flag(&self, name: &'static str, default: bool) -> Result<bool, ArgError> {
        match self.get(name) {
            None => Ok(default),
            Some(Value::Bool(value)) => Ok(*value),
            Some(value) => Err(ArgError::new(name, format!("takes true or false, not {}", value.kind()))),
        }
    }

    /// A word, if one is given; strings count as words.
    pub fn word(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            Some(Value::Word(word) | Value::Str(word)) => Some(word),
            _ => None,
        }
    }

    /// One of the words, the first where not given.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn choice(&self, name: &'static str, words: &[&'static str]) -> Result<&'static str, ArgError> {
        let wrong = || ArgError::new(name, format!("is one of {}", words.join(", ")));
        match self.get(name) {
            None => words.first().copied().ok_or_else(wrong),
            Some(Value::Word(word) | Value::Str(word)) => words.iter().copied().find(|w| w == word).ok_or_else(wrong),
            Some(_) => Err(wrong()),
        }
    }

    /// A list of sizes, possibly symbolic, or the shape of a value.
    ///
    /// # Errors
    /// When it is missing or anything else.
    pub fn sizes(&self, name: &'static str) -> Result<Vec<Dim>, ArgError> {
        match self.get(name) {
            None => Err(ArgError::new(name, "is missing")),
            Some(Value::Shape(shape)) => Ok(shape.0.clone()),
            Some(Value::List(sizes)) => sizes.iter().map(|size| as_dim(name, size)).collect(),
            Some(value) => Ok(vec![as_dim(name, value)?]),
        }
    }

    /// Numbers: one, or a list.
    ///
    /// # Errors
    /// When it is missing without a default or anything else.
    pub fn floats(&self, name: &'static str, default: Option<f64>) -> Result<Vec<f64>, ArgError> {
        match (self.get(name), default) {
            (Some(Value::List(values)), _) => values.iter().map(|value| as_float(name, value)).collect(),
            (Some(value), _) => Ok(vec![as_float(name, value)?]),
            (None, Some(default)) => Ok(vec![default]),
            (None, None) => Err(ArgError::new(name, "is missing")),
        }
    }
}

/// A known integer of at least `least` that fits the sizes of tensors.
///
/// # Errors
/// When it is anything else.
pub fn as_count(name: &'static str, value: &Value, least: u64) -> Result<u64, ArgError> {
    let Value::Int(dim) = value else {
        return Err(ArgError::new(name, format!("takes an integer, not {}", value.kind())));
    };
    if dim.is_symbolic() {
        return Err(ArgError::new(name, format!("needs a known number, but `{dim}` depends on the input's size"))
            .help("fix the size with `--set`, for example `--set H=224`"));
    }
    match dim.as_u64().filter(|&count| count <= u64::from(u32::MAX)) {
        Some(count) if count >= least => Ok(count),
        Some(_) => Err(ArgError::new(name, format!("must be at least {least}, not {dim}"))),
        None if dim.as_known().is_some_and(|known| known < 0) => {
            Err(ArgError::new(name, format!("must be at least {least}, not {dim}")))
        }
        None => Err(ArgError::new(name, format!("is too large: {dim} is beyond {}", u32::MAX))),
    }
}

fn as_dim(name: &'static str, value: &Value) -> Result<Dim, ArgError> {
    if let Value::Int(dim) = value
        && dim.is_symbolic()
    {
        return Ok(dim.clone());
    }
    as_count(name, value, 1).map(Dim::from)
}

fn as_float(name: &'static str, value: &Value) -> Result<f64, ArgError> {
    let number = if let Value::Float(number) = value {
        *number
    } else if let Value::Int(dim) = value {
        let known = dim.as_known();
        known.ok_or_else(|| ArgError::new(name, format!("needs a known number, not `{dim}`")))? as f64
    } else {
        return Err(ArgError::new(name, format!("takes a number, not {}", value.kind())));
    };
    if (number as f32).is_finite() { Ok(number) } else { Err(ArgError::new(name, "must be finite as a 32-bit float")) }
}
