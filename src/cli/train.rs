use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::{Failure, Outcome, complain, print};
use crate::cost::number::grouped;
use crate::dim::Dim;
use crate::train::evaluation::Evaluation;
use crate::train::recipe::{Recipe, RecipeError};
use crate::train::state::Record;
use crate::train::trainer::{STATE, Trainer};
use crate::train::watch::{End, Progress, Watch};

/// Train a net by a recipe
#[derive(Debug, Args)]
pub(super) struct Train {
    /// The recipe: a TOML file
    #[arg(required_unless_present = "print_defaults")]
    recipe: Option<PathBuf>,
    /// Values of the recipe to replace, as in epochs=5 or optimiser.rate=0.01
    #[arg(value_name = "KEY=VALUE")]
    replaced: Vec<String>,
    /// Go on with the run in the recipe's folder, where it stands
    #[arg(long)]
    resume: bool,
    /// Print a recipe with every key and its default, and end
    #[arg(long)]
    print_defaults: bool,
    /// Threads [default: the physical cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Compute values between blocks again for the backward pass instead of keeping them: less memory, more time
    #[arg(long)]
    checkpoint_activations: bool,
}

impl Train {
    pub(super) fn run(self) -> Outcome {
        if self.print_defaults {
            return print(
                &Recipe { net: "net.net".into(), epochs: 10, batch: 100, accumulate: 1, ..Recipe::default() }.text(),
            );
        }
        let path = self.recipe.unwrap_or_default();
        let mut recipe = Recipe::read(&path, &self.replaced).map_err(|error| match error {
            RecipeError::Override { .. } => Failure::Call(error.to_string()),
            _ => Failure::Input(error.to_string()),
        })?;
        if let Some(threads) = self.threads {
            recipe.run.threads = usize::from(threads);
        }
        recipe.run.checkpoint_activations |= self.checkpoint_activations;
        let ends = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&ends);
        // Where no handler can be set, an interrupt ends the process; the run can be resumed all the same.
        let _ = ctrlc::set_handler(move || {
            if asked.swap(true, Ordering::SeqCst) {
                std::process::exit(130);
            }
        });
        let mut screen = Screen::new(ends);
        let mut trainer = Trainer::new(recipe, &path, self.resume, &mut screen)?;
        screen.told(&header(&mut trainer)?);
        let end = trainer.run(&mut screen);
        screen.close();
        match end? {
            End::Done => print(&format!("{}\n", closing(&trainer))),
            End::Interrupted => {
                let folder = trainer.folder().display().to_string();
                complain("note", &format!("ended after this step; `--resume` goes on from {folder}/{STATE}"));
                Ok(())
            }
        }
    }
}

fn header(trainer: &mut Trainer) -> Result<String, Failure> {
    let batch = trainer.recipe().batch.min(trainer.sets().train.len()).div_ceil(trainer.recipe().accumulate);
    let plan = trainer.stepper().learner_mut().plan(batch)?;
    let learner = trainer.stepper().learner();
    let count = |count: usize| grouped(&Dim::from(count as u64));
    let (name, threads) = (learner.training().graph.net.name.clone(), learner.threads().count());
    let (trained, layers) = (count(learner.trained()), learner.training().gradients.len());
    let memory = plan.arena as f64 * 4.0 / f64::from(1 << 20);
    let sets = trainer.sets();
    let mut text = format!(
        "{name}: {trained} parameters trained in {layers} tensors; {} images of {} classes",
        count(sets.train.len()),
        sets.train.classes().len()
    );
    for (name, set) in [("held out", &sets.validation), ("test", &sets.test)] {
        if let Some(set) = set {
            text.push_str(&format!(", {} {name}", count(set.len())));
        }
    }
    let recipe = trainer.recipe();
    text.push_str(&format!(
        "\n{} epochs in batches of {}, {threads} threads, {memory:.1} MiB for a pass; results in {}",
        recipe.epochs,
        recipe.batch,
        trainer.folder().display()
    ));
    Ok(text)
}

/// What a run has come to.
fn closing(trainer: &Trainer) -> String {
    let position = trainer.position();
    let mut text = format!("{:.1} s", position.seconds);
    if let Some(record) = position.records.last() {
        for (name, figures) in figures(record) {
            text.push_str(&format!("; {name}: {}", shown(&figures)));
        }
    }
    if let Some(best) = position.best {
        text.push_str(&format!("; best {:.2} %", 100.0 * best));
    }
    text
}

fn figures(record: &Record) -> Vec<(&'static str, Evaluation)> {
    let all = [("training set", record.train), ("held out", record.validation), ("test", record.test)];
    all.into_iter().filter_map(|(name, figures)| Some((name, figures?))).collect()
}

fn shown(figures: &Evaluation) -> String {
    format!("loss {:.4}, {:.2} % right", figures.loss, 100.0 * figures.top1)
}

/// Progress on a terminal, plain lines elsewhere.
struct Screen {
    ends: Arc<AtomicBool>,
    bar: Option<ProgressBar>,
    last: Instant,
}

/// How often a line tells of progress where there is no terminal.
const QUIET: Duration = Duration::from_secs(30);

impl Screen {
    fn new(ends: Arc<AtomicBool>) -> Screen {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:24} {msg}");
            ProgressBar::new(1).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Screen { ends, bar, last: Instant::now() }
    }

    fn close(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// A bar on a terminal, a line now and then elsewhere.
    fn progress(&mut self, (done, count): (usize, usize), text: String) {
        match &self.bar {
            Some(bar) => {
                bar.set_length(count as u64);
                bar.set_position(done as u64);
                bar.set_message(text);
            }
            None if QUIET <= self.last.elapsed() => {
                self.last = Instant::now();
                self.line(&text);
            }
            None => {}
        }
    }

    fn line(&self, text: &str) {
        let write = || {
            let _ = writeln!(anstream::stderr(), "{}", text.trim_end());
        };
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

/// Hours, minutes and seconds, as many as are needed.
fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds:02} s"),
        (hours, minutes, _) => format!("{hours} h {minutes:02} min"),
    }
}

impl Watch for Screen {
    fn told(&mut self, text: &str) {
        self.line(text);
    }

    fn prepared(&mut self, done: usize, count: usize) {
        self.progress((done, count), format!("frozen layers: image {done}/{count}"));
    }

    fn step(&mut self, progress: &Progress) {
        let Progress { epoch, batch, loss, accuracy, rate, waited, left } = *progress;
        let text = format!(
            "epoch {}/{} step {}/{}  loss {loss:.4}  {:.2} % right  {rate:.0} images/s  waiting {:.1} %  {} left",
            epoch.0,
            epoch.1,
            batch.0,
            batch.1,
            100.0 * accuracy,
            100.0 * waited,
            duration(left)
        );
        self.progress(batch, text);
    }

    fn epoch(&mut self, record: &Record) {
        let mut text = format!(
            "epoch {}: loss {:.4}, {:.2} % right in {:.1} s, {:.0} images/s, waiting {:.1} %",
            record.epoch,
            record.loss,
            100.0 * record.accuracy,
            record.seconds,
            record.images_per_second,
            100.0 * record.waited
        );
        if let Some(speedup) = record.speedup {
            text.push_str(&format!(", {speedup:.1} times as fast as with the frozen layers"));
        }
        for (name, figures) in figures(record) {
            text.push_str(&format!("; {name}: {}", shown(&figures)));
        }
        self.last = Instant::now();
        self.line(&text);
    }

    fn ends(&self) -> bool {
        self.ends.load(Ordering::SeqCst)
    }
}
