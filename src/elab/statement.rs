//! Statements: chains, branches of groups, and what splices into them.

use super::call::MAX_DEPTH;
use super::error::{NameError, ValueError, WiringError};
use super::labels::LabelTree;
use super::value::{Target, Tensor, Value};
use super::{Elab, Eval, Reported};
use crate::diag::{Span, codes, nearest};
use crate::dim::Dim;
use crate::shape::error::Form;
use crate::syntax::ast::{
    Body, Call, Claim, For, If, Name, Pattern, Repeat, Source, Statement, StatementKind, ValueStatement,
};
use crate::tensor::Shape;

/// An operand as it is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operand {
    pub(super) tensor: Tensor,
    pub(super) span: Span,
    pub(super) form: Form,
}

/// The branches of a group as they are made.
pub(super) struct Branches {
    /// What each of them starts from.
    pub(super) input: Option<Tensor>,
    /// Their results.
    pub(super) results: Vec<Operand>,
    /// Their labels, which do not see each other.
    pub(super) labels: Vec<LabelTree>,
}

impl<'a> Elab<'a> {
    /// The statements of a body: a chain, or the branches of a group. Names bound in it end with it.
    pub(super) fn body(&mut self, body: &'a Body, mut branches: Option<&mut Branches>) {
        if self.frames.len() + self.depth > MAX_DEPTH {
            self.report(WiringError::TooDeep { span: body.span });
            self.above = Some(Tensor::Failed);
            return;
        }
        self.depth += 1;
        let names = self.frame().names.len();
        for statement in &body.statements {
            self.statement(statement, branches.as_deref_mut());
        }
        self.frame_mut().names.truncate(names);
        self.depth -= 1;
    }

    fn statement(&mut self, statement: &'a Statement, branches: Option<&mut Branches>) {
        if self.enough() || self.text_work(statement.span).is_err() {
            self.above = Some(Tensor::Failed);
            return;
        }
        let allows = self.allows.clone();
        self.check_allows(&statement.allows);
        self.allow(&statement.allows);
        let failed = self.statement_kind(statement, branches).is_err();
        if failed {
            self.above = Some(Tensor::Failed);
        }
        self.allows = allows;
    }

    /// Adds advice that is allowed from here on.
    pub(super) fn allow(&mut self, names: &[Name]) {
        if !names.is_empty() {
            self.allows = self.allows.iter().cloned().chain(names.iter().map(|name| name.text.clone())).collect();
        }
    }

    /// Reports what is allowed and is no advice.
    pub(super) fn check_allows(&mut self, names: &[Name]) {
        let advice = codes::TABLE.iter().map(|row| row.name).filter(|name| !name.is_empty());
        for name in names.iter().filter(|name| advice.clone().all(|advice| advice != name.text)) {
            let near = nearest(&name.text, advice.clone()).map(str::to_owned);
            let note = Some(format!("advice is one of {}", advice.clone().collect::<Vec<_>>().join(", ")));
            self.report(NameError::UnknownName { name: name.text.clone(), near, note, span: name.span });
        }
    }

    fn statement_kind(&mut self, statement: &'a Statement, branches: Option<&mut Branches>) -> Eval<()> {
        let span = statement.span;
        match (&statement.kind, branches) {
            (StatementKind::Let(binding), _) => {
                let value = self.eval(&binding.value).unwrap_or(Value::Tensor(Tensor::Failed));
                self.frame_mut().names.push(&binding.name.text, value);
                Ok(())
            }
            (StatementKind::If(conditional), branches) => self.conditional(conditional, branches),
            (StatementKind::Repeat(repeat), branches) => {
                self.repeat(repeat, branches).inspect_err(|_| self.fail_labels(&repeat.body))
            }
            (StatementKind::For(for_), branches) => {
                self.for_each(for_, branches).inspect_err(|_| self.fail_labels(&for_.body))
            }
            (StatementKind::Value(value), Some(branches)) => {
                self.above = branches.input;
                self.push_scope(true);
                let place = self.place.take();
                let tensor = self.value_statement(value, span).unwrap_or(Tensor::Failed);
                self.place = place;
                let tree = self.pop_scope();
                branches.labels.push(tree);
                let (span, form) = (value_span(value, span), branch_form(value, span, tensor, branches.input));
                branches.results.push(Operand { tensor, span, form });
                self.above = branches.input;
                Ok(())
            }
            (StatementKind::Value(value), None) => {
                let side = matches!(value.source, Source::From { .. });
                let above = self.above;
                let place = self.place.replace(span);
                let result = self.value_statement(value, span);
                self.place = place;
                self.above = if side { above } else { Some(result.unwrap_or(Tensor::Failed)) };
                Ok(())
            }
            (StatementKind::Output(_), Some(_)) => self.misplaced("an `output`", "a group holds branches only", span),
            (StatementKind::Output(output), None) => self.output(output, span),
            (StatementKind::Input(input), branches) => {
                if branches.is_some() || self.frames.len() > 1 || self.depth > 1 {
                    return self.misplaced("an `input`", "inputs stand directly in the net", span);
                }
                self.input(input, span)
            }
            (StatementKind::Preprocess(entries), branches) => {
                if branches.is_some() || self.frames.len() > 1 || self.depth > 1 {
                    return self.misplaced("a `preprocess`", "it stands directly in the net", span);
                }
                self.preprocess(entries, span)
            }
            (StatementKind::Budget(entries), branches) => {
                if branches.is_some() {
                    return self.misplaced("a `budget`", "it stands in a net or a block", span);
                }
                self.budget(entries)
            }
        }
    }

    fn misplaced(&mut self, what: &str, reason: &str, span: Span) -> Eval<()> {
        self.report(WiringError::Misplaced { what: what.to_owned(), reason: reason.to_owned(), fix: None, span });
        Ok(())
    }

    fn conditional(&mut self, conditional: &'a If, mut branches: Option<&mut Branches>) -> Eval<()> {
        for (test, body) in &conditional.arms {
            let holds = match self.eval_bool(test) {
                Ok(holds) => holds,
                Err(Reported) => {
                    if let Some(branches) = branches.as_deref_mut() {
                        let form = Form::Branch { statement: test.span };
                        branches.results.push(Operand { tensor: Tensor::Failed, span: test.span, form });
                    }
                    self.fail_arms(conditional);
                    return Err(Reported);
                }
            };
            if holds {
                self.body(body, branches);
                return Ok(());
            }
        }
        if let Some(body) = &conditional.otherwise {
            self.body(body, branches);
        }
        Ok(())
    }

    fn repeat(&mut self, repeat: &'a Repeat, mut branches: Option<&mut Branches>) -> Eval<()> {
        let span = repeat.count.span;
        let count = self.eval_int("`repeat`", &repeat.count)?;
        if count.is_symbolic() {
            let test = self.sources.text(span).to_owned();
            return Err(self.report(ValueError::Symbolic { test, symbols: count.symbols(), span }));
        }
        let Some(count) = count.as_u64() else {
            let message = format!("`repeat` {count} times");
            return Err(self.report(ValueError::Arithmetic { message, help: None, span }));
        };
        for i in 0..count {
            self.step(span)?;
            let names = self.frame().names.len();
            if let Some(binding) = &repeat.binding {
                self.frame_mut().names.push(&binding.text, Value::Int(Dim::from(i)));
            }
            self.body(&repeat.body, branches.as_deref_mut());
            self.frame_mut().names.truncate(names);
        }
        Ok(())
    }

    fn for_each(&mut self, for_: &'a For, mut branches: Option<&mut Branches>) -> Eval<()> {
        let span = for_.list.span;
        let list = self.eval(&for_.list)?;
        let length = match &list {
            Value::List(items) => items.len() as u64,
            Value::Range(start, end) => match (start.as_known(), end.as_known()) {
                (Some(start), Some(end)) => u64::try_from(end.saturating_sub(start).max(0)).unwrap_or(u64::MAX),
                _ => {
                    let test = self.sources.text(span).to_owned();
                    let symbols = super::error::symbols(start, end);
                    return Err(self.report(ValueError::Symbolic { test, symbols, span }));
                }
            },
            other => {
                let other = other.clone();
                return Err(self.wrong_type("`for`", "a list or a range", &other, span));
            }
        };
        for i in 0..length {
            self.step(span)?;
            let item = match &list {
                Value::List(items) => items[i as usize].clone(),
                Value::Range(start, _) => Value::Int(self.dim(start.add(&Dim::from(i)), span)?),
                _ => return Err(Reported),
            };
            let names = self.frame().names.len();
            if let Some(index) = &for_.index {
                self.frame_mut().names.push(&index.text, Value::Int(Dim::from(i)));
            }
            self.bind_pattern(&for_.pattern, item)?;
            self.body(&for_.body, branches.as_deref_mut());
            self.frame_mut().names.truncate(names);
        }
        Ok(())
    }

    fn bind_pattern(&mut self, pattern: &'a Pattern, item: Value) -> Eval<()> {
        match (pattern, item) {
            (Pattern::Name(name), item) => self.frame_mut().names.push(&name.text, item),
            (Pattern::List(names, _), Value::List(items)) if names.len() == items.len() => {
                for (name, item) in names.iter().zip(items.iter()) {
                    self.frame_mut().names.push(&name.text, item.clone());
                }
            }
            (Pattern::List(..), Value::Tensor(Tensor::Failed)) => return Err(Reported),
            (Pattern::List(names, span), item) => {
                let expected = format!("elements that are lists of {}", names.len());
                let found = match &item {
                    Value::List(items) => format!("a list of {}", items.len()),
                    other => other.kind().to_owned(),
                };
                let what = "this pattern".to_owned();
                return Err(self.report(ValueError::Type { what, expected, found, span: *span }));
            }
        }
        Ok(())
    }

    /// The value of a statement; its labels are defined, its claim is checked.
    fn value_statement(&mut self, statement: &'a ValueStatement, span: Span) -> Eval<Tensor> {
        let mut labels = Vec::with_capacity(1);
        let mut failed = false;
        for label in &statement.labels {
            match self.label_text(&label.parts) {
                Ok(text) => labels.push((text, label.span)),
                Err(Reported) => failed = true,
            }
        }
        let side = matches!(statement.source, Source::From { .. });
        if labels.is_empty()
            && !failed
            && !side
            && let Some(counter) = &mut self.counter
        {
            labels.push((counter.to_string(), value_span(statement, span)));
            *counter += 1;
        }
        for (label, span) in &labels {
            failed |= self.take_path(label, *span).is_err();
        }
        let result = self.source(statement, &labels);
        let (value, tree) = match result {
            Ok((value, tree)) if !failed => (value, tree),
            Ok((_, tree)) => (Tensor::Failed, tree),
            Err(Reported) => (Tensor::Failed, LabelTree::default()),
        };
        if statement.labels.is_empty() && value == Tensor::Failed {
            self.fail_labels_of(statement);
        }
        match labels.first() {
            Some((label, _)) => self.define_label(label, value, tree),
            None => self.merge_labels(tree),
        }
        if value == Tensor::Failed {
            for (label, _) in labels.iter().skip(1) {
                self.define_label(label, Tensor::Failed, LabelTree::default());
            }
        }
        match &statement.claim {
            Some(claim) => self.claim(claim, value),
            None => Ok(value),
        }
    }

    /// The value of a statement without its labels, and the labels of the scope that it opened.
    fn source(&mut self, statement: &'a ValueStatement, labels: &[(String, Span)]) -> Eval<(Tensor, LabelTree)> {
        let label = labels.first().map(|(label, _)| label.as_str());
        match &statement.source {
            Source::Braces(body) => self.scoped(label, None, |elab| {
                elab.body(body, None);
                elab.value_above("these braces", body.span)
            }),
            Source::From { value, body } => {
                let start = self.operand(value).unwrap_or(Tensor::Failed);
                let above = self.above.replace(start);
                let result = self.scoped(label, None, |elab| {
                    elab.body(body, None);
                    elab.above.ok_or(Reported)
                });
                self.above = above;
                result
            }
            Source::Call(call) if call.name.text == "sequential" => {
                if let Some(args) = &call.args {
                    let what = "an argument of `sequential`".to_owned();
                    let reason = "`sequential` takes a body only".to_owned();
                    return Err(self.report(WiringError::Misplaced { what, reason, fix: None, span: args.span }));
                }
                let Some(body) = &call.body else {
                    let (layer, needs) = ("sequential".to_owned(), "a body in braces".to_owned());
                    return Err(self.report(WiringError::Operands { layer, needs, given: 0, span: call.span }));
                };
                self.scoped(label, Some(0), |elab| {
                    elab.body(body, None);
                    elab.value_above("`sequential`", call.span)
                })
            }
            Source::Call(call) => {
                let callable = self.callee(call)?;
                match (callable.target, &call.body) {
                    (Target::Block(id), _) => {
                        let (value, tree) = self.scoped(label, None, |elab| elab.block(call, id, &callable))?;
                        // The labels of a block are seen through the label of its call only.
                        Ok((value, if label.is_some() { tree } else { LabelTree::default() }))
                    }
                    (Target::Layer(signature), Some(body)) => self.group(call, body, signature, &callable, labels),
                    (Target::Layer(signature), None) => {
                        self.layer(call, signature, &callable, labels).map(|value| (value, LabelTree::default()))
                    }
                }
            }
        }
    }

    /// The value above; where there is none, a mistake, unless another one explains that.
    pub(super) fn value_above(&mut self, what: &str, span: Span) -> Eval<Tensor> {
        match self.above {
            Some(value) => Ok(value),
            None if self.sink.has_errors() => Err(Reported),
            None => Err(self.report(WiringError::NothingAbove { what: what.to_owned(), span })),
        }
    }

    /// Runs `make` in the scope of a label, if there is one.
    pub(super) fn scoped(
        &mut self,
        label: Option<&str>,
        counter: Option<u64>,
        make: impl FnOnce(&mut Self) -> Eval<Tensor>,
    ) -> Eval<(Tensor, LabelTree)> {
        let outer = self.prefix.len();
        let outer_counter = std::mem::replace(&mut self.counter, counter);
        if let Some(label) = label {
            self.prefix.push_str(label);
            self.prefix.push('.');
        }
        self.push_scope(true);
        let value = make(self);
        let tree = self.pop_scope();
        self.prefix.truncate(outer);
        self.counter = outer_counter;
        Ok((value.unwrap_or(Tensor::Failed), tree))
    }
}

/// How a branch is written, for edits that put something behind it.
fn branch_form(statement: &ValueStatement, span: Span, made: Tensor, input: Option<Tensor>) -> Form {
    let (body, numbered) = match &statement.source {
        Source::Braces(body) => (body, false),
        Source::Call(Call { name, body: Some(body), .. }) if name.text == "sequential" => (body, true),
        Source::Call(Call { name, args: None, body: None, .. }) if name.text == "identity" => {
            return Form::Identity { labelled: !statement.labels.is_empty() };
        }
        Source::Call(_) | Source::From { .. } => return Form::Branch { statement: span },
    };
    let test = match body.statements.as_slice() {
        [Statement { kind: StatementKind::If(If { arms, otherwise: None }), .. }] if Some(made) == input => {
            match arms.as_slice() {
                [(test, _)] => Some(test.span),
                _ => None,
            }
        }
        _ => None,
    };
    Form::Braces { body: body.span, numbered, empty: body.statements.is_empty(), test }
}

/// Where a value statement calls: without its labels and its body.
fn value_span(statement: &ValueStatement, span: Span) -> Span {
    match &statement.source {
        Source::Call(call) => call.span,
        Source::Braces(_) | Source::From { .. } => span,
    }
}

impl Elab<'_> {
    fn claim(&mut self, claim: &Claim, value: Tensor) -> Eval<Tensor> {
        let mut sizes = Vec::with_capacity(claim.shape.len());
        for size in &claim.shape {
            sizes.push(self.eval_int("a claim", size)?);
        }
        let Tensor::Value(id) = value else { return Ok(value) };
        let claimed = Shape(sizes);
        let actual = self.shapes.of(id).clone();
        if claimed != actual && self.options.shape.is_none() {
            let inputs = self.shapes.operands(&self.net, id.node);
            let node = self.net.node(id.node);
            let arithmetic = node.op.arithmetic(&inputs, self.shapes.results(id.node));
            let maker = (node.origin.span.file == claim.span.file).then_some(node.origin.span);
            let (claimed, actual, span) = (claimed.claim(), actual.claim(), claim.span);
            self.report(ValueError::Claim { claimed, actual, arithmetic, maker, span });
        }
        Ok(value)
    }
}
