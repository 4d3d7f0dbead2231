//! Two-dimensional convolution (cross-correlation, as the whole field has it), with `depthwise` as a short form.

use super::attr::{ArgError, Call, Operands, Param, Signature, Value, param};
use super::geom::{DILATION, KERNEL, PAD, Padding, STRIDE, Windows, feature_map, inside, known};
use super::{Cost, Operator, ParamSpec, Reach, Role, ShapeError};
use crate::dim::{Dim, DimError};
use crate::tensor::{Nchw, Shape, View, ViewMut};

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
    fn forward(&self, inputs: &[View], params: &[View], outputs: &mut [ViewMut]) {
        let (from, to) = (Nchw::of(inputs[0].dims), Nchw::of(outputs[0].dims));
        let [k_h, k_w] = self.windows.kernel.map(|k| k as usize);
        let [s_h, s_w] = self.windows.stride.map(|s| s as usize);
        let [d_h, d_w] = self.windows.dilation.map(|d| d as usize);
        let [top, left, _, _] = self.windows.sides([from.h, from.w]);
        let groups = self.groups as usize;
        let (group_in, group_out) = (from.c / groups, to.c / groups);
        let (data, weight) = (inputs[0].data, params[0].data);
        for n in 0..to.n {
            for o in 0..to.c {
                let first = o / group_out * group_in;
                for y in 0..to.h {
                    for x in 0..to.w {
                        let mut sum = if self.bias { f64::from(params[1].data[o]) } else { 0.0 };
                        for i in 0..group_in {
                            for ky in 0..k_h {
                                let Some(row) = inside(y * s_h + ky * d_h, top, from.h) else { continue };
                                for kx in 0..k_w {
                                    let Some(col) = inside(x * s_w + kx * d_w, left, from.w) else { continue };
                                    let tap = weight[((o * group_in + i) * k_h + ky) * k_w + kx];
                                    sum += f64::from(tap) * f64::from(data[from.at(n, first + i, row, col)]);
                                }
                            }
                        }
                        outputs[0].data[to.at(n, o, y, x)] = sum as f32;
                    }
                }
            }
        }
    }
}
