//! The term against hubs of a fitted space: embeddings of training items to compare with.

use super::{FitError, Problem};
use crate::latents::Dense;
use crate::space::{Hubness, Space};

/// The most items of a tower that the term compares with, and the most bytes of their embeddings.
const MOST: [usize; 2] = [1 << 14, 256 << 20];
/// The fewest items that are left of many.
const FEWEST: usize = 256;

/// The most items of a tower that the term compares with in a space of so many values.
pub(super) fn bank(shared: usize) -> usize {
    let [items, bytes] = MOST;
    (bytes / (size_of::<f32>() * shared.max(1))).clamp(FEWEST, items)
}

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
    let shared = space.shared();
    let banks = (0..problem.towers.len()).map(|tower| embedded(&space, problem, tower, bank(shared)));
    let banks = banks.collect::<Result<_, _>>()?;
    Ok(space.with_hubness(Hubness { alpha, neighbours, shared, banks }))
}

/// The embeddings `(items x shared)` of at most `most` training items of a tower.
pub(super) fn embedded(space: &Space, problem: &Problem<'_>, tower: usize, most: usize) -> Result<Vec<f32>, FitError> {
    problem.go_on()?;
    let rows = problem.gather(tower, &problem.some_distinct(tower, most));
    let mut all = Vec::with_capacity(rows.len() / problem.towers[tower].width * space.shared());
    space.embed_chunks(tower, &Dense::new(rows, problem.towers[tower].width), &mut |chunk| {
        all.extend_from_slice(chunk);
        problem.go_on()
    })?;
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_spaces_keep_fewer_items() {
        assert_eq!([384, 1024, 10_000, 10_000_000].map(bank), [16_384, 16_384, 6710, 256]);
    }
}
