//! Trainable scale and bias per channel: with `avgpool(2)` in front, the subsampling of LeNet-5 (LeCun et al. 1998).

use super::attr::{ArgError, Call, Operands, Signature, Value, param};
use super::gradient::{Backward, GradBuilder, Ref, Wrt, fill};
use super::{Cost, Operator, ParamSpec, Reach, Role, ShapeError, geom};
use super::onnx::{self, Constant, Export, Import, Unfit};
use super::pytorch::{Expr, Helper, PyTorch};
use crate::dim::DimError;
use crate::tensor::{Element, Shape, View, ViewMut};

/// `out[c] = weight[c] · in[c] + bias[c]`, with `weight: [c]` and `bias: [c]`.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelScale {
    /// Whether a bias is added.
    pub bias: bool,
}

static SIGNATURES: [Signature; 1] = [Signature {
    layer: "scale",
    params: &[param("bias", "true", "whether a bias per channel is added")],
    operands: Operands::Above,
    doc: "trainable scale and bias per channel",
}];

static CHANNEL_SCALE: Helper = Helper {
    name: "ChannelScale",
    text: r#"class ChannelScale(nn.Module):
    """A trained scale and bias for each channel."""

    def __init__(self, channels: int, bias: bool = True):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        sizes = [-1] + [1] * (x.dim() - 2)
        x = x * self.weight.view(sizes)
        bias = self.bias
        return x if bias is None else x + bias.view(sizes)
"#,
};

impl Operator for ChannelScale {
    fn signatures() -> &'static [Signature] {
        &SIGNATURES
    }

    fn build(call: &Call) -> Result<Self, ArgError> {
        Ok(ChannelScale { bias: call.flag("bias", true)? })
    }

    fn describe(&self) -> (&'static str, Vec<(&'static str, Value)>) {
        ("scale", vec![("bias", Value::Bool(self.bias))])
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
        let mut params = vec![ParamSpec::plain("weight", c.clone(), Role::Scale)];
        if self.bias {
            params.push(ParamSpec::plain("bias", c, Role::Shift));
        }
        params
    }

    /// A multiplication for each element, and an addition where there is a bias.
    fn cost(&self, _inputs: &[Shape], outputs: &[Shape]) -> Result<Cost, DimError> {
        Cost::elementwise(&outputs[0], 1 + u64::from(self.bias))
    }

    fn reach(&self, _inputs: &[Shape]) -> Reach {
        Reach::Point
    }

    fn forward<E: Element>(&self, inputs: &[View<E>], params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        let c = inputs[0].dims[1];
        let positions: usize = inputs[0].dims[2..].iter().product();
        for (at, (output, &x)) in outputs[0].data.iter_mut().zip(inputs[0].data).enumerate() {
            let channel = at / positions % c;
            let bias = if self.bias { params[1].data[channel].f64() } else { 0.0 };
            *output = E::of(params[0].data[channel].f64() * x.f64() + bias);
        }
    }

    fn gradient(&self, g: &mut GradBuilder) {
        let incoming = g.incoming(0);
        g.backward(self, &[Wrt::Param(0), Wrt::Param(1)], &[Ref::Operand(0), incoming], &[]);
        g.backward(self, &[Wrt::Operand(0)], &[incoming], &[0]);
    }

    const ONNX: &'static [&'static str] = &["Mul", "Div", "Add", "Sub"];

    /// A product or a sum with one number for each channel.
    fn from_onnx(node: &mut Import) -> Result<(), Unfit> {
        let (x, constant, first) = node.live_and_known()?;
        if first && node.op_type == "Div" {
            return Err(Unfit::new("it divides a constant by a value"));
        }
        if constant.elements() == Some(1) {
            return Err(node.decline("its constant is one number"));
        }
        let x = node.whole(&x)?;
        let values = node.per_channel(constant, &x).ok_or_else(|| {
            Unfit::new("its constant is neither one number nor one for each channel")
        })?;
        let c = x.shape.0[0].as_u64().ok_or_else(|| Unfit::new("the number of channels is not known"))?;
        let of = |value: &dyn Fn(f32) -> f32| {
            let numbers = (0..c as usize).map(|at| value(values[at.min(values.len() - 1)])).collect();
            Constant::floats(&[c], numbers).map(|numbers| Constant { name: constant.name.clone(), ..numbers })
        };
        let (weight, bias) = match node.op_type {
            "Mul" => (of(&|value| value), None),
            "Div" => (of(&f32::recip), None),
            "Add" => (of(&|_| 1.0), of(&|value| value)),
            "Sub" if first => (of(&|_| -1.0), of(&|value| value)),
            _ => (of(&|_| 1.0), of(&|value| -value)),
        };
        let weight = weight.ok_or_else(|| Unfit::new("it has too many channels"))?;
        let op = ChannelScale { bias: bias.is_some() };
        node.pointwise(op, &x, onnx::weight_and_bias(weight, bias.as_ref()))
    }

    fn to_onnx(&self, g: &mut Export) -> Result<(), Unfit> {
        let x = g.operand(0);
        if !self.bias {
            let weight = g.param("weight");
            let weight = g.per_channel(weight)?;
            g.last("Mul", vec![x, weight], Vec::new());
            return Ok(());
        }
        g.scaled_and_shifted(x)
    }

    fn to_pytorch(&self, g: &mut PyTorch) -> Result<(), Unfit> {
        g.helper(&CHANNEL_SCALE);
        g.module(Expr::new("ChannelScale({})").arg("channels", g.channels()).key("bias", self.bias, true));
        Ok(())
    }
}

impl Backward for ChannelScale {
    fn backward_cost(&self, wrt: &[Wrt], inputs: &[Shape], outputs: &[Shape]) -> Result<Cost, DimError> {
        let gradient = inputs.last().unwrap_or(&outputs[0]);
        Cost::elementwise(gradient, wrt.iter().map(|wrt| if *wrt == Wrt::Param(0) { 2 } else { 1 }).sum())
    }

    fn backward<E: Element>(&self, wrt: &[Wrt], inputs: &[View<E>], params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        let gradients = inputs[inputs.len() - 1];
        let (c, positions): (usize, usize) = (gradients.dims[1], gradients.dims[2..].iter().product());
        for (wrt, output) in wrt.iter().zip(outputs) {
            let mut sums = vec![0.0; output.data.len()];
            for (at, gradient) in gradients.data.iter().enumerate() {
                let channel = at / positions % c;
                match wrt {
                    Wrt::Operand(_) => sums[at] = gradient.f64() * params[0].data[channel].f64(),
                    Wrt::Param(0) => sums[channel] += gradient.f64() * inputs[0].data[at].f64(),
                    Wrt::Param(_) => sums[channel] += gradient.f64(),
                }
            }
            fill(output, &sums);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::dim::Dim;
    use crate::op::testing::{assert_round_trip, build, infer_one, run};

    fn scale(bias: bool) -> ChannelScale {
        build("scale", &[("bias", Value::Bool(bias))], &[])
    }

    #[test]
    fn keeps_maps_and_vectors() {
        assert_eq!(infer_one(&scale(true), &[&[6, 14, 14]]), Ok(vec![6, 14, 14]));
        assert_eq!(infer_one(&scale(true), &[&[6]]), Ok(vec![6]));
        assert!(matches!(infer_one(&scale(true), &[&[6, 14]]), Err(ShapeError::Rank { .. })));
    }

    #[test]
    fn describes_itself() {
        for bias in [false, true] {
            assert_round_trip(&scale(bias), &[]);
        }
        assert_eq!(build::<ChannelScale>("scale", &[], &[]), scale(true));
    }

    /// S2 of LeNet-5 has 12 trainable parameters.
    #[test]
    fn counts_lenets_s2() {
        let shape = [Shape::known(&[6, 14, 14])];
        let elements: u64 = scale(true).params(&shape).iter().map(|spec| spec.elements().unwrap()).sum();
        assert_eq!(elements, 12);
        assert_eq!(scale(true).cost(&shape, &shape).unwrap().flops, Dim::from(2u64 * 6 * 14 * 14));
        assert_eq!(scale(false).cost(&shape, &shape).unwrap().flops, Dim::from(6u64 * 14 * 14));
    }

    #[test]
    fn scales_each_channel() {
        let x = vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
        let params = [vec![2.0, -1.0], vec![0.5, 10.0]];
        let output = run(&scale(true), &[(&[2, 2, 1, 2], x.clone())], &params);
        assert_eq!(output[0], [2.5, 4.5, 7.0, 6.0, 10.5, 12.5, 3.0, 2.0]);
        let output = run(&scale(false), &[(&[4, 2], x)], &params[..1]);
        assert_eq!(output[0], [2.0, -2.0, 6.0, -4.0, 10.0, -6.0, 14.0, -8.0]);
    }
}
