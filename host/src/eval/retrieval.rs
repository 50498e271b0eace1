//! Retrieval across two towers: recall at k and the median rank, any number of matches on either side.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};

use super::ranks::ranks;
use crate::stop::GoOn;

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
    /// Items that are searched; of several parts, their mean.
    pub gallery: usize,
    /// The queries, as indices of their tower's items.
    pub queries: Vec<usize>,
    /// The rank of each query's best match, from 1.
    pub ranks: Vec<usize>,
    /// The items that each query is searched among, and those of them that match.
    among: Vec<Among>,
}

/// Items, and those of them that are wanted.
type Among = (usize, usize);

impl Ranking {
    /// The share of the k of R@k whose first k hold a match of query `at`, in percent: of all queries, the mean is that
    /// of all R@k.
    pub fn score(&self, at: usize) -> f64 {
        100.0 * DEPTHS.iter().filter(|&&k| self.ranks[at] <= k).count() as f64 / DEPTHS.len() as f64
    }

    /// Adds the queries of another part.
    pub(super) fn append(&mut self, other: Self) {
        self.queries.extend(other.queries);
        self.ranks.extend(other.ranks);
        self.among.extend(other.among);
    }

    /// Their summary.
    pub fn retrieval(&self) -> Retrieval {
        let share = |of: &dyn Fn(usize) -> f64| DEPTHS.map(|k| (k, 100.0 * of(k))).into_iter().collect();
        let count = self.queries.len().max(1) as f64;
        let sorted = |mut values: Vec<f64>| {
            values.sort_unstable_by(f64::total_cmp);
            values
        };
        Retrieval {
            from: self.from.clone(),
            to: self.to.clone(),
            queries: self.queries.len(),
            gallery: self.gallery,
            recall: share(&|k| self.ranks.iter().filter(|&&rank| rank <= k).count() as f64 / count),
            chance: share(&|k| self.among.iter().map(|&among| chance(among, k)).sum::<f64>() / count),
            median_rank: median(&sorted(self.ranks.iter().map(|&rank| rank as f64).collect())),
            chance_median_rank: chance_median_rank(&self.among),
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
        let (queries, among) = wanted.into_iter().map(|(query, wanted)| (query, (gallery, wanted.len()))).unzip();
        let [from, to] = if side == 0 { [x, y] } else { [y, x] };
        Ranking { from: from.tower.to_owned(), to: to.tower.to_owned(), gallery, queries, ranks, among }
    });
    Some([forth, back])
}

/// The chance that a wanted item is among the first `k` of a random order.
fn chance((gallery, wanted): Among, k: usize) -> f64 {
    let miss = |drawn: usize| (gallery - wanted).saturating_sub(drawn) as f64 / (gallery - drawn) as f64;
    1.0 - (0..k.min(gallery)).map(miss).product::<f64>()
}

/// The median rank of the first wanted item of each query in random orders.
fn chance_median_rank(queries: &[Among]) -> f64 {
    // Queries by what they are searched among, with the share of orders in which no match has come yet.
    let mut kinds: BTreeMap<Among, f64> = BTreeMap::new();
    queries.iter().for_each(|&among| *kinds.entry(among).or_default() += 1.0);
    let mut kinds: Vec<(Among, f64, f64)> = kinds.into_iter().map(|(among, queries)| (among, queries, 1.0)).collect();
    let half = queries.len() as f64 / 2.0;
    let mut low = None;
    for drawn in 0..kinds.iter().map(|((gallery, _), ..)| *gallery).max().unwrap_or(0) {
        for ((gallery, wanted), _, missed) in kinds.iter_mut().filter(|((gallery, _), ..)| drawn < *gallery) {
            *missed *= (*gallery - *wanted).saturating_sub(drawn) as f64 / (*gallery - drawn) as f64;
        }
        let found: f64 = kinds.iter().map(|(_, queries, missed)| queries * (1.0 - missed)).sum();
        let rank = drawn as f64 + 1.0;
        if found >= half * (1.0 - 1e-9) {
            low.get_or_insert(rank);
        }
        if let Some(low) = low.filter(|_| found > half * (1.0 + 1e-9)) {
            return (low + rank) / 2.0;
        }
    }
    low.unwrap_or(0.0)
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
        // Of 3 items in random order, one of 2 matches comes first in 2 of 3 orders, a single one in 1 of 3.
        assert_eq!(forth.chance_median_rank, 1.5);
        // Item 0 is nearer to query 1, item 1 to query 0, item 2 to query 0.
        assert!((back.recall[&1] - 100.0 / 3.0).abs() < 1e-9);
        assert_eq!(back.median_rank, 2.0);
        assert_eq!(both(&|done, _| done < 1), None);
    }

    #[test]
    fn the_median_rank_of_chance_is_that_of_random_orders() {
        assert_eq!(chance_median_rank(&[(64, 1); 5]), 32.5);
        assert_eq!(chance_median_rank(&[(65, 1); 5]), 33.0);
        // Of 320 captions in random order, the first of 5 is among the first 41 in less than half of all orders.
        assert_eq!(chance_median_rank(&[(320, 5); 64]), 42.0);
        assert!(chance((320, 5), 41) < 0.5 && chance((320, 5), 42) > 0.5);
        assert_eq!(chance_median_rank(&[(4, 4), (4, 4)]), 1.0);
        // Parts of several sizes.
        assert_eq!(chance_median_rank(&[(1, 1), (1, 1), (3, 3)]), 1.0);
        assert_eq!(chance_median_rank(&[(1, 1), (11, 1), (11, 1)]), 3.0);
        assert_eq!(chance_median_rank(&[]), 0.0);
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
    fn chance_is_that_of_draws_without_return() {
        assert!((chance((64, 1), 5) - 5.0 / 64.0).abs() < 1e-12);
        assert!((chance((4, 2), 1) - 0.5).abs() < 1e-12);
        assert!((chance((4, 2), 2) - 5.0 / 6.0).abs() < 1e-12);
        assert_eq!(chance((3, 1), 10), 1.0);
    }
}
