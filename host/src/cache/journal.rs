//! The rows that the index does not know yet: a short file that is written in order, so that a row is durable at once and
//! the index, where keys lie anywhere, is written for many rows together.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::index::Row;
use super::{CacheError, Key};
use crate::whole_file;

/// Bytes of a record: key, row, the row's checksum, the record's own.
pub(super) const RECORD: usize = 32 + 8 + 8 + 8;

pub(super) struct Journal {
    path: PathBuf,
    /// None where this process may only read.
    file: Option<File>,
    /// Bytes of whole records.
    end: u64,
}

impl Journal {
    /// Opens the journal in `folder` and reads its whole records, up to the first that is not: it was never completed.
    pub(super) fn open(folder: &Path, writable: bool) -> Result<(Self, Vec<(Key, Row)>), CacheError> {
        let path = folder.join("journal");
        let open = |cause| CacheError::io("open", &path, cause);
        let mut bytes = Vec::new();
        let file = match writable {
            true => {
                let is_new = !path.exists();
                let mut file =
                    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(open)?;
                if is_new {
                    whole_file::sync_folder(&path).map_err(open)?;
                }
                file.read_to_end(&mut bytes).map_err(open)?;
                Some(file)
            }
            false => {
                match std::fs::read(&path) {
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    read => bytes = read.map_err(open)?,
                }
                None
            }
        };
        let records: Vec<(Key, Row)> = bytes.as_chunks().0.iter().map_while(read).collect();
        let end = (records.len() * RECORD) as u64;
        if let Some(file) = file.as_ref().filter(|_| bytes.len() as u64 > end) {
            // Nothing behind the end may ever read as if it were new.
            file.set_len(end).and_then(|()| file.sync_data()).map_err(open)?;
        }
        Ok((Self { path, file, end }, records))
    }

    /// Adds records; when it returns, they are on disk.
    pub(super) fn append(&mut self, records: &[(Key, Row)]) -> Result<(), CacheError> {
        let bytes: Vec<u8> = records.iter().flat_map(|record| written(*record)).collect();
        let (end, path) = (self.end, self.path.clone());
        self.write(|file| {
            // Over whatever an append left that did not come to its end.
            file.seek(SeekFrom::Start(end))?;
            file.write_all(&bytes)?;
            file.sync_data()
        })
        .map_err(|cause| CacheError::io("write", &path, cause))?;
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// Forgets all records: the index has them.
    pub(super) fn clear(&mut self) -> Result<(), CacheError> {
        let path = self.path.clone();
        self.write(|file| file.set_len(0)).map_err(|cause| CacheError::io("write", &path, cause))?;
        self.end = 0;
        Ok(())
    }

    fn write(&mut self, work: impl FnOnce(&mut File) -> std::io::Result<()>) -> std::io::Result<()> {
        work(self.file.as_mut().ok_or(ErrorKind::ReadOnlyFilesystem)?)
    }
}

fn own_sum(record: &[u8]) -> [u8; 8] {
    *blake3::hash(record).as_bytes().first_chunk().expect("a hash has 32 bytes")
}

fn written((key, Row { at, sum }): (Key, Row)) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    record[..32].copy_from_slice(&key.0);
    record[32..40].copy_from_slice(&at.to_le_bytes());
    record[40..48].copy_from_slice(&sum.to_le_bytes());
    let own = own_sum(&record[..48]);
    record[48..].copy_from_slice(&own);
    record
}

fn read(record: &[u8; RECORD]) -> Option<(Key, Row)> {
    let number = |at: usize| record[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    (own_sum(&record[..48]) == record[48..])
        .then(|| (Key(*record.first_chunk().expect("a record is longer")), Row { at: number(32), sum: number(40) }))
}
