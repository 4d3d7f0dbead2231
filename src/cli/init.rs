use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::checkpoint::check_name;
use super::{Outcome, Source, complain};
use crate::weights::{Scheme, WriteOptions, init};

/// Write random weights from a seed, the same on every machine
#[derive(Debug, Args)]
pub(super) struct Init {
    #[command(flatten)]
    source: Source,
    /// The file to write: .safetensors, .pth or .pt
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// The seed
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How weights are scaled
    #[arg(long, value_enum, default_value_t = How::He)]
    scheme: How,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum How {
    /// For ReLU and its like (He et al. 2015)
    He,
    /// For tanh and its like (Glorot and Bengio 2010)
    Xavier,
}

impl Init {
    pub(super) fn run(self) -> Outcome {
        check_name(&self.output)?;
        let compiled = self.source.compile()?;
        let scheme = match self.scheme {
            How::He => Scheme::He,
            How::Xavier => Scheme::Xavier,
        };
        let checkpoint = init(&compiled.init_specs(), scheme, self.seed)?;
        checkpoint.write(&self.output, &WriteOptions::default())?;
        complain("note", &format!("{} tensors in {}", checkpoint.len(), self.output.display()));
        Ok(())
    }
}
