//! Resampling of height and width by nearest neighbours or bilinear interpolation.

use super::attr::{ArgError, Call, Operands, Signature, Value, param, size_of, words};
use super::{Cost, Operator, ParamSpec, Reach, ShapeError, Window, axis, geom};
use crate::dim::{Dim, DimError};
use crate::tensor::{Nchw, Shape, View, ViewMut};

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

    /// The first window's place stands for all; where the factor depends on symbols, everything.
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

    fn forward(&self, inputs: &[View], _params: &[View], outputs: &mut [ViewMut]) {
        let (from, to) = (Nchw::of(inputs[0].dims), Nchw::of(outputs[0].dims));
        let rows: Vec<Tap> = (0..to.h).map(|y| self.mode.tap(y, from.h, to.h)).collect();
        let cols: Vec<Tap> = (0..to.w).map(|x| self.mode.tap(x, from.w, to.w)).collect();
        for n in 0..to.n {
            for c in 0..to.c {
                for (y, row) in rows.iter().enumerate() {
                    for (x, col) in cols.iter().enumerate() {
                        let at = |h, w| inputs[0].data[from.at(n, c, h, w)];
                        outputs[0].data[to.at(n, c, y, x)] = row.mix(
                            col.mix(at(row.first, col.first), at(row.first, col.second)),
                            col.mix(at(row.second, col.first), at(row.second, col.second)),
                        );
                    }
                }
            }
        }
    }
}

/// The two cells that an output position takes its value from, and the share of the second.
struct Tap {
    first: usize,
    second: usize,
    share: f32,
}

impl Tap {
    fn mix(&self, first: f32, second: f32) -> f32 {
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
        Tap { first, second: (first + 1).min(last), share: (source - first as f64) as f32 }
    }

    /// The first output cell's window, with the step to the next.
    fn window(self, stride: (u64, u64)) -> Window {
        let (from, to) = (i128::from(stride.0), i128::from(stride.1));
        let first = match self {
            Mode::BilinearHalfPixel => i64::try_from((from - to).div_euclid(2 * to.max(1))).unwrap_or(i64::MAX),
            Mode::Nearest | Mode::BilinearAligned => 0,
        };
        let extent = if self == Mode::Nearest || from == to { 1 } else { 2 };
        Window { extent, stride, before: -first }
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
