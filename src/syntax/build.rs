//! What the grammar read of a statement, as a tree without the bodies.

#![expect(clippy::wildcard_enum_match_arm, reason = "a rule's children are few of the grammar's rules")]

use super::ast::{
    BudgetEntry, Claim, Expr, Import, Input, LabelName, Let, Name, Output, Param, Path, Pattern, PreprocessEntry, Train,
};
use super::error::Result;
use super::expr::Builder;
use super::grammar::Rule;
use crate::diag::Span;
use pest::iterators::Pair;

/// A statement up to its body.
pub(super) enum Head {
    Let(Let),
    Input(Input),
    Output(Output),
    If(Expr),
    Repeat { count: Expr, binding: Option<Name> },
    For { index: Option<Name>, pattern: Pattern, list: Expr },
    Preprocess,
    Budget,
    Value { labels: Vec<LabelName>, source: SourceHead },
}

/// What makes a value, up to its body.
pub(super) enum SourceHead {
    Call { name: Name, args: Option<super::ast::Args>, claim: Option<Claim> },
    Braces,
    From(Path),
}

/// What stands at the top of a file, up to its body.
pub(super) enum ItemHead {
    Import(Import),
    Let(Let),
    Definition { is_net: bool, name: Name, params: Vec<Param>, start: Span },
}

/// What follows the `}` of a body on its line.
pub(super) enum After {
    ElseIf(Expr),
    Else,
    Claim(Claim),
}

impl Builder<'_> {
    pub(super) fn item(self, pair: Pair<'_, Rule>) -> Result<ItemHead> {
        let span = self.span(&pair);
        match pair.as_rule() {
            Rule::import => {
                let mut parts = pair.into_inner();
                let keyword = self.span(&self.need(parts.next(), span)?);
                let path = self.need(parts.next(), span)?;
                let path = Name { text: self.string(&path)?, span: self.span(&path) };
                Ok(ItemHead::Import(Import { span: keyword.to(path.span), path }))
            }
            Rule::binding => Ok(ItemHead::Let(self.binding(pair)?)),
            _ => {
                let (mut keyword, mut name, mut params) = (None, None, Vec::new());
                for part in pair.into_inner() {
                    match part.as_rule() {
                        Rule::name => name = Some(self.name(&part)),
                        Rule::params => params = self.params(part)?,
                        Rule::open_body => {}
                        rule => keyword = Some((rule == Rule::kw_net, self.span(&part))),
                    }
                }
                let (is_net, start) = self.need(keyword, span)?;
                Ok(ItemHead::Definition { is_net, name: self.need(name, span)?, params, start })
            }
        }
    }

    fn params(self, pair: Pair<'_, Rule>) -> Result<Vec<Param>> {
        let mut params = Vec::new();
        for param in pair.into_inner().filter(|part| part.as_rule() == Rule::param) {
            for part in param.into_inner() {
                match part.as_rule() {
                    Rule::name => params.push(Param { name: self.name(&part), default: None }),
                    Rule::expr => {
                        let default = self.expr(part)?;
                        if let Some(param) = params.last_mut() {
                            param.default = Some(default);
                        }
                    }
                    _ => {}
                }
            }
        }
        Ok(params)
    }

    fn binding(self, pair: Pair<'_, Rule>) -> Result<Let> {
        let whole = self.span(&pair);
        let mut parts = pair.into_inner().filter(|part| part.as_rule() != Rule::equals);
        let keyword = self.span(&self.need(parts.next(), whole)?);
        let name = self.name(&self.need(parts.next(), whole)?);
        let value = self.expr(self.need(parts.next(), whole)?)?;
        Ok(Let { span: keyword.to(value.span), name, value })
    }

    pub(super) fn statement(self, pair: Pair<'_, Rule>) -> Result<Head> {
        let whole = self.span(&pair);
        Ok(match pair.as_rule() {
            Rule::binding => Head::Let(self.binding(pair)?),
            Rule::input => Head::Input(self.input(pair)?),
            Rule::output => Head::Output(self.output(pair)?),
            Rule::if_head => Head::If(self.only_expr(pair)?),
            Rule::repeat_head => {
                let (mut count, mut binding) = (None, None);
                for part in pair.into_inner() {
                    match part.as_rule() {
                        Rule::expr => count = Some(self.expr(part)?),
                        Rule::name => binding = Some(self.name(&part)),
                        _ => {}
                    }
                }
                Head::Repeat { count: self.need(count, whole)?, binding }
            }
            Rule::for_head => self.for_head(pair)?,
            Rule::settings => match pair.into_inner().next().map(|keyword| keyword.as_rule()) {
                Some(Rule::kw_budget) => Head::Budget,
                _ => Head::Preprocess,
            },
            _ => self.value(pair)?,
        })
    }

    fn only_expr(self, pair: Pair<'_, Rule>) -> Result<Expr> {
        let whole = self.span(&pair);
        let part = pair.into_inner().find(|part| part.as_rule() == Rule::expr);
        self.expr(self.need(part, whole)?)
    }

    fn input(self, pair: Pair<'_, Rule>) -> Result<Input> {
        let whole = self.span(&pair);
        let (mut name, mut shape, mut conditions) = (None, Vec::new(), Vec::new());
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::name => name = Some(self.name(&part)),
                Rule::list => shape = self.exprs(part)?,
                Rule::expr => conditions.push(self.expr(part)?),
                _ => {}
            }
        }
        Ok(Input { name: self.need(name, whole)?, shape, conditions })
    }

    fn output(self, pair: Pair<'_, Rule>) -> Result<Output> {
        let whole = self.span(&pair);
        let (mut name, mut value, mut train) = (None, None, None);
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::name => name = Some(self.name(&part)),
                Rule::path | Rule::string => value = Some(self.path(part)?),
                Rule::train => train = Some(self.train(part)?),
                _ => {}
            }
        }
        Ok(Output { name: self.need(name, whole)?, value, train })
    }

    fn train(self, pair: Pair<'_, Rule>) -> Result<Train> {
        let whole = self.span(&pair);
        let mut parts = pair.into_inner();
        let keyword = self.span(&self.need(parts.next(), whole)?);
        let weight = parts.find(|part| part.as_rule() == Rule::expr).map(|part| self.expr(part)).transpose()?;
        let span = weight.as_ref().map_or(keyword, |weight| keyword.to(weight.span));
        Ok(Train { weight, span })
    }

    fn for_head(self, pair: Pair<'_, Rule>) -> Result<Head> {
        let whole = self.span(&pair);
        let (mut index, mut pattern, mut list) = (None, None, None);
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::name => index = Some(self.name(&part)),
                Rule::pattern => pattern = Some(self.pattern(part)),
                Rule::expr => list = Some(self.expr(part)?),
                _ => {}
            }
        }
        Ok(Head::For { index, pattern: self.need(pattern, whole)?, list: self.need(list, whole)? })
    }

    fn pattern(self, pair: Pair<'_, Rule>) -> Pattern {
        let span = self.span(&pair);
        let is_list = pair.as_str().starts_with('[');
        let mut names: Vec<Name> = self.names(pair);
        match names.pop() {
            Some(name) if !is_list => Pattern::Name(name),
            last => {
                names.extend(last);
                Pattern::List(names, span)
            }
        }
    }

    fn names(self, pair: Pair<'_, Rule>) -> Vec<Name> {
        pair.into_inner().filter(|part| part.as_rule() == Rule::name).map(|part| self.name(&part)).collect()
    }

    /// The names in `#[allow(…)]`.
    pub(super) fn allow(self, pair: Pair<'_, Rule>) -> Vec<Name> {
        self.names(pair)
    }

    fn value(self, pair: Pair<'_, Rule>) -> Result<Head> {
        let whole = self.span(&pair);
        let (mut labels, mut source) = (Vec::new(), None);
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::labels => {
                    for label in part.into_inner().filter(|part| part.as_rule() == Rule::label) {
                        labels.push(self.label(label)?);
                    }
                }
                Rule::from => {
                    let path = part.into_inner().find(|part| matches!(part.as_rule(), Rule::path | Rule::string));
                    source = Some(SourceHead::From(self.path(self.need(path, whole)?)?));
                }
                Rule::call => source = Some(self.call(part)?),
                _ => source = Some(SourceHead::Braces),
            }
        }
        Ok(Head::Value { labels, source: self.need(source, whole)? })
    }

    fn call(self, pair: Pair<'_, Rule>) -> Result<SourceHead> {
        let whole = self.span(&pair);
        let (mut name, mut args, mut claim) = (None, None, None);
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::name => name = Some(self.name(&part)),
                Rule::args => args = Some(self.args(part)?),
                Rule::claim => claim = Some(self.claim(part)?),
                _ => {}
            }
        }
        Ok(SourceHead::Call { name: self.need(name, whole)?, args, claim })
    }

    fn claim(self, pair: Pair<'_, Rule>) -> Result<Claim> {
        let span = self.span(&pair);
        let list = pair.into_inner().find(|part| part.as_rule() == Rule::list);
        Ok(Claim { shape: self.exprs(self.need(list, span)?)?, span })
    }

    pub(super) fn after_body(self, pair: Pair<'_, Rule>) -> Result<After> {
        Ok(match pair.as_rule() {
            Rule::else_if => After::ElseIf(self.only_expr(pair)?),
            Rule::claim => After::Claim(self.claim(pair)?),
            _ => After::Else,
        })
    }

    pub(super) fn preprocess_entry(self, pair: Pair<'_, Rule>) -> Result<PreprocessEntry> {
        let whole = self.span(&pair);
        let (mut name, mut values) = (None, Vec::new());
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::name => name = Some(self.name(&part)),
                Rule::expr => values.push(self.expr(part)?),
                _ => {}
            }
        }
        let name = self.need(name, whole)?;
        let span = values.last().map_or(name.span, |value| name.span.to(value.span));
        Ok(PreprocessEntry { name, values, span })
    }

    pub(super) fn budget_entry(self, pair: Pair<'_, Rule>) -> Result<BudgetEntry> {
        let whole = self.span(&pair);
        let (mut names, mut bound) = (Vec::new(), None);
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::name => names.push(self.name(&part)),
                Rule::expr => bound = Some(self.expr(part)?),
                _ => {}
            }
        }
        let bound = self.need(bound, whole)?;
        let mut names = names.into_iter();
        let metric = self.need(names.next(), whole)?;
        let unit = names.next();
        let span = metric.span.to(unit.as_ref().map_or(bound.span, |unit| unit.span));
        Ok(BudgetEntry { metric, bound, unit, span })
    }
}
