//! Which kernel computes a step: a function of its geometry alone, never of the batch or the number of threads.

use std::collections::HashMap;

use super::Options;
use super::fuse::Dims;
use crate::cost::Profile;
use crate::ir::ValueId;
use crate::kernel::conv::Geometry;
use crate::kernel::conv_gradient;
use crate::kernel::isa::LANES;
use crate::kernel::product::PANEL;
use crate::kernel::winograd::Tile;
use crate::op::Op;
use crate::op::conv::Conv;
use crate::op::gradient::{Differentiated, Gradient, Wrt};
use crate::tensor::Nchw;

/// How a step is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// A convolution as products of the input's own rows with packed weights.
    Product,
    /// The same, each row of a window being one stretch of memory.
    JoinedProduct,
    /// Winograd's minimal filtering on tiles.
    Winograd(Tile),
    /// A convolution of each channel by itself.
    Depthwise,
    /// A linear layer on the weights as they lie.
    Linear,
    /// Maximum and average of windows, or of everything.
    Pool,
    /// Normalisation across the channels of each pixel.
    Lrn,
    /// A function of each element.
    Pointwise,
    /// A scale and a shift for each channel.
    PerChannel,
    /// A sum of values.
    Sum,
    /// Softmax over the channels of each pixel, or its logarithm.
    Softmax,
    /// The parts copied to their places; those that have been computed there are not.
    Concat,
    /// Pixels with zero channels around them.
    Shortcut,
    /// Rows of channels turned into one vector in the order of channels.
    Turn,
    /// One vector in the order of channels turned into rows of channels.
    TurnBack,
    /// A range of columns of another value; copied where that is overwritten.
    Columns,
    /// A product of values.
    Times,
    /// Batch norm by the statistics of the batch.
    Normalise,
    /// The gradients of an operator.
    Gradient,
    /// The operator's own plain loops.
    Plain,
}

/// The environment variable that forces the kernel of convolutions; see [`Kernel::FORCIBLE`].
pub const FORCE: &str = "NETC_KERNEL";

/// Kernels that have been found to be the fastest, by [`key`].
pub type Picks = HashMap<String, Kernel>;

/// All that the time of a convolution of one sample depends on.
pub fn key(g: &Geometry) -> String {
    let pair = |[a, b]: [usize; 2]| format!("{a}x{b}");
    format!(
        "{}x{}x{} to {}x{}x{}, kernel {}, stride {}, dilation {}, pad {}, groups {}",
        g.from.c,
        g.from.h,
        g.from.w,
        g.to.c,
        g.to.h,
        g.to.w,
        pair(g.kernel),
        pair(g.stride),
        pair(g.dilation),
        pair(g.before),
        g.groups
    )
}

impl Kernel {
    /// The kernels that can be forced, those of convolutions with a choice, with their names for that.
    pub const FORCIBLE: [(&str, Kernel); 5] = [
        ("product", Kernel::Product),
        ("joined", Kernel::JoinedProduct),
        ("winograd4x4", Kernel::Winograd(Tile::F4x3)),
        ("winograd2x2", Kernel::Winograd(Tile::F2x3)),
        ("winograd2x2of5x5", Kernel::Winograd(Tile::F2x5)),
    ];

    /// The kernel that the environment variable [`FORCE`] names.
    ///
    /// # Errors
    /// When it names none, with a message for people.
    pub fn from_environment() -> Result<Option<Kernel>, String> {
        let name = std::env::var(FORCE).unwrap_or_default();
        if name.is_empty() {
            return Ok(None);
        }
        let known = Kernel::FORCIBLE.map(|(known, _)| known).join(", ");
        Kernel::named(&name).map(Some).ok_or_else(|| format!("{FORCE} is `{name}`, but takes one of {known}"))
    }

    /// The kernel of [`FORCIBLE`](Self::FORCIBLE) with this name.
    pub fn named(name: &str) -> Option<Kernel> {
        Kernel::FORCIBLE.into_iter().find(|(known, _)| *known == name).map(|(_, kernel)| kernel)
    }

    /// Its name in [`FORCIBLE`](Self::FORCIBLE); that of tables where it is not there.
    pub fn short_name(self) -> &'static str {
        Kernel::FORCIBLE.into_iter().find(|(_, known)| *known == self).map_or(self.name(), |(name, _)| name)
    }

    /// A short name for tables.
    pub fn name(self) -> &'static str {
        match self {
            Kernel::Product => "product",
            Kernel::JoinedProduct => "joined product",
            Kernel::Winograd(Tile::F4x3) => "winograd 4x4",
            Kernel::Winograd(Tile::F2x3) => "winograd 2x2",
            Kernel::Winograd(Tile::F2x5) => "winograd 2x2 of 5x5",
            Kernel::Depthwise => "depthwise",
            Kernel::Linear => "linear",
            Kernel::Pool => "pool",
            Kernel::Lrn => "lrn",
            Kernel::Pointwise => "pointwise",
            Kernel::PerChannel => "per channel",
            Kernel::Sum => "sum",
            Kernel::Softmax => "softmax",
            Kernel::Concat => "concat",
            Kernel::Shortcut => "shortcut",
            Kernel::Turn => "turn",
            Kernel::TurnBack => "turn back",
            Kernel::Columns => "columns",
            Kernel::Times => "product of values",
            Kernel::Normalise => "batch statistics",
            Kernel::Gradient => "gradient",
            Kernel::Plain => "plain loops",
        }
    }

    /// Why it was picked, for `netc plan --explain`.
    pub fn reason(self) -> &'static str {
        match self {
            Kernel::Product => "rows of the input are multiplied where they lie",
            Kernel::JoinedProduct => "few channels: a row of a window is one stretch of memory",
            Kernel::Winograd(_) => "fewer multiplies, and enough of them to pay for the transforms",
            Kernel::Depthwise => "each channel by itself has too few products for a matrix",
            Kernel::Linear => "every weight is read once, where it lies",
            Kernel::Pool | Kernel::Lrn | Kernel::Softmax => "vectors of channels",
            Kernel::Pointwise | Kernel::PerChannel | Kernel::Sum | Kernel::Shortcut => "bound by memory; split evenly",
            Kernel::Concat => "parts that could be computed in place are; the rest is copied",
            Kernel::Turn | Kernel::TurnBack => "channels come before height and width in what users see",
            Kernel::Columns => "a part of the operand's rows",
            Kernel::Times => "bound by memory; split evenly",
            Kernel::Normalise => "sums of blocks of rows, then each element",
            Kernel::Gradient => "the gradient's own kernel",
            Kernel::Plain => "no kernel of its own: the operator's plain loops",
        }
    }

    /// Whether an activation can be applied to its results while they are at hand.
    pub(super) fn ends_with_an_activation(self) -> bool {
        match self {
            Kernel::Depthwise | Kernel::Linear | Kernel::PerChannel | Kernel::Sum | Kernel::Normalise => true,
            Kernel::Pool | Kernel::Lrn | Kernel::Pointwise | Kernel::Softmax | Kernel::Times => false,
            Kernel::Concat | Kernel::Shortcut | Kernel::Turn | Kernel::TurnBack | Kernel::Plain => false,
            Kernel::Columns | Kernel::Gradient => false,
            Kernel::Product | Kernel::JoinedProduct | Kernel::Winograd(_) => true,
        }
    }
}

/// Rows and their width: the pixels of a feature map with their channels, or samples.
pub fn rows(dims: &[usize]) -> (usize, usize) {
    match *dims {
        [n, c, h, w] => (n * h * w, c),
        _ => (dims[0], dims[1..].iter().product()),
    }
}

/// Whether a node only looks at its operand's elements under another shape.
pub(super) fn is_view(op: &Op, from: Option<&[usize]>, to: &[usize]) -> bool {
    matches!(op, Op::Flatten(_) | Op::Reshape(_)) && from.is_some_and(|from| rows(from) == rows(to))
}

/// Whether a value can be added to a node's sums, as a skip connection joins them.
pub(super) fn adds_a_value(kernel: Kernel, op: &Op) -> bool {
    match (kernel, op) {
        (Kernel::Product | Kernel::JoinedProduct | Kernel::Winograd(_), _) => true,
        (Kernel::Gradient, Op::Gradient(Gradient { of: Differentiated::Conv(conv), wrt, .. })) => {
            // A stride has phases, each of which is spread; what lies between them could not be added at once.
            matches!(wrt[..], [Wrt::Operand(_)]) && conv.windows.stride == [1, 1] && conv.groups == 1
        }
        _ => false,
    }
}

/// Which operand a node can write its first result over.
pub(super) fn overwritable(kernel: Kernel, op: &Op) -> Option<usize> {
    match (kernel, op) {
        (Kernel::Pointwise | Kernel::PerChannel | Kernel::Sum | Kernel::Softmax | Kernel::Times, _) => Some(0),
        (Kernel::Gradient, Op::Gradient(gradient)) if matches!(gradient.wrt[..], [Wrt::Operand(_), ..]) => {
            match gradient.of {
                Differentiated::Activation(_) => Some(1),
                Differentiated::Normalise(_) => Some(3),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Whether a convolution is a matrix product on the pixels as they are.
pub(super) fn is_pointwise(conv: &Conv, dims: &[usize]) -> bool {
    let windows = &conv.windows;
    windows.kernel == [1, 1]
        && windows.stride == [1, 1]
        && conv.groups == 1
        && windows.sides([dims[2], dims[3]]).iter().all(|&side| side == 0)
}

/// The numbers of a convolution.
pub fn geometry(conv: &Conv, from: &[usize], to: &[usize]) -> Geometry {
    let (from, to) = (Nchw::of(from), Nchw::of(to));
    let [top, left, _, _] = conv.windows.sides([from.h, from.w]);
    let sizes = |pair: [u64; 2]| pair.map(|size| size as usize);
    Geometry {
        from,
        to,
        kernel: sizes(conv.windows.kernel),
        stride: sizes(conv.windows.stride),
        dilation: sizes(conv.windows.dilation),
        before: [top, left],
        groups: conv.groups as usize,
    }
}

/// The kernel of a node.
pub(super) fn kernel(
    op: &Op,
    reads: &[ValueId],
    results: &[ValueId],
    dims: &Dims,
    has_prologue: bool,
    options: &Options,
) -> Kernel {
    let of = |value: Option<&ValueId>| value.map_or(&[][..], |value| &dims[value]);
    let (from, to) = (of(reads.first()), of(results.first()));
    match op {
        Op::Conv(_) if has_prologue => Kernel::Product,
        Op::Conv(conv) => best(&geometry(conv, from, to), options).unwrap_or(Kernel::Plain),
        Op::Linear(_) => Kernel::Linear,
        Op::Pool(_) => Kernel::Pool,
        Op::Lrn(_) => Kernel::Lrn,
        Op::Activation(_) => Kernel::Pointwise,
        Op::BatchNorm(_) | Op::ChannelScale(_) if matches!(from.len(), 2 | 4) => Kernel::PerChannel,
        Op::Add(_) => Kernel::Sum,
        Op::PadShortcut(_) => Kernel::Shortcut,
        Op::Softmax(softmax) if softmax.axis == 0 && matches!(to.len(), 2 | 4) => Kernel::Softmax,
        Op::Concat(concat) if concat.axis == 0 && matches!(to.len(), 2 | 4) => Kernel::Concat,
        Op::Flatten(_) | Op::Reshape(_) if from.len() == 4 && to.len() == 2 => Kernel::Turn,
        Op::Reshape(_) if from.len() == 2 && to.len() == 4 => Kernel::TurnBack,
        Op::Slice(slice) if slice.axis == 0 && matches!(to.len(), 2 | 4) => Kernel::Columns,
        Op::Mul(_) if reads.iter().all(|read| dims[read] == to) => Kernel::Times,
        Op::Normalise(_) => Kernel::Normalise,
        Op::Gradient(gradient) => gradient_kernel(gradient, from, to),
        _ => Kernel::Plain,
    }
}

/// The kernel of a convolution: the one that is forced, where it can compute it; the one that has been timed; else the one
/// that is expected to be the fastest.
pub fn best(g: &Geometry, options: &Options) -> Option<Kernel> {
    let found = candidates(g, options);
    let picked = options.picks.as_ref().and_then(|picks| picks.get(&key(g)).copied());
    let wanted = |kernel: Option<Kernel>| found.iter().find(|candidate| Some(candidate.kernel) == kernel);
    let best = || found.iter().min_by(|a, b| a.cycles.total_cmp(&b.cycles));
    wanted(options.forced).or_else(|| wanted(picked)).or_else(best).map(|candidate| candidate.kernel)
}

/// Whether a gradient has a kernel of its own.
fn gradient_kernel(gradient: &Gradient, from: &[usize], to: &[usize]) -> Kernel {
    let is_fast = match (&gradient.of, &gradient.wrt[..]) {
        (Differentiated::Conv(conv), [Wrt::Operand(_)]) => {
            let g = geometry(conv, to, from);
            g.is_depthwise() || conv_gradient::phases(&g).is_some()
        }
        (Differentiated::Conv(_) | Differentiated::Normalise(_) | Differentiated::Activation(_), _) => true,
        (Differentiated::Linear(_), _) => from.len() == 2,
        (Differentiated::Pool(_) | Differentiated::PadShortcut(_) | Differentiated::Lrn(_), _) => true,
        _ => false,
    };
    if is_fast { Kernel::Gradient } else { Kernel::Plain }
}

/// A kernel that could compute a convolution, and how many cycles of one core it is expected to take for one sample.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// The kernel.
    pub kernel: Kernel,
    /// The estimate.
    pub cycles: f64,
}

/// Multiply-adds a cycle that products reach of the 16 that a core can do.
const RATE: f64 = 13.0;

/// What is expected of a machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Machine {
    /// Bytes a cycle that weights come in with from beyond the second-level cache.
    bytes: f64,
}

impl Default for Machine {
    fn default() -> Self {
        Machine { bytes: 6.0 }
    }
}

impl Machine {
    /// A machine that has been measured: a cycle is the time of the multiply-adds that products do in one.
    pub fn of(profile: &Profile) -> Machine {
        Machine { bytes: 2.0 * RATE * profile.bandwidth_gbs / profile.peak_gflops }
    }
}

/// Cycles for a vector of a Winograd transform: a load, a store, and its share of the arithmetic.
const TRANSFORM: f64 = 2.5;

/// What could compute a convolution, with estimates: the larger of the time to multiply and the time to read weights,
/// and the transforms.
pub fn candidates(g: &Geometry, options: &Options) -> Vec<Candidate> {
    let bytes = options.machine.bytes;
    if g.is_depthwise() {
        let cycles = (g.to.h * g.to.w * g.to.c * g.kernel[0] * g.kernel[1]) as f64 / 4.0;
        return vec![Candidate { kernel: Kernel::Depthwise, cycles }];
    }
    let pixels = (g.to.h * g.to.w) as f64;
    let outputs = (g.group_out().next_multiple_of(PANEL) * g.groups) as f64;
    let weights = outputs * (g.group_in() * g.kernel[0] * g.kernel[1]) as f64;
    let kernel = if g.joins_taps() { Kernel::JoinedProduct } else { Kernel::Product };
    let cycles = (pixels * weights / RATE).max(4.0 * weights / bytes);
    let mut found = vec![Candidate { kernel, cycles }];
    let plain = g.stride == [1, 1] && g.dilation == [1, 1] && g.groups == 1;
    // With fewer channels the transforms of a single sample cost what they save; who forces a kernel has more.
    let least = if options.forced.is_some() { 16 } else { 32 };
    let whole = g.from.c.is_multiple_of(LANES) && g.to.c.is_multiple_of(LANES) && least <= g.from.c;
    if !options.exact && plain && whole {
        for tile in Tile::ALL.into_iter().filter(|tile| g.kernel == [tile.taps(); 2]) {
            let positions = tile.positions() as f64;
            let tiles = (g.to.h.div_ceil(tile.outputs()) * g.to.w.div_ceil(tile.outputs())) as f64;
            let weights = positions * outputs * g.from.c as f64;
            let products = (tiles.max(6.0) * weights / RATE).max(4.0 * weights / bytes);
            let transforms = tiles * positions * 2.0 * (g.from.c + g.to.c) as f64 / LANES as f64 * TRANSFORM;
            found.push(Candidate { kernel: Kernel::Winograd(tile), cycles: products + transforms });
        }
    }
    found
}
