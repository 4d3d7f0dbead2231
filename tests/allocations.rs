//! What a run allocates. A test binary of its own, since it counts for the whole process.
#![allow(clippy::unwrap_used)]

use dhat::HeapStats;
use ndarray::{ArrayD, IxDyn};
use netc::plan::Kernel;
use netc::weights::{Scheme, init};
use netc::{RunOptions, Settings};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

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
        ("alexnet", Some([3, 64, 64])),
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
            let before = HeapStats::get().total_blocks;
            session.run(&inputs).unwrap();
            assert_eq!(HeapStats::get().total_blocks, before, "{spec} at batch {batch}");
            executable.run_all(&inputs).unwrap();
            let before = HeapStats::get().total_blocks;
            let outputs = executable.run_all(&inputs).unwrap();
            // The list, and for each output its numbers, sizes and strides.
            let allowed = 1 + 3 * outputs.len() as u64;
            assert!(HeapStats::get().total_blocks - before <= allowed, "{spec} at batch {batch}");
        }
    }
}
