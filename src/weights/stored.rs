//! One tensor as a checkpoint has it.

use std::borrow::Cow;
use std::fmt;

use half::slice::HalfFloatSliceExt;

use crate::kernel::map::{Bytes, as_f32};

/// More axes than this are refused in files, so that shapes shared by many tensors cost no memory to speak of.
pub(super) const MAX_RANK: usize = 16;

/// The type of a stored tensor's numbers; all are little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dtype {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary16.
    F16,
    /// The upper half of a binary32.
    BF16,
    /// IEEE 754 binary64.
    F64,
    /// Signed 64-bit integer.
    I64,
    /// Signed 32-bit integer.
    I32,
    /// Signed 16-bit integer.
    I16,
    /// Signed 8-bit integer.
    I8,
    /// Unsigned 8-bit integer.
    U8,
    /// A byte, false where it is 0.
    Bool,
}

impl Dtype {
    /// Every type, in the order of the declaration.
    pub const ALL: [Dtype; 10] = [
        Dtype::F32,
        Dtype::F16,
        Dtype::BF16,
        Dtype::F64,
        Dtype::I64,
        Dtype::I32,
        Dtype::I16,
        Dtype::I8,
        Dtype::U8,
        Dtype::Bool,
    ];

    /// Bytes of one number.
    #[must_use]
    pub fn size(self) -> usize {
        match self {
            Dtype::F64 | Dtype::I64 => 8,
            Dtype::F32 | Dtype::I32 => 4,
            Dtype::F16 | Dtype::BF16 | Dtype::I16 => 2,
            Dtype::I8 | Dtype::U8 | Dtype::Bool => 1,
        }
    }

    /// The name in the safetensors format.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Dtype::F32 => "F32",
            Dtype::F16 => "F16",
            Dtype::BF16 => "BF16",
            Dtype::F64 => "F64",
            Dtype::I64 => "I64",
            Dtype::I32 => "I32",
            Dtype::I16 => "I16",
            Dtype::I8 => "I8",
            Dtype::U8 => "U8",
            Dtype::Bool => "BOOL",
        }
    }

    /// Whether its numbers are floating ones.
    #[must_use]
    pub fn is_float(self) -> bool {
        match self {
            Dtype::F32 | Dtype::F16 | Dtype::BF16 | Dtype::F64 => true,
            Dtype::I64 | Dtype::I32 | Dtype::I16 | Dtype::I8 | Dtype::U8 | Dtype::Bool => false,
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Dtype> {
        Dtype::ALL.into_iter().find(|dtype| dtype.name() == name)
    }

    pub(super) fn list() -> String {
        Dtype::ALL.map(Dtype::name).join(", ")
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A tensor in a checkpoint: type, shape and a window on the file's bytes.
///
/// Numbers are in row-major order unless strides say otherwise. The bytes reach at least to the last number that shape
/// and strides can name, and no tensor has more numbers than its bytes hold: both are established when it is made.
#[derive(Clone, Debug)]
pub struct StoredTensor {
    dtype: Dtype,
    shape: Vec<u64>,
    data: Bytes,
    strides: Option<Vec<usize>>,
}

/// A stored number that is NaN or infinite once it is an `f32`.
#[derive(Clone, Debug, PartialEq)]
pub struct NonFinite {
    /// The tensor's name.
    pub name: String,
    /// Where the first such number is, one index for each axis.
    pub index: Vec<u64>,
    /// NaN, inf or -inf.
    pub value: f32,
    /// How many there are.
    pub count: u64,
}

impl StoredTensor {
    /// A tensor in row-major order over the whole of `data`; `None` where shape and length disagree.
    #[must_use]
    pub fn new(dtype: Dtype, shape: Vec<u64>, data: Bytes) -> Option<StoredTensor> {
        let bytes = element_count(&shape)?.checked_mul(dtype.size())?;
        (bytes == data.len()).then_some(StoredTensor { dtype, shape, data, strides: None })
    }

    /// A tensor of `f32` in row-major order; `None` where shape and length disagree.
    #[must_use]
    pub fn from_f32(shape: Vec<u64>, values: Vec<f32>) -> Option<StoredTensor> {
        StoredTensor::new(Dtype::F32, shape, Bytes::from(values))
    }

    /// A window on `storage`, whose number `offset` is the tensor's first; strides count numbers.
    ///
    /// `None` where it reaches beyond the storage or has more numbers than the storage (a broadcast view).
    pub(super) fn view(
        dtype: Dtype,
        shape: Vec<u64>,
        strides: &[u64],
        offset: u64,
        storage: &Bytes,
    ) -> Option<StoredTensor> {
        let size = dtype.size();
        let count = element_count(&shape)?;
        if strides.len() != shape.len() || count > storage.len() / size {
            return None;
        }
        if count == 0 {
            return StoredTensor::new(dtype, shape, storage.slice(0..0)?);
        }
        let mut last = 0u64;
        for (&n, &stride) in shape.iter().zip(strides) {
            last = last.checked_add((n - 1).checked_mul(stride)?)?;
        }
        let start = usize::try_from(offset).ok()?.checked_mul(size)?;
        let len = usize::try_from(last).ok()?.checked_add(1)?.checked_mul(size)?;
        let data = storage.slice(start..start.checked_add(len)?)?;
        if is_row_major(&shape, strides) {
            return StoredTensor::new(dtype, shape, data);
        }
        // An axis of one number may have any stride, even one that does not fit; it is never multiplied by more than 0.
        let strides = shape.iter().zip(strides).map(|(&n, &s)| if n == 1 { Ok(0) } else { usize::try_from(s) });
        Some(StoredTensor { dtype, data, strides: Some(strides.collect::<Result<_, _>>().ok()?), shape })
    }

    /// Gives memory of a mapped file back to the system until the numbers are next looked at; see [`Bytes::release`].
    pub fn release(&self) {
        self.data.release();
    }

    /// The type of its numbers.
    #[must_use]
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Its size along each axis; empty for a scalar.
    #[must_use]
    pub fn shape(&self) -> &[u64] {
        &self.shape
    }

    /// How many numbers it has.
    #[must_use]
    pub fn len(&self) -> usize {
        element_count(&self.shape).unwrap_or(0)
    }

    /// Whether it has no numbers at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its numbers as bytes in row-major order: borrowed unless it is a view with strides.
    #[must_use]
    pub fn bytes(&self) -> Cow<'_, [u8]> {
        match &self.strides {
            None => Cow::Borrowed(&self.data),
            Some(strides) => Cow::Owned(gather(&self.data, self.dtype.size(), &self.shape, strides)),
        }
    }

    /// Its numbers in row-major order, rounded to the nearest `f32`.
    ///
    /// Borrowed, without a copy, where they are stored that way and aligned. `F64` beyond the range of `f32` becomes
    /// infinite; `BOOL` becomes 0 or 1.
    #[must_use]
    pub fn to_f32(&self) -> Cow<'_, [f32]> {
        match self.bytes() {
            Cow::Borrowed(bytes) => match as_f32(bytes) {
                Some(floats) if self.dtype == Dtype::F32 => Cow::Borrowed(floats),
                Some(_) | None => Cow::Owned(convert(self.dtype, bytes)),
            },
            Cow::Owned(bytes) => Cow::Owned(convert(self.dtype, &bytes)),
        }
    }

    /// Its first NaN or infinity as an `f32`, if there is one; `name` goes into the answer.
    #[must_use]
    pub fn non_finite(&self, name: &str) -> Option<NonFinite> {
        /// Numbers that are looked at without a branch.
        const BLOCK: usize = 1024;
        if !self.dtype.is_float() {
            return None;
        }
        let values = self.to_f32();
        let is_sound = |block: &[f32]| block.iter().fold(true, |sound, v| sound & v.is_finite());
        let block = values.chunks(BLOCK).position(|block| !is_sound(block))? * BLOCK;
        let first = block + values[block..].iter().position(|v| !v.is_finite())?;
        let count = values[first..].iter().filter(|v| !v.is_finite()).count() as u64;
        Some(NonFinite { name: name.to_owned(), index: self.index_of(first), value: values[first], count })
    }

    /// Where the number is that stands at this place in row-major order, one index for each axis.
    pub(super) fn index_of(&self, place: usize) -> Vec<u64> {
        let mut rest = place as u64;
        let mut index = vec![0; self.shape.len()];
        for (axis, &n) in self.shape.iter().enumerate().rev() {
            index[axis] = rest % n;
            rest /= n;
        }
        index
    }
}

/// The product of the sizes, if it can be counted.
pub(super) fn element_count(shape: &[u64]) -> Option<usize> {
    // A zero anywhere makes an empty tensor, however large the other sizes.
    if shape.contains(&0) {
        return Some(0);
    }
    shape.iter().try_fold(1usize, |product, &n| product.checked_mul(usize::try_from(n).ok()?))
}

fn is_row_major(shape: &[u64], strides: &[u64]) -> bool {
    let mut expected = 1;
    shape.iter().zip(strides).rev().all(|(&n, &stride)| {
        let fits = n == 1 || stride == expected;
        expected *= n;
        fits
    })
}

/// Copies the numbers of `size` bytes each that shape and strides name into row-major order.
fn gather(data: &[u8], size: usize, shape: &[u64], strides: &[usize]) -> Vec<u8> {
    let count = element_count(shape).unwrap_or(0);
    let mut bytes = Vec::with_capacity(count * size);
    let mut index = vec![0u64; shape.len()];
    let mut at = 0;
    for _ in 0..count {
        bytes.extend_from_slice(&data[at * size..(at + 1) * size]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            at += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
            at -= strides[axis] * shape[axis] as usize;
        }
    }
    bytes
}

fn convert(dtype: Dtype, bytes: &[u8]) -> Vec<f32> {
    fn each<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        bytes.as_chunks::<N>().0.iter().map(|&chunk| number(chunk)).collect()
    }
    match dtype {
        Dtype::F32 => each(bytes, f32::from_le_bytes),
        Dtype::F64 => each(bytes, |b| f64::from_le_bytes(b) as f32),
        Dtype::I64 => each(bytes, |b| i64::from_le_bytes(b) as f32),
        Dtype::I32 => each(bytes, |b| i32::from_le_bytes(b) as f32),
        Dtype::I16 => each(bytes, |b| f32::from(i16::from_le_bytes(b))),
        Dtype::I8 => each(bytes, |b| f32::from(i8::from_le_bytes(b))),
        Dtype::U8 => each(bytes, |[b]| f32::from(b)),
        Dtype::Bool => each(bytes, |[b]| f32::from(u8::from(b != 0))),
        Dtype::BF16 => each(bytes, |b| half::bf16::from_le_bytes(b).to_f32()),
        Dtype::F16 => {
            let halves: Vec<half::f16> = bytes.as_chunks().0.iter().map(|&b| half::f16::from_le_bytes(b)).collect();
            let mut floats = vec![0.0; halves.len()];
            halves.convert_to_f32_slice(&mut floats);
            floats
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn stored(dtype: Dtype, bytes: Vec<u8>) -> StoredTensor {
        let n = (bytes.len() / dtype.size()) as u64;
        StoredTensor::new(dtype, vec![n], Bytes::from(bytes)).unwrap()
    }

    fn le<const N: usize, T>(values: &[T], to: impl Fn(&T) -> [u8; N]) -> Vec<u8> {
        values.iter().flat_map(to).collect()
    }

    #[test]
    fn every_type_becomes_f32() {
        let check =
            |dtype, bytes, expected: &[f32]| assert_eq!(&stored(dtype, bytes).to_f32()[..], expected, "{dtype}");
        check(Dtype::F32, le(&[1.5f32, -2.0], |v| v.to_le_bytes()), &[1.5, -2.0]);
        check(Dtype::F64, le(&[0.1f64, 1e300], |v| v.to_le_bytes()), &[0.1, f32::INFINITY]);
        check(Dtype::F16, vec![0x00, 0x3c, 0xff, 0x7b, 0x01, 0x00], &[1.0, 65504.0, 2f32.powi(-24)]);
        check(Dtype::BF16, vec![0x80, 0x3f, 0x49, 0x40], &[1.0, 3.140625]);
        check(Dtype::I64, le(&[-3i64, 1 << 40], |v| v.to_le_bytes()), &[-3.0, 1_099_511_627_776.0]);
        check(Dtype::I32, le(&[i32::MIN], |v| v.to_le_bytes()), &[-2_147_483_648.0]);
        check(Dtype::I16, le(&[-2i16], |v| v.to_le_bytes()), &[-2.0]);
        check(Dtype::I8, vec![0xff, 0x7f], &[-1.0, 127.0]);
        check(Dtype::U8, vec![0xff, 0], &[255.0, 0.0]);
        check(Dtype::Bool, vec![0, 1, 2], &[0.0, 1.0, 1.0]);
    }

    #[test]
    fn f32_is_borrowed_where_aligned_and_copied_where_not() {
        let bytes = Bytes::from(vec![1.0f32, 2.0, 3.0]);
        let aligned = StoredTensor::new(Dtype::F32, vec![2], bytes.slice(4..12).unwrap()).unwrap();
        assert!(matches!(aligned.to_f32(), Cow::Borrowed(&[2.0, 3.0])));
        let skewed = StoredTensor::new(Dtype::F32, vec![2], bytes.slice(1..9).unwrap()).unwrap();
        assert!(matches!(skewed.to_f32(), Cow::Owned(_)));
    }

    #[test]
    fn shape_and_length_must_agree() {
        let data = || Bytes::from(vec![0u8; 24]);
        assert!(StoredTensor::new(Dtype::F32, vec![2, 3], data()).is_some());
        assert!(StoredTensor::new(Dtype::F32, vec![2, 2], data()).is_none());
        assert!(StoredTensor::new(Dtype::F32, vec![u64::MAX, 2], data()).is_none());
        let empty = StoredTensor::new(Dtype::F32, vec![u64::MAX, 9, 0], Bytes::from(vec![0u8; 0])).unwrap();
        assert!(empty.is_empty() && empty.to_f32().is_empty());
        assert!(StoredTensor::new(Dtype::F32, vec![], Bytes::from(vec![0u8; 4])).is_some());
    }

    #[test]
    fn views_stay_inside_their_storage() {
        let storage = Bytes::from((0..6).map(|v| v as f32).collect::<Vec<f32>>());
        let view = |shape: &[u64], strides: &[u64], offset| {
            StoredTensor::view(Dtype::F32, shape.to_vec(), strides, offset, &storage).map(|t| t.to_f32().into_owned())
        };
        assert_eq!(view(&[3, 2], &[1, 3], 0).unwrap(), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert_eq!(view(&[2], &[2], 3).unwrap(), [3.0, 5.0]);
        assert_eq!(view(&[1, 2], &[u64::MAX, 1], 4).unwrap(), [4.0, 5.0]);
        assert_eq!(view(&[2, 1, 2], &[3, u64::MAX, 1], 1).unwrap(), [1.0, 2.0, 4.0, 5.0]);
        assert_eq!(view(&[0, 7], &[9, 9], 99).unwrap(), [0.0; 0]);
        assert!(view(&[2], &[3], 3).is_none());
        assert!(view(&[2], &[u64::MAX], 0).is_none());
        assert!(view(&[2, 2], &[u64::MAX, u64::MAX], 0).is_none());
        assert!(view(&[1], &[1], u64::MAX).is_none());
        assert!(view(&[7], &[0], 0).is_none());
        assert!(view(&[2, 2], &[1], 0).is_none());
    }

    #[test]
    fn the_first_number_that_is_not_finite_is_named() {
        let mut values = vec![0.0f32; 24];
        values[17] = f32::NAN;
        values[20] = f32::INFINITY;
        let tensor = StoredTensor::from_f32(vec![2, 3, 4], values).unwrap();
        let found = tensor.non_finite("w").unwrap();
        assert_eq!((found.index, found.count, found.value.is_nan()), (vec![1, 1, 1], 2, true));
        assert_eq!(stored(Dtype::F64, 1e300f64.to_le_bytes().to_vec()).non_finite("w").unwrap().value, f32::INFINITY);
        assert_eq!(StoredTensor::from_f32(vec![2], vec![1.0, f32::MAX]).unwrap().non_finite("w"), None);
    }

    proptest! {
        #[test]
        fn gathering_a_permuted_view_is_indexing(
            sizes in proptest::collection::vec(1u64..4, 1..5),
            seed in any::<u64>(),
        ) {
            let count = sizes.iter().product::<u64>();
            let storage = Bytes::from((0..count).map(|v| v as f32).collect::<Vec<f32>>());
            let mut row_major = vec![1u64; sizes.len()];
            for axis in (0..sizes.len() - 1).rev() {
                row_major[axis] = row_major[axis + 1] * sizes[axis + 1];
            }
            let mut order: Vec<usize> = (0..sizes.len()).collect();
            order.sort_by_key(|&axis| seed.rotate_left(axis as u32 * 16) & 0xffff);
            let shape: Vec<u64> = order.iter().map(|&a| sizes[a]).collect();
            let strides: Vec<u64> = order.iter().map(|&a| row_major[a]).collect();
            let tensor = StoredTensor::view(Dtype::F32, shape.clone(), &strides, 0, &storage).unwrap();
            for (flat, &value) in tensor.to_f32().iter().enumerate() {
                let mut rest = flat as u64;
                let mut at = 0;
                for axis in (0..shape.len()).rev() {
                    at += rest % shape[axis] * strides[axis];
                    rest /= shape[axis];
                }
                prop_assert_eq!(value, at as f32);
            }
        }
    }
}
