//! What a run allocates. A test binary of its own, since it counts for the whole process.
#![allow(clippy::unwrap_used)]
#![allow(unsafe_code)] // An allocator is unsafe by its nature; this one only counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use ndarray::{ArrayD, IxDyn};
use netc::plan::Kernel;
use netc::weights::{Scheme, init};
use netc::{RunOptions, Settings};

struct Counting;

static COUNT: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::SeqCst);
        // SAFETY: the caller's duty.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's duty.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Nothing after the first run of a batch size, on nets of every kernel; an executable allocates what it gives. Twenty
/// seconds: kernels are not optimised here.
#[test]
fn runs_allocate_nothing() {
    for (spec, shape) in [
        ("lenet5", None),
        ("cifar_resnet20", Some([3, 16, 16])),
        ("mobilenet_v2", Some([3, 32, 32])),
        ("googlenet", Some([3, 32, 32])),
        ("densenet121", Some([3, 32, 32])),
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
            let before = COUNT.load(Ordering::SeqCst);
            session.run(&inputs).unwrap();
            assert_eq!(COUNT.load(Ordering::SeqCst), before, "{spec} at batch {batch}");
            executable.run_all(&inputs).unwrap();
            let before = COUNT.load(Ordering::SeqCst);
            let outputs = executable.run_all(&inputs).unwrap();
            // The list, and for each output its numbers, sizes and strides.
            let allowed = 1 + 3 * outputs.len();
            assert!(COUNT.load(Ordering::SeqCst) - before <= allowed, "{spec} at batch {batch}");
        }
    }
}
