//! The term against hubs of a fitted space: embeddings of training items to compare with.

use super::{FitError, Problem};
use crate::latents::Dense;
use crate::space::{Hubness, Space};

/// The most items of a tower that the term compares with.
pub(super) const BANK: usize = 1 << 14;

/// Adds a term against hubs.
pub(crate) fn against_hubs(
    space: Space,
    problem: &Problem<'_>,
    alpha: f32,
    neighbours: usize,
) -> Result<Space, FitError> {
    if alpha == 0.0 {
        return Ok(space);
    }
    let bank = |tower: usize| -> Result<Vec<f32>, FitError> {
        problem.go_on()?;
        let rows = problem.gather(tower, &problem.some_distinct(tower, BANK));
        Ok(space.embed(tower, &Dense::new(rows, problem.towers[tower].width))?)
    };
    let banks = (0..problem.towers.len()).map(bank).collect::<Result<_, _>>()?;
    let shared = space.shared();
    Ok(space.with_hubness(Hubness { alpha, neighbours, shared, banks }))
}
