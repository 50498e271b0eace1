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
//! ```

mod absent;
mod cached;
mod disk;
mod index;
mod journal;
mod key;
mod known;
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

use crate::bytes::Bytes;

pub use cached::CachedLatents;
pub use key::{Fingerprint, Key};
pub use known::{Counts, Known};
pub use reader::Reader;
pub use shelf::Shelf;
pub use stamps::FileStamps;
pub use store::{EntryInfo, Store};

/// What can go wrong with the cache.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum CacheError {
    #[error("cannot {doing} {}: {cause}; check the space on the disk and the folder's permissions, or name another \
             folder with --cache", path.display())]
    Io { doing: &'static str, path: PathBuf, cause: io::Error },
    #[error("the index {}: {cause}; where rows.log lies beside it, the next use that may write there makes it again; \
             else move the folder away, and its items are encoded again", path.display())]
    Index { path: PathBuf, cause: Box<redb::Error> },
    #[error("{} is in use by another fusemix process: wait until that ends; another folder with --cache would have \
             everything encoded, and paid for, again", path.display())]
    InUse { path: PathBuf },
    #[error("another process has taken the latents of encoder `{encoder}` out of the cache meanwhile; run it again")]
    Cleared { encoder: String },
    #[error("{} was written by a newer fusemix: use that one, or name another folder with --cache", path.display())]
    Newer { path: PathBuf },
    #[error("{} was in use when a program or the machine ended; let any command use it once where it may be written",
            path.display())]
    Unclean { path: PathBuf },
    #[error("{} holds latents of {stored} values, and here comes one of {got}: the encoder has changed without saying \
             so in its fingerprint", path.display())]
    Width { path: PathBuf, stored: usize, got: usize },
    #[error("the latents that are under way take {needed}, and {free} are free where {} is: nothing more is sent; make \
             room, or name another folder with --cache, and run this again", path.display())]
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
    /// Whose latents these are.
    pub info: EntryInfo,
    folder: PathBuf,
}

impl Entry {
    /// Opens the latents to write.
    pub fn store(&self) -> Result<Store, CacheError> {
        Store::at(&self.folder)
    }

    /// Opens the latents to read, whoever writes meanwhile.
    pub fn reader(&self) -> Result<Reader, CacheError> {
        Reader::at(&self.folder)
    }
}

/// What a cache folder holds, by fingerprint; a folder that is no entry is passed over.
pub fn list(cache: &Path) -> Result<Vec<Entry>, CacheError> {
    let folders = match std::fs::read_dir(cache) {
        Ok(folders) => folders,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(cause) => return Err(CacheError::io("read", cache, cause)),
    };
    let mut entries = Vec::new();
    for folder in folders {
        let folder = folder.map_err(|cause| CacheError::io("read", cache, cause))?.path();
        if is_entry(&folder) {
            let info = store::read_info(&folder.join("entry.json")).unwrap_or_default();
            let fingerprint = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            entries.push(Entry { fingerprint, info, folder });
        }
    }
    entries.sort_by(|a, b| a.fingerprint.cmp(&b.fingerprint));
    Ok(entries)
}

fn is_entry(folder: &Path) -> bool {
    [log::FILE, index::FILE].iter().any(|file| folder.join(file).is_file())
}
