//! Right calls of every layer.

use crate::dim::Dim;
use crate::op::activation::Activation;
use crate::op::testing::seeded;
use crate::op::{ArgError, Call, Op, Value};
use crate::tensor::Shape;

/// A call that is right.
pub(super) struct Sample {
    pub(super) layer: &'static str,
    pub(super) args: Vec<(&'static str, Value)>,
    pub(super) inputs: Vec<Shape>,
}

/// Rows of the table: the layer, its arguments, the operands' sizes.
pub(super) type Row<'a> = (&'static str, &'a [(&'static str, Value)], &'a [&'a [u64]]);

pub(super) fn n(value: u64) -> Value {
    Value::int(value)
}

pub(super) fn ns(values: &[u64]) -> Value {
    Value::ints(values)
}

pub(super) fn f(value: f64) -> Value {
    Value::Float(value)
}

pub(super) fn w(word: &str) -> Value {
    Value::word(word)
}

/// At least one call of every layer; the first of each layer leaves to their defaults what has one.
pub(super) fn samples() -> Vec<Sample> {
    let map: &[&[u64]] = &[&[4, 5, 6]];
    let vector: &[&[u64]] = &[&[7]];
    let range = Value::Range(1u64.into(), 3u64.into());
    let rows: &[Row] = &[
        ("conv", &[("channels", n(3)), ("kernel", n(2))], map),
        (
            "conv",
            &[
                ("channels", n(6)),
                ("kernel", ns(&[3, 2])),
                ("stride", ns(&[2, 1])),
                ("pad", ns(&[1, 0, 2, 3])),
                ("dilation", ns(&[1, 2])),
                ("groups", n(2)),
                ("bias", Value::Bool(false)),
            ],
            map,
        ),
        ("conv", &[("channels", n(3)), ("kernel", n(3)), ("stride", n(2)), ("pad", w("same_upper"))], map),
        ("conv", &[("channels", n(3)), ("kernel", n(4)), ("stride", n(3)), ("pad", w("same_lower"))], map),
        ("depthwise", &[("kernel", n(3))], map),
        ("depthwise", &[("kernel", n(3)), ("pad", w("same")), ("multiplier", n(2))], map),
        ("conv_transpose", &[("channels", n(3)), ("kernel", n(2))], map),
        (
            "conv_transpose",
            &[
                ("channels", n(6)),
                ("kernel", ns(&[3, 2])),
                ("stride", ns(&[2, 3])),
                ("pad", ns(&[1, 0, 2, 1])),
                ("output_pad", ns(&[1, 2])),
                ("dilation", ns(&[2, 1])),
                ("groups", n(2)),
                ("bias", Value::Bool(false)),
            ],
            map,
        ),
        ("table_conv", &[("kernel", n(3)), ("table", Value::List(vec![ns(&[0, 3]), ns(&[1, 2, 0])]))], map),
        (
            "table_conv",
            &[
                ("kernel", ns(&[2, 3])),
                ("table", Value::List(vec![ns(&[2])])),
                ("stride", n(2)),
                ("pad", n(1)),
                ("dilation", n(2)),
                ("bias", Value::Bool(false)),
            ],
            map,
        ),
        ("linear", &[("features", n(3))], vector),
        ("linear", &[("features", n(3)), ("bias", Value::Bool(false))], vector),
        ("rbf", &[("codes", Value::List(vec![Value::Str("#.##.#.".to_owned()), ns(&[1, 0, 2, 0, 3, 0, 4])]))], vector),
        ("bn", &[], map),
        ("bn", &[("eps", f(0.001)), ("momentum", f(0.0)), ("affine", Value::Bool(false))], vector),
        ("layer_norm", &[], map),
        ("layer_norm", &[("eps", f(0.1)), ("affine", Value::Bool(false))], vector),
        ("group_norm", &[("groups", n(2))], map),
        ("group_norm", &[("groups", n(1)), ("eps", f(0.1)), ("affine", Value::Bool(false))], map),
        ("group_norm", &[("groups", n(1))], vector),
        ("instance_norm", &[], map),
        ("instance_norm", &[("eps", f(0.1)), ("affine", Value::Bool(true))], map),
        ("lrn", &[], map),
        ("lrn", &[("size", n(2)), ("alpha", f(0.5)), ("beta", f(1.0)), ("k", f(2.0))], map),
        ("scale", &[], map),
        ("scale", &[("bias", Value::Bool(false))], vector),
        ("maxpool", &[("kernel", n(2))], map),
        (
            "maxpool",
            &[
                ("kernel", ns(&[3, 2])),
                ("stride", ns(&[2, 3])),
                ("pad", n(1)),
                ("dilation", ns(&[1, 2])),
                ("ceil", Value::Bool(true)),
            ],
            map,
        ),
        ("maxpool", &[("kernel", w("global"))], map),
        ("maxpool", &[("to", ns(&[2, 9]))], map),
        ("maxpool", &[("kernel", n(3)), ("stride", n(2)), ("pad", w("same_lower"))], map),
        ("maxpool", &[("kernel", n(3)), ("stride", n(1)), ("pad", w("same"))], map),
        ("avgpool", &[("kernel", n(2))], map),
        (
            "avgpool",
            &[("kernel", n(3)), ("stride", n(1)), ("pad", w("same_upper")), ("count_pad", Value::Bool(false))],
            map,
        ),
        (
            "avgpool",
            &[
                ("kernel", ns(&[3, 2])),
                ("stride", n(2)),
                ("pad", n(1)),
                ("ceil", Value::Bool(true)),
                ("count_pad", Value::Bool(false)),
            ],
            map,
        ),
        (
            "avgpool",
            &[
                ("kernel", ns(&[3, 2])),
                ("stride", ns(&[1, 2])),
                ("pad", n(1)),
                ("dilation", ns(&[2, 3])),
                ("ceil", Value::Bool(true)),
            ],
            map,
        ),
        ("avgpool", &[("kernel", w("global"))], map),
        ("avgpool", &[("to", n(3))], map),
        ("softmax", &[], vector),
        ("softmax", &[("axis", w("h"))], map),
        ("log_softmax", &[], map),
        ("relu", &[], vector),
        ("relu6", &[], map),
        ("leaky_relu", &[], map),
        ("leaky_relu", &[("slope", f(0.2))], map),
        ("elu", &[], map),
        ("gelu", &[], map),
        ("gelu", &[("form", w("tanh"))], map),
        ("silu", &[], map),
        ("silu", &[("beta", f(1.702))], map),
        ("sigmoid", &[], map),
        ("hard_sigmoid", &[], map),
        ("hard_sigmoid", &[("slope", f(0.8)), ("shift", f(0.3))], map),
        ("hard_swish", &[], map),
        ("tanh", &[], map),
        ("tanh", &[("scale", f(1.7159)), ("slope", f(2.0 / 3.0))], vector),
        ("clip", &[("min", f(-0.3))], map),
        ("clip", &[("max", f(0.2))], vector),
        ("clip", &[("min", f(-0.3)), ("max", f(0.2))], map),
        ("selu", &[], map),
        ("celu", &[], map),
        ("celu", &[("alpha", f(0.4))], map),
        ("softplus", &[], map),
        ("softplus", &[("beta", f(3.0))], vector),
        ("softsign", &[], map),
        ("mish", &[], map),
        ("thresholded_relu", &[], map),
        ("thresholded_relu", &[("alpha", f(-0.3))], map),
        ("thresholded_relu", &[("alpha", f(0.3))], map),
        ("abs", &[], map),
        ("exp", &[], map),
        ("log", &[], map),
        ("sqrt", &[], vector),
        ("pow", &[("exponent", f(1.5))], vector),
        ("erf", &[], vector),
        ("prelu", &[], map),
        ("prelu", &[("shared", Value::Bool(true))], vector),
        ("add", &[], &[&[4, 5, 6], &[4, 5, 6], &[4, 5, 6]]),
        ("sub", &[], &[&[7], &[7]]),
        ("mul", &[], &[&[4, 5, 6], &[4, 5, 6]]),
        ("mul", &[], &[&[4, 1, 1], &[4, 5, 6]]),
        ("div", &[], &[&[4, 5, 6], &[4, 5, 6]]),
        ("div", &[], &[&[4, 5, 6], &[4, 1, 1]]),
        ("div", &[], &[&[4, 1, 1], &[4, 5, 6]]),
        ("maximum", &[], &[&[4, 5, 6], &[4, 5, 6], &[4, 5, 6]]),
        ("minimum", &[], &[&[7], &[7]]),
        ("concat", &[], &[&[4, 5, 6], &[1, 5, 6], &[2, 5, 6]]),
        ("concat", &[("axis", w("w"))], &[&[4, 5, 6], &[4, 5, 1]]),
        ("slice", &[("range", range.clone())], map),
        ("slice", &[("range", range), ("axis", w("h"))], map),
        ("split", &[("parts", n(2))], map),
        ("split", &[("parts", ns(&[1, 3, 2])), ("axis", n(2))], map),
        ("channel_shuffle", &[("groups", n(2))], map),
        ("pixel_shuffle", &[("factor", n(2))], &[&[8, 5, 6]]),
        ("pixel_shuffle", &[("factor", n(2)), ("order", w("dcr"))], map),
        ("pixel_unshuffle", &[("factor", n(2))], &[&[2, 4, 6]]),
        ("pixel_unshuffle", &[("factor", n(3)), ("order", w("dcr"))], &[&[2, 3, 6]]),
        ("affine", &[], vector),
        ("affine", &[("scale", Value::List(vec![f(1.0), f(2.0), f(-3.0), f(0.5)])), ("shift", n(1))], map),
        ("identity", &[], vector),
        ("dropout", &[], vector),
        ("dropout", &[("p", f(0.1)), ("channels", Value::Bool(true))], map),
        ("flatten", &[], map),
        ("permute", &[("order", w("hwc"))], map),
        ("permute", &[("order", w("cwh"))], map),
        ("reshape", &[("to", ns(&[2, 4, 15]))], map),
        ("reshape", &[("to", Value::List(vec![n(8), Value::Int(Dim::known(-1)), n(5)]))], map),
        ("pad", &[("sides", n(2))], map),
        ("pad", &[("sides", ns(&[4, 3, 2, 1])), ("mode", w("reflect"))], map),
        ("pad", &[("sides", ns(&[7, 8])), ("mode", w("replicate"))], map),
        ("upsample", &[("factor", ns(&[2, 3]))], map),
        ("upsample", &[("size", ns(&[9, 4])), ("mode", w("bilinear")), ("corners", w("aligned"))], map),
        ("upsample", &[("size", Value::Shape(Shape::known(&[1, 3, 8]))), ("mode", w("bilinear"))], map),
        ("upsample", &[("factor", ns(&[3, 2])), ("mode", w("bilinear")), ("corners", w("top_left"))], map),
        ("upsample", &[("factor", n(2)), ("mode", w("bicubic"))], map),
        ("upsample", &[("size", ns(&[3, 9])), ("mode", w("bicubic")), ("corners", w("aligned"))], map),
        ("crop", &[("to", ns(&[2, 5]))], map),
        ("crop", &[("to", n(3)), ("at", ns(&[2, 1]))], map),
        ("pad_shortcut", &[("channels", n(9))], map),
        ("pad_shortcut", &[("channels", n(7)), ("stride", n(2)), ("pad", w("both"))], map),
    ];
    let sample = |&(layer, args, inputs): &Row| Sample {
        layer,
        args: args.to_vec(),
        inputs: inputs.iter().map(|sizes| Shape::known(sizes)).collect(),
    };
    rows.iter().map(sample).collect()
}

/// Seeded numbers for an operand, all above zero where an operator takes no others, or none near zero.
pub(super) fn operand(op: &Op, len: usize, seed: u64) -> Vec<f32> {
    let above_zero =
        matches!(op, Op::Div(_) | Op::Activation(Activation::Log | Activation::Sqrt | Activation::Pow { .. }));
    seeded(len, seed).into_iter().map(|x| if above_zero { x + 2.0 } else { x }).collect()
}

impl Sample {
    pub(super) fn build(&self) -> Result<Op, ArgError> {
        Op::build(&Call { layer: self.layer, args: &self.args, inputs: &self.inputs })
    }

    pub(super) fn with(mut self, name: &'static str, value: Value) -> Self {
        self.args.retain(|(given, _)| *given != name);
        self.args.push((name, value));
        self
    }
}
