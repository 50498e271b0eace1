//! The part of the training pairs that a recipe takes by their latents: the best by a run, or the most different.

use std::path::Path;
use std::sync::Arc;

use super::super::towers::Towers;
use crate::bytes::Bytes;
use crate::config::{ChosenBy, PairEnd, PairsEntry, Recipe};
use crate::dataset::Dataset;
use crate::device::{DeviceChoice, available_memory};
use crate::fit::{bytes_of_choice, most_different};
use crate::latents::{Latents, Selected};
use crate::pairs::{Paired, pair};
use crate::session::model::Model;
use crate::session::{Error, Event, Session};

impl Towers<'_> {
    /// The pairs of a training file that its entry takes.
    pub(super) fn taken(&self, entry: &PairsEntry, file: &Dataset, paired: Paired) -> Result<Paired, Error> {
        let Some(subset) = &entry.subset else { return Ok(paired) };
        let session = self.session();
        let judge = match &subset.by {
            ChosenBy::Run(run) => Some(session.judge(run, self.recipe(), &entry.ends)?),
            ChosenBy::Different(_) => None,
        };
        // Of the same pairs, encoders and judge, a sweep takes the same ones many times.
        let mut of = format!("{} {subset:?} {:?}", paired.digest, judge.as_ref().map(|(model, _)| model.info()));
        for end in &entry.ends {
            for encoder in self.encoders(end.tower)? {
                of += &format!(" {:?}", encoder.fingerprint);
            }
        }
        let rows = session.chosen(of, || match (&subset.by, judge) {
            (ChosenBy::Different(tower), _) => {
                let latents = &*paired.latents[usize::from(entry.ends[0].tower != *tower)];
                self.most_different(file.path(), latents, subset.pairs)
            }
            (_, Some((model, ends))) => Ok(largest(&model.agreement(&ends, file, &paired.rows)?, subset.pairs)),
            (ChosenBy::Run(_), None) => unreachable!("a run has been opened"),
        })?;
        if rows.is_empty() {
            return Err(Error::NoPair { path: file.path().to_owned(), training: true });
        }
        Ok(paired.only(&rows))
    }

    fn most_different(&self, path: &Path, latents: &dyn Latents, count: usize) -> Result<Vec<usize>, Error> {
        let (session, rows) = (self.session(), latents.len());
        let needed = bytes_of_choice(rows, count.min(rows));
        if let Some(free) = available_memory().filter(|free| *free < needed) {
            let (needed, free) = (Bytes::rounded(needed), Bytes::rounded(free));
            return Err(Error::Choice { path: path.to_owned(), rows, needed, free });
        }
        let go_on = |done, total| {
            session.see(Event::Evaluating { what: "choosing", unit: "pairs", done, total });
            !session.should_stop()
        };
        let found = most_different(latents, count, 0, &go_on);
        session.see(Event::Ended);
        found.ok_or(Error::Stopped)
    }
}

/// The places of the largest scores, sorted; of equal ones, the first. A score that is none is not taken.
fn largest(scores: &[Option<f64>], count: usize) -> Vec<usize> {
    let mut rows: Vec<(f64, usize)> =
        scores.iter().enumerate().filter_map(|(row, score)| Some(((*score)?, row))).collect();
    rows.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut rows: Vec<usize> = rows.into_iter().take(count).map(|(_, row)| row).collect();
    rows.sort_unstable();
    rows
}

impl Session {
    /// A run that chooses among the pairs of a set, and the ends by which its towers of the same names take them.
    pub(in crate::session) fn judge(
        &self,
        run: &Path,
        recipe: &Recipe,
        ends: &[PairEnd; 2],
    ) -> Result<(Model, [PairEnd; 2]), Error> {
        let model = self.model(run, DeviceChoice::Cpu)?;
        let of = |end: &PairEnd| {
            let tower = model.tower(&recipe.towers[end.tower].name)?;
            Ok::<_, Error>(PairEnd { tower, ..end.clone() })
        };
        let ends = [of(&ends[0])?, of(&ends[1])?];
        Ok((model, ends))
    }
}

impl Model {
    /// The cosine between the items of each of these rows of a file; none where an item has no latent.
    fn agreement(&self, ends: &[PairEnd; 2], file: &Dataset, rows: &[usize]) -> Result<Vec<Option<f64>>, Error> {
        let paired = pair(self.towers().sides(ends, file)?);
        let (width, shared) = (self.space().width(), self.space().shared());
        let mut cosines: Vec<f64> = Vec::with_capacity(paired.rows.len());
        /// Pairs that are embedded together.
        const TOGETHER: usize = 8192;
        let [first, second] = paired.latents.map(Arc::<dyn Latents>::from);
        for begin in (0..paired.rows.len()).step_by(TOGETHER) {
            if self.session.should_stop() {
                return Err(Error::Stopped);
            }
            let these: Vec<usize> = (begin..paired.rows.len().min(begin + TOGETHER)).collect();
            let embed = |end: &PairEnd, latents: &Arc<dyn Latents>| {
                let some = Selected::new(latents.clone(), these.clone());
                let mut all = Vec::with_capacity(these.len() * width);
                self.space().embed_chunks::<Error>(end.tower, &some, &mut |chunk| {
                    all.extend_from_slice(chunk);
                    Ok(())
                })?;
                Ok::<_, Error>(all)
            };
            let (a, b) = (embed(&ends[0], &first)?, embed(&ends[1], &second)?);
            cosines.extend(
                a.chunks_exact(width)
                    .zip(b.chunks_exact(width))
                    .map(|(a, b)| a[..shared].iter().zip(&b[..shared]).map(|(a, b)| f64::from(a * b)).sum::<f64>()),
            );
        }
        let mut all = vec![None; file.rows(&ends[0].column)?];
        paired.rows.iter().zip(cosines).for_each(|(row, cosine)| all[*row] = Some(cosine));
        Ok(rows.iter().map(|row| all[*row]).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_are_taken_in_file_order() {
        let scores = [Some(0.1), None, Some(0.9), Some(0.5), Some(0.9), Some(-1.0)];
        assert_eq!(largest(&scores, 1), [2]);
        assert_eq!(largest(&scores, 3), [2, 3, 4]);
        assert_eq!(largest(&scores, 10), [0, 2, 3, 4, 5]);
    }
}
