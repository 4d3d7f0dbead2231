//! Fully connected layer.

use super::attr::{ArgError, Call, Operands, Signature, Value, param};
use super::conv::Conv;
use super::geom::{Windows, known, vector};
use super::gradient::{Backward, GradBuilder, Wrt, fill};
use super::products;
use super::{Cost, Operator, ParamSpec, Reach, Role, ShapeError};
use super::onnx::{self, Attr, Constant, Export, Import, Live, Unfit};
use super::pytorch::{Expr, PyTorch};
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

    const ONNX: &'static [&'static str] = &["Gemm", "MatMul"];

    /// A product with a matrix along the channels of a map is a convolution with a kernel of one.
    fn from_onnx(node: &mut Import) -> Result<(), Unfit> {
        let gemm = node.op_type == "Gemm";
        let weight = node.weight(1, "matrix")?;
        let &[rows, columns] = weight.dims().as_slice() else {
            return Err(Unfit::new("its second operand is no matrix"));
        };
        if gemm && node.attrs.flag("transA", false)? {
            return Err(Unfit::new("its first operand is transposed, so that it works across the batch"));
        }
        // ONNX multiplies x by [in, out] unless it is told that the matrix is transposed.
        let is_transposed = gemm && node.attrs.flag("transB", false)?;
        let mut weight = if is_transposed { weight.clone() } else { weight.permuted(&[1, 0]) };
        let (out_n, in_n) = if is_transposed { (rows, columns) } else { (columns, rows) };
        let alpha = if gemm { node.attrs.float("alpha", 1.0)? } else { 1.0 };
        if alpha != 1.0 {
            weight = weight.map(|value| alpha * value).ok_or_else(|| Unfit::new("its matrix is too large"))?;
        }
        let x = node.live(0)?;
        if !gemm && x.axes.rank() > 2 {
            return pointwise(node, &x, weight, [in_n, out_n]);
        }
        let bias = if gemm { gemm_bias(node, out_n)? } else { None };
        let (x, order) = node.vector(&x)?;
        if let Some(order) = order {
            weight = columns_in_order(&weight, &order, in_n)?;
        }
        let op = Linear { features: out_n, bias: bias.is_some() };
        let made = node.emit_one(op, &[&x], onnx::weight_and_bias(weight, bias.as_ref()))?;
        node.result(made);
        Ok(())
    }

    fn to_onnx(&self, g: &mut Export) -> Result<(), Unfit> {
        let mut inputs = vec![g.operand(0), g.param("weight")];
        if self.bias {
            inputs.push(g.param("bias"));
        } else if g.opset < 11 {
            // Only later is the summand left out.
            inputs.push(g.float(0.0)?);
        }
        g.last("Gemm", inputs, vec![("transB", Attr::Int(1))]);
        Ok(())
    }

    fn to_pytorch(&self, g: &mut PyTorch) -> Result<(), Unfit> {
        let module = Expr::new("nn.Linear({})")
            .arg("in_features", g.channels())
            .arg("out_features", self.features)
            .key("bias", self.bias, true);
        g.module(module);
        Ok(())
    }
}

/// A product with a matrix along the channels of a map: a convolution with a kernel of one.
fn pointwise(node: &mut Import, x: &Live, weight: Constant, [in_n, out_n]: [u64; 2]) -> Result<(), Unfit> {
    let x = node.whole(x)?;
    let last = x.axes.rank() - 1;
    if x.shape.rank() != 3 || node.axis_of(&x, last)? != 0 {
        return Err(Unfit::new("it multiplies along an axis that is not the channels"));
    }
    let weight = weight.reshaped(&[out_n, in_n, 1, 1]).ok_or_else(|| Unfit::new("its matrix has no such sizes"))?;
    let windows = Windows::single([1, 1]);
    let op = Conv { out_c: out_n, windows, groups: 1, bias: false };
    let made = node.emit_one(op, &[&x], onnx::weight_and_bias(weight, None))?;
    let axes = x.axes.resized(&made.shape);
    node.result(Live { axes, ..made });
    Ok(())
}

/// The summand of a Gemm, times its factor, as one number for each feature.
fn gemm_bias(node: &Import, out_n: u64) -> Result<Option<Constant>, Unfit> {
    let beta = node.attrs.float("beta", 1.0)?;
    let Some(bias) = node.known(2, "summand")? else { return Ok(None) };
    let values = bias.along(2, 1).filter(|values| values.len() == 1 || values.len() as u64 == out_n);
    let values = values.ok_or_else(|| Unfit::new("its summand is not one number for each feature"))?;
    let all = (0..out_n as usize).map(|at| beta * values[at.min(values.len() - 1)]).collect();
    let bias = Constant::floats(&[out_n], all).map(|all| Constant { name: bias.name.clone(), ..all });
    bias.map(Some).ok_or_else(|| Unfit::new("its summand is too large"))
}

/// The columns of a matrix for a vector whose element `i` stands at `order[i]` of the operand's.
fn columns_in_order(weight: &Constant, order: &[usize], in_n: u64) -> Result<Constant, Unfit> {
    let wrong = || Unfit::new("its matrix does not fit its operand");
    if order.len() as u64 != in_n {
        return Err(wrong());
    }
    let old = weight.to_floats().ok_or_else(wrong)?;
    let mut new = vec![0.0; old.len()];
    for (row, from) in new.chunks_mut(order.len()).zip(old.rows()) {
        for (&to, &value) in order.iter().zip(from) {
            row[to] = value;
        }
    }
    let moved = Constant::floats(&weight.dims(), new).ok_or_else(wrong)?;
    Ok(Constant { name: weight.name.clone(), ..moved })
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
