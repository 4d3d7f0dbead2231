//! What the grammar read of an expression, as a tree.

#![expect(clippy::wildcard_enum_match_arm, reason = "a rule's children are few of the grammar's rules")]

use super::ast::{Arg, Args, BinaryOp, Expr, ExprKind, LabelName, LabelPart, Name, Path, UnaryOp};
use super::error::{Found, Problem, Result, SyntaxError};
use super::grammar::Rule;
use super::scan::MAX_NESTING;
use crate::diag::{FileId, Span};
use pest::iterators::{Pair, Pairs};
use std::iter::Peekable;

type Tokens<'i> = Peekable<Pairs<'i, Rule>>;

/// An expression and how deep it nests.
pub(super) struct Deep {
    pub(super) expr: Expr,
    depth: usize,
}

/// How tightly an operator binds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Power {
    Range,
    Or,
    And,
    Not,
    Compare,
    Sum,
    Product,
    Neg,
}

impl Power {
    /// What the right operand of a left-associative operator must exceed.
    fn tighter(self) -> Power {
        match self {
            Power::Range => Power::Or,
            Power::Or => Power::And,
            Power::And => Power::Not,
            Power::Not => Power::Compare,
            Power::Compare => Power::Sum,
            Power::Sum => Power::Product,
            Power::Product | Power::Neg => Power::Neg,
        }
    }
}

/// Turns what the grammar read of one statement into the tree.
#[derive(Clone, Copy)]
pub(super) struct Builder<'a> {
    pub(super) file: FileId,
    /// The text that the grammar saw.
    pub(super) input: &'a str,
    /// Where in the file that begins.
    pub(super) base: usize,
}

impl Builder<'_> {
    /// The place of a pair that ends in a sign or a word; others may carry blanks at their end.
    pub(super) fn span(self, pair: &Pair<'_, Rule>) -> Span {
        let span = pair.as_span();
        super::span(self.file, self.base + span.start(), self.base + span.end())
    }

    pub(super) fn error(self, span: Span, problem: Problem) -> Box<SyntaxError> {
        SyntaxError::new(span, problem)
    }

    /// For a part that the grammar demands; a parsed statement always has it.
    pub(super) fn need<T>(self, part: Option<T>, span: Span) -> Result<T> {
        part.ok_or_else(|| {
            let expected = vec!["a complete statement"];
            self.error(span, Problem::Expected { expected, found: Found::End, hint: None })
        })
    }

    pub(super) fn name(self, pair: &Pair<'_, Rule>) -> Name {
        Name { text: pair.as_str().to_owned(), span: self.span(pair) }
    }

    pub(super) fn expr(self, pair: Pair<'_, Rule>) -> Result<Expr> {
        Ok(self.deep(pair)?.expr)
    }

    /// `if a then b else if c then d else e` comes flat, so that a long chain costs no recursion.
    fn deep(self, pair: Pair<'_, Rule>) -> Result<Deep> {
        let whole = self.span(&pair);
        let mut tokens = pair.into_inner().peekable();
        let mut arms = Vec::new();
        while let Some(keyword) = tokens.next_if(|token| token.as_rule() == Rule::kw_if) {
            let test = self.operation(&mut tokens, Power::Range, whole)?;
            tokens.next_if(|token| token.as_rule() == Rule::kw_then);
            let value = self.operation(&mut tokens, Power::Range, whole)?;
            tokens.next_if(|token| token.as_rule() == Rule::kw_else);
            arms.push((self.span(&keyword), test, value));
        }
        let mut value = self.operation(&mut tokens, Power::Range, whole)?;
        for (start, test, first) in arms.into_iter().rev() {
            let depth = test.depth.max(first.depth).max(value.depth);
            let span = start.to(value.expr.span);
            let kind = ExprKind::If(Box::new(test.expr), Box::new(first.expr), Box::new(value.expr));
            value = self.grow(kind, span, depth)?;
        }
        Ok(value)
    }

    /// An expression around others, the deepest of which has `depth`.
    fn grow(self, kind: ExprKind, span: Span, depth: usize) -> Result<Deep> {
        if depth >= MAX_NESTING {
            return Err(self.error(span, Problem::NestingTooDeep));
        }
        Ok(Deep { expr: Expr { kind, span }, depth: depth + 1 })
    }

    /// Operands joined by operators that bind at least as tightly as `least`.
    fn operation(self, tokens: &mut Tokens<'_>, least: Power, whole: Span) -> Result<Deep> {
        let mut left = self.prefixed(tokens, least, whole)?;
        loop {
            let Some(next) = tokens.peek().filter(|token| token.as_rule() == Rule::infix) else { return Ok(left) };
            let (power, op) = infix(next.as_str());
            if power < least {
                return Ok(left);
            }
            let sign = self.span(next);
            tokens.next();
            self.check_chain(&left.expr, power, sign)?;
            let right = self.operation(tokens, power.tighter(), whole)?;
            let span = left.expr.span.to(right.expr.span);
            let depth = left.depth.max(right.depth);
            let (a, b) = (Box::new(left.expr), Box::new(right.expr));
            let kind = match op {
                Some(op) => ExprKind::Binary(op, a, b),
                None => ExprKind::Range(a, b),
            };
            left = self.grow(kind, span, depth)?;
        }
    }

    /// An operand with the `-` and `not` before it; what `not` applies to may be a comparison.
    fn prefixed(self, tokens: &mut Tokens<'_>, least: Power, whole: Span) -> Result<Deep> {
        let mut prefixes = Vec::new();
        let mut least = least;
        while let Some(prefix) = tokens.next_if(|token| token.as_rule() == Rule::prefix) {
            let span = self.span(&prefix);
            let (op, power) = match prefix.as_str() {
                "-" => (UnaryOp::Neg, Power::Neg),
                _ => (UnaryOp::Not, Power::Not),
            };
            if power < least {
                return Err(self.error(span, Problem::NotAsOperand));
            }
            least = power;
            prefixes.push((op, span));
        }
        let mut value = match prefixes.last() {
            Some((UnaryOp::Not, _)) => self.operation(tokens, Power::Compare, whole)?,
            Some((UnaryOp::Neg, _)) | None => self.operand(tokens, whole)?,
        };
        for (op, start) in prefixes.into_iter().rev() {
            let span = start.to(value.expr.span);
            value = self.grow(ExprKind::Unary(op, Box::new(value.expr)), span, value.depth)?;
        }
        Ok(value)
    }

    /// Comparisons and ranges stand alone between their operands.
    fn check_chain(self, left: &Expr, power: Power, sign: Span) -> Result<()> {
        match (&left.kind, power) {
            (ExprKind::Binary(op, _, middle), Power::Compare) if op.compares() => {
                let offset = |at: u32| (at as usize).saturating_sub(self.base);
                let middle =
                    self.input.get(offset(middle.span.start)..offset(middle.span.end)).unwrap_or("").to_owned();
                let problem = Problem::ChainedComparison { first: left.span, middle };
                Err(self.error(sign, problem))
            }
            (ExprKind::Range(..), Power::Range) => {
                let found = Found::Text("..".to_owned());
                Err(self.error(sign, Problem::Expected { expected: vec!["the end of the range"], found, hint: None }))
            }
            _ => Ok(()),
        }
    }

    /// A primary with what is indexed out of it.
    fn operand(self, tokens: &mut Tokens<'_>, whole: Span) -> Result<Deep> {
        let primary = self.need(tokens.next(), whole)?;
        let mut value = match tokens.next_if(|token| token.as_rule() == Rule::args) {
            Some(args) => self.call_of(&primary, args)?,
            None => self.primary(primary)?,
        };
        while let Some(index) = tokens.next_if(|token| token.as_rule() == Rule::index) {
            let span = value.expr.span.to(self.span(&index));
            let inner = index.into_inner().find(|part| part.as_rule() == Rule::expr);
            let at = self.deep(self.need(inner, span)?)?;
            let depth = value.depth.max(at.depth);
            value = self.grow(ExprKind::Index(Box::new(value.expr), Box::new(at.expr)), span, depth)?;
        }
        Ok(value)
    }

    /// `name(…)`.
    fn call_of(self, name: &Pair<'_, Rule>, args: Pair<'_, Rule>) -> Result<Deep> {
        let name = self.name(name);
        if name.text == "in" || !name.text.bytes().all(super::scan::is_word) {
            return Err(self.error(name.span, Problem::NoFunction { text: name.text }));
        }
        let (args, depth) = self.args_deep(args)?;
        let span = name.span.to(args.span);
        self.grow(ExprKind::Call(name, args), span, depth)
    }

    fn primary(self, pair: Pair<'_, Rule>) -> Result<Deep> {
        let span = self.span(&pair);
        let (kind, depth) = match pair.as_rule() {
            Rule::number => (self.number(pair.as_str(), span)?, 0),
            Rule::string => (ExprKind::Str(self.string(&pair)?), 0),
            Rule::boolean => (ExprKind::Bool(pair.as_str() == "true"), 0),
            Rule::list => {
                let (list, depth) = self.items(pair)?;
                (ExprKind::List(list), depth)
            }
            Rule::paren => {
                let inner = pair.into_inner().find(|part| part.as_rule() == Rule::expr);
                let inner = self.deep(self.need(inner, span)?)?;
                (ExprKind::Paren(Box::new(inner.expr)), inner.depth)
            }
            _ => {
                let (path, depth) = self.path_deep(pair)?;
                (ExprKind::Path(path), depth)
            }
        };
        self.grow(kind, span, depth)
    }

    fn number(self, text: &str, span: Span) -> Result<ExprKind> {
        let digits: String = text.chars().filter(|&c| c != '_').collect();
        if digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return digits.parse().map(ExprKind::Int).map_err(|_| self.error(span, Problem::IntegerTooLarge));
        }
        let value = digits.parse().ok().filter(|value: &f64| value.is_finite());
        value.map(ExprKind::Float).ok_or_else(|| self.error(span, Problem::FloatTooLarge))
    }

    /// The text between the quotes, without escapes.
    pub(super) fn string(self, pair: &Pair<'_, Rule>) -> Result<String> {
        let quoted = pair.as_str();
        let inner = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or("");
        if !inner.contains('\\') {
            return Ok(inner.to_owned());
        }
        let start = self.base + pair.as_span().start() + 1;
        let mut text = String::with_capacity(inner.len());
        let mut chars = inner.char_indices();
        while let Some((at, c)) = chars.next() {
            if c != '\\' {
                text.push(c);
                continue;
            }
            match chars.next() {
                Some((_, c @ ('"' | '\\'))) => text.push(c),
                Some((_, 'n')) => text.push('\n'),
                Some((_, 't')) => text.push('\t'),
                other => {
                    let length = 1 + other.map_or(0, |(_, c)| c.len_utf8());
                    let span = super::span(self.file, start + at, start + at + length);
                    return Err(self.error(span, Problem::UnknownEscape));
                }
            }
        }
        Ok(text)
    }

    /// The expressions directly inside a pair.
    pub(super) fn exprs(self, pair: Pair<'_, Rule>) -> Result<Vec<Expr>> {
        Ok(self.items(pair)?.0)
    }

    fn items(self, pair: Pair<'_, Rule>) -> Result<(Vec<Expr>, usize)> {
        let parts = pair.into_inner();
        let (mut list, mut depth) = (Vec::with_capacity(parts.len() / 2), 0);
        for item in parts.filter(|part| part.as_rule() == Rule::expr) {
            let item = self.deep(item)?;
            depth = depth.max(item.depth);
            list.push(item.expr);
        }
        Ok((list, depth))
    }

    pub(super) fn args(self, pair: Pair<'_, Rule>) -> Result<Args> {
        Ok(self.args_deep(pair)?.0)
    }

    fn args_deep(self, pair: Pair<'_, Rule>) -> Result<(Args, usize)> {
        let span = self.span(&pair);
        let parts = pair.into_inner();
        let (mut list, mut depth) = (Vec::with_capacity(parts.len() / 2), 0);
        for arg in parts.filter(|part| part.as_rule() == Rule::arg) {
            let mut name = None;
            for part in arg.into_inner() {
                match part.as_rule() {
                    Rule::arg_name => name = Some(self.name(&part)),
                    Rule::expr => {
                        let value = self.deep(part)?;
                        depth = depth.max(value.depth);
                        let value = value.expr;
                        let span = name.as_ref().map_or(value.span, |name: &Name| name.span.to(value.span));
                        list.push(Arg { name: name.take(), value, span });
                    }
                    _ => {}
                }
            }
        }
        Ok((Args { list, span }, depth))
    }

    /// A path, or the text of a quoted label.
    pub(super) fn path(self, pair: Pair<'_, Rule>) -> Result<Path> {
        if pair.as_rule() == Rule::string {
            return Ok(Path { parts: vec![LabelPart::Text(self.string(&pair)?)], span: self.span(&pair) });
        }
        Ok(self.path_deep(pair)?.0)
    }

    fn path_deep(self, pair: Pair<'_, Rule>) -> Result<(Path, usize)> {
        let span = self.span(&pair);
        if matches!(pair.as_str(), "True" | "False" | "None") {
            return Err(self.error(span, Problem::PythonConstant { text: pair.as_str().to_owned() }));
        }
        let (parts, depth) = self.parts(pair)?;
        Ok((Path { parts, span }, depth))
    }

    pub(super) fn label(self, pair: Pair<'_, Rule>) -> Result<LabelName> {
        let span = self.span(&pair);
        let quoted = pair.as_str().starts_with('"');
        let (parts, _) = self.parts(pair)?;
        Ok(LabelName { parts, quoted, span })
    }

    fn parts(self, pair: Pair<'_, Rule>) -> Result<(Vec<LabelPart>, usize)> {
        let (mut parts, mut depth) = (Vec::new(), 0);
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::string => parts.push(LabelPart::Text(self.string(&part)?)),
                Rule::splice => {
                    let span = self.span(&part);
                    let inner = part.into_inner().find(|part| part.as_rule() == Rule::expr);
                    let inner = self.deep(self.need(inner, span)?)?;
                    depth = depth.max(inner.depth);
                    parts.push(LabelPart::Expr(inner.expr));
                }
                _ => parts.push(LabelPart::Text(part.as_str().to_owned())),
            }
        }
        Ok((parts, depth))
    }
}

fn infix(sign: &str) -> (Power, Option<BinaryOp>) {
    match sign {
        "or" => (Power::Or, Some(BinaryOp::Or)),
        "and" => (Power::And, Some(BinaryOp::And)),
        "==" => (Power::Compare, Some(BinaryOp::Eq)),
        "!=" => (Power::Compare, Some(BinaryOp::Ne)),
        "<" => (Power::Compare, Some(BinaryOp::Lt)),
        "<=" => (Power::Compare, Some(BinaryOp::Le)),
        ">" => (Power::Compare, Some(BinaryOp::Gt)),
        ">=" => (Power::Compare, Some(BinaryOp::Ge)),
        "+" => (Power::Sum, Some(BinaryOp::Add)),
        "-" => (Power::Sum, Some(BinaryOp::Sub)),
        "*" => (Power::Product, Some(BinaryOp::Mul)),
        "/" => (Power::Product, Some(BinaryOp::Div)),
        "//" => (Power::Product, Some(BinaryOp::FloorDiv)),
        "%" => (Power::Product, Some(BinaryOp::Rem)),
        _ => (Power::Range, None),
    }
}
