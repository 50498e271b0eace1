//! Kernel CCA: directions in which the towers' items agree, among functions of similarities to the training items
//! (regularised kernel canonical correlation analysis; Hardoon, Szedmak and Shawe-Taylor, Neural Computation 2004).
//!
//! Of each tower, with latents x of n training rows, a = unit((x - mean) / deviation):
//!
//! 1. `K_ij = exp((a_i . a_j - 1) / tau)`, doubly centred: `Kc = V diag(L) V'`, of which the largest L are kept.
//! 2. `z = kc V L^-1/2` of a centred kernel row kc; l = L / n, delta = rho * sum(l) / n; whitened, `f = z (l +
//!    delta)^-1/2`.
//! 3. Of two towers with n pairs, `M = Fx' Fy / n = U S W'`; an item's embedding is unit(f U S), or unit(f W S). Of
//!    more towers, the blocks M of their pair sets make one symmetric matrix with zeros on its diagonal, and U S are
//!    the rows of its eigenvectors that belong to a tower, times their eigenvalues: for two towers the same up to a
//!    factor.
//!
//! With more than 20,000 rows, or where memory lacks, a tower is compared with some of them: see `landmarks.rs`.
//!
//! All of it folds into one matrix over kernel rows, and a bias. Dimensions come in order of importance. Into a space
//! that exists, a tower is brought by least squares on f instead: kernel ridge regression.

mod kernel;
mod landmarks;
mod options;

use super::axes::Axes;
use super::canonical::Blocks;
use super::coordinates::{Coordinates, along};
use super::onto::{onto, regression};
use super::problem::FEWEST;
use super::{FitError, Problem};
use crate::bytes::Bytes;
use crate::device::available_memory;
use crate::space::{Map, Similarity};

pub(in crate::fit) use kernel::{Spectrum, Wanted};
use landmarks::landmarks;
pub use options::{KernelCcaOptions, Options};

/// Matrices of the size of a kernel that are in memory at once; 1.6 were measured with 10,000 rows.
pub(super) const KERNELS: u64 = 2;
/// Matrices of the size of the landmarks' kernel that are in memory at once.
const LANDMARK_KERNELS: u64 = 6;

/// The spectra of the kernels of all towers that are to be brought somewhere: nearly all of the work.
pub(super) struct Kernels {
    spectra: Vec<Option<Features>>,
    /// What they were made with.
    options: Options,
}

/// The kernel of a tower.
enum Features {
    Exact(Box<Spectrum>),
    Landmarks(Box<Axes>),
}

/// The most training rows of a tower whose kernel is exact, where the recipe does not say.
const EXACT: usize = 20_000;

impl Kernels {
    pub(super) fn new(problem: &Problem<'_>, options: &Options) -> Result<Self, FitError> {
        let Options { standard, tau, rank, .. } = *options;
        let similarity = Similarity::Exponential { tau };
        // A tower that has no room must not show after the work for another.
        for tower in (0..problem.towers.len()).filter(|tower| !problem.fixed[*tower]) {
            let rows = problem.rows(tower);
            if let Some(error) = without_room(anchors(options, rows), memory(options, rows)) {
                return Err(error);
            }
        }
        let spectrum = |tower: usize| {
            problem.go_on()?;
            if problem.fixed[tower] {
                return Ok(None);
            }
            let (rows, input) = (problem.rows(tower), standard.of(problem, tower)?);
            let count = anchors(options, rows);
            Ok(Some(if count < rows {
                Features::Landmarks(Box::new(landmarks::axes(problem, tower, input, (similarity, rank, count))?))
            } else {
                let wanted = Wanted { similarity, rank, centred: true };
                Features::Exact(Box::new(Spectrum::new(problem, tower, input, wanted)?))
            }))
        };
        let spectra = (0..problem.towers.len()).map(spectrum).collect::<Result<_, FitError>>()?;
        Ok(Self { spectra, options: options.clone() })
    }

    /// True if a map with these options can be made from them.
    pub(super) fn serves(&self, options: &Options) -> bool {
        let Options { rho, width, .. } = self.options;
        self.options == Options { rho, width, ..*options }
    }
}

/// The most training rows of a tower whose kernel is exact whatever memory there is.
const ROOMY: usize = 5000;

/// Rows of a tower that its items are compared with.
pub(super) fn anchors(options: &Options, rows: usize) -> usize {
    match options.landmarks {
        0 if rows > EXACT || rows > ROOMY && lacking(rows).is_some() => affordable(landmarks(rows).min(rows / 2)),
        0 => rows,
        landmarks => landmarks.min(rows),
    }
}

impl Features {
    fn whitened(&self, rho: f32) -> Coordinates {
        match self {
            Self::Exact(spectrum) => spectrum.coordinates(Some(rho)),
            Self::Landmarks(axes) => axes.whitened(rho),
        }
    }
}

/// The whitened coordinates of all towers, none of which is fixed.
pub(super) fn coordinates(kernels: &Kernels, options: &Options) -> Vec<Coordinates> {
    kernels.spectra.iter().flatten().map(|features| features.whitened(options.rho)).collect()
}

/// The map of all towers.
pub(super) fn fit(problem: &Problem<'_>, kernels: &Kernels, options: &Options) -> Result<Map, FitError> {
    if problem.fixed.contains(&true) {
        return onto(problem, |tower, anchored| {
            let features = kernels.spectra[tower].as_ref().expect("only fixed towers have none");
            regression(problem, features.whitened(options.rho), anchored)
        });
    }
    let towers = coordinates(kernels, options);
    problem.go_on()?;
    let directions = Blocks::new(problem, &towers)?.canonical(options.width, 1.0)?;
    problem.go_on()?;
    Ok(along(&towers, &directions))
}

/// At most so many landmarks as memory has room for.
fn affordable(landmarks: usize) -> usize {
    let room = available_memory().map(|free| (free / (LANDMARK_KERNELS * size_of::<f64>() as u64)).isqrt() as usize);
    landmarks.min(room.unwrap_or(landmarks)).max(FEWEST)
}

/// The memory that the exact kernel of so many rows needs, if there is less.
pub(super) fn lacking(rows: usize) -> Option<FitError> {
    without_room(rows, square(KERNELS, rows))
}

/// The memory that the kernel of a tower with so many rows needs.
pub(super) fn memory(options: &Options, rows: usize) -> u64 {
    match anchors(options, rows) {
        landmarks if landmarks < rows => square(LANDMARK_KERNELS, landmarks),
        rows => square(KERNELS, rows),
    }
}

fn square(matrices: u64, rows: usize) -> u64 {
    matrices * size_of::<f64>() as u64 * (rows as u64).pow(2)
}

/// The error of a kernel that memory has no room for.
fn without_room(rows: usize, needed: u64) -> Option<FitError> {
    let free = available_memory().filter(|free| *free < needed)?;
    Some(FitError::Large { rows, needed: Bytes::rounded(needed), free: Bytes::rounded(free) })
}
