//! Bits and Huffman codes of entropy-coded data.

use super::Fault;

/// Codes up to this length are decoded by one look at a table.
const LOOK: u32 = 9;

/// A Huffman table (T.81, annex C).
#[derive(Clone, Debug)]
pub(super) struct Huffman {
    /// By the next [`LOOK`] bits: the code's length and its value; length 0 for longer codes.
    short: Vec<(u8, u8)>,
    /// By length: what to add to a code to get its place in `values`, and one past the last code, left-aligned to 16 bits.
    long: [(i32, u32); 17],
    values: Vec<u8>,
}

impl Huffman {
    /// From the number of codes of each length 1..=16 and the values in the order of their codes; `None` if these
    /// are not the lengths of a prefix code.
    pub(super) fn new(counts: &[u8; 16], values: &[u8]) -> Option<Huffman> {
        let mut table = Huffman { short: vec![(0, 0); 1 << LOOK], long: [(0, 0); 17], values: values.to_vec() };
        let (mut code, mut place) = (0u32, 0usize);
        for length in 1..=16u32 {
            let count = usize::from(counts[length as usize - 1]);
            let end = code + count as u32;
            if end > 1 << length {
                return None;
            }
            table.long[length as usize] = (place as i32 - code as i32, end << (16 - length));
            for code in code..end {
                let &value = values.get(place)?;
                if length <= LOOK {
                    let first = (code << (LOOK - length)) as usize;
                    let same = 1usize << (LOOK - length);
                    table.short.get_mut(first..first + same)?.fill((length as u8, value));
                }
                place += 1;
            }
            code = end << 1;
        }
        Some(table)
    }
}

/// Reads the bits between two markers, without the zeros stuffed in behind bytes of 255.
#[derive(Debug)]
pub(super) struct Bits<'a> {
    data: &'a [u8],
    /// The next byte to take.
    at: usize,
    /// The next bits, left-aligned.
    next: u64,
    /// How many bits of `next` count.
    count: u32,
    /// How many of these stand for data that is not there.
    missing: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(data: &'a [u8], at: usize) -> Bits<'a> {
        Bits { data, at, next: 0, count: 0, missing: 0 }
    }

    /// The byte that is read next, for messages.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Fails when more bits were taken than there are in front of the next marker.
    pub(super) fn check(&self) -> Result<(), Fault> {
        if self.count < self.missing { Err(self.damaged("the entropy-coded data ends too early")) } else { Ok(()) }
    }

    pub(super) fn damaged(&self, what: &'static str) -> Fault {
        Fault::Damaged { at: self.at, what }
    }

    /// Drops the rest of the bits and goes past the restart marker that must stand here.
    pub(super) fn restart(&mut self, number: usize) -> Result<(), Fault> {
        let marker = next_marker(self.data, self.at).ok_or(self.damaged("a restart marker is missing"))?;
        if usize::from(self.data[marker]) != 0xd0 + number % 8 {
            return Err(self.damaged("a restart marker is missing"));
        }
        *self = Bits::new(self.data, marker + 1);
        Ok(())
    }

    fn fill(&mut self) {
        while self.count <= 56 {
            let byte = match (self.data.get(self.at), self.data.get(self.at + 1)) {
                (Some(0xff), Some(0)) => {
                    self.at += 2;
                    0xff
                }
                (Some(0xff) | None, _) => {
                    self.missing += 8;
                    0
                }
                (Some(&byte), _) => {
                    self.at += 1;
                    byte
                }
            };
            self.next |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }

    /// `n` bits, at most 16, as a number; ones that are missing are 0, see [`Bits::check`].
    pub(super) fn take(&mut self, n: u32) -> u32 {
        if self.count < n {
            self.fill();
        }
        if n == 0 {
            return 0;
        }
        let bits = (self.next >> (64 - n)) as u32;
        self.next <<= n;
        self.count -= n;
        bits
    }

    /// A signed number of `n` bits, at most 16 (T.81, F.2.2.1: EXTEND).
    pub(super) fn take_signed(&mut self, n: u32) -> i32 {
        let bits = self.take(n) as i32;
        if n > 0 && bits < 1 << (n - 1) { bits - (1 << n) + 1 } else { bits }
    }

    /// The value of the next code.
    pub(super) fn decode(&mut self, table: &Huffman) -> Result<u8, Fault> {
        if self.count < 16 {
            self.fill();
        }
        let (length, value) = table.short[(self.next >> (64 - LOOK)) as usize];
        if length > 0 {
            self.next <<= length;
            self.count -= u32::from(length);
            return Ok(value);
        }
        let code = (self.next >> 48) as u32;
        let length = (LOOK + 1..=16).find(|&length| code < table.long[length as usize].1);
        let length = length.ok_or(self.damaged("a code that the Huffman table does not have"))?;
        let place = (code >> (16 - length)) as i32 + table.long[length as usize].0;
        let value = usize::try_from(place).ok().and_then(|place| table.values.get(place));
        let &value = value.ok_or(self.damaged("a code that the Huffman table does not have"))?;
        self.next <<= length;
        self.count -= length;
        Ok(value)
    }
}

/// The position of the code of the first marker at or behind `at`.
pub(super) fn next_marker(data: &[u8], at: usize) -> Option<usize> {
    let rest = data.get(at..)?;
    let pair = rest.windows(2).position(|pair| pair[0] == 0xff && !matches!(pair[1], 0 | 0xff))?;
    Some(at + pair + 1)
}
