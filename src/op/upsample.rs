//! Resampling of height and width by nearest neighbours or bilinear interpolation.

use super::attr::{ArgError, Call, Operands, Signature, Value, param, size_of, words};
use super::gradient::{Backward, GradBuilder, Wrt, fill};
use super::{Cost, Operator, ParamSpec, Reach, ShapeError, Window, axis, geom};
use super::onnx::{self, Attr, Export, Import, Live, Unfit};
use crate::dim::{Dim, DimError};
use crate::tensor::{Element, Nchw, Shape, View, ViewMut};

/// A feature map at another height and width (PyTorch's `interpolate` without antialiasing). Along an axis of `in`
/// cells that become `out`, output cell `i` takes its value at
/// - `floor(i · in / out)` for the nearest neighbour (PyTorch's `nearest`, ONNX's `asymmetric` with `floor`),
/// - `max((i + ½) · in / out - ½, 0)` for bilinear interpolation with `half_pixel` corners (`align_corners=False`),
/// - `i · (in - 1) / (out - 1)` for bilinear interpolation with `aligned` corners (`align_corners=True`).
#[derive(Clone, Debug, PartialEq)]
pub struct Upsample {
    /// What the height and width become.
    pub target: Target,
    /// How values between cells come about.
    pub mode: Mode,
}

/// What the height and width become.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// A multiple of what they are.
    Factor([u64; 2]),
    /// These sizes, also smaller ones.
    Size([Dim; 2]),
}

/// How values between cells come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The cell at or before the position.
    Nearest,
    /// Interpolation; cells are areas, and positions before the first centre take its value.
    BilinearHalfPixel,
    /// Interpolation; cells are points, and the corner points stay where they are.
    BilinearAligned,
}

const MODES: &[&str] = &["nearest", "bilinear"];
const CORNERS: &[&str] = &["half_pixel", "aligned"];

impl Operator for Upsample {
    fn signatures() -> &'static [Signature] {
        static SIGNATURES: [Signature; 1] = [Signature {
            layer: "upsample",
            params: &[
                param("factor", "-", "factor of the sizes: f or [f_h, f_w]; or else `size`"),
                words("mode", MODES, "nearest", "nearest or bilinear"),
                words("corners", CORNERS, "-", "for bilinear: half_pixel, which is also the default, or aligned"),
                size_of("size", "-", "the sizes: s, [h, w] or those of a value; or else `factor`"),
            ],
            operands: Operands::Above,
            doc: "height and width resampled",
        }];
        &SIGNATURES
    }

    fn build(call: &Call) -> Result<Self, ArgError> {
        let target = match (call.get("factor"), call.get("size")) {
            (Some(_), None) => Target::Factor(call.pair("factor", None, 1)?),
            (None, Some(_)) => Target::Size(axis::plane(call, "size")?),
            (Some(_), Some(_)) => return Err(ArgError::new("size", "cannot be given together with `factor`")),
            (None, None) => return Err(ArgError::new("factor", "is missing").help("give a factor or `size = …`")),
        };
        let corners = call.choice("corners", CORNERS)?;
        let mode = match (call.choice("mode", MODES)?, corners) {
            ("nearest", _) if call.get("corners").is_some() => {
                return Err(ArgError::new("corners", "has no meaning in mode nearest").help("add `mode = bilinear`"));
            }
            ("nearest", _) => Mode::Nearest,
            (_, "aligned") => Mode::BilinearAligned,
            _ => Mode::BilinearHalfPixel,
        };
        Ok(Upsample { target, mode })
    }

    fn describe(&self) -> (&'static str, Vec<(&'static str, Value)>) {
        let (mode, corners) = match self.mode {
            Mode::Nearest => ("nearest", None),
            Mode::BilinearHalfPixel => ("bilinear", Some("half_pixel")),
            Mode::BilinearAligned => ("bilinear", Some("aligned")),
        };
        let target = match &self.target {
            Target::Factor(factor) => ("factor", Value::ints(factor)),
            Target::Size(size) => ("size", axis::plane_value(size)),
        };
        let mut args = vec![target, ("mode", Value::word(mode))];
        args.extend(corners.map(|corners| ("corners", Value::word(corners))));
        ("upsample", args)
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>, ShapeError> {
        let (c, h, w) = geom::feature_map(inputs, 0)?;
        let [h, w] = match &self.target {
            Target::Factor([f_h, f_w]) => [h.mul(&Dim::from(*f_h))?, w.mul(&Dim::from(*f_w))?],
            Target::Size(size) => size.clone(),
        };
        Ok(vec![Shape(vec![c.clone(), h, w])])
    }

    fn arithmetic(&self, inputs: &[Shape], outputs: &[Shape]) -> Vec<String> {
        let line = |at: usize| {
            let (name, input, output) = (geom::AXES[at], &inputs[0].0[at + 1], &outputs[0].0[at + 1]);
            match &self.target {
                Target::Factor(factor) => format!("{name}: {input} * {} = {output}", factor[at]),
                Target::Size(_) => format!("{name}: {input} resampled to {output}"),
            }
        };
        (0..2).map(line).collect()
    }

    fn params(&self, _inputs: &[Shape]) -> Vec<ParamSpec> {
        Vec::new()
    }

    /// Nearest neighbours are copied. Interpolation multiplies six times and adds three times for each element; the
    /// positions and weights, which channels share, are not counted. fvcore counts one and four for each element.
    fn cost(&self, _inputs: &[Shape], outputs: &[Shape]) -> Result<Cost, DimError> {
        let (flops, fvcore) = match self.mode {
            Mode::Nearest => (0, 1),
            Mode::BilinearHalfPixel | Mode::BilinearAligned => (9, 4),
        };
        let fvcore = outputs[0].elements()?.mul(&Dim::from(fvcore as u64))?;
        Ok(Cost { fvcore, ..Cost::elementwise(&outputs[0], flops)? })
    }

    /// Where the factor depends on symbols, everything.
    fn reach(&self, inputs: &[Shape]) -> Reach {
        let windows = match (&self.target, inputs[0].chw()) {
            (Target::Factor(factor), _) => factor.map(|factor| self.mode.window((1, factor))).map(Some),
            (Target::Size([out_h, out_w]), Some((_, h, w))) => {
                [(h, out_h), (w, out_w)].map(|(from, to)| ratio(from, to).map(|ratio| self.mode.window(ratio)))
            }
            (Target::Size(_), None) => [None, None],
        };
        match windows {
            [Some(height), Some(width)] => Reach::Window([height, width]),
            _ => Reach::Everything,
        }
    }

    /// Interpolates in `f64`.
    fn forward<E: Element>(&self, inputs: &[View<E>], _params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        let (from, to) = (Nchw::of(inputs[0].dims), Nchw::of(outputs[0].dims));
        let rows: Vec<Tap> = (0..to.h).map(|y| self.mode.tap(y, from.h, to.h)).collect();
        let cols: Vec<Tap> = (0..to.w).map(|x| self.mode.tap(x, from.w, to.w)).collect();
        for n in 0..to.n {
            for c in 0..to.c {
                for (y, row) in rows.iter().enumerate() {
                    for (x, col) in cols.iter().enumerate() {
                        let at = |h, w| inputs[0].data[from.at(n, c, h, w)].f64();
                        let first = col.mix(at(row.first, col.first), at(row.first, col.second));
                        let second = col.mix(at(row.second, col.first), at(row.second, col.second));
                        outputs[0].data[to.at(n, c, y, x)] = E::of(row.mix(first, second));
                    }
                }
            }
        }
    }

    fn gradient(&self, g: &mut GradBuilder) {
        let incoming = g.incoming(0);
        g.backward(self, &[Wrt::Operand(0)], &[incoming], &[]);
    }

    const ONNX: &'static [&'static str] = &["Resize", "Upsample"];

    fn from_onnx(node: &mut Import) -> Result<(), Unfit> {
        let x = node.live(0)?;
        let x = node.whole(&x)?;
        if x.shape.rank() != 3 {
            return Err(Unfit::new("it resamples something that is no feature map"));
        }
        let target = resize_target(node, &x)?;
        let mode = resize_mode(node, &target)?;
        let made = node.emit_one(Upsample { target, mode }, &[&x], Vec::new())?;
        let axes = x.axes.resized(&made.shape);
        node.result(Live { axes, ..made });
        Ok(())
    }

    fn to_onnx(&self, g: &mut Export) -> Result<(), Unfit> {
        let text = |text: &str| Attr::Text(text.to_owned());
        let (mode, coordinates) = match self.mode {
            Mode::Nearest => ("nearest", "asymmetric"),
            Mode::BilinearHalfPixel => ("linear", "half_pixel"),
            Mode::BilinearAligned => ("linear", "align_corners"),
        };
        if g.opset < 11 {
            return Err(Unfit::new("Resize needs operator set 11: export with --opset 11 or later"));
        }
        let mut attrs = vec![("mode", text(mode)), ("coordinate_transformation_mode", text(coordinates))];
        if self.mode == Mode::Nearest {
            attrs.push(("nearest_mode", text("floor")));
        }
        let x = g.operand(0);
        // Before operator set 13 the region of interest may not be left out.
        let region = if g.opset < 13 { g.floats(&[0], Vec::new())? } else { String::new() };
        match &self.target {
            Target::Factor([f_h, f_w]) => {
                let scales = g.floats(&[4], vec![1.0, 1.0, *f_h as f32, *f_w as f32])?;
                g.last("Resize", vec![x, region, scales], attrs);
            }
            Target::Size(size) => {
                let mut whole = vec![Dim::symbol(onnx::BATCH, 1), g.inputs[0].0[0].clone()];
                if 18 <= g.opset {
                    whole.clear();
                    attrs.push(("axes", Attr::Ints(vec![2, 3])));
                }
                whole.extend(size.iter().cloned());
                let sizes = g.dims(&whole)?;
                let scales = if g.opset < 13 { g.floats(&[0], Vec::new())? } else { String::new() };
                g.last("Resize", vec![x, region, scales, sizes], attrs);
            }
        }
        Ok(())
    }
}

/// The sizes that a node resamples to.
fn resize_target(node: &mut Import, x: &Live) -> Result<Target, Unfit> {
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
fn resize_mode(node: &Import, target: &Target) -> Result<Mode, Unfit> {
    let legacy = node.op_type == "Upsample" || node.opset < 11;
    let mode = node.attrs.text("mode", "nearest")?;
    let place = node.attrs.text("coordinate_transformation_mode", if legacy { "asymmetric" } else { "half_pixel" })?;
    let rounding = node.attrs.text("nearest_mode", if legacy { "floor" } else { "round_prefer_floor" })?;
    node.attrs.float("cubic_coeff_a", -0.75)?;
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
        _ => Err(Unfit::new(format!("`mode` = {mode} with positions `{place}`, rounded `{rounding}`, is no mode of upsample"))),
    }
}

impl Backward for Upsample {
    fn backward_cost(&self, _wrt: &[Wrt], inputs: &[Shape], _outputs: &[Shape]) -> Result<Cost, DimError> {
        Cost::elementwise(&inputs[0], if self.mode == Mode::Nearest { 1 } else { 8 })
    }

    fn backward<E: Element>(&self, _wrt: &[Wrt], inputs: &[View<E>], _params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        let (from, to) = (Nchw::of(outputs[0].dims), Nchw::of(inputs[0].dims));
        let rows: Vec<Tap> = (0..to.h).map(|y| self.mode.tap(y, from.h, to.h)).collect();
        let cols: Vec<Tap> = (0..to.w).map(|x| self.mode.tap(x, from.w, to.w)).collect();
        let mut sums = vec![0.0; outputs[0].data.len()];
        for n in 0..to.n {
            for c in 0..to.c {
                for (y, row) in rows.iter().enumerate() {
                    for (x, col) in cols.iter().enumerate() {
                        let gradient = inputs[0].data[to.at(n, c, y, x)].f64();
                        for (h, down) in row.parts() {
                            for (w, across) in col.parts() {
                                sums[from.at(n, c, h, w)] += down * across * gradient;
                            }
                        }
                    }
                }
            }
        }
        fill(&mut outputs[0], &sums);
    }
}

/// The two cells that an output position takes its value from, and the share of the second.
struct Tap {
    first: usize,
    second: usize,
    share: f64,
}

impl Tap {
    /// Both cells with their shares.
    fn parts(&self) -> [(usize, f64); 2] {
        [(self.first, 1.0 - self.share), (self.second, self.share)]
    }

    fn mix(&self, first: f64, second: f64) -> f64 {
        if self.share == 0.0 { first } else { (1.0 - self.share) * first + self.share * second }
    }
}

impl Mode {
    fn tap(self, position: usize, from: usize, to: usize) -> Tap {
        let last = from.saturating_sub(1);
        let source = match self {
            Mode::Nearest => {
                let cell = (position as u128 * from as u128 / to as u128) as usize;
                return Tap { first: cell, second: cell, share: 0.0 };
            }
            Mode::BilinearHalfPixel => ((position as f64 + 0.5) * from as f64 / to as f64 - 0.5).max(0.0),
            Mode::BilinearAligned if to > 1 => position as f64 * last as f64 / (to - 1) as f64,
            Mode::BilinearAligned => 0.0,
        };
        let first = (source.floor() as usize).min(last);
        Tap { first, second: (first + 1).min(last), share: source - first as f64 }
    }

    /// The cells that can have a part in an output cell. Aligned corners stretch the input by a little more than the
    /// quotient of the sizes; their windows hold what is seen at either end.
    fn window(self, (from, to): (u64, u64)) -> Window {
        let (step, by) = (i128::from(from), i128::from(to));
        match self {
            _ if from == to => Window::shifted(0),
            Mode::Nearest => Window { stride: (from, to), first: 0, last: 0 },
            Mode::BilinearHalfPixel => {
                let stride = (from.saturating_mul(2), to.saturating_mul(2));
                Window { stride, first: step - by, last: step + by }
            }
            Mode::BilinearAligned => {
                Window { stride: (from, to), first: -(by - step).max(0), last: by + (step - by).max(0) }
            }
        }
    }
}

/// `from / to`, when it is a number.
fn ratio(from: &Dim, to: &Dim) -> Option<(u64, u64)> {
    match (from.as_u64(), to.as_u64()) {
        (Some(from), Some(to)) => Some((from, to)),
        _ => match to.exact_div_dim(from).ok().and_then(|factor| factor.as_u64()) {
            Some(factor) => Some((1, factor)),
            None => from.exact_div_dim(to).ok()?.as_u64().map(|factor| (factor, 1)),
        },
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::op::testing::{assert_close, assert_round_trip, build, infer_one, run, seeded, try_build};

    const MODES: [Mode; 3] = [Mode::Nearest, Mode::BilinearHalfPixel, Mode::BilinearAligned];

    fn to_size(size: [u64; 2], mode: Mode) -> Upsample {
        Upsample { target: Target::Size(size.map(Dim::from)), mode }
    }

    fn by_factor(factor: [u64; 2], mode: Mode) -> Upsample {
        Upsample { target: Target::Factor(factor), mode }
    }

    #[test]
    fn sizes_are_multiplied_or_given() {
        assert_eq!(infer_one(&by_factor([2, 3], Mode::Nearest), &[&[5, 1, 7]]), Ok(vec![5, 2, 21]));
        assert_eq!(infer_one(&to_size([9, 4], Mode::BilinearAligned), &[&[5, 1, 7]]), Ok(vec![5, 9, 4]));
        assert_eq!(infer_one(&by_factor([2, 2], Mode::Nearest), &[&[5]]), Err(ShapeError::needs_feature_map(0)));
        let (inputs, outputs) = ([Shape::known(&[5, 1, 7])], [Shape::known(&[5, 2, 21])]);
        let lines = by_factor([2, 3], Mode::Nearest).arithmetic(&inputs, &outputs);
        assert_eq!(lines, ["height: 1 * 2 = 2", "width: 7 * 3 = 21"]);
    }

    #[test]
    fn a_decoder_returns_to_unknown_sizes() {
        let (h, w) = (Dim::symbol("H", 16), Dim::symbol("W", 1));
        let halved = [Shape(vec![5u64.into(), h.exact_div(2).unwrap(), w.floor_div(2).unwrap()])];
        let doubled = by_factor([2, 2], Mode::Nearest).infer(&halved).unwrap();
        assert_eq!(doubled[0].0[1], h);
        let whole = Value::Shape(Shape(vec![64u64.into(), h.clone(), w.clone()]));
        let op: Upsample = build("upsample", &[("size", whole)], &halved);
        assert_eq!(op.infer(&halved), Ok(vec![Shape(vec![5u64.into(), h, w])]));
        assert_round_trip(&op, &halved);
        assert_eq!(op.reach(&halved), Reach::Everything);
    }

    #[test]
    fn describes_itself() {
        for mode in MODES {
            assert_round_trip(&by_factor([2, 3], mode), &[]);
            assert_round_trip(&to_size([20, 31], mode), &[]);
        }
        let args = [("factor", Value::int(2)), ("mode", Value::word("bilinear"))];
        assert_eq!(build::<Upsample>("upsample", &args, &[]), by_factor([2, 2], Mode::BilinearHalfPixel));
        assert_eq!(build::<Upsample>("upsample", &args[..1], &[]), by_factor([2, 2], Mode::Nearest));
    }

    #[test]
    fn refuses_contradictions() {
        let (two, corners) = (("factor", Value::int(2)), ("corners", Value::word("aligned")));
        for (args, param) in [
            (vec![], "factor"),
            (vec![two.clone(), ("size", Value::int(4))], "size"),
            (vec![two.clone(), corners.clone()], "corners"),
            (vec![two.clone(), ("mode", Value::word("nearest")), corners], "corners"),
            (vec![two, ("mode", Value::word("bicubic"))], "mode"),
            (vec![("factor", Value::Float(1.5))], "factor"),
            (vec![("size", Value::Shape(Shape::known(&[10])))], "size"),
        ] {
            assert_eq!(try_build::<Upsample>("upsample", &args, &[]).unwrap_err().param, Some(param), "{args:?}");
        }
    }

    #[test]
    fn fvcore_counts_one_or_four_for_each_element() {
        let (input, output) = ([Shape::known(&[3, 2, 2])], [Shape::known(&[3, 4, 4])]);
        for (mode, flops, fvcore) in [(Mode::Nearest, 0u64, 48u64), (Mode::BilinearHalfPixel, 432, 192)] {
            let cost = by_factor([2, 2], mode).cost(&input, &output).unwrap();
            assert_eq!((cost.flops, cost.fvcore), (flops.into(), fvcore.into()));
        }
    }

    #[test]
    fn interpolates_a_row_as_pytorch_does() {
        let row = |from: &[f32], to, mode| {
            run(&to_size([1, to], mode), &[(&[1, 1, 1, from.len()], from.to_vec())], &[]).remove(0)
        };
        assert_eq!(row(&[1.0, 5.0, 9.0], 5, Mode::Nearest), [1.0, 1.0, 5.0, 5.0, 9.0]);
        assert_eq!(row(&[1.0, 5.0], 4, Mode::BilinearHalfPixel), [1.0, 2.0, 4.0, 5.0]);
        assert_eq!(row(&[1.0, 5.0], 5, Mode::BilinearAligned), [1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(row(&[1.0, 5.0], 1, Mode::BilinearAligned), [1.0]);
        assert_eq!(row(&[0.0, 1.0, 2.0, 3.0], 2, Mode::BilinearHalfPixel), [0.5, 2.5]);
    }

    #[test]
    fn a_factor_that_binary_fractions_miss_is_exact() {
        let from: Vec<f32> = (0..3).map(|x| x as f32).collect();
        for factor in 1..100 {
            let output = run(&by_factor([1, factor], Mode::Nearest), &[(&[1, 1, 1, 3], from.clone())], &[]).remove(0);
            let repeated: Vec<f32> = from.iter().flat_map(|&x| vec![x; factor as usize]).collect();
            assert_eq!(output, repeated, "factor {factor}");
        }
    }

    #[test]
    fn windows_hold_the_cells_that_are_taken() {
        for (from, to) in (1..12).flat_map(|from| (1..12).map(move |to| (from, to))) {
            for mode in MODES {
                let window = mode.window((from as u64, to as u64));
                for position in 0..to {
                    let (tap, seen) = (mode.tap(position, from, to), window.seen(position as u64));
                    let second = if tap.share == 0.0 { tap.first } else { tap.second };
                    let inside = seen.contains(&(tap.first as i128)) && seen.contains(&(second as i128));
                    assert!(inside, "{mode:?} {from} to {to}: {position} sees {} and {second}, not {seen:?}", tap.first);
                    let cells = seen.end() - seen.start();
                    assert!(cells <= if mode == Mode::Nearest { 0 } else { 2 } || to < from, "{mode:?} {seen:?}");
                }
            }
        }
    }

    /// A tent of half width one around each source position, normalised: the definition of linear interpolation.
    fn tent(data: &[f32], from: [usize; 2], source: [f64; 2]) -> f64 {
        let mut sum = 0.0;
        for y in 0..from[0] {
            for x in 0..from[1] {
                let near = |at: usize, source: f64| (1.0 - (source - at as f64).abs()).max(0.0);
                sum += near(y, source[0]) * near(x, source[1]) * f64::from(data[y * from[1] + x]);
            }
        }
        sum
    }

    proptest! {
        #[test]
        fn interpolation_is_a_tent(from in prop::array::uniform2(1usize..6), to in prop::array::uniform2(1usize..9), aligned: bool) {
            let mode = if aligned { Mode::BilinearAligned } else { Mode::BilinearHalfPixel };
            let data = seeded(from[0] * from[1], 5);
            let op = to_size(to.map(|size| size as u64), mode);
            let output = run(&op, &[(&[1, 1, from[0], from[1]], data.clone())], &[]).remove(0);
            let source = |at: usize, axis: usize| {
                let (from, to) = (from[axis] as f64, to[axis] as f64);
                let position = match aligned {
                    true if to > 1.0 => at as f64 * (from - 1.0) / (to - 1.0),
                    true => 0.0,
                    false => (at as f64 + 0.5) * from / to - 0.5,
                };
                position.clamp(0.0, from - 1.0)
            };
            let mut expected = Vec::new();
            for y in 0..to[0] {
                for x in 0..to[1] {
                    expected.push(tent(&data, from, [source(y, 0), source(x, 1)]));
                }
            }
            assert_close(&output, &expected, f64::from(f32::EPSILON));
        }
    }
}
