//! Append-only files of which a known number of bytes counts.

use memmap2::{Mmap, MmapOptions};
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use super::GalleryError;
use crate::whole_file;

/// Writes `bytes` from byte `at` of `path` on, over the leftovers of an interrupted commit, and syncs them.
pub(super) fn write(path: &Path, at: u64, bytes: &[u8]) -> Result<(), GalleryError> {
    if bytes.is_empty() {
        return Ok(());
    }
    let write = || {
        let is_new = !path.exists();
        let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        file.seek(SeekFrom::Start(at))?;
        file.write_all(bytes)?;
        file.sync_data()?;
        if is_new { whole_file::sync_folder(path) } else { Ok(()) }
    };
    write().map_err(|cause| GalleryError::io("write", path, cause))
}

/// Maps the first `bytes` bytes of `path`, which count; later bytes do not.
pub(super) fn map(path: &Path, bytes: u64) -> Result<Mmap, GalleryError> {
    let file = File::open(path).map_err(|cause| GalleryError::io("open", path, cause))?;
    let there = file.metadata().map_err(|cause| GalleryError::io("read", path, cause))?.len();
    if there < bytes {
        return Err(GalleryError::Cut { path: path.to_owned(), bytes: there, needed: bytes });
    }
    // SAFETY: bytes that count are never written again, and nobody shortens the file: the folder is this program's own.
    // A user who truncates a file under a running program ends it with a bus error.
    let map = unsafe { MmapOptions::new().len(bytes as usize).map(&file) };
    map.map_err(|cause| GalleryError::io("map", path, cause))
}
