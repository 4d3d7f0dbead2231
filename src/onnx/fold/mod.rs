//! Nodes whose operands are all known, computed when the model is read: the arithmetic on shapes that exporters leave
//! in a graph, and what they do to weights.
//!
//! Arithmetic stands in `arithmetic`. Integers are exact and may depend on the net's free sizes; floats are computed in 32 bits, as the model would.

mod arithmetic;

use std::sync::Arc;

use ndarray::{ArrayD, Axis, IxDyn};

use crate::dim::Dim;
use crate::op::onnx::constant::MAX_FILLED;
use crate::op::onnx::{Attr, Attributes, Constant, Data, Unfit};
use arithmetic::{Numbers, broadcast, views};

/// The operands of a node; `None` where one is left out.
pub type Known<'a> = [Option<&'a Constant>];

/// The results of a node; `None` for an operator that is not computed here.
///
/// # Errors
/// When its operands do not fit, or the numbers are too many.
pub fn fold(op_type: &str, attrs: &Attributes, args: &Known, outputs: usize) -> Option<Result<Vec<Constant>, Unfit>> {
    let node = Node { op_type, attrs, args };
    let one = match op_type {
        "Constant" => node.constant(),
        "ConstantOfShape" => node.filled(),
        "Shape" => node.shape(),
        "Size" => node.size(),
        "Identity" | "CastLike" => node.arg(0).cloned(),
        "Cast" => node.cast(),
        "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => node.reshaped(),
        "Transpose" => node.transposed(),
        "Gather" => node.gathered(),
        "Slice" => node.sliced(),
        "Concat" => node.joined(),
        "Expand" | "Tile" => node.spread(),
        "Split" => return Some(node.split(outputs)),
        "Range" => node.range(),
        "ReduceProd" => node.product(),
        "Where" => node.chosen(),
        "DequantizeLinear" => node.dequantised(),
        "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Mod" | "Max" | "Min" | "Equal" | "Less" | "Greater" => node.binary(),
        _ => node.unary(arithmetic::function(op_type)?),
    };
    Some(one.map(|one| vec![one]))
}

fn scalar(value: Dim) -> Constant {
    Constant::new(ArrayD::from_elem(IxDyn(&[]), value))
}

fn too_large() -> Unfit {
    Unfit::new("its numbers are too many to compute when the model is read")
}

struct Node<'a> {
    op_type: &'a str,
    attrs: &'a Attributes,
    args: &'a Known<'a>,
}

/// Does the same to floats, integers and sizes; what is only filled is filled out before.
macro_rules! each_kind {
    ($constant:expr, $array:ident => $result:expr) => {
        match &$constant.data {
            Data::Floats($array) => Data::from($result),
            Data::Ints($array) => Data::from($result),
            Data::Sizes($array) => Data::from($result),
            Data::Fill(..) => {
                let filled = $constant.to_floats().ok_or_else(too_large)?;
                let $array = &filled;
                Data::from($result)
            }
        }
    };
}

impl<'a> Node<'a> {
    fn arg(&self, at: usize) -> Result<&'a Constant, Unfit> {
        self.args.get(at).copied().flatten().ok_or_else(|| Unfit::new(format!("operand {at} is missing")))
    }

    /// A list of integers, from an operand or before that an attribute.
    fn list(&self, at: usize, name: &str) -> Result<Option<Vec<i64>>, Unfit> {
        match self.args.get(at).copied().flatten() {
            Some(list) => list.ints().map(Some).ok_or_else(|| Unfit::new(format!("its {name} are no known integers"))),
            None => Ok(self.attrs.ints(name)?.map(<[i64]>::to_vec)),
        }
    }

    fn axis(&self, axis: i64, rank: usize) -> Result<usize, Unfit> {
        let at = if axis < 0 { axis + rank as i64 } else { axis };
        usize::try_from(at).ok().filter(|&at| at < rank).ok_or_else(|| Unfit::new(format!("there is no axis {axis}")))
    }

    fn constant(&self) -> Result<Constant, Unfit> {
        let floats = |values: &[f32]| {
            Constant::new(ArrayD::from_shape_vec(IxDyn(&[values.len()]), values.to_vec()).unwrap_or_default())
        };
        let ints = |values: &[i64]| {
            Constant::new(ArrayD::from_shape_vec(IxDyn(&[values.len()]), values.to_vec()).unwrap_or_default())
        };
        if let Some(Attr::Tensor(tensor)) = self.attrs.get("value") {
            return Ok(tensor.clone());
        }
        for name in ["value_int", "value_ints", "value_float", "value_floats"] {
            match self.attrs.get(name) {
                Some(Attr::Int(value)) => return Ok(Constant::new(ArrayD::from_elem(IxDyn(&[]), *value))),
                Some(Attr::Ints(values)) => return Ok(ints(values)),
                Some(Attr::Float(value)) => return Ok(Constant::new(ArrayD::from_elem(IxDyn(&[]), *value))),
                Some(Attr::Floats(values)) => return Ok(floats(values)),
                _ => {}
            }
        }
        Err(Unfit::new("its value is of a type that no net computes with"))
    }

    fn filled(&self) -> Result<Constant, Unfit> {
        let dims = self.arg(0)?.to_sizes().ok_or_else(|| Unfit::new("its sizes are no integers"))?;
        let dims: Option<Vec<u64>> = dims.iter().map(Dim::as_u64).collect();
        let dims = dims.ok_or_else(|| Unfit::new("its sizes depend on the input's"))?;
        // An empty axis does not make the others small.
        let elements = dims.iter().try_fold(1u64, |product, &dim| product.checked_mul(dim.max(1)));
        if elements.is_none_or(|elements| elements > MAX_FILLED) {
            return Err(Unfit::new(format!("its sizes {dims:?} are more than {MAX_FILLED} numbers")));
        }
        let value = match self.attrs.get("value") {
            Some(Attr::Tensor(value)) => value.clone(),
            _ => Constant::new(ArrayD::from_elem(IxDyn(&[]), 0.0f32)),
        };
        Ok(match &value.data {
            Data::Ints(value) if elements <= Some(crate::op::onnx::constant::MAX_SIZES as u64) => {
                let dims: Vec<usize> = dims.iter().map(|&dim| dim as usize).collect();
                Constant::new(ArrayD::from_elem(IxDyn(&dims), value.first().copied().unwrap_or(0)))
            }
            _ => Constant::new(Data::Fill(dims, value.scalar().unwrap_or(0.0))),
        })
    }

    fn size(&self) -> Result<Constant, Unfit> {
        Ok(scalar(self.arg(0)?.elements().ok_or_else(too_large)?.into()))
    }

    fn shape(&self) -> Result<Constant, Unfit> {
        let dims: Vec<Dim> = self.arg(0)?.dims().into_iter().map(Dim::from).collect();
        cut_shape(self.attrs, &dims)
    }

    /// Floats and integers are told apart only where a division or a rounding does.
    fn cast(&self) -> Result<Constant, Unfit> {
        let value = self.arg(0)?;
        let to_float = crate::onnx::tensor::is_float(self.attrs.int("to", 1)?);
        let data = match (&value.data, to_float) {
            (Data::Ints(array), true) => array.mapv(|value| value as f32).into(),
            (Data::Floats(array), false) => array.mapv(|value| value as i64).into(),
            (Data::Fill(dims, number), false) => Data::Fill(dims.clone(), number.trunc()),
            _ => value.data.clone(),
        };
        Ok(Constant { name: Arc::clone(&value.name), data })
    }

    fn reshaped(&self) -> Result<Constant, Unfit> {
        let value = self.arg(0)?;
        let dims: Vec<i64> = value.dims().iter().map(|&dim| dim as i64).collect();
        let rank = dims.len();
        let to = match self.op_type {
            "Flatten" => {
                let at = self.attrs.int("axis", 1)?;
                let at = if at == rank as i64 { rank } else { self.axis(at, rank)? };
                vec![dims[..at].iter().product(), dims[at..].iter().product()]
            }
            "Reshape" => {
                let list = self.list(1, "shape")?.ok_or_else(|| Unfit::new("its sizes are missing"))?;
                let keep = !self.attrs.flag("allowzero", false)?;
                list.iter()
                    .enumerate()
                    .map(|(at, &size)| if size == 0 && keep { dims.get(at).copied().unwrap_or(0) } else { size })
                    .collect()
            }
            "Squeeze" => {
                let axes = self.list(1, "axes")?;
                let axes =
                    axes.map(|axes| axes.iter().map(|&axis| self.axis(axis, rank)).collect::<Result<Vec<_>, _>>());
                let axes = axes.transpose()?;
                let gone = |at: usize| axes.as_ref().map_or(dims[at] == 1, |axes| axes.contains(&at));
                (0..rank).filter(|&at| !gone(at)).map(|at| dims[at]).collect()
            }
            _ => {
                let axes = self.list(1, "axes")?.ok_or_else(|| Unfit::new("its axes are missing"))?;
                let whole = rank + axes.len();
                let axes = axes.iter().map(|&axis| self.axis(axis, whole)).collect::<Result<Vec<_>, _>>()?;
                let mut rest = dims.iter().copied();
                (0..whole).map(|at| if axes.contains(&at) { 1 } else { rest.next().unwrap_or(1) }).collect()
            }
        };
        let known = to.iter().filter(|&&size| size != -1).try_fold(1i64, |product, &size| product.checked_mul(size));
        let known = known.ok_or_else(too_large)?;
        let all: i64 = dims.iter().product();
        let size = |size: i64| u64::try_from(if size == -1 { all.checked_div(known).unwrap_or(0) } else { size }).ok();
        let to: Option<Vec<u64>> = to.into_iter().map(size).collect();
        to.and_then(|to| value.reshaped(&to)).ok_or_else(|| Unfit::new("its sizes are another number of elements"))
    }

    fn transposed(&self) -> Result<Constant, Unfit> {
        let value = self.arg(0)?;
        let rank = value.dims().len();
        let order = match self.attrs.ints("perm")? {
            None => (0..rank).rev().collect(),
            Some(perm) => perm.iter().map(|&axis| self.axis(axis, rank)).collect::<Result<Vec<_>, _>>()?,
        };
        let mut sorted = order.clone();
        sorted.sort_unstable();
        if !sorted.into_iter().eq(0..rank) {
            return Err(Unfit::new(format!("`perm` is no order of {rank} axes")));
        }
        Ok(value.permuted(&order))
    }

    fn gathered(&self) -> Result<Constant, Unfit> {
        let (value, indices) = (self.arg(0)?, self.arg(1)?);
        let dims = value.dims();
        let axis = self.axis(self.attrs.int("axis", 0)?, dims.len())?;
        let picked = indices.ints().ok_or_else(|| Unfit::new("its indices are no known integers"))?;
        let size = dims[axis] as i64;
        let picked: Option<Vec<usize>> = picked
            .iter()
            .map(|&at| usize::try_from(if at < 0 { at + size } else { at }).ok().filter(|&at| (at as i64) < size))
            .collect();
        let picked = picked.ok_or_else(|| Unfit::new("an index is outside its operand"))?;
        let mut to: Vec<u64> = dims[..axis].to_vec();
        to.extend(indices.dims());
        to.extend(&dims[axis + 1..]);
        bounded(&to, &[value])?;
        let data = each_kind!(value, array => array.select(Axis(axis), &picked));
        let selected = Constant { name: Arc::clone(&value.name), data };
        selected.reshaped(&to).ok_or_else(too_large)
    }

    fn sliced(&self) -> Result<Constant, Unfit> {
        let value = self.arg(0)?;
        let dims = value.dims();
        let missing = || Unfit::new("its starts or ends are missing");
        let (starts, ends) = (self.list(1, "starts")?.ok_or_else(missing)?, self.list(2, "ends")?.ok_or_else(missing)?);
        let axes = self.list(3, "axes")?.unwrap_or_else(|| (0..starts.len() as i64).collect());
        let steps = self.list(4, "steps")?.unwrap_or_else(|| vec![1; starts.len()]);
        let mut value = value.clone();
        for (((&start, &end), &axis), &step) in starts.iter().zip(&ends).zip(&axes).zip(&steps) {
            let axis = self.axis(axis, dims.len())?;
            let picked = positions(start, end, step, dims[axis] as i64)?;
            let data = each_kind!(value, array => array.select(Axis(axis), &picked));
            value = Constant { name: value.name, data };
        }
        Ok(value)
    }

    fn joined(&self) -> Result<Constant, Unfit> {
        let parts = self.all()?;
        let axis = self.axis(self.attrs.int("axis", 1)?, parts.first().map_or(0, |part| part.dims().len()))?;
        if parts.iter().any(|part| part.dims().len() != parts[0].dims().len()) {
            return Err(Unfit::new("its operands have different numbers of axes"));
        }
        let unequal = |_| Unfit::new("its operands have different sizes");
        let numbers = Numbers::of(&parts)?;
        Ok(Constant::new(match &numbers {
            Numbers::Floats(parts) => Data::from(ndarray::concatenate(Axis(axis), &views(parts)).map_err(unequal)?),
            Numbers::Ints(parts) => Data::from(ndarray::concatenate(Axis(axis), &views(parts)).map_err(unequal)?),
            Numbers::Sizes(parts) => Data::from(ndarray::concatenate(Axis(axis), &views(parts)).map_err(unequal)?),
        }))
    }

    fn all(&self) -> Result<Vec<&'a Constant>, Unfit> {
        (0..self.args.len()).map(|at| self.arg(at)).collect()
    }

    fn spread(&self) -> Result<Constant, Unfit> {
        let value = self.arg(0)?;
        let list = self.list(1, "sizes")?.ok_or_else(|| Unfit::new("its sizes are missing"))?;
        let list: Option<Vec<u64>> = list.iter().map(|&size| u64::try_from(size).ok()).collect();
        let list = list.ok_or_else(|| Unfit::new("a size is negative"))?;
        let dims = value.dims();
        if self.op_type == "Expand" {
            let to = broadcast(&dims, &list).ok_or_else(|| Unfit::new("its sizes do not broadcast"))?;
            bounded(&to, &[value])?;
            let to: Vec<usize> = to.iter().map(|&size| size as usize).collect();
            let data = each_kind!(value, array => array.broadcast(IxDyn(&to)).ok_or_else(too_large)?.to_owned());
            return Ok(Constant { name: Arc::clone(&value.name), data });
        }
        if list.len() != dims.len() {
            return Err(Unfit::new("it repeats another number of axes than its operand has"));
        }
        let to: Vec<u64> = dims.iter().zip(&list).map(|(&dim, &times)| dim.saturating_mul(times)).collect();
        bounded(&to, &[value])?;
        let mut value = value.clone();
        for (axis, &times) in list.iter().enumerate() {
            let size = dims[axis] as usize;
            let picked: Vec<usize> = (0..times).flat_map(|_| 0..size).collect();
            let data = each_kind!(value, array => array.select(Axis(axis), &picked));
            value = Constant { name: value.name, data };
        }
        Ok(value)
    }

    fn split(&self, outputs: usize) -> Result<Vec<Constant>, Unfit> {
        let value = self.arg(0)?;
        let dims = value.dims();
        let axis = self.axis(self.attrs.int("axis", 0)?, dims.len())?;
        if self.attrs.int("num_outputs", outputs as i64)? != outputs as i64 {
            return Err(Unfit::new("`num_outputs` is not the number of its results"));
        }
        let count = outputs.max(1) as u64;
        let whole = dims[axis];
        let sizes = match self.list(1, "split")? {
            Some(sizes) => sizes.iter().map(|&size| u64::try_from(size).unwrap_or(0)).collect(),
            None => (0..count)
                .map(|at| whole.div_ceil(count).min(whole.saturating_sub(at * whole.div_ceil(count))))
                .collect::<Vec<u64>>(),
        };
        let sum = sizes.iter().try_fold(0u64, |sum, &size| sum.checked_add(size));
        if sum != Some(whole) {
            return Err(Unfit::new(format!("its parts {sizes:?} are not together the {whole} positions of the axis")));
        }
        let mut start = 0u64;
        let mut parts = Vec::new();
        for size in sizes {
            let picked: Vec<usize> = (start..start + size).map(|at| at as usize).collect();
            parts.push(Constant::new(each_kind!(value, array => array.select(Axis(axis), &picked))));
            start += size;
        }
        Ok(parts)
    }

    fn range(&self) -> Result<Constant, Unfit> {
        let number = |at: usize| -> Result<f64, Unfit> {
            let value = self.arg(at)?.scalar().ok_or_else(|| Unfit::new("a bound is not one known number"))?;
            Ok(f64::from(value))
        };
        let (start, limit, delta) = (number(0)?, number(1)?, number(2)?);
        let count = ((limit - start) / delta).ceil().max(0.0);
        if !count.is_finite() || count > crate::op::onnx::constant::MAX_SIZES as f64 {
            return Err(too_large());
        }
        let values = (0..count as usize).map(|at| start + at as f64 * delta);
        Ok(match &self.arg(0)?.data {
            Data::Ints(_) | Data::Sizes(_) => {
                Constant::new(values.map(|value| value as i64).collect::<ndarray::Array1<_>>().into_dyn())
            }
            _ => Constant::new(values.map(|value| value as f32).collect::<ndarray::Array1<_>>().into_dyn()),
        })
    }

    fn product(&self) -> Result<Constant, Unfit> {
        let value = self.arg(0)?;
        let rank = value.dims().len();
        let axes = self.list(1, "axes")?;
        if axes.is_some_and(|axes| axes.len() != rank) {
            return Err(Unfit::new("it multiplies along some axes only"));
        }
        let sizes = value.to_sizes().ok_or_else(|| Unfit::new("it multiplies fractions"))?;
        let product = sizes.iter().try_fold(Dim::ONE, |product, size| product.mul(size))?;
        let keep = self.attrs.flag("keepdims", true)?;
        scalar(product).reshaped(&vec![1; if keep { rank } else { 0 }]).ok_or_else(too_large)
    }

    fn chosen(&self) -> Result<Constant, Unfit> {
        let test = self.arg(0)?.uniform().ok_or_else(|| Unfit::new("it chooses number by number"))?;
        Ok(self.arg(if test == 0.0 { 2 } else { 1 })?.clone())
    }

    /// `(x - zero) * scale`, with one scale and zero, or one for each position on an axis.
    fn dequantised(&self) -> Result<Constant, Unfit> {
        let value = self.arg(0)?;
        let mut numbers = value.to_floats().ok_or_else(too_large)?.to_owned();
        let rank = numbers.ndim();
        let axis = self.attrs.int("axis", 1)?;
        if self.attrs.int("block_size", 0)? != 0 {
            return Err(Unfit::new("its scales are for blocks"));
        }
        let spread = |of: &Constant| -> Result<ArrayD<f32>, Unfit> {
            let numbers = of.to_floats().ok_or_else(too_large)?.to_owned();
            if numbers.len() == 1 {
                return Ok(numbers.to_shape(IxDyn(&[])).map_err(|_| too_large())?.to_owned());
            }
            let axis = self.axis(axis, rank)?;
            let mut dims = vec![1; rank];
            dims[axis] = numbers.len();
            Ok(numbers.to_shape(IxDyn(&dims)).map_err(|_| too_large())?.to_owned())
        };
        let fits = |part: &ArrayD<f32>| part.broadcast(value_dims(value)).is_some();
        let scale = spread(self.arg(1)?)?;
        let zero = self.args.get(2).copied().flatten().map(spread).transpose()?;
        if !fits(&scale) || !zero.as_ref().is_none_or(fits) {
            return Err(Unfit::new("its scales do not fit its operand"));
        }
        if let Some(zero) = zero {
            numbers -= &zero;
        }
        numbers *= &scale;
        Ok(Constant { name: Arc::clone(&value.name), data: numbers.into() })
    }
}

/// A list of sizes, or the part of it that a Shape names by `start` and `end`.
///
/// # Errors
/// When these are no integers.
pub fn cut_shape(attrs: &Attributes, dims: &[Dim]) -> Result<Constant, Unfit> {
    let rank = dims.len() as i64;
    let place = |at: i64| (if at < 0 { at + rank } else { at }).clamp(0, rank) as usize;
    let (start, end) = (place(attrs.int("start", 0)?), place(attrs.int("end", rank)?));
    let part = dims.get(start..end.max(start)).unwrap_or_default().to_vec();
    Ok(Constant::new(ndarray::Array1::from(part).into_dyn()))
}

fn value_dims(value: &Constant) -> IxDyn {
    IxDyn(&value.dims().iter().map(|&dim| dim as usize).collect::<Vec<_>>())
}

/// Refuses results that are larger than what the file holds explains: than the largest operand, or a million numbers.
fn bounded(dims: &[u64], operands: &[&Constant]) -> Result<(), Unfit> {
    const SMALL: u64 = 1 << 20;
    let held = |constant: &&Constant| match constant.data {
        Data::Fill(..) => None,
        Data::Floats(_) | Data::Ints(_) | Data::Sizes(_) => constant.elements(),
    };
    let most = operands.iter().filter_map(held).fold(SMALL, u64::max);
    let elements = dims.iter().try_fold(1u64, |product, &dim| product.checked_mul(dim));
    if elements.is_some_and(|elements| elements <= most) { Ok(()) } else { Err(too_large()) }
}

/// The positions that a slice of an axis takes.
fn positions(start: i64, end: i64, step: i64, size: i64) -> Result<Vec<usize>, Unfit> {
    let place = |at: i64| if at < 0 { at.saturating_add(size) } else { at };
    let mut picked = Vec::new();
    let (mut at, end) = match step {
        0 => return Err(Unfit::new("its step is 0")),
        1.. => (place(start).clamp(0, size), place(end).clamp(0, size)),
        _ => (place(start).clamp(-1, size - 1), place(end).clamp(-1, size - 1)),
    };
    while (0 < step && at < end) || (step < 0 && at > end) {
        picked.push(at as usize);
        at = at.saturating_add(step);
    }
    Ok(picked)
}
