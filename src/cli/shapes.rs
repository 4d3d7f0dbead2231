use clap::Args;

use super::Outcome;
use super::report::{Counted, Format};
use crate::cost::analyse;
use crate::report::shapes;

/// Print the shape of every value, with parameters and receptive fields
#[derive(Debug, Args)]
pub(super) struct Shapes {
    #[command(flatten)]
    counted: Counted,
}

impl Shapes {
    pub(super) fn run(self) -> Outcome {
        let compiled = self.counted.source.compile()?;
        let report = analyse(&compiled.net, &compiled.shapes, &self.counted.options()?)?;
        self.counted.emit(&match self.counted.format {
            Format::Table => shapes::table(&report, self.counted.style()),
            Format::Json => shapes::json(&report),
            Format::Csv => shapes::csv(&report),
            Format::Markdown => shapes::markdown(&report),
            Format::Html => shapes::html(&report),
        })
    }
}
