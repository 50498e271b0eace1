//! A sweep: many recipes, fitted with several seeds each and judged on the same pairs. What is finished stays, so
//! that a sweep that was stopped goes on.

mod effects;
mod job;
mod judging;
mod pace;
mod rest;
mod table;

use serde::Serialize;
use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::broken::Broken;
use super::fit::{Plan, Steps};
use super::forecast::{ColumnForecast, Columns, count_once};
use super::towers::Towers;
use super::{Error, Event, Session, encode};
use crate::cache::Key;
use crate::config::{DerivedEncoder, Pairs, Recipe, Sweep, Variation};
use crate::dataset::{Dataset, Source};
use crate::device::DeviceChoice;
use crate::encode::{Encoding, Places, Wanted};
use crate::file_lock::PathLock;
use crate::run::{RunError, RunFolder};
use crate::whole_file;
use crate::wording::count;

pub use effects::{SweepEffect, SweepEffectValue};
pub use table::{SweepAxis, SweepDirection, SweepRow, SweepRun, SweepTable};

use job::{Job, State};
use judging::{Judging, is_of_fit, judged_on};
use pace::Pace;
use rest::Rest;
use table::{Board, Judgement};

/// What a sweep will do.
pub struct SweepPlan {
    /// The session with the sweep's own encoders.
    session: Session,
    jobs: Vec<Job>,
    broken: Broken,
    /// Of each variation, the seconds that are reckoned for a fit, as far as they can be.
    reckoned: Vec<Option<f64>>,
    pace: Pace,
    /// The columns that are encoded, each once for each encoder.
    pub columns: Vec<ColumnForecast>,
    /// Fits, of all variations and seeds; what no seed changes, and no other test rows, is fitted once.
    pub fits: usize,
    /// Those that an earlier run has done.
    pub done: usize,
    /// Seconds that the others take here, as far as encoders tell the widths of their latents: by the times of fits
    /// that are done, or else of a few steps, or of operations on two cores. A choice of the method takes its budget.
    pub seconds: Option<f64>,
    /// Variations that cannot be fitted, because an encoder does not work.
    pub failing: Vec<FailingVariation>,
}

/// A variation that cannot be fitted.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FailingVariation {
    /// Its name.
    pub variation: String,
    /// The reason.
    pub error: String,
}

impl Session {
    /// What a sweep into `out` will do. All recipes are checked against data and encoders before anything is sent; what
    /// needs an encoder that does not open fails, and the others do not.
    pub fn plan_sweep(&self, sweep: &Sweep, out: &Path, device: DeviceChoice) -> Result<SweepPlan, Error> {
        if out.is_file() {
            return Err(RunError::NoFolder { path: out.to_owned(), made: true }.into());
        }
        if RunFolder::is_in(out) {
            return Err(Error::SweepIntoRun { path: out.to_owned() });
        }
        let session = self.deriving(sweep);
        session.check_derived(sweep)?;
        let (mut broken, mut columns, mut failing) = (Broken::default(), Columns::default(), Vec::new());
        let (mut first, mut each, mut steps) = (None, Vec::new(), Steps::default());
        // One plan is kept beside the next, so that files which both have are read once.
        let mut _earlier = None;
        for Variation { name, recipe, .. } in &sweep.variations {
            let opened = broken.open(&session, sweep, recipe)?;
            first = first.or(opened);
            if let Some(error) = broken.reason(recipe) {
                failing.push(FailingVariation { variation: name.clone(), error: error.clone() });
                each.push(Some(0.0));
                continue;
            }
            let plan = Plan::new(&session, recipe)?;
            let towers = Towers::new(&session, recipe, None);
            plan.check(&towers)?;
            if sweep.on == Pairs::Validation && recipe.pairs.iter().all(|entry| entry.validation.is_none()) {
                return Err(Error::NoValidation);
            }
            if sweep.on == Pairs::Test && recipe.pairs.iter().all(|entry| entry.test.is_none()) {
                return Err(Error::NoTestInSweep);
            }
            each.push(
                plan.seconds(&towers)?.map(|seconds| steps.corrected(&plan, &towers, seconds, device)).transpose()?,
            );
            if let Err(error) = columns.add_recipe(&towers, recipe, Some(sweep.on)) {
                let error = broken.note(error)?;
                failing.push(FailingVariation { variation: name.clone(), error: error.to_string() });
                first.get_or_insert(error);
            }
            _earlier = Some(plan);
        }
        if let Some(error) = first.filter(|_| failing.len() == sweep.variations.len()) {
            return Err(error);
        }
        let mut columns: Vec<ColumnForecast> =
            columns.all.into_iter().filter(|column| !broken.has(&column.encoder)).collect();
        count_once(&mut columns);
        let digest = |variation: &Variation| match broken.reason(&variation.recipe) {
            None => job::digest(&session, variation, &columns),
            Some(_) => Ok(blake3::hash(variation.text.as_bytes()).to_hex().to_string()),
        };
        let digests = sweep.variations.iter().map(digest).collect::<Result<Vec<_>, _>>()?;
        let jobs = job::jobs(sweep, out, &digests);
        // A run that several variations share is one fit.
        let mut fits: Vec<&Job> = Vec::new();
        for job in &jobs {
            if job.fit == fits.len() {
                fits.push(job);
            }
        }
        let left: Vec<&Job> = fits.iter().copied().filter(|job| !job.is_done()).collect();
        let pace = Pace::read(out);
        let method = |job: &Job| sweep.variations[job.variation].recipe.method;
        let of = |job: &&Job| Some(pace.seconds(method(job), each[job.variation]?));
        let seconds = left.iter().map(of).sum();
        let (fits, done) = (fits.len(), fits.len() - left.len());
        Ok(SweepPlan { session, jobs, broken, reckoned: each, pace, columns, fits, done, seconds, failing })
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
        for DerivedEncoder { file, base, changes, .. } in
            sweep.variations.iter().flat_map(|variation| &variation.encoders)
        {
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
                return Err(file.error_at(&["encoder", base, key], message).into());
            }
        }
        Ok(())
    }
}

/// What is shown after each fit: the table so far, which is made if it is looked at.
type Show<'a> = dyn FnMut(&dyn Fn() -> SweepTable) -> Result<(), Error> + 'a;

impl SweepPlan {
    /// Encodes what all variations need, fits them, and judges them on the same pairs; `show` gets the table of each.
    pub fn run(
        &self,
        sweep: &Sweep,
        (out, device): (&Path, DeviceChoice),
        show: &mut Show<'_>,
    ) -> Result<SweepTable, Error> {
        let (session, total) = (&self.session, self.fits);
        let _lock = lock(out)?;
        let mut broken = self.broken.clone();
        let by = Judging { on: sweep.on, passed_over: Arc::new(self.encode(sweep, &mut broken)?) };
        let mut board = Board::new(sweep);
        let mut pace = self.pace.clone();
        let mut rest = Rest::new(sweep, &self.jobs, &self.reckoned, &broken);
        // Files of a variation stay open from one of its fits to the next, and to the next variation.
        let mut in_use: (Option<usize>, Vec<Arc<Dataset>>) = (None, Vec::new());
        // What is finished comes first: a table that is left half-way has all of it.
        let (done, open): (Vec<&Job>, Vec<&Job>) = self.jobs.iter().partition(|job| job.state() == State::Finished);
        let finished = done.len();
        for (at, job) in done.into_iter().chain(open).enumerate() {
            let Variation { name, recipe, .. } = &sweep.variations[job.variation];
            if in_use.0 != Some(job.variation) {
                in_use = (Some(job.variation), files(session, recipe));
            }
            let state = job.state();
            // What is finished needs nothing but to be judged.
            let reason = rest.reason(job.variation, &broken).filter(|_| state != State::Finished);
            if reason.is_none() && state != State::Finished {
                let (done, left) = (job.fit, rest.seconds(&pace));
                session.see(Event::Sweeping { done, total, variation: name, seed: job.seed, left });
            }
            let start = Instant::now();
            let judged = match reason {
                Some(reason) => Err(reason.clone()),
                None => match session.judged(job, recipe, &by, device) {
                    Ok(judged) => Ok(judged),
                    Err(error) if is_of_fit(&error) => Err(error.to_string()),
                    Err(error) => {
                        let error = broken.note(error)?;
                        rest.leave_out(&broken);
                        Err(error.to_string())
                    }
                },
            };
            rest.take(job.fit);
            if let Err(reason) = &judged
                && rest.reason(job.variation, &broken).is_none_or(|known| known != reason)
            {
                tracing::warn!("{name}, seed {}: {reason}", job.seed);
            }
            if judged.is_ok() && state == State::Absent {
                let reckoned = self.reckoned[job.variation].unwrap_or(0.0);
                pace.add(recipe.method, reckoned, start.elapsed().as_secs_f64());
            }
            board.add(job.variation, Judgement { seed: job.seed, run: job.run.clone(), judged });
            if at + 1 >= finished {
                show(&|| board.table())?;
            }
        }
        Ok(board.whole())
    }

    /// Encodes all columns; encoders that fail are noted, and the others go on. Items to judge on of which one of
    /// several encoders has no latent are returned.
    fn encode(&self, sweep: &Sweep, broken: &mut Broken) -> Result<HashSet<Key>, Error> {
        let session = &self.session;
        let (mut _in_use, mut passed_over) = (None, HashSet::new());
        let judged: HashSet<&Source> = sweep.variations.iter().flat_map(|of| judged_on(&of.recipe, sweep.on)).collect();
        for ColumnForecast { source, column, encoder, forecast, .. } in &self.columns {
            let is_judged = judged.contains(source);
            if broken.has(encoder) || forecast.items == 0 && !is_judged {
                continue;
            }
            // A file that is gone by now is missed where it is fitted to.
            let Ok(file) = session.data(source) else { continue };
            let Dataset::Table(table) = &*file else { continue };
            let encoded = session.encode(table.column(column)?, &session.encoder(encoder)?, Wanted::placed());
            match encoded.and_then(encode::complete) {
                Ok(Encoding { places: Places { keys, rows }, .. }) if is_judged => {
                    let lost = keys.iter().zip(&rows).filter(|(key, row)| key.is_some() && row.is_none());
                    let of_rows = lost.clone().count();
                    let lost: HashSet<Key> = lost.filter_map(|(key, _)| *key).collect();
                    let others = self.columns.iter().filter(|of| of.source == *source && of.column == *column);
                    let is_alone = others.into_iter().all(|of| of.encoder == *encoder);
                    // One that fails on most would leave the others little to be judged on.
                    if 2 * of_rows > keys.len() && !is_alone {
                        let all = count(keys.len(), "row");
                        let path = source.path.display();
                        let reason =
                            format!("{path}: encoder `{encoder}` has no latent of {of_rows} of {all} to judge by");
                        tracing::warn!("{reason}; the sweep goes on with what does not need this encoder");
                        broken.leave_out(encoder, reason);
                        continue;
                    }
                    passed_over.extend(lost);
                }
                Ok(_) => {}
                Err(error) => {
                    let error = broken.note(error)?;
                    tracing::warn!("{error}; the sweep goes on with what does not need this encoder");
                }
            }
            _in_use = Some(file);
        }
        Ok(passed_over)
    }
}

/// The right to sweep into `out`, which one process has.
fn lock(out: &Path) -> Result<PathLock, Error> {
    let write = |cause| Error::Write { path: out.to_owned(), cause };
    let path = whole_file::named(out);
    fs::create_dir_all(&path).map_err(write)?;
    let lock = PathLock::take(whole_file::beside(&path, ".lock")).map_err(write)?;
    Ok(lock.ok_or_else(|| RunError::InUse { path: out.to_owned() })?)
}

/// The files of a recipe that can be read.
fn files(session: &Session, recipe: &Recipe) -> Vec<Arc<Dataset>> {
    let pairs =
        recipe.pairs.iter().flat_map(|entry| [Some(&entry.train), entry.validation.as_ref(), entry.test.as_ref()]);
    let sources = pairs.flatten().chain(recipe.unpaired.iter().map(|entry| &entry.train));
    sources.filter_map(|source| session.data(source).ok()).collect()
}
