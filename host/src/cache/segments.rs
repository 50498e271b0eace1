//! The rows of an entry: append-only files of raw little-endian f32, mapped into memory as they are.

use bytemuck::cast_slice;
use memmap2::Mmap;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::CacheError;
use crate::latents::advise;
use crate::whole_file;

/// The most that a segment holds, in bytes.
const SEGMENT: usize = 1 << 30;

/// Where rows of `width` values live: `segment-000000.f32` and so on, each filled up before the next.
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

    /// Writes whole rows from row `first` on, over whatever an interrupted run left there, and syncs them.
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

    /// Maps the first `rows` rows, or those of them that are there.
    pub(super) fn map(&self, rows: u64) -> Result<Mapped, CacheError> {
        let segments = rows.div_ceil(self.rows_per_segment());
        let mut maps = Vec::new();
        for segment in 0..segments {
            let path = self.path(segment);
            let file = match File::open(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => break,
                file => file.map_err(|cause| CacheError::io("open", &path, cause))?,
            };
            // SAFETY: committed rows are never written again, and nobody shortens a segment: the cache is this
            // program's own folder. A user who truncates a file under a running program ends it with a bus error.
            let map = unsafe { Mmap::map(&file) }.map_err(|cause| CacheError::io("map", &path, cause))?;
            maps.push(map);
        }
        Ok(Mapped { maps, rows_per_segment: self.rows_per_segment(), width: self.width })
    }
}

/// Rows in memory.
#[derive(Debug)]
pub(super) struct Mapped {
    maps: Vec<Mmap>,
    rows_per_segment: u64,
    pub(super) width: usize,
}

impl Mapped {
    /// Row `row`; none if it was not committed when the segments were mapped, or somebody has cut them.
    pub(super) fn row(&self, row: u64) -> Option<&[f32]> {
        let (map, bytes) = self.place(row)?;
        // A map starts at a page, and a row at a multiple of 4 bytes from it.
        Some(cast_slice(map.get(bytes)?))
    }

    /// Begins to read row `row`.
    pub(super) fn read_ahead(&self, row: u64) {
        if let Some((map, bytes)) = self.place(row) {
            advise(map, bytes);
        }
    }

    fn place(&self, row: u64) -> Option<(&Mmap, Range<usize>)> {
        let bytes = self.width * size_of::<f32>();
        let start = (row % self.rows_per_segment) as usize * bytes;
        Some((self.maps.get((row / self.rows_per_segment) as usize)?, start..start + bytes))
    }
}
