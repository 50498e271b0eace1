//! Room on the disk.

use std::path::Path;

/// Bytes that must be free beside what is to be written, for what others write meanwhile; a disk with fewer is full.
pub(super) const LEAST: u64 = 1 << 20;

/// Bytes that are free where `folder` is, if its file system tells.
pub(super) fn free(folder: &Path) -> Option<u64> {
    let disk = fs4::statvfs(folder).ok()?;
    (disk.total_space() > 0).then(|| disk.available_space())
}
