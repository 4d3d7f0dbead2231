//! What convolutions of every kind share: sums of products of a weight and an input, each part of one output.

use super::Cost;
use super::gradient::{Backward, GradBuilder, Ref, Wrt, fill};
use crate::dim::{Dim, DimError};
use crate::tensor::{Element, Nchw, Shape, View, ViewMut};

/// Called with each product: the places of its weight, of its input, and of the output that it is part of.
pub(super) type With<'a> = &'a mut dyn FnMut(usize, usize, usize);

/// The sums, in `f64`, from the biases on where there are any. `each` walks over the products between maps of two sizes.
pub(super) fn forward<E: Element>(
    inputs: &[View<E>],
    params: &[View<E>],
    outputs: &mut [ViewMut<E>],
    each: impl Fn(Nchw, Nchw, With),
) {
    let (from, to) = (Nchw::of(inputs[0].dims), Nchw::of(outputs[0].dims));
    let bias = |at: usize| params.get(1).map_or(0.0, |bias| bias.data[at / (to.h * to.w) % to.c].f64());
    let mut sums: Vec<f64> = (0..outputs[0].data.len()).map(bias).collect();
    let (weight, data) = (params[0].data, inputs[0].data);
    each(from, to, &mut |tap, x, y| sums[y] += weight[tap].f64() * data[x].f64());
    fill(&mut outputs[0], &sums);
}

/// The gradients: with respect to the input from that of the result and the weight, with respect to weight and bias from
/// the input and that of the result.
pub(super) fn backward<E: Element>(
    wrt: &[Wrt],
    inputs: &[View<E>],
    params: &[View<E>],
    outputs: &mut [ViewMut<E>],
    each: impl Fn(Nchw, Nchw, With),
) {
    for (wrt, output) in wrt.iter().zip(outputs) {
        let mut sums = vec![0.0; output.data.len()];
        match wrt {
            Wrt::Operand(_) => {
                let (gradient, weight) = (inputs[0], params[0]);
                let sizes = [Nchw::of(output.dims), Nchw::of(gradient.dims)];
                each(sizes[0], sizes[1], &mut |tap, x, y| sums[x] += weight.data[tap].f64() * gradient.data[y].f64());
            }
            Wrt::Param(0) => {
                let [x_view, gradient] = [inputs[0], inputs[1]];
                let sizes = [Nchw::of(x_view.dims), Nchw::of(gradient.dims)];
                each(sizes[0], sizes[1], &mut |tap, x, y| sums[tap] += x_view.data[x].f64() * gradient.data[y].f64());
            }
            Wrt::Param(_) => {
                let to = Nchw::of(inputs[1].dims);
                for (at, gradient) in inputs[1].data.iter().enumerate() {
                    sums[at / (to.h * to.w) % to.c] += gradient.f64();
                }
            }
        }
        fill(output, &sums);
    }
}

/// The rule: weight and bias from the operand and the gradient of the result, the operand from that and the weight.
pub(super) fn gradient(of: &impl Backward, g: &mut GradBuilder) {
    let incoming = g.incoming(0);
    g.backward(of, &[Wrt::Param(0), Wrt::Param(1)], &[Ref::Operand(0), incoming], &[]);
    g.backward(of, &[Wrt::Operand(0)], &[incoming], &[0]);
}

/// The shapes of the operand and of the result, among those of a gradient that [`gradient`] emits.
pub(super) fn sides<'a>(wrt: &[Wrt], inputs: &'a [Shape], outputs: &'a [Shape]) -> (&'a Shape, &'a Shape) {
    match wrt {
        [Wrt::Operand(_)] => (&outputs[0], &inputs[0]),
        _ => (&inputs[0], &inputs[1]),
    }
}

/// As many multiply-accumulates as the forward pass where a weight or an operand is among `wrt`; one addition for each
/// element of the result where a bias is.
pub(super) fn backward_cost(wrt: &[Wrt], macs: Dim, gradient: &Shape) -> Result<Cost, DimError> {
    let biased = if wrt.contains(&Wrt::Param(1)) { gradient.elements()? } else { Dim::ZERO };
    let is_bias_alone = wrt.iter().all(|&wrt| wrt == Wrt::Param(1));
    Cost::multiply(if is_bias_alone { Dim::ZERO } else { macs }, &biased)
}
