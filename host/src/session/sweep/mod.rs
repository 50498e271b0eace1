//! A sweep: many recipes, fitted with several seeds each and judged on the same pairs. What is finished stays, so
//! that a sweep that was stopped goes on.

mod job;
mod table;

use std::path::Path;

use super::fit::{Existing, FitOptions, Plan};
use super::forecast::ColumnForecast;
use super::towers::Towers;
use super::{Error, Event, Session, encode};
use crate::config::{DerivedEncoder, Pairs, Recipe, Sweep};
use crate::dataset::Dataset;
use crate::device::DeviceChoice;
use crate::encode::Wanted;
use crate::fit::fusemix::{CheckpointError, TrainError};
use crate::run::RunError;

pub use table::{SweepAxis, SweepDirection, SweepRow, SweepRun, SweepTable};

use job::{Job, State};
use table::{Board, Judgement};

/// What a sweep will do.
pub struct SweepPlan {
    /// The session with the sweep's own encoders.
    session: Session,
    /// The columns that are encoded, each once for each encoder.
    pub columns: Vec<ColumnForecast>,
    /// Fits, of all variations and seeds; what no seed changes is fitted once.
    pub fits: usize,
    /// Those that an earlier run has done.
    pub done: usize,
    /// Seconds that the others take on two cores, as far as encoders tell the widths of their latents; a choice of
    /// the method takes its budget.
    pub seconds: Option<f64>,
}

impl Session {
    /// What a sweep into `out` will do. All recipes are checked against data and encoders before anything is sent.
    pub fn plan_sweep(&self, sweep: &Sweep, out: &Path) -> Result<SweepPlan, Error> {
        if out.is_file() {
            return Err(RunError::NoFolder { path: out.to_owned(), made: true }.into());
        }
        let session = self.deriving(sweep);
        session.check_derived(sweep)?;
        let mut seconds = Some(0.0);
        let mut recipes: Vec<&Recipe> = Vec::new();
        let jobs = job::jobs(sweep, out)?;
        for (at, variation) in sweep.variations.iter().enumerate() {
            let plan = Plan::new(&variation.recipe)?;
            let towers = Towers::new(&session, &variation.recipe, None);
            plan.check(&towers)?;
            if sweep.on == Pairs::Validation && variation.recipe.pairs.iter().all(|entry| entry.validation.is_none()) {
                return Err(Error::NoValidation);
            }
            if sweep.on == Pairs::Test && variation.recipe.pairs.iter().all(|entry| entry.test.is_none()) {
                return Err(Error::NoTestInSweep);
            }
            let left = jobs.iter().filter(|job| job.variation == at && job.state() != State::Finished).count();
            let each = if left > 0 { plan.seconds(&towers)? } else { Some(0.0) };
            seconds = seconds.zip(each).map(|(seconds, each)| seconds + left as f64 * each);
            recipes.push(&variation.recipe);
        }
        let columns = session.forecast_recipes(&recipes, sweep.on)?;
        let done = jobs.iter().filter(|job| job.state() == State::Finished).count();
        Ok(SweepPlan { session, columns, fits: jobs.len(), done, seconds })
    }

    /// A session that has the encoders which a sweep sets up in its own way.
    pub(super) fn deriving(&self, sweep: &Sweep) -> Self {
        let mut derived: Vec<DerivedEncoder> = Vec::new();
        for encoder in sweep.variations.iter().flat_map(|variation| &variation.encoders) {
            if !derived.iter().any(|known| known.name == encoder.name) {
                derived.push(encoder.clone());
            }
        }
        match derived.is_empty() {
            true => self.clone(),
            false => Self {
                stop: self.stop.clone(),
                watcher: self.watcher.clone(),
                ..Self::with_encoders(self.shared.setup.clone(), derived)
            },
        }
    }

    /// Refuses secrets among what is varied: values stand in names of runs and in tables.
    pub(super) fn check_derived(&self, sweep: &Sweep) -> Result<(), Error> {
        let plugins = self.plugins()?;
        for DerivedEncoder { base, changes, .. } in sweep.variations.iter().flat_map(|variation| &variation.encoders) {
            let Ok(entry) = plugins.config.encoder(base) else { continue };
            let of = plugins.config.plugins.iter().find(|plugin| plugin.name == entry.host.plugin);
            let Some(Ok(plugin)) = of.map(|plugin| plugins.load(plugin)) else { continue };
            let is_secret =
                |key: &&String| plugin.info.options.iter().any(|option| option.secret && option.key == **key);
            if let Some(key) = changes.keys().find(is_secret) {
                let message = format!(
                    "`{key}` of encoder `{base}` is a secret, and what a sweep varies stands in its tables: write an \
                     encoder for each in plugins.toml, and vary those"
                );
                return Err(sweep.file.error_at(&["encoder", base, key], message).into());
            }
        }
        Ok(())
    }

    /// Fits a job unless it is done, and judges it.
    fn judged(&self, job: &Job, recipe: &Recipe, on: Pairs, device: DeviceChoice) -> Result<table::Judged, Error> {
        let fit = |existing| {
            let how = FitOptions { device, seed: Some(job.seed), existing, ..FitOptions::default() };
            let fitted = self.fit(recipe, &job.run, &how)?;
            // A training that is stopped leaves a checkpoint and no run.
            if self.should_stop() && job.state() != State::Finished { Err(Error::Stopped) } else { Ok(fitted) }
        };
        match job.state() {
            State::Absent => drop(fit(Existing::Keep)?),
            State::Unfinished => match fit(Existing::Resume) {
                // Begun with what is no longer there.
                Err(Error::Train(TrainError::Checkpoint(CheckpointError::Refused { .. }))) => {
                    drop(fit(Existing::Overwrite)?);
                }
                fitted => drop(fitted?),
            },
            State::Finished => {}
        }
        match self.judge_run(job, on, device) {
            // Made with an encoder that plugins.toml now sets up otherwise.
            Err(Error::Run(RunError::OtherEncoder { .. } | RunError::OtherLatents { .. })) => {
                fit(Existing::Overwrite)?;
                self.judge_run(job, on, device)
            }
            judged => judged,
        }
    }

    fn judge_run(&self, job: &Job, on: Pairs, device: DeviceChoice) -> Result<table::Judged, Error> {
        let model = self.model(&job.run, device)?;
        let files = match on {
            Pairs::Test => Vec::new(),
            Pairs::Validation => model.files(|entry| entry.validation.as_ref()),
        };
        let judged = model.judge(&files, None)?;
        let method = model.info().method.name().to_owned();
        Ok(table::Judged { method, judged })
    }
}

impl SweepPlan {
    /// Encodes what all variations need, fits them, and judges them on the same pairs; `show` gets the table of each.
    pub fn run(
        &self,
        sweep: &Sweep,
        (out, device): (&Path, DeviceChoice),
        show: &mut dyn FnMut(&SweepTable) -> Result<(), Error>,
    ) -> Result<SweepTable, Error> {
        let session = &self.session;
        for ColumnForecast { source, column, encoder, .. } in self.columns.iter().filter(|of| of.forecast.items > 0) {
            let Dataset::Table(table) = source.open()? else { continue };
            encode::complete(session.encode(table.column(column)?, &session.encoder(encoder)?, Wanted::placed())?)?;
        }
        let jobs = job::jobs(sweep, out)?;
        let (mut board, total) = (Board::new(sweep), jobs.len());
        for (done, job) in jobs.iter().enumerate() {
            let variation = &sweep.variations[job.variation];
            session.see(Event::Sweeping { done, total, variation: &variation.name, seed: job.seed });
            let judgement = match session.judged(job, &variation.recipe, sweep.on, device) {
                Ok(judged) => Ok(judged),
                Err(error) if is_of_fit(&error) => {
                    tracing::warn!("{}, seed {}: {error}", variation.name, job.seed);
                    Err(error.to_string())
                }
                Err(error) => return Err(error),
            };
            board.add(job.variation, Judgement { seed: job.seed, run: job.run.clone(), judged: judgement });
            show(&board.table())?;
        }
        Ok(board.table())
    }
}

/// True for an error of one fit, which says nothing about others.
fn is_of_fit(error: &Error) -> bool {
    matches!(
        error,
        Error::Fit(_)
            | Error::Train(_)
            | Error::Resumable(_)
            | Error::Size { .. }
            | Error::NoPair { .. }
            | Error::Device(_)
            | Error::Data(_)
            | Error::TestElsewhere { .. }
            | Error::Run(RunError::Corrupt { .. } | RunError::Incomplete { .. } | RunError::Changed { .. })
    )
}
