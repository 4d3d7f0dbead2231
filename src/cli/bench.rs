use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use ndarray::{ArrayD, IxDyn};

use super::weights::Weights;
use super::{Failure, Outcome, Source, print};
use crate::grad::Objective;
use crate::ir::NodeId;
use crate::kernel::measure;
use crate::op::loss::LossKind;
use crate::opt::Optimised;
use crate::plan::Step;
use crate::run::{LearnOptions, Learner};
use crate::train::optimiser::Optimiser;
use crate::train::stepper::{Samples, Stepper};
use crate::{Compiled, Executable, Session};

/// Time a net: warm-up, median and spread, and each layer
#[derive(Debug, Args)]
pub(super) struct Bench {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    weights: Weights,
    /// Samples in a batch
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Runs that count
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Runs in front that do not
    #[arg(long, value_name = "N", default_value_t = 3)]
    warmup: u32,
    /// A line for each step, with the share of what this machine can multiply, which is measured first
    #[arg(long)]
    per_layer: bool,
    /// Run from this many callers at once as well, each with a session of one thread: samples a second
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    sessions: Option<u16>,
    /// Time steps of training instead: losses, gradients and SGD with momentum
    #[arg(long, conflicts_with = "sessions")]
    train: bool,
    /// How results are written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
}

/// What has been measured.
struct Measured {
    net: String,
    threads: usize,
    /// Of whole runs, the fastest first.
    totals: Vec<Duration>,
    layers: Vec<Layer>,
    /// What this machine can multiply, in 10^9 operations a second.
    peak: Option<f64>,
    /// Samples a second of one session and of all.
    rates: Option<[f64; 2]>,
}

/// A step with its median time.
struct Layer {
    path: String,
    kernel: &'static str,
    time: Duration,
    macs: u64,
}

impl Bench {
    pub(super) fn run(self) -> Outcome {
        let compiled = self.source.compile()?;
        if self.train {
            return self.training(&compiled);
        }
        let executable = self.weights.executable(&compiled)?;
        let inputs = inputs(&executable, self.batch as usize);
        let views: Vec<_> = inputs.iter().map(|array| array.view()).collect();
        let (totals, times) = self.times(|times| {
            executable.run_timed(&views, &mut |_, time| times.push(time))?;
            Ok(())
        })?;
        let plan = executable.plan(self.batch as usize)?;
        let measured = Measured {
            net: compiled.net.name.clone(),
            threads: executable.threads().count(),
            totals,
            layers: self.layers(&plan.steps, executable.optimised(), times),
            peak: self.per_layer.then(|| measure::peak_gflops(executable.threads())),
            rates: self.sessions.map(|count| self.rates(&executable, &inputs, count)).transpose()?,
        };
        self.show(&measured)
    }

    fn show(&self, measured: &Measured) -> Outcome {
        match self.format {
            Format::Table => print(&self.table(measured)),
            Format::Json => print(&self.json(measured)),
        }
    }

    /// Runs that count, the fastest first, and the times of each step. `once` runs and notes how long each step took.
    fn times(
        &self,
        mut once: impl FnMut(&mut Vec<Duration>) -> Result<(), Failure>,
    ) -> Result<(Vec<Duration>, Vec<Vec<Duration>>), Failure> {
        let (mut totals, mut steps) = (Vec::new(), Vec::new());
        for round in 0..self.warmup + self.runs {
            let mut times = Vec::new();
            let start = Instant::now();
            once(&mut times)?;
            if self.warmup <= round {
                totals.push(start.elapsed());
                steps.resize(times.len(), Vec::new());
                steps.iter_mut().zip(times).for_each(|(step, time)| step.push(time));
            }
        }
        totals.sort_unstable();
        Ok((totals, steps))
    }

    /// Times steps of training on one batch.
    fn training(&self, compiled: &Compiled) -> Outcome {
        let checkpoint = self.weights.checkpoint(compiled)?;
        let objective = Objective { loss: LossKind::CrossEntropy, trained: &|_| true, recompute: false };
        let options = LearnOptions { fast: !self.weights.exact(), ..self.weights.learning()? };
        let learner = Learner::new(&compiled.net, &compiled.shapes, &objective, &checkpoint, &options)?;
        drop(checkpoint);
        let batch = self.batch as usize;
        let size =
            |id: NodeId| batch * compiled.shapes.of(id.into()).as_known().unwrap_or_default().iter().product::<usize>();
        let inputs: Vec<Vec<f32>> = compiled.net.inputs.iter().map(|&id| noise(size(id))).collect();
        let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
        let graph = &learner.training().graph;
        let heads = learner.training().heads.iter().map(|head| graph.net.inputs[head.target]);
        let targets: Vec<Vec<f32>> =
            heads.map(|id| classes(batch, &graph.shapes.of(id.into()).as_known().unwrap_or_default())).collect();
        let targets: Vec<&[f32]> = targets.iter().map(Vec::as_slice).collect();
        let samples = Samples { batch, inputs: &inputs, targets: &targets };
        let mut stepper = Stepper::new(learner, Optimiser::default(), 0);
        let (totals, times) = self.times(|times| {
            stepper.step_observed(&samples, 1e-3, &mut |_, time| times.push(time))?;
            Ok(())
        })?;
        let plan = stepper.learner_mut().plan(batch)?;
        let learner = stepper.learner();
        let measured = Measured {
            net: format!("{} in training", compiled.net.name),
            threads: learner.threads().count(),
            totals,
            layers: self.layers(&plan.steps, &learner.training().graph, times),
            peak: self.per_layer.then(|| measure::peak_gflops(learner.threads())),
            rates: None,
        };
        self.show(&measured)
    }

    /// Samples a second of one session, and of `count` at once, each with one thread.
    fn rates(&self, executable: &Executable, inputs: &[ArrayD<f32>], count: u16) -> Result<[f64; 2], crate::RunError> {
        let rate = |count: u16| -> Result<f64, crate::RunError> {
            let mut sessions = (0..count).map(|_| executable.session(1)).collect::<Result<Vec<_>, _>>()?;
            let work = |session: &mut Session, runs: u32| {
                let views: Vec<_> = inputs.iter().map(|array| array.view()).collect();
                (0..runs).try_for_each(|_| session.run(&views).map(|_| ()))
            };
            sessions.iter_mut().try_for_each(|session| work(session, self.warmup.max(1)))?;
            let start = Instant::now();
            std::thread::scope(|scope| {
                let callers: Vec<_> =
                    sessions.iter_mut().map(|session| scope.spawn(move || work(session, self.runs))).collect();
                callers
                    .into_iter()
                    .try_for_each(|caller| caller.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            })?;
            let samples = f64::from(count) * f64::from(self.runs) * f64::from(self.batch);
            Ok(samples / start.elapsed().as_secs_f64())
        };
        Ok([rate(1)?, rate(count)?])
    }

    /// The steps with their median times.
    fn layers(&self, steps: &[Step], graph: &Optimised, times: Vec<Vec<Duration>>) -> Vec<Layer> {
        if !self.per_layer {
            return Vec::new();
        }
        let layer = |(step, mut times): (&Step, Vec<Duration>)| {
            times.sort_unstable();
            let macs = step.macs(graph) * u64::from(self.batch);
            Layer { path: step.path.clone(), kernel: step.kernel.name(), time: median(&times), macs }
        };
        steps.iter().zip(times).map(layer).collect()
    }

    fn table(&self, measured: &Measured) -> String {
        let Measured { net, threads, totals, layers, peak, rates } = measured;
        let mut text = format!(
            "{net}: batch {}, threads {threads}, {} runs, median {}, fastest {}, slowest {}\n",
            self.batch,
            self.runs,
            milliseconds(median(totals)),
            milliseconds(totals[0]),
            milliseconds(totals[totals.len() - 1]),
        );
        if let (Some([one, all]), Some(count)) = (rates, self.sessions) {
            let more = all / one;
            text.push_str(&format!(
                "{count} sessions of one thread: {all:.1} samples/s, {more:.2} times the {one:.1} of one\n"
            ));
        }
        let Some(peak) = peak else { return text };
        text.push_str(&format!("peak of this machine: {peak:.1} GFLOP/s in products that fit the caches\n"));
        let whole: f64 = layers.iter().map(|layer| layer.time.as_secs_f64()).sum();
        let width = layers.iter().map(|layer| layer.path.len()).max().unwrap_or(0);
        for layer in layers {
            let rate = layer
                .gflops()
                .map_or(String::new(), |rate| format!("{rate:>6.1} GFLOP/s  {:>5.1} % of peak", 100.0 * rate / peak));
            let line = format!(
                "  {:width$}  {:14} {:>10}  {:>5.1} %  {rate}",
                layer.path,
                layer.kernel,
                milliseconds(layer.time),
                100.0 * layer.time.as_secs_f64() / whole.max(1e-9),
            );
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    fn json(&self, measured: &Measured) -> String {
        let Measured { net, threads, totals, layers, peak, rates } = measured;
        let seconds = Duration::as_secs_f64;
        let mut report = serde_json::json!({
            "schema": "netc.bench/1",
            "net": net,
            "batch": self.batch,
            "threads": threads,
            "runs": self.runs,
            "median_seconds": seconds(&median(totals)),
            "fastest_seconds": seconds(&totals[0]),
            "slowest_seconds": seconds(&totals[totals.len() - 1]),
        });
        if let (Some([one, all]), Some(count)) = (rates, self.sessions) {
            report["sessions"] = serde_json::json!({ "count": count, "samples_per_second": all, "of_one": one });
        }
        if let Some(peak) = peak {
            let layer = |layer: &Layer| {
                serde_json::json!({
                    "layer": layer.path,
                    "kernel": layer.kernel,
                    "seconds": seconds(&layer.time),
                    "macs": layer.macs,
                    "gflops": layer.gflops(),
                })
            };
            report["peak_gflops"] = (*peak).into();
            report["layers"] = layers.iter().map(layer).collect();
        }
        format!("{report:#}\n")
    }
}

impl Layer {
    /// Operations a second of the products, in units of 10^9; `None` without products.
    fn gflops(&self) -> Option<f64> {
        (self.macs != 0).then(|| 2.0 * self.macs as f64 / self.time.as_secs_f64().max(1e-9) / 1e9)
    }
}

/// Inputs of small seeded values.
fn inputs(executable: &Executable, batch: usize) -> Vec<ArrayD<f32>> {
    let make = |(_, sizes): &(String, Vec<usize>)| {
        let sizes: Vec<usize> = std::iter::once(batch).chain(sizes.iter().copied()).collect();
        let mut values = noise(sizes.iter().product()).into_iter();
        ArrayD::from_shape_fn(IxDyn(&sizes), |_| values.next().unwrap_or(0.0))
    };
    executable.inputs().iter().map(make).collect()
}

/// Small seeded values.
fn noise(len: usize) -> Vec<f32> {
    let mut state = 1u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(next).collect()
}

/// A class for each position of each sample, in turn.
fn classes(batch: usize, sizes: &[usize]) -> Vec<f32> {
    let (classes, positions) = (sizes[0], sizes[1..].iter().product::<usize>());
    let is_class =
        |at: usize| (at / positions % classes == (at / positions / classes + at % positions) % classes) as u8;
    (0..batch * classes * positions).map(|at| f32::from(is_class(at))).collect()
}

fn median(sorted: &[Duration]) -> Duration {
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[half] } else { (sorted[half - 1] + sorted[half]) / 2 }
}

fn milliseconds(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1e3)
}
