//! The command line: arguments, files and exit codes; one file a command, no decisions about nets.
//!
//! Data goes to standard output, messages to standard error. Exit codes: 0 fine, 1 the input is wrong or not as a command
//! was to check, 2 the call is wrong.

mod bench;
mod check;
mod checkpoint;
mod compare;
mod completions;
mod cost;
mod data;
mod diff;
mod eval;
mod expand;
mod explain;
mod export;
mod export_onnx;
mod export_pytorch;
mod fmt;
mod graph;
mod import;
mod init;
mod input;
mod new;
mod plan;
mod profile;
mod report;
mod run;
mod shapes;
mod train;
mod weights;

use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::data::DataError;
use crate::diag::human::{self, Style};
use crate::diag::{Diagnostic, Severity, SourceMap};
use crate::weights::WeightsError;
use crate::{Compiled, FileLoader, Settings};

/// Compile small texts that describe convolutional networks: check their shapes, count their costs, run them.
#[derive(Debug, Parser)]
#[command(name = "netc", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(check::Check),
    Shapes(shapes::Shapes),
    Cost(cost::Cost),
    Diff(diff::Diff),
    Graph(graph::Graph),
    Run(run::Run),
    Fmt(fmt::Fmt),
    Expand(expand::Expand),
    Plan(plan::Plan),
    Bench(bench::Bench),
    Train(train::Train),
    Eval(eval::Eval),
    Data(data::Data),
    Compare(compare::Compare),
    Init(init::Init),
    Import(import::Import),
    Export(export::Export),
    Weights(checkpoint::Weights),
    Profile(profile::Profile),
    Explain(explain::Explain),
    New(new::New),
    Completions(completions::Completions),
}

/// A net and what is fixed of it.
#[derive(Clone, Debug, Args)]
struct Source {
    /// The .net file, or an .onnx model; `-` reads a .net from standard input
    file: String,
    /// Set a parameter of the net, or a free size of its input (repeatable)
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Sizes of the input instead of those declared, as in 3x320x320
    #[arg(long, value_name = "CxHxW", value_parser = parse_shape)]
    shape: Option<Sizes>,
    /// How many values a net may expand to
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    max_values: usize,
    /// Treat advice as errors
    #[arg(long)]
    deny_warnings: bool,
}

/// Sizes joined by `x`.
#[derive(Clone, Debug)]
struct Sizes(Vec<u64>);

fn parse_shape(text: &str) -> Result<Sizes, String> {
    let sizes: Result<Vec<u64>, _> = text.split('x').map(str::parse).collect();
    match sizes {
        Ok(sizes) if sizes.iter().all(|&size| 0 < size) => Ok(Sizes(sizes)),
        _ => Err("write sizes joined by x, for example 3x224x224".to_owned()),
    }
}

/// Why a command stopped; what has to be said about it has been printed, except for the message here.
enum Failure {
    /// The input is wrong or not as it should be, as has been said.
    Said,
    /// The input is wrong.
    Input(String),
    /// The call is wrong.
    Call(String),
    /// Standard output was closed by its reader.
    Closed,
}

impl<E: std::error::Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let any = &error as &dyn std::any::Any;
        let written = |error: &WeightsError| match error {
            WeightsError::Write(data) => Some(data.fix()),
            _ => None,
        };
        let fix = any.downcast_ref::<DataError>().map(DataError::fix);
        let fix = fix.or_else(|| any.downcast_ref::<WeightsError>().and_then(written));
        Failure::Input(fix.map_or_else(|| error.to_string(), |fix| format!("{error}\n  help: {fix}")))
    }
}

type Outcome = Result<(), Failure>;

/// Runs the command that the process was called with.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let outcome = match cli.command {
        Command::Check(command) => command.run(),
        Command::Shapes(command) => command.run(),
        Command::Cost(command) => command.run(),
        Command::Diff(command) => command.run(),
        Command::Graph(command) => command.run(),
        Command::Profile(command) => command.run(),
        Command::Run(command) => command.run(),
        Command::Fmt(command) => command.run(),
        Command::Expand(command) => command.run(),
        Command::Plan(command) => command.run(),
        Command::Bench(command) => command.run(),
        Command::Train(command) => command.run(),
        Command::Eval(command) => command.run(),
        Command::Data(command) => command.run(),
        Command::Compare(command) => command.run(),
        Command::Init(command) => command.run(),
        Command::Import(command) => command.run(),
        Command::Export(command) => command.run(),
        Command::Weights(command) => command.run(),
        Command::Explain(command) => command.run(),
        Command::New(command) => command.run(),
        Command::Completions(command) => command.run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

impl Failure {
    /// Says what has not been said yet; gives the exit code.
    fn report(self) -> ExitCode {
        match self {
            Failure::Closed => ExitCode::SUCCESS,
            Failure::Said => ExitCode::from(1),
            Failure::Input(message) => {
                complain("error", &message);
                ExitCode::from(1)
            }
            Failure::Call(message) => {
                complain("error", &message);
                ExitCode::from(2)
            }
        }
    }
}

/// Prints a message to standard error; the word in front in colour on a terminal.
fn complain(word: &str, message: &str) {
    let color = if word == "error" { "\x1b[1;31m" } else { "\x1b[1;33m" };
    let mut out = anstream::stderr();
    let _ = writeln!(out, "{color}{word}\x1b[0m: {message}");
}

/// What to do about an output that is an input.
const OTHER_FILE: &str = "name another file with -o";

/// Refuses to write over a file that is read, and to write one twice; `help` says what to do.
fn refuse_overwriting(written: &[&Path], read: &[PathBuf], help: &str) -> Outcome {
    for (at, path) in written.iter().enumerate() {
        let own = read.iter().map(PathBuf::as_path).find(|read| is_same(read, path));
        if let Some(what) = own.or_else(|| written[..at].iter().copied().find(|other| other == path)) {
            let (path, what) = (path.display(), what.display());
            return Err(Failure::Call(format!("{path}: would be written over {what}\n  help: {help}")));
        }
    }
    Ok(())
}

/// Whether both are names of a file that exists.
fn is_same(a: &Path, b: &Path) -> bool {
    let whole = |path: &Path| std::fs::canonicalize(path).ok();
    whole(a).is_some_and(|a| Some(a) == whole(b))
}

/// Prints data to standard output.
fn print(text: &str) -> Outcome {
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| match error.kind() {
        std::io::ErrorKind::BrokenPipe => Failure::Closed,
        _ => Failure::Input(format!("cannot write to standard output: {error}")),
    })
}

/// Writes a drawing to a file: a PNG where its name ends so, else the SVG as it is.
fn write_drawing(path: &Path, svg: String) -> Outcome {
    let is_png = path.extension().is_some_and(|extension| extension == "png");
    let bytes = if is_png { crate::picture::png::png(&svg)? } else { svg.into_bytes() };
    Ok(crate::data::write_atomic(path, |out| out.write_all(&bytes))?)
}

/// Prints diagnostics to standard error, with a line that counts them.
fn show(sources: &SourceMap, diagnostics: &[Diagnostic]) {
    if diagnostics.is_empty() {
        return;
    }
    let stderr = std::io::stderr();
    let width = terminal_width(stderr.is_terminal());
    let color = stderr.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let text = human::render(sources, diagnostics, Style { color, width });
    let _ = writeln!(anstream::stderr(), "{text}{}", human::summary(diagnostics));
}

/// Columns of the terminal; 100 where there is none.
fn terminal_width(is_terminal: bool) -> usize {
    let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let asked = || terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    if is_terminal { columns.or_else(asked).unwrap_or(100) } else { columns.unwrap_or(100) }
}

impl Source {
    fn settings(&self) -> Settings {
        Settings {
            set: self.set.clone(),
            shape: self.shape.as_ref().map(|sizes| sizes.0.clone()),
            max_values: self.max_values,
        }
    }

    fn name(&self) -> &str {
        if self.file == "-" { "<stdin>" } else { &self.file }
    }

    fn read(&self) -> Result<Vec<u8>, Failure> {
        read_source(&self.file)
    }

    /// The checked net; mistakes and advice are printed.
    fn compile(&self) -> Result<Compiled, Failure> {
        self.compile_with(&self.settings())
    }

    fn compile_with(&self, settings: &Settings) -> Result<Compiled, Failure> {
        let path = Path::new(&self.file);
        let checked = if crate::is_model(path) {
            crate::check_model(path, settings)?
        } else {
            crate::check(self.name(), self.read()?, &FileLoader, settings)
        };
        let wrong = self.deny_warnings && !checked.diagnostics.is_empty();
        show(&checked.sources, &checked.diagnostics);
        match checked.compiled {
            Some(compiled) if !wrong => Ok(compiled),
            None if checked.diagnostics.iter().all(|diagnostic| diagnostic.severity == Severity::Warning) => {
                Err(Failure::Input(format!("{} holds blocks only; name a file with a net", self.name())))
            }
            _ => Err(Failure::Said),
        }
    }
}

/// The bytes of a source; `-` is standard input.
fn read_source(file: &str) -> Result<Vec<u8>, Failure> {
    let limit = crate::syntax::MAX_SOURCE as u64 + 1;
    let mut bytes = Vec::new();
    let result = if file == "-" {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(limit).read_to_end(&mut bytes))
    };
    match result {
        Ok(_) => Ok(bytes),
        Err(error) => Err(Failure::Input(format!("cannot read {file}: {}", crate::data::reason("read", &error)))),
    }
}
