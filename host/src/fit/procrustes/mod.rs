//! Orthogonal Procrustes: each tower's standardised latents are turned, and not stretched, to meet (Schoenemann 1966;
//! of more than two towers, Gower 1975).
//!
//! Of each tower, with latents x, a = unit((x - mean) / deviation), less the mean of a. Of two, C = U S V' is their
//! covariance over pairs, and an item's embedding unit(a U), or unit(a V). Of more, the orthonormal maps are those that
//! make the sum of the traces of all pairs the greatest. Into a space that exists, the map is a U V' + its mean.

use faer::Mat;
use serde::{Deserialize, Serialize};

use super::canonical::{Blocks, polar};
use super::coordinates::{Coordinates, Moments, along};
use super::onto::{onto, products};
use super::options::count;
use super::{FitError, Problem, Standard};
use crate::space::Map;

/// `[fit]` of a recipe with `method = "procrustes"`, without what all methods have.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcrustesOptions {
    /// How latents are standardised.
    pub standard: Option<Standard>,
    /// The most dimensions of the shared space.
    pub width: Option<usize>,
}

/// The options with every value known.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the fields are those of ProcrustesOptions")]
pub struct Options {
    pub standard: Standard,
    pub width: usize,
}

impl ProcrustesOptions {
    /// The options with defaults for what is not set.
    pub fn resolve(&self) -> Result<Options, FitError> {
        let width = count("width", self.width, 1024)?;
        Ok(Options { standard: self.standard.unwrap_or_default(), width })
    }
}

/// The map of all towers.
pub(super) fn fit(problem: &Problem<'_>, options: &Options) -> Result<Map, FitError> {
    let centred = |tower: usize| -> Result<Coordinates, FitError> {
        let plain = Coordinates::plain(options.standard.of(problem, tower)?);
        let offset = Moments::of(problem, tower, &plain)?.mean.into_iter().map(|mean| -mean).collect();
        Ok(Coordinates { offset, ..plain })
    };
    if problem.fixed.contains(&true) {
        return onto(problem, |tower, anchored| {
            let coordinates = centred(tower)?;
            let (products, mean) = products(problem, &coordinates, anchored)?;
            Ok(coordinates.projection(&polar(problem, products)?, &mean))
        });
    }
    let towers: Vec<Coordinates> = (0..problem.towers.len()).map(centred).collect::<Result<_, _>>()?;
    let directions: Vec<Mat<f64>> = Blocks::new(problem, &towers)?.orthogonal(options.width)?;
    Ok(along(&towers, &directions))
}
