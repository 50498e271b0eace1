//! `seen.safetensors`: what a run was trained on, by content, to tell held-out pairs from others.
//!
//! For each tower there is `item TOWER`, and for each two towers that were tied together `pair TOWER TOWER`: sorted
//! digests, 8 bytes each.

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use crate::cache::Key;
use crate::regular;
use crate::whole_file;

/// The largest file: 4 billion items.
const LARGEST: u64 = 32 << 30;

/// The items and pairs of a training.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen(BTreeMap<String, Vec<u64>>);

/// The part of some pairs that a training has seen.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Overlap {
    /// The two towers.
    pub towers: [String; 2],
    /// Distinct pairs that were trained on.
    pub pairs: usize,
    /// All distinct pairs.
    pub all_pairs: usize,
    /// Distinct items of each tower that were trained on, in whatever pair.
    pub items: [usize; 2],
    /// All distinct items of each tower.
    pub all_items: [usize; 2],
    /// The first row of these pairs that was trained on, from 1; or else the first one with such an item.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub row: Option<usize>,
    /// The file and the row that it was trained on, where they are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trained: Option<(PathBuf, usize)>,
}

impl Overlap {
    /// True if the training has seen none of them.
    pub fn is_nothing(&self) -> bool {
        self.pairs == 0 && self.items == [0, 0]
    }
}

impl Seen {
    /// Adds the pairs of two towers.
    pub fn add(&mut self, towers: [&str; 2], pairs: impl IntoIterator<Item = (Key, Key)>) {
        let (mut both, mut of_pairs) = ([Vec::new(), Vec::new()], Vec::new());
        for (first, second) in pairs {
            both[0].push(item(&first));
            both[1].push(item(&second));
            of_pairs.push(pair(&first, &second));
        }
        for (tower, items) in towers.iter().zip(both) {
            self.insert(items_of(tower), items);
        }
        self.insert(pairs_of(towers), of_pairs);
    }

    /// Adds items of a tower that belong to no pair.
    pub fn add_items(&mut self, tower: &str, items: impl IntoIterator<Item = Key>) {
        self.insert(items_of(tower), items.into_iter().map(|key| item(&key)).collect());
    }

    fn insert(&mut self, name: String, digests: Vec<u64>) {
        let all = self.0.entry(name).or_default();
        all.extend(digests);
        all.sort_unstable();
        all.dedup();
    }

    /// The part of the pairs of two towers that is in here.
    pub fn shared(&self, towers: [&str; 2], pairs: &[(Key, Key)]) -> Overlap {
        let count = |name: String, digests: HashSet<u64>| {
            let seen = self.0.get(&name).map_or(&[][..], Vec::as_slice);
            (digests.iter().filter(|digest| seen.binary_search(digest).is_ok()).count(), digests.len())
        };
        let first = count(items_of(towers[0]), pairs.iter().map(|(first, _)| item(first)).collect());
        let second = count(items_of(towers[1]), pairs.iter().map(|(_, second)| item(second)).collect());
        let (shared, all_pairs) =
            count(pairs_of(towers), pairs.iter().map(|(first, second)| pair(first, second)).collect());
        Overlap {
            towers: towers.map(str::to_owned),
            pairs: shared,
            all_pairs,
            items: [first.0, second.0],
            all_items: [first.1, second.1],
            row: None,
            trained: None,
        }
    }

    /// The first of the pairs of two towers that is in here; or else the first of which an item is.
    pub fn first<'a>(&self, towers: [&str; 2], pairs: impl Iterator<Item = &'a (Key, Key)> + Clone) -> Option<usize> {
        let has = |name: String, digest: u64| self.0.get(&name).is_some_and(|seen| seen.binary_search(&digest).is_ok());
        let is_seen = |(first, second): &(Key, Key)| has(pairs_of(towers), pair(first, second));
        let has_seen = |(first, second): &(Key, Key)| {
            has(items_of(towers[0]), item(first)) || has(items_of(towers[1]), item(second))
        };
        pairs.clone().position(is_seen).or_else(|| pairs.clone().position(has_seen))
    }

    /// Writes the file, which appears once it is complete.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let tensor = |(name, digests): (&String, &Vec<u64>)| {
            let bytes: Vec<u8> = digests.iter().flat_map(|digest| digest.to_le_bytes()).collect();
            (name.clone(), digests.len(), bytes)
        };
        let tensors: Vec<(String, usize, Vec<u8>)> = self.0.iter().map(tensor).collect();
        let views: Vec<(&str, TensorView<'_>)> = tensors
            .iter()
            .map(|(name, count, bytes)| Ok((name.as_str(), TensorView::new(Dtype::U64, vec![*count], bytes)?)))
            .collect::<Result<_, safetensors::SafeTensorError>>()
            .map_err(io::Error::other)?;
        let bytes = safetensors::serialize(views, None).map_err(io::Error::other)?;
        whole_file::write(path, &bytes)
    }

    /// Reads the file; none if there is none, as in runs of older versions.
    pub fn load(path: &Path) -> io::Result<Option<Self>> {
        let bytes = match regular::read(path, LARGEST) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes?,
        };
        let tensors = SafeTensors::deserialize(&bytes).map_err(io::Error::other)?;
        let digests = |(name, view): (String, TensorView<'_>)| {
            let digests = view.data().as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
            (name, digests)
        };
        Ok(Some(Self(tensors.tensors().into_iter().map(digests).collect())))
    }
}

fn items_of(tower: &str) -> String {
    format!("item {tower}")
}

fn pairs_of([first, second]: [&str; 2]) -> String {
    format!("pair {first} {second}")
}

fn item(key: &Key) -> u64 {
    u64::from_le_bytes(*key.0.first_chunk().expect("a key has 32 bytes"))
}

fn pair(first: &Key, second: &Key) -> u64 {
    let digest = blake3::Hasher::new().update(&first.0).update(&second.0).finalize();
    item(&Key(digest.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> Key {
        Key(blake3::hash(&[number]).into())
    }

    #[test]
    fn what_was_seen_is_known_again_by_content() {
        let mut seen = Seen::default();
        seen.add(["image", "text"], (0..20).map(|number| (key(number), key(100 + number))));
        seen.add(["image", "text"], [(key(0), key(101)), (key(0), key(101))]);
        seen.add(["audio", "text"], [(key(50), key(100))]);
        let pairs =
            [(key(0), key(100)), (key(0), key(101)), (key(0), key(102)), (key(30), key(103)), (key(30), key(103))];
        let shared = seen.shared(["image", "text"], &pairs);
        assert_eq!((shared.pairs, shared.all_pairs), (2, 4));
        assert_eq!((shared.items, shared.all_items), ([1, 4], [2, 4]));
        assert!(!shared.is_nothing());
        let first = |pairs: &[(Key, Key)]| seen.first(["image", "text"], pairs.iter());
        assert_eq!((first(&pairs[2..]), first(&pairs[3..]), first(&pairs)), (Some(0), Some(0), Some(0)));
        assert_eq!(first(&[(key(200), key(201)), (key(0), key(201)), (key(0), key(100))]), Some(2));
        assert_eq!(first(&[(key(200), key(201))]), None);
        assert!(seen.shared(["image", "text"], &[(key(200), key(201))]).is_nothing());
        assert_eq!(seen.shared(["audio", "image"], &[(key(50), key(3))]).items, [1, 1]);

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seen.safetensors");
        assert_eq!(Seen::load(&path).unwrap(), None);
        seen.save(&path).unwrap();
        assert_eq!(Seen::load(&path).unwrap(), Some(seen));
        std::fs::write(&path, "damaged").unwrap();
        assert!(Seen::load(&path).is_err());
    }
}
