//! Reading of items ahead of their use, on all cores, in order. Files that are recognised and known to the cache are
//! not read.

use rayon::prelude::*;
use std::sync::mpsc::SyncSender;
use std::time::SystemTime;

use super::column::is_enough;
use crate::cache::{FileStamps, Key, Known, Shelf};
use crate::dataset::Items;
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
        while next < self.items.len() {
            let rows = next..self.items.len().min(next + at_once.min(most - chunk.len()));
            next = rows.end;
            let recognised = self.recognised(rows.clone());
            let read = |(row, recognised)| match recognised {
                Some((key, known)) => Read::Recognised { row, key, known },
                None => self.read(row),
            };
            chunk.par_extend(rows.clone().into_par_iter().zip(recognised).map(read));
            bytes += chunk[chunk.len() - rows.len()..].iter().map(Read::bytes).sum::<usize>();
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
        let file = self.items.item(row).origin();
        match self.items.read(row) {
            Err(reason) => Read::Failed { row, reason },
            Ok(bytes) => {
                let key = Key::of(modality, &bytes);
                if let Some((path, metadata)) = file {
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
        let (start, file) = (SystemTime::now(), items.item(row).origin());
        let known = file.as_ref().filter(|_| files.trusted);
        let known = known.and_then(|(path, metadata)| files.stamps.get(modality, path, metadata));
        known.or_else(|| {
            let key = Key::of(modality, &items.read(row).ok()?);
            if let Some((path, metadata)) = file {
                files.stamps.put(modality, &path, &metadata, start, key);
            }
            Some(key)
        })
    };
    (0..items.len()).into_par_iter().map(key).collect()
}

impl Read {
    /// Bytes in memory.
    fn bytes(&self) -> usize {
        if let Self::Whole { bytes, .. } = self { bytes.len() } else { 0 }
    }
}
