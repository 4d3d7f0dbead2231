//! The parameter-free shortcut of residual nets, option A (He et al. 2015, arXiv:1512.03385, section 3.3).

use super::attr::{ArgError, Call, Operands, Signature, Value, param, words};
use super::{Cost, Operator, ParamSpec, Reach, ShapeError, Window, geom};
use crate::dim::{Dim, DimError};
use crate::tensor::{Nchw, Shape, View, ViewMut};

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
        Reach::Window(self.stride.map(|stride| Window { extent: 1, stride: (stride, 1), before: 0 }))
    }

    fn forward(&self, inputs: &[View], _params: &[View], outputs: &mut [ViewMut]) {
        let (from, to) = (Nchw::of(inputs[0].dims), Nchw::of(outputs[0].dims));
        let front = if self.both { (to.c - from.c) / 2 } else { 0 };
        let [s_h, s_w] = self.stride.map(|stride| stride as usize);
        outputs[0].data.fill(0.0);
        for n in 0..from.n {
            for c in 0..from.c {
                for y in 0..to.h {
                    for x in 0..to.w {
                        outputs[0].data[to.at(n, front + c, y, x)] = inputs[0].data[from.at(n, c, y * s_h, x * s_w)];
                    }
                }
            }
        }
    }
}
