//! Signs and words of other languages.

use super::{Stop, Verdict, hint, titled};
use crate::diag::Edit;
use crate::syntax::error::{Hint, Problem};
use crate::syntax::grammar::Rule;

/// Recognises what other languages would have here.
pub(super) fn recognise(stop: &Stop<'_>) -> Option<Verdict> {
    sign(stop)
        .or_else(|| comment(stop))
        .or_else(|| conditional(stop))
        .or_else(|| typographic(stop))
        .or_else(|| unknown(stop))
}

fn sign(stop: &Stop<'_>) -> Option<Verdict> {
    let with = |title: &str, help: &str, replacement: &str| titled(title, help, stop.replace_found(replacement));
    match stop.found {
        "&&" => with("`&&` is no operator", "write `and`", "and"),
        "||" => with("`||` is no operator", "write `or`", "or"),
        "&" | "|" | "^" | "~" => titled(
            format!("`{}` is no operator", stop.found),
            "the logical operators are `and`, `or` and `not`",
            Vec::new(),
        ),
        "!" => with("`!` is no operator", "write `not`", "not "),
        "*" if stop.before().len() == stop.at && stop.before().ends_with('*') => {
            let title = "`**` is no operator".to_owned();
            let help = "there are no powers; multiply, as in `n * n`".to_owned();
            let hint = Hint { title: Some(title), help, edits: Vec::new() };
            Some(Verdict::HintAt(stop.failure.span(stop.at - 1, stop.at + 1), hint))
        }
        "?" => titled("`?` is no operator", "a conditional is `if test then a else b`", Vec::new()),
        "=>" if stop.tried(Rule::arrow) || stop.tried(Rule::claim) => {
            with("`=>` is no sign of the language", "a claim begins with `->`", "->")
        }
        "=>" => with("`=>` is no operator", "write `>=`", ">="),
        ":=" => with("`:=` is no sign of the language", "a name is bound with `=`", "="),
        "." if stop.before().ends_with("..") => {
            let dots = stop.before().len() - 2;
            titled("a range has two dots", "write `a..b`, without b", stop.replace(dots, stop.at + 1, ".."))
        }
        ";" if stop.tried(Rule::comma) => {
            hint("inside brackets, parts are separated by commas", stop.replace_found(","))
        }
        "==" if stop.tried(Rule::equals) => hint("a name is bound with one `=`", stop.replace_found("=")),
        "#[allow" => titled(
            "`#[allow(…)]` is not part of a statement",
            "it stands on a line of its own above the statement",
            Vec::new(),
        ),
        _ => None,
    }
}

fn comment(stop: &Stop<'_>) -> Option<Verdict> {
    match stop.found {
        "//" => titled("comments begin with `#`", "write `#`", stop.replace_found("#")),
        "*" if stop.before().len() == stop.at && stop.before().ends_with('/') => {
            titled("comments begin with `#`", "write `#` at the start of each line of a comment", Vec::new())
        }
        "/*" => titled("comments begin with `#`", "write `#` at the start of each line of a comment", Vec::new()),
        "/" if stop.at == 0 => titled("comments begin with `#`", "write `#`", Vec::new()),
        _ => None,
    }
}

/// `a if test else b`.
fn conditional(stop: &Stop<'_>) -> Option<Verdict> {
    if stop.found != "if" || !stop.tried(Rule::infix) {
        return None;
    }
    let input = stop.failure.input;
    let before = stop.before();
    let start = before.len() - operand_length(before.bytes().rev(), b')', b'(');
    let start = start + input[start..].len() - input[start..].trim_start().len();
    let behind = stop.behind();
    let test_at = input.len() - behind.len();
    let edits = find_else(behind).map_or_else(Vec::new, |at| {
        let (test, rest) = (behind[..at].trim_end(), &behind[at + 4..]);
        let end = input.len() - rest.len() + operand_length(rest.bytes(), b'(', b')');
        let other = input[input.len() - rest.len()..end].trim();
        debug_assert!(test_at <= end);
        let replacement = format!("if {test} then {} else {other}", &before[start..]);
        vec![Edit { span: stop.failure.span(start, end), replacement }]
    });
    titled("a conditional begins with its test", "write `if test then a else b`", edits)
}

/// How many bytes belong to the operand that begins (or, reversed, ends) here: up to a separator outside of brackets.
fn operand_length(bytes: impl Iterator<Item = u8>, open: u8, close: u8) -> usize {
    let mut depth = 0_usize;
    let mut length = 0;
    for byte in bytes {
        let square = |paren: u8| if paren == b'(' { b'[' } else { b']' };
        if byte == open || byte == square(open) {
            depth += 1;
        } else if byte == close || byte == square(close) {
            if depth == 0 {
                break;
            }
            depth -= 1;
        } else if depth == 0 && matches!(byte, b',' | b'=' | b':' | b'{' | b'\n' | b'#') {
            break;
        }
        length += 1;
    }
    length
}

/// The offset of the word `else`.
fn find_else(text: &str) -> Option<usize> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices("else")
        .find(|(at, _)| !text[..*at].ends_with(word) && !text[at + 4..].starts_with(word))
        .map(|(at, _)| at)
}

/// Signs that editors and web pages put in place of the plain ones.
fn typographic(stop: &Stop<'_>) -> Option<Verdict> {
    let plain = match stop.found {
        "“" | "”" | "„" | "‘" | "’" | "«" | "»" | "`" => "\"",
        "×" | "·" | "⋅" | "∗" => "*",
        "÷" | "∕" | "⁄" => "/",
        "−" | "–" | "—" | "‐" | "‑" => "-",
        "≤" => "<=",
        "≥" => ">=",
        "≠" => "!=",
        "→" => "->",
        "…" => "..",
        "，" => ",",
        "：" => ":",
        "（" => "(",
        "）" => ")",
        "\u{a0}" | "\u{2007}" | "\u{202f}" | "\u{3000}" | "\u{200b}" | "\u{feff}" => " ",
        _ => return None,
    };
    let title = match plain {
        " " => "a blank that is not a plain one".to_owned(),
        _ => format!("`{}` is no sign of the language", stop.found),
    };
    let curly = stop.failure.input[stop.at + stop.found.len()..].find(['”', '’', '“', '»']).filter(|_| plain == "\"");
    if let Some(length) = curly {
        let start = stop.at + stop.found.len();
        let text = stop.failure.input[start..start + length].to_owned();
        let end = start + length + stop.failure.input[start + length..].chars().next().map_or(0, char::len_utf8);
        return Some(Verdict::Problem(stop.failure.span(stop.at, end), Problem::WrongQuotes { text }));
    }
    titled(
        title,
        if plain == " " { "write a plain blank".to_owned() } else { format!("write `{plain}`") },
        stop.replace_found(plain),
    )
}

fn unknown(stop: &Stop<'_>) -> Option<Verdict> {
    let c = stop.found.chars().next()?;
    let name = match c {
        '$' | '@' | '\\' | '\'' => format!("`{c}`"),
        c if !c.is_ascii() => format!("`{c}`"),
        _ => return None,
    };
    let help = if c.is_alphabetic() {
        "names consist of the letters a to z, digits and `_`; other labels stand in double quotes"
    } else {
        "outside of strings and comments it has no meaning"
    };
    titled(format!("an unknown character {name}"), help, Vec::new())
}
