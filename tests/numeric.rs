//! Execution against references: PyTorch's results for small nets (committed with the script that made them), and the
//! operators' plain loops for whole nets.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use ndarray::{ArrayD, IxDyn};
use netc::weights::{Checkpoint, OpenOptions, Scheme, StoredTensor, init};

fn array(tensor: &StoredTensor) -> ArrayD<f32> {
    let shape: Vec<usize> = tensor.shape().iter().map(|&size| usize::try_from(size).unwrap()).collect();
    ArrayD::from_shape_vec(IxDyn(&shape), tensor.to_f32().into_owned()).unwrap()
}

/// max |a - b| / max |b|.
fn relative_error(a: &ArrayD<f32>, b: &ArrayD<f32>) -> f32 {
    assert_eq!(a.shape(), b.shape());
    let worst = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    worst / b.iter().map(|b| b.abs()).fold(f32::MIN_POSITIVE, f32::max)
}

#[test]
fn equals_pytorch_on_every_small_reference() {
    let mut cases: Vec<PathBuf> = std::fs::read_dir("tests/reference")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "net"))
        .collect();
    cases.sort();
    assert!(cases.len() > 40);
    let failures: Vec<String> = cases.iter().filter_map(|path| check_reference(path).err()).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn check_reference(path: &Path) -> Result<(), String> {
    let name = path.display();
    let file = Checkpoint::open(&path.with_extension("safetensors"), &OpenOptions::default()).unwrap();
    let mut weights = Checkpoint::new();
    let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
    for (tensor_name, tensor) in file.iter() {
        if tensor_name.starts_with("__input") {
            inputs.push((tensor_name.to_owned(), array(tensor)));
        } else if tensor_name.starts_with("__output") {
            outputs.push(array(tensor));
        } else {
            weights.insert(tensor_name, tensor.clone());
        }
    }
    inputs.sort_by(|a, b| a.0.cmp(&b.0));
    let compiled = netc::compile(path).map_err(|error| format!("{name}: {error}"))?;
    let executable = compiled.plan(&weights).map_err(|error| format!("{name}: {error}"))?;
    let views: Vec<_> = inputs.iter().map(|(_, array)| array.view()).collect();
    let results = executable.run_all(&views).map_err(|error| format!("{name}: {error}"))?;
    // A sum of n products of f32 is off by at most about n·2⁻²⁴ of the sum of their magnitudes; these sum at most some
    // hundred terms.
    let error = relative_error(&results[0], &outputs[0]);
    if error <= 1e-5 { Ok(()) } else { Err(format!("{name}: relative error {error:e}")) }
}

/// Threads split work, never sums.
#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    for net in ["lenet5", "googlenet", "mobilenet_v2"] {
        let compiled = netc::compile(format!("specs/{net}.net")).unwrap();
        let weights = init(&compiled.init_specs(), Scheme::He, 3).unwrap();
        let run = |threads| {
            let options = netc::RunOptions { threads, ..netc::RunOptions::default() };
            let executable = compiled.plan_with(&weights, &options).unwrap();
            let (_, sizes) = executable.inputs()[0].clone();
            let sizes: Vec<usize> = std::iter::once(2).chain(sizes).collect();
            let count = sizes.iter().product();
            let values = (0..count).map(|i: usize| (i * 37 % 101) as f32 / 101.0).collect();
            executable.run(&ArrayD::from_shape_vec(IxDyn(&sizes), values).unwrap()).unwrap()
        };
        let one = run(1);
        assert_eq!(one, run(2), "{net}");
        assert_eq!(one, run(5), "{net}");
    }
}
