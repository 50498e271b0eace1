//! The files that a writer appends to: opened once, so that a gallery which takes this one's place gets nothing of it.

use std::path::{Path, PathBuf};

use super::file::AppendFile;
use super::info::{self, Header};
use super::lines::{ITEMS, OFFSETS};
use super::log::Counts;
use super::snapshot::REMOVED;
use super::stamp::Stamp;
use super::{GalleryError, log, vectors};

/// The files of a gallery.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    /// That of gallery.json.
    stamp: Option<Stamp>,
    pub(super) items: AppendFile,
    pub(super) offsets: AppendFile,
    pub(super) removed: AppendFile,
    pub(super) log: AppendFile,
    /// The last segment of vectors that was written, with its number.
    segment: Option<(usize, AppendFile)>,
}

impl Files {
    /// The files in `folder`; `stamp` is that of its gallery.json.
    pub(super) fn open(folder: &Path, stamp: Option<Stamp>) -> Result<Self, GalleryError> {
        let open = |name| AppendFile::open(folder.join(name), false);
        Ok(Self {
            folder: folder.to_owned(),
            stamp,
            items: open(ITEMS)?,
            offsets: open(OFFSETS)?,
            removed: open(REMOVED)?,
            log: open(log::FILE)?,
            segment: None,
        })
    }

    /// An error if the gallery was removed, or another one has taken its place.
    pub(super) fn check_place(&self) -> Result<(), GalleryError> {
        match Stamp::of(&self.folder.join(info::FILE)) == self.stamp {
            true => Ok(()),
            false => Err(GalleryError::Rebuilt { path: self.folder.clone() }),
        }
    }

    /// Writes stored rows from row `first` on, as [`AppendFile::write`] does.
    pub(super) fn write_vectors(
        &mut self,
        header: &Header,
        mut first: usize,
        mut rows: &[u8],
    ) -> Result<(), GalleryError> {
        let bytes = header.row_bytes();
        while !rows.is_empty() {
            let (segment, at) = (first / header.segment, first % header.segment);
            let count = (rows.len() / bytes).min(header.segment - at);
            let (now, later) = rows.split_at(count * bytes);
            self.segment(header, segment, at == 0)?.write((at * bytes) as u64, now)?;
            (first, rows) = (first + count, later);
        }
        Ok(())
    }

    /// Removes what a commit has written that failed, so that it takes no room, as far as that can be done; of vectors, in
    /// the last segment.
    pub(super) fn cut(&self, header: &Header, before: Counts) {
        if let Some((number, open)) = &self.segment {
            let rows = before.rows.saturating_sub(number * header.segment);
            open.cut((rows * header.row_bytes()) as u64);
        }
        self.items.cut(before.items);
        self.offsets.cut(before.rows as u64 * 8);
        self.removed.cut(before.removed as u64 * 8);
    }

    fn segment(&mut self, header: &Header, number: usize, is_new: bool) -> Result<&AppendFile, GalleryError> {
        let open = match self.segment.take() {
            Some((known, open)) if known == number => open,
            _ => {
                self.check_place()?;
                let open = AppendFile::open(vectors::path(&self.folder, header, number), is_new)?;
                // Else it may be another's.
                self.check_place()?;
                open
            }
        };
        Ok(&self.segment.insert((number, open)).1)
    }
}
