//! Reading of items ahead of their use, on all cores, in order. Files that are recognised and known to the cache are
//! not read.

use rayon::prelude::*;
use std::sync::mpsc::SyncSender;
use std::time::SystemTime;

use super::column::is_enough;
use crate::cache::{FileStamps, Key, Known, Shelf};
use crate::dataset::{Items, in_order};
use crate::stop::Stop;

/// Rows per chunk, and bytes excluding the last items; two chunks wait at a time.
const CHUNK: (usize, usize) = (256, 1 << 26);

/// An item as read by the reading threads.
pub(super) enum Read {
    /// It cannot be read.
    Failed { row: usize, reason: String },
    /// It is an unchanged file whose latent the cache already has.
    Recognised { row: usize, key: Key, known: Known },
    /// It was read.
    Whole { row: usize, key: Key, bytes: Vec<u8> },
    /// It is the item of an earlier row, which was read.
    Again { row: usize, key: Key },
}

/// What became of the row before.
enum Before {
    Failed(String),
    Recognised(Key, Known),
    Read(Key),
}

impl Before {
    fn of(read: &Read) -> Self {
        match read {
            Read::Failed { reason, .. } => Self::Failed(reason.clone()),
            Read::Recognised { key, known, .. } => Self::Recognised(*key, known.clone()),
            Read::Whole { key, .. } | Read::Again { key, .. } => Self::Read(*key),
        }
    }

    /// The same of another row.
    fn again(&self, row: usize) -> Read {
        match self {
            Self::Failed(reason) => Read::Failed { row, reason: reason.clone() },
            Self::Recognised(key, known) => Read::Recognised { row, key: *key, known: known.clone() },
            Self::Read(key) => Read::Again { row, key: *key },
        }
    }
}

/// Files as they were when last read.
#[derive(Clone, Copy)]
pub struct Files<'a> {
    /// Their stamps.
    pub stamps: &'a FileStamps,
    /// True if a file that looks unchanged need not be read again.
    pub trusted: bool,
}

/// Reads items.
pub(super) struct Reading<'a> {
    pub(super) items: Items<'a>,
    pub(super) files: Files<'a>,
    pub(super) shelf: &'a Shelf,
    /// The most items per chunk.
    pub(super) batch: usize,
    pub(super) retry_failed: bool,
}

impl Reading<'_> {
    /// Reads all items, until the receiver is gone.
    pub(super) fn run(self, chunks: SyncSender<Vec<Read>>) {
        let most = self.batch.min(CHUNK.0);
        let at_once = 2 * rayon::current_num_threads();
        let (mut next, mut chunk, mut bytes) = (0, Vec::new(), 0);
        let mut before: Option<Before> = None;
        while next < self.items.len() {
            let rows = next..self.items.len().min(next + at_once.min(most - chunk.len()));
            next = rows.end;
            let recognised = self.recognised(rows.clone());
            let read = |(row, recognised)| match recognised {
                Some((key, known)) => Some(Read::Recognised { row, key, known }),
                None if self.items.repeats(row) => None,
                None => Some(self.read(row)),
            };
            let read: Vec<Option<Read>> = rows.clone().into_par_iter().zip(recognised).map(read).collect();
            for (row, read) in rows.zip(read) {
                let read = read.unwrap_or_else(|| before.as_ref().expect("it repeats one").again(row));
                before = Some(Before::of(&read));
                bytes += read.bytes();
                chunk.push(read);
            }
            if chunk.len() == most || bytes >= CHUNK.1 || next == self.items.len() {
                if chunks.send(std::mem::take(&mut chunk)).is_err() {
                    return;
                }
                bytes = 0;
            }
        }
    }

    /// The files among some rows that need not be read.
    fn recognised(&self, rows: std::ops::Range<usize>) -> Vec<Option<(Key, Known)>> {
        let none = vec![None; rows.len()];
        if !self.files.trusted || !self.items.are_files() {
            return none;
        }
        let key = |row| {
            let (path, metadata) = self.items.item(row).origin()?;
            self.files.stamps.get(self.items.modality(), &path, &metadata)
        };
        let keys: Vec<Option<Key>> = rows.into_par_iter().map(key).collect();
        let present: Vec<Key> = keys.iter().flatten().copied().collect();
        // What goes wrong here goes wrong again where it is told.
        let Ok(known) = self.shelf.known(&present) else { return none };
        let mut known = known.into_iter();
        let enough = |key: Option<Key>| {
            let (key, known) = (key?, known.next().flatten());
            known.filter(|known| is_enough(Some(known), self.retry_failed)).map(|known| (key, known))
        };
        keys.into_iter().map(enough).collect()
    }

    fn read(&self, row: usize) -> Read {
        let (modality, start) = (self.items.modality(), SystemTime::now());
        let item = self.items.item(row);
        let file = item.origin();
        match self.items.read(row) {
            Err(reason) => Read::Failed { row, reason },
            Ok(bytes) => {
                let key = Key::of(modality, &bytes);
                if let Some((path, metadata)) = file.filter(|_| item.is_at_origin()) {
                    self.files.stamps.put(modality, &path, &metadata, start, key);
                }
                Read::Whole { row, key, bytes: bytes.into_owned() }
            }
        }
    }
}

/// The key of each item; none for those that cannot be read.
pub fn keys(items: Items<'_>, files: Files<'_>, stop: &Stop) -> Vec<Option<Key>> {
    let modality = items.modality();
    let key = |row: usize| {
        if stop.is_asked() {
            return None;
        }
        let (start, item) = (SystemTime::now(), items.item(row));
        let file = item.origin();
        let known = file.as_ref().filter(|_| files.trusted);
        let known = known.and_then(|(path, metadata)| files.stamps.get(modality, path, metadata));
        known.or_else(|| {
            let key = Key::of(modality, &items.read(row).ok()?);
            if let Some((path, metadata)) = file.filter(|_| item.is_at_origin()) {
                files.stamps.put(modality, &path, &metadata, start, key);
            }
            Some(key)
        })
    };
    // A row for each caption of a picture reads it once.
    let rows: Vec<usize> = (0..items.len()).filter(|&row| !items.repeats(row)).collect();
    let mut first = rows.iter().copied().zip(in_order(&rows, key)).peekable();
    let mut last = None;
    let key = |row: usize| {
        last = first.next_if(|(first, _)| *first == row).map_or(last, |(_, key)| key);
        last
    };
    (0..items.len()).map(key).collect()
}

impl Read {
    /// Bytes in memory.
    fn bytes(&self) -> usize {
        if let Self::Whole { bytes, .. } = self { bytes.len() } else { 0 }
    }
}
