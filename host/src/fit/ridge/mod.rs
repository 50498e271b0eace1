//! Ridge regression, both ways: each tower is predicted from each that it has pairs with (Hoerl and Kennard 1970).
//!
//! Of each tower, with latents x of n training rows, a = unit((x - mean) / deviation). To tower j, an item of tower i
//! is brought by the least-squares map p_ij = (a_i - mean) (C_i + delta)^-1 C_ij + mean of a_j, where delta = rho * the
//! sum of C_i's eigenvalues / n. An item's embedding has a part for each tower j: unit(p_ij), or a_j itself of its own
//! tower, or zeros if the two have no pairs. A score is so the mean of the cosines in each tower's own space.

use serde::{Deserialize, Serialize};

use super::cca::Spectra;
use super::onto::{onto, products, regression};
use super::options::rho;
use super::{FitError, Problem, Standard};
use crate::space::{Head, Input, Map, Projection};

/// `[fit]` of a recipe with `method = "ridge"`, without what all methods have.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RidgeOptions {
    /// How latents are standardised.
    pub standard: Option<Standard>,
    /// The strength of the regularisation.
    pub rho: Option<f32>,
}

/// The options with every value known.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the fields are those of RidgeOptions")]
pub struct Options {
    pub standard: Standard,
    pub rho: f32,
}

impl RidgeOptions {
    /// The options with defaults for what is not set.
    pub fn resolve(&self) -> Result<Options, FitError> {
        Ok(Options { standard: self.standard.unwrap_or_default(), rho: rho(self.rho, 0.3)? })
    }
}

/// The map of all towers.
pub(super) fn fit(problem: &Problem<'_>, spectra: &Spectra, options: &Options) -> Result<Map, FitError> {
    let Options { standard, rho } = *options;
    if problem.fixed.contains(&true) {
        return onto(problem, |tower, anchored| regression(problem, spectra.whitened(tower, rho), anchored));
    }
    let towers = problem.towers;
    let mut parts: Vec<Vec<Option<Projection>>> = Vec::new();
    let own: Vec<Projection> = (0..towers.len())
        .map(|tower| Ok(Projection { input: standard.of(problem, tower)?, kernel: None, head: None }))
        .collect::<Result<_, FitError>>()?;
    parts.resize_with(towers.len(), || vec![None; towers.len()]);
    for from in 0..towers.len() {
        let coordinates = spectra.whitened(from, rho);
        for to in 0..towers.len() {
            parts[to][from] = Some(if to == from {
                own[to].clone()
            } else {
                let between = problem.sets.iter().filter(|set| set.towers.contains(&from) && set.towers.contains(&to));
                let anchored: Vec<_> = between.map(|set| (set, usize::from(set.towers[1] == from), &own[to])).collect();
                match anchored.is_empty() {
                    true => nothing(towers[from].width, towers[to].width),
                    false => {
                        let (directions, mean) = products(problem, &coordinates, &anchored)?;
                        coordinates.projection(&directions, &mean)
                    }
                }
            });
        }
    }
    let parts = parts.into_iter().map(|part| (1.0, Map::Projections(part.into_iter().flatten().collect())));
    Ok(Map::joint(parts.collect()))
}

/// The map to zeros.
pub(super) fn nothing(width: usize, shared: usize) -> Projection {
    let head = Some(Head { weight: vec![0.0; shared * width], bias: vec![0.0; shared] });
    Projection { input: Input::plain(width), kernel: None, head }
}
