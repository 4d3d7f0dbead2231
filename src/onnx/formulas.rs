//! Functions and norms whose formulas a model writes out, as the layers that they are. Passes of `tidy`.

use crate::ir::{NodeId, ValueId};
use crate::op::Op;
use crate::op::activation::Activation;
use crate::op::affine::Affine;
use crate::op::layer_norm::LayerNorm;
use crate::op::onnx::shortest;
use crate::op::permute::Permute;
use crate::op::pool::{Function, Pool};

use super::lower::Lowered;
use super::tidy::{become_layer, floats};

/// The layer that makes a value, if that is its first result.
fn layer(made: &Lowered, value: ValueId) -> Option<(&Op, Vec<ValueId>)> {
    (value.output == 0).then(|| (&made.net.node(value.node).op, made.net.operands(value.node)))
}

/// A value as a multiple of another and a summand: as what an `affine` makes of it, or as itself.
fn affine_of(made: &Lowered, value: ValueId) -> (f64, f64, ValueId) {
    if let Some((Op::Affine(Affine { scale, shift }), operands)) = layer(made, value)
        && let (&[scale], &[shift], &[x]) = (scale.as_slice(), shift.as_slice(), operands.as_slice())
    {
        return (scale, shift, x);
    }
    (1.0, 0.0, value)
}

fn near(value: f64, wanted: f64) -> bool {
    (value - wanted).abs() <= 1e-5 * wanted.abs()
}

/// `x/2 * (1 + erf(x/√2))` is gelu, and so is its form with tanh; wherever the half stands.
pub fn gelu(made: &mut Lowered, id: NodeId) -> bool {
    let (half, product) = match affine_of(made, id.into()) {
        (scale, 0.0, value) => (scale, value),
        _ => return false,
    };
    let Some((Op::Mul(_), operands)) = layer(made, product) else { return false };
    let &[left, right] = operands.as_slice() else { return false };
    for (gate, other) in [(left, right), (right, left)] {
        // One affine or two: the sum with one, and the half.
        let (outer, shift, inside) = affine_of(made, gate);
        let (inner, inner_shift, bent) = affine_of(made, inside);
        let (scale, shift) = (outer * inner, outer * inner_shift + shift);
        if !near(scale, shift) {
            continue;
        }
        for (own, own_shift, x) in [(1.0, 0.0, other), affine_of(made, other)] {
            if own_shift != 0.0 || !near(half * scale * own, 0.5) {
                continue;
            }
            if let Some(function) = function_of_gate(made, bent, x) {
                become_layer(made, id, function, &[x]);
                return true;
            }
        }
    }
    false
}

/// Which gelu has this value as the bent part of its gate.
fn function_of_gate(made: &Lowered, bent: ValueId, x: ValueId) -> Option<Activation> {
    let (op, operands) = layer(made, bent)?;
    let (scale, shift, inside) = affine_of(made, *operands.first()?);
    match op {
        Op::Activation(Activation::Erf) => {
            (inside == x && shift == 0.0 && near(scale, std::f64::consts::FRAC_1_SQRT_2)).then_some(Activation::Gelu)
        }
        Op::Activation(Activation::Tanh { scale: outer, slope }) => {
            let (Op::Add(_), terms) = layer(made, inside)? else { return None };
            let &[left, right] = terms.as_slice() else { return None };
            let cubic = [(left, right), (right, left)].into_iter().any(|(linear, cubic)| {
                let (factor, shift, cube) = affine_of(made, cubic);
                linear == x && near(factor, 0.044_715) && shift == 0.0 && is_cube(made, cube, x)
            });
            let root = (2.0 / std::f64::consts::PI).sqrt();
            (cubic && *outer == 1.0 && shift == 0.0 && near(scale * slope, root)).then_some(Activation::GeluTanh)
        }
        _ => None,
    }
}

fn is_square(made: &Lowered, value: ValueId, x: ValueId) -> bool {
    match layer(made, value) {
        Some((Op::Activation(Activation::Pow { exponent: 2.0 }), operands)) => operands == [x],
        Some((Op::Mul(_), operands)) => operands == [x, x],
        _ => false,
    }
}

fn is_cube(made: &Lowered, value: ValueId, x: ValueId) -> bool {
    match layer(made, value) {
        Some((Op::Activation(Activation::Pow { exponent: 3.0 }), operands)) => operands == [x],
        Some((Op::Mul(_), operands)) => match operands.as_slice() {
            &[left, right] => (left == x && is_square(made, right, x)) || (right == x && is_square(made, left, x)),
            _ => false,
        },
        _ => false,
    }
}

/// What is left of the mean over the channels, divided by the root of the mean of its squares, is a layer norm.
pub fn layer_norm(made: &mut Lowered, id: NodeId) -> bool {
    let operands = made.net.operands(id);
    let &[left, right] = operands.as_slice() else { return false };
    let found = match made.net.node(id).op {
        Op::Div(_) => deviation(made, right, left, false),
        Op::Mul(_) => deviation(made, right, left, true).or_else(|| deviation(made, left, right, true)),
        _ => None,
    };
    let Some((x, eps)) = found else { return false };
    become_layer(made, id, LayerNorm { eps, affine: false }, &[x]);
    true
}

/// The value whose deviations over the channels `centred` has and `root` measures, and what is added to the variance;
/// `inverse` where the root is one divided by it.
fn deviation(made: &Lowered, root: ValueId, centred: ValueId, inverse: bool) -> Option<(ValueId, f64)> {
    let (Op::Sub(_), operands) = layer(made, centred)? else { return None };
    let &[x, mean] = operands.as_slice() else { return None };
    if mean_of(made, spread_of(made, mean)?)? != x {
        return None;
    }
    let (op, operands) = layer(made, spread_of(made, root)?)?;
    let variance = match (op, inverse) {
        (Op::Activation(Activation::Sqrt), false) | (Op::Activation(Activation::Pow { exponent: -0.5 }), true) => {
            *operands.first()?
        }
        (Op::Activation(Activation::Pow { exponent: -1.0 }), true) => match layer(made, *operands.first()?)? {
            (Op::Activation(Activation::Sqrt), operands) => *operands.first()?,
            _ => return None,
        },
        _ => return None,
    };
    let (scale, eps, variance) = affine_of(made, variance);
    let squares = mean_of(made, variance)?;
    (scale == 1.0 && 0.0 < eps && is_square(made, squares, centred)).then(|| (x, shortest(eps)))
}

/// The value of one channel that a convolution or a dense layer with ones copies to all channels.
fn spread_of(made: &Lowered, value: ValueId) -> Option<ValueId> {
    let (op, operands) = layer(made, value)?;
    let plain = match op {
        Op::Conv(conv) => !conv.bias && conv.groups == 1 && conv.windows.taps() == 1,
        Op::Linear(linear) => !linear.bias,
        _ => false,
    };
    let &[one] = operands.as_slice() else { return None };
    let single = made.shapes.of(one).0.first()?.as_u64() == Some(1);
    let ones = floats(made, value.node, "weight")?.iter().all(|&weight| weight == 1.0);
    (plain && single && ones).then_some(one)
}

/// The value whose mean over the channels a value is, as reductions are read.
fn mean_of(made: &Lowered, value: ValueId) -> Option<ValueId> {
    let back = match layer(made, value)? {
        (Op::Flatten(_), operands) => *operands.first()?,
        _ => value,
    };
    let through = |value: ValueId| match layer(made, value)? {
        (Op::Permute(Permute { order: [1, 0, 2] }), operands) => operands.first().copied(),
        _ => None,
    };
    let (Op::Pool(Pool { function: Function::Average { .. }, .. }), operands) = layer(made, through(back)?)? else {
        return None;
    };
    let turned = *operands.first()?;
    // Only the channels, which stand in the place of the height, are pooled.
    let (before, after) = (made.shapes.of(turned), made.shapes.of(through(back)?));
    if before.0[2].equals(&after.0[2]) != Some(true) {
        return None;
    }
    let x = through(turned)?;
    match layer(made, x)? {
        (Op::Reshape(_), operands) if back != value => operands.first().copied(),
        _ => Some(x),
    }
}
