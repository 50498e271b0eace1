//! Locks on files and folders, which one process has at a time.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The longest wait for a lock: looking something up takes moments; what takes longer is real work.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);
/// Time between two attempts.
pub(crate) const PAUSE: Duration = Duration::from_millis(20);

/// Locks `file` until it is closed; false if another process has the lock for too long. Where the file system knows no
/// locks, nobody has it.
pub(crate) fn lock(file: &File) -> io::Result<bool> {
    let start = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) if start.elapsed() < PATIENCE => std::thread::sleep(PAUSE),
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => return Ok(true),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// Opens and locks the file at `path`, making it if necessary; none if another process has it for too long.
pub(crate) fn open_locked(path: &Path) -> io::Result<Option<File>> {
    loop {
        let file = File::options().write(true).create(true).truncate(false).open(path)?;
        if !lock(&file)? {
            return Ok(None);
        }
        // Whoever had it may have taken the file away, alone or with its folder.
        if is_at(&file, path)? {
            return Ok(Some(file));
        }
    }
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    match same_file::Handle::from_path(path) {
        Ok(there) => Ok(there == same_file::Handle::from_file(file.try_clone()?)?),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// A locked file that is there only while it is locked.
#[derive(Debug)]
pub(crate) struct PathLock {
    path: PathBuf,
    _file: File,
}

impl PathLock {
    /// Takes the lock; none if another process has it for too long.
    pub(crate) fn take(path: PathBuf) -> io::Result<Option<Self>> {
        Ok(open_locked(&path)?.map(|file| Self { path, _file: file }))
    }
}

impl Drop for PathLock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
