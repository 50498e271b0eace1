//! Retrieval across two towers: recall at k and the median rank, any number of matches on either side.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};

use crate::space::product;

/// The k of R@k.
const DEPTHS: [usize; 3] = [1, 5, 10];

/// One side: distinct items of a tower and their embeddings.
#[derive(Clone, Copy)]
pub struct Embedded<'a> {
    /// The tower's name.
    pub tower: &'a str,
    /// `items x width`, whose inner products are scores.
    pub embeddings: &'a [f32],
    /// Width of the shared space.
    pub width: usize,
}

/// Retrieval in one direction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Retrieval {
    /// The tower of the queries.
    pub from: String,
    /// The tower of the results.
    pub to: String,
    /// Queries: items with at least one match.
    pub queries: usize,
    /// Items that are searched.
    pub gallery: usize,
    /// R@k in percent: queries with a match among the first k.
    pub recall: BTreeMap<usize, f64>,
    /// R@k for a gallery in random order.
    pub chance: BTreeMap<usize, f64>,
    /// The median over the queries of the rank of the best match, from 1.
    pub median_rank: f64,
    /// The median over the queries of the expected rank of the best match in random order.
    pub chance_median_rank: f64,
}

/// The ranks at which the queries of one direction find their matches.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranking {
    /// The tower of the queries.
    pub from: String,
    /// The tower of the results.
    pub to: String,
    /// Items that are searched.
    pub gallery: usize,
    /// The queries, as indices of their tower's items.
    pub queries: Vec<usize>,
    /// The rank of each query's best match, from 1.
    pub ranks: Vec<usize>,
    /// The matches of each query.
    wanted: Vec<usize>,
}

impl Ranking {
    /// The share of the k of R@k whose first k hold a match of query `at`, in percent: of all queries, the mean is that
    /// of all R@k.
    pub fn score(&self, at: usize) -> f64 {
        100.0 * DEPTHS.iter().filter(|&&k| self.ranks[at] <= k).count() as f64 / DEPTHS.len() as f64
    }

    /// Their summary.
    pub fn retrieval(&self) -> Retrieval {
        let gallery = self.gallery;
        let share = |of: &dyn Fn(usize) -> f64| DEPTHS.map(|k| (k, 100.0 * of(k))).into_iter().collect();
        let count = self.queries.len().max(1) as f64;
        let sorted = |mut values: Vec<f64>| {
            values.sort_unstable_by(f64::total_cmp);
            values
        };
        let expected = |wanted: &usize| (gallery as f64 + 1.0) / (*wanted as f64 + 1.0);
        Retrieval {
            from: self.from.clone(),
            to: self.to.clone(),
            queries: self.queries.len(),
            gallery,
            recall: share(&|k| self.ranks.iter().filter(|&&rank| rank <= k).count() as f64 / count),
            chance: share(&|k| self.wanted.iter().map(|&wanted| chance(gallery, wanted, k)).sum::<f64>() / count),
            median_rank: median(&sorted(self.ranks.iter().map(|&rank| rank as f64).collect())),
            chance_median_rank: median(&sorted(self.wanted.iter().map(expected).collect())),
        }
    }
}

impl Retrieval {
    /// True if some R@k is more than three standard deviations above that of a random order.
    pub fn beats_chance(&self) -> bool {
        let queries = self.queries.max(1) as f64;
        self.recall.iter().any(|(k, recall)| {
            let (found, chance) = (recall / 100.0, self.chance.get(k).copied().unwrap_or(0.0) / 100.0);
            found > chance + 3.0 * (chance * (1.0 - chance) / queries).sqrt() && found * queries > 1.5
        })
    }
}

/// The mean of all R@k of several directions, in percent; 0 without any.
pub fn mean_recall(directions: &[Retrieval]) -> f64 {
    let values: Vec<f64> = directions.iter().flat_map(|retrieval| retrieval.recall.values().copied()).collect();
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// True if work is to go on, of which so much is done and so much there is.
pub type GoOn<'a> = &'a dyn Fn(usize, usize) -> bool;

/// Retrieval from `x` to `y` and back, where `matches` are the matching pairs (index in `x`, index in `y`). An item
/// whose score equals that of the best match ranks before it, unless it also matches: a tie is not a find. None
/// if it is not to go on, with the share of scores that are done.
pub fn both_ways(
    x: Embedded<'_>,
    y: Embedded<'_>,
    matches: &[(usize, usize)],
    go_on: GoOn<'_>,
) -> Option<[Ranking; 2]> {
    let items = [x, y].map(|side| side.embeddings.len() / side.width);
    let (best, before) = ranks(x, y, matches, go_on)?;
    let back: Vec<(usize, usize)> = matches.iter().map(|&(i, j)| (j, i)).collect();
    let [forth, back] = [(0, matches), (1, &back)].map(|(side, matches)| {
        let mut wanted: BTreeMap<usize, HashSet<usize>> = BTreeMap::new();
        for &(query, item) in matches {
            wanted.entry(query).or_default().insert(item);
        }
        let gallery = items[1 - side];
        // Without a finite score among its matches, a query finds none of them.
        let rank = |&query: &usize| match best[side][query].is_finite() {
            true => 1 + before[side][query] as usize,
            false => gallery,
        };
        let ranks = wanted.keys().map(rank).collect();
        let (queries, wanted) = wanted.into_iter().map(|(query, wanted)| (query, wanted.len())).unzip();
        let [from, to] = if side == 0 { [x, y] } else { [y, x] };
        Ranking { from: from.tower.to_owned(), to: to.tower.to_owned(), gallery, queries, ranks, wanted }
    });
    Some([forth, back])
}

/// For each item of either side, the best score among its matches, and the items of the other side that come before it.
type Ranks = ([Vec<f32>; 2], [Vec<u32>; 2]);

/// Of the scores of all items of `x` with all of `y`, which are computed in squares: those that hold a match twice, as
/// what comes before the best match can be counted once that is known.
fn ranks(x: Embedded<'_>, y: Embedded<'_>, matches: &[(usize, usize)], go_on: GoOn<'_>) -> Option<Ranks> {
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

/// The side of a square of scores, 4 MiB.
const SIDE: usize = 1024;
/// Squares that are kept until they are needed again.
const KEPT: usize = 16;
/// Rows of a square that a thread looks at.
const PART: usize = 64;

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

/// The chance that one of `wanted` items is among the first `k` of a random order.
fn chance(gallery: usize, wanted: usize, k: usize) -> f64 {
    let miss = |drawn: usize| (gallery - wanted).saturating_sub(drawn) as f64 / (gallery - drawn) as f64;
    1.0 - (0..k.min(gallery)).map(miss).product::<f64>()
}

fn median(sorted: &[f64]) -> f64 {
    match sorted {
        [] => 0.0,
        sorted => (sorted[(sorted.len() - 1) / 2] + sorted[sorted.len() / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::hash;

    fn embedded<'a>(tower: &'a str, embeddings: &'a [f32]) -> Embedded<'a> {
        Embedded { tower, embeddings, width: 2 }
    }

    #[test]
    fn several_matches_count_by_the_best_of_them() {
        // Scores of query (1, 0) are the first coordinates.
        let x = [1.0, 0.0, 0.0, 1.0];
        let y = [0.6, 0.8, 0.8, 0.6, 1.0, 0.0];
        let both = |go_on| both_ways(embedded("image", &x), embedded("text", &y), &[(0, 0), (0, 1), (1, 2)], go_on);
        let rankings = both(&|_, _| true).unwrap();
        assert_eq!((&rankings[0].queries, &rankings[0].ranks), (&vec![0, 1], &vec![2, 3]));
        let [forth, back] = rankings.each_ref().map(Ranking::retrieval);
        for (ranking, retrieval) in rankings.iter().zip([&forth, &back]) {
            let mean = (0..ranking.queries.len()).map(|at| ranking.score(at)).sum::<f64>() / retrieval.queries as f64;
            assert!((mean - mean_recall(std::slice::from_ref(retrieval))).abs() < 1e-9);
        }
        assert_eq!((forth.queries, forth.gallery, back.queries, back.gallery), (2, 3, 3, 2));
        // Query 0 finds item 2 first, then its match 1; query 1 finds its match last.
        assert_eq!(forth.recall, BTreeMap::from([(1, 0.0), (5, 100.0), (10, 100.0)]));
        assert_eq!(forth.median_rank, 2.5);
        // Of 3 items in random order, one of 2 matches comes at 4/3, a single one at 2.
        assert!((forth.chance_median_rank - (4.0 / 3.0 + 2.0) / 2.0).abs() < 1e-12);
        // Item 0 is nearer to query 1, item 1 to query 0, item 2 to query 0.
        assert!((back.recall[&1] - 100.0 / 3.0).abs() < 1e-9);
        assert_eq!(back.median_rank, 2.0);
        assert_eq!(both(&|done, _| done < 1), None);
    }

    #[test]
    fn equal_embeddings_find_nothing() {
        let same = [0.6, 0.8].repeat(20);
        let pairs: Vec<(usize, usize)> = (0..20).map(|index| (index, index)).collect();
        let (x, y) = (embedded("image", &same), embedded("text", &same));
        let [forth, _] = both_ways(x, y, &pairs, &|_, _| true).unwrap().map(|ranking| ranking.retrieval());
        assert_eq!((forth.recall[&10], forth.median_rank), (0.0, 20.0));
    }

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

    #[test]
    fn chance_is_that_of_draws_without_return() {
        assert!((chance(64, 1, 5) - 5.0 / 64.0).abs() < 1e-12);
        assert!((chance(4, 2, 1) - 0.5).abs() < 1e-12);
        assert!((chance(4, 2, 2) - 5.0 / 6.0).abs() < 1e-12);
        assert_eq!(chance(3, 1, 10), 1.0);
    }
}
