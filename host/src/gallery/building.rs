//! A new gallery on its way: under another name until it is complete.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{Gallery, GalleryError, GalleryInfo, Writer};
use crate::whole_file;

/// A gallery that appears in its folder once it is finished; dropped before, it leaves nothing.
#[derive(Debug)]
pub struct Building {
    out: PathBuf,
    part: PathBuf,
    writer: Writer,
    finished: bool,
}

impl Building {
    /// A new gallery that will appear in `out`, which must be new or empty. Another process that builds there excludes
    /// this one; what a stopped one left is removed.
    pub fn start(out: &Path, info: GalleryInfo) -> Result<Self, GalleryError> {
        check_free(out)?;
        let part = whole_file::beside(out, ".building");
        let writer = Writer::create_anew(&part, info).map_err(|error| match error {
            GalleryError::InUse { .. } => GalleryError::InUse { path: out.to_owned() },
            error => error,
        })?;
        let building = Self { out: out.to_owned(), part, writer, finished: false };
        // Another may have finished while this waited.
        check_free(out)?;
        Ok(building)
    }

    /// Its writer.
    pub fn writer(&mut self) -> &mut Writer {
        &mut self.writer
    }

    /// Makes the gallery appear.
    pub fn finish(mut self) -> Result<(), GalleryError> {
        check_free(&self.out)?;
        let _ = fs::remove_dir(&self.out);
        let moved = fs::rename(&self.part, &self.out).and_then(|()| whole_file::sync_folder(&self.out));
        moved.map_err(|cause| GalleryError::io("write", &self.out, cause))?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for Building {
    fn drop(&mut self) {
        if !self.finished {
            let _ = fs::remove_dir_all(&self.part);
        }
    }
}

/// Refuses a folder that is used: a gallery is built into a new or empty one.
pub fn check_free(out: &Path) -> Result<(), GalleryError> {
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
