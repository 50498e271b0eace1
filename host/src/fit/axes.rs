//! The principal axes of a tower's features, in which they are whitened.

use faer::{Mat, Side};

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

/// The eigenvectors of a symmetric matrix and its eigenvalues, in descending order; only those above `smallest` times the
/// largest.
pub(super) fn descending(matrix: &Mat<f64>, smallest: f64) -> Result<(Mat<f64>, Vec<f64>), String> {
    let size = matrix.nrows();
    let eigen = matrix.self_adjoint_eigen(Side::Lower).map_err(|error| format!("{error:?}"))?;
    let all: Vec<f64> = (1..=size).map(|at| eigen.S().column_vector()[size - at].max(0.0)).collect();
    let kept = all.iter().take_while(|value| **value > smallest * all[0] && **value > 0.0).count();
    let vectors = Mat::from_fn(size, kept, |row, column| eigen.U()[(row, size - 1 - column)]);
    Ok((vectors, all[..kept].to_vec()))
}
