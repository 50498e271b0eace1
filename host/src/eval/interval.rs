//! Intervals of means over queries, by the bootstrap.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{HeldOut, Ranking};
use crate::device::DeviceError;
use crate::space::Space;
use crate::stop::Stop;

/// The square of the normal law's z of 95 %.
const SQUARE: f64 = 1.96 * 1.96;

/// A mean, and the interval that holds it with a confidence of 95 %.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The mean.
    pub mean: f64,
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

impl Interval {
    /// True if it holds 0: a difference that is not told from none.
    pub fn holds_zero(self) -> bool {
        self.low <= 0.0 && self.high >= 0.0
    }

    /// Wilson's interval (1927) of a share of `all`, in percent.
    pub fn of_share(part: usize, all: usize) -> Self {
        let (n, share) = (all.max(1) as f64, part as f64 / all.max(1) as f64);
        let centre = (share + SQUARE / (2.0 * n)) / (1.0 + SQUARE / n);
        let half = (share * (1.0 - share) / n + SQUARE / (4.0 * n * n)).sqrt() * SQUARE.sqrt() / (1.0 + SQUARE / n);
        Self { mean: 100.0 * share, low: 100.0 * (centre - half).max(0.0), high: 100.0 * (centre + half).min(1.0) }
    }
}

/// Queries in several directions with a score each, in clusters: what matches join is drawn as one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    directions: Vec<Direction>,
    /// The mean score of a random order, of each direction.
    chances: Vec<f64>,
    clusters: usize,
    /// True if the scores are differences, and not percent.
    apart: bool,
}

/// The fewest clusters that tell anything of a spread.
const FEWEST: usize = 10;

/// The cluster and the score of each query.
type Direction = Vec<(usize, f64)>;

impl Sample {
    /// The queries of some pair sets in a space; none if `stop` asks.
    pub fn of<'a>(
        sets: impl IntoIterator<Item = &'a HeldOut>,
        space: &Space,
        stop: &Stop,
    ) -> Result<Option<Self>, DeviceError> {
        let mut all = Self::default();
        for pairs in sets {
            let Some(rankings) = pairs.rankings(space, stop)? else { return Ok(None) };
            all.add(pairs, &rankings);
        }
        Ok(Some(all))
    }

    /// Adds both directions of a pair set.
    pub fn add(&mut self, pairs: &HeldOut, rankings: &[Ranking; 2]) {
        let (of, count) = pairs.clusters();
        for (of, ranking) in of.iter().zip(rankings) {
            let scored = ranking.queries.iter().enumerate();
            let chance = ranking.retrieval().chance;
            self.chances.push(chance.values().sum::<f64>() / chance.len().max(1) as f64);
            self.directions.push(scored.map(|(at, query)| (self.clusters + of[*query], ranking.score(at))).collect());
        }
        self.clusters += count;
    }

    /// Adds the directions of another sample, with clusters of its own.
    pub fn append(&mut self, other: &Self) {
        self.apart |= other.apart;
        let first = self.clusters;
        let moved = |of: &Direction| of.iter().map(|(cluster, score)| (first + cluster, *score)).collect();
        self.directions.extend(other.directions.iter().map(moved));
        self.chances.extend(&other.chances);
        self.clusters += other.clusters;
    }

    /// The scores less those of another sample of the same queries.
    pub fn less(&self, other: &Self) -> Self {
        let less = |(of, than): (&Direction, &Direction)| {
            of.iter().zip(than).map(|((cluster, score), (_, than))| (*cluster, score - than)).collect()
        };
        let directions = self.directions.iter().zip(&other.directions).map(less).collect();
        Self { directions, chances: Vec::new(), clusters: self.clusters, apart: true }
    }

    /// The scores of the same queries in several samples, averaged; none without any, or of other queries.
    pub fn averaged(samples: &[&Self]) -> Option<Self> {
        let (first, others) = samples.split_first()?;
        let mut mean = (*first).clone();
        for other in others {
            let same = |(one, other): (&Direction, &Direction)| one.len() == other.len();
            if mean.directions.len() != other.directions.len()
                || !mean.directions.iter().zip(&other.directions).all(same)
            {
                return None;
            }
            for (sum, scores) in mean.directions.iter_mut().flatten().zip(other.directions.iter().flatten()) {
                sum.1 += scores.1;
            }
        }
        mean.directions.iter_mut().flatten().for_each(|(_, score)| *score /= samples.len() as f64);
        Some(mean)
    }

    /// The mean of a random order.
    pub fn chance(&self) -> f64 {
        self.chances.iter().sum::<f64>() / self.chances.len().max(1) as f64
    }

    /// The mean over the directions of the mean over their queries.
    pub fn mean(&self) -> f64 {
        let mean = |of: &Direction| of.iter().map(|(_, score)| score).sum::<f64>() / of.len().max(1) as f64;
        self.directions.iter().map(mean).sum::<f64>() / self.directions.len().max(1) as f64
    }

    /// The mean with its interval: that of the means of resamples, whose clusters are drawn with return. Where all
    /// queries of a direction score the same, as where all or none are found, resamples tell of no spread: then the
    /// ends are Wilson's (1927) for all hits and for none, so that of n clusters the mean may be lower by z^2 / (n +
    /// z^2) of itself, and higher by as much of what it lacks to 100. Differences of runs that find the same have none.
    pub fn interval(&self) -> Interval {
        let mean = self.mean();
        if self.clusters < FEWEST {
            let least = if self.apart { -100.0 } else { 0.0 };
            return Interval { mean, low: f64::max(mean - 100.0, least), high: f64::min(mean + 100.0, 100.0) };
        }
        let same = |of: &Direction| of.windows(2).all(|two| two[0].1 == two[1].1);
        if !self.apart && self.directions.iter().all(same) {
            let share = SQUARE / (self.clusters as f64 + SQUARE);
            return Interval { mean, low: mean * (1.0 - share), high: mean + (100.0 - mean) * share };
        }
        let mut means = self.resampled();
        means.sort_unstable_by(f64::total_cmp);
        let at = |share: f64| means.get((share * means.len() as f64) as usize).copied().unwrap_or(f64::NAN);
        Interval { mean, low: at(0.025), high: at(0.975) }
    }

    /// The standard error of the mean.
    pub fn error(&self) -> f64 {
        if self.clusters < FEWEST {
            return f64::INFINITY;
        }
        let means = self.resampled();
        let mean = means.iter().sum::<f64>() / means.len() as f64;
        (means.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (means.len() - 1) as f64).sqrt()
    }

    fn resampled(&self) -> Vec<f64> {
        /// Draws of all resamples together, and bounds of their number.
        const DRAWS: usize = 20_000_000;
        let resamples = (DRAWS / self.clusters.max(1)).clamp(200, 2000);
        let mean = |number: u64| {
            let mut random = ChaCha8Rng::seed_from_u64(number);
            let mut times = vec![0_u32; self.clusters];
            (0..self.clusters).for_each(|_| times[random.random_range(0..self.clusters)] += 1);
            let (mut sum, mut directions) = (0.0, 0.0);
            for of in &self.directions {
                let drawn = of.iter().map(|(cluster, score)| (f64::from(times[*cluster]), score));
                let (scores, count) =
                    drawn.fold((0.0, 0.0), |(sum, count), (times, score)| (sum + times * score, count + times));
                if count > 0.0 {
                    sum += scores / count;
                    directions += 1.0;
                }
            }
            sum / f64::max(directions, 1.0)
        };
        (0..resamples as u64).into_par_iter().map(mean).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(scores: impl Iterator<Item = f64>) -> Sample {
        let directions = vec![scores.enumerate().collect::<Vec<_>>()];
        Sample { clusters: directions[0].len(), directions, chances: Vec::new(), apart: false }
    }

    #[test]
    fn an_interval_is_that_of_the_normal_law_for_many_queries() {
        // Half of 400 queries score 100: the standard error of the mean is 50 / 20.
        let half = sample((0..400).map(|at| f64::from(at % 2) * 100.0));
        let Interval { mean, low, high } = half.interval();
        assert_eq!(mean, 50.0);
        assert!((low - (50.0 - 1.96 * 2.5)).abs() < 0.6 && (high - (50.0 + 1.96 * 2.5)).abs() < 0.6, "{low} {high}");
        assert!((half.error() - 2.5).abs() < 0.15, "{}", half.error());
        // The same queries, each a little better: the difference is certain.
        let better = sample((0..400).map(|at| f64::from(at % 2) * 100.0 + 1.0));
        let Interval { mean, low, high } = better.less(&half).interval();
        assert!((mean - 1.0).abs() < 1e-9 && (low - 1.0).abs() < 1e-9 && (high - 1.0).abs() < 1e-9);
    }

    #[test]
    fn all_hits_and_none_leave_room_for_what_so_few_queries_cannot_tell() {
        let (all, none) = (sample((0..40).map(|_| 100.0)), sample((0..40).map(|_| 0.0)));
        // Wilson's interval of 40 of 40 is 91.2 to 100.
        let Interval { mean, low, high } = all.interval();
        assert!(mean == 100.0 && high == 100.0 && (low - 91.24).abs() < 0.01, "{low}");
        let Interval { mean, low, high } = none.interval();
        assert!(mean == 0.0 && low == 0.0 && (high - 8.76).abs() < 0.01, "{high}");
        // Runs that find the same are the same.
        assert_eq!(all.less(&all).interval(), Interval { mean: 0.0, low: 0.0, high: 0.0 });
        // Very few tell nothing, but no share is below none or above all.
        let few = sample((0..5).map(|_| 60.0));
        assert_eq!(few.interval(), Interval { mean: 60.0, low: 0.0, high: 100.0 });
        assert_eq!(few.less(&few).interval(), Interval { mean: 0.0, low: -100.0, high: 100.0 });
    }

    #[test]
    fn what_matches_join_is_drawn_as_one() {
        let apart = sample((0..400).map(|at| f64::from(at / 200) * 100.0));
        let mut joined = apart.clone();
        // Twenty clusters of twenty queries with the same score.
        joined.directions[0].iter_mut().for_each(|(cluster, _)| *cluster /= 20);
        joined.clusters = 20;
        assert!(joined.error() > 3.5 * apart.error(), "{} {}", joined.error(), apart.error());
        assert_eq!(joined.mean(), apart.mean());
    }
}
