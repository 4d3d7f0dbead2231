//! Weights from a seed, the same on every machine and for ever.
//!
//! **Distribution.** Weights are uniform in `[-b, b)`. He (He et al. 2015, arXiv:1502.01852, eq. 10) keeps the
//! variance through layers with ReLU: Var(w) = 2 / fan_in, so b = sqrt(6 / fan_in). Xavier (Glorot & Bengio 2010,
//! "Understanding the difficulty of training deep feedforward neural networks", eq. 16) is for symmetric activations:
//! b = sqrt(6 / (fan_in + fan_out)). Both set biases to 0. Batch norm starts as the identity: scale 1, shift 0, running
//! mean 0, running variance 1, no batches seen. Uniform and not normal, because it needs only operations that IEEE 754
//! rounds exactly.
//!
//! **Stream.** Each parameter has its own, so that a net can gain or lose layers and the rest stays: the words of
//! ChaCha with 8 rounds (Bernstein 2008), block counter and nonce 0, whose 32-byte key is the seed in 8 little-endian
//! bytes, the 64-bit FNV-1a hash of the parameter's name in UTF-8 in 8 little-endian bytes, and 16 bytes 0.
//!
//! **Mapping.** The i-th number in row-major order comes from the i-th 32-bit word w: k = w >> 8, then
//! u = k / 2^23 - 1, exact in `f32`, then u * b, rounded once; b is computed in `f64` and rounded to `f32`.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::stored::element_count;
use super::{Bytes, Checkpoint, Dtype, StoredTensor, WeightsError};
use crate::op::Role;

/// How weights are scaled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scheme {
    /// For ReLU and its like.
    #[default]
    He,
    /// For tanh and its like.
    Xavier,
}

/// A parameter to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitSpec {
    /// Its path, which picks its stream.
    pub name: String,
    /// Its shape.
    pub shape: Vec<u64>,
    /// Inputs of one output: in_c / groups x k_h x k_w.
    pub fan_in: u64,
    /// Outputs that one input reaches: out_c / groups x k_h x k_w.
    pub fan_out: u64,
    /// What it is to its layer.
    pub role: Role,
}

/// The parameters of `specs` in their order: `f32`, counters `i64`.
///
/// # Errors
/// Names a parameter that is there twice, has no inputs, or is too large for memory.
pub fn init(specs: &[InitSpec], scheme: Scheme, seed: u64) -> Result<Checkpoint, WeightsError> {
    let mut checkpoint = Checkpoint::new();
    for spec in specs {
        let refuse = |problem: &str| WeightsError::Parameter { name: spec.name.clone(), problem: problem.into() };
        let tensor = if spec.role == Role::Counter {
            let count = element_count(&spec.shape).and_then(|n| n.checked_mul(8));
            let zeros = count.and_then(|n| filled(n, std::iter::repeat_n(0u8, n)));
            zeros.and_then(|zeros| StoredTensor::new(Dtype::I64, spec.shape.clone(), Bytes::from(zeros)))
        } else {
            values(spec, scheme, seed)?.and_then(|values| StoredTensor::from_f32(spec.shape.clone(), values))
        };
        let tensor = tensor.ok_or_else(|| refuse(&format!("{:?} is too large for memory", spec.shape)))?;
        if !checkpoint.insert(spec.name.clone(), tensor) {
            return Err(refuse("is there twice"));
        }
    }
    Ok(checkpoint)
}

/// The numbers in row-major order; `None` where memory does not suffice.
fn values(spec: &InitSpec, scheme: Scheme, seed: u64) -> Result<Option<Vec<f32>>, WeightsError> {
    let Some(count) = element_count(&spec.shape) else { return Ok(None) };
    let constant = |value| Ok(filled(count, std::iter::repeat_n(value, count)));
    match spec.role {
        Role::Weight => {
            let bound = bound(spec, scheme)?;
            let mut stream = stream(seed, &spec.name);
            Ok(filled(count, (0..count).map(|_| symmetric(stream.next_u32()) * bound)))
        }
        Role::Scale | Role::RunningVar => constant(1.0),
        Role::Slope => constant(0.25),
        Role::Bias | Role::Shift | Role::RunningMean | Role::Counter => constant(0.0),
    }
}

fn filled<T>(count: usize, values: impl Iterator<Item = T>) -> Option<Vec<T>> {
    let mut all = Vec::new();
    all.try_reserve_exact(count).ok()?;
    all.extend(values);
    Some(all)
}

fn bound(spec: &InitSpec, scheme: Scheme) -> Result<f32, WeightsError> {
    let fans = match scheme {
        Scheme::He => spec.fan_in as f64,
        Scheme::Xavier => spec.fan_in as f64 + spec.fan_out as f64,
    };
    if fans == 0.0 {
        return Err(WeightsError::Parameter { name: spec.name.clone(), problem: "a weight without inputs".into() });
    }
    Ok((6.0 / fans).sqrt() as f32)
}

fn stream(seed: u64, name: &str) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&fnv1a(name.as_bytes()).to_le_bytes());
    ChaCha8Rng::from_seed(key)
}

/// 64-bit FNV-1a, <http://www.isthe.com/chongo/tech/comp/fnv/>.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The upper 24 bits of a word as a number in [-1, 1).
fn symmetric(word: u32) -> f32 {
    (word >> 8) as f32 / 8_388_608.0 - 1.0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn weight(name: &str, shape: &[u64], fan_in: u64, fan_out: u64) -> InitSpec {
        InitSpec { name: name.into(), shape: shape.to_vec(), fan_in, fan_out, role: Role::Weight }
    }

    fn draw(spec: &InitSpec, scheme: Scheme, seed: u64) -> Vec<f32> {
        init(std::slice::from_ref(spec), scheme, seed).unwrap().get(&spec.name).unwrap().to_f32().into_owned()
    }

    #[test]
    fn the_hash_is_fnv1a() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    /// The numbers come from a second implementation, written in Python from the module's documentation.
    #[test]
    fn a_seed_means_the_same_for_ever() {
        let values = draw(&weight("conv1.weight", &[2, 3, 5, 5], 75, 50), Scheme::He, 0);
        let bits: Vec<u32> = values.iter().map(|v| v.to_bits()).collect();
        assert_eq!(values.len(), 150);
        assert_eq!(bits[..4], [0x3e8a_840d, 0x3dfa_2398, 0x3dab_cc1e, 0xbe78_e481]);
        let all: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(fnv1a(&all), 0x1e16_4b28_2d61_77d7);
        let values = draw(&weight("fc.weight", &[10, 84], 84, 10), Scheme::Xavier, u64::MAX);
        let all: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(fnv1a(&all), 0xdb36_c945_b1cd_ecb4);
    }

    #[test]
    fn every_name_and_seed_has_its_own_stream() {
        let one = weight("a", &[64], 1, 1);
        assert_eq!(draw(&one, Scheme::He, 7), draw(&one, Scheme::He, 7));
        assert_ne!(draw(&one, Scheme::He, 7), draw(&one, Scheme::He, 8));
        assert_ne!(draw(&one, Scheme::He, 7), draw(&weight("b", &[64], 1, 1), Scheme::He, 7));
        let both = init(&[weight("b", &[9], 1, 1), one.clone()], Scheme::He, 7).unwrap();
        assert_eq!(both.get("a").unwrap().to_f32()[..], draw(&one, Scheme::He, 7)[..]);
    }

    #[test]
    fn the_mapping_is_exact_at_its_ends() {
        assert_eq!(symmetric(0), -1.0);
        assert_eq!(symmetric(0x8000_0000), 0.0);
        assert_eq!(symmetric(u32::MAX), 1.0 - 2f32.powi(-23));
    }

    /// The mean of n draws has a standard deviation of b / sqrt(3 n), the variance one of b^2 sqrt(4 / (45 n)).
    #[test]
    fn mean_and_variance_are_those_of_the_papers() {
        let n = 100_000u64;
        for (scheme, variance) in [(Scheme::He, 2.0 / 50.0), (Scheme::Xavier, 2.0 / 80.0)] {
            let values = draw(&weight("w", &[n], 50, 30), scheme, 1);
            let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n as f64;
            let found = values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / n as f64;
            let b2 = 3.0 * variance;
            assert!(mean.abs() < 5.0 * (b2 / (3.0 * n as f64)).sqrt(), "{mean}");
            assert!((found - variance).abs() < 5.0 * b2 * (4.0 / (45.0 * n as f64)).sqrt(), "{found}");
            assert!(values.iter().all(|v| f64::from(v.abs()) <= b2.sqrt() * (1.0 + 1e-7)));
        }
    }

    #[test]
    fn constants_by_role() {
        for (role, value) in [
            (Role::Bias, 0.0),
            (Role::Scale, 1.0),
            (Role::Shift, 0.0),
            (Role::Slope, 0.25),
            (Role::RunningMean, 0.0),
            (Role::RunningVar, 1.0),
            (Role::Counter, 0.0),
        ] {
            let spec = InitSpec { role, ..weight("p", &[3], 0, 0) };
            assert_eq!(draw(&spec, Scheme::He, 0), [value; 3], "{role:?}");
        }
        let counter = InitSpec { role: Role::Counter, ..weight("n", &[], 0, 0) };
        let made = init(&[counter], Scheme::He, 0).unwrap();
        assert_eq!((made.get("n").unwrap().dtype(), made.get("n").unwrap().len()), (Dtype::I64, 1));
    }

    #[test]
    fn what_cannot_be_made_is_named() {
        let error = |spec: InitSpec| init(&[spec], Scheme::He, 0).unwrap_err().to_string();
        assert!(error(weight("w", &[1 << 40, 1 << 40], 1, 1)).contains("`w`: [1099511627776, 1099511627776] is too"));
        assert!(error(weight("w", &[1 << 50], 1, 1)).contains("too large"));
        assert!(error(weight("w", &[1], 0, 1)).contains("without inputs"));
        let twice = [weight("w", &[1], 1, 1), weight("w", &[1], 1, 1)];
        assert!(init(&twice, Scheme::He, 0).unwrap_err().to_string().contains("twice"));
        let counter = InitSpec { role: Role::Counter, ..weight("n", &[1 << 61], 0, 0) };
        assert!(error(counter).contains("too large"));
    }
}
