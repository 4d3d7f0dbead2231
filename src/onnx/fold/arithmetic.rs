//! Arithmetic on known numbers: element by element, broadcast as ONNX says.

use std::sync::Arc;

use ndarray::{ArcArray, ArrayD, ArrayViewD, IxDyn};

use super::{Node, bounded, too_large};
use crate::dim::Dim;
use crate::op::onnx::{Constant, Data, Unfit};

impl Node<'_> {
    pub(super) fn binary(&self) -> Result<Constant, Unfit> {
        let parts = self.all()?;
        let [first, rest @ ..] = parts.as_slice() else { return Err(Unfit::new("it has no operands")) };
        let mut result = (*first).clone();
        for part in rest {
            let to =
                broadcast(&result.dims(), &part.dims()).ok_or_else(|| Unfit::new("its operands do not broadcast"))?;
            bounded(&to, &[&result, part])?;
            let to: Vec<usize> = to.iter().map(|&size| size as usize).collect();
            let data = match Numbers::of(&[&result, part])? {
                Numbers::Floats(parts) => zipped(&to, &parts, |a, b| Ok(float_of(self.op_type, a, b)))?.into(),
                Numbers::Ints(parts) => zipped(&to, &parts, |a, b| int_of(self.op_type, a, b))?.into(),
                Numbers::Sizes(parts) => zipped(&to, &parts, |a, b| size_of(self.op_type, &a, &b))?.into(),
            };
            let name = if result.name.is_empty() { Arc::clone(&part.name) } else { result.name };
            result = Constant { name, data };
        }
        Ok(result)
    }

    pub(super) fn unary(&self, change: fn(f32) -> f32) -> Result<Constant, Unfit> {
        let value = self.arg(0)?;
        let whole = matches!(value.data, Data::Ints(_) | Data::Sizes(_));
        match self.op_type {
            "Floor" | "Ceil" | "Round" if whole => return Ok(value.clone()),
            "Neg" if whole => {
                let sizes = value.to_sizes().ok_or_else(too_large)?;
                let negated = sizes.iter().map(|size| Dim::ZERO.sub(size)).collect::<Result<Vec<_>, _>>()?;
                return Ok(Constant::new(ArrayD::from_shape_vec(sizes.raw_dim(), negated).map_err(|_| too_large())?));
            }
            _ => {}
        }
        value.map(change).ok_or_else(too_large)
    }
}

/// The function of one number that an operator is.
pub(super) fn function(op_type: &str) -> Option<fn(f32) -> f32> {
    Some(match op_type {
        "Abs" => f32::abs,
        "Ceil" => f32::ceil,
        "Exp" => f32::exp,
        "Floor" => f32::floor,
        "Log" => f32::ln,
        "Neg" => |value| -value,
        "Not" => |value| f32::from(value == 0.0),
        "Reciprocal" => f32::recip,
        "Round" => f32::round_ties_even,
        "Sqrt" => f32::sqrt,
        _ => return None,
    })
}

/// The sizes to which two tensors are broadcast.
pub(super) fn broadcast(left: &[u64], right: &[u64]) -> Option<Vec<u64>> {
    let rank = left.len().max(right.len());
    let at = |dims: &[u64], axis: usize| (axis + dims.len()).checked_sub(rank).map_or(1, |axis| dims[axis]);
    (0..rank)
        .map(|axis| match (at(left, axis), at(right, axis)) {
            (a, b) if a == b => Some(a),
            (1, b) => Some(b),
            (a, 1) => Some(a),
            _ => None,
        })
        .collect()
}

/// Tensors of one kind: floats if one has any, sizes if one depends on the input's, integers else.
pub(super) enum Numbers {
    Floats(Vec<ArcArray<f32, IxDyn>>),
    Ints(Vec<ArcArray<i64, IxDyn>>),
    Sizes(Vec<ArcArray<Dim, IxDyn>>),
}

impl Numbers {
    pub(super) fn of(parts: &[&Constant]) -> Result<Numbers, Unfit> {
        let is_sizes = |part: &&&Constant| matches!(part.data, Data::Sizes(_));
        let ints = parts.iter().map(|part| match &part.data {
            Data::Ints(array) => Some(array.clone()),
            _ => None,
        });
        if let Some(ints) = ints.collect() {
            return Ok(Numbers::Ints(ints));
        }
        // Sizes that have gone through floats and are whole are sizes still.
        if parts.iter().any(|part| is_sizes(&part))
            && let Some(sizes) = parts.iter().map(|part| part.to_sizes()).collect()
        {
            return Ok(Numbers::Sizes(sizes));
        }
        let floats: Option<_> = parts.iter().map(|part| part.to_floats()).collect();
        floats
            .map(Numbers::Floats)
            .ok_or_else(|| Unfit::new("it mixes fractions with sizes that depend on the input's"))
    }
}

/// The arrays as views.
pub(super) fn views<T>(parts: &[ArcArray<T, IxDyn>]) -> Vec<ArrayViewD<'_, T>> {
    parts.iter().map(|part| part.view()).collect()
}

/// Combines two tensors element by element, broadcast to these sizes.
fn zipped<T: Clone>(
    to: &[usize],
    parts: &[ArcArray<T, IxDyn>],
    combine: impl Fn(T, T) -> Result<T, Unfit>,
) -> Result<ArrayD<T>, Unfit> {
    let [left, right] = parts else { return Err(too_large()) };
    let (Some(left), Some(right)) = (left.broadcast(IxDyn(to)), right.broadcast(IxDyn(to))) else {
        return Err(too_large());
    };
    let results =
        left.iter().zip(right.iter()).map(|(a, b)| combine(a.clone(), b.clone())).collect::<Result<Vec<_>, _>>()?;
    ArrayD::from_shape_vec(IxDyn(to), results).map_err(|_| too_large())
}

fn float_of(op_type: &str, a: f32, b: f32) -> f32 {
    match op_type {
        "Add" => a + b,
        "Sub" => a - b,
        "Mul" => a * b,
        "Div" => a / b,
        "Pow" => a.powf(b),
        "Mod" => a - b * (a / b).floor(),
        "Max" => a.max(b),
        "Min" => a.min(b),
        "Less" => f32::from(a < b),
        "Greater" => f32::from(a > b),
        _ => f32::from(a == b),
    }
}

fn int_of(op_type: &str, a: i64, b: i64) -> Result<i64, Unfit> {
    let result = match op_type {
        "Add" => a.checked_add(b),
        "Sub" => a.checked_sub(b),
        "Mul" => a.checked_mul(b),
        "Div" => a.checked_div(b),
        "Pow" => u32::try_from(b).ok().and_then(|b| a.checked_pow(b)),
        "Mod" => a.checked_rem_euclid(b),
        "Max" => Some(a.max(b)),
        "Min" => Some(a.min(b)),
        "Less" => Some(i64::from(a < b)),
        "Greater" => Some(i64::from(a > b)),
        _ => Some(i64::from(a == b)),
    };
    result.ok_or_else(|| Unfit::new("its integers overflow, or it divides by zero"))
}

fn size_of(op_type: &str, a: &Dim, b: &Dim) -> Result<Dim, Unfit> {
    let undecided = || Unfit::new("its result depends on the input's size");
    let truth = |truth: Option<bool>| truth.map(|truth| Dim::known(i128::from(truth))).ok_or_else(undecided);
    Ok(match op_type {
        "Add" => a.add(b)?,
        "Sub" => a.sub(b)?,
        "Mul" => a.mul(b)?,
        "Div" => a.floor_div_dim(b)?,
        "Max" => Dim::max(a, b)?,
        "Min" => Dim::min(a, b)?,
        "Equal" => truth(a.equals(b))?,
        "Less" => truth(a.at_least(b).map(|least| !least))?,
        "Greater" => truth(b.at_least(a).map(|least| !least))?,
        _ => return Err(undecided()),
    })
}
