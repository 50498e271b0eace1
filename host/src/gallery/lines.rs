//! The mapped lines of items.jsonl, and the end of each.

use bytemuck::cast_slice;
use memmap2::Mmap;
use std::borrow::Cow;
use std::path::{Path, PathBuf};

use super::files::Files;
use super::ids::Ids;
use super::log::Counts;
use super::{Exhibit, GalleryError, exhibit, file};

/// The file of lines.
pub(super) const ITEMS: &str = "items.jsonl";
/// The file of their ends.
pub(super) const OFFSETS: &str = "offsets";

/// The lines of the rows that count.
#[derive(Debug)]
pub(super) struct Lines {
    folder: PathBuf,
    /// The lines, one after the other.
    pub(super) items: Mmap,
    /// The end of each in `items`.
    pub(super) offsets: Mmap,
}

impl Lines {
    pub(super) fn map(folder: &Path, counts: Counts) -> Result<Self, GalleryError> {
        let items = file::map(&folder.join(ITEMS), counts.items)?;
        let offsets = file::map(&folder.join(OFFSETS), ends(counts))?;
        Ok(Self { folder: folder.to_owned(), items, offsets })
    }

    /// The lines that count now, of the same files.
    pub(super) fn mapped_anew(&self, files: &Files, counts: Counts) -> Result<Self, GalleryError> {
        let (items, offsets) = (files.items.map(counts.items)?, files.offsets.map(ends(counts))?);
        Ok(Self { folder: self.folder.clone(), items, offsets })
    }

    /// The line of a row.
    pub(super) fn line(&self, row: usize) -> Result<&str, GalleryError> {
        let ends: &[u64] = cast_slice(&self.offsets);
        let rows = ends.len();
        let end = *ends.get(row).ok_or(GalleryError::Row { row, rows })?;
        let start = if row == 0 { 0 } else { ends[row - 1] };
        let line = self.items.get(start as usize..end as usize).ok_or_else(|| {
            let what = format!("row {row} has its line from byte {start} to {end} of {}", self.items.len());
            GalleryError::damaged(&self.folder.join(OFFSETS), what)
        })?;
        std::str::from_utf8(line).map_err(|_| self.damaged(row))
    }

    pub(super) fn exhibit(&self, row: usize, columns: usize) -> Result<Exhibit, GalleryError> {
        Exhibit::read(self.line(row)?, columns).ok_or_else(|| self.damaged(row))
    }

    /// The table of these rows' ids.
    pub(super) fn ids(&self, rows: impl Iterator<Item = usize>) -> Result<Ids, GalleryError> {
        let mut ids = Ids::default();
        for row in rows {
            ids.insert(&self.id(row)?, row);
        }
        Ok(ids)
    }

    /// The id of a row.
    pub(super) fn id(&self, row: usize) -> Result<Cow<'_, str>, GalleryError> {
        self.cell(row, 0)?.ok_or_else(|| self.damaged(row))
    }

    /// A row's field as text, without parsing the others; none if it is null. The id is field 0, then come the columns.
    pub(super) fn cell(&self, row: usize, field: usize) -> Result<Option<Cow<'_, str>>, GalleryError> {
        let written = exhibit::field(self.line(row)?, field).ok_or_else(|| self.damaged(row))?;
        if written == "null" {
            return Ok(None);
        }
        exhibit::text(written).map(Some).ok_or_else(|| self.damaged(row))
    }

    fn damaged(&self, row: usize) -> GalleryError {
        let what = format!("the line of row {row} cannot be parsed, or does not end where `{OFFSETS}` says");
        GalleryError::damaged(&self.folder.join(ITEMS), what)
    }
}

/// Bytes of the ends that count.
fn ends(counts: Counts) -> u64 {
    (counts.rows as u64).saturating_mul(8)
}
