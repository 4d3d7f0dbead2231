use std::path::PathBuf;

use clap::Args;

use super::weights::plan_options;
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
    /// Plan convolutions without Winograd's transforms
    #[arg(long)]
    exact: bool,
    /// A hardware profile, as `netc profile` writes it: what kernels are picked for
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Say why: rewrites made and declined, and the reason for each kernel
    #[arg(long)]
    explain: bool,
}

impl Plan {
    pub(super) fn run(self) -> Outcome {
        let compiled = self.source.compile()?;
        let optimised = opt::optimise(&compiled.net, &compiled.shapes);
        let plan = plan::plan(&optimised, self.batch as usize, &plan_options(self.exact, self.profile.as_deref())?)?;
        print(&explain::text(&optimised, &plan, self.explain))
    }
}
