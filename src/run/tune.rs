//! Kernels picked by their times: where the estimates of several are close, each is run.
//!
//! A convolution is timed on one thread, with caches that hold none of its weights, so that what is picked depends on
//! the machine and on nothing else. Picks can be kept in a file, by machine and instruction set.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::RunError;
use super::prepare::{Form, Packing};
use crate::data::write_atomic;
use crate::kernel::buffer::Buffer;
use crate::kernel::conv::{Around, Context, Geometry, Summand, direct};
use crate::kernel::isa::Isa;
use crate::kernel::product::Range;
use crate::kernel::rows::{Rows, RowsMut};
use crate::kernel::scratch::Scratch;
use crate::kernel::threads::Threads;
use crate::kernel::winograd;
use crate::op::Op;
use crate::opt::Optimised;
use crate::plan::select::{Picks, candidates, geometry, key};
use crate::plan::{self, Kernel};

/// Counts the ways in which kernels have computed: to be raised when one becomes faster.
const VERSION: u32 = 1;
/// Estimates of more than this many times the least are believed.
const CLOSE: f64 = 3.0;
/// Runs of each kernel, of which the fastest counts.
const RUNS: usize = 5;
/// Floats that are read between two runs: more than the caches hold.
const FLUSH: usize = 16 << 20;
/// The file of picks in the folder.
const FILE: &str = "kernels.toml";

/// Kernel names by convolution, by machine.
type Table = BTreeMap<String, BTreeMap<String, String>>;

/// The kernels of a graph's convolutions, from the folder's file where it knows them and timed where not; what was timed
/// is added to the file.
pub(super) fn picks(
    optimised: &Optimised,
    options: &plan::Options,
    isa: Isa,
    folder: Option<&Path>,
) -> Result<Picks, RunError> {
    let machine = format!("{} {} {VERSION}", processor(), isa.name());
    let mut known = folder.map(read).unwrap_or_default().remove(&machine).unwrap_or_default();
    let threads = Threads::new(1).map_err(|error| RunError::Threads { threads: 1, reason: error.to_string() })?;
    let flush = Buffer::zeros(FLUSH);
    let (mut picks, mut is_new) = (Picks::new(), false);
    for step in plan::plan(optimised, 1, options)?.steps {
        let (Op::Conv(conv), None) = (&step.op, step.prologue) else { continue };
        let g = geometry(conv, &step.inputs[0].dims, &step.outputs[0].dims);
        let found = candidates(&g, options);
        let least = found.iter().map(|candidate| candidate.cycles).fold(f64::INFINITY, f64::min);
        let close: Vec<Kernel> = found
            .iter()
            .filter(|candidate| candidate.cycles <= CLOSE * least)
            .map(|candidate| candidate.kernel)
            .collect();
        let name = key(&g);
        if close.len() < 2 || picks.contains_key(&name) {
            continue;
        }
        let before = known.get(&name).and_then(|name| Kernel::named(name)).filter(|kernel| close.contains(kernel));
        let pick = before.or_else(|| {
            is_new = true;
            close.iter().copied().min_by_key(|&kernel| time(&g, kernel, isa, &threads, &flush))
        });
        if let Some(kernel) = pick {
            known.insert(name.clone(), kernel.short_name().to_owned());
            picks.insert(name, kernel);
        }
    }
    if let (Some(folder), true) = (folder, is_new) {
        // Read again: others may have written meanwhile. A file that cannot be written costs the next start its time.
        let mut table = read(folder);
        table.entry(machine).or_default().extend(known);
        let text = toml::to_string(&table).unwrap_or_default();
        let _ =
            fs::create_dir_all(folder).map(|()| write_atomic(folder.join(FILE), |out| out.write_all(text.as_bytes())));
    }
    Ok(picks)
}

/// What the folder's file knows; nothing where it cannot be read.
fn read(folder: &Path) -> Table {
    fs::read_to_string(folder.join(FILE)).ok().and_then(|text| toml::from_str(&text).ok()).unwrap_or_default()
}

/// The name of the processor, where the system says.
fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    line.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}

/// The fastest of several runs of a convolution of one sample.
fn time(g: &Geometry, kernel: Kernel, isa: Isa, threads: &Threads, flush: &Buffer) -> Duration {
    let Some(packing) = Packing::with(kernel, g, true) else { return Duration::MAX };
    let form = packing.form(&Arc::new(Buffer::zeros(packing.floats())), 0, None);
    let (pixels, results) = (g.from.h * g.from.w, g.to.h * g.to.w);
    let (from, mut to) = (Buffer::zeros(pixels * g.from.c), Buffer::zeros(results * g.to.c));
    let (from, mut to) = (Rows::of(&from, pixels, g.from.c), RowsMut::of(&mut to, results, g.to.c));
    let around = Around { prologue: None, summand: Summand::None, range: Range::ALL };
    let mut scratch = Scratch::default();
    let mut cx = Context { isa, threads, scratch: &mut scratch };
    let mut once = || {
        std::hint::black_box(flush.iter().step_by(16).sum::<f32>());
        let start = Instant::now();
        match &form {
            Form::Product(weights) => direct(&mut cx, g, weights, from, &mut to, &around),
            Form::Winograd(weights) => winograd::convolve(&mut cx, g, weights, from, &mut to, &around),
            _ => unreachable!("weights are packed for one of both"),
        }
        start.elapsed()
    };
    once();
    (0..RUNS).map(|_| once()).min().unwrap_or(Duration::MAX)
}
