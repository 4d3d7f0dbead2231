//! Where a command's weights come from.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;

use super::{Failure, complain, profile};
use crate::kernel::isa::Isa;
use crate::plan::{self, Kernel, Machine};
use crate::run::LearnOptions;
use crate::weights::{BindOptions, Checkpoint, OpenOptions, Rename, Scheme, init};
use crate::{Compiled, Executable, Kept, RunOptions};

/// How plans are made.
#[derive(Clone, Debug, Args)]
pub(super) struct Planning {
    /// Sum convolutions product by product, without Winograd's transforms
    #[arg(long)]
    exact: bool,
    /// A hardware profile, as `netc profile` writes it: what kernels are picked for
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
}

impl Planning {
    /// With the kernel that the environment forces.
    pub(super) fn options(&self) -> Result<plan::Options, Failure> {
        let machine = match &self.profile {
            Some(path) => Machine::of(&profile::read(path)?),
            None => Machine::default(),
        };
        let forced = Kernel::from_environment().map_err(Failure::Call)?;
        Ok(plan::Options { exact: self.exact, forced, machine, ..plan::Options::default() })
    }
}

/// Weights and threads.
#[derive(Clone, Debug, Args)]
pub(super) struct Weights {
    /// A .safetensors, .pth or .pt file whose names are the net's parameter paths
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Names in the file that are left out, with * and ? as wildcards (repeatable)
    #[arg(long, value_name = "PATTERN")]
    ignore: Vec<String>,
    /// A TOML file that says which name in the file stands for which parameter
    #[arg(long, value_name = "MAP")]
    rename: Option<PathBuf>,
    /// Let NaN and infinity through
    #[arg(long)]
    allow_nan: bool,
    /// Copy the file into memory instead of mapping it
    #[arg(long)]
    no_mmap: bool,
    /// The seed of random weights where no file is given
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    planning: Planning,
    /// Time the kernels of convolutions where their estimates are close; with --cache the result is kept
    #[arg(long)]
    tune: bool,
    /// Keep packed weights in this folder, and take them from there at the next start
    #[arg(long, value_name = "FOLDER")]
    cache: Option<PathBuf>,
    /// Threads [default: the physical cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

impl Weights {
    /// The checkpoint: the file's, or random ones, which is said.
    pub(super) fn checkpoint(&self, compiled: &Compiled) -> Result<Checkpoint, Failure> {
        let Some(path) = &self.weights else {
            if self.rename.is_some() || !self.ignore.is_empty() {
                return Err(Failure::Call("--rename and --ignore need --weights".to_owned()));
            }
            if let Some(weights) = &compiled.weights {
                return Ok(weights.clone());
            }
            complain("note", &format!("no --weights given: running with random weights of seed {}", self.seed));
            return Ok(init(&compiled.init_specs(), Scheme::He, self.seed)?);
        };
        let checkpoint = Checkpoint::open(path, &OpenOptions { mapped: !self.no_mmap })?;
        match &self.rename {
            Some(map) => Ok(Rename::open(map)?.apply(&checkpoint)?),
            None => Ok(checkpoint),
        }
    }

    /// What the file says beside its tensors.
    pub(super) fn notes(&self) -> Result<BTreeMap<String, String>, Failure> {
        let Some(path) = &self.weights else { return Ok(BTreeMap::new()) };
        Ok(Checkpoint::open(path, &OpenOptions { mapped: !self.no_mmap })?.metadata().clone())
    }

    /// Whether convolutions are summed product by product.
    pub(super) fn exact(&self) -> bool {
        self.planning.exact
    }

    /// How a net is trained: with these threads, by the instructions that the environment forces.
    pub(super) fn learning(&self) -> Result<LearnOptions, Failure> {
        let threads = self.threads.map_or(0, usize::from);
        Ok(LearnOptions {
            threads,
            instructions: Isa::from_environment().map_err(Failure::Call)?,
            ..LearnOptions::default()
        })
    }

    /// The net with its weights, ready to run.
    pub(super) fn executable(&self, compiled: &Compiled) -> Result<Executable, Failure> {
        let bind = BindOptions { ignore: self.ignore.clone(), allow_non_finite: self.allow_nan };
        let plan = self.planning.options()?;
        let threads = self.threads.map_or(0, usize::from);
        let instructions = Isa::from_environment().map_err(Failure::Call)?;
        let options = RunOptions { threads, instructions, plan, bind, tune: self.tune, cache: self.cache.clone() };
        let executable = compiled.plan_with(&self.checkpoint(compiled)?, &options)?;
        for pattern in executable.idle_patterns() {
            complain("note", &format!("--ignore '{pattern}' meets no name that would be ignored"));
        }
        if let Kept::Failed(reason) = executable.kept() {
            complain("note", &format!("packed weights are not kept: {reason}"));
        }
        Ok(executable)
    }
}
