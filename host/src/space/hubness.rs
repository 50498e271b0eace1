//! A term against hubs, items that are near to everything: nearest-neighbour normalisation with the training items.
//!
//! The score of x and y becomes x . y - alpha b(x) - alpha b(y), where b(x) is the mean of the largest inner products
//! of x with the training items of the other tower. Between towers i < j, an embedding of i gets the coordinates (1,
//! -alpha b), one of j (-alpha b, 1), and those of other towers (0, 0): the score is one inner product in both
//! directions.

use rayon::prelude::*;

use super::projection::product;

/// Embeddings whose inner products with a bank are in memory at once.
const ROWS: usize = 512;

/// The term of a space.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Hubness {
    /// The weight of the term, at most [`Hubness::MOST`].
    pub(crate) alpha: f32,
    /// The inner products that a mean is of.
    pub(crate) neighbours: usize,
    /// Dimensions of the space without it.
    pub(crate) shared: usize,
    /// Of each tower, the embeddings `(items x shared)` of training items.
    pub(crate) banks: Vec<Vec<f32>>,
}

impl Hubness {
    /// With less than 1, no other coordinate is 1.
    pub(crate) const MOST: f32 = 0.99;

    /// Coordinates that it adds: two for each two towers.
    pub(crate) fn width(&self) -> usize {
        self.banks.len() * (self.banks.len() - 1)
    }

    /// The coordinate that is 1 in embeddings of `tower` alone.
    fn own(&self, tower: usize) -> usize {
        let at = self.pairs().position(|pair| pair.contains(&tower)).unwrap_or(0);
        let first = self.pairs().nth(at).is_none_or(|[first, _]| first == tower);
        self.shared + 2 * at + usize::from(!first)
    }

    /// Each two towers, in the order of their coordinates.
    fn pairs(&self) -> impl Iterator<Item = [usize; 2]> {
        let towers = self.banks.len();
        (0..towers).flat_map(move |i| (i + 1..towers).map(move |j| [i, j]))
    }

    /// Makes an embedding a query to items of `tower`: among items of one tower, the term says nothing.
    pub(crate) fn direct(&self, embedding: &mut [f32], tower: usize) {
        if embedding[self.own(tower)] == 1.0 {
            embedding[self.shared..].fill(0.0);
        }
    }

    /// The embeddings `(rows x shared)` of a tower with the term's coordinates after each row.
    pub(crate) fn extend(&self, tower: usize, embeddings: &[f32]) -> Vec<f32> {
        let towers = self.banks.len();
        let shared = self.shared;
        let rows = embeddings.len() / shared;
        let terms: Vec<Option<Vec<f32>>> =
            (0..towers).map(|other| (other != tower).then(|| self.terms(other, embeddings, shared))).collect();
        let mut out = Vec::with_capacity(rows * (shared + self.width()));
        for (row, embedding) in embeddings.chunks_exact(shared).enumerate() {
            out.extend_from_slice(embedding);
            let term = |other: usize| terms[other].as_ref().map_or(0.0, |terms| -self.alpha * terms[row]);
            for [i, j] in self.pairs() {
                out.extend(match tower {
                    tower if tower == i => [1.0, term(j)],
                    tower if tower == j => [term(i), 1.0],
                    _ => [0.0, 0.0],
                });
            }
        }
        out
    }

    /// Of each embedding, the mean of the largest inner products with the bank of a tower.
    fn terms(&self, other: usize, embeddings: &[f32], shared: usize) -> Vec<f32> {
        let bank = &self.banks[other];
        let items = bank.len() / shared;
        let k = self.neighbours.min(items);
        let largest = |scores: &mut [f32]| {
            if k < scores.len() {
                scores.select_nth_unstable_by(k, |a, b| b.total_cmp(a));
            }
            scores[..k].iter().sum::<f32>() / k.max(1) as f32
        };
        let mut terms = Vec::with_capacity(embeddings.len() / shared);
        for rows in embeddings.chunks(ROWS * shared) {
            let mut scores = product(rows, bank, shared);
            terms.par_extend(scores.par_chunks_mut(items.max(1)).map(largest));
        }
        terms
    }
}
