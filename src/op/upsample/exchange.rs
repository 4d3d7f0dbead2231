//! What ONNX's Resize and Upsample say, in our words, and what PyTorch has for it.

use super::{Mode, Target, Upsample};
use crate::dim::Dim;
use crate::op::onnx::{Attr, Import, Live, Unfit};
use crate::op::pytorch::{Expr, Helper, Py, PyTorch};

/// The sizes that a node resamples to.
pub(super) fn resize_target(node: &mut Import, x: &Live) -> Result<Target, Unfit> {
    let attribute = node.attrs.get("scales").cloned();
    if let Some(Attr::Floats(scales)) = attribute {
        return factors(x, &scales, &[]);
    }
    let listed = node.attrs.ints("axes")?.map(<[i64]>::to_vec).unwrap_or_default();
    let axes = listed.iter().map(|&axis| node.axis_at(axis, x.axes.rank())).collect::<Result<Vec<_>, _>>()?;
    let scales_at = if node.op_type == "Upsample" || node.opset < 11 { 1 } else { 2 };
    if let Some(scales) = node.known(scales_at, "list of factors")?.filter(|scales| scales.elements() != Some(0)) {
        let scales: Vec<f32> = scales.to_floats().map(|scales| scales.iter().copied().collect()).unwrap_or_default();
        return factors(x, &scales, &axes);
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
    Ok(Target::Size(target))
}

/// Height or width, from the axis of a map.
fn spatial(axis: usize) -> Result<usize, Unfit> {
    axis.checked_sub(1).ok_or_else(|| Unfit::new("it resamples the channels"))
}

/// The sizes that factors give: as factors where these are whole.
fn factors(x: &Live, scales: &[f32], axes: &[usize]) -> Result<Target, Unfit> {
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
        return Ok(Target::Factor(planes.map(|scale| scale as u64)));
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
            if exact.fract() != 0.0 || exact < 1.0 {
                return Err(Unfit::new(format!("{known} cells times {up} are no whole number of cells")));
            }
            Dim::from(exact as u64)
        };
    }
    Ok(Target::Size(sizes))
}

/// The mode of a node, where positions lie as one of ours has them.
pub(super) fn resize_mode(node: &Import, target: &Target) -> Result<Mode, Unfit> {
    let legacy = node.op_type == "Upsample" || node.opset < 11;
    let mode = node.attrs.text("mode", "nearest")?;
    let place = node.attrs.text("coordinate_transformation_mode", if legacy { "asymmetric" } else { "half_pixel" })?;
    let rounding = node.attrs.text("nearest_mode", if legacy { "floor" } else { "round_prefer_floor" })?;
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
        ("nearest", "asymmetric", "floor") => Ok(Mode::Nearest),
        ("nearest", "half_pixel" | "pytorch_half_pixel", _) if whole => Ok(Mode::Nearest),
        // PyTorch's rule differs where a single cell remains.
        ("linear", "pytorch_half_pixel", _) if matches!(target, Target::Size(sizes) if sizes.contains(&Dim::ONE)) => {
            Err(Unfit::new("it leaves one cell, which it takes from the corner"))
        }
        ("linear", "half_pixel" | "pytorch_half_pixel", _) => Ok(Mode::BilinearHalfPixel),
        ("linear", "align_corners", _) => Ok(Mode::BilinearAligned),
        ("cubic", "half_pixel", _) => Ok(Mode::BicubicHalfPixel),
        ("cubic", "align_corners", _) => Ok(Mode::BicubicAligned),
        _ => Err(Unfit::new(format!("`mode` = {mode} with positions `{place}`, rounded `{rounding}`, is no mode of upsample"))),
    }
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
