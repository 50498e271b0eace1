//! The comparison of several runs on the same held-out pairs.

use serde::Serialize;
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::evaluate::Tested;
use super::model::Model;
use super::{Error, Session};
use crate::cache::Key;
use crate::config::{PairEnd, PairsEntry};
use crate::dataset::{DataError, Dataset, Source};
use crate::device::DeviceChoice;
use crate::eval::{Interval, Ranking, Retrieval, Sample};
use crate::run::Overlap;

/// A run beside the others.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// The run folder.
    pub run: PathBuf,
    /// The mean of R@1, R@5 and R@10 over all directions, in percent.
    pub recall: Interval,
    /// That less the first run's, by query; none for the first.
    pub apart: Option<Interval>,
    /// Held-out pairs that would tell a difference of this size from none, four times of five; none where these do.
    pub enough: Option<usize>,
}

/// Several runs on the same pairs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Held-out pairs.
    pub pairs: usize,
    /// Rows that are left out, because an item cannot be read or an encoder of one of the runs has no latent of it.
    pub left_out: usize,
    /// The runs, in the given order.
    pub runs: Vec<Compared>,
}

/// The queries of a run, and what they must have in common with the others.
pub(super) struct Judged {
    pub(super) sample: Sample,
    /// Both directions between each two towers.
    pub(super) retrieval: Vec<Retrieval>,
    pub(super) pairs: usize,
    /// Names of towers, and digests of the pairs between them.
    pub(super) identity: Vec<([String; 2], String)>,
    /// The items of those pairs.
    pub(super) items: HashSet<Key>,
    /// The parts of them that the run was trained on.
    pub(super) shared: Vec<Overlap>,
    /// Rows that are left out, and those of them of which the run's own encoders have no latent.
    pub(super) left_out: [usize; 2],
}

impl Judged {
    /// The towers, as often as they are in pairs.
    fn towers(&self) -> impl Iterator<Item = &String> {
        self.identity.iter().flat_map(|(towers, _)| towers)
    }

    /// The difference to another run's pairs, if there is one.
    fn apart(&self, run: &Path, other: &Self, its_run: &Path) -> Option<String> {
        let lacks = |of: &Self, run: &Path, than: &Self| {
            let known = |towers: &[String; 2]| of.identity.iter().any(|(known, _)| known == towers);
            let (towers, _) = than.identity.iter().find(|(towers, _)| !known(towers))?;
            Some(format!("{} takes no pairs of towers `{}` and `{}`", run.display(), towers[0], towers[1]))
        };
        let items = || {
            let other = self.identity.iter().zip(&other.identity).find(|(one, other)| one != other);
            let (([first, second], _), _) = other?;
            Some(format!("of towers `{first}` and `{second}`, they do not take the same items"))
        };
        if self.identity == other.identity {
            return None;
        }
        let reason = lacks(other, its_run, self).or_else(|| lacks(self, run, other)).or_else(items);
        reason.or_else(|| Some("they do not take the same pairs".to_owned()))
    }
}

impl Session {
    /// Compares runs on `data`, or on the test files of the first run's recipe. All must be able to take the same
    /// pairs.
    pub fn compare(
        &self,
        runs: &[PathBuf],
        (data, columns): (&[Source], &[(String, Vec<String>)]),
        device: DeviceChoice,
    ) -> Result<Comparison, Error> {
        check_distinct(runs)?;
        let (mut models, mut judged): (Vec<Model>, Vec<Judged>) = (Vec::new(), Vec::new());
        let mut files: Vec<Source> = Vec::new();
        data.iter().cloned().for_each(|file| {
            if !files.contains(&file) {
                files.push(file);
            }
        });
        for run in runs {
            let model = self.model(run, device)?.with_columns(columns)?;
            if files.is_empty() && models.is_empty() {
                files = model.test_files();
            }
            // Before any of them encodes.
            model.check_columns(&files).map_err(|error| model.named(error))?;
            models.push(model);
        }
        for (run, model) in runs.iter().zip(&models) {
            if let Some(first) = judged.first()
                && let Some(tower) = first.towers().find(|tower| !model.has_tower(tower))
            {
                let reason = format!("{} has no tower `{tower}`", run.display());
                return Err(Error::OtherPairs { first: runs[0].clone(), other: run.clone(), reason });
            }
            let among = judged.first().map(|first| &first.identity[..]);
            judged.push(model.judge(&files, among).map_err(|error| model.named(error))?);
        }
        if let Some(passed_over) = not_of_all(&judged) {
            let passed_over = Arc::new(passed_over);
            let among = judged[0].identity.clone();
            judged.clear();
            for model in models {
                judged.push(model.passing_over(&passed_over).judge(&files, Some(&among))?);
            }
        }
        let left_out = judged.iter().map(|judged| judged.left_out[0]).max().unwrap_or(0);
        let first = judged.first().ok_or(Error::NoRuns)?;
        for (run, other) in runs.iter().zip(&judged) {
            if let Some(reason) = first.apart(&runs[0], other, run) {
                return Err(Error::OtherPairs { first: runs[0].clone(), other: run.clone(), reason });
            }
        }
        let compared = runs.iter().zip(&judged).enumerate().map(|(at, (run, judged))| {
            let apart = (at > 0).then(|| judged.sample.less(&first.sample).interval());
            let enough = apart.and_then(|Interval { mean, low, high }| {
                /// The deviations, in halves of an interval of 95 %, by which a difference must be apart from 0 so
                /// that four of five intervals do not hold 0.
                const APART: f64 = (1.96 + 0.84) / 1.96;
                let half = (high - low) / 2.0;
                let times = (APART * half / mean.abs().max(0.1)).powi(2).max(1.0);
                (half > 0.0 && low <= 0.0 && high >= 0.0).then_some((judged.pairs as f64 * times).ceil() as usize)
            });
            Compared { run: run.clone(), recall: judged.sample.interval(), apart, enough }
        });
        Ok(Comparison { pairs: first.pairs, left_out, runs: compared.collect() })
    }
}

/// The items that are not in the pairs of all runs, if these are pairs of the same towers and most of each are in all:
/// an encoder may have no latent of an item that others have.
fn not_of_all(judged: &[Judged]) -> Option<HashSet<Key>> {
    let (first, others) = judged.split_first()?;
    let towers = |judged: &Judged| judged.identity.iter().map(|(towers, _)| towers.clone()).collect::<Vec<_>>();
    if others.iter().all(|other| other.identity == first.identity)
        || others.iter().any(|other| towers(other) != towers(first))
    {
        return None;
    }
    let is_of_all = |item: &Key| judged.iter().all(|judged| judged.items.contains(item));
    let (common, apart): (HashSet<Key>, HashSet<Key>) =
        judged.iter().flat_map(|judged| judged.items.iter().copied()).partition(is_of_all);
    let is_most = judged.iter().all(|judged| 2 * common.len() >= judged.items.len());
    is_most.then_some(apart)
}

/// Refuses a run that is given twice, by its name or by a link to it.
pub(super) fn check_distinct(runs: &[PathBuf]) -> Result<(), Error> {
    let place = |run: &PathBuf| fs::canonicalize(run).unwrap_or_else(|_| run.clone());
    let places: Vec<PathBuf> = runs.iter().map(place).collect();
    for (at, (run, place)) in runs.iter().zip(&places).enumerate() {
        if let Some(first) = places[..at].iter().position(|earlier| earlier == place) {
            return Err(Error::SameRuns { first: runs[first].clone(), other: run.clone() });
        }
    }
    Ok(())
}

impl Model {
    /// The files of the recipe's pair sets that `of` picks, each once.
    pub(super) fn files<'a>(&'a self, of: impl Fn(&'a PairsEntry) -> Option<&'a Source>) -> Vec<Source> {
        let mut files: Vec<Source> = Vec::new();
        for file in self.recipe.pairs.iter().filter_map(|entry| Some(of(entry)?.with_columns(Vec::new()))) {
            if !files.contains(&file) {
                files.push(file);
            }
        }
        files
    }

    /// The test files of the recipe, each once.
    pub(super) fn test_files(&self) -> Vec<Source> {
        self.files(|entry| entry.test.as_ref())
    }

    /// An error if none of its pair sets has its columns in one of the files.
    fn check_columns(&self, files: &[Source]) -> Result<(), Error> {
        for source in files {
            let mut wrong = None;
            for entry in &self.recipe.pairs {
                let Some(source) = self.tested(Some(source), entry) else { continue };
                let columns = entry.ends.each_ref().map(|end| end.column.as_str());
                match self.session.data(&source).and_then(|file| file.paired_rows(columns)) {
                    Err(error @ DataError::Column { .. }) => {
                        wrong.get_or_insert(self.lacking(&source, &entry.ends, error));
                    }
                    // What else is wrong is said where it is judged.
                    _ => return Ok(()),
                }
            }
            wrong.map_or(Ok(()), Err)?;
        }
        Ok(())
    }

    fn has_tower(&self, name: &str) -> bool {
        self.recipe.towers.iter().any(|tower| tower.name == name)
    }

    /// An error about columns that tells which tower of this run is without items.
    fn named(&self, error: Error) -> Error {
        let ends = || self.recipe.pairs.iter().flat_map(|entry| &entry.ends);
        let (path, end) = match &error {
            Error::Data(DataError::Column { path, name, .. }) | Error::OtherColumn { path, column: name, .. } => {
                (path, ends().find(|end| end.column == *name))
            }
            Error::OtherColumns { path } => {
                let file = Dataset::open(path).ok();
                let lacks = |end: &&PairEnd| file.as_ref().is_some_and(|file| file.rows(&end.column).is_err());
                (path, ends().find(lacks))
            }
            _ => return error,
        };
        let Some(end) = end else { return error };
        let (run, tower) = (self.folder.path().to_owned(), self.recipe.towers[end.tower].name.clone());
        Error::NoItems { path: path.clone(), column: end.column.clone(), run, tower }
    }

    /// Its queries between all towers, or those that the pairs of another run are `among`.
    pub(super) fn judge(&self, files: &[Source], among: Option<&[([String; 2], String)]>) -> Result<Judged, Error> {
        let mut tested: Vec<Tested> = Vec::new();
        match files {
            [] => tested = self.held_out(None)?,
            files => {
                for file in files {
                    tested.extend(self.held_out(Some(file))?);
                }
            }
        }
        let names = |towers: [usize; 2]| towers.map(|tower| self.recipe.towers[tower].name.clone());
        if let Some(among) = among {
            tested.retain(|tested| among.iter().any(|(towers, _)| *towers == names(tested.pairs.towers)));
        }
        let sets = || tested.iter().map(|tested| &tested.pairs);
        let (mut sample, mut retrieval) = (Sample::default(), Vec::new());
        for pairs in sets() {
            let rankings = pairs.rankings(&self.space, &self.session.stop)?.ok_or(Error::Stopped)?;
            sample.add(pairs, &rankings);
            retrieval.extend(rankings.iter().map(Ranking::retrieval));
        }
        let identity = sets().map(|pairs| (names(pairs.towers), pairs.digest.clone())).collect();
        let pairs = sets().map(|pairs| pairs.matches.len()).sum();
        let items = sets().flat_map(|pairs| &pairs.keys).flat_map(|(one, other)| [*one, *other]).collect();
        let shared = tested.iter().filter_map(|tested| tested.shared.clone());
        let shared = shared.filter(|shared| !shared.is_nothing()).collect();
        let left_out =
            [tested.iter().map(|tested| tested.pairs.dropped).sum(), tested.iter().map(|tested| tested.lacking).sum()];
        Ok(Judged { sample, retrieval, pairs, identity, items, shared, left_out })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Setup;

    #[test]
    fn no_runs_are_an_error_and_no_panic() {
        let compared = Session::new(Setup::new("plugins.toml")).compare(&[], (&[], &[]), DeviceChoice::Cpu);
        assert!(matches!(compared, Err(Error::NoRuns)));
    }
}
