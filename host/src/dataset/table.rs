//! A table in memory: rows under named columns, independent of the file format.

use std::path::{Path, PathBuf};

use super::error::DataError;
use crate::wording::suggest;

/// A table, column by column.
pub struct Table {
    path: PathBuf,
    names: Vec<String>,
    columns: Vec<Cells>,
}

/// The cells of a column, end to end.
#[derive(Default)]
struct Cells {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

/// One column of a [`Table`].
#[derive(Clone, Copy)]
pub struct Column<'a> {
    table: &'a Table,
    name: &'a str,
    cells: &'a Cells,
}

impl Table {
    /// A table without rows, to be filled from the file at `path`.
    pub(super) fn new(path: &Path, names: Vec<String>) -> Self {
        let columns = names.iter().map(|_| Cells::default()).collect();
        Self { path: path.to_owned(), names, columns }
    }

    /// Columns.
    pub(super) fn width(&self) -> usize {
        self.columns.len()
    }

    /// Reserves so many bytes in a single column.
    pub(super) fn reserve(&mut self, bytes: usize) {
        if let [column] = &mut self.columns[..] {
            column.bytes.reserve(bytes);
        }
    }

    /// Adds a row with a cell for each column.
    pub(super) fn add<'a>(&mut self, cells: impl IntoIterator<Item = &'a [u8]>) {
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            column.bytes.extend_from_slice(cell);
            column.ends.push(column.bytes.len());
        }
    }

    /// Adds rows of empty cells.
    pub(super) fn add_empty(&mut self, rows: u64) {
        for column in &mut self.columns {
            column.ends.extend(std::iter::repeat_n(column.bytes.len(), rows as usize));
        }
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names of the columns, in file order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The column called `name`.
    pub fn column(&self, name: &str) -> Result<Column<'_>, DataError> {
        let index = self.names.iter().position(|other| other == name).ok_or_else(|| DataError::Column {
            path: self.path.clone(),
            name: name.to_owned(),
            suggestion: suggest(name, self.names.iter().map(String::as_str)),
        })?;
        if self.names[index + 1..].iter().any(|other| other == name) {
            return Err(DataError::Twice { path: self.path.clone(), name: name.to_owned() });
        }
        Ok(Column { table: self, name: &self.names[index], cells: &self.columns[index] })
    }

    /// The default column for items of a modality: one with a usual name, or the only one.
    pub fn usual_column(&self, modality: &str) -> Result<Column<'_>, DataError> {
        let usual: &[&str] = match modality {
            "text" => &["text", "caption"],
            modality => &[modality, "file", "path"],
        };
        let name = usual.iter().find(|name| self.names.iter().any(|other| other == *name));
        let mut named = self.names.iter().filter(|name| !name.is_empty());
        let only = named.next().filter(|_| named.next().is_none()).map(String::as_str);
        match name.copied().or(only) {
            Some(name) => self.column(name),
            None => Err(DataError::Unsaid {
                path: self.path.clone(),
                modality: modality.to_owned(),
                columns: self.names.join(", "),
            }),
        }
    }
}

impl<'a> Column<'a> {
    /// Its name in the header.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Rows below the header.
    pub fn len(&self) -> usize {
        self.cells.ends.len()
    }

    /// True if there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The cell of row `index`, from 0.
    pub fn cell(&self, index: usize) -> &'a [u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.cells.ends[before]);
        &self.cells.bytes[start..self.cells.ends[index]]
    }

    /// The cells as ids, which must be texts.
    pub fn ids(&self) -> Result<Vec<&'a str>, DataError> {
        (0..self.len()).map(|row| self.text(row)).collect()
    }

    /// The cell of row `index` as text.
    pub fn text(&self, index: usize) -> Result<&'a str, DataError> {
        std::str::from_utf8(self.cell(index)).map_err(|error| DataError::NotUtf8 {
            path: self.table.path.clone(),
            row: index + 1,
            column: self.name.to_owned(),
            byte: error.valid_up_to() + 1,
        })
    }

    /// The file that the cell of row `index` names, relative to the table.
    pub fn file(&self, index: usize) -> PathBuf {
        self.table.path.parent().unwrap_or(Path::new("")).join(path(self.cell(index)))
    }

    /// The table's file.
    pub fn source(&self) -> &'a Path {
        &self.table.path
    }
}

/// The path that bytes name: any on Unix, and the nearest text elsewhere.
fn path(bytes: &[u8]) -> PathBuf {
    #[cfg(unix)]
    return <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(bytes).into();
    #[cfg(not(unix))]
    return String::from_utf8_lossy(bytes).into_owned().into();
}
