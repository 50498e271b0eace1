//! The choice of a method and its options by cross-validation within the training pairs.
//!
//! The pairs are cut into folds; a setting is judged by the mean of R@1, R@5 and R@10 in both directions on pairs of a
//! fold that it was not fitted to. In rounds with more folds each, the settings that are clearly worse than the best
//! drop out (successive halving; Jamieson and Talwalkar, AISTATS 2016). The first setting is kept unless another is
//! better by more than a standard error of their difference. Same pairs, seed and budget, same choice.

mod budget;
mod candidates;
mod cost;

use serde::{Deserialize, Serialize};

use super::closed_form::{ClosedForm, Hubs, InCommon};
use super::folds::{Fold, Folds};
use super::hubs::against_hubs;
use super::joint::weigh_on;
use super::setting::{Engine, Setting};
use super::{FitError, Problem};
use crate::eval::{Interval, Sample};
use crate::space::Space;
use crate::stop::Stop;
pub use budget::Budget;

use cost::seconds;

/// A chosen setting, and what it was chosen from.
#[derive(Clone, Debug, Serialize)]
pub struct Choice {
    /// The setting.
    #[serde(skip)]
    pub setting: Setting,
    /// Its method and options.
    pub chosen: String,
    /// All settings that were tried, the best first.
    pub trials: Vec<Trial>,
    /// The reason for the choice.
    pub reason: String,
    /// Pairs that each fit was given, on average.
    pub pairs: usize,
}

/// A setting that was tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// The method and its options.
    pub setting: String,
    /// The mean of R@1, R@5 and R@10 in both directions, with its interval; none if it failed.
    pub recall: Option<Interval>,
    /// The difference to the chosen setting on the folds that both were tried on.
    pub apart: Option<Interval>,
    /// Folds that it was tried on.
    pub folds: usize,
    /// The reason why it failed.
    pub error: Option<String>,
}

/// A candidate at work.
struct Candidate {
    setting: Setting,
    /// The queries of each fold that it was tried on.
    samples: Vec<Sample>,
    error: Option<String>,
}

impl Candidate {
    /// All queries of the first `folds` folds.
    fn sample(&self, folds: usize) -> Sample {
        let mut all = Sample::default();
        self.samples.iter().take(folds).for_each(|sample| all.append(sample));
        all
    }

    /// Its recall less another's on the folds that both were tried on.
    fn less(&self, other: &Self) -> Sample {
        let folds = self.samples.len().min(other.samples.len());
        self.sample(folds).less(&other.sample(folds))
    }
}

/// The folds of few pairs, and of many.
const FOLDS: [usize; 2] = [8, 5];
/// Pairs from which they are many.
const MANY: usize = 1000;
/// With fewer pairs, a choice would be chance.
const FEWEST: usize = 60;
/// The fewest pairs that a first round holds out together.
const FIRST: usize = 150;
/// The most pairs that are held out in all.
const MOST: usize = 4000;
/// Settings that remain after each round, at most.
const REMAIN: [usize; 2] = [8, 4];

/// A choice among the usual settings, or those of `among`.
pub fn choose(
    problem: &Problem<'_>,
    among: Option<Vec<Setting>>,
    hubs: Hubs,
    budget: Budget,
    engine: &Engine,
    show: &mut dyn FnMut(usize, usize, &str),
) -> Result<Choice, FitError> {
    let settings = match among {
        Some(settings) => settings,
        None => candidates::candidates(problem)?,
    };
    let pairs: usize = problem.sets.iter().map(|set| set.len()).sum();
    let folds = Folds::new(problem, FOLDS[usize::from(pairs >= MANY)], engine.seed);
    let held = pairs.div_ceil(folds.count).max(1);
    let of_rounds = [FIRST.div_ceil(held), 3, MOST / held].map(|count| count.clamp(1, folds.count));
    let of_rounds = [of_rounds[0], of_rounds[1].max(of_rounds[0]), of_rounds[2].max(of_rounds[1]).max(of_rounds[0])];
    let mut most = pairs;
    // A first round takes at most a third of the budget.
    let affordable = |most: usize| match folds.fold(0, most) {
        None => true,
        Some(fold) => of_rounds[0] as f64 * round_of(&settings, problem, &fold) <= budget.0 / 3.0,
    };
    while most > 500 && !affordable(most) {
        most = most * 4 / 5;
    }
    let mut work = Work { problem, folds: &folds, most, hubs, engine, spent: 0.0, done: 0, show };
    let mut candidates: Vec<Candidate> =
        settings.into_iter().map(|setting| Candidate { setting, samples: Vec::new(), error: None }).collect();
    let mut running: Vec<usize> = (0..candidates.len()).collect();
    for (round, folds) in of_rounds.into_iter().enumerate().filter(|_| pairs >= FEWEST) {
        // What does not fit into the budget any more is left out, the worst first.
        while round > 0 && running.len() > 1 && work.spent + work.cost(&candidates, &running, folds) > budget.0 {
            // The first is what others are measured against.
            let Some(worst) = running.iter().rposition(|&at| at != 0) else { break };
            running.remove(worst);
        }
        let whole = work.round(&mut candidates, &running, folds)?;
        running.retain(|&at| candidates[at].error.is_none());
        let mean = |at: usize| candidates[at].sample(folds).mean();
        running.sort_by(|&a, &b| mean(b).total_cmp(&mean(a)).then(a.cmp(&b)));
        let Some(&best) = running.first().filter(|_| whole) else { break };
        if let Some(&remain) = REMAIN.get(round) {
            let close = |at: &usize| {
                let less = candidates[best].less(&candidates[*at]);
                less.mean() <= 2.0 * less.error()
            };
            let first = running.iter().copied().find(|&at| at == 0);
            running = running.iter().copied().filter(close).take(remain).collect();
            // The first is what others are measured against.
            running.extend(first.filter(|first| !running.contains(first)));
        }
    }
    work.join(&mut candidates, &mut running, budget.0)?;
    Ok(finish(&candidates, &running, most.min(pairs) * (folds.count - 1) / folds.count))
}

/// The choice among the candidates that remain, best first.
fn finish(candidates: &[Candidate], running: &[usize], pairs: usize) -> Choice {
    let tried = |at: usize| !candidates[at].samples.is_empty();
    let best = running.iter().copied().find(|&at| tried(at)).unwrap_or(0);
    let (mut chosen, mut reason) = (best, "the best in cross-validation".to_owned());
    if !tried(best) {
        chosen = candidates.iter().position(|candidate| candidate.error.is_none()).unwrap_or(0);
        reason = "the default: with so few pairs, a choice would be chance".to_owned();
    } else if best != 0 && running.contains(&0) {
        let ahead = candidates[best].less(&candidates[0]);
        let (mean, error) = (ahead.mean(), ahead.error());
        if mean <= error {
            chosen = 0;
            reason = format!("the default: the best is only {mean:.1} +- {error:.1} ahead of it in cross-validation");
        } else {
            reason = format!("the best in cross-validation, {mean:.1} +- {error:.1} ahead of the default");
        }
    }
    let mut trials: Vec<(usize, Trial)> = candidates
        .iter()
        .enumerate()
        .filter(|(_, candidate)| !candidate.samples.is_empty() || candidate.error.is_some())
        .map(|(at, candidate)| {
            let folds = candidate.samples.len();
            let trial = Trial {
                setting: candidate.setting.describe(),
                recall: (folds > 0).then(|| candidate.sample(folds).interval()),
                apart: (folds > 0 && at != chosen).then(|| candidate.less(&candidates[chosen]).interval()),
                folds,
                error: candidate.error.clone(),
            };
            (at, trial)
        })
        .collect();
    let key = |(at, trial): &(usize, Trial)| {
        let mean = trial.recall.map_or(f64::NEG_INFINITY, |recall| recall.mean);
        (std::cmp::Reverse(trial.folds), -mean, *at)
    };
    trials.sort_by(|a, b| key(a).partial_cmp(&key(b)).unwrap_or(std::cmp::Ordering::Equal));
    let trials = trials.into_iter().map(|(_, trial)| trial).collect();
    let setting = candidates[chosen].setting.clone();
    Choice { chosen: setting.describe(), setting, trials, reason, pairs }
}

/// The work of fits.
struct Work<'a> {
    problem: &'a Problem<'a>,
    folds: &'a Folds<'a>,
    /// The most pairs that a fit is given.
    most: usize,
    hubs: Hubs,
    engine: &'a Engine,
    /// Nominal seconds.
    spent: f64,
    /// Fits that are done.
    done: usize,
    show: &'a mut dyn FnMut(usize, usize, &str),
}

impl Work<'_> {
    /// Brings some candidates to `count` folds; false if there are too few pairs for a fold.
    fn round(&mut self, candidates: &mut [Candidate], running: &[usize], count: usize) -> Result<bool, FitError> {
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
                (self.show)(self.done, total, &candidate.setting.describe());
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
            self.spent += round_of(order.iter().map(|&at| &candidates[at].setting), self.problem, &fold);
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
        let mut sample = Sample::default();
        for pairs in &fold.held_out {
            let rankings = pairs.rankings(&space, &Stop::default())?.ok_or(FitError::Stopped)?;
            sample.add(pairs, &rankings);
        }
        Ok(sample)
    }

    /// Adds the best of each method side by side, if that is clearly better than the best alone.
    fn join(&mut self, candidates: &mut Vec<Candidate>, running: &mut Vec<usize>, budget: f64) -> Result<(), FitError> {
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
        let mut show = |done: usize, total: usize, setting: &str| show(before + done, before + total, setting);
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
        round_of(order.iter().map(|&at| &candidates[at].setting), self.problem, &fold)
    }

    /// The work to bring some candidates to `count` folds.
    fn cost(&self, candidates: &[Candidate], running: &[usize], count: usize) -> f64 {
        let first = running.iter().map(|&at| candidates[at].samples.len()).min().unwrap_or(0);
        count.saturating_sub(first) as f64 * self.cost_of(candidates, running)
    }
}

/// The work of some settings on a fold.
fn round_of<'s>(settings: impl IntoIterator<Item = &'s Setting>, problem: &Problem<'_>, fold: &Fold) -> f64 {
    let problem = Problem { sets: &fold.train, ..*problem };
    let others = fold.held_out.iter().map(|held| held.keys.len()).max().unwrap_or(0);
    let (mut last, mut total) = (None, 0.0);
    for setting in settings {
        // Of those that share a kernel or axes, the first does nearly all the work.
        let shared = match setting {
            Setting::ClosedForm(ClosedForm::KernelCca(options)) => Some((options.standard, Some(options.tau))),
            Setting::ClosedForm(ClosedForm::Cca(options)) => Some((options.standard, None)),
            Setting::ClosedForm(ClosedForm::Ridge(options)) => Some((options.standard, None)),
            _ => None,
        };
        let share = if shared.is_some() && shared == last { 0.2 } else { 1.0 };
        last = shared;
        total += share * seconds(setting, &problem, others);
    }
    total
}

#[cfg(test)]
mod tests;
