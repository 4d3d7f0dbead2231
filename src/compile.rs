//! From a file to a checked net in one call; the only part of the compiler that reads source files.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::cost;
use crate::diag::human::{self, Style};
use crate::diag::{Diagnostic, Sink, SourceMap, Span};
use crate::elab::error::NameError;
use crate::elab::{self, Loader, Options};
use crate::ir::Net;
use crate::onnx::{self, ImportOptions, OnnxError};
use crate::opt;
use crate::run::{Executable, RunError, RunOptions};
use crate::shape::Shapes;
use crate::syntax;
use crate::syntax::ast::{Expr, Name};
use crate::weights::{Checkpoint, InitSpec, Parameter, parameters};

/// A checked net with everything that reports, plans and messages need.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The graph.
    pub net: Net,
    /// The shape of every value.
    pub shapes: Shapes,
    /// The texts it comes from.
    pub sources: SourceMap,
    /// Advice, ordered by place.
    pub advice: Vec<Diagnostic>,
    /// The weights, where the net comes from a model that holds them.
    pub weights: Option<Checkpoint>,
}

/// What [`check`] found.
#[derive(Debug)]
pub struct Checked {
    /// The net, when the file has one and no mistake.
    pub compiled: Option<Compiled>,
    /// The texts.
    pub sources: SourceMap,
    /// Mistakes and advice, ordered by place.
    pub diagnostics: Vec<Diagnostic>,
}

/// Why there is no checked net.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The file cannot be read.
    #[error("cannot read {}: {reason}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The text has mistakes.
    #[error("{}", Mistakes(.sources, .diagnostics))]
    Mistakes {
        /// The texts.
        sources: SourceMap,
        /// The mistakes, ordered by place.
        diagnostics: Vec<Diagnostic>,
    },
    /// The model is damaged, or has nodes that no layers express.
    #[error("{0}")]
    Model(#[from] OnnxError),
    /// The file holds blocks and no net.
    #[error("{name} holds blocks only; name a file with a net")]
    NoNet {
        /// The file.
        name: String,
    },
}

struct Mistakes<'a>(&'a SourceMap, &'a [Diagnostic]);

impl fmt::Display for Mistakes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&human::render(self.0, self.1, Style { color: false, width: 120 }))
    }
}

/// Compiles a `.net` file, or a model in an `.onnx` file, with the sizes and parameters it declares.
///
/// # Errors
/// When it cannot be read, has a mistake, holds no net, or a model with nodes that no layers express.
///
/// ```
/// let compiled = netc::compile("specs/lenet5.net")?;
/// assert_eq!(compiled.net.name, "lenet5");
/// # Ok::<(), netc::CompileError>(())
/// ```
pub fn compile(path: impl AsRef<Path>) -> Result<Compiled, CompileError> {
    compile_with(path, &Settings::default())
}

/// Compiles a `.net` file with sizes and parameters from the caller.
///
/// # Errors
/// As [`compile`]; also when a setting does not fit the net.
pub fn compile_with(path: impl AsRef<Path>, settings: &Settings) -> Result<Compiled, CompileError> {
    let path = path.as_ref();
    if is_model(path) {
        return finish(check_model(path, settings)?);
    }
    let bytes = read(path).map_err(|reason| CompileError::Read { path: path.to_owned(), reason })?;
    finish(check(&path.display().to_string(), bytes, &FileLoader, settings))
}

/// Compiles a text that imports nothing.
///
/// # Errors
/// When it has a mistake or holds no net.
///
/// ```
/// let compiled = netc::compile_text("tiny.net", "net tiny { input x: [3, 8, 8]; c: conv(4, 3); output y }")?;
/// let y = compiled.net.outputs[0].value;
/// assert_eq!(compiled.shapes.of(y).to_string(), "4x6x6");
/// # Ok::<(), netc::CompileError>(())
/// ```
pub fn compile_text(name: &str, text: &str) -> Result<Compiled, CompileError> {
    finish(check(name, text.as_bytes().to_vec(), &elab::load::NoImports, &Settings::default()))
}

fn finish(checked: Checked) -> Result<Compiled, CompileError> {
    let Checked { compiled, sources, mut diagnostics } = checked;
    match compiled {
        Some(compiled) => Ok(compiled),
        None if diagnostics.is_empty() => {
            let name = sources.files().first().map(|file| file.name.clone()).unwrap_or_default();
            Err(CompileError::NoNet { name })
        }
        None => {
            diagnostics.retain(|diagnostic| diagnostic.severity == crate::diag::Severity::Error);
            Err(CompileError::Mistakes { sources, diagnostics })
        }
    }
}

/// What the caller fixes; see [`elab::Options`] for what each means.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `name=value` texts, as `--set` takes them.
    pub set: Vec<String>,
    /// Sizes of the single input.
    pub shape: Option<Vec<u64>>,
    /// How many values a net may expand to.
    pub max_values: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { set: Vec::new(), shape: None, max_values: Options::default().max_values }
    }
}

/// Checks a source and everything it imports; never fails, and finds all mistakes that it can.
pub fn check(name: &str, bytes: Vec<u8>, loader: &dyn Loader, settings: &Settings) -> Checked {
    let (mut sources, mut sink) = (SourceMap::default(), Sink::default());
    let Some(file) = syntax::add_source(&mut sources, name, bytes, &mut sink) else {
        return Checked { compiled: None, sources, diagnostics: sink.into_sorted() };
    };
    let set = settings.set.iter().filter_map(|text| setting(&mut sources, text, &mut sink)).collect();
    let options = Options { set, shape: settings.shape.clone(), max_values: settings.max_values };
    let program = elab::load(&mut sources, file, loader, &mut sink);
    let mut elaborated = elab::elaborate(&sources, &program, &options, &mut sink);
    if let Some(elab::Elaborated { net, shapes }) = &elaborated
        && settings.shape.is_none()
    {
        cost::check_budgets(net, shapes, &mut sink);
    }
    if sink.has_errors() {
        elaborated = None;
    }
    let diagnostics = sink.into_sorted();
    let compiled = elaborated.map(|elab::Elaborated { net, shapes }| Compiled {
        net,
        shapes,
        sources: sources.clone(),
        advice: diagnostics.clone(),
        weights: None,
    });
    Checked { compiled, sources, diagnostics }
}

/// Whether a file holds an ONNX model, by its name.
pub fn is_model(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("onnx"))
}

/// Reads a model and checks the text that [`onnx::import`] makes of it. Advice about that text is not given.
///
/// # Errors
/// As [`onnx::import`].
pub fn check_model(path: &Path, settings: &Settings) -> Result<Checked, OnnxError> {
    let imported = onnx::import(path, &ImportOptions::default())?;
    let text = imported.text();
    let mut checked = check(&path.display().to_string(), text.into_bytes(), &elab::load::NoImports, settings);
    checked.diagnostics.retain(|diagnostic| diagnostic.severity == crate::diag::Severity::Error);
    if let Some(compiled) = &mut checked.compiled {
        compiled.advice.clear();
        compiled.weights = Some(imported.weights);
    }
    Ok(checked)
}

/// `name=value` as a source of its own, so that a mistake in it can be shown.
fn setting(sources: &mut SourceMap, text: &str, sink: &mut Sink) -> Option<(Name, Expr)> {
    let name = text.split('=').next().unwrap_or("").trim().to_owned();
    let value = text.split_once('=').map_or("", |(_, value)| value);
    let file = sources.add(format!("--set {name}"), value);
    let span = Span { file, start: 0, end: u32::try_from(value.len()).unwrap_or(u32::MAX) };
    if name.is_empty() || value.trim().is_empty() {
        let message = "is written --set name=value".to_owned();
        sink.push(NameError::Setting { name: text.to_owned(), message, near: None, span }.into());
        return None;
    }
    let value = syntax::parse_expr(sources, file, sink)?;
    Some((Name { text: name, span }, value))
}

/// Reads imports from files, by paths relative to the importing file.
#[derive(Clone, Copy, Debug)]
pub struct FileLoader;

impl Loader for FileLoader {
    fn load(&self, from: &str, path: &str) -> Result<(String, Vec<u8>), String> {
        let folder = Path::new(from).parent().unwrap_or(Path::new(""));
        let mut joined = PathBuf::new();
        for part in folder.join(path).components() {
            match part {
                std::path::Component::CurDir => {}
                std::path::Component::ParentDir if joined.file_name().is_some() => {
                    joined.pop();
                }
                part => joined.push(part),
            }
        }
        let bytes = read(&joined)?;
        Ok((joined.display().to_string(), bytes))
    }
}

/// A source file, unless it is larger than a source may be.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    use std::io::Read;
    let file = std::fs::File::open(path).map_err(|error| crate::data::reason("read", &error))?;
    let mut bytes = Vec::new();
    let limit = syntax::MAX_SOURCE as u64 + 1;
    file.take(limit).read_to_end(&mut bytes).map_err(|error| crate::data::reason("read", &error))?;
    Ok(bytes)
}

impl Compiled {
    /// Makes the net ready to run with the tensors of a checkpoint.
    ///
    /// # Errors
    /// When the checkpoint does not fit, or a size of the net is not known.
    ///
    /// ```
    /// use netc::weights::{Scheme, init};
    ///
    /// let compiled = netc::compile("specs/lenet5.net")?;
    /// let weights = init(&compiled.init_specs(), Scheme::He, 1)?;
    /// let executable = compiled.plan(&weights)?;
    /// let digit = ndarray::ArrayD::<f32>::zeros(vec![1, 1, 32, 32]);
    /// assert_eq!(executable.run(&digit)?.shape(), [1, 10]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn plan(&self, weights: &Checkpoint) -> Result<Executable, RunError> {
        self.plan_with(weights, &RunOptions::default())
    }

    /// Makes the net ready to run, with threads and tolerances from the caller.
    ///
    /// # Errors
    /// As [`plan`](Self::plan).
    pub fn plan_with(&self, weights: &Checkpoint, options: &RunOptions) -> Result<Executable, RunError> {
        let optimised = opt::optimise(&self.net, &self.shapes);
        Executable::new(&self.net, &self.shapes, optimised, weights, options)
    }

    /// What [`weights::init`](crate::weights::init) needs to make weights for this net.
    pub fn init_specs(&self) -> Vec<InitSpec> {
        parameters(&self.net, &self.shapes).iter().map(Parameter::init_spec).collect()
    }
}
