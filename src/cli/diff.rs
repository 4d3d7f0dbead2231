use clap::{Args, ValueEnum};
use std::io::IsTerminal;

use super::report::table_style;
use super::{Outcome, Source, print};
use crate::cost::{Options, analyse, diff};
use crate::report::diff as report;

/// Compare two nets: structure by path, shapes and costs
#[derive(Debug, Args)]
pub(super) struct Diff {
    /// The net before
    before: String,
    /// The net after
    after: String,
    /// Set a parameter, or a free size of the input, in both (repeatable)
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Samples in a batch
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    batch: u64,
    /// How the comparison is written
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// For a terminal
    Table,
    /// For a pull request
    Markdown,
    /// For tools
    Json,
}

impl Diff {
    pub(super) fn run(self) -> Outcome {
        let options = Options { batch: self.batch, ..Options::default() };
        let source = |file: &str| Source {
            file: file.to_owned(),
            set: self.set.clone(),
            shape: None,
            max_values: crate::Settings::default().max_values,
            deny_warnings: false,
        };
        let (before, after) = (source(&self.before).compile()?, source(&self.after).compile()?);
        let before_report = analyse(&before.net, &before.shapes, &options)?;
        let after_report = analyse(&after.net, &after.shapes, &options)?;
        let diff = diff::diff(
            diff::Side { net: &before.net, report: &before_report },
            diff::Side { net: &after.net, report: &after_report },
        );
        print(&match self.format {
            Format::Table => report::table(&diff, table_style(std::io::stdout().is_terminal())),
            Format::Markdown => report::markdown(&diff),
            Format::Json => report::json(&diff),
        })
    }
}
