use std::collections::BTreeMap;
use std::path::PathBuf;

use super::export::Export;
use super::input::normalise_by;
use super::{Failure, OTHER_FILE, Outcome, complain, refuse_overwriting};
use crate::Compiled;
use crate::data::Labels;
use crate::onnx::{self, ExportOptions, OnnxError};
use crate::train::trainer::CLASSES;

/// Writes the model.
pub(super) fn run(export: &Export) -> Outcome {
    let read: Vec<PathBuf> = export.read().into_iter().chain(export.onnx.labels.clone()).collect();
    refuse_overwriting(&[&export.output], &read, OTHER_FILE)?;
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
        let labels = Labels::read(path)?;
        if let Some(classes) = classes(&compiled).filter(|&classes| classes != labels.len()) {
            let (path, named) = (path.display(), labels.len());
            return Err(Failure::Input(format!("{path} names {named} classes, and the net's output has {classes}")));
        }
        metadata.insert(CLASSES.to_owned(), labels.to_json());
    }
    let options = ExportOptions {
        opset: export.onnx.opset(),
        folded: export.onnx.fold_bn,
        with_preprocess: export.onnx.with_preprocess,
        metadata,
        bind: export.stored.bind_options(),
    };
    let model = onnx::export(&compiled.net, &compiled.shapes, checkpoint.as_ref(), &options);
    let model = model.map_err(|error| match error {
        OnnxError::Bind(error) => Failure::from(*error),
        error => Failure::Input(format!("{}: {error}", export.source.name())),
    })?;
    model.write(&export.output, export.onnx.tensors_beside)?;
    complain("note", &format!("{} in {}", model.summary(), export.output.display()));
    Ok(())
}

/// How many classes a net tells apart, where its single output has one number for each.
fn classes(compiled: &Compiled) -> Option<usize> {
    let mut outputs = compiled.net.outputs_for(false);
    match (outputs.next(), outputs.next()) {
        (Some(output), None) => match compiled.shapes.of(output.value).as_known().as_deref() {
            Some(&[classes]) => Some(classes),
            _ => None,
        },
        _ => None,
    }
}
