use std::time::{Duration, Instant};

use clap::Args;
use ndarray::{ArrayD, IxDyn};

use super::weights::Weights;
use super::{Outcome, Source, print};
use crate::Executable;

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
    /// A line for each layer
    #[arg(long)]
    per_layer: bool,
}

impl Bench {
    pub(super) fn run(self) -> Outcome {
        let compiled = self.source.compile()?;
        let executable = self.weights.executable(&compiled)?;
        let inputs = inputs(&executable, self.batch as usize);
        let views: Vec<_> = inputs.iter().map(|array| array.view()).collect();
        let mut totals = Vec::new();
        let mut layers: Vec<Vec<Duration>> = vec![Vec::new(); executable.plan(self.batch as usize)?.steps.len()];
        for round in 0..self.warmup + self.runs {
            let mut times = Vec::with_capacity(layers.len());
            let start = Instant::now();
            executable.run_timed(&views, &mut |_, time| times.push(time))?;
            if self.warmup <= round {
                totals.push(start.elapsed());
                layers.iter_mut().zip(times).for_each(|(layer, time)| layer.push(time));
            }
        }
        totals.sort_unstable();
        let mut text = format!(
            "{}: batch {}, {} runs, median {}, fastest {}, slowest {}\n",
            compiled.net.name,
            self.batch,
            self.runs,
            milliseconds(median(&totals)),
            milliseconds(totals[0]),
            milliseconds(totals[totals.len() - 1]),
        );
        if self.per_layer {
            text.push_str(&per_layer(&executable, self.batch as usize, layers)?);
        }
        print(&text)
    }
}

/// Inputs of small seeded values.
fn inputs(executable: &Executable, batch: usize) -> Vec<ArrayD<f32>> {
    let make = |(_, sizes): (String, Vec<usize>)| {
        let sizes: Vec<usize> = std::iter::once(batch).chain(sizes).collect();
        let mut state = 1u32;
        ArrayD::from_shape_fn(IxDyn(&sizes), |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
    };
    executable.inputs().into_iter().map(make).collect()
}

fn per_layer(executable: &Executable, batch: usize, layers: Vec<Vec<Duration>>) -> Result<String, crate::RunError> {
    let plan = executable.plan(batch)?;
    let medians: Vec<Duration> = layers
        .into_iter()
        .map(|mut times| {
            times.sort_unstable();
            median(&times)
        })
        .collect();
    let whole: f64 = medians.iter().map(Duration::as_secs_f64).sum();
    let width = plan.steps.iter().map(|step| step.path.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (step, &time) in plan.steps.iter().zip(&medians) {
        let seconds = time.as_secs_f64().max(1e-9);
        let macs = step.macs(executable.optimised()) * batch as u64;
        let rate = if macs == 0 { String::new() } else { format!("{:.1} GFLOP/s", 2.0 * macs as f64 / seconds / 1e9) };
        text.push_str(&format!(
            "  {:width$}  {:16} {:>10}  {:>5.1} %  {rate}\n",
            step.path,
            step.kernel.name(),
            milliseconds(time),
            100.0 * seconds / whole.max(1e-9),
        ));
    }
    Ok(text)
}

fn median(sorted: &[Duration]) -> Duration {
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[half] } else { (sorted[half - 1] + sorted[half]) / 2 }
}

fn milliseconds(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1e3)
}
