//! Dropout (Srivastava et al. 2014): acts in training only.

use super::attr::{ArgError, Call, Operands, Signature, Value, param};
use super::gradient::GradBuilder;
use super::{Cost, Operator, ParamSpec, Reach, ShapeError, geom};
use super::onnx::{self, Attr, Export, Import, Unfit};
use super::pytorch::{Expr, PyTorch};
use crate::dim::DimError;
use crate::tensor::{Element, Shape, View, ViewMut};

/// In training sets elements, or whole channels, to zero with probability `p` and divides the others by `1 - p`; in
/// inference `out = in`.
#[derive(Clone, Debug, PartialEq)]
pub struct Dropout {
    /// The probability, at least 0 and below 1.
    pub p: f64,
    /// Whether whole channels are dropped (PyTorch's `Dropout2d`).
    pub channels: bool,
}

impl Operator for Dropout {
    fn signatures() -> &'static [Signature] {
        static SIGNATURES: [Signature; 1] = [Signature {
            layer: "dropout",
            params: &[
                param("p", "0.5", "the probability of being dropped in training"),
                param("channels", "false", "whether whole channels are dropped"),
            ],
            operands: Operands::Above,
            doc: "dropout; the identity in inference",
        }];
        &SIGNATURES
    }

    fn build(call: &Call) -> Result<Self, ArgError> {
        let p = call.float("p", Some(0.5))?;
        if !(0.0..1.0).contains(&p) {
            return Err(ArgError::new("p", "must be at least 0 and below 1"));
        }
        Ok(Dropout { p, channels: call.flag("channels", false)? })
    }

    fn describe(&self) -> (&'static str, Vec<(&'static str, Value)>) {
        ("dropout", vec![("p", Value::Float(self.p)), ("channels", Value::Bool(self.channels))])
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>, ShapeError> {
        if self.channels {
            geom::feature_map(inputs, 0)?;
        }
        Ok(inputs.to_vec())
    }

    fn arithmetic(&self, _inputs: &[Shape], _outputs: &[Shape]) -> Vec<String> {
        Vec::new()
    }

    fn params(&self, _inputs: &[Shape]) -> Vec<ParamSpec> {
        Vec::new()
    }

    /// Inference is counted, where it does nothing.
    fn cost(&self, _inputs: &[Shape], _outputs: &[Shape]) -> Result<Cost, DimError> {
        Ok(Cost::free())
    }

    fn reach(&self, _inputs: &[Shape]) -> Reach {
        Reach::Point
    }

    /// The meaning in inference.
    fn forward<E: Element>(&self, inputs: &[View<E>], _params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        outputs[0].data.copy_from_slice(inputs[0].data);
    }

    fn gradient(&self, g: &mut GradBuilder) {
        // In a net that is trained a product with a mask stands in its place.
        g.pass();
    }

    const ONNX: &'static [&'static str] = &["Dropout"];

    fn from_onnx(node: &mut Import) -> Result<(), Unfit> {
        if 1 < node.outputs {
            return Err(Unfit::new("its mask is used"));
        }
        let share = match node.known(1, "ratio")? {
            Some(ratio) => ratio.scalar().ok_or_else(|| Unfit::new("its ratio is not one number"))?,
            None => node.attrs.float("ratio", 0.5)?,
        };
        let training = node.known(2, "mode")?.and_then(super::onnx::Constant::scalar).is_some_and(|mode| mode != 0.0);
        if training && share != 0.0 {
            return Err(Unfit::new("it drops elements at random, as in training"));
        }
        node.attrs.int("seed", 0)?;
        node.attrs.int("is_test", 1)?;
        let x = node.live(0)?;
        let p = onnx::shortest(f64::from(share));
        if !(0.0..1.0).contains(&p) {
            return Err(Unfit::new("its ratio is not between 0 and 1"));
        }
        node.pointwise(Dropout { p, channels: false }, &x, Vec::new())
    }

    /// Whole channels are dropped in training only, of which a model for inference says nothing.
    fn to_onnx(&self, g: &mut Export) -> Result<(), Unfit> {
        if g.opset < 12 {
            g.unary("Dropout", vec![("ratio", Attr::Float(self.p as f32))]);
            return Ok(());
        }
        let (x, ratio) = (g.operand(0), g.float(self.p)?);
        g.last("Dropout", vec![x, ratio], Vec::new());
        Ok(())
    }

    fn to_pytorch(&self, g: &mut PyTorch) -> Result<(), Unfit> {
        let (call, module) = match self.channels {
            true => ("F.dropout2d({x}, {0}, self.training)", "nn.Dropout2d({})"),
            false => ("F.dropout({x}, {0}, self.training)", "nn.Dropout({})"),
        };
        g.either(Expr::new(call).arg("p", self.p), Expr::new(module).arg("p", self.p));
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::op::testing::{assert_round_trip, build, infer_one, run, try_build};

    #[test]
    fn whole_channels_need_a_map() {
        let (elements, channels) = (Dropout { p: 0.1, channels: false }, Dropout { p: 0.1, channels: true });
        assert_eq!(infer_one(&elements, &[&[10]]), Ok(vec![10]));
        assert_eq!(infer_one(&channels, &[&[3, 5, 1]]), Ok(vec![3, 5, 1]));
        assert_eq!(infer_one(&channels, &[&[10]]), Err(ShapeError::needs_feature_map(0)));
    }

    #[test]
    fn describes_itself() {
        assert_round_trip(&Dropout { p: 0.0, channels: true }, &[]);
        assert_eq!(build::<Dropout>("dropout", &[], &[]), Dropout { p: 0.5, channels: false });
    }

    #[test]
    fn the_probability_is_below_one() {
        for p in [1.0, -0.1, f64::NAN] {
            let error = try_build::<Dropout>("dropout", &[("p", Value::Float(p))], &[]).unwrap_err();
            assert_eq!(error.param, Some("p"));
        }
    }

    #[test]
    fn inference_changes_nothing() {
        let data = vec![1.0, -2.0, 3.0, 0.0];
        assert_eq!(run(&Dropout { p: 0.9, channels: false }, &[(&[2, 2], data.clone())], &[]), [data]);
    }
}
