//! `netc weights`: files of weights themselves, without a net.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};

use super::report::table_style;
use super::{Failure, Outcome, complain, print};
use crate::report::weights::{diff, list};
use crate::weights::{Checkpoint, Float, Format, OpenOptions, Rename, WriteOptions, compare, matches, meant};

/// List, compare, rename and convert the tensors of weights
#[derive(Debug, Args)]
pub(super) struct Weights {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Ls(Ls),
    Diff(Diff),
    Rename(Renamed),
    Convert(Convert),
}

impl Weights {
    pub(super) fn run(self) -> Outcome {
        match self.command {
            Command::Ls(command) => command.run(),
            Command::Diff(command) => command.run(),
            Command::Rename(command) => command.run(),
            Command::Convert(command) => command.run(),
        }
    }
}

/// List the tensors of a file in its order
#[derive(Debug, Args)]
struct Ls {
    /// A .safetensors, .pth or .pt file
    file: PathBuf,
    /// Only names that meet one of these, with * and ? as wildcards
    #[arg(value_name = "PATTERN")]
    patterns: Vec<String>,
    /// Also smallest, largest, mean, standard deviation and counts of NaN and infinity
    #[arg(long)]
    stats: bool,
    /// How the list is written
    #[arg(long, value_enum, default_value_t = How::Table)]
    format: How,
}

/// Compare the tensors of two files; exit 1 when they differ
#[derive(Debug, Args)]
struct Diff {
    /// The file before
    before: PathBuf,
    /// The file after
    after: PathBuf,
    /// A TOML file that gives the names of the file before those of the file after
    #[arg(long, value_name = "MAP")]
    rename: Option<PathBuf>,
    /// The largest max |before - after| / max |after| of a tensor that counts as none
    #[arg(long, value_name = "T", default_value = "0", value_parser = parse_tolerance)]
    tolerance: f64,
    /// How the comparison is written
    #[arg(long, value_enum, default_value_t = How::Table)]
    format: How,
}

/// Give tensors other names
#[derive(Debug, Args)]
struct Renamed {
    /// A .safetensors, .pth or .pt file
    file: PathBuf,
    /// A TOML file of rules: tables [names], [prefix] and [patterns]
    map: PathBuf,
    /// The file to write: .safetensors, .pth or .pt
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// Write weights in another form or type of numbers
#[derive(Debug, Args)]
struct Convert {
    /// A .safetensors, .pth or .pt file
    file: PathBuf,
    /// The file to write: .safetensors, .pth or .pt
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// The type of floating numbers; integers and booleans stay
    #[arg(long, value_enum, value_name = "TYPE")]
    dtype: Option<Kind>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum How {
    /// For a terminal
    Table,
    /// For tools
    Json,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// IEEE 754 binary32
    F32,
    /// IEEE 754 binary16
    F16,
    /// The upper half of a binary32
    Bf16,
    /// IEEE 754 binary64
    F64,
}

fn parse_tolerance(text: &str) -> Result<f64, String> {
    let tolerance = text.parse().ok().filter(|tolerance: &f64| tolerance.is_finite() && 0.0 <= *tolerance);
    tolerance.ok_or_else(|| "a number, 0 or larger, such as 1e-3".to_owned())
}

fn open(path: &Path) -> Result<Checkpoint, Failure> {
    Ok(Checkpoint::open(path, &OpenOptions::default())?)
}

impl Ls {
    fn run(self) -> Outcome {
        let checkpoint = open(&self.file)?;
        let names = || checkpoint.iter().map(|(name, _)| name);
        let idle = self.patterns.iter().filter(|pattern| !names().any(|name| matches(pattern, name)));
        let idle: Vec<String> = idle
            .map(|pattern| {
                let near = meant(pattern, names()).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
                format!("{}: no tensor is called `{pattern}`{near}", self.file.display())
            })
            .collect();
        if !idle.is_empty() {
            return Err(Failure::Call(idle.join("\n")));
        }
        let keep = |name: &str| self.patterns.is_empty() || self.patterns.iter().any(|pattern| matches(pattern, name));
        let rows = list::rows(&checkpoint, keep, self.stats);
        print(&match self.format {
            How::Table => list::table(&checkpoint, &rows, table_style(std::io::stdout().is_terminal())),
            How::Json => list::json(&checkpoint, &rows),
        })
    }
}

impl Diff {
    fn run(self) -> Outcome {
        let (mut before, after) = (open(&self.before)?, open(&self.after)?);
        if let Some(map) = &self.rename {
            before = Rename::open(map)?.apply(&before)?;
        }
        let comparison = compare(&before, &after, self.tolerance);
        let names = [self.before.display().to_string(), self.after.display().to_string()];
        let names = [names[0].as_str(), names[1].as_str()];
        print(&match self.format {
            How::Table => diff::table(&comparison, names, table_style(std::io::stdout().is_terminal())),
            How::Json => diff::json(&comparison, names),
        })?;
        if comparison.is_same() { Ok(()) } else { Err(Failure::Said) }
    }
}

impl Renamed {
    fn run(self) -> Outcome {
        check_name(&self.output)?;
        let checkpoint = open(&self.file)?;
        let renamed = Rename::open(&self.map)?.apply(&checkpoint)?;
        write(&renamed, &self.output, None)
    }
}

impl Convert {
    fn run(self) -> Outcome {
        check_name(&self.output)?;
        let float = self.dtype.map(|kind| match kind {
            Kind::F32 => Float::F32,
            Kind::F16 => Float::F16,
            Kind::Bf16 => Float::BF16,
            Kind::F64 => Float::F64,
        });
        write(&open(&self.file)?, &self.output, float)
    }
}

/// That the name says a form is a matter of the call, and known before anything is read.
pub(super) fn check_name(output: &Path) -> Outcome {
    Format::to_write(output).map(|_| ()).map_err(|error| Failure::Call(error.to_string()))
}

fn write(checkpoint: &Checkpoint, output: &Path, float: Option<Float>) -> Outcome {
    checkpoint.write(output, &WriteOptions { float })?;
    let skipped = match checkpoint.skipped() {
        0 => String::new(),
        skipped => format!("; left out because they are no tensors: {skipped}"),
    };
    complain("note", &format!("{} tensors in {}{skipped}", checkpoint.len(), output.display()));
    Ok(())
}
