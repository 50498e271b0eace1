//! Files of records of one length, each with its own checksum, after a header that is also a record.
//!
//! Readers need no lock: a record that is incomplete or still being written fails its checksum and counts as absent.

use rayon::prelude::*;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::CacheError;

/// Records per read.
const CHUNK: u64 = 1 << 14;
/// Bytes of a checksum, which ends a record.
pub(super) const SUM: usize = 8;

/// Puts a record's checksum at its end.
pub(super) fn seal<const N: usize>(mut record: [u8; N]) -> [u8; N] {
    let sum = sum(&record);
    record[N - SUM..].copy_from_slice(&sum);
    record
}

/// True if a record is as it was sealed.
pub(super) fn is_whole<const N: usize>(record: &[u8; N]) -> bool {
    record[N - SUM..] == sum(record)
}

fn sum<const N: usize>(record: &[u8; N]) -> [u8; SUM] {
    *blake3::hash(&record[..N - SUM]).as_bytes().first_chunk().expect("a hash is longer")
}

/// The number at byte `at` of a record.
pub(super) fn number(record: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*record[at..].first_chunk().expect("the number is within the record"))
}

/// The name at the beginning of a record.
pub(super) fn name<const N: usize>(record: &[u8; N]) -> &[u8; 32] {
    record.first_chunk().expect("a record is longer than a name")
}

/// A file of records of `N` bytes, for reading.
#[derive(Debug)]
pub(super) struct Records<const N: usize> {
    file: File,
    path: PathBuf,
}

impl<const N: usize> Records<N> {
    pub(super) fn new(file: File, path: &Path) -> Self {
        Self { file, path: path.to_owned() }
    }

    /// The first record, if it is intact.
    pub(super) fn header(&self) -> Result<Option<[u8; N]>, CacheError> {
        self.at(0)
    }

    /// Records after the header, intact or not.
    pub(super) fn count(&self) -> Result<u64, CacheError> {
        let length = self.file.metadata().map_err(|cause| self.error(cause))?.len();
        Ok((length / N as u64).saturating_sub(1))
    }

    /// Record `number`, if it is intact.
    pub(super) fn get(&self, number: u64) -> Result<Option<[u8; N]>, CacheError> {
        self.at((number + 1) * N as u64)
    }

    /// Visits the records `first..end` in chunks, each with the number of its first record, intact or not.
    pub(super) fn chunks(
        &self,
        first: u64,
        end: u64,
        mut visit: impl FnMut(u64, &[[u8; N]]) -> Result<(), CacheError>,
    ) -> Result<(), CacheError> {
        let mut at = first;
        let mut bytes = vec![0; (end.saturating_sub(at).min(CHUNK) as usize) * N];
        while at < end {
            let wanted = ((end - at).min(CHUNK) as usize) * N;
            let got = self.read(&mut bytes[..wanted], (at + 1) * N as u64)?;
            let records = bytes[..got].as_chunks().0;
            if records.is_empty() {
                break;
            }
            visit(at, records)?;
            at += records.len() as u64;
        }
        Ok(())
    }

    /// Visits the intact records among `first..end` with their numbers; returns the number after the last.
    pub(super) fn scan(
        &self,
        first: u64,
        end: u64,
        mut visit: impl FnMut(u64, &[u8; N]) -> Result<(), CacheError>,
    ) -> Result<u64, CacheError> {
        let mut behind = first;
        self.chunks(first, end, |at, records| {
            let whole: Vec<bool> = records.par_iter().with_min_len(1 << 10).map(is_whole).collect();
            for (number, record) in (at..).zip(records).zip(whole).filter_map(|(record, whole)| whole.then_some(record))
            {
                visit(number, record)?;
                behind = number + 1;
            }
            Ok(())
        })?;
        Ok(behind)
    }

    fn at(&self, offset: u64) -> Result<Option<[u8; N]>, CacheError> {
        let mut record = [0; N];
        let got = self.read(&mut record, offset)?;
        Ok(Some(record).filter(|record| got == N && is_whole(record)))
    }

    fn read(&self, bytes: &mut [u8], offset: u64) -> Result<usize, CacheError> {
        read_at(&self.file, bytes, offset).map_err(|cause| self.error(cause))
    }

    fn error(&self, cause: io::Error) -> CacheError {
        CacheError::io("read", &self.path, cause)
    }
}

/// Reads up to `bytes.len()` bytes from `offset` on.
pub(super) fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    #[cfg(unix)]
    use std::os::unix::fs::FileExt;
    #[cfg(windows)]
    use std::os::windows::fs::FileExt;
    let mut read = 0;
    while read < bytes.len() {
        #[cfg(unix)]
        let got = file.read_at(&mut bytes[read..], offset + read as u64);
        #[cfg(windows)]
        let got = file.seek_read(&mut bytes[read..], offset + read as u64);
        match got {
            Ok(0) => break,
            Ok(count) => read += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}
