//! A setting at work, and what its fits found.

use crate::eval::Sample;
use crate::fit::setting::Setting;

/// A candidate at work.
pub(super) struct Candidate {
    pub(super) setting: Setting,
    /// The queries of each fold that it was tried on.
    pub(super) samples: Vec<Sample>,
    /// The reason why it failed.
    pub(super) error: Option<String>,
}

impl Candidate {
    /// All queries of the first `folds` folds.
    pub(super) fn sample(&self, folds: usize) -> Sample {
        let mut all = Sample::default();
        self.samples.iter().take(folds).for_each(|sample| all.append(sample));
        all
    }

    /// Its recall less another's on the folds that both were tried on.
    pub(super) fn less(&self, other: &Self) -> Sample {
        let folds = self.samples.len().min(other.samples.len());
        self.sample(folds).less(&other.sample(folds))
    }
}
