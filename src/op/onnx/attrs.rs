//! The attributes of a node.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::{Constant, Unfit};

/// The value of an attribute.
#[derive(Clone, Debug)]
pub enum Attr {
    /// An integer.
    Int(i64),
    /// A float.
    Float(f32),
    /// Text.
    Text(String),
    /// Integers.
    Ints(Vec<i64>),
    /// Floats.
    Floats(Vec<f32>),
    /// A tensor.
    Tensor(Constant),
    /// Anything else.
    Other,
}

/// Attributes by name, and which of them have been looked at: one that nobody looked at may have changed the meaning,
/// so it is not passed over.
#[derive(Clone, Debug, Default)]
pub struct Attributes {
    values: BTreeMap<String, Attr>,
    seen: RefCell<Vec<String>>,
}

impl Attributes {
    /// Attributes by name.
    pub fn new(values: BTreeMap<String, Attr>) -> Attributes {
        Attributes { values, seen: RefCell::default() }
    }

    /// The same without those of these names.
    #[must_use]
    pub fn without(&self, names: &[&str]) -> Attributes {
        let kept = self.values.iter().filter(|(name, _)| !names.contains(&name.as_str()));
        Attributes::new(kept.map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    /// The attribute of that name.
    pub fn get(&self, name: &str) -> Option<&Attr> {
        let value = self.values.get(name)?;
        self.seen.borrow_mut().push(name.to_owned());
        Some(value)
    }

    /// Forgets what has been looked at.
    pub fn reset(&self) {
        self.seen.borrow_mut().clear();
    }

    /// An attribute that nobody has looked at.
    pub fn unseen(&self) -> Option<&str> {
        let seen = self.seen.borrow();
        self.values.keys().find(|name| !seen.contains(name)).map(String::as_str)
    }

    /// An integer.
    ///
    /// # Errors
    /// When the attribute is anything else.
    pub fn int(&self, name: &str, default: i64) -> Result<i64, Unfit> {
        match self.get(name) {
            None => Ok(default),
            Some(Attr::Int(value)) => Ok(*value),
            Some(_) => Err(Unfit::new(format!("`{name}` is no integer"))),
        }
    }

    /// A boolean, which ONNX writes as an integer.
    ///
    /// # Errors
    /// When the attribute is no integer.
    pub fn flag(&self, name: &str, default: bool) -> Result<bool, Unfit> {
        Ok(self.int(name, i64::from(default))? != 0)
    }

    /// A float.
    ///
    /// # Errors
    /// When the attribute is anything else.
    pub fn float(&self, name: &str, default: f32) -> Result<f32, Unfit> {
        match self.get(name) {
            None => Ok(default),
            Some(Attr::Float(value)) => Ok(*value),
            Some(Attr::Int(value)) => Ok(*value as f32),
            Some(_) => Err(Unfit::new(format!("`{name}` is no number"))),
        }
    }

    /// Text.
    ///
    /// # Errors
    /// When the attribute is anything else.
    pub fn text<'a>(&'a self, name: &str, default: &'a str) -> Result<&'a str, Unfit> {
        match self.get(name) {
            None => Ok(default),
            Some(Attr::Text(text)) => Ok(text),
            Some(_) => Err(Unfit::new(format!("`{name}` is no text"))),
        }
    }

    /// Integers, if the attribute is there.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn ints(&self, name: &str) -> Result<Option<&[i64]>, Unfit> {
        match self.get(name) {
            None => Ok(None),
            Some(Attr::Ints(values)) => Ok(Some(values)),
            Some(_) => Err(Unfit::new(format!("`{name}` is no list of integers"))),
        }
    }

    /// Positive integers, one for each of the two spatial axes of a map, or of the one axis of a sequence, which is a
    /// map of height 1.
    ///
    /// # Errors
    /// When they are anything else.
    pub fn plane(&self, name: &str, default: u64) -> Result<[u64; 2], Unfit> {
        let Some(values) = self.ints(name)? else { return Ok([default; 2]) };
        let sizes: Option<Vec<u64>> = values.iter().map(|&value| u64::try_from(value).ok()).collect();
        match sizes.as_deref() {
            Some([h, w]) => Ok([*h, *w]),
            Some([w]) => Ok([1, *w]),
            Some(other) if other.len() > 2 => Err(Unfit::volume()),
            _ => Err(Unfit::new(format!("`{name}` is no list of one or two sizes"))),
        }
    }
}
