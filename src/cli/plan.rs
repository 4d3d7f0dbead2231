use clap::Args;

use super::weights::Planning;
use super::{Outcome, Source, print};
use crate::opt;
use crate::plan::{self, explain};

/// Show how a net would be executed: steps, kernels, and places in memory
#[derive(Debug, Args)]
pub(super) struct Plan {
    #[command(flatten)]
    source: Source,
    /// Samples in a batch
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    #[command(flatten)]
    planning: Planning,
    /// Say why: rewrites made and declined, and the reason for each kernel
    #[arg(long)]
    explain: bool,
}

impl Plan {
    pub(super) fn run(self) -> Outcome {
        let compiled = self.source.compile()?;
        let optimised = opt::optimise(&compiled.net, &compiled.shapes);
        let plan = plan::plan(&optimised, self.batch as usize, &self.planning.options()?)?;
        print(&explain::text(&optimised, &plan, self.explain))
    }
}
