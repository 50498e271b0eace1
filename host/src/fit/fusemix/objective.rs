//! What a training minimises.

use serde::{Deserialize, Serialize};

/// The loss of a training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Loss {
    /// Symmetric InfoNCE: a pair among all of its row, and of its column.
    #[default]
    InfoNce,
    /// The sigmoid loss: each pair and each other two by themselves.
    Sigmoid,
}

impl Loss {
    /// The power of two that brings the gradients of a batch to the middle of f16's range: they are means over `pairs`
    /// rows, or over all pairs of those. At the lowest temperature they are about 60 then.
    pub(super) fn scale(self, pairs: usize) -> f32 {
        let pairs = pairs.next_power_of_two() as f32;
        let of_rows = (pairs / 16.0).max(1.0);
        if self == Self::Sigmoid { of_rows * pairs } else { of_rows }
    }
}

/// The pairs of an item that has several, in an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Captions {
    /// All of them.
    #[default]
    All,
    /// One, drawn anew in each epoch.
    One,
}

/// The pairs that a row of a batch belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TargetKind {
    /// Its own.
    #[default]
    Pairs,
    /// All that have an item in common with it: several positives a row.
    Items,
    /// Its own, and in part those whose latents are similar: soft targets.
    Similar,
}

impl TargetKind {
    /// True if each pair is all that its row belongs to.
    pub(super) fn is_own(&self) -> bool {
        *self == Self::Pairs
    }
}
