//! Requirements on towers and pairs, checked as soon as they are known and again when training begins.

use super::error::TrainError;
use crate::nn::AdapterKind;

/// The fewest pairs of a set: mixing draws two halves, each of a pair and another one.
pub const FEWEST_PAIRS: usize = 4;

/// The known facts about a tower.
#[derive(Clone, Copy, Debug)]
pub struct Planned<'a> {
    /// Its name.
    pub name: &'a str,
    /// The kind of its adapter.
    pub adapter: AdapterKind,
    /// Values per latent, if known yet.
    pub width: Option<usize>,
}

/// Checks towers, and pair sets given as two towers and a number of pairs, against the requirements of a training into
/// `shared` dimensions.
pub fn check(towers: &[Planned<'_>], sets: &[([usize; 2], usize)], shared: usize) -> Result<(), TrainError> {
    for tower in towers {
        let other = tower.width.filter(|&width| tower.adapter == AdapterKind::Identity && width != shared);
        if let Some(latents) = other {
            return Err(TrainError::Identity { tower: tower.name.to_owned(), latents, width: shared });
        }
    }
    for (set, &(ends, pairs)) in sets.iter().enumerate() {
        let [first, second] = ends.map(|end| towers[end].name.to_owned());
        if ends.iter().all(|&end| towers[end].adapter == AdapterKind::Identity) {
            return Err(TrainError::Nothing { set, first, second });
        }
        if pairs < FEWEST_PAIRS {
            return Err(TrainError::Few { set, first, second, pairs });
        }
    }
    Ok(())
}
