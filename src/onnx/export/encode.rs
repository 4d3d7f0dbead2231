//! The wire format of protocol buffers, written; the other way is `wire`.
//!
//! A message is built in memory but for the elements of its tensors, which are written where they are.

/// A message that grows.
#[derive(Clone, Debug, Default)]
pub struct Writer(pub Vec<u8>);

/// Wire types: integers, lengths with bytes, and four bytes.
const VARINT: u64 = 0;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

impl Writer {
    /// An integer.
    pub fn int(&mut self, field: u32, value: i64) {
        self.key(field, VARINT);
        self.varint(value.cast_unsigned());
    }

    /// A float.
    pub fn float(&mut self, field: u32, value: f32) {
        self.key(field, FIXED32);
        self.0.extend(value.to_le_bytes());
    }

    /// Text or bytes.
    pub fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.head(field, bytes.len() as u64);
        self.0.extend(bytes);
    }

    /// Text, unless it is empty, which is the default.
    pub fn text(&mut self, field: u32, text: &str) {
        if !text.is_empty() {
            self.bytes(field, text.as_bytes());
        }
    }

    /// A message in this one.
    pub fn message(&mut self, field: u32, fill: impl FnOnce(&mut Writer)) {
        let mut inner = Writer::default();
        fill(&mut inner);
        self.bytes(field, &inner.0);
    }

    /// What stands in front of bytes that are written by somebody else.
    pub fn head(&mut self, field: u32, len: u64) {
        self.key(field, BYTES);
        self.varint(len);
    }

    fn key(&mut self, field: u32, wire: u64) {
        self.varint(u64::from(field) << 3 | wire);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::onnx::wire::{Field, fields};

    #[test]
    fn what_is_written_is_read() {
        let mut writer = Writer::default();
        let ints = [0, 1, 127, 128, -1, i64::MIN, i64::MAX];
        ints.iter().for_each(|&value| writer.int(16, value));
        writer.float(2, -0.5);
        writer.text(3, "");
        writer.message(536_870_911, |inner| inner.text(1, &"é".repeat(100)));
        let read: Vec<(u32, Field)> = fields(&writer.0).collect::<Result<_, _>>().unwrap();
        for ((number, field), value) in read.iter().zip(ints) {
            assert_eq!((*number, field.int().unwrap()), (16, value));
        }
        assert_eq!((read[ints.len()].0, read[ints.len()].1.float().unwrap()), (2, -0.5));
        let (number, inner) = read[ints.len() + 1];
        let inner = fields(inner.bytes().unwrap()).next().unwrap().unwrap();
        assert_eq!((number, inner.1.text().unwrap()), (536_870_911, "é".repeat(100).as_str()));
        assert_eq!(read.len(), ints.len() + 2);
    }
}
