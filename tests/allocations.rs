//! What a run allocates. A test binary of its own, since it counts for the whole process.
#![allow(clippy::unwrap_used)]

use dhat::HeapStats;
use ndarray::{ArrayD, IxDyn};
use netc::plan::Kernel;
use netc::weights::{Scheme, init};
use netc::{RunOptions, Settings};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// Blocks that a run allocates: the least of several, since a worker that the system starts late allocates for itself.
fn least(mut run: impl FnMut()) -> u64 {
    let mut count = || {
        let before = HeapStats::get().total_blocks;
        run();
        HeapStats::get().total_blocks - before
    };
    (0..4).map(|_| count()).min().unwrap()
}

/// Nothing after the first run of a batch size, on nets of every kernel; an executable allocates what it gives. Twenty
/// seconds: kernels are not optimised here.
#[test]
fn runs_allocate_nothing() {
    let _profiler = dhat::Profiler::builder().testing().build();
    for (spec, shape) in [
        ("lenet5", None),
        ("cifar_resnet20", Some([3, 16, 16])),
        ("mobilenet_v2", Some([3, 32, 32])),
        ("googlenet", Some([3, 32, 32])),
    ] {
        let settings = Settings { shape: shape.map(|sizes| sizes.to_vec()), ..Settings::default() };
        let compiled = netc::compile_with(format!("specs/{spec}.net"), &settings).unwrap();
        let weights = init(&compiled.init_specs(), Scheme::He, 5).unwrap();
        let options = RunOptions { threads: 2, ..RunOptions::default() };
        let executable = compiled.plan_with(&weights, &options).unwrap();
        let plain = executable.plan(1).unwrap().steps.iter().filter(|step| step.kernel == Kernel::Plain).count();
        assert_eq!(plain, 0, "{spec} has steps without a kernel");
        let (_, sizes) = executable.inputs()[0].clone();
        let mut session = executable.session(2).unwrap();
        for batch in [1, 2] {
            let input = ArrayD::zeros(IxDyn(&std::iter::once(batch).chain(sizes.iter().copied()).collect::<Vec<_>>()));
            let inputs = [input.view()];
            session.run(&inputs).unwrap();
            assert_eq!(least(|| _ = session.run(&inputs).unwrap()), 0, "{spec} at batch {batch}");
            let outputs = executable.run_all(&inputs).unwrap().len() as u64;
            // The list, and for each output its numbers, sizes and strides.
            assert!(least(|| _ = executable.run_all(&inputs).unwrap()) <= 1 + 3 * outputs, "{spec} at batch {batch}");
        }
    }
}
