//! Held-out pairs, to be matched by retrieval.

use std::collections::BTreeMap;

use crate::cache::Key;
use crate::device::DeviceError;
use crate::pairs::{Distinct, Paired, Side, pair};
use crate::space::Space;
use crate::stop::{GoOn, Stop};

use super::folds::within_folds;
use super::retrieval::{Embedded, Ranking, Retrieval, both_ways};

/// Distinct items of two towers and their matches, on which retrieval is measured.
pub struct HeldOut {
    /// Indices of the towers.
    pub towers: [usize; 2],
    /// The items.
    pub sides: [Distinct; 2],
    /// Indices of the items that belong together; any number of matches on either side.
    pub matches: Vec<(usize, usize)>,
    /// The content keys of the pairs, row by row.
    pub keys: Vec<(Key, Key)>,
    /// Rows with an item that has no latent; such a row counts on neither side.
    pub dropped: usize,
    /// The digest of these pairs.
    pub digest: String,
}

impl HeldOut {
    /// The items of two columns of a file.
    pub fn new(towers: [usize; 2], sides: [Side; 2]) -> Self {
        let Paired { latents: [first, second], keys, rows, dropped, digest } = pair(sides);
        let side = |latents, keys: Vec<Key>| {
            let mut side = Side { keys: keys.into_iter().map(Some).collect(), latents }.distinct();
            side.rows.iter_mut().for_each(|row| *row = rows[*row]);
            side
        };
        let sides = [
            side(first, keys.iter().map(|(key, _)| *key).collect()),
            side(second, keys.iter().map(|(_, key)| *key).collect()),
        ];
        let mut matches: Vec<(usize, usize)> =
            keys.iter().map(|(a, b)| (sides[0].index[a], sides[1].index[b])).collect();
        matches.sort_unstable();
        matches.dedup();
        Self { towers, sides, matches, keys, dropped, digest }
    }

    /// The embeddings of both sides' items; none if it is not to go on, by the items that are done.
    pub fn embed(&self, space: &Space, go_on: GoOn<'_>) -> Result<Option<[Vec<f32>; 2]>, DeviceError> {
        let mut both = [Vec::new(), Vec::new()];
        let (mut done, total) = (0, self.sides.iter().map(|side| side.latents.len()).sum());
        for (all, (&tower, side)) in both.iter_mut().zip(self.towers.iter().zip(&self.sides)) {
            let embedded = space.embed_chunks(tower, &*side.latents, &mut |chunk| {
                all.extend_from_slice(chunk);
                done += chunk.len() / space.width();
                if go_on(done, total) { Ok(()) } else { Err(Ended::Stopped) }
            });
            match embedded {
                Ok(()) => {}
                Err(Ended::Stopped) => return Ok(None),
                Err(Ended::Device(error)) => return Err(error),
            }
        }
        Ok(Some(both))
    }

    /// The retrieval between the two sides; none if `stop` asks.
    pub fn retrieval(&self, space: &Space, stop: &Stop) -> Result<Option<[Retrieval; 2]>, DeviceError> {
        Ok(self.rankings(space, stop)?.map(|both| both.each_ref().map(Ranking::retrieval)))
    }

    /// The ranks at which either side finds the other; none if `stop` asks.
    pub fn rankings(&self, space: &Space, stop: &Stop) -> Result<Option<[Ranking; 2]>, DeviceError> {
        let Some(embeddings) = self.embed(space, &stop.go_on())? else { return Ok(None) };
        let embeddings = (embeddings.each_ref().map(Vec::as_slice), space.width());
        Ok(self.rankings_of(space, embeddings, 1, &stop.go_on()))
    }

    /// Those by embeddings of either side, `items x width`, within each of `folds` parts; none
    /// if it is not to go on.
    pub fn rankings_of(
        &self,
        space: &Space,
        (embeddings, width): ([&[f32]; 2], usize),
        folds: usize,
        go_on: GoOn<'_>,
    ) -> Option<[Ranking; 2]> {
        let names: Vec<&str> = space.towers().map(|tower| tower.name.as_str()).collect();
        let sides =
            [0, 1].map(|side| Embedded { tower: names[self.towers[side]], embeddings: embeddings[side], width });
        match folds {
            1 => both_ways(sides[0], sides[1], &self.matches, go_on),
            folds => within_folds(sides, &self.matches, folds, go_on),
        }
    }

    /// Items of the side that has fewer.
    pub fn fewer(&self) -> usize {
        self.sides.iter().map(|side| side.latents.len()).min().unwrap_or(0)
    }

    /// Of each side's items the number of its cluster, and the number of clusters: items that matches join.
    pub fn clusters(&self) -> ([Vec<usize>; 2], usize) {
        let sizes = self.sides.each_ref().map(|side| side.latents.len());
        let mut parents: Vec<usize> = (0..sizes[0] + sizes[1]).collect();
        for &(x, y) in &self.matches {
            let (x, y) = (root(&mut parents, x), root(&mut parents, sizes[0] + y));
            parents[x.max(y)] = x.min(y);
        }
        let mut numbers = BTreeMap::new();
        let mut of = |item: usize| {
            let next = numbers.len();
            *numbers.entry(root(&mut parents, item)).or_insert(next)
        };
        let first = (0..sizes[0]).map(&mut of).collect();
        let second = (sizes[0]..sizes[0] + sizes[1]).map(&mut of).collect();
        ([first, second], numbers.len())
    }
}

/// The least item that is joined with this one.
pub(crate) fn root(parents: &mut [usize], item: usize) -> usize {
    let mut at = item;
    while parents[at] != at {
        parents[at] = parents[parents[at]];
        at = parents[at];
    }
    at
}

/// The retrieval of several pair sets; none if `stop` asks.
pub fn retrieval_of(sets: &[HeldOut], space: &Space, stop: &Stop) -> Result<Option<Vec<Retrieval>>, DeviceError> {
    let mut found = Vec::with_capacity(2 * sets.len());
    for pairs in sets {
        let Some(both) = pairs.retrieval(space, stop)? else { return Ok(None) };
        found.extend(both);
    }
    Ok(Some(found))
}

/// The early end of an embedding.
enum Ended {
    Stopped,
    Device(DeviceError),
}

impl From<DeviceError> for Ended {
    fn from(error: DeviceError) -> Self {
        Self::Device(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pairs::tests::{side, values};

    #[test]
    fn equal_items_are_one_with_several_matches() {
        let held_out = HeldOut::new([0, 1], [side(&[1, 1, 2, 0, 1]), side(&[1, 2, 3, 4, 1])]);
        let [first, second] = &held_out.sides;
        assert_eq!((values(&*first.latents), &first.rows[..]), (vec![0.0, 20.0], &[0, 2][..]));
        assert_eq!((values(&*second.latents), &second.rows[..]), (vec![0.0, 10.0, 20.0], &[0, 1, 2][..]));
        // A row whose other item has no latent counts on neither side, and rows are those of the file.
        let holes = HeldOut::new([0, 1], [side(&[0, 1, 2]), side(&[1, 2, 3])]);
        assert_eq!(holes.sides.each_ref().map(|side| side.rows.clone()), [vec![1, 2], vec![1, 2]]);
        assert_eq!((holes.dropped, values(&*holes.sides[1].latents)), (1, vec![10.0, 20.0]));
        assert_eq!(held_out.matches, [(0, 0), (0, 1), (1, 2)]);
        assert_eq!(held_out.clusters(), ([vec![0, 1], vec![0, 0, 1]], 2));
    }
}
