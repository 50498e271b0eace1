//! One encoder's latents as a command uses them: read without a lock, and opened for writing only when there is
//! something to write.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use super::cached::CachedLatents;
use super::reader::Reader;
use super::store::Store;
use super::{CacheError, Fingerprint, Key, Known, Ledger};

/// The latents of one fingerprint. Any number of processes can read them; the first to write excludes other writers
/// until it ends.
pub struct Shelf {
    cache: PathBuf,
    fingerprint: Fingerprint,
    encoder: String,
    /// None while there is no such entry.
    reader: RwLock<Option<Reader>>,
    store: OnceLock<Store>,
    /// Held while the store opens.
    opening: Mutex<()>,
    /// Held by the one who encodes.
    turn: Mutex<()>,
}

impl Shelf {
    /// The latents of the encoder called `encoder` in the cache folder.
    pub fn open(cache: &Path, fingerprint: Fingerprint, encoder: &str) -> Result<Self, CacheError> {
        let reader = RwLock::new(Reader::open(cache, &fingerprint)?);
        let (cache, encoder) = (cache.to_owned(), encoder.to_owned());
        Ok(Self {
            cache,
            fingerprint,
            encoder,
            reader,
            store: OnceLock::new(),
            opening: Mutex::default(),
            turn: Mutex::default(),
        })
    }

    /// The account of the encoder.
    pub fn ledger(&self) -> Ledger {
        Ledger::new(&self.cache, &self.fingerprint, &self.encoder)
    }

    /// The right to encode: others in this process wait, and then find what was stored.
    pub fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state of each of `keys`.
    pub fn known(&self, keys: &[Key]) -> Result<Vec<Option<Known>>, CacheError> {
        if let Some(store) = self.store.get() {
            return store.known(keys);
        }
        match &*self.reader.read().unwrap_or_else(PoisonError::into_inner) {
            Some(reader) => reader.known(keys),
            None => Ok(vec![None; keys.len()]),
        }
    }

    /// The store, if it is open for writing.
    pub fn written(&self) -> Option<&Store> {
        self.store.get()
    }

    /// The store, opened for writing if necessary. Known items stay known.
    pub fn store(&self) -> Result<&Store, CacheError> {
        let _opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = self.store.get() {
            return Ok(store);
        }
        let mut reader = self.reader.write().unwrap_or_else(PoisonError::into_inner);
        // One that has a lock would be in the way.
        *reader = reader.take().filter(|reader| !reader.is_locking());
        let store = Store::open(&self.cache, &self.fingerprint, &self.encoder)?;
        if let Some(reader) = &*reader
            && reader.generation().is_some_and(|read| read != store.found())
        {
            return Err(CacheError::Cleared { encoder: self.encoder.clone() });
        }
        *reader = None;
        Ok(self.store.get_or_init(|| store))
    }

    /// Values a row, once there is one.
    pub fn width(&self) -> Result<Option<usize>, CacheError> {
        if let Some(store) = self.store.get() {
            return Ok(store.width());
        }
        match &*self.reader.read().unwrap_or_else(PoisonError::into_inner) {
            Some(reader) => reader.width(),
            None => Ok(None),
        }
    }

    /// The latents in these rows, which must be known, in this order, memory-mapped.
    pub fn latents(&self, rows: Vec<u64>) -> Result<CachedLatents, CacheError> {
        if let Some(store) = self.store.get() {
            return store.latents(rows);
        }
        match &*self.reader.read().unwrap_or_else(PoisonError::into_inner) {
            Some(reader) => reader.latents(rows),
            None => Ok(CachedLatents::none()),
        }
    }
}
