//! Parametric ReLU (He et al. 2015, arXiv:1502.01852), whose slope below zero is trained.

use super::attr::{ArgError, Call, Operands, Signature, Value, param};
use super::gradient::{Backward, GradBuilder, Ref, Wrt, fill};
use super::{Cost, Operator, ParamSpec, Reach, Role, ShapeError, geom};
use super::onnx::{self, Constant, Export, Import, Unfit};
use super::pytorch::{Expr, PyTorch};
use crate::dim::DimError;
use crate::tensor::{Element, Shape, View, ViewMut};

/// `out[c] = in[c]`, or `weight[c] · in[c]` below zero, with `weight: [c]`, or `[1]` where all channels share it
/// (PyTorch's `PReLU`).
#[derive(Clone, Debug, PartialEq)]
pub struct Prelu {
    /// Whether all channels have one slope.
    pub shared: bool,
}

static SIGNATURES: [Signature; 1] = [Signature {
    layer: "prelu",
    params: &[param("shared", "false", "whether all channels have one slope")],
    operands: Operands::Above,
    doc: "x, or weight*x below zero",
}];

impl Prelu {
    /// Which slope an element has, where a channel has so many positions and there are so many channels.
    fn slope(&self, at: usize, positions: usize, channels: usize) -> usize {
        if self.shared { 0 } else { at / positions % channels }
    }
}

impl Operator for Prelu {
    fn signatures() -> &'static [Signature] {
        &SIGNATURES
    }

    fn build(call: &Call) -> Result<Self, ArgError> {
        Ok(Prelu { shared: call.flag("shared", false)? })
    }

    fn describe(&self) -> (&'static str, Vec<(&'static str, Value)>) {
        ("prelu", vec![("shared", Value::Bool(self.shared))])
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>, ShapeError> {
        geom::channels(inputs, 0)?;
        Ok(inputs.to_vec())
    }

    fn arithmetic(&self, _inputs: &[Shape], _outputs: &[Shape]) -> Vec<String> {
        Vec::new()
    }

    fn params(&self, inputs: &[Shape]) -> Vec<ParamSpec> {
        let slopes = if self.shared { 1 } else { inputs[0].0[0].as_u64().unwrap_or(0) };
        vec![ParamSpec::plain("weight", vec![slopes], Role::Slope)]
    }

    /// A comparison and a multiplication for each element.
    fn cost(&self, _inputs: &[Shape], outputs: &[Shape]) -> Result<Cost, DimError> {
        Cost::elementwise(&outputs[0], 2)
    }

    fn reach(&self, _inputs: &[Shape]) -> Reach {
        Reach::Point
    }

    fn forward<E: Element>(&self, inputs: &[View<E>], params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        let (c, positions): (usize, usize) = (inputs[0].dims[1], inputs[0].dims[2..].iter().product());
        for (at, (output, &x)) in outputs[0].data.iter_mut().zip(inputs[0].data).enumerate() {
            let slope = params[0].data[self.slope(at, positions, c)].f64();
            *output = E::of(if x.f64() < 0.0 { slope * x.f64() } else { x.f64() });
        }
    }

    fn gradient(&self, g: &mut GradBuilder) {
        let incoming = g.incoming(0);
        g.backward(self, &[Wrt::Operand(0), Wrt::Param(0)], &[Ref::Operand(0), incoming], &[0]);
    }

    const ONNX: &'static [&'static str] = &["PRelu"];

    /// Before operator set 7 a list of slopes is that of the channels, and since then it is broadcast.
    fn from_onnx(node: &mut Import) -> Result<(), Unfit> {
        let x = node.live(0)?;
        let slope = node.weight(1, "slope")?;
        let x = if slope.elements() == Some(1) { x } else { node.whole(&x)? };
        let of_channels = slope.elements().filter(|_| node.opset < 7 && slope.dims().len() == 1);
        let behind = x.axes.place(0).map_or(0, |at| x.axes.rank() - 1 - at);
        let aligned = of_channels.and_then(|c| slope.reshaped(&[vec![c], vec![1; behind]].concat()));
        let values = node.per_channel(aligned.as_ref().unwrap_or(slope), &x).ok_or_else(|| Unfit::new("its slope is not one for each channel"))?;
        let shared = values.len() == 1;
        let weight = Constant::floats(&[values.len() as u64], values);
        let weight = weight.ok_or_else(|| Unfit::new("its slope is too large"))?;
        let weight = Constant { name: slope.name.clone(), ..weight };
        node.pointwise(Prelu { shared }, &x, onnx::weight_and_bias(weight, None))
    }

    fn to_onnx(&self, g: &mut Export) -> Result<(), Unfit> {
        let (x, weight) = (g.operand(0), g.param("weight"));
        let weight = if self.shared { weight } else { g.per_channel(weight)? };
        g.last("PRelu", vec![x, weight], Vec::new());
        Ok(())
    }

    fn to_pytorch(&self, g: &mut PyTorch) -> Result<(), Unfit> {
        let slopes = if self.shared { 1 } else { g.channels() };
        g.module(Expr::new("nn.PReLU({})").arg("num_parameters", slopes));
        Ok(())
    }
}

impl Backward for Prelu {
    fn backward_cost(&self, wrt: &[Wrt], inputs: &[Shape], _outputs: &[Shape]) -> Result<Cost, DimError> {
        // A comparison, and a product; that of the slope is summed.
        let each = |wrt: &Wrt| if matches!(wrt, Wrt::Param(_)) { 3 } else { 2 };
        Cost::elementwise(&inputs[0], wrt.iter().map(each).sum())
    }

    fn backward<E: Element>(&self, wrt: &[Wrt], inputs: &[View<E>], params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        let (c, positions): (usize, usize) = (inputs[0].dims[1], inputs[0].dims[2..].iter().product());
        for (wrt, output) in wrt.iter().zip(outputs) {
            let mut sums = vec![0.0; output.data.len()];
            for (at, (x, gradient)) in inputs[0].data.iter().zip(inputs[1].data).enumerate() {
                let (x, gradient, slope) = (x.f64(), gradient.f64(), self.slope(at, positions, c));
                match wrt {
                    Wrt::Operand(_) if 0.0 < x => sums[at] = gradient,
                    Wrt::Operand(_) => sums[at] = gradient * params[0].data[slope].f64(),
                    Wrt::Param(_) if 0.0 < x => {}
                    Wrt::Param(_) => sums[slope] += gradient * x,
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
    use crate::op::testing::{assert_round_trip, build, infer_one, run};

    #[test]
    fn keeps_maps_and_vectors() {
        let prelu = Prelu { shared: false };
        assert_eq!(infer_one(&prelu, &[&[6, 4, 3]]), Ok(vec![6, 4, 3]));
        assert_eq!(infer_one(&prelu, &[&[6]]), Ok(vec![6]));
        assert!(matches!(infer_one(&prelu, &[&[6, 4]]), Err(ShapeError::Rank { .. })));
    }

    #[test]
    fn describes_itself() {
        assert_round_trip(&Prelu { shared: true }, &[]);
        assert_eq!(build::<Prelu>("prelu", &[], &[]), Prelu { shared: false });
    }

    #[test]
    fn has_a_slope_for_each_channel_or_for_all() {
        let x = [1.0, -2.0, -3.0, 4.0, -5.0, -6.0, 7.0, 0.0].to_vec();
        let output = run(&Prelu { shared: false }, &[(&[2, 2, 1, 2], x.clone())], &[vec![0.5, -1.0]]);
        assert_eq!(output, [[1.0, -1.0, 3.0, 4.0, -2.5, -3.0, 7.0, 0.0]]);
        let output = run(&Prelu { shared: true }, &[(&[2, 4], x)], &[vec![0.25]]);
        assert_eq!(output, [[1.0, -0.5, -0.75, 4.0, -1.25, -1.5, 7.0, 0.0]]);
    }
}
