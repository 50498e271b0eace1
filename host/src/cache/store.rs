//! One encoder's latents on disk.
//!
//! Rows are written and synced first, then the journal says whose they are; the index learns of many at a time. After a
//! crash at any point, every row that index or journal know is whole; what lies behind the last of them is overwritten by
//! the next append.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::index::{Index, Indexed, Numbers, Row};
use super::journal::{self, Journal};
use super::segments::{Mapped, Segments};
use super::{CacheError, Fingerprint, Key, disk};
use crate::bytes::Bytes;
use crate::latents::Latents;
use crate::whole_file;

/// Rows that the journal holds before the index learns of them: with an append beyond, what a map of 2^18 places takes.
const JOURNAL: usize = 200_000;

/// The latents of one fingerprint. One process at a time has it open.
pub struct Store {
    folder: PathBuf,
    index: Index,
    recent: Mutex<Recent>,
}

/// What the index does not know yet.
struct Recent {
    journal: Journal,
    rows: HashMap<Key, Row>,
    /// Of the index, and of these rows.
    numbers: Numbers,
}

/// What is known of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// Its latent is this row, which is whole.
    Row(u64),
    /// It had one, which is not what was stored: it must be encoded again.
    Damaged,
    /// It has none, for this reason.
    Failed(String),
}

/// `entry.json`: whose latents these are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryInfo {
    /// The parts of the fingerprint.
    pub fingerprint: BTreeMap<String, String>,
    /// The names that the encoder had in plugins.toml.
    pub encoders: BTreeSet<String>,
}

/// Sizes of a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Items with a latent.
    pub rows: u64,
    /// Items known to have none.
    pub failures: u64,
    /// Values a row.
    pub width: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Whether all rows, or none, have length 1; none if some have.
    pub normalized: Option<bool>,
}

impl Store {
    /// Opens the store of `fingerprint` in the cache folder, making it if it is not there.
    pub fn open(cache: &Path, fingerprint: &Fingerprint, encoder: &str) -> Result<Self, CacheError> {
        let folder = cache.join(fingerprint.hex());
        fs::create_dir_all(&folder).map_err(|cause| CacheError::io("make", &folder, cause))?;
        let store = Self::at(&folder)?;
        let path = folder.join("entry.json");
        let mut info = read_info(&path)
            .unwrap_or(EntryInfo { fingerprint: fingerprint.parts().clone(), encoders: BTreeSet::new() });
        if store.index.is_writable() && info.encoders.insert(encoder.to_owned()) {
            let json = serde_json::to_string_pretty(&info).expect("a map of strings is JSON") + "\n";
            whole_file::write(&path, json.as_bytes()).map_err(|cause| CacheError::io("write", &path, cause))?;
        }
        Ok(store)
    }

    /// Opens the store in `folder`.
    pub(super) fn at(folder: &Path) -> Result<Self, CacheError> {
        let index = Index::open(folder)?;
        let mut numbers = index.numbers()?;
        let (journal, records) = Journal::open(folder, index.is_writable())?;
        // Those before were put into the index before a crash kept the journal from being cleared; and an index without a
        // width is another one than the journal was written beside.
        let is_new = |(_, row): &(Key, Row)| row.at >= numbers.rows && numbers.width > 0;
        let records: Vec<(Key, Row)> = records.into_iter().filter(is_new).collect();
        if let Some((_, last)) = records.last() {
            numbers.rows = last.at + 1;
            let mapped = Segments::new(folder, numbers.width as usize).map(numbers.rows)?;
            let unit = |(_, row): &&(Key, Row)| mapped.row(row.at).is_some_and(is_unit);
            numbers.unit += records.iter().filter(unit).count() as u64;
        }
        let recent = Recent { journal, rows: records.into_iter().collect(), numbers };
        let store = Self { folder: folder.to_owned(), index, recent: Mutex::new(recent) };
        if store.index.is_writable() {
            store.settle(&[])?;
            store.recent().journal.clear()?;
        }
        Ok(store)
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of each of `keys`; rows are held against their checksums.
    pub fn known(&self, keys: &[Key]) -> Result<Vec<Option<Known>>, CacheError> {
        // First those that the index may learn of meanwhile.
        let newest: Vec<Option<Row>> = {
            let recent = self.recent();
            keys.iter().map(|key| recent.rows.get(key).copied()).collect()
        };
        let indexed = self.index.look_up(keys)?;
        let entries = newest.into_iter().zip(indexed).map(|(row, indexed)| row.map(Indexed::Row).or(indexed));
        let entries: Vec<Option<Indexed>> = entries.collect();
        if entries.iter().all(Option::is_none) {
            return Ok(vec![None; keys.len()]);
        }
        let mapped = self.map(self.numbers())?;
        let known = |entry| match entry {
            Indexed::Row(row) if is_whole(&mapped, row) => Known::Row(row.at),
            Indexed::Row(_) => Known::Damaged,
            Indexed::Failed(reason) => Known::Failed(reason),
        };
        Ok(entries.into_par_iter().with_min_len(16).map(|entry| entry.map(known)).collect())
    }

    fn numbers(&self) -> Numbers {
        self.recent().numbers
    }

    /// Values a row, once there is one.
    pub fn width(&self) -> Option<usize> {
        Some(self.numbers().width as usize).filter(|&width| width > 0)
    }

    /// The row that the next latent gets.
    pub fn next_row(&self) -> u64 {
        self.numbers().rows
    }

    /// Whether so many more rows of `width` values fit on the disk, as far as it tells.
    pub fn check_room(&self, rows: usize, width: usize) -> Result<(), CacheError> {
        let row = width as u64 * size_of::<f32>() as u64 + journal::RECORD as u64;
        let needed = (rows as u64).saturating_mul(row).saturating_add(disk::LEAST);
        match disk::free(&self.folder).filter(|free| *free < needed) {
            Some(free) => {
                let (needed, free) = (Bytes::rounded(needed), Bytes(free >> 20 << 20));
                Err(CacheError::Full { path: self.folder.clone(), needed, free })
            }
            None => Ok(()),
        }
    }

    /// Whether only one answer so far has had the latents' width.
    pub fn is_doubted(&self) -> bool {
        self.numbers().doubted
    }

    /// The next append brings the first latents, and nothing bears their width out yet.
    pub fn doubt(&self) {
        self.recent().numbers.doubted = true;
    }

    /// Another answer has the width of the first.
    pub fn confirm(&self) -> Result<(), CacheError> {
        self.recent().numbers.doubted = false;
        self.settle_all(&[])
    }

    /// Forgets all latents, and their width.
    pub fn clear(&self) -> Result<(), CacheError> {
        let mut recent = self.recent();
        self.index.clear()?;
        (recent.rows, recent.numbers) = Default::default();
        recent.journal.clear()
    }

    /// Stores latents (all of one width) and failures in one durable step: when it returns, they are on disk. No item comes
    /// twice, and none whose row is whole; a latent replaces a failure. Returns the first latent's row; the others follow it.
    /// One thread appends.
    pub fn append(&self, latents: &[(Key, &[f32])], failures: &[(Key, &str)]) -> Result<u64, CacheError> {
        let first = self.next_row();
        let stored = self.width();
        let width = stored.or(latents.first().map(|(_, row)| row.len()));
        if let Some((_, row)) = latents.iter().find(|(_, row)| Some(row.len()) != width) {
            return Err(CacheError::Width { path: self.folder.clone(), stored: width.unwrap_or(0), got: row.len() });
        }
        if let Some(width) = width.filter(|_| !latents.is_empty()) {
            let block: Vec<f32> = latents.iter().flat_map(|(_, row)| row.iter().copied()).collect();
            Segments::new(&self.folder, width).write(first, &block)?;
            let records: Vec<(Key, Row)> =
                (first..).zip(latents).map(|(at, (key, row))| (*key, Row { at, sum: checksum(row) })).collect();
            let mut recent = self.recent();
            // The journal does not tell a width: the index does, from the first row on.
            if stored.is_some() {
                recent.journal.append(&records)?;
            }
            recent.numbers.rows += records.len() as u64;
            recent.numbers.unit += latents.iter().filter(|(_, row)| is_unit(row)).count() as u64;
            recent.numbers.width = width as u64;
            recent.rows.extend(records);
        }
        if !failures.is_empty() || stored.is_none() || self.recent().rows.len() >= JOURNAL {
            self.settle(failures)?;
        }
        Ok(first)
    }

    /// Tells the index what it does not know yet, and `failures`.
    fn settle(&self, failures: &[(Key, &str)]) -> Result<(), CacheError> {
        match self.recent().rows.is_empty() && failures.is_empty() {
            true => Ok(()),
            false => self.settle_all(failures),
        }
    }

    fn settle_all(&self, failures: &[(Key, &str)]) -> Result<(), CacheError> {
        let mut recent = self.recent();
        let mut rows: Vec<(Key, Row)> = recent.rows.iter().map(|(key, row)| (*key, *row)).collect();
        // In the index's own order, pages are written once.
        rows.par_sort_unstable_by_key(|(key, _)| *key);
        self.index.put(&rows, failures, recent.numbers)?;
        recent.rows.clear();
        recent.journal.clear()
    }

    /// The latents in these rows, which must be known, in this order, mapped.
    pub fn latents(&self, rows: Vec<u64>) -> Result<CachedLatents, CacheError> {
        Ok(CachedLatents { mapped: Arc::new(self.map(self.numbers())?), rows })
    }

    /// Holds every row against its checksum; returns the keys of those that differ.
    pub fn verify(&self) -> Result<Vec<Key>, CacheError> {
        let recent = self.recent();
        let mapped = self.map(recent.numbers)?;
        let mut bad = self.index.keys(|row| !is_whole(&mapped, row))?;
        bad.retain(|key| !recent.rows.contains_key(key));
        bad.extend(recent.rows.iter().filter(|(_, row)| !is_whole(&mapped, **row)).map(|(key, _)| *key));
        Ok(bad)
    }

    /// Forgets items, so that the next run encodes them again.
    pub fn forget(&self, keys: &[Key]) -> Result<(), CacheError> {
        self.settle(&[])?;
        self.index.remove(keys)
    }

    /// Sizes.
    pub fn counts(&self) -> Result<Counts, CacheError> {
        let (indexed, failures) = self.index.counts()?;
        let files = fs::read_dir(&self.folder).map_err(|cause| CacheError::io("read", &self.folder, cause))?;
        let bytes = files.filter_map(|file| Some(file.ok()?.metadata().ok()?.len())).sum();
        let recent = self.recent();
        let Numbers { rows, unit, width, .. } = recent.numbers;
        let normalized = match (rows, unit) {
            (0, _) => None,
            (all, unit) if unit == all => Some(true),
            (_, 0) => Some(false),
            _ => None,
        };
        Ok(Counts { rows: indexed + recent.rows.len() as u64, failures, width, bytes, normalized })
    }

    fn map(&self, Numbers { rows, width, .. }: Numbers) -> Result<Mapped, CacheError> {
        Segments::new(&self.folder, width.max(1) as usize).map(rows)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if self.index.is_writable() {
            // What does not come to the index now is in the journal.
            let _ = self.settle(&[]);
        }
    }
}

pub(super) fn read_info(path: &Path) -> Option<EntryInfo> {
    serde_json::from_str(&fs::read_to_string(path).ok()?).ok()
}

fn is_whole(mapped: &Mapped, Row { at, sum }: Row) -> bool {
    mapped.row(at).is_some_and(|values| checksum(values) == sum)
}

fn is_unit(row: &[f32]) -> bool {
    (row.iter().map(|value| f64::from(value * value)).sum::<f64>() - 1.0).abs() < 1e-3
}

fn checksum(row: &[f32]) -> u64 {
    let hash = blake3::hash(bytemuck::cast_slice(row));
    u64::from_le_bytes(*hash.as_bytes().first_chunk().expect("a hash has 32 bytes"))
}

/// Rows of a store as a column, without a copy of them.
pub struct CachedLatents {
    mapped: Arc<Mapped>,
    rows: Vec<u64>,
}

impl Latents for CachedLatents {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn width(&self) -> usize {
        self.mapped.width
    }

    fn copy_row(&self, index: usize, out: &mut [f32]) {
        out.copy_from_slice(self.mapped.row(self.rows[index]).expect("a known row is there"));
    }

    fn read_ahead(&self, index: usize) {
        self.mapped.read_ahead(self.rows[index]);
    }
}
