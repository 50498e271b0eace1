//! A kernel by landmarks, for more training rows than an exact one has room for: items are compared with some of them only
//! (the Nystroem method; Williams and Seeger, NIPS 2000).
//!
//! Of m landmarks with the kernel K = V diag(L) V', an item's features are k V L^-1/2, where k are its similarities to them.
//! Their covariance over all training rows comes from that of k, which one pass over the rows gives. With all rows as
//! landmarks, it is the exact kernel.

use super::kernel::kernel_of;
use crate::fit::axes::{Axes, descending};
use crate::fit::coordinates::{Coordinates, Moments};
use crate::fit::problem::FEWEST;
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
    let (vectors, values) = descending(&kernel_of(&anchors, chosen.len(), similarity), SMALLEST).map_err(failed)?;
    let root = faer::Mat::from_fn(chosen.len(), values.len(), |row, at| vectors[(row, at)] / values[at].sqrt());
    let offset = vec![0.0; chosen.len()];
    let features =
        Coordinates { input, kernel: Some(Kernel { anchors, similarity }), matrix: None, offset, rows: None };
    let Moments { mean, covariance } = Moments::of(problem, tower, &features)?;
    problem.go_on()?;
    let (vectors, mut values) = descending(&(root.transpose() * covariance * &root), SMALLEST).map_err(failed)?;
    let rows = problem.rows(tower);
    values.truncate(rank.min(rows - 1));
    let vectors = root * vectors.subcols(0, values.len());
    Ok(Axes { features, mean, vectors, values, rows })
}
