//! Channel shuffle (Zhang et al. 2017, arXiv:1707.01083), which lets grouped convolutions exchange channels.

use super::attr::{ArgError, Call, Operands, Signature, Value, param};
use super::gradient::{GradBuilder, Wrt};
use super::{Cost, Op, Operator, ParamSpec, Reach, ShapeError, geom};
use super::onnx::{Atom, Attr, Axes, Export, Import, Of, Unfit};
use super::pytorch::{Expr, Helper, PyTorch};
use crate::dim::{Dim, DimError};
use crate::tensor::{Element, Nchw, Shape, View, ViewMut};

/// Channels dealt out from their groups in turn: with `k = c / groups`, `out[i · groups + g] = in[g · k + i]`, as
/// transposing `[groups, k]` does (PyTorch's `ChannelShuffle`).
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelShuffle {
    /// The number of groups.
    pub groups: u64,
}

static CHANNEL_SHUFFLE: Helper = Helper {
    name: "channel_shuffle",
    text: r#"def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    """Channels dealt out from their groups in turn."""
    n, c, h, w = x.shape
    return x.reshape(n, groups, c // groups, h, w).transpose(1, 2).reshape(n, c, h, w)
"#,
};

impl Operator for ChannelShuffle {
    fn signatures() -> &'static [Signature] {
        static SIGNATURES: [Signature; 1] = [Signature {
            layer: "channel_shuffle",
            params: &[param("groups", "", "the number of groups")],
            operands: Operands::Above,
            doc: "channels dealt out from their groups in turn",
        }];
        &SIGNATURES
    }

    fn build(call: &Call) -> Result<Self, ArgError> {
        Ok(ChannelShuffle { groups: call.count("groups", None, 1)? })
    }

    fn describe(&self) -> (&'static str, Vec<(&'static str, Value)>) {
        ("channel_shuffle", vec![("groups", Value::int(self.groups))])
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>, ShapeError> {
        let (c, _, _) = geom::feature_map(inputs, 0)?;
        match c.exact_div(self.groups) {
            Ok(_) => Ok(inputs.to_vec()),
            Err(DimError::NotDivisible { value, .. }) => {
                Err(ShapeError::Indivisible { attr: "groups", what: "channels", value, by: self.groups })
            }
            Err(other) => Err(other.into()),
        }
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

    fn reach(&self, _inputs: &[Shape]) -> Reach {
        Reach::Point
    }

    fn forward<E: Element>(&self, inputs: &[View<E>], _params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        let map = Nchw::of(inputs[0].dims);
        let groups = self.groups as usize;
        let (per_group, area) = (map.c / groups, map.h * map.w);
        for n in 0..map.n {
            for g in 0..groups {
                for i in 0..per_group {
                    let from = map.at(n, g * per_group + i, 0, 0);
                    let to = map.at(n, i * groups + g, 0, 0);
                    outputs[0].data[to..to + area].copy_from_slice(&inputs[0].data[from..from + area]);
                }
            }
        }
    }

    fn gradient(&self, g: &mut GradBuilder) {
        let incoming = g.incoming(0);
        let channels = g.inputs()[0].0[0].as_u64().unwrap_or(self.groups);
        let back = ChannelShuffle { groups: channels / self.groups };
        let back = g.emit(Op::ChannelShuffle(back), &[incoming]);
        g.set(Wrt::Operand(0), back);
    }

    const ONNX: &'static [&'static str] = &[];

    fn from_onnx(_node: &mut Import) -> Result<(), Unfit> {
        Err(Unfit::new("it changes the order of a tensor's axes only, and that is followed"))
    }

    /// The channels cut into groups, the two axes changed about, and joined again.
    fn to_onnx(&self, g: &mut Export) -> Result<(), Unfit> {
        let [c, h, w] = [0, 1, 2].map(|axis| g.inputs[0].0[axis].clone());
        let each = c.exact_div(self.groups)?;
        let cut = g.dims(&[Dim::ZERO, self.groups.into(), each, h.clone(), w.clone()])?;
        let x = g.operand(0);
        let groups = g.between("Reshape", vec![x, cut], Vec::new());
        let dealt = g.between("Transpose", vec![groups], vec![("perm", Attr::Ints(vec![0, 2, 1, 3, 4]))]);
        let joined = g.dims(&[Dim::ZERO, c, h, w])?;
        g.last("Reshape", vec![dealt, joined], Vec::new());
        Ok(())
    }

    fn to_pytorch(&self, g: &mut PyTorch) -> Result<(), Unfit> {
        g.helper(&CHANNEL_SHUFFLE);
        g.call(Expr::new("channel_shuffle({x}, {})").arg("groups", self.groups));
        Ok(())
    }
}

impl ChannelShuffle {
    /// The shuffle that brings channels into the order of these axes, and the axes on its result.
    pub fn of_axes(axes: &Axes, shape: &Shape) -> Option<(ChannelShuffle, Axes)> {
        let channels: Vec<&Atom> = axes.atoms().into_iter().filter(|atom| atom.of == Of::Axis(0)).collect();
        let [fast, slow] = channels.as_slice() else { return None };
        let (groups, each) = (slow_size(slow, fast)?, fast.size.as_u64()?);
        if shape.rank() != 3 || groups.checked_mul(each) != shape.0[0].as_u64() {
            return None;
        }
        // On the result the first of them is the slow one.
        let moved = |atom: &Atom| match (atom.of, atom.step) {
            (Of::Axis(0), 1) => Atom { step: groups, ..atom.clone() },
            (Of::Axis(0), _) => Atom { step: 1, ..atom.clone() },
            _ => atom.clone(),
        };
        let axes = Axes(axes.0.iter().map(|axis| axis.iter().map(moved).collect()).collect()).rejoined();
        axes.in_order().then_some((ChannelShuffle { groups }, axes))
    }
}

/// The size of the slow one of two atoms that are the whole of an axis, the fast one of which comes first.
fn slow_size(slow: &Atom, fast: &Atom) -> Option<u64> {
    (fast.step == 1 && Some(slow.step) == fast.size.as_u64()).then(|| slow.size.as_u64()).flatten()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dim::Dim;
    use crate::op::testing::{assert_round_trip, infer_one, run, seeded, try_build};

    #[test]
    fn groups_divide_the_channels() {
        assert_eq!(infer_one(&ChannelShuffle { groups: 3 }, &[&[6, 5, 1]]), Ok(vec![6, 5, 1]));
        let expected =
            ShapeError::Indivisible { attr: "groups", what: "channels", value: Dim::from(6u64), by: 4 };
        assert_eq!(infer_one(&ChannelShuffle { groups: 4 }, &[&[6, 5, 1]]), Err(expected));
        assert_eq!(infer_one(&ChannelShuffle { groups: 3 }, &[&[6]]), Err(ShapeError::needs_feature_map(0)));
        assert!(try_build::<ChannelShuffle>("channel_shuffle", &[("groups", Value::int(0))], &[]).is_err());
    }

    #[test]
    fn describes_itself() {
        assert_round_trip(&ChannelShuffle { groups: 3 }, &[]);
    }

    #[test]
    fn groups_take_turns() {
        let channels: Vec<f32> = (0..12).map(|c| c as f32).collect();
        let output = run(&ChannelShuffle { groups: 2 }, &[(&[2, 6, 1, 1], channels)], &[]);
        assert_eq!(output, [[0.0, 3.0, 1.0, 4.0, 2.0, 5.0, 6.0, 9.0, 7.0, 10.0, 8.0, 11.0]]);
    }

    proptest! {
        #[test]
        fn the_other_factor_undoes_it(groups in 1u64..5, per_group in 1u64..5, h in 1usize..3, w in 1usize..3) {
            let dims = [2, (groups * per_group) as usize, h, w];
            let data = seeded(dims.iter().product(), 3);
            let shuffled = run(&ChannelShuffle { groups }, &[(&dims, data.clone())], &[]).remove(0);
            prop_assert_eq!(run(&ChannelShuffle { groups: per_group }, &[(&dims, shuffled)], &[]), vec![data]);
        }
    }
}
