//! The numbers of an optimised graph's parameters, from the tensors of a checkpoint.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{Norm, Source};
use crate::weights::StoredTensor;

/// The tensors of a checkpoint by name.
pub type Tensors<'a> = BTreeMap<&'a str, StoredTensor>;

/// The tensor that a source stands for, as 32 bit floats; `None` where the checkpoint lacks one.
pub fn resolve(source: &Source, tensors: &Tensors) -> Option<StoredTensor> {
    match source {
        Source::Stored { name, .. } => {
            let tensor = tensors.get(name.as_str())?;
            match tensor.to_f32() {
                Cow::Borrowed(_) => Some(tensor.clone()),
                Cow::Owned(values) => StoredTensor::from_f32(tensor.shape().to_vec(), values),
            }
        }
        Source::Scaled { weight, axis, norm } => {
            let weight = resolve(weight, tensors)?;
            let (scale, _, _) = norm_terms(norm, tensors)?;
            let sizes = weight.shape().to_vec();
            let inner: u64 = sizes[axis + 1..].iter().product();
            let mut values = weight.to_f32().into_owned();
            for (at, block) in values.chunks_mut(usize::try_from(inner).ok()?.max(1)).enumerate() {
                let factor = scale[at % scale.len()];
                block.iter_mut().for_each(|value| *value = (f64::from(*value) * factor) as f32);
            }
            StoredTensor::from_f32(sizes, values)
        }
        Source::Shifted { bias, norm } => {
            let (scale, shift, mean) = norm_terms(norm, tensors)?;
            let bias = match bias {
                Some(bias) => Some(resolve(bias, tensors)?.to_f32().into_owned()),
                None => None,
            };
            let values = (0..scale.len())
                .map(|c| {
                    let bias = bias.as_ref().map_or(0.0, |bias| f64::from(bias[c]));
                    ((bias - mean[c]) * scale[c] + shift[c]) as f32
                })
                .collect();
            StoredTensor::from_f32(vec![norm.channels], values)
        }
    }
}

/// Scale, shift and mean of a batch norm, for each channel, in `f64` so that folding rounds once.
pub(crate) fn norm_terms(norm: &Norm, tensors: &Tensors) -> Option<(Vec<f64>, Vec<f64>, Vec<f64>)> {
    let get = |leaf: &str| -> Option<Vec<f64>> {
        let tensor = tensors.get(format!("{}.{leaf}", norm.path).as_str())?;
        Some(tensor.to_f32().iter().map(|&value| f64::from(value)).collect())
    };
    let (mean, variance) = (get("running_mean")?, get("running_var")?);
    let gamma = if norm.affine { get("weight")? } else { vec![1.0; mean.len()] };
    let shift = if norm.affine { get("bias")? } else { vec![0.0; mean.len()] };
    let scale = gamma.iter().zip(&variance).map(|(gamma, variance)| gamma / (variance + norm.eps).sqrt()).collect();
    Some((scale, shift, mean))
}
