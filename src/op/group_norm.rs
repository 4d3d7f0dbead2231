//! Group normalisation (Wu & He 2018, arXiv:1803.08494), and with groups of one channel instance normalisation (Ulyanov
//! et al. 2016, arXiv:1607.08022).

use super::attr::{ArgError, Call, Operands, Param, Signature, Value, param};
use super::gradient::{Backward, GradBuilder, Ref, Wrt, fill};
use super::{Cost, Operator, ParamSpec, Reach, Role, ShapeError, geom};
use super::onnx::{self, Attr, Constant, Export, Import, Param as OnnxParam, Unfit};
use super::pytorch::{Expr, PyTorch};
use crate::dim::{Dim, DimError};
use crate::tensor::{Element, Shape, View, ViewMut};

/// `out = (in - mean) / √(var + eps) · weight + bias`, mean and variance over the channels of a group and all positions
/// of one sample, weight and bias per channel (PyTorch's `GroupNorm` and `InstanceNorm2d` without running statistics).
#[derive(Clone, Debug, PartialEq)]
pub struct GroupNorm {
    /// Into how many groups of neighbours the channels are cut.
    pub groups: Groups,
    /// Added to the variance; above zero.
    pub eps: f64,
    /// Whether there is a scale and a shift.
    pub affine: bool,
}

/// Into how many groups channels are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Groups {
    /// So many.
    Of(u64),
    /// One for each channel.
    Channels,
}

const EPS: Param = param("eps", "1e-5", "added to the variance");

static SIGNATURES: [Signature; 2] = [
    Signature {
        layer: "group_norm",
        params: &[
            param("groups", "", "the number of groups"),
            EPS,
            param("affine", "true", "whether there is a scale and a shift per channel"),
        ],
        operands: Operands::Above,
        doc: "normalisation over groups of channels and all positions",
    },
    Signature {
        layer: "instance_norm",
        params: &[EPS, param("affine", "false", "whether there is a scale and a shift per channel")],
        operands: Operands::Above,
        doc: "normalisation over all positions of each channel",
    },
];

impl Operator for GroupNorm {
    fn signatures() -> &'static [Signature] {
        &SIGNATURES
    }

    fn build(call: &Call) -> Result<Self, ArgError> {
        let by_channel = call.layer == "instance_norm";
        let groups = if by_channel { Groups::Channels } else { Groups::Of(call.count("groups", None, 1)?) };
        let eps = call.float("eps", Some(1e-5))?;
        if eps <= 0.0 {
            return Err(ArgError::new("eps", "must be above 0"));
        }
        Ok(GroupNorm { groups, eps, affine: call.flag("affine", !by_channel)? })
    }

    fn describe(&self) -> (&'static str, Vec<(&'static str, Value)>) {
        let rest = [("eps", Value::Float(self.eps)), ("affine", Value::Bool(self.affine))];
        match self.groups {
            Groups::Of(groups) => ("group_norm", [("groups", Value::int(groups))].into_iter().chain(rest).collect()),
            Groups::Channels => ("instance_norm", rest.to_vec()),
        }
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>, ShapeError> {
        let channels = match self.groups {
            Groups::Of(_) => geom::channels(inputs, 0)?,
            Groups::Channels => {
                let (c, _, _) = geom::feature_map(inputs, 0)?;
                geom::known(c, "channels")?
            }
        };
        match self.groups {
            Groups::Of(by) if !channels.is_multiple_of(by) => {
                Err(ShapeError::Indivisible { attr: "groups", what: "channels", value: channels.into(), by })
            }
            _ => Ok(inputs.to_vec()),
        }
    }

    fn arithmetic(&self, _inputs: &[Shape], _outputs: &[Shape]) -> Vec<String> {
        Vec::new()
    }

    fn params(&self, inputs: &[Shape]) -> Vec<ParamSpec> {
        let c = vec![inputs[0].0[0].as_u64().unwrap_or(0)];
        match self.affine {
            true => vec![
                ParamSpec::plain("weight", c.clone(), Role::Scale),
                ParamSpec::plain("bias", c, Role::Shift),
            ],
            false => Vec::new(),
        }
    }

    /// That of `layer_norm`: for each element an addition for the mean, a subtraction, a multiplication and an addition
    /// for the variance and a multiplication that normalises; scale and shift make it seven. fvcore counts four, or five.
    fn cost(&self, _inputs: &[Shape], outputs: &[Shape]) -> Result<Cost, DimError> {
        let elements = outputs[0].elements()?;
        let [flops, fvcore] = if self.affine { [7u64, 5] } else { [5, 4] };
        Ok(Cost {
            macs: Dim::ZERO,
            flops: elements.mul(&Dim::from(flops))?,
            fvcore: elements.mul(&Dim::from(fvcore))?,
        })
    }

    fn reach(&self, _inputs: &[Shape]) -> Reach {
        Reach::Everything
    }

    /// In `f64`, the variance from the differences.
    fn forward<E: Element>(&self, inputs: &[View<E>], params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        let cut = self.cut(inputs[0].dims);
        let groups = inputs[0].data.chunks_exact(cut.elements).zip(outputs[0].data.chunks_exact_mut(cut.elements));
        for (group, (from, to)) in groups.enumerate() {
            let (mean, root) = self.statistics(from);
            for (at, (x, y)) in from.iter().zip(to).enumerate() {
                let (normal, channel) = ((x.f64() - mean) / root, cut.channel(group, at));
                *y = E::of(match params {
                    [weight, bias] => normal * weight.data[channel].f64() + bias.data[channel].f64(),
                    _ => normal,
                });
            }
        }
    }

    fn gradient(&self, g: &mut GradBuilder) {
        let incoming = g.incoming(0);
        let params: &[usize] = if self.affine { &[0] } else { &[] };
        let wrt = [Wrt::Operand(0), Wrt::Param(0), Wrt::Param(1)];
        g.backward(self, &wrt, &[Ref::Operand(0), incoming], params);
    }

    const ONNX: &'static [&'static str] = &["GroupNormalization", "InstanceNormalization"];

    /// Before operator set 21 a group has one scale and shift, which is then that of each of its channels.
    fn from_onnx(node: &mut Import) -> Result<(), Unfit> {
        let (x, rank) = node.map(0)?;
        node.attrs.int("stash_type", 1)?;
        let groups = match node.op_type {
            "InstanceNormalization" => Groups::Channels,
            _ => {
                let groups = u64::try_from(node.attrs.int("num_groups", 0)?).ok().filter(|&groups| groups > 0);
                Groups::Of(groups.ok_or_else(|| Unfit::new("`num_groups` is not positive"))?)
            }
        };
        let eps = onnx::shortest(f64::from(node.attrs.float("epsilon", 1e-5)?));
        let c = x.shape.0[0].as_u64().ok_or_else(|| Unfit::new("the number of channels is not known"))?;
        let mut params = Vec::new();
        for (at, leaf) in [(1, "weight"), (2, "bias")] {
            params.push(OnnxParam::new(leaf, spread(node.weight(at, leaf)?, c)?));
        }
        let made = node.emit_one(GroupNorm { groups, eps, affine: true }, &[&x], params)?;
        node.map_result(made, rank);
        Ok(())
    }

    fn to_onnx(&self, g: &mut Export) -> Result<(), Unfit> {
        let c = g.inputs[0].0[0].as_u64().unwrap_or(0);
        let (weight, bias) = if self.affine {
            (g.param("weight"), g.param("bias"))
        } else {
            (g.filled(&[c], 1.0)?, g.filled(&[c], 0.0)?)
        };
        let inputs = vec![g.operand(0), weight, bias];
        let eps = ("epsilon", Attr::Float(self.eps as f32));
        match self.groups {
            Groups::Channels => g.last("InstanceNormalization", inputs, vec![eps]),
            // Operator sets that have no GroupNormalization normalise each group as a channel.
            Groups::Of(groups) if g.opset < 21 => {
                let cut = g.ints(vec![0, groups as i64, -1])?;
                let rows = g.between("Reshape", vec![g.operand(0), cut], Vec::new());
                let ones = g.filled(&[groups], 1.0)?;
                let zeros = g.filled(&[groups], 0.0)?;
                let normal = g.between("InstanceNormalization", vec![rows, ones, zeros], vec![eps]);
                let whole = g.result_sizes()?;
                if !self.affine {
                    g.last("Reshape", vec![normal, whole], Vec::new());
                    return Ok(());
                }
                let map = g.between("Reshape", vec![normal, whole], Vec::new());
                return g.scaled_and_shifted(map);
            }
            Groups::Of(groups) => {
                g.last("GroupNormalization", inputs, vec![eps, ("num_groups", Attr::Int(groups as i64))]);
            }
        }
        Ok(())
    }

    fn to_pytorch(&self, g: &mut PyTorch) -> Result<(), Unfit> {
        let module = match self.groups {
            Groups::Of(groups) => Expr::new("nn.GroupNorm({})")
                .arg("num_groups", groups)
                .arg("num_channels", g.channels())
                .key("eps", self.eps, 1e-5)
                .key("affine", self.affine, true),
            Groups::Channels => Expr::new("nn.InstanceNorm2d({})")
                .arg("num_features", g.channels())
                .key("eps", self.eps, 1e-5)
                .key("affine", self.affine, false),
        };
        g.module(module);
        Ok(())
    }
}

/// One number for each channel, from one for each group.
fn spread(values: &Constant, c: u64) -> Result<Constant, Unfit> {
    let given = values.elements().unwrap_or(0);
    if given == c {
        return Ok(values.clone());
    }
    let wrong = || Unfit::new("its scale is neither one for each channel nor one for each group");
    if given == 0 || !c.is_multiple_of(given) {
        return Err(wrong());
    }
    let each = (c / given) as usize;
    let numbers = values.to_floats().ok_or_else(wrong)?;
    let all = numbers.iter().flat_map(|&value| std::iter::repeat_n(value, each)).collect();
    let all = Constant::floats(&[c], all).ok_or_else(wrong)?;
    Ok(Constant { name: values.name.clone(), ..all })
}

impl Backward for GroupNorm {
    fn backward_cost(&self, _wrt: &[Wrt], inputs: &[Shape], _outputs: &[Shape]) -> Result<Cost, DimError> {
        // Two sums for each group, and what follows from them for each element.
        Cost::elementwise(&inputs[0], 12)
    }

    fn backward<E: Element>(&self, wrt: &[Wrt], inputs: &[View<E>], params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        let cut = self.cut(inputs[0].dims);
        let mut results: Vec<Vec<f64>> = outputs.iter().map(|output| vec![0.0; output.data.len()]).collect();
        let groups = inputs[0].data.chunks_exact(cut.elements).zip(inputs[1].data.chunks_exact(cut.elements));
        for (group, (x, gradient)) in groups.enumerate() {
            let (mean, root) = self.statistics(x);
            let normal = |at: usize| (x[at].f64() - mean) / root;
            let weight = |at: usize| params.first().map_or(1.0, |weight| weight.data[cut.channel(group, at)].f64());
            let scaled = |at: usize| gradient[at].f64() * weight(at);
            let count = cut.elements as f64;
            let first = (0..cut.elements).map(scaled).sum::<f64>() / count;
            let second = (0..cut.elements).map(|at| scaled(at) * normal(at)).sum::<f64>() / count;
            for (wrt, result) in wrt.iter().zip(&mut results) {
                for (at, gradient) in gradient.iter().enumerate() {
                    let channel = cut.channel(group, at);
                    match wrt {
                        Wrt::Operand(_) => {
                            result[group * cut.elements + at] = (scaled(at) - first - normal(at) * second) / root;
                        }
                        Wrt::Param(0) => result[channel] += gradient.f64() * normal(at),
                        Wrt::Param(_) => result[channel] += gradient.f64(),
                    }
                }
            }
        }
        outputs.iter_mut().zip(&results).for_each(|(output, result)| fill(output, result));
    }
}

/// How values lie: group by group, each a stretch of memory.
#[derive(Clone, Copy)]
struct Cut {
    /// The elements of a group.
    elements: usize,
    positions: usize,
    channels: usize,
}

impl Cut {
    /// The channel of an element of a group; groups are counted through all samples.
    fn channel(self, group: usize, at: usize) -> usize {
        (group * self.elements + at) / self.positions % self.channels
    }
}

impl GroupNorm {
    fn cut(&self, dims: &[usize]) -> Cut {
        let (channels, positions): (usize, usize) = (dims[1], dims[2..].iter().product());
        let per_group = match self.groups {
            Groups::Of(groups) => channels / groups as usize,
            Groups::Channels => 1,
        };
        Cut { elements: per_group * positions, positions, channels }
    }

    /// The mean, and `√(var + eps)`.
    fn statistics<E: Element>(&self, group: &[E]) -> (f64, f64) {
        let count = group.len() as f64;
        let mean = group.iter().map(|x| x.f64()).sum::<f64>() / count;
        let variance = group.iter().map(|x| (x.f64() - mean).powi(2)).sum::<f64>() / count;
        (mean, (variance + self.eps).sqrt())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::op::testing::{assert_close, assert_round_trip, build, infer_one, run, seeded, try_build};

    fn norm(groups: u64, affine: bool) -> GroupNorm {
        build("group_norm", &[("groups", Value::int(groups)), ("affine", Value::Bool(affine))], &[])
    }

    fn instance() -> GroupNorm {
        build("instance_norm", &[], &[])
    }

    #[test]
    fn groups_divide_the_channels() {
        assert_eq!(infer_one(&norm(3, true), &[&[6, 4, 3]]), Ok(vec![6, 4, 3]));
        assert_eq!(infer_one(&norm(2, true), &[&[6]]), Ok(vec![6]));
        let expected = ShapeError::Indivisible { attr: "groups", what: "channels", value: Dim::from(6u64), by: 4 };
        assert_eq!(infer_one(&norm(4, true), &[&[6, 5, 1]]), Err(expected));
        assert_eq!(infer_one(&instance(), &[&[6, 5, 1]]), Ok(vec![6, 5, 1]));
        assert_eq!(infer_one(&instance(), &[&[6]]), Err(ShapeError::needs_feature_map(0)));
    }

    #[test]
    fn describes_itself() {
        for affine in [false, true] {
            assert_round_trip(&norm(3, affine), &[]);
            assert_round_trip(&GroupNorm { affine, ..instance() }, &[]);
        }
        assert_eq!(instance(), GroupNorm { groups: Groups::Channels, eps: 1e-5, affine: false });
        assert_eq!(norm(2, true), build("group_norm", &[("groups", Value::int(2))], &[]));
        for layer in ["group_norm", "instance_norm"] {
            let groups = ("groups", Value::int(2));
            let args = [("eps", Value::Float(0.0)), groups];
            let args = if layer == "group_norm" { &args[..] } else { &args[..1] };
            assert_eq!(try_build::<GroupNorm>(layer, args, &[]).unwrap_err().param, Some("eps"));
        }
    }

    #[test]
    fn each_group_has_mean_zero_and_variance_one() {
        let (dims, data) = ([2, 6, 3, 2], seeded(72, 5));
        for (op, size) in [(norm(1, false), 36), (norm(3, false), 12), (instance(), 6)] {
            let output = run(&op, &[(&dims, data.clone())], &[]).remove(0);
            for group in output.chunks(size) {
                let mean = group.iter().map(|&x| f64::from(x)).sum::<f64>() / size as f64;
                let variance = group.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / size as f64;
                assert!(mean.abs() < 1e-6 && (variance - 1.0).abs() < 1e-3, "{mean} {variance}");
            }
        }
    }

    #[test]
    fn scales_and_shifts_each_channel() {
        // One group: (1, 3) and (1, 3) with mean 2 and variance 1.
        let op = GroupNorm { eps: 1e-12, ..norm(1, true) };
        let x = vec![1.0, 3.0, 3.0, 1.0];
        let output = run(&op, &[(&[1, 2, 1, 2], x)], &[vec![1.0, 10.0], vec![0.0, 5.0]]);
        assert_close(&output[0], &[-1.0, 1.0, 15.0, -5.0], 1e-7);
    }

    #[test]
    fn groups_of_one_channel_are_instances() {
        let input = (&[2, 4, 3, 2][..], seeded(48, 9));
        assert_eq!(run(&norm(4, false), std::slice::from_ref(&input), &[]), run(&instance(), &[input], &[]));
    }
}
