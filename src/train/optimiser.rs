//! Optimisers: what they are set to, and the state that they keep for each parameter.

use serde::{Deserialize, Serialize};

use crate::kernel::buffer::Buffer;
use crate::kernel::isa::Isa;
use crate::kernel::threads::Threads;
use crate::kernel::update::{self, Adam, Sgd};
use crate::op::Role;

/// An optimiser with its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Optimiser {
    /// The method.
    pub kind: Kind,
    /// The learning rate before the schedule's factor.
    pub rate: f64,
    /// For `sgd`: the share of the velocity that is kept.
    pub momentum: f64,
    /// For `sgd`: whether the step looks ahead (Sutskever et al. 2013).
    pub nesterov: bool,
    /// For `adam` and `adamw`: the shares of both moments that are kept.
    pub betas: [f64; 2],
    /// For `adam` and `adamw`: added to the root of the second moment.
    pub eps: f64,
    /// Weight decay. `sgd` and `adam` add it to the gradient, `adamw` shrinks the weight itself.
    pub decay: f64,
    /// Whether scales, shifts and biases decay too.
    pub decay_all: bool,
    /// The largest norm of all gradients together; a larger one is scaled down to it. 0 for none.
    pub clip: f64,
    /// The share of a moving average of the weights that is kept each step; evaluation and `best` then take the average.
    /// 0 for none.
    pub average: f64,
}

/// The method of an optimiser.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Stochastic gradient descent with momentum.
    #[default]
    Sgd,
    /// Adam (Kingma & Ba 2014, arXiv:1412.6980).
    Adam,
    /// Adam with decoupled decay (Loshchilov & Hutter 2017, arXiv:1711.05101).
    Adamw,
}

impl Default for Optimiser {
    fn default() -> Self {
        Optimiser {
            kind: Kind::Sgd,
            rate: 0.1,
            momentum: 0.9,
            nesterov: false,
            betas: [0.9, 0.999],
            eps: 1e-8,
            decay: 0.0,
            decay_all: false,
            clip: 0.0,
            average: 0.0,
        }
    }
}

impl Optimiser {
    /// What is wrong with it: the key, and what it takes.
    pub fn fault(&self) -> Option<(&'static str, String)> {
        let below_one = |value: f64| (0.0..1.0).contains(&value);
        let positive = |value: f64| value.is_finite() && 0.0 <= value;
        let checks = [
            ("rate", self.rate, positive(self.rate), "it is at least 0"),
            ("momentum", self.momentum, below_one(self.momentum), "it is at least 0 and below 1"),
            ("betas", self.betas[0], below_one(self.betas[0]), "both are at least 0 and below 1"),
            ("betas", self.betas[1], below_one(self.betas[1]), "both are at least 0 and below 1"),
            ("eps", self.eps, positive(self.eps), "it is at least 0"),
            ("decay", self.decay, positive(self.decay), "it is at least 0"),
            ("clip", self.clip, positive(self.clip), "a norm is at least 0 (0 for none)"),
            ("average", self.average, below_one(self.average), "it is at least 0 and below 1"),
        ];
        let wrong = checks.into_iter().find(|(_, _, holds, _)| !holds);
        wrong.map(|(key, value, _, range)| (key, format!("is {value}, but {range}")))
    }

    /// Buffers that the method keeps for each parameter.
    pub fn moments(&self) -> usize {
        match self.kind {
            Kind::Sgd => 1,
            Kind::Adam | Kind::Adamw => 2,
        }
    }

    /// The decay of a parameter for this.
    fn decay_of(&self, role: Role) -> f64 {
        if self.decay_all || role == Role::Weight { self.decay } else { 0.0 }
    }
}

/// The state of an optimiser: buffers as long as all trained parameters together.
#[derive(Debug)]
pub struct State {
    /// Velocity, or first and second moment.
    pub moments: Vec<Buffer>,
    /// Steps that have been made.
    pub step: u64,
}

/// One parameter's part in a step.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// What it is for.
    pub role: Role,
    /// Where its state begins.
    pub start: usize,
    /// The learning rate.
    pub rate: f64,
    /// Its gradient, before the factor.
    pub gradient: &'a [f32],
    /// The factor of the gradient.
    pub factor: f64,
}

impl State {
    /// For so many numbers.
    pub fn new(optimiser: &Optimiser, trained: usize) -> State {
        State { moments: (0..optimiser.moments()).map(|_| Buffer::zeros(trained)).collect(), step: 0 }
    }

    /// Changes one parameter; `step` counts from 1 and is the same for all of them.
    pub fn update(&mut self, by: &Optimiser, (threads, isa): (&Threads, Isa), part: Part, weight: &mut [f32]) {
        let (rate, factor, decay) = (part.rate as f32, part.factor as f32, by.decay_of(part.role) as f32);
        let span = part.start..part.start + weight.len();
        match (by.kind, self.moments.as_mut_slice()) {
            (Kind::Sgd, [velocity]) => {
                let sgd = Sgd { rate, factor, momentum: by.momentum as f32, decay, nesterov: by.nesterov };
                update::sgd(threads, isa, sgd, part.gradient, weight, &mut velocity[span]);
            }
            (kind, [first, second]) => {
                let adam = Adam {
                    rate,
                    factor,
                    betas: by.betas.map(|beta| beta as f32),
                    eps: by.eps as f32,
                    decay,
                    decoupled: kind == Kind::Adamw,
                    step: self.step,
                };
                update::adam(threads, isa, adam, part.gradient, weight, [&mut first[span.clone()], &mut second[span]]);
            }
            _ => unreachable!("the state has been made for the method"),
        }
    }
}
