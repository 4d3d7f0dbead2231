//! Convolution with a connection table, the C3 of LeNet-5 (LeCun et al. 1998, table I).

use super::attr::{ArgError, Call, Operands, Signature, Value, as_count, param};
use super::geom::{DILATION, KERNEL, PAD, Padding, STRIDE, Windows, feature_map, inside, known};
use super::gradient::{Backward, GradBuilder, Wrt};
use super::products;
use super::{Cost, Operator, ParamSpec, Reach, Role, ShapeError};
use super::onnx::{self, Export, Import, Unfit};
use super::pytorch::{Expr, Helper, Py, PyTorch};
use crate::dim::{Dim, DimError};
use crate::tensor::{Element, Nchw, Shape, View, ViewMut};

/// A convolution whose output channel `o` reads the input channels listed in `table[o]` and no others. `weight:
/// [connections, k_h, k_w]` has a kernel for each entry of the table, row by row; `bias: [out_c]`.
#[derive(Clone, Debug, PartialEq)]
pub struct TableConv {
    /// Kernel, stride, padding and dilation.
    pub windows: Windows,
    /// The input channels of each output channel; neither the table nor a row is empty, no row names a channel twice.
    pub table: Vec<Vec<u64>>,
    /// Whether a bias is added.
    pub bias: bool,
}

static SIGNATURES: [Signature; 1] = [Signature {
    layer: "table_conv",
    params: &[
        KERNEL,
        param("table", "", "the input channels, from 0, of each output channel: [[0, 1, 2], [1, 2, 3], …]"),
        STRIDE,
        PAD,
        DILATION,
        param("bias", "true", "whether a bias is added"),
    ],
    operands: Operands::Above,
    doc: "convolution in which each output channel reads some input channels only",
}];

impl TableConv {
    fn connections(&self) -> u64 {
        self.table.iter().map(|row| row.len() as u64).sum()
    }
}

static TABLE_CONV: Helper = Helper {
    name: "TableConv2d",
    text: r#"class TableConv2d(nn.Module):
    """A convolution whose output channel o reads the input channels table[o] and no others."""

    def __init__(
        self,
        in_channels: int,
        table: List[List[int]],
        kernel_size: List[int],
        stride=1,
        padding=0,
        dilation=1,
        bias: bool = True,
    ):
        super().__init__()
        places = [o * in_channels + i for o, row in enumerate(table) for i in row]
        self.channels, self.stride = [len(table), in_channels], _pair(stride)
        self.padding, self.dilation = _pair(padding), _pair(dilation)
        self.register_buffer("places", torch.tensor(places), persistent=False)
        self.weight = nn.Parameter(torch.zeros(len(places), kernel_size[0], kernel_size[1]))
        self.bias = nn.Parameter(torch.zeros(len(table))) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = self.weight.shape[1], self.weight.shape[2]
        dense = self.weight.new_zeros(self.channels[0] * self.channels[1], rows, columns)
        dense = dense.index_copy(0, self.places, self.weight)
        dense = dense.view(self.channels[0], self.channels[1], rows, columns)
        return F.conv2d(x, dense, self.bias, self.stride, self.padding, self.dilation)
"#,
};

impl Operator for TableConv {
    fn signatures() -> &'static [Signature] {
        &SIGNATURES
    }

    fn build(call: &Call) -> Result<Self, ArgError> {
        let kernel = call.pair("kernel", None, 1)?;
        let stride = call.pair("stride", Some([1, 1]), 1)?;
        let dilation = call.pair("dilation", Some([1, 1]), 1)?;
        let padding = Padding::of(call, kernel, stride, dilation)?;
        let windows = Windows { kernel, stride, dilation, padding, ceil: false };
        Ok(TableConv { windows, table: table_of(call)?, bias: call.flag("bias", true)? })
    }

    fn describe(&self) -> (&'static str, Vec<(&'static str, Value)>) {
        let Windows { kernel, stride, dilation, padding, .. } = self.windows;
        let args = vec![
            ("kernel", Value::ints(&kernel)),
            ("table", Value::List(self.table.iter().map(|row| Value::ints(row)).collect())),
            ("stride", Value::ints(&stride)),
            ("pad", padding.value()),
            ("dilation", Value::ints(&dilation)),
            ("bias", Value::Bool(self.bias)),
        ];
        ("table_conv", args)
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>, ShapeError> {
        let (in_c, h, w) = feature_map(inputs, 0)?;
        let in_c = known(in_c, "input channels")?;
        for (o, row) in self.table.iter().enumerate() {
            if let Some(i) = row.iter().find(|&&i| i >= in_c) {
                let asked = format!("channel {i} for output channel {o}");
                return Err(ShapeError::OutOfRange { attr: "table", asked, axis: "channels", size: in_c.into() });
            }
        }
        let [out_h, out_w] = self.windows.output([h, w])?;
        super::countable(&self.params(inputs))?;
        Ok(vec![Shape(vec![self.table.len().into(), out_h, out_w])])
    }

    fn arithmetic(&self, inputs: &[Shape], outputs: &[Shape]) -> Vec<String> {
        match (inputs[0].chw(), outputs[0].chw()) {
            (Some((_, h, w)), Some((_, out_h, out_w))) => self.windows.arithmetic([h, w], [out_h, out_w]),
            _ => Vec::new(),
        }
    }

    /// The fans are averages over the channels.
    fn params(&self, inputs: &[Shape]) -> Vec<ParamSpec> {
        let (in_c, out_c) = (inputs[0].0[0].as_u64().unwrap_or(1).max(1), self.table.len() as u64);
        let weights = self.connections().saturating_mul(self.windows.taps());
        let [fan_in, fan_out] = [out_c, in_c].map(|c| (weights / c).max(1));
        let [k_h, k_w] = self.windows.kernel;
        let shape = vec![self.connections(), k_h, k_w];
        let mut params = vec![ParamSpec { leaf: "weight", shape, role: Role::Weight, fan_in, fan_out }];
        if self.bias {
            params.push(ParamSpec { leaf: "bias", shape: vec![out_c], role: Role::Bias, fan_in, fan_out });
        }
        params
    }

    /// `out_h · out_w · k_h · k_w · connections` MACs; a bias adds one operation to each output.
    fn cost(&self, _inputs: &[Shape], outputs: &[Shape]) -> Result<Cost, DimError> {
        let positions = Shape(outputs[0].0[1..].to_vec()).elements()?;
        let per_position = Dim::from(self.connections()).mul(&Dim::from(self.windows.taps()))?;
        let biased = if self.bias { outputs[0].elements()? } else { Dim::ZERO };
        Cost::multiply(positions.mul(&per_position)?, &biased)
    }

    fn reach(&self, inputs: &[Shape]) -> Reach {
        self.windows.reach(&inputs[0])
    }

    /// Sums in `f64`.
    fn forward<E: Element>(&self, inputs: &[View<E>], params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        products::forward(inputs, params, outputs, |from, to, with| self.each_product(from, to, with));
    }

    fn gradient(&self, g: &mut GradBuilder) {
        products::gradient(self, g);
    }

    /// A convolution with kernels put among zeros, read as one node: the operand, the kernels, a bias, their places and
    /// the zeros.
    const ONNX: &'static [&'static str] = &["TableConv"];

    fn from_onnx(node: &mut Import) -> Result<(), Unfit> {
        let (x, rank) = node.map(0)?;
        let (kernels, bias) = (node.weight(1, "weight")?.clone(), node.known(2, "bias")?);
        let (places, zeros) = (node.weight(3, "list of places")?, node.weight(4, "zeros")?);
        let (&[count, k_h, k_w], &[out_c, in_c, ..]) = (kernels.dims().as_slice(), zeros.dims().as_slice()) else {
            return Err(Unfit::new("its kernels are no list of kernels"));
        };
        if zeros.uniform() != Some(0.0) || zeros.dims() != [out_c, in_c, k_h, k_w] || places.dims() != [count, 2] {
            return Err(Unfit::new("its kernels are not put among zeros, each at an output and an input"));
        }
        let places = places.ints().ok_or_else(|| Unfit::new("its places are no integers"))?;
        if !places.chunks(2).is_sorted_by(|a, b| a < b) {
            return Err(Unfit::new("its kernels are not in the order of outputs and inputs"));
        }
        let mut table = vec![Vec::new(); usize::try_from(out_c).unwrap_or(0)];
        for place in places.chunks(2) {
            let [Ok(output), Ok(input)] = [place[0], place[1]].map(u64::try_from) else {
                return Err(Unfit::new("its places are counted from behind"));
            };
            let row = usize::try_from(output).ok().and_then(|output| table.get_mut(output));
            row.filter(|_| input < in_c).ok_or_else(|| Unfit::new("a place is outside its weight"))?.push(input);
        }
        if onnx::groups(node)? != 1 || table.iter().any(Vec::is_empty) {
            return Err(Unfit::new("it is no convolution with a connection table"));
        }
        let windows = node.windows(Some([k_h, k_w]))?;
        let op = TableConv { table, windows, bias: bias.is_some() };
        let made = node.emit_one(op, &[&x], onnx::weight_and_bias(kernels, bias))?;
        node.map_result(made, rank);
        Ok(())
    }

    /// As a convolution whose other kernels are zero; from operator set 11 on its own are put among them.
    fn to_onnx(&self, g: &mut Export) -> Result<(), Unfit> {
        let in_c = g.inputs[0].0[0].as_u64().unwrap_or(0);
        let taps = self.windows.taps() as usize;
        let [k_h, k_w] = self.windows.kernel;
        let sizes = [self.table.len() as u64, in_c, k_h, k_w];
        let places = self.table.iter().enumerate().flat_map(|(o, row)| row.iter().map(move |&i| [o as i64, i as i64]));
        let weight = if g.opset < 11 {
            let listed = g.values("weight")?;
            let mut weight = vec![0.0; onnx::export::bounded(&sizes)?];
            for ([o, i], kernel) in places.zip(listed.chunks(taps)) {
                weight[(o as usize * in_c as usize + i as usize) * taps..][..taps].copy_from_slice(kernel);
            }
            g.floats(&sizes, weight)?
        } else {
            let inputs = vec![g.filled(&sizes, 0.0)?, g.pairs(places.collect())?, g.param("weight")];
            g.between("ScatterND", inputs, Vec::new())
        };
        let mut inputs = vec![g.operand(0), weight];
        inputs.extend(self.bias.then(|| g.param("bias")));
        g.last("Conv", inputs, onnx::windows::attributes(&self.windows));
        Ok(())
    }

    fn to_pytorch(&self, g: &mut PyTorch) -> Result<(), Unfit> {
        g.helper(&TABLE_CONV);
        let windows = &self.windows;
        let module = Expr::new("TableConv2d({})")
            .arg("in_channels", g.channels())
            .arg("table", Py::List(self.table.iter().map(|row| Py::list(row.iter().copied())).collect()))
            .arg("kernel_size", Py::list(windows.kernel))
            .key("stride", Py::pair(windows.stride), 1)
            .key("dilation", Py::pair(windows.dilation), 1)
            .key("bias", self.bias, true);
        g.windowed(windows, module);
        Ok(())
    }
}

impl Backward for TableConv {
    fn backward_cost(&self, wrt: &[Wrt], inputs: &[Shape], outputs: &[Shape]) -> Result<Cost, DimError> {
        let (_, gradient) = products::sides(wrt, inputs, outputs);
        let positions = gradient.elements()?.exact_div(self.table.len() as u64)?;
        let connections = self.table.iter().map(Vec::len).sum::<usize>() as u64;
        let products = positions.mul(&connections.into())?.mul(&Dim::from(self.windows.taps()))?;
        products::backward_cost(wrt, products, gradient)
    }

    fn backward<E: Element>(&self, wrt: &[Wrt], inputs: &[View<E>], params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        products::backward(wrt, inputs, params, outputs, |from, to, with| self.each_product(from, to, with));
    }
}

impl TableConv {
    /// Calls `with` for each product of the sums: the places of its weight, of its input, and of the output that it is
    /// part of.
    fn each_product(&self, from: Nchw, to: Nchw, with: &mut dyn FnMut(usize, usize, usize)) {
        let [k_h, k_w] = self.windows.kernel.map(|k| k as usize);
        let [s_h, s_w] = self.windows.stride.map(|s| s as usize);
        let [d_h, d_w] = self.windows.dilation.map(|d| d as usize);
        let [top, left, _, _] = self.windows.sides([from.h, from.w]);
        for n in 0..to.n {
            let mut first = 0;
            for (o, row) in self.table.iter().enumerate() {
                for (kernel, &i) in (first..).zip(row) {
                    for y in 0..to.h {
                        for x in 0..to.w {
                            for ky in 0..k_h {
                                let Some(row) = inside(y * s_h + ky * d_h, top, from.h) else { continue };
                                for kx in 0..k_w {
                                    let Some(col) = inside(x * s_w + kx * d_w, left, from.w) else { continue };
                                    let tap = (kernel * k_h + ky) * k_w + kx;
                                    with(tap, from.at(n, i as usize, row, col), to.at(n, o, y, x));
                                }
                            }
                        }
                    }
                }
                first += row.len();
            }
        }
    }
}

fn table_of(call: &Call) -> Result<Vec<Vec<u64>>, ArgError> {
    let wrong = |message: String| {
        ArgError::new("table", message).help("write a list of input channels for each output channel: [[0, 1], [1, 2]]")
    };
    let rows = match call.get("table") {
        Some(Value::List(rows)) if !rows.is_empty() => rows,
        Some(Value::List(_)) => return Err(wrong("is empty".to_owned())),
        Some(other) => return Err(wrong(format!("takes a list of lists, not {}", other.kind()))),
        None => return Err(wrong("is missing".to_owned())),
    };
    let mut table = Vec::with_capacity(rows.len());
    for (o, row) in rows.iter().enumerate() {
        let Value::List(entries) = row else {
            return Err(wrong(format!("has {} for output channel {o}, not a list", row.kind())));
        };
        let channels = entries.iter().map(|entry| as_count("table", entry, 0)).collect::<Result<Vec<_>, _>>()?;
        let mut sorted = channels.clone();
        sorted.sort_unstable();
        if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(wrong(format!("names input channel {} twice for output channel {o}", twice[0])));
        }
        if channels.is_empty() {
            return Err(wrong(format!("has no input channel for output channel {o}")));
        }
        table.push(channels);
    }
    Ok(table)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::op::conv::Conv;
    use crate::op::testing::{assert_close, assert_round_trip, build, infer_one, run, seeded, seeded_params, try_build};

    fn table(rows: &[&[u64]]) -> Value {
        Value::List(rows.iter().map(|row| Value::ints(row)).collect())
    }

    /// Table I: three neighbours, four neighbours, two and two, all.
    fn c3() -> TableConv {
        let triples = (0..6u64).map(|o| vec![o, (o + 1) % 6, (o + 2) % 6]);
        let fours = (0..6u64).map(|o| vec![o, (o + 1) % 6, (o + 2) % 6, (o + 3) % 6]);
        let pairs = (0..3u64).map(|o| vec![o, o + 1, (o + 3) % 6, (o + 4) % 6]);
        let rows: Vec<Vec<u64>> = triples.chain(fours).chain(pairs).chain([vec![0, 1, 2, 3, 4, 5]]).collect();
        let rows: Vec<&[u64]> = rows.iter().map(Vec::as_slice).collect();
        build("table_conv", &[("kernel", Value::int(5)), ("table", table(&rows))], &[])
    }

    #[test]
    fn counts_lenets_c3() {
        let (op, input) = (c3(), [Shape::known(&[6, 14, 14])]);
        let output = op.infer(&input).unwrap();
        assert_eq!(output, [Shape::known(&[16, 10, 10])]);
        let params = op.params(&input);
        assert_eq!(params.iter().map(|spec| spec.elements().unwrap()).sum::<u64>(), 1516);
        assert_eq!(params[0].shape, [60, 5, 5]);
        let cost = op.cost(&input, &output).unwrap();
        assert_eq!(cost.macs, Dim::from(150_000u64));
        assert_eq!(cost.flops, Dim::from(301_600u64));
        // The paper's 151,600 connections count each weight and each bias at each position.
        assert_eq!(cost.macs.add(&output[0].elements().unwrap()).unwrap(), Dim::from(151_600u64));
    }

    #[test]
    fn describes_itself() {
        assert_round_trip(&c3(), &[]);
        let args = [
            ("kernel", Value::ints(&[3, 2])),
            ("table", table(&[&[1, 0], &[2]])),
            ("stride", Value::int(2)),
            ("pad", Value::word("same_upper")),
            ("dilation", Value::ints(&[1, 2])),
            ("bias", Value::Bool(false)),
        ];
        assert_round_trip(&build::<TableConv>("table_conv", &args, &[]), &[]);
    }

    #[test]
    fn refuses_bad_tables() {
        for (wrong, message) in [
            (Value::List(vec![]), "is empty"),
            (Value::int(3), "takes a list of lists"),
            (Value::ints(&[0, 1]), "has an integer for output channel 0"),
            (table(&[&[0], &[]]), "has no input channel for output channel 1"),
            (table(&[&[0, 2, 1, 2]]), "names input channel 2 twice for output channel 0"),
            (Value::List(vec![Value::List(vec![Value::Int(Dim::known(-1))])]), "must be at least 0"),
        ] {
            let args = [("kernel", Value::int(1)), ("table", wrong)];
            let error = try_build::<TableConv>("table_conv", &args, &[]).unwrap_err();
            assert_eq!(error.param, Some("table"));
            assert!(error.message.contains(message), "{}", error.message);
        }
        let op: TableConv = build("table_conv", &[("kernel", Value::int(1)), ("table", table(&[&[0], &[3, 1]]))], &[]);
        let error = infer_one(&op, &[&[3, 4, 4]]);
        assert!(matches!(error, Err(ShapeError::OutOfRange { attr: "table", .. })), "{error:?}");
        assert_eq!(infer_one(&op, &[&[4, 4, 4]]), Ok(vec![2, 4, 4]));
    }

    /// A convolution whose weights are zero where the table has no entry gives the same.
    #[test]
    fn equals_a_convolution_with_zeros() {
        let rows: [&[u64]; 3] = [&[2, 0], &[1], &[0, 1, 3]];
        let windows = [
            ("kernel", Value::ints(&[3, 2])),
            ("stride", Value::ints(&[2, 1])),
            ("pad", Value::ints(&[1, 0, 2, 1])),
            ("dilation", Value::ints(&[1, 2])),
        ];
        let op: TableConv = build("table_conv", &[windows.as_slice(), &[("table", table(&rows))]].concat(), &[]);
        let dense: Conv = build("conv", &[windows.as_slice(), &[("channels", Value::int(3))]].concat(), &[]);
        let dims = [2, 4, 6, 5];
        let x = seeded(dims.iter().product(), 11);
        let params = seeded_params(&op, &[&dims], 12);
        let mut weight = vec![0.0; 3 * 4 * 6];
        let mut kernels = params[0].chunks(6);
        for (o, row) in rows.iter().enumerate() {
            for &i in *row {
                weight[(o * 4 + i as usize) * 6..][..6].copy_from_slice(kernels.next().unwrap());
            }
        }
        let actual = run(&op, &[(&dims, x.clone())], &params);
        let expected = run(&dense, &[(&dims, x)], &[weight, params[1].clone()]);
        let expected: Vec<f64> = expected[0].iter().map(|&value| f64::from(value)).collect();
        assert_close(&actual[0], &expected, 1e-7);
    }
}
