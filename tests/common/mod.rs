//! What a net means: the plain loops of its operators, node by node.

use std::collections::HashMap;

use ndarray::{ArrayD, IxDyn};
use netc::Compiled;
use netc::ir::ValueId;
use netc::op::Op;
use netc::tensor::{View, ViewMut};
use netc::weights::Checkpoint;

/// A layer's bound: a sum of n products is off by at most about n units of 2⁻²⁴ of the sum of their magnitudes, which is
/// at most some ten times the largest output of random ones.
pub const LAYER: f32 = 1e-5;

/// Runs a net on one array for each of its inputs: its outputs. `disturb` is shown what each node gives before the next
/// node takes it.
pub fn by_plain_loops(
    compiled: &Compiled,
    weights: &Checkpoint,
    inputs: &[ArrayD<f32>],
    mut disturb: impl FnMut(&mut [f32]),
) -> Vec<ArrayD<f32>> {
    let (net, shapes) = (&compiled.net, &compiled.shapes);
    let batch = inputs[0].shape()[0];
    let mut values: HashMap<ValueId, ArrayD<f32>> =
        net.inputs.iter().map(|&id| id.into()).zip(inputs.iter().cloned()).collect();
    for id in net.topological() {
        let node = net.node(id);
        if let Op::Input(_) = node.op {
            continue;
        }
        let operands: Vec<_> = net.operands(id).iter().map(|value| &values[value]).collect();
        let views: Vec<View> =
            operands.iter().map(|array| View { dims: array.shape(), data: array.as_slice().unwrap() }).collect();
        let params: Vec<ArrayD<f32>> = shapes
            .params(net, id)
            .into_iter()
            .map(|spec| {
                let sizes: Vec<usize> = spec.shape.iter().map(|&size| usize::try_from(size).unwrap()).collect();
                let name = format!("{}.{}", node.path, spec.leaf);
                let values = weights.get(&name).map(|tensor| tensor.to_f32().into_owned());
                ArrayD::from_shape_vec(IxDyn(&sizes), values.unwrap_or_else(|| vec![0.0; sizes.iter().product()]))
                    .unwrap()
            })
            .collect();
        let params: Vec<View> =
            params.iter().map(|array| View { dims: array.shape(), data: array.as_slice().unwrap() }).collect();
        let mut results: Vec<(Vec<usize>, Vec<f32>)> = shapes
            .results(id)
            .iter()
            .map(|shape| {
                let sizes: Vec<usize> = std::iter::once(batch).chain(shape.as_known().unwrap()).collect();
                let count = sizes.iter().product();
                (sizes, vec![0.0; count])
            })
            .collect();
        let mut outputs: Vec<ViewMut> = results.iter_mut().map(|(dims, data)| ViewMut { dims, data }).collect();
        node.op.forward(&views, &params, &mut outputs);
        for (output, (sizes, mut data)) in (0u32..).zip(results) {
            disturb(&mut data);
            values.insert(ValueId { node: id, output }, ArrayD::from_shape_vec(IxDyn(&sizes), data).unwrap());
        }
    }
    net.outputs_for(false).map(|output| values[&output.value].clone()).collect()
}
