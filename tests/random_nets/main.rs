//! The language, its shapes and its execution on nets that are drawn at random: every claim of a net is met, and every
//! way to run it gives what its operators mean. `PROPTEST_CASES` asks for more nets than a build has time for:
//! `PROPTEST_CASES=5000 cargo test --release --test random_nets`.
#![allow(clippy::unwrap_used)]

mod blocks;
#[path = "../common/mod.rs"]
mod common;
mod layers;
mod writer;

use std::collections::HashSet;

use common::{LAYER, by_plain_loops};
use ndarray::{ArrayD, Axis, IxDyn, Slice};
use netc::ir::expand::flat;
use netc::ir::{NodeId, Output, print};
use netc::kernel::isa::Isa;
use netc::op::Role;
use netc::plan::{self, Kernel, Step};
use netc::weights::{Checkpoint, Scheme, StoredTensor, init};
use netc::{Compiled, RunOptions};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use writer::{Net, write};

fn nets() -> impl Strategy<Value = Net> {
    let numbers = |most| prop::collection::vec(any::<u16>(), 0..most);
    let moves = prop::collection::vec(numbers(80), 1..9);
    (numbers(8), moves).prop_map(|(input, moves)| write(&input, &moves))
}

/// Numbers from -1 to 1.
fn noise(seed: u64) -> impl FnMut() -> f32 {
    let mut stream = ChaCha8Rng::seed_from_u64(seed);
    move || (stream.next_u32() >> 8) as f32 / 8_388_608.0 - 1.0
}

/// Compiles a net and holds its outputs against what they must be.
fn compile(net: &Net) -> Result<Compiled, String> {
    let compiled = netc::compile_text("random.net", &net.text).map_err(|error| format!("refused: {error}"))?;
    let of = |output: &Output| (output.name.clone(), compiled.shapes.of(output.value).as_known().unwrap());
    let found: Vec<_> = compiled.net.outputs_for(false).map(of).collect();
    if found == net.outputs { Ok(compiled) } else { Err(format!("{found:?} instead of {:?}", net.outputs)) }
}

/// Weights as they are initialised, and everything else at random too: biases, scales and statistics.
fn parameters(compiled: &Compiled, seed: u64) -> Checkpoint {
    let specs = compiled.init_specs();
    let (made, mut noise, mut all) = (init(&specs, Scheme::He, seed).unwrap(), noise(seed), Checkpoint::new());
    for spec in specs {
        let tensor = made.get(&spec.name).unwrap();
        let mut around = |middle: f32| {
            let values = (0..tensor.len()).map(|_| middle + 0.5 * noise()).collect();
            StoredTensor::from_f32(spec.shape.clone(), values).unwrap()
        };
        let tensor = match spec.role {
            Role::Weight | Role::Counter => tensor.clone(),
            Role::Scale | Role::RunningVar => around(1.0),
            Role::Bias | Role::Shift | Role::Slope | Role::RunningMean => around(0.0),
        };
        all.insert(spec.name, tensor);
    }
    all
}

/// The largest magnitude; NaN where there is one.
fn largest(values: impl Iterator<Item = f32>) -> f32 {
    values.fold(0.0, |most, value| if value.abs() > most || value.is_nan() { value.abs() } else { most })
}

/// max |a - b|.
fn distance(a: &ArrayD<f32>, b: &ArrayD<f32>) -> f32 {
    assert_eq!(a.shape(), b.shape());
    largest(a.iter().zip(b).map(|(a, b)| a - b))
}

fn same_bits(a: &[ArrayD<f32>], b: &[ArrayD<f32>]) -> bool {
    let bits = |array: &ArrayD<f32>| array.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.shape() == b.shape() && bits(a) == bits(b))
}

/// The first samples of arrays.
fn first(arrays: &[ArrayD<f32>], samples: usize) -> Vec<ArrayD<f32>> {
    let slice = Slice::from(0..samples);
    arrays.iter().map(|array| array.slice_axis(Axis(0), slice).to_owned()).collect()
}

/// What the operators of a net mean by it, and how far from that each output may be.
struct Meaning {
    outputs: Vec<ArrayD<f32>>,
    bounds: Vec<f32>,
}

impl Meaning {
    /// A layer may be off by [`LAYER`] of its largest result. What becomes of that at the outputs is seen when each
    /// result is disturbed as much on its way: layers behind carry errors on, some enlarge them (a softmax of large
    /// numbers, a difference of near ones), and more layers add more. One draw of errors is not the worst one, which is
    /// taken to be within four times of it; a layer's own share is added for outputs that the draw has left alone.
    fn of(compiled: &Compiled, weights: &Checkpoint, inputs: &[ArrayD<f32>], seed: u64) -> Meaning {
        let outputs = by_plain_loops(compiled, weights, inputs, |_| ());
        let mut noise = noise(!seed);
        let disturbed = by_plain_loops(compiled, weights, inputs, |values| {
            let error = LAYER * largest(values.iter().copied());
            values.iter_mut().for_each(|value| *value += error * noise());
        });
        let bound = |(output, disturbed): (&ArrayD<f32>, _)| {
            4.0 * distance(output, disturbed) + LAYER * largest(output.iter().copied())
        };
        let bounds = outputs.iter().zip(&disturbed).map(bound).collect();
        Meaning { outputs, bounds }
    }

    fn check(&self, results: &[ArrayD<f32>], way: &str) -> Result<(), String> {
        assert_eq!(results.len(), self.outputs.len());
        for ((result, output), bound) in results.iter().zip(&self.outputs).zip(&self.bounds) {
            let samples = result.shape()[0];
            let error = distance(result, &first(std::slice::from_ref(output), samples)[0]);
            let is_near = error <= *bound;
            if !is_near {
                return Err(format!("{way}, {samples} samples: off by {error:e}, where {bound:e} is allowed"));
            }
        }
        Ok(())
    }
}

/// Runs a net on all inputs and on their first samples: with one thread and with two, again, and in a session, which
/// must all be the same to the bit.
fn run(
    compiled: &Compiled,
    weights: &Checkpoint,
    inputs: &[ArrayD<f32>],
    options: &RunOptions,
) -> Result<[Vec<ArrayD<f32>>; 2], String> {
    let with = |threads| compiled.plan_with(weights, &RunOptions { threads, ..options.clone() }).unwrap();
    let (two, one) = (with(2), with(1));
    let mut session = two.session(1).unwrap();
    let mut of = |samples| {
        let inputs = first(inputs, samples);
        let nothing: Vec<_> = inputs.iter().map(|array| array.mapv(|_| f32::NAN)).collect();
        let [inputs, nothing] =
            [&inputs, &nothing].map(|arrays| arrays.iter().map(|array| array.view()).collect::<Vec<_>>());
        let results = two.run_all(&inputs).unwrap();
        // What runs next meets memory that is full of NaN.
        two.run_all(&nothing).unwrap();
        session.run(&nothing).unwrap();
        for (way, others) in [
            ("again", &two.run_all(&inputs).unwrap()[..]),
            ("with one thread", &one.run_all(&inputs).unwrap()),
            ("in a session", session.run(&inputs).unwrap()),
        ] {
            if !same_bits(&results, others) {
                return Err(format!("{samples} samples: other bits {way}"));
            }
        }
        Ok(results)
    };
    Ok([of(3)?, of(1)?])
}

fn steps(compiled: &Compiled, options: &plan::Options) -> Vec<Step> {
    let optimised = netc::opt::optimise(&compiled.net, &compiled.shapes);
    plan::plan(&optimised, 1, options).unwrap().steps
}

/// Runs a net in every way and holds the results against its meaning.
fn check(net: &Net, seed: u64, forced: Kernel) -> Result<(), String> {
    let compiled = compile(net)?;
    let weights = parameters(&compiled, seed);
    let mut noise = noise(seed ^ 1);
    let input = |&id: &NodeId| {
        let sizes: Vec<usize> = [3].into_iter().chain(compiled.shapes.of(id.into()).as_known().unwrap()).collect();
        ArrayD::from_shape_simple_fn(IxDyn(&sizes), &mut noise)
    };
    let inputs: Vec<_> = compiled.net.inputs.iter().map(input).collect();
    let meaning = Meaning::of(&compiled, &weights, &inputs, seed);
    let mut seen = Vec::new();
    for plan in [
        plan::Options::default(),
        plan::Options { exact: true, ..plan::Options::default() },
        plan::Options { forced: Some(forced), ..plan::Options::default() },
    ] {
        // Options that leave every kernel as it was leave the whole plan.
        let kernels: Vec<Kernel> = steps(&compiled, &plan).iter().map(|step| step.kernel).collect();
        if seen.contains(&kernels) {
            continue;
        }
        // A linear layer sums one sample in another order than several.
        let depends_on_batch = kernels.contains(&Kernel::Linear);
        seen.push(kernels);
        let mut of_avx2 = None;
        for isa in Isa::all() {
            let options = RunOptions { instructions: Some(isa), plan: plan.clone(), ..RunOptions::default() };
            let way = format!("{plan:?} with {}", isa.name());
            let results = run(&compiled, &weights, &inputs, &options).map_err(|error| format!("{way}, {error}"))?;
            meaning.check(&results[0], &way)?;
            meaning.check(&results[1], &way)?;
            if !depends_on_batch && !same_bits(&first(&results[0], 1), &results[1]) {
                return Err(format!("{way}: other bits by itself than among others"));
            }
            // Both fuse the same multiply-adds and sum in the same order; what is portable rounds each product.
            match (isa.name(), &of_avx2) {
                ("avx2", _) => of_avx2 = Some(results),
                ("avx512", Some(others)) if !(0..2).all(|at| same_bits(&results[at], &others[at])) => {
                    return Err(format!("{way}: other bits than with avx2"));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// As many as asked for by `PROPTEST_CASES`, or so many.
fn cases(cases: u32) -> ProptestConfig {
    let asked = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { asked.cases } else { cases };
    ProptestConfig { cases, ..asked }
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn mean_what_their_operators_mean(
        net in nets(),
        seed: u64,
        (_, forced) in prop::sample::select(&Kernel::FORCIBLE[..]),
    ) {
        check(&net, seed, forced).map_err(TestCaseError::fail)?;
    }
}

/// A text in the canonical form.
fn formatted(text: &str) -> String {
    let (mut sources, mut sink) = Default::default();
    let file = netc::syntax::add_source(&mut sources, "random.net", text.into(), &mut sink).unwrap();
    netc::syntax::format(&sources, file, &mut sink).unwrap()
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn are_the_same_in_other_words(net in nets()) {
        let compiled = compile(&net).map_err(TestCaseError::fail)?;
        let canonical = formatted(&net.text);
        prop_assert_eq!(&formatted(&canonical), &canonical);
        for text in [canonical, flat(&compiled.net)] {
            let again = compile(&Net { text, ..net.clone() }).map_err(TestCaseError::fail)?;
            prop_assert_eq!(print::text(&compiled.net), print::text(&again.net));
        }
    }
}

/// The nets are worth running: of the first of them every kernel computes some, and every fusion is met.
#[test]
fn meet_every_kernel_and_fusion() {
    let mut met = HashSet::new();
    let mut runner = TestRunner::deterministic();
    for _ in 0..500 {
        let net = nets().new_tree(&mut runner).unwrap().current();
        for step in steps(&compile(&net).unwrap(), &plan::Options::default()) {
            let kernel = format!("{:?}", step.kernel);
            for (is_met, what) in [
                (step.prologue.is_some(), "norm in front"),
                (step.has_residual, "sum"),
                (step.activation.is_some(), "activation"),
                (step.in_place(), "in place"),
                (step.kernel == Kernel::Concat && step.parts().any(|(from, to)| from == to), "part in its place"),
            ] {
                if is_met {
                    met.insert(format!("{kernel} with {what}"));
                }
            }
            met.insert(kernel);
        }
    }
    let expected = "Product, Product with norm in front, Product with sum, Product with activation, JoinedProduct, \
                    JoinedProduct with sum, JoinedProduct with activation, Winograd(F4x3), Winograd(F2x3), Winograd(F2x5), \
                    Winograd(F2x3) with sum, Winograd(F2x3) with activation, Depthwise with activation, \
                    Linear with activation, Pool, Lrn, Pointwise with in place, PerChannel with activation, \
                    PerChannel with in place, Sum with activation, Sum with in place, Softmax with in place, Concat, \
                    Concat with part in its place, Turn, Plain";
    let missed: Vec<&str> = expected.split(", ").filter(|what| !met.contains(*what)).collect();
    assert!(missed.is_empty(), "no net has {missed:?}");
}

/// The modules of nets for PyTorch mean what the operators mean, as they are and as TorchScript. PyTorch rounds in another
/// order than netc: the same bounds hold.
#[test]
fn modules_of_pytorch_mean_what_their_operators_mean() {
    let Some(python) = common::python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut command = std::process::Command::new(python);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pytorch/compare.py")).arg("--no-export");
    let mut runner = TestRunner::deterministic();
    for seed in 0..u64::from(cases(24).cases) {
        let net = nets().new_tree(&mut runner).unwrap().current();
        let compiled = compile(&net).unwrap();
        let folder = folder.path().join(seed.to_string());
        std::fs::create_dir(&folder).unwrap();
        let module = netc::pytorch::module(&compiled.net, &compiled.shapes, Some("model.safetensors")).unwrap();
        std::fs::write(folder.join("model.py"), module).unwrap();
        std::fs::write(folder.join("random.net"), &net.text).unwrap();
        let weights = parameters(&compiled, seed);
        weights.write_safetensors(&folder.join("model.safetensors")).unwrap();
        let mut noise = noise(seed ^ 1);
        let mut inputs = Vec::new();
        for (at, &id) in compiled.net.inputs.iter().enumerate() {
            let sizes: Vec<usize> = [2].into_iter().chain(compiled.shapes.of(id.into()).as_known().unwrap()).collect();
            let input = ArrayD::from_shape_simple_fn(IxDyn(&sizes), &mut noise);
            netc::data::npy::save(folder.join(format!("x{at}.npy")), input.view()).unwrap();
            inputs.push(input);
        }
        let meaning = Meaning::of(&compiled, &weights, &inputs, seed);
        for (at, output) in meaning.outputs.iter().enumerate() {
            netc::data::npy::save(folder.join(format!("y{at}.npy")), output.view()).unwrap();
        }
        let bounds = ArrayD::from_shape_vec(IxDyn(&[meaning.bounds.len()]), meaning.bounds).unwrap();
        netc::data::npy::save(folder.join("bounds.npy"), bounds.view()).unwrap();
        command.arg(folder);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    println!("{said}");
}
