use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::weights::Stored;
use super::{Failure, Outcome, Source, export_onnx, export_pytorch};
use crate::onnx::ExportOptions;

/// Write a net and its weights as a model of ONNX or a module of PyTorch
#[derive(Debug, Args)]
pub(super) struct Export {
    #[command(flatten)]
    pub(super) source: Source,
    /// The file to write: .onnx or .py
    #[arg(short, long, value_name = "FILE")]
    pub(super) output: PathBuf,
    /// What to write [default: by the name of the file]
    #[arg(long, value_enum)]
    to: Option<To>,
    #[command(flatten)]
    pub(super) stored: Stored,
    #[command(flatten)]
    pub(super) onnx: Onnx,
    #[command(flatten)]
    pub(super) pytorch: Pytorch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum To {
    /// A model of ONNX
    Onnx,
    /// A module of PyTorch
    Pytorch,
}

/// What only models of ONNX have.
#[derive(Debug, Args)]
#[command(next_help_heading = "For ONNX")]
pub(super) struct Onnx {
    /// The operator set of the model [default: 21]
    #[arg(long, value_name = "N")]
    opset: Option<i64>,
    /// Class names that the model carries along: JSON, or text with one name a line [default: those of the weights]
    #[arg(long, value_name = "FILE")]
    pub(super) labels: Option<PathBuf>,
    /// Put the net's preprocessing into the graph: the model takes images as bytes, [batch, height, width, channels]
    #[arg(long)]
    pub(super) with_preprocess: bool,
    /// Fold batch norms into the layers in front of them
    #[arg(long)]
    pub(super) fold_bn: bool,
    /// Write the structure alone: every parameter is zeros that take no bytes
    #[arg(long, conflicts_with_all = ["weights", "ignore", "rename", "allow_nan", "no_mmap"])]
    pub(super) without_weights: bool,
    /// Write large tensors to a file beside the model, FILE.data, as happens to models over 2 GiB
    #[arg(long)]
    pub(super) tensors_beside: bool,
}

/// What only modules of PyTorch have.
#[derive(Debug, Args)]
#[command(next_help_heading = "For PyTorch")]
pub(super) struct Pytorch {
    /// A recipe: a program that trains the net by it is written too
    #[arg(long, value_name = "RECIPE")]
    pub(super) recipe: Option<PathBuf>,
    /// The program to write [default: train.py beside the module]
    #[arg(long, value_name = "FILE", requires = "recipe")]
    pub(super) train: Option<PathBuf>,
}

impl Export {
    pub(super) fn run(self) -> Outcome {
        let named = |name: &str| self.output.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(name));
        let by_name = [("onnx", To::Onnx), ("py", To::Pytorch)].into_iter().find(|(name, _)| named(name));
        match self.to.or(by_name.map(|(_, to)| to)) {
            Some(To::Onnx) => {
                self.refuse("PyTorch", &[("--recipe", self.pytorch.recipe.is_some())])?;
                export_onnx::run(&self)
            }
            Some(To::Pytorch) => {
                let Onnx { opset, labels, with_preprocess, fold_bn, without_weights, tensors_beside } = &self.onnx;
                let given = [
                    ("--opset", opset.is_some()),
                    ("--labels", labels.is_some()),
                    ("--with-preprocess", *with_preprocess),
                    ("--fold-bn", *fold_bn),
                    ("--without-weights", *without_weights),
                    ("--tensors-beside", *tensors_beside),
                ];
                self.refuse("ONNX", &given)?;
                export_pytorch::run(&self)
            }
            None => Err(Failure::Call(format!(
                "{} does not say what to write: end it in .onnx or .py, or add --to onnx or --to pytorch",
                self.output.display()
            ))),
        }
    }

    /// The files of the net and its weights.
    pub(super) fn read(&self) -> Vec<PathBuf> {
        let stored = [&self.stored.weights, &self.stored.rename].into_iter().flatten();
        std::iter::once(PathBuf::from(&self.source.file)).chain(stored.cloned()).collect()
    }

    /// Refuses options that mean nothing for what is written.
    fn refuse(&self, other: &str, options: &[(&str, bool)]) -> Outcome {
        match options.iter().find(|(_, given)| *given) {
            Some((option, _)) => {
                let output = self.output.display();
                Err(Failure::Call(format!("{option} is for {other}, and {output} is not")))
            }
            None => Ok(()),
        }
    }
}

impl Onnx {
    /// The operator set that is asked for.
    pub(super) fn opset(&self) -> i64 {
        self.opset.unwrap_or(ExportOptions::default().opset)
    }
}
