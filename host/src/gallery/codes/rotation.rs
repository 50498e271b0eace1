//! A random rotation that takes O(n log n): signs, then a Walsh-Hadamard transform; twice, and again until there are
//! enough bits.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The fewest bits of a code: narrow vectors are turned in several ways.
const BITS: usize = 512;
/// Codes of one version are made with one seed.
const SEED: u64 = 0x0066_7573_656d_6978;

/// The rotation of vectors of a width, which are padded with zeros.
#[derive(Debug)]
pub(super) struct Rotation {
    /// A power of two, at least 64.
    padded: usize,
    /// For each turn, two signs a value.
    turns: Vec<[Vec<f32>; 2]>,
}

impl Rotation {
    pub(super) fn new(width: usize) -> Self {
        let padded = width.next_power_of_two().max(64);
        let mut rng = ChaCha8Rng::seed_from_u64(SEED ^ width as u64);
        let mut signs = || (0..padded).map(|_| if rng.random::<bool>() { 1.0 } else { -1.0 }).collect();
        let turns = (0..BITS.div_ceil(padded)).map(|_| [signs(), signs()]).collect();
        Self { padded, turns }
    }

    /// Bits of a code.
    pub(super) fn bits(&self) -> usize {
        self.padded * self.turns.len()
    }

    /// The ways in which a vector is turned.
    pub(super) fn turns(&self) -> usize {
        self.turns.len()
    }

    /// A vector, turned in each of the ways; each keeps its length.
    pub(super) fn turned(&self, vector: &[f32]) -> Vec<f32> {
        let mut all = Vec::with_capacity(self.bits());
        for turn in &self.turns {
            let start = all.len();
            all.extend_from_slice(vector);
            all.resize(start + self.padded, 0.0);
            let values = &mut all[start..];
            for signs in turn {
                values.iter_mut().zip(signs).for_each(|(value, sign)| *value *= sign);
                transform(values);
            }
        }
        all
    }
}

/// The Walsh-Hadamard transform in place, so scaled that lengths stay.
fn transform(values: &mut [f32]) {
    let mut half = 1;
    while half < values.len() {
        for pair in values.chunks_exact_mut(2 * half) {
            let (low, high) = pair.split_at_mut(half);
            for (low, high) in low.iter_mut().zip(high) {
                (*low, *high) = (*low + *high, *low - *high);
            }
        }
        half *= 2;
    }
    let scale = 1.0 / (values.len() as f32).sqrt();
    values.iter_mut().for_each(|value| *value *= scale);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_stay_as_they_are_in_each_turn() {
        for width in [3, 64, 100, 700] {
            let rotation = Rotation::new(width);
            let vector =
                |seed: usize| (0..width).map(|at| ((at * 7 + seed * 13) % 11) as f32 - 5.0).collect::<Vec<_>>();
            let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
            let (a, b) = (vector(1), vector(2));
            let (turned, other) = (rotation.turned(&a), rotation.turned(&b));
            assert_eq!(turned.len(), rotation.bits());
            assert!(rotation.bits() >= BITS && rotation.bits().is_multiple_of(64));
            for (turned, other) in turned.chunks(rotation.padded).zip(other.chunks(rotation.padded)) {
                assert!((product(turned, other) - product(&a, &b)).abs() < 1e-3 * product(&a, &a), "{width}");
            }
        }
    }
}
