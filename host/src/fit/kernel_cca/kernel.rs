//! The eigenvectors of a tower's kernel over its training rows, and the coordinates that they make.

use faer::Mat;

use crate::fit::coordinates::{Coordinates, doubles};
use crate::fit::eigen::Eigen;
use crate::fit::problem::{FEWEST, copied};
use crate::fit::unbroken::unbroken;
use crate::fit::{FitError, Problem};
use crate::space::{Input, Kernel, Similarity};

/// Smallest eigenvalue of a kernel, in units of the largest, that is told from none.
const SMALLEST: f64 = 1e-10;

/// The wanted coordinates of a kernel.
#[derive(Clone, Copy)]
pub(in crate::fit) struct Wanted {
    pub(in crate::fit) similarity: Similarity,
    /// The most directions.
    pub(in crate::fit) rank: usize,
    /// True for those of the centred kernel; else products of coordinates are similarities.
    pub(in crate::fit) centred: bool,
}

/// The spectrum of a tower's kernel.
pub(in crate::fit) struct Spectrum {
    input: Input,
    kernel: Kernel,
    /// Means of the kernel's columns, and of all of it; 0 if it is not centred.
    means: Vec<f64>,
    mean: f64,
    /// `n x rank` eigenvectors, and L.
    vectors: Mat<f64>,
    values: Vec<f64>,
}

impl Spectrum {
    /// That of all training rows, one side below the other.
    pub(in crate::fit) fn new(
        problem: &Problem<'_>,
        tower: usize,
        input: Input,
        wanted: Wanted,
    ) -> Result<Self, FitError> {
        let name = &problem.towers[tower].name;
        let items = problem.distinct(tower).len();
        if items < FEWEST {
            return Err(FitError::Few { tower: name.clone(), items, fewest: FEWEST });
        }
        if let Some(error) = super::lacking(problem.rows(tower)) {
            return Err(error);
        }
        let mut rows = Vec::with_capacity(problem.rows(tower) * problem.towers[tower].width);
        problem.sides(tower).into_iter().for_each(|side| rows.extend(copied(side, 0..side.len())));
        input.apply(&mut rows);
        let n = problem.rows(tower);
        let kernel = Kernel { anchors: rows, similarity: wanted.similarity };
        unbroken(problem, move || Self::found(input, kernel, n, wanted))?
            .map_err(|reason| FitError::Eigen { tower: name.clone(), reason })
    }

    /// That of `n` rows, which are the kernel's anchors.
    fn found(input: Input, kernel: Kernel, n: usize, wanted: Wanted) -> Result<Self, String> {
        let mut matrix = kernel_of(&kernel.anchors, n, wanted.similarity);
        let mut means = vec![0.0; n];
        if wanted.centred {
            means = (0..n).map(|column| matrix.col(column).iter().sum::<f64>() / n as f64).collect();
        }
        let mean = means.iter().sum::<f64>() / n as f64;
        for column in 0..n {
            for row in 0..n {
                // It is symmetric: means of rows are means of columns.
                matrix[(row, column)] += mean - means[row] - means[column];
            }
        }
        let most = wanted.rank.min(if wanted.centred { n - 1 } else { n });
        let Eigen { vectors, values } = Eigen::of(&matrix, most, SMALLEST)?;
        Ok(Self { input, kernel, means, mean, vectors, values })
    }

    /// Whitened coordinates z (l + delta)^-1/2, where l = L / n and delta = rho * sum(l) / n; with no rho z = k V
    /// L^-1/2.
    pub(in crate::fit) fn coordinates(&self, rho: Option<f32>) -> Coordinates {
        let n = self.means.len();
        let scale: Vec<f64> = match rho {
            None => vec![1.0; self.values.len()],
            Some(rho) => {
                let l: Vec<f64> = self.values.iter().map(|value| value / n as f64).collect();
                let delta = f64::from(rho) * l.iter().sum::<f64>() / n as f64;
                l.iter().map(|l| 1.0 / (l + delta).sqrt()).collect()
            }
        };
        let of_vectors = |factor: &dyn Fn(usize) -> f64| {
            let factors: Vec<f64> = (0..scale.len()).map(factor).collect();
            Mat::from_fn(n, scale.len(), |row, column| self.vectors[(row, column)] * factors[column])
        };
        let rows = of_vectors(&|column| scale[column] * self.values[column].sqrt());
        let mut matrix = of_vectors(&|column| scale[column] / self.values[column].sqrt());
        let mut offset = vec![0.0; scale.len()];
        if rho.is_some() {
            // kc B = (k - mean(k) - means + mean) B is k B', less a constant, if the columns of B' are centred.
            for (column, offset) in offset.iter_mut().enumerate() {
                let sum: f64 = matrix.col(column).iter().sum();
                let of_means: f64 = matrix.col(column).iter().zip(&self.means).map(|(value, mean)| value * mean).sum();
                *offset = self.mean * sum - of_means;
                matrix.col_mut(column).iter_mut().for_each(|value| *value -= sum / n as f64);
            }
        }
        let (input, kernel) = (self.input.clone(), Some(self.kernel.clone()));
        Coordinates { input, kernel, matrix: Some(matrix), offset, rows: Some(rows) }
    }
}

/// The similarities of rows of length 1.
pub(super) fn kernel_of(rows: &[f32], n: usize, similarity: Similarity) -> Mat<f64> {
    let a = doubles(rows, n);
    let mut kernel = &a * a.transpose();
    let of = |cosine: f64| match similarity {
        Similarity::Exponential { tau } => ((cosine - 1.0) / f64::from(tau)).exp(),
        Similarity::Cosine { power, .. } => cosine.max(0.0).powf(f64::from(power)),
    };
    for column in 0..n {
        kernel.col_mut(column).iter_mut().for_each(|value| *value = of(*value));
    }
    kernel
}
