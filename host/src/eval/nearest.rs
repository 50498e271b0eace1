//! The nearest items to a query.

use crate::space::product;

/// The `k` rows of `embeddings` nearest to `query` (of one width) and their inner products, nearest first;
/// ties are in row order.
pub fn nearest(query: &[f32], embeddings: &[f32], k: usize) -> Vec<(usize, f32)> {
    let mut scores: Vec<(usize, f32)> = product(query, embeddings, query.len()).into_iter().enumerate().collect();
    let order = |a: &(usize, f32), b: &(usize, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    if k < scores.len() {
        scores.select_nth_unstable_by(k, order);
        scores.truncate(k);
    }
    scores.sort_unstable_by(order);
    scores
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn the_nearest_come_first_and_ties_in_file_order() {
        let embeddings = [0.0, 1.0, 1.0, 0.0, 0.6, 0.8, 1.0, 0.0];
        assert_eq!(nearest(&[1.0, 0.0], &embeddings, 3), [(1, 1.0), (3, 1.0), (2, 0.6)]);
        assert_eq!(nearest(&[1.0, 0.0], &embeddings, 9).len(), 4);
        assert!(nearest(&[1.0, 0.0], &embeddings, 0).is_empty());
    }
}
