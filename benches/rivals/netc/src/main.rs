//! netc behind the protocol: `netc_worker INPUT SHAPE THREADS SPEC WEIGHTS`.

#[path = "../../protocol.rs"]
mod protocol;

use ndarray::ArrayD;
use netc::RunOptions;
use netc::weights::{Checkpoint, OpenOptions};
use protocol::{Call, Result, Run};

fn main() -> Result<()> {
    let Call { input, shape, threads, model } = Call::from_args()?;
    let input = ArrayD::from_shape_vec(shape, input)?;
    let [spec, weights] = model.as_slice() else { return Err("two files are needed: a .net and its weights".into()) };
    protocol::serve(|| {
        let weights = Checkpoint::open(weights, &OpenOptions::default())?;
        let options = RunOptions { threads, ..RunOptions::default() };
        let executable = netc::compile(spec)?.plan_with(&weights, &options)?;
        let run: Run = Box::new(move || Ok(executable.run(&input)?.into_raw_vec_and_offset().0));
        Ok(run)
    })
}
