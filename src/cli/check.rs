use clap::{Args, ValueEnum};

use super::{Failure, Outcome, Source, print, show};
use crate::diag::{Severity, json};
use crate::{FileLoader, check};

/// Check nets: every mistake and all advice, nothing else
#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(flatten)]
    source: Source,
    /// More files
    more: Vec<String>,
    /// How diagnostics are written
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Format {
    /// For people, on standard error
    Human,
    /// For tools, on standard output
    Json,
}

impl Check {
    pub(super) fn run(self) -> Outcome {
        let mut failed = false;
        let mut all = Vec::new();
        for file in std::iter::once(&self.source.file).chain(&self.more) {
            let source = Source { file: file.clone(), ..self.source.clone() };
            let bytes = match source.read() {
                Ok(bytes) => bytes,
                Err(failure) => {
                    failure.report();
                    failed = true;
                    continue;
                }
            };
            let checked = check(source.name(), bytes, &FileLoader, &source.settings());
            let errors = checked.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
            failed |= errors || (source.deny_warnings && !checked.diagnostics.is_empty());
            match self.format {
                Format::Human => show(&checked.sources, &checked.diagnostics),
                Format::Json => all.push((checked.sources, checked.diagnostics)),
            }
        }
        if self.format == Format::Json {
            let mut report = serde_json::json!({"schema": json::SCHEMA, "diagnostics": [], "errors": 0, "warnings": 0});
            for (sources, diagnostics) in &all {
                let one = json::render(sources, diagnostics);
                if let (Some(list), Some(more)) = (report["diagnostics"].as_array_mut(), one["diagnostics"].as_array())
                {
                    list.extend(more.iter().cloned());
                }
                for count in ["errors", "warnings"] {
                    report[count] = (report[count].as_u64().unwrap_or(0) + one[count].as_u64().unwrap_or(0)).into();
                }
            }
            print(&format!("{report:#}\n"))?;
        }
        if failed { Err(Failure::Said) } else { Ok(()) }
    }
}
