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

/// A file of weights.
#[derive(Clone, Debug, Args)]
pub(super) struct Stored {
    /// A .safetensors, .pth or .pt file whose names are the net's parameter paths
    #[arg(long, value_name = "FILE")]
    pub(super) weights: Option<PathBuf>,
    /// Names in the file that are left out, with * and ? as wildcards (repeatable)
    #[arg(long, value_name = "PATTERN")]
    ignore: Vec<String>,
    /// A TOML file that says which name in the file stands for which parameter
    #[arg(long, value_name = "MAP")]
    pub(super) rename: Option<PathBuf>,
    /// Let NaN and infinity through
    #[arg(long)]
    allow_nan: bool,
    /// Copy the file into memory instead of mapping it
    #[arg(long)]
    no_mmap: bool,
}

/// Weights and threads.
#[derive(Clone, Debug, Args)]
pub(super) struct Weights {
    #[command(flatten)]
    stored: Stored,
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

impl Stored {
    /// The checkpoint of the file, or of the model that the net comes from; `None` where there is neither.
    pub(super) fn checkpoint(&self, compiled: &Compiled) -> Result<Option<Checkpoint>, Failure> {
        let Some(path) = &self.weights else {
            if self.rename.is_some() || !self.ignore.is_empty() {
                return Err(Failure::Call("--rename and --ignore need --weights".to_owned()));
            }
            return Ok(compiled.weights.clone());
        };
        let checkpoint = Checkpoint::open(path, &OpenOptions { mapped: !self.no_mmap })?;
        match &self.rename {
            Some(map) => Ok(Some(Rename::open(map)?.apply(&checkpoint)?)),
            None => Ok(Some(checkpoint)),
        }
    }

    /// What may differ between the file and the net.
    pub(super) fn bind_options(&self) -> BindOptions {
        BindOptions { ignore: self.ignore.clone(), allow_non_finite: self.allow_nan }
    }
}

impl Weights {
    /// The checkpoint: that of the file or the model, or random weights, which is said.
    pub(super) fn checkpoint(&self, compiled: &Compiled) -> Result<Checkpoint, Failure> {
        if let Some(checkpoint) = self.stored.checkpoint(compiled)? {
            return Ok(checkpoint);
        }
        complain("note", &format!("no --weights given: running with random weights of seed {}", self.seed));
        Ok(init(&compiled.init_specs(), Scheme::He, self.seed)?)
    }

    /// What the file or the model says beside its tensors.
    pub(super) fn notes(&self, compiled: &Compiled) -> Result<BTreeMap<String, String>, Failure> {
        Ok(self.stored.checkpoint(compiled)?.map(|checkpoint| checkpoint.metadata().clone()).unwrap_or_default())
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
        let bind = self.stored.bind_options();
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
