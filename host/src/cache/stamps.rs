//! Files that are recognised without being read: their content's key by path, size and times.
//!
//! Losing this data is harmless: a file that is not recognised is read again.

use fusemix_sdk::Modality;
use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::names::Names;
use super::records::{self, Records, SUM};
use super::{CacheError, Key};

/// Bytes of a record: a hash of modality and path, size, times of the last change of the content and of the file, the
/// content's key, the record's checksum.
const STAMP: usize = 32 + 8 + 8 + 8 + 32 + SUM;
/// The file's header: a name and the version of its records.
const MAGIC: [u8; 16] = *b"fusemixF\x01\0\0\0\0\0\0\0";
/// Stamps that are written together.
const PENDING: usize = 1 << 10;
/// A file that changed less than this before it was read is not remembered: on a file system with a coarse clock it may
/// change again without a new time.
const SETTLED: Duration = Duration::from_secs(2);

/// The file stamps in the cache folder's `files.log`, which any number of processes share.
pub struct FileStamps {
    path: PathBuf,
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    /// True once the file was read.
    loaded: bool,
    file: Option<Records<STAMP>>,
    names: Option<Names>,
    /// Stamps that are not written yet.
    pending: HashMap<[u8; 32], [u8; STAMP]>,
    /// True if this process does not write: it cannot, or the file is from a newer version.
    read_only: bool,
}

impl FileStamps {
    /// The stamps in a cache folder. The file is read on first use.
    pub fn open(cache: &Path) -> Self {
        Self { path: cache.join("files.log"), state: RwLock::default() }
    }

    /// The key of a file's content, if the file has not changed since it was read.
    pub fn get(&self, modality: &Modality, path: &Path, metadata: &Metadata) -> Option<Key> {
        let wanted = stamp(modality, path, metadata, Key([0; 32]))?;
        let mut state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        if !state.loaded {
            drop(state);
            self.with(|state| if state.loaded { Ok(()) } else { state.load(&self.path) });
            state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        }
        let found = match state.pending.get(records::name(&wanted)) {
            Some(pending) => *pending,
            None => state.names.as_ref()?.find(state.file.as_ref()?, records::name(&wanted)).ok()??,
        };
        let same = found[..56] == wanted[..56];
        same.then(|| Key(*found[56..].first_chunk().expect("a record is longer")))
    }

    /// Remembers the key of a file's content, read at time `read` when the file was as in `metadata`, unless it had
    /// only just changed.
    pub fn put(&self, modality: &Modality, path: &Path, metadata: &Metadata, read: SystemTime, key: Key) {
        let Some(stamp) = stamp(modality, path, metadata, key) else { return };
        let Ok(read) = read.duration_since(UNIX_EPOCH) else { return };
        let newest = records::number(&stamp, 40).max(records::number(&stamp, 48));
        if Duration::from_nanos(newest) + SETTLED > read {
            return;
        }
        self.with(|state| {
            if !state.read_only {
                state.pending.insert(*records::name(&stamp), stamp);
            }
            if state.pending.len() >= PENDING { state.write(&self.path) } else { Ok(()) }
        });
    }

    /// Writes pending stamps, as dropping does.
    pub fn flush(&self) {
        self.with(|state| if state.pending.is_empty() { Ok(()) } else { state.write(&self.path) });
    }

    fn with(&self, work: impl FnOnce(&mut State) -> Result<(), CacheError>) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = work(&mut state) {
            tracing::debug!("files are read again: {error}");
            state.read_only = true;
            state.pending.clear();
        }
    }
}

impl Drop for FileStamps {
    fn drop(&mut self) {
        self.flush();
    }
}

impl State {
    fn load(&mut self, path: &Path) -> Result<(), CacheError> {
        self.loaded = true;
        if self.file.is_none() {
            let file = match File::open(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                file => Records::new(file.map_err(|cause| CacheError::io("open", path, cause))?, path),
            };
            match file.header()? {
                Some(header) if header.starts_with(&MAGIC) => self.file = Some(file),
                // A newer version's.
                Some(_) => self.read_only = true,
                None => {}
            }
        }
        match &self.file {
            Some(file) => Names::learn(&mut self.names, file, |_, _| true, || {}),
            None => Ok(()),
        }
    }

    /// Appends pending stamps to the file, and loads what others have added.
    fn write(&mut self, path: &Path) -> Result<(), CacheError> {
        let pending = std::mem::take(&mut self.pending);
        if !self.loaded {
            self.load(path)?;
        }
        if self.read_only {
            return Ok(());
        }
        append(path, pending.values()).map_err(|cause| CacheError::io("write", path, cause))?;
        self.load(path)
    }
}

/// Appends whole stamps to the file, to which others may append as well.
fn append<'a>(path: &Path, stamps: impl Iterator<Item = &'a [u8; STAMP]>) -> io::Result<()> {
    let mut file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
    // Until the file is closed.
    file.lock()?;
    let length = file.metadata()?.len();
    let mut bytes = Vec::new();
    let mut header = [0; STAMP];
    let whole = records::read_at(&file, &mut header, 0)? == STAMP && records::is_whole(&header);
    // What somebody did not come to write to its end is cut.
    let end = if whole { length - length % STAMP as u64 } else { 0 };
    if !whole {
        header = [0; STAMP];
        header[..16].copy_from_slice(&MAGIC);
        bytes.extend(records::seal(header));
    }
    bytes.extend(stamps.flatten());
    file.set_len(end)?;
    file.seek(SeekFrom::Start(end))?;
    file.write_all(&bytes)
}

/// The record of a file; none if its path or times are unavailable.
fn stamp(modality: &Modality, path: &Path, metadata: &Metadata, key: Key) -> Option<[u8; STAMP]> {
    let path = std::path::absolute(path).ok()?;
    let mut hasher = blake3::Hasher::new();
    hasher.update(modality.name().as_bytes()).update(&[0]).update(path.as_os_str().as_encoded_bytes());
    let mut stamp = [0; STAMP];
    stamp[..32].copy_from_slice(hasher.finalize().as_bytes());
    stamp[32..40].copy_from_slice(&metadata.len().to_le_bytes());
    let changed = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    stamp[40..48].copy_from_slice(&u64::try_from(changed.as_nanos()).ok()?.to_le_bytes());
    stamp[48..56].copy_from_slice(&file_changed(metadata)?.to_le_bytes());
    stamp[56..88].copy_from_slice(&key.0);
    Some(records::seal(stamp))
}

/// Nanoseconds since 1970 of a file's last change in content, times, name or rights, which nobody can set; 0 if the
/// system does not report it.
fn file_changed(metadata: &Metadata) -> Option<u64> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let seconds = u64::try_from(metadata.ctime()).ok()?;
        seconds.checked_mul(1_000_000_000)?.checked_add(u64::try_from(metadata.ctime_nsec()).ok()?)
    }
    #[cfg(not(unix))]
    {
        let _ = metadata;
        Some(0)
    }
}
