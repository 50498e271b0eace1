//! A fit in closed form, or of a method that is chosen first, from its pairs to a run.

use std::sync::Arc;
use std::time::Instant;

use super::kept::{self, Kept};
use super::options::{MethodOptions, resolved};
use super::plan::{Material, Plan};
use super::{Existing, FitOptions, Fitted, leave, toml};
use crate::config::Method;
use crate::device::{Cpu, Device};
use crate::eval::{mean_recall, retrieval_of};
use crate::fit::auto::{Choice, choose};
use crate::fit::fusemix::Checkpoints;
use crate::fit::joint::weigh;
use crate::fit::{Engine, FitError, Problem, Setting, against_hubs};
use crate::run::{Metrics, MetricsFile, RunFolder, RunInfo, TowerInfo};
use crate::session::towers::Towers;
use crate::session::{Error, Event, Session};
use crate::space::{Inlet, Space};

impl Session {
    /// Fits by any method; one that is to be chosen is chosen first.
    pub(super) fn solve(
        &self,
        plan: &Plan<'_>,
        options: &MethodOptions,
        towers: &Towers<'_>,
        device: Arc<dyn Device>,
        folder: RunFolder,
        how: &FitOptions,
    ) -> Result<Fitted, Error> {
        let material = plan.material(towers)?;
        // That of an earlier fit which is resumed.
        let seed = how.seed.or_else(|| begun_seed(&folder, how)).unwrap_or(0);
        let (kept, of) = self.kept(plan, options, &material, &folder, (how, seed));
        match (how.existing == Existing::Resume, &kept) {
            (true, None) if folder.choice().exists() => tracing::warn!(
                "the choice that was kept is of another budget, seed, recipe or data, so a method is chosen again"
            ),
            (true, None) => tracing::warn!("there is no training to resume; the fit is made again"),
            (true, Some(_)) => tracing::warn!("the method was chosen before; it is fitted without another choice"),
            (false, _) => {}
        }
        let how = &FitOptions { seed: Some(seed), ..how.clone() };
        let inlets: Vec<Inlet> = material.towers.iter().map(TowerInfo::inlet).collect();
        let fixed = plan.fixed();
        let problem = Problem { towers: &inlets, fixed: &fixed, sets: &material.sets, stop: &|| self.should_stop() };
        let engine = Engine { device: device.clone(), seed, stop: self.stop.clone() };
        let start = Instant::now();
        let (setting, choice) = match kept {
            Some(choice) => (choice.setting.clone(), Some(choice)),
            None => {
                let (setting, choice) = self.setting(plan, options, &problem, &engine, how)?;
                if let Some(choice) = &choice {
                    self.see(Event::Chose { choice });
                    if choice.is_chance() {
                        tracing::warn!(
                            "no method finds held-out pairs more often than a random order, which finds {:.1} %; check \
                             that the items of a row belong together",
                            choice.chance
                        );
                    }
                    Kept::leave(choice, (seed, of), plan, &folder)?;
                }
                (setting, choice)
            }
        };
        // What was chosen need not be chosen again.
        let keeps = |error| match error {
            Error::StoppedFit if choice.is_some() => Error::StoppedChosen,
            error => error,
        };
        let stopped = |error| keeps(stopped(error));
        if let Setting::Fusemix(options) = setting {
            let fitted = self.train(plan, &options, material, device, folder, how).map_err(keeps)?;
            return Ok(Fitted { choice, ..fitted });
        }
        let (method, options) = resolved(&setting);
        folder.write_recipe(&toml(plan, method, &options))?;
        let (name, demand) = (method.name(), setting.demand(&problem));
        let pairs = material.sets.iter().map(|set| set.len()).sum();
        self.see(Event::Fits { method: name, pairs, demand });
        let begun = Instant::now();
        // It is asked again and again.
        let watched = || {
            self.see(Event::Fitting { method: name, seconds: begun.elapsed().as_secs_f64(), demand });
            self.should_stop()
        };
        let watched = Problem { stop: &watched, ..problem };
        let space = setting.map(&watched, &engine).and_then(|map| {
            let space = Space::new(inlets.clone(), map);
            against_hubs(space, &watched, plan.hubs.hubness, plan.hubs.neighbours)
        });
        self.see(Event::Ended);
        let space = space.map_err(|error| match error {
            // The line that mends it.
            FitError::Large { .. } if plan.recipe.method == Method::KernelCca => {
                plan.recipe.error_at_option("landmarks", error.to_string()).into()
            }
            error => stopped(error),
        })?;
        let seconds = start.elapsed().as_secs_f64();
        let Material { validation, dropped, towers, seen, .. } = material;
        let path = folder.metrics();
        let mut metrics = MetricsFile::open(&path, 0).map_err(|cause| Error::Write { path: path.clone(), cause })?;
        let mut recall = None;
        if !validation.is_empty() {
            let found = retrieval_of(&validation, &space, &self.stop)?.ok_or_else(|| keeps(Error::StoppedFit))?;
            let mean = mean_recall(&found);
            metrics.add(&Metrics::of_evaluation(0, mean, found)).map_err(|cause| Error::Write { path, cause })?;
            recall = Some(mean);
        }
        let device = if setting.trains() { device.describe() } else { Cpu::default().describe() };
        let (fusemix, seed) = (crate::VERSION.to_owned(), engine.seed);
        let mut info =
            RunInfo { fusemix, method, seed, device, pairs, towers, adapters: None, anchors: None, seen: None };
        leave(folder, &space, &seen, &mut info)?;
        Ok(Fitted { info, dropped, recall, seconds, training: None, choice })
    }

    /// The choice that a fit which is resumed has made before; and the digest of what one depends on.
    fn kept(
        &self,
        plan: &Plan<'_>,
        options: &MethodOptions,
        material: &Material,
        folder: &RunFolder,
        (how, seed): (&FitOptions, u64),
    ) -> (Option<Choice>, String) {
        let MethodOptions::Auto(auto) = options else { return (None, String::new()) };
        let of = kept::digest(plan, material, how.budget.or(auto.budget).unwrap_or_default());
        let kept = if how.existing == Existing::Resume { Kept::read(folder) } else { None };
        let kept = kept.filter(|kept| kept.is_of(&of) && kept.seed == seed);
        (kept.and_then(|kept| kept.choice(folder)), of)
    }

    /// The setting to fit, and what it was chosen from if it was.
    fn setting(
        &self,
        plan: &Plan<'_>,
        options: &MethodOptions,
        problem: &Problem<'_>,
        engine: &Engine,
        how: &FitOptions,
    ) -> Result<(Setting, Option<Choice>), Error> {
        let what = if matches!(options, MethodOptions::Joint(_)) { "weighing the parts" } else { "choosing a method" };
        let mut show = |done, total, setting: &str| self.see(Event::Trying { what, done, total, setting });
        let found = match options {
            MethodOptions::Fusemix(options) => Ok((Setting::Fusemix(options.clone()), None)),
            MethodOptions::Set(setting) => Ok((setting.clone(), None)),
            MethodOptions::Joint(parts) => weigh(problem, parts, plan.hubs, engine, &mut show).map(|found| {
                let parts = found.weights.into_iter().zip(parts.iter().cloned()).filter(|(weight, _)| *weight > 0.0);
                let mut parts: Vec<(f32, Setting)> = parts.collect();
                (if parts.len() == 1 { parts.swap_remove(0).1 } else { Setting::Joint(parts) }, None)
            }),
            MethodOptions::Nothing => unreachable!("a recipe with nothing to fit is not fitted"),
            MethodOptions::Auto(auto) => {
                let budget = how.budget.or(auto.budget).unwrap_or_default();
                choose(problem, None, plan.hubs, budget, engine, &mut show)
                    .map(|choice| (choice.setting.clone(), Some(choice)))
            }
        };
        self.see(Event::Ended);
        found.map_err(stopped)
    }
}

/// The seed of the fit in the folder, if that is to be resumed.
pub(super) fn begun_seed(folder: &RunFolder, how: &FitOptions) -> Option<u64> {
    if how.existing != Existing::Resume {
        return None;
    }
    let training = Checkpoints::begun_with(&folder.checkpoint());
    let begun = training.and_then(|training| training.get("seed")?.parse().ok());
    begun.or_else(|| Kept::read(folder).map(|kept| kept.seed))
}

pub(super) fn stopped(error: FitError) -> Error {
    match error {
        FitError::Stopped => Error::StoppedFit,
        error => error.into(),
    }
}
