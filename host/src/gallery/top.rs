//! The best of many scores.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// A row that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// The row.
    pub row: usize,
    /// Its vector's product with the query: the cosine where both have length 1.
    pub score: f32,
}

/// A hit in a heap whose greatest is the worst; of equal scores the later row is worse.
#[derive(Clone, Copy)]
struct Ranked(Hit);

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        other.0.score.total_cmp(&self.0.score).then(self.0.row.cmp(&other.0.row))
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ranked {}

/// The best `most` hits so far.
pub(super) struct Top {
    most: usize,
    heap: BinaryHeap<Ranked>,
}

impl Top {
    pub(super) fn new(most: usize) -> Self {
        Self { most, heap: BinaryHeap::new() }
    }

    pub(super) fn offer(&mut self, row: usize, score: f32) {
        // Adding 0 makes -0 of a score 0, which it equals.
        self.put(Ranked(Hit { row, score: score + 0.0 }));
    }

    /// The score that a later row must exceed to be among the best; NaN while any is.
    pub(super) fn floor(&self) -> f32 {
        match self.heap.peek() {
            Some(worst) if self.heap.len() >= self.most => worst.0.score,
            _ => f32::NAN,
        }
    }

    /// The best hits of both.
    pub(super) fn merged(mut self, other: Self) -> Self {
        other.heap.into_iter().for_each(|hit| self.put(hit));
        self
    }

    /// The hits, best first.
    pub(super) fn into_hits(self) -> Vec<Hit> {
        self.heap.into_sorted_vec().into_iter().map(|hit| hit.0).collect()
    }

    fn put(&mut self, hit: Ranked) {
        if self.heap.len() < self.most {
            self.heap.push(hit);
        } else if let Some(mut worst) = self.heap.peek_mut().filter(|worst| hit < **worst) {
            *worst = hit;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn top(most: usize, scores: &[(usize, f32)]) -> Top {
        let mut top = Top::new(most);
        scores.iter().for_each(|&(row, score)| top.offer(row, score));
        top
    }

    #[test]
    fn the_best_come_first_and_of_equals_the_first() {
        let scores = [(0, 0.5), (1, -0.0), (2, 0.0), (3, 0.5), (4, 0.9), (5, -1.0)];
        let rows = |top: Top| top.into_hits().iter().map(|hit| hit.row).collect::<Vec<_>>();
        assert_eq!(rows(top(4, &scores)), [4, 0, 3, 1]);
        assert_eq!(rows(top(9, &scores)), [4, 0, 3, 1, 2, 5]);
        assert_eq!(rows(top(4, &scores[3..]).merged(top(4, &scores[..3]))), [4, 0, 3, 1]);
        assert_eq!(top(4, &scores).floor(), 0.0);
        assert!(top(9, &scores).floor().is_nan());
    }
}
