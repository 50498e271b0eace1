//! A new gallery on its way: under another name until it is complete.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{Gallery, GalleryError, GalleryInfo, Writer, writer};
use crate::file_lock::PathLock;
use crate::whole_file;

/// A gallery that appears in its folder once it is finished; dropped before, it leaves nothing.
#[derive(Debug)]
pub struct Building {
    out: PathBuf,
    part: PathBuf,
    /// None before there are files, and once it is finished.
    writer: Option<Writer>,
    /// Dropped last.
    _lock: PathLock,
}

impl Building {
    /// A new gallery that will appear in `out`, which must be new or empty. Another process that builds there excludes
    /// this one; what a stopped one left is removed.
    pub fn start(out: &Path, info: GalleryInfo) -> Result<Self, GalleryError> {
        check_free(out)?;
        let out = &whole_file::named(out);
        let lock = lock(out)?;
        // Another may have finished while this waited.
        check_free(out)?;
        let part = whole_file::beside(out, ".building");
        writer::remove_left(&part)?;
        let mut building = Self { out: out.to_owned(), part, writer: None, _lock: lock };
        building.writer = Some(Writer::create(&building.part, info)?);
        Ok(building)
    }

    /// Its writer.
    pub fn writer(&mut self) -> &mut Writer {
        self.writer.as_mut().expect("it is there until `finish`, which takes the building")
    }

    /// Makes the gallery appear.
    pub fn finish(mut self) -> Result<(), GalleryError> {
        check_free(&self.out)?;
        let _ = fs::remove_dir(&self.out);
        // Some systems rename no folder with open files.
        let writer = self.writer.take();
        drop(writer);
        let moved = fs::rename(&self.part, &self.out).and_then(|()| whole_file::sync_folder(&self.out));
        moved.map_err(|cause| GalleryError::io("write", &self.out, cause))
    }
}

impl Drop for Building {
    fn drop(&mut self) {
        drop(self.writer.take());
        // Gone already if it has appeared.
        let _ = writer::remove_left(&self.part);
    }
}

/// Refuses a place where no gallery can be built, before there is anything to put into one.
pub fn check_place(out: &Path) -> Result<(), GalleryError> {
    check_free(out)?;
    lock(&whole_file::named(out)).map(drop)
}

/// The right to build a gallery in `out`.
fn lock(out: &Path) -> Result<PathLock, GalleryError> {
    let path = whole_file::beside(out, ".building.lock");
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|cause| GalleryError::io("make", parent, cause))?;
    }
    let lock = PathLock::take(path.clone()).map_err(|cause| GalleryError::io("lock", &path, cause))?;
    lock.ok_or_else(|| GalleryError::InUse { path: out.to_owned() })
}

/// Refuses a folder that is used: a gallery is built into a new or empty one.
fn check_free(out: &Path) -> Result<(), GalleryError> {
    if whole_file::holds_this_process(out) {
        return Err(GalleryError::Current { path: out.to_owned() });
    }
    if out.is_file() {
        return Err(GalleryError::File { path: out.to_owned() });
    }
    if Gallery::is_in(out) {
        return Err(GalleryError::Exists { path: out.to_owned() });
    }
    let first = match fs::read_dir(out) {
        Ok(mut entries) => entries.next(),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(cause) => return Err(GalleryError::io("read", out, cause)),
    };
    match first {
        None => Ok(()),
        Some(entry) => {
            let entry = entry.map_err(|cause| GalleryError::io("read", out, cause))?;
            let file = entry.file_name().to_string_lossy().into_owned();
            Err(GalleryError::NotEmpty { path: out.to_owned(), file })
        }
    }
}
