//! Regularised CCA: directions in which the towers' latents agree (canonical correlation analysis; Hotelling 1936, and
//! Vinod 1976 for the regularisation), with what each explains as its weight.
//!
//! Of each tower, with latents x of n training rows, a = unit((x - mean) / deviation), less the mean of a: C = V diag(l)
//! V' is their covariance, delta = rho * sum(l) / n, and f = a V (l + delta)^-1/2. From there it is
//! [kernel CCA](super::kernel_cca) with f in the place of its own; into a space that exists, it is ridge regression.

use faer::{Mat, Side};
use serde::{Deserialize, Serialize};

use super::canonical::Blocks;
use super::coordinates::{Coordinates, Moments};
use super::onto::{onto, regression};
use super::options::{count, rho};
use super::problem::FEWEST;
use super::{FitError, Problem, Standard};
use crate::space::Map;

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
pub(super) fn fit(problem: &Problem<'_>, options: &Options) -> Result<Map, FitError> {
    let coordinates = |tower: usize| whitened(problem, tower, options.standard, options.rho);
    if problem.fixed.contains(&true) {
        return onto(problem, &mut |tower, anchored| regression(problem, coordinates(tower)?, anchored));
    }
    let towers: Vec<Coordinates> = (0..problem.towers.len()).map(coordinates).collect::<Result<_, _>>()?;
    let directions = Blocks::new(problem, &towers)?.canonical(options.width, 1.0)?;
    let maps = towers.iter().zip(&directions).map(|(tower, directions)| tower.projection(directions, &[]));
    Ok(Map::Projections(maps.collect()))
}

/// The coordinates f of a tower.
pub(super) fn whitened(
    problem: &Problem<'_>,
    tower: usize,
    standard: Standard,
    rho: f32,
) -> Result<Coordinates, FitError> {
    /// Smallest eigenvalue, in units of the largest, that is told from none.
    const SMALLEST: f64 = 1e-12;
    let name = &problem.towers[tower].name;
    let plain = Coordinates::plain(standard.of(problem, tower)?);
    let Moments { mean, covariance } = Moments::of(problem, tower, &plain)?;
    let eigen = covariance
        .self_adjoint_eigen(Side::Lower)
        .map_err(|error| FitError::Eigen { tower: name.clone(), reason: format!("{error:?}") })?;
    let size = mean.len();
    let all: Vec<f64> = (1..=size).map(|at| eigen.S().column_vector()[size - at].max(0.0)).collect();
    let values: Vec<f64> =
        all.iter().copied().take_while(|value| *value > SMALLEST * all[0]).filter(|value| *value > 0.0).collect();
    if values.is_empty() {
        return Err(FitError::Few { tower: name.clone(), items: problem.distinct(tower).len(), fewest: FEWEST });
    }
    let delta = f64::from(rho) * values.iter().sum::<f64>() / problem.rows(tower) as f64;
    let matrix = Mat::from_fn(size, values.len(), |row, column| {
        eigen.U()[(row, size - 1 - column)] / (values[column] + delta).sqrt()
    });
    let offset = (0..values.len())
        .map(|column| -matrix.col(column).iter().zip(&mean).map(|(value, mean)| value * mean).sum::<f64>())
        .collect();
    Ok(Coordinates { matrix: Some(matrix), offset, ..plain })
}
