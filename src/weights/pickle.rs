//! Pickles, read by a [machine](super::machine) that executes nothing: plain containers, and tensors noted down.
//!
//! Values are small and live in arenas, so nothing here recurses, whatever the pickle nests or shares; memory is linear
//! in the number of instructions, which is bounded. A call of a Python object becomes a fact ("a tensor over this
//! storage") or an opaque value; Python objects outside the closed list of [`super::globals`] are refused.
//! The instructions are those of protocols 2 to 5, documented in CPython's `Lib/pickletools.py`.

use super::Dtype;
use super::globals::Global;
use super::machine::Machine;

/// More instructions than this are refused; a tensor takes about 30.
const MAX_STEPS: usize = 10_000_000;
/// Positions in a pickle are 32 bits wide.
const MAX_BYTES: usize = 1 << 30;

/// A value on the stack.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    /// An integer wider than 64 bits: its little-endian bytes in the pickle.
    Long(Span),
    /// UTF-8 text in the pickle.
    Text(Span),
    List(u32),
    Dict(u32),
    /// A run of the arena of items.
    Tuple(Span),
    Global(Global),
    Storage(u32),
    Tensor(u32),
    /// Something harmless that nobody needs.
    Opaque,
}

/// A range in the pickle or in an arena.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Span {
    start: u32,
    len: u32,
}

impl Span {
    pub(super) fn new(start: usize, len: usize) -> Span {
        // Both are at most MAX_BYTES: positions in the pickle, or a number of items, each of which took a byte.
        Span { start: start as u32, len: len as u32 }
    }

    pub(super) fn of<T>(self, all: &[T]) -> &[T] {
        all.get(self.start as usize..).and_then(|rest| rest.get(..self.len as usize)).unwrap_or(&[])
    }
}

/// A storage that a persistent id names.
#[derive(Clone, Copy, Debug)]
pub(super) struct StorageRef {
    pub(super) key: Value,
    pub(super) dtype: Dtype,
    /// Numbers in the whole storage.
    pub(super) count: u64,
    /// Offset and count of the part of it that is meant (files before PyTorch 0.4).
    pub(super) part: Option<(u64, u64)>,
}

/// A tensor over a storage.
#[derive(Clone, Copy, Debug)]
pub(super) struct TensorRef {
    pub(super) storage: u32,
    pub(super) offset: u64,
    pub(super) size: Value,
    pub(super) stride: Value,
}

/// What is wrong with a pickle, and where.
#[derive(Debug, PartialEq)]
pub(super) struct PickleError {
    /// The position of the instruction.
    pub(super) at: usize,
    pub(super) kind: ErrorKind,
}

#[derive(Debug, PartialEq)]
pub(super) enum ErrorKind {
    /// It asks for a Python object that is not on the list.
    Global(String),
    /// It breaks the rules.
    Broken(String),
}

/// A pickle that was read.
pub(super) struct Pickle<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) items: Vec<Value>,
    pub(super) lists: Vec<Vec<Value>>,
    pub(super) dicts: Vec<Vec<(Value, Value)>>,
    /// Dictionaries that were given attributes, and these.
    pub(super) states: Vec<(u32, Value)>,
    pub(super) storages: Vec<StorageRef>,
    pub(super) tensors: Vec<TensorRef>,
    /// The value it stands for.
    pub(super) root: Value,
    /// How many bytes it takes, up to and with STOP.
    pub(super) len: usize,
}

impl<'a> Pickle<'a> {
    /// Runs the pickle that `bytes` begins with.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Pickle<'a>, PickleError> {
        let bytes = &bytes[..bytes.len().min(MAX_BYTES)];
        let mut machine = Machine::new(bytes);
        for _ in 0..MAX_STEPS {
            let at = machine.at;
            match machine.step() {
                Ok(false) => {}
                Ok(true) => return Ok(machine.pickle),
                Err(kind) => return Err(PickleError { at, kind }),
            }
        }
        let kind = ErrorKind::Broken(format!("it has more than {MAX_STEPS} instructions"));
        Err(PickleError { at: machine.at, kind })
    }

    /// The text of a value.
    pub(super) fn text(&self, value: Value) -> Option<&'a str> {
        let Value::Text(span) = value else { return None };
        std::str::from_utf8(span.of(self.bytes)).ok()
    }

    /// The little-endian bytes of a wide integer.
    pub(super) fn long(&self, value: Value) -> Option<&'a [u8]> {
        let Value::Long(span) = value else { return None };
        Some(span.of(self.bytes))
    }

    /// The entries of a dictionary in the order in which they were set, repeated keys included.
    pub(super) fn dict(&self, value: Value) -> Option<&[(Value, Value)]> {
        let Value::Dict(i) = value else { return None };
        self.dicts.get(i as usize).map(Vec::as_slice)
    }

    /// The value of the last entry of a dictionary with that text as its key.
    pub(super) fn entry(&self, dict: Value, key: &str) -> Option<Value> {
        self.dict(dict)?.iter().rev().find(|(k, _)| self.text(*k) == Some(key)).map(|(_, value)| *value)
    }

    /// An attribute of a dictionary.
    pub(super) fn attribute(&self, dict: Value, name: &str) -> Option<Value> {
        let Value::Dict(i) = dict else { return None };
        let (_, state) = self.states.iter().rev().find(|(dict, _)| *dict == i)?;
        self.entry(*state, name)
    }

    /// The items of a list or tuple.
    pub(super) fn sequence(&self, value: Value) -> Option<&[Value]> {
        if let Value::Tuple(span) = value {
            return Some(span.of(&self.items));
        }
        let Value::List(i) = value else { return None };
        self.lists.get(i as usize).map(Vec::as_slice)
    }

    /// The tensor a value is.
    pub(super) fn tensor(&self, value: Value) -> Option<TensorRef> {
        let Value::Tensor(i) = value else { return None };
        self.tensors.get(i as usize).copied()
    }

    /// The storage of a tensor.
    pub(super) fn storage(&self, tensor: TensorRef) -> Option<StorageRef> {
        self.storages.get(tensor.storage as usize).copied()
    }

    /// Every storage that was named.
    pub(super) fn storages(&self) -> &[StorageRef] {
        &self.storages
    }
}
