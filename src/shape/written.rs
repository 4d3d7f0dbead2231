//! A call as it is written, for edits that set one of its arguments.

use std::ops::Range;

use crate::diag::{Edit, SourceMap, Span};

/// The places of a call's arguments.
#[derive(Debug)]
pub(super) struct Written<'a> {
    text: &'a str,
    span: Span,
    args: Vec<Argument<'a>>,
    /// Where the closing parenthesis stands.
    close: Option<usize>,
}

#[derive(Debug)]
struct Argument<'a> {
    name: Option<&'a str>,
    value: Range<usize>,
}

impl<'a> Written<'a> {
    /// Reads the call at a place: a name, or a name with arguments in parentheses.
    pub(super) fn at(sources: &'a SourceMap, span: Span) -> Option<Self> {
        let text = sources.text(span);
        let Some(open) = text.find('(') else {
            let plain = !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || c == '_');
            return plain.then_some(Written { text, span, args: Vec::new(), close: None });
        };
        let close = text.len().checked_sub(1).filter(|_| text.ends_with(')'))?;
        let args = cut(text, open + 1, close)?.into_iter().map(|piece| argument(text, piece)).collect();
        Some(Written { text, span, args, close: Some(close) })
    }

    /// The value of a parameter, where it is given; `params` are the names in positional order.
    pub(super) fn value(&self, params: &[&str], name: &str) -> Option<&'a str> {
        Some(&self.text[self.find(params, name)?])
    }

    fn find(&self, params: &[&str], name: &str) -> Option<Range<usize>> {
        let named = self.args.iter().find(|arg| arg.name == Some(name));
        let at = params.iter().position(|param| *param == name);
        let by_place = || at.and_then(|at| self.args.get(at)).filter(|arg| arg.name.is_none());
        named.or_else(by_place).map(|arg| arg.value.clone())
    }

    /// The edit that gives a parameter this value.
    pub(super) fn set(&self, params: &[&str], name: &str, value: &str) -> Edit {
        if let Some(range) = self.find(params, name) {
            return Edit { span: self.part(range), replacement: value.to_owned() };
        }
        match self.close {
            Some(close) => {
                let separator = if self.args.is_empty() { "" } else { ", " };
                Edit { span: self.part(close..close), replacement: format!("{separator}{name} = {value}") }
            }
            None => Edit { span: self.span.after(), replacement: format!("({name} = {value})") },
        }
    }

    fn part(&self, range: Range<usize>) -> Span {
        let at = |offset: usize| self.span.start.saturating_add(u32::try_from(offset).unwrap_or(u32::MAX));
        Span { start: at(range.start), end: at(range.end), ..self.span }
    }
}

/// The pieces between the commas that stand in no bracket, string or comment, each without the blanks and comments
/// around it; `None` where brackets do not pair.
fn cut(text: &str, start: usize, end: usize) -> Option<Vec<Range<usize>>> {
    let (mut pieces, mut depth) = (Vec::new(), 0usize);
    let mut piece: Option<Range<usize>> = None;
    let mut chars = text[start..end].char_indices().map(|(at, c)| (start + at, c));
    while let Some((at, c)) = chars.next() {
        let mut last = at + c.len_utf8();
        match c {
            ',' if depth == 0 => {
                pieces.extend(piece.take());
                continue;
            }
            '#' => {
                while chars.next().is_some_and(|(_, c)| c != '\n') {}
                continue;
            }
            _ if c.is_whitespace() => continue,
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.checked_sub(1)?,
            '"' => last = chars.find(|&(_, c)| c == '"')?.0 + 1,
            _ => {}
        }
        piece = Some(piece.map_or(at, |piece| piece.start)..last);
    }
    pieces.extend(piece);
    (depth == 0).then_some(pieces)
}

fn argument(text: &str, piece: Range<usize>) -> Argument<'_> {
    if let Some((name, value)) = text[piece.clone()].split_once('=')
        && !value.starts_with('=')
        && !name.trim().is_empty()
        && name.trim().chars().all(|c| c.is_alphanumeric() || c == '_')
    {
        let start = piece.end - value.trim_start().len();
        return Argument { name: Some(name.trim()), value: start..piece.end };
    }
    Argument { name: None, value: piece }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::diag::apply;

    const CONV: [&str; 4] = ["channels", "kernel", "stride", "pad"];

    fn set(text: &str, name: &str, value: &str) -> Option<String> {
        let mut sources = SourceMap::default();
        let file = sources.add("x.net", text);
        let span = Span { file, start: 0, end: u32::try_from(text.len()).unwrap() };
        let edit = Written::at(&sources, span)?.set(&CONV, name, value);
        Some(apply(&sources, file, &[edit]))
    }

    #[test]
    fn an_argument_is_added_or_replaced() {
        for (text, name, expected) in [
            ("conv", "pad", "conv(pad = 9)"),
            ("conv()", "pad", "conv(pad = 9)"),
            ("conv(64, 3)", "pad", "conv(64, 3, pad = 9)"),
            ("conv(64, 3)", "kernel", "conv(64, 9)"),
            ("conv(64, 3, pad = 1)", "pad", "conv(64, 3, pad = 9)"),
            ("conv(64, 3, pad=[1, 2], stride = 2)", "pad", "conv(64, 3, pad=9, stride = 2)"),
            ("conv(f(a, b), [1, 3], if x == 2 then 1 else 2)", "stride", "conv(f(a, b), [1, 3], 9)"),
            ("conv(64, # a, b\n 3)", "kernel", "conv(64, # a, b\n 9)"),
            ("conv(64, 3 # a, b\n)", "kernel", "conv(64, 9 # a, b\n)"),
            ("conv(\"a,b\", 3)", "channels", "conv(9, 3)"),
        ] {
            assert_eq!(set(text, name, "9").as_deref(), Some(expected));
        }
        assert_eq!(set("{ conv }", "pad", "9"), None);
        assert_eq!(set("conv(64])", "pad", "9"), None);
    }
}
