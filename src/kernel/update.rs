//! What an optimiser does to each parameter: element by element, in vectors.

use super::isa::{Isa, LANES, Lanes, Task};
use super::threads::Threads;

/// Elements of a task.
const TASK: usize = 32 * 1024;
/// Elements whose squares are summed in `f32`.
const SQUARES: usize = 1024;

/// Calls `work` with ranges of elements.
fn ranges(threads: &Threads, len: usize, work: impl Fn(std::ops::Range<usize>) + Sync) {
    let tasks = len.div_ceil(TASK);
    threads.run(tasks, |task, _| work(task * TASK..len.min((task + 1) * TASK)));
}

/// A slice of which disjoint ranges are written by different threads.
#[derive(Clone, Copy)]
struct Shared<'a> {
    ptr: *mut f32,
    len: usize,
    lifetime: std::marker::PhantomData<&'a mut [f32]>,
}

// SAFETY: elements are reached through the unsafe `range` only.
unsafe impl Send for Shared<'_> {}
// SAFETY: as above.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    fn of(values: &'a mut [f32]) -> Self {
        Shared { ptr: values.as_mut_ptr(), len: values.len(), lifetime: std::marker::PhantomData }
    }

    /// # Safety
    /// Nobody else uses these elements as long as the result lives.
    unsafe fn range(self, range: std::ops::Range<usize>) -> &'a mut [f32] {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: the range is inside; the rest is the caller's duty.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.add(range.start), range.len()) }
    }
}

/// Stochastic gradient descent with momentum, as PyTorch has it: `g' = factor·g + decay·w`, `v = momentum·v + g'`, and
/// `w -= rate·v`, or with Nesterov's `w -= rate·(g' + momentum·v)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// The learning rate.
    pub rate: f32,
    /// The factor of the gradient.
    pub factor: f32,
    /// The share of the velocity that is kept.
    pub momentum: f32,
    /// Weight decay.
    pub decay: f32,
    /// Whether the step looks ahead.
    pub nesterov: bool,
}

/// One step of a parameter with its velocity.
pub fn sgd(threads: &Threads, isa: Isa, by: Sgd, gradient: &[f32], weight: &mut [f32], velocity: &mut [f32]) {
    assert!(gradient.len() == weight.len() && velocity.len() == weight.len(), "other sizes");
    let (len, weight, velocity) = (weight.len(), Shared::of(weight), Shared::of(velocity));
    ranges(threads, len, |range| {
        // SAFETY: the ranges are disjoint.
        let (weight, velocity) = unsafe { (weight.range(range.clone()), velocity.range(range.clone())) };
        isa.run(SgdTask { by, gradient: &gradient[range], weight, velocity });
    });
}

struct SgdTask<'a> {
    by: Sgd,
    gradient: &'a [f32],
    weight: &'a mut [f32],
    velocity: &'a mut [f32],
}

impl Task for SgdTask<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let Sgd { rate, factor, momentum, decay, nesterov } = self.by;
        for at in (0..self.weight.len()).step_by(LANES) {
            let count = LANES.min(self.weight.len() - at);
            // SAFETY: all three slices are of one length, and hold `count` floats from `at` on.
            unsafe {
                let (w, v) = (self.weight.as_mut_ptr().add(at), self.velocity.as_mut_ptr().add(at));
                let weight = l.load_up_to(w, count);
                let gradient = l.mul(l.splat(factor), l.load_up_to(self.gradient.as_ptr().add(at), count));
                let gradient = l.fma(l.splat(decay), weight, gradient);
                let velocity = l.fma(l.splat(momentum), l.load_up_to(v, count), gradient);
                let step = if nesterov { l.fma(l.splat(momentum), velocity, gradient) } else { velocity };
                l.store_part(v, velocity, count);
                l.store_part(w, l.fma(l.splat(-rate), step, weight), count);
            }
        }
    }
}

/// Adam (Kingma & Ba 2014, arXiv:1412.6980) and AdamW (Loshchilov & Hutter 2017, arXiv:1711.05101), as PyTorch has them:
/// `m = β₁·m + (1 - β₁)·g`, `v = β₂·v + (1 - β₂)·g²`, `w -= rate/(1 - β₁ᵗ)·m / (√(v/(1 - β₂ᵗ)) + eps)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// The learning rate.
    pub rate: f32,
    /// The factor of the gradient.
    pub factor: f32,
    /// β₁ and β₂.
    pub betas: [f32; 2],
    /// Added to the root.
    pub eps: f32,
    /// Weight decay.
    pub decay: f32,
    /// Whether the decay shrinks the weight itself (AdamW) instead of joining the gradient.
    pub decoupled: bool,
    /// Which step this is, from 1.
    pub step: u64,
}

/// One step of a parameter with its first and second moments.
pub fn adam(threads: &Threads, isa: Isa, by: Adam, gradient: &[f32], weight: &mut [f32], moments: [&mut [f32]; 2]) {
    let [first, second] = moments;
    assert!(gradient.len() == weight.len() && first.len() == weight.len() && second.len() == weight.len());
    let len = weight.len();
    let (weight, first, second) = (Shared::of(weight), Shared::of(first), Shared::of(second));
    ranges(threads, len, |range| {
        // SAFETY: the ranges are disjoint.
        let [weight, first, second] = unsafe { [weight, first, second].map(|values| values.range(range.clone())) };
        isa.run(AdamTask { by, gradient: &gradient[range], weight, first, second });
    });
}

struct AdamTask<'a> {
    by: Adam,
    gradient: &'a [f32],
    weight: &'a mut [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
}

impl Task for AdamTask<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let Adam { rate, factor, betas: [beta1, beta2], eps, decay, decoupled, step } = self.by;
        let step = i32::try_from(step).unwrap_or(i32::MAX);
        let bias = [beta1, beta2].map(|beta| 1.0 - f64::from(beta).powi(step));
        let size = l.splat((-f64::from(rate) / bias[0]) as f32);
        let root = l.splat((1.0 / bias[1].sqrt()) as f32);
        let shrink = l.splat(if decoupled { 1.0 - rate * decay } else { 1.0 });
        let joined = l.splat(if decoupled { 0.0 } else { decay });
        for at in (0..self.weight.len()).step_by(LANES) {
            let count = LANES.min(self.weight.len() - at);
            // SAFETY: all four slices are of one length, and hold `count` floats from `at` on.
            unsafe {
                let (w, m) = (self.weight.as_mut_ptr().add(at), self.first.as_mut_ptr().add(at));
                let v = self.second.as_mut_ptr().add(at);
                let weight = l.load_up_to(w, count);
                let gradient = l.mul(l.splat(factor), l.load_up_to(self.gradient.as_ptr().add(at), count));
                let gradient = l.fma(joined, weight, gradient);
                let first = l.load_up_to(m, count);
                let first = l.fma(l.splat(1.0 - beta1), l.sub(gradient, first), first);
                let squares = l.mul(l.splat(1.0 - beta2), l.mul(gradient, gradient));
                let second = l.fma(l.splat(beta2), l.load_up_to(v, count), squares);
                let divisor = l.fma(l.sqrt(second), root, l.splat(eps));
                l.store_part(m, first, count);
                l.store_part(v, second, count);
                l.store_part(w, l.fma(size, l.div(first, divisor), l.mul(shrink, weight)), count);
            }
        }
    }
}

/// `to = keep·to + share·from`: moving averages, and sums of gradients.
pub fn blend(threads: &Threads, isa: Isa, keep: f32, share: f32, from: &[f32], to: &mut [f32]) {
    assert_eq!(from.len(), to.len(), "other sizes");
    let (len, to) = (to.len(), Shared::of(to));
    ranges(threads, len, |range| {
        // SAFETY: the ranges are disjoint.
        let to = unsafe { to.range(range.clone()) };
        isa.run(Blend { keep, share, from: &from[range], to });
    });
}

struct Blend<'a> {
    keep: f32,
    share: f32,
    from: &'a [f32],
    to: &'a mut [f32],
}

impl Task for Blend<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        for at in (0..self.to.len()).step_by(LANES) {
            let count = LANES.min(self.to.len() - at);
            // SAFETY: both slices are of one length, and hold `count` floats from `at` on.
            unsafe {
                let to = self.to.as_mut_ptr().add(at);
                let shared = l.mul(l.splat(self.share), l.load_up_to(self.from.as_ptr().add(at), count));
                l.store_part(to, l.fma(l.splat(self.keep), l.load_up_to(to, count), shared), count);
            }
        }
    }
}

/// The sum of all squares, added in blocks at fixed places.
pub fn squares(values: &[f32]) -> f64 {
    values.chunks(SQUARES).map(|block| f64::from(block.iter().map(|x| x * x).sum::<f32>())).sum()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn numbers(seed: u32) -> Vec<f32> {
        (0u32..37).map(|i| ((i * 7919 + seed * 104_729) % 1000) as f32 / 500.0 - 1.0).collect()
    }

    /// PyTorch's documentation of `SGD`, in `f64`.
    #[test]
    fn sgd_is_pytorchs() {
        for isa in Isa::all() {
            for nesterov in [false, true] {
                let threads = Threads::new(2).unwrap();
                let by = Sgd { rate: 0.1, factor: 0.5, momentum: 0.9, decay: 0.01, nesterov };
                let (gradient, mut weight, mut velocity) = (numbers(1), numbers(2), numbers(3));
                let (before, old) = (weight.clone(), velocity.clone());
                sgd(&threads, isa, by, &gradient, &mut weight, &mut velocity);
                for at in 0..gradient.len() {
                    let g = 0.5 * f64::from(gradient[at]) + 0.01 * f64::from(before[at]);
                    let v = 0.9 * f64::from(old[at]) + g;
                    let w = f64::from(before[at]) - 0.1 * if nesterov { g + 0.9 * v } else { v };
                    assert!((f64::from(velocity[at]) - v).abs() < 1e-6 && (f64::from(weight[at]) - w).abs() < 1e-6);
                }
            }
        }
    }

    /// PyTorch's documentation of `Adam` and `AdamW`, in `f64`.
    #[test]
    fn adam_is_pytorchs() {
        for isa in Isa::all() {
            for decoupled in [false, true] {
                let threads = Threads::new(2).unwrap();
                let betas = [0.9, 0.999];
                let by = Adam { rate: 0.01, factor: 1.0, betas, eps: 1e-8, decay: 0.1, decoupled, step: 3 };
                let (gradient, mut weight, mut first) = (numbers(1), numbers(2), numbers(3));
                let mut second: Vec<f32> = numbers(4).iter().map(|x| x * x).collect();
                let (before, m, v) = (weight.clone(), first.clone(), second.clone());
                adam(&threads, isa, by, &gradient, &mut weight, [&mut first, &mut second]);
                for at in 0..gradient.len() {
                    let mut w = f64::from(before[at]);
                    let mut g = f64::from(gradient[at]);
                    if decoupled {
                        w -= 0.01 * 0.1 * w
                    } else {
                        g += 0.1 * w
                    }
                    let m = 0.9 * f64::from(m[at]) + 0.1 * g;
                    let v = 0.999 * f64::from(v[at]) + 0.001 * g * g;
                    let divisor = (v / (1.0 - 0.999f64.powi(3))).sqrt() + 1e-8;
                    w -= 0.01 / (1.0 - 0.9f64.powi(3)) * m / divisor;
                    assert!((f64::from(weight[at]) - w).abs() < 1e-5, "{} instead of {w}", weight[at]);
                }
            }
        }
    }

    #[test]
    fn averages_and_squares() {
        let threads = Threads::new(1).unwrap();
        let mut to = vec![1.0f32, 2.0, 3.0];
        blend(&threads, Isa::detect(), 0.5, 2.0, &[1.0, 0.0, -1.0], &mut to);
        assert_eq!(to, [2.5, 1.0, -0.5]);
        assert_eq!(squares(&to), 7.5);
    }
}
