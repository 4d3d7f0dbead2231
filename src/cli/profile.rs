use std::path::{Path, PathBuf};

use clap::Args;

use super::{Failure, Outcome, complain, print};
use crate::cost::Profile as Hardware;
use crate::data::{read_bounded, write_atomic};
use crate::kernel::measure;
use crate::kernel::threads::Threads;
use crate::run::physical_cores;

/// Measure this machine: a hardware profile for `netc cost --profile`
#[derive(Debug, Args)]
pub(super) struct Profile {
    /// The TOML file to write; standard output where none is given
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// What the machine is called
    #[arg(long, default_value = "this machine")]
    name: String,
    /// Threads [default: the physical cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

/// Bytes of a hardware profile.
const MAX_PROFILE: u64 = 1 << 20;

/// Reads a hardware profile from a file.
pub(super) fn read(path: &Path) -> Result<Hardware, Failure> {
    let wrong = |error: String| Failure::Input(format!("{}: {error}", path.display()));
    let text = String::from_utf8(read_bounded(path, MAX_PROFILE)?).map_err(|_| wrong("not UTF-8 text".to_owned()))?;
    Hardware::parse(&text).map_err(|error| wrong(error.to_string()))
}

impl Profile {
    pub(super) fn run(self) -> Outcome {
        let threads = self.threads.map_or_else(physical_cores, usize::from);
        complain("note", &format!("measuring matrix products and copies on {threads} threads"));
        let pool = Threads::new(threads)
            .map_err(|error| Failure::Input(format!("cannot start {threads} threads: {error}")))?;
        let profile = Hardware {
            name: self.name,
            peak_gflops: measure::peak_gflops(&pool),
            bandwidth_gbs: measure::bandwidth_gbs(&pool),
            cores: u32::try_from(threads).unwrap_or(u32::MAX),
        };
        let text = profile.to_toml();
        match self.output {
            Some(path) => Ok(write_atomic(path, |out| out.write_all(text.as_bytes()))?),
            None => print(&text),
        }
    }
}
