//! From what the grammar says (a place, and the rules that it tried there) to what the author did.

mod foreign;
mod statements;
mod values;

use super::error::{Found, Hint, Problem, SyntaxError};
use super::grammar::Rule;
use super::scan::{string_end, word_end};
use crate::diag::{Edit, FileId, Span};
use pest::error::{Error, ErrorVariant, InputLocation};

/// A text that the grammar did not read.
pub(super) struct Failure<'a> {
    pub(super) file: FileId,
    /// What the grammar saw.
    pub(super) input: &'a str,
    /// Where in the file that begins.
    pub(super) base: usize,
    /// The entry rule.
    pub(super) rule: Rule,
}

/// The place at which reading stopped.
struct Stop<'a> {
    failure: &'a Failure<'a>,
    /// The offset in the input.
    at: usize,
    /// The word, number, string or sign there; empty at the end.
    found: &'a str,
    /// What was tried there.
    rules: &'a [Rule],
}

/// What was recognised as the author's intention.
enum Verdict {
    /// The expected parts are right, and this helps.
    Hint(Hint),
    /// The same, and another place says more.
    HintAt(Span, Hint),
    /// It is another problem altogether.
    Problem(Span, Problem),
}

/// What is wrong with a text that the grammar did not read.
pub(super) fn diagnose(failure: &Failure<'_>, error: &Error<Rule>) -> Box<SyntaxError> {
    let at = match error.location {
        InputLocation::Pos(at) | InputLocation::Span((at, _)) => at.min(failure.input.len()),
    };
    let rules = match &error.variant {
        ErrorVariant::ParsingError { positives, .. } => positives.as_slice(),
        ErrorVariant::CustomError { .. } => {
            return SyntaxError::new(failure.span(0, failure.input.len()), Problem::NestingTooDeep);
        }
    };
    let stop = Stop { failure, at, found: token(&failure.input[at..]), rules };
    const RECOGNISERS: [fn(&Stop<'_>) -> Option<Verdict>; 4] =
        [values::number, statements::recognise, foreign::recognise, values::recognise];
    let verdict = RECOGNISERS.iter().find_map(|recognise| recognise(&stop));
    let mut span = stop.span();
    let hint = match verdict {
        Some(Verdict::HintAt(place, hint)) => {
            span = place;
            Some(hint)
        }
        Some(Verdict::Problem(span, problem)) => return SyntaxError::new(span, problem),
        Some(Verdict::Hint(hint)) => Some(hint),
        None => None,
    };
    let found = if stop.found.is_empty() { Found::End } else { Found::Text(stop.found.to_owned()) };
    SyntaxError::new(span, Problem::Expected { expected: stop.expected(), found, hint })
}

/// The word, number, string or sign at the start of a text.
pub(super) fn token(text: &str) -> &str {
    const SIGNS: [&str; 14] = ["#[allow", "==", "!=", "<=", ">=", "//", "/*", "..", "->", "&&", "||", "**", "=>", ":="];
    let bytes = text.as_bytes();
    let word = word_end(bytes, 0);
    let length = match bytes.first() {
        None => 0,
        Some(b'"') => string_end(bytes, 0).0,
        Some(_) if word > 0 => word,
        Some(_) => match SIGNS.iter().find(|sign| text.starts_with(**sign)) {
            Some(sign) => sign.len(),
            None => text.chars().next().map_or(0, char::len_utf8),
        },
    };
    &text[..length]
}

impl Failure<'_> {
    fn span(&self, start: usize, end: usize) -> Span {
        super::span(self.file, self.base + start, self.base + end)
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "few rules matter to a reader")]
impl<'a> Stop<'a> {
    fn tried(&self, rule: Rule) -> bool {
        self.rules.contains(&rule)
    }

    /// The input up to here, without blanks at its end.
    fn before(&self) -> &'a str {
        self.failure.input[..self.at].trim_end()
    }

    /// The input from behind the found token, without blanks at its start.
    fn behind(&self) -> &'a str {
        self.failure.input[self.at + self.found.len()..].trim_start()
    }

    /// The word that ends right before here.
    fn last_word(&self) -> &'a str {
        let before = self.before();
        let length = before.bytes().rev().take_while(|&byte| super::scan::is_word(byte)).count();
        &before[before.len() - length..]
    }

    /// The place of what was found.
    fn span(&self) -> Span {
        self.failure.span(self.at, self.at + self.found.len())
    }

    /// Whether a value, name or string begins here.
    fn begins_value(&self) -> bool {
        let keyword =
            super::KEYWORDS.contains(&self.found) && !matches!(self.found, "in" | "not" | "true" | "false" | "if");
        !keyword && self.found.starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '"' | '(' | '['))
    }

    /// Whether a value may stand here.
    fn wants_value(&self) -> bool {
        self.rules.iter().any(|rule| matches!(rule, Rule::expr | Rule::arg | Rule::number | Rule::prefix))
    }

    /// Whether a statement without its layer was read up to here.
    fn wants_layer(&self) -> bool {
        self.tried(Rule::open_body) && self.rules.iter().any(|rule| matches!(rule, Rule::from | Rule::kw_from))
    }

    /// Whether the name of a layer, or what may be a label, was read right before here.
    fn after_name(&self) -> bool {
        (self.tried(Rule::args) || self.tried(Rule::open_paren)) && !self.tried(Rule::infix)
    }

    /// A hint that replaces `start..end` of the input.
    fn replace(&self, start: usize, end: usize, with: impl Into<String>) -> Vec<Edit> {
        vec![Edit { span: self.failure.span(start, end), replacement: with.into() }]
    }

    /// A hint that replaces the found token.
    fn replace_found(&self, with: impl Into<String>) -> Vec<Edit> {
        self.replace(self.at, self.at + self.found.len(), with)
    }

    /// A hint that inserts a text right behind what was read.
    fn insert_before(&self, text: &str) -> Vec<Edit> {
        let at = self.before().len();
        self.replace(at, at, text)
    }

    /// What may stand here, in words.
    fn expected(&self) -> Vec<&'static str> {
        if self.wants_layer() {
            return vec!["a layer name"];
        }
        let mut expected: Vec<&'static str> = Vec::new();
        if self.wants_value() {
            expected.push("a value");
        }
        let after_name = self.after_name();
        for &rule in self.rules {
            let minor = match rule {
                Rule::index | Rule::open_square | Rule::args | Rule::open_paren | Rule::equals
                    if self.tried(Rule::infix) =>
                {
                    true
                }
                Rule::comma | Rule::open_body | Rule::claim if after_name && self.tried(Rule::colon) => true,
                Rule::comma | Rule::close_paren | Rule::close_square | Rule::EOI => false,
                _ => self.wants_value() || rule == Rule::splice && self.rules.len() > 1,
            };
            let at_end = rule == Rule::EOI && self.failure.rule == Rule::lone_expr;
            let word = if at_end { "the end" } else { words(rule) };
            if !minor && !word.is_empty() && !expected.contains(&word) {
                expected.push(word);
            }
        }
        if expected.contains(&words(Rule::path)) {
            expected.retain(|word| *word != words(Rule::string));
        }
        if expected.is_empty() {
            expected.push("something else");
        }
        expected.sort_by_key(|word| (*word == "a new line" || *word == "the end", *word == "an operator"));
        expected
    }
}

/// A rule in the words of its users; empty for what goes without saying.
#[expect(clippy::wildcard_enum_match_arm, reason = "the other rules are never what a reader misses")]
fn words(rule: Rule) -> &'static str {
    match rule {
        Rule::EOI => "a new line",
        Rule::item | Rule::definition | Rule::kw_block | Rule::kw_net => "`net`, `block`, `let` or `import`",
        Rule::statement | Rule::value => "a statement",
        Rule::after_body => "a new line",
        Rule::expr | Rule::arg | Rule::number | Rule::prefix | Rule::list | Rule::paren => "a value",
        Rule::path | Rule::path_start => "a label or `in`",
        Rule::infix => "an operator",
        Rule::name | Rule::call | Rule::param => "a name",
        Rule::pattern => "a name",
        Rule::label | Rule::label_start => "a label",
        Rule::string => "a string",
        Rule::claim | Rule::arrow => "`->`",
        Rule::params | Rule::args | Rule::open_paren => "`(`",
        Rule::close_paren => "`)`",
        Rule::index | Rule::open_square => "`[`",
        Rule::close_square => "`]`",
        Rule::open_body => "`{`",
        Rule::splice => "`{`",
        Rule::comma => "`,`",
        Rule::colon => "`:`",
        Rule::equals => "`=`",
        Rule::at_most => "`<=`",
        Rule::train | Rule::kw_train => "`train`",
        Rule::weight => "`weight`",
        Rule::kw_as => "`as`",
        Rule::kw_in => "`in`",
        Rule::kw_if => "`if`",
        Rule::kw_then => "`then`",
        Rule::kw_else => "`else`",
        Rule::kw_where => "`where`",
        Rule::boolean => "`true` or `false`",
        _ => "",
    }
}

/// Cuts a hint short to its words.
fn hint(help: impl Into<String>, edits: Vec<Edit>) -> Option<Verdict> {
    Some(Verdict::Hint(Hint { title: None, help: help.into(), edits }))
}

/// A hint with a title of its own.
fn titled(title: impl Into<String>, help: impl Into<String>, edits: Vec<Edit>) -> Option<Verdict> {
    Some(Verdict::Hint(Hint { title: Some(title.into()), help: help.into(), edits }))
}

impl Stop<'_> {
    /// A hint with a title of its own that replaces `start..end` of the input, where it points as well.
    fn rewrite(&self, start: usize, end: usize, with: String, title: impl Into<String>, help: &str) -> Option<Verdict> {
        let edits = self.replace(start, end, with);
        let hint = Hint { title: Some(title.into()), help: help.to_owned(), edits };
        Some(Verdict::HintAt(self.failure.span(start, end), hint))
    }
}
