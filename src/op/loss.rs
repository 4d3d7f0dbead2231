//! Losses: where the walk back begins.

use super::attr::{ArgError, Call, Signature, Value};
use super::gradient::{Backward, GradBuilder, Ref, Wrt};
use super::{Cost, Operator, ParamSpec, Reach, ShapeError, add};
use super::onnx::{Export, Import, Unfit};
use super::pytorch::PyTorch;
use crate::dim::DimError;
use crate::tensor::{Element, Shape, View, ViewMut};

/// How far a prediction is from its target, for each sample.
///
/// Operands are the prediction and a target of the same sizes. The gradient is that of the mean over the batch, times the
/// weight.
#[derive(Clone, Debug, PartialEq)]
pub struct Loss {
    /// What is measured.
    pub kind: LossKind,
    /// The weight of the loss among others.
    pub weight: f64,
}

/// What a loss measures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossKind {
    /// `-Σ target · log softmax(prediction)` over the channels, the mean of all positions. The target holds the
    /// probability of each class, so that labels may be smoothed and mixed (PyTorch's `cross_entropy` with probabilities).
    #[default]
    CrossEntropy,
    /// The mean of `(prediction - target)²` (PyTorch's `mse_loss`).
    SquaredError,
}

impl Operator for Loss {
    fn signatures() -> &'static [Signature] {
        &[]
    }

    fn build(call: &Call) -> Result<Self, ArgError> {
        Err(ArgError::new(call.layer, "is no layer of the language"))
    }

    fn describe(&self) -> (&'static str, Vec<(&'static str, Value)>) {
        let name = match self.kind {
            LossKind::CrossEntropy => "cross entropy",
            LossKind::SquaredError => "squared error",
        };
        (name, vec![("weight", Value::Float(self.weight))])
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>, ShapeError> {
        add::same_shape(inputs)?;
        Ok(vec![Shape::known(&[1])])
    }

    fn arithmetic(&self, _inputs: &[Shape], _outputs: &[Shape]) -> Vec<String> {
        Vec::new()
    }

    fn params(&self, _inputs: &[Shape]) -> Vec<ParamSpec> {
        Vec::new()
    }

    /// A cross entropy takes a comparison, a difference, an exponential and three more for each element, a squared error
    /// three.
    fn cost(&self, inputs: &[Shape], _outputs: &[Shape]) -> Result<Cost, DimError> {
        Cost::elementwise(&inputs[0], if self.kind == LossKind::CrossEntropy { 6 } else { 3 })
    }

    fn reach(&self, _inputs: &[Shape]) -> Reach {
        Reach::Everything
    }

    fn forward<E: Element>(&self, inputs: &[View<E>], _params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        let rows = Rows::of(inputs[0].dims);
        let [x, target] = [0, 1].map(|operand: usize| move |at: usize| inputs[operand].data[at].f64());
        for sample in 0..rows.samples {
            let loss: f64 = match self.kind {
                LossKind::CrossEntropy => {
                    let part = |position: usize| {
                        let log = rows.log_sum(sample, position, &x);
                        rows.row(sample, position).map(|at| target(at) * (log - x(at))).sum::<f64>()
                    };
                    (0..rows.positions).map(part).sum::<f64>() / rows.positions as f64
                }
                LossKind::SquaredError => {
                    let all = rows.sample(sample);
                    let count = all.len() as f64;
                    all.map(|at| (x(at) - target(at)).powi(2)).sum::<f64>() / count
                }
            };
            outputs[0].data[sample] = E::of(loss);
        }
    }

    fn gradient(&self, g: &mut GradBuilder) {
        g.backward(self, &[Wrt::Operand(0)], &[Ref::Operand(0), Ref::Operand(1)], &[]);
    }

    const ONNX: &'static [&'static str] = &[];

    fn from_onnx(_node: &mut Import) -> Result<(), Unfit> {
        Err(Unfit::new("a loss exists in training only"))
    }

    fn to_onnx(&self, _g: &mut Export) -> Result<(), Unfit> {
        Err(Unfit::new("a loss exists in training only"))
    }

    fn to_pytorch(&self, _g: &mut PyTorch) -> Result<(), Unfit> {
        Err(Unfit::new("a loss exists in training only"))
    }
}

impl Backward for Loss {
    fn backward_cost(&self, _wrt: &[Wrt], inputs: &[Shape], _outputs: &[Shape]) -> Result<Cost, DimError> {
        Cost::elementwise(&inputs[0], if self.kind == LossKind::CrossEntropy { 6 } else { 2 })
    }

    fn backward<E: Element>(&self, _wrt: &[Wrt], inputs: &[View<E>], _params: &[View<E>], outputs: &mut [ViewMut<E>]) {
        let rows = Rows::of(inputs[0].dims);
        let [x, target] = [0, 1].map(|operand: usize| move |at: usize| inputs[operand].data[at].f64());
        for sample in 0..rows.samples {
            match self.kind {
                LossKind::CrossEntropy => {
                    let share = self.weight / (rows.samples * rows.positions) as f64;
                    for position in 0..rows.positions {
                        let log = rows.log_sum(sample, position, &x);
                        let all: f64 = rows.row(sample, position).map(target).sum();
                        for at in rows.row(sample, position) {
                            outputs[0].data[at] = E::of(share * ((x(at) - log).exp() * all - target(at)));
                        }
                    }
                }
                LossKind::SquaredError => {
                    let share = 2.0 * self.weight / (rows.samples * rows.sample(sample).len()) as f64;
                    rows.sample(sample).for_each(|at| outputs[0].data[at] = E::of(share * (x(at) - target(at))));
                }
            }
        }
    }
}

/// The channels of each position.
struct Rows {
    samples: usize,
    channels: usize,
    positions: usize,
}

impl Rows {
    fn of(dims: &[usize]) -> Rows {
        Rows { samples: dims[0], channels: dims[1], positions: dims[2..].iter().product() }
    }

    /// The elements of a sample.
    fn sample(&self, sample: usize) -> std::ops::Range<usize> {
        let len = self.channels * self.positions;
        sample * len..(sample + 1) * len
    }

    fn row(&self, sample: usize, position: usize) -> impl Iterator<Item = usize> {
        let (channels, positions) = (self.channels, self.positions);
        (0..channels).map(move |c| (sample * channels + c) * positions + position)
    }

    /// The logarithm of the sum of all exponentials, relative to the largest so that nothing overflows.
    fn log_sum(&self, sample: usize, position: usize, x: &impl Fn(usize) -> f64) -> f64 {
        let largest = self.row(sample, position).map(x).fold(f64::NEG_INFINITY, f64::max);
        largest + self.row(sample, position).map(|at| (x(at) - largest).exp()).sum::<f64>().ln()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::op::testing::{assert_close, run};

    #[test]
    fn losses_of_simple_predictions() {
        let even = Loss { kind: LossKind::CrossEntropy, weight: 1.0 };
        let dims: &[usize] = &[2, 4];
        let target = vec![0.0, 1.0, 0.0, 0.0, 0.25, 0.25, 0.25, 0.25];
        let loss = run(&even, &[(dims, vec![3.0; 8]), (dims, target)], &[]);
        assert_close(&loss[0], &[4f64.ln(), 4f64.ln()], 1e-7);
        let squares = Loss { kind: LossKind::SquaredError, weight: 1.0 };
        let loss = run(&squares, &[(&[1, 2], vec![1.0, 4.0]), (&[1, 2], vec![0.0, 1.0])], &[]);
        assert_eq!(loss[0], [5.0]);
    }

    #[test]
    fn large_logits_do_not_overflow() {
        let loss = Loss { kind: LossKind::CrossEntropy, weight: 1.0 };
        let loss = run(&loss, &[(&[1, 2], vec![1e4, -1e4]), (&[1, 2], vec![0.0, 1.0])], &[]);
        assert_eq!(loss[0], [2e4]);
    }
}
