//! A copy of a library that nobody else can change.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// A copy that stays for as long as the program runs: loading the same content again gives the same library.
#[derive(Clone)]
pub(super) struct PrivateCopy(Arc<Place>);

struct Place {
    path: PathBuf,
    /// A file without a name, or the folder of the copy.
    #[cfg(target_os = "linux")]
    _file: std::fs::File,
    #[cfg(not(target_os = "linux"))]
    _folder: tempfile::TempDir,
}

impl PrivateCopy {
    /// A copy of `bytes`, whose digest is `digest`, which were read from `path`.
    pub(super) fn of(path: &Path, digest: String, bytes: &[u8]) -> io::Result<Self> {
        static COPIES: Mutex<Option<HashMap<String, PrivateCopy>>> = Mutex::new(None);
        let mut copies = COPIES.lock().unwrap_or_else(PoisonError::into_inner);
        let copies = copies.get_or_insert_default();
        if let Some(copy) = copies.get(&digest) {
            return Ok(copy.clone());
        }
        let copy = Self(Arc::new(place(path, bytes)?));
        copies.insert(digest, copy.clone());
        Ok(copy)
    }

    /// The path to load it from.
    pub(super) fn path(&self) -> &PathBuf {
        &self.0.path
    }
}

/// A file in memory, sealed; its number stays taken, so that no other library has this path.
#[cfg(target_os = "linux")]
fn place(path: &Path, bytes: &[u8]) -> io::Result<Place> {
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
    use std::io::Write;
    use std::os::fd::AsRawFd;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let flags = MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC;
    let mut file = std::fs::File::from(memfd_create(name.as_str(), flags)?);
    file.write_all(bytes)?;
    fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(Place { path: format!("/proc/self/fd/{}", file.as_raw_fd()).into(), _file: file })
}

/// A file in a folder of this user alone.
#[cfg(not(target_os = "linux"))]
fn place(path: &Path, bytes: &[u8]) -> io::Result<Place> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join(path.file_name().unwrap_or_default());
    std::fs::write(&path, bytes)?;
    Ok(Place { path, _folder: folder })
}
