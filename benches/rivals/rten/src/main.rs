//! rten behind the protocol: `rten_worker INPUT SHAPE THREADS MODEL`. The model is an ONNX file with its weights beside
//! it, so that they are mapped.

#[path = "../../protocol.rs"]
mod protocol;

use std::sync::Arc;

use protocol::{Call, Result, Run};
use rten::{Model, ModelOptions, RunOptions, ThreadPool};
use rten_tensor::prelude::*;
use rten_tensor::{Tensor, TensorView};

fn main() -> Result<()> {
    let Call { input, shape, threads, model } = Call::from_args()?;
    let [path] = model.as_slice() else { return Err("one file is needed: an .onnx".into()) };
    // The pool of rten's own, which packs the weights, is sized by the environment.
    let pool = Arc::new(ThreadPool::with_num_threads(threads));
    protocol::serve(|| {
        // SAFETY: nobody writes the file while it is measured.
        let model: Model = unsafe { ModelOptions::with_all_ops().prepack_weights(prepack()).load_mmap(path)? };
        let run: Run = Box::new(move || {
            let view = TensorView::from_data(shape.as_slice(), input.as_slice());
            let options = RunOptions::default().with_thread_pool(Some(Arc::clone(&pool)));
            let output: Tensor<f32> = model.run_one(view.into(), Some(options))?.try_into()?;
            Ok(output.to_vec())
        });
        Ok(run)
    })
}

/// Packing the weights at the start makes a slower start and faster runs.
fn prepack() -> bool {
    std::env::var_os("RIVALS_PREPACK").is_some_and(|value| value == "1")
}
