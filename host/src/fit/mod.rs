//! Methods that fit a space to pairs, one folder per method.

pub mod asif;
pub mod auto;
mod axes;
mod canonical;
pub mod cca;
mod closed_form;
mod compress;
mod coordinates;
mod demand;
mod diverse;
mod eigen;
mod error;
mod folds;
pub mod fusemix;
mod hubs;
pub mod joint;
pub mod kernel_cca;
mod onto;
mod options;
mod problem;
pub mod procrustes;
pub mod ridge;
mod setting;
mod standard;
mod unbroken;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::latents::{Latents, digests};
use crate::pairs::numbers;

pub use closed_form::{ClosedForm, Hubs, HubsOptions};
pub(crate) use compress::compressed;
pub use demand::Demand;
pub(crate) use diverse::{bytes as bytes_of_choice, most_different};
pub use error::FitError;
pub(crate) use hubs::against_hubs;
pub use problem::Problem;
pub use setting::{Engine, Setting};
pub use standard::Standard;

/// Pairs between two towers: row i of one side belongs to row i of the other.
#[derive(Clone)]
pub struct PairSet {
    /// Indices of the towers.
    pub towers: [usize; 2],
    /// The latents of either side, of equal length.
    pub latents: [Arc<dyn Latents>; 2],
    /// The number of passes over the pairs in an epoch.
    pub weight: f32,
    /// The items of either side by number: rows of the same number are of the same item. None if they are known by
    /// their latents alone.
    pub items: Option<[Arc<[u32]>; 2]>,
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

    /// The items of either side by number; where nobody says which they are, equal latents are of one.
    pub(crate) fn numbers(&self) -> [Arc<[u32]>; 2] {
        let known = self.items.clone();
        let is_whole = |items: &[Arc<[u32]>; 2]| items.iter().all(|numbers| numbers.len() == self.len());
        debug_assert!(known.as_ref().is_none_or(is_whole), "an item for each pair");
        known.filter(is_whole).unwrap_or_else(|| self.latents.each_ref().map(|latents| numbers(digests(&**latents))))
    }

    /// The pairs of each item, of the side that has fewer of them.
    pub(crate) fn groups(&self) -> Vec<Vec<usize>> {
        let groups = |numbers: &Arc<[u32]>| {
            let mut groups: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
            (0..).zip(&**numbers).for_each(|(pair, &number)| groups.entry(number).or_default().push(pair));
            groups.into_values().collect::<Vec<_>>()
        };
        let [first, second] = self.numbers().each_ref().map(groups);
        if second.len() < first.len() { second } else { first }
    }
}
