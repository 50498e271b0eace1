//! A lock that gives an entry one writer.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

use super::CacheError;

/// The wait for an entry that another process holds: a lookup takes moments; anything longer is an encoding.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// The pause between two attempts.
pub(super) const PAUSE: Duration = Duration::from_millis(50);

/// The right to write to an entry, held until dropped.
pub(super) struct Lock {
    /// The locked file, unless the file system has no locks.
    _file: File,
}

impl Lock {
    /// Waits for the lock of the entry in `folder`; none if this process may not write.
    pub(super) fn take(folder: &Path) -> Result<Option<Self>, CacheError> {
        let path = folder.join("lock");
        let file = match File::options().create(true).truncate(false).write(true).open(&path) {
            Err(error) if may_only_read(error.kind()) => return Ok(None),
            file => file.map_err(|cause| CacheError::io("open", &path, cause))?,
        };
        let start = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Some(Self { _file: file })),
                Err(TryLockError::WouldBlock) if start.elapsed() < PATIENCE => std::thread::sleep(PAUSE),
                Err(TryLockError::WouldBlock) => return Err(CacheError::InUse { path: folder.to_owned() }),
                Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => {
                    return Ok(Some(Self { _file: file }));
                }
                Err(TryLockError::Error(cause)) => return Err(CacheError::io("lock", &path, cause)),
            }
        }
    }
}

/// True for kinds of errors that still allow reading.
pub(super) fn may_only_read(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem | ErrorKind::StorageFull)
}
