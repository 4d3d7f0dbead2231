//! Words for operands that do not fit: both shapes, where each comes from, the arithmetic, and a fix.

use std::sync::Arc;

use crate::diag::{Code, Diagnostic, SourceMap, Span, codes};
use crate::dim::DimError;
use crate::ir::{CallSite, Net, ValueId};
use crate::op::{Op, ShapeError};
use crate::shape::Shapes;
use crate::tensor::Shape;

/// An operator that could not be placed.
#[derive(Debug)]
pub struct Misfit<'a> {
    /// The graph so far.
    pub net: &'a Net,
    /// Its shapes.
    pub shapes: &'a Shapes,
    /// The texts.
    pub sources: &'a SourceMap,
    /// The layer as it is written.
    pub layer: &'a str,
    /// The operator.
    pub op: &'a Op,
    /// Its operands.
    pub operands: &'a [Operand],
    /// Its statement, when statements may stand in front of it: not a branch of a group.
    pub statement: Option<Span>,
    /// What can be named where it stands.
    pub scope: &'a Scope<'a>,
    /// Where its arguments are written.
    pub args: &'a [(&'static str, Span)],
    /// The layer's place.
    pub span: Span,
    /// What does not fit.
    pub error: &'a ShapeError,
}

/// An operand with how it is written.
#[derive(Clone, Copy, Debug)]
pub struct Operand {
    /// The value.
    pub value: ValueId,
    /// Where it is written; the layer itself when it takes the value above.
    pub span: Span,
    /// How it is written.
    pub form: Form,
}

/// How an operand is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Not at all: it is the value above.
    Above,
    /// By its name.
    Listed,
    /// As the branch `identity`.
    Identity {
        /// Whether the branch has a label.
        labelled: bool,
    },
    /// As a branch of braces or a `sequential`.
    Braces {
        /// From brace to brace.
        body: Span,
        /// Whether it is a `sequential`.
        numbered: bool,
        /// Whether it holds no statement.
        empty: bool,
        /// The test of the only statement in it, when that is an `if` without `else`, and does not hold.
        test: Option<Span>,
    },
    /// As any other branch.
    Branch {
        /// The whole statement.
        statement: Span,
    },
}

/// What can be named at a layer.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// The call of the block it stands in; `None` in the net itself.
    pub call: Option<&'a Arc<CallSite>>,
    /// Compile-time names.
    pub names: &'a [&'a str],
    /// The block's input; `None` in the net itself.
    pub input: Option<ValueId>,
}

const AXIS_NAMES: [&str; 3] = ["channels", "height", "width"];

impl Misfit<'_> {
    /// The message.
    pub fn diagnostic(&self) -> Diagnostic {
        let layer = self.layer;
        match self.error {
            ShapeError::Differ { left, right, axes } => self.differ(*left, *right, axes),
            ShapeError::Rank { input, needs, insert } => self.rank(*input, needs, *insert),
            ShapeError::Indivisible { attr, what, value, by } => {
                let diagnostic = self
                    .at_arg(codes::E0304, Some(attr), format!("{value} {what} do not divide into {by} groups"))
                    .label(format!("{value} / {by} is not an integer"));
                let diagnostic = self.with_origin(diagnostic, 0, &[0]);
                match value.as_u64().map(|value| divisors(value, *by)).as_deref() {
                    None | Some([]) => diagnostic,
                    Some(divisors) => {
                        diagnostic.help(format!("{value} divides into {} groups", alternatives(divisors)))
                    }
                }
            }
            ShapeError::WindowTooLarge { axis, extent, size, padding } => {
                let padded = if *padding == 0 { String::new() } else { format!(" + {padding} padding") };
                let title = format!("the window of `{layer}` is larger than its input");
                let diagnostic = Diagnostic::new(codes::E0305, self.span, title)
                    .label(format!("{axis}: a window of {extent} on {size}{padded}"));
                let at = if *axis == "height" { 1 } else { 2 };
                let most = size.as_u64().map(|size| size.saturating_add(*padding));
                let diagnostic = self.with_origin(diagnostic, 0, &[at]);
                match most {
                    Some(most) => diagnostic.help(format!("use a window of at most {most}, or stride less above")),
                    None => diagnostic,
                }
            }
            ShapeError::OutOfRange { attr, asked, axis, size } => {
                let diagnostic = self
                    .at_arg(codes::E0307, Some(attr), format!("`{layer}` asks for {asked} of {size} {axis}"))
                    .label(format!("there are {size} {axis}"));
                self.with_origin(diagnostic, 0, &[0])
            }
            ShapeError::Misfit { attr, message, help } => {
                let diagnostic = self.at_arg(codes::E0308, *attr, format!("`{layer}`: {message}"));
                let diagnostic = self.with_origin(diagnostic, 0, &[0, 1, 2]);
                match help {
                    Some(help) => diagnostic.help(help.clone()),
                    None => diagnostic,
                }
            }
            ShapeError::Dim(error) => {
                let code = match error {
                    DimError::Overflow | DimError::TooComplex => codes::E0306,
                    _ => codes::E0308,
                };
                Diagnostic::new(code, self.span, format!("the sizes of `{layer}` cannot be computed"))
                    .label(error.to_string())
            }
        }
    }

    fn at_arg(&self, code: Code, attr: Option<&str>, title: String) -> Diagnostic {
        let place = attr.and_then(|attr| self.args.iter().find(|(name, _)| *name == attr));
        Diagnostic::new(code, place.map_or(self.span, |&(_, span)| span), title)
    }

    fn rank(&self, input: usize, needs: &str, insert: Option<&str>) -> Diagnostic {
        let shape = self.shape(input);
        let title = format!("`{}` takes {needs}, not {}", self.layer, shape.claim());
        let diagnostic = Diagnostic::new(codes::E0303, self.span, title).label(format!("its operand is {shape}"));
        let diagnostic = self.with_origin(diagnostic, input, &[0, 1, 2]);
        match (insert, self.line_start()) {
            (Some(insert), Some((start, indent))) => {
                diagnostic.fix(format!("put `{insert}` above it"), start, format!("{indent}{insert}\n"))
            }
            (Some(insert), None) => diagnostic.help(format!("put `{insert}` in front of it")),
            (None, _) => diagnostic,
        }
    }

    fn differ(&self, left: usize, right: usize, axes: &[usize]) -> Diagnostic {
        let (a, b) = (self.shape(left), self.shape(right));
        let concat = matches!(self.op, Op::Concat(_));
        let code = if concat { codes::E0302 } else { codes::E0301 };
        let named: Vec<&str> = axes.iter().filter_map(|&axis| AXIS_NAMES.get(axis).copied()).collect();
        let what = match named.as_slice() {
            [] => "number of axes".to_owned(),
            [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
            [only, ..] => (*only).to_owned(),
        };
        let differ = if matches!(axes, [1 | 2]) { "differs" } else { "differ" };
        let title = format!("`{}` cannot join {a} and {b}: their {what} {differ}", self.layer);
        let mut diagnostic = Diagnostic::new(code, self.span, title);
        for operand in [left, right] {
            let place = self.operands[operand].span;
            if place == self.span {
                diagnostic.primary.text = format!("the value above is {}", self.shape(operand));
            } else {
                diagnostic = diagnostic.also(place, format!("this is {}", self.shape(operand)));
            }
        }
        if diagnostic.primary.text.is_empty() {
            diagnostic.primary.text = if concat {
                "everything but the axis of `concat` must be equal".to_owned()
            } else {
                "operands must have one shape; nothing is broadcast or cropped".to_owned()
            };
        }
        let (channels, sizes): (Vec<usize>, Vec<usize>) = axes.iter().partition(|&&axis| axis == 0);
        for operand in [left, right] {
            for axes in [&channels, &sizes].into_iter().filter(|axes| !axes.is_empty()) {
                diagnostic = self.with_origin(diagnostic, operand, axes);
            }
        }
        diagnostic.help.extend(self.fixes(left, right, axes));
        if diagnostic.help.is_empty() {
            diagnostic = diagnostic.help(if concat {
                "bring both to one size with `pad`, a stride, `upsample(size = …)` or `crop(to = …)`"
            } else {
                "bring the skip to the other's shape with a 1x1 convolution, `conv(channels, 1, stride = s, bias = false)`"
            });
        }
        diagnostic
    }

    pub(super) fn shape(&self, operand: usize) -> &Shape {
        self.shapes.of(self.operands[operand].value)
    }

    /// Adds where an operand got its sizes on these axes, with the arithmetic.
    fn with_origin(&self, diagnostic: Diagnostic, operand: usize, axes: &[usize]) -> Diagnostic {
        let id = self.origin(self.operands[operand].value, axes);
        let node = self.net.node(id);
        let results = self.shapes.results(id);
        let shape = results.first().map(Shape::to_string).unwrap_or_default();
        let lines = node.op.arithmetic(&self.shapes.operands(self.net, id), results);
        let lines: Vec<&String> = lines
            .iter()
            .filter(|line| {
                let axis = ["", "height", "width"].iter().position(|name| !name.is_empty() && line.starts_with(name));
                axis.is_none_or(|axis| axes.contains(&axis))
            })
            .collect();
        let words = match (&node.op, lines.as_slice()) {
            (Op::Input(_), _) => format!("the input is {shape}"),
            (_, []) => format!("makes {shape}"),
            (_, [line, ..]) if axes.contains(&1) || axes.contains(&2) => format!("makes {shape}; {line}"),
            _ => format!("makes {shape}"),
        };
        let other = |label: &&crate::diag::Label| label.span == node.origin.span;
        if diagnostic.secondary.iter().any(|label| other(&label) && label.text.starts_with("makes")) {
            return diagnostic;
        }
        if diagnostic.primary.span == node.origin.span || diagnostic.secondary.iter().any(|label| other(&label)) {
            lines.into_iter().fold(diagnostic, |diagnostic, line| {
                let note = format!("`{}`: {line}", node.op.describe().0);
                if diagnostic.notes.contains(&note) { diagnostic } else { diagnostic.note(note) }
            })
        } else {
            diagnostic.also(node.origin.span, words)
        }
    }

    /// Where the layer's line starts, and its indentation, when nothing but a label stands in front of it.
    fn line_start(&self) -> Option<(Span, String)> {
        let text = &self.sources.file(self.span.file).text;
        let before = text.get(..self.span.start as usize)?;
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let lead = &before[start..];
        let indent: String = lead.chars().take_while(|c| c.is_whitespace()).collect();
        let label = lead.trim();
        let plain = label.is_empty() || (label.ends_with(':') && !label.contains(['{', ';', '"']));
        let at = u32::try_from(start).ok()?;
        plain.then_some((Span { start: at, end: at, ..self.span }, indent))
    }
}

/// Up to four divisors of a count that are nearest to `wanted`, ascending.
fn divisors(count: u64, wanted: u64) -> Vec<u64> {
    let small = (1..=count.min(4096)).filter(|&by| count.is_multiple_of(by));
    let mut divisors: Vec<u64> = small.flat_map(|by| [by, count / by]).collect();
    divisors.sort_unstable_by_key(|&by| (by.abs_diff(wanted), by));
    divisors.dedup();
    divisors.truncate(4);
    divisors.sort_unstable();
    divisors
}

/// `1, 2 or 4`.
fn alternatives(numbers: &[u64]) -> String {
    let texts: Vec<String> = numbers.iter().map(u64::to_string).collect();
    match texts.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, first)) => format!("{} or {last}", first.join(", ")),
        None => String::new(),
    }
}
