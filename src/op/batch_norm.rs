//! Batch normalisation (Ioffe & Szegedy 2015, arXiv:1502.03167).

use super::attr::{ArgError, Call, Operands, Signature, Value, param};
use super::gradient::{Backward, GradBuilder, Wrt};
use super::{Cost, Operator, ParamSpec, Reach, Role, ShapeError, geom};
use super::onnx::{self, Attr, Export, Import, Param, Unfit};
use super::pytorch::{Expr, PyTorch};
use crate::dim::{Dim, DimError};
use crate::tensor::{Element, Shape, View, ViewMut};

/// In inference `out = (in - running_mean) / √(running_var + eps) · weight + bias`, all per channel (PyTorch's
/// `BatchNorm2d`, on a vector `BatchNorm1d`). Training takes mean and variance of the batch instead and moves the
/// running ones.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchNorm {
    /// Added to the variance; above zero.
    pub eps: f64,
    /// The share of the batch in the running mean and variance.
    pub momentum: f64,
    /// Whether there is a scale and a shift.
    pub affine: bool,
}

static SIGNATURES: [Signature; 1] = [Signature {
    layer: "bn",
    params: &[
        param("eps", "1e-5", "added to the variance"),
        param("momentum", "0.1", "the share of the batch in the running mean and variance"),
        param("affine", "true", "whether there is a scale and a shift per channel"),
    ],
    operands: Operands::Above,
    doc: "batch normalisation",
}];

impl Operator for BatchNorm {
    fn signatures() -> &'static [Signature] {
        &SIGNATURES
    }

    fn build(call: &Call) -> Result<Self, ArgError> {
        let eps = call.float("eps", Some(1e-5))?;
        if eps <= 0.0 {
            return Err(ArgError::new("eps", "must be above 0"));
        }
        let momentum = call.float("momentum", Some(0.1))?;
        if !(0.0..=1.0).contains(&momentum) {
            return Err(ArgError::new("momentum", "must be between 0 and 1"));
        }
        Ok(BatchNorm { eps, momentum, affine: call.flag("affine", true)? })
    }

    fn describe(&self) -> (&'static str, Vec<(&'static str, Value)>) {
        let args = vec![
            ("eps", Value::Float(self.eps)),
            ("momentum", Value::Float(self.momentum)),
            ("affine", Value::Bool(self.affine)),
        ];
        ("bn", args)
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
        let mut params = Vec::new();
        if self.affine {
            params.push(ParamSpec::plain("weight", c.clone(), Role::Scale));
            params.push(ParamSpec::plain("bias", c.clone(), Role::Shift));
        }
        params.push(ParamSpec::plain("running_mean", c.clone(), Role::RunningMean));
        params.push(ParamSpec::plain("running_var", c, Role::RunningVar));
        params.push(ParamSpec::plain("num_batches_tracked", Vec::new(), Role::Counter));
        params
    }

    /// In inference it is one multiplication and one addition for each element. fvcore counts two for each element,
    /// one where there is no scale and shift.
    fn cost(&self, _inputs: &[Shape], outputs: &[Shape]) -> Result<Cost, DimError> {
        let elements = outputs[0].elements()?;
        let fvcore = elements.mul(&Dim::from(if self.affine { 2u64 } else { 1 }))?;
        Ok(Cost { macs: Dim::ZERO, flops: elements.mul(&Dim::from(2u64))?, fvcore })
    }

    fn reach(&self, _inputs: &[Shape]) -> Reach {
        Reach::Point
    }

    /// The form of inference, in `f64`.
    fn forward<E: Element>(&self, inputs: &[View<E>], params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        let (affine, statistics) = params.split_at(if self.affine { 2 } else { 0 });
        let c = inputs[0].dims[1];
        let positions: usize = inputs[0].dims[2..].iter().product();
        for (at, (output, &x)) in outputs[0].data.iter_mut().zip(inputs[0].data).enumerate() {
            let channel = at / positions % c;
            let of = |param: &View<E>| param.data[channel].f64();
            let normal = (x.f64() - of(&statistics[0])) / (of(&statistics[1]) + self.eps).sqrt();
            *output = E::of(match affine {
                [weight, bias] => normal * of(weight) + of(bias),
                _ => normal,
            });
        }
    }

    fn gradient(&self, g: &mut GradBuilder) {
        // The form of inference, which a frozen one keeps in training.
        let incoming = g.incoming(0);
        g.backward(self, &[Wrt::Operand(0)], &[incoming], if self.affine { &[0, 3] } else { &[1] });
    }

    const ONNX: &'static [&'static str] = &["BatchNormalization"];

    fn from_onnx(node: &mut Import) -> Result<(), Unfit> {
        if node.attrs.flag("training_mode", false)? || 1 < node.outputs {
            return Err(Unfit::new("it normalises by the statistics of the batch, as in training"));
        }
        if !node.attrs.flag("spatial", true)? {
            return Err(Unfit::new("`spatial` = 0 has statistics for each position"));
        }
        // A flag of the first versions, which says nothing that a graph for inference does not say.
        node.attrs.int("is_test", 1)?;
        let x = node.live(0)?;
        let x = node.whole(&x)?;
        if node.axis_of(&x, 1)? != 0 {
            return Err(Unfit::new("it normalises along another axis than the channels"));
        }
        let eps = f64::from(node.attrs.float("epsilon", 1e-5)?);
        let kept = onnx::shortest(f64::from(node.attrs.float("momentum", 0.9)?));
        let op = BatchNorm { eps: onnx::shortest(eps), momentum: onnx::shortest(1.0 - kept), affine: true };
        if op.eps <= 0.0 {
            return Err(Unfit::new("`epsilon` is not above 0"));
        }
        let leaves = ["weight", "bias", "running_mean", "running_var"];
        let params = leaves.iter().enumerate().map(|(at, &leaf)| Ok(Param::new(leaf, node.weight(at + 1, leaf)?.clone())));
        let params = params.collect::<Result<_, Unfit>>()?;
        node.pointwise(op, &x, params)
    }

    /// Without a scale and a shift these are ones and zeros.
    fn to_onnx(&self, g: &mut Export) -> Result<(), Unfit> {
        let c = g.inputs[0].0[0].as_u64().unwrap_or(0);
        let (weight, bias) = if self.affine {
            (g.param("weight"), g.param("bias"))
        } else {
            (g.filled(&[c], 1.0)?, g.filled(&[c], 0.0)?)
        };
        let inputs = vec![g.operand(0), weight, bias, g.param("running_mean"), g.param("running_var")];
        let momentum = Attr::Float((1.0 - self.momentum) as f32);
        g.last("BatchNormalization", inputs, vec![("epsilon", Attr::Float(self.eps as f32)), ("momentum", momentum)]);
        Ok(())
    }

    fn to_pytorch(&self, g: &mut PyTorch) -> Result<(), Unfit> {
        let name = if g.inputs[0].rank() == 3 { "nn.BatchNorm2d({})" } else { "nn.BatchNorm1d({})" };
        let module = Expr::new(name)
            .arg("num_features", g.channels())
            .key("eps", self.eps, 1e-5)
            .key("momentum", self.momentum, 0.1)
            .key("affine", self.affine, true);
        g.module(module);
        Ok(())
    }
}

impl Backward for BatchNorm {
    fn backward_cost(&self, _wrt: &[Wrt], _inputs: &[Shape], outputs: &[Shape]) -> Result<Cost, DimError> {
        Cost::elementwise(&outputs[0], 1)
    }

    fn backward<E: Element>(&self, _wrt: &[Wrt], inputs: &[View<E>], params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        let c = inputs[0].dims[1];
        let positions: usize = inputs[0].dims[2..].iter().product();
        let variance = params[params.len() - 1];
        for (at, (output, gradient)) in outputs[0].data.iter_mut().zip(inputs[0].data).enumerate() {
            let channel = at / positions % c;
            let scale = if self.affine { params[0].data[channel].f64() } else { 1.0 };
            *output = E::of(gradient.f64() * scale / (variance.data[channel].f64() + self.eps).sqrt());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::op::testing::{assert_close, assert_round_trip, build, infer_one, run, seeded, try_build};

    fn bn(affine: bool) -> BatchNorm {
        build("bn", &[("eps", Value::Float(0.001)), ("affine", Value::Bool(affine))], &[])
    }

    #[test]
    fn keeps_maps_and_vectors() {
        assert_eq!(infer_one(&bn(true), &[&[64, 7, 5]]), Ok(vec![64, 7, 5]));
        assert_eq!(infer_one(&bn(true), &[&[64]]), Ok(vec![64]));
        assert!(matches!(infer_one(&bn(true), &[&[64, 7]]), Err(ShapeError::Rank { .. })));
    }

    #[test]
    fn height_and_width_may_be_symbols() {
        let input = Shape(vec![3u64.into(), Dim::symbol("H", 1), Dim::symbol("W", 1)]);
        assert_eq!(bn(true).infer(std::slice::from_ref(&input)), Ok(vec![input.clone()]));
        let cost = bn(true).cost(std::slice::from_ref(&input), std::slice::from_ref(&input)).unwrap();
        assert_eq!(cost.flops, input.elements().unwrap().mul(&Dim::from(2u64)).unwrap());
    }

    #[test]
    fn describes_itself() {
        for affine in [false, true] {
            assert_round_trip(&bn(affine), &[]);
        }
        let defaults = BatchNorm { eps: 1e-5, momentum: 0.1, affine: true };
        assert_eq!(build::<BatchNorm>("bn", &[], &[]), defaults);
    }

    #[test]
    fn refuses_impossible_arguments() {
        for (name, value) in [("eps", 0.0), ("eps", -1.0), ("momentum", 1.5), ("momentum", -0.1)] {
            let error = try_build::<BatchNorm>("bn", &[(name, Value::Float(value))], &[]).unwrap_err();
            assert_eq!(error.param, Some(name));
        }
    }

    #[test]
    fn owns_parameters_and_buffers_under_pytorchs_names() {
        let params = bn(true).params(&[Shape::known(&[8, 2, 2])]);
        let leaves: Vec<_> = params.iter().map(|spec| (spec.leaf, spec.shape.len(), spec.role.trainable())).collect();
        let expected = [
            ("weight", 1, true),
            ("bias", 1, true),
            ("running_mean", 1, false),
            ("running_var", 1, false),
            ("num_batches_tracked", 0, false),
        ];
        assert_eq!(leaves, expected);
        assert_eq!(bn(false).params(&[Shape::known(&[8, 2, 2])]), params[2..]);
    }

    #[test]
    fn fvcore_counts_two_or_one() {
        let shape = [Shape::known(&[8, 2, 3])];
        assert_eq!(bn(true).cost(&shape, &shape).unwrap().fvcore, Dim::from(96u64));
        assert_eq!(bn(false).cost(&shape, &shape).unwrap().fvcore, Dim::from(48u64));
    }

    #[test]
    fn normalises_each_channel() {
        let (x, mean, var) = (seeded(2 * 3 * 4, 1), vec![0.5, -0.25, 0.0], vec![1.0, 0.25, 4.0]);
        let (weight, bias) = (vec![1.0, -2.0, 0.5], vec![0.0, 1.0, -1.0]);
        let plain = run(&bn(false), &[(&[2, 3, 2, 2], x.clone())], &[mean.clone(), var.clone(), vec![9.0]]);
        let params = [weight.clone(), bias.clone(), mean.clone(), var.clone(), vec![9.0]];
        let affine = run(&bn(true), &[(&[2, 3, 2, 2], x.clone())], &params);
        let mut expected = (Vec::new(), Vec::new());
        for n in 0..2 {
            for c in 0..3 {
                for position in 0..4 {
                    let x = f64::from(x[(n * 3 + c) * 4 + position]);
                    let normal = (x - f64::from(mean[c])) * (f64::from(var[c]) + 0.001).powf(-0.5);
                    expected.0.push(normal);
                    expected.1.push(normal * f64::from(weight[c]) + f64::from(bias[c]));
                }
            }
        }
        assert_close(&plain[0], &expected.0, 1e-7);
        assert_close(&affine[0], &expected.1, 1e-7);
    }

    #[test]
    fn on_a_vector_each_element_is_a_channel() {
        let params = [vec![1.0, 1.0], vec![0.0, 1.0], vec![1.0, 2.0], vec![1.0 - 0.001, 4.0 - 0.001], vec![0.0]];
        let output = run(&bn(true), &[(&[2, 2], vec![1.0, 2.0, 3.0, 6.0])], &params);
        assert_close(&output[0], &[0.0, 1.0, 2.0, 3.0], 1e-7);
    }
}
