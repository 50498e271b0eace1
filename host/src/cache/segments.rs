//! The rows of an entry: append-only files of raw little-endian f32, memory-mapped as they are.

use bytemuck::cast_slice;
use memmap2::Mmap;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::CacheError;
use super::record::Row;
use crate::latents::advise;
use crate::whole_file;

/// The maximum size of a segment, in bytes.
const SEGMENT: usize = 1 << 30;

/// The first of these files.
pub(super) const FIRST: &str = "segment-000000.f32";

/// The files of rows of `width` values: `segment-000000.f32` and so on, each filled up before the next.
#[derive(Clone, Debug)]
pub(super) struct Segments {
    folder: PathBuf,
    pub(super) width: usize,
}

impl Segments {
    pub(super) fn new(folder: &Path, width: usize) -> Self {
        Self { folder: folder.to_owned(), width }
    }

    fn rows_per_segment(&self) -> u64 {
        (SEGMENT / self.row_bytes()).max(1) as u64
    }

    fn row_bytes(&self) -> usize {
        self.width * size_of::<f32>()
    }

    fn path(&self, segment: u64) -> PathBuf {
        self.folder.join(format!("segment-{segment:06}.f32"))
    }

    /// Writes whole rows from row `first` on, over the leftovers of an interrupted run, and syncs them.
    pub(super) fn write(&self, mut first: u64, mut rows: &[f32]) -> Result<(), CacheError> {
        while !rows.is_empty() {
            let (segment, at) = (first / self.rows_per_segment(), first % self.rows_per_segment());
            let count = (rows.len() / self.width).min((self.rows_per_segment() - at) as usize);
            let (now, later) = rows.split_at(count * self.width);
            let path = self.path(segment);
            let write = || {
                let is_new = !path.exists();
                let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(&path)?;
                file.seek(SeekFrom::Start(at * self.row_bytes() as u64))?;
                file.write_all(cast_slice(now))?;
                file.sync_data()?;
                if is_new { whole_file::sync_folder(&path) } else { Ok(()) }
            };
            write().map_err(|cause| CacheError::io("write", &path, cause))?;
            (first, rows) = (first + count as u64, later);
        }
        Ok(())
    }

    /// Maps the first `rows` rows, or as many as exist; rows that `mapped` already has stay mapped.
    pub(super) fn map(&self, rows: u64, mapped: &[Arc<Map>]) -> Result<Mapped, CacheError> {
        let mut maps = Vec::new();
        for segment in 0..rows.div_ceil(self.rows_per_segment()) {
            let path = self.path(segment);
            let end = (rows - segment * self.rows_per_segment()).min(self.rows_per_segment()) as usize;
            let map = match mapped.get(segment as usize) {
                Some(map) if map.bytes.len() >= end * self.row_bytes() => map.clone(),
                // The same file, whatever has its name now.
                Some(map) => Arc::new(Map::new(map.file.clone(), &path)?),
                None => match File::open(&path) {
                    Err(error) if error.kind() == ErrorKind::NotFound => break,
                    file => {
                        let file = file.map_err(|cause| CacheError::io("open", &path, cause))?;
                        Arc::new(Map::new(Arc::new(file), &path)?)
                    }
                },
            };
            maps.push(map);
        }
        Ok(Mapped { maps, rows_per_segment: self.rows_per_segment(), width: self.width })
    }

    /// Whole rows on the disk, known or not.
    pub(super) fn on_disk(&self) -> Result<u64, CacheError> {
        let mut rows = 0;
        for path in (0..).map(|segment| self.path(segment)) {
            match std::fs::metadata(&path) {
                Ok(file) => rows += (file.len() / self.row_bytes() as u64).min(self.rows_per_segment()),
                Err(error) if error.kind() == ErrorKind::NotFound => break,
                Err(cause) => return Err(CacheError::io("look at", &path, cause)),
            }
        }
        Ok(rows)
    }

    /// True if there are rows.
    pub(super) fn are_there(&self) -> bool {
        self.path(0).exists()
    }

    /// Removes all rows. Existing mappings keep them.
    pub(super) fn remove(&self) -> Result<(), CacheError> {
        for path in (0..).map(|segment| self.path(segment)) {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => break,
                removed => removed.map_err(|cause| CacheError::io("remove", &path, cause))?,
            }
        }
        Ok(())
    }
}

/// A segment in memory.
#[derive(Debug)]
pub(super) struct Map {
    file: Arc<File>,
    bytes: Mmap,
}

impl Map {
    fn new(file: Arc<File>, path: &Path) -> Result<Self, CacheError> {
        // SAFETY: committed rows are never written again, and nobody shortens a segment: the cache is this program's
        // own folder. A user who truncates a file under a running program ends it with a bus error.
        let bytes = unsafe { Mmap::map(&*file) }.map_err(|cause| CacheError::io("map", path, cause))?;
        Ok(Self { file, bytes })
    }
}

/// Rows in memory.
#[derive(Debug, Default)]
pub(super) struct Mapped {
    pub(super) maps: Vec<Arc<Map>>,
    rows_per_segment: u64,
    pub(super) width: usize,
}

impl Mapped {
    /// Rows that are mapped without a gap.
    pub(super) fn rows(&self) -> u64 {
        let row = (self.width * size_of::<f32>()).max(1);
        let rows = |map: &Arc<Map>| ((map.bytes.len() / row) as u64).min(self.rows_per_segment);
        let full = self.maps.iter().take_while(|map| rows(map) == self.rows_per_segment).count();
        full as u64 * self.rows_per_segment + self.maps.get(full).map_or(0, rows)
    }

    /// Row `row`; none if it was not committed when the segments were mapped, or was truncated since.
    pub(super) fn row(&self, row: u64) -> Option<&[f32]> {
        let (map, bytes) = self.place(row)?;
        // A map starts at a page, and a row at a multiple of 4 bytes from it.
        Some(cast_slice(map.bytes.get(bytes)?))
    }

    /// True if the row exists and is as it was stored.
    pub(super) fn is_whole(&self, Row { at, sum }: Row) -> bool {
        self.row(at).is_some_and(|values| checksum(values) == sum)
    }

    /// Starts reading row `row`.
    pub(super) fn read_ahead(&self, row: u64) {
        if let Some((map, bytes)) = self.place(row) {
            advise(&map.bytes, bytes);
        }
    }

    fn place(&self, row: u64) -> Option<(&Map, Range<usize>)> {
        let bytes = self.width * size_of::<f32>();
        let start = (row.checked_rem(self.rows_per_segment)?) as usize * bytes;
        Some((self.maps.get((row / self.rows_per_segment) as usize)?, start..start + bytes))
    }
}

/// The checksum of a row.
pub(super) fn checksum(row: &[f32]) -> u64 {
    let hash = blake3::hash(cast_slice(row));
    u64::from_le_bytes(*hash.as_bytes().first_chunk().expect("a hash has 32 bytes"))
}

/// True if the length of a row is 1.
pub(super) fn is_unit(row: &[f32]) -> bool {
    (row.iter().map(|value| f64::from(value * value)).sum::<f64>() - 1.0).abs() < 1e-3
}
