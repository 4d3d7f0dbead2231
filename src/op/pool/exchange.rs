//! Pooling in PyTorch: its own functions where their padding is that of the layer, else behind cells that are added.

use super::{Extent, Function, Pool};
use crate::dim::Dim;
use crate::op::geom::{Padding, Windows};
use crate::op::onnx::Unfit;
use crate::op::pytorch::{Expr, Helper, Py, PyTorch};

pub(super) fn to_pytorch(pool: &Pool, g: &mut PyTorch) -> Result<(), Unfit> {
    let windows = match (pool.extent, pool.function) {
        (Extent::Windows(windows), _) => windows,
        (extent, function) => {
            let to = if let Extent::Adaptive(to) = extent { Py::pair(to) } else { Py::Int(1) };
            let [call, module] = match function {
                Function::Max => ["F.adaptive_max_pool2d({x}, {})", "nn.AdaptiveMaxPool2d({})"],
                Function::Average { .. } => ["F.adaptive_avg_pool2d({x}, {})", "nn.AdaptiveAvgPool2d({})"],
            };
            g.either(Expr::new(call).arg("output_size", to.clone()), Expr::new(module).arg("output_size", to));
            return Ok(());
        }
    };
    match pool.function {
        Function::Max => largest(&windows, g),
        Function::Average { count_pad } => average(&windows, count_pad, g),
    }
}

fn largest(windows: &Windows, g: &mut PyTorch) -> Result<(), Unfit> {
    let with = |text: &str, padding: [u64; 2], ceil: bool| {
        Expr::new(text)
            .arg("kernel_size", Py::pair(windows.kernel))
            .key("stride", Py::pair(windows.stride), Py::pair(windows.kernel))
            .key("padding", Py::pair(padding), 0)
            .key("dilation", Py::pair(windows.dilation), 1)
            .key("ceil_mode", ceil, false)
    };
    if let Some(padding) = own_padding(windows) {
        let [call, module] = ["F.max_pool2d({x}, {})", "nn.MaxPool2d({})"].map(|text| with(text, padding, windows.ceil));
        g.either(call, module);
        return Ok(());
    }
    // The cells that are added come behind the other arguments, so that these keep their places.
    let mut call = with("", [0, 0], false);
    let first = call.args.len();
    let listed = if windows.dilation == [1, 1] { "{0}, stride={1}" } else { "{0}, stride={1}, dilation={3}" };
    call.text = match windows.padding {
        Padding::Sides(sides) => {
            let (sides, beyond) = cells(windows, sides, g)?;
            let cells: Vec<Dim> =
                sides.iter().zip(&beyond).map(|(side, beyond)| side.add(beyond)).collect::<Result<_, _>>()?;
            call = call.arg("pad", Py::list(cells.iter())).arg("value", f64::NEG_INFINITY);
            format!("F.max_pool2d(F.pad({{x}}, {{{first}}}, value={{{}}}), {listed})", first + 1)
        }
        Padding::SameUpper | Padding::SameLower => {
            let same = g.same_sides(windows);
            call.args.extend(same.args);
            call = call.arg("value", f64::NEG_INFINITY);
            let [a, b, c, value] = [0, 1, 2, 3].map(|at| first + at);
            let sides = format!("same_sides({{x}}, {{{a}}}, {{{b}}}, {{{c}}})");
            format!("F.max_pool2d(F.pad({{x}}, {sides}, value={{{value}}}), {listed})")
        }
    };
    g.call(call);
    Ok(())
}

fn average(windows: &Windows, count_pad: bool, g: &mut PyTorch) -> Result<(), Unfit> {
    if let Some(padding) = own_padding(windows).filter(|_| windows.dilation == [1, 1]) {
        let with = |text: &str| {
            Expr::new(text)
                .arg("kernel_size", Py::pair(windows.kernel))
                .key("stride", Py::pair(windows.stride), Py::pair(windows.kernel))
                .key("padding", Py::pair(padding), 0)
                .key("ceil_mode", windows.ceil, false)
                .key("count_include_pad", count_pad || padding == [0, 0], true)
        };
        g.either(with("F.avg_pool2d({x}, {})"), with("nn.AvgPool2d({})"));
        return Ok(());
    }
    g.helper(&AVERAGE_WINDOWS);
    let call = Expr::new("")
        .arg("kernel", Py::list(windows.kernel))
        .arg("stride", Py::list(windows.stride))
        .arg("dilation", Py::list(windows.dilation))
        .arg("count_pad", count_pad);
    let mut call = if let Padding::Sides(sides) = windows.padding {
        let (sides, beyond) = cells(windows, sides, g)?;
        let call = call.arg("sides", Py::list(sides.iter())).arg("beyond", Py::list(beyond.iter()));
        Expr { text: "{4}, {5}".to_owned(), ..call }
    } else {
        let same = g.same_sides(windows);
        let mut call = Expr { text: "same_sides({x}, {4}, {5}, {6}), [0, 0, 0, 0]".to_owned(), ..call };
        call.args.extend(same.args);
        call
    };
    call.text = format!("average_windows({{x}}, {{0}}, {{1}}, {{2}}, {}, {{3}})", call.text);
    g.call(call);
    Ok(())
}

/// The padding, where PyTorch's pooling takes it: the same on both sides and at most half of the window.
fn own_padding(windows: &Windows) -> Option<[u64; 2]> {
    let Padding::Sides([top, left, bottom, right]) = windows.padding else { return None };
    let fits = 2 * top <= windows.kernel[0] && 2 * left <= windows.kernel[1];
    ((top, left) == (bottom, right) && fits).then_some([top, left])
}

/// The padding at the left, right, top and bottom, and how many cells windows that are cut off reach beyond it; negative
/// where the last cells are in no window.
fn cells(windows: &Windows, sides: [u64; 4], g: &PyTorch) -> Result<([Dim; 4], [Dim; 4]), Unfit> {
    let [top, left, bottom, right] = sides.map(Dim::from);
    let mut beyond = [Dim::ZERO, Dim::ZERO, Dim::ZERO, Dim::ZERO];
    for axis in [0, 1].into_iter().filter(|_| windows.ceil) {
        let (from, to) = (&g.inputs[0].0[axis + 1], &g.outputs[0].0[axis + 1]);
        let padded = from.add(&Dim::from(sides[axis] + sides[axis + 2]))?;
        let steps = to.sub(&Dim::ONE)?.mul(&Dim::from(windows.stride[axis]))?;
        beyond[3 - 2 * axis] = steps.add(&Dim::from(windows.extent(axis)))?.sub(&padded)?;
    }
    Ok(([left, right, top, bottom], beyond))
}

static AVERAGE_WINDOWS: Helper = Helper {
    name: "average_windows",
    text: r#"def average_windows(
    x: Tensor,
    kernel: List[int],
    stride: List[int],
    dilation: List[int],
    sides: List[int],
    beyond: List[int],
    count_pad: bool,
) -> Tensor:
    """The average of each window, for padding and dilation that PyTorch's own pooling does not take."""
    cells = F.pad(torch.ones_like(x[:1, :1]), sides, value=1.0 if count_pad else 0.0)
    x, cells = F.pad(F.pad(x, sides), beyond), F.pad(cells, beyond)
    taps = torch.ones([x.shape[1], 1, kernel[0], kernel[1]], dtype=x.dtype, device=x.device)
    total = F.conv2d(x, taps, None, stride, 0, dilation, x.shape[1])
    return total / F.conv2d(cells, taps[:1], None, stride, 0, dilation)
"#,
};
