//! A gallery's embeddings in two dimensions: their two principal directions.

use rayon::prelude::*;

use crate::gallery::{Gallery, GalleryError};

/// The most items of a map; of larger galleries, evenly spaced ones are shown.
const MOST: usize = 100_000;
/// Rounds of the iteration, which stops earlier once it stands still.
const ROUNDS: usize = 100;

/// Items as points.
pub(super) struct Layout {
    pub(super) rows: Vec<usize>,
    pub(super) x: Vec<f32>,
    pub(super) y: Vec<f32>,
    /// The parts of the variance that the two directions hold.
    pub(super) explained: [f64; 2],
}

impl Layout {
    /// The map of a gallery, by the first `shared` values of its vectors.
    pub(super) fn new(gallery: &Gallery, shared: usize) -> Result<Self, GalleryError> {
        let all: Vec<usize> = gallery.rows().collect();
        let step = all.len().div_ceil(MOST).max(1);
        let rows: Vec<usize> = all.into_iter().step_by(step).collect();
        let width = shared.min(gallery.info().width);
        let mut points = Vec::with_capacity(rows.len() * width);
        for &row in &rows {
            points.extend_from_slice(&gallery.vector(row)?[..width]);
        }
        let mut mean = vec![0.0f64; width];
        for point in points.chunks_exact(width) {
            mean.iter_mut().zip(point).for_each(|(sum, value)| *sum += f64::from(*value));
        }
        mean.iter_mut().for_each(|sum| *sum /= rows.len().max(1) as f64);
        points.par_chunks_exact_mut(width).for_each(|point| {
            point.iter_mut().zip(&mean).for_each(|(value, mean)| *value -= *mean as f32);
        });
        let variance: f64 = points.par_iter().map(|value| f64::from(*value).powi(2)).sum();
        let first = principal(&points, width, None);
        let second = principal(&points, width, Some(&first));
        let [x, y] = [&first, &second].map(|direction| project(&points, width, direction));
        let part = |values: &[f32]| {
            let own: f64 = values.iter().map(|value| f64::from(*value).powi(2)).sum();
            if variance > 0.0 { own / variance } else { 0.0 }
        };
        Ok(Self { explained: [part(&x), part(&y)], rows, x, y })
    }
}

/// The direction of greatest variance among those at right angles to `other`, by power iteration.
fn principal(points: &[f32], width: usize, other: Option<&[f32]>) -> Vec<f32> {
    // The same start each time, along no axis.
    let mut direction: Vec<f32> = (0..width).map(|at| 1.0 + (at as f32 * 0.731).sin()).collect();
    orthonormal(&mut direction, other);
    for _ in 0..ROUNDS {
        let sums = points.par_chunks(1024 * width).map(|points| {
            let mut sum = vec![0.0f32; width];
            for point in points.chunks_exact(width) {
                let along = dot(point, &direction);
                sum.iter_mut().zip(point).for_each(|(sum, value)| *sum += along * value);
            }
            sum
        });
        // In order, so that the map is the same each time.
        let sums: Vec<Vec<f32>> = sums.collect();
        let mut next = vec![0.0f32; width];
        sums.iter().for_each(|sum| next.iter_mut().zip(sum).for_each(|(next, value)| *next += value));
        if !orthonormal(&mut next, other) {
            break;
        }
        let still = dot(&next, &direction) > 1.0 - 1e-7;
        direction = next;
        if still {
            break;
        }
    }
    direction
}

/// Scales to length 1, at right angles to `other`; false if nothing is left.
fn orthonormal(direction: &mut [f32], other: Option<&[f32]>) -> bool {
    if let Some(other) = other {
        let along = dot(direction, other);
        direction.iter_mut().zip(other).for_each(|(value, other)| *value -= along * other);
    }
    let length = dot(direction, direction).sqrt();
    if length > 0.0 {
        direction.iter_mut().for_each(|value| *value /= length);
    }
    length > 0.0
}

fn project(points: &[f32], width: usize, direction: &[f32]) -> Vec<f32> {
    points.par_chunks_exact(width).map(|point| dot(point, direction)).collect()
}

fn dot(one: &[f32], other: &[f32]) -> f32 {
    one.iter().zip(other).map(|(one, other)| one * other).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directions_are_those_of_greatest_variance() {
        // Along (1, 1, 0) most, then along (0, 0, 1).
        let points: Vec<f32> = (0..200)
            .flat_map(|at| {
                let (far, near) = (((at * 7) % 21) as f32 - 10.0, ((at * 5) % 11) as f32 - 5.0);
                [far, far + 0.001, near]
            })
            .collect();
        let first = principal(&points, 3, None);
        let second = principal(&points, 3, Some(&first));
        let half = 0.5f32.sqrt();
        assert!(dot(&first, &[half, half, 0.0]).abs() > 0.999, "{first:?}");
        assert!(second[2].abs() > 0.999, "{second:?}");
        assert!(dot(&first, &second).abs() < 1e-5);
    }
}
