//! A lock on a file, which one process has at a time.

use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind};
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
