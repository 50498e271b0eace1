//! Pairs from two columns of a file.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use crate::cache::Key;
use crate::latents::{Latents, Selected};

/// One tower's items in one file.
pub struct Side {
    /// The content key of each row's item; `None` if the item has no latent.
    pub keys: Vec<Option<Key>>,
    /// The latents of the rows that have one, in file order.
    pub latents: Box<dyn Latents>,
}

/// The pairs of a file: the rows with a latent on either side.
pub struct Paired {
    /// Their latents.
    pub latents: [Box<dyn Latents>; 2],
    /// The content keys of both items.
    pub keys: Vec<(Key, Key)>,
    /// Their rows in the file, from 0.
    pub rows: Vec<usize>,
    /// Rows that were left out.
    pub dropped: usize,
    /// The digest of these pairs in this order.
    pub digest: String,
}

impl Paired {
    /// Some of them, by their places in order.
    pub fn only(self, places: &[usize]) -> Self {
        let keys: Vec<(Key, Key)> = places.iter().map(|at| self.keys[*at]).collect();
        let some = |latents: Box<dyn Latents>| {
            Box::new(Selected::new(Arc::from(latents), places.to_vec())) as Box<dyn Latents>
        };
        Self {
            latents: self.latents.map(some),
            rows: places.iter().map(|at| self.rows[*at]).collect(),
            digest: digest_of_pairs(&keys),
            keys,
            ..self
        }
    }

    /// The items of either side by number: rows of the same number are of the same item.
    pub fn items(&self) -> [Arc<[u32]>; 2] {
        [numbers(self.keys.iter().map(|(first, _)| first)), numbers(self.keys.iter().map(|(_, second)| second))]
    }
}

/// A number for each key; equal ones have the same.
pub(crate) fn numbers<K: Eq + Hash>(keys: impl IntoIterator<Item = K>) -> Arc<[u32]> {
    let mut known = HashMap::new();
    let keys = keys.into_iter().map(|key| {
        let next = known.len() as u32;
        *known.entry(key).or_insert(next)
    });
    keys.collect()
}

/// The distinct items of a side, in the order of their first rows.
pub struct Distinct {
    /// Their latents.
    pub latents: Box<dyn Latents>,
    /// The first row of each, from 0.
    pub rows: Vec<usize>,
    /// The place of each among them.
    pub index: HashMap<Key, usize>,
}

impl Side {
    /// The side where these items have no latent.
    pub fn without(mut self, items: &HashSet<Key>) -> Self {
        let present: Vec<Key> = self.keys.iter().flatten().copied().collect();
        let kept: Vec<usize> = (0..present.len()).filter(|at| !items.contains(&present[*at])).collect();
        if kept.len() == present.len() {
            return self;
        }
        self.keys.iter_mut().for_each(|key| *key = key.filter(|key| !items.contains(key)));
        Self { keys: self.keys, latents: Box::new(Selected::new(Arc::from(self.latents), kept)) }
    }

    /// The side without repeated items.
    pub fn distinct(self) -> Distinct {
        let (mut index, mut rows, mut chosen) = (HashMap::new(), Vec::new(), Vec::new());
        let present = self.keys.into_iter().enumerate().filter_map(|(row, key)| Some((row, key?)));
        for (latent, (row, key)) in present.enumerate() {
            let next = rows.len();
            if *index.entry(key).or_insert(next) == next {
                rows.push(row);
                chosen.push(latent);
            }
        }
        Distinct { latents: Box::new(Selected::new(Arc::from(self.latents), chosen)), rows, index }
    }
}

/// The digest of items in this order.
pub fn digest(keys: &[Option<Key>]) -> String {
    let mut digest = blake3::Hasher::new();
    for key in keys {
        // A row without an item keeps its place.
        digest.update(key.as_ref().map_or(&[0], |key| &key.0[..]));
    }
    digest.finalize().to_hex()[..16].to_owned()
}

/// The digest of pairs in this order.
fn digest_of_pairs(keys: &[(Key, Key)]) -> String {
    let mut digest = blake3::Hasher::new();
    keys.iter().for_each(|(a, b)| _ = digest.update(&a.0).update(&b.0));
    digest.finalize().to_hex()[..16].to_owned()
}

/// Pairs row by row; both sides are columns of one file.
pub fn pair(sides: [Side; 2]) -> Paired {
    let all = sides[0].keys.len();
    let (mut latents, mut chosen) = ([0, 0], [Vec::new(), Vec::new()]);
    let (mut keys, mut rows) = (Vec::new(), Vec::new());
    for (row, (a, b)) in sides[0].keys.iter().zip(&sides[1].keys).enumerate() {
        let present = [a.is_some(), b.is_some()];
        for side in 0..2 {
            if present == [true, true] {
                chosen[side].push(latents[side]);
            }
            latents[side] += usize::from(present[side]);
        }
        if let (Some(a), Some(b)) = (a, b) {
            keys.push((*a, *b));
            rows.push(row);
        }
    }
    let dropped = all - rows.len();
    let [first, second] = sides.map(|side| side.latents);
    let [of_first, of_second] = chosen;
    let latents: [Box<dyn Latents>; 2] =
        [Box::new(Selected::new(first.into(), of_first)), Box::new(Selected::new(second.into(), of_second))];
    Paired { latents, digest: digest_of_pairs(&keys), keys, rows, dropped }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Row i of n rows of one value: 10 i.
    pub(crate) struct Tens(pub(crate) usize);

    impl Latents for Tens {
        fn len(&self) -> usize {
            self.0
        }

        fn width(&self) -> usize {
            1
        }

        fn copy_row(&self, index: usize, out: &mut [f32]) {
            out[0] = 10.0 * index as f32;
        }
    }

    /// A side with these items; 0 has no latent.
    pub(crate) fn side(items: &[u8]) -> Side {
        let keys: Vec<Option<Key>> = items.iter().map(|&item| (item > 0).then_some(Key([item; 32]))).collect();
        let latents = Box::new(Tens(keys.iter().flatten().count()));
        Side { keys, latents }
    }

    pub(crate) fn values(latents: &dyn Latents) -> Vec<f32> {
        let row = |index| {
            let mut out = [0.0];
            latents.copy_row(index, &mut out);
            out[0]
        };
        (0..latents.len()).map(row).collect()
    }

    #[test]
    fn items_can_be_taken_as_if_they_had_no_latent() {
        let without = side(&[1, 0, 2, 3, 2]).without(&HashSet::from([Key([2; 32]), Key([9; 32])]));
        assert_eq!(without.keys, side(&[1, 0, 0, 3, 0]).keys);
        assert_eq!(values(&*without.latents), [0.0, 20.0]);
    }

    #[test]
    fn rows_without_a_latent_leave_no_pair() {
        let Paired { latents: [first, second], dropped, .. } = pair([side(&[1, 0, 2, 3]), side(&[0, 1, 2, 2])]);
        assert_eq!((values(&*first), values(&*second), dropped), (vec![10.0, 20.0], vec![10.0, 20.0], 2));
    }
}
