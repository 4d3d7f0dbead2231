//! Slips in the frame of a statement: labels, bodies, things in the wrong place.

use super::{Stop, Verdict, hint, titled};
use crate::syntax::KEYWORDS;
use crate::syntax::error::{Hint, Problem};
use crate::syntax::grammar::{Grammar, Rule};
use crate::syntax::scan::{is_word, word_end};
use pest::Parser as _;

/// Recognises slips in the frame of a statement.
pub(super) fn recognise(stop: &Stop<'_>) -> Option<Verdict> {
    missing_blank(stop)
        .or_else(|| wrong_place(stop))
        .or_else(|| label(stop))
        .or_else(|| layer(stop))
        .or_else(|| body(stop))
        .or_else(|| settings(stop))
        .or_else(|| import(stop))
        .or_else(|| input_output(stop))
}

fn is_statement(stop: &Stop<'_>) -> bool {
    stop.failure.rule == Rule::statement
}

/// `from x{`: the brace touches a word, so that it began an expression.
fn missing_blank(stop: &Stop<'_>) -> Option<Verdict> {
    let input = stop.failure.input;
    let touches = |at: usize| at > 0 && is_word(input.as_bytes()[at - 1]);
    let at = if stop.found == "{" && touches(stop.at) {
        stop.at
    } else if stop.rules == [Rule::EOI] && stop.before().ends_with('{') && touches(stop.before().len() - 1) {
        stop.before().len() - 1
    } else if stop.found.is_empty() && input.ends_with('}') && (stop.tried(Rule::open_body) || stop.tried(Rule::colon))
    {
        let mut depth = 0_usize;
        input.bytes().rposition(|byte| {
            match byte {
                b'}' => depth += 1,
                b'{' => depth -= 1,
                _ => {}
            }
            depth == 0
        })?
    } else {
        return None;
    };
    Some(Verdict::Problem(stop.failure.span(at, at + 1), Problem::MissingBlank))
}

/// Things at the start of a statement that belong elsewhere.
fn wrong_place(stop: &Stop<'_>) -> Option<Verdict> {
    let rule = stop.failure.rule;
    let first = super::token(stop.failure.input);
    if stop.at != 0 && stop.before() != first {
        return None;
    }
    match first {
        "def" | "fn" | "func" | "function" | "class" => {
            let title = format!("`{first}` is no keyword");
            let help = "a block is defined with `block name(parameters) { … }`";
            return Some(Verdict::HintAt(
                stop.failure.span(0, first.len()),
                Hint { title: Some(title), help: help.to_owned(), edits: Vec::new() },
            ));
        }
        "elif" | "elsif" if rule == Rule::after_body => {
            let title = format!("`{first}` is no keyword");
            return stop.rewrite(0, first.len(), "else if".to_owned(), title, "write `else if`");
        }
        _ => {}
    }
    if stop.at != 0 {
        return None;
    }
    match (rule, stop.found) {
        (Rule::statement, "else") => {
            titled("`else` without `if`", "`else` stays on the line of the `}` before it", Vec::new())
        }
        (Rule::statement | Rule::item, "->") => {
            titled("a claim without a layer", "`->` stays on the line of what it follows", Vec::new())
        }
        (Rule::statement, "block" | "net" | "import") if !stop.behind().starts_with(':') => titled(
            format!("`{}` has no place in a body", stop.found),
            "it stands at the top of a file; is a `}` missing above?",
            Vec::new(),
        ),
        (Rule::item, _) => statement_at_the_top(stop),
        _ => None,
    }
}

fn statement_at_the_top(stop: &Stop<'_>) -> Option<Verdict> {
    let input = stop.failure.input;
    if Grammar::parse(Rule::statement, input).is_ok() {
        return Some(Verdict::Problem(stop.span(), Problem::StatementOutside));
    }
    let name = word_end(input.as_bytes(), 0);
    let bound = input[name..].trim_start().strip_prefix('=').is_some_and(|rest| !rest.starts_with('='));
    if name > 0 && bound && !KEYWORDS.contains(&&input[..name]) {
        return titled("a name is bound with `let`", "write `let` before it", stop.replace(0, 0, "let "));
    }
    None
}

fn label(stop: &Stop<'_>) -> Option<Verdict> {
    if !is_statement(stop) {
        return None;
    }
    let input = stop.failure.input;
    if stop.found == "=" && stop.tried(Rule::colon) {
        let behind = stop.behind();
        if behind.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '"' | '[' | '-')) {
            return titled("a name is bound with `let`", "write `let` before it", stop.replace(0, 0, "let "));
        }
        let edits = stop.replace(stop.before().len(), stop.at + 1, ":");
        return titled("a label takes a colon", format!("write `{}: {}`", stop.before(), super::token(behind)), edits);
    }
    let colon =
        input.bytes().position(|byte| matches!(byte, b':' | b'(' | b'"' | b'\n' | b'{' | b'=' | b'[' | b'>'))?;
    if input.as_bytes()[colon] != b':' || stop.at > colon {
        return None;
    }
    let text = input[..colon].trim_end();
    let quoted = format!("\"{}\"", text.replace('\\', "\\\\"));
    if KEYWORDS.contains(&text) {
        let title = format!("`{text}` is a keyword and cannot be a label");
        return stop.rewrite(0, text.len(), quoted, title, "in quotes it can");
    }
    if stop.at == colon || text.is_empty() || text.contains(',') || matches!(super::token(input), "input" | "output") {
        return None;
    }
    stop.rewrite(0, text.len(), quoted, "a label that is not a name or a number", "put it in quotes")
}

fn layer(stop: &Stop<'_>) -> Option<Verdict> {
    if !is_statement(stop) {
        return None;
    }
    if stop.found == "(" && stop.tried(Rule::colon) {
        return dotted_layer();
    }
    if stop.wants_layer() {
        return layer_missing(stop);
    }
    if !stop.after_name() || stop.last_word().is_empty() {
        return None;
    }
    let word = stop.last_word();
    match stop.found {
        "." => return dotted_layer(),
        ":" => {
            let help = "the parts of one label are joined by dots, several labels by commas";
            return titled("a label behind a label", help, Vec::new());
        }
        _ => {}
    }
    if stop.found.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '"' | '[' | '-')) {
        return arguments(stop, word);
    }
    if stop.begins_value() && stop.tried(Rule::colon) {
        let edits = if stop.behind().starts_with(['(', '{']) { stop.insert_before(":") } else { Vec::new() };
        return hint(
            format!("if `{word}` is a label, write `{word}: {}`; two layers stand on two lines", stop.found),
            edits,
        );
    }
    None
}

/// `conv 64, 3` or `conv 64 3`.
fn arguments(stop: &Stop<'_>, word: &str) -> Option<Verdict> {
    let behind = &stop.failure.input[stop.at..];
    let args = behind[..behind.find("->").unwrap_or(behind.len())].trim_end();
    let is_plain = !args.contains(['(', '[', '{', '"', '=', '+', '*', '/', '%']);
    let list = match args.split([' ', ',']).filter(|arg| !arg.is_empty()).collect::<Vec<_>>() {
        words if is_plain => words.join(", "),
        _ => args.to_owned(),
    };
    let edits = stop.replace(stop.before().len(), stop.at + args.len(), format!("({list})"));
    titled("arguments stand in parentheses", format!("write `{word}(…)`"), edits)
}

fn dotted_layer() -> Option<Verdict> {
    titled(
        "the name of a layer has no dots",
        "layers need no prefix: `conv(64, 3)`, `relu`; blocks are called by the name after `block`",
        Vec::new(),
    )
}

fn layer_missing(stop: &Stop<'_>) -> Option<Verdict> {
    let label = stop.before().trim_end_matches(':').trim_end();
    if stop.found.is_empty() {
        let title = "expected a layer name after the label";
        return titled(title, format!("write what `{label}` is, as in `{label}: relu`, on the same line"), Vec::new());
    }
    if KEYWORDS.contains(&stop.found) {
        let title = format!("`{}` takes no label", stop.found);
        return titled(title, "a label stands before a layer, a block, braces or `from`", Vec::new());
    }
    None
}

/// What should have opened a body.
fn body(stop: &Stop<'_>) -> Option<Verdict> {
    if !stop.tried(Rule::open_body) {
        return None;
    }
    match stop.found {
        ":" if stop.behind().starts_with('{') => {
            let brace = stop.failure.input.len() - stop.behind().len();
            titled("a body takes no colon", "leave the colon out", stop.replace(stop.at, brace, " "))
        }
        ":" => titled("a body stands in braces", "write `{` here and `}` after the last line of the body", Vec::new()),
        "" => hint("a body stands in braces, the first of them on this line", Vec::new()),
        _ => None,
    }
}

/// Entries of `preprocess` and `budget`.
fn settings(stop: &Stop<'_>) -> Option<Verdict> {
    match (stop.failure.rule, stop.found) {
        (Rule::budget_entry, "<" | "=" | "==" | ":" | ">=" | ">") if stop.tried(Rule::at_most) => {
            hint("a budget is an upper bound, as in `macs <= 4.2 G`", stop.replace_found("<="))
        }
        (Rule::preprocess_entry, "=" | ":") => {
            let edits = stop.replace(stop.before().len(), stop.at + 1, "");
            hint("a step is a word and its value, as in `resize 256`", edits)
        }
        (Rule::preprocess_entry, ",") => hint("several values stand in a list, as in `[0.5, 0.5, 0.5]`", Vec::new()),
        _ => None,
    }
}

fn import(stop: &Stop<'_>) -> Option<Verdict> {
    if stop.tried(Rule::string) && stop.rules.len() == 1 && !stop.found.is_empty() {
        let path = stop.failure.input[stop.at..].trim_end();
        let edits = stop.replace(stop.at, stop.at + path.len(), format!("\"{path}\""));
        return titled("the path of an import stands in double quotes", "put it in quotes", edits);
    }
    None
}

fn input_output(stop: &Stop<'_>) -> Option<Verdict> {
    match super::token(stop.failure.input) {
        "output" if stop.tried(Rule::train) || stop.tried(Rule::kw_train) => {
            let colon = stop.before().strip_suffix(':').map_or(stop.before().len(), |text| text.trim_end().len());
            let edits = stop.replace(colon, stop.at, " = ");
            hint("another value than the one above is named with `=`; `: train` marks outputs of training", edits)
        }
        "from" | "output" if stop.found.starts_with(|c: char| c.is_ascii_digit()) && stop.tried(Rule::string) => {
            let (start, end) = (stop.at, stop.at + stop.found.len());
            let (label, title) = (stop.found, "a label that is a number stands in quotes here");
            stop.rewrite(start, end, format!("\"{label}\""), title, "put it in quotes")
        }
        "input" if stop.found == "[" && stop.tried(Rule::colon) => {
            hint("a colon stands between the name and its sizes", stop.insert_before(":"))
        }
        _ => None,
    }
}
