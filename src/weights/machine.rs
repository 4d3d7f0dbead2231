//! The machine that runs a pickle's instructions on a stack of [values](Value).

use std::collections::HashMap;

use super::globals::Global;
use super::pickle::{ErrorKind, Pickle, Span, StorageRef, TensorRef, Value};

/// The machine in the middle of a pickle.
pub(super) struct Machine<'a> {
    pub(super) pickle: Pickle<'a>,
    /// The position of the next instruction.
    pub(super) at: usize,
    stack: Vec<Value>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    /// Items that calls have copied from lists and dictionaries.
    copied: usize,
}

type Step<T> = Result<T, ErrorKind>;

fn broken<T>(problem: impl Into<String>) -> Step<T> {
    Err(ErrorKind::Broken(problem.into()))
}

impl<'a> Machine<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Machine<'a> {
        let pickle = Pickle {
            bytes,
            items: Vec::new(),
            lists: Vec::new(),
            dicts: Vec::new(),
            states: Vec::new(),
            storages: Vec::new(),
            tensors: Vec::new(),
            root: Value::None,
            len: 0,
        };
        Machine { pickle, at: 0, stack: Vec::new(), marks: Vec::new(), memo: HashMap::new(), copied: 0 }
    }

    /// One instruction; true after STOP.
    pub(super) fn step(&mut self) -> Step<bool> {
        let opcode = self.take(1)?[0];
        match opcode {
            0x80 => {
                let protocol = self.take(1)?[0];
                if protocol > 5 {
                    return broken(format!("it is of protocol {protocol}, newer than the 5 that are known"));
                }
            }
            0x95 => {
                self.take(8)?;
            }
            b'.' => {
                self.pickle.root = self.pop()?;
                self.pickle.len = self.at;
                return Ok(true);
            }
            b'(' => self.marks.push(self.stack.len()),
            b'0' => {
                self.pop()?;
            }
            b'1' => {
                self.pop_to_mark()?;
            }
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            b'q' | b'r' | 0x94 | b'h' | b'j' => self.memo(opcode)?,
            b'N' | 0x88 | 0x89 | b'K' | b'M' | b'J' | b'G' | 0x8a | 0x8b => self.number(opcode)?,
            b'X' | 0x8c | 0x8d | b'T' | b'U' | b'B' | b'C' | 0x8e | 0x96 => self.string(opcode)?,
            b')' | 0x85 | 0x86 | 0x87 | b't' => self.tuple(opcode)?,
            b']' | b'l' | b'a' | b'e' => self.list(opcode)?,
            b'}' | b'd' | b's' | b'u' => self.dict(opcode)?,
            0x8f => self.stack.push(Value::Opaque),
            0x90 => {
                self.pop_to_mark()?;
                self.top()?;
            }
            0x91 => {
                self.pop_to_mark()?;
                self.stack.push(Value::Opaque);
            }
            b'c' | 0x93 => self.global(opcode)?,
            b'Q' => self.persistent()?,
            b'R' | 0x81 => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                let result = self.call(function, arguments)?;
                self.stack.push(result);
            }
            0x92 => {
                let (_, arguments, class) = (self.pop()?, self.pop()?, self.pop()?);
                let result = self.call(class, arguments)?;
                self.stack.push(result);
            }
            b'b' => {
                let state = self.pop()?;
                if let Value::Dict(dict) = self.top()? {
                    self.pickle.states.push((dict, state));
                }
            }
            other => return broken(format!("instruction {other:#04x} is not one that torch.save writes")),
        }
        Ok(false)
    }

    fn take(&mut self, n: usize) -> Step<&'a [u8]> {
        match self.at.checked_add(n).and_then(|end| self.pickle.bytes.get(self.at..end)) {
            Some(bytes) => {
                self.at += n;
                Ok(bytes)
            }
            None => broken("it ends in the middle of an instruction"),
        }
    }

    /// A little-endian integer of `n` bytes, 8 at most.
    fn unsigned(&mut self, n: usize) -> Step<u64> {
        Ok(self.take(n)?.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }

    /// A length of `n` bytes and the span of what it counts.
    fn counted(&mut self, n: usize) -> Step<Span> {
        let len = self.unsigned(n)?;
        let start = self.at;
        let len = self.take(usize::try_from(len).unwrap_or(usize::MAX))?.len();
        Ok(Span::new(start, len))
    }

    fn line(&mut self) -> Step<&'a str> {
        let rest = &self.pickle.bytes[self.at..];
        // The longest line of a pickle without a limit of its own; module and object names are short.
        let Some(len) = rest.iter().take(1000).position(|&byte| byte == b'\n') else {
            return broken("a name in it does not end");
        };
        let line = &self.take(len + 1)?[..len];
        std::str::from_utf8(line).or_else(|_| broken("a name in it is not UTF-8"))
    }

    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Step<Value> {
        if self.stack.len() <= self.floor() {
            return broken("its stack is empty where a value is needed");
        }
        self.stack.pop().map_or_else(|| broken("its stack is empty where a value is needed"), Ok)
    }

    fn top(&self) -> Step<Value> {
        if self.stack.len() <= self.floor() {
            return broken("its stack is empty where a value is needed");
        }
        self.stack.last().copied().map_or_else(|| broken("its stack is empty where a value is needed"), Ok)
    }

    fn pop_to_mark(&mut self) -> Step<Vec<Value>> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.split_off(mark.min(self.stack.len()))),
            None => broken("it closes a group that it did not open"),
        }
    }

    fn memo(&mut self, opcode: u8) -> Step<()> {
        let index = match opcode {
            b'q' | b'h' => self.unsigned(1)? as u32,
            b'r' | b'j' => self.unsigned(4)? as u32,
            _ => self.memo.len() as u32,
        };
        if opcode == b'h' || opcode == b'j' {
            let Some(&value) = self.memo.get(&index) else {
                return broken(format!("it recalls value {index}, which it did not keep"));
            };
            self.stack.push(value);
        } else {
            let top = self.top()?;
            self.memo.insert(index, top);
        }
        Ok(())
    }

    fn number(&mut self, opcode: u8) -> Step<()> {
        let value = match opcode {
            b'N' => Value::None,
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'K' => Value::Int(self.unsigned(1)? as i64),
            b'M' => Value::Int(self.unsigned(2)? as i64),
            b'J' => Value::Int(i64::from(self.unsigned(4)? as u32 as i32)),
            b'G' => {
                self.take(8)?;
                Value::Opaque
            }
            _ => {
                let span = self.counted(if opcode == 0x8a { 1 } else { 4 })?;
                match span.of(self.pickle.bytes) {
                    [] => Value::Int(0),
                    bytes if bytes.len() <= 8 => {
                        let fill = if bytes[bytes.len() - 1] & 0x80 != 0 { 0xff } else { 0 };
                        let mut wide = [fill; 8];
                        wide[..bytes.len()].copy_from_slice(bytes);
                        Value::Int(i64::from_le_bytes(wide))
                    }
                    _ => Value::Long(span),
                }
            }
        };
        self.stack.push(value);
        Ok(())
    }

    fn string(&mut self, opcode: u8) -> Step<()> {
        let span = self.counted(match opcode {
            0x8c | b'U' | b'C' => 1,
            0x8d | 0x8e | 0x96 => 8,
            _ => 4,
        })?;
        // Python 2 wrote names as byte strings, T and U. Text that is not UTF-8 names nothing here.
        let is_text = matches!(opcode, b'X' | 0x8c | 0x8d | b'T' | b'U');
        let is_utf8 = std::str::from_utf8(span.of(self.pickle.bytes)).is_ok();
        self.stack.push(if is_text && is_utf8 { Value::Text(span) } else { Value::Opaque });
        Ok(())
    }

    fn tuple(&mut self, opcode: u8) -> Step<()> {
        let items = match opcode {
            b')' => Vec::new(),
            b't' => self.pop_to_mark()?,
            _ => {
                let mut items = (0x85..=opcode).map(|_| self.pop()).collect::<Step<Vec<Value>>>()?;
                items.reverse();
                items
            }
        };
        let value = self.new_tuple(&items);
        self.stack.push(value);
        Ok(())
    }

    fn new_tuple(&mut self, items: &[Value]) -> Value {
        let start = self.pickle.items.len();
        self.pickle.items.extend_from_slice(items);
        Value::Tuple(Span::new(start, items.len()))
    }

    fn list(&mut self, opcode: u8) -> Step<()> {
        let items = match opcode {
            b']' => Vec::new(),
            b'a' => vec![self.pop()?],
            _ => self.pop_to_mark()?,
        };
        if opcode == b']' || opcode == b'l' {
            self.stack.push(Value::List(self.pickle.lists.len() as u32));
            self.pickle.lists.push(items);
            return Ok(());
        }
        let top = self.top()?;
        if let Value::List(i) = top {
            self.pickle.lists[i as usize].extend(items);
        } else if top != Value::Opaque {
            return broken("it appends to what is not a list");
        }
        Ok(())
    }

    fn dict(&mut self, opcode: u8) -> Step<()> {
        let items = match opcode {
            b'}' => Vec::new(),
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                vec![key, value]
            }
            _ => self.pop_to_mark()?,
        };
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return broken("it sets an entry without a value");
        }
        let pairs = pairs.iter().map(|&[key, value]| (key, value));
        if opcode == b'}' || opcode == b'd' {
            let pairs = pairs.collect();
            let value = self.new_dict(pairs);
            self.stack.push(value);
            return Ok(());
        }
        let top = self.top()?;
        if let Value::Dict(i) = top {
            self.pickle.dicts[i as usize].extend(pairs);
        } else if top != Value::Opaque {
            return broken("it sets entries of what is not a dictionary");
        }
        Ok(())
    }

    fn new_dict(&mut self, pairs: Vec<(Value, Value)>) -> Value {
        self.pickle.dicts.push(pairs);
        Value::Dict((self.pickle.dicts.len() - 1) as u32)
    }

    fn global(&mut self, opcode: u8) -> Step<()> {
        let (module, name) = if opcode == b'c' {
            (self.line()?, self.line()?)
        } else {
            let (name, module) = (self.pop()?, self.pop()?);
            match (self.pickle.text(module), self.pickle.text(name)) {
                (Some(module), Some(name)) => (module, name),
                _ => return broken("it names a Python object by what is not text"),
            }
        };
        match Global::find(module, name) {
            Some(global) => self.stack.push(Value::Global(global)),
            None => return Err(ErrorKind::Global(format!("{module}.{name}"))),
        }
        Ok(())
    }

    /// `("storage", type, key, location, count)`, in older files with `(key, offset, count)` of a part behind it.
    fn persistent(&mut self) -> Step<()> {
        let id = self.pop()?;
        let Some(fields) = self.pickle.sequence(id) else { return broken("a persistent id is not a tuple") };
        let storage = match *fields {
            [kind, Value::Global(Global::Storage(dtype)), key, _, Value::Int(count), ref part @ ..]
                if self.pickle.text(kind) == Some("storage") && self.pickle.text(key).is_some() =>
            {
                let part = match *part {
                    [] | [Value::None] => None,
                    [part] => match self.pickle.sequence(part) {
                        Some(&[_, Value::Int(offset), Value::Int(count)]) => Some((natural(offset)?, natural(count)?)),
                        _ => return broken("the part of a storage is not (key, offset, count)"),
                    },
                    _ => return broken("a storage has more fields than it should"),
                };
                StorageRef { key, dtype, count: natural(count)?, part }
            }
            _ => return broken("a persistent id is not that of a storage"),
        };
        self.stack.push(Value::Storage(self.pickle.storages.len() as u32));
        self.pickle.storages.push(storage);
        Ok(())
    }

    fn call(&mut self, function: Value, arguments: Value) -> Step<Value> {
        let Some(arguments) = self.pickle.sequence(arguments) else {
            return broken("it calls with what is not a tuple of arguments");
        };
        let Value::Global(function) = function else {
            return if function == Value::Opaque { Ok(function) } else { broken("it calls what is not a function") };
        };
        match function {
            Global::RebuildTensor => {
                let tensor = tensor(arguments)?;
                Ok(self.new_tensor(tensor))
            }
            Global::RebuildParameter => match arguments.first() {
                Some(&value @ Value::Tensor(_)) => Ok(value),
                _ => broken("a parameter is not a tensor"),
            },
            Global::RebuildFromType => {
                let [Value::Global(Global::RebuildTensor), _, inner, _] = *arguments else {
                    return broken("a tensor of a class of its own is not rebuilt from a storage");
                };
                let tensor = tensor(self.pickle.sequence(inner).unwrap_or(&[]))?;
                Ok(self.new_tensor(tensor))
            }
            Global::OrderedDict => match *arguments {
                [] => Ok(self.new_dict(Vec::new())),
                [pairs] => self.dict_of(pairs),
                _ => broken("an OrderedDict is made of more than one argument"),
            },
            Global::Size => {
                let Some(sizes) = arguments.first().and_then(|&sizes| self.pickle.sequence(sizes)) else {
                    return broken("a size is not made of numbers");
                };
                let sizes = sizes.to_vec();
                self.count_copied(sizes.len())?;
                Ok(self.new_tuple(&sizes))
            }
            Global::Opaque | Global::Storage(_) => Ok(Value::Opaque),
        }
    }

    fn new_tensor(&mut self, tensor: TensorRef) -> Value {
        self.pickle.tensors.push(tensor);
        Value::Tensor((self.pickle.tensors.len() - 1) as u32)
    }

    /// The dictionary of a list of pairs, as Python 2 pickled its ordered ones, or of another dictionary.
    fn dict_of(&mut self, value: Value) -> Step<Value> {
        let pairs: Vec<(Value, Value)> = if let Some(entries) = self.pickle.dict(value) {
            entries.to_vec()
        } else if let Some(items) = self.pickle.sequence(value) {
            let pair = |&item| match self.pickle.sequence(item) {
                Some(&[key, value]) => Ok((key, value)),
                _ => broken("an OrderedDict is made of what is not pairs"),
            };
            items.iter().map(pair).collect::<Step<_>>()?
        } else {
            return broken("an OrderedDict is made of what is not pairs");
        };
        self.count_copied(pairs.len())?;
        Ok(self.new_dict(pairs))
    }

    /// Keeps copying linear: a pickle that copies each of its containers once never copies more items than it has bytes.
    fn count_copied(&mut self, n: usize) -> Step<()> {
        self.copied = self.copied.saturating_add(n);
        if self.copied > self.pickle.bytes.len() {
            return broken("it copies the same values again and again");
        }
        Ok(())
    }
}

/// `(storage, offset, size, stride, …)`.
fn tensor(arguments: &[Value]) -> Step<TensorRef> {
    match *arguments {
        [Value::Storage(storage), Value::Int(offset), size, stride, ..] => {
            Ok(TensorRef { storage, offset: natural(offset)?, size, stride })
        }
        _ => broken("a tensor is not made of a storage, an offset, a size and a stride"),
    }
}

fn natural(value: i64) -> Step<u64> {
    u64::try_from(value).or_else(|_| broken(format!("{value} stands where a count should")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::Dtype;
    use super::*;
    use proptest::prelude::*;

    fn read(pickle: &[u8]) -> Pickle<'_> {
        Pickle::read(pickle).unwrap()
    }

    #[track_caller]
    fn refused(pickle: &[u8], expected: &str) {
        match Pickle::read(pickle).err().unwrap().kind {
            ErrorKind::Broken(problem) => assert!(problem.contains(expected), "{problem}"),
            ErrorKind::Global(name) => assert_eq!(name, expected),
        }
    }

    #[test]
    fn numbers_of_every_width() {
        let cases: [(&[u8], Value); 9] = [
            (b"K\xff.", Value::Int(255)),
            (b"M\x00\x80.", Value::Int(32768)),
            (b"J\xff\xff\xff\xff.", Value::Int(-1)),
            (b"\x8a\x00.", Value::Int(0)),
            (b"\x8a\x02\x00\xff.", Value::Int(-256)),
            (b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f.", Value::Int(i64::MAX)),
            (b"\x8b\x01\x00\x00\x00\x07.", Value::Int(7)),
            (b"\x80\x02\x88.", Value::Bool(true)),
            (b"G\x3f\xf0\x00\x00\x00\x00\x00\x00.", Value::Opaque),
        ];
        for (pickle, expected) in cases {
            assert_eq!(read(pickle).root, expected);
        }
        assert_eq!(read(b"\x8a\x09123456789.").long(read(b"\x8a\x09123456789.").root), Some(&b"123456789"[..]));
    }

    #[test]
    fn containers_are_shared_through_the_memo() {
        // d = {}; [d, d]; d["k"] = 5 afterwards
        let pickle = read(b"]q\x00(}q\x01h\x01eh\x01X\x01\x00\x00\x00kK\x05s0.");
        let list = pickle.sequence(pickle.root).unwrap();
        assert_eq!(list[0], list[1]);
        assert_eq!(pickle.entry(list[0], "k"), Some(Value::Int(5)));
        assert_eq!(pickle.len, 23);
    }

    #[test]
    fn a_list_may_hold_itself() {
        let pickle = read(b"]q\x00h\x00a.");
        assert_eq!(pickle.sequence(pickle.root), Some(&[pickle.root][..]));
    }

    #[test]
    fn protocol_4_is_read() {
        let pickle = read(b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01a\x94K\x01\x8c\x01bK\x02u.");
        assert_eq!(pickle.entry(pickle.root, "b"), Some(Value::Int(2)));
        let pickle = read(b"\x8c\x0bcollections\x8c\x0bOrderedDict\x93)R.");
        assert_eq!(pickle.dict(pickle.root), Some(&[][..]));
    }

    #[test]
    fn ordered_dictionaries_of_python_2_are_read() {
        let pickle = read(b"ccollections\nOrderedDict\n](](U\x01aK\x01e](U\x01bK\x02ee\x85R.");
        assert_eq!(pickle.entry(pickle.root, "b"), Some(Value::Int(2)));
    }

    const TENSOR: &[u8] =
        b"ctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\nHalfStorage\nU\x01kNK\x06tQK\x01K\x02K\x03\x86K\x03K\x01\x86\x89NtR.";

    #[test]
    fn tensors_are_noted_down() {
        let pickle = read(TENSOR);
        let tensor = pickle.tensor(pickle.root).unwrap();
        let storage = pickle.storage(tensor).unwrap();
        assert_eq!((storage.dtype, storage.count, storage.part), (Dtype::F16, 6, None));
        assert_eq!(pickle.text(storage.key), Some("k"));
        assert_eq!(tensor.offset, 1);
        assert_eq!(pickle.sequence(tensor.size), Some(&[Value::Int(2), Value::Int(3)][..]));
    }

    #[test]
    fn harmless_objects_become_opaque_and_others_are_named() {
        let namespace = b"cargparse\nNamespace\n)\x81}U\x02lrG\x00\x00\x00\x00\x00\x00\x00\x00sb.";
        assert_eq!(read(namespace).root, Value::Opaque);
        refused(b"cos\nsystem\nU\x06rm -rf\x85R.", "os.system");
        refused(b"U\x05posixU\x06system\x93U\x02ls\x85R.", "posix.system");
        refused(b"c__builtin__\neval\nU\x011\x85R.", "__builtin__.eval");
    }

    #[test]
    fn broken_pickles_are_refused() {
        refused(b"", "ends in the middle");
        refused(b"\x80\x06N.", "protocol 6");
        refused(b".", "stack is empty");
        refused(b"(N(.", "stack is empty");
        refused(b"Ne.", "did not open");
        refused(b"N(e.", "not a list");
        refused(b"}(Nu.", "without a value");
        refused(b"h\x00.", "did not keep");
        refused(b"NNR.", "not a tuple of arguments");
        refused(b"N)R.", "not a function");
        refused(b"NQ.", "not a tuple");
        refused(b"(U\x06moduletQ.", "not that of a storage");
        refused(b"(U\x07storageNNNNtQ.", "not that of a storage");
        refused(b"S'a'\n.", "instruction 0x53");
        refused(b"cos", "does not end");
        refused(b"X\xff\xff\xff\xffabc", "ends in the middle");
        refused(b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffabc", "ends in the middle");
        refused(b"(((((((((", "ends in the middle");
    }

    #[test]
    fn deep_nesting_needs_no_stack() {
        let mut pickle = b"]".repeat(1_000_000);
        pickle.extend(b"a".repeat(999_999));
        pickle.push(b'.');
        assert!(read(&pickle).sequence(read(&pickle).root).is_some());
    }

    #[test]
    fn copying_again_and_again_is_refused() {
        // One list of 1000 pairs, made into a dictionary a thousand times.
        let mut pickle = b"(".to_vec();
        pickle.extend(b"NN\x86".repeat(1000));
        pickle.extend(b"lq\x000ccollections\nOrderedDict\nq\x01");
        pickle.extend(b"h\x01h\x00\x85R".repeat(1000));
        refused(&pickle, "again and again");
    }

    #[test]
    fn the_number_of_instructions_is_bounded() {
        refused(&b"N0".repeat(6_000_000), "more than 10000000 instructions");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Pickle::read(&bytes);
        }

        #[test]
        fn no_damage_panics(at in 0..TENSOR.len(), byte in any::<u8>(), cut in 0..TENSOR.len()) {
            let mut pickle = TENSOR.to_vec();
            pickle[at] = byte;
            let _ = Pickle::read(&pickle);
            prop_assert!(Pickle::read(&TENSOR[..cut]).is_err());
        }
    }
}
