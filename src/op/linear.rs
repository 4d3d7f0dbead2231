//! Fully connected layer.

use super::attr::{ArgError, Call, Operands, Signature, Value, param};
use super::geom::{known, vector};
use super::gradient::{Backward, GradBuilder, Wrt, fill};
use super::products;
use super::{Cost, Operator, ParamSpec, Reach, Role, ShapeError};
use crate::dim::{Dim, DimError};
use crate::tensor::{Element, Shape, View, ViewMut};

/// `out[o] = bias[o] + Σ weight[o, i] · in[i]`, with `weight: [out, in]` and `bias: [out]` (PyTorch's `Linear`). Takes
/// a vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// Output features.
    pub features: u64,
    /// Whether a bias is added.
    pub bias: bool,
}

static SIGNATURES: [Signature; 1] = [Signature {
    layer: "linear",
    params: &[param("features", "", "output features"), param("bias", "true", "whether a bias is added")],
    operands: Operands::Above,
    doc: "fully connected layer on a vector",
}];

impl Operator for Linear {
    fn signatures() -> &'static [Signature] {
        &SIGNATURES
    }

    fn build(call: &Call) -> Result<Self, ArgError> {
        Ok(Linear { features: call.count("features", None, 1)?, bias: call.flag("bias", true)? })
    }

    fn describe(&self) -> (&'static str, Vec<(&'static str, Value)>) {
        ("linear", vec![("features", Value::int(self.features)), ("bias", Value::Bool(self.bias))])
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>, ShapeError> {
        known(vector(inputs, 0)?, "input features")?;
        super::countable(&self.params(inputs))?;
        Ok(vec![Shape::known(&[self.features])])
    }

    fn arithmetic(&self, _inputs: &[Shape], _outputs: &[Shape]) -> Vec<String> {
        Vec::new()
    }

    fn params(&self, inputs: &[Shape]) -> Vec<ParamSpec> {
        let (fan_in, fan_out) = (inputs[0].0[0].as_u64().unwrap_or(0), self.features);
        let shape = vec![fan_out, fan_in];
        let mut params = vec![ParamSpec { leaf: "weight", shape, role: Role::Weight, fan_in, fan_out }];
        if self.bias {
            params.push(ParamSpec { leaf: "bias", shape: vec![self.features], role: Role::Bias, fan_in, fan_out });
        }
        params
    }

    /// `in · out` MACs; a bias adds one operation to each output.
    fn cost(&self, inputs: &[Shape], _outputs: &[Shape]) -> Result<Cost, DimError> {
        let features = Dim::from(self.features);
        let biased = if self.bias { features.clone() } else { Dim::ZERO };
        Cost::multiply(inputs[0].0[0].mul(&features)?, &biased)
    }

    fn reach(&self, _inputs: &[Shape]) -> Reach {
        Reach::Everything
    }

    /// Sums in `f64`.
    fn forward<E: Element>(&self, inputs: &[View<E>], params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        let (in_n, out_n) = (inputs[0].dims[1], outputs[0].dims[1]);
        for n in 0..outputs[0].dims[0] {
            let vector = &inputs[0].data[n * in_n..][..in_n];
            for o in 0..out_n {
                let row = &params[0].data[o * in_n..][..in_n];
                let bias = if self.bias { params[1].data[o].f64() } else { 0.0 };
                let sum: f64 = row.iter().zip(vector).map(|(&w, &x)| w.f64() * x.f64()).sum();
                outputs[0].data[n * out_n + o] = E::of(bias + sum);
            }
        }
    }

    fn gradient(&self, g: &mut GradBuilder) {
        products::gradient(self, g);
    }
}

impl Backward for Linear {
    fn backward_cost(&self, wrt: &[Wrt], inputs: &[Shape], outputs: &[Shape]) -> Result<Cost, DimError> {
        let (x, gradient) = products::sides(wrt, inputs, outputs);
        products::backward_cost(wrt, gradient.elements()?.mul(&x.elements()?)?, gradient)
    }

    fn backward<E: Element>(&self, wrt: &[Wrt], inputs: &[View<E>], params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        if let [Wrt::Operand(_)] = wrt {
            let (in_n, out_n) = (outputs[0].dims[1], inputs[0].dims[1]);
            let gradient = |n: usize, o: usize| inputs[0].data[n * out_n + o].f64();
            let weight = |o: usize, i: usize| params[0].data[o * in_n + i].f64();
            let sum = |at: usize| (0..out_n).map(|o| gradient(at / in_n, o) * weight(o, at % in_n)).sum();
            let sums: Vec<f64> = (0..outputs[0].data.len()).map(sum).collect();
            return fill(&mut outputs[0], &sums);
        }
        let (samples, in_n, out_n) = (inputs[0].dims[0], inputs[0].dims[1], inputs[1].dims[1]);
        let gradient = |n: usize, o: usize| inputs[1].data[n * out_n + o].f64();
        let x = |n: usize, i: usize| inputs[0].data[n * in_n + i].f64();
        for (wrt, output) in wrt.iter().zip(outputs) {
            let sum = |at: usize| match wrt {
                Wrt::Param(0) => (0..samples).map(|n| gradient(n, at / in_n) * x(n, at % in_n)).sum(),
                _ => (0..samples).map(|n| gradient(n, at)).sum(),
            };
            let sums: Vec<f64> = (0..output.data.len()).map(sum).collect();
            fill(output, &sums);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::op::testing::{assert_close, assert_round_trip, build, infer_one, run, seeded, try_build};

    fn linear(features: u64, bias: bool) -> Linear {
        build("linear", &[("features", Value::int(features)), ("bias", Value::Bool(bias))], &[])
    }

    #[test]
    fn takes_a_vector_only() {
        assert_eq!(infer_one(&linear(10, true), &[&[84]]), Ok(vec![10]));
        let error = infer_one(&linear(10, true), &[&[16, 5, 5]]);
        let flatten = Some("flatten");
        assert_eq!(error, Err(ShapeError::Rank { input: 0, needs: "a vector [n]", insert: flatten }));
    }

    #[test]
    fn needs_to_know_its_features() {
        let symbolic = Shape(vec![Dim::symbol("H", 1)]);
        assert!(matches!(linear(10, true).infer(&[symbolic]), Err(ShapeError::Misfit { .. })));
    }

    #[test]
    fn describes_itself() {
        for bias in [false, true] {
            assert_round_trip(&linear(7, bias), &[Shape::known(&[3])]);
        }
        assert_eq!(build::<Linear>("linear", &[("features", Value::int(7))], &[]), linear(7, true));
        assert_eq!(try_build::<Linear>("linear", &[], &[]).unwrap_err().param, Some("features"));
    }

    #[test]
    fn counts_vgg_fc6() {
        let (op, input) = (linear(4096, true), [Shape::known(&[25088])]);
        let output = op.infer(&input).unwrap();
        let cost = op.cost(&input, &output).unwrap();
        assert_eq!(cost.macs, Dim::from(102_760_448u64));
        assert_eq!(cost.flops, Dim::from(2 * 102_760_448u64 + 4096));
        assert_eq!(cost.fvcore, cost.macs);
        let elements: u64 = op.params(&input).iter().map(|spec| spec.elements().unwrap()).sum();
        assert_eq!(elements, 102_764_544);
        let weight = &op.params(&input)[0];
        assert_eq!((weight.shape.as_slice(), weight.fan_in, weight.fan_out), (&[4096, 25088][..], 25088, 4096));
    }

    #[test]
    fn multiplies_rows_by_the_vector() {
        let params = [vec![1.0, 2.0, 3.0, -1.0, 0.5, 0.0], vec![10.0, 20.0]];
        let output = run(&linear(2, true), &[(&[2, 3], vec![1.0, 1.0, 1.0, 2.0, 0.0, -1.0])], &params);
        assert_eq!(output[0], [16.0, 19.5, 9.0, 18.0]);
    }

    #[test]
    fn identity_weights_give_the_vector_back() {
        let x = seeded(10, 1);
        let weight = (0..25).map(|at| if at / 5 == at % 5 { 1.0 } else { 0.0 }).collect();
        let output = run(&linear(5, false), &[(&[2, 5], x.clone())], &[weight]);
        assert_close(&output[0], &x.iter().map(|&x| f64::from(x)).collect::<Vec<_>>(), 0.0);
    }
}
