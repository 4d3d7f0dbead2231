//! What can be wrong with names, values and wiring, and how it is worded.

use crate::diag::{Diagnostic, Span, codes};
use crate::dim::Dim;

/// A mistake in files, imports and definitions.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each variant is worded below")]
pub enum FileError {
    Import { path: String, reason: String, span: Span },
    ImportCycle { path: String, via: Vec<Span>, span: Span },
    RecursiveBlock { block: String, via: Vec<Span>, span: Span },
    Twice { what: &'static str, name: String, first: Span, span: Span },
    BlockNamedAsLayer { name: String, span: Span },
    NetInImport { net: String, span: Span },
    TwoNets { first: Span, span: Span },
    NoNet { span: Span },
}

impl From<FileError> for Diagnostic {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Import { path, reason, span } => {
                Diagnostic::new(codes::E0210, span, format!("cannot import \"{path}\"")).label(reason)
            }
            FileError::ImportCycle { path, via, span } => {
                let title = format!("\"{path}\" imports itself");
                via.into_iter().fold(
                    Diagnostic::new(codes::E0211, span, title).label("this closes the circle"),
                    |diagnostic, span| diagnostic.also(span, "through this import"),
                )
            }
            FileError::RecursiveBlock { block, via, span } => {
                let title = format!("block `{block}` calls itself");
                via.into_iter().fold(
                    Diagnostic::new(codes::E0211, span, title)
                        .label("this call never ends")
                        .help("use `repeat n { … }` for a block that is applied several times"),
                    |diagnostic, span| diagnostic.also(span, "called here"),
                )
            }
            FileError::Twice { what, name, first, span } => {
                Diagnostic::new(codes::E0212, span, format!("{what} `{name}` is defined twice"))
                    .label("defined again here")
                    .also(first, "first defined here")
            }
            FileError::BlockNamedAsLayer { name, span } => {
                Diagnostic::new(codes::E0212, span, format!("block `{name}` has the name of a layer"))
                    .label("this name is taken")
                    .fix("give the block another name", span, format!("my_{name}"))
            }
            FileError::NetInImport { net, span } => {
                Diagnostic::new(codes::E0213, span, format!("net `{net}` stands in an imported file"))
                    .label("imports hold blocks only")
                    .help("move the shared blocks into a file of their own and import that")
            }
            FileError::TwoNets { first, span } => Diagnostic::new(codes::E0213, span, "a second net in one file")
                .label("one net a file")
                .also(first, "the first one")
                .help("move one of them to a file of its own"),
            FileError::NoNet { span } => Diagnostic::new(codes::E0213, span, "the file has no net")
                .label("only blocks or nothing here")
                .help("write `net name { input x: [3, 224, 224] … output y }`"),
        }
    }
}

/// A mistake in names, arguments and paths.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each variant is worded below")]
pub enum NameError {
    UnknownLayer { name: String, near: Option<String>, bound_to: Option<&'static str>, span: Span },
    UnknownName { name: String, near: Option<String>, note: Option<String>, span: Span },
    UnknownLabel { name: String, near: Option<String>, elsewhere: Option<Span>, span: Span },
    UnknownArgument { callee: String, name: String, near: Option<String>, takes: Vec<String>, span: Span },
    MissingArgument { callee: String, name: String, takes: Vec<String>, span: Span },
    TooManyArguments { callee: String, takes: Vec<String>, span: Span },
    RepeatedArgument { name: String, first: Span, span: Span },
    PositionalAfterNamed { span: Span },
    PathTwice { path: String, first: Span, span: Span },
    Shared { path: String, first: Span, span: Span },
    Setting { name: String, message: String, near: Option<String>, span: Span },
}

impl From<NameError> for Diagnostic {
    fn from(error: NameError) -> Self {
        match error {
            NameError::UnknownLayer { name, near, bound_to, span } => {
                let mut diagnostic = Diagnostic::new(codes::E0201, span, format!("unknown layer or block `{name}`"));
                if let Some(kind) = bound_to {
                    diagnostic = diagnostic.label(format!("this name stands for {kind}"));
                }
                did_you_mean(diagnostic, near, span)
            }
            NameError::UnknownName { name, near, note, span } => {
                let mut diagnostic = Diagnostic::new(codes::E0202, span, format!("unknown name `{name}`"));
                if let Some(note) = note {
                    diagnostic = diagnostic.label(note);
                }
                did_you_mean(diagnostic, near, span)
            }
            NameError::UnknownLabel { name, near, elsewhere, span } => {
                let mut diagnostic =
                    Diagnostic::new(codes::E0203, span, format!("no label `{name}` can be seen from here"));
                if let Some(elsewhere) = elsewhere {
                    diagnostic = diagnostic
                        .also(elsewhere, "a label of this name stands here, in another branch, another block or below");
                }
                did_you_mean(diagnostic, near, span)
            }
            NameError::UnknownArgument { callee, name, near, takes, span } => {
                let diagnostic = Diagnostic::new(codes::E0204, span, format!("`{callee}` has no argument `{name}`"))
                    .note(takes_text(&callee, &takes));
                did_you_mean(diagnostic, near, span)
            }
            NameError::MissingArgument { callee, name, takes, span } => {
                Diagnostic::new(codes::E0205, span, format!("`{callee}` needs its argument `{name}`"))
                    .note(takes_text(&callee, &takes))
            }
            NameError::TooManyArguments { callee, takes, span } => {
                Diagnostic::new(codes::E0206, span, format!("too many arguments for `{callee}`"))
                    .label("this one is too many")
                    .note(takes_text(&callee, &takes))
            }
            NameError::RepeatedArgument { name, first, span } => {
                Diagnostic::new(codes::E0206, span, format!("argument `{name}` is given twice"))
                    .label("given again here")
                    .also(first, "first given here")
            }
            NameError::PositionalAfterNamed { span } => {
                Diagnostic::new(codes::E0206, span, "an argument without a name behind a named one")
                    .label("name this argument, or move it in front of the named ones")
            }
            NameError::PathTwice { path, first, span } => {
                Diagnostic::new(codes::E0207, span, format!("the path `{path}` is taken twice"))
                    .label("labelled again here")
                    .also(first, "first taken here")
                    .note("paths name parameters, so each must be unique")
                    .help("give one of them another label, or put it into a labelled `sequential { … }`")
            }
            NameError::Shared { path, first, span } => {
                Diagnostic::new(codes::E0220, span, format!("`{path}` would be used by two layers"))
                    .label("a layer that has been placed cannot be placed again")
                    .also(first, "placed here, with its own parameters")
                    .note("parameters are never shared between layers")
                    .help("write the layer again under another label, or use its value by `from` or as an operand")
            }
            NameError::Setting { name, message, near, span } => {
                let diagnostic = Diagnostic::new(codes::E0219, span, format!("`{name}` cannot be set")).label(message);
                with_help(diagnostic, near.map(|near| format!("did you mean `{near}`?")))
            }
        }
    }
}

/// A mistake in compile-time values, claims and conditions.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each variant is worded below")]
pub enum ValueError {
    Type { what: String, expected: String, found: String, span: Span },
    Arithmetic { message: String, help: Option<String>, span: Span },
    Symbolic { test: String, symbols: Vec<String>, span: Span },
    Attribute { layer: String, param: String, message: String, help: Option<String>, span: Span },
    Claim { claimed: String, actual: String, arithmetic: Vec<String>, maker: Option<Span>, span: Span },
    Preprocess { message: String, help: Option<String>, span: Span },
    Condition { condition: String, message: String, span: Span },
}

impl From<ValueError> for Diagnostic {
    fn from(error: ValueError) -> Self {
        match error {
            ValueError::Type { what, expected, found, span } => {
                Diagnostic::new(codes::E0208, span, format!("{what} takes {expected}, not {found}"))
                    .label(format!("this is {found}"))
            }
            ValueError::Arithmetic { message, help, span } => {
                with_help(Diagnostic::new(codes::E0209, span, message), help)
            }
            ValueError::Symbolic { test, symbols, span } => {
                let setting: Vec<String> = symbols.iter().map(|symbol| format!("--set {symbol}=224")).collect();
                Diagnostic::new(codes::E0215, span, format!("`{test}` depends on the size of the input"))
                    .label(format!("{} is not known here", symbols.join(" and ")))
                    .help(format!("fix the size: {}", setting.join(" ")))
            }
            ValueError::Attribute { layer, param, message, help, span } => {
                with_help(Diagnostic::new(codes::E0221, span, format!("`{param}` of `{layer}` {message}")), help)
            }
            ValueError::Claim { claimed, actual, arithmetic, maker, span } => {
                let mut diagnostic = Diagnostic::new(codes::E0401, span, format!("the claim {claimed} does not hold"))
                    .label(format!("the value is {actual}"));
                if let Some(maker) = maker {
                    diagnostic = diagnostic.also(maker, format!("makes {actual}"));
                }
                diagnostic.notes = arithmetic;
                diagnostic.fix("if the value is what you want, claim that", span, format!("-> {actual}"))
            }
            ValueError::Preprocess { message, help, span } => {
                with_help(Diagnostic::new(codes::E0403, span, message), help)
            }
            ValueError::Condition { condition, message, span } => {
                Diagnostic::new(codes::E0404, span, format!("the input does not satisfy `{condition}`")).label(message)
            }
        }
    }
}

/// A mistake in what is connected to what.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each variant is worded below")]
pub enum WiringError {
    NothingAbove { what: String, span: Span },
    Operands { layer: String, needs: String, given: usize, span: Span },
    EmptyGroup { group: String, span: Span },
    TooMany { limit: usize, span: Span },
    TooMuch { limit: usize, what: String, values: usize, span: Span },
    TooDeep { span: Span },
    Misplaced { what: String, reason: String, fix: Option<(String, Span, String)>, span: Span },
    NoInput { span: Span },
    NoOutput { last: Option<Span>, span: Span },
    Labels { layer: String, results: usize, labels: usize, span: Span },
}

impl From<WiringError> for Diagnostic {
    fn from(error: WiringError) -> Self {
        match error {
            WiringError::NothingAbove { what, span } => {
                Diagnostic::new(codes::E0214, span, format!("there is no value above {what}"))
                    .label("this takes the value above")
                    .help("start the net with `input name: [channels, height, width]`, or say `from NAME { … }`")
            }
            WiringError::Operands { layer, needs, given, span } => {
                let example = match layer.as_str() {
                    "sub" => Some("write `sub(x, y)`: the first minus the second; `prev` is the value above"),
                    "div" => Some("write `div(x, y)`: the first divided by the second; `prev` is the value above"),
                    "add" | "mul" | "maximum" | "minimum" | "concat" => {
                        Some("list labels, `prev` being the value above, or write branches")
                    }
                    _ => None,
                };
                let title = format!("`{layer}` takes {needs}, not {given}");
                with_help(Diagnostic::new(codes::E0214, span, title), example.map(str::to_owned))
            }
            WiringError::EmptyGroup { group, span } => {
                Diagnostic::new(codes::E0214, span, format!("`{group}` has no branch"))
                    .label("every statement in it would be a branch")
                    .help("an empty pair of braces `{ }` is a branch that passes its input on")
            }
            WiringError::TooMany { limit, span } => {
                Diagnostic::new(codes::E0216, span, format!("the net expands to more than {limit} values"))
                    .label("expansion stopped here")
                    .help("raise the limit with `--max-values N` if this is what you want")
            }
            WiringError::TooMuch { limit, what, values, span } => {
                let title = format!("the net expands to more than {limit} {what}, too many for {values} values");
                Diagnostic::new(codes::E0216, span, title)
                    .label("expansion stopped here")
                    .help("raise the limit with `--max-values N` if this is what you want")
            }
            WiringError::TooDeep { span } => {
                Diagnostic::new(codes::E0104, span, "blocks are nested deeper than 256").label("nesting stopped here")
            }
            WiringError::Misplaced { what, reason, fix, span } => {
                let diagnostic = Diagnostic::new(codes::E0217, span, format!("{what} has no place here")).label(reason);
                match fix {
                    Some((text, span, replacement)) => diagnostic.fix(text, span, replacement),
                    None => diagnostic,
                }
            }
            WiringError::NoInput { span } => Diagnostic::new(codes::E0218, span, "the net has no input")
                .help("start it with `input image: [3, 224, 224]`"),
            WiringError::NoOutput { last, span } => {
                let diagnostic = Diagnostic::new(codes::E0218, span, "the net has no output");
                match last {
                    Some(last) => diagnostic.also(last, "the last value of the net").fix(
                        "name the last value",
                        last.after(),
                        "\n  output y",
                    ),
                    None => diagnostic.help("end it with `output NAME`"),
                }
            }
            WiringError::Labels { layer, results, labels, span } => {
                let names: Vec<String> = (0..results).map(|at| format!("part{at}")).collect();
                Diagnostic::new(
                    codes::E0214,
                    span,
                    format!("`{layer}` gives {}, but {} named", count(results, "value"), is_are(labels)),
                )
                .help(format!("name all of them: `{}: {layer}(…)`", names.join(", ")))
            }
        }
    }
}

fn is_are(count: usize) -> String {
    if count == 1 { "1 is".to_owned() } else { format!("{count} are") }
}

/// `1 value`, `2 values`.
pub fn count(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

fn with_help(diagnostic: Diagnostic, help: Option<String>) -> Diagnostic {
    match help {
        Some(help) => diagnostic.help(help),
        None => diagnostic,
    }
}

fn did_you_mean(diagnostic: Diagnostic, near: Option<String>, span: Span) -> Diagnostic {
    match near {
        Some(near) => diagnostic.fix(format!("did you mean `{near}`?"), span, near),
        None => diagnostic,
    }
}

fn takes_text(callee: &str, takes: &[String]) -> String {
    if takes.is_empty() {
        format!("`{callee}` takes no arguments")
    } else {
        format!("it is written {callee}({})", takes.join(", "))
    }
}

/// The symbols of two sizes together.
pub fn symbols(left: &Dim, right: &Dim) -> Vec<String> {
    let mut symbols = left.symbols();
    symbols.extend(right.symbols());
    symbols.sort();
    symbols.dedup();
    symbols
}
