//! Batch normalisation in training (Ioffe & Szegedy 2015, arXiv:1502.03167).

use super::attr::{ArgError, Call, Signature, Value};
use super::batch_norm::BatchNorm;
use super::gradient::{Backward, GradBuilder, Ref, Wrt};
use super::{Cost, Operator, ParamSpec, Reach, ShapeError};
use super::onnx::{Export, Import, Unfit};
use super::pytorch::PyTorch;
use crate::dim::DimError;
use crate::tensor::{Element, Shape, View, ViewMut};

/// `out = (in - mean) / √(variance + eps) · weight + bias` with mean and variance (divided by the number of elements) of
/// each channel over the batch, which are further results: what a [`BatchNorm`] is in training.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalise {
    /// The batch norm.
    pub norm: BatchNorm,
}

impl Operator for Normalise {
    fn signatures() -> &'static [Signature] {
        &[]
    }

    fn build(call: &Call) -> Result<Self, ArgError> {
        Ok(Normalise { norm: BatchNorm::build(call)? })
    }

    fn describe(&self) -> (&'static str, Vec<(&'static str, Value)>) {
        ("bn in training", self.norm.describe().1)
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>, ShapeError> {
        let mut results = self.norm.infer(inputs)?;
        let channels = Shape(vec![inputs[0].0[0].clone()]);
        results.extend([channels.clone(), channels]);
        Ok(results)
    }

    fn arithmetic(&self, _inputs: &[Shape], _outputs: &[Shape]) -> Vec<String> {
        Vec::new()
    }

    fn params(&self, inputs: &[Shape]) -> Vec<ParamSpec> {
        let mut params = self.norm.params(inputs);
        params.retain(|spec| spec.role.trainable());
        params
    }

    /// A difference, a product and two sums for each element, then a product and a sum.
    fn cost(&self, inputs: &[Shape], _outputs: &[Shape]) -> Result<Cost, DimError> {
        Cost::elementwise(&inputs[0], 6)
    }

    fn reach(&self, _inputs: &[Shape]) -> Reach {
        Reach::Everything
    }

    /// In `f64`.
    fn forward<E: Element>(&self, inputs: &[View<E>], params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        let channels = Channels::of(inputs[0].dims);
        for c in 0..channels.count {
            let x = |at: usize| inputs[0].data[at].f64();
            let mean = channels.mean(c, x);
            let variance = channels.mean(c, |at| (x(at) - mean).powi(2));
            let param = |at: usize, or: f64| params.get(at).map_or(or, |param| param.data[c].f64());
            let (scale, shift) = (param(0, 1.0) / (variance + self.norm.eps).sqrt(), param(1, 0.0));
            channels.each(c).for_each(|at| outputs[0].data[at] = E::of((x(at) - mean) * scale + shift));
            outputs[1].data[c] = E::of(mean);
            outputs[2].data[c] = E::of(variance);
        }
    }

    fn gradient(&self, g: &mut GradBuilder) {
        let incoming = g.incoming(0);
        // The shift says where an activation behind it was at a bound.
        let params: &[usize] = if self.norm.affine { &[0, 1] } else { &[] };
        let wrt = [Wrt::Operand(0), Wrt::Param(0), Wrt::Param(1)];
        g.backward(self, &wrt, &[Ref::Operand(0), Ref::Result(1), Ref::Result(2), incoming], params);
    }

    const ONNX: &'static [&'static str] = &[];

    fn from_onnx(_node: &mut Import) -> Result<(), Unfit> {
        Err(Unfit::new("normalisation by the statistics of a batch exists in training only"))
    }

    fn to_onnx(&self, _g: &mut Export) -> Result<(), Unfit> {
        Err(Unfit::new("normalisation by the statistics of a batch exists in training only"))
    }

    fn to_pytorch(&self, _g: &mut PyTorch) -> Result<(), Unfit> {
        Err(Unfit::new("normalisation by the statistics of a batch exists in training only"))
    }
}

impl Backward for Normalise {
    /// Two sums of a difference and a product for each element; for the operand two products and two sums more.
    fn backward_cost(&self, wrt: &[Wrt], inputs: &[Shape], _outputs: &[Shape]) -> Result<Cost, DimError> {
        Cost::elementwise(&inputs[0], if wrt.contains(&Wrt::Operand(0)) { 8 } else { 4 })
    }

    /// The operands are the value, its mean and variance, and the gradient.
    fn backward<E: Element>(&self, wrt: &[Wrt], inputs: &[View<E>], params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        let channels = Channels::of(inputs[0].dims);
        for c in 0..channels.count {
            let (mean, variance) = (inputs[1].data[c].f64(), inputs[2].data[c].f64());
            let root = (variance + self.norm.eps).sqrt();
            let normal = |at: usize| (inputs[0].data[at].f64() - mean) / root;
            let gradient = |at: usize| inputs[3].data[at].f64();
            let scale = params.first().map_or(1.0, |scale| scale.data[c].f64());
            let (first, second) = (channels.mean(c, gradient), channels.mean(c, |at| gradient(at) * normal(at)));
            let count = channels.each(c).count() as f64;
            for (wrt, output) in wrt.iter().zip(&mut *outputs) {
                match wrt {
                    Wrt::Operand(_) => channels.each(c).for_each(|at| {
                        output.data[at] = E::of(scale / root * (gradient(at) - first - normal(at) * second));
                    }),
                    Wrt::Param(0) => output.data[c] = E::of(second * count),
                    Wrt::Param(_) => output.data[c] = E::of(first * count),
                }
            }
        }
    }
}

/// The elements of a value by channel.
struct Channels {
    batch: usize,
    count: usize,
    positions: usize,
}

impl Channels {
    fn of(dims: &[usize]) -> Channels {
        Channels { batch: dims[0], count: dims[1], positions: dims[2..].iter().product() }
    }

    fn each(&self, c: usize) -> impl Iterator<Item = usize> {
        let (count, positions) = (self.count, self.positions);
        (0..self.batch * positions).map(move |at| (at / positions * count + c) * positions + at % positions)
    }

    fn mean(&self, c: usize, of: impl Fn(usize) -> f64) -> f64 {
        self.each(c).map(of).sum::<f64>() / (self.batch * self.positions) as f64
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::op::testing::{assert_close, seeded};

    #[test]
    fn results_have_the_mean_of_the_shift_and_the_deviation_of_the_scale() {
        let op = Normalise { norm: BatchNorm { eps: 1e-5, momentum: 0.1, affine: true } };
        let dims = [3, 2, 5, 1];
        let x: Vec<f32> = seeded(30, 1).iter().map(|x| 3.0 * x + 100.0).collect();
        let (scale, shift) = ([2.0, -1.0], [5.0, 0.5]);
        let (mut y, mut mean, mut variance) = (vec![0.0; 30], vec![0.0; 2], vec![0.0; 2]);
        op.forward(
            &[View { dims: &dims, data: &x }],
            &[View { dims: &[2], data: &scale }, View { dims: &[2], data: &shift }],
            &mut [
                ViewMut { dims: &dims, data: &mut y },
                ViewMut { dims: &[1, 2], data: &mut mean },
                ViewMut { dims: &[1, 2], data: &mut variance },
            ],
        );
        let channels = Channels::of(&dims);
        for c in 0..2 {
            let value = |at: usize| f64::from(y[at]);
            let (center, spread) = (channels.mean(c, value), channels.mean(c, |at| (value(at) - f64::from(shift[c])).powi(2)));
            assert_close(&[center as f32], &[f64::from(shift[c])], 1e-5);
            assert_close(&[spread.sqrt() as f32], &[f64::from(scale[c]).abs()], 1e-4);
            assert!((f64::from(mean[c]) - channels.mean(c, |at| f64::from(x[at]))).abs() < 1e-5);
        }
    }
}
