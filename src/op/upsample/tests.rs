use proptest::prelude::*;

use super::*;
use crate::op::testing::{assert_close, assert_round_trip, build, infer_one, run, seeded, try_build};

const MODES: [Mode; 6] = [
    Mode::Nearest,
    Mode::BilinearHalfPixel,
    Mode::BilinearAligned,
    Mode::BilinearTopLeft,
    Mode::BicubicHalfPixel,
    Mode::BicubicAligned,
];

fn to_size(size: [u64; 2], mode: Mode) -> Upsample {
    Upsample { target: Target::Size(size.map(Dim::from)), mode }
}

fn by_factor(factor: [u64; 2], mode: Mode) -> Upsample {
    Upsample { target: Target::Factor(factor), mode }
}

#[test]
fn sizes_are_multiplied_or_given() {
    assert_eq!(infer_one(&by_factor([2, 3], Mode::Nearest), &[&[5, 1, 7]]), Ok(vec![5, 2, 21]));
    assert_eq!(infer_one(&to_size([9, 4], Mode::BilinearAligned), &[&[5, 1, 7]]), Ok(vec![5, 9, 4]));
    assert_eq!(infer_one(&by_factor([2, 2], Mode::Nearest), &[&[5]]), Err(ShapeError::needs_feature_map(0)));
    let (inputs, outputs) = ([Shape::known(&[5, 1, 7])], [Shape::known(&[5, 2, 21])]);
    let lines = by_factor([2, 3], Mode::Nearest).arithmetic(&inputs, &outputs);
    assert_eq!(lines, ["height: 1 * 2 = 2", "width: 7 * 3 = 21"]);
}

#[test]
fn a_decoder_returns_to_unknown_sizes() {
    let (h, w) = (Dim::symbol("H", 16), Dim::symbol("W", 1));
    let halved = [Shape(vec![5u64.into(), h.exact_div(2).unwrap(), w.floor_div(2).unwrap()])];
    let doubled = by_factor([2, 2], Mode::Nearest).infer(&halved).unwrap();
    assert_eq!(doubled[0].0[1], h);
    let whole = Value::Shape(Shape(vec![64u64.into(), h.clone(), w.clone()]));
    let op: Upsample = build("upsample", &[("size", whole)], &halved);
    assert_eq!(op.infer(&halved), Ok(vec![Shape(vec![5u64.into(), h, w])]));
    assert_round_trip(&op, &halved);
    assert_eq!(op.reach(&halved), Reach::Everything);
}

#[test]
fn describes_itself() {
    for mode in MODES {
        assert_round_trip(&by_factor([2, 3], mode), &[]);
        assert_round_trip(&to_size([20, 31], mode), &[]);
    }
    let args = [("factor", Value::int(2)), ("mode", Value::word("bilinear"))];
    assert_eq!(build::<Upsample>("upsample", &args, &[]), by_factor([2, 2], Mode::BilinearHalfPixel));
    assert_eq!(build::<Upsample>("upsample", &args[..1], &[]), by_factor([2, 2], Mode::Nearest));
}

#[test]
fn refuses_contradictions() {
    let (two, corners) = (("factor", Value::int(2)), ("corners", Value::word("aligned")));
    for (args, param) in [
        (vec![], "factor"),
        (vec![two.clone(), ("size", Value::int(4))], "size"),
        (vec![two.clone(), corners.clone()], "corners"),
        (vec![two.clone(), ("mode", Value::word("nearest")), corners], "corners"),
        (vec![two.clone(), ("mode", Value::word("bicubic")), ("corners", Value::word("top_left"))], "corners"),
        (vec![two, ("mode", Value::word("lanczos"))], "mode"),
        (vec![("factor", Value::Float(1.5))], "factor"),
        (vec![("size", Value::Shape(Shape::known(&[10])))], "size"),
    ] {
        assert_eq!(try_build::<Upsample>("upsample", &args, &[]).unwrap_err().param, Some(param), "{args:?}");
    }
}

#[test]
fn fvcore_counts_one_or_four_for_each_element() {
    let (input, output) = ([Shape::known(&[3, 2, 2])], [Shape::known(&[3, 4, 4])]);
    for (mode, flops, fvcore) in
        [(Mode::Nearest, 0u64, 48u64), (Mode::BilinearHalfPixel, 432, 192), (Mode::BicubicAligned, 48 * 35, 0)]
    {
        let cost = by_factor([2, 2], mode).cost(&input, &output).unwrap();
        assert_eq!((cost.flops, cost.fvcore), (flops.into(), fvcore.into()));
    }
}

#[test]
fn interpolates_a_row_as_pytorch_does() {
    let row = |from: &[f32], to, mode| {
        run(&to_size([1, to], mode), &[(&[1, 1, 1, from.len()], from.to_vec())], &[]).remove(0)
    };
    assert_eq!(row(&[1.0, 5.0, 9.0], 5, Mode::Nearest), [1.0, 1.0, 5.0, 5.0, 9.0]);
    assert_eq!(row(&[1.0, 5.0], 4, Mode::BilinearHalfPixel), [1.0, 2.0, 4.0, 5.0]);
    assert_eq!(row(&[1.0, 5.0], 5, Mode::BilinearAligned), [1.0, 2.0, 3.0, 4.0, 5.0]);
    assert_eq!(row(&[1.0, 5.0], 1, Mode::BilinearAligned), [1.0]);
    assert_eq!(row(&[1.0, 5.0], 4, Mode::BilinearTopLeft), [1.0, 3.0, 5.0, 5.0]);
    assert_eq!(row(&[0.0, 1.0, 2.0, 3.0], 2, Mode::BilinearHalfPixel), [0.5, 2.5]);
}

#[test]
fn a_factor_that_binary_fractions_miss_is_exact() {
    let from: Vec<f32> = (0..3).map(|x| x as f32).collect();
    for factor in 1..100 {
        let output = run(&by_factor([1, factor], Mode::Nearest), &[(&[1, 1, 1, 3], from.clone())], &[]).remove(0);
        let repeated: Vec<f32> = from.iter().flat_map(|&x| vec![x; factor as usize]).collect();
        assert_eq!(output, repeated, "factor {factor}");
    }
}

#[test]
fn windows_hold_the_cells_that_are_taken() {
    for (from, to) in (1..12).flat_map(|from| (1..12).map(move |to| (from, to))) {
        for mode in MODES.into_iter().filter(|mode| !mode.is_cubic()) {
            let window = mode.window((from as u64, to as u64));
            for position in 0..to {
                let (tap, seen) = (mode.tap(position, from, to), window.seen(position as u64));
                let second = if tap.share == 0.0 { tap.first } else { tap.second };
                let inside = seen.contains(&(tap.first as i128)) && seen.contains(&(second as i128));
                assert!(inside, "{mode:?} {from} to {to}: {position} sees {} and {second}, not {seen:?}", tap.first);
                let cells = seen.end() - seen.start();
                assert!(cells <= if mode == Mode::Nearest { 0 } else { 2 } || to < from, "{mode:?} {seen:?}");
            }
        }
    }
}

#[test]
fn windows_hold_the_cells_of_cubic_interpolation() {
    for (from, to) in (1..12).flat_map(|from| (1..12).map(move |to| (from, to))) {
        for mode in [Mode::BicubicHalfPixel, Mode::BicubicAligned] {
            let window = mode.window((from as u64, to as u64));
            for position in 0..to {
                let seen = window.seen(position as u64);
                for (cell, share) in mode.cubic(position, from, to).parts().filter(|(_, share)| share.abs() > 1e-12) {
                    let inside = seen.contains(&(cell as i128));
                    assert!(inside, "{mode:?} {from} to {to}: {position} sees {cell} by {share}, not {seen:?}");
                }
            }
        }
    }
}

/// Cubic convolution keeps constants, and straight lines where no border is near.
#[test]
fn cubic_interpolation_keeps_lines() {
    for mode in [Mode::BicubicHalfPixel, Mode::BicubicAligned] {
        for to in 1..20 {
            for position in 0..to {
                let taps = mode.cubic(position, 9, to);
                let total: f64 = taps.parts().map(|(_, share)| share).sum();
                assert!((total - 1.0).abs() < 1e-12, "{mode:?} to {to}: {total}");
            }
        }
    }
    let row: Vec<f32> = (0..9).map(|x| x as f32).collect();
    let op = to_size([1, 17], Mode::BicubicAligned);
    let output = run(&op, &[(&[1, 1, 1, 9], row)], &[]).remove(0);
    // Between two cells the weights are -3/32, 19/32, 19/32 and -3/32.
    let expected: Vec<f64> = (2..15).map(|x| f64::from(x) / 2.0).collect();
    assert_close(&output[2..15], &expected, 1e-6);
}

/// A tent of half width one around each source position, normalised: the definition of linear interpolation.
fn tent(data: &[f32], from: [usize; 2], source: [f64; 2]) -> f64 {
    let mut sum = 0.0;
    for y in 0..from[0] {
        for x in 0..from[1] {
            let near = |at: usize, source: f64| (1.0 - (source - at as f64).abs()).max(0.0);
            sum += near(y, source[0]) * near(x, source[1]) * f64::from(data[y * from[1] + x]);
        }
    }
    sum
}

proptest! {
    #[test]
    fn interpolation_is_a_tent(from in prop::array::uniform2(1usize..6), to in prop::array::uniform2(1usize..9), aligned: bool) {
        let mode = if aligned { Mode::BilinearAligned } else { Mode::BilinearHalfPixel };
        let data = seeded(from[0] * from[1], 5);
        let op = to_size(to.map(|size| size as u64), mode);
        let output = run(&op, &[(&[1, 1, from[0], from[1]], data.clone())], &[]).remove(0);
        let source = |at: usize, axis: usize| {
            let (from, to) = (from[axis] as f64, to[axis] as f64);
            let position = match aligned {
                true if to > 1.0 => at as f64 * (from - 1.0) / (to - 1.0),
                true => 0.0,
                false => (at as f64 + 0.5) * from / to - 0.5,
            };
            position.clamp(0.0, from - 1.0)
        };
        let mut expected = Vec::new();
        for y in 0..to[0] {
            for x in 0..to[1] {
                expected.push(tent(&data, from, [source(y, 0), source(x, 1)]));
            }
        }
        assert_close(&output, &expected, f64::from(f32::EPSILON));
    }
}
