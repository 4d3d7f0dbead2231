//! 1x1 convolutions in front of larger ones, and what they save.
//!
//! A path is a 1x1 convolution, the larger convolution that reads its value (through batch norm, activations, dropout
//! and gates such as squeeze and excitation), and a 1x1 behind that, where its value goes nowhere else. It is compared
//! with the one convolution that would take its place: the larger one's kernel and groups, the strides of all three
//! together, from the first's input channels to the last's output channels. Where that number of groups divides them
//! not, the one convolution is dense.

use super::{CostError, Counts, Options, Ratio, covered};
use crate::dim::{self, Dim, DimError};
use crate::ir::{Net, NodeId};
use crate::op::Op;
use crate::op::conv::Conv;
use crate::op::pool::Extent;
use crate::shape::Shapes;
use crate::tensor::Shape;

/// How the first 1x1 changes the number of channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// It reduces them, or keeps them few in front of a 1x1 that raises them.
    Reduce,
    /// It raises them (MobileNetV2's inverted bottleneck, DenseNet's first layers).
    Inverted,
}

impl Form {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Form::Reduce => "bottleneck",
            Form::Inverted => "inverted bottleneck",
        }
    }
}

/// The one convolution that would take the place of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Direct {
    /// Input channels.
    pub in_c: u64,
    /// The shape of its result for one sample.
    pub output: Shape,
    /// Kernel height and width.
    pub kernel: [u64; 2],
    /// Step on both axes.
    pub stride: [u64; 2],
    /// Groups.
    pub groups: u64,
    /// Whether a bias is added.
    pub bias: bool,
}

/// A 1x1 convolution in front of larger ones.
#[derive(Clone, Debug)]
pub struct Bottleneck {
    /// The path of the first 1x1.
    pub layer: String,
    /// Whether it reduces or raises the channels.
    pub form: Form,
    /// Channels between the first 1x1 and the larger convolutions.
    pub width: u64,
    /// All its convolutions, the first 1x1 first.
    pub convs: Vec<NodeId>,
    /// Their paths.
    pub layers: Vec<String>,
    /// What would take its place: one convolution for each that reads the first 1x1.
    pub direct: Vec<Direct>,
    /// Multiply-accumulates as it is, for the batch.
    pub macs: Dim,
    /// Parameters as it is.
    pub params: u64,
    /// Multiply-accumulates of what would take its place.
    pub without_macs: Dim,
    /// Parameters of what would take its place.
    pub without_params: u64,
    /// What it saves; negative where it costs.
    pub saved_macs: Dim,
    /// How many times fewer multiply-accumulates it takes.
    pub factor: Option<Ratio>,
}

/// A 1x1 convolution that keeps the number of channels and is followed by an activation.
#[derive(Clone, Debug)]
pub struct Pointwise {
    /// Its path.
    pub layer: String,
    /// Channels before and after.
    pub channels: u64,
    /// Multiply-accumulates, for the batch.
    pub macs: Dim,
    /// Parameters.
    pub params: u64,
}

/// All that were found.
#[derive(Clone, Debug)]
pub struct Bottlenecks {
    /// Those that reduce, in topological order.
    pub reduce: Vec<Bottleneck>,
    /// Those that raise the channels; not in the sums.
    pub inverted: Vec<Bottleneck>,
    /// 1x1 convolutions of equal width: added non-linearity.
    pub pointwise: Vec<Pointwise>,
    /// Multiply-accumulates of `reduce` as they are.
    pub macs: Dim,
    /// Multiply-accumulates of what would take their place.
    pub without_macs: Dim,
    /// The difference.
    pub saved_macs: Dim,
    /// How many times fewer.
    pub factor: Option<Ratio>,
}

/// Finds them all.
pub(super) fn find(net: &Net, shapes: &Shapes, options: &Options) -> Result<Bottlenecks, CostError> {
    let covered = covered(net, options.train);
    let walk = Walk { net, shapes, options, covered, outputs: output_nodes(net), gated: gated(net, shapes) };
    let mut found: (Vec<Bottleneck>, Vec<Bottleneck>, Vec<Pointwise>) = Default::default();
    let mut taken = vec![false; net.bound()];
    for id in net.topological() {
        let Some((conv, in_c)) = walk.pointwise(id) else { continue };
        if !walk.covered[id.index()] || taken[id.index()] {
            continue;
        }
        let paths = walk.paths(id, conv, in_c);
        let failed = |source| {
            let node = net.node(id);
            CostError::Layer { path: node.path.clone(), span: node.origin.span, source }
        };
        match paths {
            Some((form, paths)) => {
                paths.iter().filter_map(|path| path.last).for_each(|last| taken[last.index()] = true);
                let bottleneck = walk.bottleneck(id, in_c, form, &paths)?.map_err(failed)?;
                let list = if form == Form::Reduce { &mut found.0 } else { &mut found.1 };
                list.push(bottleneck);
            }
            None if conv.out_c == in_c && walk.behind(id).activated => {
                let counts = Counts::of(net, shapes, id, options.batch)?;
                let layer = net.node(id).path.clone();
                found.2.push(Pointwise { layer, channels: in_c, macs: counts.macs, params: counts.params });
            }
            None => {}
        }
    }
    let failed = |source| CostError::Sum { net: net.name.clone(), span: net.span, source };
    sum_up(found.0, found.1, found.2).map_err(failed)
}

fn sum_up(
    reduce: Vec<Bottleneck>,
    inverted: Vec<Bottleneck>,
    pointwise: Vec<Pointwise>,
) -> Result<Bottlenecks, DimError> {
    let macs = dim::sum(reduce.iter().map(|found| &found.macs))?;
    let without_macs = dim::sum(reduce.iter().map(|found| &found.without_macs))?;
    let saved_macs = without_macs.sub(&macs)?;
    let factor = Ratio::of(&without_macs, &macs);
    Ok(Bottlenecks { reduce, inverted, pointwise, macs, without_macs, saved_macs, factor })
}

fn output_nodes(net: &Net) -> Vec<bool> {
    let mut outputs = vec![false; net.bound()];
    net.outputs.iter().for_each(|output| outputs[output.value.node.index()] = true);
    outputs
}

/// For each node by index, the one whose value it scales channel by channel: a product in the shape of one operand.
fn gated(net: &Net, shapes: &Shapes) -> Vec<Option<NodeId>> {
    let mut gated = vec![None; net.bound()];
    for id in net.nodes().filter(|&id| matches!(net.node(id).op, Op::Mul(_))) {
        let whole = &shapes.results(id)[0];
        let operands = net.operands(id);
        let mut wholes = operands.iter().filter(|value| shapes.of(**value) == whole).map(|value| value.node);
        gated[id.index()] = wholes.next().filter(|first| wholes.all(|other| other == *first));
    }
    gated
}

/// A larger convolution behind a 1x1, and the 1x1 behind that.
struct Path {
    conv: NodeId,
    last: Option<NodeId>,
}

/// What reads a value.
#[derive(Default)]
struct Behind {
    convs: Vec<NodeId>,
    /// Whether something else reads it as well.
    others: bool,
    /// Whether an activation stands in between.
    activated: bool,
}

struct Walk<'a> {
    net: &'a Net,
    shapes: &'a Shapes,
    options: &'a Options,
    covered: Vec<bool>,
    outputs: Vec<bool>,
    gated: Vec<Option<NodeId>>,
}

impl Walk<'_> {
    fn conv(&self, id: NodeId) -> Option<&Conv> {
        if let Op::Conv(conv) = &self.net.node(id).op { Some(conv) } else { None }
    }

    /// A dense 1x1 convolution with its input channels.
    fn pointwise(&self, id: NodeId) -> Option<(&Conv, u64)> {
        let conv = self.conv(id).filter(|conv| conv.windows.taps() == 1 && conv.groups == 1)?;
        Some((conv, self.in_c(id)?))
    }

    fn in_c(&self, id: NodeId) -> Option<u64> {
        let from = self.net.operands(id).first().copied()?;
        self.shapes.of(from).0.first()?.as_u64()
    }

    /// The convolutions that read a node's value through operators that leave positions and channels alone.
    fn behind(&self, id: NodeId) -> Behind {
        let mut behind = Behind::default();
        let mut open = vec![id];
        while let Some(id) = open.pop() {
            behind.others |= self.outputs[id.index()];
            let users: Vec<NodeId> = self.net.users(id).into_iter().map(|(_, user, _)| user).collect();
            let gated = users.iter().any(|&user| self.gated[user.index()] == Some(id));
            for user in users.into_iter().filter(|user| self.covered[user.index()]) {
                let op = &self.net.node(user).op;
                if matches!(op, Op::Conv(_)) {
                    behind.convs.push(user);
                } else if matches!(
                    op,
                    Op::BatchNorm(_)
                        | Op::ChannelScale(_)
                        | Op::Dropout(_)
                        | Op::Identity(_)
                        | Op::Activation(_)
                        | Op::Prelu(_)
                ) || self.gated[user.index()] == Some(id)
                {
                    behind.activated |= matches!(op, Op::Activation(_) | Op::Prelu(_));
                    open.push(user);
                } else {
                    let squeezes = matches!(op, Op::Pool(pool) if pool.extent == Extent::Global);
                    behind.others |= !(gated && squeezes);
                }
            }
        }
        behind.convs.sort_unstable();
        behind.convs.dedup();
        behind
    }

    /// The paths through a 1x1, unless it is no bottleneck.
    fn paths(&self, id: NodeId, first: &Conv, in_c: u64) -> Option<(Form, Vec<Path>)> {
        let width = first.out_c;
        let behind = self.behind(id).convs;
        let larger: Vec<&Conv> =
            behind.iter().filter_map(|&conv| self.conv(conv)).filter(|conv| 1 < conv.windows.taps()).collect();
        if larger.is_empty() {
            return None;
        }
        let depthwise = larger.iter().any(|conv| conv.groups == width && 1 < width);
        let raised = |path: &Path| path.last.and_then(|last| self.conv(last)).is_some_and(|last| width < last.out_c);
        let lowered = |path: &Path| self.conv(path.last.unwrap_or(path.conv)).is_some_and(|last| last.out_c < width);
        let paths: Vec<Path> = behind.iter().map(|&conv| Path { conv, last: self.last(conv) }).collect();
        if width < in_c || (width == in_c && !depthwise && paths.iter().any(raised)) {
            return Some((Form::Reduce, self.kept(paths, |from, to| from < to)));
        }
        if in_c < width && paths.iter().any(lowered) {
            return Some((Form::Inverted, self.kept(paths, |from, to| to < from)));
        }
        None
    }

    /// The paths with their last 1x1 only where it changes the channels in the right direction.
    fn kept(&self, mut paths: Vec<Path>, right: impl Fn(u64, u64) -> bool) -> Vec<Path> {
        for path in &mut paths {
            let widths = (self.conv(path.conv), path.last.and_then(|last| self.conv(last)));
            if !matches!(widths, (Some(conv), Some(last)) if right(conv.out_c, last.out_c)) {
                path.last = None;
            }
        }
        paths
    }

    /// The 1x1 that alone reads a larger convolution.
    fn last(&self, conv: NodeId) -> Option<NodeId> {
        let behind = self.behind(conv);
        match behind.convs.as_slice() {
            [last] if !behind.others && 1 < self.conv(conv)?.windows.taps() => self.pointwise(*last).map(|_| *last),
            _ => None,
        }
    }

    fn bottleneck(
        &self,
        first: NodeId,
        in_c: u64,
        form: Form,
        paths: &[Path],
    ) -> Result<Result<Bottleneck, DimError>, CostError> {
        let mut convs = vec![first];
        convs.extend(paths.iter().flat_map(|path| [Some(path.conv), path.last]).flatten());
        let counts = convs
            .iter()
            .map(|&id| Counts::of(self.net, self.shapes, id, self.options.batch))
            .collect::<Result<Vec<Counts>, CostError>>()?;
        Ok(self.compare(in_c, form, paths, convs, &counts))
    }

    fn compare(
        &self,
        in_c: u64,
        form: Form,
        paths: &[Path],
        convs: Vec<NodeId>,
        counts: &[Counts],
    ) -> Result<Bottleneck, DimError> {
        let first = convs[0];
        let whole = Counts::sum(counts)?;
        let direct: Vec<Direct> = paths.iter().filter_map(|path| self.direct(first, in_c, path)).collect();
        let (mut without_macs, mut without_params) = (Dim::ZERO, 0u64);
        for direct in &direct {
            let (macs, params) = direct.counts()?;
            without_macs = without_macs.add(&macs.mul(&Dim::from(self.options.batch))?)?;
            without_params = without_params.checked_add(params).ok_or(DimError::Overflow)?;
        }
        if self.behind(first).others {
            // Something else reads the first 1x1: it stays.
            without_macs = without_macs.add(&counts[0].macs)?;
            without_params = without_params.checked_add(counts[0].params).ok_or(DimError::Overflow)?;
        }
        Ok(Bottleneck {
            layer: self.net.node(first).path.clone(),
            form,
            width: self.conv(first).map_or(0, |conv| conv.out_c),
            layers: convs.iter().map(|&id| self.net.node(id).path.clone()).collect(),
            convs,
            direct,
            saved_macs: without_macs.sub(&whole.macs)?,
            factor: Ratio::of(&without_macs, &whole.macs),
            macs: whole.macs,
            params: whole.params,
            without_macs,
            without_params,
        })
    }

    fn direct(&self, first: NodeId, in_c: u64, path: &Path) -> Option<Direct> {
        let (first, conv) = (self.conv(first)?, self.conv(path.conv)?);
        let last = path.last.unwrap_or(path.conv);
        let end = self.conv(last)?;
        let strides = [first.windows.stride, conv.windows.stride, path.last.map_or([1, 1], |_| end.windows.stride)];
        let stride = |axis: usize| strides.iter().try_fold(1u64, |product, stride| product.checked_mul(stride[axis]));
        let divides = in_c.is_multiple_of(conv.groups) && end.out_c.is_multiple_of(conv.groups);
        Some(Direct {
            in_c,
            output: self.shapes.results(last).first()?.clone(),
            kernel: conv.windows.kernel,
            stride: [stride(0)?, stride(1)?],
            groups: if divides { conv.groups } else { 1 },
            bias: end.bias,
        })
    }
}

impl Direct {
    /// Multiply-accumulates for one sample, and parameters.
    fn counts(&self) -> Result<(Dim, u64), DimError> {
        let taps = self.kernel[0].checked_mul(self.kernel[1]).ok_or(DimError::Overflow)?;
        let each = (self.in_c / self.groups).checked_mul(taps).ok_or(DimError::Overflow)?;
        let out_c = self.output.0.first().and_then(Dim::as_u64).ok_or(DimError::Overflow)?;
        let bias = if self.bias { out_c } else { 0 };
        let params = each.checked_mul(out_c).and_then(|weights| weights.checked_add(bias)).ok_or(DimError::Overflow)?;
        Ok((self.output.elements()?.mul(&Dim::from(each))?, params))
    }
}
