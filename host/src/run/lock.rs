//! The right to train into a run folder, which one process has.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::RunError;
use super::folder::is_run;
use super::replace;
use crate::file_lock::PathLock;
use crate::whole_file::{beside, named};

/// What the name of a lock has after that of its run.
const LOCK: &str = ".lock";

/// True if a process trains into `path`.
pub(super) fn is_locked(path: &Path) -> bool {
    let lock = fs::File::open(beside(path, LOCK));
    lock.is_ok_and(|lock| matches!(lock.try_lock(), Err(fs::TryLockError::WouldBlock)))
}

/// The right to train into `path`: what was stopped there before is completed, or taken back.
pub(super) fn locked(path: &Path) -> Result<(PathBuf, PathLock), RunError> {
    let path = named(path);
    if path.is_file() {
        return Err(RunError::NoFolder { path, made: true });
    }
    if path.is_symlink() && !path.exists() {
        return Err(RunError::Dangling { path });
    }
    let write = |cause| RunError::Write { path: path.clone(), cause };
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(write)?;
    }
    let lock = PathLock::take(beside(&path, LOCK)).map_err(write)?;
    let lock = lock.ok_or_else(|| RunError::InUse { path: path.clone() })?;
    replace::recover(&path, is_run).map_err(write)?;
    Ok((path, lock))
}
