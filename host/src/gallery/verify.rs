//! Verification of the files against the checksums of every commit.

use rayon::prelude::*;
use std::fs;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::Path;

use super::lines::{ITEMS, OFFSETS};
use super::log::{self, Counts, Record, sum};
use super::snapshot::REMOVED;
use super::{Gallery, GalleryError, codes, file, vectors};

/// A commit: its number, what counted before it, and its record.
type Commit<'a> = (usize, (Counts, &'a Record));

impl Gallery {
    /// Reads every byte that counts and checks it against its commit's checksum; the error names the file. Returns the
    /// bytes beyond the last commit: what an interrupted commit left, or what the log no longer counts if it was cut.
    pub fn verify(&self) -> Result<u64, GalleryError> {
        if self.codes.as_ref().is_some_and(|codes| !codes.are_whole()) {
            let what = "its codes have changed; make them anew with `fusemix gallery index`";
            return Err(GalleryError::damaged(&self.folder.join(codes::FILE), what));
        }
        let records = self.log.records()?;
        let removed = file::map(&self.folder.join(REMOVED), self.log.counts.removed as u64 * 8)?;
        let before = std::iter::once(Counts::default()).chain(records.iter().map(|record| record.counts));
        let commits: Vec<Commit<'_>> = before.zip(&records).enumerate().collect();
        let faults = commits.par_iter().find_map_first(|commit| self.fault(commit, &removed));
        faults.map_or_else(|| self.uncounted(), Err)
    }

    /// Bytes of its files beyond the last commit.
    pub(super) fn uncounted(&self) -> Result<u64, GalleryError> {
        let Counts { rows, items, removed } = self.log.counts;
        let segments = rows.div_ceil(self.header.segment).max(1);
        let vectors = (0..=segments).map(|segment| {
            let counted = rows.saturating_sub(segment * self.header.segment).min(self.header.segment);
            (vectors::path(&self.folder, &self.header, segment), (counted * self.header.row_bytes()) as u64)
        });
        let others = [(OFFSETS, rows as u64 * 8), (ITEMS, items), (REMOVED, removed as u64 * 8)];
        let files = vectors.chain(others.map(|(file, counted)| (self.folder.join(file), counted)));
        let length = |path: &Path| match fs::metadata(path) {
            Ok(metadata) => Ok(metadata.len()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
            Err(cause) => Err(GalleryError::io("read", path, cause)),
        };
        files.map(|(path, counted)| Ok(length(&path)?.saturating_sub(counted))).sum()
    }

    fn fault(
        &self,
        &(commit, (before, Record { counts: after, sums })): &Commit<'_>,
        removed: &[u8],
    ) -> Option<GalleryError> {
        let rows = before.rows..after.rows;
        let ends = rows.start * 8..rows.end * 8;
        let of = |bytes: &[u8], range: Range<usize>| bytes.get(range).map(|bytes| sum([bytes]));
        let items = of(&self.lines.items, before.items as usize..after.items as usize);
        let offsets = of(&self.lines.offsets, ends);
        let removed = of(removed, before.removed * 8..after.removed * 8);
        let file = if items.is_none() || offsets.is_none() || removed.is_none() {
            self.folder.join(log::FILE)
        } else if sum(self.vectors.stored(rows.clone())) != sums.vectors {
            vectors::path(&self.folder, &self.header, rows.start / self.header.segment)
        } else if items != Some(sums.items) {
            self.folder.join(ITEMS)
        } else if offsets != Some(sums.offsets) {
            self.folder.join(OFFSETS)
        } else if removed != Some(sums.removed) {
            self.folder.join(REMOVED)
        } else {
            return None;
        };
        let goes_on = rows.start / self.header.segment < rows.end.saturating_sub(1) / self.header.segment;
        let place = if goes_on { ", here or in a later segment" } else { "" };
        let what = format!("rows {} to {} of commit {commit} have changed{place}", rows.start, rows.end);
        Some(GalleryError::damaged(&file, what))
    }
}
