//! Free disk space.

use std::path::Path;

/// Bytes that must stay free besides those to be written, for other writers; a disk with fewer is full.
pub(super) const LEAST: u64 = 1 << 20;

/// Free bytes on the disk of `folder`, if its file system reports them.
pub(super) fn free(folder: &Path) -> Option<u64> {
    let disk = fs4::statvfs(folder).ok()?;
    (disk.total_space() > 0).then(|| disk.available_space())
}
