//! The journal of entries that predate logs: rows that the index did not have yet, in a file that was cleared once it
//! did.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::record::{RECORD, Row};
use super::{CacheError, Key, records};

/// The journal of the entry in `folder`.
pub(super) fn path(folder: &Path) -> PathBuf {
    folder.join("journal")
}

/// The records of the journal in `folder`, up to the first incomplete one; none if there is no journal. Records of rows
/// before `rows` were indexed before a crash kept the journal from being cleared.
pub(super) fn read(folder: &Path, rows: u64) -> Result<Option<Vec<(Key, Row)>>, CacheError> {
    let path = path(folder);
    let bytes = match std::fs::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        bytes => bytes.map_err(|cause| CacheError::io("read", &path, cause))?,
    };
    let records = bytes.as_chunks::<RECORD>().0.iter().take_while(|record| records::is_whole(record));
    let of = |record: &[u8; RECORD]| {
        let row = Row { at: records::number(record, 32), sum: records::number(record, 40) };
        (Key(*records::name(record)), row)
    };
    Ok(Some(records.map(of).filter(|(_, row)| row.at >= rows).collect()))
}
