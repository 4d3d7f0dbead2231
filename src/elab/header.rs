//! The net itself: its parameters, inputs, outputs, preprocessing and budgets.

use std::sync::Arc;

use super::error::{FileError, NameError, ValueError, WiringError};
use super::labels::LabelTree;
use super::names::Names;
use super::value::{Tensor, Value};
use super::{Elab, Eval, Frame, Reported};
use crate::data::preprocess::{Interpolation, Order, Preprocess, ResizeTo, Scale, Step};
use crate::diag::{Span, codes, nearest};
use crate::dim::Dim;
use crate::ir::{Budget, Metric, Node, Output};
use crate::op::{Op, input};
use crate::syntax::ast::{
    BinaryOp, BudgetEntry, Definition, Expr, ExprKind, Input, LabelPart, Output as OutputStatement, PreprocessEntry,
};
use crate::tensor::Shape;

impl<'a> Elab<'a> {
    /// The whole net.
    pub(super) fn net_definition(&mut self, definition: &'a Definition) {
        for unit in 0..self.program.units.len() {
            self.unit_lets(unit);
        }
        self.net.name.clone_from(&definition.name.text);
        self.net.span = definition.name.span;
        self.frames.push(net_frame(0));
        let program = self.program;
        program.definitions().for_each(|definition| self.check_allows(&definition.allows));
        self.allow(&definition.allows);
        self.net_params(definition);
        self.push_scope(false);
        self.body_of_net(definition);
        self.check_settings(definition);
        self.finish(definition);
    }

    fn body_of_net(&mut self, definition: &'a Definition) {
        // Names bound in the body must outlive it for `finish`; nothing else is left in the frame.
        let sizes = self.options.shape.is_some()
            && definition
                .body
                .statements
                .iter()
                .filter(|s| matches!(s.kind, crate::syntax::ast::StatementKind::Input(_)))
                .count()
                != 1;
        if sizes {
            let message = "`--shape` gives the sizes of a single input".to_owned();
            let name = "--shape".to_owned();
            self.report(NameError::Setting { name, message, near: None, span: definition.name.span });
        }
        self.body(&definition.body, None);
    }

    /// The `let`s of a unit, once; blocks of the unit see them.
    fn unit_lets(&mut self, unit: usize) {
        self.frames.push(net_frame(unit));
        let program = self.program;
        for binding in program.lets(unit) {
            let value = self.eval(&binding.value).unwrap_or(Value::Tensor(Tensor::Failed));
            self.unit_names[unit].push(&binding.name.text, value);
        }
        self.frames.pop();
    }

    fn net_params(&mut self, definition: &'a Definition) {
        let options = self.options;
        for param in &definition.params {
            let set = options.set.iter().find(|(name, _)| name.text == param.name.text);
            let value = match (set, &param.default) {
                (Some((_, value)), _) => self.eval(value),
                (None, Some(default)) => self.eval(default),
                (None, None) => {
                    let (callee, name, span) = (definition.name.text.clone(), param.name.text.clone(), param.name.span);
                    let takes = vec![format!("--set {name}=…")];
                    Err(self.report(NameError::MissingArgument { callee, name, takes, span }))
                }
            };
            let value = value.unwrap_or(Value::Tensor(Tensor::Failed));
            self.frame_mut().names.push(&param.name.text, value);
        }
    }

    /// Every `--set` must have set something.
    fn check_settings(&mut self, definition: &Definition) {
        let mut settable: Vec<String> = definition.params.iter().map(|param| param.name.text.clone()).collect();
        for statement in &definition.body.statements {
            if let crate::syntax::ast::StatementKind::Input(input) = &statement.kind {
                settable.extend(input.shape.iter().filter_map(symbol_name));
            }
        }
        let options = self.options;
        for (name, _) in &options.set {
            if !settable.contains(&name.text) {
                let near = nearest(&name.text, settable.iter().map(String::as_str)).map(str::to_owned);
                let net = &definition.name.text;
                let message = match settable.as_slice() {
                    [] => format!("net `{net}` has no parameter and no free size"),
                    _ => format!("net `{net}` has {}", settable.join(", ")),
                };
                self.report(NameError::Setting { name: name.text.clone(), message, near, span: name.span });
            }
        }
    }

    fn finish(&mut self, definition: &Definition) {
        self.name_unlabelled();
        if self.sink.has_errors() {
            return;
        }
        if self.net.inputs.is_empty() {
            self.report(WiringError::NoInput { span: definition.name.span });
        } else if self.net.outputs.is_empty() {
            let last = match self.above {
                Some(Tensor::Value(value)) => {
                    let span = self.net.node(value.node).origin.span;
                    let call = self.net.node(value.node).origin.call.is_none();
                    (call && span.file == definition.span.file).then_some(span)
                }
                _ => None,
            };
            self.report(WiringError::NoOutput { last, span: definition.name.span });
        } else if self.net.outputs.iter().all(|output| output.train.is_some()) {
            let span = self.net.outputs[0].span;
            let (what, reason) =
                ("a net with training outputs only".to_owned(), "outside training it gives nothing".to_owned());
            self.report(WiringError::Misplaced { what, reason, fix: None, span });
        }
        self.check_preprocess();
        debug_assert!(self.sink.has_errors() || crate::ir::verify(&self.net).is_ok());
    }

    pub(super) fn input(&mut self, input: &'a Input, span: Span) -> Eval<()> {
        self.take_path(&input.name.text, input.name.span)?;
        let declared = self.declared_sizes(input)?;
        let shape = match &self.options.shape {
            Some(sizes) if sizes.len() == declared.len() => sizes.iter().map(|&size| Dim::from(size)).collect(),
            Some(sizes) => {
                let name = "--shape".to_owned();
                let message = format!("the input has {} sizes, not {}", declared.len(), sizes.len());
                return Err(self.report(NameError::Setting { name, message, near: None, span: input.name.span }));
            }
            None => declared,
        };
        for (size, expr) in shape.iter().zip(&input.shape) {
            if let Some(symbol) = symbol_name(expr).filter(|symbol| self.find_name(symbol).is_none()) {
                self.frame_mut().names.push(&symbol, Value::Int(size.clone()));
            }
        }
        for condition in &input.conditions {
            self.condition(condition)?;
        }
        let shape = Shape(shape);
        let node = Node {
            op: Op::Input(input::Input { shape: shape.clone() }),
            path: input.name.text.clone(),
            others: Vec::new(),
            labelled: true,
            origin: self.origin(span),
        };
        let id = self.net.append(node, &[]);
        self.shapes.insert(id, vec![shape]);
        self.net.inputs.push(id);
        let free = self.shapes.of(id.into()).0.iter().flat_map(Dim::symbols).collect::<Vec<_>>();
        let texts = input.conditions.iter().map(|condition| self.sources.text(condition.span));
        self.net.conditions.extend(texts.filter(|text| is_about(text, &free)).map(|text| (id, text.to_owned())));
        let value = Tensor::Value(id.into());
        self.define_label(&input.name.text, value, LabelTree::default());
        self.frame_mut().input = if self.net.inputs.len() == 1 { Some(value) } else { None };
        self.above = Some(value);
        Ok(())
    }

    /// The sizes as declared; a name that is bound to nothing is a symbol, with what the conditions say of it.
    fn declared_sizes(&mut self, input: &'a Input) -> Eval<Vec<Dim>> {
        let options = self.options;
        let mut sizes = Vec::new();
        for expr in &input.shape {
            let symbol = symbol_name(expr).filter(|symbol| self.find_name(symbol).is_none());
            let size = match symbol {
                Some(symbol) => match options.set.iter().find(|(name, _)| name.text == symbol) {
                    Some((_, value)) => self.eval_int(&format!("`{symbol}`"), value)?,
                    None => {
                        let divisor = input.conditions.iter().filter_map(|c| divisor_of(c, &symbol)).fold(1, lcm);
                        Dim::symbol(&symbol, divisor)
                    }
                },
                None => self.eval_int("a size", expr)?,
            };
            let too_large = size.as_known().is_some_and(|known| known < 1 || i128::from(u32::MAX) < known);
            if too_large {
                let message = format!("a size of {size} is not between 1 and {}", u32::MAX);
                return Err(self.report(ValueError::Arithmetic { message, help: None, span: expr.span }));
            }
            sizes.push(size);
        }
        Ok(sizes)
    }

    /// A condition must hold as far as the sizes are known; one on a free size waits until it is fixed.
    fn condition(&mut self, condition: &Expr) -> Eval<()> {
        let mut scratch = crate::diag::Sink::default();
        std::mem::swap(self.sink, &mut scratch);
        let holds = self.eval_bool(condition);
        std::mem::swap(self.sink, &mut scratch);
        match holds {
            Ok(true) => Ok(()),
            Ok(false) => {
                let condition_text = self.sources.text(condition.span).to_owned();
                let named = |name: &str| words(&condition_text).any(|word| word == name);
                let sizes: Vec<String> = self
                    .frame()
                    .names
                    .iter()
                    .filter(|(name, value)| matches!(value, Value::Int(_)) && named(name))
                    .map(|(name, value)| format!("{name} = {value}"))
                    .collect();
                let message = format!("here {}", sizes.join(", "));
                Err(self.report(ValueError::Condition { condition: condition_text, message, span: condition.span }))
            }
            Err(Reported) => {
                let mistakes = scratch.into_sorted();
                if mistakes.iter().all(|mistake| mistake.code == codes::E0215) {
                    return Ok(());
                }
                mistakes.into_iter().for_each(|mistake| self.sink.push(mistake));
                Err(Reported)
            }
        }
    }

    pub(super) fn output(&mut self, output: &'a OutputStatement, span: Span) -> Eval<()> {
        if self.frames.len() > 1 {
            let (what, reason) = ("an `output`".to_owned(), "outputs stand in the net, not in a block".to_owned());
            self.report(WiringError::Misplaced { what, reason, fix: None, span });
            return Ok(());
        }
        let value = match &output.value {
            Some(path) => self.operand(path)?,
            None => match self.above {
                Some(value) => value,
                None => {
                    let what = format!("`output {}`", output.name.text);
                    return Err(self.report(WiringError::NothingAbove { what, span }));
                }
            },
        };
        let train = match &output.train {
            None => None,
            Some(train) => match &train.weight {
                None => Some(1.0),
                Some(weight) => Some(self.train_weight(weight)?),
            },
        };
        let name = output.name.text.clone();
        if let Some(&first) = self.output_names.get(&name) {
            self.report(FileError::Twice { what: "output", name, first, span: output.name.span });
            return Ok(());
        }
        if let Tensor::Value(value) = value {
            self.output_names.insert(name.clone(), span);
            self.net.outputs.push(Output { name, value, train, span });
        }
        Ok(())
    }

    fn train_weight(&mut self, expr: &Expr) -> Eval<f64> {
        let weight = match self.eval(expr)? {
            Value::Float(weight) => weight,
            Value::Int(weight) if weight.as_u64().is_some() => weight.as_u64().unwrap_or(0) as f64,
            other => return Err(self.wrong_type("the weight of a loss", "a number", &other, expr.span)),
        };
        if 0.0 < weight && weight.is_finite() {
            return Ok(weight);
        }
        let message = format!("the weight of a loss is positive, not {weight}");
        Err(self.report(ValueError::Arithmetic { message, help: None, span: expr.span }))
    }

    pub(super) fn budget(&mut self, entries: &'a [BudgetEntry]) -> Eval<()> {
        for entry in entries {
            let Some(&(_, metric)) = Metric::NAMES.iter().find(|(name, _)| *name == entry.metric.text) else {
                let near = nearest(&entry.metric.text, Metric::NAMES.iter().map(|(name, _)| *name)).map(str::to_owned);
                let names: Vec<&str> = Metric::NAMES.iter().map(|(name, _)| *name).collect();
                let note = Some(format!("a budget bounds {}", names.join(", ")));
                let (name, span) = (entry.metric.text.clone(), entry.metric.span);
                self.report(NameError::UnknownName { name, near, note, span });
                continue;
            };
            let Ok(bound) = self.budget_bound(entry, metric) else { continue };
            let frame = self.frame();
            let (first_node, call, whole) = (frame.first_node, frame.call.clone(), self.frames.len() == 1);
            self.net.budgets.push(Budget {
                metric,
                bound,
                members: (!whole).then_some(first_node..first_node),
                span: entry.span,
                call,
                allows: Arc::clone(&self.allows),
            });
            if !whole {
                self.open_budgets.push((self.net.budgets.len() - 1, self.frames.len(), first_node));
            }
        }
        Ok(())
    }

    /// Enters into the budgets of the innermost block the nodes that it made.
    pub(super) fn close_budgets(&mut self) {
        while let Some(&(budget, depth, first)) = self.open_budgets.last() {
            if depth != self.frames.len() {
                break;
            }
            self.open_budgets.pop();
            self.net.budgets[budget].members = Some(first..self.net.bound());
        }
    }

    fn budget_bound(&mut self, entry: &BudgetEntry, metric: Metric) -> Eval<u64> {
        let number = match self.eval(&entry.bound)? {
            Value::Int(bound) if bound.as_u64().is_some() => bound.as_u64().unwrap_or(0) as f64,
            Value::Float(bound) if 0.0 <= bound && bound.is_finite() => bound,
            other => {
                return Err(self.wrong_type("a budget", "a number that is not negative", &other, entry.bound.span));
            }
        };
        let units: &[(&str, f64)] = match metric {
            Metric::PeakMemory => &[
                ("B", 1.0),
                ("KB", 1e3),
                ("MB", 1e6),
                ("GB", 1e9),
                ("KiB", 1024.0),
                ("MiB", 1_048_576.0),
                ("GiB", 1_073_741_824.0),
            ],
            Metric::Macs | Metric::Flops | Metric::Params | Metric::Activations => {
                &[("K", 1e3), ("M", 1e6), ("G", 1e9), ("T", 1e12)]
            }
        };
        let factor = match &entry.unit {
            None => 1.0,
            Some(unit) => match units.iter().find(|(name, _)| *name == unit.text) {
                Some(&(_, factor)) => factor,
                None => {
                    let names: Vec<&str> = units.iter().map(|(name, _)| *name).collect();
                    let near = units.iter().map(|(name, _)| *name).find(|name| name.eq_ignore_ascii_case(&unit.text));
                    let note = Some(format!("the units of {} are {}", metric.name(), names.join(", ")));
                    let (name, near) = (unit.text.clone(), near.map(str::to_owned));
                    return Err(self.report(NameError::UnknownName { name, near, note, span: unit.span }));
                }
            },
        };
        // Decimal bounds such as 4.2 G are meant exactly: round away the error of the product.
        Ok((number * factor + 1e-6).floor() as u64)
    }

    pub(super) fn preprocess(&mut self, entries: &'a [PreprocessEntry], span: Span) -> Eval<()> {
        if let Some((_, first)) = &self.preprocess {
            let (what, name, first) = ("the", "preprocess".to_owned(), *first);
            self.report(FileError::Twice { what, name, first, span });
            return Ok(());
        }
        let mut preprocess = Preprocess::default();
        let mut interpolation = Interpolation::default();
        for entry in entries {
            self.preprocess_entry(entry, &mut preprocess, &mut interpolation)?;
        }
        for step in &mut preprocess.steps {
            if let Step::Resize { interpolation: of_step, .. } = step {
                *of_step = interpolation;
            }
        }
        if let Err(fault) = preprocess.check() {
            let (message, help) = (fault.to_string(), Some(fault.fix()));
            let at_fault = |entry: &&PreprocessEntry| Some(entry.name.text.as_str()) == fault.name();
            let span = entries.iter().find(at_fault).map_or(span, |entry| entry.span);
            return Err(self.report(ValueError::Preprocess { message, help, span }));
        }
        self.preprocess = Some((preprocess, span));
        Ok(())
    }

    fn preprocess_entry(
        &mut self,
        entry: &'a PreprocessEntry,
        preprocess: &mut Preprocess,
        interpolation: &mut Interpolation,
    ) -> Eval<()> {
        let words: Vec<&str> = entry.values.iter().filter_map(word).collect();
        match (entry.name.text.as_str(), entry.values.as_slice()) {
            ("gray", []) => preprocess.steps.push(Step::Gray),
            ("order", [_]) if words == ["rgb"] => preprocess.order = Order::Rgb,
            ("order", [_]) if words == ["bgr"] => preprocess.order = Order::Bgr,
            ("interpolation", [_]) if words == ["bilinear"] => *interpolation = Interpolation::Bilinear,
            ("interpolation", [_]) if words == ["bicubic"] => *interpolation = Interpolation::Bicubic,
            ("interpolation", [_]) if words == ["nearest"] => *interpolation = Interpolation::Nearest,
            ("resize", [size]) => {
                let to = match self.pixel_sizes(size)?.as_slice() {
                    [short] => ResizeTo::Short(*short),
                    [h, w] => ResizeTo::Exact { h: *h, w: *w },
                    _ => return Err(self.wrong_entry(entry)),
                };
                preprocess.steps.push(Step::Resize { to, interpolation: *interpolation });
            }
            ("crop", [size]) => match self.pixel_sizes(size)?.as_slice() {
                [both] => preprocess.steps.push(Step::Crop { h: *both, w: *both }),
                [h, w] => preprocess.steps.push(Step::Crop { h: *h, w: *w }),
                _ => return Err(self.wrong_entry(entry)),
            },
            ("pad", [size]) => {
                let [top, left, bottom, right] = match self.pixel_sizes(size)?.as_slice() {
                    [all] => [*all; 4],
                    [h, w] => [*h, *w, *h, *w],
                    [top, left, bottom, right] => [*top, *left, *bottom, *right],
                    _ => return Err(self.wrong_entry(entry)),
                };
                preprocess.steps.push(Step::Pad { top, left, bottom, right, value: 0 });
            }
            ("scale", [range]) => match self.eval(range)? {
                Value::Range(lo, hi) => match (lo.as_known(), hi.as_known()) {
                    (Some(lo), Some(hi)) => preprocess.scale = Scale { lo: lo as f32, hi: hi as f32 },
                    _ => return Err(self.wrong_entry(entry)),
                },
                _ => return Err(self.wrong_entry(entry)),
            },
            ("mean", [values]) => preprocess.mean = self.floats(values, entry)?,
            ("std", [values]) => preprocess.std = self.floats(values, entry)?,
            _ => return Err(self.wrong_entry(entry)),
        }
        Ok(())
    }

    fn wrong_entry(&mut self, entry: &PreprocessEntry) -> Reported {
        const FORMS: [(&str, &str); 9] = [
            ("resize", "resize 256 (the short side) or resize [h, w]"),
            ("crop", "crop 224 or crop [h, w]"),
            ("pad", "pad 2, pad [h, w] or pad [top, left, bottom, right]"),
            ("gray", "gray"),
            ("order", "order rgb or order bgr"),
            ("scale", "scale 0..1 or scale 0..255"),
            ("mean", "mean [0.485, 0.456, 0.406]"),
            ("std", "std [0.229, 0.224, 0.225]"),
            ("interpolation", "interpolation bilinear, bicubic or nearest"),
        ];
        let name = entry.name.text.clone();
        match FORMS.iter().find(|(form, _)| *form == name) {
            Some((_, form)) => {
                let message = format!("`{name}` of `preprocess` is written otherwise");
                self.report(ValueError::Preprocess { message, help: Some(format!("write {form}")), span: entry.span })
            }
            None => {
                let near = nearest(&name, FORMS.iter().map(|(form, _)| *form)).map(str::to_owned);
                let forms: Vec<&str> = FORMS.iter().map(|(form, _)| *form).collect();
                let note = Some(format!("`preprocess` knows {}", forms.join(", ")));
                self.report(NameError::UnknownName { name, near, note, span: entry.name.span })
            }
        }
    }

    fn pixel_sizes(&mut self, expr: &Expr) -> Eval<Vec<usize>> {
        let values = match self.eval(expr)? {
            Value::List(items) => items.to_vec(),
            value => vec![value],
        };
        let mut sizes = Vec::new();
        for value in values {
            let size = self.as_int("a size in pixels", value, expr.span)?;
            match size.as_usize() {
                Some(size) => sizes.push(size),
                None => {
                    let message = format!("a size of {size} pixels");
                    return Err(self.report(ValueError::Preprocess { message, help: None, span: expr.span }));
                }
            }
        }
        Ok(sizes)
    }

    fn floats(&mut self, expr: &Expr, entry: &PreprocessEntry) -> Eval<Vec<f32>> {
        let values = match self.eval(expr)? {
            Value::List(items) => items.to_vec(),
            value => vec![value],
        };
        let mut floats = Vec::new();
        for value in values {
            match value {
                Value::Float(value) => floats.push(value as f32),
                Value::Int(value) if value.as_known().is_some() => floats.push(value.as_known().unwrap_or(0) as f32),
                _ => return Err(self.wrong_entry(entry)),
            }
        }
        Ok(floats)
    }

    /// The preprocessed photo must fit the single input, as far as its size is declared.
    fn check_preprocess(&mut self) {
        let Some((preprocess, span)) = self.preprocess.take() else { return };
        if let [input] = self.net.inputs.as_slice() {
            let shape = self.shapes.of((*input).into()).clone();
            let made = (preprocess.channels(), preprocess.fixed_size());
            let channels_differ = shape.0.first().and_then(Dim::as_usize).is_some_and(|c| c != made.0);
            let size = shape.chw().and_then(|(_, h, w)| Some((h.as_usize()?, w.as_usize()?)));
            let size_differs = matches!((size, made.1), (Some(size), Some(made)) if size != made);
            if (channels_differ || size_differs) && self.options.shape.is_none() {
                let made = match made.1 {
                    Some((h, w)) => format!("[{}, {h}, {w}]", made.0),
                    None => format!("{} channels", made.0),
                };
                let message = format!("`preprocess` makes {made}, but the input is {}", shape.claim());
                let help = Some("change `resize`, `crop` or `gray`, or the input's sizes".to_owned());
                self.report(ValueError::Preprocess { message, help, span });
            }
        }
        self.net.preprocess = Some(preprocess);
    }
}

fn net_frame(unit: usize) -> Frame {
    Frame { unit, block: None, names: Names::default(), input: None, call: None, first_node: 0 }
}

/// The name, when an expression is one name without dots.
fn symbol_name(expr: &Expr) -> Option<String> {
    word(expr).filter(|text| !text.contains('.')).map(str::to_owned)
}

fn word(expr: &Expr) -> Option<&str> {
    match &expr.kind {
        ExprKind::Path(path) => match path.parts.as_slice() {
            [LabelPart::Text(text)] => Some(text),
            _ => None,
        },
        _ => None,
    }
}

/// Whether a condition speaks of free sizes and, but for numbers and operators, of nothing else.
fn is_about(condition: &str, free: &[String]) -> bool {
    let is_name = |word: &&str| word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let mut names = words(condition).filter(is_name).peekable();
    let operators = ["and", "or", "not", "true", "false"];
    names.peek().is_some() && names.all(|name| operators.contains(&name) || free.iter().any(|symbol| symbol == name))
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
}

/// n of `symbol % n == 0`.
fn divisor_of(condition: &Expr, symbol: &str) -> Option<u64> {
    let ExprKind::Binary(BinaryOp::Eq, left, right) = &condition.kind else { return None };
    let (ExprKind::Binary(BinaryOp::Rem, name, by), ExprKind::Int(0)) = (&left.kind, &right.kind) else { return None };
    let ExprKind::Int(by) = by.kind else { return None };
    (word(name) == Some(symbol)).then(|| u64::try_from(by).ok()).flatten().filter(|&by| by != 0)
}

/// Least common multiple, or `a` where that would be too large to be of use.
fn lcm(a: u64, b: u64) -> u64 {
    let (mut x, mut y) = (a, b);
    while y != 0 {
        (x, y) = (y, x % y);
    }
    (a / x).checked_mul(b).filter(|&multiple| multiple <= u64::from(u32::MAX)).unwrap_or(a)
}
