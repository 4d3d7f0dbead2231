use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;

use super::input::normalise_by;
use super::weights::Stored;
use super::{Failure, Outcome, Source, complain};
use crate::data::Labels;
use crate::onnx::{ExportOptions, export};
use crate::train::trainer::CLASSES;

/// Turn a net and its weights into an ONNX model
#[derive(Debug, Args)]
pub(super) struct Export {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    stored: Stored,
    /// The .onnx file to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// The operator set of the model
    #[arg(long, value_name = "N", default_value_t = ExportOptions::default().opset)]
    opset: i64,
    /// Class names that the model carries along: JSON, or text with one name a line [default: those of the weights]
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Put the net's preprocessing into the graph: the model takes images as bytes, [batch, height, width, channels]
    #[arg(long)]
    with_preprocess: bool,
    /// Fold batch norms into the layers in front of them
    #[arg(long)]
    fold_bn: bool,
    /// Write the structure alone: every parameter is zeros that take no bytes
    #[arg(long, conflicts_with = "weights")]
    without_weights: bool,
    /// Write large tensors to a file beside the model, FILE.data, as happens to models over 2 GiB
    #[arg(long)]
    tensors_beside: bool,
}

impl Export {
    pub(super) fn run(self) -> Outcome {
        if !crate::is_model(&self.output) {
            return Err(Failure::Call(format!("-o {}: a model is named .onnx", self.output.display())));
        }
        let mut compiled = self.source.compile()?;
        let checkpoint = if self.without_weights { None } else { self.stored.checkpoint(&compiled)? };
        if checkpoint.is_none() && !self.without_weights {
            let message = "name the file of weights with --weights, or leave them out with --without-weights";
            return Err(Failure::Call(message.to_owned()));
        }
        if let Some(checkpoint) = &checkpoint {
            normalise_by(&mut compiled, checkpoint.metadata());
        }
        let mut metadata = BTreeMap::new();
        if let Some(path) = &self.labels {
            metadata.insert(CLASSES.to_owned(), Labels::read(path)?.to_json());
        }
        let options = ExportOptions {
            opset: self.opset,
            folded: self.fold_bn,
            with_preprocess: self.with_preprocess,
            metadata,
            bind: self.stored.bind_options(),
        };
        let model = export(&compiled.net, &compiled.shapes, checkpoint.as_ref(), &options)?;
        model.write(&self.output, self.tensors_beside)?;
        complain("note", &format!("{} in {}", model.summary(), self.output.display()));
        Ok(())
    }
}
