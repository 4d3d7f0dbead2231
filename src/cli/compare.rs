use std::io::IsTerminal;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::report::table_style;
use super::{Failure, Outcome, print, write_drawing};
use crate::train::compare::{Run, charts, gradient_chart, grid};
use crate::train::curves::svg;

/// Compare runs of recipes: figures and curves
#[derive(Debug, Args)]
pub(super) struct Compare {
    /// The folders of the runs
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    /// Draw training and test errors: .svg or .png
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Draw where runs end against a number of their recipes, as in set.n, instead of epochs
    #[arg(long, value_name = "KEY", requires = "output")]
    against: Option<String>,
    /// Draw the norm of each layer's gradient in the first step: .svg or .png
    #[arg(long, value_name = "FILE")]
    gradients: Option<PathBuf>,
    /// How the figures are written
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// For a terminal
    Table,
    /// For a document
    Markdown,
    /// For a spreadsheet
    Csv,
}

impl Compare {
    pub(super) fn run(self) -> Outcome {
        let runs = self.runs.iter().map(|folder| Run::open(folder)).collect::<Result<Vec<_>, _>>()?;
        let mut drawings = Vec::new();
        if let Some(path) = &self.output {
            drawings.push((path, charts(&runs, self.against.as_deref())?));
        }
        if let Some(path) = &self.gradients {
            if let Some(run) = runs.iter().find(|run| run.gradients.is_empty()) {
                return Err(Failure::Input(format!("run {} has kept no gradients of its first step", run.name)));
            }
            drawings.push((path, vec![gradient_chart(&runs)]));
        }
        for (path, charts) in drawings {
            write_drawing(path, svg(&charts))?;
        }
        let grid = grid(&runs);
        print(&match self.format {
            Format::Table => grid.table(table_style(std::io::stdout().is_terminal())).0,
            Format::Markdown => grid.markdown(),
            Format::Csv => grid.csv(),
        })
    }
}
