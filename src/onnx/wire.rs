//! The wire format of protocol buffers, read from bytes that stay where they are: a message is a run of fields, each
//! a number, a wire type and a value (<https://protobuf.dev/programming-guides/encoding/>).
//!
//! Reading takes no memory, so that a file's claims cost nothing until they are believed.

use super::error::{Damage, OnnxError};

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Field<'a> {
    /// Integers, booleans and enumerations.
    Varint(u64),
    /// Eight bytes.
    Fixed64(u64),
    /// Four bytes.
    Fixed32(u32),
    /// Text, a message, or a packed list.
    Bytes(&'a [u8]),
}

/// The fields of a message in the order of the file.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
    failed: bool,
}

/// Reads a message.
pub fn fields(message: &[u8]) -> Fields<'_> {
    Fields { rest: message, failed: false }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Field<'a>), OnnxError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() || self.failed {
            return None;
        }
        let field = self.field();
        self.failed = field.is_err();
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Result<(u32, Field<'a>), OnnxError> {
        let key = varint(&mut self.rest)?;
        let number = u32::try_from(key >> 3).ok().filter(|&number| number != 0).ok_or(Damage::Field)?;
        let value = match key & 7 {
            0 => Field::Varint(varint(&mut self.rest)?),
            1 => Field::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let len = usize::try_from(varint(&mut self.rest)?).map_err(|_| Damage::Truncated)?;
                Field::Bytes(self.take(len)?)
            }
            5 => Field::Fixed32(u32::from_le_bytes(self.array()?)),
            _ => return Err(Damage::Field.into()),
        };
        Ok((number, value))
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], OnnxError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Damage::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], OnnxError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Damage::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }
}

/// Takes a number of up to ten bytes, seven bits each, the lowest first.
fn varint(rest: &mut &[u8]) -> Result<u64, OnnxError> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, behind) = rest.split_first().ok_or(Damage::Truncated)?;
        *rest = behind;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(Damage::Field.into())
}

impl<'a> Field<'a> {
    /// Text, a message or a packed list.
    ///
    /// # Errors
    /// When the field is a number.
    pub fn bytes(self) -> Result<&'a [u8], OnnxError> {
        match self {
            Field::Bytes(bytes) => Ok(bytes),
            Field::Varint(_) | Field::Fixed64(_) | Field::Fixed32(_) => Err(Damage::Kind.into()),
        }
    }

    /// Text.
    ///
    /// # Errors
    /// When the field is a number or no UTF-8.
    pub fn text(self) -> Result<&'a str, OnnxError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Damage::Text.into())
    }

    /// A signed integer.
    ///
    /// # Errors
    /// When the field is anything else.
    pub fn int(self) -> Result<i64, OnnxError> {
        match self {
            Field::Varint(value) => Ok(value.cast_signed()),
            Field::Fixed64(_) | Field::Fixed32(_) | Field::Bytes(_) => Err(Damage::Kind.into()),
        }
    }

    /// A float.
    ///
    /// # Errors
    /// When the field is anything else.
    pub fn float(self) -> Result<f32, OnnxError> {
        match self {
            Field::Fixed32(bits) => Ok(f32::from_bits(bits)),
            Field::Varint(_) | Field::Fixed64(_) | Field::Bytes(_) => Err(Damage::Kind.into()),
        }
    }

    /// Appends the integers of a list, whether packed or one by one.
    ///
    /// # Errors
    /// When the field holds no integers.
    pub fn ints(self, into: &mut Vec<i64>) -> Result<(), OnnxError> {
        let Field::Bytes(mut packed) = self else {
            into.push(self.int()?);
            return Ok(());
        };
        while !packed.is_empty() {
            into.push(varint(&mut packed)?.cast_signed());
        }
        Ok(())
    }

    /// Appends the floats of a list, whether packed or one by one.
    ///
    /// # Errors
    /// When the field holds no floats.
    pub fn floats(self, into: &mut Vec<f32>) -> Result<(), OnnxError> {
        let Field::Bytes(packed) = self else {
            into.push(self.float()?);
            return Ok(());
        };
        let (floats, rest) = packed.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(Damage::Truncated.into());
        }
        into.extend(floats.iter().map(|&bytes| f32::from_le_bytes(bytes)));
        Ok(())
    }

    /// Appends the doubles of a list, whether packed or one by one.
    ///
    /// # Errors
    /// When the field holds no doubles.
    pub fn doubles(self, into: &mut Vec<f64>) -> Result<(), OnnxError> {
        match self {
            Field::Fixed64(bits) => into.push(f64::from_bits(bits)),
            Field::Bytes(packed) => {
                let (doubles, rest) = packed.as_chunks::<8>();
                if !rest.is_empty() {
                    return Err(Damage::Truncated.into());
                }
                into.extend(doubles.iter().map(|&bytes| f64::from_le_bytes(bytes)));
            }
            Field::Varint(_) | Field::Fixed32(_) => return Err(Damage::Kind.into()),
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_packed_and_one_by_one() {
        let mut floats = Vec::new();
        Field::Bytes(&[0, 0, 128, 63, 0, 0, 0, 64]).floats(&mut floats).unwrap();
        Field::Fixed32(0x4040_0000).floats(&mut floats).unwrap();
        assert_eq!(floats, [1.0, 2.0, 3.0]);
        let mut ints = Vec::new();
        Field::Varint(5).ints(&mut ints).unwrap();
        assert_eq!(ints, [5]);
        let mut doubles = Vec::new();
        Field::Fixed64(1f64.to_bits()).doubles(&mut doubles).unwrap();
        Field::Bytes(&2f64.to_le_bytes()).doubles(&mut doubles).unwrap();
        assert_eq!(doubles, [1.0, 2.0]);
        assert!(Field::Bytes(&[0; 7]).doubles(&mut doubles).is_err());
        assert!(Field::Bytes(&[0; 5]).floats(&mut floats).is_err());
    }

    #[test]
    fn damage_is_an_error_and_ends_the_message() {
        let cases: [&[u8]; 7] = [
            &[0x08],
            &[0x0a, 5, 1],
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
            &[0x00],
            &[0x0b],
            &[0x0d, 1, 2],
            &[0x80; 11],
        ];
        for case in cases {
            let read: Vec<_> = fields(case).collect();
            assert!(read.len() == 1 && read[0].is_err(), "{case:?}");
        }
    }
}
