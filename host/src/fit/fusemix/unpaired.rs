//! Items without a pair, and the teacher that says which of them may belong together: regularised CCA on the pairs
//! (SOTAlign, arXiv 2602.23353).

use std::sync::Arc;

use super::draws::Draw;
use super::feed::Feed;
use super::start::Begun;
use crate::device::{Device, Slice};
use crate::fit::cca::{self, CcaOptions, Spectra};
use crate::fit::{FitError, PairSet, Problem};
use crate::latents::Latents;
use crate::space::{Map, Projection};

/// Items without a pair, as the steps over each pair set take them; none where neither side has any.
pub struct Unpaired(pub(super) Vec<Option<[Taught; 2]>>);

/// The items of one side of a pair set that may have no pair, and what the teacher makes of them.
#[derive(Clone)]
pub(super) struct Taught {
    pub(super) latents: Arc<dyn Latents>,
    /// The same as the adapter takes them.
    pub(super) seen: Arc<dyn Latents>,
    pub(super) teacher: Projection,
}

/// The same at work: a step draws from them.
pub(super) struct Pool {
    /// As the adapter takes them.
    pub(super) feed: Feed,
    taught: Taught,
}

impl Unpaired {
    /// The items of the towers that have some, and their teacher; none if no tower has. The items of a tower without any
    /// are those of its pairs. `begun` is the closed form that the adapters go on from, and `sets` the pairs as they see
    /// them.
    pub fn taught(
        problem: &Problem<'_>,
        latents: &[Option<Arc<dyn Latents>>],
        (begun, sets): (Option<&Begun>, &[PairSet]),
    ) -> Result<Option<Self>, FitError> {
        if latents.iter().all(Option::is_none) {
            return Ok(None);
        }
        let options = CcaOptions::default().resolve()?;
        let map = cca::fit(problem, &Spectra::new(problem, options.standard)?, &options)?;
        let Map::Projections(teachers) = map else { unreachable!("CCA ends in projections") };
        let mut given = Vec::with_capacity(latents.len());
        for (tower, (latents, teacher)) in latents.iter().zip(&teachers).enumerate() {
            let Some(latents) = latents.clone() else {
                given.push(None);
                continue;
            };
            let seen = match begun {
                None => latents.clone(),
                Some(begun) => begun.latents(problem, tower, &*latents)?,
            };
            given.push(Some(Taught { latents, seen, teacher: teacher.clone() }));
        }
        let of_set = |(set, as_seen): (&PairSet, &PairSet)| {
            set.towers.iter().any(|&tower| given[tower].is_some()).then(|| {
                [0, 1].map(|side| {
                    let (tower, paired, seen) = (set.towers[side], &set.latents[side], &as_seen.latents[side]);
                    given[tower].clone().unwrap_or_else(|| {
                        let teacher = teachers[tower].clone();
                        Taught { latents: paired.clone(), seen: seen.clone(), teacher }
                    })
                })
            })
        };
        Ok(Some(Self(problem.sets.iter().zip(sets).map(of_set).collect())))
    }
}

impl Pool {
    pub(super) fn new(feed: Feed, taught: Taught) -> Self {
        Self { feed, taught }
    }

    /// Writes the teacher's embeddings of some items, `rows x width`.
    pub(super) fn teach(&self, device: &dyn Device, items: &Draw, out: Slice<'_>) {
        let Taught { latents, teacher, .. } = &self.taught;
        let width = latents.width();
        let mut rows = vec![0.0; items.pairs.len() * width];
        rows.chunks_exact_mut(width).zip(&items.pairs).for_each(|(out, &item)| latents.copy_row(item, out));
        let embeddings = teacher.embed(&rows);
        device.fill(out, &mut |out| out.copy_from_slice(&embeddings));
    }
}
