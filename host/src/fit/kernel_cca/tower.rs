//! One tower's side of a kernel CCA: its kernel's directions, and the map that they make.

use faer::{Mat, MatRef, Side};
use rayon::prelude::*;

use super::{FEWEST, KernelCcaError, Options, distinct};
use crate::latents::Latents;
use crate::space::{Inlet, Input, Kernel, Projection};

/// Smallest deviation of a dimension, in units of their mean, that is told from none.
const DEVIATION: f64 = 1e-6;
/// Smallest eigenvalue of a kernel, in units of the largest, that is told from none.
const SMALLEST: f64 = 1e-10;

/// The fitted kernel of a tower's training rows.
pub(super) struct TowerKernel {
    input: Input,
    /// The standardised rows, `n x width`.
    rows: Vec<f32>,
    width: usize,
    tau: f32,
    /// Means of the kernel's columns, and of all of it.
    means: Vec<f64>,
    mean: f64,
    /// `n x rank` eigenvectors of the centred kernel, and L.
    vectors: Mat<f64>,
    values: Vec<f64>,
    /// `n x rank`: the training rows' z, whitened.
    whitened: Mat<f64>,
    /// (l + delta)^-1/2.
    scale: Vec<f64>,
}

impl TowerKernel {
    /// Fits the kernel of all rows of `sides`, one below the other.
    pub(super) fn new(tower: &Inlet, sides: &[&dyn Latents], options: &Options) -> Result<Self, KernelCcaError> {
        let width = tower.width;
        let n: usize = sides.iter().map(|side| side.len()).sum();
        let mut rows = vec![0.0; n * width];
        let mut at = 0;
        for side in sides {
            let part = &mut rows[at * width..(at + side.len()) * width];
            part.par_chunks_mut(width).enumerate().for_each(|(row, out)| side.copy_row(row, out));
            at += side.len();
        }
        let input = standardisation(&rows, width);
        input.apply(&mut rows);
        let items = distinct(rows.chunks_exact(width).map(content)).len();
        if items < FEWEST {
            return Err(KernelCcaError::Few { tower: tower.name.clone(), items });
        }
        let mut kernel = kernel(&rows, width, options.tau);
        let means: Vec<f64> = (0..n).map(|column| kernel.col(column).iter().sum::<f64>() / n as f64).collect();
        let mean = means.iter().sum::<f64>() / n as f64;
        for column in 0..n {
            for row in 0..n {
                // It is symmetric: means of rows are means of columns.
                kernel[(row, column)] += mean - means[row] - means[column];
            }
        }
        let eigen = kernel
            .self_adjoint_eigen(Side::Lower)
            .map_err(|error| KernelCcaError::Eigen { tower: tower.name.clone(), reason: format!("{error:?}") })?;
        let all = eigen.S().column_vector();
        let largest = all[n - 1].max(0.0);
        let rank = options.rank.min(n - 1);
        let values: Vec<f64> =
            (1..=rank).map(|at| all[n - at]).take_while(|value| *value > SMALLEST * largest).collect();
        let rank = values.len();
        let vectors = Mat::from_fn(n, rank, |row, column| eigen.U()[(row, n - 1 - column)]);
        let l: Vec<f64> = values.iter().map(|value| value / n as f64).collect();
        let delta = f64::from(options.rho) * l.iter().sum::<f64>() / n as f64;
        let scale: Vec<f64> = l.iter().map(|l| 1.0 / (l + delta).sqrt()).collect();
        let whitened =
            Mat::from_fn(n, rank, |row, column| vectors[(row, column)] * values[column].sqrt() * scale[column]);
        Ok(Self { input, rows, width, tau: options.tau, means, mean, vectors, values, whitened, scale })
    }

    /// Kernel directions that are kept.
    pub(super) fn rank(&self) -> usize {
        self.values.len()
    }

    /// `n x rank`: the whitened coordinates of the training rows.
    pub(super) fn whitened(&self) -> MatRef<'_, f64> {
        self.whitened.as_ref()
    }

    /// The first of each different training row.
    pub(super) fn distinct(&self) -> Vec<usize> {
        distinct(self.rows.chunks_exact(self.width).map(content))
    }

    /// The map of a latent to `directions (rank x shared)` of its whitened coordinates.
    pub(super) fn projection(self, directions: &Mat<f64>) -> Projection {
        let n = self.means.len();
        let scaled = Mat::from_fn(self.rank(), directions.ncols(), |row, column| {
            directions[(row, column)] * self.scale[row] / self.values[row].sqrt()
        });
        // kc B = (k - mean(k) - means + mean) B is k B', less a constant, if the columns of B' are centred.
        let mut matrix = &self.vectors * scaled;
        let mut bias = Vec::with_capacity(matrix.ncols());
        for column in 0..matrix.ncols() {
            let sum: f64 = matrix.col(column).iter().sum();
            let of_means: f64 = matrix.col(column).iter().zip(&self.means).map(|(value, mean)| value * mean).sum();
            bias.push((self.mean * sum - of_means) as f32);
            matrix.col_mut(column).iter_mut().for_each(|value| *value -= sum / n as f64);
        }
        let weight = (0..matrix.ncols())
            .flat_map(|column| matrix.col(column).iter().map(|value| *value as f32).collect::<Vec<_>>());
        let weight = weight.collect();
        let kernel = Some(Kernel { anchors: self.rows, tau: self.tau });
        Projection { input: self.input, kernel, weight, bias }
    }
}

/// The mean and the inverse deviation by dimension. One that does not vary is left out.
fn standardisation(rows: &[f32], width: usize) -> Input {
    let n = (rows.len() / width) as f64;
    let sums = |of: &(dyn Fn(usize, f32) -> f64 + Sync)| -> Vec<f64> {
        let zero = || vec![0.0; width];
        let add = |mut sums: Vec<f64>, row: &[f32]| {
            sums.iter_mut().zip(row).enumerate().for_each(|(at, (sum, value))| *sum += of(at, *value));
            sums
        };
        // In pieces of fixed size, so that the result does not depend on threads.
        let pieces: Vec<Vec<f64>> =
            rows.par_chunks(width * 256).map(|piece| piece.chunks_exact(width).fold(zero(), add)).collect();
        pieces.into_iter().fold(zero(), |mut sums, piece| {
            sums.iter_mut().zip(piece).for_each(|(sum, value)| *sum += value);
            sums
        })
    };
    let mean: Vec<f64> = sums(&|_, value| f64::from(value)).into_iter().map(|sum| sum / n).collect();
    let squares = sums(&|at, value| (f64::from(value) - mean[at]).powi(2));
    let deviation: Vec<f64> = squares.into_iter().map(|sum| (sum / n).sqrt()).collect();
    let smallest = DEVIATION * deviation.iter().sum::<f64>() / width as f64;
    let scale = deviation.iter().map(|&value| if value > smallest { (1.0 / (value + smallest)) as f32 } else { 0.0 });
    Input { scale: scale.collect(), mean: mean.into_iter().map(|mean| mean as f32).collect() }
}

/// exp((a_i . a_j - 1) / tau) of rows of length 1.
fn kernel(rows: &[f32], width: usize, tau: f32) -> Mat<f64> {
    let n = rows.len() / width;
    let a = Mat::from_fn(n, width, |row, column| f64::from(rows[row * width + column]));
    let mut kernel = &a * a.transpose();
    let tau = f64::from(tau);
    for column in 0..n {
        kernel.col_mut(column).iter_mut().for_each(|value| *value = ((*value - 1.0) / tau).exp());
    }
    kernel
}

fn content(row: &[f32]) -> [u8; 32] {
    blake3::hash(bytemuck::cast_slice(row)).into()
}
