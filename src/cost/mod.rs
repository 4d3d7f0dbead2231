//! What a net costs: a walk over a [`Net`] and its [`Shapes`] that gives a [`Report`] and prints nothing.
//!
//! Counts are exact: integers, or polynomials in the symbols of the input's sizes. docs/cost.md states every rule; the
//! rules of the operators themselves stand in `op/`. [`schedule()`] finds the order with the least activation memory,
//! which the execution planner uses too. Every count that is a number fits 64 bits, or [`analyse()`] says which does not.

pub mod bottleneck;
pub mod budget;
mod counts;
pub mod diff;

mod error;
pub mod field;
pub mod number;
mod ratio;
pub mod rollup;
pub mod roofline;
pub mod schedule;
mod symbolic;

use std::sync::Arc;

use crate::diag::Span;
use crate::dim::Dim;
use crate::ir::{CallSite, Net, NodeId};
use crate::op::{Op, ParamSpec};
use crate::shape::Shapes;
use crate::tensor::Shape;

pub use bottleneck::{Bottleneck, Bottlenecks};
pub use budget::check_budgets;
pub use counts::{BYTES, Counts};
pub use error::CostError;
pub use field::Field;
pub use ratio::Ratio;
pub use rollup::{By, Group, rollup};
pub use roofline::{Prediction, Profile};
pub use schedule::{Memory, Schedule, schedule};

/// Which figure is called the operations of a layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Convention {
    /// Multiply-accumulates of convolutions and linear layers, as torchvision publishes them.
    #[default]
    Torchvision,
    /// What fvcore's default handlers count.
    Fvcore,
    /// Floating-point operations: two for each multiply-accumulate, and the rest.
    Flops,
}

impl Convention {
    /// All conventions under the names by which `--convention` takes them.
    pub const NAMES: [(&'static str, Convention); 3] =
        [("torchvision", Convention::Torchvision), ("fvcore", Convention::Fvcore), ("flops", Convention::Flops)];

    /// The name that `--convention` takes.
    pub fn name(self) -> &'static str {
        match self {
            Convention::Torchvision => "torchvision",
            Convention::Fvcore => "fvcore",
            Convention::Flops => "flops",
        }
    }

    /// The heading of a column of such operations.
    pub fn heading(self) -> &'static str {
        match self {
            Convention::Torchvision => "MACs",
            Convention::Fvcore => "fvcore flops",
            Convention::Flops => "FLOPs",
        }
    }

    /// What is counted, in one line.
    pub fn words(self) -> &'static str {
        match self {
            Convention::Torchvision => {
                "multiply-accumulates of convolutions and linear layers; 1 MAC is 1 multiply and 1 add"
            }
            Convention::Fvcore => {
                "what fvcore counts: 1 a multiply-accumulate, batch norm and average pooling to size, nothing pointwise"
            }
            Convention::Flops => {
                "floating-point operations: 2 a multiply-accumulate, and everything else by docs/cost.md"
            }
        }
    }
}

/// What to count.
#[derive(Clone, Debug)]
pub struct Options {
    /// Samples in a batch: operations, activations and memory are those of all of them.
    pub batch: u64,
    /// Whether nodes that exist only for training-only outputs count.
    pub train: bool,
    /// Which figure is called the operations.
    pub convention: Convention,
    /// The machine for which times are predicted.
    pub profile: Option<Profile>,
}

impl Default for Options {
    fn default() -> Self {
        Options { batch: 1, train: false, convention: Convention::default(), profile: None }
    }
}

/// An input or output of the net with its shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Terminal {
    /// Its name.
    pub name: String,
    /// The shape of one sample.
    pub shape: Shape,
}

/// One operator in its place.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The node.
    pub id: NodeId,
    /// Its path.
    pub path: String,
    /// The layer's name in the language.
    pub kind: &'static str,
    /// The statement.
    pub span: Span,
    /// The block call it stands in.
    pub call: Option<Arc<CallSite>>,
    /// The shapes of its results for one sample.
    pub outputs: Vec<Shape>,
    /// The tensors it owns.
    pub weights: Vec<ParamSpec>,
    /// What it costs for the whole batch.
    pub counts: Counts,
    /// What one position of its result sees of the net's input: height, width.
    pub field: [Field; 2],
    /// Its part of the net's operations by the report's convention.
    pub share: Option<Ratio>,
    /// How long it should take, where a profile is given and the counts are numbers.
    pub predicted: Option<Prediction>,
}

/// The costs of a net.
#[derive(Clone, Debug)]
pub struct Report {
    /// The net's name.
    pub net: String,
    /// Its inputs.
    pub inputs: Vec<Terminal>,
    /// The outputs that the report covers.
    pub outputs: Vec<Terminal>,
    /// What was asked for.
    pub options: Options,
    /// The symbols on which counts depend, sorted.
    pub symbols: Vec<String>,
    /// Everything but inputs, in topological order.
    pub layers: Vec<Layer>,
    /// The sum of all layers.
    pub totals: Counts,
    /// The memory that activations take under the best order found.
    pub memory: Memory,
    /// What 1x1 convolutions in front of larger ones save.
    pub bottlenecks: Bottlenecks,
    /// The sum of the predicted times, in seconds.
    pub predicted: Option<f64>,
}

/// Counts everything.
///
/// # Errors
/// When a count does not fit 64 bits.
///
/// ```
/// use netc::cost::{Options, analyse};
/// use netc::dim::Dim;
///
/// let tiny = netc::compile_text("tiny.net", "net tiny { input x: [3, 8, 8]; c: conv(4, 3); output y }")?;
/// let report = analyse(&tiny.net, &tiny.shapes, &Options::default())?;
/// assert_eq!(report.totals.macs, Dim::from(4 * 6 * 6 * 3 * 3 * 3u64));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn analyse(net: &Net, shapes: &Shapes, options: &Options) -> Result<Report, CostError> {
    let mut layers = layers(net, shapes, options)?;
    let totals = total(net, layers.iter().map(|layer| &layer.counts))?;
    let whole = totals.ops(options.convention);
    for layer in &mut layers {
        layer.share = Ratio::of(layer.counts.ops(options.convention), whole);
        layer.predicted = options.profile.as_ref().and_then(|profile| profile.predict(&layer.counts));
    }
    let bottlenecks = bottleneck::find(net, shapes, options)?;
    let memory = schedule::memory(net, shapes, options)?;
    let predicted = layers.iter().map(|layer| layer.predicted.map(|time| time.seconds)).sum();
    let terminal = |name: &str, shape: &Shape| Terminal { name: name.to_owned(), shape: shape.clone() };
    Ok(Report {
        net: net.name.clone(),
        inputs: net.inputs.iter().map(|&id| terminal(&net.node(id).path, &shapes.results(id)[0])).collect(),
        outputs: net.outputs_for(options.train).map(|output| terminal(&output.name, shapes.of(output.value))).collect(),
        options: options.clone(),
        symbols: symbols(net, shapes),
        layers,
        totals,
        memory,
        bottlenecks,
        predicted,
    })
}

/// The nodes that a report covers, by index: all but those that only training needs.
pub(crate) fn covered(net: &Net, train: bool) -> Vec<bool> {
    if train { vec![true; net.bound()] } else { net.train_only().into_iter().map(|only| !only).collect() }
}

/// The layers with their counts, and nothing yet that depends on the whole.
fn layers(net: &Net, shapes: &Shapes, options: &Options) -> Result<Vec<Layer>, CostError> {
    let covered = covered(net, options.train);
    let fields = field::fields(net, shapes);
    let layer = |id: NodeId| {
        let node = net.node(id);
        Ok(Layer {
            id,
            path: node.path.clone(),
            kind: node.op.describe().0,
            span: node.origin.span,
            call: node.origin.call.clone(),
            outputs: shapes.results(id).to_vec(),
            weights: shapes.params(net, id),
            counts: Counts::of(net, shapes, id, options.batch)?,
            field: fields[id.index()],
            share: None,
            predicted: None,
        })
    };
    net.topological()
        .into_iter()
        .filter(|&id| covered[id.index()] && !matches!(net.node(id).op, Op::Input(_)))
        .map(layer)
        .collect()
}

/// The sum, when it fits.
fn total<'a>(net: &Net, counts: impl IntoIterator<Item = &'a Counts>) -> Result<Counts, CostError> {
    let total =
        Counts::sum(counts).map_err(|source| CostError::Sum { net: net.name.clone(), span: net.span, source })?;
    match total.too_large() {
        Some(what) => Err(CostError::TooLarge { net: net.name.clone(), span: net.span, what }),
        None => Ok(total),
    }
}

fn symbols(net: &Net, shapes: &Shapes) -> Vec<String> {
    let sizes = net.inputs.iter().flat_map(|&id| shapes.results(id)).flat_map(|shape| &shape.0);
    let names: std::collections::BTreeSet<String> = sizes.flat_map(Dim::symbols).collect();
    names.into_iter().collect()
}
