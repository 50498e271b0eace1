//! Append-only files, of which a known number of bytes counts.

use memmap2::{Mmap, MmapOptions};
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::GalleryError;
use crate::whole_file;

/// A file to append to, of which a known number of bytes counts.
#[derive(Debug)]
pub(super) struct AppendFile {
    path: PathBuf,
    file: File,
}

impl AppendFile {
    /// The file at `path`, which must be there unless this `makes` it.
    pub(super) fn open(path: PathBuf, makes: bool) -> Result<Self, GalleryError> {
        let open = || {
            let is_new = makes && !path.exists();
            let file = OpenOptions::new().read(true).write(true).create(makes).truncate(false).open(&path)?;
            if is_new {
                whole_file::sync_folder(&path)?;
            }
            io::Result::Ok(file)
        };
        let file = open().map_err(|cause| GalleryError::io("open", &path, cause))?;
        Ok(Self { path, file })
    }

    /// Writes bytes from byte `at` on, over the leftovers of an interrupted commit, and syncs them.
    pub(super) fn write(&self, at: u64, bytes: &[u8]) -> Result<(), GalleryError> {
        if bytes.is_empty() {
            return Ok(());
        }
        let mut file = &self.file;
        let mut write = || {
            file.seek(SeekFrom::Start(at))?;
            file.write_all(bytes)?;
            file.sync_data()
        };
        write().map_err(|cause| GalleryError::io("write", &self.path, cause))
    }

    /// Removes what is beyond its first bytes, which count, as far as that can be done.
    pub(super) fn cut(&self, bytes: u64) {
        if self.file.metadata().is_ok_and(|file| file.len() > bytes) {
            let _ = self.file.set_len(bytes);
        }
    }

    /// Maps its first bytes, which count.
    pub(super) fn map(&self, bytes: u64) -> Result<Mmap, GalleryError> {
        mapped(&self.file, &self.path, bytes)
    }
}

/// Maps the first `bytes` bytes of `path`, which count; later bytes do not.
pub(super) fn map(path: &Path, bytes: u64) -> Result<Mmap, GalleryError> {
    mapped(&File::open(path).map_err(|cause| GalleryError::io("open", path, cause))?, path, bytes)
}

fn mapped(file: &File, path: &Path, bytes: u64) -> Result<Mmap, GalleryError> {
    let there = file.metadata().map_err(|cause| GalleryError::io("read", path, cause))?.len();
    if there < bytes {
        return Err(GalleryError::Cut { path: path.to_owned(), bytes: there, needed: bytes });
    }
    // SAFETY: bytes that count are never written again, and nobody takes them from the file: the folder is this program's
    // own. A user who truncates a file under a running program ends it with a bus error.
    let map = unsafe { MmapOptions::new().len(bytes as usize).map(file) };
    map.map_err(|cause| GalleryError::io("map", path, cause))
}
