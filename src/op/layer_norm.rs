//! Layer normalisation over the channels of each position (Ba et al. 2016, arXiv:1607.06450; as `LayerNorm2d` in
//! ConvNeXt, Liu et al. 2022, arXiv:2201.03545).

use super::attr::{ArgError, Call, Operands, Signature, Value, param};
use super::gradient::{Backward, GradBuilder, Ref, Wrt, fill};
use super::{Cost, Operator, ParamSpec, Reach, Role, ShapeError, axis, geom};
use super::onnx::{self, Attr, Export, Import, Param, Unfit};
use super::pytorch::{Expr, Helper, PyTorch};
use crate::dim::{Dim, DimError};
use crate::tensor::{Element, Shape, View, ViewMut};

/// `out = (in - mean) / √(var + eps) · weight + bias`, mean and variance over the channels of one position (the
/// elements of a vector), weight and bias per channel.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerNorm {
    /// Added to the variance; above zero.
    pub eps: f64,
    /// Whether there is a scale and a shift.
    pub affine: bool,
}

static SIGNATURES: [Signature; 1] = [Signature {
    layer: "layer_norm",
    params: &[
        param("eps", "1e-6", "added to the variance"),
        param("affine", "true", "whether there is a scale and a shift per channel"),
    ],
    operands: Operands::Above,
    doc: "normalisation over the channels of each position",
}];

static CHANNEL_NORM: Helper = Helper {
    name: "ChannelNorm",
    text: r#"class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of each position."""

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)
        x = F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)
"#,
};

impl Operator for LayerNorm {
    fn signatures() -> &'static [Signature] {
        &SIGNATURES
    }

    fn build(call: &Call) -> Result<Self, ArgError> {
        let eps = call.float("eps", Some(1e-6))?;
        if eps <= 0.0 {
            return Err(ArgError::new("eps", "must be above 0"));
        }
        Ok(LayerNorm { eps, affine: call.flag("affine", true)? })
    }

    fn describe(&self) -> (&'static str, Vec<(&'static str, Value)>) {
        ("layer_norm", vec![("eps", Value::Float(self.eps)), ("affine", Value::Bool(self.affine))])
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>, ShapeError> {
        geom::channels(inputs, 0)?;
        Ok(inputs.to_vec())
    }

    fn arithmetic(&self, _inputs: &[Shape], _outputs: &[Shape]) -> Vec<String> {
        Vec::new()
    }

    fn params(&self, inputs: &[Shape]) -> Vec<ParamSpec> {
        let c = vec![inputs[0].0[0].as_u64().unwrap_or(0)];
        match self.affine {
            true => vec![
                ParamSpec::plain("weight", c.clone(), Role::Scale),
                ParamSpec::plain("bias", c, Role::Shift),
            ],
            false => Vec::new(),
        }
    }

    /// For each element an addition for the mean, a subtraction, a multiplication and an addition for the variance and
    /// a multiplication that normalises; scale and shift make it seven. fvcore counts four, or five.
    fn cost(&self, _inputs: &[Shape], outputs: &[Shape]) -> Result<Cost, DimError> {
        let elements = outputs[0].elements()?;
        let [flops, fvcore] = if self.affine { [7u64, 5] } else { [5, 4] };
        Ok(Cost {
            macs: Dim::ZERO,
            flops: elements.mul(&Dim::from(flops))?,
            fvcore: elements.mul(&Dim::from(fvcore))?,
        })
    }

    /// Of height and width its own position only.
    fn reach(&self, _inputs: &[Shape]) -> Reach {
        Reach::Point
    }

    /// In `f64`, the variance from the differences.
    fn forward<E: Element>(&self, inputs: &[View<E>], params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        let (n, positions) = axis::around(inputs[0].dims, 0);
        let c = inputs[0].dims[1];
        for n in 0..n {
            for position in 0..positions {
                let at = |channel: usize| (n * c + channel) * positions + position;
                let x = |channel: usize| inputs[0].data[at(channel)].f64();
                let mean = (0..c).map(x).sum::<f64>() / c as f64;
                let variance = (0..c).map(|channel| (x(channel) - mean).powi(2)).sum::<f64>() / c as f64;
                for channel in 0..c {
                    let normal = (x(channel) - mean) / (variance + self.eps).sqrt();
                    outputs[0].data[at(channel)] = E::of(match params {
                        [weight, bias] => normal * weight.data[channel].f64() + bias.data[channel].f64(),
                        _ => normal,
                    });
                }
            }
        }
    }

    fn gradient(&self, g: &mut GradBuilder) {
        let incoming = g.incoming(0);
        let params: &[usize] = if self.affine { &[0] } else { &[] };
        let wrt = [Wrt::Operand(0), Wrt::Param(0), Wrt::Param(1)];
        g.backward(self, &wrt, &[Ref::Operand(0), incoming], params);
    }

    const ONNX: &'static [&'static str] = &["LayerNormalization"];

    fn from_onnx(node: &mut Import) -> Result<(), Unfit> {
        if 1 < node.outputs {
            return Err(Unfit::new("its mean or deviation is used"));
        }
        node.attrs.int("stash_type", 1)?;
        let x = node.live(0)?;
        let x = node.whole(&x)?;
        let axis = node.axis_at(node.attrs.int("axis", -1)?, x.axes.rank())?;
        if axis + 1 != x.axes.rank() || node.axis_of(&x, axis)? != 0 {
            return Err(Unfit::new("it normalises over other axes than the channels"));
        }
        let eps = onnx::shortest(f64::from(node.attrs.float("epsilon", 1e-5)?));
        let weight = node.weight(1, "scale")?;
        let bias = match node.known(2, "shift")? {
            Some(bias) => bias.clone(),
            None => weight.map(|_| 0.0).ok_or_else(|| Unfit::new("its scale is too large"))?,
        };
        let params = vec![Param::new("weight", weight.clone()), Param::new("bias", bias)];
        node.pointwise(LayerNorm { eps, affine: true }, &x, params)
    }

    /// A map is turned so that its channels come last.
    fn to_onnx(&self, g: &mut Export) -> Result<(), Unfit> {
        if g.opset < 17 {
            return self.step_by_step(g);
        }
        let is_map = g.inputs[0].rank() == 3;
        let mut x = g.operand(0);
        if is_map {
            x = g.between("Transpose", vec![x], vec![("perm", Attr::Ints(vec![0, 2, 3, 1]))]);
        }
        let c = g.inputs[0].0[0].as_u64().unwrap_or(0);
        let weight = if self.affine { g.param("weight") } else { g.filled(&[c], 1.0)? };
        let mut inputs = vec![x, weight];
        inputs.extend(self.affine.then(|| g.param("bias")));
        let attrs = vec![("axis", Attr::Int(-1)), ("epsilon", Attr::Float(self.eps as f32))];
        if !is_map {
            g.last("LayerNormalization", inputs, attrs);
            return Ok(());
        }
        let y = g.between("LayerNormalization", inputs, attrs);
        g.last("Transpose", vec![y], vec![("perm", Attr::Ints(vec![0, 3, 1, 2]))]);
        Ok(())
    }

    fn to_pytorch(&self, g: &mut PyTorch) -> Result<(), Unfit> {
        let is_map = g.inputs[0].rank() == 3;
        if is_map {
            g.helper(&CHANNEL_NORM);
        }
        let module = Expr::new(if is_map { "ChannelNorm({})" } else { "nn.LayerNorm({})" })
            .arg("normalized_shape", g.channels())
            .key("eps", self.eps, 1e-5)
            .key("elementwise_affine", self.affine, true);
        g.module(module);
        Ok(())
    }
}

impl LayerNorm {
    /// For operator sets that have no LayerNormalization: differences from the mean by the root of the mean of their
    /// squares.
    fn step_by_step(&self, g: &mut Export) -> Result<(), Unfit> {
        let x = g.operand(0);
        let (inputs, attrs) = g.reduction("ReduceMean", x.clone(), &[1], true)?;
        let mean = g.between("ReduceMean", inputs, attrs);
        let difference = g.between("Sub", vec![x, mean], Vec::new());
        let square = g.between("Mul", vec![difference.clone(), difference.clone()], Vec::new());
        let (inputs, attrs) = g.reduction("ReduceMean", square, &[1], true)?;
        let (variance, eps) = (g.between("ReduceMean", inputs, attrs), g.float(self.eps)?);
        let padded = g.between("Add", vec![variance, eps], Vec::new());
        let root = g.between("Sqrt", vec![padded], Vec::new());
        if !self.affine {
            g.last("Div", vec![difference, root], Vec::new());
            return Ok(());
        }
        let normal = g.between("Div", vec![difference, root], Vec::new());
        g.scaled_and_shifted(normal)
    }
}

impl Backward for LayerNorm {
    fn backward_cost(&self, _wrt: &[Wrt], inputs: &[Shape], _outputs: &[Shape]) -> Result<Cost, DimError> {
        // Two sums for each position, and what follows from them for each element.
        Cost::elementwise(&inputs[0], 12)
    }

    fn backward<E: Element>(&self, wrt: &[Wrt], inputs: &[View<E>], params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        let (n, positions) = axis::around(inputs[0].dims, 0);
        let c = inputs[0].dims[1];
        let mut results: Vec<Vec<f64>> = outputs.iter().map(|output| vec![0.0; output.data.len()]).collect();
        for n in 0..n {
            for position in 0..positions {
                let at = |channel: usize| (n * c + channel) * positions + position;
                let x = |channel: usize| inputs[0].data[at(channel)].f64();
                let gradient = |channel: usize| inputs[1].data[at(channel)].f64();
                let mean = (0..c).map(x).sum::<f64>() / c as f64;
                let variance = (0..c).map(|channel| (x(channel) - mean).powi(2)).sum::<f64>() / c as f64;
                let root = (variance + self.eps).sqrt();
                let normal = |channel: usize| (x(channel) - mean) / root;
                let scaled = |channel: usize| gradient(channel) * params.first().map_or(1.0, |scale| scale.data[channel].f64());
                let first = (0..c).map(scaled).sum::<f64>() / c as f64;
                let second = (0..c).map(|channel| scaled(channel) * normal(channel)).sum::<f64>() / c as f64;
                for (wrt, result) in wrt.iter().zip(&mut results) {
                    for channel in 0..c {
                        match wrt {
                            Wrt::Operand(_) => {
                                result[at(channel)] = (scaled(channel) - first - normal(channel) * second) / root;
                            }
                            Wrt::Param(0) => result[channel] += gradient(channel) * normal(channel),
                            Wrt::Param(_) => result[channel] += gradient(channel),
                        }
                    }
                }
            }
        }
        outputs.iter_mut().zip(&results).for_each(|(output, result)| fill(output, result));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::op::testing::{assert_close, assert_round_trip, build, infer_one, run, seeded, try_build};

    fn norm(affine: bool) -> LayerNorm {
        build("layer_norm", &[("affine", Value::Bool(affine))], &[])
    }

    #[test]
    fn keeps_maps_and_vectors() {
        assert_eq!(infer_one(&norm(true), &[&[6, 4, 3]]), Ok(vec![6, 4, 3]));
        assert_eq!(infer_one(&norm(true), &[&[6]]), Ok(vec![6]));
        assert!(matches!(infer_one(&norm(true), &[&[6, 4]]), Err(ShapeError::Rank { .. })));
        let unknown = Shape(vec![Dim::symbol("C", 1), 4u64.into(), 3u64.into()]);
        assert!(matches!(norm(true).infer(&[unknown]), Err(ShapeError::Misfit { .. })));
    }

    #[test]
    fn describes_itself() {
        for affine in [false, true] {
            assert_round_trip(&norm(affine), &[]);
        }
        assert_eq!(norm(true), LayerNorm { eps: 1e-6, affine: true });
        let error = try_build::<LayerNorm>("layer_norm", &[("eps", Value::Float(0.0))], &[]);
        assert_eq!(error.unwrap_err().param, Some("eps"));
    }

    #[test]
    fn counts() {
        let shape = [Shape::known(&[6, 4, 3])];
        let affine = norm(true).cost(&shape, &shape).unwrap();
        assert_eq!((affine.flops, affine.fvcore), (Dim::from(72u64 * 7), Dim::from(72u64 * 5)));
        let plain = norm(false).cost(&shape, &shape).unwrap();
        assert_eq!((plain.flops, plain.fvcore), (Dim::from(72u64 * 5), Dim::from(72u64 * 4)));
        assert_eq!(norm(true).params(&shape).len(), 2);
        assert!(norm(false).params(&shape).is_empty());
    }

    #[test]
    fn normalises_the_channels_of_a_position() {
        // Two positions: (1, 3) with mean 2 and variance 1, (0, 8) with mean 4 and variance 16.
        let op = LayerNorm { eps: 1e-12, affine: true };
        let output = run(&op, &[(&[1, 2, 1, 2], vec![1.0, 0.0, 3.0, 8.0])], &[vec![1.0, 10.0], vec![0.0, 5.0]]);
        assert_close(&output[0], &[-1.0, -1.0, 15.0, 15.0], 1e-7);
    }

    #[test]
    fn each_position_has_mean_zero_and_variance_one() {
        let (n, c, positions) = (2, 7, 6);
        let output = run(&norm(false), &[(&[n, c, 3, 2], seeded(n * c * positions, 5))], &[]);
        for n in 0..n {
            for position in 0..positions {
                let values = (0..c).map(|channel| f64::from(output[0][(n * c + channel) * positions + position]));
                let mean = values.clone().sum::<f64>() / c as f64;
                let variance = values.map(|x| x * x).sum::<f64>() / c as f64;
                assert!(mean.abs() < 1e-6 && (variance - 1.0).abs() < 1e-4, "{mean} {variance}");
            }
        }
    }
}
