//! The axes of a map in another order: what a detector does before it lines up what it says of each cell.

use super::attr::{ArgError, Call, Operands, Signature, Value, words};
use super::gradient::{GradBuilder, Wrt};
use super::{Cost, Op, Operator, ParamSpec, Reach, ShapeError, geom};
use super::pytorch::{Expr, Py, PyTorch};
use super::onnx::{Atom, Attr, Axes, Export, Import, Of, Unfit};
use crate::dim::{Dim, DimError};
use crate::tensor::{Element, Nchw, Shape, View, ViewMut};

/// A feature map with its axes in another order: `order` names for each axis of the result, channels, height and width, the
/// axis of the operand that it is (PyTorch's `permute` behind the batch).
#[derive(Clone, Debug, PartialEq)]
pub struct Permute {
    /// For each axis of the result that of the operand.
    pub order: [usize; 3],
}

const ORDERS: &[&str] = &["chw", "cwh", "hcw", "hwc", "wch", "whc"];

impl Operator for Permute {
    fn signatures() -> &'static [Signature] {
        static SIGNATURES: [Signature; 1] = [Signature {
            layer: "permute",
            params: &[words("order", ORDERS, "", "the axes that become channels, height and width, as in hwc")],
            operands: Operands::Above,
            doc: "the axes of a map in another order",
        }];
        &SIGNATURES
    }

    fn build(call: &Call) -> Result<Self, ArgError> {
        if call.get("order").is_none() {
            return Err(ArgError::new("order", "is missing").help("write for example `permute(hwc)`"));
        }
        let word = call.choice("order", ORDERS)?;
        let mut order = [0; 3];
        for (axis, letter) in order.iter_mut().zip(word.chars()) {
            *axis = "chw".find(letter).unwrap_or_default();
        }
        Ok(Permute { order })
    }

    fn describe(&self) -> (&'static str, Vec<(&'static str, Value)>) {
        let word: String = self.order.iter().map(|&axis| ['c', 'h', 'w'][axis]).collect();
        ("permute", vec![("order", Value::word(&word))])
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>, ShapeError> {
        geom::feature_map(inputs, 0)?;
        Ok(vec![self.of_shape(&inputs[0])])
    }

    fn arithmetic(&self, _inputs: &[Shape], _outputs: &[Shape]) -> Vec<String> {
        Vec::new()
    }

    fn params(&self, _inputs: &[Shape]) -> Vec<ParamSpec> {
        Vec::new()
    }

    fn cost(&self, _inputs: &[Shape], _outputs: &[Shape]) -> Result<Cost, DimError> {
        Ok(Cost::free())
    }

    /// Where height and width stay, positions do; else they are dealt out anew.
    fn reach(&self, _inputs: &[Shape]) -> Reach {
        if self.order == [0, 1, 2] { Reach::Point } else { Reach::Everything }
    }

    fn forward<E: Element>(&self, inputs: &[View<E>], _params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        let (from, to) = (Nchw::of(inputs[0].dims), Nchw::of(outputs[0].dims));
        for n in 0..to.n {
            for c in 0..to.c {
                for y in 0..to.h {
                    for x in 0..to.w {
                        let mut place = [0; 3];
                        for (&axis, at) in self.order.iter().zip([c, y, x]) {
                            place[axis] = at;
                        }
                        let [channel, row, col] = place;
                        outputs[0].data[to.at(n, c, y, x)] = inputs[0].data[from.at(n, channel, row, col)];
                    }
                }
            }
        }
    }

    fn gradient(&self, g: &mut GradBuilder) {
        let incoming = g.incoming(0);
        let mut back = [0; 3];
        for (place, &axis) in self.order.iter().enumerate() {
            back[axis] = place;
        }
        let back = g.emit(Op::Permute(Permute { order: back }), &[incoming]);
        g.set(Wrt::Operand(0), back);
    }

    const ONNX: &'static [&'static str] = &[];

    fn from_onnx(_node: &mut Import) -> Result<(), Unfit> {
        Err(Unfit::new("it changes the order of a tensor's axes only, and that is followed"))
    }

    fn to_onnx(&self, g: &mut Export) -> Result<(), Unfit> {
        let perm = std::iter::once(0).chain(self.order.iter().map(|&axis| axis as i64 + 1)).collect();
        g.unary("Transpose", vec![("perm", Attr::Ints(perm))]);
        Ok(())
    }

    fn to_pytorch(&self, g: &mut PyTorch) -> Result<(), Unfit> {
        let order = Py::list(std::iter::once(0).chain(self.order.iter().map(|&axis| axis as u64 + 1)));
        g.call(Expr::new("{x}.permute({})").arg("dims", order));
        Ok(())
    }
}

/// The elements of a value as the order of a tensor's axes wants them: under a first shape, permuted.
#[derive(Clone, Debug, PartialEq)]
pub struct Reordering {
    /// The map under which each stretch of elements is an axis.
    pub cut: Shape,
    /// What puts the axes of that map into order.
    pub permute: Permute,
    /// The tensor's axes on the result.
    pub axes: Axes,
}

impl Permute {
    fn of_shape(&self, shape: &Shape) -> Shape {
        Shape(self.order.iter().map(|&axis| shape.0[axis].clone()).collect())
    }

    /// What brings the elements of a value into the order of these axes: up to three stretches of its axes, that lie
    /// together in both orders, changed about. `None` where it takes more.
    pub fn of_axes(axes: &Axes, shape: &Shape) -> Option<Reordering> {
        let is_batch = |atom: &&Atom| atom.of == Of::Batch;
        let atoms = axes.atoms();
        // The batch stays in front.
        let wanted: Vec<&Atom> = match atoms.as_slice() {
            [first, rest @ ..] if is_batch(first) && !rest.iter().any(is_batch) => rest.to_vec(),
            all if !all.iter().any(is_batch) => all.to_vec(),
            _ => return None,
        };
        let mut own: Vec<usize> = (0..wanted.len()).collect();
        own.sort_by_key(|&at| (wanted[at].of, std::cmp::Reverse(wanted[at].step)));
        // Neighbours in both orders are one stretch; `stretches` are in the value's order.
        let mut stretches: Vec<Vec<usize>> = Vec::new();
        for at in own {
            match stretches.last_mut().filter(|stretch| stretch.last() == at.checked_sub(1).as_ref()) {
                Some(stretch) => stretch.push(at),
                None => stretches.push(vec![at]),
            }
        }
        let size = |stretch: &Vec<usize>| {
            stretch.iter().try_fold(Dim::ONE, |product, &at| product.mul(&wanted[at].size)).ok()
        };
        let mut sizes = stretches.iter().map(size).collect::<Option<Vec<Dim>>>()?;
        // Every element must be in one of them.
        if Shape(sizes.clone()).elements().ok()? != shape.elements().ok()? {
            return None;
        }
        let mut order: Vec<usize> = (0..stretches.len()).collect();
        order.sort_by_key(|&stretch| stretches[stretch].first().copied());
        while sizes.len() < 3 {
            order.push(sizes.len());
            sizes.push(Dim::ONE);
        }
        let permute = Permute { order: order.try_into().ok()? };
        let cut = Shape(sizes);
        let moved = permute.of_shape(&cut);
        let dims = axes.dims().ok()?;
        let targets: Vec<_> = dims.into_iter().map(super::onnx::Target::Size).collect();
        let axes = Axes::plain(axes.batch(), &moved).reshaped(&targets).ok()?;
        Some(Reordering { cut, permute, axes })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::op::testing::{assert_round_trip, build, infer_one, run, seeded, try_build};

    #[test]
    fn sizes_change_places() {
        assert_eq!(infer_one(&Permute { order: [1, 2, 0] }, &[&[4, 5, 6]]), Ok(vec![5, 6, 4]));
        assert_eq!(infer_one(&Permute { order: [0, 1, 2] }, &[&[4]]), Err(ShapeError::needs_feature_map(0)));
        let built: Permute = build("permute", &[("order", Value::word("hwc"))], &[]);
        assert_eq!(built, Permute { order: [1, 2, 0] });
        for word in ORDERS {
            let built: Permute = build("permute", &[("order", Value::word(word))], &[]);
            assert_round_trip(&built, &[]);
        }
        for args in [vec![], vec![("order", Value::word("hhc"))], vec![("order", Value::int(1))]] {
            assert_eq!(try_build::<Permute>("permute", &args, &[]).unwrap_err().param, Some("order"));
        }
    }

    #[test]
    fn elements_follow_their_axes() {
        let data: Vec<f32> = (0..12).map(|x| x as f32).collect();
        let output = run(&Permute { order: [1, 2, 0] }, &[(&[1, 2, 2, 3], data)], &[]);
        assert_eq!(output, [[0.0, 6.0, 1.0, 7.0, 2.0, 8.0, 3.0, 9.0, 4.0, 10.0, 5.0, 11.0]]);
    }

    #[test]
    fn anchors_are_split_from_what_is_said_of_them() {
        let known = |sizes: &[u64]| sizes.iter().map(|&size| super::super::onnx::Target::Size(size.into())).collect::<Vec<_>>();
        let shape = Shape::known(&[255, 4, 5]);
        let cut = Axes::plain(None, &shape).reshaped(&known(&[3, 85, 4, 5])).unwrap();
        let lined = cut.permuted(&[0, 2, 3, 1]).unwrap().reshaped(&known(&[60, 85])).unwrap();
        let found = Permute::of_axes(&lined, &shape).unwrap();
        assert_eq!((found.cut, found.permute), (Shape::known(&[3, 85, 20]), Permute { order: [0, 2, 1] }));
        assert_eq!(found.axes.dims().unwrap(), [60u64.into(), 85u64.into()]);
        // Four stretches are more than a map has axes.
        let shuffled = cut.permuted(&[2, 0, 3, 1]).unwrap();
        assert_eq!(Permute::of_axes(&shuffled, &shape), None);
    }

    proptest! {
        #[test]
        fn two_orders_undo_each_other(which in 0usize..6, dims in prop::array::uniform4(1usize..4)) {
            let op: Permute = build("permute", &[("order", Value::word(ORDERS[which]))], &[]);
            let data = seeded(dims.iter().product(), 5);
            let moved = run(&op, &[(&dims, data.clone())], &[]).remove(0);
            let sizes = [dims[0], dims[1 + op.order[0]], dims[1 + op.order[1]], dims[1 + op.order[2]]];
            let mut order = [0; 3];
            op.order.iter().enumerate().for_each(|(place, &axis)| order[axis] = place);
            prop_assert_eq!(run(&Permute { order }, &[(&sizes, moved)], &[]), vec![data]);
        }
    }
}
