//! Maximum and average over windows, over everything, and over as many parts as the result shall have.
//!
//! Shapes and divisors are PyTorch's. `span` says which cells each output position covers, `reduction` what
//! ONNX's reductions are, `parts` adaptive pooling there, `exchange` what PyTorch has; the tests are in `tests`.

mod exchange;
mod parts;
mod reduction;
pub mod span;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use super::attr::{ArgError, Call, Operands, Param, Signature, Value, param, words};
use super::geom::{DILATION, PAD, Padding, Windows, feature_map};
use super::gradient::{Backward, GradBuilder, Ref, Wrt, fill};
use super::{Cost, Operator, ParamSpec, Reach, ShapeError, Window};
use super::onnx::{self, Attr, Export, Import, Unfit};
use super::pytorch::PyTorch;
use crate::dim::{Dim, DimError};
use crate::tensor::{Element, Nchw, Shape, View, ViewMut};

/// Each channel of a feature map by itself: `out[c, y, x]` is the maximum or the average of the cells of `in[c]` that
/// position `(y, x)` covers.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// What is taken of the cells.
    pub function: Function,
    /// Which cells a position covers.
    pub extent: Extent,
}

/// What is taken of the cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// The largest; padding is never it.
    Max,
    /// The average.
    Average {
        /// Whether padded cells count as zeros. Those beyond the padding, where `ceil` makes the last window larger
        /// than what is left, never count. False for `Extent::Global` and `Extent::Adaptive`.
        count_pad: bool,
    },
}

/// Which cells a position covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// A window that slides.
    Windows(Windows),
    /// All; the result is `[c, 1, 1]`.
    Global,
    /// Part `i` of `n` of an axis: from `floor(i · size / n)` up to `ceil((i + 1) · size / n)`.
    Adaptive([u64; 2]),
}

const KERNEL: Param = words("kernel", &["global"], "-", "window: k or [k_h, k_w], or `global` for all positions");
const STRIDE: Param = param("stride", "kernel", "step: s or [s_h, s_w]");
const CEIL: Param = param("ceil", "false", "whether a last partial window counts, as in Caffe");
const COUNT_PAD: Param = param("count_pad", "true", "whether padded cells count as zeros");
const TO: Param = param("to", "-", "size of the result instead of a window: n or [h, w]");

static SIGNATURES: [Signature; 2] = [
    Signature {
        layer: "maxpool",
        params: &[KERNEL, STRIDE, PAD, DILATION, CEIL, TO],
        operands: Operands::Above,
        doc: "the largest cell of each window",
    },
    Signature {
        layer: "avgpool",
        params: &[KERNEL, STRIDE, PAD, DILATION, CEIL, COUNT_PAD, TO],
        operands: Operands::Above,
        doc: "the average of each window",
    },
];

impl Pool {
    /// Every so many-th position of height and width: the maxima of windows of one cell.
    pub fn subsampling(stride: [u64; 2]) -> Pool {
        Pool { function: Function::Max, extent: Extent::Windows(Windows::single(stride)) }
    }

    fn layer(&self) -> &'static str {
        match self.function {
            Function::Max => "maxpool",
            Function::Average { .. } => "avgpool",
        }
    }

    /// Whether the result is undefined where a window sees padding only.
    fn needs_a_cell(&self) -> bool {
        matches!(self.function, Function::Max | Function::Average { count_pad: false })
    }
}

impl Operator for Pool {
    fn signatures() -> &'static [Signature] {
        &SIGNATURES
    }

    fn build(call: &Call) -> Result<Self, ArgError> {
        let average = call.layer == "avgpool";
        let whole = if average { Function::Average { count_pad: false } } else { Function::Max };
        if call.get("to").is_some() {
            refuse_others(call, "to")?;
            return Ok(Pool { function: whole, extent: Extent::Adaptive(call.pair("to", None, 1)?) });
        }
        match call.word("kernel") {
            Some("global") => {
                refuse_others(call, "kernel")?;
                return Ok(Pool { function: whole, extent: Extent::Global });
            }
            Some(other) => return Err(ArgError::new("kernel", format!("is a size or `global`, not `{other}`"))),
            None if call.get("kernel").is_none() => {
                let help = format!("write a window as in `{0}(2)`, or `{0}(global)`", call.layer);
                return Err(ArgError::new("kernel", "is missing").help(help));
            }
            None => {}
        }
        let windows = windows_of(call)?;
        let function = if average { Function::Average { count_pad: count_pad_of(call, &windows)? } } else { whole };
        Ok(Pool { function, extent: Extent::Windows(windows) })
    }

    fn describe(&self) -> (&'static str, Vec<(&'static str, Value)>) {
        let args = match self.extent {
            Extent::Global => vec![("kernel", Value::word("global"))],
            Extent::Adaptive(to) => vec![("to", Value::ints(&to))],
            Extent::Windows(Windows { kernel, stride, dilation, padding, ceil }) => {
                let mut args = vec![
                    ("kernel", Value::ints(&kernel)),
                    ("stride", Value::ints(&stride)),
                    ("pad", padding.value()),
                    ("dilation", Value::ints(&dilation)),
                    ("ceil", Value::Bool(ceil)),
                ];
                if let Function::Average { count_pad } = self.function {
                    args.push(("count_pad", Value::Bool(count_pad)));
                }
                args
            }
        };
        (self.layer(), args)
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>, ShapeError> {
        let (c, h, w) = feature_map(inputs, 0)?;
        let [out_h, out_w] = match &self.extent {
            Extent::Global => [Dim::ONE, Dim::ONE],
            Extent::Adaptive(to) => to.map(Dim::from),
            Extent::Windows(windows) => {
                let sizes = windows.output([h, w])?;
                if let Some(axis) = windows.all_padding([h, w]).filter(|_| self.needs_a_cell()) {
                    return Err(self.nothing_to_pool(windows, axis));
                }
                sizes
            }
        };
        Ok(vec![Shape(vec![c.clone(), out_h, out_w])])
    }

    fn arithmetic(&self, inputs: &[Shape], outputs: &[Shape]) -> Vec<String> {
        match (&self.extent, inputs[0].chw(), outputs[0].chw()) {
            (Extent::Windows(windows), Some((_, h, w)), Some((_, out_h, out_w))) => {
                windows.arithmetic([h, w], [out_h, out_w])
            }
            (Extent::Global, _, _) => vec!["height: global = 1".to_owned(), "width: global = 1".to_owned()],
            (Extent::Adaptive([h, w]), _, _) => vec![format!("height: to = {h}"), format!("width: to = {w}")],
            (Extent::Windows(_), _, _) => Vec::new(),
        }
    }

    fn params(&self, _inputs: &[Shape]) -> Vec<ParamSpec> {
        Vec::new()
    }

    /// A window of `k` cells costs `k - 1` comparisons, or `k - 1` additions and a division; global and adaptive
    /// pooling one operation for each cell of the operand, as fvcore counts the average.
    fn cost(&self, inputs: &[Shape], outputs: &[Shape]) -> Result<Cost, DimError> {
        match (self.extent, self.function) {
            (Extent::Windows(windows), Function::Max) => Cost::elementwise(&outputs[0], windows.taps() - 1),
            (Extent::Windows(windows), Function::Average { .. }) => Cost::elementwise(&outputs[0], windows.taps()),
            (Extent::Global | Extent::Adaptive(_), Function::Max) => Cost::elementwise(&inputs[0], 1),
            (Extent::Global | Extent::Adaptive(_), Function::Average { .. }) => {
                let cost = Cost::elementwise(&inputs[0], 1)?;
                Ok(Cost { fvcore: cost.flops.clone(), ..cost })
            }
        }
    }

    fn reach(&self, inputs: &[Shape]) -> Reach {
        let known = inputs[0].chw().and_then(|(_, h, w)| Some([h.as_u64()?, w.as_u64()?]));
        match (self.extent, known) {
            (Extent::Windows(windows), _) => windows.reach(&inputs[0]),
            (Extent::Global | Extent::Adaptive([1, 1]), _) | (Extent::Adaptive(_), None) => Reach::Everything,
            (Extent::Adaptive(to), Some(sizes)) => Reach::Window([0, 1].map(|axis| Window {
                stride: (sizes[axis], to[axis]),
                first: 0,
                last: i128::from(sizes[axis]) - 1,
            })),
        }
    }

    /// Averages in `f64`. NaN is larger than any number.
    fn forward<E: Element>(&self, inputs: &[View<E>], _params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        let (from, to) = (Nchw::of(inputs[0].dims), Nchw::of(outputs[0].dims));
        let [rows, cols] = span::spans(&self.extent, [from.h, from.w], [to.h, to.w]);
        for n in 0..to.n {
            for c in 0..to.c {
                for (y, rows) in rows.iter().enumerate() {
                    for (x, cols) in cols.iter().enumerate() {
                        let cells = rows.cells.iter().flat_map(|&row| {
                            cols.cells.iter().map(move |&col| inputs[0].data[from.at(n, c, row, col)])
                        });
                        outputs[0].data[to.at(n, c, y, x)] = match self.function {
                            Function::Max => E::of(cells.map(E::f64).fold(f64::NEG_INFINITY, larger)),
                            Function::Average { count_pad } => {
                                let counted = if count_pad {
                                    rows.with_padding * cols.with_padding
                                } else {
                                    rows.cells.len() * cols.cells.len()
                                };
                                E::of(cells.map(E::f64).sum::<f64>() / counted as f64)
                            }
                        };
                    }
                }
            }
        }
    }

    fn gradient(&self, g: &mut GradBuilder) {
        let incoming = g.incoming(0);
        let operands = match self.function {
            Function::Max => vec![Ref::Operand(0), Ref::Result(0), incoming],
            Function::Average { .. } => vec![incoming],
        };
        g.backward(self, &[Wrt::Operand(0)], &operands, &[]);
    }

    const ONNX: &'static [&'static str] = &[
        "MaxPool",
        "AveragePool",
        "GlobalMaxPool",
        "GlobalAveragePool",
        "ReduceMean",
        "ReduceMax",
        "ReduceMin",
        "ReduceSum",
        "ReduceSumSquare",
        "ReduceL1",
        "ReduceL2",
        "AdaptiveAverage",
        "LpNormalization",
    ];

    fn from_onnx(node: &mut Import) -> Result<(), Unfit> {
        match node.op_type {
            "AdaptiveAverage" => return parts::from_onnx(node),
            "LpNormalization" => return reduction::unit_norm(node),
            name if name.starts_with("Reduce") => return reduction::from_onnx(node),
            _ => {}
        }
        if 1 < node.outputs {
            return Err(Unfit::new("the places of its maxima are used"));
        }
        node.attrs.int("storage_order", 0)?;
        let (x, rank) = node.map(0)?;
        let op = match node.op_type {
            "GlobalMaxPool" => Pool { function: Function::Max, extent: Extent::Global },
            "GlobalAveragePool" => Pool { function: Function::Average { count_pad: false }, extent: Extent::Global },
            "MaxPool" => Pool { function: Function::Max, extent: Extent::Windows(node.windows(None)?) },
            _ => averaging(node)?,
        };
        let made = node.emit_one(op, &[&x], Vec::new())?;
        node.map_result(made, rank);
        Ok(())
    }

    /// Adaptive pooling whose parts are all alike is a pooling of windows.
    fn to_onnx(&self, g: &mut Export) -> Result<(), Unfit> {
        let windows = match self.extent {
            Extent::Global => {
                g.unary(if self.function == Function::Max { "GlobalMaxPool" } else { "GlobalAveragePool" }, Vec::new());
                return Ok(());
            }
            Extent::Windows(windows) => windows,
            Extent::Adaptive(to) => match equal_parts(to, &g.inputs[0]) {
                Some(windows) if windows == Windows::single([1, 1]) => {
                    g.unary("Identity", Vec::new());
                    return Ok(());
                }
                Some(windows) => windows,
                None => return parts::to_onnx(self, to, g),
            },
        };
        let (op_type, first_dilated) = if self.function == Function::Max { ("MaxPool", 10) } else { ("AveragePool", 19) };
        if windows.dilation != [1, 1] && g.opset < first_dilated {
            return Err(Unfit::new(format!(
                "dilated windows of {op_type} need operator set {first_dilated}: export with --opset {first_dilated} or later"
            )));
        }
        // Cells behind the padding never count; where there is none, nothing that is added does.
        let counts_pad = self.function == Function::Average { count_pad: true } && windows.padding != Padding::Sides([0; 4]);
        let whole = onnx::windows::without_ceil(&windows, g.opset, &g.inputs[0], &g.outputs[0]);
        let whole = whole.filter(|whole| !counts_pad || whole.padding == windows.padding).ok_or_else(|| {
            Unfit::new("its last partial windows are none of ONNX's: leave out `ceil`, or export with --opset 10 or later")
        })?;
        let mut attrs = onnx::windows::attributes(&whole);
        if counts_pad {
            attrs.push(("count_include_pad", Attr::Int(1)));
        }
        g.unary(op_type, attrs);
        Ok(())
    }

    fn to_pytorch(&self, g: &mut PyTorch) -> Result<(), Unfit> {
        exchange::to_pytorch(self, g)
    }
}

/// Average pooling, as a node has it.
fn averaging(node: &Import) -> Result<Pool, Unfit> {
    let windows = node.windows(None)?;
    let count_pad = node.attrs.flag("count_include_pad", false)?;
    if count_pad && !matches!(windows.padding, Padding::Sides(_)) {
        return Err(Unfit::new("it counts padding that depends on the input's size"));
    }
    // Without padding there is nothing to count, and `count_pad` is left at its default.
    let none = windows.padding == Padding::Sides([0; 4]);
    Ok(Pool { function: Function::Average { count_pad: count_pad || none }, extent: Extent::Windows(windows) })
}

/// The windows of adaptive pooling, where all parts are equal.
fn equal_parts(to: [u64; 2], input: &Shape) -> Option<Windows> {
    let mut kernel = [1, 1];
    for axis in [0, 1] {
        kernel[axis] = input.0[axis + 1].as_u64().filter(|size| size % to[axis] == 0)? / to[axis];
    }
    Some(Windows { kernel, ..Windows::single(kernel) })
}

impl Backward for Pool {
    fn backward_cost(&self, _wrt: &[Wrt], inputs: &[Shape], outputs: &[Shape]) -> Result<Cost, DimError> {
        // A comparison or a division, and a sum, for each cell of a window.
        let gradient = &inputs[inputs.len() - 1];
        match self.extent {
            Extent::Windows(windows) => Cost::elementwise(gradient, 2 * windows.taps()),
            Extent::Global | Extent::Adaptive(_) => Cost::elementwise(&outputs[0], 2),
        }
    }

    fn backward<E: Element>(&self, _wrt: &[Wrt], inputs: &[View<E>], _params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        let gradient = inputs[inputs.len() - 1];
        let (from, to) = (Nchw::of(outputs[0].dims), Nchw::of(gradient.dims));
        let [rows, cols] = span::spans(&self.extent, [from.h, from.w], [to.h, to.w]);
        let mut sums = vec![0.0; outputs[0].data.len()];
        for n in 0..to.n {
            for c in 0..to.c {
                for (y, rows) in rows.iter().enumerate() {
                    for (x, cols) in cols.iter().enumerate() {
                        let at = to.at(n, c, y, x);
                        let cells = rows.cells.iter().flat_map(|&row| cols.cells.iter().map(move |&col| from.at(n, c, row, col)));
                        match self.function {
                            // The first of equal cells has it all.
                            Function::Max => {
                                let mut cells = cells;
                                if let Some(cell) = cells.find(|&cell| inputs[0].data[cell] == inputs[1].data[at]) {
                                    sums[cell] += gradient.data[at].f64();
                                }
                            }
                            Function::Average { count_pad } => {
                                let counted = if count_pad {
                                    rows.with_padding * cols.with_padding
                                } else {
                                    rows.cells.len() * cols.cells.len()
                                };
                                cells.for_each(|cell| sums[cell] += gradient.data[at].f64() / counted as f64);
                            }
                        }
                    }
                }
            }
        }
        fill(&mut outputs[0], &sums);
    }
}

fn larger(best: f64, cell: f64) -> f64 {
    if cell > best || cell.is_nan() { cell } else { best }
}

/// Windows take all arguments, the other two forms only their own.
fn refuse_others(call: &Call, own: &'static str) -> Result<(), ArgError> {
    let form = if own == "to" { "to" } else { "global" };
    match call.args.iter().find(|(name, _)| *name != own) {
        Some((name, _)) => Err(ArgError::new(name, format!("has no meaning with `{form}`"))),
        None => Ok(()),
    }
}

fn windows_of(call: &Call) -> Result<Windows, ArgError> {
    let kernel = call.pair("kernel", None, 1)?;
    let stride = call.pair("stride", Some(kernel), 1)?;
    let dilation = call.pair("dilation", Some([1, 1]), 1)?;
    let padding = Padding::of(call, kernel, stride, dilation)?;
    let ceil = call.flag("ceil", false)?;
    if ceil && !matches!(padding, Padding::Sides(_)) {
        return Err(ArgError::new("ceil", format!("has no meaning with `pad = {}`, which rounds up", padding.value())));
    }
    Ok(Windows { kernel, stride, dilation, padding, ceil })
}

fn count_pad_of(call: &Call, windows: &Windows) -> Result<bool, ArgError> {
    let count_pad = call.flag("count_pad", true)?;
    match windows.padding {
        Padding::SameUpper | Padding::SameLower if count_pad => {
            let message = format!("must be false with `pad = {}`: TensorFlow counts no padding", windows.padding.value());
            Err(ArgError::new("count_pad", message).help("add `count_pad = false`"))
        }
        Padding::Sides(_) | Padding::SameUpper | Padding::SameLower => Ok(count_pad),
    }
}

impl Pool {
    fn nothing_to_pool(&self, windows: &Windows, axis: &'static str) -> ShapeError {
        let taken = match self.function {
            Function::Max => "largest cell",
            Function::Average { .. } => "average",
        };
        let [h, w] = [0, 1].map(|axis| windows.extent(axis) / 2);
        ShapeError::Misfit {
            attr: Some("pad"),
            message: format!("a window sees nothing but padding along the {axis} and has no {taken}"),
            help: Some(format!("pad at most half of the window: `pad = [{h}, {w}]`")),
        }
    }
}
