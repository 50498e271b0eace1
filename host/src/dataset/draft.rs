//! A table that grows row by row, of which each names its cells.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::cells::Cells;
use super::error::DataError;
use super::member::Archive;
use super::table::Table;
use super::wanted::Wanted;

/// The most columns, beside those that are asked for by name: rows may have keys of their own, as ids are.
const MOST: usize = 256;
/// Names that are told of those beyond.
const TOLD: usize = 3;

/// A table on its way: columns appear with their first cell, and rows without one have an empty cell.
pub(super) struct Draft<'w> {
    table: Table,
    index: HashMap<String, usize>,
    wanted: &'w Wanted,
    /// Cells under further names, and the first of these.
    beyond: (usize, Vec<String>),
}

impl<'w> Draft<'w> {
    pub(super) fn new(path: &Path, format: &'static str, wanted: &'w Wanted) -> Self {
        Self { table: Table::new(path, format, Vec::new()), index: HashMap::new(), wanted, beyond: (0, Vec::new()) }
    }

    /// Rows that are complete.
    pub(super) fn rows(&self) -> usize {
        self.table.rows
    }

    /// The table so far.
    pub(super) fn table(&mut self) -> &mut Table {
        &mut self.table
    }

    /// The column `name` before its cell of this row; none if it has one already, or if there are too many columns.
    fn next(&mut self, name: &str) -> Option<&mut Cells> {
        let index = self.place(name)?;
        let (rows, column) = (self.table.rows, &mut self.table.columns[index]);
        if column.len() > rows {
            return None;
        }
        column.pad(rows);
        Some(column)
    }

    /// The place of a column, which may be new.
    fn place(&mut self, name: &str) -> Option<usize> {
        if let Some(&index) = self.index.get(name) {
            return Some(index);
        }
        if self.table.columns.len() >= MOST && !self.wanted.names(name) {
            self.beyond.0 += 1;
            if self.beyond.1.len() < TOLD && !self.beyond.1.iter().any(|told| told == name) {
                self.beyond.1.push(name.to_owned());
            }
            return None;
        }
        self.table.names.push(name.to_owned());
        self.table.columns.push(if self.wanted.takes(name) { Cells::default() } else { Cells::passed() });
        self.index.insert(name.to_owned(), self.table.columns.len() - 1);
        Some(self.table.columns.len() - 1)
    }

    /// Adds the column `name`, if it is not there; false if its cells are not kept.
    pub(super) fn column(&mut self, name: &str) -> bool {
        self.place(name).is_some_and(|index| self.table.columns[index].are_kept())
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
            column.push_list(json);
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
        self.whole().settled()
    }

    /// The table of an archive or a folder, which is what it is however many of its rows cannot be read.
    pub(super) fn whole(mut self) -> Table {
        if let (cells @ 1.., names) = &self.beyond {
            let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            let names = names.join(", ");
            let note = format!(
                "rows have more than {MOST} different keys: {cells} cells under further ones, such as {names}, are \
                 left out; those that a key of the recipe or an option names are read"
            );
            self.table.notes.warn("keys", note);
        }
        self.table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_with_keys_of_their_own_make_no_column_each() {
        let read = |wanted: &Wanted| {
            let mut draft = Draft::new(Path::new("a.jsonl"), "JSONL", wanted);
            for row in 0..5000 {
                draft.set(&format!("id{row}"), "x");
                draft.set("caption", format!("c{row}"));
                draft.end_row();
            }
            draft.finish().unwrap()
        };
        let table = read(&Wanted::ALL);
        assert_eq!((table.names().len(), table.len()), (MOST, 5000));
        assert!(table.notes()[0].contains("cells under further ones, such as `id255`, `id256`"), "{:?}", table.notes());
        assert_eq!(table.column("caption").unwrap().text(4999).unwrap(), "c4999");
        // A column that ended long ago takes no memory for the rows after it.
        assert!(table.bytes() < 1_000_000, "{}", table.bytes());
        let table = read(&Wanted::only(["id4000".to_owned()]));
        assert_eq!(table.column("id4000").unwrap().text(4000).unwrap(), "x");
        assert!(table.column("caption").err().unwrap().to_string().contains("was not read"));
        assert_eq!(table.columns.iter().filter(|column| column.are_kept()).count(), 1);
    }
}
