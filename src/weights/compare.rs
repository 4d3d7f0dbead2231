//! How two checkpoints differ, tensor by tensor.

use rayon::prelude::*;

use super::cast::{BLOCK, to_f64};
use super::{Checkpoint, Dtype, StoredTensor};

/// Two checkpoints, side by side.
#[derive(Clone, Debug)]
pub struct Comparison<'c> {
    /// Names with their tensors that only the first has, in its order.
    pub removed: Vec<(&'c str, &'c StoredTensor)>,
    /// Names with their tensors that only the second has, in its order.
    pub added: Vec<(&'c str, &'c StoredTensor)>,
    /// Names that both have, in the order of the first.
    pub common: Vec<Pair<'c>>,
    /// The largest error that counts as none.
    pub tolerance: f64,
}

/// Two tensors of one name.
#[derive(Clone, Debug)]
pub struct Pair<'c> {
    /// Their name.
    pub name: &'c str,
    /// The first checkpoint's.
    pub before: &'c StoredTensor,
    /// The second checkpoint's.
    pub after: &'c StoredTensor,
    /// max |before - after| / max |after|; 0 where all numbers are equal, NaN in the same places included. Infinite
    /// where it cannot be measured: NaN or infinity on one side only, or zeros after. `None` where shapes differ.
    pub error: Option<f64>,
}

impl Pair<'_> {
    /// Whether type, shape and numbers are the same, up to an error of `tolerance`.
    #[must_use]
    pub fn is_same(&self, tolerance: f64) -> bool {
        self.before.dtype() == self.after.dtype() && self.error.is_some_and(|error| error <= tolerance)
    }
}

impl Comparison<'_> {
    /// Whether both have the same names, types, shapes and numbers, up to the tolerance.
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.removed.is_empty() && self.added.is_empty() && self.common.iter().all(|pair| pair.is_same(self.tolerance))
    }
}

/// Sets two checkpoints side by side.
///
/// ```
/// use netc::weights::{Checkpoint, StoredTensor, compare};
///
/// let one = |value| {
///     let mut weights = Checkpoint::new();
///     weights.insert("w", StoredTensor::from_f32(vec![2], vec![value, 4.0]).ok_or("sizes")?);
///     Ok::<_, &str>(weights)
/// };
/// let (a, b) = (one(1.0)?, one(2.0)?);
/// let comparison = compare(&a, &b, 0.0);
/// assert_eq!(comparison.common[0].error, Some(0.25));
/// assert!(!comparison.is_same() && compare(&a, &b, 0.3).is_same());
/// # Ok::<(), &str>(())
/// ```
#[must_use]
pub fn compare<'c>(before: &'c Checkpoint, after: &'c Checkpoint, tolerance: f64) -> Comparison<'c> {
    let only = |own: &'c Checkpoint, other: &Checkpoint| {
        own.iter().filter(|(name, _)| other.get(name).is_none()).collect::<Vec<_>>()
    };
    let both: Vec<_> = before.iter().filter_map(|(name, own)| Some((name, own, after.get(name)?))).collect();
    let common = both.into_par_iter().map(|(name, before, after)| {
        let error = (before.shape() == after.shape()).then(|| error(before, after));
        Pair { name, before, after, error }
    });
    Comparison { removed: only(before, after), added: only(after, before), common: common.collect(), tolerance }
}

fn error(a: &StoredTensor, b: &StoredTensor) -> f64 {
    let (bytes_a, bytes_b) = (a.bytes(), b.bytes());
    if a.dtype() == b.dtype() && bytes_a == bytes_b {
        return 0.0;
    }
    // Integers of 64 bits differ by less than an f64 resolves.
    if (a.dtype(), b.dtype()) == (Dtype::I64, Dtype::I64) {
        let pairs = bytes_a.as_chunks().0.iter().zip(bytes_b.as_chunks().0);
        let pairs = pairs.map(|(&a, &b)| (i64::from_le_bytes(a), i64::from_le_bytes(b)));
        return ratio(pairs.map(|(a, b)| (a.abs_diff(b) as f64, b as f64)));
    }
    let blocks = |tensor: &StoredTensor| BLOCK * tensor.dtype().size();
    let pairs = bytes_a
        .chunks(blocks(a))
        .zip(bytes_b.chunks(blocks(b)))
        .flat_map(|(block_a, block_b)| to_f64(a.dtype(), block_a).into_iter().zip(to_f64(b.dtype(), block_b)));
    ratio(pairs.map(|(a, b)| (difference(a, b), b)))
}

/// |a - b|; 0 for what is the same without being a number, infinite where only one side is.
fn difference(a: f64, b: f64) -> f64 {
    if a == b || a.is_nan() && b.is_nan() {
        return 0.0;
    }
    let distance = (a - b).abs();
    if distance.is_nan() { f64::INFINITY } else { distance }
}

/// The largest difference by the largest finite number.
fn ratio(pairs: impl Iterator<Item = (f64, f64)>) -> f64 {
    let (difference, largest) = pairs.fold((0.0f64, 0.0f64), |(difference, largest), (by, value)| {
        (difference.max(by), if value.is_finite() { largest.max(value.abs()) } else { largest })
    });
    if difference == 0.0 { 0.0 } else { difference / largest }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::Bytes;
    use super::*;

    fn floats(values: &[f32]) -> StoredTensor {
        StoredTensor::from_f32(vec![values.len() as u64], values.to_vec()).unwrap()
    }

    fn longs(values: &[i64]) -> StoredTensor {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        StoredTensor::new(Dtype::I64, vec![values.len() as u64], Bytes::from(bytes)).unwrap()
    }

    #[test]
    fn the_error_is_relative_to_the_largest_number_behind() {
        assert_eq!(error(&floats(&[1.0, 4.0]), &floats(&[1.5, -8.0])), 12.0 / 8.0);
        assert_eq!(error(&floats(&[]), &floats(&[])), 0.0);
        assert_eq!(error(&floats(&[0.0]), &floats(&[-0.0])), 0.0);
        let long = vec![1.0; BLOCK + 5];
        let mut other = long.clone();
        other[BLOCK + 4] = 2.0;
        assert_eq!(error(&floats(&long), &floats(&other)), 0.5);
    }

    #[test]
    fn what_cannot_be_measured_is_infinitely_far() {
        assert_eq!(error(&floats(&[1.0]), &floats(&[0.0])), f64::INFINITY);
        assert_eq!(error(&floats(&[f32::NAN, 1.0]), &floats(&[1.0, 1.0])), f64::INFINITY);
        assert_eq!(error(&floats(&[1.0, 1.0]), &floats(&[f32::INFINITY, 1.0])), f64::INFINITY);
        assert_eq!(error(&floats(&[f32::NAN, 1.0]), &floats(&[f32::NAN, 2.0])), 0.5);
        assert_eq!(error(&floats(&[f32::INFINITY, 1.0]), &floats(&[f32::INFINITY, 2.0])), 0.5);
    }

    #[test]
    fn integers_are_compared_exactly() {
        let large = (1 << 60) + 1;
        assert!(error(&longs(&[large]), &longs(&[large - 1])) > 0.0);
        assert_eq!(error(&longs(&[i64::MIN]), &longs(&[i64::MAX])), 2.0);
    }

    #[test]
    fn names_types_and_shapes_count() {
        let with = |entries: &[(&str, StoredTensor)]| {
            let mut checkpoint = Checkpoint::new();
            entries.iter().for_each(|(name, tensor)| assert!(checkpoint.insert(*name, tensor.clone())));
            checkpoint
        };
        let a = with(&[("x", floats(&[1.0])), ("gone", floats(&[1.0])), ("n", longs(&[3])), ("s", floats(&[1.0]))]);
        let b = with(&[("n", floats(&[3.0])), ("x", floats(&[1.0])), ("s", floats(&[1.0, 2.0])), ("new", longs(&[]))]);
        let found = compare(&a, &b, 0.0);
        let names = |entries: &[(&str, &StoredTensor)]| entries.iter().map(|e| e.0.to_owned()).collect::<Vec<_>>();
        assert_eq!((names(&found.removed), names(&found.added)), (vec!["gone".into()], vec!["new".into()]));
        let common: Vec<_> = found.common.iter().map(|pair| (pair.name, pair.error, pair.is_same(1.0))).collect();
        assert_eq!(common, [("x", Some(0.0), true), ("n", Some(0.0), false), ("s", None, false)]);
        assert!(!found.is_same() && compare(&a, &a, 0.0).is_same());
    }
}
