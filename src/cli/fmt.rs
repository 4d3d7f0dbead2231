use clap::Args;

use super::{Failure, Outcome, print, read_source, show};
use crate::data::write_atomic;
use crate::diag::{Sink, SourceMap};
use crate::syntax;

/// Write nets in the canonical form; comments stay
#[derive(Debug, Args)]
pub(super) struct Fmt {
    /// The files; `-` formats standard input to standard output
    #[arg(required = true)]
    files: Vec<String>,
    /// Change nothing; exit 1 when a file is not in the canonical form
    #[arg(long)]
    check: bool,
}

impl Fmt {
    pub(super) fn run(self) -> Outcome {
        let mut failed = false;
        for file in &self.files {
            failed |= !self.file(file)?;
        }
        if failed { Err(Failure::Said) } else { Ok(()) }
    }

    /// Whether the file is fine now.
    fn file(&self, file: &str) -> Result<bool, Failure> {
        let (mut sources, mut sink) = (SourceMap::default(), Sink::default());
        let name = if file == "-" { "<stdin>" } else { file };
        let bytes = read_source(file)?;
        let id = syntax::add_source(&mut sources, name, bytes.clone(), &mut sink);
        let Some(text) = id.and_then(|id| syntax::format(&sources, id, &mut sink)) else {
            show(&sources, &sink.into_sorted());
            return Ok(false);
        };
        let same = text.as_bytes() == bytes;
        if self.check {
            if !same {
                super::complain("error", &format!("{name} is not in the canonical form; run `netc fmt {file}`"));
            }
            return Ok(same);
        }
        if file == "-" {
            print(&text)?;
        } else if !same {
            write_atomic(file, |out| out.write_all(text.as_bytes()))?;
        }
        Ok(true)
    }
}
