//! Support for the operators' own tests: building from arguments, running on arrays, seeded data.
//!
//! Every result starts as NaN, so an element that `forward` leaves out does not pass for a number.

use super::attr::Call;
use super::{ArgError, Operator, ShapeError, Value};
use crate::tensor::{Shape, View, ViewMut};

/// An array: its sizes, batch first, and its elements.
pub(crate) type Array<'a> = (&'a [usize], Vec<f32>);

/// Makes the operator of a layer from arguments, for operands of these sizes (without batch).
pub(crate) fn try_build<O: Operator>(
    layer: &str,
    args: &[(&'static str, Value)],
    inputs: &[Shape],
) -> Result<O, ArgError> {
    let signature = O::signatures().iter().find(|signature| signature.layer == layer).unwrap();
    for (name, _) in args {
        assert!(signature.params.iter().any(|param| param.name == *name), "`{layer}` has no parameter `{name}`");
    }
    O::build(&Call { layer: signature.layer, args, inputs })
}

/// [`try_build`] for calls that are right.
pub(crate) fn build<O: Operator>(layer: &str, args: &[(&'static str, Value)], inputs: &[Shape]) -> O {
    try_build(layer, args, inputs).unwrap()
}

/// Checks that the operator built from its own description equals it, however the arguments are ordered.
pub(crate) fn assert_round_trip<O: Operator + PartialEq + std::fmt::Debug>(op: &O, inputs: &[Shape]) {
    let (layer, mut args) = op.describe();
    assert_eq!(&build::<O>(layer, &args, inputs), op);
    args.reverse();
    assert_eq!(&build::<O>(layer, &args, inputs), op);
}

/// The shape of each array without its batch.
pub(crate) fn sample_shapes(dims: &[&[usize]]) -> Vec<Shape> {
    dims.iter().map(|dims| Shape(dims[1..].iter().map(|&size| size.into()).collect())).collect()
}

/// The sizes of the only result for operands of known sizes (without batch).
pub(crate) fn infer_one<O: Operator>(op: &O, inputs: &[&[u64]]) -> Result<Vec<u64>, ShapeError> {
    let shapes: Vec<Shape> = inputs.iter().map(|sizes| Shape::known(sizes)).collect();
    let outputs = op.infer(&shapes)?;
    assert_eq!(outputs.len(), 1);
    Ok(outputs[0].0.iter().map(|size| size.as_u64().unwrap()).collect())
}

/// Infers, makes room for the results and runs. Parameters come in the order of `Operator::params`.
pub(crate) fn run<O: Operator>(op: &O, inputs: &[Array], params: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let dims: Vec<&[usize]> = inputs.iter().map(|(dims, _)| *dims).collect();
    let batch = dims.first().map_or(1, |dims| dims[0]);
    let shapes = sample_shapes(&dims);
    let outputs = op.infer(&shapes).unwrap();
    let specs = op.params(&shapes);
    assert_eq!(params.len(), specs.len());
    let param_dims: Vec<Vec<usize>> =
        specs.iter().map(|spec| spec.shape.iter().map(|&size| usize::try_from(size).unwrap()).collect()).collect();
    let inputs: Vec<View> = inputs.iter().map(|(dims, data)| view(dims, data)).collect();
    let params: Vec<View> = param_dims.iter().zip(params).map(|(dims, data)| view(dims, data)).collect();
    let output_dims: Vec<Vec<usize>> =
        outputs.iter().map(|shape| [vec![batch], shape.as_known().unwrap()].concat()).collect();
    let mut results: Vec<Vec<f32>> = output_dims.iter().map(|dims| vec![f32::NAN; dims.iter().product()]).collect();
    let mut views: Vec<ViewMut> =
        output_dims.iter().zip(&mut results).map(|(dims, data)| ViewMut { dims, data }).collect();
    op.forward(&inputs, &params, &mut views);
    results
}

fn view<'a>(dims: &'a [usize], data: &'a [f32]) -> View<'a> {
    assert_eq!(dims.iter().product::<usize>(), data.len(), "data for {dims:?}");
    View { dims, data }
}

/// Numbers in -1..1 that the seed fixes (splitmix64; Steele, Lea & Flood 2014).
pub(crate) fn seeded(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    (0..len)
        .map(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut bits = state;
            bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            bits ^= bits >> 31;
            ((bits >> 40) as f64 / f64::from(1u32 << 23) - 1.0) as f32
        })
        .collect()
}

/// Seeded data for every parameter of the operator on operands of these sizes (batch first).
pub(crate) fn seeded_params<O: Operator>(op: &O, inputs: &[&[usize]], seed: u64) -> Vec<Vec<f32>> {
    let specs = op.params(&sample_shapes(inputs));
    specs.iter().zip(seed..).map(|(spec, seed)| seeded(spec.elements().unwrap() as usize, seed)).collect()
}

/// Checks element by element: `|actual - expected| <= tolerance * max(1, max|expected|)`; NaN equals nothing.
#[track_caller]
pub(crate) fn assert_close(actual: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(actual.len(), expected.len());
    let scale = expected.iter().fold(1.0f64, |largest, value| largest.max(value.abs()));
    for (at, (&actual, &expected)) in actual.iter().zip(expected).enumerate() {
        let off = (f64::from(actual) - expected).abs();
        assert!(off <= tolerance * scale, "element {at}: {actual} instead of {expected}, off by {off:e}");
    }
}
