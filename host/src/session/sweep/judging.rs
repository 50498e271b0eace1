//! The fits of a sweep, each made unless it is done, and judged on the pairs that the sweep names.

use std::collections::HashSet;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use super::super::fit::{Existing, FitOptions};
use super::super::{Error, Session};
use super::job::{Job, State};
use super::table::Judged;
use crate::cache::Key;
use crate::config::{ConfigError, Pairs, PairsEntry, Recipe, TowerEntry};
use crate::dataset::{DataError, Source};
use crate::device::DeviceChoice;
use crate::fit::fusemix::{CheckpointError, TrainError};
use crate::run::RunError;

/// What runs are judged by.
pub(super) struct Judging {
    pub(super) on: Pairs,
    /// Items of which an encoder has no latent: all are judged on the others.
    pub(super) passed_over: Arc<HashSet<Key>>,
}

impl Session {
    /// Fits a job unless it is done, and judges it.
    pub(super) fn judged(
        &self,
        job: &Job,
        recipe: &Recipe,
        by: &Judging,
        device: DeviceChoice,
    ) -> Result<Judged, Error> {
        match job.state() {
            State::Absent => self.fit_job(job, recipe, device, Existing::Keep)?,
            State::Unfinished => self.go_on(job, recipe, device)?,
            State::Finished => {}
        }
        match self.judge_run(&job.run, recipe, by, device) {
            Err(error) if is_of_run(&error, &job.run) => {
                tracing::warn!("{}: {error}; the sweep fits it again", job.run.display());
                self.go_on(job, recipe, device)?;
                self.judge_run(&job.run, recipe, by, device)
            }
            judged => judged,
        }
    }

    /// Goes on with a fit that was stopped, or begins it anew.
    fn go_on(&self, job: &Job, recipe: &Recipe, device: DeviceChoice) -> Result<(), Error> {
        match self.fit_job(job, recipe, device, Existing::Resume) {
            // Nothing was begun, or with what is no longer there.
            Err(
                Error::Run(RunError::Finished { .. })
                | Error::Train(TrainError::Checkpoint(CheckpointError::Refused { .. })),
            ) => self.fit_job(job, recipe, device, Existing::Overwrite),
            Err(error) if is_of_its_recipe(&error, &job.run) => self.fit_job(job, recipe, device, Existing::Overwrite),
            fitted => fitted,
        }
    }

    fn fit_job(&self, job: &Job, recipe: &Recipe, device: DeviceChoice, existing: Existing) -> Result<(), Error> {
        let how = FitOptions { device, seed: Some(job.seed), existing, ..FitOptions::default() };
        self.fit(recipe, &job.run, &how)?;
        // A training that is stopped leaves a checkpoint and no run.
        if self.should_stop() { Err(Error::Stopped) } else { Ok(()) }
    }

    /// Judges a run by the sweep's recipe: the run's own names the files of the time, and of the place, of its fit.
    fn judge_run(&self, run: &Path, recipe: &Recipe, by: &Judging, device: DeviceChoice) -> Result<Judged, Error> {
        let mut model = self.model(run, device)?.passing_over(&by.passed_over);
        if !names(&model.recipe).eq(names(recipe)) {
            return Err(Error::OtherTowers { path: model.folder.recipe() });
        }
        model.recipe = tested_on(recipe, by.on);
        let judged = model.judge(&[], None).map_err(|error| match error {
            // That of a run says what `sweep` does not have.
            Error::TestElsewhere { path } => {
                DataError::Read { path, cause: io::Error::from(ErrorKind::NotFound) }.into()
            }
            error => error,
        })?;
        Ok(Judged { method: model.info().method.name().to_owned(), judged })
    }
}

/// The names of a recipe's towers.
pub(super) fn names(recipe: &Recipe) -> impl Iterator<Item = &String> {
    recipe.towers.iter().map(|TowerEntry { name, .. }| name)
}

/// The recipe with the pairs that it is judged on as its test files.
fn tested_on(recipe: &Recipe, on: Pairs) -> Recipe {
    let mut recipe = recipe.clone();
    recipe.pairs.iter_mut().for_each(|entry| entry.test = judged_of(entry, on).cloned());
    recipe
}

/// The file that a pair set is judged on.
fn judged_of(entry: &PairsEntry, on: Pairs) -> Option<&Source> {
    match on {
        Pairs::Test => entry.test.as_ref(),
        Pairs::Validation => entry.validation.as_ref(),
    }
}

/// The files that a recipe is judged on.
pub(super) fn judged_on(recipe: &Recipe, on: Pairs) -> impl Iterator<Item = &Source> {
    recipe.pairs.iter().filter_map(move |entry| judged_of(entry, on))
}

/// True for an error of a run that another fit mends: it is damaged, or was made with what is no longer there.
fn is_of_run(error: &Error, run: &Path) -> bool {
    is_of_its_recipe(error, run) || is_of_its_files(error)
}

/// True for an error of the recipe in a run's folder: mistakes in other files are the user's, and no damage.
fn is_of_its_recipe(error: &Error, run: &Path) -> bool {
    match error {
        Error::Config(ConfigError::Read { path, .. } | ConfigError::At { path, .. }) => path.starts_with(run),
        _ => false,
    }
}

/// True for an error of the files that a fit leaves, or of what they were made with.
fn is_of_its_files(error: &Error) -> bool {
    use RunError::{Changed, Corrupt, Incomplete, OtherEncoder, OtherLatents};
    let is_of_file = matches!(
        error,
        Error::Run(Changed { .. } | Corrupt { .. } | Incomplete { .. } | OtherEncoder { .. } | OtherLatents { .. })
    );
    is_of_file || matches!(error, Error::Space(_) | Error::OtherTowers { .. })
}

/// True for an error of one fit, which says nothing about others.
pub(super) fn is_of_fit(error: &Error) -> bool {
    let is_of_data = matches!(
        error,
        Error::Size { .. }
            | Error::NoPair { .. }
            | Error::NoLatent { .. }
            | Error::Device(_)
            | Error::Data(_)
            | Error::Choice { .. }
            | Error::Config(_)
    );
    is_of_data || is_of_its_files(error) || matches!(error, Error::Fit(_) | Error::Train(_) | Error::Resumable(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TomlFile;

    #[test]
    fn a_recipe_in_a_run_is_the_runs_and_others_are_the_users() {
        let run = Path::new("swept/runs/a-0123456789ab-seed-0");
        let error =
            |path: &Path| Recipe::parse(TomlFile::of(path, "[tower.image]\nenc".to_owned())).unwrap_err().into();
        assert!(is_of_run(&error(&run.join("recipe.toml")), run));
        assert!(!is_of_run(&error(Path::new("swept/runs/a-0123456789ab-seed-1/recipe.toml")), run));
        assert!(!is_of_run(&error(Path::new("sweep.toml")), run));
        let gone: Error = Recipe::read(&run.join("recipe.toml")).unwrap_err().into();
        assert!(is_of_run(&gone, run) && is_of_fit(&gone));
        let others = Error::OtherTowers { path: run.join("recipe.toml") };
        assert!(is_of_run(&others, run) && is_of_fit(&others));
        assert!(!is_of_run(&Error::Stopped, run) && !is_of_fit(&Error::Stopped));
    }
}
