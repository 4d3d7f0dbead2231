use clap::{Args, ValueEnum};

use super::report::{Counted, Format};
use super::{Failure, Outcome, complain};
use crate::cost::number::{bytes, grouped};
use crate::cost::{By, analyse, rollup};
use crate::report::cost;
use crate::train::cost::{PassCost, pass};
use crate::{Compiled, RunOptions, measure};

/// Count parameters, operations and memory, and what each 1x1 bottleneck saves
#[derive(Debug, Args)]
pub(super) struct Cost {
    #[command(flatten)]
    counted: Counted,
    /// What makes a row
    #[arg(long, value_enum, default_value_t = Rows::Layer)]
    by: Rows,
    /// How many parts of the path name a block
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    depth: u16,
    /// Build each bottleneck and the convolution that it stands for, and time both
    #[arg(long)]
    measure: bool,
    /// Threads for --measure [default: the physical cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

/// A report with what a training pass costs.
fn with_pass(text: String, pass: &PassCost, format: Format) -> String {
    let both = |forward: u64, backward: u64| {
        let [forward, backward, sum] =
            [forward, backward, forward.saturating_add(backward)].map(|count| grouped(&count.into()));
        format!("{sum}: {forward} forward, {backward} backward")
    };
    let memory = |of: u64| format!("{} bytes, {}", grouped(&of.into()), bytes(of as f64));
    let more = 100.0 * pass.recomputed_flops as f64 / (pass.forward_flops + pass.backward_flops).max(1) as f64;
    let lines = [
        ("MACs", both(pass.forward_macs, pass.backward_macs)),
        ("FLOPs", both(pass.forward_flops, pass.backward_flops)),
        (
            "memory of a step",
            format!(
                "{}: values {}, parameters {}, momentum {}, packed weights {}",
                memory(pass.memory_bytes),
                bytes(pass.value_bytes as f64),
                bytes(pass.parameter_bytes as f64),
                bytes(pass.optimiser_bytes as f64),
                bytes(pass.packed_bytes as f64)
            ),
        ),
        ("with --checkpoint-activations", format!("{}, {more:.1} % more FLOPs", memory(pass.recomputed_memory_bytes))),
    ];
    match format {
        Format::Table => {
            let lines = lines.map(|(name, value)| format!("  {name:30}{value}\n")).concat();
            format!("{text}\ntraining pass of {} samples, all parameters trained\n{lines}", pass.batch)
        }
        Format::Markdown => {
            let lines = lines.map(|(name, value)| format!("- training {name}: {value}\n")).concat();
            format!("{text}\n{lines}")
        }
        Format::Json => {
            let Ok(mut report) = serde_json::from_str::<serde_json::Value>(&text) else { return text };
            report["training"] = serde_json::json!(pass);
            format!("{report:#}\n")
        }
        Format::Csv | Format::Html => text,
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Rows {
    Layer,
    Block,
    Kind,
}

impl Cost {
    pub(super) fn run(self) -> Outcome {
        let counted = &self.counted;
        if self.measure && counted.format != Format::Table {
            return Err(Failure::Call("--measure writes a table; leave --format out".to_owned()));
        }
        let compiled = counted.source.compile()?;
        let report = analyse(&compiled.net, &compiled.shapes, &counted.options()?)?;
        let by = match self.by {
            Rows::Layer => By::Layer,
            Rows::Block => By::Block { depth: usize::from(self.depth) },
            Rows::Kind => By::Kind,
        };
        let groups = rollup(&report, by)?;
        let mut text = match counted.format {
            Format::Table => cost::table(&report, &groups, by, counted.style()),
            Format::Json => cost::json(&report, &groups, by),
            Format::Csv => cost::csv(&report, &groups, by),
            Format::Markdown => cost::markdown(&report, &groups, by),
            Format::Html => cost::html(&report, &groups, by),
        };
        if counted.options()?.train {
            let pass = pass(&compiled, report.options.batch).map_err(|error| Failure::Input(error.to_string()))?;
            text = with_pass(text, &pass, counted.format);
        }
        if self.measure {
            text.push_str(&self.measured(&compiled, &report)?);
        }
        counted.emit(&text)
    }

    /// The saving on the clock beside the saving on paper.
    fn measured(&self, compiled: &Compiled, report: &crate::cost::Report) -> Result<String, Failure> {
        const RUNS: u32 = 15;
        let all: Vec<_> = report.bottlenecks.reduce.iter().collect();
        if all.is_empty() {
            complain("note", "there is no bottleneck to measure");
        }
        let options = RunOptions { threads: self.threads.map_or(0, usize::from), ..RunOptions::default() };
        let width = all.iter().map(|bottleneck| bottleneck.layer.len()).max().unwrap_or(0);
        let mut text = format!("\nOn the clock: median of {RUNS} runs in turn, one sample\n");
        for bottleneck in all {
            let measured = measure::bottleneck(&compiled.net, &compiled.shapes, bottleneck, RUNS, &options)?;
            let (as_is, direct) = (measured.as_is.as_secs_f64() * 1e3, measured.direct.as_secs_f64() * 1e3);
            let paper =
                bottleneck.factor.as_ref().map_or(String::new(), |factor| format!(", {:.2}x on paper", factor.0));
            text.push_str(&format!(
                "  {:width$}  {as_is:9.3} ms as it is, {direct:9.3} ms direct: {:.2}x on the clock{paper}\n",
                bottleneck.layer,
                direct / as_is.max(1e-9),
            ));
        }
        Ok(text)
    }
}
