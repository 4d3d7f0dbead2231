//! One step on the arena.

use super::gradient;
use super::prepare::{Form, Prepared};
use crate::kernel::conv::{self, Around, Context, Summand};
use crate::kernel::product::Range;
use crate::kernel::rows::{Others, Rows, RowsMut, split};
use crate::kernel::{activation, depthwise, elementwise, layout, linear, lrn, pooling, softmax, winograd};
use crate::op::Op;
use crate::op::lrn::Lrn;
use crate::plan::select::geometry;
use crate::plan::{Kernel, Slot, Step, fuse};
use crate::tensor::{Nchw, View, ViewMut};

/// What the kernels of local response normalisation take.
pub(super) fn lrn_constants(op: &Lrn) -> lrn::Lrn {
    lrn::Lrn {
        size: usize::try_from(op.size).unwrap_or(usize::MAX),
        factor: (op.alpha / op.size as f64) as f32,
        beta: op.beta as f32,
        k: op.k as f32,
    }
}

/// Computes a step. Parameters that training changes are ranges of `live`.
pub(super) fn execute(cx: &mut Context, step: &Step, prepared: Option<&Prepared>, live: &[f32], arena: &mut [f32]) {
    match step.kernel {
        Kernel::Plain => return plain(cx, step, prepared, live, arena),
        Kernel::Concat => return concat(cx, step, arena),
        Kernel::Normalise => return gradient::normalise(cx, step, prepared, live, arena),
        Kernel::Gradient => return gradient::gradient(cx, step, prepared, live, arena),
        _ => {}
    }
    let (mut to, others) = split(arena, step.outputs[0].place);
    let own = prepared.map(|prepared| &prepared.own);
    let range = step.activation.and_then(fuse::range);
    let bounds = range.unwrap_or(Range::ALL);
    match (&step.op, step.kernel, own) {
        (Op::Conv(op), _, Some(form)) => {
            let g = geometry(op, &step.inputs[0].dims, &step.outputs[0].dims);
            let from = others.read(step.inputs[0].place);
            let summand = match step.inputs.last() {
                Some(value) if step.has_residual && value.place == step.outputs[0].place => Summand::Result,
                Some(value) if step.has_residual => Summand::Value(others.read(value.place)),
                _ => Summand::None,
            };
            let prologue = prepared.and_then(|prepared| prepared.prologue.as_ref());
            let around = Around { prologue, summand, range: bounds };
            match form {
                Form::Product(weights) => conv::direct(cx, &g, weights, from, &mut to, &around),
                Form::Winograd(weights) => winograd::convolve(cx, &g, weights, from, &mut to, &around),
                Form::Depthwise(weights) => depthwise::convolve(cx, &g, weights, from, &mut to, bounds),
                Form::PerChannel(_) | Form::Phases(..) | Form::Stored(_) | Form::Live(_) => {
                    unreachable!("a convolution's weights are prepared for it")
                }
            }
        }
        (Op::Linear(_), _, Some(form)) => {
            let [weight, bias] = [0, 1].map(|at| form.tensor(at, live));
            let weight = weight.unwrap_or_default();
            linear::linear(cx, others.read(step.inputs[0].place), &weight, bias.as_deref(), &mut to, bounds);
        }
        (Op::Softmax(op), ..) => {
            bring(cx, step, &others, &mut to);
            softmax::softmax(cx, op.log, &mut to);
        }
        (Op::Activation(function), ..) => {
            bring(cx, step, &others, &mut to);
            activation::activate(cx, *function, &mut to);
        }
        (Op::Add(_), ..) => {
            bring(cx, step, &others, &mut to);
            let last = step.inputs.len() - 1;
            for (at, input) in step.inputs.iter().enumerate().skip(1) {
                elementwise::add(cx, others.read(input.place), &mut to, if at == last { bounds } else { Range::ALL });
            }
        }
        (_, Kernel::PerChannel, Some(Form::PerChannel(terms))) => {
            bring(cx, step, &others, &mut to);
            elementwise::scale(cx, terms, bounds, &mut to);
        }
        (Op::PadShortcut(op), ..) => {
            let sizes = [&step.inputs[0], &step.outputs[0]].map(|slot| Nchw::of(&slot.dims));
            let front = if op.both { (sizes[1].c - sizes[0].c) / 2 } else { 0 };
            let stride = op.stride.map(|stride| stride as usize);
            layout::shortcut(cx, sizes, stride, front, others.read(step.inputs[0].place), &mut to);
        }
        (Op::Pool(op), ..) => {
            let sizes = [&step.inputs[0], &step.outputs[0]].map(|slot| Nchw::of(&slot.dims));
            if let Some(spans) = &step.spans {
                pooling::pool(cx, sizes, spans, op.function, others.read(step.inputs[0].place), &mut to);
            }
        }
        (Op::Lrn(op), ..) => {
            lrn::normalise(cx, lrn_constants(op), others.read(step.inputs[0].place), &mut to);
        }
        (_, Kernel::Times, _) => {
            bring(cx, step, &others, &mut to);
            for input in &step.inputs[1..] {
                elementwise::multiply(cx, others.read(input.place), &mut to);
            }
        }
        (_, Kernel::Columns, _) => {
            if let Some(columns) = step.columns() {
                elementwise::copy(cx, others.read(columns), &mut to);
            }
        }
        (_, Kernel::TurnBack, _) => {
            let from = others.read(step.inputs[0].place);
            let (samples, per_sample) = (from.count(), to.count() / from.count());
            for sample in 0..samples {
                layout::to_rows(cx, from.row(sample), 1, &mut to.part(sample * per_sample, per_sample));
            }
        }
        (_, Kernel::Turn, _) => {
            let from = others.read(step.inputs[0].place);
            let (samples, per_sample) = (to.count(), from.count() / to.count());
            for sample in 0..samples {
                layout::from_rows(cx, from.part(sample * per_sample, per_sample), 1, to.row(sample));
            }
        }
        _ => unreachable!("a kernel is chosen for operators that it computes"),
    }
    if let (Some(function), None) = (step.activation, range) {
        activation::activate(cx, function, &mut to);
    }
}

/// Puts values in the order of users into their rows.
pub(super) fn put(cx: &Context, values: &[f32], slot: &Slot, arena: &mut [f32]) {
    let (mut to, _) = split(arena, slot.place);
    if slot.dims.len() == 4 {
        layout::to_rows(cx, values, slot.dims[0], &mut to);
    } else {
        elementwise::copy(cx, Rows::of(values, to.count(), to.width()), &mut to);
    }
}

/// Takes a value out of its rows, in the order of users.
pub(super) fn take(cx: &Context, slot: &Slot, arena: &mut [f32], values: &mut [f32]) {
    let (from, _) = split(arena, slot.place);
    if slot.dims.len() == 4 {
        layout::from_rows(cx, from.as_rows(), slot.dims[0], values);
    } else {
        let mut to = RowsMut::of(values, from.count(), from.width());
        elementwise::copy(cx, from.as_rows(), &mut to);
    }
}

/// Copies the first operand into the place of the result, where it is not already.
fn bring(cx: &Context, step: &Step, others: &Others, to: &mut RowsMut) {
    if step.inputs[0].place != step.outputs[0].place {
        elementwise::copy(cx, others.read(step.inputs[0].place), to);
    }
}

/// Copies the parts of a concatenation that have not been computed in their places.
fn concat(cx: &Context, step: &Step, arena: &mut [f32]) {
    for (from, to) in step.parts().filter(|(from, to)| from != to) {
        let (mut to, others) = split(arena, to);
        elementwise::copy(cx, others.read(from), &mut to);
    }
}

/// The operator's own loops, on values in the order of users.
fn plain(cx: &Context, step: &Step, prepared: Option<&Prepared>, live: &[f32], arena: &mut [f32]) {
    let tensor = |at: usize| prepared?.own.tensor(at, live);
    let tensors: Vec<_> = (0..step.params.len()).map_while(tensor).collect();
    let mut taken: Vec<Vec<f32>> = step.inputs.iter().map(|slot| vec![0.0; slot.place.elements()]).collect();
    for (slot, values) in step.inputs.iter().zip(&mut taken) {
        take(cx, slot, arena, values);
    }
    let inputs: Vec<View> =
        step.inputs.iter().zip(&taken).map(|(slot, data)| View { dims: &slot.dims, data }).collect();
    let params: Vec<View> = step.params.iter().zip(&tensors).map(|(dims, data)| View { dims, data }).collect();
    let mut results: Vec<Vec<f32>> = step.outputs.iter().map(|slot| vec![0.0; slot.place.elements()]).collect();
    let mut outputs: Vec<ViewMut> =
        step.outputs.iter().zip(&mut results).map(|(slot, data)| ViewMut { dims: &slot.dims, data }).collect();
    step.op.forward(&inputs, &params, &mut outputs);
    for (slot, values) in step.outputs.iter().zip(&results) {
        put(cx, values, slot, arena);
    }
}
