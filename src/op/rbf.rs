//! Distance to fixed codes: the output layer of LeNet-5 (LeCun et al. 1998, section II.B), Euclidean radial basis
//! functions around 7x12 bitmaps of the characters.

use super::attr::{ArgError, Call, Operands, Signature, Value, param};
use super::geom::vector;
use super::gradient::{Backward, GradBuilder, Ref, Wrt, fill};
use super::{Cost, Operator, ParamSpec, Reach, ShapeError};
use super::onnx::{self, Export, Import, Live, Unfit};
use super::pytorch::{Expr, Helper, Py, PyTorch};
use crate::dim::{Dim, DimError};
use crate::tensor::{Element, Shape, View, ViewMut};

/// `out[i] = Σ (in[j] - codes[i][j])²`; takes a vector as long as a code. The codes are part of the net, not weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Rbf {
    /// The codes: at least one, all of one length above zero.
    pub codes: Vec<Vec<f64>>,
}

static SIGNATURES: [Signature; 1] = [Signature {
    layer: "rbf",
    params: &[param("codes", "", "lists of numbers, or bitmaps: strings, or lists of strings, with `#` for +1 and `.` or a space for -1")],
    operands: Operands::Above,
    doc: "squared Euclidean distance to each of some fixed codes",
}];

static DISTANCES: Helper = Helper {
    name: "Distances",
    text: r#"class Distances(nn.Module):
    """The squared distance of a vector to each of some codes."""

    def __init__(self, codes: List[List[float]]):
        super().__init__()
        self.register_buffer("codes", torch.tensor(codes), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return (x.unsqueeze(1) - self.codes).square().sum(2)
"#,
};

impl Operator for Rbf {
    fn signatures() -> &'static [Signature] {
        &SIGNATURES
    }

    fn build(call: &Call) -> Result<Self, ArgError> {
        let listed = match call.get("codes") {
            Some(Value::List(listed)) if !listed.is_empty() => listed,
            Some(Value::List(_)) => return Err(ArgError::new("codes", "is empty")),
            Some(other) => return Err(ArgError::new("codes", format!("takes a list of codes, not {}", other.kind()))),
            None => return Err(ArgError::new("codes", "is missing")),
        };
        let codes = listed.iter().enumerate().map(|(i, code)| code_of(i, code)).collect::<Result<Vec<_>, _>>()?;
        let length = codes[0].len();
        if let Some((i, code)) = codes.iter().enumerate().find(|(_, code)| code.len() != length) {
            let message = format!("has {} elements in code {i}, but {length} in code 0", code.len());
            return Err(ArgError::new("codes", message));
        }
        if length == 0 {
            return Err(ArgError::new("codes", "has codes without elements"));
        }
        Ok(Rbf { codes })
    }

    fn describe(&self) -> (&'static str, Vec<(&'static str, Value)>) {
        ("rbf", vec![("codes", Value::List(self.codes.iter().map(|code| code_value(code)).collect()))])
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>, ShapeError> {
        let (features, length) = (vector(inputs, 0)?, self.codes[0].len());
        match features.equals(&Dim::from(length)) {
            Some(true) => Ok(vec![Shape(vec![self.codes.len().into()])]),
            _ => Err(ShapeError::Misfit {
                attr: Some("codes"),
                message: format!("the codes have {length} elements, the vector has {features}"),
                help: Some(format!("a `linear({length})` in front gives a vector as long as the codes")),
            }),
        }
    }

    fn arithmetic(&self, _inputs: &[Shape], _outputs: &[Shape]) -> Vec<String> {
        Vec::new()
    }

    fn params(&self, _inputs: &[Shape]) -> Vec<ParamSpec> {
        Vec::new()
    }

    /// A subtraction, a multiplication and an addition for each element of each code.
    fn cost(&self, inputs: &[Shape], outputs: &[Shape]) -> Result<Cost, DimError> {
        let pairs = inputs[0].elements()?.mul(&outputs[0].elements()?)?;
        Ok(Cost { macs: Dim::ZERO, flops: pairs.mul(&Dim::from(3u64))?, fvcore: Dim::ZERO })
    }

    fn reach(&self, _inputs: &[Shape]) -> Reach {
        Reach::Everything
    }

    /// Sums in `f64`.
    fn forward<E: Element>(&self, inputs: &[View<E>], _params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        let features = inputs[0].dims[1];
        for (vector, distances) in
            inputs[0].data.chunks_exact(features).zip(outputs[0].data.chunks_exact_mut(self.codes.len()))
        {
            for (distance, code) in distances.iter_mut().zip(&self.codes) {
                let squares = vector.iter().zip(code).map(|(&x, &bit)| (x.f64() - bit).powi(2));
                *distance = E::of(squares.sum::<f64>());
            }
        }
    }

    fn gradient(&self, g: &mut GradBuilder) {
        let incoming = g.incoming(0);
        g.backward(self, &[Wrt::Operand(0)], &[Ref::Operand(0), incoming], &[]);
    }

    /// A sum of squares of differences, read as one node: a row, the codes, and the axis of the sum.
    const ONNX: &'static [&'static str] = &["Distances"];

    fn from_onnx(node: &mut Import) -> Result<(), Unfit> {
        let row = node.live(0)?;
        let (codes, rank) = (node.weight(1, "codes")?, row.axes.rank());
        let listed = match node.known(2, "list of axes")? {
            Some(axes) => axes.ints(),
            None => node.attrs.ints("axes")?.map(<[i64]>::to_vec),
        };
        let is_row = rank == 3 && row.axes.0[1].is_empty() && matches!(listed.as_deref(), Some([2 | -1]));
        if !is_row || node.attrs.flag("keepdims", true)? || node.attrs.flag("noop_with_empty_axes", false)? {
            return Err(Unfit::new("it sums squares of differences, and not along a vector"));
        }
        let &[count, width] = codes.dims().as_slice() else { return Err(Unfit::new("its codes are no matrix")) };
        let values = codes.to_floats().filter(|_| 0 < count && 0 < width);
        let values = values.ok_or_else(|| Unfit::new("its codes are no numbers"))?;
        let values: Vec<f64> = values.iter().map(|&value| onnx::shortest(f64::from(value))).collect();
        let mut axes = row.axes.clone();
        axes.0.remove(1);
        let x = node.settled(&Live { axes, ..row })?;
        let codes = values.chunks(width as usize).map(<[f64]>::to_vec).collect();
        let made = node.emit_one(Rbf { codes }, &[&x], Vec::new())?;
        node.result(made);
        Ok(())
    }

    fn to_onnx(&self, g: &mut Export) -> Result<(), Unfit> {
        let width = self.codes.first().map_or(0, Vec::len) as u64;
        let values = self.codes.iter().flatten().map(|&value| value as f32).collect();
        let codes = g.floats(&[self.codes.len() as u64, width], values)?;
        let x = g.operand(0);
        let row = g.unsqueezed(x, 1)?;
        let difference = g.between("Sub", vec![row, codes], Vec::new());
        let square = g.between("Mul", vec![difference.clone(), difference], Vec::new());
        g.reduced("ReduceSum", square, &[2], false)
    }

    fn to_pytorch(&self, g: &mut PyTorch) -> Result<(), Unfit> {
        g.helper(&DISTANCES);
        let codes = self.codes.iter().map(|code| Py::list(code.iter().copied()));
        g.module(Expr::new("Distances({})").arg("codes", Py::List(codes.collect())));
        Ok(())
    }
}

impl Backward for Rbf {
    fn backward_cost(&self, _wrt: &[Wrt], _inputs: &[Shape], outputs: &[Shape]) -> Result<Cost, DimError> {
        // A difference, a product and a sum for each code and feature.
        Cost::elementwise(&outputs[0], 4 * self.codes.len() as u64)
    }

    fn backward<E: Element>(&self, _wrt: &[Wrt], inputs: &[View<E>], _params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        let features = inputs[0].dims[1];
        let sum = |at: usize| {
            let gradients = &inputs[1].data[at / features * self.codes.len()..];
            let part = |(code, gradient): (&Vec<f64>, &E)| 2.0 * (inputs[0].data[at].f64() - code[at % features]) * gradient.f64();
            self.codes.iter().zip(gradients).map(part).sum()
        };
        let sums: Vec<f64> = (0..inputs[0].data.len()).map(sum).collect();
        fill(&mut outputs[0], &sums);
    }
}

fn code_of(i: usize, code: &Value) -> Result<Vec<f64>, ArgError> {
    match code {
        Value::Str(bitmap) => bits_of(i, bitmap),
        Value::List(items) => {
            let parts = items.iter().map(|item| match item {
                Value::Str(row) => bits_of(i, row),
                number => number_of(i, number).map(|number| vec![number]),
            });
            Ok(parts.collect::<Result<Vec<_>, _>>()?.concat())
        }
        Value::Int(_) | Value::Float(_) | Value::Bool(_) | Value::Word(_) | Value::Range(..) | Value::Shape(_) => {
            let message = format!("has {} as code {i}, not a bitmap or a list of numbers", code.kind());
            Err(ArgError::new("codes", message))
        }
    }
}

fn bits_of(i: usize, bitmap: &str) -> Result<Vec<f64>, ArgError> {
    let bit = |pixel| match pixel {
        '#' => Ok(1.0),
        '.' | ' ' => Ok(-1.0),
        other => {
            Err(ArgError::new("codes", format!("has `{other}` in code {i}: a bitmap is of `#`, `.` and spaces")))
        }
    };
    bitmap.chars().map(bit).collect()
}

fn number_of(i: usize, number: &Value) -> Result<f64, ArgError> {
    match number {
        Value::Float(number) if number.is_finite() => Ok(*number),
        Value::Int(number) => number.as_known().map(|known| known as f64).ok_or_else(|| {
            ArgError::new("codes", format!("needs known numbers, but code {i} has `{number}`"))
        }),
        Value::Float(_)
        | Value::Bool(_)
        | Value::Str(_)
        | Value::Word(_)
        | Value::List(_)
        | Value::Range(..)
        | Value::Shape(_) => {
            Err(ArgError::new("codes", format!("has {number} in code {i}, not a finite number")))
        }
    }
}

/// A bitmap where the code is one.
fn code_value(code: &[f64]) -> Value {
    if code.iter().all(|&bit| bit.abs() == 1.0) {
        Value::Str(code.iter().map(|&bit| if bit > 0.0 { '#' } else { '.' }).collect())
    } else {
        Value::List(code.iter().map(|&number| Value::Float(number)).collect())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::op::testing::{assert_close, assert_round_trip, build, infer_one, run, try_build};

    fn rbf(codes: &[Value]) -> Rbf {
        build("rbf", &[("codes", Value::List(codes.to_vec()))], &[])
    }

    fn bitmap(text: &str) -> Value {
        Value::Str(text.to_owned())
    }

    fn numbers(numbers: &[f64]) -> Value {
        Value::List(numbers.iter().map(|&number| Value::Float(number)).collect())
    }

    #[test]
    fn takes_a_vector_as_long_as_the_codes() {
        let op = rbf(&[bitmap("#.#"), bitmap("..."), bitmap("## ")]);
        assert_eq!(infer_one(&op, &[&[3]]), Ok(vec![3]));
        assert!(matches!(infer_one(&op, &[&[4]]), Err(ShapeError::Misfit { attr: Some("codes"), .. })));
        assert!(matches!(infer_one(&op, &[&[3, 1, 1]]), Err(ShapeError::Rank { insert: Some("flatten"), .. })));
    }

    #[test]
    fn bitmaps_and_numbers_describe_themselves() {
        let op = rbf(&[bitmap("#. "), numbers(&[1.0, -1.0, -1.0]), numbers(&[0.5, 0.0, -2.0])]);
        assert_eq!(op.codes[0], op.codes[1]);
        assert_round_trip(&op, &[]);
        let (_, args) = op.describe();
        assert_eq!(args[0].1.to_string(), "[\"#..\", \"#..\", [0.5, 0.0, -2.0]]");
        assert_eq!(rbf(&[Value::ints(&[1, 0])]).codes, [[1.0, 0.0]]);
        assert_eq!(rbf(&[Value::List(vec![bitmap("#."), bitmap(".#")])]), rbf(&[bitmap("#..#")]));
    }

    #[test]
    fn refuses_bad_codes() {
        for (wrong, message) in [
            (Value::List(vec![]), "is empty"),
            (bitmap("#."), "takes a list of codes"),
            (Value::List(vec![bitmap("#."), bitmap("#")]), "has 1 elements in code 1, but 2 in code 0"),
            (Value::List(vec![bitmap("")]), "without elements"),
            (Value::List(vec![bitmap("#x")]), "`x` in code 0"),
            (Value::List(vec![Value::List(vec![bitmap("#."), bitmap("x#")])]), "`x` in code 0"),
            (Value::List(vec![numbers(&[f64::NAN])]), "not a finite number"),
            (Value::List(vec![Value::int(1)]), "an integer as code 0"),
            (Value::List(vec![Value::List(vec![Value::Int(Dim::symbol("H", 1))])]), "needs known numbers"),
        ] {
            let error = try_build::<Rbf>("rbf", &[("codes", wrong)], &[]).unwrap_err();
            assert!(error.message.contains(message), "{}", error.message);
        }
        assert_eq!(try_build::<Rbf>("rbf", &[], &[]).unwrap_err().message, "is missing");
    }

    /// The RBF layer of LeNet-5 has 10 codes of 84 pixels: 840 connections.
    #[test]
    fn counts_lenets_output() {
        let op = rbf(&vec![bitmap(&"#".repeat(84)); 10]);
        let (input, output) = ([Shape::known(&[84])], [Shape::known(&[10])]);
        let cost = op.cost(&input, &output).unwrap();
        assert_eq!((cost.macs, cost.flops), (Dim::ZERO, Dim::from(3u64 * 840)));
        assert!(op.params(&input).is_empty());
    }

    #[test]
    fn squares_the_distance() {
        let op = rbf(&[bitmap("#."), numbers(&[0.5, 2.0])]);
        let output = run(&op, &[(&[2, 2], vec![1.0, -1.0, 0.0, 3.0])], &[]);
        assert_close(&output[0], &[0.0, 0.25 + 9.0, 1.0 + 16.0, 0.25 + 1.0], 1e-7);
    }
}
