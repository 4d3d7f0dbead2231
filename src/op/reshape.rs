//! The same elements under other sizes.

use super::attr::{ArgError, Call, Operands, Signature, Value, as_count, param};
use super::axis::{self, undecided};
use super::gradient::{GradBuilder, Wrt};
use super::{Cost, Op, Operator, ParamSpec, Reach, ShapeError};
use super::onnx::{Export, Import, Unfit};
use super::pytorch::{Expr, Py, PyTorch};
use crate::dim::{Dim, DimError};
use crate::tensor::{Element, Shape, View, ViewMut};

/// The elements of a sample in their order c, h, w under other sizes (PyTorch's `reshape`); the batch stays.
#[derive(Clone, Debug, PartialEq)]
pub struct Reshape {
    /// The sizes: one or three. At most one is `None` and follows from the number of elements; it is written -1.
    pub to: Vec<Option<Dim>>,
}

impl Operator for Reshape {
    fn signatures() -> &'static [Signature] {
        static SIGNATURES: [Signature; 1] = [Signature {
            layer: "reshape",
            params: &[param("to", "", "the sizes, [c, h, w] or [n]; one of them may be -1")],
            operands: Operands::Above,
            doc: "the same elements under other sizes",
        }];
        &SIGNATURES
    }

    fn build(call: &Call) -> Result<Self, ArgError> {
        let Some(to) = call.get("to") else { return Err(ArgError::new("to", "is missing")) };
        let Value::List(sizes) = to else {
            return Err(ArgError::new("to", format!("takes [c, h, w] or [n], not {}", to.kind())));
        };
        let to = sizes.iter().map(size_of_entry).collect::<Result<Vec<_>, _>>()?;
        match (to.len(), to.iter().filter(|size| size.is_none()).count()) {
            (1 | 3, 0 | 1) => Ok(Reshape { to }),
            (1 | 3, _) => Err(ArgError::new("to", "leaves more than one size open")),
            (count, _) => Err(ArgError::new("to", format!("takes [c, h, w] or [n], not {count} sizes"))),
        }
    }

    fn describe(&self) -> (&'static str, Vec<(&'static str, Value)>) {
        let sizes = self.to.iter().map(|size| Value::Int(size.clone().unwrap_or(Dim::known(-1))));
        ("reshape", vec![("to", Value::List(sizes.collect()))])
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>, ShapeError> {
        let (from, count) = (&inputs[0], inputs[0].elements()?);
        let given = self.given().elements()?;
        let help = format!("one size may be -1, which is what remains; [{count}] is all of it");
        let misfit = |message| ShapeError::Misfit { attr: Some("to"), message, help: Some(help.clone()) };
        let doubtful = || {
            let what = format!("whether the {count} elements of {} fit {} depends on the input", from.claim(), self.claim());
            undecided("to", what)
        };
        let open = if self.open().is_none() {
            match given.equals(&count) {
                Some(true) => Dim::ONE,
                Some(false) => {
                    let (from, to) = (from.claim(), self.claim());
                    return Err(misfit(format!("{from} has {count} elements, but {to} has {given}")));
                }
                None => return Err(doubtful()),
            }
        } else {
            match count.exact_div_dim(&given) {
                Ok(open) => open,
                Err(DimError::NotDivisible { .. }) => {
                    let (from, to) = (from.claim(), self.claim());
                    return Err(misfit(format!("the {count} elements of {from} do not divide by the {given} of {to}")));
                }
                Err(DimError::NotProvable { .. }) => return Err(doubtful()),
                Err(error) => return Err(error.into()),
            }
        };
        Ok(vec![Shape(self.to.iter().map(|size| size.as_ref().unwrap_or(&open).clone()).collect())])
    }

    fn arithmetic(&self, inputs: &[Shape], outputs: &[Shape]) -> Vec<String> {
        match (self.open(), outputs[0].rank()) {
            (Some(_), 1) => vec![format!("features: {} = {}", inputs[0], outputs[0])],
            (Some(open), _) => {
                vec![format!("{}: ({})/({}) = {}", axis::NAMES[open], inputs[0], self.given(), outputs[0].0[open])]
            }
            (None, _) => Vec::new(),
        }
    }

    fn params(&self, _inputs: &[Shape]) -> Vec<ParamSpec> {
        Vec::new()
    }

    fn cost(&self, _inputs: &[Shape], _outputs: &[Shape]) -> Result<Cost, DimError> {
        Ok(Cost::free())
    }

    /// Positions are dealt out anew.
    fn reach(&self, _inputs: &[Shape]) -> Reach {
        Reach::Everything
    }

    fn forward<E: Element>(&self, inputs: &[View<E>], _params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        outputs[0].data.copy_from_slice(inputs[0].data);
    }

    fn gradient(&self, g: &mut GradBuilder) {
        let incoming = g.incoming(0);
        let to = g.inputs()[0].0.iter().cloned().map(Some).collect();
        let back = g.emit(Op::Reshape(Reshape { to }), &[incoming]);
        g.set(Wrt::Operand(0), back);
    }

    const ONNX: &'static [&'static str] = &[];

    fn from_onnx(_node: &mut Import) -> Result<(), Unfit> {
        Err(Unfit::new("it changes a tensor's axes only, and those are followed"))
    }

    /// The batch is copied.
    fn to_onnx(&self, g: &mut Export) -> Result<(), Unfit> {
        let (x, to) = (g.operand(0), g.result_sizes()?);
        g.last("Reshape", vec![x, to], Vec::new());
        Ok(())
    }

    fn to_pytorch(&self, g: &mut PyTorch) -> Result<(), Unfit> {
        let sizes = Py::list(g.outputs[0].0.iter());
        let text = if g.outputs[0].rank() == 1 { "{x}.reshape({x}.shape[0], {0})" } else { "{x}.reshape({x}.shape[0], {0}, {1}, {2})" };
        let Py::List(sizes) = sizes else { return Ok(()) };
        g.call(sizes.into_iter().fold(Expr::new(text), |call, size| call.arg("size", size)));
        Ok(())
    }
}

fn size_of_entry(entry: &Value) -> Result<Option<Dim>, ArgError> {
    if let Value::Int(dim) = entry {
        if dim.as_known() == Some(-1) {
            return Ok(None);
        }
        if dim.is_symbolic() {
            return Ok(Some(dim.clone()));
        }
    }
    as_count("to", entry, 1).map(|size| Some(size.into()))
}

impl Reshape {
    /// The place of the size that follows from the others.
    fn open(&self) -> Option<usize> {
        self.to.iter().position(Option::is_none)
    }

    fn given(&self) -> Shape {
        Shape(self.to.iter().flatten().cloned().collect())
    }

    fn claim(&self) -> String {
        let sizes: Vec<String> = self.to.iter().map(|size| size.as_ref().map_or("-1".to_owned(), Dim::to_string)).collect();
        format!("[{}]", sizes.join(", "))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::op::testing::{assert_round_trip, infer_one, run, try_build};

    fn reshape(to: &[i64]) -> Reshape {
        let to = Value::List(to.iter().map(|&size| Value::Int(size.into())).collect());
        try_build("reshape", &[("to", to)], &[]).unwrap()
    }

    #[test]
    fn one_size_follows_from_the_others() {
        assert_eq!(infer_one(&reshape(&[16, 4, 4]), &[&[256]]), Ok(vec![16, 4, 4]));
        assert_eq!(infer_one(&reshape(&[-1, 4, 2]), &[&[16, 4, 4]]), Ok(vec![32, 4, 2]));
        assert_eq!(infer_one(&reshape(&[2, 4, -1]), &[&[16, 1, 1]]), Ok(vec![2, 4, 2]));
        assert_eq!(infer_one(&reshape(&[-1]), &[&[3, 5, 7]]), Ok(vec![105]));
        let (inputs, outputs) = ([Shape::known(&[16, 4, 4])], [Shape::known(&[32, 4, 2])]);
        assert_eq!(reshape(&[-1, 4, 2]).arithmetic(&inputs, &outputs), ["channels: (16x4x4)/(4x2) = 32"]);
    }

    #[test]
    fn the_number_of_elements_stays() {
        let message = |op: Reshape, input: &[u64]| match infer_one(&op, &[input]) {
            Err(ShapeError::Misfit { attr: Some("to"), message, .. }) => message,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            message(reshape(&[16, 4, 4]), &[3, 10, 10]),
            "[3, 10, 10] has 300 elements, but [16, 4, 4] has 256"
        );
        assert_eq!(
            message(reshape(&[-1, 4, 4]), &[3, 10, 10]),
            "the 300 elements of [3, 10, 10] do not divide by the 16 of [-1, 4, 4]"
        );
    }

    #[test]
    fn sizes_may_be_unknown() {
        let (h, w) = (Dim::symbol("H", 1), Dim::symbol("W", 1));
        let map = [Shape(vec![8u64.into(), h.clone(), w.clone()])];
        let swapped = Reshape { to: vec![Some(w.clone()), None, Some(h.clone())] };
        assert_eq!(swapped.infer(&map), Ok(vec![Shape(vec![w, 8u64.into(), h])]));
        assert_round_trip(&swapped, &[]);
        for to in [vec![64, 1, 1], vec![-1, 7, 1]] {
            assert!(matches!(reshape(&to).infer(&map), Err(ShapeError::Misfit { attr: Some("to"), .. })), "{to:?}");
        }
    }

    #[test]
    fn describes_itself() {
        assert_round_trip(&reshape(&[16, -1, 4]), &[]);
        assert_round_trip(&reshape(&[16]), &[]);
    }

    #[test]
    fn refuses_impossible_sizes() {
        let lists: [&[i64]; 6] = [&[], &[2, 3], &[-1, -1, 4], &[0, 2, 3], &[-2, 2, 3], &[1 << 40]];
        let lists = lists.map(|sizes| Value::List(sizes.iter().map(|&size| Value::Int(size.into())).collect()));
        for to in lists.into_iter().chain([Value::int(16), Value::word("c")]) {
            assert_eq!(try_build::<Reshape>("reshape", &[("to", to)], &[]).unwrap_err().param, Some("to"));
        }
    }

    #[test]
    fn the_order_stays() {
        let data: Vec<f32> = (0..24).map(|x| x as f32).collect();
        assert_eq!(run(&reshape(&[-1, 2, 2]), &[(&[2, 3, 1, 4], data.clone())], &[]), [data]);
    }
}
