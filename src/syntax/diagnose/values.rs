//! Slips inside of arguments, lists and expressions.

use super::{Stop, Verdict, hint, titled};
use crate::syntax::KEYWORDS;
use crate::syntax::error::Problem;
use crate::syntax::grammar::Rule;
use crate::syntax::scan::is_word;

/// A number with letters in it, or without digits where they belong.
pub(super) fn number(stop: &Stop<'_>) -> Option<Verdict> {
    let input = stop.failure.input.as_bytes();
    let digit = |at: Option<usize>| at.and_then(|at| input.get(at)).is_some_and(u8::is_ascii_digit);
    let starts_badly = digit(Some(stop.at)) && stop.wants_value();
    let point = stop.found == "." && (digit(stop.at.checked_sub(1)) || digit(stop.at.checked_add(1)));
    if !starts_badly && !point {
        return None;
    }
    let part = |byte: &&u8| is_word(**byte) || **byte == b'.';
    let start = stop.at - input[..stop.at].iter().rev().take_while(part).count();
    let end = stop.at + input[stop.at..].iter().take_while(part).count();
    let text = stop.failure.input[start..end].to_owned();
    if !text.starts_with(|c: char| c.is_ascii_digit() || c == '.') || text.contains("..") {
        return None;
    }
    Some(Verdict::Problem(stop.failure.span(start, end), Problem::MalformedNumber { text }))
}

/// Recognises slips inside of brackets and expressions.
pub(super) fn recognise(stop: &Stop<'_>) -> Option<Verdict> {
    named_argument(stop)
        .or_else(|| comparison(stop))
        .or_else(|| sizes(stop))
        .or_else(|| missing_comma(stop))
        .or_else(|| next_line(stop))
        .or_else(|| keyword_as_name(stop))
}

fn in_arguments(stop: &Stop<'_>) -> bool {
    stop.tried(Rule::comma) && stop.tried(Rule::close_paren)
}

fn named_argument(stop: &Stop<'_>) -> Option<Verdict> {
    if !in_arguments(stop) {
        return None;
    }
    let (before, word) = (stop.before(), stop.last_word());
    let alone = before[..before.len() - word.len()].trim_end().ends_with(['(', ',']);
    match stop.found {
        ":" if alone && !word.is_empty() => {
            let edits = stop.replace(before.len(), stop.at + 1, " =");
            titled("an argument is named with `=`", format!("write `{word} = …`"), edits)
        }
        "=" if alone && KEYWORDS.contains(&word) => titled(
            format!("`{word}` is a keyword and cannot name an argument"),
            "no argument has this name",
            Vec::new(),
        ),
        "=" => hint("left of `=` stands the name of an argument; the test of two values is `==`", Vec::new()),
        _ => None,
    }
}

fn comparison(stop: &Stop<'_>) -> Option<Verdict> {
    let wanted = stop.found == "=" && stop.tried(Rule::infix) && !stop.tried(Rule::equals);
    if wanted { hint("the test of two values is `==`", stop.replace_found("==")) } else { None }
}

/// `-> 64, 56, 56`, `input x: (3, 224, 224)`.
fn sizes(stop: &Stop<'_>) -> Option<Verdict> {
    let only_list = matches!(stop.rules, [Rule::list | Rule::open_square]);
    if !only_list || stop.found.is_empty() {
        return None;
    }
    let rest = stop.failure.input[stop.at..].trim_end();
    let inner = rest.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).unwrap_or(rest);
    let simple = inner.bytes().all(|byte| is_word(byte) || matches!(byte, b',' | b' '));
    let edits = if simple { stop.replace(stop.at, stop.at + rest.len(), format!("[{inner}]")) } else { Vec::new() };
    titled("sizes stand in square brackets", "write `[c, h, w]`", edits)
}

fn missing_comma(stop: &Stop<'_>) -> Option<Verdict> {
    let wanted = stop.tried(Rule::comma) && stop.begins_value() && !stop.wants_value();
    let in_brackets = stop.tried(Rule::close_paren) || stop.tried(Rule::close_square);
    if !wanted || !in_brackets {
        return None;
    }
    titled("a comma is missing", format!("put a comma before `{}`", stop.found), stop.insert_before(","))
}

/// An expression that ends in an operator: the author went on in the next line.
fn next_line(stop: &Stop<'_>) -> Option<Verdict> {
    let open = stop.found.is_empty() && stop.wants_value() && !stop.before().is_empty();
    let operator = stop.before().ends_with(['+', '-', '*', '/', '%', '<', '>'])
        || matches!(stop.last_word(), "and" | "or" | "not");
    if open && operator {
        return hint("an expression goes on in the next line only inside ( ) or [ ]", Vec::new());
    }
    None
}

fn keyword_as_name(stop: &Stop<'_>) -> Option<Verdict> {
    let named = stop.rules.iter().any(|rule| matches!(rule, Rule::name | Rule::param | Rule::pattern));
    if named && KEYWORDS.contains(&stop.found) {
        return titled(
            format!("`{}` is a keyword and cannot be a name", stop.found),
            "choose another name",
            Vec::new(),
        );
    }
    None
}
