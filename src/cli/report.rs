//! What the commands that print tables share.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{Failure, Outcome, Source, print, profile, terminal_width};
use crate::cost::{Convention, Options};
use crate::data::write_atomic;
use crate::report::Style;

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(super) enum Format {
    /// For a terminal
    Table,
    /// Versioned, every count an exact integer
    Json,
    /// One line a row
    Csv,
    /// For a pull request
    Markdown,
    /// One self-contained page
    Html,
}

/// A net, what is counted, and where the report goes.
#[derive(Clone, Debug, Args)]
pub(super) struct Counted {
    #[command(flatten)]
    pub(super) source: Source,
    /// Samples in a batch
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    batch: u64,
    /// Count heads that exist in training only as well; for costs also what a training pass takes
    #[arg(long)]
    train: bool,
    /// Which figure is called the operations
    #[arg(long, value_enum, default_value_t = How::Torchvision)]
    convention: How,
    /// A hardware profile that `netc profile` wrote: predicts times
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// How the report is written
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(super) format: Format,
    /// Write the report to a file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum How {
    /// Multiply-accumulates of convolutions and linear layers
    Torchvision,
    /// What fvcore's default handlers count
    Fvcore,
    /// Two for each multiply-accumulate, and everything else
    Flops,
}

impl Counted {
    pub(super) fn options(&self) -> Result<Options, Failure> {
        let convention = match self.convention {
            How::Torchvision => Convention::Torchvision,
            How::Fvcore => Convention::Fvcore,
            How::Flops => Convention::Flops,
        };
        let profile = self.profile.as_deref().map(profile::read).transpose()?;
        Ok(Options { batch: self.batch, train: self.train, convention, profile })
    }

    /// How a table looks where it goes.
    pub(super) fn style(&self) -> Style {
        table_style(self.output.is_none() && std::io::stdout().is_terminal())
    }

    pub(super) fn emit(&self, text: &str) -> Outcome {
        match &self.output {
            Some(path) => Ok(write_atomic(path, |out| out.write_all(text.as_bytes()))?),
            None => print(text),
        }
    }
}

/// How a table looks on a terminal, or elsewhere.
pub(super) fn table_style(terminal: bool) -> Style {
    let width = (terminal || std::env::var_os("COLUMNS").is_some()).then(|| terminal_width(terminal));
    let color = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    Style { width, color }
}
