//! Fits into a space that exists: towers are brought, one after the other, to the embeddings of towers that are there.

use faer::Mat;

use super::coordinates::{Coordinates, chunks, doubles};
use super::problem::copied;
use super::{FitError, PairSet, Problem};
use crate::space::{Input, Map, Projection};

/// The pairs of a tower with towers that are in the space: the set, the tower's side, and the other's map.
pub(super) type Anchored<'a> = (&'a PairSet, usize, &'a Projection);

/// The map of all towers, where `bring` makes that of one from its pairs with towers that are there.
pub(super) fn onto(
    problem: &Problem<'_>,
    mut bring: impl FnMut(usize, &[Anchored<'_>]) -> Result<Projection, FitError>,
) -> Result<Map, FitError> {
    let towers = problem.towers;
    let mut fixed = towers.iter().zip(problem.fixed).filter_map(|(tower, fixed)| fixed.then_some(tower));
    if let Some(first) = fixed.next()
        && let Some(second) = fixed.find(|second| second.width != first.width)
    {
        let (width, other) = (first.width, second.width);
        return Err(FitError::Widths { first: first.name.clone(), second: second.name.clone(), width, other });
    }
    let identity = |width| Projection { input: Input::plain(width), kernel: None, head: None };
    let mut maps: Vec<Option<Projection>> =
        towers.iter().zip(problem.fixed).map(|(tower, fixed)| fixed.then(|| identity(tower.width))).collect();
    while let Some(missing) = maps.iter().position(Option::is_none) {
        problem.go_on()?;
        let pairs_of = |tower: usize| {
            let side = |set: &PairSet| set.towers.iter().position(|&other| other == tower);
            let pairs = problem.sets.iter().filter_map(|set| Some((set, side(set)?)));
            pairs.filter_map(|(set, side)| Some((set, side, maps[set.towers[1 - side]].as_ref()?))).collect::<Vec<_>>()
        };
        let next = (0..maps.len()).find(|&tower| maps[tower].is_none() && !pairs_of(tower).is_empty());
        let next = next.ok_or_else(|| FitError::Unreached { tower: towers[missing].name.clone() })?;
        let map = bring(next, &pairs_of(next))?;
        maps[next] = Some(map);
    }
    Ok(Map::Projections(maps.into_iter().flatten().collect()))
}

/// The least-squares map of whitened coordinates to embeddings: c(x) directions + mean, where directions = C' (T -
/// mean) / n over all pairs of a latent and an embedding T.
pub(super) fn regression(
    problem: &Problem<'_>,
    coordinates: Coordinates,
    anchored: &[Anchored<'_>],
) -> Result<Projection, FitError> {
    let (directions, mean) = products(problem, &coordinates, anchored)?;
    Ok(coordinates.projection(&directions, &mean))
}

/// C' (T - mean) / n, `rank x shared`, and the constant with which the mean of C is brought to that of T.
pub(super) fn products(
    problem: &Problem<'_>,
    coordinates: &Coordinates,
    anchored: &[Anchored<'_>],
) -> Result<(Mat<f64>, Vec<f64>), FitError> {
    let shared = anchored.first().map_or(0, |(_, _, map)| map.width());
    let mut sum = Mat::<f64>::zeros(coordinates.rank(), shared);
    let (mut of_targets, mut of_rows, mut weights) = (vec![0.0; shared], vec![0.0; coordinates.rank()], 0.0);
    for (set, side, map) in anchored {
        // A set counts by its weight, and not by its size, as in the fits between towers.
        let weight = f64::from(set.weight) / set.len() as f64;
        for rows in chunks(set.len()) {
            problem.go_on()?;
            let count = rows.len();
            let own = coordinates.of(&*set.latents[*side], rows.clone());
            let targets = doubles(&map.embed(&copied(&*set.latents[1 - side], rows)), count);
            sum += faer::Scale(weight) * (own.transpose() * &targets);
            let add = |sums: &mut [f64], values: &Mat<f64>| {
                let columns = sums.iter_mut().zip(values.col_iter());
                columns.for_each(|(sum, column)| *sum += weight * column.iter().sum::<f64>());
            };
            add(&mut of_targets, &targets);
            add(&mut of_rows, &own);
        }
        weights += f64::from(set.weight);
    }
    let mean: Vec<f64> = of_targets.iter().map(|sum| sum / weights).collect();
    let directions = Mat::from_fn(sum.nrows(), shared, |row, column| {
        sum[(row, column)] / weights - of_rows[row] / weights * mean[column]
    });
    let of_means = (0..shared).map(|column| {
        let products = directions.col(column).iter().zip(&of_rows).map(|(value, sum)| value * sum / weights);
        mean[column] - products.sum::<f64>()
    });
    let constant = of_means.collect();
    Ok((directions, constant))
}

/// Rows of a tower's pairs with towers that are there, and the embeddings of their partners.
pub(super) fn rows_with_targets(
    problem: &Problem<'_>,
    anchored: &[Anchored<'_>],
) -> Result<(Vec<f32>, Vec<f32>), FitError> {
    let (mut rows, mut targets) = (Vec::new(), Vec::new());
    for (set, side, map) in anchored {
        for chunk in chunks(set.len()) {
            problem.go_on()?;
            rows.extend(copied(&*set.latents[*side], chunk.clone()));
            targets.extend(map.embed(&copied(&*set.latents[1 - side], chunk)));
        }
    }
    Ok((rows, targets))
}
