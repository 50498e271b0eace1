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

/// The items of one side of a pair set that may have no pair, and what the teacher makes of them.
pub(super) struct Taught {
    pub(super) latents: Arc<dyn Latents>,
    pub(super) teacher: Projection,
}

/// The same at work: a step draws from them.
pub(super) struct Pool {
    /// As the adapter takes them.
    pub(super) feed: Feed,
    taught: Taught,
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

    /// The items of either side of a set: those without a pair, or where there are none, those of the pairs. None if
    /// both sides have none.
    pub(super) fn sides(&self, set: &PairSet) -> Option<[Taught; 2]> {
        if set.towers.iter().all(|&tower| self.latents[tower].is_none()) {
            return None;
        }
        Some([0, 1].map(|side| {
            let tower = set.towers[side];
            let latents = self.latents[tower].clone().unwrap_or_else(|| set.latents[side].clone());
            Taught { latents, teacher: self.teacher[tower].clone() }
        }))
    }
}

impl Pool {
    pub(super) fn new(feed: Feed, taught: Taught) -> Self {
        Self { feed, taught }
    }

    /// Writes the teacher's embeddings of some items, `rows x width`.
    pub(super) fn teach(&self, device: &dyn Device, items: &Draw, out: Slice<'_>) {
        let Taught { latents, teacher } = &self.taught;
        let width = latents.width();
        let mut rows = vec![0.0; items.pairs.len() * width];
        rows.chunks_exact_mut(width).zip(&items.pairs).for_each(|(out, &item)| latents.copy_row(item, out));
        let embeddings = teacher.embed(&rows);
        device.fill(out, &mut |out| out.copy_from_slice(&embeddings));
    }
}
