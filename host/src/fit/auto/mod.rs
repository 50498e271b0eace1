//! The choice of a method and its options by cross-validation within the training pairs.
//!
//! The pairs are cut into folds; a setting is judged by the mean of R@1, R@5 and R@10 in both directions on pairs of a
//! fold that it was not fitted to. In rounds with more folds each, the settings that are clearly worse than the best
//! drop out (successive halving; Jamieson and Talwalkar, AISTATS 2016). The first setting is kept unless another is
//! better by more than a standard error of their difference. Same pairs, seed and budget, same choice.

mod budget;
mod candidate;
mod cost;
mod settings;
mod work;

use serde::{Deserialize, Serialize};
use std::collections::HashSet;

use super::closed_form::Hubs;
use super::folds::Folds;
use super::setting::{Engine, Setting};
use super::{FitError, Problem};
use crate::eval::Interval;
pub use budget::Budget;
pub(super) use cost::seconds;

use candidate::Candidate;
use cost::of_fold;
use work::{ROUNDS, Work};

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
    /// Pairs that were held out from each, on average.
    #[serde(default)]
    pub held_out: usize,
    /// The pairs that these were drawn from: fewer than are available, where the budget has no room for all.
    #[serde(default)]
    pub taken: usize,
    /// All pairs.
    #[serde(default)]
    pub available: usize,
    /// The mean recall of a random order.
    #[serde(default)]
    pub chance: f64,
}

impl Choice {
    /// True if what was chosen finds no more than a random order may.
    pub fn is_chance(&self) -> bool {
        let chosen = self.trials.iter().find(|trial| trial.setting == self.chosen);
        chosen.and_then(|trial| trial.recall).is_some_and(|recall| recall.low <= self.chance)
    }
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
/// The pairs that a budget does not go below.
const LEAST: usize = 500;
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
    let mut settings = match among {
        Some(settings) => settings,
        None => settings::usual(problem)?,
    };
    let pairs: usize = problem.sets.iter().map(|set| set.len()).sum();
    let folds = Folds::new(problem, FOLDS[usize::from(pairs >= MANY)], engine.seed);
    let held = pairs.div_ceil(folds.count).max(1);
    let of_rounds: [usize; ROUNDS] = [FIRST.div_ceil(held), 3, MOST / held].map(|count| count.clamp(1, folds.count));
    let of_rounds = [of_rounds[0], of_rounds[1].max(of_rounds[0]), of_rounds[2].max(of_rounds[1]).max(of_rounds[0])];
    let mut most = pairs;
    let first_round = |settings: &[Setting], most: usize| {
        folds.fold(0, most).map_or(0.0, |fold| of_rounds[0] as f64 * of_fold(settings, problem, &fold))
    };
    // A first round takes at most a third of the budget.
    while most > LEAST && first_round(&settings, most) > budget.0 / 3.0 {
        most = most * 4 / 5;
    }
    // With so few pairs as that, the costliest settings go, but for the first: others are measured against it.
    while settings.len() > 1 && first_round(&settings, most) > budget.0 {
        let cost = |at: usize| first_round(&settings[at..=at], most);
        let costliest = (1..settings.len()).max_by(|&a, &b| cost(a).total_cmp(&cost(b)));
        settings.remove(costliest.expect("there is a second"));
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
        let whole = work.round(&mut candidates, &running, (round, folds))?;
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
    if !candidates.is_empty() && candidates.iter().all(|candidate| candidate.error.is_some()) {
        return Err(FitError::NoMethod { reasons: reasons(&candidates) });
    }
    work.join(&mut candidates, &mut running, budget.0)?;
    Ok(finish(&candidates, &running, Sizes { folds: folds.count, taken: most.min(pairs), available: pairs }))
}

/// The reason of each method that failed; methods with the same one stand together.
fn reasons(candidates: &[Candidate]) -> String {
    let mut said: Vec<(&str, Vec<&str>)> = Vec::new();
    let mut methods = HashSet::new();
    for candidate in candidates {
        let (method, reason) = (candidate.setting.method(), candidate.error.as_deref().unwrap_or_default());
        if !methods.insert(method) {
            continue;
        }
        match said.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, methods)) => methods.push(method),
            None => said.push((reason, vec![method])),
        }
    }
    let lines = said.into_iter().map(|(reason, methods)| format!("{}: {reason}", methods.join(", ")));
    lines.collect::<Vec<_>>().join("; ")
}

/// The folds of a choice, the pairs that they were cut from, and the pairs that there were.
struct Sizes {
    folds: usize,
    taken: usize,
    available: usize,
}

/// The choice among the candidates that remain, best first.
fn finish(candidates: &[Candidate], running: &[usize], Sizes { folds, taken, available }: Sizes) -> Choice {
    let (pairs, held_out) = (taken * (folds - 1) / folds, taken / folds);
    let tried = |at: usize| !candidates[at].samples.is_empty();
    let best = running.iter().copied().find(|&at| tried(at)).unwrap_or(0);
    let (mut chosen, mut reason) = (best, "the best in cross-validation, of those tried on the most folds".to_owned());
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
    let beside = candidates.iter().position(|candidate| matches!(candidate.setting, Setting::Joint(_)));
    if beside.is_some_and(|joint| joint != chosen && !candidates[joint].samples.is_empty()) {
        reason += "; methods side by side are not clearly better";
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
    let chance = candidates[chosen].sample(candidates[chosen].samples.len()).chance();
    Choice { chosen: setting.describe(), setting, trials, reason, pairs, held_out, taken, available, chance }
}

#[cfg(test)]
mod tests;
