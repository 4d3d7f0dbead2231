//! What numbers a tensor has.

use super::StoredTensor;
use super::cast::{BLOCK, to_f64};

/// Figures of a tensor's numbers; NaN and infinity are only counted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Statistics {
    /// The smallest finite number; `None`, as below, where there is none.
    pub min: Option<f64>,
    /// The largest finite number.
    pub max: Option<f64>,
    /// The mean of the finite numbers.
    pub mean: Option<f64>,
    /// The root of their mean squared distance from the mean.
    pub std: Option<f64>,
    /// How many are NaN.
    pub nan: u64,
    /// How many are infinite, of either sign.
    pub infinite: u64,
}

/// Figures of the numbers of a tensor, summed as `f64` in their order.
///
/// ```
/// use netc::weights::{StoredTensor, statistics};
///
/// let tensor = StoredTensor::from_f32(vec![4], vec![1.0, 3.0, f32::NAN, 1.0]).ok_or("sizes")?;
/// let found = statistics(&tensor);
/// assert_eq!((found.min, found.max, found.nan), (Some(1.0), Some(3.0), 1));
/// assert_eq!(found.mean, Some(5.0 / 3.0));
/// # Ok::<(), &str>(())
/// ```
#[must_use]
pub fn statistics(tensor: &StoredTensor) -> Statistics {
    let (dtype, bytes) = (tensor.dtype(), tensor.bytes());
    let each = |take: &mut dyn FnMut(&[f64])| {
        bytes.chunks(BLOCK * dtype.size()).for_each(|block| take(&to_f64(dtype, block)));
    };
    let (mut count, mut sum, mut nan) = (0u64, 0.0, 0);
    let (mut min, mut max) = (f64::INFINITY, f64::NEG_INFINITY);
    each(&mut |block| {
        nan += block.iter().filter(|value| value.is_nan()).count() as u64;
        for value in block.iter().filter(|value| value.is_finite()) {
            (min, max) = (min.min(*value), max.max(*value));
            count += 1;
            sum += value;
        }
    });
    let n = count as f64;
    let mean = sum / n;
    let mut squares = 0.0;
    each(&mut |block| {
        squares += block.iter().filter(|value| value.is_finite()).map(|value| (value - mean).powi(2)).sum::<f64>();
    });
    let known = |value: f64| (0 < count).then_some(value);
    Statistics {
        min: known(min),
        max: known(max),
        mean: known(mean),
        std: known((squares / n).sqrt()),
        nan,
        infinite: tensor.len() as u64 - count - nan,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{Bytes, Dtype};
    use super::*;

    #[test]
    fn figures_over_several_blocks() {
        let n = 3 * BLOCK + 1;
        let found = statistics(&StoredTensor::from_f32(vec![n as u64], (0..n).map(|v| v as f32).collect()).unwrap());
        let last = (n - 1) as f64;
        assert_eq!((found.min, found.max, found.mean), (Some(0.0), Some(last), Some(last / 2.0)));
        // Of 0, 1, …, n - 1.
        let std = ((n as f64).powi(2) / 12.0 - 1.0 / 12.0).sqrt();
        assert!((found.std.unwrap() - std).abs() < 1e-9 * std);
    }

    #[test]
    fn what_is_not_finite_is_counted_apart() {
        let values = vec![f32::NAN, 2.0, f32::INFINITY, f32::NEG_INFINITY, 2.0];
        let found = statistics(&StoredTensor::from_f32(vec![5], values).unwrap());
        assert_eq!((found.nan, found.infinite), (1, 2));
        assert_eq!((found.min, found.mean, found.std), (Some(2.0), Some(2.0), Some(0.0)));
    }

    #[test]
    fn where_nothing_is_finite_there_are_no_figures() {
        let none = Statistics { min: None, max: None, mean: None, std: None, nan: 0, infinite: 0 };
        assert_eq!(statistics(&StoredTensor::from_f32(vec![0, 3], vec![]).unwrap()), none);
        let nan = StoredTensor::from_f32(vec![], vec![f32::NAN]).unwrap();
        assert_eq!(statistics(&nan), Statistics { nan: 1, ..none });
    }

    #[test]
    fn integers_have_figures_too() {
        let bytes = Bytes::from([-3i64, 5].iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>());
        let found = statistics(&StoredTensor::new(Dtype::I64, vec![2], bytes).unwrap());
        assert_eq!((found.min, found.max, found.mean, found.std), (Some(-3.0), Some(5.0), Some(1.0), Some(4.0)));
    }
}
