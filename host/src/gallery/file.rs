//! Maps of append-only files, of which a known number of bytes counts.

use memmap2::{Mmap, MmapOptions};
use std::fs::File;
use std::path::Path;

use super::GalleryError;

/// Maps the first `bytes` bytes of `path`, which count; later bytes do not.
pub(super) fn map(path: &Path, bytes: u64) -> Result<Mmap, GalleryError> {
    map_opened(&File::open(path).map_err(|cause| GalleryError::io("open", path, cause))?, path, bytes)
}

/// The same of a file that is open.
pub(super) fn map_opened(file: &File, path: &Path, bytes: u64) -> Result<Mmap, GalleryError> {
    let there = file.metadata().map_err(|cause| GalleryError::io("read", path, cause))?.len();
    if there < bytes {
        return Err(GalleryError::Cut { path: path.to_owned(), bytes: there, needed: bytes });
    }
    // SAFETY: bytes that count are never written again, and nobody shortens the file: the folder is this program's own.
    // A user who truncates a file under a running program ends it with a bus error.
    let map = unsafe { MmapOptions::new().len(bytes as usize).map(file) };
    map.map_err(|cause| GalleryError::io("map", path, cause))
}
