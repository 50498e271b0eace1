//! Sizes of pair sets, which determine the number of steps in an epoch.

use super::objective::Captions;
use super::options::TrainOptions;
use crate::fit::PairSet;

/// A pair set: its number of pairs, the rows of a step over it, and the passes over it in an epoch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) pairs: usize,
    pub(super) batch: usize,
    pub(super) weight: f32,
    /// Items without a pair, of either side.
    pub(super) unpaired: Option<[usize; 2]>,
}

impl Size {
    /// Steps of an epoch that mixes pairs or does not.
    pub(super) fn steps(self, mixes: bool) -> usize {
        let drawn = if mixes { 2 * self.batch } else { self.batch };
        ((self.weight * (self.pairs / drawn) as f32).round() as usize).max(1)
    }
}

impl TrainOptions {
    /// The pairs of an epoch of each set, with the set's weight.
    pub fn sizes(&self, sets: &[PairSet]) -> Vec<(usize, f32)> {
        let pairs = |set: &PairSet| match self.captions.unwrap_or_default() {
            Captions::All => set.len(),
            Captions::One => set.groups().len(),
        };
        sets.iter().map(|set| (pairs(set), set.weight)).collect()
    }
}

/// The alpha below which a Beta distribution is 0 or 1 and nothing is mixed.
pub(super) const LEAST_ALPHA: f32 = 1e-3;
