//! ASIF: an item is described by its similarity to the training items of its own tower, which pairs have in common
//! (Norelli et al., "ASIF: Coupled Data Turns Unimodal Models to Multimodal Without Training", NeurIPS 2023).
//!
//! Of each tower, with latents x, a = unit((x - mean) / deviation). Of n pairs (the anchors), an item's embedding is
//! unit of k_i = max(a . a_i, 0)^power, where only the `top` greatest are not 0: n values. Compressed to a width, all
//! similarities count, and with K = V diag(L) V' of each tower's anchors and Lx^1/2 Vx' Vy Ly^1/2 = U S W', the
//! embedding is unit(k Vx Lx^-1/2 U S^1/2). Into a space that exists, it is unit of the anchors' embeddings, weighted
//! by k.

use serde::{Deserialize, Serialize};

use super::canonical::Blocks;
use super::coordinates::{Coordinates, along};
use super::kernel_cca::{Spectrum, Wanted};
use super::onto::{onto, rows_with_targets};
use super::options::{count, number};
use super::problem::FEWEST;
use super::ridge::nothing;
use super::{FitError, PairSet, Problem, Standard};
use crate::space::{Head, Input, Kernel, Map, Projection, Similarity};

/// `[fit]` of a recipe with `method = "asif"`, without what all methods have.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AsifOptions {
    /// How latents are standardised.
    pub standard: Option<Standard>,
    /// The power of similarities.
    pub power: Option<f32>,
    /// The anchors nearest to an item that describe it.
    pub top: Option<usize>,
    /// The most pairs of two towers that are anchors.
    pub anchors: Option<usize>,
    /// The width that it is compressed to; 0 for not.
    pub width: Option<usize>,
}

/// The options with every value known.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the fields are those of AsifOptions")]
pub struct Options {
    pub standard: Standard,
    pub power: f32,
    pub top: usize,
    pub anchors: usize,
    pub width: usize,
}

impl AsifOptions {
    /// The options with defaults for what is not set.
    pub fn resolve(&self) -> Result<Options, FitError> {
        Ok(Options {
            standard: self.standard.unwrap_or_default(),
            power: number("power", self.power, 3.0, 0.1..=100.0, "a number from 0.1 to 100")?,
            top: count("top", self.top, 100)?,
            anchors: count("anchors", self.anchors, 10_000)?,
            width: self.width.unwrap_or(0),
        })
    }
}

/// The map of all towers.
pub(super) fn fit(problem: &Problem<'_>, options: &Options) -> Result<Map, FitError> {
    for (tower, inlet) in problem.towers.iter().enumerate().filter(|(tower, _)| !problem.fixed[*tower]) {
        let items = problem.distinct(tower).len();
        if items < FEWEST {
            return Err(FitError::Few { tower: inlet.name.clone(), items, fewest: FEWEST });
        }
    }
    let inputs: Vec<Input> =
        (0..problem.towers.len()).map(|tower| options.standard.of(problem, tower)).collect::<Result<_, _>>()?;
    if problem.fixed.contains(&true) {
        return onto(problem, |tower, anchored| {
            let (rows, targets) = rows_with_targets(problem, anchored)?;
            let chosen = spread(rows.len() / problem.towers[tower].width, options.anchors);
            let rows = pick(&rows, problem.towers[tower].width, &chosen);
            let shared = anchored.first().map_or(0, |(_, _, map)| map.width());
            let weight = transposed(&pick(&targets, shared, &chosen), shared);
            let head = Some(Head { weight, bias: vec![0.0; shared] });
            Ok(Projection { head, ..relative(&inputs[tower], rows, options) })
        });
    }
    if options.width > 0 {
        return compressed(problem, options, &inputs);
    }
    let towers = problem.towers;
    let mut parts = Vec::new();
    for first in 0..towers.len() {
        for second in first + 1..towers.len() {
            let between = problem.sets.iter().filter(|set| set.towers.contains(&first) && set.towers.contains(&second));
            let between: Vec<&PairSet> = between.collect();
            if between.is_empty() {
                let (first, second) = (towers[first].name.clone(), towers[second].name.clone());
                return Err(FitError::Apart { first, second });
            }
            let chosen = spread(between.iter().map(|set| set.len()).sum(), options.anchors);
            let map = |tower: usize| {
                problem.go_on()?;
                if tower != first && tower != second {
                    return Ok(nothing(towers[tower].width, chosen.len()));
                }
                let mut rows = Vec::new();
                for set in &between {
                    let side = usize::from(set.towers[1] == tower);
                    rows.extend(super::problem::copied(&*set.latents[side], 0..set.len()));
                }
                Ok(relative(&inputs[tower], pick(&rows, towers[tower].width, &chosen), options))
            };
            parts.push((1.0, Map::Projections((0..towers.len()).map(map).collect::<Result<_, FitError>>()?)));
        }
    }
    match <[_; 1]>::try_from(parts) {
        Ok([(_, map)]) => Ok(map),
        Err(parts) => Ok(Map::joint(parts)),
    }
}

/// The compressed form, of two towers or more.
fn compressed(problem: &Problem<'_>, options: &Options, inputs: &[Input]) -> Result<Map, FitError> {
    let coordinates = |tower: usize| -> Result<Coordinates, FitError> {
        let similarity = Similarity::Cosine { power: options.power, top: problem.rows(tower) };
        let wanted = Wanted { similarity, rank: usize::MAX, centred: false };
        Ok(Spectrum::new(problem, tower, inputs[tower].clone(), wanted)?.coordinates(None))
    };
    let towers: Vec<Coordinates> = (0..problem.towers.len()).map(coordinates).collect::<Result<_, _>>()?;
    let directions = Blocks::new(problem, &towers)?.canonical(options.width, 0.5)?;
    Ok(along(&towers, &directions))
}

/// The map to similarities to `anchors`, latents as they are.
fn relative(input: &Input, mut anchors: Vec<f32>, options: &Options) -> Projection {
    let top = options.top.min(anchors.len() / input.mean.len());
    input.apply(&mut anchors);
    let kernel = Kernel { anchors, similarity: Similarity::Cosine { power: options.power, top } };
    Projection { input: input.clone(), kernel: Some(kernel), head: None }
}

/// At most `most` of so many rows, evenly spread.
fn spread(rows: usize, most: usize) -> Vec<usize> {
    let count = rows.min(most);
    (0..count).map(|at| at * rows / count).collect()
}

fn pick(values: &[f32], width: usize, rows: &[usize]) -> Vec<f32> {
    rows.iter().flat_map(|row| &values[row * width..(row + 1) * width]).copied().collect()
}

fn transposed(values: &[f32], width: usize) -> Vec<f32> {
    (0..width).flat_map(|column| values.iter().skip(column).step_by(width).copied()).collect()
}
