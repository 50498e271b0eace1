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
