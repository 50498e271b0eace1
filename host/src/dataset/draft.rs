//! A table that grows row by row, of which each names its cells.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::cells::Cells;
use super::error::DataError;
use super::member::Archive;
use super::table::Table;

/// A table on its way: columns appear with their first cell, and rows without one have an empty cell.
pub(super) struct Draft {
    table: Table,
    index: HashMap<String, usize>,
}

impl Draft {
    pub(super) fn new(path: &Path, format: &'static str) -> Self {
        Self { table: Table::new(path, format, Vec::new()), index: HashMap::new() }
    }

    /// Rows that are complete.
    pub(super) fn rows(&self) -> usize {
        self.table.rows
    }

    /// The table so far.
    pub(super) fn table(&mut self) -> &mut Table {
        &mut self.table
    }

    /// The column `name` before its cell of this row; none if it has one already.
    fn next(&mut self, name: &str) -> Option<&mut Cells> {
        let index = match self.index.get(name) {
            Some(&index) => index,
            None => {
                self.table.names.push(name.to_owned());
                self.table.columns.push(Cells::default());
                self.index.insert(name.to_owned(), self.table.columns.len() - 1);
                self.table.columns.len() - 1
            }
        };
        let (rows, column) = (self.table.rows, &mut self.table.columns[index]);
        if column.len() > rows {
            return None;
        }
        column.pad(rows);
        Some(column)
    }

    /// Adds the column `name`, if it is not there.
    pub(super) fn column(&mut self, name: &str) {
        self.next(name);
    }

    /// True if this row has a cell in the column `name`.
    pub(super) fn has(&self, name: &str) -> bool {
        self.index.get(name).is_some_and(|&index| self.table.columns[index].len() > self.table.rows)
    }

    /// Gives this row a cell, unless it has one in this column already.
    pub(super) fn set(&mut self, name: &str, cell: impl AsRef<[u8]>) {
        if let Some(column) = self.next(name) {
            column.push(cell.as_ref());
        }
    }

    /// Gives this row a cell that is a list of texts, as JSON.
    pub(super) fn set_list(&mut self, name: &str, json: &str) {
        if let Some(column) = self.next(name) {
            column.push(json.as_bytes());
            column.lists = true;
        }
    }

    /// Gives this row a member of an archive.
    pub(super) fn set_member(&mut self, name: &str, cell: &[u8], archive: &Arc<Archive>, [at, length]: [u64; 2]) {
        if let Some(column) = self.next(name) {
            column.push_member(cell, archive, at, length);
        }
    }

    pub(super) fn end_row(&mut self) {
        self.table.rows += 1;
    }

    /// Ends a row that cannot be used, although it may have cells.
    pub(super) fn end_broken_row(&mut self, reason: String) {
        self.table.broken.insert(self.table.rows, reason);
        self.end_row();
    }

    /// Ends a row that cannot be read, in this line.
    pub(super) fn end_broken_line(&mut self, line: u64, reason: String) {
        self.table.first_broken.get_or_insert_with(|| (line, reason.clone()));
        self.end_broken_row(format!("line {line}: {reason}"));
    }

    /// The table.
    ///
    /// # Errors
    /// Too many rows that cannot be read.
    pub(super) fn finish(self) -> Result<Table, DataError> {
        self.padded().settled()
    }

    /// The table of an archive or a folder, which is what it is however many of its rows cannot be read.
    pub(super) fn whole(self) -> Table {
        self.padded().warned()
    }

    fn padded(mut self) -> Table {
        let rows = self.table.rows;
        self.table.columns.iter_mut().for_each(|column| column.pad(rows));
        self.table
    }
}
