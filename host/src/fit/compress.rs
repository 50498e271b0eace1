//! A smaller form of a space with kernels: items are compared with fewer anchors, and the rest is made up for by least
//! squares.
//!
//! Of a tower with n anchors and the outputs y = k W' + b before they are scaled to length 1, m anchors are kept. Their
//! weights are those with the least squared error over all n anchors, which are training items: with Kc, the
//! similarities `n x m` less their means, and Yc likewise, (Kc' Kc + ridge)^-1 Kc' Yc.

use faer::Side;
use faer::linalg::solvers::Solve;
use std::collections::HashSet;

use super::FitError;
use super::coordinates::doubles;
use crate::space::{Head, Kernel, Map, Part, Projection, Similarity, Space, product};

/// The ridge, in units of the mean of the diagonal.
const RIDGE: f64 = 1e-3;

/// The space with at most `anchors` anchors a tower; none if no tower has more.
pub(crate) fn compressed(space: &Space, anchors: usize) -> Result<Option<Space>, FitError> {
    let mut any = false;
    let map = of_map(space.map(), anchors, &mut any)?;
    Ok(any.then(|| space.with_map(map)))
}

fn of_map(map: &Map, anchors: usize, any: &mut bool) -> Result<Map, FitError> {
    Ok(match map {
        Map::Network(network) => Map::Network(network.clone()),
        Map::Projections(maps) => {
            Map::Projections(maps.iter().map(|map| of_projection(map, anchors, any)).collect::<Result<_, _>>()?)
        }
        Map::Joint(parts) => {
            let part = |part: &Part| Ok(Part { weight: part.weight, map: of_map(&part.map, anchors, any)? });
            Map::Joint(parts.iter().map(part).collect::<Result<_, FitError>>()?)
        }
    })
}

fn of_projection(map: &Projection, anchors: usize, any: &mut bool) -> Result<Projection, FitError> {
    let (n, width) = (map.features(), map.input.mean.len());
    let (Some(kernel), Some(head)) = (&map.kernel, &map.head) else { return Ok(map.clone()) };
    if !matches!(kernel.similarity, Similarity::Exponential { .. }) || n <= anchors {
        return Ok(map.clone());
    }
    *any = true;
    let row = |at: usize| &kernel.anchors[at * width..(at + 1) * width];
    let mut seen = HashSet::new();
    let distinct: Vec<usize> =
        (0..n).filter(|&at| seen.insert(bytemuck::cast_slice::<f32, u8>(row(at)).to_vec())).collect();
    let anchors = anchors.min(distinct.len());
    let chosen: Vec<f32> = (0..anchors).flat_map(|at| row(distinct[at * distinct.len() / anchors])).copied().collect();
    let kept = Kernel { anchors: chosen, similarity: kernel.similarity };
    let mut similar = doubles(&kept.of(&kernel.anchors, width), n);
    let mut wanted = doubles(&product(&kernel.of(&kernel.anchors, width), &head.weight, n), n);
    let centred = |matrix: &mut faer::Mat<f64>| -> Vec<f64> {
        let mean = |column: faer::ColMut<'_, f64>| {
            let mean = column.as_ref().iter().sum::<f64>() / n as f64;
            column.iter_mut().for_each(|value| *value -= mean);
            mean
        };
        matrix.col_iter_mut().map(mean).collect()
    };
    let (means, of_wanted) = (centred(&mut similar), centred(&mut wanted));
    let mut square = similar.transpose() * &similar;
    let ridge = RIDGE * (0..anchors).map(|at| square[(at, at)]).sum::<f64>() / anchors as f64;
    (0..anchors).for_each(|at| square[(at, at)] += ridge);
    let factor = square
        .llt(Side::Lower)
        .map_err(|error| FitError::Eigen { tower: "compressed".to_owned(), reason: format!("{error:?}") })?;
    let weights = factor.solve(similar.transpose() * &wanted);
    let bias = of_wanted.iter().zip(&head.bias).enumerate().map(|(column, (mean, bias))| {
        let of_means: f64 = weights.col(column).iter().zip(&means).map(|(weight, mean)| weight * mean).sum();
        (mean - of_means) as f32 + bias
    });
    let bias = bias.collect();
    let weight = weights.col_iter().flat_map(|column| column.iter().map(|value| *value as f32).collect::<Vec<_>>());
    Ok(Projection { input: map.input.clone(), kernel: Some(kept), head: Some(Head { weight: weight.collect(), bias }) })
}
