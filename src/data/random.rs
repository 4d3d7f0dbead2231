//! Random numbers that depend on what they are for, never on who draws them when.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// The stream for a purpose and three numbers, such as seed, epoch and sample.
pub(crate) fn stream(purpose: &str, numbers: [u64; 3]) -> ChaCha8Rng {
    let mut key = [0; 32];
    let bytes = numbers.iter().flat_map(|number| number.to_le_bytes());
    key.iter_mut().zip(bytes).for_each(|(to, byte)| *to = byte);
    key[24..].iter_mut().zip(purpose.bytes()).for_each(|(to, byte)| *to = byte);
    ChaCha8Rng::from_seed(key)
}

/// A number in `0..1`.
pub(crate) fn uniform(random: &mut ChaCha8Rng) -> f64 {
    (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// A number in `low..high`.
pub(crate) fn between(random: &mut ChaCha8Rng, low: f64, high: f64) -> f64 {
    low + (high - low) * uniform(random)
}

/// A whole number below `count`, each equally likely (Lemire 2018, arXiv:1805.10941, without the rejection that a bias
/// below 2⁻³² would need).
pub(crate) fn below(random: &mut ChaCha8Rng, count: usize) -> usize {
    ((u128::from(random.next_u64()) * count as u128) >> 64) as usize
}

/// A number from the normal distribution (Box & Muller 1958).
pub(crate) fn normal(random: &mut ChaCha8Rng) -> f64 {
    let radius = (-2.0 * (1.0 - uniform(random)).ln()).sqrt();
    radius * (std::f64::consts::TAU * uniform(random)).cos()
}

/// A number from the beta distribution with both parameters `alpha` (Jöhnk 1964).
pub(crate) fn beta(random: &mut ChaCha8Rng, alpha: f64) -> f64 {
    loop {
        let (x, y) = (uniform(random).powf(1.0 / alpha), uniform(random).powf(1.0 / alpha));
        if x + y <= 1.0 && 0.0 < x + y {
            return x / (x + y);
        }
    }
}

/// Puts the items in any order, each equally likely (Fisher & Yates).
pub(crate) fn shuffle<T>(items: &mut [T], random: &mut ChaCha8Rng) {
    for at in (1..items.len()).rev() {
        items.swap(at, below(random, at + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_by_each_number_and_by_purpose() {
        let first = |purpose, numbers| stream(purpose, numbers).next_u64();
        let base = first("sample", [1, 2, 3]);
        assert_eq!(base, first("sample", [1, 2, 3]));
        for other in [first("order", [1, 2, 3]), first("sample", [0, 2, 3]), first("sample", [1, 2, 4])] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn numbers_have_the_moments_of_their_distribution() {
        let random = &mut stream("test", [0; 3]);
        let count = 20_000;
        let mut moments = |draw: &dyn Fn(&mut ChaCha8Rng) -> f64| {
            let values: Vec<f64> = (0..count).map(|_| draw(random)).collect();
            let mean = values.iter().sum::<f64>() / f64::from(count);
            (mean, values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / f64::from(count))
        };
        // Four standard errors.
        let close = |(mean, variance): (f64, f64), wanted: (f64, f64)| {
            assert!((mean - wanted.0).abs() < 4.0 * (wanted.1 / f64::from(count)).sqrt(), "{mean} {wanted:?}");
            assert!((variance / wanted.1 - 1.0).abs() < 0.06, "{variance} {wanted:?}");
        };
        close(moments(&uniform), (0.5, 1.0 / 12.0));
        close(moments(&normal), (0.0, 1.0));
        close(moments(&|random| beta(random, 0.5)), (0.5, 0.125));
        close(moments(&|random| below(random, 5) as f64), (2.0, 2.0));
    }
}
