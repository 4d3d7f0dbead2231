//! ONNX's reductions: pooling over whole axes, with what stands before and behind it.

use super::{Extent, Function, Pool};
use crate::dim::Dim;
use crate::op::activation::Activation;
use crate::op::affine::Affine;
use crate::op::div::Div;
use crate::op::geom::Windows;
use crate::op::mul::Mul;
use crate::op::onnx::{Import, Live, Unfit};
use crate::op::permute::Permute;

/// Channels in the place of the height, and the height in theirs.
const CHANNELS_AS_HEIGHT: Permute = Permute { order: [1, 0, 2] };

/// The largest, the smallest, the mean, a sum or a norm over axes.
pub(super) fn from_onnx(node: &mut Import) -> Result<(), Unfit> {
    let x = node.live(0)?;
    let x = node.whole(&x)?;
    let (at, keep) = axes(node, x.axes.rank())?;
    let mut over = [false; 3];
    for &at in at.iter().filter(|&&at| !x.axes.0[at].is_empty()) {
        over[node.axis_of(&x, at)?] = true;
    }
    let mut made = reduced(node, &x, over, node.op_type)?;
    let mut kept = 0..;
    made.axes = x.axes.resized(&made.shape);
    made.axes.0.retain(|_| keep || !at.contains(&kept.next().unwrap_or(0)));
    node.result(made);
    Ok(())
}

/// A value divided by its norm along an axis; zeros stay zeros.
pub(super) fn unit_norm(node: &mut Import) -> Result<(), Unfit> {
    let x = node.live(0)?;
    let x = node.whole(&x)?;
    let at = node.axis_at(node.attrs.int("axis", -1)?, x.axes.rank())?;
    let mut over = [false; 3];
    over[node.axis_of(&x, at)?] = true;
    let kind = match node.attrs.int("p", 2)? {
        1 => "ReduceL1",
        2 => "ReduceL2",
        p => return Err(Unfit::new(format!("`p` = {p} is neither 1 nor 2"))),
    };
    let norm = reduced(node, &x, over, kind)?;
    let above_zero = Activation::Clip { low: 1e-12, high: f64::INFINITY };
    let norm = node.emit_one(above_zero, &[&norm], Vec::new())?;
    let norm = node.spread(&norm, &x.shape)?;
    let made = node.emit_one(Div, &[&x, &norm], Vec::new())?;
    node.result(Live { axes: x.axes, ..made });
    Ok(())
}

/// What a reduction of this kind makes of a value.
fn reduced(node: &mut Import, x: &Live, over: [bool; 3], kind: &str) -> Result<Live, Unfit> {
    let negative = Affine { scale: vec![-1.0], shift: vec![0.0] };
    let terms = match kind {
        "ReduceMin" => node.emit_one(negative.clone(), &[x], Vec::new())?,
        "ReduceSumSquare" | "ReduceL2" => node.emit_one(Mul, &[x, x], Vec::new())?,
        "ReduceL1" => node.emit_one(Activation::Abs, &[x], Vec::new())?,
        _ => x.clone(),
    };
    let largest = matches!(kind, "ReduceMax" | "ReduceMin");
    let mut made = pooled(node, &terms, over, largest)?;
    if matches!(kind, "ReduceSum" | "ReduceSumSquare" | "ReduceL1" | "ReduceL2") {
        let sizes = (0..x.shape.rank()).filter(|&axis| over[axis]).map(|axis| x.shape.0[axis].as_u64());
        let count = sizes.map(|size| size.map(|size| size as f64)).product::<Option<f64>>();
        let count = count.ok_or_else(|| Unfit::new("how many it sums depends on the input's size"))?;
        if count != 1.0 {
            made = node.emit_one(Affine { scale: vec![count], shift: vec![0.0] }, &[&made], Vec::new())?;
        }
    }
    match kind {
        "ReduceMin" => node.emit_one(negative, &[&made], Vec::new()),
        "ReduceL2" => node.emit_one(Activation::Sqrt, &[&made], Vec::new()),
        _ => Ok(made),
    }
}

/// The axes that a node reduces, and whether they are kept with one position.
fn axes(node: &Import, rank: usize) -> Result<(Vec<usize>, bool), Unfit> {
    let listed = match node.known(1, "list of axes")? {
        Some(axes) => axes.ints(),
        None => node.attrs.ints("axes")?.map(<[i64]>::to_vec),
    };
    let keep = node.attrs.flag("keepdims", true)?;
    let noop = node.attrs.flag("noop_with_empty_axes", false)?;
    let listed = listed.filter(|listed| noop || !listed.is_empty()).unwrap_or_else(|| (0..rank as i64).collect());
    let at = listed.iter().map(|&axis| node.axis_at(axis, rank)).collect::<Result<Vec<_>, _>>()?;
    Ok((at, keep))
}

/// The largest or the mean over axes of a value.
fn pooled(node: &mut Import, x: &Live, over: [bool; 3], largest: bool) -> Result<Live, Unfit> {
    let average = |count_pad| if largest { Function::Max } else { Function::Average { count_pad } };
    if x.shape.rank() != 3 {
        if !over[0] {
            return Ok(x.clone());
        }
        let mut map = x.shape.clone();
        map.0.extend([Dim::ONE, Dim::ONE]);
        let to = map.0.iter().cloned().map(Some).collect();
        let map = node.emit_one(crate::op::reshape::Reshape { to }, &[x], Vec::new())?;
        let made = pooled(node, &map, over, largest)?;
        return node.emit_one(crate::op::flatten::Flatten, &[&made], Vec::new());
    }
    let [c, h, w] = over;
    if c {
        // Both orders are the same, which brings the axes back.
        let turned = node.emit_one(CHANNELS_AS_HEIGHT, &[x], Vec::new())?;
        let made = pooled(node, &turned, [false, true, w], largest)?;
        let made = node.emit_one(CHANNELS_AS_HEIGHT, &[&made], Vec::new())?;
        return pooled(node, &made, [false, h, false], largest);
    }
    let known = |axis: usize| x.shape.0[axis].as_u64();
    let extent = match (h && x.shape.0[1] != Dim::ONE, w && x.shape.0[2] != Dim::ONE) {
        (false, false) => return Ok(x.clone()),
        (false, true) if x.shape.0[1] != Dim::ONE => known(2).map(|size| [1, size]),
        (true, false) if x.shape.0[2] != Dim::ONE => known(1).map(|size| [size, 1]),
        _ => {
            let pool = Pool { function: average(false), extent: Extent::Global };
            return node.emit_one(pool, &[x], Vec::new());
        }
    };
    let kernel = extent.ok_or_else(|| Unfit::new("it reduces an axis whose size is not known, beside another"))?;
    let windows = Windows { kernel, ..Windows::single(kernel) };
    node.emit_one(Pool { function: average(true), extent: Extent::Windows(windows) }, &[x], Vec::new())
}
