//! The outcome of every item, in order: an append-only file from which everything else can be rebuilt.
//!
//! A row is durable once its record is; the index, with its random access, is updated in batches. Records are never
//! removed: readers beside the writer find rows through them, and a lost index is rebuilt from them.

use rayon::prelude::*;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::CacheError;
use super::record::{RECORD, Record};
use super::records::{self, Records};
use crate::whole_file;

/// The file of a log.
pub(super) const FILE: &str = "rows.log";
/// The file's header: a name and the version of its records.
const MAGIC: [u8; 8] = *b"fusemixL";
const VERSION: u64 = 1;

/// A log, for reading.
#[derive(Debug)]
pub(super) struct Log {
    records: Records<RECORD>,
    /// Each log has a larger number than the logs it replaced, from 1; 0 if the header is damaged.
    pub(super) generation: u64,
}

impl Log {
    /// The log of the entry in `folder`, if there is one.
    pub(super) fn open(folder: &Path) -> Result<Option<Self>, CacheError> {
        let path = folder.join(FILE);
        let file = match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            file => file.map_err(|cause| CacheError::io("open", &path, cause))?,
        };
        let records = Records::new(file, &path);
        let header = records.header()?.filter(|header| header.starts_with(&MAGIC));
        if header.is_some_and(|header| records::number(&header, 8) > VERSION) {
            return Err(CacheError::Newer { path });
        }
        Ok(Some(Self { records, generation: header.map_or(0, |header| records::number(&header, 16)) }))
    }

    /// Values per row, if there is a row: the record stands before the first.
    pub(super) fn width(&self) -> Result<Option<usize>, CacheError> {
        for number in 0..self.records.count()? {
            match self.records.get(number)?.as_ref().and_then(Record::read) {
                Some(Record::Numbers(numbers)) if numbers.width > 0 => return Ok(Some(numbers.width as usize)),
                Some(Record::Row { .. }) => return Ok(None),
                _ => {}
            }
        }
        Ok(None)
    }

    pub(super) fn records(&self) -> &Records<RECORD> {
        &self.records
    }

    /// The number of records up to the last intact one, and how many of them are damaged.
    pub(super) fn damage(&self) -> Result<(u64, u64), CacheError> {
        let (mut end, mut damaged) = (0, Vec::new());
        self.records.chunks(0, self.records.count()?, |first, records| {
            let whole: Vec<bool> = records.par_iter().with_min_len(1 << 10).map(records::is_whole).collect();
            for (number, is_whole) in (first..).zip(whole) {
                if is_whole {
                    end = number + 1;
                } else {
                    damaged.push(number);
                }
            }
            Ok(())
        })?;
        // What follows the last intact record was never complete; others may have been in the middle of being written.
        let mut count = 0;
        for number in damaged.into_iter().filter(|number| *number < end) {
            count += u64::from(self.records.get(number)?.is_none());
        }
        Ok((end, count))
    }

    /// Visits the intact records from `first` on; returns the number after the last.
    pub(super) fn scan(
        &self,
        first: u64,
        mut visit: impl FnMut(u64, Record) -> Result<(), CacheError>,
    ) -> Result<u64, CacheError> {
        let end = self.records.count()?;
        self.records
            .scan(first, end, |number, record| Record::read(record).map_or(Ok(()), |record| visit(number, record)))
    }
}

/// Makes the log of generation `generation` in `folder` with the records that `records` gives it, replacing any other.
pub(super) fn make(
    folder: &Path,
    generation: u64,
    records: impl FnOnce(&mut dyn FnMut(Record) -> std::io::Result<()>) -> Result<(), CacheError>,
) -> Result<(), CacheError> {
    let path = folder.join(FILE);
    let part = whole_file::part(&path);
    let io = |cause| CacheError::io("write", &path, cause);
    let mut file = BufWriter::new(File::create(&part).map_err(io)?);
    let mut header = [0; RECORD];
    header[..8].copy_from_slice(&MAGIC);
    header[8..16].copy_from_slice(&VERSION.to_le_bytes());
    header[16..24].copy_from_slice(&generation.to_le_bytes());
    file.write_all(&records::seal(header)).map_err(io)?;
    records(&mut |record| file.write_all(&record.write()))?;
    let file = file.into_inner().map_err(|error| io(error.into_error()))?;
    whole_file::put_in_place(&file, &part, &path).map_err(io)
}

/// The end of a log, for its one writer.
pub(super) struct LogEnd {
    path: PathBuf,
    file: File,
    pub(super) generation: u64,
    /// Records.
    pub(super) count: u64,
    /// True if an append was interrupted: its records may already count, so nothing may be written over them.
    torn: bool,
}

impl LogEnd {
    /// Opens the log of this generation in `folder` for appending after its first `count` records; truncates the rest.
    pub(super) fn open(folder: &Path, count: u64, generation: u64) -> Result<Self, CacheError> {
        let path = folder.join(FILE);
        let open = || {
            let file = OpenOptions::new().write(true).open(&path)?;
            if file.metadata()?.len() > offset(count) {
                file.set_len(offset(count))?;
            }
            // What was read may not have been synced by who wrote it.
            file.sync_all()?;
            Ok(file)
        };
        let file = open().map_err(|cause| CacheError::io("open", &path, cause))?;
        Ok(Self { path, file, generation, count, torn: false })
    }

    /// Appends records; they are on disk when it returns.
    pub(super) fn append(&mut self, records: &[Record]) -> Result<(), CacheError> {
        if std::mem::replace(&mut self.torn, true) {
            let cause = std::io::Error::other("an earlier write to it failed; run this again");
            return Err(CacheError::io("write", &self.path, cause));
        }
        let bytes: Vec<u8> = records.iter().flat_map(Record::write).collect();
        let mut write = || {
            self.file.seek(SeekFrom::Start(offset(self.count)))?;
            self.file.write_all(&bytes)?;
            self.file.sync_data()
        };
        write().map_err(|cause| CacheError::io("write", &self.path, cause))?;
        self.count += records.len() as u64;
        self.torn = false;
        Ok(())
    }
}

/// The offset of record `number`, after the header.
fn offset(number: u64) -> u64 {
    (number + 1) * RECORD as u64
}
