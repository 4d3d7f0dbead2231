//! What ONNX's Resize and Upsample say, in our words, and what PyTorch has for it.

use super::{Mode, Target, Upsample};
use crate::dim::Dim;
use crate::op::onnx::{Attr, Axes, Export, Import, Live, Unfit};
use crate::op::pytorch::{Expr, Helper, Py, PyTorch};

/// The sizes that a node resamples to, and the factors where it gives these.
pub(super) fn resize_target(node: &mut Import, x: &Live) -> Result<(Target, Option<[f32; 2]>), Unfit> {
    let nearest = node.attrs.text("mode", "nearest")? == "nearest";
    let attribute = node.attrs.get("scales").cloned();
    if let Some(Attr::Floats(scales)) = attribute {
        return factors(x, &scales, &[], nearest);
    }
    let listed = node.attrs.ints("axes")?.map(<[i64]>::to_vec).unwrap_or_default();
    let axes = listed.iter().map(|&axis| node.axis_at(axis, x.axes.rank())).collect::<Result<Vec<_>, _>>()?;
    let scales_at = if node.op_type == "Upsample" || node.opset < 11 { 1 } else { 2 };
    if let Some(scales) = node.known(scales_at, "list of factors")?.filter(|scales| scales.elements() != Some(0)) {
        let scales: Vec<f32> = scales.to_floats().map(|scales| scales.iter().copied().collect()).unwrap_or_default();
        return factors(x, &scales, &axes, nearest);
    }
    let sizes = node.weight(3, "list of sizes")?;
    let sizes = sizes.to_sizes().ok_or_else(|| Unfit::new("its sizes are no integers"))?;
    let own = x.axes.dims()?;
    let mut target = [x.shape.0[1].clone(), x.shape.0[2].clone()];
    for (at, size) in sizes.iter().enumerate() {
        let at = if axes.is_empty() { at } else { *axes.get(at).unwrap_or(&usize::MAX) };
        if own.get(at) != Some(size) {
            target[spatial(node.axis_of(x, at.min(own.len() - 1))?)?] = size.clone();
        }
    }
    Ok((Target::Size(target), None))
}

/// Axes of one position get more of them, as a value is spread over another.
pub(super) fn expand(node: &mut Import) -> Result<(), Unfit> {
    let x = node.live(0)?;
    let sizes = node.weight(1, "list of sizes")?.to_sizes();
    let sizes = sizes.ok_or_else(|| Unfit::new("its sizes are no integers"))?;
    let dims = x.axes.dims()?;
    let surplus = dims.len().checked_sub(sizes.len()).ok_or_else(|| Unfit::new("it adds axes"))?;
    let grows = |at: usize| at.checked_sub(surplus).is_some_and(|at| sizes[at] != Dim::ONE && sizes[at] != dims[at + surplus]);
    if !(0..dims.len()).any(grows) {
        node.result(x);
        return Ok(());
    }
    if x.axes.batch().is_some() && grows(0) {
        return Err(Unfit::new("it repeats the net's numbers across the batch"));
    }
    let (map, rank) = if dims.len() == 2 { (node.settled(&x)?, 2) } else { node.as_map(&x)? };
    let mut to = map.shape.clone();
    let first = usize::from(map.axes.batch().is_some());
    for at in (0..dims.len()).filter(|&at| grows(at)) {
        // A tensor with three axes has a height of one that it does not show.
        let axis = if rank == 3 && at == 2 { 2 } else { at - first };
        let size = to.0.get_mut(axis).filter(|_| dims[at] == Dim::ONE);
        *size.ok_or_else(|| Unfit::new("it repeats the net's numbers"))? = sizes[at - surplus].clone();
    }
    let made = node.spread(&map, &to)?;
    let made = Live { axes: Axes::plain(map.axes.batch(), &made.shape), ..made };
    if rank == 2 { node.result(made) } else { node.map_result(made, rank) }
    Ok(())
}

/// Height or width, from the axis of a map.
fn spatial(axis: usize) -> Result<usize, Unfit> {
    axis.checked_sub(1).ok_or_else(|| Unfit::new("it resamples the channels"))
}

/// The sizes that factors give: as factors where these are whole. What lies between two sizes is rounded down for the
/// nearest cell only, the place of which is computed from the factor.
fn factors(
    x: &Live,
    scales: &[f32],
    axes: &[usize],
    nearest: bool,
) -> Result<(Target, Option<[f32; 2]>), Unfit> {
    let mut planes = [1.0, 1.0];
    for (at, &scale) in scales.iter().enumerate() {
        let at = if axes.is_empty() { at } else { *axes.get(at).unwrap_or(&usize::MAX) };
        match x.axes.axis(at, &x.shape) {
            Some(axis @ (1 | 2)) => planes[axis - 1] = scale,
            _ if scale == 1.0 => {}
            _ => return Err(Unfit::new("it resamples another axis than height and width")),
        }
    }
    if planes.iter().all(|scale| 1.0 <= *scale && scale.fract() == 0.0 && *scale < 65_536.0) {
        return Ok((Target::Factor(planes.map(|scale| scale as u64)), Some(planes)));
    }
    let mut sizes = [Dim::ONE, Dim::ONE];
    for at in [0, 1] {
        let size = &x.shape.0[at + 1];
        let (down, up) = (planes[at].recip(), planes[at]);
        sizes[at] = if up.fract() == 0.0 && 1.0 <= up {
            size.mul(&Dim::from(up as u64))?
        } else if down.fract() == 0.0 && 1.0 <= down && size.divisible_by(down as u64) == Some(true) {
            size.exact_div(down as u64)?
        } else {
            let known = size.as_u64().ok_or_else(|| Unfit::new("a factor that is no integer needs a known size"))?;
            let exact = known as f64 * f64::from(up);
            // Positions are computed from the factor, and here from the sizes: the two agree where both are whole.
            if (exact.fract() != 0.0 && !nearest) || exact < 1.0 {
                return Err(Unfit::new(format!("{known} cells times {up} are no whole number of cells")));
            }
            Dim::from(exact as u64)
        };
    }
    Ok((Target::Size(sizes), Some(planes)))
}

/// Whether the nearest cells of a node are those that ours takes, on both axes.
fn same_cells(node: &Import, x: &Live, target: &Target, scales: Option<[f32; 2]>) -> Result<bool, Unfit> {
    let Target::Size(sizes) = target else { return Ok(false) };
    let (place, rounding) = positions(node)?;
    for axis in [0, 1] {
        let known = x.shape.0[axis + 1].as_u64().zip(sizes[axis].as_u64()).filter(|&(_, to)| 0 < to && to <= LISTED);
        let Some((from, to)) = known else { return Ok(false) };
        let scale = scales.map_or(to as f32 / from as f32, |scales| scales[axis]);
        let last = from.saturating_sub(1) as f32;
        for at in 0..to {
            let position = match place {
                "pytorch_half_pixel" if to == 1 => 0.0,
                "half_pixel" | "pytorch_half_pixel" => (at as f32 + 0.5) / scale - 0.5,
                "asymmetric" => at as f32 / scale,
                "align_corners" if to == 1 => 0.0,
                "align_corners" => at as f32 * last / (to - 1) as f32,
                _ => return Ok(false),
            };
            let cell = match rounding {
                "round_prefer_floor" => (position - 0.5).ceil(),
                "round_prefer_ceil" => (position + 0.5).floor(),
                "floor" => position.floor(),
                "ceil" => position.ceil(),
                _ => return Ok(false),
            };
            if cell.clamp(0.0, last) as u64 != at * from / to {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Where a node's positions lie, and how it rounds them.
fn positions<'a>(node: &'a Import) -> Result<(&'a str, &'a str), Unfit> {
    let legacy = node.op_type == "Upsample" || node.opset < 11;
    let place = node.attrs.text("coordinate_transformation_mode", if legacy { "asymmetric" } else { "half_pixel" })?;
    let rounding = node.attrs.text("nearest_mode", if legacy { "floor" } else { "round_prefer_floor" })?;
    Ok((place, rounding))
}

/// The mode of a node, where positions lie as one of ours has them.
pub(super) fn resize_mode(
    node: &Import,
    x: &Live,
    target: &Target,
    scales: Option<[f32; 2]>,
) -> Result<Mode, Unfit> {
    let mode = node.attrs.text("mode", "nearest")?;
    let (place, rounding) = positions(node)?;
    let coefficient = node.attrs.float("cubic_coeff_a", -0.75)?;
    if mode == "cubic" && coefficient != -0.75 {
        return Err(Unfit::new(format!("its cubic coefficient is {coefficient} and not -0.75")));
    }
    node.attrs.float("extrapolation_value", 0.0)?;
    let keep = node.attrs.text("keep_aspect_ratio_policy", "stretch")?;
    if keep != "stretch" || node.attrs.flag("antialias", false)? || node.attrs.flag("exclude_outside", false)? {
        return Err(Unfit::new("it keeps the aspect ratio, smooths or excludes what lies outside"));
    }
    // Between the middles of whole multiples the nearest cell is the one that covers the position.
    let whole = matches!(target, Target::Factor(_));
    match (mode, place, rounding) {
        ("nearest", "asymmetric", "floor") if whole || scales.is_none() => Ok(Mode::Nearest),
        ("nearest", "half_pixel" | "pytorch_half_pixel", _) if whole => Ok(Mode::Nearest),
        ("nearest", _, _) if same_cells(node, x, target, scales)? => Ok(Mode::Nearest),
        // PyTorch's rule differs where a single cell remains.
        ("linear", "pytorch_half_pixel", _) if matches!(target, Target::Size(sizes) if sizes.contains(&Dim::ONE)) => {
            Err(Unfit::new("it leaves one cell, which it takes from the corner"))
        }
        ("linear", "half_pixel" | "pytorch_half_pixel", _) => Ok(Mode::BilinearHalfPixel),
        ("linear", "align_corners", _) => Ok(Mode::BilinearAligned),
        ("linear", "asymmetric", _) => Ok(Mode::BilinearTopLeft),
        ("cubic", "half_pixel", _) => Ok(Mode::BicubicHalfPixel),
        ("cubic", "align_corners", _) => Ok(Mode::BicubicAligned),
        _ => Err(Unfit::new(format!("`mode` = {mode} with positions `{place}`, rounded `{rounding}`, is no mode of upsample"))),
    }
}

/// Sizes up to which cells are listed.
const LISTED: u64 = 65_536;

/// Whether ONNX's Resize takes the nearest cells that ours does: it computes positions in 32 bits, which is exact for whole
/// factors.
pub(super) fn is_resize(target: &Target, g: &Export) -> bool {
    const FIRST: i64 = 11;
    let Target::Size(sizes) = target else { return FIRST <= g.opset };
    let same = |axis: usize| {
        let from = &g.inputs[0].0[axis + 1];
        match (from.as_u64(), sizes[axis].as_u64()) {
            (Some(from), Some(to)) => to <= LISTED && {
                let scale = to as f32 / from as f32;
                (0..to).all(|at| (at as f32 / scale).floor() as u64 == at * from / to)
            },
            _ => sizes[axis].exact_div_dim(from).is_ok_and(|factor| !factor.is_symbolic()),
        }
    };
    FIRST <= g.opset && same(0) && same(1)
}

/// The cells at or before each position, computed in integers.
pub(super) fn nearest_to_onnx(g: &mut Export) -> Result<(), Unfit> {
    let across = cells(g, 1)?;
    let axis = |axis: i64| vec![("axis", Attr::Int(axis))];
    let rows = cells(g, 0)?;
    let x = g.operand(0);
    let rows = g.between("Gather", vec![x, rows], axis(2));
    g.last("Gather", vec![rows, across], axis(3));
    Ok(())
}

/// Which cell of the operand each of the result is, along height or width.
fn cells(g: &mut Export, axis: usize) -> Result<String, Unfit> {
    let (from, to) = (g.inputs[0].0[axis + 1].clone(), g.outputs[0].0[axis + 1].clone());
    if let (Some(from), Some(to @ ..=LISTED)) = (from.as_u64(), to.as_u64()) {
        return g.ints((0..to).map(|at| (at * from / to) as i64).collect());
    }
    if g.opset < 11 {
        return Err(Unfit::new("resampling to free sizes needs operator set 11: export with --opset 11 or later"));
    }
    let (from, to) = (g.dims(&[from])?, g.dims(&[to])?);
    let (scalar, zero, one) = (g.ints(Vec::new())?, g.int(0)?, g.int(1)?);
    let end = g.between("Reshape", vec![to.clone(), scalar], Vec::new());
    let places = g.between("Range", vec![zero, end, one], Vec::new());
    let product = g.between("Mul", vec![places, from], Vec::new());
    Ok(g.between("Div", vec![product, to], Vec::new()))
}

pub(super) fn to_pytorch(upsample: &Upsample, g: &mut PyTorch) {
    let (mode, aligned) = match upsample.mode {
        Mode::Nearest => {
            // PyTorch divides positions in single precision, which is exact for powers of two.
            let call = match &upsample.target {
                Target::Factor(factor) if factor.iter().all(|factor| factor.is_power_of_two()) => {
                    Expr::new("F.interpolate({x}, {})")
                        .key("scale_factor", Py::list(factor.map(|factor| factor as f64)), Py::List(Vec::new()))
                }
                Target::Factor([f_h, f_w]) => Expr::new("{x}.repeat_interleave({0}, 2).repeat_interleave({1}, 3)")
                    .arg("factor", *f_h)
                    .arg("factor", *f_w),
                Target::Size(size) => {
                    g.helper(&NEAREST);
                    Expr::new("nearest({x}, {})").arg("size", Py::list(size))
                }
            };
            return g.call(call);
        }
        Mode::BilinearHalfPixel => ("bilinear", false),
        Mode::BilinearAligned => ("bilinear", true),
        Mode::BilinearTopLeft => {
            g.helper(&TOP_LEFT);
            let size = match &upsample.target {
                Target::Factor(_) => Py::list(&g.outputs[0].0[1..]),
                Target::Size(size) => Py::list(size),
            };
            return g.call(Expr::new("from_top_left({x}, {})").arg("size", size));
        }
        Mode::BicubicHalfPixel => ("bicubic", false),
        Mode::BicubicAligned => ("bicubic", true),
    };
    let call = Expr::new("F.interpolate({x}, {})");
    let call = match &upsample.target {
        Target::Factor(factor) => {
            call.key("scale_factor", Py::list(factor.map(|factor| factor as f64)), Py::List(Vec::new()))
        }
        Target::Size(size) => call.key("size", Py::list(size), Py::List(Vec::new())),
    };
    g.call(call.key("mode", Py::Text(mode), Py::Text("")).key("align_corners", aligned, Py::Text("")));
}

static TOP_LEFT: Helper = Helper {
    name: "from_top_left",
    text: r#"def from_top_left(x: Tensor, size: List[int]) -> Tensor:
    """`x` interpolated linearly: cells are points, and the first stays where it is."""
    for axis, count in enumerate(size):
        old = x.shape[axis + 2]
        position = torch.arange(count, device=x.device) * old
        low = torch.div(position, count, rounding_mode="floor")
        high = (low + 1).clamp(max=old - 1)
        share = (position - low * count).to(x.dtype) / count
        share = share.reshape([-1, 1] if axis == 0 else [-1])
        x = x.index_select(axis + 2, low) * (1 - share) + x.index_select(axis + 2, high) * share
    return x
"#,
};

static NEAREST: Helper = Helper {
    name: "nearest",
    text: r#"def nearest(x: Tensor, size: List[int]) -> Tensor:
    """`x` resampled: each cell is the one at or before its position, computed in integers."""
    rows = torch.arange(size[0], device=x.device) * x.shape[2]
    columns = torch.arange(size[1], device=x.device) * x.shape[3]
    rows = torch.div(rows, size[0], rounding_mode="floor")
    columns = torch.div(columns, size[1], rounding_mode="floor")
    return x.index_select(2, rows).index_select(3, columns)
"#,
};
