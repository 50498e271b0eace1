//! The latent cache: every item is encoded once.
//!
//! ```text
//! CACHE/<fingerprint>/entry.json           whose latents these are
//!                     segment-000000.f32   rows, raw little-endian
//!                     rows.log             item -> row and checksum, or that it has none, in order of time
//!                     reasons.log          why items have none
//!                     index.redb           the same for who writes, by item; made again from the logs where it is lost
//!                     lock                 locked by who writes
//!       files.log                          file -> item, for as long as the file does not change
//!       spent.jsonl                        what each encoder has used and cost
//! ```

mod absent;
mod cached;
mod disk;
mod index;
mod journal;
mod key;
mod known;
mod ledger;
mod lock;
mod log;
mod names;
mod reader;
mod reasons;
mod record;
mod records;
mod recovery;
mod segments;
mod shelf;
mod stamps;
mod store;
#[cfg(test)]
mod tests;

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::bytes::Bytes;

pub use cached::CachedLatents;
pub use key::{Fingerprint, Key};
pub use known::{Counts, Known};
pub use ledger::{Ledger, Spent, spent};
pub use reader::Reader;
pub use shelf::Shelf;
pub use stamps::FileStamps;
pub use store::{EntryInfo, Store};

/// An error of the cache.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum CacheError {
    #[error("{} is a file, and the cache is a folder; name another one with --cache", path.display())]
    NoFolder { path: PathBuf },
    #[error("cannot {doing} {}: {cause}; check the free disk space and the folder's permissions, or use another \
             folder with --cache", path.display())]
    Io { doing: &'static str, path: PathBuf, cause: io::Error },
    #[error("cannot use the index {}: {cause}; if rows.log is next to it, the next command that can write to the \
             folder rebuilds it; otherwise move the folder away, and its items are encoded again", path.display())]
    Index { path: PathBuf, cause: Box<redb::Error> },
    #[error("{} is in use by another fusemix process; wait for it to finish (another folder with --cache would \
             encode, and pay for, everything again)", path.display())]
    InUse { path: PathBuf },
    #[error("another process removed or repaired the latents of encoder `{encoder}` in the cache; run this again")]
    Cleared { encoder: String },
    #[error("{} was written by a newer version of fusemix; use that version, or another folder with --cache",
            path.display())]
    Newer { path: PathBuf },
    #[error("{} was in use when a program or the machine stopped; run any command once with write access to repair it",
            path.display())]
    Unclean { path: PathBuf },
    #[error("{} holds latents of {stored} values, but got one of {got}: the encoder changed without changing its \
             fingerprint; use another folder with --cache", path.display())]
    Width { path: PathBuf, stored: usize, got: usize },
    #[error("storing the results of pending requests needs {needed}, but only {free} is free on the disk of {}; free \
             some space or use another folder with --cache, then run this again", path.display())]
    Full { path: PathBuf, needed: Bytes, free: Bytes },
}

impl CacheError {
    fn io(doing: &'static str, path: &Path, cause: io::Error) -> Self {
        Self::Io { doing, path: path.to_owned(), cause }
    }

    fn index(path: &Path, cause: impl Into<redb::Error>) -> Self {
        match cause.into() {
            // Of a full disk, say, nothing else is to be thought.
            redb::Error::Io(cause) if !matches!(cause.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) => {
                Self::io("use", path, cause)
            }
            cause => Self::Index { path: path.to_owned(), cause: Box::new(cause) },
        }
    }
}

/// One encoder's folder in the cache.
pub struct Entry {
    /// The folder's name: the fingerprint's digest.
    pub fingerprint: String,
    /// The encoder of these latents.
    pub info: EntryInfo,
    folder: PathBuf,
}

impl Entry {
    /// Opens the latents for writing.
    pub fn store(&self) -> Result<Store, CacheError> {
        Store::at(&self.folder)
    }

    /// Opens the latents for reading, even while another process writes.
    pub fn reader(&self) -> Result<Reader, CacheError> {
        Reader::at(&self.folder)
    }

    /// The time of the last change of its latents.
    pub fn modified(&self) -> io::Result<SystemTime> {
        let files = std::fs::read_dir(&self.folder)?;
        let times = files.filter_map(|file| {
            let file = file.ok()?;
            let is_data = file.file_name() == log::FILE || file.file_name().to_string_lossy().starts_with("segment-");
            file.metadata().ok()?.modified().ok().filter(|_| is_data)
        });
        Ok(times.max().unwrap_or(SystemTime::UNIX_EPOCH))
    }

    /// Removes the entry and all of its latents, unless another process is writing to it.
    pub fn remove(self) -> Result<(), CacheError> {
        let gone = crate::whole_file::beside(&self.folder, ".removed");
        let read_only = || CacheError::io("remove", &self.folder, ErrorKind::ReadOnlyFilesystem.into());
        let lock = lock::Lock::take(&self.folder)?.ok_or_else(read_only)?;
        // What a stopped removal left.
        let _ = std::fs::remove_dir_all(&gone);
        // At once, so that nobody finds a part of it.
        let removed = std::fs::rename(&self.folder, &gone).and_then(|()| std::fs::remove_dir_all(&gone));
        drop(lock);
        removed.map_err(|cause| CacheError::io("remove", &self.folder, cause))
    }

    /// Checks every row and every record of the log against its checksum.
    pub fn verify(&self) -> Result<Checked, CacheError> {
        let reader = self.reader()?;
        let (rows, damaged) = (reader.counts()?.rows, reader.verify()?.len());
        let (lost_records, lost_rows) = (reader.lost_records()?, reader.lost_rows()?);
        Ok(Checked { rows, damaged, lost_records, lost_rows })
    }

    /// Does the same, rebuilds a damaged log from the index, and drops damaged rows.
    pub fn repair(&self) -> Result<Checked, CacheError> {
        // Where the log cannot be read at all, it is made again.
        let lost_records = self.reader().and_then(|reader| reader.lost_records()).unwrap_or(1);
        let lost_rows = self.reader().and_then(|reader| reader.lost_rows()).unwrap_or(0);
        let store = self.store()?;
        if lost_records > 0 {
            store.check_room(0, 0)?;
        }
        let bad = store.verify()?;
        store.forget(&bad)?;
        Ok(Checked { rows: store.counts()?.rows, damaged: bad.len(), lost_records, lost_rows })
    }
}

/// The result of checking an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Items with a latent.
    pub rows: u64,
    /// Those whose latent is damaged.
    pub damaged: usize,
    /// Records of the log that are damaged, or that the index has and the log lacks.
    pub lost_records: u64,
    /// Rows of which neither the index, which is lost, nor the log knows whose they are: what a crash left before they
    /// were known, or what a cut log no longer knows.
    pub lost_rows: u64,
}

impl Checked {
    /// True if nothing is damaged.
    pub fn is_intact(&self) -> bool {
        self.damaged == 0 && self.lost_records == 0
    }
}

/// The entries of a cache folder, by fingerprint; other folders are skipped.
pub fn list(cache: &Path) -> Result<Vec<Entry>, CacheError> {
    let folders = match std::fs::read_dir(cache) {
        Ok(folders) => folders,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(cause) => return Err(CacheError::io("read", cache, cause)),
    };
    let mut entries = Vec::new();
    for folder in folders {
        let folder = folder.map_err(|cause| CacheError::io("read", cache, cause))?.path();
        if folder.extension().is_none() && is_entry(&folder) {
            let info = store::read_info(&folder.join("entry.json")).unwrap_or_default();
            let fingerprint = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            entries.push(Entry { fingerprint, info, folder });
        }
    }
    entries.sort_by(|a, b| a.fingerprint.cmp(&b.fingerprint));
    Ok(entries)
}

/// True if there is an entry in `folder`; one that cannot be looked into is one too, and says so where it is opened.
fn is_entry(folder: &Path) -> bool {
    let is_there = |file: &&str| match std::fs::metadata(folder.join(file)) {
        Ok(found) => found.is_file(),
        Err(error) => !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
    };
    [log::FILE, index::FILE, segments::FIRST].iter().any(is_there)
}
