//! What a net means: the plain loops of its operators, node by node; and a Python with PyTorch.
#![allow(dead_code)] // Each test takes a part of it.

use std::collections::HashMap;

use ndarray::{ArrayD, IxDyn};
use netc::Compiled;
use netc::ir::{Net, NodeId, ValueId};
use netc::op::{Op, ParamSpec};
use netc::shape::Shapes;
use netc::tensor::{View, ViewMut};
use netc::weights::Checkpoint;
use proptest::prelude::*;

/// A layer's bound: a sum of n products is off by at most about n units of 2⁻²⁴ of the sum of their magnitudes, which is
/// at most some ten times the largest output of random ones.
pub const LAYER: f32 = 1e-5;

/// Values between -1 and 1, others for each seed.
pub fn some_values(sizes: &[usize], seed: usize) -> ArrayD<f32> {
    let count = sizes.iter().product();
    let values = (0..count).map(|i: usize| ((i * 7919 + seed * 131 + 13) % 1009) as f32 / 504.0 - 1.0).collect();
    ArrayD::from_shape_vec(IxDyn(sizes), values).unwrap()
}

/// Runs a net on one array for each of its inputs: its outputs. `disturb` is shown what each node gives before the next
/// node takes it.
pub fn by_plain_loops(
    compiled: &Compiled,
    weights: &Checkpoint,
    inputs: &[ArrayD<f32>],
    disturb: impl FnMut(&mut [f32]),
) -> Vec<ArrayD<f32>> {
    let (net, shapes) = (&compiled.net, &compiled.shapes);
    let params = |id| {
        let path = &net.node(id).path;
        shapes
            .params(net, id)
            .into_iter()
            .map(|spec| stored(weights, &format!("{path}.{}", spec.leaf), &spec))
            .collect()
    };
    let values = graph_by_plain_loops(net, shapes, params, inputs, disturb);
    net.outputs_for(false).map(|output| values[&output.value].clone()).collect()
}

/// A parameter of a checkpoint; zeros where it has none.
pub fn stored(weights: &Checkpoint, name: &str, spec: &ParamSpec) -> ArrayD<f32> {
    let sizes: Vec<usize> = spec.shape.iter().map(|&size| usize::try_from(size).unwrap()).collect();
    let values = weights.get(name).map(|tensor| tensor.to_f32().into_owned());
    ArrayD::from_shape_vec(IxDyn(&sizes), values.unwrap_or_else(|| vec![0.0; sizes.iter().product()])).unwrap()
}

/// The values of a graph whose nodes have these parameters.
pub fn graph_by_plain_loops(
    net: &Net,
    shapes: &Shapes,
    params: impl Fn(NodeId) -> Vec<ArrayD<f32>>,
    inputs: &[ArrayD<f32>],
    mut disturb: impl FnMut(&mut [f32]),
) -> HashMap<ValueId, ArrayD<f32>> {
    fn view(array: &ArrayD<f32>) -> View<'_> {
        View { dims: array.shape(), data: array.as_slice().unwrap() }
    }
    let batch = inputs[0].shape()[0];
    let mut values: HashMap<ValueId, ArrayD<f32>> =
        net.inputs.iter().map(|&id| id.into()).zip(inputs.iter().cloned()).collect();
    for id in net.topological() {
        let node = net.node(id);
        if let Op::Input(_) = node.op {
            continue;
        }
        let views: Vec<View> = net.operands(id).iter().map(|value| view(&values[value])).collect();
        let params = params(id);
        let params: Vec<View> = params.iter().map(view).collect();
        let mut results: Vec<ArrayD<f32>> = (0..)
            .zip(shapes.results(id))
            .map(|(output, shape)| {
                let batch = if node.op.is_per_sample(output) { batch } else { 1 };
                let sizes: Vec<usize> = std::iter::once(batch).chain(shape.as_known().unwrap()).collect();
                ArrayD::zeros(IxDyn(&sizes))
            })
            .collect();
        let sizes: Vec<Vec<usize>> = results.iter().map(|result| result.shape().to_vec()).collect();
        let data = results.iter_mut().map(|result| result.as_slice_mut().unwrap());
        let mut outputs: Vec<ViewMut> = sizes.iter().zip(data).map(|(dims, data)| ViewMut { dims, data }).collect();
        node.op.forward(&views, &params, &mut outputs);
        for (output, mut result) in (0u32..).zip(results) {
            disturb(result.as_slice_mut().unwrap());
            values.insert(ValueId { node: id, output }, result);
        }
    }
    values
}

/// The sizes of a feature map and layers that take it.
pub type Layers = ([usize; 3], String);

/// Convolutions of any geometry: tails of tiles and panels, one-sided padding, strides beyond the kernel, single pixels;
/// with an activation behind them or none.
pub fn convolutions() -> impl Strategy<Value = Layers> {
    let group_in = prop_oneof![1usize..6, Just(8), Just(16), 30usize..42];
    let group_out = prop_oneof![1usize..6, Just(16), 15usize..35];
    let groups = prop_oneof![4 => Just(1usize), 1 => 2usize..4];
    let dilation = prop_oneof![3 => Just(1usize), 1 => 2usize..4];
    let tail = prop_oneof![Just(""), Just("\nrelu"), Just("\nsigmoid")];
    let pairs = ((1usize..14, 1usize..14), (1usize..5, 1usize..5), (1usize..4, 1usize..4));
    let all = (group_in, group_out, groups, pairs, dilation, prop::array::uniform4(0usize..4), tail, any::<bool>());
    all.prop_filter_map(
        "a window fits",
        |(group_in, group_out, groups, (sizes, kernel, stride), dilation, pad, tail, bias)| {
            let fits = |size: usize, k: usize, a: usize, b: usize| dilation * (k - 1) < size + a + b;
            let fits = fits(sizes.0, kernel.0, pad[0], pad[2]) && fits(sizes.1, kernel.1, pad[1], pad[3]);
            let layers = format!(
                "c: conv({}, [{}, {}], stride = [{}, {}], pad = {pad:?}, dilation = {dilation}, groups = {groups}, \
                 bias = {bias}){tail}",
                group_out * groups,
                kernel.0,
                kernel.1,
                stride.0,
                stride.1,
            );
            fits.then_some(([group_in * groups, sizes.0, sizes.1], layers))
        },
    )
}

/// Pooling and convolutions of single channels.
pub fn windows() -> impl Strategy<Value = Layers> {
    let sides = ((1usize..12, 1usize..12), (1usize..5, 1usize..5), (1usize..4, 1usize..4), (0usize..3, 0usize..3));
    let layer = prop_oneof![Just("maxpool"), Just("avgpool"), Just("d: depthwise")];
    (1usize..20, sides, layer).prop_filter_map("a window fits", |(channels, (sizes, kernel, stride, pad), layer)| {
        let fits = |size: usize, k: usize, pad: usize| pad * 2 <= k && k <= size + 2 * pad;
        let fits = fits(sizes.0, kernel.0, pad.0) && fits(sizes.1, kernel.1, pad.1);
        let layers = format!(
            "{layer}([{}, {}], stride = [{}, {}], pad = [{}, {}])",
            kernel.0, kernel.1, stride.0, stride.1, pad.0, pad.1,
        );
        fits.then_some(([channels, sizes.0, sizes.1], layers))
    })
}

/// A Python that can import torch, numpy, PIL and safetensors: `python3`, or that which `NETC_PYTHON` names. With `CI` set
/// there has to be one.
pub fn python() -> Option<&'static str> {
    static PYTHON: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    let found = PYTHON.get_or_init(|| {
        let python = std::env::var("NETC_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let imports = ["-c", "import torch, numpy, PIL, safetensors.torch"];
        let runs =
            std::process::Command::new(&python).args(imports).output().is_ok_and(|output| output.status.success());
        assert!(runs || std::env::var_os("CI").is_none(), "{python} cannot import torch, numpy, PIL and safetensors");
        runs.then_some(python)
    });
    if found.is_none() {
        eprintln!("skipped: no Python with torch, numpy, PIL and safetensors; name one by NETC_PYTHON");
    }
    found.as_deref()
}
