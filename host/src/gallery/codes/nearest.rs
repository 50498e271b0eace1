//! A search by codes: what they choose, and how much of it is scored by its vectors.

use rayon::prelude::*;
use std::f32::consts::FRAC_2_PI;

use super::bits::{self, Query, agreements};
use super::{CHUNK, Codes};
use crate::gallery::row_set::RowSet;
use crate::gallery::top::Top;
use crate::gallery::vectors::{Vectors, product};

/// Rows of the second step for each that may be scored exactly.
const COARSE: usize = 32;
/// Rows of a word of a set.
const BLOCK: usize = 64;
/// One of so many blocks is in the sample that tells the bounds of both steps.
const SAMPLE: usize = 16;
/// Fewer sampled rows than these tell nothing.
const FEWEST_SAMPLED: usize = 1000;
/// Rows of the second step, for each that the sample promises to be enough.
const MARGIN: f64 = 1.1;
/// Rows that pass it, for each that is needed: fewer of the sample tell it.
const MARGIN_OF_PASSED: f64 = 1.5;
/// The fewest of the sample that tell it.
const FEWEST_PASSED: usize = 40;
/// Rows that are scored exactly before it is asked which others can still be among the nearest.
const BATCH: usize = 256;
/// Standard deviations by which an estimate may be too low: one in 700 is lower.
const SPREADS: f32 = 3.0;

/// What a row must have to be looked at further.
struct Bounds {
    /// Values that agree with the query's.
    agreements: u16,
    /// The estimate of its product.
    estimate: f32,
}

impl Bounds {
    /// Those that every row is within.
    const NONE: Self = Self { agreements: 0, estimate: f32::NEG_INFINITY };
}

/// A row, and the estimate of its product with a query.
type Estimated = (f32, usize);

impl Codes {
    /// The `k` rows among `wanted` of greatest product with a query, nearly: at most `scored` are scored by their vectors.
    pub(in crate::gallery) fn nearest(
        &self,
        vectors: &Vectors,
        wanted: &RowSet,
        query: &[f32],
        (scored, k): (usize, usize),
    ) -> Top {
        let turned = self.rotation.turned(query);
        let coded = Query::new(&turned);
        let bounds = self.bounds(&coded, wanted.words(), scored);
        let mut passed = self.passed(&coded, wanted.words(), &bounds);
        if passed.len() < scored && bounds.agreements > 0 {
            // The sample has promised too much.
            passed = self.passed(&coded, wanted.words(), &Bounds::NONE);
        }
        if passed.len() > scored {
            passed.select_nth_unstable_by(scored, by_estimate);
            passed.truncate(scored);
        }
        passed.sort_unstable_by(by_estimate);
        // An estimate is of a row less the mean. The signs of a row are off it by the share of 1 - 2 / pi of their squares,
        // in a direction that has nothing to do with the query's.
        let (factors, turns) = (self.factors(), self.rotation.turns() as f32);
        let of_mean = product(&turned, self.turned_mean());
        let spread = SPREADS * (1.0 - FRAC_2_PI).sqrt() * product(&turned, &turned).sqrt();
        let most = |&(estimate, row): &Estimated| (estimate + of_mean + spread * factors[row]) / turns;
        best(&passed, k, most, |row| vectors.product(row, query))
    }

    /// The bounds that pass as many rows as are needed, as a sample of the wanted ones has it.
    fn bounds(&self, query: &Query, wanted: &[u64], scored: usize) -> Bounds {
        let (words, each, factors) = (self.words(), self.info.bits / 64, self.factors());
        let sample = || words.par_chunks(BLOCK * each).zip(wanted).enumerate().step_by(SAMPLE).with_min_len(16);
        let agree = |codes: &[u64]| {
            let mut agree = [0; BLOCK];
            agreements(query, codes, &mut agree[..codes.len() / each]);
            agree
        };
        let agreed: Vec<[u16; BLOCK]> = sample().map(|(_, (codes, _))| agree(codes)).collect();
        let mut counts = vec![0_u32; self.info.bits + 1];
        for (agree, first) in agreed.iter().zip((0..self.info.rows).step_by(BLOCK * SAMPLE)) {
            let rows = BLOCK.min(self.info.rows - first);
            bits::tally(&agree[..rows], &wanted[first / BLOCK..][..1], &mut counts);
        }
        // A set may go on beyond the rows that have a code.
        let all = wanted_of(wanted, self.info.rows);
        let sampled = counts.iter().map(|count| *count as usize).sum();
        // So many of the sample stand for so many of all.
        let of_sample = |rows: usize, margin: f64| (margin * rows as f64 * sampled as f64 / all.max(1) as f64) as usize;
        let coarse = of_sample(scored.saturating_mul(COARSE), MARGIN).max(FEWEST_PASSED);
        if sampled < FEWEST_SAMPLED || coarse >= sampled {
            return Bounds::NONE;
        }
        let least = least(&counts, coarse);
        let estimates = sample().zip(&agreed).flat_map_iter(|((block, (codes, wanted)), agree)| {
            let chosen = bits::chosen(&agree[..codes.len() / each], &[*wanted], least);
            let estimates = estimated(query, codes, &chosen, &factors[block * BLOCK..]);
            estimates.into_iter().zip(chosen).map(|(estimate, at)| (estimate, agree[at]))
        });
        let mut estimates: Vec<(f32, u16)> = estimates.collect();
        let passing = of_sample(scored, MARGIN_OF_PASSED).max(FEWEST_PASSED);
        if passing >= estimates.len() {
            return Bounds { agreements: least, estimate: f32::NEG_INFINITY };
        }
        let (best, &mut (estimate, _), _) =
            estimates.select_nth_unstable_by(passing, |one, other| other.0.total_cmp(&one.0));
        // Those that pass tell how well others must agree to pass.
        let agreements = best.iter().map(|(_, agreements)| *agreements).min().unwrap_or(least);
        Bounds { agreements, estimate }
    }

    /// The wanted rows within these bounds.
    fn passed(&self, query: &Query, wanted: &[u64], bounds: &Bounds) -> Vec<Estimated> {
        let (words, each, factors) = (self.words(), self.info.bits / 64, self.factors());
        let chunks = words.par_chunks(CHUNK * each).zip(wanted.par_chunks(CHUNK / BLOCK)).enumerate();
        let passed = chunks.map(|(chunk, (words, wanted))| {
            let (first, mut agree) = (chunk * CHUNK, vec![0; words.len() / each]);
            agreements(query, words, &mut agree);
            let chosen = bits::chosen(&agree, wanted, bounds.agreements);
            let estimates = estimated(query, words, &chosen, &factors[first..]);
            let mut passed = Vec::new();
            for (at, estimate) in estimates.into_iter().enumerate() {
                if estimate >= bounds.estimate {
                    passed.push((estimate, first + chosen[at]));
                }
            }
            passed
        });
        passed.collect::<Vec<_>>().concat()
    }
}

/// The rows of a set that are below `rows`.
fn wanted_of(wanted: &[u64], rows: usize) -> usize {
    let whole: usize = wanted.iter().take(rows / BLOCK).map(|word| word.count_ones() as usize).sum();
    let part = wanted.get(rows / BLOCK).map_or(0, |word| word & ((1 << (rows % BLOCK)) - 1));
    whole + part.count_ones() as usize
}

/// The greatest number of agreements that so many rows have at least, by the rows of each number.
fn least(counts: &[u32], rows: usize) -> u16 {
    let (mut least, mut above) = (counts.len(), 0);
    while least > 0 && above < rows {
        least -= 1;
        above += counts[least] as usize;
    }
    least as u16
}

/// The estimates of the products of a query with the codes that have these numbers.
fn estimated(query: &Query, codes: &[u64], numbers: &[usize], factors: &[f32]) -> Vec<f32> {
    let mut estimates = bits::estimates(query, codes, numbers);
    for (at, estimate) in estimates.iter_mut().enumerate() {
        *estimate *= factors[numbers[at]];
    }
    estimates
}

/// The order of estimates, the greatest first.
fn by_estimate(one: &Estimated, other: &Estimated) -> std::cmp::Ordering {
    other.0.total_cmp(&one.0).then(one.1.cmp(&other.1))
}

/// The best `k` of some rows, whose estimates are in descending order. Those are scored that may be among the best by
/// the most that their score can be.
fn best(rows: &[Estimated], k: usize, most: impl Fn(&Estimated) -> f32, score: impl Fn(usize) -> f32 + Sync) -> Top {
    let mut best = Top::new(k);
    let mut left = rows.iter();
    loop {
        // NaN while there are fewer than `k`: then all may be.
        let floor = best.floor();
        let batch: Vec<usize> =
            left.by_ref().filter(|row| floor.is_nan() || most(row) >= floor).take(BATCH).map(|(_, row)| *row).collect();
        if batch.is_empty() {
            return best;
        }
        let scores: Vec<f32> = batch.par_iter().with_min_len(BATCH / 4).map(|&row| score(row)).collect();
        batch.into_iter().zip(scores).for_each(|(row, score)| best.offer(row, score));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn only_rows_with_a_code_are_counted() {
        let wanted = [u64::MAX, 0b1011, u64::MAX];
        for (rows, count) in [(0, 0), (1, 1), (64, 64), (66, 66), (67, 66), (68, 67), (128, 67), (130, 69), (192, 131)]
        {
            assert_eq!(wanted_of(&wanted, rows), count, "{rows}");
        }
        assert_eq!(wanted_of(&wanted, 1000), 131);
    }

    #[test]
    fn rows_are_scored_until_no_other_can_be_among_the_best() {
        // Scores are 0.5 above the estimates, and by up to 0.1 more.
        let error = |row: usize| 0.1 * (row * 37 % 101) as f32 / 100.0;
        let rows: Vec<Estimated> = (0..4000).map(|row| (1.0 - row as f32 / 2000.0, row)).collect();
        let most = |&(estimate, _): &Estimated| estimate + 0.6;
        let asked = AtomicUsize::new(0);
        let score = |row: usize| {
            asked.fetch_add(1, Ordering::Relaxed);
            rows[row].0 + 0.5 + error(row)
        };
        let found: Vec<usize> = best(&rows, 10, most, score).into_hits().iter().map(|hit| hit.row).collect();
        let scored = asked.load(Ordering::Relaxed);
        assert_eq!(scored, BATCH, "all others are 0.12 below the first");
        let mut all: Vec<Estimated> = rows.iter().map(|&(_, row)| (score(row), row)).collect();
        all.sort_unstable_by(by_estimate);
        assert_eq!(found, all[..10].iter().map(|(_, row)| *row).collect::<Vec<_>>());
        // More than there are, is all.
        assert_eq!(best(&rows[..5], 10, most, score).into_hits().len(), 5);
    }
}
