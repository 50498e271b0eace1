//! A kernel by landmarks, for more training rows than an exact one has room for: items are compared with some of them
//! only (the Nystroem method; Williams and Seeger, NIPS 2000).
//!
//! Of m landmarks with the kernel K = V diag(L) V', an item's features are k V L^-1/2, where k are its similarities to
//! them. Their covariance over all training rows comes from that of k, which one pass over the rows gives. With all
//! rows as landmarks, it is the exact kernel.

use faer::linalg::triangular_solve::solve_lower_triangular_in_place;
use faer::{Mat, Side};

use super::kernel::kernel_of;
use crate::fit::axes::Axes;
use crate::fit::coordinates::{Coordinates, Moments};
use crate::fit::eigen::Eigen;
use crate::fit::problem::FEWEST;
use crate::fit::unbroken::unbroken;
use crate::fit::{FitError, Problem};
use crate::space::{Input, Kernel, Similarity};

/// Smallest eigenvalue of the landmarks' kernel, in units of the largest, that is told from none.
const SMALLEST: f64 = 1e-10;
/// Operations that choose the number of landmarks: ten minutes of two cores.
const OPERATIONS: f64 = 3.6e13;
/// The fewest and the most landmarks that are chosen.
const LANDMARKS: [f64; 2] = [1024.0, 8192.0];

/// The landmarks to take of so many rows, where the recipe does not say.
pub(in crate::fit) fn landmarks(rows: usize) -> usize {
    let [fewest, most] = LANDMARKS;
    (OPERATIONS / (6.0 * rows.max(1) as f64)).sqrt().clamp(fewest, most) as usize
}

/// The axes of a tower's features.
pub(super) fn axes(
    problem: &Problem<'_>,
    tower: usize,
    input: Input,
    (similarity, rank, landmarks): (Similarity, usize, usize),
) -> Result<Axes, FitError> {
    let name = &problem.towers[tower].name;
    let failed = |reason| FitError::Eigen { tower: name.clone(), reason };
    let chosen = problem.some_distinct(tower, landmarks);
    if chosen.len() < FEWEST {
        return Err(FitError::Few { tower: name.clone(), items: chosen.len(), fewest: FEWEST });
    }
    let mut anchors = problem.gather(tower, &chosen);
    input.apply(&mut anchors);
    let (kernel, count) = (Kernel { anchors, similarity }, chosen.len());
    let work = move || (root(&kernel_of(&kernel.anchors, count, similarity)), kernel);
    let (root, kernel) = unbroken(problem, work)?;
    let root = root.map_err(failed)?;
    let offset = vec![0.0; chosen.len()];
    let features = Coordinates { input, kernel: Some(kernel), matrix: None, offset, rows: None };
    let Moments { mean, covariance } = Moments::of(problem, tower, &features)?;
    let rows = problem.rows(tower);
    let spectrum = move || {
        let covariance = root.transpose() * covariance * &root;
        let Eigen { vectors, values } = Eigen::of(&covariance, rank.min(rows - 1), SMALLEST)?;
        Ok((root * vectors, values))
    };
    let (vectors, values) = unbroken(problem, spectrum)?.map_err(failed)?;
    Ok(Axes { features, mean, vectors, values, rows })
}

/// R with R R' = K^-1, `m x rank`: features k R have the kernel K.
fn root(kernel: &Mat<f64>) -> Result<Mat<f64>, String> {
    /// Landmarks from which a triangular root is taken, for a tenth of the work.
    const MANY: usize = 2000;
    /// What makes the kernel of equal landmarks invertible, in units of its diagonal.
    const JITTER: f64 = 1e-7;
    let m = kernel.nrows();
    if m < MANY {
        let Eigen { vectors, values } = Eigen::of(kernel, usize::MAX, SMALLEST)?;
        return Ok(Mat::from_fn(m, values.len(), |row, at| vectors[(row, at)] / values[at].sqrt()));
    }
    let mut kernel = kernel.clone();
    (0..m).for_each(|at| kernel[(at, at)] *= 1.0 + JITTER);
    let factor = kernel.llt(Side::Lower).map_err(|error| format!("{error:?}"))?;
    // K = L L', so that R = L'^-1.
    let mut inverse = Mat::<f64>::identity(m, m);
    solve_lower_triangular_in_place(factor.L(), inverse.as_mut(), faer::get_global_parallelism());
    Ok(inverse.transpose().to_owned())
}
