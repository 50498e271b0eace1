//! What a fit in closed form is given: towers, and pairs between them.

use rayon::prelude::*;
use std::collections::HashSet;
use std::ops::Range;

use super::{FitError, PairSet};
use crate::latents::{Latents, digests};
use crate::space::Inlet;

/// Towers and their pairs.
#[derive(Clone, Copy)]
pub struct Problem<'a> {
    /// The towers.
    pub towers: &'a [Inlet],
    /// Of each tower, true if its latents are the shared space as they are.
    pub fixed: &'a [bool],
    /// The pairs.
    pub sets: &'a [PairSet],
    /// Asked now and then; true ends the fit.
    pub stop: &'a (dyn Fn() -> bool + Sync),
}

/// The fewest different items of a tower.
pub(super) const FEWEST: usize = 4;

impl<'a> Problem<'a> {
    /// The training rows of a tower, set by set.
    pub(super) fn sides(&self, tower: usize) -> Vec<&'a dyn Latents> {
        let side = |set: &'a PairSet| set.towers.iter().position(|&other| other == tower).map(|at| &*set.latents[at]);
        self.sets.iter().filter_map(side).collect()
    }

    /// Training rows of a tower, counted.
    pub(super) fn rows(&self, tower: usize) -> usize {
        self.sides(tower).iter().map(|side| side.len()).sum()
    }

    /// An error if the fit is to end.
    pub(super) fn go_on(&self) -> Result<(), FitError> {
        if (self.stop)() { Err(FitError::Stopped) } else { Ok(()) }
    }

    /// The first training row of each different item of a tower, as (side, row).
    pub(super) fn distinct(&self, tower: usize) -> Vec<(usize, usize)> {
        let mut seen = HashSet::new();
        let mut first = Vec::new();
        for (number, side) in self.sides(tower).into_iter().enumerate() {
            let contents = digests(side).into_iter().enumerate();
            first.extend(contents.filter_map(|(row, of)| seen.insert(of).then_some((number, row))));
        }
        first
    }

    /// [`Self::distinct`], or at most `most` of them, evenly spread.
    pub(super) fn some_distinct(&self, tower: usize, most: usize) -> Vec<(usize, usize)> {
        let all = self.distinct(tower);
        let count = all.len().min(most);
        (0..count).map(|at| all[at * all.len() / count]).collect()
    }

    /// Training rows of a tower, one after the other.
    pub(super) fn gather(&self, tower: usize, rows: &[(usize, usize)]) -> Vec<f32> {
        let (sides, width) = (self.sides(tower), self.towers[tower].width);
        let mut values = vec![0.0; rows.len() * width];
        let out = values.par_chunks_mut(width).zip(rows).with_min_len(16);
        out.for_each(|(out, &(side, row))| sides[side].copy_row(row, out));
        values
    }
}

/// Some rows of latents, one after the other.
pub(super) fn copied(latents: &dyn Latents, rows: Range<usize>) -> Vec<f32> {
    let width = latents.width();
    let mut values = vec![0.0; rows.len() * width];
    let out = values.par_chunks_mut(width).enumerate().with_min_len(16);
    out.for_each(|(at, out)| latents.copy_row(rows.start + at, out));
    values
}
