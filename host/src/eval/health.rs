//! The health of a space: where the embeddings of two towers lie, and how evenly they are found.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::space::product;

/// How the embeddings of two towers lie, by those of held-out items.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// The distance between the means of the two towers' embeddings, which are of length 1: the modality gap (Liang et
    /// al., NeurIPS 2022). From 0, where both lie in the same place, to 2.
    pub gap: f64,
    /// The share of an embedding that is the same for all items of its tower, from 0 to 1; the greater of both towers'.
    pub constant: f64,
    /// Hubness, both ways: the skewness of how often an item is among the nearest of the other tower's items
    /// (Radovanovic et al., JMLR 2010). Near 0 if all are found equally often, above 1 if few take the place of many.
    pub skewness: [f64; 2],
}

/// Nearest items that are counted.
const NEAREST: usize = 10;
/// The most items of a side that are looked at.
const MOST: usize = 4096;

impl Health {
    /// That of the embeddings of two towers, `items x width`, of which the first `shared` are of length 1.
    pub fn of(embeddings: [&[f32]; 2], width: usize, shared: usize) -> Self {
        let some = embeddings.map(|embeddings| {
            let items = embeddings.len() / width;
            let step = items.div_ceil(MOST).max(1);
            embeddings.chunks_exact(width).step_by(step).flatten().copied().collect::<Vec<f32>>()
        });
        let means = some.each_ref().map(|embeddings| mean(embeddings, width, shared));
        let square = |mean: &[f64]| mean.iter().map(|value| value * value).sum::<f64>();
        let apart: Vec<f64> = means[0].iter().zip(&means[1]).map(|(x, y)| x - y).collect();
        let constant = square(&means[0]).max(square(&means[1]));
        let [x, y] = &some;
        Self { gap: square(&apart).sqrt(), constant, skewness: [skewness(x, y, width), skewness(y, x, width)] }
    }
}

fn mean(embeddings: &[f32], width: usize, shared: usize) -> Vec<f64> {
    let mut mean = vec![0.0; shared];
    let rows = embeddings.chunks_exact(width);
    let count = rows.len().max(1) as f64;
    rows.for_each(|row| mean.iter_mut().zip(row).for_each(|(mean, value)| *mean += f64::from(*value) / count));
    mean
}

/// The skewness of how often each of `items` is among the nearest of `queries`.
fn skewness(queries: &[f32], items: &[f32], width: usize) -> f64 {
    let count = items.len() / width;
    let nearest = NEAREST.min(count);
    let first = |scores: &[f32]| {
        let mut order: Vec<usize> = (0..count).collect();
        if nearest < count {
            order.select_nth_unstable_by(nearest, |a, b| scores[*b].total_cmp(&scores[*a]));
            order.truncate(nearest);
        }
        order
    };
    let mut found = vec![0.0; count];
    let nearest: Vec<_> = product(queries, items, width).par_chunks_exact(count.max(1)).map(first).collect();
    nearest.into_iter().flatten().for_each(|item| found[item] += 1.0);
    let mean = found.iter().sum::<f64>() / count.max(1) as f64;
    let moment = |power: i32| found.iter().map(|value| (value - mean).powi(power)).sum::<f64>() / count.max(1) as f64;
    let deviation = moment(2).sqrt();
    if deviation > 0.0 { moment(3) / deviation.powi(3) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use std::f32::consts::FRAC_PI_6;

    use super::*;

    #[test]
    fn two_towers_in_one_place_are_healthy_and_apart_they_are_not() {
        // Twelve directions of a circle, found equally often.
        let circle: Vec<f32> =
            (0..12).map(|at| at as f32 * FRAC_PI_6).flat_map(|angle| [angle.cos(), angle.sin()]).collect();
        let healthy = Health::of([&circle, &circle], 2, 2);
        assert!(healthy.gap < 1e-3 && healthy.constant < 1e-3, "{healthy:?}");
        assert!(healthy.skewness.iter().all(|skewness| skewness.abs() < 1e-9), "{healthy:?}");
        // All of one tower at one place, opposite to all of the other.
        let (left, right) = ([-1.0, 0.0].repeat(12), [1.0, 0.0].repeat(12));
        let apart = Health::of([&left, &right], 2, 2);
        assert!((apart.gap - 2.0).abs() < 1e-6 && (apart.constant - 1.0).abs() < 1e-6, "{apart:?}");
        // Of thirty items, ten are the nearest of every query: (20 * (1/3)^3 ...) has the skewness 1 / sqrt 2.
        let hubs: Vec<f32> = (0..30).flat_map(|at| if at < 10 { [1.0, 0.0] } else { [0.0, 1.0] }).collect();
        let skewness = Health::of([&right, &hubs], 2, 2).skewness[0];
        assert!((skewness - 1.0 / 2.0_f64.sqrt()).abs() < 1e-6, "{skewness}");
    }
}
