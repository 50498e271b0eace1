//! Exact search for the rows of greatest product with queries, by tiles of rows and blocks of queries.

use gemm::Parallelism;
use rayon::prelude::*;

use super::Hit;
use super::row_set::RowSet;
use super::top::Top;
use super::vectors::Vectors;

/// Values of a tile: 2 MiB of f32, what a core's cache holds.
const TILE: usize = 1 << 19;
/// The most queries that are searched at once, which bounds the memory.
const QUERIES: usize = 256;

/// The state of a thread: the best rows that it has seen, and scratch space.
struct Search {
    /// One a query.
    best: Vec<Top>,
    /// The floor of each.
    floors: Vec<f32>,
    /// A converted tile.
    values: Vec<f32>,
    /// Products of a tile, one a query for each row.
    scores: Vec<f32>,
}

/// The `k` rows of `wanted` with the greatest products with each query (row by row, `width` values each).
pub(super) fn search(vectors: &Vectors, wanted: &RowSet, width: usize, queries: &[f32], k: usize) -> Vec<Vec<Hit>> {
    if k == 0 {
        return vec![Vec::new(); queries.len() / width];
    }
    let rows = (TILE / width).clamp(16, 4096);
    let block = |queries: &[f32]| {
        let count = queries.len() / width;
        let tiles = vectors.tiles(rows).fold(
            || Search::new(count, k),
            |mut search, tile| {
                let Search { values, scores, .. } = &mut search;
                if wanted.has_any(tile.first..tile.first + tile.rows()) {
                    multiply(tile.values(values), queries, width, scores);
                    search.offer(tile.first, wanted);
                }
                search
            },
        );
        let best = tiles
            .map(|search| search.best)
            .reduce_with(|one, other| one.into_iter().zip(other).map(|(one, other)| one.merged(other)).collect());
        best.unwrap_or_else(|| Search::new(count, k).best)
    };
    queries.chunks(QUERIES * width).flat_map(block).map(Top::into_hits).collect()
}

impl Search {
    fn new(queries: usize, k: usize) -> Self {
        let best: Vec<Top> = std::iter::repeat_with(|| Top::new(k)).take(queries).collect();
        let floors = best.iter().map(Top::floor).collect();
        Self { best, floors, values: Vec::new(), scores: Vec::new() }
    }

    /// Adds the scores of a tile whose first row is `first`; tiles must come in ascending order.
    fn offer(&mut self, first: usize, wanted: &RowSet) {
        let Self { best, floors, scores, .. } = self;
        for (row, scores) in (first..).zip(scores.chunks_exact(floors.len())) {
            // Few rows are among the best of any query: without branches, this makes vectors.
            let rises = scores.iter().zip(&*floors).fold(false, |any, (score, floor)| any | exceeds(*score, *floor));
            if !rises || !wanted.contains(row) {
                continue;
            }
            for ((best, floor), &score) in best.iter_mut().zip(&mut *floors).zip(scores) {
                if exceeds(score, *floor) {
                    best.offer(row, score);
                    *floor = best.floor();
                }
            }
        }
    }
}

/// Everything exceeds a floor that is NaN.
#[inline(always)]
#[allow(clippy::neg_cmp_op_on_partial_ord, reason = "NaN is meant")]
fn exceeds(score: f32, floor: f32) -> bool {
    !(score <= floor)
}

/// `scores (rows x queries) = values (rows x width) queries^T`.
fn multiply(values: &[f32], queries: &[f32], width: usize, scores: &mut Vec<f32>) {
    let (rows, count) = (values.len() / width, queries.len() / width);
    scores.resize(rows * count, 0.0);
    // SAFETY: the slices hold whole matrices of these dimensions and strides, and `scores` overlaps neither.
    unsafe {
        // Of the transposes, which is what `gemm` takes fastest.
        gemm::gemm(
            count,
            rows,
            width,
            scores.as_mut_ptr(),
            count as isize,
            1,
            false,
            queries.as_ptr(),
            1,
            width as isize,
            values.as_ptr(),
            width as isize,
            1,
            0.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}
