//! The mode of adapters in a pass, and the rows of a pass.

use super::parameter::Version;
use crate::kernels::{Dropout, Format, Precision, hash};

/// The mode of an adapter in a pass.
#[derive(Clone, Copy)]
pub(crate) struct Mode {
    pub(crate) version: Version,
    pub(crate) precision: Precision,
    /// The format of the factors of products in memory.
    pub(crate) format: Format,
    /// The share of values that dropout drops.
    pub(crate) dropout: f32,
    /// The key of the tower in the step.
    pub(crate) key: u32,
}

impl Mode {
    /// Block `block`'s dropout.
    pub(super) fn dropout(self, block: usize) -> Dropout {
        match self.dropout {
            0.0 => Dropout::NONE,
            share => Dropout::new(share, hash(self.key ^ hash(block as u32 + 1))),
        }
    }
}

/// Rows of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rows {
    pub(crate) first: usize,
    pub(crate) count: usize,
}
