//! The header of an `.npy` file: a Python dictionary with three known keys.

use std::io::{self, Read};

use super::npy::NpyFault;

/// The first bytes of every `.npy` file.
pub(super) const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// The longest header that is read, in bytes; NumPy's own bound is 10,000.
pub(super) const MAX_HEADER: u64 = 1 << 16;

/// The most axes that an array may have, NumPy's bound.
const MAX_AXES: usize = 64;

/// What the header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The element type, such as `<f4`.
    pub(super) descr: String,
    pub(super) fortran_order: bool,
    pub(super) shape: Vec<u64>,
    /// Where the elements start, in bytes.
    pub(super) length: u64,
}

/// A fault and the byte at which it is.
type Faulty<T> = Result<T, (u64, NpyFault)>;

impl Header {
    /// Reads the header of a file of `length` bytes; the input then stands at the first element.
    pub(super) fn read(input: &mut impl Read, length: u64) -> io::Result<Faulty<Header>> {
        let truncated = |expected| Ok(Err((length, NpyFault::Truncated { expected, found: length })));
        let mut magic = Vec::new();
        input.take(MAGIC.len() as u64).read_to_end(&mut magic)?;
        if !MAGIC.starts_with(&magic) || magic.is_empty() {
            return Ok(Err((0, NpyFault::Magic)));
        }
        if length < 10 {
            return truncated(10);
        }
        let mut version = [0; 2];
        input.read_exact(&mut version)?;
        let (start, dictionary) = match version {
            [1, 0] => {
                let mut bytes = [0; 2];
                input.read_exact(&mut bytes)?;
                (10, u64::from(u16::from_le_bytes(bytes)))
            }
            [2 | 3, 0] if length < 12 => return truncated(12),
            [2 | 3, 0] => {
                let mut bytes = [0; 4];
                input.read_exact(&mut bytes)?;
                (12, u64::from(u32::from_le_bytes(bytes)))
            }
            [major, minor] => return Ok(Err((6, NpyFault::Version(major, minor)))),
        };
        if MAX_HEADER < dictionary {
            return Ok(Err((8, NpyFault::HeaderTooLong { length: dictionary })));
        }
        if length < start + dictionary {
            return truncated(start + dictionary);
        }
        let mut text = Vec::new();
        input.take(dictionary).read_to_end(&mut text)?;
        let mut cursor = Cursor { text: &text, at: 0 };
        Ok(cursor.dictionary(start + dictionary).map_err(|fault| (start + cursor.at as u64, fault)))
    }
}

/// Reads Python literals, leaving `at` where something else stands.
struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn dictionary(&mut self, length: u64) -> Result<Header, NpyFault> {
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        self.expect(b'{', "`{`")?;
        while !self.accept(b'}') {
            let key_at = self.at;
            let key = self.string("a key in quotes, or `}`")?;
            self.expect(b':', "`:`")?;
            match key.as_str() {
                "descr" if descr.is_none() => descr = Some(self.element_type()?),
                "fortran_order" if fortran_order.is_none() => fortran_order = Some(self.boolean()?),
                "shape" if shape.is_none() => shape = Some(self.tuple()?),
                _ => {
                    self.at = key_at;
                    return Err(broken("`descr`, `fortran_order` and `shape`, each once"));
                }
            }
            if !self.accept(b',') {
                self.expect(b'}', "`,` or `}`")?;
                break;
            }
        }
        self.skip_blanks();
        if self.at < self.text.len() {
            return Err(broken("nothing more"));
        }
        match (descr, fortran_order, shape) {
            (Some(descr), Some(fortran_order), Some(shape)) => Ok(Header { descr, fortran_order, shape, length }),
            _ => Err(broken("`descr`, `fortran_order` and `shape`")),
        }
    }

    fn skip_blanks(&mut self) {
        while self.text.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }

    fn accept(&mut self, byte: u8) -> bool {
        self.skip_blanks();
        let found = self.text.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), NpyFault> {
        if self.accept(byte) { Ok(()) } else { Err(broken(expected)) }
    }

    fn string(&mut self, expected: &'static str) -> Result<String, NpyFault> {
        self.skip_blanks();
        let rest = self.text.get(self.at..).unwrap_or_default();
        let Some((quote @ (b'\'' | b'"'), rest)) = rest.split_first() else {
            return Err(broken(expected));
        };
        let length = rest.iter().position(|byte| byte == quote).ok_or(broken("the end of a string"))?;
        self.at += length + 2;
        Ok(String::from_utf8_lossy(&rest[..length]).into_owned())
    }

    /// A type in quotes; the list that describes a record is taken whole, for the message that refuses it.
    fn element_type(&mut self) -> Result<String, NpyFault> {
        if !self.accept(b'[') {
            return self.string("an element type in quotes");
        }
        let start = self.at - 1;
        let rest = &self.text[start..];
        let length = rest.iter().rposition(|&byte| byte == b']').ok_or(broken("`]`"))? + 1;
        self.at = start + length;
        Ok(String::from_utf8_lossy(&rest[..length]).into_owned())
    }

    fn boolean(&mut self) -> Result<bool, NpyFault> {
        self.skip_blanks();
        let rest = self.text.get(self.at..).unwrap_or_default();
        let (word, value) = match rest {
            [b'T', ..] => ("True", true),
            _ => ("False", false),
        };
        if !rest.starts_with(word.as_bytes()) {
            return Err(broken("`True` or `False`"));
        }
        self.at += word.len();
        Ok(value)
    }

    fn tuple(&mut self) -> Result<Vec<u64>, NpyFault> {
        self.expect(b'(', "`(`")?;
        let mut sizes = Vec::new();
        while !self.accept(b')') {
            sizes.push(self.size()?);
            if MAX_AXES < sizes.len() {
                return Err(NpyFault::Shape(sizes));
            }
            if !self.accept(b',') {
                self.expect(b')', "`,` or `)`")?;
                break;
            }
        }
        Ok(sizes)
    }

    fn size(&mut self) -> Result<u64, NpyFault> {
        self.skip_blanks();
        let rest = self.text.get(self.at..).unwrap_or_default();
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number = std::str::from_utf8(&rest[..digits]).ok().and_then(|digits| digits.parse().ok());
        let number = number.ok_or(broken("a size that fits 64 bits, or `)`"))?;
        self.at += digits;
        // Python 2 wrote long integers with an L.
        if self.text.get(self.at) == Some(&b'L') {
            self.at += 1;
        }
        Ok(number)
    }
}

fn broken(expected: &'static str) -> NpyFault {
    NpyFault::Header { expected }
}
