use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;

use super::{Failure, OTHER_FILE, Outcome, complain, print, refuse_overwriting};
use crate::data::{npy, write_atomic};
use crate::onnx::{Constant, ImportOptions, Imported, import};
use crate::weights::WriteOptions;

/// Turn an ONNX model into a .net file and its weights
#[derive(Debug, Args)]
pub(super) struct Import {
    /// The .onnx file
    model: PathBuf,
    /// The .net file to write; without it the text is printed and weights are not written
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The file of weights to write: .safetensors, .pth or .pt [default: beside the .net file]
    #[arg(long, value_name = "FILE", requires = "output")]
    weights: Option<PathBuf>,
    /// Give an input a value, so that it becomes a weight or a size: an .npy file, or numbers joined by commas (repeatable)
    #[arg(long, value_name = "INPUT=VALUE")]
    fix: Vec<String>,
    /// Write one line for each layer, with nothing made a block
    #[arg(long)]
    flat: bool,
}

impl Import {
    pub(super) fn run(self) -> Outcome {
        let options = ImportOptions { fixed: self.fixed()?, without_weights: self.output.is_none() };
        if self.model.extension().is_some_and(|extension| extension == "net") {
            let model = self.model.display();
            return Err(Failure::Call(format!("{model} is a source of netc already; name an .onnx file")));
        }
        let weights_file = self.weights_file()?;
        if let Some(output) = &self.output {
            refuse_overwriting(&[output], std::slice::from_ref(&self.model), OTHER_FILE)?;
            if crate::is_model(output) {
                return Err(Failure::Call(format!("-o {}: a source is named .net", output.display())));
            }
        }
        let imported = import(&self.model, &options)?;
        say_notes(&imported);
        let text = if self.flat { imported.flat_text() } else { imported.text() };
        let Some(output) = &self.output else { return print(&text) };
        if let Some(path) = &weights_file {
            imported.weights.write(path, &WriteOptions::default())?;
        }
        write_atomic(output, |out| out.write_all(text.as_bytes()))?;
        let tensors = imported.weights.len();
        let place = weights_file.map_or(String::new(), |path| format!(", {tensors} tensors in {}", path.display()));
        complain("note", &format!("{} lines in {}{place}", text.lines().count(), output.display()));
        Ok(())
    }

    fn weights_file(&self) -> Result<Option<PathBuf>, Failure> {
        let beside = || self.output.as_ref().map(|output| output.with_extension("safetensors"));
        let path = self.weights.clone().or_else(beside);
        if let Some(path) = &path {
            super::checkpoint::check_name(path)?;
        }
        Ok(path)
    }

    fn fixed(&self) -> Result<BTreeMap<String, Constant>, Failure> {
        let mut fixed = BTreeMap::new();
        for text in &self.fix {
            let Some((name, value)) = text.rsplit_once('=') else {
                return Err(Failure::Call(format!("--fix {text}: write an input and its value, as in --fix scale=2")));
            };
            fixed.insert(name.to_owned(), constant(text, value)?);
        }
        Ok(fixed)
    }
}

/// The numbers of a file, or those that are written.
fn constant(text: &str, value: &str) -> Result<Constant, Failure> {
    if Path::new(value).extension().is_some_and(|extension| extension == "npy") {
        return Ok(Constant::new(npy::read(Path::new(value))?));
    }
    let wrong = || Failure::Call(format!("--fix {text}: the value is an .npy file, or numbers joined by commas"));
    if value.contains('.') {
        let floats: Vec<f32> = value.split(',').map(str::parse).collect::<Result<_, _>>().map_err(|_| wrong())?;
        return Ok(Constant::new(ndarray::Array1::from(floats).into_dyn()));
    }
    let ints: Vec<i64> = value.split(',').map(str::parse).collect::<Result<_, _>>().map_err(|_| wrong())?;
    Ok(Constant::new(ndarray::Array1::from(ints).into_dyn()))
}

/// Says where the net differs from the model.
fn say_notes(imported: &Imported) {
    for turned in &imported.turned {
        let axes: Vec<&str> = turned.order.iter().map(|&axis| ["c", "h", "w"][axis.min(2)]).collect();
        complain("note", &format!("`{}` is [c, h, w] here, and [{}] in the model", turned.name, axes.join(", ")));
    }
}
