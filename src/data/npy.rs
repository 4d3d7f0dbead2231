//! NumPy's `.npy` files, versions 1 to 3 (numpy.lib.format): one array with its element type, order and shape.
//!
//! Every boolean, integer and real element type of either byte order is read, always into `f32`; what is written is
//! `<f4` in C order. A file whose length is not what its header explains is refused before memory is taken.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use half::f16;
use ndarray::{ArrayD, ArrayViewD, IxDyn, ShapeBuilder};

use super::atomic::write_atomic;
use super::error::DataError;
use super::npy_header::{Header, MAGIC, MAX_HEADER};

/// What is wrong with an `.npy` file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NpyFault {
    /// The first bytes are not the format's.
    #[error("it does not start with `\\x93NUMPY`")]
    Magic,
    /// A version of the format that does not exist yet.
    #[error("its format version {0}.{1} is not 1.0, 2.0 or 3.0")]
    Version(u8, u8),
    /// The header is not a dictionary of `descr`, `fortran_order` and `shape`.
    #[error("its header is broken: expected {expected}")]
    Header {
        /// What should stand at the place.
        expected: &'static str,
    },
    /// The header is longer than any sensible one.
    #[error("its header claims {length} bytes, more than the {MAX_HEADER} that are read")]
    HeaderTooLong {
        /// The claimed length.
        length: u64,
    },
    /// An element type that does not become `f32`.
    #[error("its elements are of type `{0}`")]
    ElementType(String),
    /// A shape whose size in bytes does not fit 64 bits, or with too many axes.
    #[error("its shape {0:?} is larger than any file")]
    Shape(Vec<u64>),
    /// Fewer bytes than the header explains.
    #[error("it is cut off: the header explains {expected} bytes, the file has {found}")]
    Truncated {
        /// The file's length by the header.
        expected: u64,
        /// Its length.
        found: u64,
    },
    /// More bytes than the header explains.
    #[error("the header explains {expected} bytes, the file has {found}")]
    TrailingBytes {
        /// The file's length by the header.
        expected: u64,
        /// Its length.
        found: u64,
    },
}

impl NpyFault {
    /// What to do about it, as a sentence without its full stop.
    pub fn fix(&self) -> String {
        match self {
            NpyFault::Magic | NpyFault::Header { .. } | NpyFault::HeaderTooLong { .. } | NpyFault::Shape(_) => {
                "write it with `numpy.save(path, array)`"
            }
            NpyFault::Version(..) => "write it again with a NumPy that knows version 1.0",
            NpyFault::ElementType(_) => "write it with `numpy.save(path, array.astype(\"float32\"))`",
            NpyFault::Truncated { .. } => "copy or write the file again",
            NpyFault::TrailingBytes { .. } => "write one array a file, with `numpy.save(path, array)`",
        }
        .to_string()
    }
}

/// Reads the array in the file at `path`, in C order whatever the file's order is. Numbers that `f32` cannot hold are
/// rounded to the nearest that it can.
///
/// # Errors
/// [`DataError::Io`] and [`DataError::Npy`].
pub fn read(path: impl AsRef<Path>) -> Result<ArrayD<f32>, DataError> {
    let path = path.as_ref();
    let file = File::open(path).map_err(DataError::io("read", path))?;
    let length = file.metadata().map_err(DataError::io("read", path))?.len();
    read_from(path, BufReader::new(file), length)
}

/// Reads the bytes of such a file; `file` is its name in error messages.
pub fn parse(file: impl AsRef<Path>, bytes: &[u8]) -> Result<ArrayD<f32>, DataError> {
    read_from(file.as_ref(), bytes, bytes.len() as u64)
}

/// Writes `array` to the file at `path`, all of it or nothing.
pub fn save(path: impl AsRef<Path>, array: ArrayViewD<f32>) -> Result<(), DataError> {
    write_atomic(path, |out| write(out, array))
}

/// Writes the bytes of an `.npy` file, version 1.0, `<f4`, C order.
pub fn write(out: &mut dyn Write, array: ArrayViewD<f32>) -> io::Result<()> {
    let sizes: Vec<String> = array.shape().iter().map(|size| format!("{size},")).collect();
    let shape = match sizes.as_slice() {
        [only] => only.clone(),
        several => several.join(" ").trim_end_matches(',').to_string(),
    };
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}), }}");
    // Magic, version and length take 10 bytes; with the newline the header ends at a multiple of 64.
    let padding = 63 - (10 + header.len()) % 64;
    header.extend(std::iter::repeat_n(' ', padding));
    header.push('\n');
    let length = u16::try_from(header.len()).map_err(|_| io::Error::other("the array has too many axes"))?;
    out.write_all(MAGIC)?;
    out.write_all(&[1, 0])?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(header.as_bytes())?;
    array.iter().try_for_each(|value| out.write_all(&value.to_le_bytes()))
}

fn read_from(path: &Path, mut input: impl Read, length: u64) -> Result<ArrayD<f32>, DataError> {
    let npy = |at, fault| DataError::Npy { file: path.to_path_buf(), at, fault };
    let header = match Header::read(&mut input, length) {
        Ok(Ok(header)) => header,
        Ok(Err((at, fault))) => return Err(npy(at, fault)),
        Err(source) => return Err(DataError::Io { file: path.to_path_buf(), action: "read", source }),
    };
    let too_large = || npy(header.length, NpyFault::Shape(header.shape.clone()));
    let element = Element::of(&header.descr).ok_or_else(|| npy(0, NpyFault::ElementType(header.descr.clone())))?;
    // An axis of 0 makes the array empty, but the other axes must still be sizes that an array can have.
    let count = |shape: &[u64]| shape.iter().try_fold(1u64, |count, &size| count.checked_mul(size));
    let axes = header.shape.iter().map(|&size| size.max(1)).collect::<Vec<_>>();
    count(&axes).filter(|&count| count <= isize::MAX as u64 / 8).ok_or_else(too_large)?;
    let elements = count(&header.shape).ok_or_else(too_large)?;
    let expected = elements
        .checked_mul(element.size() as u64)
        .and_then(|bytes| bytes.checked_add(header.length))
        .ok_or_else(too_large)?;
    if length < expected {
        return Err(npy(length, NpyFault::Truncated { expected, found: length }));
    }
    if expected < length {
        return Err(npy(expected, NpyFault::TrailingBytes { expected, found: length }));
    }
    let count = usize::try_from(elements).map_err(|_| too_large())?;
    let values = element.read_all(&mut input, count).map_err(DataError::io("read", path))?;
    let shape: Option<Vec<usize>> = header.shape.iter().map(|&size| usize::try_from(size).ok()).collect();
    let shape = IxDyn(&shape.ok_or_else(too_large)?);
    let array = match header.fortran_order {
        false => ArrayD::from_shape_vec(shape, values),
        true => ArrayD::from_shape_vec(shape.f(), values).map(|array| array.as_standard_layout().into_owned()),
    };
    array.map_err(|_| too_large())
}

/// An element type: its kind in NumPy's letters, its size and its byte order.
struct Element {
    size: usize,
    big_endian: bool,
    convert: fn([u8; 8]) -> f32,
}

impl Element {
    /// Reads a type such as `<f4`.
    fn of(descr: &str) -> Option<Element> {
        let (order, kind) = descr.split_at_checked(1)?;
        // `convert` gets the little-endian bytes, filled up with zeros.
        let (size, convert): (usize, fn([u8; 8]) -> f32) = match kind {
            "f2" => (2, |b| f16::from_le_bytes([b[0], b[1]]).to_f32()),
            "f4" => (4, |b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])),
            "f8" => (8, |b| f64::from_le_bytes(b) as f32),
            "b1" => (1, |b| f32::from(u8::from(b[0] != 0))),
            "u1" => (1, |b| f32::from(b[0])),
            "u2" => (2, |b| f32::from(u16::from_le_bytes([b[0], b[1]]))),
            "u4" => (4, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as f32),
            "u8" => (8, |b| u64::from_le_bytes(b) as f32),
            "i1" => (1, |b| f32::from(i8::from_le_bytes([b[0]]))),
            "i2" => (2, |b| f32::from(i16::from_le_bytes([b[0], b[1]]))),
            "i4" => (4, |b| i32::from_le_bytes([b[0], b[1], b[2], b[3]]) as f32),
            "i8" => (8, |b| i64::from_le_bytes(b) as f32),
            _ => return None,
        };
        match order {
            "<" | ">" => Some(Element { size, big_endian: order == ">", convert }),
            "|" if size == 1 => Some(Element { size, big_endian: false, convert }),
            _ => None,
        }
    }

    fn size(&self) -> usize {
        self.size
    }

    fn read_all(&self, input: &mut impl Read, count: usize) -> io::Result<Vec<f32>> {
        let mut values = Vec::with_capacity(count);
        let mut buffer = [0; 8 << 10];
        while values.len() < count {
            let bytes = (count - values.len()).saturating_mul(self.size).min(buffer.len());
            let chunk = &mut buffer[..bytes];
            input.read_exact(chunk)?;
            values.extend(chunk.chunks_exact(self.size).map(|element| {
                let mut little = [0; 8];
                little[..self.size].copy_from_slice(element);
                if self.big_endian {
                    little[..self.size].reverse();
                }
                (self.convert)(little)
            }));
        }
        Ok(values)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A file of version 1.0.
    fn file(header: &str, elements: &[u8]) -> Vec<u8> {
        let length = (header.len() as u16).to_le_bytes();
        [MAGIC, &[1, 0][..], &length, header.as_bytes(), elements].concat()
    }

    fn fault(bytes: &[u8]) -> String {
        parse("a.npy", bytes).unwrap_err().to_string()
    }

    #[test]
    fn headers_are_read_as_python_writes_them() {
        for header in [
            "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }",
            "{\"shape\":(2L,),\"fortran_order\":False,\"descr\":\"<f4\"}   \n",
            "{ 'fortran_order' : True , 'shape' : ( 2 ) , 'descr' : '<f4' , }",
        ] {
            let array = parse("a.npy", &file(header, &[0, 0, 128, 63, 0, 0, 0, 64])).unwrap();
            assert_eq!(array, ndarray::arr1(&[1.0, 2.0]).into_dyn(), "{header}");
        }
        let scalar = "{'descr': '|u1', 'fortran_order': False, 'shape': ()}";
        assert_eq!(parse("a.npy", &file(scalar, &[7])).unwrap(), ndarray::arr0(7.0).into_dyn());
        let empty = "{'descr': '<f8', 'fortran_order': False, 'shape': (0, 5)}";
        assert_eq!(parse("a.npy", &file(empty, &[])).unwrap().shape(), [0, 5]);
    }

    #[test]
    fn a_header_cannot_claim_more_than_the_file_holds() {
        let claim = |shape: &str| {
            fault(&file(&format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}"), &[0; 8]))
        };
        let too_large = "is larger than any file";
        assert!(claim("(1000000000000,)").contains("it is cut off: the header explains 40000000000"));
        assert!(claim("(18446744073709551615,)").contains(too_large));
        assert!(claim("(4294967296, 4294967296, 4294967296)").contains(too_large));
        assert!(claim("(0, 18446744073709551615)").contains(too_large));
        assert!(claim("(184467440737095516160,)").contains("a size that fits 64 bits"));
        assert!(claim(&format!("({})", "1,".repeat(65))).contains(too_large));
        assert!(claim("(1,)").contains("the header explains 69 bytes, the file has 73"));
    }

    #[test]
    fn other_files_and_types_are_refused() {
        for (bytes, expected) in [
            (b"".to_vec(), "does not start with"),
            (b"PK\x03\x04".to_vec(), "does not start with"),
            ([MAGIC, &[9, 1, 0, 0][..]].concat(), "its format version 9.1"),
            ([MAGIC, &[2, 0, 255, 255, 255, 255][..]].concat(), "its header claims 4294967295 bytes"),
            (file("{'descr': '<c8', 'fortran_order': False, 'shape': ()}", &[]), "its elements are of type `<c8`"),
            (file("{'descr': '|O', 'fortran_order': False, 'shape': ()}", &[]), "its elements are of type `|O`"),
            (file("{'descr': '', 'fortran_order': False, 'shape': ()}", &[]), "its elements are of type ``"),
            (
                file("{'descr': [('x', '<f4'), ('y', '<f4')], 'fortran_order': False, 'shape': ()}", &[]),
                "its elements are of type `[('x', '<f4'), ('y', '<f4')]`",
            ),
            (file("{'descr': '<f4', 'fortran_order': 0, 'shape': ()}", &[]), "expected `True` or `False`"),
            (file("{'descr': '<f4', 'shape': ()}", &[]), "expected `descr`, `fortran_order` and `shape`"),
            (file("{'shape': (), 'shape': ()}", &[]), "expected `descr`, `fortran_order` and `shape`, each once"),
            (file("{'descr': '<f4", &[]), "expected the end of a string"),
            (file("{'descr': '<f4', 'fortran_order': True, 'shape': ()} x", &[]), "expected nothing more"),
            (file("", &[]), "expected `{`"),
        ] {
            assert!(fault(&bytes).contains(expected), "{} is not {expected}", fault(&bytes));
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(shape in prop::collection::vec(0usize..5, 0..5), seed: u32) {
            let mut bits = seed;
            let array = ArrayD::from_shape_simple_fn(shape, || {
                bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                f32::from_bits(bits)
            });
            let mut bytes = Vec::new();
            write(&mut bytes, array.view()).unwrap();
            prop_assert_eq!(bytes.len() % 64, array.len() * 4 % 64);
            let read = parse("a.npy", &bytes).unwrap();
            prop_assert_eq!(read.shape(), array.shape());
            prop_assert!(read.iter().zip(&array).all(|(a, b)| a.to_bits() == b.to_bits()));
        }
    }
}
