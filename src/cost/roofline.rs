//! Times from counts: a layer takes as long as its operations or its memory traffic, whichever is longer (the roofline
//! model of Williams, Waterman & Patterson 2009).

use serde::{Deserialize, Serialize};

use super::Counts;
use crate::data::toml_fault;

/// What a machine can do. In TOML: `name`, `peak_gflops`, `bandwidth_gbs`, `cores`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The machine's name.
    pub name: String,
    /// Floating-point operations a second that all cores reach in a large matrix product, in 10^9.
    pub peak_gflops: f64,
    /// Bytes a second that all cores read and write, in 10^9.
    pub bandwidth_gbs: f64,
    /// Cores.
    pub cores: u32,
}

/// Why a profile cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ProfileError {
    /// It is not the TOML of a profile.
    #[error("{0}")]
    Malformed(String),
    /// A figure is not a positive number.
    #[error("`{field}` must be a positive number, not {value}")]
    NotPositive {
        /// The field.
        field: &'static str,
        /// Its value.
        value: f64,
    },
}

/// What limits a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Arithmetic.
    Compute,
    /// Memory.
    Memory,
    /// Nothing: it only renames memory.
    Free,
}

impl Bound {
    /// In one word.
    pub fn name(self) -> &'static str {
        match self {
            Bound::Compute => "compute",
            Bound::Memory => "memory",
            Bound::Free => "free",
        }
    }
}

/// A predicted time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction {
    /// The time for the whole batch, in seconds.
    pub seconds: f64,
    /// What limits it.
    pub bound: Bound,
}

impl Profile {
    /// Reads the TOML of a profile.
    ///
    /// # Errors
    /// When it is something else, or a figure is not a positive number.
    ///
    /// ```
    /// use netc::cost::Profile;
    ///
    /// let text = "name = \"laptop\"\npeak_gflops = 120.0\nbandwidth_gbs = 25.0\ncores = 4\n";
    /// let profile = Profile::parse(text)?;
    /// assert_eq!(profile.to_toml(), text);
    /// # Ok::<(), netc::cost::roofline::ProfileError>(())
    /// ```
    pub fn parse(text: &str) -> Result<Profile, ProfileError> {
        let malformed = |error: toml::de::Error| ProfileError::Malformed(toml_fault(&error));
        let profile: Profile = toml::from_str(text).map_err(malformed)?;
        let figures = [("peak_gflops", profile.peak_gflops), ("bandwidth_gbs", profile.bandwidth_gbs)];
        let figures = figures.into_iter().chain([("cores", f64::from(profile.cores))]);
        match figures.into_iter().find(|(_, value)| !value.is_finite() || *value <= 0.0) {
            Some((field, value)) => Err(ProfileError::NotPositive { field, value }),
            None => Ok(profile),
        }
    }

    /// As TOML.
    pub fn to_toml(&self) -> String {
        // A table of four plain values always serialises.
        toml::to_string(self).unwrap_or_default()
    }

    /// The time that something takes, where its counts are numbers.
    pub fn predict(&self, counts: &Counts) -> Option<Prediction> {
        let compute = counts.flops.as_u64()? as f64 / (self.peak_gflops * 1e9);
        let memory = counts.moved_bytes.as_u64()? as f64 / (self.bandwidth_gbs * 1e9);
        let bound = if compute == 0.0 && memory == 0.0 {
            Bound::Free
        } else if memory < compute {
            Bound::Compute
        } else {
            Bound::Memory
        };
        Some(Prediction { seconds: compute.max(memory), bound })
    }
}
