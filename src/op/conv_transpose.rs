//! Transposed convolution, which enlarges a feature map by its stride (Zeiler et al. 2010; Dumoulin & Visin 2016,
//! arXiv:1603.07285, section 4).

use super::attr::{ArgError, Call, Operands, Signature, Value, param};
use super::conv::Conv;
use super::geom::{AXES, Padding, Windows, feature_map, known};
use super::gradient::{GradBuilder, Ref, Wrt};
use super::products;
use super::slice::Slice;
use super::{Cost, Op, Operator, ParamSpec, Reach, Role, ShapeError, Window};
use super::onnx::{self, Attr, Export, Import, Unfit};
use super::pytorch::{Expr, Py, PyTorch};
use crate::dim::{Dim, DimError};
use crate::tensor::{Element, Nchw, Shape, View, ViewMut};

/// Each input cell adds its kernel to the output, from `y·s - p` on: `out[o, y·s - p + ky·d, x·s - p + kx·d] +=
/// weight[i, o, ky, kx] · in[i, y, x]`, with `weight: [in_c, out_c / groups, k_h, k_w]` and `bias: [out_c]` (PyTorch's
/// `ConvTranspose2d`). Padding takes cells of the output away.
#[derive(Clone, Debug, PartialEq)]
pub struct ConvTranspose {
    /// Output channels.
    pub out_c: u64,
    /// Kernel height and width.
    pub kernel: [u64; 2],
    /// Output cells from one input cell to the next.
    pub stride: [u64; 2],
    /// Output cells taken away at the top, left, bottom and right.
    pub padding: [u64; 4],
    /// Output cells added at the bottom and at the right; below the stride or the dilation.
    pub output_pad: [u64; 2],
    /// Distance of neighbouring taps.
    pub dilation: [u64; 2],
    /// Groups; output channel `o` reads only the input channels of its group.
    pub groups: u64,
    /// Whether a bias is added.
    pub bias: bool,
}

static SIGNATURES: [Signature; 1] = [Signature {
    layer: "conv_transpose",
    params: &[
        param("channels", "", "output channels"),
        param("kernel", "", "kernel size: k or [k_h, k_w]"),
        param("stride", "1", "output cells from one input cell to the next: s or [s_h, s_w]"),
        param("pad", "0", "output cells taken away: p, [p_h, p_w] or [top, left, bottom, right]"),
        param("output_pad", "0", "output cells added at the bottom and at the right: p or [p_h, p_w]"),
        param("dilation", "1", "distance of taps: d or [d_h, d_w]"),
        param("groups", "1", "groups of channels that do not see each other"),
        param("bias", "true", "whether a bias is added"),
    ],
    operands: Operands::Above,
    doc: "transposed convolution",
}];

impl ConvTranspose {
    fn extent(&self, axis: usize) -> u64 {
        self.dilation[axis] * (self.kernel[axis] - 1) + 1
    }

    fn taps(&self) -> u64 {
        self.kernel[0] * self.kernel[1]
    }

    fn output_on(&self, axis: usize, size: &Dim) -> Result<Dim, ShapeError> {
        let padding = self.padding[axis] + self.padding[axis + 2];
        let last_start = size.sub(&Dim::ONE)?.mul(&Dim::from(self.stride[axis]))?;
        let end = last_start.add(&Dim::from(self.extent(axis)))?.add(&Dim::from(self.output_pad[axis]))?;
        let output = end.sub(&Dim::from(padding))?;
        if output.at_least(&Dim::ONE) == Some(false) {
            return Err(ShapeError::Misfit {
                attr: Some("pad"),
                message: format!("padding takes {padding} of the {end} cells along the {} away", AXES[axis]),
                help: Some("pad less".to_owned()),
            });
        }
        Ok(output)
    }
}

impl Operator for ConvTranspose {
    fn signatures() -> &'static [Signature] {
        &SIGNATURES
    }

    fn build(call: &Call) -> Result<Self, ArgError> {
        let op = ConvTranspose {
            out_c: call.count("channels", None, 1)?,
            kernel: call.pair("kernel", None, 1)?,
            stride: call.pair("stride", Some([1, 1]), 1)?,
            padding: call.sides("pad")?,
            output_pad: call.pair("output_pad", Some([0, 0]), 0)?,
            dilation: call.pair("dilation", Some([1, 1]), 1)?,
            groups: call.count("groups", Some(1), 1)?,
            bias: call.flag("bias", true)?,
        };
        match (0..2).find(|&axis| op.output_pad[axis] >= op.stride[axis].max(op.dilation[axis])) {
            Some(axis) => {
                let most = op.stride[axis].max(op.dilation[axis]) - 1;
                let reason = format!("must be below the stride or the dilation: at most {most} for the {}", AXES[axis]);
                Err(ArgError::new("output_pad", reason))
            }
            None => Ok(op),
        }
    }

    fn describe(&self) -> (&'static str, Vec<(&'static str, Value)>) {
        let args = vec![
            ("channels", Value::int(self.out_c)),
            ("kernel", Value::ints(&self.kernel)),
            ("stride", Value::ints(&self.stride)),
            ("pad", Value::ints(&self.padding)),
            ("output_pad", Value::ints(&self.output_pad)),
            ("dilation", Value::ints(&self.dilation)),
            ("groups", Value::int(self.groups)),
            ("bias", Value::Bool(self.bias)),
        ];
        ("conv_transpose", args)
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>, ShapeError> {
        let (in_c, h, w) = feature_map(inputs, 0)?;
        let in_c = known(in_c, "input channels")?;
        for (what, value) in [("input channels", in_c), ("output channels", self.out_c)] {
            if value % self.groups != 0 {
                return Err(ShapeError::Indivisible { attr: "groups", what, value: value.into(), by: self.groups });
            }
        }
        super::countable(&self.params(inputs))?;
        Ok(vec![Shape(vec![self.out_c.into(), self.output_on(0, h)?, self.output_on(1, w)?])])
    }

    fn arithmetic(&self, inputs: &[Shape], outputs: &[Shape]) -> Vec<String> {
        let (Some((_, h, w)), Some((_, out_h, out_w))) = (inputs[0].chw(), outputs[0].chw()) else {
            return Vec::new();
        };
        let on = |axis: usize, size: &Dim, output: &Dim| {
            let term = |sign: &str, value: u64| if value == 0 { String::new() } else { format!(" {sign} {value}") };
            let padding = term("-", self.padding[axis] + self.padding[axis + 2]);
            let output_pad = term("+", self.output_pad[axis]);
            let (name, stride, extent) = (AXES[axis], self.stride[axis], self.extent(axis));
            format!("{name}: ({size} - 1)*{stride} + {extent}{padding}{output_pad} = {output}")
        };
        vec![on(0, h, out_h), on(1, w, out_w)]
    }

    /// One output sums over one input in `s_h · s_w`, so the stride divides `fan_in`.
    fn params(&self, inputs: &[Shape]) -> Vec<ParamSpec> {
        let in_c = inputs[0].0[0].as_u64().unwrap_or(0);
        let [from, to] = [in_c, self.out_c].map(|c| c / self.groups);
        let fan_in = (from.saturating_mul(self.taps()) / (self.stride[0] * self.stride[1])).max(1);
        let fan_out = to.saturating_mul(self.taps());
        let shape = vec![in_c, to, self.kernel[0], self.kernel[1]];
        let mut params = vec![ParamSpec { leaf: "weight", shape, role: Role::Weight, fan_in, fan_out }];
        if self.bias {
            params.push(ParamSpec { leaf: "bias", shape: vec![self.out_c], role: Role::Bias, fan_in, fan_out });
        }
        params
    }

    /// `in_h · in_w · in_c · k_h · k_w · out_c / groups` MACs, those that padding takes away included; a bias adds one
    /// operation to each output.
    fn cost(&self, inputs: &[Shape], outputs: &[Shape]) -> Result<Cost, DimError> {
        let per_input = Dim::from(self.out_c / self.groups).mul(&Dim::from(self.taps()))?;
        let biased = if self.bias { outputs[0].elements()? } else { Dim::ZERO };
        Cost::multiply(inputs[0].elements()?.mul(&per_input)?, &biased)
    }

    /// Output `y` sees the inputs `i` with `y + p - (extent - 1) <= i·s <= y + p`.
    fn reach(&self, _inputs: &[Shape]) -> Reach {
        Reach::Window([0, 1].map(|axis| {
            let (stride, extent) = (self.stride[axis], i128::from(self.extent(axis)));
            let last = i128::from(self.padding[axis]);
            // Between the taps of a kernel smaller than the stride an output sees nothing; its window keeps the cell before.
            let first = (last - extent + i128::from(stride)).min(last);
            Window { stride: (1, stride), first, last }
        }))
    }

    /// Sums in `f64`, output by output.
    fn forward<E: Element>(&self, inputs: &[View<E>], params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        products::forward(inputs, params, outputs, |from, to, with| self.each_product(from, to, with));
    }

    /// With respect to the operand it is a convolution of the result's gradient with the same weights, with respect to the
    /// weights the gradient of that convolution's.
    fn gradient(&self, g: &mut GradBuilder) {
        let incoming = g.incoming(0);
        let windows = Windows {
            kernel: self.kernel,
            stride: self.stride,
            dilation: self.dilation,
            padding: Padding::Sides(self.padding),
            ceil: false,
        };
        let conv = |out_c: u64, windows: Windows, groups: u64| Conv { out_c, windows, groups, bias: false };
        let back = conv(g.inputs()[0].0[0].as_u64().unwrap_or(0), windows, self.groups);
        g.backward(&back, &[Wrt::Param(0)], &[incoming, Ref::Operand(0)], &[]);
        // A bias has the gradient of any convolution's bias.
        let one = Windows::single([1, 1]);
        g.backward(&conv(self.out_c, one, 1), &[Wrt::Param(1)], &[incoming, incoming], &[]);
        if g.wants(Wrt::Operand(0)) {
            let mut gradient = g.emit_with(Op::Conv(back), &[incoming], &[0]);
            for axis in [0, 1] {
                // What is added behind may hold another window.
                if self.stride[axis] <= self.output_pad[axis] {
                    let slice = Slice { start: 0, end: g.inputs()[0].0[1 + axis].clone(), axis: 1 + axis };
                    gradient = g.emit(Op::Slice(slice), &[gradient]);
                }
            }
            g.set(Wrt::Operand(0), gradient);
        }
    }

    const ONNX: &'static [&'static str] = &["ConvTranspose"];

    fn from_onnx(node: &mut Import) -> Result<(), Unfit> {
        let (x, rank) = node.map(0)?;
        let weight = onnx::kernels(node, rank)?;
        let dims = weight.dims();
        let windows = node.windows(Some([dims[2], dims[3]]))?;
        let output_pad = node.attrs.plane("output_padding", 0)?;
        let output_pad = if rank == 3 { [0, output_pad[1]] } else { output_pad };
        let bias = node.known(2, "bias")?;
        let groups = onnx::groups(node)?;
        let (padding, output_pad) = transposed_padding(node, &windows, output_pad, &x.shape)?;
        let op = ConvTranspose {
            out_c: dims[1].saturating_mul(groups),
            kernel: windows.kernel,
            stride: windows.stride,
            padding,
            output_pad,
            dilation: windows.dilation,
            groups,
            bias: bias.is_some(),
        };
        let params = onnx::weight_and_bias(weight, bias);
        let made = node.emit_one(op, &[&x], params)?;
        node.map_result(made, rank);
        Ok(())
    }

    fn to_onnx(&self, g: &mut Export) -> Result<(), Unfit> {
        let mut inputs = vec![g.operand(0), g.param("weight")];
        inputs.extend(self.bias.then(|| g.param("bias")));
        let windows = Windows {
            kernel: self.kernel,
            stride: self.stride,
            dilation: self.dilation,
            padding: Padding::Sides(self.padding),
            ceil: false,
        };
        let mut attrs = onnx::windows::attributes(&windows);
        if self.groups != 1 {
            attrs.push(("group", Attr::Int(self.groups as i64)));
        }
        if self.output_pad != [0, 0] {
            attrs.push(("output_padding", Attr::Ints(self.output_pad.iter().map(|&pad| pad as i64).collect())));
        }
        g.last("ConvTranspose", inputs, attrs);
        Ok(())
    }

    /// Cells are taken away behind the module where PyTorch's padding cannot say it.
    fn to_pytorch(&self, g: &mut PyTorch) -> Result<(), Unfit> {
        let [top, left, bottom, right] = self.padding;
        let is_even = (top, left) == (bottom, right);
        let module = Expr::new("nn.ConvTranspose2d({})")
            .arg("in_channels", g.channels())
            .arg("out_channels", self.out_c)
            .arg("kernel_size", Py::pair(self.kernel))
            .key("stride", Py::pair(self.stride), 1)
            .key("padding", if is_even { Py::pair([top, left]) } else { 0.into() }, 0)
            .key("output_padding", Py::pair(self.output_pad), 0)
            .key("groups", self.groups, 1)
            .key("bias", self.bias, true)
            .key("dilation", Py::pair(self.dilation), 1);
        g.module(module);
        if !is_even {
            let cut = [left, right, top, bottom].map(|side| Py::Int(-(side as i64)));
            g.call(Expr::new("F.pad({m}({x}), {0})").arg("pad", Py::List(cut.into())));
        }
        Ok(())
    }
}

/// Padding and output padding of a node, which may give the size of the result instead.
fn transposed_padding(
    node: &Import,
    windows: &Windows,
    output_pad: [u64; 2],
    input: &Shape,
) -> Result<([u64; 4], [u64; 2]), Unfit> {
    let wanted = node.attrs.plane("output_shape", 0)?;
    let upper = match windows.padding {
        Padding::Sides(sides) if wanted == [0, 0] => return Ok((sides, output_pad)),
        Padding::Sides(_) | Padding::SameLower => false,
        Padding::SameUpper => true,
    };
    let (mut sides, mut output_pad) = ([0; 4], output_pad);
    for axis in [0, 1] {
        let size = input.0[axis + 1].as_u64().ok_or_else(|| Unfit::new("its padding depends on the input's size"))?;
        let stride = windows.stride[axis];
        let whole = (size.max(1) - 1).saturating_mul(stride).saturating_add(windows.extent(axis)).saturating_add(output_pad[axis]);
        let result = if wanted[axis] == 0 { size.saturating_mul(stride) } else { wanted[axis] };
        let total = whole.saturating_sub(result);
        output_pad[axis] = output_pad[axis].saturating_add(result.saturating_sub(whole));
        (sides[axis], sides[axis + 2]) = (total / 2, total.div_ceil(2));
        if !upper {
            sides.swap(axis, axis + 2);
        }
    }
    Ok((sides, output_pad))
}

impl ConvTranspose {
    /// Calls `with` for each product of the sums: the places of its weight, of its input, and of the output that it is
    /// part of.
    fn each_product(&self, from: Nchw, to: Nchw, with: &mut dyn FnMut(usize, usize, usize)) {
        let [k_h, k_w] = self.kernel.map(|k| k as usize);
        let groups = self.groups as usize;
        let (group_in, group_out) = (from.c / groups, to.c / groups);
        for n in 0..to.n {
            for o in 0..to.c {
                let first = o / group_out * group_in;
                for y in 0..to.h {
                    for x in 0..to.w {
                        for i in first..first + group_in {
                            for ky in 0..k_h {
                                let Some(row) = self.source(0, y, ky, from.h) else { continue };
                                for kx in 0..k_w {
                                    let Some(col) = self.source(1, x, kx, from.w) else { continue };
                                    let tap = ((i * group_out + o % group_out) * k_h + ky) * k_w + kx;
                                    with(tap, from.at(n, i, row, col), to.at(n, o, y, x));
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

impl ConvTranspose {
    /// The input position whose tap `k` falls on an output position, if there is one.
    fn source(&self, axis: usize, output: usize, k: usize, size: usize) -> Option<usize> {
        let stride = self.stride[axis] as usize;
        let start = (output + self.padding[axis] as usize).checked_sub(k * self.dilation[axis] as usize)?;
        (start % stride == 0).then_some(start / stride).filter(|&position| position < size)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::op::testing::{assert_close, assert_round_trip, build, infer_one, run, seeded, seeded_params, try_build};

    fn transpose(args: &[(&'static str, Value)]) -> ConvTranspose {
        build("conv_transpose", args, &[])
    }

    fn int(value: u64) -> Value {
        Value::int(value)
    }

    #[test]
    fn shapes() {
        let double = transpose(&[("channels", int(64)), ("kernel", int(2)), ("stride", int(2))]);
        assert_eq!(infer_one(&double, &[&[128, 28, 14]]), Ok(vec![64, 56, 28]));
        let args = [("channels", int(64)), ("kernel", int(3)), ("stride", int(2)), ("pad", int(1))];
        assert_eq!(infer_one(&transpose(&args), &[&[3, 28, 14]]), Ok(vec![64, 55, 27]));
        let args = [args.as_slice(), &[("output_pad", int(1))]].concat();
        assert_eq!(infer_one(&transpose(&args), &[&[3, 28, 14]]), Ok(vec![64, 56, 28]));
        let symbolic = Shape(vec![3u64.into(), Dim::symbol("H", 1), 5u64.into()]);
        assert_eq!(double.infer(&[symbolic]).unwrap()[0].claim(), "[64, 2*H, 10]");
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let args = [("channels", int(6)), ("kernel", int(1)), ("pad", int(2)), ("groups", int(2))];
        let error = infer_one(&transpose(&args), &[&[4, 4, 5]]);
        assert!(matches!(error, Err(ShapeError::Misfit { attr: Some("pad"), .. })), "{error:?}");
        assert_eq!(infer_one(&transpose(&args), &[&[4, 5, 5]]), Ok(vec![6, 1, 1]));
        assert!(matches!(infer_one(&transpose(&args), &[&[3, 5, 5]]), Err(ShapeError::Indivisible { .. })));
        assert_eq!(infer_one(&transpose(&args), &[&[3]]), Err(ShapeError::needs_feature_map(0)));
        let args = [("channels", int(6)), ("kernel", int(1)), ("stride", int(2)), ("output_pad", int(2))];
        assert_eq!(try_build::<ConvTranspose>("conv_transpose", &args, &[]).unwrap_err().param, Some("output_pad"));
    }

    #[test]
    fn describes_itself() {
        let args = [
            ("channels", int(6)),
            ("kernel", Value::ints(&[3, 2])),
            ("stride", Value::ints(&[2, 3])),
            ("pad", Value::ints(&[1, 0, 2, 1])),
            ("output_pad", Value::ints(&[1, 2])),
            ("dilation", Value::ints(&[2, 1])),
            ("groups", int(2)),
            ("bias", Value::Bool(false)),
        ];
        for given in [&args[..2], &args] {
            assert_round_trip(&transpose(given), &[]);
        }
    }

    #[test]
    fn counts_by_the_input() {
        let op = transpose(&[("channels", int(6)), ("kernel", int(3)), ("stride", int(2)), ("groups", int(2))]);
        let input = [Shape::known(&[4, 5, 7])];
        let output = op.infer(&input).unwrap();
        let cost = op.cost(&input, &output).unwrap();
        assert_eq!(cost.macs, Dim::from(4u64 * 5 * 7 * 3 * 9));
        assert_eq!(cost.flops, Dim::from(2u64 * 4 * 5 * 7 * 3 * 9 + 6 * 11 * 15));
        assert_eq!(cost.fvcore, cost.macs);
        let params = op.params(&input);
        assert_eq!(params[0].shape, [4, 3, 3, 3]);
        assert_eq!((params[0].fan_in, params[0].fan_out), (2 * 9 / 4, 3 * 9));
        assert_eq!(params[1].shape, [6]);
    }

    #[test]
    fn a_cell_spreads_its_kernel() {
        let op = transpose(&[("channels", int(1)), ("kernel", Value::ints(&[1, 3])), ("stride", int(2))]);
        let output = run(&op, &[(&[1, 1, 1, 2], vec![1.0, 10.0])], &[vec![1.0, 2.0, 3.0], vec![0.5]]);
        assert_eq!(output[0], [1.5, 2.5, 13.5, 20.5, 30.5]);
    }

    proptest! {
        /// Against the formula as it is written: every input cell adds its kernel to an unpadded output.
        #[test]
        fn scatters(
            sizes in prop::array::uniform2(1usize..5),
            kernel in prop::array::uniform2(1u64..4),
            stride in prop::array::uniform2(1u64..4),
            dilation in prop::array::uniform2(1u64..3),
            padding in prop::array::uniform4(0u64..3),
            extra in prop::array::uniform2(0u64..3),
            groups in 1u64..3,
            bias: bool,
            seed: u64,
        ) {
            let output_pad = [0, 1].map(|axis| extra[axis].min(stride[axis].max(dilation[axis]) - 1));
            let (in_c, out_c) = (2 * groups, 3 * groups);
            let op = ConvTranspose { out_c, kernel, stride, padding, output_pad, dilation, groups, bias };
            let Ok(shape) = infer_one(&op, &[&[in_c, sizes[0] as u64, sizes[1] as u64]]) else { return Ok(()) };
            let dims = [2, in_c as usize, sizes[0], sizes[1]];
            let x = seeded(dims.iter().product(), seed);
            let params = seeded_params(&op, &[&dims], seed ^ 1);
            let actual = run(&op, &[(&dims, x.clone())], &params);

            let to = Nchw { n: 2, c: out_c as usize, h: shape[1] as usize, w: shape[2] as usize };
            let mut expected = vec![0.0f64; actual[0].len()];
            for (at, value) in expected.iter_mut().enumerate() {
                *value = if bias { f64::from(params[1][at / (to.h * to.w) % to.c]) } else { 0.0 };
            }
            for (at, &value) in x.iter().enumerate() {
                let [w, h, c] = [at % dims[3], at / dims[3] % dims[2], at / (dims[2] * dims[3]) % dims[1]];
                let n = at / (dims[1] * dims[2] * dims[3]);
                for (tap, &weight) in params[0].chunks(3 * op.taps() as usize).nth(c).unwrap().iter().enumerate() {
                    let [k_h, k_w] = kernel.map(|k| k as usize);
                    let [kx, ky, o] = [tap % k_w, tap / k_w % k_h, c / 2 * 3 + tap / (k_h * k_w)];
                    let y = (h * stride[0] as usize + ky * dilation[0] as usize).checked_sub(padding[0] as usize);
                    let x = (w * stride[1] as usize + kx * dilation[1] as usize).checked_sub(padding[1] as usize);
                    if let (Some(y), Some(x)) = (y.filter(|&y| y < to.h), x.filter(|&x| x < to.w)) {
                        expected[to.at(n, o, y, x)] += f64::from(weight) * f64::from(value);
                    }
                }
            }
            assert_close(&actual[0], &expected, 1e-6);
        }

        /// What an output position sees lies in its window and, without gaps, fills it.
        #[test]
        fn reach_holds_what_an_output_sees(
            kernel in 1u64..6, stride in 1u64..5, dilation in 1u64..4, pad in 0u64..6,
        ) {
            let args = [("channels", int(1)), ("kernel", int(kernel)), ("stride", int(stride)), ("pad", int(pad))];
            let op = transpose(&[args.as_slice(), &[("dilation", int(dilation))]].concat());
            let Reach::Window([window, _]) = op.reach(&[]) else { unreachable!() };
            for output in 100..140u64 {
                let taps = (0..kernel as usize).filter_map(|k| op.source(0, output as usize, k, 1000));
                let taken: BTreeSet<i128> = taps.map(|cell| cell as i128).collect();
                prop_assert!(taken.iter().all(|cell| window.seen(output).contains(cell)));
                prop_assert!(dilation != 1 || kernel < stride || taken.into_iter().eq(window.seen(output)));
            }
        }
    }
}
