//! Folds of pairs: parts that are held out in turn, without an item that is trained on.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use std::collections::HashMap;
use std::sync::Arc;

use crate::cache::Key;
use crate::eval::{HeldOut, root};
use crate::fit::{PairSet, Problem};
use crate::latents::Selected;
use crate::pairs::Side;

/// The pairs of a problem, cut into parts.
pub(super) struct Folds<'a> {
    problem: &'a Problem<'a>,
    /// Of each set, the content of either side's items.
    keys: Vec<[Vec<Key>; 2]>,
    /// Of each set, the part of each pair.
    parts: Vec<Vec<usize>>,
    pub(super) count: usize,
}

/// A part held out, and the rest to train on.
pub(super) struct Fold {
    pub(super) train: Vec<PairSet>,
    pub(super) held_out: Vec<HeldOut>,
}

/// The most pairs of a set that a fold holds out; of more, some are left out.
const HELD: usize = 1000;

impl<'a> Folds<'a> {
    /// `count` parts of about the same size. Pairs that have an item in common, directly or through others, go into one
    /// part; where nearly all have, those with the first item in common.
    pub(super) fn new(problem: &'a Problem<'a>, count: usize, seed: u64) -> Self {
        let keys: Vec<[Vec<Key>; 2]> = problem.sets.iter().map(keys).collect();
        let ends = |set: &PairSet| set.towers;
        let clusters = clusters(&keys, |set, row| {
            let [i, j] = ends(&problem.sets[set]);
            vec![(i, keys[set][0][row]), (j, keys[set][1][row])]
        });
        let pairs: usize = problem.sets.iter().map(PairSet::len).sum();
        let mut parts = cut(&clusters, count, seed);
        let largest = (0..count).map(|part| parts.iter().flatten().filter(|of| **of == part).count()).max();
        if largest.unwrap_or(0) > 2 * pairs.div_ceil(count) {
            let by_first = self::clusters(&keys, |set, row| vec![(ends(&problem.sets[set])[0], keys[set][0][row])]);
            parts = cut(&by_first, count, seed);
        }
        Self { problem, keys, parts, count }
    }

    /// The fold that holds out part `part`, with at most `most` pairs to train on in all; none if a set has too few
    /// pairs on either side.
    pub(super) fn fold(&self, part: usize, most: usize) -> Option<Fold> {
        let (mut train, mut held_out) = (Vec::new(), Vec::new());
        let pairs: usize = self.problem.sets.iter().map(PairSet::len).sum();
        for (number, set) in self.problem.sets.iter().enumerate() {
            let of = |held: bool| -> Vec<usize> {
                (0..set.len()).filter(|row| (self.parts[number][*row] == part) == held).collect()
            };
            let (rest, held) = (of(false), of(true));
            let held: Vec<usize> = held.iter().copied().step_by(held.len().div_ceil(HELD).max(1)).collect();
            let share = (most as f64 / pairs.max(1) as f64).min(1.0);
            let kept = ((rest.len() as f64 * share) as usize).max(4).min(rest.len());
            let rest: Vec<usize> = (0..kept).map(|at| rest[at * rest.len() / kept]).collect();
            if rest.len() < 4 {
                return None;
            }
            let latents = set.latents.each_ref().map(|latents| -> Arc<dyn crate::latents::Latents> {
                Arc::new(Selected::new(latents.clone(), rest.clone()))
            });
            let of_rest = |numbers: &Arc<[u32]>| -> Arc<[u32]> { rest.iter().map(|&row| numbers[row]).collect() };
            let items = set.items.as_ref().map(|items| items.each_ref().map(of_rest));
            train.push(PairSet { latents, items, ..set.clone() });
            if held.len() < 2 {
                // Other sets may have more.
                continue;
            }
            let side = |side: usize| Side {
                keys: held.iter().map(|row| Some(self.keys[number][side][*row])).collect(),
                latents: Box::new(Selected::new(set.latents[side].clone(), held.clone())),
            };
            held_out.push(HeldOut::new(set.towers, [side(0), side(1)]));
        }
        (!held_out.is_empty()).then_some(Fold { train, held_out })
    }
}

/// The content of either side's items.
fn keys(set: &PairSet) -> [Vec<Key>; 2] {
    set.latents.each_ref().map(|latents| {
        let key = |row: usize| {
            let mut values = vec![0.0; latents.width()];
            latents.copy_row(row, &mut values);
            Key(blake3::hash(bytemuck::cast_slice(&values)).into())
        };
        (0..latents.len()).into_par_iter().with_min_len(64).map(key).collect()
    })
}

/// Of each set's pairs, the cluster: what items join.
fn clusters(keys: &[[Vec<Key>; 2]], items: impl Fn(usize, usize) -> Vec<(usize, Key)>) -> Vec<Vec<usize>> {
    let total: usize = keys.iter().map(|[first, _]| first.len()).sum();
    let mut parents: Vec<usize> = (0..total).collect();
    let mut first_with: HashMap<(usize, Key), usize> = HashMap::new();
    let mut pair = 0;
    for (set, [first, _]) in keys.iter().enumerate() {
        for row in 0..first.len() {
            for item in items(set, row) {
                let other = *first_with.entry(item).or_insert(pair);
                let (a, b) = (root(&mut parents, pair), root(&mut parents, other));
                parents[a.max(b)] = a.min(b);
            }
            pair += 1;
        }
    }
    let mut pair = 0..total;
    let of = |[first, _]: &[Vec<Key>; 2]| first.iter().map(|_| root(&mut parents, pair.next().unwrap_or(0))).collect();
    keys.iter().map(of).collect()
}

/// The part of each pair: clusters in random order, each to the part with the fewest pairs.
fn cut(clusters: &[Vec<usize>], count: usize, seed: u64) -> Vec<Vec<usize>> {
    let mut sizes: HashMap<usize, usize> = HashMap::new();
    clusters.iter().flatten().for_each(|cluster| *sizes.entry(*cluster).or_default() += 1);
    let mut order: Vec<usize> = sizes.keys().copied().collect();
    order.sort_unstable();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    // The largest first, so that parts end up even.
    order.sort_by_key(|cluster| std::cmp::Reverse(sizes[cluster]));
    let mut filled = vec![0; count];
    let mut part_of = HashMap::new();
    for cluster in order {
        let part = (0..count).min_by_key(|&part| filled[part]).unwrap_or(0);
        filled[part] += sizes[&cluster];
        part_of.insert(cluster, part);
    }
    clusters.iter().map(|set| set.iter().map(|cluster| part_of[cluster]).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latents::{Dense, Latents};
    use crate::space::Inlet;

    fn set(first: &[f32], second: &[f32]) -> PairSet {
        let side = |values: &[f32]| -> Arc<dyn Latents> { Arc::new(Dense::new(values.to_vec(), 1)) };
        PairSet { towers: [0, 1], latents: [side(first), side(second)], weight: 1.0, items: None }
    }

    fn values(latents: &dyn Latents) -> Vec<f32> {
        crate::fit::problem::copied(latents, 0..latents.len())
    }

    fn folds_of(sets: &[PairSet], check: impl Fn(usize, &Fold)) {
        let towers = ["a", "b"].map(|name| Inlet { name: name.to_owned(), width: 1 });
        let problem = Problem { towers: &towers, fixed: &[false; 2], sets, stop: &|| false };
        let folds = Folds::new(&problem, 5, 7);
        for part in 0..5 {
            check(part, &folds.fold(part, usize::MAX).unwrap());
        }
        assert_eq!(folds.fold(0, 20).unwrap().train[0].len(), 16);
    }

    #[test]
    fn each_pair_is_held_out_once_and_no_item_is_on_both_sides() {
        // Fifty pictures with two captions each, of which one says the same as one of the next picture.
        let pictures: Vec<f32> = (0..100_u8).map(|row| f32::from(row / 2)).collect();
        let captions: Vec<f32> = (0..100_u8).map(|row| f32::from(if row % 20 == 2 { row - 1 } else { row })).collect();
        let held = std::cell::RefCell::new(Vec::new());
        folds_of(&[set(&pictures, &captions)], |_, fold| {
            for side in 0..2 {
                let trained = values(&*fold.train[0].latents[side]);
                assert!(values(&*fold.held_out[0].sides[side].latents).iter().all(|item| !trained.contains(item)));
            }
            assert!((15..=25).contains(&fold.held_out[0].keys.len()));
            held.borrow_mut().extend(fold.held_out[0].keys.clone());
        });
        assert_eq!(held.borrow().len(), 100);
    }

    #[test]
    fn where_captions_join_all_pictures_are_kept_apart() {
        let pictures: Vec<f32> = (0..100_u8).map(|row| f32::from(row / 2)).collect();
        let captions: Vec<f32> = (0..100_u8).map(|row| f32::from(row.div_ceil(2) % 3)).collect();
        folds_of(&[set(&pictures, &captions)], |_, fold| {
            let trained = values(&*fold.train[0].latents[0]);
            assert!(values(&*fold.held_out[0].sides[0].latents).iter().all(|item| !trained.contains(item)));
        });
    }
}
