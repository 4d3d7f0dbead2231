use proptest::prelude::*;

use super::*;

fn windows(kernel: u64, stride: u64, dilation: u64, padding: Padding, ceil: bool) -> Windows {
    Windows { kernel: [kernel; 2], stride: [stride; 2], dilation: [dilation; 2], padding, ceil }
}

fn outputs(windows: &Windows, size: u64) -> Result<Vec<u64>, ShapeError> {
    let size = Dim::from(size);
    Ok(windows.output([&size, &size])?.iter().map(|output| output.as_u64().unwrap()).collect())
}

fn padding_of(word: &str, kernel: [u64; 2], stride: [u64; 2], dilation: [u64; 2]) -> Result<Padding, ArgError> {
    let call = Call { layer: "conv", args: &[("pad", Value::word(word))], inputs: &[] };
    Padding::of(&call, kernel, stride, dilation)
}

#[test]
fn same_keeps_the_size_and_puts_the_odd_cell_behind() {
    assert_eq!(padding_of("same", [3, 4], [1, 1], [2, 1]), Ok(Padding::Sides([2, 1, 2, 2])));
    let error = padding_of("same", [3, 4], [1, 2], [2, 1]).unwrap_err();
    assert_eq!(error.param, Some("pad"));
    assert!(error.help.unwrap().contains("pad = [2, 1]"));
    assert_eq!(padding_of("valid", [3, 3], [1, 1], [1, 1]).unwrap_err().param, Some("pad"));
}

#[test]
fn a_window_larger_than_its_input_is_an_error() {
    let sides = Padding::Sides([1, 0, 0, 0]);
    let error = outputs(&windows(5, 1, 2, sides, false), 7).unwrap_err();
    let size = Dim::from(7u64);
    assert_eq!(error, ShapeError::WindowTooLarge { axis: "height", extent: 9, size, padding: 1 });
    assert_eq!(outputs(&windows(5, 1, 2, sides, false), 9), Ok(vec![2, 1]));
}

#[test]
fn arithmetic_says_what_is_computed() {
    let lines = |windows: &Windows, size: u64| {
        let size = Dim::from(size);
        let [h, w] = windows.output([&size, &size]).unwrap();
        windows.arithmetic([&size, &size], [&h, &w])
    };
    let stem = windows(7, 2, 1, Padding::Sides([3, 3, 3, 3]), false);
    assert_eq!(lines(&stem, 224)[0], "height: floor((224 + 6 - 7)/2) + 1 = 112");
    assert_eq!(lines(&windows(5, 1, 1, Padding::Sides([0; 4]), false), 32)[1], "width: 32 - 5 + 1 = 28");
    assert_eq!(lines(&windows(3, 2, 1, Padding::SameUpper, false), 7)[0], "height: ceil(7/2) = 4");
    assert_eq!(lines(&windows(3, 2, 1, Padding::Sides([0; 4]), true), 112)[0], "height: ceil((112 - 3)/2) + 1 = 56");
    let dropped = lines(&windows(2, 3, 1, Padding::Sides([1; 4]), true), 5);
    assert_eq!(dropped[0], "height: ceil((5 + 2 - 2)/3) + 1 - 1 = 2, as the last window would start in the padding");
}

#[test]
fn symbols_decide_only_what_they_must() {
    let h = Dim::symbol("H", 1);
    let output = |windows: &Windows| windows.output([&h, &h]).map(|[h, _]| h.to_string());
    let caffe = windows(3, 2, 1, Padding::Sides([0; 4]), true);
    assert_eq!(output(&caffe), Ok("floor(H/2)".to_owned()));
    // The last window of 2 starts in the input for H = 1 and behind it for H = 2.
    let undecided = output(&windows(2, 3, 1, Padding::Sides([0, 0, 1, 1]), true));
    assert!(matches!(undecided, Err(ShapeError::Misfit { attr: Some("ceil"), .. })), "{undecided:?}");
    assert_eq!(caffe.all_padding([&h, &h]), None);
    let front = windows(2, 1, 1, Padding::Sides([2, 0, 0, 0]), false);
    assert_eq!(front.all_padding([&h, &h]), Some("height"));
    let behind = windows(2, 1, 1, Padding::Sides([0, 0, 0, 2]), false);
    assert_eq!(behind.all_padding([&h, &h]), Some("width"));
}

#[test]
fn padding_only_windows_are_found_without_visiting_them() {
    // Starts go from -(2^32 - 8) in steps of 2 or 1, taps in steps of 4: over an input of 3 cells step those with
    // remainder 3, of which a stride of 2 has none.
    let (kernel, size) = (1 << 30, Dim::from(3u64));
    let on = |stride| windows(kernel, stride, 4, Padding::Sides([(1 << 32) - 8; 4]), false);
    assert_eq!(on(2).all_padding([&size, &size]), None);
    assert_eq!(on(1).all_padding([&size, &size]), Some("height"));
}

#[test]
fn reach_of_same_padding_follows_the_size() {
    let before = |padding, size: &Dim| {
        let input = Shape(vec![1u64.into(), size.clone(), size.clone()]);
        let Reach::Window([window, _]) = windows(3, 2, 1, padding, false).reach(&input) else { unreachable!() };
        assert_eq!((window.last - window.first, window.stride), (2, (2, 1)));
        -window.first
    };
    let unknown = Dim::symbol("H", 1);
    assert_eq!((before(Padding::SameUpper, &8u64.into()), before(Padding::SameUpper, &7u64.into())), (0, 1));
    assert_eq!((before(Padding::SameLower, &8u64.into()), before(Padding::SameLower, &unknown)), (1, 1));
    assert_eq!(before(Padding::Sides([2, 2, 0, 0]), &unknown), 2);
}

proptest! {
    /// Counted one by one: a window starts wherever the one before leaves cells, with `ceil` also where only part of a
    /// window is left, unless that is behind the input.
    #[test]
    fn output_counts_windows(
        size in 1u64..30, kernel in 1u64..5, stride in 1u64..6, dilation in 1u64..4,
        before in 0u64..6, after in 0u64..6, ceil: bool,
    ) {
        let windows = windows(kernel, stride, dilation, Padding::Sides([before, before, after, after]), ceil);
        let (padded, extent) = (before + size + after, dilation * (kernel - 1) + 1);
        let whole = (0..).take_while(|at| at * stride + extent <= padded).count() as u64;
        if whole == 0 {
            prop_assert!(outputs(&windows, size).is_err());
            return Ok(());
        }
        let end = (whole - 1) * stride + extent;
        let partial = ceil && end < padded && whole * stride < before + size;
        // PyTorch drops one window at most, and the last whole one when no partial one follows it.
        let starts_behind = ceil && end == padded && (whole - 1) * stride >= before + size;
        let expected = whole + u64::from(partial) - u64::from(starts_behind);
        prop_assert_eq!(outputs(&windows, size), Ok(vec![expected; 2]));
    }

    /// TensorFlow's documented rule: `max(k - s, 0)` cells in all where the stride divides the size, else
    /// `max(k - size % s, 0)`.
    #[test]
    fn same_is_tensorflows(size in 1usize..40, kernel in 1u64..6, stride in 1u64..5, dilation in 1u64..4) {
        let extent = (dilation * (kernel - 1) + 1) as usize;
        let rest = if size % stride as usize == 0 { stride as usize } else { size % stride as usize };
        let total = extent.saturating_sub(rest);
        let upper = windows(kernel, stride, dilation, Padding::SameUpper, false);
        let (small, large) = (total / 2, total - total / 2);
        prop_assert_eq!(upper.sides([size, size]), [small, small, large, large]);
        let lower = windows(kernel, stride, dilation, Padding::SameLower, false);
        prop_assert_eq!(lower.sides([size, size]), [large, large, small, small]);
        prop_assert_eq!(outputs(&upper, size as u64), Ok(vec![(size as u64).div_ceil(stride); 2]));
    }

    /// Against every tap of every window.
    #[test]
    fn all_padding_is_what_the_taps_say(
        size in 1u64..8, kernel in 1u64..5, stride in 1u64..6, dilation in 1u64..9,
        before in 0u64..14, after in 0u64..14, same in 0usize..4, ceil: bool,
    ) {
        let padding = match same {
            0 => Padding::SameUpper,
            1 => Padding::SameLower,
            _ => Padding::Sides([before, 0, after, 0]),
        };
        let windows = Windows {
            kernel: [kernel, 1],
            stride: [stride, 1],
            dilation: [dilation, 1],
            padding,
            ceil: ceil && same > 1,
        };
        let dim = Dim::from(size);
        let Ok([output, _]) = windows.output([&dim, &dim]) else { return Ok(()) };
        let top = windows.sides([size as usize, size as usize])[0] as u64;
        let empty = (0..output.as_u64().unwrap()).any(|at| {
            (0..kernel).all(|k| !(top..top + size).contains(&(at * stride + k * dilation)))
        });
        prop_assert_eq!(windows.all_padding([&dim, &dim]), empty.then_some("height"));
    }

    #[test]
    fn floor_sum_is_the_sum_of_floors(n in 0u128..50, m in 1u128..40, a in 0u128..100, b in 0u128..100) {
        prop_assert_eq!(floor_sum(n, m, a, b), (0..n).map(|i| (a * i + b) / m).sum::<u128>());
    }
}
