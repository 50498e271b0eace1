//! Coordinates of a tower's latents, in which closed forms compare towers.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef};
use std::ops::Range;

use super::problem::copied;
use super::{FitError, PairSet, Problem};
use crate::latents::Latents;
use crate::space::{Head, Input, Kernel, Map, Projection};

/// The coordinates c(x) = g(x) matrix + offset of a latent x, where g(x) is the standardised latent, or its
/// similarities to anchors.
pub(super) struct Coordinates {
    pub(super) input: Input,
    pub(super) kernel: Option<Kernel>,
    /// `features x rank`; none for g(x) itself.
    pub(super) matrix: Option<Mat<f64>>,
    /// `rank`.
    pub(super) offset: Vec<f64>,
    /// `n x rank`: those of the training rows, where they are kept.
    pub(super) rows: Option<Mat<f64>>,
}

/// Rows whose coordinates are in memory at once.
const CHUNK: usize = 2048;

impl Coordinates {
    /// The standardised latents themselves.
    pub(super) fn plain(input: Input) -> Self {
        let offset = vec![0.0; input.mean.len()];
        Self { input, kernel: None, matrix: None, offset, rows: None }
    }

    pub(super) fn rank(&self) -> usize {
        self.offset.len()
    }

    /// Those of some rows.
    pub(super) fn of(&self, latents: &dyn Latents, rows: Range<usize>) -> Mat<f64> {
        let (count, width) = (rows.len(), latents.width());
        let mut values = copied(latents, rows);
        self.input.apply(&mut values);
        let values = match &self.kernel {
            Some(kernel) => kernel.of(&values, width),
            None => values,
        };
        let features = doubles(&values, count);
        let mut out = match &self.matrix {
            Some(matrix) => features * matrix,
            None => features,
        };
        for (column, offset) in self.offset.iter().enumerate() {
            out.col_mut(column).iter_mut().for_each(|value| *value += offset);
        }
        out
    }

    /// The map of a latent x to c(x) directions + constant.
    pub(super) fn projection(&self, directions: &Mat<f64>, constant: &[f64]) -> Projection {
        let bias = (0..directions.ncols()).map(|column| {
            let column = directions.col(column).iter().zip(&self.offset).map(|(value, offset)| value * offset);
            column.sum::<f64>()
        });
        let bias = bias.zip(constant.iter().copied().chain(std::iter::repeat(0.0)));
        let bias = bias.map(|(bias, constant)| (bias + constant) as f32).collect();
        let matrix = match &self.matrix {
            Some(matrix) => matrix * directions,
            None => directions.clone(),
        };
        let weight = matrix.col_iter().flat_map(|column| column.iter().map(|value| *value as f32).collect::<Vec<_>>());
        let (input, kernel) = (self.input.clone(), self.kernel.clone());
        Projection { input, kernel, head: Some(Head { weight: weight.collect(), bias }) }
    }
}

/// The map of all towers to directions of their coordinates.
pub(super) fn along(towers: &[Coordinates], directions: &[Mat<f64>]) -> Map {
    let maps = towers.iter().zip(directions).map(|(tower, directions)| tower.projection(directions, &[]));
    Map::Projections(maps.collect())
}

/// f32 values row by row as a matrix.
pub(super) fn doubles(values: &[f32], rows: usize) -> Mat<f64> {
    let columns = values.len() / rows.max(1);
    Mat::from_fn(rows, columns, |row, column| f64::from(values[row * columns + column]))
}

/// The means over latents, and over pairs of them.
pub(super) struct Moments {
    /// `rank`.
    pub(super) mean: Vec<f64>,
    /// `rank x rank`: of c'c, less that of the means.
    pub(super) covariance: Mat<f64>,
}

impl Moments {
    /// Those of the coordinates of a tower's training rows.
    pub(super) fn of(problem: &Problem<'_>, tower: usize, coordinates: &Coordinates) -> Result<Self, FitError> {
        let rank = coordinates.rank();
        let (mut sums, mut squares, mut n) = (vec![0.0; rank], Mat::<f64>::zeros(rank, rank), 0);
        for side in problem.sides(tower) {
            for rows in chunks(side.len()) {
                problem.go_on()?;
                n += rows.len();
                let values = coordinates.of(side, rows);
                add_product(&mut squares, values.as_ref(), values.as_ref());
                sums.iter_mut().zip(values.col_iter()).for_each(|(sum, column)| *sum += column.iter().sum::<f64>());
            }
        }
        let n = n as f64;
        let mean: Vec<f64> = sums.into_iter().map(|sum| sum / n).collect();
        for column in 0..rank {
            for row in 0..rank {
                squares[(row, column)] = squares[(row, column)] / n - mean[row] * mean[column];
            }
        }
        Ok(Self { mean, covariance: squares })
    }
}

/// The mean over a set's pairs of the product of either side's coordinates, `rank x rank`. Where they are kept, those
/// of the set begin at `first`.
pub(super) fn cross(
    problem: &Problem<'_>,
    set: &PairSet,
    coordinates: [&Coordinates; 2],
    first: [usize; 2],
) -> Result<Mat<f64>, FitError> {
    let mut sum = Mat::<f64>::zeros(coordinates[0].rank(), coordinates[1].rank());
    for rows in chunks(set.len()) {
        problem.go_on()?;
        let [x, y] = [0, 1].map(|side| match &coordinates[side].rows {
            Some(kept) => kept.subrows(first[side] + rows.start, rows.len()).to_owned(),
            None => coordinates[side].of(&*set.latents[side], rows.clone()),
        });
        add_product(&mut sum, x.as_ref(), y.as_ref());
    }
    Ok(faer::Scale(1.0 / set.len() as f64) * sum)
}

fn add_product(sum: &mut Mat<f64>, x: MatRef<'_, f64>, y: MatRef<'_, f64>) {
    matmul(sum.as_mut(), Accum::Add, x.transpose(), y, 1.0, faer::get_global_parallelism());
}

/// Rows of which as many are in memory at once.
pub(super) fn chunks(rows: usize) -> impl Iterator<Item = Range<usize>> {
    (0..rows).step_by(CHUNK).map(move |start| start..(start + CHUNK).min(rows))
}
