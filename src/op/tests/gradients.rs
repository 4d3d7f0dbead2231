//! Every gradient rule against central differences in `f64`.

use super::samples::{operand, samples};
use super::{View, ViewMut, params_for};
use crate::op::batch_norm::BatchNorm;
use crate::op::gradient::{Differentiated, GradBuilder, Ref, Wrt};
use crate::op::loss::{Loss, LossKind};
use crate::op::normalise::Normalise;
use crate::op::testing::seeded;
use crate::op::{Op, ParamSpec};
use crate::tensor::{Element, Shape};

const BATCH: usize = 3;

/// A value with its sizes.
#[derive(Clone, Debug)]
struct Array {
    dims: Vec<usize>,
    data: Vec<f64>,
}

impl Array {
    fn zeros(dims: Vec<usize>) -> Array {
        let len = dims.iter().product();
        Array { dims, data: vec![0.0; len] }
    }

    fn seeded(dims: Vec<usize>, seed: u64) -> Array {
        let data = seeded(dims.iter().product(), seed).into_iter().map(f64::from).collect();
        Array { dims, data }
    }
}

/// Runs an operator, in numbers of this kind.
fn forward<E: Element>(op: &Op, inputs: &[Array], params: &[Array], shapes: &[Shape]) -> Vec<Array> {
    let numbers = |arrays: &[Array]| -> Vec<Vec<E>> {
        arrays.iter().map(|array| array.data.iter().map(|&x| E::of(x)).collect()).collect()
    };
    let (input_data, param_data) = (numbers(inputs), numbers(params));
    fn views<'a, E>(arrays: &'a [Array], data: &'a [Vec<E>]) -> Vec<View<'a, E>> {
        arrays.iter().zip(data).map(|(array, data)| View { dims: &array.dims, data }).collect()
    }
    let dims: Vec<Vec<usize>> = (0..)
        .zip(op.infer(shapes).unwrap())
        .map(|(at, shape)| {
            let batch = if op.is_per_sample(at) { BATCH } else { 1 };
            [vec![batch], shape.as_known().unwrap()].concat()
        })
        .collect();
    let mut results: Vec<Vec<E>> = dims.iter().map(|dims| vec![E::of(f64::NAN); dims.iter().product()]).collect();
    let mut outputs: Vec<ViewMut<E>> =
        dims.iter().zip(&mut results).map(|(dims, data)| ViewMut { dims, data }).collect();
    op.forward(&views(inputs, &input_data), &views(params, &param_data), &mut outputs);
    let array = |(dims, data): (Vec<usize>, Vec<E>)| Array { dims, data: data.iter().map(|x| x.f64()).collect() };
    dims.into_iter().zip(results).map(array).collect()
}

/// An operator with operands and parameters, and what its gradients are those of.
struct Case {
    op: Op,
    shapes: Vec<Shape>,
    specs: Vec<ParamSpec>,
    inputs: Vec<Array>,
    params: Vec<Array>,
    /// The gradient that reaches each result.
    incoming: Vec<Array>,
}

impl Case {
    fn new(op: Op, shapes: Vec<Shape>) -> Case {
        let dims = |shape: &Shape| [vec![BATCH], shape.as_known().unwrap()].concat();
        let input = |(seed, shape): (u64, &Shape)| {
            let dims = dims(shape);
            let data = operand(&op, dims.iter().product(), seed).into_iter().map(f64::from).collect();
            Array { dims, data }
        };
        let inputs: Vec<Array> = (20..).zip(&shapes).map(input).collect();
        let specs = op.params(&shapes);
        let sizes = |spec: &ParamSpec| spec.shape.iter().map(|&size| size as usize).collect();
        let values = params_for(&op, &shapes).into_iter().map(|values| values.into_iter().map(f64::from).collect());
        let params = specs.iter().zip(values).map(|(spec, data)| Array { dims: sizes(spec), data }).collect();
        let results = op.infer(&shapes).unwrap();
        let incoming = (50..).zip(&results).map(|(seed, shape)| Array::seeded(dims(shape), seed)).collect();
        Case { op, shapes, specs, inputs, params, incoming }
    }

    /// `Σ incoming · result`; of a loss its weighted mean.
    fn objective(&self, inputs: &[Array], params: &[Array]) -> f64 {
        let results = forward::<f64>(&self.op, inputs, params, &self.shapes);
        match &self.op {
            Op::Loss(loss) => loss.weight * results[0].data.iter().sum::<f64>() / BATCH as f64,
            _ => {
                let products = |(result, incoming): (&Array, &Array)| -> f64 {
                    result.data.iter().zip(&incoming.data).map(|(a, b)| a * b).sum()
                };
                let reached = results.iter().zip(&self.incoming).zip(self.reached(results.len()));
                reached.filter(|&(_, reached)| reached).map(|(pair, _)| products(pair)).sum()
            }
        }
    }

    /// Which results a gradient reaches: the statistics of a batch are for running averages, nothing comes back from them;
    /// of the parts of a split the second is left out.
    fn reached(&self, results: usize) -> Vec<bool> {
        match self.op {
            Op::Loss(_) => vec![false],
            Op::Normalise(_) => vec![true, false, false],
            _ => (0..results).map(|at| at != 1 || results == 2).collect(),
        }
    }

    /// What a gradient can be taken of.
    fn wanted(&self) -> Vec<Wrt> {
        let params = self.specs.iter().enumerate().filter(|(_, spec)| spec.role.trainable());
        let params = params.map(|(at, _)| Wrt::Param(at));
        let operands = (0..self.inputs.len()).map(Wrt::Operand);
        match self.op {
            // Frozen, as it is in this form.
            Op::BatchNorm(_) => operands.collect(),
            // A target is given.
            Op::Loss(_) => vec![Wrt::Operand(0)],
            _ => operands.chain(params).collect(),
        }
    }

    /// The gradients by the operator's rule, in numbers of this kind.
    fn by_rule<E: Element>(&self) -> Vec<(Wrt, Array)> {
        let results = forward::<E>(&self.op, &self.inputs, &self.params, &self.shapes);
        let outputs = self.op.infer(&self.shapes).unwrap();
        let mut g = GradBuilder::new(&self.shapes, &outputs, &self.specs, self.reached(results.len()), self.wanted());
        self.op.gradient(&mut g);
        let mut made: Vec<(Vec<Array>, Vec<Shape>)> = Vec::new();
        let value = |at: Ref, made: &[(Vec<Array>, Vec<Shape>)]| match at {
            Ref::Operand(at) => (self.inputs[at].clone(), self.shapes[at].clone()),
            Ref::Result(at) => (results[at].clone(), outputs[at].clone()),
            Ref::Incoming(at) => (self.incoming[at].clone(), outputs[at].clone()),
            Ref::Emitted(node, at) => (made[node].0[at as usize].clone(), made[node].1[at as usize].clone()),
        };
        for node in &g.nodes {
            let (taken, shapes): (Vec<Array>, Vec<Shape>) = node.operands.iter().map(|&at| value(at, &made)).unzip();
            let params: Vec<Array> = node.params.iter().map(|&at| self.params[at].clone()).collect();
            assert_eq!(node.op.params(&shapes).len(), params.len());
            let results = forward::<E>(&node.op, &taken, &params, &shapes);
            made.push((results, node.op.infer(&shapes).unwrap()));
        }
        g.found.iter().map(|&(wrt, at)| (wrt, value(at, &made).0)).collect()
    }

    /// The gradient by central differences. With numbers around 1 a step of 1e-5 leaves an error of 1e-10 from the third
    /// derivative and one of 1e-11 from rounding.
    fn by_differences(&self, wrt: Wrt) -> Array {
        const STEP: f64 = 1e-5;
        let of = |case: &Case| match wrt {
            Wrt::Operand(at) => case.inputs[at].clone(),
            Wrt::Param(at) => case.params[at].clone(),
        };
        let mut gradient = Array::zeros(of(self).dims);
        for at in 0..gradient.data.len() {
            let moved = |by: f64| {
                let (mut inputs, mut params) = (self.inputs.clone(), self.params.clone());
                match wrt {
                    Wrt::Operand(which) => inputs[which].data[at] += by,
                    Wrt::Param(which) => params[which].data[at] += by,
                }
                self.objective(&inputs, &params)
            };
            gradient.data[at] = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
        }
        gradient
    }

    fn check(&self) {
        let found = self.by_rule::<f64>();
        for wrt in self.wanted() {
            let (_, gradient) =
                found.iter().find(|(of, _)| *of == wrt).unwrap_or_else(|| panic!("{:?}: no {wrt:?}", self.op));
            let expected = self.by_differences(wrt);
            assert_eq!(gradient.data.len(), expected.data.len(), "{:?}: {wrt:?}", self.op);
            self.compare(wrt, gradient, &expected, 1e-8);
        }
        // In single precision the same, up to a few roundings of sums of at most some hundred terms.
        for ((wrt, single), (_, double)) in self.by_rule::<f32>().iter().zip(&found) {
            self.compare(*wrt, single, double, 1e-5);
        }
    }

    fn compare(&self, wrt: Wrt, actual: &Array, expected: &Array, tolerance: f64) {
        let scale = expected.data.iter().fold(1.0f64, |most, x| most.max(x.abs()));
        for (at, (a, b)) in actual.data.iter().zip(&expected.data).enumerate() {
            let off = (a - b).abs();
            assert!(off <= tolerance * scale, "{:?}: {wrt:?}, element {at}: {a} instead of {b}", self.op);
        }
    }
}

/// Every layer of the language, and what training puts in the place of some.
fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> =
        samples().into_iter().map(|sample| Case::new(sample.build().unwrap(), sample.inputs)).collect();
    let (map, vector) = (Shape::known(&[4, 5, 6]), Shape::known(&[7]));
    for affine in [true, false] {
        let norm = BatchNorm { eps: 1e-3, momentum: 0.1, affine };
        for shape in [&map, &vector] {
            cases.push(Case::new(Op::Normalise(Normalise { norm: norm.clone() }), vec![shape.clone()]));
        }
    }
    for kind in [LossKind::CrossEntropy, LossKind::SquaredError] {
        for shape in [&map, &vector] {
            cases.push(Case::new(Op::Loss(Loss { kind, weight: 0.3 }), vec![shape.clone(), shape.clone()]));
        }
    }
    cases
}

/// Each operator that computes gradients itself is met.
#[test]
fn every_gradient_has_a_case() {
    let mut missing: Vec<&str> = Differentiated::NAMES.to_vec();
    for case in cases() {
        let outputs = case.op.infer(&case.shapes).unwrap();
        let mut g = GradBuilder::new(&case.shapes, &outputs, &case.specs, case.reached(outputs.len()), case.wanted());
        case.op.gradient(&mut g);
        missing.retain(|name| g.nodes.iter().all(|node| node.op.describe().0 != *name));
    }
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn rules_are_the_derivatives_of_forward() {
    cases().iter().for_each(Case::check);
}
