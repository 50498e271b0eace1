//! What the steps of an epoch draw: pairs in random order, and the weights that they are mixed with.

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Beta, Distribution};

/// What one step draws.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Batch {
    /// Index of the pair set.
    pub(super) set: usize,
    /// Twice as many pairs as the step mixes: the first half with the second.
    pub(super) pairs: Vec<usize>,
    /// The weight of the first half.
    pub(super) lambda: f32,
}

/// A pair set: its number of pairs, and how many mixed pairs a step over it has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) pairs: usize,
    pub(super) batch: usize,
}

impl Size {
    /// Steps of an epoch.
    pub(super) fn steps(self) -> usize {
        self.pairs / (2 * self.batch)
    }
}

/// The steps of an epoch: each pair at most once, those that do not fill a batch left for other epochs; the sets' steps in
/// random order.
pub(super) fn epoch(rng: &mut ChaCha8Rng, sets: &[Size], mixing: &Beta<f32>) -> Vec<Batch> {
    let mut batches = Vec::new();
    for (set, &Size { pairs, batch }) in sets.iter().enumerate() {
        let mut order: Vec<usize> = (0..pairs).collect();
        order.shuffle(rng);
        let chunks = order.chunks_exact(2 * batch);
        batches.extend(chunks.map(|pairs| Batch { set, pairs: pairs.to_vec(), lambda: mixing.sample(rng) }));
    }
    if sets.len() > 1 {
        batches.shuffle(rng);
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn an_epoch_draws_each_pair_once_and_depends_on_the_seed() {
        let sets = [Size { pairs: 11, batch: 2 }, Size { pairs: 4, batch: 2 }];
        let mixing = Beta::new(1.0, 1.0).unwrap();
        let draw = |seed| epoch(&mut ChaCha8Rng::seed_from_u64(seed), &sets, &mixing);
        let batches = draw(1);
        assert_eq!(batches.len(), 3);
        for (set, size) in sets.iter().enumerate() {
            let mut drawn: Vec<usize> =
                batches.iter().filter(|batch| batch.set == set).flat_map(|batch| batch.pairs.clone()).collect();
            drawn.sort_unstable();
            drawn.dedup();
            assert_eq!(drawn.len(), 4 * size.steps());
        }
        assert!(batches.iter().all(|batch| (0.0..=1.0).contains(&batch.lambda)));
        assert_eq!(batches, draw(1));
        assert_ne!(batches, draw(2));
    }
}
