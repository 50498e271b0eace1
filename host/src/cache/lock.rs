//! A lock that gives an entry one writer.

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;

use super::CacheError;
use crate::file_lock;

/// The right to write to an entry, held until dropped.
pub(super) struct Lock {
    /// The locked file, unless the file system has no locks.
    _file: File,
}

impl Lock {
    /// Waits for the lock of the entry in `folder`; none if this process may not write.
    pub(super) fn take(folder: &Path) -> Result<Option<Self>, CacheError> {
        let path = folder.join("lock");
        match file_lock::open_locked(&path) {
            Ok(Some(file)) => Ok(Some(Self { _file: file })),
            Ok(None) => Err(CacheError::InUse { path: folder.to_owned() }),
            Err(error) if may_only_read(error.kind()) => Ok(None),
            Err(cause) => Err(CacheError::io("lock", &path, cause)),
        }
    }
}

/// True for kinds of errors that still allow reading.
pub(super) fn may_only_read(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem | ErrorKind::StorageFull)
}
