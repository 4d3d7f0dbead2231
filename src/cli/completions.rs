use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Outcome, print};

/// Print completions for a shell
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self) -> Outcome {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut super::Cli::command(), "netc", &mut text);
        print(&String::from_utf8_lossy(&text))
    }
}
