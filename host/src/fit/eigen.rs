//! Eigenvectors of symmetric matrices whose eigenvalues are not negative.

use faer::{Mat, Side};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Eigenvectors, one a column, and eigenvalues in descending order.
pub(super) struct Eigen {
    pub(super) vectors: Mat<f64>,
    pub(super) values: Vec<f64>,
}

/// Directions beside the wanted ones that an iteration carries.
const BESIDE: usize = 80;
/// Products with the matrix.
const TURNS: usize = 5;

impl Eigen {
    /// At most `rank` of a matrix, only with eigenvalues above `smallest` times the largest. Few of many are those of a
    /// subspace that was multiplied with the matrix several times (Halko, Martinsson and Tropp, SIAM Review 2011): the
    /// large ones are exact, and those near the end of the rank nearly so.
    pub(super) fn of(matrix: &Mat<f64>, rank: usize, smallest: f64) -> Result<Self, String> {
        if matrix.nrows() > rank.saturating_add(BESIDE).saturating_mul(3) {
            return Self::few(matrix, rank, smallest);
        }
        let size = matrix.nrows();
        let eigen = matrix.self_adjoint_eigen(Side::Lower).map_err(|error| format!("{error:?}"))?;
        let all: Vec<f64> = (1..=size).map(|at| eigen.S().column_vector()[size - at].max(0.0)).collect();
        let above = |value: &&f64| **value > smallest * all[0] && **value > 0.0;
        let kept = all.iter().take(rank).take_while(above).count();
        let vectors = Mat::from_fn(size, kept, |row, column| eigen.U()[(row, size - 1 - column)]);
        Ok(Self { vectors, values: all[..kept].to_vec() })
    }

    fn few(matrix: &Mat<f64>, rank: usize, smallest: f64) -> Result<Self, String> {
        // A start that is the same each time.
        let mut random = ChaCha8Rng::seed_from_u64(rank as u64);
        let mut block = Mat::from_fn(matrix.nrows(), rank + BESIDE, |_, _| random.random_range(-1.0..1.0_f64));
        for _ in 0..TURNS {
            block = (matrix * block).qr().compute_thin_Q();
        }
        let Self { vectors, mut values } = Self::of(&(block.transpose() * (matrix * &block)), rank + BESIDE, smallest)?;
        values.truncate(rank);
        Ok(Self { vectors: block * vectors.subcols(0, values.len()), values })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of 400 eigenvalues that fall by a tenth each, the first are those of the whole.
    #[test]
    fn few_of_many_are_those_of_the_whole() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let turned = Mat::from_fn(400, 400, |_, _| random.random_range(-1.0..1.0_f64)).qr().compute_thin_Q();
        let scaled = Mat::from_fn(400, 400, |row, column| turned[(row, column)] * 0.9_f64.powi(column as i32));
        let matrix = scaled * turned.transpose();
        let (few, all) = (Eigen::of(&matrix, 40, 1e-12).unwrap(), Eigen::of(&matrix, 400, 1e-12).unwrap());
        assert_eq!((few.values.len(), few.vectors.ncols()), (40, 40));
        for at in 0..40 {
            assert!((few.values[at] - all.values[at]).abs() < 1e-9, "{at}: {} {}", few.values[at], all.values[at]);
            let same: f64 = few.vectors.col(at).iter().zip(all.vectors.col(at).iter()).map(|(a, b)| a * b).sum();
            assert!((same.abs() - 1.0).abs() < 1e-6, "{at}: {same}");
        }
    }
}
