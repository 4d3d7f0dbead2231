//! Expressions, labels and bracketed lists as text that can be laid out.

use super::Formatter;
use super::doc::{Doc, Group, Item};
use crate::diag::Span;
use crate::syntax::ast::{Arg, Args, Expr, ExprKind, LabelName, LabelPart, Name, Param, Path, UnaryOp};

impl Formatter<'_> {
    pub(super) fn expr(&mut self, expr: &Expr) -> Doc {
        match &expr.kind {
            ExprKind::Int(_) | ExprKind::Float(_) | ExprKind::Str(_) => Doc::text(self.source(expr.span)),
            ExprKind::Bool(value) => Doc::text(value.to_string()),
            ExprKind::List(items) => self.list(items, expr.span),
            ExprKind::Path(path) => self.path(path),
            ExprKind::Call(name, args) => {
                let args = self.args(args);
                Doc::seq(vec![Doc::text(&*name.text), args])
            }
            ExprKind::Unary(op, operand) => {
                let sign = match op {
                    UnaryOp::Neg => "-",
                    UnaryOp::Not => "not ",
                };
                Doc::seq(vec![Doc::text(sign), self.expr(operand)])
            }
            ExprKind::Binary(..) => self.chain(expr),
            ExprKind::If(..) => self.conditional(expr),
            ExprKind::Index(list, index) => {
                let list = self.expr(list);
                Doc::seq(vec![list, Doc::text("["), self.expr(index), Doc::text("]")])
            }
            ExprKind::Range(a, b) => {
                let a = self.expr(a);
                Doc::seq(vec![a, Doc::text(".."), self.expr(b)])
            }
            ExprKind::Paren(inner) => Doc::seq(vec![Doc::text("("), self.expr(inner), Doc::text(")")]),
        }
    }

    /// `a + b + c`, flat, however deep it nests to the left.
    fn chain(&mut self, expr: &Expr) -> Doc {
        let mut first = expr;
        let mut rest = Vec::new();
        while let ExprKind::Binary(op, left, right) = &first.kind {
            rest.push((*op, right));
            first = left;
        }
        let mut docs = vec![self.expr(first)];
        for (op, right) in rest.into_iter().rev() {
            docs.push(Doc::text(format!(" {} ", op.sign())));
            docs.push(self.expr(right));
        }
        Doc::seq(docs)
    }

    fn conditional(&mut self, expr: &Expr) -> Doc {
        let mut docs = Vec::new();
        let mut rest = expr;
        while let ExprKind::If(test, value, otherwise) = &rest.kind {
            docs.push(Doc::text("if "));
            docs.push(self.expr(test));
            docs.push(Doc::text(" then "));
            docs.push(self.expr(value));
            docs.push(Doc::text(" else "));
            rest = otherwise;
        }
        docs.push(self.expr(rest));
        Doc::seq(docs)
    }

    pub(super) fn list(&mut self, items: &[Expr], span: Span) -> Doc {
        let is_number = |expr: &Expr| match &expr.kind {
            ExprKind::Int(_) | ExprKind::Float(_) => true,
            ExprKind::Unary(UnaryOp::Neg, operand) => matches!(operand.kind, ExprKind::Int(_) | ExprKind::Float(_)),
            _ => false,
        };
        let is_filled = items.len() > 4 && items.iter().all(is_number);
        self.group('[', ']', span, items, is_filled, |item| item.span, |this, item| this.expr(item))
    }

    pub(super) fn args(&mut self, args: &Args) -> Doc {
        let arg = |this: &mut Self, arg: &Arg| {
            let value = this.expr(&arg.value);
            match &arg.name {
                Some(name) => Doc::seq(vec![Doc::text(format!("{} = ", name.text)), value]),
                None => value,
            }
        };
        self.group('(', ')', args.span, &args.list, false, |arg| arg.span, arg)
    }

    /// Parameters in the parentheses behind `name`.
    pub(super) fn params(&mut self, params: &[Param], name: Span) -> Doc {
        let place = |param: &Param| {
            let name = param.name.span;
            param.default.as_ref().map_or(name, |default| name.to(default.span))
        };
        let param = |this: &mut Self, param: &Param| match &param.default {
            Some(default) => {
                let default = this.expr(default);
                Doc::seq(vec![Doc::text(format!("{} = ", param.name.text)), default])
            }
            None => Doc::text(&*param.name.text),
        };
        let Some(last) = params.last() else { return Doc::text("") };
        let span = self.up_to(name, place(last), ')');
        self.group('(', ')', span, params, false, place, param)
    }

    pub(super) fn names(&mut self, names: &[Name], span: Span) -> Doc {
        self.group('[', ']', span, names, false, |name| name.span, |_, name| Doc::text(&*name.text))
    }

    /// Items between brackets, with the comments between them.
    #[expect(clippy::too_many_arguments, reason = "a list by its brackets, its place and its items")]
    fn group<T>(
        &mut self,
        open: char,
        close: char,
        span: Span,
        list: &[T],
        is_filled: bool,
        place: impl Fn(&T) -> Span,
        doc: impl Fn(&mut Self, &T) -> Doc,
    ) -> Doc {
        self.stray_before(span.start as usize);
        let outer = std::mem::take(&mut self.stray);
        let mut items = Vec::with_capacity(list.len());
        let mut inner_end = span.start as usize + 1;
        for item in list {
            let at = place(item);
            let starts_line = self.text.get(inner_end..at.start as usize).is_some_and(|gap| gap.contains('\n'));
            self.stray_before(at.start as usize);
            let doc = doc(self, item);
            self.stray_before(at.end as usize);
            let before = std::mem::take(&mut self.stray);
            let trailing = self.trailing(at.end as usize, b',');
            inner_end = at.end as usize;
            items.push(Item { starts_line, before, doc, trailing });
        }
        let end = (span.end as usize).saturating_sub(1);
        self.stray_before(end);
        let after = std::mem::replace(&mut self.stray, outer);
        let tail = self.text.get(inner_end..end).unwrap_or("");
        let is_set = !items.is_empty() && tail.contains(',') && tail.contains('\n');
        Doc::group(Group { open, close, items, is_filled, is_set, after })
    }

    pub(super) fn path(&mut self, path: &Path) -> Doc {
        let written = self.source(path.span);
        if written.starts_with('"') {
            return Doc::text(written);
        }
        self.parts(&path.parts)
    }

    fn parts(&mut self, parts: &[LabelPart]) -> Doc {
        if let [LabelPart::Text(text)] = parts {
            return Doc::text(&**text);
        }
        let mut docs = Vec::new();
        for part in parts {
            match part {
                LabelPart::Text(text) => docs.push(Doc::text(&**text)),
                LabelPart::Expr(expr) => {
                    docs.push(Doc::text("{"));
                    docs.push(self.expr(expr));
                    docs.push(Doc::text("}"));
                }
            }
        }
        Doc::seq(docs)
    }

    /// A label, which stays on one line.
    pub(super) fn label(&mut self, label: &LabelName) -> String {
        self.stray_before(label.span.end as usize);
        if label.quoted { self.source(label.span).to_owned() } else { self.parts(&label.parts).flat() }
    }
}
