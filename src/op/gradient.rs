//! Gradients: what an operator's gradient rule is written in, and the operator that computes what no others do.
//!
//! A rule ([`Operator::gradient`]) emits nodes. Where operators that exist compute a gradient (a sum passes it on, a
//! concatenation cuts it), it emits those; where none does, the operator is [`Backward`] and the rule emits a
//! [`Gradient`] of it, whose plain loops stand in the operator's own file beside its forward.

use super::attr::{ArgError, Call, Signature, Value};
use super::{
    Cost, Op, Operator, ParamSpec, Reach, ShapeError, activation, affine, batch_norm, channel_scale, conv,
    crop, div, extremum, group_norm, layer_norm, linear, loss, lrn, mul, normalise, pad, pad_shortcut, pool, prelu, rbf, slice, softmax, table_conv, upsample,
};
use super::onnx::{Export, Import, Unfit};
use super::pytorch::PyTorch;
use crate::dim::DimError;
use crate::tensor::{Element, Shape, View, ViewMut};

/// A value that a rule refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ref {
    /// An operand of the operator.
    Operand(usize),
    /// One of its results.
    Result(usize),
    /// The gradient that reaches one of its results.
    Incoming(usize),
    /// The first result of a node that the rule has emitted, or a further one.
    Emitted(usize, u32),
}

/// With respect to what a gradient is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrt {
    /// An operand.
    Operand(usize),
    /// A parameter, counted as [`Operator::params`] has them.
    Param(usize),
}

/// A node that a rule has emitted.
#[derive(Clone, Debug, PartialEq)]
pub struct Emitted {
    /// The operator.
    pub op: Op,
    /// What it takes.
    pub operands: Vec<Ref>,
    /// Which parameters of the differentiated operator it reads as its own.
    pub params: Vec<usize>,
}

/// What a rule sees of the operator's place in a net, and what it writes.
#[derive(Debug)]
pub struct GradBuilder<'a> {
    inputs: &'a [Shape],
    outputs: &'a [Shape],
    specs: &'a [ParamSpec],
    reached: Vec<bool>,
    wanted: Vec<Wrt>,
    /// The nodes, in order.
    pub nodes: Vec<Emitted>,
    /// The gradients that were found: of what, and the value.
    pub found: Vec<(Wrt, Ref)>,
}

impl<'a> GradBuilder<'a> {
    /// For an operator with these operands, results and parameters: which results a gradient reaches, and which gradients
    /// are wanted.
    pub fn new(
        inputs: &'a [Shape],
        outputs: &'a [Shape],
        specs: &'a [ParamSpec],
        reached: Vec<bool>,
        wanted: Vec<Wrt>,
    ) -> Self {
        GradBuilder { inputs, outputs, specs, reached, wanted, nodes: Vec::new(), found: Vec::new() }
    }

    /// The operands' shapes.
    pub fn inputs(&self) -> &'a [Shape] {
        self.inputs
    }

    /// The results' shapes.
    pub fn outputs(&self) -> &'a [Shape] {
        self.outputs
    }

    /// Whether the gradient with respect to this is wanted.
    pub fn wants(&self, wrt: Wrt) -> bool {
        self.wanted.contains(&wrt)
    }

    /// The operands whose gradients are wanted.
    pub fn wanted_operands(&self) -> Vec<usize> {
        let operand = |wrt: &Wrt| match *wrt {
            Wrt::Operand(at) => Some(at),
            Wrt::Param(_) => None,
        };
        self.wanted.iter().filter_map(operand).collect()
    }

    /// The gradient of a result: zeros where none reaches it.
    pub fn incoming(&mut self, result: usize) -> Ref {
        if self.reached[result] {
            return Ref::Incoming(result);
        }
        self.emit(Op::Affine(affine::Affine { scale: vec![0.0], shift: vec![0.0] }), &[Ref::Result(result)])
    }

    /// Emits a node; its first result.
    pub fn emit(&mut self, op: Op, operands: &[Ref]) -> Ref {
        self.emit_with(op, operands, &[])
    }

    /// Emits a node that reads these parameters of the differentiated operator as its own; its first result.
    pub fn emit_with(&mut self, op: Op, operands: &[Ref], params: &[usize]) -> Ref {
        self.nodes.push(Emitted { op, operands: operands.to_vec(), params: params.to_vec() });
        Ref::Emitted(self.nodes.len() - 1, 0)
    }

    /// Says what the gradient with respect to an operand is; nothing where it is not wanted.
    pub fn set(&mut self, wrt: Wrt, gradient: Ref) {
        if self.wants(wrt) {
            self.found.push((wrt, gradient));
        }
    }

    /// Passes the gradient of the first result on to the first operand.
    pub fn pass(&mut self) {
        let incoming = self.incoming(0);
        self.set(Wrt::Operand(0), incoming);
    }

    /// Emits the gradients by the operator's own loops of those of `wrt` that are wanted, which take `operands` and the
    /// parameters `params`.
    pub fn backward(&mut self, of: &impl Backward, wrt: &[Wrt], operands: &[Ref], params: &[usize]) {
        let wrt: Vec<Wrt> = wrt.iter().copied().filter(|&wrt| self.wants(wrt)).collect();
        if wrt.is_empty() {
            return;
        }
        let shape = |wrt: &Wrt| match *wrt {
            Wrt::Operand(at) => self.inputs[at].clone(),
            Wrt::Param(at) => Shape::known(&self.specs[at].shape),
        };
        let reads = params.iter().map(|&at| self.specs[at].clone()).collect();
        let shapes = wrt.iter().map(shape).collect();
        let op = Op::Gradient(Gradient { of: of.clone().into(), wrt: wrt.clone(), shapes, reads });
        self.emit_with(op, operands, params);
        let node = self.nodes.len() - 1;
        self.found.extend((0u32..).zip(wrt).map(|(result, wrt)| (wrt, Ref::Emitted(node, result))));
    }
}

/// An operator with gradients that no other operators compute.
pub trait Backward: Operator + Clone + Into<Differentiated> {
    /// What the gradients of `wrt` cost for one sample. `inputs` are the shapes of the gradient's operands, `outputs`
    /// those of its results.
    ///
    /// # Errors
    /// When a count overflows.
    fn backward_cost(&self, wrt: &[Wrt], inputs: &[Shape], outputs: &[Shape]) -> Result<Cost, DimError>;

    /// Computes gradients in plain loops: the meaning of the rule and the oracle for every kernel. `inputs` and `params`
    /// are what the rule in [`Operator::gradient`] lists, `outputs` the gradients in the order of `wrt`. What belongs to
    /// no sample has a batch of 1.
    fn backward<E: Element>(&self, wrt: &[Wrt], inputs: &[View<E>], params: &[View<E>], outputs: &mut [ViewMut<E>]);
}

/// Writes sums that have been taken in `f64`.
pub(super) fn fill<E: Element>(to: &mut ViewMut<E>, sums: &[f64]) {
    to.data.iter_mut().zip(sums).for_each(|(to, &sum)| *to = E::of(sum));
}

/// The gradients of an operator with respect to some of its operands and parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Gradient {
    /// The operator.
    pub of: Differentiated,
    /// With respect to what, a result each.
    pub wrt: Vec<Wrt>,
    /// The sizes of the results.
    pub shapes: Vec<Shape>,
    /// The parameters of the operator that are read.
    pub reads: Vec<ParamSpec>,
}

macro_rules! differentiated {
    ($($variant:ident($op:ty) $name:literal,)*) => {
        /// An operator that is [`Backward`].
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs)] // Each is named as its operator.
        pub enum Differentiated {
            $($variant($op),)*
        }

        $(impl From<$op> for Differentiated {
            fn from(op: $op) -> Self {
                Differentiated::$variant(op)
            }
        })*

        impl Differentiated {
            /// The names of all.
            #[cfg(test)]
            pub(super) const NAMES: &[&str] = &[$($name,)*];

            fn name(&self) -> &'static str {
                match self { $(Differentiated::$variant(_) => $name,)* }
            }

            fn backward_cost(&self, wrt: &[Wrt], inputs: &[Shape], outputs: &[Shape]) -> Result<Cost, DimError> {
                match self { $(Differentiated::$variant(op) => op.backward_cost(wrt, inputs, outputs),)* }
            }

            fn backward<E: Element>(
                &self,
                wrt: &[Wrt],
                inputs: &[View<E>],
                params: &[View<E>],
                outputs: &mut [ViewMut<E>],
            ) {
                match self { $(Differentiated::$variant(op) => op.backward(wrt, inputs, params, outputs),)* }
            }
        }
    };
}

differentiated! {
    Conv(conv::Conv) "conv gradient",
    TableConv(table_conv::TableConv) "table_conv gradient",
    Linear(linear::Linear) "linear gradient",
    Rbf(rbf::Rbf) "rbf gradient",
    BatchNorm(batch_norm::BatchNorm) "frozen bn gradient",
    Normalise(normalise::Normalise) "bn gradient",
    LayerNorm(layer_norm::LayerNorm) "layer_norm gradient",
    GroupNorm(group_norm::GroupNorm) "group_norm gradient",
    Lrn(lrn::Lrn) "lrn gradient",
    ChannelScale(channel_scale::ChannelScale) "scale gradient",
    Pool(pool::Pool) "pool gradient",
    Activation(activation::Activation) "activation gradient",
    Prelu(prelu::Prelu) "prelu gradient",
    Softmax(softmax::Softmax) "softmax gradient",
    Mul(mul::Mul) "mul gradient",
    Div(div::Div) "div gradient",
    Extremum(extremum::Extremum) "maximum gradient",
    Slice(slice::Slice) "slice gradient",
    Pad(pad::Pad) "pad gradient",
    PadShortcut(pad_shortcut::PadShortcut) "pad_shortcut gradient",
    Crop(crop::Crop) "crop gradient",
    Upsample(upsample::Upsample) "upsample gradient",
    Loss(loss::Loss) "loss gradient",
}

impl Operator for Gradient {
    fn signatures() -> &'static [Signature] {
        &[]
    }

    fn build(call: &Call) -> Result<Self, ArgError> {
        Err(ArgError::new(call.layer, "is no layer of the language"))
    }

    fn describe(&self) -> (&'static str, Vec<(&'static str, Value)>) {
        (self.of.name(), Vec::new())
    }

    fn infer(&self, _inputs: &[Shape]) -> Result<Vec<Shape>, ShapeError> {
        Ok(self.shapes.clone())
    }

    fn arithmetic(&self, _inputs: &[Shape], _outputs: &[Shape]) -> Vec<String> {
        Vec::new()
    }

    fn params(&self, _inputs: &[Shape]) -> Vec<ParamSpec> {
        self.reads.clone()
    }

    fn cost(&self, inputs: &[Shape], outputs: &[Shape]) -> Result<Cost, DimError> {
        self.of.backward_cost(&self.wrt, inputs, outputs)
    }

    fn reach(&self, _inputs: &[Shape]) -> Reach {
        Reach::Everything
    }

    fn forward<E: Element>(&self, inputs: &[View<E>], params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        self.of.backward(&self.wrt, inputs, params, outputs);
    }

    /// Gradients of gradients are not taken.
    fn gradient(&self, _g: &mut GradBuilder) {}

    const ONNX: &'static [&'static str] = &[];

    fn from_onnx(_node: &mut Import) -> Result<(), Unfit> {
        Err(Unfit::new("a gradient exists in training only"))
    }

    fn to_onnx(&self, _g: &mut Export) -> Result<(), Unfit> {
        Err(Unfit::new("a gradient exists in training only"))
    }

    fn to_pytorch(&self, _g: &mut PyTorch) -> Result<(), Unfit> {
        Err(Unfit::new("gradients are PyTorch's own"))
    }
}
