//! A recipe as a program of Python that trains the module of its net, with one process or several.
//!
//! `train.py` beside this file is the program with marks: lines `#: if NAME`, `#: else` and `#: end` around what only some
//! recipes need, and `@NAME@` where something of the recipe stands.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::PyTorchError;
use super::names::{plain, quoted};
use super::text::float_text;
use crate::compile::Compiled;
use crate::data::augment::{Pipeline, ResizedCrop};
use crate::data::dataset::{CifarLabels, Source};
use crate::data::loader::OnCorrupt;
use crate::data::preprocess::{Interpolation, Order, Preprocess, ResizeTo, Step};
use crate::op::Op;
use crate::op::loss::LossKind;
use crate::train::optimiser::Kind;
use crate::train::recipe::{Normalise, Recipe};
use crate::train::schedule;
use crate::weights::{Parameter, parameters};

const PROGRAM: &str = include_str!("train.py");

/// Where a program finds what it needs.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// The recipe.
    pub recipe: &'a Path,
    /// The name by which the module is imported.
    pub module: &'a str,
    /// The folder that paths of images start from, seen from the program's own.
    pub data: &'a str,
    /// The file of the weights that training begins with, beside the program.
    pub start: &'a str,
}

/// The program that trains a net by a recipe.
///
/// # Errors
/// When something of the recipe has no counterpart in it.
pub fn program(recipe: &Recipe, compiled: &Compiled, places: Places) -> Result<String, PyTorchError> {
    let wrong = |key: &str, what: &str| PyTorchError::Recipe {
        path: places.recipe.to_owned(),
        key: key.to_owned(),
        what: what.to_owned(),
    };
    check(recipe, compiled, places, &wrong)?;
    let (net, shapes) = (&compiled.net, &compiled.shapes);
    let input = net.inputs.first().filter(|_| net.inputs.len() == 1);
    let known = input.and_then(|&id| shapes.of(id.into()).as_known());
    let Some(&[c, h, w]) = known.as_deref() else {
        return Err(wrong("net", "must have one input of known sizes [c, h, w] to learn from images"));
    };
    let preprocess = net.preprocess.clone().unwrap_or_else(|| Preprocess::fallback(c, h, w));
    Pipeline::new(&preprocess, recipe.augment.clone(), None, [c, h, w]).map_err(|fault| wrong("net", &fault))?;
    let flags = flags(recipe, &preprocess);
    let is_set = |name: &str| flags.iter().any(|(flag, set)| *flag == name && *set);
    let main = net.outputs.iter().position(|output| output.train.is_none()).unwrap_or(0);
    let ends_with_softmax = net
        .outputs
        .get(main)
        .is_some_and(|output| matches!(&net.node(output.value.node).op, Op::Softmax(last) if !last.log));
    let has_heads = net.outputs.iter().any(|output| output.train.is_some());
    let pipeline = match (recipe.data.normalise, c) {
        (Normalise::Net, _) if is_set("statistics") => "Pipeline(MEAN, STD, pca)",
        (Normalise::Net, _) => "Pipeline(MEAN, STD)",
        (Normalise::Data, 1) => "Pipeline([mean.mean()], [std.mean()], pca)",
        (Normalise::Data, _) => "Pipeline(list(mean), list(std), pca)",
    };
    let mut opens: Vec<&str> = sources(recipe).map(kind).collect();
    opens.sort_unstable();
    opens.dedup();
    let opens: Vec<String> = opens.iter().map(|kind| format!("\"{kind}\": open_{kind}")).collect();
    let marks = HashMap::from([
        ("module", places.module.to_owned()),
        ("class", super::class_name(net)),
        ("settings", settings(recipe, compiled, places, &preprocess, (main, [c, h, w]))),
        ("heads", if has_heads { "self.net.heads(x)" } else { "self.net(x)" }.to_owned()),
        ("pipeline", pipeline.to_owned()),
        ("open", opens.join(", ")),
        ("steps", steps(&preprocess)),
        ("schedule", schedule_lines(recipe).to_owned()),
        ("optimiser", optimiser_line(recipe)),
    ]);
    let title = format!(
        "\"\"\"Trains `{}` by the recipe {}, with one process or several.\n\n    torchrun --nproc_per_node=2 FILE\n\n\
         Written by `netc export --recipe`. Every batch is dealt out to the processes, and holds the same images, changed in\n\
         the same way, as that of `netc train`.\n\"\"\"\n\n",
        plain(&net.name),
        plain(&places.recipe.file_name().unwrap_or_default().to_string_lossy()),
    );
    let body = expanded(&|name| is_set(name) || (name == "softmax" && ends_with_softmax), &marks);
    Ok(title + &body)
}

/// What a program would leave out, and what is wrong with the recipe for the net.
fn check(
    recipe: &Recipe,
    compiled: &Compiled,
    places: Places,
    wrong: &dyn Fn(&str, &str) -> PyTorchError,
) -> Result<(), PyTorchError> {
    let parameters = parameters(&compiled.net, &compiled.shapes);
    if let Some(fault) = recipe.idle_pattern(parameters.iter().map(|parameter| parameter.name.as_str())) {
        return Err(PyTorchError::Pattern { path: places.recipe.to_owned(), fault });
    }
    let needed = compiled.net.needed_by(compiled.net.outputs.iter().map(|output| output.value));
    let learns = |parameter: &Parameter| parameter.spec.role.trainable() && needed[parameter.node.index()];
    if !parameters.iter().any(|parameter| learns(parameter) && recipe.is_trained(&parameter.name, 1)) {
        let what = "leaves nothing to train in the first epoch: all is frozen, or leads to no output\n  \
                    help: name what is trained in `freeze.unfreeze`";
        return Err(wrong("freeze", what));
    }
    if recipe.run.checkpoint_activations {
        return Err(wrong("run.checkpoint_activations", "has no counterpart: set it to false"));
    }
    if recipe.data.on_corrupt == OnCorrupt::Skip {
        return Err(wrong(
            "data.on_corrupt",
            "is \"skip\", but processes must agree on their batches: set it to \"stop\"",
        ));
    }
    let is_vector =
        |output: &crate::ir::Output| matches!(compiled.shapes.of(output.value).as_known().as_deref(), Some([_]));
    match compiled.net.outputs.iter().find(|output| !is_vector(output)) {
        Some(output) => {
            Err(wrong("net", &format!("has the output `{}`, which gives no value for each class", output.name)))
        }
        None => Ok(()),
    }
}

fn sources(recipe: &Recipe) -> impl Iterator<Item = &Source> {
    std::iter::once(&recipe.data.train).chain(&recipe.data.test)
}

fn kind(source: &Source) -> &'static str {
    match source {
        Source::Idx { .. } => "idx",
        Source::Cifar { .. } => "cifar",
        Source::Folder { .. } => "folder",
        Source::Csv { .. } => "csv",
    }
}

/// Which parts of the program a recipe needs.
fn flags(recipe: &Recipe, preprocess: &Preprocess) -> Vec<(&'static str, bool)> {
    let has = |wanted: &'static str| sources(recipe).any(|source| kind(source) == wanted);
    let step = |is_it: fn(&Step) -> bool| preprocess.steps.iter().any(is_it);
    let augment = &recipe.augment;
    let (pca, color_shift) = (0.0 < augment.pca, 0.0 < augment.color_shift);
    let adam = recipe.optimiser.kind != Kind::Sgd;
    vec![
        ("idx", has("idx")),
        ("cifar", has("cifar")),
        ("folder", has("folder")),
        ("csv", has("csv")),
        ("records", has("idx") || has("cifar")),
        ("numbered", has("idx") || has("cifar") || has("csv")),
        ("test", recipe.data.test.is_some()),
        ("validation", 0.0 < recipe.data.validation),
        ("per_class", recipe.data.per_class != 0),
        ("evaluate_train", recipe.evaluate.train != 0),
        ("by_class", 0.0 < recipe.data.validation || recipe.data.per_class != 0 || recipe.evaluate.train != 0),
        ("statistics", pca || recipe.data.normalise == Normalise::Data),
        ("gray", step(|step| *step == Step::Gray)),
        ("middle", step(|step| matches!(step, Step::Crop { .. }))),
        ("short", step(|step| matches!(step, Step::Resize { to: ResizeTo::Short(_), .. }))),
        ("augment", augment.is_random()),
        ("mirror", 0.0 < augment.mirror),
        ("crop", augment.crop != 0),
        ("resized_crop", augment.resized_crop.is_some()),
        ("color_shift", color_shift),
        ("pca", pca),
        ("offsets", pca || color_shift),
        ("rotate", 0.0 < augment.rotate),
        ("cutout", augment.cutout != 0),
        ("mixup", 0.0 < augment.mixup),
        ("squared_error", recipe.loss.kind == LossKind::SquaredError),
        ("cosine", matches!(recipe.schedule.kind, schedule::Kind::Cosine | schedule::Kind::OneCycle)),
        ("adam", adam),
        ("clip", 0.0 < recipe.optimiser.clip),
    ]
}

/// The values of the recipe, as assignments.
fn settings(
    recipe: &Recipe,
    compiled: &Compiled,
    places: Places,
    preprocess: &Preprocess,
    (main, size): (usize, [usize; 3]),
) -> String {
    let Recipe { data, augment, optimiser, schedule, freeze, evaluate, run, .. } = recipe;
    let float = |value: f64| float_text(value);
    let floats =
        |values: &[f64]| format!("[{}]", values.iter().map(|&value| float_text(value)).collect::<Vec<_>>().join(", "));
    let singles = |values: &[f32]| {
        format!("[{}]", values.iter().map(|value| format!("{value:?}")).collect::<Vec<_>>().join(", "))
    };
    let flag = |value: bool| if value { "True" } else { "False" }.to_owned();
    let patterns = |patterns: &[String]| texts(patterns);
    let classes = compiled.shapes.of(compiled.net.outputs[main].value).as_known().unwrap_or_default();
    let weights: Vec<f64> = compiled.net.outputs.iter().map(|output| output.train.unwrap_or(1.0)).collect();
    let folder = if run.folder.as_os_str().is_empty() {
        PathBuf::from("runs").join(places.recipe.file_stem().unwrap_or_default())
    } else {
        run.folder.clone()
    };
    let interpolation = preprocess.steps.iter().find_map(|step| match step {
        Step::Resize { interpolation, .. } => Some(*interpolation),
        Step::Crop { .. } | Step::Pad { .. } | Step::Gray => None,
    });
    let mut groups: Vec<(&str, Vec<(&str, String)>)> = vec![
        (
            "The run. A batch is that of all processes together.",
            vec![
                ("NET", quoted(&compiled.net.name)),
                ("CLASSES", classes.first().copied().unwrap_or(0).to_string()),
                ("EPOCHS", recipe.epochs.to_string()),
                ("BATCH", recipe.batch.to_string()),
                ("ACCUMULATE", recipe.accumulate.to_string()),
                ("SEED", recipe.seed.to_string()),
                ("START", quoted(places.start)),
                ("FOLDER", path_text(&folder)),
                ("SAVE_SECONDS", float(run.save_seconds)),
                ("THREADS", run.threads.to_string()),
            ],
        ),
        (
            "The images; paths start from the folder DATA.",
            vec![
                ("DATA", quoted(places.data)),
                ("TRAIN", source_text(&data.train)),
                ("TEST", data.test.as_ref().map_or_else(String::new, source_text)),
                ("VALIDATION", if data.validation == 0.0 { String::new() } else { float(data.validation) }),
                ("PER_CLASS", if data.per_class == 0 { String::new() } else { data.per_class.to_string() }),
                ("WORKERS", data.workers.to_string()),
                ("AHEAD", data.ahead.max(1).to_string()),
            ],
        ),
        (
            "From an image to an input.",
            vec![
                ("SIZE", format!("({}, {}, {})", size[0], size[1], size[2])),
                ("ORDER", if preprocess.order == Order::Bgr { "\"bgr\"" } else { "\"rgb\"" }.to_owned()),
                ("SCALE", format!("({:?}, {:?})", preprocess.scale.lo, preprocess.scale.hi)),
                ("MEAN", singles(&preprocess.mean)),
                ("STD", singles(&preprocess.std)),
            ],
        ),
    ];
    let mut changes = Vec::new();
    let mut change = |is_set: bool, name: &'static str, text: String| changes.extend(is_set.then_some((name, text)));
    change(0.0 < augment.mirror, "MIRROR", float(augment.mirror));
    change(augment.crop != 0, "CROP", augment.crop.to_string());
    if let Some(ResizedCrop { scale, ratio }) = augment.resized_crop {
        let text = format!("{{\"scale\": {}, \"ratio\": {}}}", floats(&scale), floats(&ratio));
        change(true, "RESIZED_CROP", text);
        change(true, "INTERPOLATION", resampling(interpolation.unwrap_or(Interpolation::Bilinear)).to_owned());
    }
    change(0.0 < augment.color_shift, "COLOR_SHIFT", float(augment.color_shift));
    change(0.0 < augment.pca, "PCA", float(augment.pca));
    change(0.0 < augment.rotate, "ROTATE", float(augment.rotate));
    change(augment.cutout != 0, "CUTOUT", augment.cutout.to_string());
    change(0.0 < augment.mixup, "MIXUP", float(augment.mixup));
    if !changes.is_empty() {
        groups.push(("What is changed at random.", changes));
    }
    let sgd = optimiser.kind == Kind::Sgd;
    let mut learning = vec![
        ("SMOOTHING", float(recipe.loss.smoothing)),
        ("HEADS", floats(&weights)),
        ("MAIN", main.to_string()),
        ("RATE", float(optimiser.rate)),
        ("DECAY", float(optimiser.decay)),
        ("DECAY_ALL", flag(optimiser.decay_all)),
        ("AVERAGE", float(optimiser.average)),
        ("WARMUP", float(schedule.warmup)),
        ("WARMUP_FROM", float(schedule.warmup_from)),
    ];
    learning.extend((0.0 < optimiser.clip).then(|| ("CLIP", float(optimiser.clip))));
    if sgd {
        learning.push(("MOMENTUM", float(optimiser.momentum)));
        // Without momentum there is nothing to look ahead by.
        learning.push(("NESTEROV", flag(optimiser.nesterov && 0.0 < optimiser.momentum)));
    } else {
        learning.push(("BETAS", format!("({}, {})", float(optimiser.betas[0]), float(optimiser.betas[1]))));
        learning.push(("EPS", float(optimiser.eps)));
    }
    match schedule.kind {
        schedule::Kind::Constant => {}
        schedule::Kind::Step => {
            learning.extend([("MILESTONES", floats(&schedule.milestones)), ("GAMMA", float(schedule.gamma))]);
        }
        schedule::Kind::Cosine => learning.push(("END", float(schedule.end))),
        schedule::Kind::OneCycle => {
            let ends = [("END", schedule.end), ("RISE", schedule.rise), ("BEGIN", schedule.start)];
            learning.extend(ends.map(|(name, value)| (name, float(value))));
        }
    }
    groups.push(("What is made small, and how.", learning));
    let thaw = freeze.thaw.iter().map(|thaw| format!("({}, {})", thaw.epoch, patterns(&thaw.paths)));
    let rates = freeze.rates.iter().map(|rate| format!("({}, {})", patterns(&rate.paths), float(rate.factor)));
    groups.push((
        "What is not trained, what is later, and factors of the learning rate; by patterns of names.",
        vec![
            ("FREEZE", patterns(&freeze.freeze)),
            ("UNFREEZE", patterns(&freeze.unfreeze)),
            ("THAW", format!("[{}]", thaw.collect::<Vec<_>>().join(", "))),
            ("RATES", format!("[{}]", rates.collect::<Vec<_>>().join(", "))),
            ("UNUSED", flag(!compiled.net.unneeded().is_empty())),
        ],
    ));
    let mut evaluation =
        vec![("EVALUATE_EVERY", evaluate.every.to_string()), ("EVALUATION_BATCH", evaluate.batch.to_string())];
    evaluation.extend((evaluate.train != 0).then(|| ("EVALUATE_TRAIN", evaluate.train.to_string())));
    groups.push(("When and on what the net is evaluated.", evaluation));
    let mut text = String::new();
    for (title, values) in groups {
        text.push_str(&format!("\n# {title}\n"));
        for (name, value) in values.iter().filter(|(_, value)| !value.is_empty()) {
            text.push_str(&format!("{name} = {value}\n"));
        }
    }
    text.trim().to_owned()
}

fn texts(texts: &[String]) -> String {
    format!("[{}]", texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", "))
}

fn path_text(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

fn source_text(source: &Source) -> String {
    let kind = kind(source);
    match source {
        Source::Idx { images, labels, classes } => {
            format!("(\"{kind}\", {}, {}, {})", path_text(images), path_text(labels), texts(classes))
        }
        Source::Cifar { files, labels, classes } => {
            let files: Vec<String> = files.iter().map(|file| path_text(file)).collect();
            let labels = match labels {
                CifarLabels::One => "one",
                CifarLabels::Coarse => "coarse",
                CifarLabels::Fine => "fine",
            };
            format!("(\"{kind}\", [{}], \"{labels}\", {})", files.join(", "), texts(classes))
        }
        Source::Folder { path } => format!("(\"{kind}\", {})", path_text(path)),
        Source::Csv { file, classes } => format!("(\"{kind}\", {}, {})", path_text(file), texts(classes)),
    }
}

fn resampling(interpolation: Interpolation) -> &'static str {
    match interpolation {
        Interpolation::Bilinear => "Image.BILINEAR",
        Interpolation::Bicubic => "Image.BICUBIC",
        Interpolation::Nearest => "Image.NEAREST",
    }
}

/// The lines that move pixels.
fn steps(preprocess: &Preprocess) -> String {
    let mut lines = Vec::new();
    let mut grey = false;
    for step in &preprocess.steps {
        lines.push(match *step {
            Step::Resize { to: ResizeTo::Exact { h, w }, interpolation } => {
                format!("        image = image.resize(({w}, {h}), {})", resampling(interpolation))
            }
            Step::Resize { to: ResizeTo::Short(short), interpolation } => {
                format!("        image = short_side(image, {short}, {})", resampling(interpolation))
            }
            Step::Crop { h, w } => format!("        image = middle(image, {h}, {w})"),
            Step::Pad { top, left, bottom, right, value } => {
                let fill = if grey { value.to_string() } else { format!("({value}, {value}, {value})") };
                format!("        image = ImageOps.expand(image, ({left}, {top}, {right}, {bottom}), {fill})")
            }
            Step::Gray => {
                grey = true;
                "        image = image.convert(\"L\")".to_owned()
            }
        });
    }
    lines.join("\n")
}

fn schedule_lines(recipe: &Recipe) -> &'static str {
    match recipe.schedule.kind {
        schedule::Kind::Constant => "    return 1.0",
        schedule::Kind::Step => "    return GAMMA ** sum(milestone <= epoch for milestone in MILESTONES)",
        schedule::Kind::Cosine => "    return cosine(1.0, END, done)",
        schedule::Kind::OneCycle => {
            "    if done < RISE:\n        return cosine(BEGIN, 1.0, done / RISE)\n    \
             return cosine(1.0, END, (done - RISE) / (1 - RISE))"
        }
    }
}

fn optimiser_line(recipe: &Recipe) -> String {
    let (class, settings) = match recipe.optimiser.kind {
        Kind::Sgd => ("SGD", "momentum=MOMENTUM, nesterov=NESTEROV"),
        Kind::Adam => ("Adam", "betas=BETAS, eps=EPS"),
        Kind::Adamw => ("AdamW", "betas=BETAS, eps=EPS"),
    };
    format!("    return torch.optim.{class}(groups, lr=RATE, {settings})")
}

/// The program with the parts that are needed, and its marks filled.
fn expanded(needed: &dyn Fn(&str) -> bool, marks: &HashMap<&str, String>) -> String {
    let mut text = String::new();
    let mut open: Vec<bool> = Vec::new();
    for line in PROGRAM.lines() {
        match line.strip_prefix("#: ") {
            Some("end") => drop(open.pop()),
            Some("else") => {
                if let Some(last) = open.last_mut() {
                    *last = !*last;
                }
            }
            Some(condition) => open.push(condition.strip_prefix("if ").is_some_and(needed)),
            None if open.iter().all(|open| *open) => match line.trim().strip_prefix('@') {
                // A mark alone may stand for nothing.
                Some(mark) if mark.ends_with('@') => {
                    let lines = marks.get(mark.trim_end_matches('@')).map_or("", String::as_str);
                    if !lines.is_empty() {
                        text.push_str(&format!("{lines}\n"));
                    }
                }
                _ => text.push_str(&format!("{}\n", filled(line, marks))),
            },
            None => {}
        }
    }
    text
}

fn filled(line: &str, marks: &HashMap<&str, String>) -> String {
    let mut filled = line.to_owned();
    for mark in ["module", "class", "heads", "pipeline", "open"] {
        let value = marks.get(mark).map_or("", String::as_str);
        filled = filled.replace(&format!("@{mark}@"), value);
    }
    filled
}
