//! The draws of an epoch's steps: pairs in random order, and their mixing weights.

use rand::seq::index::sample;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Beta, Distribution};

use super::augment::Mixup;
use super::pass::Batch;
use super::resolved::Options;
use super::sizes::{LEAST_ALPHA, Size};

/// The pairs of one step.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Draw {
    /// Index of the pair set.
    pub(super) set: usize,
    /// One pair per row of the step; with mixing, followed by one partner per row.
    pub(super) pairs: Vec<usize>,
    /// The weights of the first pairs; none without mixing.
    pub(super) lambdas: Vec<f32>,
    /// Those of the second side, where it has weights of its own.
    pub(super) others: Vec<f32>,
    /// The weights of the first side where the embeddings of pairs are mixed, as negatives.
    pub(super) arcs: Vec<f32>,
    /// The seed of the change of single latents; none where they stay as they are.
    pub(super) changed: Option<u64>,
    /// Items without a pair of either side; none of a set without any.
    pub(super) unpaired: Option<Box<[Self; 2]>>,
}

impl Draw {
    /// Rows as they are.
    pub(super) fn plain(set: usize, pairs: Vec<usize>) -> Self {
        let (lambdas, others, arcs) = (Vec::new(), Vec::new(), Vec::new());
        Self { set, pairs, lambdas, others, arcs, changed: None, unpaired: None }
    }

    /// The weights of a side's first items.
    pub(super) fn weights(&self, side: usize) -> &[f32] {
        if side == 1 && !self.others.is_empty() { &self.others } else { &self.lambdas }
    }

    /// The rows of either side.
    pub(super) fn batches(&self) -> [Batch; 2] {
        [0, 1].map(|side| {
            let unpaired = self.unpaired.as_ref().map_or(0, |unpaired| unpaired[side].pairs.len());
            Batch { pairs: self.rows(), unpaired }
        })
    }

    /// Pairs of the step: of rows that are mixed in a ring, each is there twice.
    pub(super) fn drawn(&self) -> usize {
        let is_ring = self.pairs.len() > self.rows() && self.pairs[self.rows()] == self.pairs[1 % self.rows()];
        if is_ring { self.rows() } else { self.pairs.len() }
    }

    /// Rows of the step: the paper's B.
    pub(super) fn rows(&self) -> usize {
        if self.lambdas.is_empty() { self.pairs.len() } else { self.lambdas.len() }
    }
}

/// What the draws of a set are made from.
#[derive(Clone, Copy)]
pub(super) struct Deck<'a> {
    pub(super) size: Size,
    /// The pairs of each item, of which an epoch takes one; none if it takes all pairs.
    pub(super) groups: Option<&'a [Vec<usize>]>,
}

impl Deck<'_> {
    /// The pairs of a pass over the set, in random order.
    fn shuffle(self, rng: &mut ChaCha8Rng, order: &mut Vec<usize>) {
        if let Some(groups) = self.groups {
            order.clear();
            order.extend(groups.iter().filter_map(|pairs| pairs.choose(rng)));
        }
        order.shuffle(rng);
    }
}

/// The steps of epoch `epoch`, from 0, determined by the seed: each pair as often as its set's weight says, with pairs
/// that do not fill a batch left for other epochs; the sets' steps are in random order.
pub(super) fn epoch(seed: u64, epoch: usize, sets: &[Deck<'_>], options: &Options) -> Vec<Draw> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    // The adapters began with stream 0.
    rng.set_stream(1 + epoch as u64);
    let (mixes, labels) = (options.mixes(epoch), options.labels(epoch));
    let mixing = Beta::new(options.alpha(epoch).max(LEAST_ALPHA), options.alpha(epoch).max(LEAST_ALPHA));
    let mixing = mixing.expect("alpha is above 0");
    let mut draws = Vec::new();
    for (set, deck) in sets.iter().enumerate() {
        let size = deck.size;
        let drawn = if mixes { 2 * size.batch } else { size.batch };
        let (mut order, mut next) = ((0..size.pairs).collect::<Vec<_>>(), size.pairs);
        for _ in 0..size.steps(mixes) {
            if next + drawn > order.len() {
                deck.shuffle(&mut rng, &mut order);
                next = 0;
            }
            let mut pairs = order[next..next + drawn].to_vec();
            next += drawn;
            let mut weights = |are_meant: bool| match options.mixup {
                _ if !are_meant => Vec::new(),
                Mixup::Batch => vec![mixing.sample(&mut rng); size.batch],
                Mixup::Pair => (0..size.batch).map(|_| mixing.sample(&mut rng)).collect(),
            };
            let mut lambdas = weights(mixes || labels);
            let mut others = weights(mixes && !options.shares_weights());
            let arcs = weights(options.bends(epoch));
            if labels {
                // One side, with the next pair of the step, which is a random one.
                pairs.extend((0..drawn).map(|row| order[next - drawn + (row + 1) % drawn]));
                others = vec![1.0; drawn];
                if rng.random() {
                    std::mem::swap(&mut lambdas, &mut others);
                }
            }
            let changed = options.augment.changes().then(|| rng.random());
            draws.push(Draw { lambdas, others, arcs, changed, ..Draw::plain(set, pairs) });
        }
    }
    if sets.len() > 1 {
        draws.shuffle(&mut rng);
    }
    for draw in &mut draws {
        let Some(pools) = sets[draw.set].size.unpaired else { continue };
        let mut side = |items: usize| {
            Draw::plain(
                draw.set,
                sample(&mut rng, items, options.unpaired_batch.map_or(items, |batch| batch.min(items))).into_vec(),
            )
        };
        draw.unpaired = Some(Box::new(pools.map(&mut side)));
    }
    draws
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::fusemix::TrainOptions;
    use crate::fit::fusemix::augment::Augment;

    fn draw(seed: u64, number: usize, sets: &[Size], options: TrainOptions) -> Vec<Draw> {
        let decks: Vec<_> = sets.iter().map(|size| Deck { size: *size, groups: None }).collect();
        epoch(seed, number, &decks, &options.resolve(&[(100, 1.0)]).unwrap())
    }

    /// The pairs of a set that were drawn, in order.
    fn drawn(draws: &[Draw], set: usize) -> Vec<usize> {
        let mut drawn: Vec<usize> =
            draws.iter().filter(|draw| draw.set == set).flat_map(|draw| draw.pairs.clone()).collect();
        drawn.sort_unstable();
        drawn
    }

    #[test]
    fn an_epoch_draws_each_pair_once_and_depends_on_the_seed_and_its_number() {
        let sets = [11, 4].map(|pairs| Size { pairs, batch: 2, weight: 1.0, unpaired: None });
        let draws = draw(1, 0, &sets, TrainOptions::default());
        assert_eq!(draws.len(), 3);
        for (set, size) in sets.iter().enumerate() {
            let mut pairs = drawn(&draws, set);
            pairs.dedup();
            assert_eq!(pairs.len(), 4 * size.steps(true));
        }
        assert!(draws.iter().flat_map(|batch| &batch.lambdas).all(|lambda| (0.0..=1.0).contains(lambda)));
        assert_eq!(draws, draw(1, 0, &sets, TrainOptions::default()));
        assert_ne!(draws, draw(2, 0, &sets, TrainOptions::default()));
        assert_ne!(draws, draw(1, 1, &sets, TrainOptions::default()));
    }

    #[test]
    fn a_weight_is_how_often_an_epoch_passes_over_a_set() {
        let sets = [3.0, 0.5].map(|weight| Size { pairs: 8, batch: 2, weight, unpaired: None });
        let draws = draw(1, 0, &sets, TrainOptions::default());
        let thrice: Vec<usize> = (0..8).flat_map(|pair| [pair; 3]).collect();
        assert_eq!((drawn(&draws, 0), drawn(&draws, 1).len()), (thrice, 4));
    }

    #[test]
    fn of_an_item_with_several_pairs_each_pass_takes_one() {
        let size = Size { pairs: 4, batch: 2, weight: 1.0, unpaired: None };
        let groups = [vec![0, 1, 2], vec![3], vec![4, 5], vec![6]];
        let options = TrainOptions::default().resolve(&[(100, 1.0)]).unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for number in 0..40 {
            let draws = epoch(1, number, &[Deck { size, groups: Some(&groups) }], &options);
            for draw in draws {
                assert!(groups.iter().all(|group| draw.pairs.iter().filter(|pair| group.contains(pair)).count() == 1));
                seen.extend(draw.pairs);
            }
        }
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn sides_may_have_weights_of_their_own_and_changed_latents_a_seed() {
        let sets = [Size { pairs: 40, batch: 5, weight: 1.0, unpaired: None }];
        let of = |options| draw(1, 0, &sets, options).remove(0);
        let unshared = of(TrainOptions { mixup_shared: Some(false), ..TrainOptions::default() });
        assert!(unshared.others.len() == 5 && unshared.weights(0) != unshared.weights(1));
        let shared = of(TrainOptions::default());
        assert_eq!((shared.weights(0), shared.changed), (shared.weights(1), None));
        let noisy = draw(1, 0, &sets, TrainOptions { augment: Some(Augment::Noise), ..TrainOptions::default() });
        let labelled = draw(1, 0, &sets, TrainOptions { augment: Some(Augment::IMix), ..TrainOptions::default() });
        assert_eq!(labelled.len(), 8);
        let sides: Vec<usize> = labelled.iter().map(|draw| usize::from(draw.lambdas == [1.0; 5])).collect();
        assert!(sides.contains(&0) && sides.contains(&1), "{sides:?}");
        for (draw, side) in labelled.iter().zip(sides) {
            assert!(draw.weights(1 - side) == [1.0; 5] && draw.weights(side) != [1.0; 5]);
            assert_eq!(draw.pairs[5..9], draw.pairs[1..5]);
            assert_eq!((draw.pairs[9], draw.rows()), (draw.pairs[0], 5));
        }
        let bent = of(TrainOptions { augment: Some(Augment::M2Mix), ..TrainOptions::default() });
        assert!(bent.arcs.len() == 5 && bent.lambdas.is_empty() && bent.pairs.len() == 5);
        // Nothing is mixed, so a pass has twice the steps; each has a seed of its own.
        assert!(noisy.len() == 8 && noisy[0].lambdas.is_empty() && noisy[0].changed != noisy[1].changed);
    }

    #[test]
    fn one_lambda_for_a_batch_or_for_each_pair_or_none() {
        let sets = [Size { pairs: 40, batch: 5, weight: 1.0, unpaired: None }];
        let of = |options| draw(1, 0, &sets, options).remove(0);
        let batch = of(TrainOptions { mixup: Some(Mixup::Batch), ..TrainOptions::default() });
        assert!(batch.lambdas.len() == 5 && batch.lambdas.iter().all(|lambda| *lambda == batch.lambdas[0]));
        let pair = of(TrainOptions { mixup: Some(Mixup::Pair), ..TrainOptions::default() });
        assert!(pair.lambdas.len() == 5 && pair.lambdas[1..].iter().all(|lambda| *lambda != pair.lambdas[0]));
        let none = of(TrainOptions { mixup_alpha: Some(0.0), ..TrainOptions::default() });
        assert!(none.lambdas.is_empty() && none.pairs.len() == 5 && none.rows() == 5);
    }
}
