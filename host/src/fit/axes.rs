//! The principal axes of a tower's features, in which they are whitened.

use faer::Mat;

use super::coordinates::Coordinates;

/// The axes of features g(x) with the covariance V diag(l) V'.
pub(super) struct Axes {
    /// The features: coordinates without a matrix.
    pub(super) features: Coordinates,
    /// `features`: their mean.
    pub(super) mean: Vec<f64>,
    /// `features x rank`: V, and l in descending order.
    pub(super) vectors: Mat<f64>,
    pub(super) values: Vec<f64>,
    /// Training rows.
    pub(super) rows: usize,
}

impl Axes {
    /// The whitened coordinates (g - mean) V (l + delta)^-1/2, where delta = rho * sum(l) / n.
    pub(super) fn whitened(&self, rho: f32) -> Coordinates {
        let Self { features, mean, vectors, values, rows } = self;
        let delta = f64::from(rho) * values.iter().sum::<f64>() / *rows as f64;
        let scale: Vec<f64> = values.iter().map(|value| 1.0 / (value + delta).sqrt()).collect();
        let matrix = Mat::from_fn(mean.len(), values.len(), |row, column| vectors[(row, column)] * scale[column]);
        let offset =
            matrix.col_iter().map(|column| -column.iter().zip(mean).map(|(value, mean)| value * mean).sum::<f64>());
        let (offset, input, kernel) = (offset.collect(), features.input.clone(), features.kernel.clone());
        Coordinates { input, kernel, matrix: Some(matrix), offset, rows: None }
    }
}
