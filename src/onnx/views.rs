//! Nodes that change nothing but how numbers are looked at: their axes, their type, and what is asked of their sizes.

use super::fold::cut_shape;
use crate::dim::Dim;
use crate::op::onnx::{Arg, Attributes, Axes, Constant, Data, Import, Live, Target, Unfit};

/// What a node makes of its first operand, which the net computes; `None` for other operators.
pub fn view(op_type: &str, opset: i64, attrs: &Attributes, args: &[Arg]) -> Option<Result<Arg, Unfit>> {
    let Some(Arg::Live(live)) = args.first() else { return None };
    let view = View { op_type, opset, attrs, args, live };
    let axes = match op_type {
        "Shape" => {
            return Some(
                live.axes.dims().map_err(Unfit::from).and_then(|dims| cut_shape(attrs, &dims)).map(Arg::Known),
            );
        }
        "Size" => return Some(view.size().map(Arg::Known)),
        "Cast" | "CastLike" => view.cast(),
        "Reshape" => view.reshaped(),
        "Flatten" => view.flattened(),
        "Transpose" => view.transposed(),
        "Squeeze" => view.squeezed(),
        "Unsqueeze" => view.unsqueezed(),
        _ => return None,
    };
    Some(axes.map(|axes| Arg::Live(Live { axes, ..live.clone() })))
}

struct View<'a> {
    op_type: &'a str,
    opset: i64,
    attrs: &'a Attributes,
    args: &'a [Arg],
    live: &'a Live,
}

impl View<'_> {
    fn import(&self) -> Import<'_> {
        Import::new(self.op_type, self.opset, self.attrs, self.args, 1)
    }

    fn size(&self) -> Result<Constant, Unfit> {
        let dims = self.live.axes.dims()?;
        let product = dims.iter().try_fold(Dim::ONE, |product, dim| product.mul(dim))?;
        Ok(Constant::new(ndarray::ArrayD::from_elem(ndarray::IxDyn(&[]), product)))
    }

    fn cast(&self) -> Result<Axes, Unfit> {
        let is_float = match self.args.get(1) {
            Some(Arg::Known(like)) => matches!(like.data, Data::Floats(_) | Data::Fill(..)),
            _ => super::tensor::is_float(self.attrs.int("to", 1)?),
        };
        if !is_float {
            return Err(Unfit::new("it makes integers of the net's numbers"));
        }
        Ok(self.live.axes.clone())
    }

    /// A list of integers, from an operand or before that an attribute.
    fn list(&self, name: &str) -> Result<Option<Vec<i64>>, Unfit> {
        match self.import().known(1, name)? {
            Some(list) => list.ints().map(Some).ok_or_else(|| Unfit::new(format!("its {name} are no integers"))),
            None => Ok(self.attrs.ints(name)?.map(<[i64]>::to_vec)),
        }
    }

    fn reshaped(&self) -> Result<Axes, Unfit> {
        let import = self.import();
        let sizes = import.weight(1, "list of sizes")?;
        let sizes = sizes.to_sizes().ok_or_else(|| Unfit::new("its sizes are no integers"))?;
        let sizes: Vec<Dim> = sizes.iter().cloned().collect();
        let targets = Import::targets(&sizes, &self.live.axes, self.attrs.flag("allowzero", false)?)?;
        self.live.axes.reshaped(&targets)
    }

    fn flattened(&self) -> Result<Axes, Unfit> {
        let rank = self.live.axes.rank();
        let axis = self.attrs.int("axis", 1)?;
        let at = if axis == rank as i64 { rank } else { self.import().axis_at(axis, rank)? };
        let (front, back) = self.live.axes.0.split_at(at);
        let join = |axes: &[Vec<_>]| axes.iter().flatten().cloned().collect();
        Ok(Axes(vec![join(front), join(back)]).rejoined())
    }

    fn transposed(&self) -> Result<Axes, Unfit> {
        let rank = self.live.axes.rank();
        let order = match self.attrs.ints("perm")? {
            None => (0..rank).rev().collect(),
            Some(perm) => {
                let import = self.import();
                perm.iter().map(|&axis| import.axis_at(axis, rank)).collect::<Result<Vec<_>, _>>()?
            }
        };
        self.live.axes.permuted(&order)
    }

    fn squeezed(&self) -> Result<Axes, Unfit> {
        let axes = &self.live.axes;
        let dims = axes.dims()?;
        let gone: Vec<usize> = match self.list("axes")? {
            None => (0..axes.rank()).filter(|&at| dims[at] == Dim::ONE).collect(),
            Some(list) => {
                let import = self.import();
                list.iter().map(|&axis| import.axis_at(axis, axes.rank())).collect::<Result<Vec<_>, _>>()?
            }
        };
        if let Some(&at) = gone.iter().find(|&&at| dims[at] != Dim::ONE) {
            return Err(Unfit::new(format!("it takes away axis {at}, which is {}", dims[at])));
        }
        let sizes: Vec<Target> =
            (0..axes.rank()).filter(|at| !gone.contains(at)).map(|at| Target::Size(dims[at].clone())).collect();
        axes.reshaped(&sizes)
    }

    fn unsqueezed(&self) -> Result<Axes, Unfit> {
        let list = self.list("axes")?.ok_or_else(|| Unfit::new("its axes are missing"))?;
        let rank = self.live.axes.rank() + list.len();
        let import = self.import();
        let new = list.iter().map(|&axis| import.axis_at(axis, rank)).collect::<Result<Vec<_>, _>>()?;
        let mut old = self.live.axes.0.iter().cloned();
        Ok(Axes(
            (0..rank).map(|at| if new.contains(&at) { Vec::new() } else { old.next().unwrap_or_default() }).collect(),
        ))
    }
}
