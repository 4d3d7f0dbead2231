use super::functions::erf;
use super::*;
use crate::dim::Dim;
use crate::op::testing::{assert_close, assert_round_trip, build, run, try_build};

const ALL: [Activation; 33] = [
    Activation::Relu,
    Activation::Relu6,
    Activation::LeakyRelu { slope: 0.2 },
    Activation::Elu { alpha: 1.5 },
    Activation::Gelu,
    Activation::GeluTanh,
    Activation::Silu { beta: 1.0 },
    Activation::Silu { beta: 1.702 },
    Activation::Sigmoid,
    Activation::HardSigmoid { slope: HARD_SIGMOID[0], shift: HARD_SIGMOID[1] },
    Activation::HardSigmoid { slope: 0.2, shift: 0.5 },
    Activation::HardSwish,
    Activation::Tanh { scale: 1.0, slope: 1.0 },
    Activation::Tanh { scale: 1.7159, slope: 2.0 / 3.0 },
    Activation::Tanh { scale: 2.0, slope: 1.0 },
    Activation::Clip { low: -1.5, high: 2.0 },
    Activation::Clip { low: 0.1, high: f64::INFINITY },
    Activation::Clip { low: f64::NEG_INFINITY, high: -0.3 },
    Activation::Selu,
    Activation::Celu { alpha: 1.0 },
    Activation::Celu { alpha: 0.4 },
    Activation::Softplus { beta: 1.0 },
    Activation::Softplus { beta: 3.0 },
    Activation::Softsign,
    Activation::Mish,
    Activation::ThresholdedRelu { alpha: 1.0 },
    Activation::ThresholdedRelu { alpha: -0.7 },
    Activation::Abs,
    Activation::Exp,
    Activation::Log,
    Activation::Sqrt,
    Activation::Pow { exponent: 3.0 },
    Activation::Erf,
];

/// Whether it is a number for all numbers that are not huge.
fn takes_all(activation: Activation) -> bool {
    !matches!(activation, Activation::Exp | Activation::Log | Activation::Sqrt | Activation::Pow { .. })
}

/// The formulas in `f64`, with Φ as an integral of the bell curve.
fn formula(activation: Activation, x: f64) -> f64 {
    let sigmoid = 1.0 / (1.0 + (-x).exp());
    let hard = if x <= -3.0 { 0.0 } else if x >= 3.0 { 1.0 } else { x / 6.0 + 0.5 };
    let softplus = |x: f64| if x > 30.0 { x } else { (1.0 + x.exp()).ln() };
    match activation {
        Activation::Relu => if x > 0.0 { x } else { 0.0 },
        Activation::Relu6 => if x > 6.0 { 6.0 } else if x > 0.0 { x } else { 0.0 },
        Activation::LeakyRelu { slope } => if x > 0.0 { x } else { slope * x },
        Activation::Elu { alpha } => if x > 0.0 { x } else { alpha * (x.exp() - 1.0) },
        Activation::Gelu => x * (0.5 + simpson(|t| (-t * t / 2.0).exp(), x) / std::f64::consts::TAU.sqrt()),
        Activation::GeluTanh => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
            0.5 * x * (1.0 + inner.tanh())
        }
        Activation::Silu { beta } => x / (1.0 + (-beta * x).exp()),
        Activation::Sigmoid => sigmoid,
        Activation::HardSigmoid { slope, shift } => 1.0 - (1.0 - slope * x - shift).clamp(0.0, 1.0),
        Activation::HardSwish => x * hard,
        Activation::Tanh { scale, slope } => scale * (slope * x).tanh(),
        Activation::Clip { low, high } => if x < low { low } else if x > high { high } else { x },
        Activation::Selu => 1.0507009873554805 * if x > 0.0 { x } else { 1.6732632423543772 * (x.exp() - 1.0) },
        Activation::Celu { alpha } => x.max(0.0) + (alpha * ((x / alpha).exp() - 1.0)).min(0.0),
        Activation::Softplus { beta } => softplus(beta * x) / beta,
        Activation::Softsign => x / (1.0 + x.abs()),
        Activation::Mish => x * softplus(x).tanh(),
        Activation::ThresholdedRelu { alpha } => if x > alpha { x } else { 0.0 },
        Activation::Abs => if x < 0.0 { -x } else { x },
        Activation::Exp => std::f64::consts::E.powf(x),
        Activation::Log => x.log10() * std::f64::consts::LN_10,
        Activation::Sqrt => x.powf(0.5),
        Activation::Pow { exponent } => (exponent * x.abs().ln()).exp().copysign(x),
        Activation::Erf => simpson(|t| (-t * t).exp(), x) * std::f64::consts::FRAC_2_SQRT_PI,
    }
}

/// The integral from 0 to `x`, by Simpson's rule.
fn simpson(f: impl Fn(f64) -> f64, x: f64) -> f64 {
    let step = x / 1000.0;
    let inner: f64 = (1..1000).map(|i| f(f64::from(i) * step) * if i % 2 == 1 { 4.0 } else { 2.0 }).sum();
    (f(0.0) + inner + f(x)) * step / 3.0
}

#[test]
fn functions_match_their_formulas() {
    for activation in ALL {
        let takes = |x: &f32| 0.0 < *x || !matches!(activation, Activation::Log | Activation::Sqrt);
        let x: Vec<f32> = (-80..=80).map(|i| i as f32 * 0.125).filter(takes).collect();
        let output = run(&activation, &[(&[1, x.len()], x.clone())], &[]);
        let expected: Vec<f64> = x.iter().map(|&x| formula(activation, f64::from(x))).collect();
        // A few roundings of numbers up to 10; `assert_close` scales by the largest.
        assert_close(&output[0], &expected, 2e-7);
    }
}

#[test]
fn nan_stays_nan_and_large_numbers_do_not_make_one() {
    for activation in ALL {
        assert!(activation.apply(f32::NAN).is_nan(), "{activation:?}");
        for x in [-1e4, 1e4].into_iter().filter(|_| takes_all(activation)) {
            assert!(activation.apply(x).is_finite(), "{activation:?} of {x}");
        }
    }
}

#[test]
fn erf_matches_tabulated_values() {
    for (x, expected) in [
        (0.0, 0.0),
        (0.5, 0.520_499_877_813_05),
        (1.0, 0.842_700_792_949_71),
        (2.0, 0.995_322_265_018_95),
        (2.5, 0.999_593_047_982_56),
        (3.0, 0.999_977_909_503_00),
    ] {
        assert!((erf(x) - expected).abs() < 1e-13, "erf({x})");
        assert!((erf(-x) + expected).abs() < 1e-13, "erf(-{x})");
    }
    let (below, above) = (erf(2.5 - 1e-9), erf(2.5));
    assert!(below < above && above - below < 1e-10, "{below} {above}");
}

#[test]
fn describes_itself() {
    for activation in ALL {
        assert_round_trip(&activation, &[]);
    }
    for signature in Activation::signatures().iter().filter(|signature| !matches!(signature.layer, "clip" | "pow")) {
        let default: Activation = build(signature.layer, &[], &[]);
        assert_eq!(default.describe().0, signature.layer);
        assert_round_trip(&default, &[]);
    }
    for (layer, args, param) in [
        ("gelu", vec![("form", Value::word("exact"))], "form"),
        ("clip", vec![], "min"),
        ("clip", vec![("min", Value::int(1)), ("max", Value::Float(0.5))], "max"),
        ("celu", vec![("alpha", Value::int(0))], "alpha"),
        ("softplus", vec![("beta", Value::Float(-1.0))], "beta"),
    ] {
        assert_eq!(try_build::<Activation>(layer, &args, &[]).unwrap_err().param, Some(param), "{layer}");
    }
}

#[test]
fn counts_per_element() {
    let shape = [Shape::known(&[2, 3, 4])];
    let flops = ALL.map(|activation| activation.cost(&shape, &shape).unwrap().flops);
    let each = [1, 2, 2, 3, 5, 9, 4, 5, 3, 4, 4, 5, 1, 3, 2, 2, 1, 1, 4, 4, 4, 3, 5, 3, 5, 1, 1, 1, 1, 1, 1, 1, 1];
    assert_eq!(flops, each.map(|each: u64| Dim::from(24 * each)));
}

#[test]
fn powers_are_what_they_are_called() {
    let pow = |exponent| Activation::Pow { exponent };
    assert_eq!((pow(-1.0).value(-4.0), pow(2.0).value(-3.0), pow(0.5).value(9.0)), (-0.25, 9.0, 3.0));
    assert!(pow(0.5).value(-1.0).is_nan());
    assert_eq!((pow(0.0).derivative(0.0), pow(2.0).derivative(-3.0), pow(-1.0).derivative(2.0)), (0.0, -6.0, -0.25));
    assert_eq!(try_build::<Activation>("pow", &[], &[]).unwrap_err().param, Some("exponent"));
}

#[test]
fn a_tanh_of_scale_zero_is_flat() {
    assert_eq!(Activation::Tanh { scale: 0.0, slope: 2.0 }.derivative(0.0), 0.0);
}

#[test]
fn softplus_is_exact_at_both_ends() {
    let softplus = Activation::Softplus { beta: 1.0 };
    assert_eq!(softplus.value(40.0), 40.0);
    assert_eq!(softplus.value(-40.0), (-40.0f64).exp());
    assert_eq!(softplus.value(19.0), (1.0 + 19.0f64.exp()).ln());
}

/// A bound that single precision rounds is still found in the result.
#[test]
fn clipped_numbers_have_no_slope() {
    for bound in [0.1, 0.3, -0.7] {
        let clip = Activation::Clip { low: bound, high: bound + 1.0 };
        for x in [-5.0, 5.0] {
            assert_eq!(clip.derivative(clip.value(x)), 0.0, "{bound}");
            assert_eq!(clip.derivative(f64::from(clip.apply(x as f32))), 0.0, "{bound}");
        }
        assert_eq!(clip.derivative(bound + 0.5), 1.0);
    }
}
