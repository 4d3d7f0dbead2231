//! Layers, groups and blocks.

use std::sync::Arc;

use super::args::LayerArgs;
use super::error::{FileError, NameError, WiringError, count};
use super::familiar::familiar;
use super::labels::LabelTree;
use super::load::BlockId;
use super::names::Names;
use super::statement::{Branches, Operand};
use super::value::{Callable, Given, Target, Tensor, Value};
use super::{Elab, Eval, Frame, Reported};
use crate::diag::{Diagnostic, Span, codes, nearest};
use crate::ir::{CallSite, Node, ValueId};
use crate::op::{self, Op, ShapeError, Signature, attr::Operands};
use crate::shape::error::{self as misfit, Form, Misfit, Scope};
use crate::syntax::ast::{Arg, Body, Call, Definition, ExprKind};

/// Deepest nesting of block calls and braces together.
pub(super) const MAX_DEPTH: usize = 256;

impl<'a> Elab<'a> {
    /// What a statement calls.
    pub(super) fn callee(&mut self, call: &Call) -> Eval<Arc<Callable>> {
        let name = &call.name.text;
        let bound = match self.find_name(name) {
            Some(Value::Callable(callable)) => return Ok(Arc::clone(callable)),
            Some(Value::Tensor(Tensor::Failed)) => return Err(Reported),
            Some(value) => Some(value.kind()),
            None => None,
        };
        if let Some(target) = self.find_target(name) {
            return Ok(Arc::new(Callable { target, args: Vec::new() }));
        }
        let span = call.name.span;
        if bound.is_none() && self.find_tensor(name).is_some() {
            let path = format!("{}{name}", self.prefix);
            let first = self.paths.get(&path).copied().unwrap_or(span);
            return Err(self.report(NameError::Shared { path: name.clone(), first, span }));
        }
        let mut names: Vec<String> = op::signatures().map(|signature| signature.layer.to_owned()).collect();
        names.push("sequential".to_owned());
        names.extend(self.program.units[self.frame().unit].blocks.keys().cloned());
        names.sort();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let near = familiar(name, &names).or_else(|| nearest(name, names.iter().copied())).map(str::to_owned);
        Err(self.report(NameError::UnknownLayer { name: name.clone(), near, bound_to: bound, span }))
    }

    /// The value of a layer.
    pub(super) fn layer(
        &mut self,
        call: &Call,
        signature: &'static Signature,
        callable: &Callable,
        labels: &[(String, Span)],
    ) -> Eval<Tensor> {
        let list = call.args.as_ref().map_or(&[][..], |args| &args.list);
        let (operands, list): (Vec<&Arg>, Vec<&Arg>) = match signature.operands {
            Operands::Above => (Vec::new(), list.iter().collect()),
            Operands::Group | Operands::Listed(_) => list.iter().partition(|arg| arg.name.is_none()),
        };
        let list: Vec<Arg> = list.into_iter().cloned().collect();
        let given = self.give(callable, signature.layer, &list);
        let operands = match signature.operands {
            Operands::Above => match self.above {
                Some(tensor) => Ok(vec![Operand { tensor, span: call.name.span, form: Form::Above }]),
                None => {
                    let what = format!("`{}`", call.name.text);
                    Err(self.report(WiringError::NothingAbove { what, span: call.name.span }))
                }
            },
            Operands::Group | Operands::Listed(_) => self.listed_operands(call, signature, &operands),
        };
        self.node(call, signature, &given?, operands?, labels)
    }

    fn listed_operands(&mut self, call: &Call, signature: &Signature, args: &[&Arg]) -> Eval<Vec<Operand>> {
        let needs = match signature.operands {
            Operands::Listed(needs) if args.len() != needs => format!("{} by name", count(needs, "value")),
            Operands::Group if args.len() < 2 => "two or more values by name, or branches in braces".to_owned(),
            _ => String::new(),
        };
        if !needs.is_empty() {
            let (layer, given) = (signature.layer.to_owned(), args.len());
            return Err(self.report(WiringError::Operands { layer, needs, given, span: call.span }));
        }
        let operands: Vec<Eval<Operand>> = args
            .iter()
            .map(|arg| {
                let tensor = match &arg.value.kind {
                    ExprKind::Path(path) => self.operand(path)?,
                    ExprKind::Str(label) => match self.find_tensor(label) {
                        Some(tensor) => tensor,
                        None => return Err(self.no_such_tensor(label, arg.span)),
                    },
                    ExprKind::Int(label) if self.find_tensor(&label.to_string()).is_some() => {
                        let title = "a label that is a number stands in quotes here";
                        let quoted = format!("\"{label}\"");
                        let diagnostic = Diagnostic::new(codes::E0208, arg.span, title);
                        return Err(self.report(diagnostic.fix("put it in quotes", arg.span, quoted)));
                    }
                    _ => {
                        let value = self.eval(&arg.value)?;
                        return Err(self.wrong_type("an operand", "a value of the net", &value, arg.span));
                    }
                };
                Ok(Operand { tensor, span: arg.span, form: Form::Listed })
            })
            .collect();
        operands.into_iter().collect()
    }

    /// The value of a group, and the labels in its branches.
    pub(super) fn group(
        &mut self,
        call: &'a Call,
        body: &'a Body,
        signature: &'static Signature,
        callable: &Callable,
        labels: &[(String, Span)],
    ) -> Eval<(Tensor, LabelTree)> {
        if signature.operands != Operands::Group {
            let what = format!("a body behind `{}`", signature.layer);
            let reason = "only add, concat, mul and sequential have one".to_owned();
            return Err(self.report(WiringError::Misplaced { what, reason, fix: None, span: body.span }));
        }
        let list = call.args.as_ref().map_or(&[][..], |args| &args.list);
        if let Some(operand) = list.iter().find(|arg| arg.name.is_none()) {
            let what = "an operand in front of a body".to_owned();
            let reason = "either list operands or write branches".to_owned();
            return Err(self.report(WiringError::Misplaced { what, reason, fix: None, span: operand.span }));
        }
        let given = self.give(callable, signature.layer, list);
        let mut branches = Branches { input: self.above, results: Vec::new(), labels: Vec::new() };
        let above = self.above;
        let (_, tree) = self.scoped(labels.first().map(|(label, _)| label.as_str()), None, |elab| {
            elab.body(body, Some(&mut branches));
            for tree in std::mem::take(&mut branches.labels) {
                elab.merge_labels(tree);
            }
            Ok(Tensor::Failed)
        })?;
        self.above = above;
        let value = match branches.results.as_slice() {
            [] => {
                let group = signature.layer.to_owned();
                Err(self.report(WiringError::EmptyGroup { group, span: call.name.span }))
            }
            [only] => Ok(only.tensor),
            _ => given.and_then(|given| self.node(call, signature, &given, branches.results, labels)),
        };
        Ok((value.unwrap_or(Tensor::Failed), tree))
    }

    /// Appends a node.
    fn node(
        &mut self,
        call: &Call,
        signature: &'static Signature,
        given: &[Given],
        operands: Vec<Operand>,
        labels: &[(String, Span)],
    ) -> Eval<Tensor> {
        let args = self.layer_args(signature, given, call.span)?;
        let mut values = Vec::with_capacity(operands.len());
        for operand in &operands {
            match operand.tensor {
                Tensor::Value(value) => values.push(value),
                Tensor::Failed => return Err(Reported),
            }
        }
        let inputs: Vec<_> = values.iter().map(|&value| self.shapes.of(value).clone()).collect();
        let op = match Op::build(&op::Call { layer: signature.layer, args: &args.args, inputs: &inputs }) {
            Ok(op) => op,
            Err(error) => return Err(self.impossible(signature.layer, &args, error, call.span)),
        };
        let results = match op.infer(&inputs) {
            Ok(results) => results,
            Err(error) => {
                if self.misfits.insert(call.span) {
                    let diagnostic = self.misfit(call, signature, &op, &values, &operands, &args, &error);
                    self.report(diagnostic);
                }
                return Err(Reported);
            }
        };
        self.step(call.span)?;
        let (path, others) = match labels {
            [] => (self.prefix.clone(), Vec::new()),
            [first, others @ ..] => (
                format!("{}{}", self.prefix, first.0),
                others.iter().map(|(label, _)| format!("{}{label}", self.prefix)).collect(),
            ),
        };
        let results_count = results.len();
        let node = Node { op, path, others, labelled: !labels.is_empty(), origin: self.origin(call.span) };
        let id = self.net.append(node, &values);
        self.shapes.insert(id, results);
        if results_count != labels.len().max(1) {
            let (layer, results, labels) = (signature.layer.to_owned(), results_count, labels.len());
            return Err(self.report(WiringError::Labels { layer, results, labels, span: call.span }));
        }
        for (output, (label, _)) in (1u32..).zip(labels.iter().skip(1)) {
            self.define_label(label, Tensor::Value(ValueId { node: id, output }), LabelTree::default());
        }
        Ok(Tensor::Value(id.into()))
    }

    #[expect(clippy::too_many_arguments, reason = "everything that is known of one misfit")]
    fn misfit(
        &self,
        call: &Call,
        signature: &Signature,
        op: &Op,
        values: &[ValueId],
        operands: &[Operand],
        args: &LayerArgs,
        error: &ShapeError,
    ) -> Diagnostic {
        let frame = self.frame();
        let names: Vec<&str> = frame.names.iter().map(|(name, _)| name).collect();
        let input = frame.block.and(frame.input).and_then(|input| match input {
            Tensor::Value(value) => Some(value),
            Tensor::Failed => None,
        });
        let operands: Vec<misfit::Operand> = values
            .iter()
            .zip(operands)
            .map(|(&value, &Operand { span, form, .. })| misfit::Operand { value, span, form })
            .collect();
        let misfit = Misfit {
            net: &self.net,
            shapes: &self.shapes,
            sources: self.sources,
            layer: signature.layer,
            op,
            operands: &operands,
            statement: self.place,
            scope: &Scope { call: frame.call.as_ref(), names: &names, input },
            args: &args.spans,
            span: call.span,
            error,
        };
        misfit.diagnostic()
    }

    /// The value of a block; its labels are left in the innermost scope.
    pub(super) fn block(&mut self, call: &'a Call, id: BlockId, callable: &Callable) -> Eval<Tensor> {
        if let Some(body) = &call.body {
            let what = format!("a body behind block `{}`", call.name.text);
            let reason = "only groups and `sequential` have one".to_owned();
            return Err(self.report(WiringError::Misplaced { what, reason, fix: None, span: body.span }));
        }
        let list = call.args.as_ref().map_or(&[][..], |args| &args.list);
        let given = self.give(callable, &call.name.text, list)?;
        let definition = self.program.block(id);
        if self.frames.iter().any(|frame| frame.block == Some(id)) {
            let via = self.frames.iter().filter_map(|frame| frame.call.as_ref().map(|site| site.span)).collect();
            let block = definition.name.text.clone();
            return Err(self.report(FileError::RecursiveBlock { block, via, span: call.span }));
        }
        if self.frames.len() + self.depth > MAX_DEPTH {
            return Err(self.report(WiringError::TooDeep { span: call.span }));
        }
        self.step(call.span)?;
        let site = Arc::new(CallSite {
            span: call.span,
            block: definition.name.text.clone(),
            args: Vec::new(),
            caller: self.frame().call.clone(),
        });
        self.frames.push(Frame {
            unit: id.unit,
            block: Some(id),
            names: Names::default(),
            input: self.above,
            call: Some(Arc::clone(&site)),
            first_node: self.net.bound(),
        });
        let bound = self.bind_params(definition, &given, call.span);
        let Frame { names, .. } = self.frame();
        let args: Vec<(String, String)> =
            names.iter().map(|(name, value)| (name.to_owned(), self.words_of(value))).collect();
        let site = CallSite { args, span: site.span, block: site.block.clone(), caller: site.caller.clone() };
        self.frame_mut().call = Some(Arc::new(site));
        let result = match bound {
            Ok(()) => {
                self.push_scope(false);
                let allows = self.allows.clone();
                self.allow(&definition.allows);
                self.body(&definition.body, None);
                self.allows = allows;
                let tree = self.pop_scope();
                self.merge_labels(tree);
                self.value_above(&format!("block `{}`", definition.name.text), call.span)
            }
            Err(reported) => Err(reported),
        };
        self.close_budgets();
        self.frames.pop();
        result
    }

    /// A value as it may be written, cut when it is long; of a value of the net the shape.
    fn words_of(&self, value: &Value) -> String {
        match value {
            Value::Callable(callable) => self.call_words(callable),
            Value::Tensor(Tensor::Value(value)) => format!("a value {}", self.shapes.of(*value)),
            value => value.to_string(),
        }
    }

    fn call_words(&self, callable: &Callable) -> String {
        let (name, params) = match callable.target {
            Target::Layer(signature) => (signature.layer, self.param_names(callable.target)),
            Target::Block(id) => (self.program.block(id).name.text.as_str(), self.param_names(callable.target)),
        };
        let words = |given: &Given| {
            let value = given.value.as_ref().map(|value| value.brief(20));
            format!("{} = {}", params[given.param], value.unwrap_or_default())
        };
        match callable.args.iter().map(words).collect::<Vec<_>>().as_slice() {
            [] => name.to_owned(),
            args => format!("{name}({})", args.join(", ")),
        }
    }

    fn bind_params(&mut self, definition: &'a Definition, given: &[Given], span: Span) -> Eval<()> {
        let mut failed = false;
        let mut arguments: Vec<Option<&Given>> = vec![None; definition.params.len()];
        given.iter().for_each(|given| arguments[given.param] = Some(given));
        self.work(definition.params.len(), span)?;
        for (param, argument) in definition.params.iter().zip(arguments) {
            let value = match argument {
                Some(given) => given.value.clone().ok_or(Reported),
                None => match &param.default {
                    Some(default) => self.eval(default),
                    None => {
                        let (callee, name) = (definition.name.text.clone(), param.name.text.clone());
                        let takes = definition.params.iter().map(|param| param.name.text.clone()).collect();
                        let call = self.frame_mut().call.take();
                        let caller = call.as_ref().and_then(|call| call.caller.clone());
                        self.frame_mut().call = caller;
                        let reported = self.report(NameError::MissingArgument { callee, name, takes, span });
                        self.frame_mut().call = call;
                        Err(reported)
                    }
                },
            };
            match value {
                Ok(value) => self.frame_mut().names.push(&param.name.text, value),
                Err(Reported) => failed = true,
            }
        }
        if failed { Err(Reported) } else { Ok(()) }
    }
}
