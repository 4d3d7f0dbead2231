//! Resampling of height and width by nearest neighbours, bilinear or bicubic interpolation. `taps` says which cells an
//! output position takes, `exchange` what ONNX calls it; the tests are in `tests`.

mod exchange;
mod taps;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use super::attr::{ArgError, Call, Operands, Signature, Value, param, size_of, words};
use super::gradient::{Backward, GradBuilder, Wrt, fill};
use super::{Cost, Operator, ParamSpec, Reach, ShapeError, axis, geom};
use super::onnx::{self, Attr, Export, Import, Live, Unfit};
use super::pytorch::PyTorch;
use crate::dim::{Dim, DimError};
use crate::tensor::{Element, Nchw, Shape, View, ViewMut};
use exchange::{expand, resize_mode, resize_target};
use taps::{Cubic, Tap};

/// A feature map at another height and width (PyTorch's `interpolate` without antialiasing). Along an axis of `in`
/// cells that become `out`, output cell `i` takes its value at
/// - `floor(i · in / out)` for the nearest neighbour (PyTorch's `nearest`, ONNX's `asymmetric` with `floor`),
/// - `max((i + ½) · in / out - ½, 0)` for bilinear interpolation with `half_pixel` corners (`align_corners=False`),
/// - `(i + ½) · in / out - ½` for bicubic interpolation with such corners,
/// - `i · (in - 1) / (out - 1)` for both with `aligned` corners (`align_corners=True`),
/// - `i · in / out` for bilinear interpolation with `top_left` corners (TensorFlow 1, ONNX's `asymmetric`).
///
/// Bicubic interpolation (Keys 1981, doi:10.1109/TASSP.1981.1163711) has `a = -0.75`, as PyTorch has it, and repeats the
/// cells at the border.
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
    /// Interpolation; cells are points, and the first stays where it is.
    BilinearTopLeft,
    /// Cubic interpolation of four cells on each axis; cells are areas.
    BicubicHalfPixel,
    /// Cubic interpolation of four cells on each axis; cells are points, and the corner points stay where they are.
    BicubicAligned,
}

const MODES: &[&str] = &["nearest", "bilinear", "bicubic"];
const CORNERS: &[&str] = &["half_pixel", "aligned", "top_left"];

impl Operator for Upsample {
    fn signatures() -> &'static [Signature] {
        static SIGNATURES: [Signature; 1] = [Signature {
            layer: "upsample",
            params: &[
                param("factor", "-", "factor of the sizes: f or [f_h, f_w]; or else `size`"),
                words("mode", MODES, "nearest", "nearest, bilinear or bicubic"),
                words("corners", CORNERS, "-", "of interpolation: half_pixel, which is also the default, aligned or top_left"),
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
            ("bilinear", "aligned") => Mode::BilinearAligned,
            ("bilinear", "top_left") => Mode::BilinearTopLeft,
            (_, "top_left") => {
                return Err(ArgError::new("corners", "is half_pixel or aligned in mode bicubic"));
            }
            ("bilinear", _) => Mode::BilinearHalfPixel,
            (_, "aligned") => Mode::BicubicAligned,
            _ => Mode::BicubicHalfPixel,
        };
        Ok(Upsample { target, mode })
    }

    fn describe(&self) -> (&'static str, Vec<(&'static str, Value)>) {
        let (mode, corners) = match self.mode {
            Mode::Nearest => ("nearest", None),
            Mode::BilinearHalfPixel => ("bilinear", Some("half_pixel")),
            Mode::BilinearAligned => ("bilinear", Some("aligned")),
            Mode::BilinearTopLeft => ("bilinear", Some("top_left")),
            Mode::BicubicHalfPixel => ("bicubic", Some("half_pixel")),
            Mode::BicubicAligned => ("bicubic", Some("aligned")),
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

    /// Nearest neighbours are copied. Bilinear interpolation multiplies six times and adds three times for each element,
    /// bicubic 20 and 15 times; the positions and weights, which channels share, are not counted. fvcore counts one and
    /// four for each element, and nothing for bicubic.
    fn cost(&self, _inputs: &[Shape], outputs: &[Shape]) -> Result<Cost, DimError> {
        let (flops, fvcore) = match self.mode {
            Mode::Nearest => (0, 1),
            Mode::BilinearHalfPixel | Mode::BilinearAligned | Mode::BilinearTopLeft => (9, 4),
            Mode::BicubicHalfPixel | Mode::BicubicAligned => (35, 0),
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
        if self.mode.is_cubic() {
            let mut sums = vec![0.0; outputs[0].data.len()];
            self.each_share(from, to, |cell, at, share| sums[at] += share * inputs[0].data[cell].f64());
            return fill(&mut outputs[0], &sums);
        }
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

    const ONNX: &'static [&'static str] = &["Resize", "Upsample", "Expand"];

    fn from_onnx(node: &mut Import) -> Result<(), Unfit> {
        if node.op_type == "Expand" {
            return expand(node);
        }
        let x = node.live(0)?;
        let x = node.whole(&x)?;
        if x.shape.rank() != 3 {
            return Err(Unfit::new("it resamples something that is no feature map"));
        }
        let (target, scales) = resize_target(node, &x)?;
        let mode = resize_mode(node, &x, &target, scales)?;
        let made = node.emit_one(Upsample { target, mode }, &[&x], Vec::new())?;
        let axes = x.axes.resized(&made.shape);
        node.result(Live { axes, ..made });
        Ok(())
    }

    fn to_onnx(&self, g: &mut Export) -> Result<(), Unfit> {
        if self.mode == Mode::Nearest && !exchange::is_resize(&self.target, g) {
            return exchange::nearest_to_onnx(g);
        }
        let text = |text: &str| Attr::Text(text.to_owned());
        let (mode, coordinates) = match self.mode {
            Mode::Nearest => ("nearest", "asymmetric"),
            Mode::BilinearHalfPixel => ("linear", "half_pixel"),
            Mode::BilinearAligned => ("linear", "align_corners"),
            Mode::BilinearTopLeft => ("linear", "asymmetric"),
            Mode::BicubicHalfPixel => ("cubic", "half_pixel"),
            Mode::BicubicAligned => ("cubic", "align_corners"),
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
                let mut whole = vec![Dim::symbol(onnx::export::BATCH_SIZE, 1), g.inputs[0].0[0].clone()];
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

    fn to_pytorch(&self, g: &mut PyTorch) -> Result<(), Unfit> {
        exchange::to_pytorch(self, g);
        Ok(())
    }
}

impl Backward for Upsample {
    fn backward_cost(&self, _wrt: &[Wrt], inputs: &[Shape], _outputs: &[Shape]) -> Result<Cost, DimError> {
        let per_element = match self.mode {
            Mode::Nearest => 1,
            Mode::BilinearHalfPixel | Mode::BilinearAligned | Mode::BilinearTopLeft => 8,
            Mode::BicubicHalfPixel | Mode::BicubicAligned => 32,
        };
        Cost::elementwise(&inputs[0], per_element)
    }

    fn backward<E: Element>(&self, _wrt: &[Wrt], inputs: &[View<E>], _params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        let (from, to) = (Nchw::of(outputs[0].dims), Nchw::of(inputs[0].dims));
        let mut sums = vec![0.0; outputs[0].data.len()];
        if self.mode.is_cubic() {
            self.each_share(from, to, |cell, at, share| sums[cell] += share * inputs[0].data[at].f64());
            return fill(&mut outputs[0], &sums);
        }
        let rows: Vec<Tap> = (0..to.h).map(|y| self.mode.tap(y, from.h, to.h)).collect();
        let cols: Vec<Tap> = (0..to.w).map(|x| self.mode.tap(x, from.w, to.w)).collect();
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

impl Upsample {
    /// Calls `work` with each cell that has a part in an output cell, with the output cell, and with that part.
    fn each_share(&self, from: Nchw, to: Nchw, mut work: impl FnMut(usize, usize, f64)) {
        let rows: Vec<Cubic> = (0..to.h).map(|y| self.mode.cubic(y, from.h, to.h)).collect();
        let cols: Vec<Cubic> = (0..to.w).map(|x| self.mode.cubic(x, from.w, to.w)).collect();
        for n in 0..to.n {
            for c in 0..to.c {
                for (y, row) in rows.iter().enumerate() {
                    for (x, col) in cols.iter().enumerate() {
                        for (h, down) in row.parts() {
                            for (w, across) in col.parts() {
                                work(from.at(n, c, h, w), to.at(n, c, y, x), down * across);
                            }
                        }
                    }
                }
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
