//! Stamps of files.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

/// The marks by which a file is told from another that has taken its place.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// The file's device and number.
    #[cfg(unix)]
    identity: (u64, u64),
    length: u64,
    modified: Option<SystemTime>,
}

impl Stamp {
    /// The stamp of the file at `path`; none if there is no such file.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let there = fs::metadata(path).ok()?;
        #[cfg(unix)]
        let identity = {
            use std::os::unix::fs::MetadataExt;
            (there.dev(), there.ino())
        };
        Some(Self {
            #[cfg(unix)]
            identity,
            length: there.len(),
            modified: there.modified().ok(),
        })
    }
}
