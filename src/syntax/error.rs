//! What can be wrong with a text, and how it is said.

use crate::diag::{Code, Diagnostic, Edit, Help, Span, codes};

/// A mistake in a text.
#[derive(Clone, Debug, PartialEq)]
pub struct SyntaxError {
    /// The place to look at first.
    pub span: Span,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq)]
pub enum Problem {
    /// Something else belongs here.
    Expected {
        /// What may stand here, in words; never empty.
        expected: Vec<&'static str>,
        /// What stands here.
        found: Found,
        /// What the author probably meant.
        hint: Option<Hint>,
    },
    /// A bracket without its partner.
    Unclosed {
        /// The bracket.
        bracket: char,
        /// A brace that closes this one although its indentation belongs to the other, and that other.
        suspect: Option<(Span, Span)>,
        /// Further braces that are open at the same place.
        others: Vec<Span>,
        /// Where closing it would do, if that is plain.
        fix: Option<Span>,
    },
    /// A closing bracket of another kind than the opening one.
    WrongCloser {
        /// The opening bracket.
        open: Span,
        /// The closing one.
        found: char,
        /// The one that would close it.
        wanted: char,
    },
    /// A closing bracket that closes nothing.
    StrayCloser {
        /// The bracket.
        found: char,
    },
    /// A `"` without its partner on the line.
    UnclosedString,
    /// `\` in front of something that needs no escape.
    UnknownEscape,
    /// `'text'`, `“text”`.
    WrongQuotes {
        /// The text between the quotes.
        text: String,
    },
    /// `from x{`.
    MissingBlank,
    /// A control character other than line breaks and tabs.
    ControlCharacter {
        /// The character.
        character: char,
    },
    /// A number with letters in it, or without digits where they belong.
    MalformedNumber {
        /// As written.
        text: String,
    },
    /// An integer beyond 64 bits.
    IntegerTooLarge,
    /// A float beyond the finite ones.
    FloatTooLarge,
    /// Brackets or operators nested deeper than the limit.
    NestingTooDeep,
    /// A single statement longer than the limit.
    StatementTooLong,
    /// A source longer than the limit.
    SourceTooLarge,
    /// A statement at the top of a file.
    StatementOutside,
    /// Bytes that are not UTF-8.
    NotUtf8,
    /// Errors beyond the limit.
    TooManyErrors,
    /// `a < b < c`.
    ChainedComparison {
        /// The first comparison, from its left to its right operand.
        first: Span,
        /// Its right operand as written.
        middle: String,
    },
    /// `a + not b`.
    NotAsOperand,
    /// `True`, `False`, `None`.
    PythonConstant {
        /// As written.
        text: String,
    },
    /// A path in front of parentheses.
    NoFunction {
        /// The path.
        text: String,
    },
    /// `#[allow(…)]` with nothing below it that it could apply to.
    LooseAllow,
}

/// What stands where something else belongs.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// The end of the statement.
    End,
    /// A word, number, string or sign.
    Text(String),
}

/// What the author probably meant, for [`Problem::Expected`].
#[derive(Clone, Debug, PartialEq)]
pub struct Hint {
    /// In place of the list of what may stand here.
    pub title: Option<String>,
    /// The words of the suggestion.
    pub help: String,
    /// The edits that carry it out, if it can be said as text.
    pub edits: Vec<Edit>,
}

/// The outcome of a step that can find a mistake.
pub(super) type Result<T> = std::result::Result<T, Box<SyntaxError>>;

impl SyntaxError {
    pub(super) fn new(span: Span, problem: Problem) -> Box<Self> {
        Box::new(SyntaxError { span, problem })
    }

    /// The error in words.
    pub fn to_diagnostic(&self) -> Diagnostic {
        let at = self.span;
        match &self.problem {
            Problem::Expected { expected, found, hint } => self.expected(expected, found, hint.as_ref()),
            Problem::Unclosed { bracket, suspect, others, fix } => self.unclosed(*bracket, *suspect, others, *fix),
            Problem::WrongCloser { open, found, wanted } => {
                Diagnostic::new(codes::E0101, at, format!("`{found}` closes a bracket of another kind"))
                    .label(format!("expected `{wanted}`"))
                    .also(*open, "this bracket is open")
                    .fix(format!("close it with `{wanted}`"), at, wanted.to_string())
            }
            Problem::StrayCloser { found } => {
                Diagnostic::new(codes::E0101, at, format!("`{found}` closes nothing"))
                    .label("no bracket is open here")
                    .fix("leave it out", at, "")
            }
            Problem::UnclosedString => Diagnostic::new(codes::E0102, at, "a string is not closed")
                .label("no second `\"` on this line")
                .fix("close it where it ends", at.after(), "\""),
            Problem::UnknownEscape => Diagnostic::new(codes::E0101, at, "an unknown escape in a string")
                .label("not an escape")
                .help("the escapes are `\\\"`, `\\\\`, `\\n` and `\\t`; a backslash itself is `\\\\`"),
            Problem::WrongQuotes { text } => Diagnostic::new(codes::E0101, at, "strings stand in double quotes")
                .label("other quotes")
                .fix("use double quotes", at, format!("\"{}\"", text.replace("\\'", "'").replace('"', "\\\""))),
            Problem::ControlCharacter { character } => {
                let title = format!("an unknown character U+{:04X}", u32::from(*character));
                Diagnostic::new(codes::E0101, at, title).fix("leave it out", at, "")
            }
            Problem::MissingBlank => Diagnostic::new(codes::E0101, at, "a blank must stand before `{`")
                .label("touching the text before it, `{` would begin an expression in a name, as in `enc{i}`")
                .fix("put a blank before the brace", at.before(), " "),
            Problem::MalformedNumber { text } => self.malformed_number(text),
            Problem::IntegerTooLarge => Diagnostic::new(codes::E0103, at, "an integer that is too large")
                .label(format!("integers go up to {}", i64::MAX)),
            Problem::FloatTooLarge => Diagnostic::new(codes::E0103, at, "a number that is too large")
                .label("numbers go up to 1.8e308"),
            Problem::NestingTooDeep => self.limit(
                codes::E0104,
                format!("nesting deeper than {}", super::scan::MAX_NESTING),
                "one level too many",
                "give inner parts names with `let`, or blocks of their own",
            ),
            Problem::StatementTooLong => self.limit(
                codes::E0105,
                format!("a statement longer than {} KiB", super::read::MAX_STATEMENT >> 10),
                "it begins here",
                "end statements with a new line or `;`, and keep tables of numbers in weights",
            ),
            Problem::SourceTooLarge => self.limit(
                codes::E0105,
                format!("a source larger than {} MiB", super::parse::MAX_SOURCE >> 20),
                "not read",
                "use blocks, `repeat` and `for` in place of expanded text",
            ),
            Problem::TooManyErrors => self.limit(
                codes::E0105,
                format!("more than {} errors", super::lines::MAX_ERRORS),
                "the rest of the file has not been read",
                "mend the errors above first",
            ),
            Problem::NotUtf8 => Diagnostic::new(codes::E0105, at, "the source is not UTF-8")
                .label("these bytes are not text")
                .help("save the file as UTF-8"),
            Problem::ChainedComparison { first, middle } => {
                Diagnostic::new(codes::E0101, at, "comparisons do not chain")
                    .label("a second comparison")
                    .also(*first, "its left side is this comparison")
                    .fix("join two comparisons with `and`", at.before(), format!("and {middle} "))
            }
            Problem::NotAsOperand => {
                Diagnostic::new(codes::E0101, at, "`not` binds looser than the operator before it")
                    .label("not an operand")
                    .help("put `not …` in parentheses")
            }
            Problem::PythonConstant { text } => self.python_constant(text),
            Problem::NoFunction { text } => {
                Diagnostic::new(codes::E0101, at, format!("`{}` is not the name of a function", shorten(text)))
                    .help("functions and layers have plain names: `floor(x)`, `max(a, b)`, `bn(eps = 0.001)`")
            }
            Problem::StatementOutside => {
                Diagnostic::new(codes::E0101, at, "a statement outside of `net` and `block`")
                    .label("the top of a file consists of `net`, `block`, `let` and `import`")
                    .help("put it between the braces of a `net name { … }` or `block name { … }`; is a `}` above one too many?")
            }
            Problem::LooseAllow => Diagnostic::new(codes::E0101, at, "`#[allow(…)]` applies to nothing")
                .label("no statement, block or net follows")
                .help("it stands on the line above a statement, a block or a net"),
        }
    }

    fn expected(&self, expected: &[&'static str], found: &Found, hint: Option<&Hint>) -> Diagnostic {
        let list = one_of(expected);
        let title = hint.and_then(|hint| hint.title.clone()).unwrap_or_else(|| match found {
            Found::End => format!("expected {list}, but the line ends"),
            Found::Text(text) => format!("expected {list}, found `{}`", shorten(text)),
        });
        let mut diagnostic = Diagnostic::new(codes::E0101, self.span, title);
        if hint.is_none_or(|hint| hint.title.is_none()) {
            diagnostic = diagnostic.label(format!("expected {list}"));
        }
        if let Some(hint) = hint {
            diagnostic.help.push(Help { text: hint.help.clone(), edits: hint.edits.clone() });
        }
        diagnostic
    }

    fn unclosed(&self, bracket: char, suspect: Option<(Span, Span)>, others: &[Span], fix: Option<Span>) -> Diagnostic {
        let closer = match bracket {
            '(' => ')',
            '[' => ']',
            _ => '}',
        };
        let mut diagnostic = Diagnostic::new(codes::E0102, self.span, format!("`{bracket}` is not closed"));
        diagnostic.primary.text = match suspect {
            Some(_) => "probably this brace is not closed".to_owned(),
            None => format!("no `{closer}` for this"),
        };
        if let Some((closer, inner)) = suspect {
            diagnostic = diagnostic
                .also(closer, "the brace that closes it is indented otherwise")
                .also(inner, "so that no brace is left for this one");
        }
        for &other in others.iter().take(3) {
            diagnostic = diagnostic.also(other, "not closed either");
        }
        if let Some(place) = fix {
            diagnostic = diagnostic.fix("close it", place, closer.to_string());
        }
        diagnostic
    }

    fn malformed_number(&self, text: &str) -> Diagnostic {
        let diagnostic = Diagnostic::new(codes::E0103, self.span, format!("`{}` is not a number", shorten(text)))
            .label("a malformed number");
        let sizes = text.split_once(['x', 'X']);
        if let Some((h, w)) = sizes
            && [h, w].iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
            && h != "0"
        {
            return diagnostic.fix("a pair of sizes is a list", self.span, format!("[{h}, {w}]"));
        }
        if let Some(rest) = text.strip_prefix('.') {
            return diagnostic.fix("write the zero", self.span, format!("0.{rest}"));
        }
        if let Some(digits) = text.strip_suffix('.') {
            return diagnostic.fix("write the digit behind the point", self.span, format!("{digits}.0"));
        }
        let digits = text.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
        if matches!(&text[digits..], "K" | "M" | "G" | "T" | "KB" | "MB" | "GB" | "KiB" | "MiB" | "GiB") {
            let unit = format!("{} {}", &text[..digits], &text[digits..]);
            return diagnostic.fix("in a budget, put a blank before the unit", self.span, unit);
        }
        diagnostic.help(
            "numbers look like `64`, `1_000`, `0.5` or `1e-5`; a label or name that begins with a digit needs quotes",
        )
    }

    fn limit(&self, code: Code, title: String, label: &str, help: &str) -> Diagnostic {
        Diagnostic::new(code, self.span, title).label(label).help(help)
    }

    fn python_constant(&self, text: &str) -> Diagnostic {
        let diagnostic = Diagnostic::new(codes::E0101, self.span, format!("`{text}` is Python's"));
        match text {
            "True" => diagnostic.label("not a value here").fix("truth is written small", self.span, "true"),
            "False" => diagnostic.label("not a value here").fix("falsehood is written small", self.span, "false"),
            _ => diagnostic
                .label("there is no empty value")
                .help("leave the argument out to get its default; an empty branch is `identity`"),
        }
    }
}

/// `a`, `a or b`, `a, b or c`.
fn one_of(words: &[&str]) -> String {
    match words {
        [] => "something else".to_owned(),
        [one] => (*one).to_owned(),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}

fn shorten(text: &str) -> String {
    if text.chars().count() <= 24 { text.to_owned() } else { text.chars().take(23).chain(['…']).collect() }
}
