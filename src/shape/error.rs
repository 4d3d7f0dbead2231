//! Words for operands that do not fit: both shapes, where each comes from, the arithmetic, and a fix.

use crate::diag::{Code, Diagnostic, Edit, Help, SourceMap, Span, codes};
use crate::dim::{Dim, DimError};
use crate::ir::{Net, NodeId, ValueId};
use crate::op::geom::Padding;
use crate::op::{Op, Role, ShapeError};
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
    pub operands: &'a [ValueId],
    /// Where each operand is written; the layer itself when it takes the value above.
    pub places: &'a [Span],
    /// Where its arguments are written.
    pub args: &'a [(&'static str, Span)],
    /// The layer's place.
    pub span: Span,
    /// What does not fit.
    pub error: &'a ShapeError,
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
                match value.as_u64().and_then(|value| (1..*by).rev().find(|groups| value % groups == 0)) {
                    Some(groups) => {
                        self.with_origin(diagnostic, 0, &[0]).help(format!("{groups} groups would divide {value}"))
                    }
                    None => self.with_origin(diagnostic, 0, &[0]),
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
        let what = if named.is_empty() { "number of axes".to_owned() } else { named.join(" and ") };
        let title = format!("`{}` cannot join {a} and {b}: their {what} differ", self.layer);
        let mut diagnostic = Diagnostic::new(code, self.span, title);
        for operand in [left, right] {
            let place = self.places[operand];
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
        for operand in [left, right] {
            diagnostic = self.with_origin(diagnostic, operand, axes);
        }
        let fixes = [self.padding_fix(left, right, axes), if concat { None } else { self.projection(left, right) }];
        diagnostic.help.extend(fixes.into_iter().flatten());
        if diagnostic.help.is_empty() {
            diagnostic = diagnostic.help(if concat {
                "bring both to one size with `pad`, a stride, `upsample(size = …)` or `crop(to = …)`"
            } else {
                "bring the skip to the other's shape with a 1x1 convolution, `conv(channels, 1, stride = s, bias = false)`"
            });
        }
        diagnostic
    }

    fn shape(&self, operand: usize) -> &Shape {
        self.shapes.of(self.operands[operand])
    }

    /// Adds where an operand got its sizes on these axes, with the arithmetic.
    fn with_origin(&self, diagnostic: Diagnostic, operand: usize, axes: &[usize]) -> Diagnostic {
        let id = self.origin(self.operands[operand], axes);
        let node = self.net.node(id);
        let results = self.shapes.results(id);
        let shape = results.first().map(Shape::to_string).unwrap_or_default();
        let lines = node.op.arithmetic(&self.shapes.operands(self.net, id), results);
        let lines: Vec<&String> = lines
            .iter()
            .filter(|line| {
                !line.starts_with("height") && !line.starts_with("width") || axes.iter().any(|&axis| 0 < axis)
            })
            .collect();
        let words = match (&node.op, lines.as_slice()) {
            (Op::Input(_), _) => format!("the input is {shape}"),
            (_, []) => format!("makes {shape}"),
            (_, [line, ..]) if axes.contains(&1) || axes.contains(&2) => format!("makes {shape}; {line}"),
            _ => format!("makes {shape}"),
        };
        let taken = diagnostic.primary.span == node.origin.span
            || diagnostic.secondary.iter().any(|label| label.span == node.origin.span);
        if taken {
            lines.into_iter().fold(diagnostic, |diagnostic, line| {
                let note = format!("`{}`: {line}", node.op.describe().0);
                if diagnostic.notes.contains(&note) { diagnostic } else { diagnostic.note(note) }
            })
        } else {
            diagnostic.also(node.origin.span, words)
        }
    }

    /// The node that set the sizes of a value on these axes: what stands between has left them alone.
    fn origin(&self, value: ValueId, axes: &[usize]) -> NodeId {
        let mut id = value.node;
        loop {
            let Some(&from) = self.net.operands(id).first() else { return id };
            let (before, after) = (self.shapes.of(from), &self.shapes.results(id)[0]);
            let same =
                before.rank() == after.rank() && axes.iter().all(|&axis| before.0.get(axis) == after.0.get(axis));
            let sets_channels = axes.contains(&0)
                && self
                    .shapes
                    .params(self.net, id)
                    .iter()
                    .any(|param| param.role == Role::Weight && param.fan_out != 0);
            if !same || sets_channels {
                return id;
            }
            id = from.node;
        }
    }

    /// A padding that keeps the size, where a convolution without it made one operand too small.
    fn padding_fix(&self, left: usize, right: usize, axes: &[usize]) -> Option<Help> {
        if axes.is_empty() || axes.contains(&0) {
            return None;
        }
        for (small, large) in [(left, right), (right, left)] {
            let id = self.origin(self.operands[small], axes);
            let (node, target) = (self.net.node(id), self.shape(large));
            let Op::Conv(conv) = &node.op else { continue };
            if conv.windows.padding != Padding::Sides([0; 4]) {
                continue;
            }
            let halves = [0, 1].map(|axis| (conv.windows.extent(axis) - 1) / 2);
            let mut padded = conv.clone();
            padded.windows.padding = Padding::Sides([halves[0], halves[1], halves[0], halves[1]]);
            let made = Op::Conv(padded).infer(&self.shapes.operands(self.net, id)).ok()?;
            let text = self.sources.text(node.origin.span);
            if axes.iter().all(|&axis| made[0].0.get(axis) == target.0.get(axis))
                && text.ends_with(')')
                && !text.contains("pad")
            {
                let pad = if halves[0] == halves[1] {
                    halves[0].to_string()
                } else {
                    format!("[{}, {}]", halves[0], halves[1])
                };
                let at = Span { start: node.origin.span.end - 1, end: node.origin.span.end - 1, ..node.origin.span };
                let edits = vec![Edit { span: at, replacement: format!(", pad = {pad}") }];
                return Some(Help { text: "pad the convolution so that it keeps the size".to_owned(), edits });
            }
        }
        None
    }

    /// A 1x1 convolution on the skip that gives it the other operand's shape.
    fn projection(&self, left: usize, right: usize) -> Option<Help> {
        let (skip, target) = if self.reaches(self.operands[left].node, self.operands[right].node) {
            (left, right)
        } else if self.reaches(self.operands[right].node, self.operands[left].node) {
            (right, left)
        } else {
            return None;
        };
        let (_, h, w) = self.shape(skip).chw()?;
        let (c, out_h, out_w) = self.shape(target).chw()?;
        let stride_on =
            |size: &Dim, wanted: &Dim| (1..=64).find(|&s| size.ceil_div(s).is_ok_and(|made| made == *wanted));
        let stride = match (stride_on(h, out_h)?, stride_on(w, out_w)?) {
            (1, 1) => String::new(),
            (s_h, s_w) if s_h == s_w => format!(", stride = {s_h}"),
            (s_h, s_w) => format!(", stride = [{s_h}, {s_w}]"),
        };
        let conv = format!("conv({c}, 1{stride}, bias = false)");
        let text = format!("project the skip with a 1x1 convolution: `{conv}`");
        Some(Help { text, edits: self.projection_edits(skip, &conv).unwrap_or_default() })
    }

    fn projection_edits(&self, skip: usize, conv: &str) -> Option<Vec<Edit>> {
        let place = self.places[skip];
        let written = self.sources.text(place);
        if written == "identity" {
            let label = self.free_name("projection");
            return Some(vec![Edit { span: place, replacement: format!("{label}: {conv}") }]);
        }
        let is_path = !written.is_empty() && written.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '.');
        let (start, indent) = self.line_start()?;
        if !is_path || place == self.span || place.file != self.span.file {
            return None;
        }
        let (shortcut, projection) = (self.free_name("shortcut"), self.free_name("projection"));
        let line = format!("{indent}{shortcut}: from {written} {{ {projection}: {conv} }}\n");
        Some(vec![Edit { span: start, replacement: line }, Edit { span: place, replacement: shortcut }])
    }

    /// Whether `from` is computed from `to` or is it; looks back over at most a few thousand nodes.
    fn reaches(&self, to: NodeId, from: NodeId) -> bool {
        let mut open = vec![from];
        let mut seen = std::collections::HashSet::new();
        while let Some(id) = open.pop() {
            if id == to {
                return true;
            }
            if to < id && seen.len() < 4096 && seen.insert(id) {
                open.extend(self.net.operands(id).into_iter().map(|value| value.node));
            }
        }
        false
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

    /// A label that the text does not use.
    fn free_name(&self, wanted: &str) -> String {
        let text = &self.sources.file(self.span.file).text;
        let mut name = wanted.to_owned();
        let mut ordinal = 1;
        while text.contains(&name) {
            ordinal += 1;
            name = format!("{wanted}{ordinal}");
        }
        name
    }
}
