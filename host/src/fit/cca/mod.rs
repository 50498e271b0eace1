//! Regularised CCA: directions in which the towers' latents agree (canonical correlation analysis; Hotelling 1936, and
//! Vinod 1976 for the regularisation), with what each explains as its weight.
//!
//! Of each tower, with latents x of n training rows, a = unit((x - mean) / deviation), less the mean of a: C = V
//! diag(l) V' is their covariance, delta = rho * sum(l) / n, and f = a V (l + delta)^-1/2. From there it is
//! [kernel CCA](super::kernel_cca) with f in the place of its own; into a space that exists, it is ridge regression.

mod spectra;

use serde::{Deserialize, Serialize};

use super::canonical::Blocks;
use super::coordinates::{Coordinates, along};
use super::onto::{onto, regression};
use super::options::{count, rho};
use super::{FitError, Problem, Standard};
use crate::space::Map;

pub(super) use spectra::Spectra;

/// `[fit]` of a recipe with `method = "cca"`, without what all methods have.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CcaOptions {
    /// How latents are standardised.
    pub standard: Option<Standard>,
    /// The strength of the regularisation.
    pub rho: Option<f32>,
    /// The most dimensions of the shared space.
    pub width: Option<usize>,
}

/// The options with every value known.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the fields are those of CcaOptions")]
pub struct Options {
    pub standard: Standard,
    pub rho: f32,
    pub width: usize,
}

impl CcaOptions {
    /// The options with defaults for what is not set.
    pub fn resolve(&self) -> Result<Options, FitError> {
        let width = count("width", self.width, 384)?;
        Ok(Options { standard: self.standard.unwrap_or_default(), rho: rho(self.rho, 2.0)?, width })
    }
}

/// The map of all towers.
pub(super) fn fit(problem: &Problem<'_>, spectra: &Spectra, options: &Options) -> Result<Map, FitError> {
    let coordinates = |tower: usize| spectra.whitened(tower, options.rho);
    if problem.fixed.contains(&true) {
        return onto(problem, |tower, anchored| regression(problem, coordinates(tower), anchored));
    }
    let towers: Vec<Coordinates> = (0..problem.towers.len()).map(coordinates).collect();
    let directions = Blocks::new(problem, &towers)?.canonical(options.width, 1.0)?;
    Ok(along(&towers, &directions))
}
