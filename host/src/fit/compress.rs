//! A smaller form of a space with kernels: items are compared with fewer anchors, and the rest is made up for by least
//! squares.
//!
//! Of a tower with n anchors and the outputs y = k W' + b before they are scaled to length 1, m anchors are kept. Their
//! weights are those with the least squared error over all n anchors, which are training items: with Kc, the
//! similarities `n x m` less their means, and Yc likewise, (Kc' Kc + ridge)^-1 Kc' Yc.

use faer::linalg::solvers::Solve;
use faer::{Mat, Side};
use std::collections::HashSet;
use std::sync::Arc;

use super::FitError;
use super::coordinates::doubles;
use crate::space::{Head, Kernel, Map, Part, Projection, Similarity, Space, product};

/// The ridge, in units of the mean of the diagonal.
const RIDGE: f64 = 1e-3;
/// Anchors whose similarities to all are in memory at once.
const ROWS: usize = 512;

/// The space with at most `anchors` anchors a tower; none if no tower has more.
pub(crate) fn compressed(space: &Space, anchors: usize) -> Result<Option<Space>, FitError> {
    let mut any = false;
    let map = of_map(space.map(), anchors, &mut any)?;
    Ok(any.then(|| space.with_map(map)))
}

fn of_map(map: &Map, anchors: usize, any: &mut bool) -> Result<Map, FitError> {
    Ok(match map {
        Map::Network(network) => {
            let mut smaller = false;
            let fronts = of_projections(&network.fronts, anchors, &mut smaller)?;
            *any |= smaller;
            // Adapters that began from a closed form go on behind a smaller one.
            if smaller { Map::Network(Arc::new(network.with_fronts(fronts)?)) } else { Map::Network(network.clone()) }
        }
        Map::Projections(maps) => Map::Projections(of_projections(maps, anchors, any)?),
        Map::Joint(parts) => {
            let part = |part: &Part| Ok(Part { weight: part.weight, map: of_map(&part.map, anchors, any)? });
            Map::Joint(parts.iter().map(part).collect::<Result<_, FitError>>()?)
        }
    })
}

fn of_projections(maps: &[Projection], anchors: usize, any: &mut bool) -> Result<Vec<Projection>, FitError> {
    maps.iter().map(|map| of_projection(map, anchors, any)).collect()
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
        (0..n).filter(|&at| seen.insert(blake3::hash(bytemuck::cast_slice::<f32, u8>(row(at))))).collect();
    let anchors = anchors.min(distinct.len());
    let chosen: Vec<f32> = (0..anchors).flat_map(|at| row(distinct[at * distinct.len() / anchors])).copied().collect();
    let kept = Kernel { anchors: chosen, similarity: kernel.similarity };
    let shared = head.bias.len();
    let (mut square, mut cross) = (Mat::<f64>::zeros(anchors, anchors), Mat::<f64>::zeros(anchors, shared));
    let (mut means, mut of_wanted) = (vec![0.0; anchors], vec![0.0; shared]);
    let add = |means: &mut [f64], values: &Mat<f64>| {
        let columns = means.iter_mut().zip(values.col_iter());
        columns.for_each(|(mean, column)| *mean += column.iter().sum::<f64>() / n as f64);
    };
    for rows in kernel.anchors.chunks(ROWS * width) {
        let count = rows.len() / width;
        let similar = doubles(&kept.of(rows, width), count);
        let wanted = doubles(&product(&kernel.of(rows, width), &head.weight, n), count);
        square += similar.transpose() * &similar;
        cross += similar.transpose() * &wanted;
        add(&mut means, &similar);
        add(&mut of_wanted, &wanted);
    }
    // Less the means: sums of products of centred columns.
    let less = |sums: &mut Mat<f64>, others: &[f64]| {
        for (column, other) in others.iter().enumerate() {
            let values = sums.col_mut(column).iter_mut().zip(&means);
            values.for_each(|(value, mean)| *value -= n as f64 * mean * other);
        }
    };
    less(&mut square, &means);
    less(&mut cross, &of_wanted);
    let ridge = RIDGE * (0..anchors).map(|at| square[(at, at)]).sum::<f64>() / anchors as f64;
    (0..anchors).for_each(|at| square[(at, at)] += ridge);
    let factor = square
        .llt(Side::Lower)
        .map_err(|error| FitError::Eigen { tower: "compressed".to_owned(), reason: format!("{error:?}") })?;
    let weights = factor.solve(cross);
    let bias = of_wanted.iter().zip(&head.bias).enumerate().map(|(column, (mean, bias))| {
        let of_means: f64 = weights.col(column).iter().zip(&means).map(|(weight, mean)| weight * mean).sum();
        (mean - of_means) as f32 + bias
    });
    let bias = bias.collect();
    let weight = weights.col_iter().flat_map(|column| column.iter().map(|value| *value as f32).collect::<Vec<_>>());
    Ok(Projection { input: map.input.clone(), kernel: Some(kept), head: Some(Head { weight: weight.collect(), bias }) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Cpu;
    use crate::fit::fusemix::{Extras, Start, TrainOptions, Trainer};
    use crate::fit::kernel_cca::KernelCcaOptions;
    use crate::fit::{ClosedForm, PairSet, Problem};
    use crate::latents::{Dense, Latents};
    use crate::nn::AdapterKind;
    use crate::space::{Inlet, TowerSpec};

    /// Two views of the same four hidden numbers.
    fn view(rows: usize, width: usize) -> Arc<dyn Latents> {
        let hidden = |row: usize, at: usize| ((row * 7919 + at * 104_729) % 997) as f32 / 997.0 - 0.5;
        let value = |row: usize, column: usize| -> f32 {
            (0..4).map(|at| hidden(row, at) * (((column * 31 + at * 17 + width) % 13) as f32 - 6.0)).sum()
        };
        Arc::new(Dense::new((0..rows * width).map(|at| value(at / width, at % width)).collect(), width))
    }

    /// Of more training items than a block has rows, with and without adapters behind the closed form.
    #[test]
    fn embeddings_stay_nearly_where_they_were() {
        let (rows, widths) = (2 * ROWS + 100, [8, 7]);
        let sets =
            [PairSet { towers: [0, 1], latents: widths.map(|width| view(rows, width)), weight: 1.0, items: None }];
        let towers = [("left", 8), ("right", 7)].map(|(name, width)| Inlet { name: name.to_owned(), width });
        let problem = Problem { towers: &towers, fixed: &[false; 2], sets: &sets, stop: &|| false };
        let closed = ClosedForm::KernelCca(KernelCcaOptions::default().resolve().unwrap());
        let closed = Space::new(towers.to_vec(), closed.map(&problem).unwrap());
        let begun = Start::KernelCca.begin(&problem, 64).unwrap().unwrap();
        let spec = |inlet: &Inlet| TowerSpec {
            name: inlet.name.clone(),
            width: inlet.width,
            adapter: AdapterKind::Mlp,
            blocks: None,
        };
        let options = TrainOptions { start: Some(Start::KernelCca), ..Default::default() };
        let (specs, extras) =
            (towers.iter().map(spec).collect(), Extras { begun: Some(begun.see(&problem).unwrap()), unpaired: None });
        let trained =
            Trainer::begin(Arc::new(Cpu::default()), specs, sets.to_vec(), &options, 0, &extras).unwrap().space();
        for space in [closed, trained] {
            let small = compressed(&space, 200).unwrap().unwrap();
            for (tower, width) in widths.into_iter().enumerate() {
                let latents = view(300, width);
                let [before, after] = [&space, &small].map(|space| space.embed(tower, &*latents).unwrap());
                let cosines = before.chunks(space.width()).zip(after.chunks(space.width()));
                let mean: f32 = cosines.map(|(x, y)| x.iter().zip(y).map(|(x, y)| x * y).sum::<f32>()).sum();
                assert!(mean / 300.0 > 0.98, "tower {tower}: {}", mean / 300.0);
            }
            assert!(compressed(&small, 200).unwrap().is_none(), "there is nothing left to make smaller");
        }
    }
}
