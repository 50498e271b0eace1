//! The fits of a choice, round by round.

use super::candidate::Candidate;
use super::cost::of_fold;
use crate::eval::Sample;
use crate::fit::closed_form::{Hubs, InCommon};
use crate::fit::folds::{Fold, Folds};
use crate::fit::hubs::against_hubs;
use crate::fit::joint::weigh_on;
use crate::fit::setting::{Engine, Setting};
use crate::fit::{FitError, Problem};
use crate::space::Space;

/// The rounds of a choice.
pub(super) const ROUNDS: usize = 3;

/// The work of fits.
pub(super) struct Work<'a> {
    pub(super) problem: &'a Problem<'a>,
    pub(super) folds: &'a Folds<'a>,
    /// The most pairs that a fit is given.
    pub(super) most: usize,
    pub(super) hubs: Hubs,
    pub(super) engine: &'a Engine,
    /// Nominal seconds.
    pub(super) spent: f64,
    /// Fits that are done.
    pub(super) done: usize,
    pub(super) show: &'a mut dyn FnMut(usize, usize, &str),
}

impl Work<'_> {
    /// Brings some candidates to `count` folds; false if there are too few pairs for a fold.
    pub(super) fn round(
        &mut self,
        candidates: &mut [Candidate],
        running: &[usize],
        (round, count): (usize, usize),
    ) -> Result<bool, FitError> {
        let first = running.iter().map(|&at| candidates[at].samples.len()).min().unwrap_or(0);
        // In the order of the candidates: neighbours share what is costly.
        let mut order = running.to_vec();
        order.sort_unstable();
        let total = self.done + order.len() * (count - first.min(count));
        for part in first..count {
            let Some(fold) = self.folds.fold(part, self.most) else { return Ok(false) };
            let problem = Problem { sets: &fold.train, ..*self.problem };
            let mut in_common = InCommon::default();
            for &at in &order {
                problem.go_on()?;
                let candidate = &mut candidates[at];
                let shown = format!("round {} of {ROUNDS}: {}", round + 1, candidate.setting.describe());
                (self.show)(self.done, total, &shown);
                self.done += 1;
                if candidate.error.is_some() || candidate.samples.len() > part {
                    continue;
                }
                match self.trial(&candidate.setting, &problem, &fold, &mut in_common) {
                    Ok(sample) => candidate.samples.push(sample),
                    Err(FitError::Stopped) => return Err(FitError::Stopped),
                    Err(error) => candidate.error = Some(error.to_string()),
                }
            }
            self.spent += of_fold(order.iter().map(|&at| &candidates[at].setting), self.problem, &fold);
        }
        (self.show)(total, total, "");
        Ok(true)
    }

    fn trial(
        &self,
        setting: &Setting,
        problem: &Problem<'_>,
        fold: &Fold,
        in_common: &mut InCommon,
    ) -> Result<Sample, FitError> {
        let map = match setting {
            Setting::ClosedForm(method) => method.map_with(problem, in_common)?,
            setting => setting.map(problem, self.engine)?,
        };
        let space = Space::new(problem.towers.to_vec(), map);
        let space = against_hubs(space, problem, self.hubs.hubness, self.hubs.neighbours)?;
        Sample::of(&fold.held_out, &space, &self.engine.stop)?.ok_or(FitError::Stopped)
    }

    /// Adds the best of each method side by side, if that is clearly better than the best alone.
    pub(super) fn join(
        &mut self,
        candidates: &mut Vec<Candidate>,
        running: &mut Vec<usize>,
        budget: f64,
    ) -> Result<(), FitError> {
        /// Points that a method may be behind the best.
        const BEHIND: f64 = 10.0;
        /// Parts of a joint fit.
        const PARTS: usize = 3;
        let Some(&best) = running.first().filter(|&&at| !candidates[at].samples.is_empty()) else { return Ok(()) };
        if self.problem.fixed.contains(&true) {
            // Parts side by side are wider than the space that exists.
            return Ok(());
        }
        let folds = candidates[best].samples.len();
        let mut parts: Vec<usize> = vec![best];
        let mut order: Vec<usize> = (0..candidates.len())
            .filter(|&at| candidates[at].error.is_none() && !candidates[at].samples.is_empty())
            .collect();
        let behind = |at: usize| candidates[best].less(&candidates[at]).mean();
        order.sort_by(|&a, &b| behind(a).total_cmp(&behind(b)).then(a.cmp(&b)));
        for at in order {
            let known = parts.iter().any(|&part| candidates[part].setting.method() == candidates[at].setting.method());
            if !known && behind(at) < BEHIND && parts.len() < PARTS {
                parts.push(at);
            }
        }
        if parts.len() < 2 || self.spent + folds as f64 * self.cost_of(candidates, &parts) > budget {
            return Ok(());
        }
        let settings: Vec<Setting> = parts.iter().map(|&at| candidates[at].setting.clone()).collect();
        let held = (0..folds, self.most);
        let before = self.done;
        let show = &mut *self.show;
        let mut show = |done: usize, total: usize, setting: &str| {
            show(before + done, before + total, &format!("the best side by side: {setting}"));
        };
        let found = weigh_on(self.problem, self.folds, held, &settings, self.hubs, self.engine, &mut show)?;
        let joint = found.weights.iter().zip(settings).filter(|(weight, _)| **weight > 0.0);
        let joint: Vec<(f32, Setting)> = joint.map(|(weight, setting)| (*weight, setting)).collect();
        if joint.len() < 2 {
            return Ok(());
        }
        candidates.push(Candidate { setting: Setting::Joint(joint), samples: found.samples, error: None });
        let less = candidates[candidates.len() - 1].less(&candidates[best]);
        // It is wider and slower than one part, and has to be clearly better.
        if less.mean() > 2.0 * less.error() {
            running.insert(0, candidates.len() - 1);
        }
        Ok(())
    }

    /// The work of some candidates on a fold.
    fn cost_of(&self, candidates: &[Candidate], some: &[usize]) -> f64 {
        let Some(fold) = self.folds.fold(0, self.most) else { return 0.0 };
        // In the order of the candidates: neighbours share what is costly.
        let mut order = some.to_vec();
        order.sort_unstable();
        of_fold(order.iter().map(|&at| &candidates[at].setting), self.problem, &fold)
    }

    /// The work to bring some candidates to `count` folds.
    pub(super) fn cost(&self, candidates: &[Candidate], running: &[usize], count: usize) -> f64 {
        let first = running.iter().map(|&at| candidates[at].samples.len()).min().unwrap_or(0);
        count.saturating_sub(first) as f64 * self.cost_of(candidates, running)
    }
}
