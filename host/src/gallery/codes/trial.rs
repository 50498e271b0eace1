//! Trials of codes: how many rows must be scored exactly to find the nearest, and how many of these are found.
//!
//! The queries are rows, off the gallery's mean in a direction of which a third is a row's own and the rest is chance:
//! a query of another modality is no nearer than that to what it should find, and the nearest are as hard to tell apart.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

use super::{Codes, FEWEST};
use crate::gallery::row_set::RowSet;
use crate::gallery::search;
use crate::gallery::vectors::Vectors;
use crate::stop::Stop;

/// The nearest that are to be found.
pub(super) const NEAREST: usize = 10;
/// Queries of a trial.
const QUERIES: usize = 64;
/// The cosine of a query with the row that it was made of, both less the mean.
const COSINE: f32 = 0.35;
/// The recall that is enough.
const ENOUGH: f64 = 0.99;
/// The greatest share of rows that are scored exactly.
const MOST: usize = 32;

/// The rows to score exactly, and the recall with them; none if it was stopped.
pub(super) fn run(
    codes: &Codes,
    vectors: &Vectors,
    (width, live): (usize, &RowSet),
    mean: &[f32],
    stop: &Stop,
) -> Option<(usize, f64)> {
    let queries = queries(vectors, width, live, mean);
    let exact = search::search(vectors, live, width, &queries, NEAREST);
    let recall = |count: usize| {
        let found: Vec<usize> = queries
            .par_chunks(width)
            .zip(&exact)
            .map(|(query, exact)| {
                let found = codes.nearest(vectors, live, query, (count, NEAREST)).into_hits();
                let worst = exact.last().map_or(f32::NEG_INFINITY, |hit| hit.score);
                // A tie is as good.
                found.iter().filter(|hit| hit.score >= worst - 1e-6).count().min(exact.len())
            })
            .collect();
        found.iter().sum::<usize>() as f64 / exact.iter().map(Vec::len).sum::<usize>().max(1) as f64
    };
    let mut count = FEWEST;
    loop {
        if stop.is_asked() {
            return None;
        }
        let found = recall(count);
        if found >= ENOUGH || count * MOST >= codes.info.rows {
            return Some((count, found));
        }
        count *= 2;
    }
}

fn queries(vectors: &Vectors, width: usize, live: &RowSet, mean: &[f32]) -> Vec<f32> {
    let rows: Vec<usize> = live.iter().collect();
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let length = |values: &[f32]| values.iter().map(|value| value * value).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    let mut all = Vec::with_capacity(QUERIES * width);
    for _ in 0..QUERIES.min(rows.len()) {
        let row = rows[rng.random_range(0..rows.len())];
        let vector = vectors.row(row).unwrap_or_else(|_| mean.to_vec());
        let own: Vec<f32> = vector.iter().zip(mean).map(|(value, mean)| value - mean).collect();
        let chance: Vec<f32> = (0..width).map(|_| StandardNormal.sample(&mut rng)).collect();
        let (of_own, of_chance) = (COSINE / length(&own), (1.0 - COSINE * COSINE).sqrt() / length(&chance));
        all.extend(own.iter().zip(&chance).map(|(own, chance)| own * of_own + chance * of_chance));
    }
    all
}
