//! Sizes, numbers and kinds of values that no net has: an error each, never a panic.

use proptest::prelude::*;

use super::assert_described;
use super::samples::{Row, Sample, f, n, ns, samples, w};
use crate::dim::Dim;
use crate::op::{Call, Op, ParamSpec, Reach, ShapeError, Value, Window, signatures};
use crate::tensor::Shape;

/// Numbers that a hostile file may write where a small one is meant.
fn extremes() -> Vec<Dim> {
    let known = [-1, 0, 1, 2, 3, 1 << 16, u32::MAX.into(), 1 << 32, u64::MAX.into(), i128::MAX, i128::MIN];
    let symbols = [Dim::symbol("H", 1), Dim::symbol("V", 1), Dim::symbol("W", 16), Dim::symbol("X", 2)];
    known.into_iter().map(Dim::known).chain(symbols).collect()
}

/// Values of every kind, none of which is right everywhere.
fn oddities() -> Vec<Value> {
    let nested = Value::List(vec![Value::List(vec![n(1)]), w("c")]);
    vec![
        Value::Bool(true),
        Value::Str("\"".to_owned()),
        w("same"),
        w("h"),
        Value::List(vec![]),
        ns(&[1, 2, 3, 4, 5]),
        ns(&[u32::MAX.into(); 4]),
        nested,
        Value::Range(Dim::known(i128::MIN), Dim::known(i128::MAX)),
        Value::Shape(Shape(Vec::new())),
        Value::Shape(Shape(vec![Dim::symbol("H", 1); 3])),
        f(f64::NAN),
        f(-0.0),
        f(f64::MAX),
        f(f64::MIN_POSITIVE),
    ]
}

fn numbers_in(value: &mut Value) -> Vec<&mut Dim> {
    match value {
        Value::Int(dim) => vec![dim],
        Value::List(values) => values.iter_mut().flat_map(numbers_in).collect(),
        Value::Range(start, end) => vec![start, end],
        Value::Shape(shape) => shape.0.iter_mut().collect(),
        Value::Float(_) | Value::Bool(_) | Value::Str(_) | Value::Word(_) => Vec::new(),
    }
}

/// Asks an operator for everything short of running it.
fn interrogate(sample: &Sample) {
    let Ok(op) = sample.build() else { return };
    assert_described(&op, &sample.inputs);
    let Ok(outputs) = op.infer(&sample.inputs) else { return };
    op.arithmetic(&sample.inputs, &outputs);
    let elements: Vec<Option<u64>> = op.params(&sample.inputs).iter().map(ParamSpec::elements).collect();
    let (cost, reach) = (op.cost(&sample.inputs, &outputs), op.reach(&sample.inputs));

    let natural = |shapes: &[Shape]| {
        shapes.iter().flat_map(|shape| &shape.0).all(|size| size.as_known().is_none_or(|size| size >= 1))
    };
    if !natural(&sample.inputs) {
        return;
    }
    assert!(natural(&outputs), "{op:?} makes {outputs:?} of {:?}", sample.inputs);
    assert!(elements.iter().all(|&count| count.is_some_and(|count| count > 0)), "{op:?} has {elements:?} parameters");
    if let Ok(cost) = cost {
        let multiplied = cost.macs.mul(&Dim::from(2u64)).unwrap();
        assert_ne!(cost.flops.at_least(&multiplied), Some(false), "{op:?} has fewer operations than MACs");
    }
    if let Reach::Window(windows) = reach {
        let proper = |window: &Window| window.first <= window.last && window.stride.0 >= 1 && window.stride.1 >= 1;
        assert!(windows.iter().all(proper), "{op:?}: {windows:?}");
    }
}

#[test]
fn weights_beyond_counting_are_refused() {
    let most = n(u32::MAX.into());
    let rows: &[Row] = &[
        ("conv", &[("channels", most.clone()), ("kernel", most.clone()), ("pad", w("same_upper"))], &[&[4, 5, 6]]),
        ("conv", &[("channels", most.clone()), ("kernel", n(1 << 15)), ("pad", w("same"))], &[&[4, 5, 6]]),
        ("conv_transpose", &[("channels", most.clone()), ("kernel", most.clone())], &[&[4, 5, 6]]),
        (
            "table_conv",
            &[("kernel", most.clone()), ("table", Value::List(vec![ns(&[0, 1])])), ("pad", w("same_lower"))],
            &[&[4, 5, 6]],
        ),
        ("linear", &[("features", most)], &[&[u32::MAX as u64]]),
    ];
    for (layer, args, inputs) in rows {
        let inputs: Vec<Shape> = inputs.iter().map(|sizes| Shape::known(sizes)).collect();
        let op = Op::build(&Call { layer, args, inputs: &inputs }).unwrap();
        assert!(matches!(op.infer(&inputs), Err(ShapeError::Misfit { .. })), "{op:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn no_size_makes_an_operator_panic(
        pick in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..6),
        repeated in any::<bool>(),
    ) {
        let extremes = extremes();
        let mut samples = samples();
        let at = pick.index(samples.len());
        let sample = &mut samples[at];
        let mut sites: Vec<&mut Dim> = sample.args.iter_mut().flat_map(|(_, value)| numbers_in(value)).collect();
        sites.extend(sample.inputs.iter_mut().flat_map(|shape| &mut shape.0));
        for (site, extreme) in &changes {
            let extreme = if repeated { &changes[0].1 } else { extreme };
            let site = site.index(sites.len());
            *sites[site] = extremes[extreme.index(extremes.len())].clone();
        }
        interrogate(sample);
    }

    #[test]
    fn no_kind_of_value_makes_an_operator_panic(
        pick in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..3),
        operands in prop::option::of(prop::collection::vec(prop::collection::vec(0u64..3, 0..5), 1..4)),
    ) {
        let mut samples = samples();
        let sample = samples.swap_remove(pick.index(samples.len()));
        let signature = signatures().find(|signature| signature.layer == sample.layer).unwrap();
        let mut sample = match &operands {
            Some(operands) if sample.inputs.len() == operands.len() => {
                Sample { inputs: operands.iter().map(|sizes| Shape::known(sizes)).collect(), ..sample }
            }
            _ => sample,
        };
        if !signature.params.is_empty() {
            for (param, oddity) in changes {
                let (param, oddities) = (param.get(signature.params), oddities());
                sample = sample.with(param.name, oddities[oddity.index(oddities.len())].clone());
            }
        }
        interrogate(&sample);
    }
}
