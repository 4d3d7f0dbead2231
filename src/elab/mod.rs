//! Tree to graph: names, defaults, repeats and wiring. Each node is inferred as it is appended, so that `x.c` of any
//! value above is known and a mistake is reported where it is made.
//!
//! A mistake fails the value it stands for; whatever takes that value stays quiet. Inside a block the message carries
//! the chain of calls. Fixtures stand in `tests/errors/`, graphs in `snapshots/ir/`.

mod args;
mod call;
pub mod error;
mod eval;
mod familiar;
mod header;
mod labels;
pub mod load;
mod names;
mod statement;
pub mod value;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use self::error::{FileError, WiringError};
use self::labels::LabelScope;
use self::load::{BlockId, Program};
use self::names::Names;
use self::value::{Tensor, Value};
use crate::data::preprocess::Preprocess;
use crate::diag::{Diagnostic, Sink, SourceMap, Span};
use crate::ir::{CallSite, Net, NodeId, Origin};
use crate::op::Op;
use crate::shape::{Shapes, advice};
use crate::syntax::ast::{Expr, Name};

pub use load::{Loader, load};

/// What the command line fixes.
#[derive(Clone, Debug)]
pub struct Options {
    /// `--set name=value`: parameters of the net, or symbols of its input's sizes.
    pub set: Vec<(Name, Expr)>,
    /// `--shape 3x320x320`: the sizes of the single input, instead of those declared. Claims and budgets speak of the
    /// declared sizes and are not checked then.
    pub shape: Option<Vec<u64>>,
    /// How many values a net may expand to.
    pub max_values: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options { set: Vec::new(), shape: None, max_values: 1_000_000 }
    }
}

/// A checked net with the shape of every value.
#[derive(Clone, Debug)]
pub struct Elaborated {
    /// The graph.
    pub net: Net,
    /// Its shapes.
    pub shapes: Shapes,
}

/// Expressions and statements for each value that a net may have.
const WORK_EACH: usize = 32;
/// Bytes of paths for each value that a net may have.
const PATH_EACH: usize = 256;
/// Where elaboration stops looking for mistakes.
const MAX_ERRORS: usize = 1000;
/// Likewise, counting a mistake each time that it is met again.
const MAX_REPORTED: usize = 20_000;

/// A mistake that is in the sink; whoever gets it stays quiet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reported;

type Eval<T> = Result<T, Reported>;

/// Makes the graph of a program's net, and advice on it. `None` when there is no net or it has mistakes, which are in
/// the sink; a file of blocks only gives `None` and no mistake.
pub fn elaborate(sources: &SourceMap, program: &Program, options: &Options, sink: &mut Sink) -> Option<Elaborated> {
    let net = program.nets().next();
    let Some(net) = net else {
        if let Some(unit) = program.units.first()
            && unit.tree.items.is_empty()
            && !sink.has_errors()
        {
            sink.push(FileError::NoNet { span: Span { file: unit.file, start: 0, end: 0 } }.into());
        }
        return None;
    };
    if sink.has_errors() {
        return None;
    }
    let mut elab = Elab::new(sources, program, options, sink);
    elab.net_definition(net);
    let Elab { net, shapes, .. } = elab;
    if sink.has_errors() {
        return None;
    }
    advice::advise(&net, &shapes, sink);
    Some(Elaborated { net, shapes })
}

/// The state of one elaboration.
struct Elab<'a> {
    sources: &'a SourceMap,
    program: &'a Program,
    options: &'a Options,
    sink: &'a mut Sink,
    net: Net,
    shapes: Shapes,
    /// Where each labelled path was taken.
    paths: HashMap<String, Span>,
    /// The layers that did not fit. What does not fit again, in a block or a loop, is the same mistake.
    misfits: HashSet<Span>,
    /// Where each output was named.
    output_names: HashMap<String, Span>,
    /// The net and the block calls that are open, outermost first.
    frames: Vec<Frame>,
    /// The names of each unit's own `let`s.
    unit_names: Vec<Names>,
    /// Labels that can be seen, innermost last.
    scopes: Vec<LabelScope>,
    /// The path of the enclosing scope, with its dot, and the number of the next child in a `sequential`.
    prefix: String,
    counter: Option<u64>,
    /// The statement that is being made, when others may stand in front of it: not a branch.
    place: Option<Span>,
    /// The value above; `None` before the first.
    above: Option<Tensor>,
    allows: Arc<[String]>,
    depth: usize,
    steps: usize,
    /// Whether the limit has been reported.
    stopped: bool,
    /// Expressions evaluated and statements made.
    work: usize,
    /// Bytes of all paths.
    path_bytes: usize,
    /// Mistakes, each as often as it was met.
    reported: usize,
    preprocess: Option<(Preprocess, Span)>,
    /// Budgets of open blocks: index, depth of the block, its first node.
    open_budgets: Vec<(usize, usize, usize)>,
}

/// The net, or a call of a block.
struct Frame {
    unit: usize,
    block: Option<BlockId>,
    names: Names,
    input: Option<Tensor>,
    call: Option<Arc<CallSite>>,
    first_node: usize,
}

impl<'a> Elab<'a> {
    fn new(sources: &'a SourceMap, program: &'a Program, options: &'a Options, sink: &'a mut Sink) -> Self {
        Elab {
            sources,
            program,
            options,
            sink,
            net: Net::default(),
            shapes: Shapes::default(),
            paths: HashMap::new(),
            misfits: HashSet::new(),
            output_names: HashMap::new(),
            frames: Vec::new(),
            unit_names: program.units.iter().map(|_| Names::default()).collect(),
            scopes: Vec::new(),
            prefix: String::new(),
            counter: None,
            place: None,
            above: None,
            allows: Arc::from([]),
            depth: 0,
            steps: 0,
            stopped: false,
            work: 0,
            path_bytes: 0,
            reported: 0,
            preprocess: None,
            open_budgets: Vec::new(),
        }
    }

    fn frame(&self) -> &Frame {
        self.frames.last().unwrap_or_else(|| unreachable!("statements stand in a net or a block"))
    }

    fn frame_mut(&mut self) -> &mut Frame {
        self.frames.last_mut().unwrap_or_else(|| unreachable!("statements stand in a net or a block"))
    }

    /// Reports a mistake with the chain of block calls that led to it.
    fn report(&mut self, mistake: impl Into<Diagnostic>) -> Reported {
        let mut diagnostic = mistake.into();
        self.reported += 1;
        if self.sink.has(diagnostic.code, diagnostic.primary.span) {
            return Reported;
        }
        let mut call = self.frames.last().and_then(|frame| frame.call.clone());
        while let Some(site) = call {
            diagnostic = diagnostic.also(site.span, site.words());
            call = site.caller.clone();
        }
        self.sink.push(diagnostic);
        Reported
    }

    /// Counts a step of expansion against the limit.
    fn step(&mut self, span: Span) -> Eval<()> {
        self.steps += 1;
        if self.steps > self.options.max_values.saturating_mul(4) || self.net.len() > self.options.max_values {
            if std::mem::replace(&mut self.stopped, true) {
                return Err(Reported);
            }
            return Err(self.report(WiringError::TooMany { limit: self.options.max_values, span }));
        }
        Ok(())
    }

    fn work_limit(&self) -> usize {
        self.options.max_values.saturating_mul(WORK_EACH).saturating_add(WORK_EACH << 10)
    }

    /// Counts evaluated expressions and statements, which loops multiply, against a limit.
    fn work(&mut self, amount: usize, span: Span) -> Eval<()> {
        self.work = self.work.saturating_add(amount);
        let limit = self.work_limit();
        if limit < self.work {
            let what = "expressions and statements".to_owned();
            return Err(self.report(WiringError::TooMuch { limit, what, values: self.options.max_values, span }));
        }
        Ok(())
    }

    /// Counts the text of a place, which is copied when it is made or evaluated.
    fn text_work(&mut self, span: Span) -> Eval<()> {
        self.work(1 + span.end.saturating_sub(span.start) as usize / 64, span)
    }

    /// Counts the elements of a value that is about to be copied with all of them.
    fn element_work(&mut self, value: &Value, span: Span) -> Eval<()> {
        let left = self.work_limit().saturating_sub(self.work);
        self.work(value.elements(left.saturating_add(1)), span)
    }

    /// Counts the bytes of a path against a limit.
    fn count_path(&mut self, bytes: usize, span: Span) -> Eval<()> {
        self.path_bytes = self.path_bytes.saturating_add(bytes);
        let limit = self.options.max_values.saturating_mul(PATH_EACH).saturating_add(PATH_EACH << 10);
        if limit < self.path_bytes {
            let what = "bytes of paths".to_owned();
            return Err(self.report(WiringError::TooMuch { limit, what, values: self.options.max_values, span }));
        }
        Ok(())
    }

    /// Whether so many mistakes have been found that others are not looked for.
    fn enough(&self) -> bool {
        MAX_ERRORS <= self.sink.errors() || MAX_REPORTED <= self.reported
    }

    fn origin(&self, span: Span) -> Origin {
        Origin { span, call: self.frame().call.clone(), merged: Vec::new(), allows: Arc::clone(&self.allows) }
    }

    /// Gives every node without a label the path of its scope, its kind and the first ordinal that is free.
    fn name_unlabelled(&mut self) {
        let mut next: HashMap<String, u64> = HashMap::new();
        let unlabelled: Vec<NodeId> = self.net.nodes().filter(|&id| !self.net.node(id).labelled).collect();
        for id in unlabelled {
            let node = self.net.node(id);
            if matches!(node.op, Op::Input(_)) {
                continue;
            }
            let kind = node.op.describe().0;
            let separator = if kind.ends_with(|c: char| c.is_ascii_digit()) { "_" } else { "" };
            let stem = format!("{}{kind}{separator}", node.path);
            let ordinal = next.entry(stem.clone()).or_insert(0);
            let path = loop {
                *ordinal += 1;
                let path = format!("{stem}{ordinal}");
                if !self.paths.contains_key(&path) {
                    break path;
                }
            };
            self.net.set_path(id, path);
        }
    }
}
