//! Edits that make operands fit. Each candidate is tried on the shapes before it is offered: what is suggested
//! compiles.

use std::collections::HashSet;
use std::sync::Arc;

use super::error::{Form, Misfit, Operand};
use super::written::Written;
use crate::diag::{Edit, Help, Span};
use crate::dim::Dim;
use crate::ir::{CallSite, NodeId, ValueId};
use crate::op::conv::Conv;
use crate::op::geom::{Padding, Windows};
use crate::op::pool::Extent;
use crate::op::{self, Op, Role};
use crate::tensor::Shape;

/// How far back in the graph a fix is looked for.
const HORIZON: usize = 4096;

/// How many layers in a row are tried with other arguments.
const LONGEST_CHAIN: usize = 64;

/// Texts longer than this are not searched for names that are free.
const SEARCHED: usize = 1 << 20;

/// A 1x1 convolution that gives a skip the shape of what it is joined with.
struct Projection {
    layer: String,
    /// When it is needed, where the block is also called so that it is not.
    test: Option<String>,
}

/// A layer changed in one or two arguments.
struct Change {
    op: Op,
    args: Vec<(&'static str, String)>,
    words: String,
}

impl Misfit<'_> {
    /// What makes two operands that differ on some axes agree, the likeliest first.
    pub(super) fn fixes(&self, left: usize, right: usize, axes: &[usize]) -> Vec<Help> {
        if self.shape(left).rank() != 3 || self.shape(right).rank() != 3 || axes.is_empty() {
            return Vec::new();
        }
        let concat = matches!(self.op, Op::Concat(_));
        let mut fixes = Vec::new();
        let skip = if concat { None } else { self.skip(left, right) };
        if let Some((skip, target, root)) = skip {
            fixes.extend(self.changed_layer(target, skip, axes, false));
            fixes.extend(self.projection_fix(skip, target, root, axes));
            return fixes;
        }
        let both = [(left, right), (right, left)];
        fixes.extend(both.iter().find_map(|&(wrong, target)| self.changed_layer(wrong, target, axes, !concat)));
        if fixes.is_empty() && !axes.contains(&0) {
            let (larger, smaller) = if self.larger(left, right) { (left, right) } else { (right, left) };
            fixes.extend(self.resized(larger, smaller));
            fixes.extend(self.resized(smaller, larger));
        }
        fixes
    }

    /// Which of two operands is the other's input passed on, the other one, and the value that is passed on.
    fn skip(&self, left: usize, right: usize) -> Option<(usize, usize, ValueId)> {
        [(left, right), (right, left)].into_iter().find_map(|(skip, target)| {
            let root = self.passed_on(self.operands[skip].value);
            let reached = self.ancestors(self.operands[target].value);
            (reached.contains(&root.node) && root != self.operands[target].value).then_some((skip, target, root))
        })
    }

    /// The value that identities pass on.
    fn passed_on(&self, mut value: ValueId) -> ValueId {
        for _ in 0..HORIZON {
            match (&self.net.node(value.node).op, self.net.operands(value.node).first()) {
                (Op::Identity(_), Some(&from)) => value = from,
                _ => break,
            }
        }
        value
    }

    /// The node of a value and nodes that it is computed from.
    fn ancestors(&self, value: ValueId) -> HashSet<NodeId> {
        let mut seen = HashSet::from([value.node]);
        let mut open = vec![value.node];
        while let Some(id) = open.pop() {
            for from in self.net.operands(id) {
                if seen.len() < HORIZON && seen.insert(from.node) {
                    open.push(from.node);
                }
            }
        }
        seen
    }

    /// The layers in a row that made an operand, the last one first, as far as the other operand does not depend on them.
    fn chain(&self, operand: usize, other: usize) -> Vec<NodeId> {
        let shared = self.ancestors(self.operands[other].value);
        let mut chain = Vec::new();
        let mut value = self.operands[operand].value;
        while chain.len() < LONGEST_CHAIN && !shared.contains(&value.node) && value.output == 0 {
            let &[from] = self.net.operands(value.node).as_slice() else { break };
            chain.push(value.node);
            value = from;
        }
        chain
    }

    /// The shape at the end of a chain when the operator at one place in it is another.
    fn replay(&self, chain: &[NodeId], at: usize, op: &Op) -> Option<Shape> {
        let infer = |op: &Op, inputs: &[Shape]| op.infer(inputs).ok()?.into_iter().next();
        let first = infer(op, &self.shapes.operands(self.net, chain[at]))?;
        chain[..at].iter().rev().try_fold(first, |shape, &id| infer(&self.net.node(id).op, &[shape]))
    }

    /// A layer behind `wrong` with another argument, such that it gets the shape of `target` on the axes.
    fn changed_layer(&self, wrong: usize, target: usize, axes: &[usize], channels: bool) -> Option<Help> {
        let chain = self.chain(wrong, target);
        let wanted = self.shape(target);
        let strides = self.stride_text(target, wrong);
        for (at, &id) in chain.iter().enumerate() {
            for change in self.changes(id, wanted, axes, channels, strides.as_deref()) {
                let made = self.replay(&chain, at, &change.op);
                let fits = made
                    .is_some_and(|made| made.rank() == 3 && axes.iter().all(|&axis| made.0[axis] == wanted.0[axis]));
                if !fits {
                    continue;
                }
                let edits: Option<Vec<Edit>> =
                    change.args.iter().map(|(name, value)| self.set_argument(id, name, value)).collect();
                if let Some(edits) = edits {
                    return Some(Help { text: change.words, edits: joined(edits) });
                }
            }
        }
        None
    }

    fn changes(&self, id: NodeId, wanted: &Shape, axes: &[usize], channels: bool, stride: Option<&str>) -> Vec<Change> {
        let sizes = axes.iter().any(|&axis| 0 < axis);
        let mut changes = Vec::new();
        match &self.net.node(id).op {
            Op::Conv(conv) if !axes.contains(&0) => {
                changes.extend(padded(&conv.windows).map(|(windows, pad)| Change {
                    op: Op::Conv(Conv { windows, ..conv.clone() }),
                    args: vec![("pad", pad)],
                    words: "pad the convolution so that it keeps the size".to_owned(),
                }));
                changes.extend(strided(&conv.windows, stride).into_iter().map(|(windows, stride)| Change {
                    op: Op::Conv(Conv { windows, ..conv.clone() }),
                    args: vec![("stride", stride)],
                    words: "give this convolution the stride of the other branch".to_owned(),
                }));
            }
            Op::Conv(conv) if channels && conv.groups == 1 => {
                let Some(out_c) = wanted.0[0].as_u64() else { return changes };
                let text = out_c.to_string();
                let words = format!("make it {text} channels as in the other branch");
                let op = Conv { out_c, ..conv.clone() };
                if !sizes {
                    changes.push(Change { op: Op::Conv(op), args: vec![("channels", text)], words });
                    return changes;
                }
                for (windows, stride) in strided(&conv.windows, stride) {
                    changes.push(Change {
                        op: Op::Conv(Conv { windows, ..op.clone() }),
                        args: vec![("channels", text.clone()), ("stride", stride)],
                        words: format!("{words}, with its stride"),
                    });
                }
            }
            Op::Pool(pool) if !axes.contains(&0) => {
                let Extent::Windows(windows) = &pool.extent else { return changes };
                changes.extend(padded(windows).map(|(windows, pad)| Change {
                    op: Op::Pool(op::pool::Pool { extent: Extent::Windows(windows), ..pool.clone() }),
                    args: vec![("pad", pad)],
                    words: "pad the pooling so that it keeps the size".to_owned(),
                }));
            }
            _ => {}
        }
        changes
    }

    /// The edit that sets an argument of a node's layer where it is written in this block: at the layer, or at the call
    /// of a block that hands an argument of this name on.
    fn set_argument(&self, id: NodeId, name: &str, value: &str) -> Option<Edit> {
        let (span, params) = self.call_here(id, name)?;
        if span.file != self.span.file {
            return None;
        }
        let params: Vec<&str> = params.iter().map(String::as_str).collect();
        Some(Written::at(self.sources, span)?.set(&params, name, value))
    }

    /// The call in this block that makes a node, with the names of its parameters.
    fn call_here(&self, id: NodeId, name: &str) -> Option<(Span, Vec<String>)> {
        let node = self.net.node(id);
        if same_call(node.origin.call.as_ref(), self.scope.call) {
            let layer = node.op.describe().0;
            let text = self.sources.text(node.origin.span);
            let params = op::signatures().find(|signature| signature.layer == layer && text.starts_with(layer))?.params;
            return Some((node.origin.span, params.iter().map(|param| param.name.to_owned()).collect()));
        }
        let mut site = node.origin.call.as_ref()?;
        for _ in 0..256 {
            let params: Vec<String> =
                site.args.split(", ").filter_map(|arg| Some(arg.split_once(" = ")?.0.to_owned())).collect();
            if !params.iter().any(|param| param == name) {
                return None;
            }
            if same_call(site.caller.as_ref(), self.scope.call) {
                return Some((site.span, params));
            }
            site = site.caller.as_ref()?;
        }
        None
    }

    /// An argument of a node's layer as it is written in this block, when it can be written again at the misfit.
    fn text_here(&self, id: NodeId, name: &str) -> Option<&str> {
        let (span, params) = self.call_here(id, name)?;
        let params: Vec<&str> = params.iter().map(String::as_str).collect();
        let text = Written::at(self.sources, span)?.value(&params, name)?;
        let mut words = text
            .split(|c: char| !c.is_alphanumeric() && c != '_' && c != '.')
            .filter(|word| word.starts_with(|c: char| c.is_alphabetic() || c == '_'));
        let known = |word: &str| {
            ["if", "then", "else", "and", "or", "not", "min", "max", "make_divisible", "in.c", "in.h", "in.w"]
                .contains(&word)
                || self.scope.names.contains(&word)
        };
        words.all(known).then_some(text)
    }

    /// The stride between two operands as it is written in this block: that of the only layer in the chain of `operand`
    /// that has one.
    fn stride_text(&self, operand: usize, other: usize) -> Option<String> {
        let mut found = None;
        for id in self.chain(operand, other) {
            let strided = match &self.net.node(id).op {
                Op::Conv(conv) => conv.windows.stride != [1, 1],
                Op::Pool(pool) => !matches!(&pool.extent, Extent::Windows(windows) if windows.stride == [1, 1]),
                _ => false,
            };
            if strided && found.replace(id).is_some() {
                return None;
            }
        }
        self.text_here(found?, "stride").map(str::to_owned)
    }

    /// A 1x1 convolution on the skip that gives it the other operand's shape.
    fn projection_fix(&self, skip: usize, target: usize, root: ValueId, axes: &[usize]) -> Option<Help> {
        let projection = self.projection(skip, target, root, axes)?;
        let text = format!("project the skip with a 1x1 convolution: `{}`", projection.layer);
        let edits = self.append(&self.operands[skip], "projection", "shortcut", &projection);
        Some(Help { text, edits: edits.unwrap_or_default() })
    }

    fn projection(&self, skip: usize, target: usize, root: ValueId, axes: &[usize]) -> Option<Projection> {
        let (_, h, w) = self.shape(skip).chw()?;
        let (c, out_h, out_w) = self.shape(target).chw()?;
        c.as_u64()?;
        let stride_on =
            |size: &Dim, wanted: &Dim| (1..=64).find(|&s| size.ceil_div(s).is_ok_and(|made| made == *wanted));
        let strides = (stride_on(h, out_h)?, stride_on(w, out_w)?);
        let written = self.stride_text(target, skip);
        let stride = match strides {
            (1, 1) => None,
            (s_h, s_w) if s_h == s_w => Some(written.unwrap_or_else(|| s_h.to_string())),
            (s_h, s_w) => Some(format!("[{s_h}, {s_w}]")),
        };
        let channels = self.channels_text(target).unwrap_or_else(|| c.to_string());
        let stride_arg = stride.as_ref().map_or(String::new(), |stride| format!(", stride = {stride}"));
        let layer = format!("conv({channels}, 1{stride_arg}, bias = false)");
        let fixed = |text: &str| text.chars().all(|c| c.is_ascii_digit() || "[], ".contains(c));
        let test = (self.scope.input == Some(root)).then(|| match &stride {
            Some(stride) if fixed(stride) => None,
            Some(stride) => Some(format!("{} != 1 or in.c != {channels}", operand_text(stride))),
            None if axes == [0] => Some(format!("in.c != {channels}")),
            None => None,
        });
        Some(Projection { layer, test: test.flatten() })
    }

    /// The channels of an operand as they are written in this block.
    fn channels_text(&self, operand: usize) -> Option<String> {
        let id = self.origin(self.operands[operand].value, &[0]);
        self.text_here(id, "channels").map(str::to_owned)
    }

    /// Whether the first of two operands is at least as high and as wide.
    fn larger(&self, first: usize, second: usize) -> bool {
        [1, 2].into_iter().all(|axis| self.shape(first).0[axis].as_u64() >= self.shape(second).0[axis].as_u64())
    }

    /// Brings one operand to the height and width of the other by a layer behind it: a crop of the larger, padding of
    /// one that lacks a few cells, upsampling of one that is a whole number of times smaller.
    fn resized(&self, wrong: usize, target: usize) -> Option<Help> {
        let known = |operand: usize| {
            let (_, h, w) = self.shape(operand).chw()?;
            Some([h.as_u64()?, w.as_u64()?])
        };
        let ([h, w], [to_h, to_w]) = (known(wrong)?, known(target)?);
        let path = self.sources.text(self.operands[target].span);
        let named = self.operands[target].form == Form::Listed && path != "prev";
        let size = if named { path.to_owned() } else { format!("[{to_h}, {to_w}]") };
        let divides = to_h % h == 0 && to_w % w == 0;
        let (words, layer) = if to_h <= h && to_w <= w {
            if h % to_h == 0 && w % to_w == 0 && 2 * to_h <= h {
                return None;
            }
            ("crop the larger one", format!("crop(to = {size})"))
        } else if to_h < h || to_w < w {
            return None;
        } else if divides {
            ("bring the smaller one to the size of the other", format!("upsample(size = {size})"))
        } else if to_h - h <= 8 && to_w - w <= 8 {
            ("or pad the smaller one", format!("pad([0, 0, {}, {}])", to_h - h, to_w - w))
        } else {
            return None;
        };
        let label = if layer.starts_with("crop") { "cropped" } else { "resized" };
        let appended = Projection { layer: layer.clone(), test: None };
        let edits = self.append(&self.operands[wrong], "", label, &appended)?;
        Some(Help { text: format!("{words}: `{layer}`"), edits })
    }

    /// The edits that put a layer behind an operand. `label` is the layer's, if it needs one; `side` that of the side
    /// chain which is made for an operand that is listed by its name.
    fn append(&self, operand: &Operand, label: &str, side: &str, layer: &Projection) -> Option<Vec<Edit>> {
        if operand.span.file != self.span.file {
            return None;
        }
        let label = if label.is_empty() { String::new() } else { format!("{}: ", self.free_name(label)?) };
        let Projection { layer, test } = layer;
        let tested = |inner: String| match test {
            Some(test) => format!("if {test} {{ {inner} }}"),
            None => inner,
        };
        let insert = |span: Span, replacement: String| Edit { span, replacement };
        match operand.form {
            Form::Above => None,
            Form::Listed => {
                let (statement, lead) = self.statement_lead()?;
                let path = self.sources.text(operand.span);
                if path == "prev" && test.is_none() {
                    return Some(vec![insert(statement.before(), format!("{label}{layer}{lead}"))]);
                }
                let side = self.free_name(side)?;
                let chain = format!("{side}: from {path} {{ {} }}{lead}", tested(format!("{label}{layer}")));
                Some(vec![insert(statement.before(), chain), insert(operand.span, side)])
            }
            Form::Identity { labelled } => {
                let label = if labelled { "" } else { &label };
                Some(vec![match test {
                    Some(_) => insert(operand.span, format!("{label}sequential {{ {} }}", tested(layer.clone()))),
                    None => insert(operand.span, format!("{label}{layer}")),
                }])
            }
            Form::Braces { body, numbered, empty, test: skipped } => {
                if let (Some(place), Some(test)) = (skipped, test) {
                    let old = self.sources.text(place);
                    let missing: Vec<&str> = test.split(" or ").filter(|part| !old.contains(part)).collect();
                    return (!missing.is_empty() && !old.contains(" then "))
                        .then(|| vec![insert(place.after(), format!(" or {}", missing.join(" or ")))]);
                }
                let label = if numbered { "" } else { &label };
                let layer = tested(format!("{label}{layer}"));
                if empty {
                    return Some(vec![insert(body, format!("{{ {layer} }}"))]);
                }
                self.before_brace(body, &layer)
            }
            Form::Branch { statement } => Some(vec![
                insert(statement.before(), "{ ".to_owned()),
                insert(statement.after(), format!("; {} }}", tested(format!("{label}{layer}")))),
            ]),
        }
    }

    /// The edit that adds a statement at the end of a body.
    fn before_brace(&self, body: Span, statement: &str) -> Option<Vec<Edit>> {
        let text = self.sources.text(body);
        let inner = text.strip_suffix('}')?;
        let kept = inner.trim_end();
        let blank = u32::try_from(inner.len() - kept.len()).ok()?;
        let span = Span { start: body.end - 1 - blank, end: body.end - 1, ..body };
        let Some(last_line) = inner[..kept.len()].rsplit_once('\n').map(|(_, line)| line) else {
            return Some(vec![Edit { span, replacement: format!("; {statement} ") }]);
        };
        let indent: String = last_line.chars().take_while(|c| c.is_whitespace()).collect();
        let tail = if inner[kept.len()..].contains('\n') { "" } else { " " };
        Some(vec![Edit { span: span.before(), replacement: format!("\n{indent}{statement}{tail}") }])
    }

    /// The statement of the layer, when statements may stand in front of it, and what separates them.
    fn statement_lead(&self) -> Option<(Span, String)> {
        let statement = self.statement?;
        let text = &self.sources.file(statement.file).text;
        let before = text.get(..statement.start as usize)?;
        let lead = &before[before.rfind('\n').map_or(0, |at| at + 1)..];
        let own_line = lead.chars().all(char::is_whitespace) && lead.len() < 1000;
        Some((statement, if own_line { format!("\n{lead}") } else { "; ".to_owned() }))
    }

    /// A label that the text does not use; `None` where finding one would take long.
    fn free_name(&self, wanted: &str) -> Option<String> {
        let text = &self.sources.file(self.span.file).text;
        if SEARCHED < text.len() {
            return None;
        }
        let ordinal = |at: u32| if at == 1 { wanted.to_owned() } else { format!("{wanted}{at}") };
        (1..10).map(ordinal).find(|name| !text.contains(name.as_str()))
    }

    /// The node that set the sizes of a value on these axes: what stands between has left them alone.
    pub(super) fn origin(&self, value: ValueId, axes: &[usize]) -> NodeId {
        let mut id = value.node;
        for _ in 0..HORIZON {
            let Some(&from) = self.net.operands(id).first() else { break };
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
                break;
            }
            id = from.node;
        }
        id
    }
}

fn same_call(a: Option<&Arc<CallSite>>, b: Option<&Arc<CallSite>>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        _ => false,
    }
}

/// Padding that keeps the size of a window which has none.
fn padded(windows: &Windows) -> Option<(Windows, String)> {
    if windows.padding != Padding::Sides([0; 4]) {
        return None;
    }
    let halves = [0, 1].map(|axis| (windows.extent(axis) - 1) / 2);
    let text = if halves[0] == halves[1] { halves[0].to_string() } else { format!("[{}, {}]", halves[0], halves[1]) };
    let padding = Padding::Sides([halves[0], halves[1], halves[0], halves[1]]);
    (halves != [0, 0]).then_some((Windows { padding, ..*windows }, text))
}

/// A window without a stride with each of the usual ones; `written` is what the other branch has.
fn strided(windows: &Windows, written: Option<&str>) -> Vec<(Windows, String)> {
    if windows.stride != [1, 1] {
        return Vec::new();
    }
    let with = |stride: u64| {
        let text = written.map_or_else(|| stride.to_string(), str::to_owned);
        (Windows { stride: [stride; 2], ..*windows }, text)
    };
    [2, 3, 4, 8].map(with).into_iter().collect()
}

/// An expression so that `!=` can follow it.
fn operand_text(text: &str) -> String {
    if text.starts_with("if ") || text.contains(['=', '<', '>']) { format!("({text})") } else { text.to_owned() }
}

/// Insertions at one place as one edit.
fn joined(edits: Vec<Edit>) -> Vec<Edit> {
    let mut result: Vec<Edit> = Vec::new();
    for edit in edits {
        match result.iter_mut().find(|other| other.span == edit.span) {
            Some(other) => other.replacement.push_str(&edit.replacement),
            None => result.push(edit),
        }
    }
    result
}
