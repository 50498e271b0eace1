//! The principal axes of all towers' standardised latents: nearly all of the work of linear fits.

use faer::Mat;

use crate::fit::axes::Axes;
use crate::fit::coordinates::{Coordinates, Moments, doubles};
use crate::fit::eigen::Eigen;
use crate::fit::problem::copied;
use crate::fit::unbroken::unbroken;
use crate::fit::{FitError, Problem, Standard};

/// The spectra of the covariances of all towers.
pub(in crate::fit) struct Spectra {
    towers: Vec<Axes>,
    standard: Standard,
}

/// Smallest eigenvalue, in units of the largest, that is told from none.
const SMALLEST: f64 = 1e-12;

impl Spectra {
    pub(in crate::fit) fn new(problem: &Problem<'_>, standard: Standard) -> Result<Self, FitError> {
        let towers = (0..problem.towers.len()).map(|tower| axes(problem, tower, standard));
        Ok(Self { towers: towers.collect::<Result<_, _>>()?, standard })
    }

    /// True if they are of latents that were standardised so.
    pub(in crate::fit) fn serves(&self, standard: Standard) -> bool {
        self.standard == standard
    }

    /// The whitened coordinates (a - mean) V (l + delta)^-1/2 of a tower, where delta = rho * sum(l) / n.
    pub(in crate::fit) fn whitened(&self, tower: usize, rho: f32) -> Coordinates {
        self.towers[tower].whitened(rho)
    }
}

/// The axes of a tower: C = V diag(l) V'.
fn axes(problem: &Problem<'_>, tower: usize, standard: Standard) -> Result<Axes, FitError> {
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
        let spectrum = move || {
            let gram = faer::Scale(1.0 / rows as f64) * (&centred * centred.transpose());
            let Eigen { vectors, values } = Eigen::of(&gram, usize::MAX, SMALLEST)?;
            let lengths: Vec<f64> = values.iter().map(|value| (value * rows as f64).sqrt()).collect();
            let vectors = centred.transpose() * vectors;
            Ok((Mat::from_fn(width, values.len(), |row, column| vectors[(row, column)] / lengths[column]), values))
        };
        let (vectors, values) = unbroken(problem, spectrum)?.map_err(failed)?;
        (mean, vectors, values)
    } else {
        let Moments { mean, covariance } = Moments::of(problem, tower, &plain)?;
        let spectrum = move || Eigen::of(&covariance, usize::MAX, SMALLEST);
        let Eigen { vectors, values } = unbroken(problem, spectrum)?.map_err(failed)?;
        (mean, vectors, values)
    };
    if values.is_empty() {
        return Err(FitError::Flat { tower: name.clone() });
    }
    Ok(Axes { features: plain, mean, vectors, values, rows })
}
