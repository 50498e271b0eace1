//! One encoder's latents on disk, for reading: without a lock, alongside a writer.
//!
//! Only the log and the segments are read, through files that stay open for as long as the reader lives: data that is
//! cleared meanwhile is still there, and added data is seen.

use rayon::prelude::*;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard};

use super::cached::CachedLatents;
use super::index::Index;
use super::known::{Counts, Known, Noted, known};
use super::log::Log;
use super::names::Names;
use super::reasons::Reasons;
use super::record::{Numbers, RECORD, Record, State};
use super::records;
use super::recovery;
use super::segments::{Mapped, Segments};
use super::store::Store;
use super::{CacheError, Fingerprint, Key};

/// The most keys that are looked up by scanning the log before its names are loaded.
const FEW: u64 = 16;

/// The latents of one fingerprint, for reading. Any number of processes and threads may read while one writes.
pub struct Reader(Source);

enum Source {
    Log(Box<LogReader>),
    /// The store of an entry that predates logs; nobody can write to it meanwhile.
    Old(Box<Store>),
}

impl Reader {
    /// Opens the entry of `fingerprint` in the cache folder; none if there is none.
    pub fn open(cache: &Path, fingerprint: &Fingerprint) -> Result<Option<Self>, CacheError> {
        let folder = cache.join(fingerprint.hex());
        if super::is_entry(&folder) { Self::at(&folder).map(Some) } else { Ok(None) }
    }

    /// Opens the entry in `folder`. One without a log that a crash left unclosed is repaired, if this process may write
    /// there.
    pub(super) fn at(folder: &Path) -> Result<Self, CacheError> {
        let of_log = |log| Self(Source::Log(Box::new(LogReader::new(folder, log))));
        if let Some(log) = Log::open(folder)? {
            return Ok(of_log(log));
        }
        match Store::to_read(folder) {
            // Its writer makes the log.
            Err(CacheError::Unclean { path }) => {
                drop(Store::at(folder)?);
                Log::open(folder)?.map(of_log).ok_or(CacheError::Unclean { path })
            }
            Err(CacheError::Index { path, cause }) if recovery::holds_nothing(folder) => {
                drop(Store::at(folder)?);
                Log::open(folder)?.map(of_log).ok_or(CacheError::Index { path, cause })
            }
            // Whoever writes to it has made the log by now.
            Err(CacheError::InUse { path }) => Log::open(folder)?.map(of_log).ok_or(CacheError::InUse { path }),
            store => Ok(Self(Source::Old(Box::new(store?)))),
        }
    }

    /// The state of each of `keys`, with rows checked against their checksums.
    pub fn known(&self, keys: &[Key]) -> Result<Vec<Option<Known>>, CacheError> {
        match &self.0 {
            Source::Log(reader) => reader.known(keys),
            Source::Old(store) => store.known(keys),
        }
    }

    /// True if this is still the entry's log: clearing or mending the entry begins a new log, which needs a new reader.
    pub fn is_current(&self) -> Result<bool, CacheError> {
        match &self.0 {
            Source::Log(reader) => {
                Ok(Log::open(&reader.folder)?.is_some_and(|log| log.generation == reader.log.generation))
            }
            Source::Old(_) => Ok(true),
        }
    }

    /// The generation of the log that is read.
    pub(super) fn generation(&self) -> Option<u64> {
        match &self.0 {
            Source::Log(reader) => Some(reader.log.generation),
            Source::Old(_) => None,
        }
    }

    /// True if nobody can write while this lives.
    pub fn is_locking(&self) -> bool {
        matches!(self.0, Source::Old(_))
    }

    /// The latents in these rows, in this order, memory-mapped; this reader must have reported them as known.
    pub fn latents(&self, rows: Vec<u64>) -> Result<CachedLatents, CacheError> {
        match &self.0 {
            Source::Log(reader) => Ok(CachedLatents::new(reader.mapped(), rows)),
            Source::Old(store) => store.latents(rows),
        }
    }

    /// Values a row, once there is one.
    pub fn width(&self) -> Result<Option<usize>, CacheError> {
        match &self.0 {
            Source::Log(reader) => reader.width(),
            Source::Old(store) => Ok(store.width()),
        }
    }

    /// Sizes.
    pub fn counts(&self) -> Result<Counts, CacheError> {
        match &self.0 {
            Source::Log(reader) => reader.counts(),
            Source::Old(store) => store.counts(),
        }
    }

    /// Checks every row against its checksum; returns the keys of damaged rows.
    pub fn verify(&self) -> Result<Vec<Key>, CacheError> {
        match &self.0 {
            Source::Log(reader) => reader.verify(),
            Source::Old(store) => store.verify(),
        }
    }

    /// Rows of which neither the index, which is lost, nor the log knows whose they are.
    pub fn lost_rows(&self) -> Result<u64, CacheError> {
        match &self.0 {
            Source::Log(reader) => reader.lost_rows(),
            Source::Old(_) => Ok(0),
        }
    }

    /// Records of the log that are damaged, or that the index has and the log lacks.
    pub fn lost_records(&self) -> Result<u64, CacheError> {
        match &self.0 {
            Source::Log(reader) => reader.lost_records(),
            Source::Old(_) => Ok(0),
        }
    }
}

struct LogReader {
    folder: PathBuf,
    log: Log,
    /// Keys that were looked up.
    looked_up: AtomicU64,
    /// Set once the log has it.
    width: OnceLock<usize>,
    learnt: RwLock<Learnt>,
    mapped: Mutex<Arc<Mapped>>,
}

/// The part of the log that was loaded.
#[derive(Default)]
struct Learnt {
    /// None until it is worthwhile.
    names: Option<Names>,
    totals: Totals,
}

/// Totals over the log.
#[derive(Clone, Copy, Default)]
struct Totals {
    numbers: Numbers,
    /// Items with a row, and those with a failure instead.
    rows: u64,
    failures: u64,
}

impl LogReader {
    fn new(folder: &Path, log: Log) -> Self {
        Self {
            folder: folder.to_owned(),
            log,
            looked_up: AtomicU64::new(0),
            width: OnceLock::new(),
            learnt: RwLock::default(),
            mapped: Mutex::default(),
        }
    }

    fn width(&self) -> Result<Option<usize>, CacheError> {
        if let Some(width) = self.width.get() {
            return Ok(Some(*width));
        }
        Ok(self.log.width()?.map(|width| *self.width.get_or_init(|| width)))
    }

    fn known(&self, keys: &[Key]) -> Result<Vec<Option<Known>>, CacheError> {
        let before = self.looked_up.fetch_add(keys.len() as u64, Ordering::Relaxed);
        let count = self.log.records().count()?;
        let states = if before + keys.len() as u64 <= FEW || count > Names::MOST {
            self.search(keys, count)?
        } else {
            let learnt = self.learn()?;
            keys.par_iter().with_min_len(64).map(|key| learnt.state(&self.log, key)).collect::<Result<_, _>>()?
        };
        if states.iter().all(Option::is_none) {
            return Ok(vec![None; keys.len()]);
        }
        let reasons = Reasons::new(&self.folder).open()?;
        let noted = |(key, state): (&Key, Option<State>)| match state? {
            State::Row(row) => Some(Noted::Row(row)),
            State::Failed { reason, .. } => Some(Noted::Failed(reasons.read(key, reason))),
            State::Forgotten => None,
        };
        let noted: Vec<Option<Noted>> = keys.iter().zip(states).map(noted).collect();
        let end = noted.iter().flatten().map(|noted| if let Noted::Row(row) = noted { row.at + 1 } else { 0 }).max();
        Ok(known(noted, &*self.map(end.unwrap_or(0))?))
    }

    /// The state of each of `keys` by the first `count` records, found by reading them all.
    fn search(&self, keys: &[Key], count: u64) -> Result<Vec<Option<State>>, CacheError> {
        let mut states: HashMap<[u8; 32], Option<State>> = keys.iter().map(|key| (key.0, None)).collect();
        let mut first_bytes = [false; 256];
        keys.iter().for_each(|key| first_bytes[usize::from(key.0[0])] = true);
        self.log.records().chunks(0, count, |_, records| {
            for record in records.iter().filter(|record| first_bytes[usize::from(record[0])]) {
                if let Some(state) = states.get_mut(records::name(record))
                    && records::is_whole(record)
                    && let Some((_, newest)) = Record::read(record).and_then(|record| record.item())
                {
                    *state = Some(newest.after(*state));
                }
            }
            Ok(())
        })?;
        Ok(keys.iter().map(|key| states[&key.0]).collect())
    }

    /// The current state of the whole log.
    fn learn(&self) -> Result<RwLockReadGuard<'_, Learnt>, CacheError> {
        let read = || self.learnt.read().unwrap_or_else(PoisonError::into_inner);
        let count = self.log.records().count()?;
        if read().names.as_ref().is_none_or(|names| names.learnt() < count) {
            self.learnt.write().unwrap_or_else(PoisonError::into_inner).learn(&self.log)?;
        }
        Ok(read())
    }

    fn counts(&self) -> Result<Counts, CacheError> {
        let Totals { numbers, rows, failures } = self.learn()?.totals;
        Counts::new(&self.folder, rows, failures, numbers)
    }

    fn verify(&self) -> Result<Vec<Key>, CacheError> {
        let learnt = self.learn()?;
        let mapped = self.map(learnt.totals.numbers.rows)?;
        let mut bad = Vec::new();
        self.log.scan(0, |_, record| {
            if let Some((key, state @ State::Row(row))) = record.item()
                && !mapped.is_whole(row)
                && learnt.state(&self.log, &key)? == Some(state)
            {
                bad.push(key);
            }
            Ok(())
        })?;
        Ok(bad)
    }

    fn lost_rows(&self) -> Result<u64, CacheError> {
        // With an index that tells what the log lacks, what is more was never known: a crash came first.
        if !matches!(Index::open_to_read(&self.folder), Ok(None) | Err(CacheError::Index { .. })) {
            return Ok(0);
        }
        let Some(width) = self.width()? else { return Ok(0) };
        let known = self.learn()?.totals.numbers.rows;
        Ok(Segments::new(&self.folder, width).on_disk()?.saturating_sub(known))
    }

    fn lost_records(&self) -> Result<u64, CacheError> {
        let header = u64::from(self.log.generation == 0);
        // A writer, whose index is in use, looked for itself when it began; a damaged index, which is made again from
        // the log, tells nothing.
        let index = Index::open_to_read(&self.folder).ok().flatten();
        let learnt = index.map(|index| index.numbers());
        // Later than the index, as a writer may end in between.
        let (end, damaged) = self.log.damage()?;
        let Some(Ok((_, learnt))) = learnt else { return Ok(header + damaged) };
        let cut = match self.log.generation {
            same if same == 0 || same == learnt.log => learnt.records.saturating_sub(end),
            older if older < learnt.log => learnt.records,
            _ => 0,
        };
        Ok(header + damaged + cut)
    }

    fn mapped(&self) -> Arc<Mapped> {
        self.mapped.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// At least the first `rows` rows.
    fn map(&self, rows: u64) -> Result<Arc<Mapped>, CacheError> {
        let Some(width) = self.width()? else { return Ok(Arc::default()) };
        let mut mapped = self.mapped.lock().unwrap_or_else(PoisonError::into_inner);
        if mapped.rows() < rows {
            *mapped = Arc::new(Segments::new(&self.folder, width).map(rows, &mapped.maps)?);
        }
        Ok(mapped.clone())
    }
}

impl Learnt {
    fn learn(&mut self, log: &Log) -> Result<(), CacheError> {
        let totals = std::cell::Cell::new(self.totals);
        let counts = |record: &[u8; RECORD], earlier: Option<&[u8; RECORD]>| {
            let Some(record) = Record::read(record) else { return false };
            let state = |record: Record| record.item().map(|(_, state)| state);
            let earlier = earlier.and_then(Record::read).and_then(state);
            let mut sums = totals.get();
            sums.numbers.learn(&record);
            let newest = state(record).map(|newest| newest.after(earlier));
            let counts = newest.is_some() && newest != earlier;
            if counts {
                sums.count(earlier, -1);
                sums.count(newest, 1);
            }
            totals.set(sums);
            counts
        };
        Names::learn(&mut self.names, log.records(), counts, || totals.set(Totals::default()))?;
        self.totals = totals.get();
        Ok(())
    }

    fn state(&self, log: &Log, key: &Key) -> Result<Option<State>, CacheError> {
        let Some(names) = &self.names else { return Ok(None) };
        let record = names.find(log.records(), &key.0)?;
        Ok(record.as_ref().and_then(Record::read).and_then(|record| record.item()).map(|(_, state)| state))
    }
}

impl Totals {
    fn count(&mut self, state: Option<State>, change: i64) {
        match state {
            Some(State::Row(_)) => self.rows = self.rows.wrapping_add_signed(change),
            Some(State::Failed { .. }) => self.failures = self.failures.wrapping_add_signed(change),
            Some(State::Forgotten) | None => {}
        }
    }
}
