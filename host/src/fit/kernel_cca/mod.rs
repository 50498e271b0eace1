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
//! All of it folds into one matrix over kernel rows, and a bias. Dimensions come in order of importance.

mod options;
mod tower;

use faer::{Mat, MatRef, Side};
use std::collections::HashSet;

use super::PairSet;
use crate::bytes::Bytes;
use crate::device::available_memory;
use crate::latents::Latents;
use crate::space::{Hubness, Inlet, Space};

pub use options::{KernelCcaOptions, Options};
use tower::TowerKernel;

/// The most items of a tower against which the term against hubs compares.
const BANK: usize = 1 << 14;

/// A reason why kernel CCA cannot be fitted.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum KernelCcaError {
    #[error("`{key} = {value}`: must be {wanted}")]
    Option { key: &'static str, value: String, wanted: &'static str },
    #[error("kernel CCA needs at least {FEWEST} different items on either side, but tower `{tower}` has {items}")]
    Few { tower: String, items: usize },
    #[error("the eigenvalues of tower `{tower}` cannot be found: {reason}")]
    Eigen { tower: String, reason: String },
    #[error(
        "the towers have nothing in common: no direction of one goes with one of another; check that the items of a \
         row belong together"
    )]
    Nothing,
    #[error(
        "kernel CCA of {rows} training rows needs {needed}, but only {free} is free; take fewer pairs, or `method = \
         \"fusemix\"`"
    )]
    Large { rows: usize, needed: Bytes, free: Bytes },
    #[error("it was stopped")]
    Stopped,
}

/// Matrices of the size of a kernel that are in memory at once; 5.4 were measured with 6,000 rows.
const KERNELS: u64 = 6;
/// The fewest items of a tower.
const FEWEST: usize = 4;

/// The space of `towers` by the pairs of `sets`; `stop` is asked between its steps.
pub fn fit(
    towers: &[Inlet],
    sets: &[PairSet],
    options: &Options,
    stop: &dyn Fn() -> bool,
) -> Result<Space, KernelCcaError> {
    let go_on = || if stop() { Err(KernelCcaError::Stopped) } else { Ok(()) };
    check_room(towers.len(), sets)?;
    let mut fitted = Vec::with_capacity(towers.len());
    for (index, tower) in towers.iter().enumerate() {
        go_on()?;
        let of = |set: &'_ PairSet| set.towers.iter().position(|&tower| tower == index);
        let sides: Vec<&dyn Latents> = sets.iter().filter_map(|set| Some(&*set.latents[of(set)?])).collect();
        fitted.push(TowerKernel::new(tower, &sides, options)?);
    }
    go_on()?;
    let directions = directions(&fitted, sets, options.width)?;
    go_on()?;
    let (mut projections, mut banks) = (Vec::new(), Vec::new());
    for (fitted, directions) in fitted.into_iter().zip(&directions) {
        banks.push(bank(&fitted, directions));
        projections.push(fitted.projection(directions));
    }
    let shared = projections.first().map_or(0, |projection| projection.width());
    let space = Space::of_projections(towers.to_vec(), projections);
    let Options { hubness: alpha, neighbours, .. } = *options;
    let hubness = (alpha > 0.0).then_some(Hubness { alpha, neighbours, shared, banks });
    Ok(match hubness {
        Some(hubness) => space.with_hubness(hubness),
        None => space,
    })
}

/// Refuses rows whose kernel does not fit into memory.
fn check_room(towers: usize, sets: &[PairSet]) -> Result<(), KernelCcaError> {
    let rows = |tower: usize| sets.iter().filter(|set| set.towers.contains(&tower)).map(PairSet::len).sum::<usize>();
    let rows = (0..towers).map(rows).max().unwrap_or(0);
    // The kernel, its eigenvectors, and what they are computed in.
    let needed = KERNELS * (size_of::<f64>() as u64) * (rows as u64).pow(2);
    match available_memory() {
        Some(free) if free < needed => {
            Err(KernelCcaError::Large { rows, needed: Bytes::rounded(needed), free: Bytes::rounded(free) })
        }
        _ => Ok(()),
    }
}

/// Of each tower, `rank x shared`: U S.
fn directions(towers: &[TowerKernel], sets: &[PairSet], width: usize) -> Result<Vec<Mat<f64>>, KernelCcaError> {
    let mut taken = vec![0; towers.len()];
    let mut blocks = Vec::new();
    for set in sets {
        let [first, second] = set.towers.map(|tower| {
            let rows = taken[tower]..taken[tower] + set.len();
            taken[tower] = rows.end;
            towers[tower].whitened().subrows(rows.start, set.len())
        });
        let scale = f64::from(set.weight) / set.len() as f64;
        blocks.push((set.towers, faer::Scale(scale) * (first.transpose() * second)));
    }
    match blocks.as_slice() {
        [([0, 1], block)] => of_two(block.as_ref(), width),
        [([1, 0], block)] => of_two(block.transpose(), width),
        _ => of_more(towers, &blocks, width),
    }
}

/// By the SVD of the block between two towers.
fn of_two(block: MatRef<'_, f64>, width: usize) -> Result<Vec<Mat<f64>>, KernelCcaError> {
    let svd = block.thin_svd().map_err(|_| KernelCcaError::Nothing)?;
    let values: Vec<f64> = svd.S().column_vector().iter().copied().collect();
    let kept = kept(&values, width)?;
    let scaled =
        |vectors: MatRef<'_, f64>| Mat::from_fn(vectors.nrows(), kept, |row, at| vectors[(row, at)] * values[at]);
    Ok(vec![scaled(svd.U()), scaled(svd.V())])
}

/// By the eigenvectors of all blocks.
fn of_more(
    towers: &[TowerKernel],
    blocks: &[([usize; 2], Mat<f64>)],
    width: usize,
) -> Result<Vec<Mat<f64>>, KernelCcaError> {
    let mut size = 0;
    let starts: Vec<usize> = towers
        .iter()
        .map(|tower| {
            size += tower.rank();
            size - tower.rank()
        })
        .collect();
    let mut all = Mat::<f64>::zeros(size, size);
    for ([first, second], block) in blocks {
        for column in 0..block.ncols() {
            for row in 0..block.nrows() {
                let (i, j) = (starts[*first] + row, starts[*second] + column);
                all[(i, j)] += block[(row, column)];
                all[(j, i)] += block[(row, column)];
            }
        }
    }
    let eigen = all.self_adjoint_eigen(Side::Lower).map_err(|_| KernelCcaError::Nothing)?;
    let mut values: Vec<f64> = eigen.S().column_vector().iter().copied().collect();
    // In descending order.
    values.reverse();
    let kept = kept(&values, width)?;
    let part = |(start, tower): (&usize, &TowerKernel)| {
        Mat::from_fn(tower.rank(), kept, |row, at| eigen.U()[(start + row, size - 1 - at)] * values[at])
    };
    Ok(starts.iter().zip(towers).map(part).collect())
}

/// The number of directions that say anything, and at most `width`.
fn kept(values: &[f64], width: usize) -> Result<usize, KernelCcaError> {
    let largest = values.first().copied().filter(|value| *value > 0.0).ok_or(KernelCcaError::Nothing)?;
    Ok(values.iter().take(width).take_while(|value| **value > 1e-9 * largest).count())
}

/// The embeddings of a tower's different training items, in single precision: some of them if there are very many.
fn bank(tower: &TowerKernel, directions: &Mat<f64>) -> Vec<f32> {
    let distinct = tower.distinct();
    let step = distinct.len().div_ceil(BANK).max(1);
    let chosen: Vec<usize> = distinct.into_iter().step_by(step).collect();
    let whitened = tower.whitened();
    let rows = Mat::from_fn(chosen.len(), whitened.ncols(), |row, column| whitened[(chosen[row], column)]);
    let embeddings = rows * directions;
    let mut bank = Vec::with_capacity(chosen.len() * directions.ncols());
    for row in 0..embeddings.nrows() {
        let values = embeddings.row(row);
        let length = values.norm_l2();
        bank.extend(values.iter().map(|value| if length > 0.0 { (value / length) as f32 } else { 0.0 }));
    }
    bank
}

/// The first of each different row.
fn distinct(rows: impl Iterator<Item = [u8; 32]>) -> Vec<usize> {
    let mut seen = HashSet::new();
    rows.enumerate().filter(|(_, row)| seen.insert(*row)).map(|(at, _)| at).collect()
}

#[cfg(test)]
mod tests;
