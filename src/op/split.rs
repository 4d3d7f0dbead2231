//! An axis cut into parts, the inverse of `concat`.

use super::attr::{ArgError, Call, Operands, Signature, Value, as_count, param};
use super::slice::copy_range;
use super::gradient::{GradBuilder, Ref, Wrt};
use super::concat::Concat;
use super::{Cost, Op, Operator, ParamSpec, Reach, ShapeError, axis};
use super::onnx::{Attr, Export, Import, Live, Unfit};
use super::pytorch::{Expr, Py, PyTorch};
use crate::dim::{Dim, DimError};
use crate::tensor::{Element, Shape, View, ViewMut};

/// An axis cut into consecutive parts; each is a result.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// The parts.
    pub parts: Parts,
    /// The axis, 0 for the channel.
    pub axis: usize,
}

/// The sizes of the parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parts {
    /// This many of one size.
    Equal(u64),
    /// These, which are the whole axis.
    Sizes(Vec<u64>),
}

/// The most results that one `split` may have.
const MAX_PARTS: u64 = 4096;

impl Operator for Split {
    fn signatures() -> &'static [Signature] {
        static SIGNATURES: [Signature; 1] = [Signature {
            layer: "split",
            params: &[param("parts", "", "a number of equal parts, or a list of their sizes"), axis::AXIS],
            operands: Operands::Above,
            doc: "the channels, or another axis, cut into parts: `a, b: split(2)`",
        }];
        &SIGNATURES
    }

    fn build(call: &Call) -> Result<Self, ArgError> {
        let (parts, count) = match call.get("parts") {
            None => return Err(ArgError::new("parts", "is missing")),
            Some(Value::List(sizes)) => {
                let sizes = sizes.iter().map(|size| as_count("parts", size, 1)).collect::<Result<Vec<_>, _>>()?;
                let count = sizes.len() as u64;
                (Parts::Sizes(sizes), count)
            }
            Some(value) => as_count("parts", value, 1).map(|count| (Parts::Equal(count), count))?,
        };
        match count {
            0 => Err(ArgError::new("parts", "needs at least one part")),
            1..=MAX_PARTS => Ok(Split { parts, axis: axis::of(call)? }),
            _ => Err(ArgError::new("parts", format!("makes {count} parts, more than {MAX_PARTS}"))),
        }
    }

    fn describe(&self) -> (&'static str, Vec<(&'static str, Value)>) {
        let parts = match &self.parts {
            Parts::Equal(count) => Value::int(*count),
            Parts::Sizes(sizes) => Value::ints(sizes),
        };
        ("split", vec![("parts", parts), ("axis", axis::value(self.axis))])
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>, ShapeError> {
        let size = axis::size(inputs, 0, self.axis)?;
        let part = |size: Dim| axis::resized(&inputs[0], self.axis, size);
        match &self.parts {
            Parts::Equal(count) => match size.exact_div(*count) {
                Ok(each) => Ok((0..*count).map(|_| part(each.clone())).collect()),
                Err(DimError::NotDivisible { value, .. }) => {
                    let what = axis::NAMES[self.axis];
                    Err(ShapeError::Indivisible { attr: "parts", what, value, by: *count })
                }
                Err(other) => Err(other.into()),
            },
            Parts::Sizes(sizes) => {
                let total = Dim::from(sizes.iter().sum::<u64>());
                if size.equals(&total) != Some(true) {
                    let (name, sum) = (axis::NAMES[self.axis], sum_text(sizes));
                    let message = format!("the parts {sum} = {total} are not the {size} of the {name}");
                    return Err(ShapeError::Misfit { attr: Some("parts"), message, help: None });
                }
                Ok(sizes.iter().map(|&size| part(size.into())).collect())
            }
        }
    }

    fn arithmetic(&self, inputs: &[Shape], outputs: &[Shape]) -> Vec<String> {
        let (name, size) = (axis::NAMES[self.axis], &inputs[0].0[self.axis]);
        vec![match &self.parts {
            Parts::Equal(count) => format!("{name}: {size}/{count} = {}", outputs[0].0[self.axis]),
            Parts::Sizes(sizes) => format!("{name}: {size} = {}", sum_text(sizes)),
        }]
    }

    fn params(&self, _inputs: &[Shape]) -> Vec<ParamSpec> {
        Vec::new()
    }

    fn cost(&self, _inputs: &[Shape], _outputs: &[Shape]) -> Result<Cost, DimError> {
        Ok(Cost::free())
    }

    /// On height and width the positions of later parts move, but each still sees itself only.
    fn reach(&self, _inputs: &[Shape]) -> Reach {
        Reach::Point
    }

    fn forward<E: Element>(&self, inputs: &[View<E>], _params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        let mut start = 0;
        for output in outputs {
            copy_range(&inputs[0], self.axis, start, output);
            start += output.dims[self.axis + 1];
        }
    }

    fn gradient(&self, g: &mut GradBuilder) {
        let parts: Vec<Ref> = (0..g.outputs().len()).map(|part| g.incoming(part)).collect();
        let whole = g.emit(Op::Concat(Concat { axis: self.axis }), &parts);
        g.set(Wrt::Operand(0), whole);
    }

    const ONNX: &'static [&'static str] = &["Split"];

    fn from_onnx(node: &mut Import) -> Result<(), Unfit> {
        let x = node.live(0)?;
        let x = node.whole(&x)?;
        let at = node.axis_at(node.attrs.int("axis", 0)?, x.axes.rank())?;
        let count = node.attrs.int("num_outputs", node.outputs as i64)? as u64;
        let sizes = match node.known(1, "list of sizes")? {
            Some(sizes) => Some(sizes.ints().ok_or_else(|| Unfit::new("its sizes are no integers"))?),
            None => node.attrs.ints("split")?.map(<[i64]>::to_vec),
        };
        if node.outputs == 1 && sizes.as_ref().is_none_or(|sizes| sizes.len() == 1) {
            node.result(x);
            return Ok(());
        }
        let axis = node.axis_of(&x, at)?;
        let parts = parts_of(sizes, count, &x.shape.0[axis])?;
        let made = node.emit(Split { parts, axis }, &[&x], Vec::new())?;
        for part in made {
            let axes = x.axes.resized(&part.shape);
            node.result(Live { axes, ..part });
        }
        Ok(())
    }

    fn to_onnx(&self, g: &mut Export) -> Result<(), Unfit> {
        let axis = ("axis", Attr::Int(self.axis as i64 + 1));
        let x = g.operand(0);
        let sizes: Option<Vec<i64>> = match &self.parts {
            Parts::Equal(_) => None,
            Parts::Sizes(sizes) => Some(sizes.iter().map(|&size| size as i64).collect()),
        };
        match (sizes, &self.parts) {
            (Some(sizes), _) if g.opset < 13 => g.unary("Split", vec![axis, ("split", Attr::Ints(sizes))]),
            (Some(sizes), _) => {
                let sizes = g.ints(sizes)?;
                g.last("Split", vec![x, sizes], vec![axis]);
            }
            (None, Parts::Equal(count)) if 18 <= g.opset => {
                g.unary("Split", vec![axis, ("num_outputs", Attr::Int(*count as i64))]);
            }
            (None, _) => g.unary("Split", vec![axis]),
        }
        Ok(())
    }

    fn to_pytorch(&self, g: &mut PyTorch) -> Result<(), Unfit> {
        let dim = self.axis as u64 + 1;
        let (text, parts) = match &self.parts {
            Parts::Equal(count) => ("torch.chunk({x}, {0}, {1})", Py::from(*count)),
            Parts::Sizes(sizes) => ("torch.split({x}, {0}, {1})", Py::list(sizes.iter().copied())),
        };
        let text = if g.outputs.len() == 1 { format!("{text}[0]") } else { text.to_owned() };
        g.call(Expr::new(text).arg("parts", parts).arg("dim", dim));
        Ok(())
    }
}

/// The parts of an axis, from a list of sizes or a number of parts, of which the last may be smaller.
fn parts_of(sizes: Option<Vec<i64>>, count: u64, size: &Dim) -> Result<Parts, Unfit> {
    if let Some(sizes) = sizes {
        let sizes: Option<Vec<u64>> = sizes.into_iter().map(|size| u64::try_from(size).ok().filter(|&size| size > 0)).collect();
        let sizes = sizes.ok_or_else(|| Unfit::new("a part is empty"))?;
        let equal = sizes.iter().all(|part| *part == sizes[0]);
        return Ok(if equal && !sizes.is_empty() { Parts::Equal(sizes.len() as u64) } else { Parts::Sizes(sizes) });
    }
    if count == 0 || MAX_PARTS < count {
        return Err(Unfit::new(format!("it has {count} parts")));
    }
    if size.divisible_by(count) == Some(true) {
        return Ok(Parts::Equal(count));
    }
    let known = size.as_u64().ok_or_else(|| Unfit::new("its parts depend on the input's size"))?;
    let each = known.div_ceil(count);
    let last = known.checked_sub(each * (count - 1)).filter(|&last| last > 0);
    let last = last.ok_or_else(|| Unfit::new("a part is empty"))?;
    Ok(Parts::Sizes((1..count).map(|_| each).chain([last]).collect()))
}

fn sum_text(sizes: &[u64]) -> String {
    sizes.iter().map(u64::to_string).collect::<Vec<_>>().join(" + ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::op::concat::Concat;
    use crate::op::testing::{assert_round_trip, build, run, seeded, try_build};

    fn split(parts: Parts, axis: usize) -> Split {
        Split { parts, axis }
    }

    #[test]
    fn parts_are_equal_or_listed() {
        let input = [Shape::known(&[64, 5, 9])];
        let thirds = split(Parts::Equal(3), 2);
        let outputs = thirds.infer(&input).unwrap();
        assert_eq!(outputs, vec![Shape::known(&[64, 5, 3]); 3]);
        assert_eq!(thirds.arithmetic(&input, &outputs), ["width: 9/3 = 3"]);
        let listed = split(Parts::Sizes(vec![16, 47, 1]), 0);
        let outputs = listed.infer(&input).unwrap();
        assert_eq!(outputs, [16, 47, 1].map(|c| Shape::known(&[c, 5, 9])));
        assert_eq!(listed.arithmetic(&input, &outputs), ["channels: 64 = 16 + 47 + 1"]);
    }

    #[test]
    fn the_whole_axis_is_dealt_out() {
        let input = [Shape::known(&[64, 5, 9])];
        let error = split(Parts::Equal(2), 1).infer(&input).unwrap_err();
        assert_eq!(error, ShapeError::Indivisible { attr: "parts", what: "height", value: Dim::from(5u64), by: 2 });
        for sizes in [vec![16, 47], vec![64, 1]] {
            let error = split(Parts::Sizes(sizes), 0).infer(&input).unwrap_err();
            assert!(matches!(error, ShapeError::Misfit { attr: Some("parts"), .. }));
        }
        let vector = [Shape::known(&[6])];
        assert_eq!(split(Parts::Equal(2), 1).infer(&vector), Err(ShapeError::needs_feature_map(0)));
        assert_eq!(split(Parts::Equal(2), 0).infer(&vector), Ok(vec![Shape::known(&[3]); 2]));
    }

    #[test]
    fn a_symbol_splits_by_its_known_divisor() {
        let shape = |h: &Dim| [Shape(vec![4u64.into(), h.clone(), 7u64.into()])];
        let even = Dim::symbol("H", 16);
        let outputs = split(Parts::Equal(2), 1).infer(&shape(&even)).unwrap();
        assert_eq!(outputs[1].0[1], even.exact_div(2).unwrap());
        let any = split(Parts::Equal(2), 1).infer(&shape(&Dim::symbol("H", 1)));
        assert!(matches!(any, Err(ShapeError::Dim(DimError::NotProvable { .. }))));
    }

    #[test]
    fn describes_itself() {
        assert_round_trip(&split(Parts::Equal(4), 1), &[]);
        assert_round_trip(&split(Parts::Sizes(vec![16, 48]), 0), &[]);
        assert_eq!(build::<Split>("split", &[("parts", Value::int(2))], &[]), split(Parts::Equal(2), 0));
    }

    #[test]
    fn refuses_impossible_parts() {
        let most = MAX_PARTS as usize;
        let refused = [Value::int(0), Value::ints(&[]), Value::ints(&[3, 0]), Value::int(MAX_PARTS + 1), Value::word("two")];
        for parts in refused.into_iter().chain([Value::ints(&vec![1; most + 1])]) {
            assert_eq!(try_build::<Split>("split", &[("parts", parts)], &[]).unwrap_err().param, Some("parts"));
        }
        assert!(try_build::<Split>("split", &[("parts", Value::ints(&vec![1; most]))], &[]).is_ok());
    }

    proptest! {
        #[test]
        fn concat_puts_the_parts_back(
            n in 1usize..3,
            off_axis in 1usize..4,
            sizes in prop::collection::vec(1u64..5, 1..4),
            axis in 0usize..3,
        ) {
            let mut dims = [n, off_axis, off_axis, off_axis];
            dims[axis + 1] = sizes.iter().sum::<u64>() as usize;
            let whole = seeded(dims.iter().product(), 7);
            let op = split(Parts::Sizes(sizes.clone()), axis);
            let parts = run(&op, &[(&dims, whole.clone())], &[]);
            let part_dims: Vec<[usize; 4]> = sizes.iter().map(|&size| {
                let mut part = dims;
                part[axis + 1] = size as usize;
                part
            }).collect();
            let inputs: Vec<(&[usize], Vec<f32>)> = part_dims.iter().map(|dims| dims.as_slice()).zip(parts).collect();
            prop_assert_eq!(run(&Concat { axis }, &inputs, &[]), vec![whole]);
        }
    }
}
