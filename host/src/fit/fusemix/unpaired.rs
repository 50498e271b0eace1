//! Items without a pair, and the teacher that says which of them may belong together: regularised CCA on the pairs
//! (SOTAlign, arXiv 2602.23353).

use std::sync::Arc;

use super::draws::Draw;
use super::feed::{Feed, Feeds};
use super::start::Begun;
use crate::device::{Device, DeviceError, Slice};
use crate::fit::cca::{self, CcaOptions, Spectra};
use crate::fit::{FitError, PairSet, Problem};
use crate::latents::Latents;
use crate::nn::Rows;
use crate::space::{Map, Projection};

/// Items without a pair, by tower, and their teacher.
pub struct Unpaired {
    /// None of a tower whose items all have pairs.
    latents: Vec<Option<Arc<dyn Latents>>>,
    teacher: Vec<Projection>,
}

/// The items of one side of a pair set that a step draws from, whether or not they have a pair.
pub(super) struct Pool {
    latents: Arc<dyn Latents>,
    teacher: Projection,
    source: Source,
}

/// The source of what the adapter takes.
enum Source {
    Feed(Arc<Feed>),
    /// The map that an adapter goes on from, at work step by step: there may be many items.
    Front(Projection),
}

impl Unpaired {
    /// The teacher of a problem's towers.
    pub(crate) fn teacher(problem: &Problem<'_>) -> Result<Vec<Projection>, FitError> {
        let options = CcaOptions::default().resolve()?;
        let map = cca::fit(problem, &Spectra::new(problem, options.standard)?, &options)?;
        let Map::Projections(teacher) = map else { unreachable!("CCA ends in projections") };
        Ok(teacher)
    }

    /// The items of each tower that has some, of which there is one, and the teacher of all.
    pub(crate) fn new(latents: Vec<Option<Arc<dyn Latents>>>, teacher: Vec<Projection>) -> Self {
        Self { latents, teacher }
    }

    /// Dimensions of the teacher's space.
    pub(super) fn width(&self) -> usize {
        self.teacher.first().map_or(0, Projection::width)
    }

    /// The numbers of items that steps over a set draw from; none if its towers have no items without a pair.
    pub(super) fn counts(&self, set: &PairSet) -> Option<[usize; 2]> {
        let of = set.towers.map(|tower| self.latents[tower].as_ref().map(|latents| latents.len()));
        of.iter().any(Option::is_some).then(|| of.map(|count| count.unwrap_or(set.len())))
    }

    /// The items of a tower on one side of a set: those without a pair, or where there are none, the paired ones.
    pub(super) fn pool(
        &self,
        feeds: &mut Feeds<'_>,
        (tower, paired): (usize, &Arc<dyn Latents>),
        begun: Option<&Begun>,
    ) -> Result<Pool, DeviceError> {
        let latents = self.latents[tower].as_ref().unwrap_or(paired).clone();
        let source = match begun {
            None => Source::Feed(feeds.feed(&latents)?),
            Some(begun) => Source::Front(begun.front(tower).clone()),
        };
        Ok(Pool { latents, teacher: self.teacher[tower].clone(), source })
    }
}

impl Pool {
    /// Starts reading the items of a later step while the device works.
    pub(super) fn read_ahead(&self, items: &Draw) {
        if let Source::Feed(feed) = &self.source {
            feed.read_ahead(items);
        }
    }

    /// Writes what the adapter takes of some of the drawn items.
    pub(super) fn write(&self, device: &dyn Device, items: &Draw, rows: Rows, out: Slice<'_>) {
        match &self.source {
            Source::Feed(feed) => feed.write(device, (items, 0), rows, out),
            Source::Front(front) => {
                let taken = front.map(&self.gathered(&items.pairs[rows.first..][..rows.count]));
                device.fill(out, &mut |out| out.copy_from_slice(&taken));
            }
        }
    }

    /// Writes the teacher's embeddings of the drawn items, `rows x width`.
    pub(super) fn teach(&self, device: &dyn Device, items: &Draw, out: Slice<'_>) {
        let embeddings = self.teacher.embed(&self.gathered(&items.pairs));
        device.fill(out, &mut |out| out.copy_from_slice(&embeddings));
    }

    fn gathered(&self, items: &[usize]) -> Vec<f32> {
        let width = self.latents.width();
        let mut rows = vec![0.0; items.len() * width];
        rows.chunks_exact_mut(width).zip(items).for_each(|(out, &item)| self.latents.copy_row(item, out));
        rows
    }
}
