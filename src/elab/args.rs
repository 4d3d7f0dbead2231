//! Arguments: matched with the parameters of a layer or a block, and evaluated as each parameter wants.

use std::collections::HashMap;
use std::sync::Arc;

use super::error::{NameError, ValueError};
use super::value::{Callable, Given, Target, Tensor, Value};
use super::{Elab, Eval};
use crate::diag::{Span, nearest};
use crate::op::{Signature, Value as Plain, attr::ParamKind};
use crate::syntax::ast::{Arg, Expr, ExprKind, LabelPart, Name};

/// The arguments of a layer as its operator takes them, each with its place.
pub(super) struct LayerArgs {
    pub(super) args: Vec<(&'static str, Plain)>,
    pub(super) spans: Vec<(&'static str, Span)>,
}

impl<'a> Elab<'a> {
    /// The arguments given so far together with those of this call. A name given again replaces the value that a
    /// partial call gave.
    pub(super) fn give(&mut self, callable: &Callable, callee: &str, list: &[Arg]) -> Eval<Vec<Given>> {
        let names = self.param_names(callable.target);
        let by_name: HashMap<&str, usize> = names.iter().enumerate().rev().map(|(at, &name)| (name, at)).collect();
        let mut given = callable.args.clone();
        let before = given.len();
        // Where in `given` each parameter has its value.
        let mut places: Vec<Option<usize>> = vec![None; names.len()];
        given.iter().enumerate().for_each(|(at, given)| places[given.param] = Some(at));
        let mut free = 0;
        let mut failed = false;
        let mut named = false;
        for arg in list {
            let param = match &arg.name {
                Some(name) => {
                    named = true;
                    match by_name.get(name.text.as_str()) {
                        Some(&param) => param,
                        None => {
                            self.unknown_argument(callable.target, callee, name, &names);
                            failed = true;
                            continue;
                        }
                    }
                }
                None if named => {
                    self.report(NameError::PositionalAfterNamed { span: arg.span });
                    failed = true;
                    continue;
                }
                None => {
                    free += places[free..].iter().take_while(|place| place.is_some()).count();
                    if free == names.len() {
                        let (callee, takes) = (callee.to_owned(), self.takes(callable.target));
                        self.report(NameError::TooManyArguments { callee, takes, span: arg.span });
                        failed = true;
                        continue;
                    }
                    free
                }
            };
            let place = places[param];
            if let Some(first) = place.filter(|&at| before <= at).and_then(|at| given.get(at)).map(|other| other.span) {
                self.report(NameError::RepeatedArgument { name: names[param].to_owned(), first, span: arg.span });
                failed = true;
                continue;
            }
            let value = self.eval_arg(callable.target, param, &arg.value).ok();
            let next = Given { param, value, span: arg.value.span };
            match place.and_then(|at| given.get_mut(at)) {
                Some(other) => *other = next,
                None => {
                    places[param] = Some(given.len());
                    given.push(next);
                }
            }
        }
        if failed { Err(super::Reported) } else { Ok(given) }
    }

    fn unknown_argument(&mut self, target: Target, callee: &str, name: &Name, names: &[&str]) {
        let near = nearest(&name.text, names.iter().copied()).map(str::to_owned);
        let (callee, takes) = (callee.to_owned(), self.takes(target));
        let error = NameError::UnknownArgument { callee, name: name.text.clone(), near, takes, span: name.span };
        self.report(error);
    }

    fn eval_arg(&mut self, target: Target, param: usize, expr: &Expr) -> Eval<Value> {
        let Target::Layer(signature) = target else { return self.eval(expr) };
        let param = &signature.params[param];
        let path = match &expr.kind {
            ExprKind::Path(path) => path,
            ExprKind::Str(label) if param.kind == ParamKind::SizeOf => {
                let tensor = self.find_tensor(label);
                return tensor.map(Value::Tensor).ok_or_else(|| self.no_such_tensor(label, expr.span));
            }
            _ => return self.eval(expr),
        };
        match param.kind {
            ParamKind::Plain => {}
            ParamKind::Words(words) => {
                if let [LabelPart::Text(text)] = path.parts.as_slice() {
                    if words.contains(&text.as_str()) {
                        return Ok(Value::Word(Arc::from(text.as_str())));
                    }
                    if self.find_name(text).is_none() && !text.contains('.') {
                        let near = nearest(text, words.iter().copied()).map(str::to_owned);
                        let note = Some(format!("`{}` takes {}", param.name, words.join(", ")));
                        return Err(self.report(NameError::UnknownName {
                            name: text.clone(),
                            near,
                            note,
                            span: expr.span,
                        }));
                    }
                }
            }
            ParamKind::SizeOf => {
                let text = self.label_text(&path.parts)?;
                if let Some(tensor) = self.find_tensor(&text) {
                    return Ok(Value::Tensor(tensor));
                }
            }
        }
        self.eval(expr)
    }

    pub(super) fn param_names(&self, target: Target) -> Vec<&'a str> {
        let program = self.program;
        match target {
            Target::Layer(signature) => signature.params.iter().map(|param| param.name).collect(),
            Target::Block(id) => program.block(id).params.iter().map(|param| param.name.text.as_str()).collect(),
        }
    }

    /// The parameters with their defaults, as a call is written.
    pub(super) fn takes(&self, target: Target) -> Vec<String> {
        match target {
            Target::Layer(signature) => signature.params.iter().map(takes_param).collect(),
            Target::Block(id) => {
                let params = &self.program.block(id).params;
                params
                    .iter()
                    .map(|param| match &param.default {
                        Some(default) => format!("{} = {}", param.name.text, self.sources.text(default.span)),
                        None => param.name.text.clone(),
                    })
                    .collect()
            }
        }
    }

    /// What an operator is built from. Missing arguments are reported.
    pub(super) fn layer_args(&mut self, signature: &'static Signature, given: &[Given], span: Span) -> Eval<LayerArgs> {
        let mut result = LayerArgs { args: Vec::new(), spans: Vec::new() };
        let mut failed = false;
        for Given { param, value, span } in given {
            let param = &signature.params[*param];
            let Some(value) = value else {
                failed = true;
                continue;
            };
            self.element_work(value, *span)?;
            let plain = match value {
                Value::Tensor(Tensor::Failed) => {
                    failed = true;
                    continue;
                }
                Value::Tensor(Tensor::Value(value)) if param.kind == ParamKind::SizeOf => {
                    Some(Plain::Shape(self.shapes.of(*value).clone()))
                }
                value => value.plain(),
            };
            match plain {
                Some(plain) => {
                    result.args.push((param.name, plain));
                    result.spans.push((param.name, *span));
                }
                None => {
                    let what = format!("`{}` of `{}`", param.name, signature.layer);
                    self.wrong_type(&what, "a number, a list or a word", value, *span);
                    failed = true;
                }
            }
        }
        for (at, param) in signature.params.iter().enumerate() {
            if param.default.is_empty() && given.iter().all(|given| given.param != at) {
                let (callee, name) = (signature.layer.to_owned(), param.name.to_owned());
                let takes = self.takes(Target::Layer(signature));
                self.report(NameError::MissingArgument { callee, name, takes, span });
                failed = true;
            }
        }
        if failed { Err(super::Reported) } else { Ok(result) }
    }

    /// Reports an impossible value of an argument.
    pub(super) fn impossible(
        &mut self,
        layer: &str,
        args: &LayerArgs,
        error: crate::op::ArgError,
        span: Span,
    ) -> super::Reported {
        let place = error.param.and_then(|param| args.spans.iter().find(|(name, _)| *name == param));
        let span = place.map_or(span, |&(_, span)| span);
        self.report(ValueError::Attribute {
            layer: layer.to_owned(),
            param: error.param.unwrap_or(layer).to_owned(),
            message: error.message,
            help: error.help,
            span,
        })
    }
}

fn takes_param(param: &crate::op::attr::Param) -> String {
    match param.default {
        "" | "-" => param.name.to_owned(),
        default => format!("{} = {default}", param.name),
    }
}
