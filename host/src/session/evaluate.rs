//! Evaluation of the retrieval between the towers of a model.

use serde::Serialize;
use std::collections::{BTreeMap, HashSet};
use std::io::ErrorKind;
use std::num::NonZeroUsize;
use std::sync::Arc;

use super::model::{Model, digest};
use super::towers::{Towers, row_number};
use super::{Error, Event, Session};
use crate::cache::Key;
use crate::config::{PairEnd, PairsEntry};
use crate::dataset::{DataError, Dataset, Source};
use crate::eval::{Health, HeldOut, Interval, Ranking, Retrieval, Sample, mean_recall};
use crate::run::{Overlap, RunError, Seen};
use crate::stop::GoOn;
use crate::wording::{count, short_path};

/// The result of an evaluation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// Both directions between each two towers.
    pub retrieval: Vec<Retrieval>,
    /// The mean of R@1, R@5 and R@10 over all directions, in percent, with its interval.
    pub mean: Interval,
    /// What only each two towers together tell.
    pub between: Vec<BetweenTowers>,
    /// The part of the pairs between each two towers that was trained on; empty for runs of older versions, which do
    /// not tell.
    pub shared: Vec<Overlap>,
}

/// What the held-out pairs of two towers tell of the space.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BetweenTowers {
    /// The towers' names.
    pub towers: [String; 2],
    /// Where their embeddings lie, and how evenly they are found.
    pub health: Health,
    /// The mean of R@1, R@5 and R@10 in both directions, in percent.
    pub recall: f64,
    /// The same without the space's term against hubs; none where there is no such term.
    pub recall_without_term: Option<f64>,
}

/// Two towers with held-out pairs.
pub(super) struct Tested {
    pub(super) ends: [PairEnd; 2],
    pub(super) file: Arc<Dataset>,
    pub(super) pairs: HeldOut,
    /// The part of them that was trained on, if the run tells.
    pub(super) shared: Option<Overlap>,
    /// Rows of which the run's own encoders have no latent on either side.
    pub(super) lacking: usize,
}

impl Tested {
    fn new(model: &Model, seen: Option<&Seen>, ends: [PairEnd; 2], file: &Arc<Dataset>) -> Result<Self, Error> {
        let (pairs, lacking) = held_out_but(&model.session, &model.towers(), &ends, file, &model.passed_over)?;
        let names = ends.each_ref().map(|end| model.recipe.towers[end.tower].name.as_str());
        let shared = seen.map(|seen| {
            // The first row of the pair's first item.
            let first = seen.first(names, pairs.keys.iter()).map(|at| pairs.keys[at].0);
            let row = first.map(|key| row_number(file, pairs.sides[0].rows[pairs.sides[0].index[&key]]));
            Overlap { row, ..seen.shared(names, &pairs.keys) }
        });
        if let Some(shared) = &shared {
            model.session.warn_of_overlap(file.path(), shared);
        }
        Ok(Self { pairs, ends, file: file.clone(), shared, lacking })
    }

    fn is_of(&self, ends: &[PairEnd; 2], file: &Arc<Dataset>) -> bool {
        let towers = |ends: &[PairEnd; 2]| ends.each_ref().map(|end| end.tower);
        Arc::ptr_eq(&self.file, file) && towers(&self.ends) == towers(ends)
    }

    /// The name of the file without its folder.
    pub(super) fn file_name(&self) -> String {
        self.file.path().file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// The items among which each is within the first that recall looks at.
const FEW: usize = 10;

impl Model {
    /// Retrieval in both directions between each two towers, on the recipe's test files or on `data`; each query is
    /// searched within its one of `folds` parts.
    pub fn evaluate(&self, data: Option<&Source>, folds: NonZeroUsize) -> Result<Evaluation, Error> {
        let (tested, folds) = (self.held_out(data)?, folds.get());
        if let Some(small) = tested.iter().find(|tested| tested.pairs.fewer() < folds) {
            return Err(Error::Folds { path: small.file.path().to_owned(), items: small.pairs.fewer(), folds });
        }
        for Tested { pairs, file, .. } in &tested {
            let least = pairs.fewer() / folds;
            if least <= FEW {
                let less = if folds > 1 { " or fewer parts" } else { "" };
                tracing::warn!(
                    "{}: with {} to choose from, R@{FEW} is 100 % whatever the run; take more pairs{less}",
                    short_path(file.path()).display(),
                    count(least, "item")
                );
            }
        }
        let shared = tested.iter().filter_map(|tested| tested.shared.clone()).collect();
        let (mut retrieval, mut sample, mut between) = (Vec::new(), Sample::default(), Vec::new());
        let space = &self.space;
        let (width, plain) = (space.width(), space.shared());
        for Tested { pairs, .. } in &tested {
            let embeddings =
                self.shown("embedding", "items", |go_on| pairs.embed(space, go_on))?.ok_or(Error::Stopped)?;
            let sides = embeddings.each_ref().map(Vec::as_slice);
            let ranked = |sides, width| {
                self.shown("ranking", "blocks", |go_on| pairs.rankings_of(space, (sides, width), folds, go_on))
            };
            let rankings = ranked(sides, width).ok_or(Error::Stopped)?;
            let both = rankings.each_ref().map(Ranking::retrieval);
            sample.add(pairs, &rankings);
            let mut recall_without_term = None;
            if plain < width {
                let cut = |rows: &[f32]| rows.chunks_exact(width).flat_map(|row| &row[..plain]).copied().collect();
                let sides: [Vec<f32>; 2] = sides.map(cut);
                let sides = sides.each_ref().map(Vec::as_slice);
                let found = ranked(sides, plain).ok_or(Error::Stopped)?;
                recall_without_term = Some(mean_recall(&found.each_ref().map(Ranking::retrieval)));
            }
            let towers = pairs.towers.map(|tower| self.recipe.towers[tower].name.clone());
            let health = Health::of(sides, width, plain);
            between.push(BetweenTowers { towers, health, recall: mean_recall(&both), recall_without_term });
            retrieval.extend(both);
        }
        Ok(Evaluation { retrieval, mean: sample.interval(), between, shared })
    }

    /// The result of work that is shown while it goes on, and that a stop ends.
    fn shown<T>(&self, what: &'static str, unit: &'static str, work: impl FnOnce(GoOn<'_>) -> T) -> T {
        let done = work(&|done, total| {
            self.session.see(Event::Evaluating { what, unit, done, total });
            !self.session.should_stop()
        });
        self.session.see(Event::Ended);
        done
    }

    /// The rows that a pair set is tested on: of `data`, or of its own file; with a row for each caption of any set
    /// that is tested on the same ones.
    pub(super) fn tested(&self, data: Option<&Source>, entry: &PairsEntry) -> Option<Source> {
        let rows = |entry: &PairsEntry| data.or(entry.test.as_ref()).map(|source| source.with_columns(Vec::new()));
        let own = rows(entry)?;
        let mut columns: Vec<Vec<String>> = Vec::new();
        for end in self.recipe.pairs.iter().filter(|other| rows(other).as_ref() == Some(&own)).flat_map(|set| &set.ends)
        {
            if !columns.contains(&end.columns) {
                columns.push(end.columns.clone());
            }
        }
        Some(own.with_columns(columns))
    }

    pub(super) fn retrieval(&self, tested: &[Tested]) -> Result<Vec<Retrieval>, Error> {
        let mut found = Vec::new();
        for tested in tested {
            found.extend(tested.pairs.retrieval(&self.space, &self.session.stop)?.ok_or(Error::Stopped)?);
        }
        Ok(found)
    }

    /// The pairs to evaluate on, of the recipe's test files or of `data`: each pair set whose columns the file has,
    /// then every other two towers whose items are side by side in one file.
    pub(super) fn held_out(&self, data: Option<&Source>) -> Result<Vec<Tested>, Error> {
        // What is wrong with one of them must not show after others were paid for.
        for tower in 0..self.recipe.towers.len() {
            self.towers().encoders(tower)?;
        }
        let path = self.folder.seen();
        if let Some(written) = &self.info.seen
            && digest(&path).ok().as_ref() != Some(written)
        {
            return Err(RunError::Changed { path }.into());
        }
        let seen = Seen::load(&path).map_err(|cause| Error::Read { path, cause })?;
        let mut files: BTreeMap<Source, (Arc<Dataset>, Vec<PairEnd>)> = BTreeMap::new();
        let mut tested: Vec<Tested> = Vec::new();
        for entry in &self.recipe.pairs {
            let Some(source) = self.tested(data, entry) else { continue };
            if !files.contains_key(&source) {
                let file = self.session.data(&source).map_err(|error| match error {
                    DataError::Read { path, cause } if data.is_none() && cause.kind() == ErrorKind::NotFound => {
                        Error::TestElsewhere { path }
                    }
                    error if data.is_some() => self.lacking(&source, &entry.ends, error),
                    error => error.into(),
                })?;
                files.insert(source.clone(), (file, Vec::new()));
            }
            let (file, ends) = files.get_mut(&source).expect("it was just put there");
            let columns = entry.ends.each_ref().map(|end| end.column.as_str());
            match file.paired_rows(columns) {
                // Another set may have its columns in this file.
                Err(DataError::Column { .. }) if data.is_some() && self.recipe.pairs.len() > 1 => continue,
                Err(error) if data.is_some() => return Err(self.lacking(&source, &entry.ends, error)),
                Err(error) => return Err(error.into()),
                Ok(_) => {
                    ends.extend(entry.ends.iter().filter(|end| !ends.contains(end)).cloned().collect::<Vec<_>>());
                    tested.push(Tested::new(self, seen.as_ref(), entry.ends.clone(), file)?);
                }
            }
        }
        let paired = |ends: &[PairEnd; 2]| {
            let towers = ends.each_ref().map(|end| end.tower);
            self.recipe.pairs.iter().any(|entry| entry.ends.each_ref().map(|end| end.tower) == towers)
        };
        let all: Vec<&PairEnd> = self.recipe.pairs.iter().flat_map(|entry| &entry.ends).collect();
        for (file, ends) in files.values_mut() {
            for end in &all {
                // A column has the items of one tower: `file` is pictures here, and may be sounds in another file.
                let is_taken = ends.iter().any(|known| known.column == end.column);
                if !is_taken && file.rows(&end.column).is_ok() {
                    ends.push((*end).clone());
                }
            }
            for ends in two_of(ends).into_iter().filter(|ends| !paired(ends)) {
                let known = tested.iter().any(|tested| tested.is_of(&ends, file));
                if !known && file.paired_rows(ends.each_ref().map(|end| end.column.as_str())).is_ok() {
                    match Tested::new(self, seen.as_ref(), ends, file) {
                        Ok(also) => tested.push(also),
                        // Nobody has paired these; what is paired is still measured.
                        Err(Error::NoPair { .. } | Error::NoLatent { .. }) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        match (tested.is_empty(), data) {
            (true, Some(data)) => Err(Error::OtherColumns { path: data.path.clone() }),
            (true, None) => Err(Error::NoTest),
            _ => Ok(tested),
        }
    }
}

/// Each two of `ends` from different towers, the earlier tower first.
fn two_of(ends: &[PairEnd]) -> Vec<[PairEnd; 2]> {
    let mut both = Vec::new();
    for (at, first) in ends.iter().enumerate() {
        for second in ends[at + 1..].iter().filter(|second| second.tower != first.tower) {
            let mut ends = [first.clone(), second.clone()];
            ends.sort_by_key(|end| end.tower);
            both.push(ends);
        }
    }
    both
}

/// The items of two towers in `file`.
pub(super) fn held_out(
    session: &Session,
    towers: &Towers<'_>,
    ends: &[PairEnd; 2],
    file: &Dataset,
) -> Result<HeldOut, Error> {
    held_out_but(session, towers, ends, file, &HashSet::new()).map(|(pairs, _)| pairs)
}

/// The items of two towers in `file`, but for some, and the rows that are without a latent anyway.
fn held_out_but(
    session: &Session,
    towers: &Towers<'_>,
    ends: &[PairEnd; 2],
    file: &Dataset,
    passed_over: &HashSet<Key>,
) -> Result<(HeldOut, usize), Error> {
    let sides = towers.sides(ends, file)?;
    let both = sides[0].keys.iter().zip(&sides[1].keys);
    let lacking = both.filter(|(first, second)| first.is_none() || second.is_none()).count();
    let sides = sides.map(|side| side.without(passed_over));
    let total = sides[0].keys.len();
    let held_out = HeldOut::new(ends.each_ref().map(|end| end.tower), sides);
    if held_out.matches.is_empty() {
        return Err(Error::NoPair { path: file.path().to_owned(), training: false });
    }
    if held_out.dropped > 0 {
        session.say_left_out(file.path(), held_out.dropped, total);
    }
    Ok((held_out, lacking))
}
