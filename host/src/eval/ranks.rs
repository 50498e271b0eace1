//! The ranks of matches among the scores of all items of one side with all of the other. The scores are computed in
//! squares, and serve both directions.

use rayon::prelude::*;
use std::collections::BTreeMap;

use super::retrieval::Embedded;
use crate::space::product;
use crate::stop::GoOn;

/// The side of a square of scores, 4 MiB.
const SIDE: usize = 1024;
/// Squares that are kept until they are needed again.
const KEPT: usize = 16;
/// Rows of a square that a thread looks at.
const PART: usize = 64;

/// For each item of either side, the best score among its matches, and the items of the other side that come before it.
pub(super) type Ranks = ([Vec<f32>; 2], [Vec<u32>; 2]);

/// Of the scores of all items of `x` with all of `y`, which are computed in squares: those that hold a match twice, as
/// what comes before the best match can be counted once that is known.
pub(super) fn ranks(x: Embedded<'_>, y: Embedded<'_>, matches: &[(usize, usize)], go_on: GoOn<'_>) -> Option<Ranks> {
    let [rows, columns] = [x, y].map(|side| side.embeddings.len() / side.width);
    let mut of_square: BTreeMap<[usize; 2], Vec<(usize, usize)>> = BTreeMap::new();
    for &(row, column) in matches {
        of_square.entry([row / SIDE, column / SIDE]).or_default().push((row % SIDE, column % SIDE));
    }
    of_square.values_mut().for_each(|matches| {
        matches.sort_unstable();
        matches.dedup();
    });
    let total = of_square.len() + rows.div_ceil(SIDE) * columns.div_ceil(SIDE);
    let mut done = 0;
    let mut next = || {
        done += 1;
        go_on(done - 1, total).then_some(())
    };
    let mut kept = BTreeMap::new();
    let mut best = [vec![f32::NEG_INFINITY; rows], vec![f32::NEG_INFINITY; columns]];
    for (&square, matches) in &of_square {
        next()?;
        let scores = Square::new(x, y, square);
        let [first, other] = square.map(|at| at * SIDE);
        for &(row, column) in matches {
            let score = scores.values[row * scores.width + column];
            let [of_row, of_column] = &mut best;
            of_row[first + row] = of_row[first + row].max(score);
            of_column[other + column] = of_column[other + column].max(score);
        }
        if kept.len() < KEPT {
            kept.insert(square, scores);
        }
    }
    let mut before = [vec![0; rows], vec![0; columns]];
    for square in
        (0..rows.div_ceil(SIDE)).flat_map(|down| (0..columns.div_ceil(SIDE)).map(move |across| [down, across]))
    {
        next()?;
        let scores = kept.remove(&square).unwrap_or_else(|| Square::new(x, y, square));
        let matches = of_square.get(&square).map_or(&[][..], Vec::as_slice);
        let ([of_rows, of_columns], [from_rows, from_columns]) = (&best, &mut before);
        let [down, across] = square.map(|at| at * SIDE);
        let height = scores.values.len() / scores.width;
        let (down, across) = (down..down + height, across..across + scores.width);
        let best = [&of_rows[down.clone()], &of_columns[across.clone()]];
        scores.count(best, matches, [&mut from_rows[down], &mut from_columns[across]]);
    }
    Some((best, before))
}

/// The scores of some items with some others, row by row.
struct Square {
    values: Vec<f32>,
    width: usize,
}

impl Square {
    fn new(x: Embedded<'_>, y: Embedded<'_>, square: [usize; 2]) -> Self {
        let [rows, columns] = [(x, square[0]), (y, square[1])].map(|(side, at)| {
            let size = SIDE * side.width;
            &side.embeddings[at * size..side.embeddings.len().min((at + 1) * size)]
        });
        Self { values: product(rows, columns, x.width), width: columns.len() / y.width }
    }

    /// Adds to `before` the items that come before the best match of each row, and of each column: those that score no
    /// less and are no matches, `matches` being those of this square.
    fn count(&self, best: [&[f32]; 2], matches: &[(usize, usize)], before: [&mut [u32]; 2]) {
        let [of_rows, of_columns] = best;
        let [in_rows, in_columns] = before;
        let parts = self.values.par_chunks(PART * self.width).zip(of_rows.par_chunks(PART));
        let of_parts = parts.zip(in_rows.par_chunks_mut(PART)).map(|((scores, best), in_rows)| {
            let mut in_columns = vec![0; self.width];
            for ((scores, best), in_row) in scores.chunks_exact(self.width).zip(best).zip(in_rows) {
                *in_row += count_row(scores, *best, of_columns, &mut in_columns);
            }
            in_columns
        });
        let add = |mut sum: Vec<u32>, part: Vec<u32>| {
            sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
            sum
        };
        let sums = of_parts.reduce(|| vec![0; self.width], add);
        in_columns.iter_mut().zip(sums).for_each(|(count, sum)| *count += sum);
        for &(row, column) in matches {
            let score = self.values[row * self.width + column];
            in_rows[row] -= u32::from(is_before(score, of_rows[row]));
            in_columns[column] -= u32::from(is_before(score, of_columns[column]));
        }
    }
}

/// True if a score, of an item that is no match, comes before the best match's; one that is not a number does.
#[inline(always)]
fn is_before(score: f32, best: f32) -> bool {
    score >= best || score.is_nan()
}

/// The scores of a row that come before its best match's; adds those that come before the best of each column's.
fn count_row(scores: &[f32], best: f32, of_columns: &[f32], in_columns: &mut [u32]) -> u32 {
    let mut count = 0;
    for ((&score, &of_column), in_column) in scores.iter().zip(of_columns).zip(in_columns) {
        count += u32::from(is_before(score, best));
        *in_column += u32::from(is_before(score, of_column));
    }
    count
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::both_ways;
    use super::*;
    use crate::kernels::hash;

    #[test]
    fn squares_of_scores_give_the_ranks_of_the_whole() {
        // Whole numbers, so that many scores are equal, and exact.
        let whole = |count: usize, salt: u32| -> Vec<f32> {
            (0..3 * count as u32).map(|at| (hash(at.wrapping_mul(31) ^ salt) % 5) as f32 - 2.0).collect()
        };
        let (rows, columns) = (SIDE + 70, 2 * SIDE + 5);
        let (x, y) = (whole(rows, 1), whole(columns, 2));
        let matches: Vec<(usize, usize)> = (0..3000)
            .map(|at| (hash(at) as usize % rows, hash(at ^ 0x5555) as usize % columns))
            .filter(|(row, _)| row % 7 > 0)
            .collect();
        let [a, b] = [("x", &x), ("y", &y)].map(|(tower, embeddings)| Embedded { tower, embeddings, width: 3 });
        let steps = std::cell::RefCell::new(Vec::new());
        let found = both_ways(a, b, &matches, &|done, total| {
            steps.borrow_mut().push((done, total));
            true
        });
        let steps = steps.into_inner();
        assert!(steps.iter().enumerate().all(|(at, step)| *step == (at, steps.len())), "{steps:?}");
        let score = |row: usize, column: usize| (0..3).map(|at| x[3 * row + at] * y[3 * column + at]).sum::<f32>();
        for (side, ranking) in found.unwrap().iter().enumerate() {
            let score = |query, item| if side == 0 { score(query, item) } else { score(item, query) };
            let mut wanted: BTreeMap<usize, HashSet<usize>> = BTreeMap::new();
            for &(row, column) in &matches {
                let (query, item) = if side == 0 { (row, column) } else { (column, row) };
                wanted.entry(query).or_default().insert(item);
            }
            assert_eq!(ranking.queries, wanted.keys().copied().collect::<Vec<_>>());
            for ((query, wanted), rank) in wanted.iter().zip(&ranking.ranks) {
                let best = wanted.iter().map(|&item| score(*query, item)).fold(f32::MIN, f32::max);
                let others = (0..ranking.gallery).filter(|item| !wanted.contains(item));
                assert_eq!(*rank, 1 + others.filter(|&item| score(*query, item) >= best).count());
            }
        }
    }
}
