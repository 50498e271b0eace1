//! Items without a pair, and the teacher that says which of them may belong together: regularised CCA on the pairs
//! (SOTAlign, arXiv 2602.23353).

use std::sync::Arc;

use super::draws::Draw;
use super::feed::Feed;
use crate::device::{Device, Slice};
use crate::fit::cca::{self, CcaOptions, Spectra};
use crate::fit::{FitError, PairSet, Problem};
use crate::latents::Latents;
use crate::space::{Map, Projection};

/// Items without a pair, by tower.
pub struct Unpaired {
    /// None of a tower whose pairs have all its items.
    pub(super) latents: Vec<Option<Arc<dyn Latents>>>,
    pub(super) teacher: Vec<Projection>,
}

/// The items of one side of a pair set that a step draws from.
pub(super) struct Pool {
    /// As the adapter takes them.
    pub(super) feed: Feed,
    latents: Arc<dyn Latents>,
    teacher: Projection,
}

impl Unpaired {
    /// The items of the towers that have some, and their teacher; none if no tower has.
    pub fn taught(problem: &Problem<'_>, latents: Vec<Option<Arc<dyn Latents>>>) -> Result<Option<Self>, FitError> {
        if latents.iter().all(Option::is_none) {
            return Ok(None);
        }
        let options = CcaOptions::default().resolve()?;
        let map = cca::fit(problem, &Spectra::new(problem, options.standard)?, &options)?;
        let Map::Projections(teacher) = map else { unreachable!("CCA ends in projections") };
        Ok(Some(Self { latents, teacher }))
    }

    /// The items of either side of a set: those without a pair, or where there are none, those of the pairs. None if both
    /// sides have none.
    pub(super) fn sides(&self, set: &PairSet) -> Option<[(Arc<dyn Latents>, Projection); 2]> {
        if set.towers.iter().all(|&tower| self.latents[tower].is_none()) {
            return None;
        }
        Some([0, 1].map(|side| {
            let tower = set.towers[side];
            let latents = self.latents[tower].clone().unwrap_or_else(|| set.latents[side].clone());
            (latents, self.teacher[tower].clone())
        }))
    }
}

impl Pool {
    /// `latents` are what the teacher takes.
    pub(super) fn new(feed: Feed, latents: Arc<dyn Latents>, teacher: Projection) -> Self {
        Self { feed, latents, teacher }
    }

    /// Writes the teacher's embeddings of some items, `rows x width`.
    pub(super) fn teach(&self, device: &dyn Device, items: &Draw, out: Slice<'_>) {
        let width = self.latents.width();
        let mut latents = vec![0.0; items.pairs.len() * width];
        latents.chunks_exact_mut(width).zip(&items.pairs).for_each(|(out, &item)| self.latents.copy_row(item, out));
        let taught = self.teacher.embed(&latents);
        device.fill(out, &mut |out| out.copy_from_slice(&taught));
    }
}
