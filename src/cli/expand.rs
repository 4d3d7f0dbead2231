use clap::Args;

use super::{Outcome, Source, print};
use crate::ir::expand::flat;

/// Print the flat form: one value a line, every default written out; it is valid input and means the same net
#[derive(Debug, Args)]
pub(super) struct Expand {
    #[command(flatten)]
    source: Source,
}

impl Expand {
    pub(super) fn run(self) -> Outcome {
        print(&flat(&self.source.compile()?.net))
    }
}
