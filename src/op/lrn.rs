//! Local response normalisation (Krizhevsky et al. 2012, section 3.3).

use super::attr::{ArgError, Call, Operands, Signature, Value, param};
use super::gradient::{Backward, GradBuilder, Ref, Wrt, fill};
use super::{Cost, Operator, ParamSpec, Reach, ShapeError, geom};
use super::onnx::{self, Attr, Export, Import, Unfit};
use super::pytorch::{Expr, PyTorch};
use crate::dim::DimError;
use crate::tensor::{Element, Nchw, Shape, View, ViewMut};

/// `out[c] = in[c] / (k + alpha / size · Σ in[j]²)^beta` at each position, the sum over the channels from
/// `c - size / 2` on, `size` of them, as far as there are any. As PyTorch and Caffe have it; the paper's alpha is not
/// divided by the size.
#[derive(Clone, Debug, PartialEq)]
pub struct Lrn {
    /// Channels in a window.
    pub size: u64,
    /// Factor of the mean square.
    pub alpha: f64,
    /// The exponent.
    pub beta: f64,
    /// Added to it.
    pub k: f64,
}

static SIGNATURES: [Signature; 1] = [Signature {
    layer: "lrn",
    params: &[
        param("size", "5", "channels in a window"),
        param("alpha", "1e-4", "factor of the mean square of the window; the paper's alpha times the size"),
        param("beta", "0.75", "the exponent"),
        param("k", "1.0", "added to the mean square"),
    ],
    operands: Operands::Above,
    doc: "local response normalisation over channels",
}];

impl Operator for Lrn {
    fn signatures() -> &'static [Signature] {
        &SIGNATURES
    }

    fn build(call: &Call) -> Result<Self, ArgError> {
        let not_negative = |name, default| match call.float(name, Some(default))? {
            value if value < 0.0 => Err(ArgError::new(name, "must not be negative")),
            value => Ok(value),
        };
        Ok(Lrn {
            size: call.count("size", Some(5), 1)?,
            alpha: not_negative("alpha", 1e-4)?,
            beta: call.float("beta", Some(0.75))?,
            k: not_negative("k", 1.0)?,
        })
    }

    fn describe(&self) -> (&'static str, Vec<(&'static str, Value)>) {
        let args = vec![
            ("size", Value::int(self.size)),
            ("alpha", Value::Float(self.alpha)),
            ("beta", Value::Float(self.beta)),
            ("k", Value::Float(self.k)),
        ];
        ("lrn", args)
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>, ShapeError> {
        geom::feature_map(inputs, 0)?;
        Ok(inputs.to_vec())
    }

    fn arithmetic(&self, _inputs: &[Shape], _outputs: &[Shape]) -> Vec<String> {
        Vec::new()
    }

    fn params(&self, _inputs: &[Shape]) -> Vec<ParamSpec> {
        Vec::new()
    }

    /// For each element a square, `size - 1` additions, two operations for `k + alpha / size · sum`, the power and the
    /// division.
    fn cost(&self, _inputs: &[Shape], outputs: &[Shape]) -> Result<Cost, DimError> {
        Cost::elementwise(&outputs[0], self.size + 4)
    }

    /// Of height and width its own position only.
    fn reach(&self, _inputs: &[Shape]) -> Reach {
        Reach::Point
    }

    /// In `f64`.
    fn forward<E: Element>(&self, inputs: &[View<E>], _params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        let from = Nchw::of(inputs[0].dims);
        let size = self.size as usize;
        for n in 0..from.n {
            for c in 0..from.c {
                let window = c.saturating_sub(size / 2)..from.c.min(c + size.div_ceil(2));
                for y in 0..from.h {
                    for x in 0..from.w {
                        let value = |channel| inputs[0].data[from.at(n, channel, y, x)].f64();
                        let sum: f64 = window.clone().map(|channel| value(channel).powi(2)).sum();
                        let divisor = (self.k + self.alpha / self.size as f64 * sum).powf(self.beta);
                        outputs[0].data[from.at(n, c, y, x)] = E::of(value(c) / divisor);
                    }
                }
            }
        }
    }

    fn gradient(&self, g: &mut GradBuilder) {
        let incoming = g.incoming(0);
        g.backward(self, &[Wrt::Operand(0)], &[Ref::Operand(0), incoming], &[]);
    }

    const ONNX: &'static [&'static str] = &["LRN"];

    /// Of an even number of channels ONNX takes the odd one behind, and this operator in front.
    fn from_onnx(node: &mut Import) -> Result<(), Unfit> {
        let (x, rank) = node.map(0)?;
        let size = u64::try_from(node.attrs.int("size", 0)?).ok().filter(|size| size % 2 == 1);
        let size = size.ok_or_else(|| Unfit::new("`size` is even, and its window then lies elsewhere"))?;
        let float = |name: &str, default: f32| Ok::<f64, Unfit>(onnx::shortest(f64::from(node.attrs.float(name, default)?)));
        let op = Lrn { size, alpha: float("alpha", 1e-4)?, beta: float("beta", 0.75)?, k: float("bias", 1.0)? };
        let made = node.emit_one(op, &[&x], Vec::new())?;
        node.map_result(made, rank);
        Ok(())
    }

    fn to_onnx(&self, g: &mut Export) -> Result<(), Unfit> {
        let float = |value: f64| Attr::Float(value as f32);
        let attrs = vec![
            ("size", Attr::Int(self.size as i64)),
            ("alpha", float(self.alpha)),
            ("beta", float(self.beta)),
            ("bias", float(self.k)),
        ];
        if !self.size.is_multiple_of(2) {
            g.unary("LRN", attrs);
            return Ok(());
        }
        // Runtimes take odd numbers of channels only: means of squares, with the channels as the height of a map.
        let channels = g.inputs[0].0[0].as_known().and_then(|c| i64::try_from(c).ok());
        let channels = channels.ok_or_else(|| Unfit::new("the number of its channels is not known"))?;
        let [before, after] = [self.size / 2, (self.size - 1) / 2].map(|pad| pad as i64);
        let (x, cut) = (g.operand(0), g.ints(vec![0, 1, channels, -1])?);
        let square = g.between("Mul", vec![x.clone(), x.clone()], Vec::new());
        let column = g.between("Reshape", vec![square, cut], Vec::new());
        let windows = vec![
            ("kernel_shape", Attr::Ints(vec![self.size as i64, 1])),
            ("pads", Attr::Ints(vec![before, 0, after, 0])),
            ("count_include_pad", Attr::Int(1)),
        ];
        let means = g.between("AveragePool", vec![column], windows);
        let (whole, alpha) = (g.result_sizes()?, g.float(self.alpha)?);
        let means = g.between("Reshape", vec![means, whole], Vec::new());
        let (scaled, k) = (g.between("Mul", vec![means, alpha], Vec::new()), g.float(self.k)?);
        let (sum, beta) = (g.between("Add", vec![scaled, k], Vec::new()), g.float(self.beta)?);
        let power = g.between("Pow", vec![sum, beta], Vec::new());
        g.last("Div", vec![x, power], Vec::new());
        Ok(())
    }

    fn to_pytorch(&self, g: &mut PyTorch) -> Result<(), Unfit> {
        let with = |text: &str| {
            Expr::new(text)
                .arg("size", self.size)
                .key("alpha", self.alpha, 1e-4)
                .key("beta", self.beta, 0.75)
                .key("k", self.k, 1.0)
        };
        g.either(with("F.local_response_norm({x}, {})"), with("nn.LocalResponseNorm({})"));
        Ok(())
    }
}

impl Backward for Lrn {
    fn backward_cost(&self, _wrt: &[Wrt], _inputs: &[Shape], outputs: &[Shape]) -> Result<Cost, DimError> {
        // A square, a power and three products for each element, and two sums over its window.
        Cost::elementwise(&outputs[0], 8 + 2 * self.size)
    }

    fn backward<E: Element>(&self, _wrt: &[Wrt], inputs: &[View<E>], _params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        let from = Nchw::of(inputs[0].dims);
        let (size, factor) = (self.size as usize, self.alpha / self.size as f64);
        let mut results = vec![0.0; outputs[0].data.len()];
        for n in 0..from.n {
            for y in 0..from.h {
                for x in 0..from.w {
                    let value = |channel: usize| inputs[0].data[from.at(n, channel, y, x)].f64();
                    let gradient = |channel: usize| inputs[1].data[from.at(n, channel, y, x)].f64();
                    for c in 0..from.c {
                        let window = c.saturating_sub(size / 2)..from.c.min(c + size.div_ceil(2));
                        let base = self.k + factor * window.clone().map(|channel| value(channel).powi(2)).sum::<f64>();
                        results[from.at(n, c, y, x)] += gradient(c) * base.powf(-self.beta);
                        let shared = -2.0 * self.beta * factor * gradient(c) * value(c) * base.powf(-self.beta - 1.0);
                        window.for_each(|channel| results[from.at(n, channel, y, x)] += shared * value(channel));
                    }
                }
            }
        }
        fill(&mut outputs[0], &results);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::dim::Dim;
    use crate::op::testing::{assert_close, assert_round_trip, build, infer_one, run, try_build};

    #[test]
    fn keeps_feature_maps() {
        let op: Lrn = build("lrn", &[], &[]);
        assert_eq!(op, Lrn { size: 5, alpha: 1e-4, beta: 0.75, k: 1.0 });
        assert_eq!(infer_one(&op, &[&[96, 55, 55]]), Ok(vec![96, 55, 55]));
        assert_eq!(infer_one(&op, &[&[96]]), Err(ShapeError::needs_feature_map(0)));
    }

    #[test]
    fn describes_itself() {
        assert_round_trip(&Lrn { size: 4, alpha: 5e-4, beta: 0.5, k: 2.0 }, &[]);
        for (name, value) in [("alpha", -1.0), ("k", -0.5), ("size", 0.5)] {
            let error = try_build::<Lrn>("lrn", &[(name, Value::Float(value))], &[]);
            assert_eq!(error.unwrap_err().param, Some(name));
        }
    }

    #[test]
    fn counts() {
        let (op, shape) = (build::<Lrn>("lrn", &[], &[]), [Shape::known(&[4, 3, 2])]);
        assert_eq!(op.cost(&shape, &shape).unwrap().flops, Dim::from(24u64 * 9));
    }

    /// The window of an even size reaches one channel further down, and ends at the first and last channel.
    #[test]
    fn windows_of_channels() {
        let x = vec![1.0, 2.0, 3.0, 4.0];
        let squares = [1.0, 4.0, 9.0, 16.0];
        for (size, sums) in [
            (1, [1.0, 4.0, 9.0, 16.0]),
            (2, [1.0, 5.0, 13.0, 25.0]),
            (3, [5.0, 14.0, 29.0, 25.0]),
            (4, [5.0, 14.0, 30.0, 29.0]),
            (100, [squares.iter().sum(); 4]),
        ] {
            let op = Lrn { size, alpha: 0.5, beta: 2.0, k: 3.0 };
            let output = run(&op, &[(&[1, 4, 1, 1], x.clone())], &[]);
            let expected: Vec<f64> = (0..4)
                .map(|c| f64::from(x[c]) / (3.0 + 0.5 * sums[c] / size as f64).powi(2))
                .collect();
            assert_close(&output[0], &expected, 1e-7);
        }
    }
}
