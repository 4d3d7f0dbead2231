use std::collections::BTreeMap;

use super::export::Export;
use super::input::normalise_by;
use super::{Failure, Outcome, complain};
use crate::data::Labels;
use crate::onnx::{self, ExportOptions};
use crate::train::trainer::CLASSES;

/// Writes the model.
pub(super) fn run(export: &Export) -> Outcome {
    let mut compiled = export.source.compile()?;
    let checkpoint = if export.onnx.without_weights { None } else { export.stored.checkpoint(&compiled)? };
    if checkpoint.is_none() && !export.onnx.without_weights {
        let message = "name the file of weights with --weights, or leave them out with --without-weights";
        return Err(Failure::Call(message.to_owned()));
    }
    if let Some(checkpoint) = &checkpoint {
        normalise_by(&mut compiled, checkpoint.metadata());
    }
    let mut metadata = BTreeMap::new();
    if let Some(path) = &export.onnx.labels {
        metadata.insert(CLASSES.to_owned(), Labels::read(path)?.to_json());
    }
    let options = ExportOptions {
        opset: export.onnx.opset(),
        folded: export.onnx.fold_bn,
        with_preprocess: export.onnx.with_preprocess,
        metadata,
        bind: export.stored.bind_options(),
    };
    let model = onnx::export(&compiled.net, &compiled.shapes, checkpoint.as_ref(), &options)?;
    model.write(&export.output, export.onnx.tensors_beside)?;
    complain("note", &format!("{} in {}", model.summary(), export.output.display()));
    Ok(())
}
