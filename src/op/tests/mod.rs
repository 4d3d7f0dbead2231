//! What holds for every operator, on samples of every layer. A new layer needs a row in [`samples`](samples::samples).

mod gradients;
mod hostile;
mod samples;

use proptest::prelude::*;

use self::samples::{Sample, f, n, operand, samples, w};
use super::attr::ParamKind;
use super::testing::seeded;
use super::*;

fn first_sample(layer: &str) -> Sample {
    let sample = samples().into_iter().find(|sample| sample.layer == layer);
    sample.unwrap_or_else(|| panic!("`{layer}` has no sample"))
}

#[test]
fn every_layer_has_a_sample_and_its_name_alone() {
    let mut seen = std::collections::BTreeSet::new();
    for signature in signatures() {
        assert!(seen.insert(signature.layer), "two layers are called `{}`", signature.layer);
        let sample = first_sample(signature.layer);
        let op = sample.build().unwrap();
        op.infer(&sample.inputs).unwrap();
        let names: std::collections::BTreeSet<_> = signature.params.iter().map(|param| param.name).collect();
        assert_eq!(names.len(), signature.params.len(), "two parameters of `{}` share a name", signature.layer);
    }
    for sample in samples() {
        assert!(seen.contains(sample.layer), "`{}` is no layer", sample.layer);
    }
}

#[test]
fn costs_of_every_layer_are_documented() {
    let text = include_str!("../../../docs/cost.md");
    for signature in signatures() {
        let layer = signature.layer;
        let mut rows = text.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
        let named = rows.any(|names| names.contains(&format!("`{layer}`")) || names.contains(&format!("`{layer}(")));
        assert!(named, "docs/cost.md has no row for `{layer}`");
    }
}

/// A default as the signature writes it; it may name another argument.
fn default_value(text: &str, args: &[(&'static str, Value)]) -> Value {
    if let Some((_, value)) = args.iter().find(|(name, _)| *name == text) {
        return value.clone();
    }
    if let Some((above, below)) = text.split_once(" / ") {
        return f(above.parse::<f64>().unwrap() / below.parse::<f64>().unwrap());
    }
    match (text, text.parse::<u64>(), text.parse::<f64>()) {
        ("true" | "false", ..) => Value::Bool(text == "true"),
        (_, Ok(count), _) => n(count),
        (_, _, Ok(number)) => f(number),
        _ => w(text),
    }
}

#[test]
fn documented_defaults_are_what_leaving_out_means() {
    for signature in signatures() {
        for param in signature.params.iter().filter(|param| !matches!(param.default, "" | "-")) {
            let plain = first_sample(signature.layer);
            assert!(plain.args.iter().all(|(name, _)| *name != param.name), "{}.{}", signature.layer, param.name);
            let written = first_sample(signature.layer).with(param.name, default_value(param.default, &plain.args));
            assert_eq!(plain.build().unwrap(), written.build().unwrap(), "{}.{}", signature.layer, param.name);
        }
    }
}

#[test]
fn required_arguments_are_missed() {
    for signature in signatures() {
        for param in signature.params.iter().filter(|param| param.default.is_empty()) {
            let mut sample = first_sample(signature.layer);
            sample.args.retain(|(name, _)| *name != param.name);
            assert_eq!(sample.build().unwrap_err().param, Some(param.name), "{}", signature.layer);
        }
    }
}

#[test]
fn listed_words_are_taken_and_others_refused() {
    for signature in signatures() {
        for param in signature.params {
            let ParamKind::Words(words) = param.kind else { continue };
            for word in words {
                let mut all = samples().into_iter().filter(|sample| sample.layer == signature.layer);
                let taken = all.any(|sample| sample.with(param.name, w(word)).build().is_ok());
                assert!(taken, "{}({} = {word})", signature.layer, param.name);
            }
            let error = first_sample(signature.layer).with(param.name, w("no_such_word")).build().unwrap_err();
            assert_eq!(error.param, Some(param.name), "{}", signature.layer);
        }
    }
}

#[test]
fn descriptions_build_the_same_operator() {
    for sample in samples() {
        let op = sample.build().unwrap();
        assert_described(&op, &sample.inputs);
    }
}

fn assert_described(op: &Op, inputs: &[Shape]) {
    let (layer, args) = op.describe();
    let signature = signatures().find(|signature| signature.layer == layer).unwrap();
    for (name, _) in &args {
        assert!(signature.params.iter().any(|param| param.name == *name), "{layer} has no {name}");
    }
    let again = Op::build(&Call { layer: signature.layer, args: &args, inputs });
    assert_eq!(again.as_ref(), Ok(op), "{layer}{args:?}");
}

/// The results on operands with this batch; each element starts as NaN.
fn run(op: &Op, shapes: &[Shape], batch: usize, inputs: &[Vec<f32>], params: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let batched = |shape: &Shape| [vec![batch], shape.as_known().unwrap()].concat();
    let input_dims: Vec<Vec<usize>> = shapes.iter().map(batched).collect();
    let output_dims: Vec<Vec<usize>> = op.infer(shapes).unwrap().iter().map(batched).collect();
    let param_dims: Vec<Vec<usize>> =
        op.params(shapes).iter().map(|spec| spec.shape.iter().map(|&size| size as usize).collect()).collect();
    let inputs: Vec<View> = input_dims.iter().zip(inputs).map(|(dims, data)| View { dims, data }).collect();
    let params: Vec<View> = param_dims.iter().zip(params).map(|(dims, data)| View { dims, data }).collect();
    let mut results: Vec<Vec<f32>> = output_dims.iter().map(|dims| vec![f32::NAN; dims.iter().product()]).collect();
    let mut views: Vec<ViewMut> =
        output_dims.iter().zip(&mut results).map(|(dims, data)| ViewMut { dims, data }).collect();
    op.forward(&inputs, &params, &mut views);
    results
}

#[test]
fn forward_fills_what_infer_promises_and_keeps_samples_apart() {
    for sample in samples() {
        let op = sample.build().unwrap();
        let sizes: Vec<usize> =
            sample.inputs.iter().map(|shape| shape.elements().unwrap().as_usize().unwrap()).collect();
        let data = |seed: u64| -> Vec<Vec<f32>> {
            sizes.iter().zip(seed..).map(|(&size, seed)| operand(&op, size, seed)).collect()
        };
        let params = params_for(&op, &sample.inputs);
        let (first, second) = (data(1), data(100));
        let both: Vec<Vec<f32>> = first.iter().zip(&second).map(|(a, b)| [a.as_slice(), b].concat()).collect();
        let together = run(&op, &sample.inputs, 2, &both, &params);
        let apart = [first, second].map(|inputs| run(&op, &sample.inputs, 1, &inputs, &params));
        for (slot, result) in together.iter().enumerate() {
            let missing = result.iter().filter(|x| x.is_nan()).count();
            assert_eq!(missing, 0, "{} leaves out {missing} of {} elements", sample.layer, result.len());
            assert_eq!(*result, [apart[0][slot].as_slice(), &apart[1][slot]].concat(), "{}", sample.layer);
        }
    }
}

/// Seeded parameters; all above zero, as variances are.
fn params_for(op: &Op, inputs: &[Shape]) -> Vec<Vec<f32>> {
    let of_spec = |spec: ParamSpec| seeded(spec.elements().unwrap() as usize, 9).into_iter().map(|x| x + 2.0).collect();
    op.params(inputs).into_iter().map(of_spec).collect()
}

#[test]
fn changes_are_felt_within_reach_only() {
    for sample in samples() {
        let op = sample.build().unwrap();
        let point = Window::shifted(0);
        let windows = match op.reach(&sample.inputs) {
            Reach::Everything => continue,
            Reach::Point => [point, point],
            Reach::Window(windows) => windows,
        };
        let to = op.infer(&sample.inputs).unwrap().remove(0).as_known().unwrap();
        let Some(map) = sample.inputs.iter().position(|shape| *shape == Shape::known(&[4, 5, 6])) else { continue };
        let params = params_for(&op, &sample.inputs);
        let inputs: Vec<Vec<f32>> =
            sample.inputs.iter().map(|shape| operand(&op, shape.elements().unwrap().as_usize().unwrap(), 4)).collect();
        let before = run(&op, &sample.inputs, 1, &inputs, &params).remove(0);
        for position in 0..30 {
            let mut changed = inputs.clone();
            (0..4).for_each(|c| changed[map][c * 30 + position] += 5.0);
            let after = run(&op, &sample.inputs, 1, &changed, &params).remove(0);
            for at in (0..after.len()).filter(|&at| before[at] != after[at]) {
                let (felt, source) = ([at / to[2] % to[1], at % to[2]], [position / 6, position % 6]);
                for axis in 0..2 {
                    let seen = windows[axis].seen(felt[axis] as u64);
                    // A window outside the map is padding, which may repeat the map.
                    let outside = *seen.end() < 0 || *seen.start() >= [5, 6][axis];
                    let expected = outside || seen.contains(&(source[axis] as i128));
                    assert!(expected, "{op:?}: {felt:?} sees {source:?}, not only {seen:?} on axis {axis}");
                }
            }
        }
    }
}

/// The sample with symbols, or other numbers, for a height of 5 and a width of 6.
fn resized(mut sample: Sample, h: &Dim, w: &Dim) -> Sample {
    for shape in &mut sample.inputs {
        if let [_, height, width] = shape.0.as_mut_slice() {
            for (size, of_samples, new) in [(height, 5u64, h), (width, 6, w)] {
                if *size == Dim::from(of_samples) {
                    *size = new.clone();
                }
            }
        }
    }
    sample
}

fn evaluated(shapes: &[Shape], bindings: &std::collections::BTreeMap<String, u64>) -> Vec<Shape> {
    let of_shape = |shape: &Shape| Shape(shape.0.iter().map(|size| size.evaluate(bindings).unwrap()).collect());
    shapes.iter().map(of_shape).collect()
}

/// Whether the sample takes height and width as symbols. Where it does, its shapes and costs at the numbers are those
/// of the numbers.
fn check_symbols(sample: impl Fn() -> Sample, h: u64, w: u64, divisor: u64) -> bool {
    let symbolic = resized(sample(), &Dim::symbol("H", divisor), &Dim::symbol("W", divisor));
    let known = resized(sample(), &h.into(), &w.into());
    let (Ok(op), Ok(known_op)) = (symbolic.build(), known.build()) else { return false };
    let (Ok(outputs), Ok(known_outputs)) = (op.infer(&symbolic.inputs), known_op.infer(&known.inputs)) else {
        return false;
    };
    let bindings = [("H".to_owned(), h), ("W".to_owned(), w)].into();
    assert_eq!(evaluated(&outputs, &bindings), known_outputs, "{op:?}");
    let cost = op.cost(&symbolic.inputs, &outputs).unwrap();
    let known_cost = known_op.cost(&known.inputs, &known_outputs).unwrap();
    for (symbolic, known) in
        [(cost.macs, known_cost.macs), (cost.flops, known_cost.flops), (cost.fvcore, known_cost.fvcore)]
    {
        assert_eq!(symbolic.evaluate(&bindings), Ok(known), "{op:?}");
    }
    assert_eq!(op.params(&symbolic.inputs), known_op.params(&known.inputs));
    true
}

#[test]
fn every_layer_on_maps_takes_symbols() {
    for signature in signatures() {
        let rows = || samples().into_iter().filter(|sample| sample.layer == signature.layer);
        let on_maps = rows().any(|sample| sample.inputs.iter().any(|shape| shape.rank() == 3));
        let taken = (0..rows().count()).any(|row| check_symbols(|| rows().nth(row).unwrap(), 16, 24, 8));
        // The sizes of `reshape` here are numbers and fit one input.
        assert!(taken || !on_maps || signature.layer == "reshape", "{}", signature.layer);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn symbols_stand_for_any_number(
        pick in any::<prop::sample::Index>(),
        (h, w) in (1u64..30, 1u64..30),
        divisor in 1u64..9,
    ) {
        let row = pick.index(samples().len());
        check_symbols(|| samples().swap_remove(row), h * divisor, w * divisor, divisor);
    }
}

/// Every layer is something in PyTorch, with a module where it has parameters, and every hole of an expression has an
/// argument or an operand.
#[test]
fn every_layer_says_what_it_is_in_pytorch() {
    for sample in samples() {
        let op = sample.build().unwrap();
        let outputs = op.infer(&sample.inputs).unwrap();
        let mut rule = pytorch::PyTorch::new(&sample.inputs, &outputs);
        op.to_pytorch(&mut rule).unwrap_or_else(|unfit| panic!("{}: {}", sample.layer, unfit.0));
        let has_params = !op.params(&sample.inputs).is_empty();
        assert!(rule.module.is_some() || (rule.call.is_some() && !has_params), "{}", sample.layer);
        let own = rule.call.as_ref().is_some_and(|call| !call.text.contains("{m}"));
        assert!(!(has_params && own), "{} computes without its module", sample.layer);
        for expr in rule.module.iter().chain(&rule.call) {
            for hole in expr.text.split('{').skip(1).map(|rest| rest.split('}').next().unwrap()) {
                let number = hole.strip_prefix('x').unwrap_or(hole).parse::<usize>();
                let limit = if hole.starts_with('x') { sample.inputs.len() } else { expr.args.len() };
                let is_known = matches!(hole, "" | "x" | "y" | "xs" | "m") || number.is_ok_and(|number| number < limit);
                assert!(is_known, "{}: {{{hole}}} in {}", sample.layer, expr.text);
            }
        }
    }
}
