//! Methods that fit a space to pairs, one folder per method.

pub mod fusemix;
pub mod kernel_cca;

use crate::latents::Latents;

/// Pairs between two towers: row i of one side belongs to row i of the other.
pub struct PairSet {
    /// Indices of the towers.
    pub towers: [usize; 2],
    /// The latents of either side, of equal length.
    pub latents: [Box<dyn Latents>; 2],
    /// The number of passes over the pairs in an epoch.
    pub weight: f32,
}

impl PairSet {
    /// Pairs.
    pub fn len(&self) -> usize {
        self.latents[0].len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
