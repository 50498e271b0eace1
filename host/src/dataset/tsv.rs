//! TSV: tabs between cells, quotes as ordinary characters.

use std::path::Path;

use super::delimited::{self, Dialect};
use super::error::DataError;
use super::table::Table;

/// Reads the whole of `path`.
pub(super) fn read(path: &Path) -> Result<Table, DataError> {
    delimited::read(path, &Dialect { delimiter: b'\t', quotes: false })
}
