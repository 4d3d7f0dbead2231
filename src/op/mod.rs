//! The operators: one file each, with all its rules.
//!
//! [`Operator`] has no default bodies, so a rule that is forgotten does not compile. The table at the end of this file
//! is the only list of operators; docs/adding-an-op.md says how it grows. Vocabulary: `n c h w` are batch, channels,
//! height and width; `in_c out_c` channels before and after; `k_h k_w` kernel sizes; MACs are multiply-accumulates.
//! Shapes are channel-first without the batch; weights are laid out as PyTorch has them.

pub mod attr;
pub mod axis;
pub mod error;
pub mod geom;
pub mod onnx;
mod products;
pub mod pytorch;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod testing;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use crate::dim::{Dim, DimError};
use crate::tensor::{Element, Shape, View, ViewMut};

use gradient::GradBuilder;
use onnx::{Export, Import, Unfit};
use pytorch::PyTorch;

pub use attr::{ArgError, Call, Signature, Value};
pub use error::ShapeError;

/// What every operator has to say.
pub trait Operator: Sized {
    /// The layers of the language that make this operator.
    fn signatures() -> &'static [Signature];

    /// Makes the operator from a call.
    ///
    /// # Errors
    /// When an argument is missing, of another type or has an impossible value.
    fn build(call: &Call) -> Result<Self, ArgError>;

    /// The layer and all its arguments, none left to a default; building from them gives an equal operator.
    fn describe(&self) -> (&'static str, Vec<(&'static str, Value)>);

    /// Checks the operands' shapes and computes those of the results.
    ///
    /// # Errors
    /// When the operands do not fit.
    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>, ShapeError>;

    /// How the sizes of the result come about, for messages: "height: (223 - 2)/2 + 1 = 111"; empty where the
    /// result has the shape of the operand.
    fn arithmetic(&self, inputs: &[Shape], outputs: &[Shape]) -> Vec<String>;

    /// The tensors it owns, in the order in which `forward` takes them.
    fn params(&self, inputs: &[Shape]) -> Vec<ParamSpec>;

    /// What it costs for one sample.
    ///
    /// # Errors
    /// When a count overflows.
    fn cost(&self, inputs: &[Shape], outputs: &[Shape]) -> Result<Cost, DimError>;

    /// Which inputs one output position sees.
    fn reach(&self, inputs: &[Shape]) -> Reach;

    /// Computes the results in plain loops: the meaning of the operator and the oracle for every kernel. All views
    /// have the batch in front and shapes that `infer` has admitted.
    fn forward<E: Element>(&self, inputs: &[View<E>], params: &[View<E>], outputs: &mut [ViewMut<E>]);

    /// Emits the nodes that compute its gradients.
    fn gradient(&self, g: &mut GradBuilder);

    /// The operators of ONNX whose nodes it may express; for one that several operators name, each is asked.
    const ONNX: &'static [&'static str];

    /// Makes layers of a node of one of [`ONNX`](Self::ONNX).
    ///
    /// # Errors
    /// When it does not express the node.
    fn from_onnx(node: &mut Import) -> Result<(), Unfit>;

    /// Emits the nodes of ONNX that compute it in inference.
    ///
    /// # Errors
    /// When ONNX has none.
    fn to_onnx(&self, g: &mut Export) -> Result<(), Unfit>;

    /// Says which module or function of PyTorch it is.
    ///
    /// # Errors
    /// When it is none.
    fn to_pytorch(&self, g: &mut PyTorch) -> Result<(), Unfit>;
}

/// A tensor that an operator owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamSpec {
    /// PyTorch's leaf name: `weight`, `bias`, `running_mean`, …
    pub leaf: &'static str,
    /// Its sizes as PyTorch has them.
    pub shape: Vec<u64>,
    /// What it is for.
    pub role: Role,
    /// How many inputs one output sums over; 0 where that means nothing.
    pub fan_in: u64,
    /// How many outputs one input feeds; 0 where that means nothing.
    pub fan_out: u64,
}

impl ParamSpec {
    /// How many numbers it holds; `None` when that overflows, which `infer` does not let happen.
    pub fn elements(&self) -> Option<u64> {
        self.shape.iter().try_fold(1u64, |product, &size| product.checked_mul(size))
    }

    /// A tensor with no fans.
    pub fn plain(leaf: &'static str, shape: Vec<u64>, role: Role) -> Self {
        ParamSpec { leaf, shape, role, fan_in: 0, fan_out: 0 }
    }
}

/// Checks that 64 bits can count the bytes of each tensor, whatever its elements are.
fn countable(params: &[ParamSpec]) -> Result<(), ShapeError> {
    match params.iter().find(|spec| spec.elements().is_none_or(|elements| elements > u64::MAX / 8)) {
        Some(spec) => {
            let (leaf, shape) = (spec.leaf, Shape::known(&spec.shape));
            Err(ShapeError::misfit(format!("`{leaf}` of {} has more elements than can be counted", shape.claim())))
        }
        None => Ok(()),
    }
}

/// What a tensor of an operator is for; says how it is initialised and whether training changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Multiplies; drawn at random by its fans.
    Weight,
    /// Added; starts at zero.
    Bias,
    /// Per-channel scale; starts at one.
    Scale,
    /// Per-channel shift; starts at zero.
    Shift,
    /// Slope below zero; starts at a quarter.
    Slope,
    /// Running mean, a buffer; starts at zero.
    RunningMean,
    /// Running variance, a buffer; starts at one.
    RunningVar,
    /// Batches seen, a buffer of one integer; starts at zero and is optional in a checkpoint.
    Counter,
}

impl Role {
    /// Whether training changes it by its gradient; the others are buffers.
    pub fn trainable(self) -> bool {
        match self {
            Role::Weight | Role::Bias | Role::Scale | Role::Shift | Role::Slope => true,
            Role::RunningMean | Role::RunningVar | Role::Counter => false,
        }
    }
}

/// What an operator costs for one sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Multiply-accumulates of convolutions and linear layers; zero for every other operator. Bias is not counted.
    pub macs: Dim,
    /// Floating-point operations: two for each MAC, plus everything else by the rule in docs/cost.md.
    pub flops: Dim,
    /// What fvcore's default handlers count for it.
    pub fvcore: Dim,
}

impl Cost {
    /// Nothing: data is only moved, or not even that.
    pub fn free() -> Self {
        Cost { macs: Dim::ZERO, flops: Dim::ZERO, fvcore: Dim::ZERO }
    }

    /// `per_element` operations for each element of a result, which fvcore does not count.
    ///
    /// # Errors
    /// When the count overflows.
    pub fn elementwise(output: &Shape, per_element: u64) -> Result<Self, DimError> {
        let flops = output.elements()?.mul(&Dim::from(per_element))?;
        Ok(Cost { macs: Dim::ZERO, flops, fvcore: Dim::ZERO })
    }

    /// `macs` multiply-accumulates and one addition for each of `biased` elements.
    ///
    /// # Errors
    /// When the count overflows.
    pub fn multiply(macs: Dim, biased: &Dim) -> Result<Self, DimError> {
        let flops = macs.mul(&Dim::from(2u64))?.add(biased)?;
        Ok(Cost { fvcore: macs.clone(), macs, flops })
    }
}

/// Which positions of its operands an output position sees, for the receptive field.
#[derive(Clone, Debug, PartialEq)]
pub enum Reach {
    /// Its own position only.
    Point,
    /// A window on each of the two axes.
    Window([Window; 2]),
    /// All positions.
    Everything,
}

/// A window on one axis: with `stride = (step, by)`, output position `i` sees the input positions
/// `floor((i * step + first) / by) ..= floor((i * step + last) / by)`, dilation included; those outside are padding.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// Input positions from one output position to the next, as a fraction: transposed convolutions and upsampling
    /// step by less than one.
    pub stride: (u64, u64),
    /// Where the window of position 0 starts, in parts of `by`.
    pub first: i128,
    /// Where it ends.
    pub last: i128,
}

impl Window {
    /// A window of `extent` positions that moves by `stride`, with so many positions of padding in front.
    pub fn sliding(extent: u64, stride: u64, before: u64) -> Window {
        let first = -i128::from(before);
        Window { stride: (stride, 1), first, last: first + i128::from(extent) - 1 }
    }

    /// One position, so many behind the output's own.
    pub fn shifted(by: i128) -> Window {
        Window { stride: (1, 1), first: by, last: by }
    }

    /// The input positions that an output position sees.
    pub fn seen(&self, position: u64) -> std::ops::RangeInclusive<i128> {
        let (start, by) = (i128::from(position) * i128::from(self.stride.0), i128::from(self.stride.1.max(1)));
        (start + self.first).div_euclid(by)..=(start + self.last).div_euclid(by)
    }
}

/// The rule by which an operator makes layers of a node; see [`Operator::from_onnx`].
pub type Importer = fn(&mut Import) -> Result<(), Unfit>;

macro_rules! ops {
    ($($(#[$doc:meta])* $module:ident::$variant:ident,)*) => {
        $(pub mod $module;)*

        /// Any operator.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Op {
            $($(#[$doc])* $variant($module::$variant),)*
        }

        /// Every layer of the language with its signature, operator by operator.
        pub fn signatures() -> impl Iterator<Item = &'static Signature> {
            let tables: [&'static [Signature]; [$(stringify!($variant)),*].len()] =
                [$($module::$variant::signatures()),*];
            tables.into_iter().flatten()
        }

        impl Op {
            /// Makes the operator that the called layer stands for.
            ///
            /// # Errors
            /// When an argument is missing, of another type or has an impossible value.
            pub fn build(call: &Call) -> Result<Op, ArgError> {
                $(if $module::$variant::signatures().iter().any(|s| s.layer == call.layer) {
                    return $module::$variant::build(call).map(Op::$variant);
                })*
                Err(ArgError { param: None, message: format!("`{}` is no layer", call.layer), help: None })
            }

            /// See [`Operator::describe`].
            pub fn describe(&self) -> (&'static str, Vec<(&'static str, Value)>) {
                match self { $(Op::$variant(op) => op.describe(),)* }
            }

            /// See [`Operator::infer`].
            ///
            /// # Errors
            /// When the operands do not fit.
            pub fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>, ShapeError> {
                match self { $(Op::$variant(op) => op.infer(inputs),)* }
            }

            /// See [`Operator::arithmetic`].
            pub fn arithmetic(&self, inputs: &[Shape], outputs: &[Shape]) -> Vec<String> {
                match self { $(Op::$variant(op) => op.arithmetic(inputs, outputs),)* }
            }

            /// See [`Operator::params`].
            pub fn params(&self, inputs: &[Shape]) -> Vec<ParamSpec> {
                match self { $(Op::$variant(op) => op.params(inputs),)* }
            }

            /// See [`Operator::cost`].
            ///
            /// # Errors
            /// When a count overflows.
            pub fn cost(&self, inputs: &[Shape], outputs: &[Shape]) -> Result<Cost, DimError> {
                match self { $(Op::$variant(op) => op.cost(inputs, outputs),)* }
            }

            /// See [`Operator::reach`].
            pub fn reach(&self, inputs: &[Shape]) -> Reach {
                match self { $(Op::$variant(op) => op.reach(inputs),)* }
            }

            /// See [`Operator::forward`].
            pub fn forward<E: Element>(&self, inputs: &[View<E>], params: &[View<E>], outputs: &mut [ViewMut<E>]) {
                match self { $(Op::$variant(op) => op.forward(inputs, params, outputs),)* }
            }

            /// See [`Operator::gradient`].
            pub fn gradient(&self, g: &mut GradBuilder) {
                match self { $(Op::$variant(op) => op.gradient(g),)* }
            }

            /// The rules of the operators that may express nodes of this operator of ONNX, in the order of the table.
            pub fn importers(op_type: &str) -> Vec<Importer> {
                let mut importers: Vec<Importer> = Vec::new();
                $(if $module::$variant::ONNX.contains(&op_type) {
                    importers.push($module::$variant::from_onnx);
                })*
                importers
            }

            /// See [`Operator::to_onnx`].
            ///
            /// # Errors
            /// When ONNX has no nodes that compute it.
            pub fn to_onnx(&self, g: &mut Export) -> Result<(), Unfit> {
                match self { $(Op::$variant(op) => op.to_onnx(g),)* }
            }

            /// See [`Operator::to_pytorch`].
            ///
            /// # Errors
            /// When PyTorch has nothing that computes it.
            pub fn to_pytorch(&self, g: &mut PyTorch) -> Result<(), Unfit> {
                match self { $(Op::$variant(op) => op.to_pytorch(g),)* }
            }
        }

        $(impl From<$module::$variant> for Op {
            fn from(op: $module::$variant) -> Op {
                Op::$variant(op)
            }
        })*
    };
}

ops! {
    /// A value from outside.
    input::Input,
    /// Two-dimensional convolution.
    conv::Conv,
    /// Transposed convolution.
    conv_transpose::ConvTranspose,
    /// Convolution with a connection table.
    table_conv::TableConv,
    /// Fully connected layer.
    linear::Linear,
    /// Squared distance to fixed codes.
    rbf::Rbf,
    /// Batch normalisation.
    batch_norm::BatchNorm,
    /// Batch normalisation in training.
    normalise::Normalise,
    /// Layer normalisation over the channels of each position.
    layer_norm::LayerNorm,
    /// Normalisation over groups of channels, or over each channel.
    group_norm::GroupNorm,
    /// Local response normalisation.
    lrn::Lrn,
    /// Trainable scale and bias per channel.
    channel_scale::ChannelScale,
    /// Maximum and average over windows, over everything or in parts.
    pool::Pool,
    /// Pointwise function.
    activation::Activation,
    /// ReLU with a trained slope below zero.
    prelu::Prelu,
    /// Softmax and its logarithm.
    softmax::Softmax,
    /// Elementwise sum.
    add::Add,
    /// Elementwise difference.
    sub::Sub,
    /// Elementwise product.
    mul::Mul,
    /// Elementwise quotient.
    div::Div,
    /// Elementwise maximum and minimum.
    extremum::Extremum,
    /// Scale and shift by constants.
    affine::Affine,
    /// Concatenation.
    concat::Concat,
    /// A range of an axis.
    slice::Slice,
    /// An axis cut into parts.
    split::Split,
    /// Channels dealt out from their groups.
    shuffle::ChannelShuffle,
    /// Channels as squares of positions, and squares of positions as channels.
    pixel_shuffle::PixelShuffle,
    /// The operand as it is.
    identity::Identity,
    /// Dropout.
    dropout::Dropout,
    /// All elements as one vector.
    flatten::Flatten,
    /// The same elements under other sizes.
    reshape::Reshape,
    /// The axes of a map in another order.
    permute::Permute,
    /// Cells added around height and width.
    pad::Pad,
    /// Height and width resampled.
    upsample::Upsample,
    /// A rectangle of height and width.
    crop::Crop,
    /// The identity with zero channels added.
    pad_shortcut::PadShortcut,
    /// How far a prediction is from its target.
    loss::Loss,
    /// Gradients of an operator.
    gradient::Gradient,
}

impl Op {
    /// Whether a result has a value for each sample of a batch; the others have one for the whole batch.
    pub fn is_per_sample(&self, output: usize) -> bool {
        match self {
            Op::Normalise(_) => output == 0,
            Op::Gradient(gradient) => matches!(gradient.wrt[output], gradient::Wrt::Operand(_)),
            _ => true,
        }
    }
}
