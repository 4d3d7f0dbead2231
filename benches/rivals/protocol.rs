//! What a worker and the driver say to each other: a command a line on standard input, an answer in JSON a line on
//! standard output. A worker that waits is blocked on its input and takes no time from the others.
//!
//! | command | answer |
//! |---|---|
//! | (at the start) | `{"ready":true}`: all but the model is there |
//! | `load` | `{"session_ns":N}`: from here to the first result |
//! | `run WARMUP RUNS` | `{"times":[N, …]}`: nanoseconds of each run that counts |
//! | `save PATH` | `{"saved":true}`: the last result as raw little-endian f32 |

use std::error::Error;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

pub type Result<T> = std::result::Result<T, Box<dyn Error>>;
/// One inference: the values of the first output.
pub type Run = Box<dyn FnMut() -> Result<Vec<f32>>>;

/// `INPUT SHAPE THREADS MODEL…`, the same for every worker.
pub struct Call {
    pub input: Vec<f32>,
    pub shape: Vec<usize>,
    pub threads: usize,
    pub model: Vec<PathBuf>,
}

impl Call {
    pub fn from_args() -> Result<Call> {
        let args: Vec<String> = std::env::args().skip(1).collect();
        let [input, shape, threads, model @ ..] = args.as_slice() else {
            return Err("usage: worker INPUT SHAPE THREADS MODEL...".into());
        };
        let bytes = std::fs::read(input).map_err(|error| format!("{input}: {error}"))?;
        let (values, rest) = bytes.as_chunks::<4>();
        let input: Vec<f32> = values.iter().map(|&value| f32::from_le_bytes(value)).collect();
        let shape: Vec<usize> = shape.split(',').map(str::parse).collect::<std::result::Result<_, _>>()?;
        if !rest.is_empty() || input.len() != shape.iter().product::<usize>() {
            return Err(format!("the input has {} bytes, which is not the shape {shape:?}", bytes.len()).into());
        }
        Ok(Call { input, shape, threads: threads.parse()?, model: model.iter().map(PathBuf::from).collect() })
    }
}

/// Answers commands until the input ends. `load` makes the session; its time counts, and that of the first run.
pub fn serve(load: impl FnOnce() -> Result<Run>) -> Result<()> {
    let (mut load, mut run, mut output) = (Some(load), None, Vec::new());
    answer("{\"ready\":true}")?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        match (words.as_slice(), &mut run) {
            (["load"], None) => {
                let start = Instant::now();
                let mut session: Run = load.take().ok_or("the model is loaded already")?()?;
                output = session()?;
                answer(&format!("{{\"session_ns\":{}}}", start.elapsed().as_nanos()))?;
                run = Some(session);
            }
            (["run", warmup, runs], Some(run)) => {
                for _ in 0..warmup.parse::<usize>()? {
                    run()?;
                }
                let mut times = Vec::new();
                for _ in 0..runs.parse::<usize>()? {
                    let start = Instant::now();
                    output = run()?;
                    times.push(start.elapsed().as_nanos().to_string());
                }
                answer(&format!("{{\"times\":[{}]}}", times.join(",")))?;
            }
            (["save", path], _) => {
                save(Path::new(path), &output)?;
                answer("{\"saved\":true}")?;
            }
            _ => return Err(format!("not a command here: `{line}`").into()),
        }
    }
    Ok(())
}

fn answer(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

fn save(path: &Path, values: &[f32]) -> Result<()> {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Ok(std::fs::write(path, bytes)?)
}
