//! Steps of the training pass: batch norm by the statistics of the batch, and gradients.

use std::borrow::Cow;

use super::execute::lrn_constants;
use super::prepare::{Form, Prepared};
use crate::kernel::conv::{Context, Summand};
use crate::kernel::norm::{self, Affine, Backward};
use crate::kernel::product::Range;
use crate::kernel::rows::{Place, split};
use crate::kernel::{
    activation, conv_gradient, depthwise_gradient, elementwise, layout, linear_gradient, lrn, pooling_gradient, reduce,
};
use crate::op::Op;
use crate::op::conv::Conv;
use crate::op::gradient::{Differentiated, Wrt};
use crate::op::pool::Function;
use crate::plan::select::geometry;
use crate::plan::{Step, fuse};
use crate::tensor::Nchw;

/// A value that is one row without gaps.
fn vector(arena: &[f32], place: Place) -> &[f32] {
    &arena[place.start..place.end()]
}

fn vector_mut(arena: &mut [f32], place: Place) -> &mut [f32] {
    &mut arena[place.start..place.end()]
}

fn tensor<'a>(prepared: Option<&'a Prepared>, live: &'a [f32], at: usize) -> Option<Cow<'a, [f32]>> {
    prepared?.own.tensor(at, live)
}

/// Batch norm by the statistics of the batch; results are the values, mean and variance.
pub(super) fn normalise(cx: &mut Context, step: &Step, prepared: Option<&Prepared>, live: &[f32], arena: &mut [f32]) {
    let Op::Normalise(op) = &step.op else { unreachable!("a kernel is chosen for operators that it computes") };
    let [scale, shift] = [0, 1].map(|at| tensor(prepared, live, at));
    let width = step.outputs[0].place.width;
    let (mut mean, mut variance) = (vec![0.0; width], vec![0.0; width]);
    let range = step.activation.and_then(fuse::range);
    let (mut to, others) = split(arena, step.outputs[0].place);
    let from = others.read(step.inputs[0].place);
    norm::statistics(cx, from, &mut mean, &mut variance);
    let affine = Affine { scale: scale.as_deref(), shift: shift.as_deref() };
    norm::normalise(cx, [&mean, &variance], op.norm.eps, affine, (from, &mut to), range.unwrap_or(Range::ALL));
    if let (Some(function), None) = (step.activation, range) {
        activation::activate(cx, function, &mut to);
    }
    for (output, values) in step.outputs[1..].iter().zip([&mean, &variance]) {
        vector_mut(arena, output.place).copy_from_slice(values);
    }
}

/// The gradients of an operator.
pub(super) fn gradient(cx: &mut Context, step: &Step, prepared: Option<&Prepared>, live: &[f32], arena: &mut [f32]) {
    let Op::Gradient(op) = &step.op else { unreachable!("a kernel is chosen for operators that it computes") };
    match &op.of {
        Differentiated::Conv(conv) if op.wrt == [Wrt::Operand(0)] => conv_input(cx, step, conv, prepared, arena),
        Differentiated::Conv(conv) => {
            let g = geometry(conv, &step.inputs[0].dims, &step.inputs[1].dims);
            parameters(cx, step, &op.wrt, arena, |cx, input, gradient, to| {
                if g.is_depthwise() {
                    depthwise_gradient::weight(cx, &g, input, gradient, to);
                } else {
                    conv_gradient::weight(cx, &g, input, gradient, to);
                }
            });
        }
        Differentiated::Linear(_) if op.wrt == [Wrt::Operand(0)] => {
            let (mut to, others) = split(arena, step.outputs[0].place);
            let weight = tensor(prepared, live, 0).unwrap_or_default();
            linear_gradient::input(cx, &weight, others.read(step.inputs[0].place), &mut to);
        }
        Differentiated::Linear(_) => parameters(cx, step, &op.wrt, arena, linear_gradient::weight),
        Differentiated::Activation(function) => {
            let (mut to, others) = split(arena, step.outputs[0].place);
            if step.inputs[1].place != step.outputs[0].place {
                elementwise::copy(cx, others.read(step.inputs[1].place), &mut to);
            }
            activation::differentiate(cx, *function, others.read(step.inputs[0].place), &mut to);
        }
        Differentiated::Pool(pool) => {
            let (mut to, others) = split(arena, step.outputs[0].place);
            let inputs: Vec<_> = step.inputs.iter().map(|slot| others.read(slot.place)).collect();
            let sizes = [&step.outputs[0].dims, &step.inputs[inputs.len() - 1].dims].map(|dims| Nchw::of(dims));
            let (maximum, count_pad) = match pool.function {
                Function::Max => (Some((inputs[0], inputs[1])), false),
                Function::Average { count_pad } => (None, count_pad),
            };
            if let Some(spans) = &step.spans {
                let gradient = inputs[inputs.len() - 1];
                pooling_gradient::pool(cx, sizes, spans, maximum, count_pad, gradient, &mut to);
            }
        }
        Differentiated::PadShortcut(shortcut) => {
            let (mut to, others) = split(arena, step.outputs[0].place);
            let sizes = [&step.outputs[0].dims, &step.inputs[0].dims].map(|dims| Nchw::of(dims));
            let front = if shortcut.both { (sizes[1].c - sizes[0].c) / 2 } else { 0 };
            let stride = shortcut.stride.map(|stride| stride as usize);
            let gradient = others.read(step.inputs[0].place);
            layout::shortcut_gradient(cx, sizes, stride, front, gradient, &mut to);
        }
        Differentiated::Lrn(op) => {
            let (mut to, others) = split(arena, step.outputs[0].place);
            let [from, gradient] = [0, 1].map(|at| others.read(step.inputs[at].place));
            lrn::gradient(cx, lrn_constants(op), from, gradient, &mut to);
        }
        Differentiated::Normalise(op) => {
            let [scale, shift] = [0, 1].map(|at| tensor(prepared, live, at));
            let affine = Affine { scale: scale.as_deref(), shift: shift.as_deref() };
            batch_norm(cx, step, op.norm.eps, affine, arena);
        }
        _ => unreachable!("a kernel is chosen for operators that it computes"),
    }
}

fn conv_input(cx: &mut Context, step: &Step, conv: &Conv, prepared: Option<&Prepared>, arena: &mut [f32]) {
    let g = geometry(conv, &step.outputs[0].dims, &step.inputs[0].dims);
    let (mut to, others) = split(arena, step.outputs[0].place);
    let gradient = others.read(step.inputs[0].place);
    match prepared.map(|prepared| &prepared.own) {
        Some(Form::Depthwise(weights)) => depthwise_gradient::input(cx, &g, weights, gradient, &mut to),
        Some(Form::Phases(phases, weights)) => {
            let summand = match step.inputs.last() {
                Some(value) if step.has_residual && value.place == step.outputs[0].place => Summand::Result,
                Some(value) if step.has_residual => Summand::Value(others.read(value.place)),
                _ => Summand::None,
            };
            conv_gradient::input(cx, &g, phases, weights, gradient, &mut to, summand);
        }
        _ => unreachable!("a convolution's weights are prepared for its gradient"),
    }
}

/// The gradients of a weight, by its kernel from operand and gradient, and of a bias.
fn parameters(
    cx: &mut Context,
    step: &Step,
    wrt: &[Wrt],
    arena: &mut [f32],
    weight: impl Fn(&mut Context, crate::kernel::rows::Rows, crate::kernel::rows::Rows, &mut [f32]),
) {
    for (wrt, output) in wrt.iter().zip(&step.outputs) {
        let (mut to, others) = split(arena, output.place);
        let [input, gradient] = [0, 1].map(|at| others.read(step.inputs[at].place));
        match wrt {
            Wrt::Param(0) => weight(cx, input, gradient, to.row(0)),
            _ => reduce::columns(cx, gradient, to.row(0)),
        }
    }
}

fn batch_norm(cx: &mut Context, step: &Step, eps: f64, affine: Affine, arena: &mut [f32]) {
    let Op::Gradient(op) = &step.op else { return };
    let width = step.inputs[0].place.width;
    let statistics = [1, 2].map(|at| vector(arena, step.inputs[at].place).to_vec());
    let place = |wrt: Wrt| op.wrt.iter().position(|&other| other == wrt).map(|at| step.outputs[at].place);
    let [scale, shift] = [0, 1].map(|param| place(Wrt::Param(param)));
    let mut gradients = [scale, shift].map(|place| place.map(|_| vec![0.0; width]));
    let [scale_gradient, shift_gradient] = gradients.each_mut().map(Option::as_deref_mut);
    let operand = place(Wrt::Operand(0));
    // Where nothing is wanted for the operand, any other result serves: it is written when all has been read.
    let written = operand.unwrap_or(step.outputs[0].place);
    let (mut to, others) = split(arena, written);
    let is_result = operand == Some(step.inputs[3].place);
    let by = Backward {
        from: others.read(step.inputs[0].place),
        statistics: [&statistics[0], &statistics[1]],
        eps,
        affine,
        gradient: (!is_result).then(|| others.read(step.inputs[3].place)),
        mask: step.mask,
    };
    if operand.is_some() {
        norm::gradients(cx, &by, &mut to, scale_gradient, shift_gradient);
    } else {
        norm::parameter_gradients(cx, &by, scale_gradient, shift_gradient);
    }
    for (place, values) in [scale, shift].into_iter().zip(&gradients) {
        if let (Some(place), Some(values)) = (place, values) {
            vector_mut(arena, place).copy_from_slice(values);
        }
    }
}
