//! The log: a record of 64 bytes per commit, so that no record straddles a sector and the last is easy to find.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::file::AppendFile;
use super::{GalleryError, file};

/// The file's name.
pub(super) const FILE: &str = "log";
/// Bytes of a record.
const RECORD: usize = 64;

/// The part of each file that counts after a commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Rows, including removed ones.
    pub(super) rows: usize,
    /// Bytes of items.jsonl.
    pub(super) items: u64,
    /// Rows in `removed`.
    pub(super) removed: usize,
}

/// The record of a commit in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) counts: Counts,
    pub(super) sums: Sums,
}

/// Checksums of what a commit appended to each file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) vectors: u64,
    pub(super) items: u64,
    pub(super) offsets: u64,
    pub(super) removed: u64,
}

/// A checksum of all of `parts`, one after the other.
pub(super) fn sum<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    u64::from_le_bytes(*hasher.finalize().as_bytes().first_chunk().expect("a hash has 32 bytes"))
}

impl Record {
    /// The words of the record and its checksum, which covers the record's place.
    fn to_bytes(self, commit: u64) -> [u8; RECORD] {
        let Self { counts, sums } = self;
        let words = [
            counts.rows as u64,
            counts.items,
            counts.removed as u64,
            sums.vectors,
            sums.items,
            sums.offsets,
            sums.removed,
        ];
        let mut bytes = [0; RECORD];
        for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        let check = sum([&bytes[..RECORD - 8], &commit.to_le_bytes()]);
        bytes[RECORD - 8..].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    /// Parses a record at this place; none if the bytes are not one.
    fn from_bytes(bytes: &[u8; RECORD], commit: u64) -> Option<Self> {
        let mut words = [0; RECORD / 8];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        let [rows, lines, removed, vectors, items, offsets, gone, _] = words;
        let counts =
            Counts { rows: usize::try_from(rows).ok()?, items: lines, removed: usize::try_from(removed).ok()? };
        let record = Self { counts, sums: Sums { vectors, items, offsets, removed: gone } };
        (record.to_bytes(commit) == *bytes).then_some(record)
    }
}

/// The log of a gallery as of its opening, or of its own last commit.
#[derive(Clone, Debug)]
pub(super) struct Log {
    path: PathBuf,
    /// Commits so far.
    pub(super) commits: u64,
    /// The parts that count after the last commit.
    pub(super) counts: Counts,
}

impl Log {
    /// True if no commit has followed.
    pub(super) fn is_last(&self) -> Result<bool, GalleryError> {
        let file = std::fs::metadata(&self.path).map_err(|cause| GalleryError::io("read", &self.path, cause))?;
        Ok(file.len() < (self.commits + 1) * RECORD as u64)
    }

    pub(super) fn open(folder: &Path) -> Result<Self, GalleryError> {
        let path = folder.join(FILE);
        let mut log = Self { path, commits: 0, counts: Counts::default() };
        let mut file = File::open(&log.path).map_err(|cause| match cause.kind() {
            ErrorKind::NotFound => GalleryError::damaged(&log.path, "it is missing"),
            _ => GalleryError::io("open", &log.path, cause),
        })?;
        let read = |cause| GalleryError::io("read", &log.path, cause);
        // A record that is not whole is of a commit that was killed.
        let mut commits = file.metadata().map_err(read)?.len() / RECORD as u64;
        let mut bytes = [0; RECORD];
        while commits > 0 {
            file.seek(SeekFrom::Start((commits - 1) * RECORD as u64)).map_err(read)?;
            file.read_exact(&mut bytes).map_err(read)?;
            if bytes != [0; RECORD] {
                let record = Record::from_bytes(&bytes, commits - 1).ok_or_else(|| log.damaged(commits - 1))?;
                log.counts = record.counts;
                break;
            }
            // Power failed after the file had grown, and before the record was in it.
            commits -= 1;
        }
        log.commits = commits;
        Ok(log)
    }

    /// The records so far.
    pub(super) fn records(&self) -> Result<Vec<Record>, GalleryError> {
        let map = file::map(&self.path, self.commits * RECORD as u64)?;
        let records = (0..).zip(map.as_chunks().0);
        records.map(|(at, bytes)| Record::from_bytes(bytes, at).ok_or_else(|| self.damaged(at))).collect()
    }

    /// Makes a commit count; everything else in it must already be written and synced.
    pub(super) fn append(&mut self, file: &AppendFile, record: Record) -> Result<(), GalleryError> {
        file.write(self.commits * RECORD as u64, &record.to_bytes(self.commits))?;
        self.commits += 1;
        self.counts = record.counts;
        Ok(())
    }

    fn damaged(&self, commit: u64) -> GalleryError {
        GalleryError::damaged(&self.path, format!("the record of commit {commit} has a wrong checksum"))
    }
}
