//! Directions in which towers agree, among coordinates of each.

use faer::{Mat, Side};

use std::sync::Arc;

use super::coordinates::{Coordinates, cross};
use super::unbroken::unbroken;
use super::{FitError, Problem};

/// The mean products of the coordinates of two towers: a block for each pair set, times its weight.
pub(super) struct Blocks<'a> {
    problem: &'a Problem<'a>,
    ranks: Vec<usize>,
    blocks: Arc<Vec<Block>>,
}

/// The two towers, the earlier one first, and their products.
type Block = ([usize; 2], Mat<f64>);

/// Singular or eigenvectors, `rank x directions` of each tower, and values in descending order.
type Spectrum = (Vec<Mat<f64>>, Vec<f64>);

impl<'a> Blocks<'a> {
    pub(super) fn new(problem: &'a Problem<'a>, towers: &[Coordinates]) -> Result<Self, FitError> {
        let mut taken = vec![0; towers.len()];
        let mut blocks: Vec<Block> = Vec::new();
        for set in problem.sets {
            let first = set.towers.map(|tower| taken[tower]);
            set.towers.iter().for_each(|&tower| taken[tower] += set.len());
            let block = cross(problem, set, set.towers.map(|tower| &towers[tower]), first)?;
            let block = faer::Scale(f64::from(set.weight)) * block;
            let (ends, block) = match set.towers {
                [i, j] if i < j => ([i, j], block),
                [i, j] => ([j, i], block.transpose().to_owned()),
            };
            match blocks.iter_mut().find(|(known, _)| *known == ends) {
                Some((_, sum)) => *sum += block,
                None => blocks.push((ends, block)),
            }
        }
        Ok(Self { problem, ranks: towers.iter().map(Coordinates::rank).collect(), blocks: Arc::new(blocks) })
    }

    /// Of each tower, `rank x shared`: of two, U S and V S of the block U S V'; of more, the rows that belong to a
    /// tower of the eigenvectors of all blocks times their eigenvalues, which for two is the same up to a factor. The
    /// values count by their `power`.
    pub(super) fn canonical(&self, width: usize, power: f64) -> Result<Vec<Mat<f64>>, FitError> {
        let (vectors, values) = self.spectrum()?;
        let kept = kept(&values, width)?;
        let scaled = |vectors: &Mat<f64>| {
            Mat::from_fn(vectors.nrows(), kept, |row, at| vectors[(row, at)] * values[at].powf(power))
        };
        Ok(vectors.iter().map(scaled).collect())
    }

    /// Of each tower, `rank x shared` with orthonormal columns, which together make the sum of the traces of A' M B
    /// over all blocks M the greatest: of two towers, U and V. Of more, each is made from the others in turn.
    pub(super) fn orthogonal(&self, width: usize) -> Result<Vec<Mat<f64>>, FitError> {
        /// Turns after which nothing changes any more.
        const TURNS: usize = 50;
        let (vectors, values) = self.spectrum()?;
        let least = self.ranks.iter().copied().min().unwrap_or(0);
        let kept = kept(&values, width.min(least))?;
        let first = |vectors: &Mat<f64>| vectors.subcols(0, kept).to_owned();
        let mut maps: Vec<Mat<f64>> = vectors.iter().map(first).collect();
        if self.ranks.len() == 2 {
            return Ok(maps);
        }
        maps = maps.into_iter().map(|map| polar(self.problem, map)).collect::<Result<_, _>>()?;
        for _ in 0..TURNS {
            for tower in 0..maps.len() {
                let mut sum = Mat::<f64>::zeros(self.ranks[tower], kept);
                for ([i, j], block) in &*self.blocks {
                    if *i == tower {
                        sum += block * &maps[*j];
                    } else if *j == tower {
                        sum += block.transpose() * &maps[*i];
                    }
                }
                maps[tower] = polar(self.problem, sum)?;
            }
        }
        Ok(maps)
    }

    fn spectrum(&self) -> Result<Spectrum, FitError> {
        let (ranks, blocks) = (self.ranks.clone(), self.blocks.clone());
        unbroken(self.problem, move || spectrum(&ranks, &blocks))?
    }
}

fn spectrum(ranks: &[usize], blocks: &[Block]) -> Result<Spectrum, FitError> {
    if let ([_, _], [(_, block)]) = (ranks, blocks) {
        let svd = block.thin_svd().map_err(|_| FitError::Nothing)?;
        let values = svd.S().column_vector().iter().copied().collect();
        return Ok((vec![svd.U().to_owned(), svd.V().to_owned()], values));
    }
    let start = |tower: usize| ranks[..tower].iter().sum::<usize>();
    let (starts, size): (Vec<usize>, usize) = ((0..ranks.len()).map(start).collect(), start(ranks.len()));
    let mut all = Mat::<f64>::zeros(size, size);
    for ([first, second], block) in blocks {
        for column in 0..block.ncols() {
            for row in 0..block.nrows() {
                let (i, j) = (starts[*first] + row, starts[*second] + column);
                all[(i, j)] = block[(row, column)];
                all[(j, i)] = block[(row, column)];
            }
        }
    }
    let eigen = all.self_adjoint_eigen(Side::Lower).map_err(|_| FitError::Nothing)?;
    let mut values: Vec<f64> = eigen.S().column_vector().iter().copied().collect();
    // In descending order.
    values.reverse();
    let part =
        |(start, rank): (&usize, &usize)| Mat::from_fn(*rank, size, |row, at| eigen.U()[(start + row, size - 1 - at)]);
    Ok((starts.iter().zip(ranks).map(part).collect(), values))
}

/// The number of directions that say anything, and at most `width`.
fn kept(values: &[f64], width: usize) -> Result<usize, FitError> {
    let largest = values.first().copied().filter(|value| *value > 0.0).ok_or(FitError::Nothing)?;
    Ok(values.iter().take(width).take_while(|value| **value > 1e-9 * largest).count())
}

/// The nearest matrix with orthonormal columns.
pub(super) fn polar(problem: &Problem<'_>, matrix: Mat<f64>) -> Result<Mat<f64>, FitError> {
    unbroken(problem, move || {
        let svd = matrix.thin_svd().map_err(|_| FitError::Nothing)?;
        Ok(svd.U() * svd.V().transpose())
    })?
}
