//! Two-dimensional convolution (cross-correlation, as the whole field has it), with `depthwise` as a short form.

use super::attr::{ArgError, Call, Operands, Param, Signature, Value, param};
use super::geom::{DILATION, KERNEL, PAD, Padding, STRIDE, Windows, feature_map, inside, known};
use super::gradient::{Backward, GradBuilder, Wrt};
use super::products;
use super::{Cost, Operator, ParamSpec, Reach, Role, ShapeError};
use super::onnx::{self, Attr, Export, Import, Unfit};
use super::pytorch::{Expr, Py, PyTorch};
use crate::dim::{Dim, DimError};
use crate::tensor::{Element, Nchw, Shape, View, ViewMut};

/// `out[o, y, x] = bias[o] + Σ weight[o, i, ky, kx] · in[g(o) + i, y·s - p + ky·d, x·s - p + kx·d]`, with
/// `weight: [out_c, in_c / groups, k_h, k_w]` and `bias: [out_c]` (PyTorch's `Conv2d`).
#[derive(Clone, Debug, PartialEq)]
pub struct Conv {
    /// Output channels.
    pub out_c: u64,
    /// Kernel, stride, padding and dilation.
    pub windows: Windows,
    /// Groups; output channel `o` reads only the input channels of its group.
    pub groups: u64,
    /// Whether a bias is added.
    pub bias: bool,
}

const BIAS: Param = param("bias", "true", "whether a bias is added");

static SIGNATURES: [Signature; 2] = [
    Signature {
        layer: "conv",
        params: &[
            param("channels", "", "output channels"),
            KERNEL,
            STRIDE,
            PAD,
            DILATION,
            param("groups", "1", "groups of channels that do not see each other"),
            BIAS,
        ],
        operands: Operands::Above,
        doc: "convolution",
    },
    Signature {
        layer: "depthwise",
        params: &[KERNEL, STRIDE, PAD, DILATION, BIAS, param("multiplier", "1", "output channels per input channel")],
        operands: Operands::Above,
        doc: "convolution of each channel by itself: groups = in.c",
    },
];

impl Operator for Conv {
    fn signatures() -> &'static [Signature] {
        &SIGNATURES
    }

    fn build(call: &Call) -> Result<Self, ArgError> {
        let kernel = call.pair("kernel", None, 1)?;
        let stride = call.pair("stride", Some([1, 1]), 1)?;
        let dilation = call.pair("dilation", Some([1, 1]), 1)?;
        let padding = Padding::of(call, kernel, stride, dilation)?;
        let (out_c, groups) = if call.layer == "depthwise" {
            let in_c = call.inputs.first().and_then(Shape::chw).and_then(|(c, _, _)| c.as_u64()).unwrap_or(1).max(1);
            let multiplier = call.count("multiplier", Some(1), 1)?;
            let out_c = in_c.checked_mul(multiplier).filter(|&out_c| out_c <= u64::from(u32::MAX));
            let out_c = out_c.ok_or_else(|| ArgError::new("multiplier", "makes too many channels"))?;
            (out_c, in_c)
        } else {
            (call.count("channels", None, 1)?, call.count("groups", Some(1), 1)?)
        };
        let windows = Windows { kernel, stride, dilation, padding, ceil: false };
        Ok(Conv { out_c, windows, groups, bias: call.flag("bias", true)? })
    }

    fn describe(&self) -> (&'static str, Vec<(&'static str, Value)>) {
        let Windows { kernel, stride, dilation, padding, .. } = self.windows;
        let args = vec![
            ("channels", Value::int(self.out_c)),
            ("kernel", Value::ints(&kernel)),
            ("stride", Value::ints(&stride)),
            ("pad", padding.value()),
            ("dilation", Value::ints(&dilation)),
            ("groups", Value::int(self.groups)),
            ("bias", Value::Bool(self.bias)),
        ];
        ("conv", args)
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>, ShapeError> {
        let (in_c, h, w) = feature_map(inputs, 0)?;
        let in_c = known(in_c, "input channels")?;
        for (what, value) in [("input channels", in_c), ("output channels", self.out_c)] {
            if value % self.groups != 0 {
                return Err(ShapeError::Indivisible { attr: "groups", what, value: value.into(), by: self.groups });
            }
        }
        let [out_h, out_w] = self.windows.output([h, w])?;
        super::countable(&self.params(inputs))?;
        Ok(vec![Shape(vec![self.out_c.into(), out_h, out_w])])
    }

    fn arithmetic(&self, inputs: &[Shape], outputs: &[Shape]) -> Vec<String> {
        match (inputs[0].chw(), outputs[0].chw()) {
            (Some((_, h, w)), Some((_, out_h, out_w))) => self.windows.arithmetic([h, w], [out_h, out_w]),
            _ => Vec::new(),
        }
    }

    fn params(&self, inputs: &[Shape]) -> Vec<ParamSpec> {
        let in_c = inputs[0].0[0].as_u64().unwrap_or(0);
        let [k_h, k_w] = self.windows.kernel;
        let [fan_in, fan_out] = [in_c, self.out_c].map(|c| (c / self.groups).saturating_mul(self.windows.taps()));
        let shape = vec![self.out_c, in_c / self.groups, k_h, k_w];
        let mut params = vec![ParamSpec { leaf: "weight", shape, role: Role::Weight, fan_in, fan_out }];
        if self.bias {
            params.push(ParamSpec { leaf: "bias", shape: vec![self.out_c], role: Role::Bias, fan_in, fan_out });
        }
        params
    }

    /// `out_h · out_w · out_c · k_h · k_w · in_c / groups` MACs; a bias adds one operation to each output.
    fn cost(&self, inputs: &[Shape], outputs: &[Shape]) -> Result<Cost, DimError> {
        let elements = outputs[0].elements()?;
        let per_output = inputs[0].0[0].exact_div(self.groups)?.mul(&Dim::from(self.windows.taps()))?;
        let biased = if self.bias { elements.clone() } else { Dim::ZERO };
        Cost::multiply(elements.mul(&per_output)?, &biased)
    }

    fn reach(&self, inputs: &[Shape]) -> Reach {
        self.windows.reach(&inputs[0])
    }

    /// Sums in `f64`.
    fn forward<E: Element>(&self, inputs: &[View<E>], params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        products::forward(inputs, params, outputs, |from, to, with| self.each_product(from, to, with));
    }

    fn gradient(&self, g: &mut GradBuilder) {
        products::gradient(self, g);
    }

    const ONNX: &'static [&'static str] = &["Conv"];

    /// A convolution along one axis is one on maps of height 1.
    fn from_onnx(node: &mut Import) -> Result<(), Unfit> {
        let (x, rank) = node.map(0)?;
        let weight = onnx::kernels(node, rank)?;
        let dims = weight.dims();
        let windows = node.windows(Some([dims[2], dims[3]]))?;
        let bias = node.known(2, "bias")?;
        let groups = onnx::groups(node)?;
        let op = Conv { out_c: dims[0], windows, groups, bias: bias.is_some() };
        let params = onnx::weight_and_bias(weight, bias);
        let made = node.emit_one(op, &[&x], params)?;
        node.map_result(made, rank);
        Ok(())
    }

    fn to_onnx(&self, g: &mut Export) -> Result<(), Unfit> {
        let mut inputs = vec![g.operand(0), g.param("weight")];
        inputs.extend(self.bias.then(|| g.param("bias")));
        let mut attrs = onnx::windows::attributes(&self.windows);
        if self.groups != 1 {
            attrs.push(("group", Attr::Int(self.groups as i64)));
        }
        g.last("Conv", inputs, attrs);
        Ok(())
    }

    fn to_pytorch(&self, g: &mut PyTorch) -> Result<(), Unfit> {
        let windows = &self.windows;
        let module = Expr::new("nn.Conv2d({})")
            .arg("in_channels", g.channels())
            .arg("out_channels", self.out_c)
            .arg("kernel_size", Py::pair(windows.kernel))
            .key("stride", Py::pair(windows.stride), 1)
            .key("dilation", Py::pair(windows.dilation), 1)
            .key("groups", self.groups, 1)
            .key("bias", self.bias, true);
        g.windowed(windows, module);
        Ok(())
    }
}

impl Backward for Conv {
    fn backward_cost(&self, wrt: &[Wrt], inputs: &[Shape], outputs: &[Shape]) -> Result<Cost, DimError> {
        let (x, gradient) = products::sides(wrt, inputs, outputs);
        let per_output = x.0[0].exact_div(self.groups)?.mul(&Dim::from(self.windows.taps()))?;
        products::backward_cost(wrt, gradient.elements()?.mul(&per_output)?, gradient)
    }

    fn backward<E: Element>(&self, wrt: &[Wrt], inputs: &[View<E>], params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        products::backward(wrt, inputs, params, outputs, |from, to, with| self.each_product(from, to, with));
    }
}

impl Conv {
    /// Calls `with` for each product of the sums: the places of its weight, of its input, and of the output that it is
    /// part of.
    fn each_product(&self, from: Nchw, to: Nchw, with: &mut dyn FnMut(usize, usize, usize)) {
        let [k_h, k_w] = self.windows.kernel.map(|k| k as usize);
        let [s_h, s_w] = self.windows.stride.map(|s| s as usize);
        let [d_h, d_w] = self.windows.dilation.map(|d| d as usize);
        let [top, left, _, _] = self.windows.sides([from.h, from.w]);
        let groups = self.groups as usize;
        let (group_in, group_out) = (from.c / groups, to.c / groups);
        for n in 0..to.n {
            for o in 0..to.c {
                let first = o / group_out * group_in;
                for y in 0..to.h {
                    for x in 0..to.w {
                        for i in 0..group_in {
                            for ky in 0..k_h {
                                let Some(row) = inside(y * s_h + ky * d_h, top, from.h) else { continue };
                                for kx in 0..k_w {
                                    let Some(col) = inside(x * s_w + kx * d_w, left, from.w) else { continue };
                                    let tap = ((o * group_in + i) * k_h + ky) * k_w + kx;
                                    with(tap, from.at(n, first + i, row, col), to.at(n, o, y, x));
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::op::testing::{assert_close, assert_round_trip, build, infer_one, run, seeded, seeded_params, try_build};

    fn int(value: u64) -> Value {
        Value::int(value)
    }

    fn conv(args: &[(&'static str, Value)]) -> Conv {
        build("conv", args, &[])
    }

    #[test]
    fn shapes() {
        let stem = [("channels", int(64)), ("kernel", int(7)), ("stride", int(2)), ("pad", int(3))];
        assert_eq!(infer_one(&conv(&stem), &[&[3, 224, 225]]), Ok(vec![64, 112, 113]));
        let args = [("channels", int(8)), ("kernel", Value::ints(&[1, 3])), ("pad", Value::word("same"))];
        assert_eq!(infer_one(&conv(&args), &[&[3, 5, 6]]), Ok(vec![8, 5, 6]));
        let symbolic = Shape(vec![3u64.into(), Dim::symbol("H", 2), Dim::symbol("W", 1)]);
        assert_eq!(conv(&stem).infer(&[symbolic]).unwrap()[0].claim(), "[64, H/2, floor((W + 1)/2)]");
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let args = [("channels", int(8)), ("kernel", int(3)), ("groups", int(4))];
        let indivisible = |what, value: u64| {
            Err(ShapeError::Indivisible { attr: "groups", what, value: value.into(), by: 4 })
        };
        assert_eq!(infer_one(&conv(&args), &[&[6, 5, 5]]), indivisible("input channels", 6));
        let odd = [("channels", int(10)), ("kernel", int(3)), ("groups", int(4))];
        assert_eq!(infer_one(&conv(&odd), &[&[8, 5, 5]]), indivisible("output channels", 10));
        assert!(matches!(infer_one(&conv(&args), &[&[8, 5, 2]]), Err(ShapeError::WindowTooLarge { axis: "width", .. })));
        assert_eq!(infer_one(&conv(&args), &[&[8]]), Err(ShapeError::needs_feature_map(0)));
        let unknown = Shape(vec![Dim::symbol("C", 1), 5u64.into(), 5u64.into()]);
        assert!(matches!(conv(&args).infer(&[unknown]), Err(ShapeError::Misfit { .. })));
        for name in ["channels", "kernel", "stride", "dilation", "groups"] {
            let mut args = vec![("channels", int(8)), ("kernel", int(3))];
            args.retain(|(given, _)| *given != name);
            args.push((name, int(0)));
            assert_eq!(try_build::<Conv>("conv", &args, &[]).unwrap_err().param, Some(name));
        }
    }

    #[test]
    fn describes_itself() {
        let args = [
            ("channels", int(6)),
            ("kernel", Value::ints(&[3, 2])),
            ("stride", Value::ints(&[2, 1])),
            ("pad", Value::ints(&[1, 0, 2, 1])),
            ("dilation", Value::ints(&[1, 2])),
            ("groups", int(2)),
            ("bias", Value::Bool(false)),
        ];
        assert_round_trip(&conv(&args), &[]);
        for pad in [Value::word("same_upper"), Value::word("same_lower"), int(1), Value::ints(&[0, 2])] {
            assert_round_trip(&conv(&[("channels", int(6)), ("kernel", int(3)), ("pad", pad)]), &[]);
        }
    }

    #[test]
    fn depthwise_has_a_group_for_each_channel() {
        let input = [Shape::known(&[5, 8, 8])];
        let op: Conv = build("depthwise", &[("kernel", int(3)), ("multiplier", int(2))], &input);
        assert_eq!((op.out_c, op.groups), (10, 5));
        assert_eq!(op.params(&input)[0].shape, [10, 1, 3, 3]);
        assert_round_trip(&op, &input);
        let symbolic = Shape(vec![5u64.into(), Dim::symbol("H", 1), Dim::symbol("W", 1)]);
        assert_eq!(build::<Conv>("depthwise", &[("kernel", int(3)), ("multiplier", int(2))], &[symbolic]), op);
        let too_many = try_build::<Conv>("depthwise", &[("kernel", int(3)), ("multiplier", int(1 << 31))], &input);
        assert_eq!(too_many.unwrap_err().param, Some("multiplier"));
    }

    /// The 5x5 of the inception example: 28x28x192 to 28x28x32.
    #[test]
    fn counts() {
        let input = [Shape::known(&[192, 28, 28])];
        let op = conv(&[("channels", int(32)), ("kernel", int(5)), ("pad", int(2))]);
        let output = op.infer(&input).unwrap();
        let cost = op.cost(&input, &output).unwrap();
        assert_eq!(cost.macs, Dim::from(120_422_400u64));
        assert_eq!(cost.flops, Dim::from(2 * 120_422_400u64 + 32 * 28 * 28));
        assert_eq!(cost.fvcore, cost.macs);
        let params = op.params(&input);
        assert_eq!(params.iter().map(|spec| spec.elements().unwrap()).sum::<u64>(), 153_632);
        assert_eq!((params[0].fan_in, params[0].fan_out), (192 * 25, 32 * 25));
        let grouped = conv(&[("channels", int(32)), ("kernel", int(5)), ("pad", int(2)), ("groups", int(16))]);
        assert_eq!(grouped.cost(&input, &output).unwrap().macs, Dim::from(120_422_400u64 / 16));
        assert_eq!(grouped.params(&input)[0].shape, [32, 12, 5, 5]);
    }

    #[test]
    fn sizes_beyond_all_memory_do_not_overflow() {
        let huge = int(u64::from(u32::MAX));
        let args = [("channels", huge.clone()), ("kernel", huge.clone()), ("pad", huge.clone()), ("bias", Value::Bool(true))];
        let input = [Shape::known(&[u64::MAX, u64::MAX, u64::MAX])];
        let op = conv(&args);
        assert!(matches!(op.infer(&input), Err(ShapeError::Misfit { .. })));
        assert_eq!(op.params(&input)[0].elements(), None);
        assert_eq!(op.params(&input)[0].fan_in, u64::MAX);
        assert_eq!(op.cost(&input, &input), Err(DimError::Overflow));
    }

    #[test]
    fn a_one_by_one_convolution_is_linear_at_each_pixel() {
        use crate::op::linear::Linear;
        let dims = [2, 4, 3, 5];
        let x = seeded(dims.iter().product(), 1);
        let op = conv(&[("channels", int(6)), ("kernel", int(1))]);
        let params = seeded_params(&op, &[&dims], 2);
        let map = run(&op, &[(&dims, x.clone())], &params);
        let linear: Linear = build("linear", &[("features", int(6))], &[]);
        for n in 0..2 {
            for position in 0..15 {
                let pixel = (0..4).map(|c| x[(n * 4 + c) * 15 + position]).collect();
                let features = run(&linear, &[(&[1, 4], pixel)], &params);
                let column: Vec<f32> = (0..6).map(|o| map[0][(n * 6 + o) * 15 + position]).collect();
                assert_eq!(features[0], column);
            }
        }
    }

    proptest! {
        /// Against taps that are added one by one, as shifted copies of an input that is really padded.
        #[test]
        fn matches_shifted_copies(
            sizes in prop::array::uniform2(1usize..8),
            kernel in prop::array::uniform2(1u64..4),
            stride in prop::array::uniform2(1u64..4),
            dilation in prop::array::uniform2(1u64..3),
            padding in prop_oneof![
                Just(Padding::SameUpper),
                Just(Padding::SameLower),
                prop::array::uniform4(0u64..3).prop_map(Padding::Sides),
            ],
            groups in 1u64..4,
            per_group in (1u64..3, 1u64..3),
            bias: bool,
            seed: u64,
        ) {
            let (in_c, out_c) = (per_group.0 * groups, per_group.1 * groups);
            let windows = Windows { kernel, stride, dilation, padding, ceil: false };
            let op = Conv { out_c, windows, groups, bias };
            let Ok(shape) = infer_one(&op, &[&[in_c, sizes[0] as u64, sizes[1] as u64]]) else { return Ok(()) };
            let dims = [2, in_c as usize, sizes[0], sizes[1]];
            let x = seeded(dims.iter().product(), seed);
            let params = seeded_params(&op, &[&dims], seed ^ 1);
            let actual = run(&op, &[(&dims, x.clone())], &params);
            let to = Nchw { n: 2, c: out_c as usize, h: shape[1] as usize, w: shape[2] as usize };
            assert_close(&actual[0], &shifted_copies(&op, &x, dims, &params, to), 1e-6);
        }
    }

    fn shifted_copies(op: &Conv, x: &[f32], dims: [usize; 4], params: &[Vec<f32>], to: Nchw) -> Vec<f64> {
        let from = Nchw::of(&dims);
        let [top, left, bottom, right] = op.windows.sides([from.h, from.w]);
        let padded = Nchw { h: top + from.h + bottom, w: left + from.w + right, ..from };
        let mut input = vec![0.0f64; padded.n * padded.c * padded.h * padded.w];
        for (at, &value) in x.iter().enumerate() {
            let [w, h, plane] = [at % from.w, at / from.w % from.h, at / (from.w * from.h)];
            input[padded.at(plane / from.c, plane % from.c, h + top, w + left)] = f64::from(value);
        }
        let mut expected = vec![0.0f64; to.n * to.c * to.h * to.w];
        let [s_h, s_w, d_h, d_w] = [0, 1, 2, 3].map(|i| [op.windows.stride, op.windows.dilation][i / 2][i % 2] as usize);
        let [k_h, k_w] = op.windows.kernel.map(|k| k as usize);
        let (group_in, group_out) = (from.c / op.groups as usize, to.c / op.groups as usize);
        for (at, &weight) in params[0].iter().enumerate() {
            let [kx, ky, i, o] =
                [at % k_w, at / k_w % k_h, at / (k_w * k_h) % group_in, at / (k_w * k_h * group_in)];
            for (at, sum) in expected.iter_mut().enumerate() {
                let [x, y, channel, n] = [at % to.w, at / to.w % to.h, at / (to.w * to.h) % to.c, at / (to.w * to.h * to.c)];
                if channel == o {
                    let c = o / group_out * group_in + i;
                    *sum += f64::from(weight) * input[padded.at(n, c, y * s_h + ky * d_h, x * s_w + kx * d_w)];
                }
            }
        }
        if op.bias {
            for (at, sum) in expected.iter_mut().enumerate() {
                *sum += f64::from(params[1][at / (to.w * to.h) % to.c]);
            }
        }
        expected
    }
}
