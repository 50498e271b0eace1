//! One encoder's latents on disk, for writing.
//!
//! Rows are written and synced first, then the log records their items; the index is updated in batches. After a crash
//! at any point, every row that the log knows is intact; anything after the last of them is overwritten by the next
//! append.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::cached::CachedLatents;
use super::index::{self, Index, Learnt};
use super::known::{Counts, Known, Noted, known};
use super::lock::{Lock, may_only_read};
use super::log::{Log, LogEnd};
use super::reasons::Reasons;
use super::record::{Numbers, RECORD, Record, Row, State};
use super::recovery::{self, RECENT, States};
use super::segments::{Mapped, Segments, checksum, is_unit};
use super::{CacheError, Fingerprint, Key, disk, journal};
use crate::bytes::Bytes;
use crate::whole_file;

/// The latents of one fingerprint. One process at a time has it open; others may read them with a
/// [`Reader`](super::Reader).
pub struct Store {
    folder: PathBuf,
    index: Index,
    /// The log's generation when this was opened, before any repair.
    found: u64,
    recent: Mutex<Recent>,
    /// Dropped last. None if this process may only read.
    _lock: Option<Lock>,
}

/// The items that the index does not have yet.
struct Recent {
    /// None if this process may only read.
    log: Option<LogEnd>,
    states: States,
    /// The totals of the whole log.
    numbers: Numbers,
}

/// `entry.json`: the encoder of these latents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryInfo {
    /// The parts of the fingerprint.
    pub fingerprint: BTreeMap<String, String>,
    /// The names that the encoder had in plugins.toml.
    pub encoders: BTreeSet<String>,
}

impl Store {
    /// Opens the store of `fingerprint` in the cache folder, creating it if necessary.
    pub fn open(cache: &Path, fingerprint: &Fingerprint, encoder: &str) -> Result<Self, CacheError> {
        let folder = cache.join(fingerprint.hex());
        if cache.is_file() {
            return Err(CacheError::NoFolder { path: cache.to_owned() });
        }
        fs::create_dir_all(&folder).map_err(|cause| CacheError::io("make", &folder, cause))?;
        let store = Self::at(&folder)?;
        let path = folder.join("entry.json");
        let mut info = read_info(&path)
            .unwrap_or(EntryInfo { fingerprint: fingerprint.parts().clone(), encoders: BTreeSet::new() });
        if store.recent().log.is_some() && info.encoders.insert(encoder.to_owned()) {
            let json = serde_json::to_string_pretty(&info).expect("a map of strings is JSON") + "\n";
            whole_file::write(&path, json.as_bytes()).map_err(|cause| CacheError::io("write", &path, cause))?;
        }
        Ok(store)
    }

    /// Opens the store in `folder`.
    pub(super) fn at(folder: &Path) -> Result<Self, CacheError> {
        // What is there can be read without room for more.
        let full = disk::free(folder).is_some_and(|free| free < disk::LEAST);
        if full && folder.join(index::FILE).exists() {
            return Self::to_read(folder);
        }
        let Some(lock) = Lock::take(folder)? else { return Self::to_read(folder) };
        match recovery::open(folder) {
            Ok(recovery::Opened { index, found, end, numbers }) => {
                let recent = Mutex::new(Recent { log: Some(end), states: States::new(), numbers });
                Ok(Self { folder: folder.to_owned(), index, found, recent, _lock: Some(lock) })
            }
            Err(CacheError::Io { cause, .. }) if may_only_read(cause.kind()) => Self::to_read(folder),
            Err(error) => Err(error),
        }
    }

    /// Opens the store in `folder` without a right to write there.
    pub(super) fn to_read(folder: &Path) -> Result<Self, CacheError> {
        let missing = || CacheError::io("open", &folder.join(index::FILE), ErrorKind::NotFound.into());
        let index = Index::open_to_read(folder)?.ok_or_else(missing)?;
        let (mut numbers, learnt) = index.numbers()?;
        let mut states = States::new();
        match Log::open(folder)? {
            Some(log) if log.generation == learnt.log => {
                log.scan(learnt.records, |_, record| {
                    recovery::note(&mut states, &mut numbers, &record);
                    Ok(())
                })?;
            }
            Some(_) => return Err(CacheError::Unclean { path: folder.to_owned() }),
            None => {
                let old = journal::read(folder, numbers.rows)?;
                recovery::old_records(folder, numbers, old)?
                    .iter()
                    .for_each(|record| recovery::note(&mut states, &mut numbers, record));
            }
        }
        let recent = Mutex::new(Recent { log: None, states, numbers });
        Ok(Self { folder: folder.to_owned(), index, found: learnt.log, recent, _lock: None })
    }

    /// The log's generation when this was opened, before any repair: what a reader of it found is still true.
    pub(super) fn found(&self) -> u64 {
        self.found
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state of each of `keys`, with rows checked against their checksums.
    pub fn known(&self, keys: &[Key]) -> Result<Vec<Option<Known>>, CacheError> {
        // First those that the index may learn of meanwhile.
        let newest: Vec<Option<State>> = {
            let recent = self.recent();
            keys.iter().map(|key| recent.states.get(key).copied()).collect()
        };
        let noted = self.noted(keys, &newest, self.index.look_up(keys)?)?;
        match noted.iter().all(Option::is_none) {
            true => Ok(vec![None; keys.len()]),
            false => Ok(known(noted, &self.map()?)),
        }
    }

    /// The recorded state of items, by the index and by anything newer.
    fn noted(
        &self,
        keys: &[Key],
        newest: &[Option<State>],
        indexed: Vec<Option<Noted>>,
    ) -> Result<Vec<Option<Noted>>, CacheError> {
        let reasons = Reasons::new(&self.folder).open()?;
        let noted = keys.iter().zip(newest).zip(indexed).map(|((key, state), indexed)| match (*state, indexed) {
            (Some(State::Row(row)), _) => Some(Noted::Row(row)),
            (Some(State::Forgotten), _) => None,
            (Some(State::Failed { anew: false, .. }), Some(row @ Noted::Row(_))) => Some(row),
            (Some(State::Failed { reason, .. }), _) => Some(Noted::Failed(reasons.read(key, reason))),
            (None, indexed) => indexed,
        });
        Ok(noted.collect())
    }

    fn numbers(&self) -> Numbers {
        self.recent().numbers
    }

    /// Values a row, once there is one.
    pub fn width(&self) -> Option<usize> {
        Some(self.numbers().width as usize).filter(|&width| width > 0)
    }

    /// The row of the next latent.
    pub fn next_row(&self) -> u64 {
        self.numbers().rows
    }

    /// Refuses to go on where nothing can be written, or where so many more rows of `width` values do not fit on the
    /// disk, as far as is known.
    pub fn check_room(&self, rows: usize, width: usize) -> Result<(), CacheError> {
        let row = width as u64 * size_of::<f32>() as u64 + RECORD as u64;
        let needed = (rows as u64).saturating_mul(row).saturating_add(disk::LEAST);
        match disk::free(&self.folder).filter(|free| *free < needed) {
            Some(free) => {
                let (needed, free) = (Bytes::rounded(needed), Bytes(free >> 20 << 20));
                Err(CacheError::Full { path: self.folder.clone(), needed, free })
            }
            None => self.writable(&mut self.recent()).map(drop),
        }
    }

    /// True if only one answer so far has had the latents' width.
    pub fn is_doubted(&self) -> bool {
        self.numbers().doubted
    }

    /// Marks that the next append brings the first latents, whose width is unconfirmed.
    pub fn doubt(&self) {
        self.recent().numbers.doubted = true;
    }

    /// Records that another answer has the width of the first.
    pub fn confirm(&self) -> Result<(), CacheError> {
        let mut recent = self.recent();
        let numbers = Numbers { doubted: false, ..recent.numbers };
        self.log(&mut recent, &[Record::Numbers(numbers)])
    }

    /// Forgets all latents, and their width.
    pub fn clear(&self) -> Result<(), CacheError> {
        let mut recent = self.recent();
        self.settle(&mut recent)?;
        let generation = self.writable(&mut recent)?.generation + 1;
        // The log first: an index that is behind it is made again.
        let learnt = recovery::write_log(&self.folder, &self.index, generation, None)?;
        recent.numbers = Numbers::default();
        recent.log = Some(LogEnd::open(&self.folder, learnt.records, generation)?);
        self.index.clear(learnt)?;
        Segments::new(&self.folder, 1).remove()
    }

    /// Stores latents (all of one width) and failures in one durable step: they are on disk when it returns. No item
    /// may appear twice or have an intact row already; a latent replaces a failure. Returns the first latent's row; the
    /// others follow it. Only one thread may append.
    pub fn append(&self, latents: &[(Key, &[f32])], failures: &[(Key, &str)]) -> Result<u64, CacheError> {
        let (first, stored) = (self.next_row(), self.width());
        let width = stored.or(latents.first().map(|(_, row)| row.len()));
        if let Some((_, row)) = latents.iter().find(|(_, row)| Some(row.len()) != width) {
            return Err(CacheError::Width { path: self.folder.clone(), stored: width.unwrap_or(0), got: row.len() });
        }
        let mut records = Vec::with_capacity(latents.len() + failures.len() + 1);
        if let Some(width) = width.filter(|_| !latents.is_empty()) {
            let block: Vec<f32> = latents.iter().flat_map(|(_, row)| row.iter().copied()).collect();
            Segments::new(&self.folder, width).write(first, &block)?;
            if stored.is_none() {
                records.push(Record::Numbers(Numbers { width: width as u64, ..self.numbers() }));
            }
            let record = |(at, (key, values)): (u64, &(Key, &[f32]))| {
                let row = Row { at, sum: checksum(values) };
                Record::Row { key: *key, row, unit: is_unit(values) }
            };
            records.extend((first..).zip(latents).map(record));
        }
        if !failures.is_empty() {
            let places = Reasons::new(&self.folder).append(failures)?;
            records.extend(failures.iter().zip(places).map(|((key, _), reason)| Record::Failed { key: *key, reason }));
        }
        let mut recent = self.recent();
        if !records.is_empty() {
            self.log(&mut recent, &records)?;
        }
        if recent.states.len() >= RECENT {
            self.settle(&mut recent)?;
        }
        Ok(first)
    }

    /// Appends records to the log.
    fn log(&self, recent: &mut Recent, records: &[Record]) -> Result<(), CacheError> {
        self.writable(recent)?.append(records)?;
        records.iter().for_each(|record| recovery::note(&mut recent.states, &mut recent.numbers, record));
        Ok(())
    }

    /// Adds to the index what it does not have yet.
    fn settle(&self, recent: &mut Recent) -> Result<(), CacheError> {
        let log = self.writable(recent)?;
        let learnt = Learnt { log: log.generation, records: log.count };
        if self.index.numbers()?.1 == learnt {
            return Ok(());
        }
        recovery::settle(&self.folder, &self.index, &mut recent.states, recent.numbers, learnt)
    }

    fn writable<'a>(&self, recent: &'a mut Recent) -> Result<&'a mut LogEnd, CacheError> {
        let refused = || CacheError::io("write", &self.folder, ErrorKind::ReadOnlyFilesystem.into());
        recent.log.as_mut().ok_or_else(refused)
    }

    /// The latents in these rows, which must be known, in this order, memory-mapped.
    pub fn latents(&self, rows: Vec<u64>) -> Result<CachedLatents, CacheError> {
        Ok(CachedLatents::new(Arc::new(self.map()?), rows))
    }

    /// Checks every row against its checksum; returns the keys of damaged rows.
    pub fn verify(&self) -> Result<Vec<Key>, CacheError> {
        let recent = self.recent();
        let mapped = recovery::map(&self.folder, recent.numbers)?;
        let mut bad = Vec::new();
        self.index.rows(|key, row| {
            let counts = matches!(recent.states.get(&key), None | Some(State::Failed { anew: false, .. }));
            if counts && !mapped.is_whole(row) {
                bad.push(key);
            }
            Ok(())
        })?;
        let newest = recent.states.iter();
        bad.extend(newest.filter_map(|(key, state)| match state {
            State::Row(row) => (!mapped.is_whole(*row)).then_some(*key),
            State::Failed { .. } | State::Forgotten => None,
        }));
        Ok(bad)
    }

    /// Forgets items, so that the next run encodes them again.
    pub fn forget(&self, keys: &[Key]) -> Result<(), CacheError> {
        let mut recent = self.recent();
        let records: Vec<Record> = keys.iter().map(|key| Record::Forgotten { key: *key }).collect();
        self.log(&mut recent, &records)?;
        self.settle(&mut recent)
    }

    /// Sizes.
    pub fn counts(&self) -> Result<Counts, CacheError> {
        let recent = self.recent();
        let (keys, newest): (Vec<Key>, Vec<Option<State>>) =
            recent.states.iter().map(|(key, state)| (*key, Some(*state))).unzip();
        let of = |noted: &[Option<Noted>]| {
            let rows = noted.iter().filter(|noted| matches!(noted, Some(Noted::Row(_)))).count() as u64;
            (rows, noted.iter().flatten().count() as u64 - rows)
        };
        let indexed = self.index.look_up(&keys)?;
        let before = of(&indexed);
        let now = of(&self.noted(&keys, &newest, indexed)?);
        let (rows, failures) = self.index.counts()?;
        Counts::new(&self.folder, rows - before.0 + now.0, failures - before.1 + now.1, recent.numbers)
    }

    /// Items whose newest state the index does not have.
    #[cfg(test)]
    pub(super) fn newest(&self) -> usize {
        self.recent().states.len()
    }

    fn map(&self) -> Result<Mapped, CacheError> {
        recovery::map(&self.folder, self.numbers())
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let mut recent = self.recent();
        if recent.log.is_some() {
            // What does not come to the index now is in the log.
            let _ = self.settle(&mut recent);
        }
    }
}

pub(super) fn read_info(path: &Path) -> Option<EntryInfo> {
    serde_json::from_str(&fs::read_to_string(path).ok()?).ok()
}
