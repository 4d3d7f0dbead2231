use proptest::prelude::*;

use super::*;
use crate::op::testing::{assert_close, assert_round_trip, build, infer_one, run, seeded, try_build};

type Args<'a> = &'a [(&'static str, Value)];

fn int(value: u64) -> Value {
    Value::int(value)
}

fn pool(layer: &str, args: Args) -> Pool {
    build(layer, args, &[])
}

#[test]
fn shapes_of_well_known_poolings() {
    let stem = pool("maxpool", &[("kernel", int(3)), ("stride", int(2)), ("pad", int(1))]);
    assert_eq!(infer_one(&stem, &[&[64, 112, 112]]), Ok(vec![64, 56, 56]));
    let caffe = pool("maxpool", &[("kernel", int(3)), ("stride", int(2)), ("ceil", Value::Bool(true))]);
    assert_eq!(infer_one(&caffe, &[&[64, 112, 112]]), Ok(vec![64, 56, 56]));
    assert_eq!(infer_one(&pool("avgpool", &[("kernel", int(2))]), &[&[6, 28, 29]]), Ok(vec![6, 14, 14]));
    let global = pool("avgpool", &[("kernel", Value::word("global"))]);
    assert_eq!(infer_one(&global, &[&[512, 7, 9]]), Ok(vec![512, 1, 1]));
    let adaptive = pool("avgpool", &[("to", Value::ints(&[3, 2]))]);
    assert_eq!(infer_one(&adaptive, &[&[5, 7, 1]]), Ok(vec![5, 3, 2]));
    let vector = Err(ShapeError::needs_feature_map(0));
    assert_eq!(infer_one(&global, &[&[512]]), vector);
}

#[test]
fn sizes_may_be_symbols() {
    let input = Shape(vec![8u64.into(), Dim::symbol("H", 2), Dim::symbol("W", 1)]);
    let halves = pool("maxpool", &[("kernel", int(2))]).infer(std::slice::from_ref(&input)).unwrap();
    assert_eq!(halves[0].claim(), "[8, H/2, floor(W/2)]");
    let to = pool("maxpool", &[("to", int(4))]).infer(std::slice::from_ref(&input)).unwrap();
    assert_eq!(to, [Shape::known(&[8, 4, 4])]);
    assert_eq!(pool("avgpool", &[("to", int(4))]).reach(&[input]), Reach::Everything);
}

#[test]
fn describes_itself() {
    let windows: Args =
        &[("kernel", Value::ints(&[3, 2])), ("stride", int(2)), ("pad", Value::ints(&[1, 0, 1, 1]))];
    let forms: [Args; 4] =
        [windows, &[("kernel", Value::word("global"))], &[("to", int(3))], &[("kernel", int(2))]];
    for (layer, args) in ["maxpool", "avgpool"].into_iter().flat_map(|layer| forms.map(|args| (layer, args))) {
        assert_round_trip(&pool(layer, args), &[]);
    }
    let own = [("dilation", Value::ints(&[2, 1])), ("ceil", Value::Bool(true))];
    assert_round_trip(&pool("maxpool", &[windows, own.as_slice()].concat()), &[]);
    let own = [own.as_slice(), &[("count_pad", Value::Bool(false))]].concat();
    assert_round_trip(&pool("avgpool", &[windows, &own].concat()), &[]);
    let same = [("kernel", int(3)), ("pad", Value::word("same_lower")), ("count_pad", Value::Bool(false))];
    assert_round_trip(&pool("avgpool", &same), &[]);
}

#[test]
fn stride_is_the_kernel_where_not_given() {
    let given = [("kernel", Value::ints(&[3, 2])), ("stride", Value::ints(&[3, 2]))];
    assert_eq!(pool("maxpool", &given), pool("maxpool", &given[..1]));
}

#[test]
fn refuses_arguments_without_meaning() {
    let refused: [(&str, Args, &str); 8] = [
        ("avgpool", &[], "kernel"),
        ("avgpool", &[("kernel", Value::word("all"))], "kernel"),
        ("avgpool", &[("to", int(3)), ("kernel", int(3))], "kernel"),
        ("avgpool", &[("kernel", Value::word("global")), ("count_pad", Value::Bool(true))], "count_pad"),
        ("maxpool", &[("kernel", Value::word("global")), ("stride", int(2))], "stride"),
        ("avgpool", &[("kernel", int(3)), ("stride", int(2)), ("pad", Value::word("same_upper"))], "count_pad"),
        (
            "maxpool",
            &[("kernel", int(3)), ("pad", Value::word("same_upper")), ("ceil", Value::Bool(true))],
            "ceil",
        ),
        ("maxpool", &[("to", int(0))], "to"),
    ];
    for (layer, args, param) in refused {
        let error = try_build::<Pool>(layer, args, &[]).unwrap_err();
        assert_eq!(error.param, Some(param), "{layer} {args:?}");
    }
}

#[test]
fn a_window_of_padding_has_no_maximum() {
    let args = [("kernel", int(2)), ("stride", int(1)), ("pad", int(2))];
    let error = infer_one(&pool("maxpool", &args), &[&[1, 4, 4]]);
    assert!(matches!(error, Err(ShapeError::Misfit { attr: Some("pad"), .. })), "{error:?}");
    assert_eq!(infer_one(&pool("avgpool", &args), &[&[1, 4, 4]]), Ok(vec![1, 7, 7]));
    let uncounted = [args.as_slice(), &[("count_pad", Value::Bool(false))]].concat();
    assert!(infer_one(&pool("avgpool", &uncounted), &[&[1, 4, 4]]).is_err());
    // Taps at -1 and 1 of an axis of one cell.
    let wide = [("kernel", int(2)), ("stride", int(1)), ("pad", int(1)), ("dilation", int(2))];
    assert!(infer_one(&pool("maxpool", &wide), &[&[1, 1, 4]]).is_err());
    assert_eq!(infer_one(&pool("maxpool", &wide), &[&[1, 2, 4]]), Ok(vec![1, 2, 4]));
}

#[test]
fn counts() {
    let (input, output) = ([Shape::known(&[2, 6, 4])], |op: &Pool| op.infer(&[Shape::known(&[2, 6, 4])]).unwrap());
    let cost = |layer, args: Args| {
        let op = pool(layer, args);
        let cost = op.cost(&input, &output(&op)).unwrap();
        assert_eq!(cost.macs, Dim::ZERO);
        (cost.flops.as_u64().unwrap(), cost.fvcore.as_u64().unwrap())
    };
    assert_eq!(cost("maxpool", &[("kernel", int(2))]), (12 * 3, 0));
    assert_eq!(cost("avgpool", &[("kernel", int(2))]), (12 * 4, 0));
    assert_eq!(cost("maxpool", &[("kernel", Value::word("global"))]), (48, 0));
    assert_eq!(cost("avgpool", &[("kernel", Value::word("global"))]), (48, 48));
    assert_eq!(cost("avgpool", &[("to", int(3))]), (48, 48));
}

#[test]
fn the_last_window_of_ceil_counts_padding_but_nothing_beyond() {
    // Windows of 3 from -1, 1 and 3 on cells 0..4 padded to -1..5: the last one has cell 3 and one padded cell.
    let ones = || vec![1.0; 4];
    let args = [("kernel", Value::ints(&[1, 3])), ("stride", Value::ints(&[1, 2])), ("ceil", Value::Bool(true))];
    let args = [args.as_slice(), &[("pad", Value::ints(&[0, 1]))]].concat();
    let counted = run(&pool("avgpool", &args), &[(&[1, 1, 1, 4], ones())], &[]);
    assert_close(&counted[0], &[2.0 / 3.0, 1.0, 0.5], 1e-7);
    let args = [args.as_slice(), &[("count_pad", Value::Bool(false))]].concat();
    let uncounted = run(&pool("avgpool", &args), &[(&[1, 1, 1, 4], ones())], &[]);
    assert_close(&uncounted[0], &[1.0, 1.0, 1.0], 0.0);
}

#[test]
fn tensorflows_average_counts_no_padding() {
    let args = [("kernel", int(2)), ("stride", int(1)), ("pad", Value::word("same_upper"))];
    let args = [args.as_slice(), &[("count_pad", Value::Bool(false))]].concat();
    let output = run(&pool("avgpool", &args), &[(&[1, 1, 2, 2], vec![1.0, 2.0, 3.0, 4.0])], &[]);
    assert_close(&output[0], &[2.5, 3.0, 3.5, 4.0], 0.0);
}

#[test]
fn padding_is_never_the_maximum_and_nan_always() {
    let padded = pool("maxpool", &[("kernel", int(2)), ("pad", int(1))]);
    let output = run(&padded, &[(&[1, 1, 2, 2], vec![-1.0, -2.0, f32::NAN, -4.0])], &[]);
    assert_eq!(output[0][..2], [-1.0, -2.0]);
    assert!(output[0][2].is_nan());
    assert_eq!(output[0][3], -4.0);
}

#[test]
fn adaptive_parts_overlap_as_pytorchs_do() {
    // Parts of 5 cells in 3: 0..2, 1..4, 3..5.
    let x = vec![1.0, 2.0, 4.0, 8.0, 16.0];
    let average = pool("avgpool", &[("to", Value::ints(&[1, 3]))]);
    assert_close(&run(&average, &[(&[1, 1, 1, 5], x.clone())], &[])[0], &[1.5, 14.0 / 3.0, 12.0], 1e-7);
    let max = pool("maxpool", &[("to", Value::ints(&[1, 3]))]);
    assert_close(&run(&max, &[(&[1, 1, 1, 5], x)], &[])[0], &[2.0, 8.0, 16.0], 0.0);
}

#[test]
fn global_equals_adaptive_to_one() {
    let x = seeded(2 * 3 * 5 * 4, 3);
    for layer in ["maxpool", "avgpool"] {
        let global = run(&pool(layer, &[("kernel", Value::word("global"))]), &[(&[2, 3, 5, 4], x.clone())], &[]);
        let one = run(&pool(layer, &[("to", int(1))]), &[(&[2, 3, 5, 4], x.clone())], &[]);
        assert_eq!(global, one);
    }
}

proptest! {
    /// The window of a part is the part.
    #[test]
    fn adaptive_reach_is_the_part(size in 2u64..60, parts in 2u64..60) {
        let reach = pool("avgpool", &[("to", int(parts))]).reach(&[Shape::known(&[1, size, size])]);
        let Reach::Window([window, _]) = reach else { panic!("a window") };
        for at in 0..parts {
            let part = i128::from(at * size / parts)..=i128::from(((at + 1) * size).div_ceil(parts)) - 1;
            prop_assert_eq!(window.seen(at), part);
        }
    }

    /// Against the same windows laid over an input that is really padded.
    #[test]
    fn windows_match_an_explicitly_padded_input(
        sizes in prop::array::uniform2(1usize..9),
        kernel in prop::array::uniform2(1u64..4),
        stride in prop::array::uniform2(1u64..4),
        dilation in prop::array::uniform2(1u64..3),
        sides in prop::array::uniform4(0u64..3),
        ceil: bool,
        count_pad: bool,
        max: bool,
        seed: u64,
    ) {
        let windows = Windows { kernel, stride, dilation, padding: Padding::Sides(sides), ceil };
        let function = if max { Function::Max } else { Function::Average { count_pad } };
        let op = Pool { function, extent: Extent::Windows(windows) };
        let Ok(shape) = infer_one(&op, &[&[2, sizes[0] as u64, sizes[1] as u64]]) else { return Ok(()) };
        let x = seeded(3 * 2 * sizes[0] * sizes[1], seed);
        let actual = run(&op, &[(&[3, 2, sizes[0], sizes[1]], x.clone())], &[]);
        let expected = padded_windows(&op, &windows, &x, 6, sizes, [shape[1] as usize, shape[2] as usize]);
        assert_close(&actual[0], &expected, 1e-6);
    }
}

/// Each cell of the padded input is a value and whether it is real; windows end where the padded input does.
fn padded_windows(
    op: &Pool,
    windows: &Windows,
    x: &[f32],
    planes: usize,
    sizes: [usize; 2],
    outputs: [usize; 2],
) -> Vec<f64> {
    let Padding::Sides(sides) = windows.padding else { unreachable!() };
    let [top, left, bottom, right] = sides.map(|side| side as usize);
    let (height, width) = (top + sizes[0] + bottom, left + sizes[1] + right);
    let mut expected = Vec::new();
    for plane in 0..planes {
        let mut padded = vec![vec![None; width]; height];
        for row in 0..sizes[0] {
            for col in 0..sizes[1] {
                padded[top + row][left + col] = Some(f64::from(x[(plane * sizes[0] + row) * sizes[1] + col]));
            }
        }
        for y in 0..outputs[0] {
            for x in 0..outputs[1] {
                let rows = (0..windows.kernel[0]).map(|k| y * windows.stride[0] as usize + (k * windows.dilation[0]) as usize);
                let mut cells = Vec::new();
                for row in rows.filter(|&row| row < height) {
                    let cols = (0..windows.kernel[1])
                        .map(|k| x * windows.stride[1] as usize + (k * windows.dilation[1]) as usize);
                    cells.extend(cols.filter(|&col| col < width).map(|col| padded[row][col]));
                }
                let real: Vec<f64> = cells.iter().flatten().copied().collect();
                expected.push(match op.function {
                    Function::Max => real.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                    Function::Average { count_pad: true } => real.iter().sum::<f64>() / cells.len() as f64,
                    Function::Average { count_pad: false } => real.iter().sum::<f64>() / real.len() as f64,
                });
            }
        }
    }
    expected
}
