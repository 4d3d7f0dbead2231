use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{Failure, Outcome, Source, export_pytorch};

/// Write a net for other engines: a module of PyTorch
#[derive(Debug, Args)]
pub(super) struct Export {
    #[command(flatten)]
    pub(super) source: Source,
    /// The file to write: .py
    #[arg(short, long, value_name = "FILE")]
    pub(super) output: PathBuf,
    /// What to write [default: by the name of the file]
    #[arg(long, value_enum)]
    to: Option<To>,
    /// The weights to write beside it: .safetensors, .pth or .pt
    #[arg(long, value_name = "FILE")]
    pub(super) weights: Option<PathBuf>,
    /// A recipe: a program that trains the net by it is written too
    #[arg(long, value_name = "RECIPE")]
    pub(super) recipe: Option<PathBuf>,
    /// The program to write [default: train.py beside the module]
    #[arg(long, value_name = "FILE", requires = "recipe")]
    pub(super) train: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum To {
    /// A module of PyTorch
    Pytorch,
}

impl Export {
    pub(super) fn run(self) -> Outcome {
        let by_name = self.output.extension().filter(|extension| *extension == "py").map(|_| To::Pytorch);
        match self.to.or(by_name) {
            Some(To::Pytorch) => export_pytorch::run(&self),
            None => {
                let output = self.output.display();
                Err(Failure::Call(format!("{output} does not say what to write: end it in .py, or add --to pytorch")))
            }
        }
    }
}
