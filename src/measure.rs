//! Bottlenecks on the clock: the path as it is and the direct convolutions that it stands for, built as nets of their
//! own and timed in turn.

use std::time::{Duration, Instant};

use ndarray::{ArrayD, IxDyn};

use crate::cost::bottleneck::{Bottleneck, Direct};
use crate::ir::{Net, Node, NodeId, Origin, Output, ValueId};
use crate::op::conv::Conv;
use crate::op::geom::{Padding, Windows};
use crate::op::{Op, input::Input};
use crate::run::{Executable, RunError, RunOptions};
use crate::shape::{self, Shapes};
use crate::tensor::Shape;
use crate::weights::{Scheme, WeightsError, init, parameters};

/// Median times of both forms, on one sample.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// The reduction and what follows it.
    pub as_is: Duration,
    /// One convolution for each path instead.
    pub direct: Duration,
}

/// Why a bottleneck was not timed.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// It does not run by itself.
    #[error(transparent)]
    Run(#[from] RunError),
    /// No weights could be made for it.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// Its sizes are not known.
    #[error("the sizes of `{0}` depend on the input; fix them with --set or --shape")]
    Symbolic(String),
}

/// Times a bottleneck of a checked net against the convolutions that it stands for: `runs` of each, in turn.
///
/// # Errors
/// When a size is symbolic or one of the forms is too large to run.
pub fn bottleneck(
    net: &Net,
    shapes: &Shapes,
    bottleneck: &Bottleneck,
    runs: u32,
    options: &RunOptions,
) -> Result<Measured, MeasureError> {
    let symbolic = || MeasureError::Symbolic(bottleneck.layer.clone());
    let first = bottleneck.convs.first().copied().ok_or_else(symbolic)?;
    let from = shapes.operands(net, first).swap_remove(0);
    let sizes = from.as_known().ok_or_else(symbolic)?;
    let as_is = ready(path(net, bottleneck, &from), options)?;
    let direct = ready(direct(&bottleneck.direct, &from).ok_or_else(symbolic)?, options)?;
    let sizes: Vec<usize> = std::iter::once(1).chain(sizes).collect();
    let sample = ArrayD::from_shape_fn(IxDyn(&sizes), |at| ((at[1] * 7 + at[2] * 3 + at[3]) % 11) as f32 / 11.0);
    let (mut as_is_times, mut direct_times) = (Vec::new(), Vec::new());
    for round in 0..=runs {
        for (executable, times) in [(&as_is, &mut as_is_times), (&direct, &mut direct_times)] {
            let start = Instant::now();
            executable.run_all(&[sample.view()])?;
            if round != 0 {
                times.push(start.elapsed());
            }
        }
    }
    Ok(Measured { as_is: median(as_is_times), direct: median(direct_times) })
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn ready(net: Net, options: &RunOptions) -> Result<Executable, MeasureError> {
    let shapes = shape::infer(&net).unwrap_or_default();
    let specs: Vec<_> = parameters(&net, &shapes).iter().map(crate::weights::Parameter::init_spec).collect();
    let weights = init(&specs, Scheme::He, 0)?;
    let optimised = crate::opt::optimise(&net, &shapes);
    Ok(Executable::new(&net, &shapes, optimised, &weights, options)?)
}

fn node(op: Op, path: String) -> Node {
    Node { op, path, others: Vec::new(), labelled: true, origin: Origin::default() }
}

fn with_input(shape: &Shape) -> (Net, ValueId) {
    let mut net = Net::default();
    "bottleneck".clone_into(&mut net.name);
    let input = net.append(node(Op::Input(Input { shape: shape.clone() }), "input".to_owned()), &[]);
    net.inputs.push(input);
    (net, input.into())
}

fn output(net: &mut Net, id: NodeId) {
    let name = net.node(id).path.clone();
    net.outputs.push(Output { name, value: id.into(), train: None, span: net.span });
}

/// The convolutions of the path, each behind the one that it stands behind in the net.
fn path(net: &Net, bottleneck: &Bottleneck, from: &Shape) -> Net {
    let (mut alone, input) = with_input(from);
    let mut copies: Vec<(NodeId, NodeId)> = Vec::new();
    for &conv in &bottleneck.convs {
        let mut above = net.operands(conv).first().map(|value| value.node);
        let operand = loop {
            let Some(id) = above else { break input };
            if let Some(&(_, copy)) = copies.iter().find(|(original, _)| *original == id) {
                break copy.into();
            }
            above = if bottleneck.convs[0] < id { net.operands(id).first().map(|value| value.node) } else { None };
        };
        let original = net.node(conv);
        let copy = alone.append(node(original.op.clone(), original.path.clone()), &[operand]);
        copies.push((conv, copy));
    }
    for (_, copy) in copies {
        if alone.users(copy).is_empty() {
            output(&mut alone, copy);
        }
    }
    alone
}

/// The convolutions that the paths stand for, padded so that they give the paths' sizes. `None` where a size is
/// symbolic.
fn direct(directs: &[Direct], from: &Shape) -> Option<Net> {
    let (mut net, input) = with_input(from);
    let (_, h, w) = from.chw()?;
    let sizes = [h.as_u64()?, w.as_u64()?];
    for (at, direct) in directs.iter().enumerate() {
        let (out_c, out_h, out_w) = direct.output.chw()?;
        let outputs = [out_h.as_u64()?, out_w.as_u64()?];
        let total = [0, 1]
            .map(|axis| ((outputs[axis] - 1) * direct.stride[axis] + direct.kernel[axis]).saturating_sub(sizes[axis]));
        let sides = [total[0] / 2, total[1] / 2, total[0].div_ceil(2), total[1].div_ceil(2)];
        let windows = Windows {
            kernel: direct.kernel,
            stride: direct.stride,
            dilation: [1, 1],
            padding: Padding::Sides(sides),
            ceil: false,
        };
        let conv = Conv { out_c: out_c.as_u64()?, windows, groups: direct.groups, bias: direct.bias };
        let id = net.append(node(Op::Conv(conv), format!("direct{at}")), &[input]);
        output(&mut net, id);
    }
    Some(net)
}
