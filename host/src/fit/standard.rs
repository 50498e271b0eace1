//! The standardisation of a tower's latents.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::problem::copied;
use super::{FitError, Problem};
use crate::space::{Input, unit};

/// How latents are made comparable before anything else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standard {
    /// Each dimension less its mean and over its deviation, then length 1.
    #[default]
    Deviation,
    /// Length 1, less the mean, then length 1 again.
    Length,
}

/// Smallest deviation of a dimension, in units of its root mean square, that is told from none.
const SMALLEST: f64 = 1e-6;
/// Rows of a sum. Sums of pieces of a fixed size do not depend on threads.
const PIECE: usize = 256;

impl Standard {
    /// The standardisation of a tower, by its training rows.
    pub(super) fn of(self, problem: &Problem<'_>, tower: usize) -> Result<Input, FitError> {
        let width = problem.towers[tower].width;
        let is_unit = self == Self::Length;
        let sums = |of: &(dyn Fn(usize, f32) -> f64 + Sync)| -> Result<Vec<f64>, FitError> {
            let mut sums = vec![0.0; width];
            for side in problem.sides(tower) {
                let starts: Vec<usize> = (0..side.len()).step_by(PIECE).collect();
                for starts in starts.chunks(256) {
                    problem.go_on()?;
                    let piece = |&start: &usize| {
                        let mut sums = vec![0.0; width];
                        let mut rows = copied(side, start..(start + PIECE).min(side.len()));
                        for row in rows.chunks_exact_mut(width) {
                            if is_unit {
                                unit(row);
                            }
                            let values = sums.iter_mut().zip(row).enumerate();
                            values.for_each(|(at, (sum, value))| *sum += of(at, *value));
                        }
                        sums
                    };
                    for piece in starts.par_iter().map(piece).collect::<Vec<Vec<f64>>>() {
                        sums.iter_mut().zip(piece).for_each(|(sum, value)| *sum += value);
                    }
                }
            }
            Ok(sums)
        };
        let n = problem.rows(tower) as f64;
        let mean: Vec<f64> = sums(&|_, value| f64::from(value))?.into_iter().map(|sum| sum / n).collect();
        let scale = match self {
            Self::Length => vec![1.0; width],
            Self::Deviation => {
                let squares = sums(&|at, value| (f64::from(value) - mean[at]).powi(2))?;
                let deviation: Vec<f64> = squares.into_iter().map(|sum| (sum / n).sqrt()).collect();
                // One that does not vary, in units of its own size, is left out.
                let scale = |(value, mean): (&f64, &f64)| {
                    let varies = *value > SMALLEST * value.hypot(*mean);
                    Some((1.0 / value) as f32).filter(|scale| varies && scale.is_finite()).unwrap_or(0.0)
                };
                deviation.iter().zip(&mean).map(scale).collect()
            }
        };
        Ok(Input { unit: is_unit, mean: mean.into_iter().map(|mean| mean as f32).collect(), scale })
    }
}
