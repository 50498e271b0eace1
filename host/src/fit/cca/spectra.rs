//! The principal axes of all towers' standardised latents: nearly all of the work of linear fits.

use faer::{Mat, Side};

use crate::fit::coordinates::{Coordinates, Moments, doubles};
use crate::fit::problem::{FEWEST, copied};
use crate::fit::{FitError, Problem, Standard};
use crate::space::Input;

/// The spectra of the covariances of all towers.
pub(in crate::fit) struct Spectra {
    towers: Vec<Spectrum>,
    standard: Standard,
}

/// That of a tower: C = V diag(l) V'.
struct Spectrum {
    input: Input,
    /// `width`: of the standardised latents.
    mean: Vec<f64>,
    /// `width x rank`, and l in descending order.
    vectors: Mat<f64>,
    values: Vec<f64>,
    /// Training rows.
    rows: usize,
}

/// Smallest eigenvalue, in units of the largest, that is told from none.
const SMALLEST: f64 = 1e-12;

impl Spectra {
    pub(in crate::fit) fn new(problem: &Problem<'_>, standard: Standard) -> Result<Self, FitError> {
        let towers = (0..problem.towers.len()).map(|tower| Spectrum::new(problem, tower, standard));
        Ok(Self { towers: towers.collect::<Result<_, _>>()?, standard })
    }

    /// True if they are of latents that were standardised so.
    pub(in crate::fit) fn serves(&self, standard: Standard) -> bool {
        self.standard == standard
    }

    /// The whitened coordinates (a - mean) V (l + delta)^-1/2 of a tower, where delta = rho * sum(l) / n.
    pub(in crate::fit) fn whitened(&self, tower: usize, rho: f32) -> Coordinates {
        let Spectrum { input, mean, vectors, values, rows } = &self.towers[tower];
        let delta = f64::from(rho) * values.iter().sum::<f64>() / *rows as f64;
        let scale: Vec<f64> = values.iter().map(|value| 1.0 / (value + delta).sqrt()).collect();
        let matrix = Mat::from_fn(mean.len(), values.len(), |row, column| vectors[(row, column)] * scale[column]);
        let offset =
            matrix.col_iter().map(|column| -column.iter().zip(mean).map(|(value, mean)| value * mean).sum::<f64>());
        Coordinates { matrix: Some(matrix.clone()), offset: offset.collect(), ..Coordinates::plain(input.clone()) }
    }
}

impl Spectrum {
    fn new(problem: &Problem<'_>, tower: usize, standard: Standard) -> Result<Self, FitError> {
        problem.go_on()?;
        let name = &problem.towers[tower].name;
        let (rows, width) = (problem.rows(tower), problem.towers[tower].width);
        let failed = |reason| FitError::Eigen { tower: name.clone(), reason };
        let plain = Coordinates::plain(standard.of(problem, tower)?);
        // Of fewer rows than values, the products of rows have the same eigenvalues, and are fewer.
        let (mean, vectors, values) = if rows < width {
            let mut all = Vec::with_capacity(rows * width);
            problem.sides(tower).into_iter().for_each(|side| all.extend(copied(side, 0..side.len())));
            plain.input.apply(&mut all);
            let mut centred = doubles(&all, rows);
            let mean: Vec<f64> = centred.col_iter().map(|column| column.iter().sum::<f64>() / rows as f64).collect();
            for (column, mean) in mean.iter().enumerate() {
                centred.col_mut(column).iter_mut().for_each(|value| *value -= mean);
            }
            let gram = faer::Scale(1.0 / rows as f64) * (&centred * centred.transpose());
            let (vectors, values) = descending(&gram).map_err(failed)?;
            let lengths: Vec<f64> = values.iter().map(|value| (value * rows as f64).sqrt()).collect();
            let vectors = centred.transpose() * vectors;
            let unit = Mat::from_fn(width, values.len(), |row, column| vectors[(row, column)] / lengths[column]);
            (mean, unit, values)
        } else {
            let Moments { mean, covariance } = Moments::of(problem, tower, &plain)?;
            let (vectors, values) = descending(&covariance).map_err(failed)?;
            (mean, vectors, values)
        };
        if values.is_empty() {
            let items = problem.distinct(tower).len();
            return Err(FitError::Few { tower: name.clone(), items, fewest: FEWEST });
        }
        Ok(Self { input: plain.input, mean, vectors, values, rows })
    }
}

/// Eigenvectors and eigenvalues that are above 0, in descending order.
fn descending(matrix: &Mat<f64>) -> Result<(Mat<f64>, Vec<f64>), String> {
    let size = matrix.nrows();
    let eigen = matrix.self_adjoint_eigen(Side::Lower).map_err(|error| format!("{error:?}"))?;
    let all: Vec<f64> = (1..=size).map(|at| eigen.S().column_vector()[size - at].max(0.0)).collect();
    let kept = all.iter().take_while(|value| **value > SMALLEST * all[0] && **value > 0.0).count();
    let vectors = Mat::from_fn(size, kept, |row, column| eigen.U()[(row, size - 1 - column)]);
    Ok((vectors, all[..kept].to_vec()))
}
