//! The part of the training pairs that a recipe takes: the best by a score or a run, or the most different.

use std::path::Path;
use std::sync::Arc;

use super::super::towers::Towers;
use crate::config::{ChosenBy, PairEnd, PairsEntry, Recipe, Subset};
use crate::dataset::Dataset;
use crate::device::DeviceChoice;
use crate::diversity::most_different;
use crate::latents::{Latents, Selected};
use crate::pairs::{Paired, pair};
use crate::session::model::Model;
use crate::session::{Error, Event, Session};
use crate::wording::{count, short_path};

impl Towers<'_> {
    /// The pairs of a training file that its entry takes.
    pub(super) fn taken(&self, entry: &PairsEntry, file: &Dataset, paired: Paired) -> Result<Paired, Error> {
        let Some(Subset { pairs, by }) = &entry.subset else { return Ok(paired) };
        let rows = match by {
            ChosenBy::Score(column) => largest(&scores(file, column, &paired.rows)?, *pairs),
            ChosenBy::Run(run) => {
                let (model, ends) = self.session().judge(run, self.recipe(), &entry.ends)?;
                largest(&model.agreement(&ends, file, &paired.rows)?, *pairs)
            }
            ChosenBy::Different(tower) => {
                let side = usize::from(entry.ends[0].tower != *tower);
                let go_on = |done, total| {
                    self.session().see(Event::Evaluating { what: "choosing", unit: "pairs", done, total });
                    !self.session().should_stop()
                };
                let found = most_different(&*paired.latents[side], *pairs, 0, &go_on);
                self.session().see(Event::Ended);
                found.ok_or(Error::Stopped)?
            }
        };
        if rows.is_empty() {
            return Err(Error::NoPair { path: file.path().to_owned(), training: true });
        }
        Ok(paired.only(&rows))
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

/// The numbers of these rows in a column.
fn scores(file: &Dataset, column: &str, rows: &[usize]) -> Result<Vec<Option<f64>>, Error> {
    let Dataset::Table(table) = file else {
        return Err(Error::NoColumn { path: file.path().to_owned(), column: column.to_owned() });
    };
    let column = table.column(column)?;
    let number = |row: usize| {
        let cell = std::str::from_utf8(column.cell(row)).ok()?;
        cell.trim().parse().ok().filter(|number: &f64| number.is_finite())
    };
    let scores: Vec<Option<f64>> = rows.iter().map(|row| number(*row)).collect();
    let lost = scores.iter().filter(|score| score.is_none()).count();
    if let Some(first) = scores.iter().position(Option::is_none) {
        let (path, row) = (short_path(file.path()), table.number(rows[first]));
        tracing::warn!(
            "{}, column `{}`: {} without a number, the first row {row}; such pairs are not taken",
            path.display(),
            column.name(),
            count(lost, "row")
        );
    }
    Ok(scores)
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
