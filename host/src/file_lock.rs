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

/// The file of a folder's lock.
pub(crate) const LOCK: &str = "lock";

/// A folder that one process fills, made if necessary; the lock goes with the folder where it is renamed.
#[derive(Debug)]
pub(crate) struct FolderLock {
    file: File,
}

impl FolderLock {
    /// Takes the lock of `folder`; none if another process has it for too long.
    pub(crate) fn take(folder: &Path) -> io::Result<Option<Self>> {
        loop {
            fs::create_dir_all(folder)?;
            let file = File::options().write(true).create(true).truncate(false).open(path(folder))?;
            if !lock(&file)? {
                return Ok(None);
            }
            let taken = Self { file };
            // Another that finished meanwhile took the folder, or the file, with it.
            if taken.is_of(folder)? {
                return Ok(Some(taken));
            }
        }
    }

    /// True if `folder` is the folder that this locks.
    fn is_of(&self, folder: &Path) -> io::Result<bool> {
        match same_file::Handle::from_path(path(folder)) {
            Ok(there) => Ok(there == same_file::Handle::from_file(self.file.try_clone()?)?),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn path(folder: &Path) -> PathBuf {
    folder.join(LOCK)
}
