//! The learning rate over a run: a factor of the recipe's rate for each step.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

/// How the learning rate changes. Steps are those of the optimiser; epochs may be fractions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Schedule {
    /// The form.
    pub kind: Kind,
    /// Epochs over which the rate rises from `warmup_from` times itself, in front of the form.
    pub warmup: f64,
    /// The factor at the first step of the warm-up.
    pub warmup_from: f64,
    /// For `step`: the epochs at which the rate falls.
    pub milestones: Vec<f64>,
    /// For `step`: the factor of each fall.
    pub gamma: f64,
    /// For `cosine` and `one_cycle`: the factor at the end.
    pub end: f64,
    /// For `one_cycle`: the part of the run in which the rate rises.
    pub rise: f64,
    /// For `one_cycle`: the factor at the beginning.
    pub start: f64,
}

/// The form of a schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The same rate throughout.
    #[default]
    Constant,
    /// Falls by a factor at milestones.
    Step,
    /// Half a cosine (Loshchilov & Hutter 2016, arXiv:1608.03983).
    Cosine,
    /// Rises and falls by half a cosine each (Smith & Topin 2017, arXiv:1708.07120).
    OneCycle,
}

impl Default for Schedule {
    fn default() -> Self {
        Schedule {
            kind: Kind::Constant,
            warmup: 0.0,
            warmup_from: 0.1,
            milestones: Vec::new(),
            gamma: 0.1,
            end: 0.0,
            rise: 0.3,
            start: 0.04,
        }
    }
}

impl Schedule {
    /// The factor at a step of a run of `epochs` epochs of so many steps each.
    ///
    /// ```
    /// use netc::train::schedule::{Kind, Schedule};
    ///
    /// let cosine = Schedule { kind: Kind::Cosine, ..Schedule::default() };
    /// assert_eq!(cosine.factor(0, 10, 100.0), 1.0);
    /// assert!((cosine.factor(500, 10, 100.0) - 0.5).abs() < 1e-12);
    /// ```
    pub fn factor(&self, step: u64, epochs: u64, steps_per_epoch: f64) -> f64 {
        let epoch = step as f64 / steps_per_epoch;
        if epoch < self.warmup {
            return self.warmup_from + (1.0 - self.warmup_from) * epoch / self.warmup;
        }
        // The warm-up is no part of the form, except that milestones count from the beginning.
        let done = ((epoch - self.warmup) / (epochs as f64 - self.warmup)).clamp(0.0, 1.0);
        match self.kind {
            Kind::Constant => 1.0,
            Kind::Step => {
                let falls = self.milestones.iter().filter(|&&milestone| milestone <= epoch).count();
                self.gamma.powi(i32::try_from(falls).unwrap_or(i32::MAX))
            }
            Kind::Cosine => cosine(1.0, self.end, done),
            Kind::OneCycle if done < self.rise => cosine(self.start, 1.0, done / self.rise),
            Kind::OneCycle => cosine(1.0, self.end, (done - self.rise) / (1.0 - self.rise)),
        }
    }

    /// What is wrong with it: the key, and what it takes.
    pub fn fault(&self) -> Option<(&'static str, String)> {
        let bad = |key: &'static str, value: f64, range: &str| Some((key, format!("is {value}, but {range}")));
        let at_least = |least: f64, value: f64| value.is_finite() && least <= value;
        if !at_least(0.0, self.warmup) {
            return bad("warmup", self.warmup, "epochs are at least 0");
        }
        let factors =
            [("warmup_from", self.warmup_from), ("gamma", self.gamma), ("end", self.end), ("start", self.start)];
        if let Some((key, value)) = factors.into_iter().find(|&(_, value)| !at_least(0.0, value)) {
            return bad(key, value, "a factor is at least 0");
        }
        if !(0.0 < self.rise && self.rise < 1.0) {
            return bad("rise", self.rise, "it is a part of the run, between 0 and 1");
        }
        if let Some(&value) = self.milestones.iter().find(|&&value| !at_least(0.0, value)) {
            return bad("milestones", value, "epochs are at least 0");
        }
        if self.kind == Kind::Step && self.milestones.is_empty() {
            return Some(("milestones", "is empty, but `kind = \"step\"` falls at them".to_owned()));
        }
        None
    }
}

/// Half a cosine from one value to another.
fn cosine(from: f64, to: f64, done: f64) -> f64 {
    to + (from - to) * (1.0 + (PI * done).cos()) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(actual: f64, expected: f64) {
        assert!((actual - expected).abs() < 1e-12, "{actual} instead of {expected}");
    }

    #[test]
    fn steps_fall_at_milestones() {
        let schedule = Schedule { kind: Kind::Step, milestones: vec![2.0, 3.5], warmup: 1.0, ..Schedule::default() };
        for (step, factor) in [(0, 0.1), (5, 0.55), (10, 1.0), (19, 1.0), (20, 0.1), (34, 0.1), (35, 0.01)] {
            close(schedule.factor(step, 5, 10.0), factor);
        }
    }

    #[test]
    fn one_cycle_rises_and_falls() {
        let schedule = Schedule { kind: Kind::OneCycle, end: 0.01, ..Schedule::default() };
        close(schedule.factor(0, 10, 10.0), 0.04);
        close(schedule.factor(15, 10, 10.0), 0.52);
        close(schedule.factor(30, 10, 10.0), 1.0);
        close(schedule.factor(100, 10, 10.0), 0.01);
    }

    #[test]
    fn faults_name_their_key() {
        let key = |schedule: &Schedule| schedule.fault().map(|(key, _)| key);
        assert_eq!(key(&Schedule::default()), None);
        assert_eq!(key(&Schedule { warmup: f64::NAN, ..Schedule::default() }), Some("warmup"));
        assert_eq!(key(&Schedule { gamma: -1.0, ..Schedule::default() }), Some("gamma"));
        assert_eq!(key(&Schedule { rise: 1.0, ..Schedule::default() }), Some("rise"));
        assert_eq!(key(&Schedule { kind: Kind::Step, ..Schedule::default() }), Some("milestones"));
    }
}
