//! What a box says of its layer, and how it looks.

use crate::op::activation::{Activation, HARD_SIGMOID};
use crate::op::{Op, Value};

/// The kinds of layers that have a colour of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family {
    Conv,
    Norm,
    Activation,
    Pool,
    Linear,
    Join,
    Terminal,
    Other,
}

/// How a layer is drawn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) family: Family,
    /// In a circle with this sign.
    pub(super) sign: Option<&'static str>,
    /// As a bar.
    pub(super) bar: bool,
    /// Right below its operand, without a gap, where it alone uses it.
    pub(super) follows: bool,
}

impl Look {
    /// Whether another layer can follow right below.
    pub(super) fn stacks(self) -> bool {
        self.sign.is_none() && !self.bar && self.family != Family::Terminal
    }
}

/// How an operator is drawn; one that has no line here gets a grey box.
pub(super) fn look(op: &Op) -> Look {
    let family = match op {
        Op::Input(_) => Family::Terminal,
        Op::Conv(_) | Op::ConvTranspose(_) | Op::TableConv(_) => Family::Conv,
        Op::Linear(_) | Op::Rbf(_) => Family::Linear,
        Op::BatchNorm(_) | Op::LayerNorm(_) | Op::GroupNorm(_) | Op::Lrn(_) | Op::ChannelScale(_) => Family::Norm,
        Op::Activation(_) | Op::Prelu(_) | Op::Softmax(_) => Family::Activation,
        Op::Pool(_) => Family::Pool,
        Op::Add(_) | Op::Sub(_) | Op::Mul(_) | Op::Div(_) | Op::Extremum(_) | Op::Concat(_) => Family::Join,
        _ => Family::Other,
    };
    let sign = match op {
        Op::Add(_) => Some("+"),
        Op::Sub(_) => Some("−"),
        Op::Mul(_) => Some("×"),
        Op::Div(_) => Some("÷"),
        _ => None,
    };
    let follows = matches!(family, Family::Norm | Family::Activation) || matches!(op, Op::Dropout(_));
    Look { family, sign, bar: matches!(op, Op::Concat(_)), follows }
}

/// The layer with the arguments that matter: `conv 64, 7x7 /2`. Its kind is left out where the name says it already.
pub(super) fn detail(op: &Op, name: &str) -> String {
    let (layer, args) = op.describe();
    let of = |name: &str| args.iter().find(|(arg, _)| *arg == name).map(|(_, value)| value);
    let number = |name: &str| of(name).map(ToString::to_string);
    let pair = |name: &str| of(name).and_then(pair);
    let other = |name: &str| number(name).filter(|value| value != "1");
    let mut words = Vec::new();
    match op {
        Op::Conv(_) | Op::ConvTranspose(_) | Op::TableConv(_) => {
            words.extend(number("channels").map(|channels| format!("{channels},")));
            words.extend(pair("kernel"));
            words.extend(pair("stride").filter(|stride| stride != "1x1").map(|stride| over(&stride)));
            words.extend(pair("dilation").filter(|dilation| dilation != "1x1").map(|by| format!("dilation {by}")));
            words.extend(other("groups").map(|groups| {
                if Some(&groups) == number("channels").as_ref() {
                    "depthwise".to_owned()
                } else {
                    format!("groups {groups}")
                }
            }));
        }
        Op::Pool(_) => {
            words.extend(pair("kernel").or_else(|| number("kernel")));
            words.extend(pair("stride").filter(|stride| stride != "1x1").map(|stride| over(&stride)));
            words.extend(pair("to").map(|to| format!("to {to}")));
        }
        Op::Linear(_) => words.extend(args.first().map(|(_, value)| value.to_string())),
        Op::Dropout(_) => words.extend(args.first().map(|(_, value)| value.to_string())),
        Op::Upsample(_) | Op::PixelShuffle(_) | Op::Slice(_) | Op::Split(_) | Op::Pad(_) | Op::Softmax(_) => {
            words.extend(args.iter().map(|(_, value)| pair_or_text(value)));
        }
        Op::Activation(Activation::HardSigmoid { slope, shift }) if [*slope, *shift] == HARD_SIGMOID => {}
        Op::Activation(_) | Op::Affine(_) => {
            let told = args.iter().filter(|(_, value)| !matches!(value, Value::Float(value) if *value == 1.0));
            words.extend(told.map(|(name, value)| format!("{name} {value}")));
        }
        Op::Concat(_) => {
            words.extend(number("axis").filter(|axis| axis != "c").map(|axis| format!("along {axis}")));
        }
        _ => {}
    }
    let ordinal = name.strip_prefix(layer).is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()));
    if !ordinal {
        words.insert(0, layer.to_owned());
    }
    words.join(" ")
}

/// `/2` for a stride of 2x2, `/2x1` where its sides differ.
fn over(stride: &str) -> String {
    match stride.split_once('x') {
        Some((h, w)) if h == w => format!("/{h}"),
        _ => format!("/{stride}"),
    }
}

fn pair(value: &Value) -> Option<String> {
    match value {
        Value::List(values) if 1 < values.len() => {
            let sizes: Vec<String> = values.iter().map(ToString::to_string).collect();
            Some(sizes.join("x"))
        }
        Value::Int(size) => Some(format!("{size}x{size}")),
        _ => None,
    }
}

fn pair_or_text(value: &Value) -> String {
    match value {
        Value::List(_) => pair(value).unwrap_or_else(|| value.to_string()),
        _ => value.to_string(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn details_are_short() {
        let text = "net n { input x: [4, 32, 32]\n a: conv(8, [3, 5], stride = 2, pad = 1)\n depthwise(3, pad = 1)\n \
            relu\n leaky_relu\n maxpool(2)\n concat { identity; dropout(0.5) }\n avgpool(global)\n flatten\n \
            fc: linear(3)\n output y }";
        let net = crate::compile_text("x.net", text).unwrap().net;
        let details: Vec<String> = net
            .nodes()
            .skip(1)
            .map(|id| (net.node(id).path.clone(), detail(&net.node(id).op, &net.node(id).path)))
            .map(|(path, detail)| format!("{path} {detail}").trim_end().to_owned())
            .collect();
        insta::assert_snapshot!(details.join("\n"));
    }
}
