use std::path::{Component, Path, PathBuf};

use super::export::Export;
use super::{Failure, Outcome, complain, is_same, refuse_overwriting};
use crate::data::{DataError, write_atomic};
use crate::pytorch::{self, Places};
use crate::train::recipe::Recipe;
use crate::train::start::start;
use crate::weights::{Checkpoint, Format, Wanted, bind, parameters};
use crate::{Compiled, Settings};

/// Writes the module, and beside it the weights, and the program that trains it with those that it begins with.
pub(super) fn run(export: &Export) -> Outcome {
    let recipe =
        export.pytorch.recipe.as_deref().map(|path| Ok::<_, Failure>((path, Recipe::read(path, &[])?))).transpose()?;
    let compiled = match &recipe {
        None => export.source.compile()?,
        Some((path, recipe)) => export.source.compile_with(&settings(export, path, recipe)?)?,
    };
    let beside = export.output.with_extension("safetensors");
    let weights = weights(export, &compiled)?;
    let named = weights.as_ref().map(|_| file_name(&beside));
    let text = pytorch::module(&compiled.net, &compiled.shapes, named.as_deref())
        .map_err(|error| Failure::Input(format!("{}: {error}", export.source.file)))?;
    let program = recipe.as_ref().map(|(path, recipe)| program(export, &compiled, path, recipe)).transpose()?;
    let start = program.as_ref().map(|program| program.path.with_extension("safetensors"));
    let is_there = weights.as_ref().is_some_and(|weights| is_written(export, weights, &beside));
    let mut written = vec![export.output.as_path()];
    written.extend(weights.iter().filter(|_| !is_there).map(|_| beside.as_path()));
    written.extend(program.iter().map(|program| program.path.as_path()));
    written.extend(start.as_deref());
    let help = "give the module another name with -o, or the program with --train";
    refuse_overwriting(&written, &read(export, recipe.as_ref()), help)?;
    if let Some(weights) = weights.as_ref().filter(|_| !is_there) {
        weights.tensors.write_safetensors(&beside)?;
    }
    write_atomic(&export.output, |out| out.write_all(text.as_bytes()))?;
    said(&text, &export.output, weights.as_ref().map(|weights| (&weights.tensors, beside.as_path())));
    if let (Some(program), Some(start)) = (program, start) {
        program.start.write_safetensors(&start)?;
        write_atomic(&program.path, |out| out.write_all(program.text.as_bytes()))?;
        said(&program.text, &program.path, Some((&program.start, start.as_path())));
    }
    Ok(())
}

fn said(text: &str, path: &Path, weights: Option<(&Checkpoint, &Path)>) {
    let tensors = weights.map(|(weights, path)| format!(", {} tensors in {}", weights.len(), path.display()));
    complain("note", &format!("{} lines in {}{}", text.lines().count(), path.display(), tensors.unwrap_or_default()));
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

struct Weights {
    /// The tensors of the net.
    tensors: Checkpoint,
    /// Whether a file of safetensors has these and no others.
    is_whole: bool,
}

/// The tensors of the net: those of the file that is given, or of the model that it comes from.
fn weights(export: &Export, compiled: &Compiled) -> Result<Option<Weights>, Failure> {
    let Some(given) = export.stored.checkpoint(compiled)? else { return Ok(None) };
    let wanted: Vec<Wanted> =
        parameters(&compiled.net, &compiled.shapes).iter().map(|parameter| parameter.wanted()).collect();
    let bound = bind(&given, &wanted, &export.stored.bind_options())?;
    let mut weights = Checkpoint::new();
    for (wanted, tensor) in wanted.iter().zip(bound.tensors) {
        if let Some(tensor) = tensor {
            weights.insert(wanted.name.as_str(), tensor);
        }
    }
    given.metadata().iter().for_each(|(key, value)| weights.set_metadata(key, value));
    let is_whole = given.format() == Format::Safetensors
        && export.stored.rename.is_none()
        && given.unwrapped().is_empty()
        && given.skipped() == 0
        && given.len() == weights.len();
    Ok(Some(Weights { tensors: weights, is_whole }))
}

/// Whether the file beside the module is the one that the weights come from, and has what is to be written.
fn is_written(export: &Export, weights: &Weights, beside: &Path) -> bool {
    weights.is_whole && export.stored.weights.as_ref().is_some_and(|given| is_same(given, beside))
}

/// The files that the export reads.
fn read(export: &Export, recipe: Option<&(&Path, Recipe)>) -> Vec<PathBuf> {
    let mut read = export.read();
    if let Some((path, recipe)) = recipe {
        read.push(path.to_path_buf());
        let of_init = [&recipe.init.weights, &recipe.init.rename].into_iter().flatten();
        read.extend(of_init.map(|file| folder(path).join(file)));
    }
    read
}

/// What the recipe sets of its net, and then what the call sets.
fn settings(export: &Export, path: &Path, recipe: &Recipe) -> Result<Settings, Failure> {
    let own = folder(path).join(&recipe.net);
    if !is_same(&own, Path::new(&export.source.file)) {
        let (path, own, file) = (path.display(), own.display(), &export.source.file);
        return Err(Failure::Input(format!(
            "{path}: `net` is {own}, not {file}\n  help: export the net of the recipe"
        )));
    }
    let mut settings = export.source.settings();
    let given = |name: &str| settings.set.iter().any(|set| set.split('=').next() == Some(name));
    let of_recipe: Vec<String> =
        recipe.set.iter().filter(|(name, _)| !given(name)).map(|(name, value)| format!("{name}={value}")).collect();
    settings.set.extend(of_recipe);
    Ok(settings)
}

struct Program {
    path: PathBuf,
    text: String,
    start: Checkpoint,
}

fn program(export: &Export, compiled: &Compiled, recipe_path: &Path, recipe: &Recipe) -> Result<Program, Failure> {
    let path = export.pytorch.train.clone().unwrap_or_else(|| export.output.with_file_name("train.py"));
    let stem = |path: &Path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let module = stem(&export.output);
    if folder(&path) != folder(&export.output) || path == export.output {
        let (path, output) = (path.display(), export.output.display());
        return Err(Failure::Call(format!("{path}: the program imports {output}, and has to stand beside it")));
    }
    if !pytorch::is_module_name(&module) {
        return Err(Failure::Call(format!(
            "{}: Python cannot import `{module}`; take a word",
            export.output.display()
        )));
    }
    if let Some(file) = [&export.output, &path].into_iter().find(|path| pytorch::hides_import(&stem(path))) {
        let (file, name) = (file.display(), stem(file));
        return Err(Failure::Call(format!(
            "{file}: Python would take it for the `{name}` that programs import
  help: give it another name"
        )));
    }
    let found = start(compiled, &recipe.init, recipe.seed, folder(recipe_path))?;
    if !found.report.is_empty() {
        complain("note", found.report.trim_end());
    }
    let start = file_name(&path.with_extension("safetensors"));
    let data = between(folder(&path), folder(recipe_path))?;
    let places = Places { recipe: recipe_path, module: &module, data: &data.to_string_lossy(), start: &start };
    Ok(Program { text: pytorch::program(recipe, compiled, places)?, path, start: found.weights })
}

/// The folder of a file.
fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The way from one folder to another.
fn between(from: &Path, to: &Path) -> Result<PathBuf, Failure> {
    let whole = |path: &Path| std::fs::canonicalize(path).map_err(DataError::io("list", path));
    let (from, to) = (whole(from)?, whole(to)?);
    let shared = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    let up = from.components().skip(shared).map(|_| Component::ParentDir);
    let way: PathBuf = up.chain(to.components().skip(shared)).collect();
    Ok(if way.as_os_str().is_empty() { PathBuf::from(".") } else { way })
}
