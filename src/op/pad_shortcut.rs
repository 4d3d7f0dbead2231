//! The parameter-free shortcut of residual nets, option A (He et al. 2015, arXiv:1512.03385, section 3.3).

use super::attr::{ArgError, Call, Operands, Signature, Value, param, words};
use super::gradient::{Backward, GradBuilder, Wrt};
use super::{Cost, Operator, ParamSpec, Reach, ShapeError, Window, geom};
use super::onnx::{self, Export, Import, Live, Unfit};
use super::pytorch::{Expr, PyTorch};
use crate::dim::{Dim, DimError};
use crate::tensor::{Element, Nchw, Shape, View, ViewMut};

/// Every `stride`-th position of the identity, with zeros for the channels that it lacks.
///
/// The paper pads "extra zero entries" and leaves open where. They go behind the channels here, as a longer vector
/// would have them; `both` puts half of them in front (rounded down), as reimplementations for CIFAR do.
#[derive(Clone, Debug, PartialEq)]
pub struct PadShortcut {
    /// Output channels, at least as many as come in.
    pub channels: u64,
    /// Step on height and width, from the first position on.
    pub stride: [u64; 2],
    /// Whether half of the zero channels go in front.
    pub both: bool,
}

const PLACES: &[&str] = &["behind", "both"];

impl Operator for PadShortcut {
    fn signatures() -> &'static [Signature] {
        static SIGNATURES: [Signature; 1] = [Signature {
            layer: "pad_shortcut",
            params: &[
                param("channels", "", "output channels, at least as many as come in"),
                param("stride", "1", "step: s or [s_h, s_w]"),
                words("pad", PLACES, "behind", "where the zero channels go: behind, or half of them in front"),
            ],
            operands: Operands::Above,
            doc: "the identity at every stride-th position with zero channels added (ResNet's option A)",
        }];
        &SIGNATURES
    }

    fn build(call: &Call) -> Result<Self, ArgError> {
        let channels = call.count("channels", None, 1)?;
        let stride = call.pair("stride", Some([1, 1]), 1)?;
        Ok(PadShortcut { channels, stride, both: call.choice("pad", PLACES)? == "both" })
    }

    fn describe(&self) -> (&'static str, Vec<(&'static str, Value)>) {
        let args = vec![
            ("channels", Value::int(self.channels)),
            ("stride", Value::ints(&self.stride)),
            ("pad", Value::word(PLACES[usize::from(self.both)])),
        ];
        ("pad_shortcut", args)
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>, ShapeError> {
        let (in_c, h, w) = geom::feature_map(inputs, 0)?;
        let in_c = geom::known(in_c, "input channels")?;
        if self.channels < in_c {
            return Err(ShapeError::Misfit {
                attr: Some("channels"),
                message: format!("{in_c} channels come in, and none can be dropped to make {}", self.channels),
                help: Some(format!("use a projection: `conv({}, 1)` with the stride", self.channels)),
            });
        }
        Ok(vec![Shape(vec![self.channels.into(), h.ceil_div(self.stride[0])?, w.ceil_div(self.stride[1])?])])
    }

    fn arithmetic(&self, inputs: &[Shape], outputs: &[Shape]) -> Vec<String> {
        let (Some((in_c, h, w)), Some((out_c, out_h, out_w))) = (inputs[0].chw(), outputs[0].chw()) else {
            return Vec::new();
        };
        let mut lines = Vec::new();
        if let Ok(added) = out_c.sub(in_c)
            && added != Dim::ZERO
        {
            lines.push(format!("channels: {in_c} + {added} = {out_c}"));
        }
        for (at, from, to) in [(0, h, out_h), (1, w, out_w)] {
            if self.stride[at] > 1 {
                lines.push(format!("{}: ceil({from}/{}) = {to}", geom::AXES[at], self.stride[at]));
            }
        }
        lines
    }

    fn params(&self, _inputs: &[Shape]) -> Vec<ParamSpec> {
        Vec::new()
    }

    fn cost(&self, _inputs: &[Shape], _outputs: &[Shape]) -> Result<Cost, DimError> {
        Ok(Cost::free())
    }

    fn reach(&self, _inputs: &[Shape]) -> Reach {
        Reach::Window(self.stride.map(|stride| Window::sliding(1, stride, 0)))
    }

    fn forward<E: Element>(&self, inputs: &[View<E>], _params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        let (from, to) = (Nchw::of(inputs[0].dims), Nchw::of(outputs[0].dims));
        outputs[0].data.fill(E::default());
        self.each_element(from, to, |x, y| outputs[0].data[y] = inputs[0].data[x]);
    }

    fn gradient(&self, g: &mut GradBuilder) {
        let incoming = g.incoming(0);
        g.backward(self, &[Wrt::Operand(0)], &[incoming], &[]);
    }

    const ONNX: &'static [&'static str] = &["Pad"];

    /// Channels of zeros behind the others, or as many in front as behind.
    fn from_onnx(node: &mut Import) -> Result<(), Unfit> {
        let x = node.live(0)?;
        let x = node.whole(&x)?;
        let &[(at, before, after)] = node.pads(x.axes.rank())?.as_slice() else {
            return Err(Unfit::new("it pads several axes"));
        };
        if node.axis_of(&x, at)? != 0 || node.attrs.text("mode", "constant")? != "constant" || node.pad_value()? != 0.0 {
            return Err(Unfit::new("it pads other than the channels with zeros"));
        }
        let total = before.checked_add(after).and_then(|total| u64::try_from(total).ok());
        let (Some(c), Some(total), true) = (x.shape.0[0].as_u64(), total, before == 0 || before == after / 2 || before == after) else {
            return Err(Unfit::new("it pads the channels other than behind, or on both sides alike"));
        };
        let op = PadShortcut { channels: c + total, stride: [1, 1], both: before != 0 };
        let made = node.emit_one(op, &[&x], Vec::new())?;
        let axes = x.axes.resized(&made.shape);
        node.result(Live { axes, ..made });
        Ok(())
    }

    fn to_onnx(&self, g: &mut Export) -> Result<(), Unfit> {
        let added = self.channels - g.inputs[0].0[0].as_u64().unwrap_or(self.channels);
        let before = if self.both { added / 2 } else { 0 };
        let mut x = g.operand(0);
        if self.stride != [1, 1] {
            let single = geom::Windows::single(self.stride);
            x = g.between("MaxPool", vec![x], onnx::windows::attributes(&single));
        } else if added == 0 {
            g.unary("Identity", Vec::new());
            return Ok(());
        }
        let pads = vec![0, before as i64, 0, 0, 0, (added - before) as i64, 0, 0];
        g.padded(x, pads, "constant", 0.0)
    }

    fn to_pytorch(&self, g: &mut PyTorch) -> Result<(), Unfit> {
        let added = self.channels - g.channels();
        let front = if self.both { added / 2 } else { 0 };
        let [s_h, s_w] = self.stride;
        let call = Expr::new("F.pad({x}[:, :, ::{0}, ::{1}], [0, 0, 0, 0, {2}, {3}])");
        g.call(call.arg("stride", s_h).arg("stride", s_w).arg("front", front).arg("behind", added - front));
        Ok(())
    }
}

impl Backward for PadShortcut {
    fn backward_cost(&self, _wrt: &[Wrt], _inputs: &[Shape], _outputs: &[Shape]) -> Result<Cost, DimError> {
        Ok(Cost::free())
    }

    fn backward<E: Element>(&self, _wrt: &[Wrt], inputs: &[View<E>], _params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        let (from, to) = (Nchw::of(outputs[0].dims), Nchw::of(inputs[0].dims));
        outputs[0].data.fill(E::default());
        self.each_element(from, to, |x, y| outputs[0].data[x] = inputs[0].data[y]);
    }
}

impl PadShortcut {
    /// Calls `with` with the places of each element that is kept, in the operand and in the result.
    fn each_element(&self, from: Nchw, to: Nchw, mut with: impl FnMut(usize, usize)) {
        let front = if self.both { (to.c - from.c) / 2 } else { 0 };
        let [s_h, s_w] = self.stride.map(|stride| stride as usize);
        for n in 0..from.n {
            for c in 0..from.c {
                for y in 0..to.h {
                    for x in 0..to.w {
                        with(from.at(n, c, y * s_h, x * s_w), to.at(n, front + c, y, x));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::op::testing::{assert_round_trip, build, infer_one, run, try_build};

    fn shortcut(channels: u64, stride: [u64; 2], both: bool) -> PadShortcut {
        PadShortcut { channels, stride, both }
    }

    #[test]
    fn channels_grow_and_positions_are_skipped() {
        assert_eq!(infer_one(&shortcut(32, [2, 2], false), &[&[16, 32, 32]]), Ok(vec![32, 16, 16]));
        assert_eq!(infer_one(&shortcut(16, [2, 3], false), &[&[16, 7, 7]]), Ok(vec![16, 4, 3]));
        assert_eq!(infer_one(&shortcut(3, [9, 1], true), &[&[2, 1, 1]]), Ok(vec![3, 1, 1]));
        let (inputs, outputs) = ([Shape::known(&[16, 7, 7])], [Shape::known(&[24, 4, 7])]);
        let lines = shortcut(24, [2, 1], false).arithmetic(&inputs, &outputs);
        assert_eq!(lines, ["channels: 16 + 8 = 24", "height: ceil(7/2) = 4"]);
    }

    #[test]
    fn channels_are_never_dropped() {
        let error = infer_one(&shortcut(8, [1, 1], false), &[&[16, 7, 7]]).unwrap_err();
        assert!(matches!(error, ShapeError::Misfit { attr: Some("channels"), .. }));
        assert_eq!(infer_one(&shortcut(8, [1, 1], false), &[&[7]]), Err(ShapeError::needs_feature_map(0)));
    }

    #[test]
    fn agrees_with_a_strided_convolution_on_unknown_sizes() {
        use crate::op::conv::Conv;
        let map = [Shape(vec![16u64.into(), Dim::symbol("H", 1), Dim::symbol("W", 4)])];
        let args = [("channels", 32), ("kernel", 3), ("stride", 2), ("pad", 1)].map(|(name, n)| (name, Value::int(n)));
        let conv: Conv = build("conv", &args, &map);
        assert_eq!(shortcut(32, [2, 2], false).infer(&map), conv.infer(&map));
    }

    #[test]
    fn describes_itself() {
        assert_round_trip(&shortcut(32, [2, 1], true), &[]);
        let built: PadShortcut = build("pad_shortcut", &[("channels", Value::int(32))], &[]);
        assert_eq!(built, shortcut(32, [1, 1], false));
        let args = [("channels", Value::int(32)), ("pad", Value::word("front"))];
        assert_eq!(try_build::<PadShortcut>("pad_shortcut", &args, &[]).unwrap_err().param, Some("pad"));
    }

    #[test]
    fn zeros_stand_for_missing_channels() {
        let data: Vec<f32> = (1..=6).map(|x| x as f32).collect();
        let output = |channels, both| {
            run(&shortcut(channels, [1, 2], both), &[(&[1, 2, 1, 3], data.clone())], &[]).remove(0)
        };
        assert_eq!(output(3, false), [1.0, 3.0, 4.0, 6.0, 0.0, 0.0]);
        assert_eq!(output(4, true), [0.0, 0.0, 1.0, 3.0, 4.0, 6.0, 0.0, 0.0]);
        assert_eq!(output(3, true), [1.0, 3.0, 4.0, 6.0, 0.0, 0.0]);
    }
}
