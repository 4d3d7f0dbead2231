//! Expressions.

use std::cmp::Ordering;
use std::sync::Arc;

use super::error::{NameError, ValueError, symbols};
use super::load::is_layer_name;
use super::value::{Callable, Target, Tensor, Value};
use super::{Elab, Eval, Reported};
use crate::diag::{Span, nearest};
use crate::dim::{Dim, DimError};
use crate::op;
use crate::syntax::ast::{Arg, Args, BinaryOp, Expr, ExprKind, Name, Path, UnaryOp};

/// The functions of expressions.
pub(super) const FUNCTIONS: [&str; 6] = ["min", "max", "floor", "ceil", "make_divisible", "len"];

impl Elab<'_> {
    /// The value of an expression.
    pub(super) fn eval(&mut self, expr: &Expr) -> Eval<Value> {
        let span = expr.span;
        self.work(1, span)?;
        match &expr.kind {
            ExprKind::Int(value) => Ok(Value::Int(Dim::from(*value))),
            ExprKind::Float(value) => Ok(Value::Float(*value)),
            ExprKind::Bool(value) => Ok(Value::Bool(*value)),
            ExprKind::Str(text) => {
                self.text_work(span)?;
                Ok(Value::Str(Arc::from(text.as_str())))
            }
            ExprKind::List(items) => {
                let items: Vec<Value> = items.iter().map(|item| self.eval(item)).collect::<Eval<_>>()?;
                Ok(Value::List(items.into()))
            }
            ExprKind::Path(path) => self.eval_path(path),
            ExprKind::Call(name, args) => self.eval_call(name, args, span),
            ExprKind::Unary(UnaryOp::Not, operand) => Ok(Value::Bool(!self.eval_bool(operand)?)),
            ExprKind::Unary(UnaryOp::Neg, operand) => match self.eval(operand)? {
                Value::Float(value) => Ok(Value::Float(-value)),
                value => {
                    let value = self.as_int("`-`", value, operand.span)?;
                    self.dim(Dim::ZERO.sub(&value), span).map(Value::Int)
                }
            },
            ExprKind::Binary(op, left, right) => self.eval_binary(*op, left, right, span),
            ExprKind::If(test, then, otherwise) => {
                if self.eval_bool(test)? {
                    self.eval(then)
                } else {
                    self.eval(otherwise)
                }
            }
            ExprKind::Index(list, index) => self.eval_index(list, index),
            ExprKind::Range(start, end) => {
                let (start_span, end_span) = (start.span, end.span);
                let (start, end) = (self.eval(start)?, self.eval(end)?);
                let start = self.as_int("`..`", start, start_span)?;
                Ok(Value::Range(start, self.as_int("`..`", end, end_span)?))
            }
            ExprKind::Paren(inner) => self.eval(inner),
        }
    }

    /// A boolean.
    pub(super) fn eval_bool(&mut self, expr: &Expr) -> Eval<bool> {
        match self.eval(expr)? {
            Value::Bool(value) => Ok(value),
            value => Err(self.wrong_type("a test", "true or false", &value, expr.span)),
        }
    }

    /// An integer, possibly symbolic.
    pub(super) fn eval_int(&mut self, what: &str, expr: &Expr) -> Eval<Dim> {
        let value = self.eval(expr)?;
        self.as_int(what, value, expr.span)
    }

    /// A compile-time name of the innermost frame or of its file.
    pub(super) fn find_name(&self, text: &str) -> Option<&Value> {
        let frame = self.frame();
        frame.names.get(text).or_else(|| self.unit_names[frame.unit].get(text))
    }

    fn eval_path(&mut self, path: &Path) -> Eval<Value> {
        self.text_work(path.span)?;
        let text = self.label_text(&path.parts)?;
        if let Some(value) = self.find_name(&text) {
            return Ok(value.clone());
        }
        if let Some(size) = self.find_size(&text, path.span) {
            return size.map(Value::Int);
        }
        if let Some(target) = self.find_target(&text) {
            return Ok(Value::Callable(Arc::new(Callable { target, args: Vec::new() })));
        }
        if let Some(tensor) = self.find_tensor(&text) {
            return Ok(Value::Tensor(tensor));
        }
        Err(self.unknown_name(&text, path.span))
    }

    fn unknown_name(&mut self, text: &str, span: Span) -> Reported {
        if let Some((base, size)) = text.rsplit_once('.')
            && self.find_tensor(base).is_some()
        {
            let axis = ["c", "h", "w"].into_iter().find(|axis| size.starts_with(axis));
            let near = axis.map(|axis| format!("{base}.{axis}"));
            let note = Some(format!("a value has the sizes {base}.c, {base}.h and {base}.w"));
            return self.report(NameError::UnknownName { name: text.to_owned(), near, note, span });
        }
        let mut names: Vec<String> = self.frame().names.iter().map(|(name, _)| name.to_owned()).collect();
        names.extend(self.unit_names[self.frame().unit].iter().map(|(name, _)| name.to_owned()));
        names.extend(self.program.units[self.frame().unit].blocks.keys().cloned());
        names.extend(self.visible_labels());
        names.extend(op::signatures().map(|signature| signature.layer.to_owned()));
        names.sort();
        let near = nearest(text, names.iter().map(String::as_str)).map(str::to_owned);
        let note = (FUNCTIONS.contains(&text)).then(|| format!("`{text}` is a function: {text}(…)"));
        self.report(NameError::UnknownName { name: text.to_owned(), near, note, span })
    }

    /// A block that can be seen here, or a layer.
    pub(super) fn find_target(&self, name: &str) -> Option<Target> {
        if let Some(&block) = self.program.units[self.frame().unit].blocks.get(name) {
            return Some(Target::Block(block));
        }
        op::signatures().find(|signature| signature.layer == name).map(Target::Layer)
    }

    fn eval_index(&mut self, list: &Expr, index: &Expr) -> Eval<Value> {
        let value = self.eval(list)?;
        let at = self.eval_int("an index", index)?;
        let Value::List(items) = &value else {
            return Err(self.wrong_type("an index", "a list in front of it", &value, list.span));
        };
        match at.as_usize().and_then(|at| items.get(at)) {
            Some(item) => Ok(item.clone()),
            None => {
                let message =
                    format!("index {at} is outside a list of {}", super::error::count(items.len(), "element"));
                Err(self.report(ValueError::Arithmetic { message, help: None, span: index.span }))
            }
        }
    }

    fn eval_call(&mut self, name: &Name, args: &Args, span: Span) -> Eval<Value> {
        if FUNCTIONS.contains(&name.text.as_str()) {
            return self.eval_function(name, args, span);
        }
        let callable = match self.find_name(&name.text) {
            Some(Value::Callable(callable)) => Some(Arc::clone(callable)),
            Some(Value::Tensor(Tensor::Failed)) => return Err(Reported),
            Some(_) => None,
            None => self.find_target(&name.text).map(|target| Arc::new(Callable { target, args: Vec::new() })),
        };
        let Some(callable) = callable else {
            let mut names: Vec<&str> = FUNCTIONS.to_vec();
            names.extend(op::signatures().map(|signature| signature.layer));
            names.extend(self.program.units[self.frame().unit].blocks.keys().map(String::as_str));
            names.sort_unstable();
            let near = nearest(&name.text, names).map(str::to_owned);
            let note = match near {
                _ if is_layer_name(&name.text) => Some(format!("`{}` is not a value", name.text)),
                None => Some(format!("neither a block nor a layer, nor one of {}", FUNCTIONS.join(", "))),
                Some(_) => None,
            };
            return Err(self.report(NameError::UnknownName { name: name.text.clone(), near, note, span: name.span }));
        };
        let args = self.give(&callable, &name.text, &args.list)?;
        Ok(Value::Callable(Arc::new(Callable { target: callable.target, args })))
    }

    fn eval_function(&mut self, name: &Name, args: &Args, span: Span) -> Eval<Value> {
        if let Some(Arg { name: Some(given), .. }) = args.list.iter().find(|arg| arg.name.is_some()) {
            let (callee, argument) = (name.text.clone(), given.text.clone());
            let takes = vec!["values".to_owned()];
            let error = NameError::UnknownArgument { callee, name: argument, near: None, takes, span: given.span };
            return Err(self.report(error));
        }
        let mut values: Vec<Value> = args.list.iter().map(|arg| self.eval(&arg.value)).collect::<Eval<_>>()?;
        let what = format!("`{}`", name.text);
        match (name.text.as_str(), values.as_mut_slice()) {
            ("len", [Value::List(items)]) => Ok(Value::Int(Dim::from(items.len()))),
            ("len", [Value::Range(start, end)]) => {
                let length = end.sub(start).and_then(|length| Dim::max(&length, &Dim::ZERO));
                self.dim(length, span).map(Value::Int)
            }
            ("len", [other]) => {
                let other = other.clone();
                Err(self.wrong_type(&what, "a list", &other, args.list[0].span))
            }
            ("floor" | "ceil", [Value::Int(value)]) => Ok(Value::Int(value.clone())),
            ("floor", [Value::Float(value)]) => self.float_to_int(value.floor(), span),
            ("ceil", [Value::Float(value)]) => self.float_to_int(value.ceil(), span),
            ("make_divisible", [value, divisor]) => {
                let (value, divisor) = (value.clone(), divisor.clone());
                self.make_divisible(&value, &divisor, args, span)
            }
            ("min" | "max", [_, ..]) => self.extreme(&what, name.text == "max", &values, args, span),
            ("floor" | "ceil", [other]) => {
                let other = other.clone();
                Err(self.wrong_type(&what, "a number", &other, args.list[0].span))
            }
            (function, _) => {
                let takes = match function {
                    "min" | "max" => "min(a, b, …)",
                    "make_divisible" => "make_divisible(value, divisor)",
                    "len" => "len(list)",
                    _ => "floor(value)",
                };
                let message = format!("{what} is called with {}", super::error::count(values.len(), "argument"));
                Err(self.report(ValueError::Arithmetic { message, help: Some(format!("write {takes}")), span }))
            }
        }
    }

    fn extreme(&mut self, what: &str, largest: bool, values: &[Value], args: &Args, span: Span) -> Eval<Value> {
        let list = match values {
            [Value::List(items)] => Arc::clone(items),
            _ => values.to_vec().into(),
        };
        self.work(list.len(), span)?;
        let mut best: Option<Value> = None;
        for value in list.iter() {
            let next = match (&best, value) {
                (_, Value::Int(_) | Value::Float(_)) if best.is_none() => value.clone(),
                (Some(Value::Int(a)), Value::Int(b)) => {
                    let chosen = if largest { Dim::max(a, b) } else { Dim::min(a, b) };
                    Value::Int(self.dim(chosen, span)?)
                }
                (Some(a), Value::Int(_) | Value::Float(_)) => {
                    let a = self.as_float(what, a, span)?;
                    let b = self.as_float(what, value, span)?;
                    Value::Float(if largest { a.max(b) } else { a.min(b) })
                }
                _ => return Err(self.wrong_type(what, "numbers", value, args.span)),
            };
            best = Some(next);
        }
        best.ok_or_else(|| {
            let message = format!("{what} of an empty list");
            self.report(ValueError::Arithmetic { message, help: None, span })
        })
    }

    /// The rule of the MobileNet family: the nearest multiple, not below the divisor and not below 90 % of the value.
    fn make_divisible(&mut self, value: &Value, divisor: &Value, args: &Args, span: Span) -> Eval<Value> {
        let number = self.as_float("`make_divisible`", value, args.list[0].span)?;
        let divisor = self.as_int("`make_divisible`", divisor.clone(), args.list[1].span)?;
        let Some(by) = divisor.as_u64().filter(|&by| 0 < by && by <= u64::from(u32::MAX)) else {
            let message = format!("`make_divisible` by {divisor}");
            return Err(self.report(ValueError::Arithmetic { message, help: None, span }));
        };
        let by = by as f64;
        let nearest = (((number + by / 2.0) / by).floor() * by).max(by);
        self.float_to_int(if nearest < 0.9 * number { nearest + by } else { nearest }, span)
    }

    fn float_to_int(&mut self, value: f64, span: Span) -> Eval<Value> {
        if value.is_finite() && value.abs() < 9.0e15 {
            return Ok(Value::Int(Dim::from(value as i64)));
        }
        let message = format!("{value} is no integer that sizes are made of");
        Err(self.report(ValueError::Arithmetic { message, help: None, span }))
    }

    fn eval_binary(&mut self, op: BinaryOp, left: &Expr, right: &Expr, span: Span) -> Eval<Value> {
        match op {
            BinaryOp::Or => return Ok(Value::Bool(self.eval_bool(left)? || self.eval_bool(right)?)),
            BinaryOp::And => return Ok(Value::Bool(self.eval_bool(left)? && self.eval_bool(right)?)),
            BinaryOp::Eq | BinaryOp::Ne | BinaryOp::Lt | BinaryOp::Le | BinaryOp::Gt | BinaryOp::Ge => {
                let (a, b) = (self.eval(left)?, self.eval(right)?);
                return self.compare(op, &a, &b, [left.span, right.span], span).map(Value::Bool);
            }
            BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::Div | BinaryOp::FloorDiv | BinaryOp::Rem => {}
        }
        let (a, b) = (self.eval(left)?, self.eval(right)?);
        let what = format!("`{}`", op_text(op));
        if let (Value::Int(a), Value::Int(b)) = (&a, &b) {
            return self.int_arithmetic(op, a, b, span).map(Value::Int);
        }
        let x = self.as_float(&what, &a, left.span)?;
        let y = self.as_float(&what, &b, right.span)?;
        let value = match op {
            BinaryOp::Add => x + y,
            BinaryOp::Sub => x - y,
            BinaryOp::Mul => x * y,
            BinaryOp::FloorDiv => (x / y).floor(),
            BinaryOp::Rem => x - (x / y).floor() * y,
            _ => x / y,
        };
        if value.is_finite() {
            return Ok(Value::Float(value));
        }
        let message = format!("{x} {} {y} has no finite value", op_text(op));
        Err(self.report(ValueError::Arithmetic { message, help: None, span }))
    }

    fn int_arithmetic(&mut self, op: BinaryOp, a: &Dim, b: &Dim, span: Span) -> Eval<Dim> {
        let result = match op {
            BinaryOp::Add => a.add(b),
            BinaryOp::Sub => a.sub(b),
            BinaryOp::Mul => a.mul(b),
            BinaryOp::Div => exact_div(a, b),
            BinaryOp::FloorDiv => a.floor_div_dim(b),
            _ => a.floor_div_dim(b).and_then(|quotient| quotient.mul(b)).and_then(|multiple| a.sub(&multiple)),
        };
        match result {
            Err(DimError::NotDivisible { .. }) => {
                let message = format!("{a} / {b} is not an integer");
                let help = Some("`/` is exact; write `//` to round down".to_owned());
                Err(self.report(ValueError::Arithmetic { message, help, span }))
            }
            result => self.dim(result, span),
        }
    }

    fn compare(&mut self, op: BinaryOp, a: &Value, b: &Value, spans: [Span; 2], span: Span) -> Eval<bool> {
        let order = match (a, b) {
            (Value::Int(a), Value::Int(b)) => match a.compare(b) {
                Some(order) => Some(order),
                None => {
                    let test = self.sources.text(span).to_owned();
                    return Err(self.report(ValueError::Symbolic { test, symbols: symbols(a, b), span }));
                }
            },
            (Value::Int(_) | Value::Float(_), Value::Int(_) | Value::Float(_)) => {
                let x = self.as_float("a comparison", a, spans[0])?;
                let y = self.as_float("a comparison", b, spans[1])?;
                x.partial_cmp(&y)
            }
            (Value::Bool(a), Value::Bool(b)) if matches!(op, BinaryOp::Eq | BinaryOp::Ne) => Some(a.cmp(b)),
            (Value::Str(a) | Value::Word(a), Value::Str(b) | Value::Word(b))
                if matches!(op, BinaryOp::Eq | BinaryOp::Ne) =>
            {
                Some(a.cmp(b))
            }
            (Value::Tensor(Tensor::Failed), _) => return Err(Reported),
            _ => {
                let expected =
                    format!("two numbers, or for == and != two strings or booleans, and on the left {}", a.kind());
                return Err(self.wrong_type("a comparison", &expected, b, spans[1]));
            }
        };
        Ok(match (op, order) {
            (BinaryOp::Eq, order) => order == Some(Ordering::Equal),
            (BinaryOp::Ne, order) => order != Some(Ordering::Equal),
            (BinaryOp::Lt, order) => order == Some(Ordering::Less),
            (BinaryOp::Le, order) => matches!(order, Some(Ordering::Less | Ordering::Equal)),
            (BinaryOp::Gt, order) => order == Some(Ordering::Greater),
            (_, order) => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
        })
    }

    /// An integer, or a mistake.
    pub(super) fn as_int(&mut self, what: &str, value: Value, span: Span) -> Eval<Dim> {
        match value {
            Value::Int(value) => Ok(value),
            value => Err(self.wrong_type(what, "an integer", &value, span)),
        }
    }

    fn as_float(&mut self, what: &str, value: &Value, span: Span) -> Eval<f64> {
        match value {
            Value::Float(value) => Ok(*value),
            Value::Int(value) => match value.as_known() {
                Some(known) => Ok(known as f64),
                None => {
                    let test = self.sources.text(span).to_owned();
                    Err(self.report(ValueError::Symbolic { test, symbols: value.symbols(), span }))
                }
            },
            value => Err(self.wrong_type(what, "a number", value, span)),
        }
    }

    /// Reports a value of the wrong type, unless its own mistake has been reported.
    pub(super) fn wrong_type(&mut self, what: &str, expected: &str, value: &Value, span: Span) -> Reported {
        if matches!(value, Value::Tensor(Tensor::Failed)) {
            return Reported;
        }
        let (what, expected, found) = (what.to_owned(), expected.to_owned(), value.kind().to_owned());
        self.report(ValueError::Type { what, expected, found, span })
    }

    /// The result of arithmetic on sizes, or a mistake.
    pub(super) fn dim(&mut self, result: Result<Dim, DimError>, span: Span) -> Eval<Dim> {
        result.map_err(|error| {
            let message = error.to_string();
            self.report(ValueError::Arithmetic { message, help: None, span })
        })
    }
}

fn exact_div(a: &Dim, b: &Dim) -> Result<Dim, DimError> {
    match b.as_u64() {
        Some(by) => a.exact_div(by),
        None => a.exact_div_dim(b),
    }
}

fn op_text(op: BinaryOp) -> &'static str {
    match op {
        BinaryOp::Or => "or",
        BinaryOp::And => "and",
        BinaryOp::Eq => "==",
        BinaryOp::Ne => "!=",
        BinaryOp::Lt => "<",
        BinaryOp::Le => "<=",
        BinaryOp::Gt => ">",
        BinaryOp::Ge => ">=",
        BinaryOp::Add => "+",
        BinaryOp::Sub => "-",
        BinaryOp::Mul => "*",
        BinaryOp::Div => "/",
        BinaryOp::FloorDiv => "//",
        BinaryOp::Rem => "%",
    }
}
