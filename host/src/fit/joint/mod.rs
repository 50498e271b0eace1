//! Several fits side by side: an item's embedding is those of all parts, each times a weight, so that a score is the
//! sum of the parts' scores times the squares of their weights, which sum to 1.
//!
//! Where the weights are not given, they are those with the best mean of R@1, R@5 and R@10 in cross-validation within
//! the training pairs.

use super::closed_form::Hubs;
use super::folds::Folds;
use super::hubs::{bank, embedded};
use super::setting::{Engine, Setting};
use super::{FitError, Problem};
use crate::eval::Sample;
use crate::space::{Hubness, Space};

/// The weights that do best together.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// One for each part.
    pub weights: Vec<f32>,
    /// The queries of each fold.
    pub(super) samples: Vec<Sample>,
}

/// Steps of a squared weight from 0 to 1.
const STEPS: usize = 4;
/// Folds that are held out.
const FOLDS: usize = 5;

/// A part that was fitted to a fold.
struct Fitted {
    space: Space,
    /// Embeddings of each tower's training items.
    banks: Vec<Vec<f32>>,
    /// Of each set, the embeddings of either side's held-out items.
    held: Vec<[Vec<f32>; 2]>,
}

/// Weights for parts, by cross-validation.
pub fn weigh(
    problem: &Problem<'_>,
    parts: &[Setting],
    hubs: Hubs,
    engine: &Engine,
    show: &mut dyn FnMut(usize, usize, &str),
) -> Result<Weights, FitError> {
    let folds = Folds::new(problem, FOLDS, engine.seed);
    weigh_on(problem, &folds, (0..FOLDS, usize::MAX), parts, hubs, engine, show)
}

/// Weights by some folds, with so many pairs to train on at most.
pub(super) fn weigh_on(
    problem: &Problem<'_>,
    folds: &Folds<'_>,
    (held, most): (std::ops::Range<usize>, usize),
    parts: &[Setting],
    hubs: Hubs,
    engine: &Engine,
    show: &mut dyn FnMut(usize, usize, &str),
) -> Result<Weights, FitError> {
    let choices = squares(parts.len());
    let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); choices.len()];
    let (total, mut done) = (held.len() * parts.len(), 0);
    for part in held {
        let Some(fold) = folds.fold(part, most) else { break };
        let problem = Problem { sets: &fold.train, ..*problem };
        let mut fitted = Vec::with_capacity(parts.len());
        for part in parts {
            problem.go_on()?;
            show(done, total, &part.describe());
            done += 1;
            let space = Space::new(problem.towers.to_vec(), part.map(&problem, engine)?);
            let mut held = Vec::new();
            for pairs in &fold.held_out {
                held.push(pairs.embed(&space, &engine.stop.go_on())?.ok_or(FitError::Stopped)?);
            }
            fitted.push(Fitted { space, banks: Vec::new(), held });
        }
        let shared = fitted.iter().map(|part| part.space.width()).sum();
        for part in &mut fitted {
            let bank = |tower: usize| embedded(&part.space, &problem, tower, bank(shared));
            part.banks = (0..problem.towers.len()).map(bank).collect::<Result<_, _>>()?;
        }
        for (squares, samples) in choices.iter().zip(&mut samples) {
            problem.go_on()?;
            let weights: Vec<f32> = squares.iter().map(|square| square.sqrt()).collect();
            let joined = |of: &dyn Fn(&Fitted) -> &[f32]| {
                let all = fitted.iter().zip(&weights).map(|(part, weight)| (*weight, of(part), part.space.width()));
                side_by_side(&all.collect::<Vec<_>>())
            };
            let banks = (0..problem.towers.len()).map(|tower| joined(&|part| &part.banks[tower])).collect();
            let Hubs { hubness: alpha, neighbours } = hubs;
            let hubness = Hubness { alpha, neighbours, shared, banks };
            let mut sample = Sample::default();
            for (number, pairs) in fold.held_out.iter().enumerate() {
                let sides = [0, 1].map(|side| {
                    let plain = joined(&|part| &part.held[number][side]);
                    if alpha > 0.0 { hubness.extend(pairs.towers[side], &plain) } else { plain }
                });
                let width = shared + if alpha > 0.0 { hubness.width() } else { 0 };
                let sides = sides.each_ref().map(Vec::as_slice);
                let rankings = pairs.rankings_of(&fitted[0].space, (sides, width), 1, &engine.stop.go_on());
                sample.add(pairs, &rankings.ok_or(FitError::Stopped)?);
            }
            samples.push(sample);
        }
    }
    show(total, total, "");
    let mean = |samples: &[Sample]| samples.iter().map(Sample::mean).sum::<f64>() / samples.len().max(1) as f64;
    // Of equals the first, whose weights are the most even.
    let best = (0..choices.len()).rev().max_by(|&a, &b| mean(&samples[a]).total_cmp(&mean(&samples[b]))).unwrap_or(0);
    let weights = choices[best].iter().map(|square| square.sqrt()).collect();
    Ok(Weights { weights, samples: samples.swap_remove(best) })
}

/// All squared weights of some parts that sum to 1, in steps, the most even first.
fn squares(parts: usize) -> Vec<Vec<f32>> {
    fn add(parts: usize, left: usize, begun: &[usize], all: &mut Vec<Vec<usize>>) {
        match parts {
            0 => {}
            1 => all.push([begun, &[left]].concat()),
            _ => (0..=left).for_each(|here| add(parts - 1, left - here, &[begun, &[here]].concat(), all)),
        }
    }
    let mut all = Vec::new();
    add(parts, STEPS, &[], &mut all);
    all.sort_by_key(|squares| squares.iter().map(|square| square * square).sum::<usize>());
    all.into_iter().map(|of| of.into_iter().map(|square| square as f32 / STEPS as f32).collect()).collect()
}

/// Rows of several parts, each with its weight and width, side by side.
fn side_by_side(parts: &[(f32, &[f32], usize)]) -> Vec<f32> {
    let rows = parts.first().map_or(0, |(_, values, width)| values.len() / width);
    let mut all = Vec::with_capacity(parts.iter().map(|(_, values, _)| values.len()).sum());
    for row in 0..rows {
        for (weight, values, width) in parts {
            all.extend(values[row * width..(row + 1) * width].iter().map(|value| weight * value));
        }
    }
    all
}
