//! One column of a table: its cells, and the items that they are or name.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use super::cells::Cells;
use super::error::DataError;
use super::item::Item;
use super::member::Member;
use super::table::Table;

/// What names the rows of a column to `fusemix encode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// `--data` and `--column` alone.
    Column,
    /// Further options, too.
    Options,
    /// Nothing: the rows are those of a file that is gone again.
    Nothing,
}

/// One column of a [`Table`].
#[derive(Clone, Copy)]
pub struct Column<'a> {
    pub(super) table: &'a Table,
    pub(super) name: &'a str,
    pub(super) cells: &'a Cells,
}

impl<'a> Column<'a> {
    /// Its name in the header.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Rows below the header.
    pub fn len(&self) -> usize {
        self.table.rows
    }

    /// True if there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The cell of row `index`, from 0; that of a member of an archive is its name.
    pub fn cell(&self, index: usize) -> &'a [u8] {
        self.cells.cell(index)
    }

    /// The cells as ids, which must be texts.
    pub fn ids(&self) -> Result<Vec<&'a str>, DataError> {
        (0..self.len()).map(|row| self.text(row)).collect()
    }

    /// The cells that are text and not empty, with their rows from 0.
    pub fn texts(&self) -> Vec<(usize, &'a str)> {
        let text = |row| Some((row, self.text(row).ok().filter(|text| !text.is_empty())?));
        (0..self.len()).filter_map(text).collect()
    }

    /// The cell of row `index` as text.
    pub fn text(&self, index: usize) -> Result<&'a str, DataError> {
        std::str::from_utf8(self.cell(index)).map_err(|error| DataError::NotUtf8 {
            path: self.table.path.clone(),
            row: self.number(index),
            column: self.name.to_owned(),
            byte: error.valid_up_to() + 1,
        })
    }

    /// True if the cells are lists of texts.
    pub(crate) fn holds_lists(&self) -> bool {
        self.table.index(self.name).is_ok_and(|index| self.table.holds_lists(index))
    }

    /// What it takes to come here again.
    pub(crate) fn naming(&self) -> Naming {
        let Table { path, is_stand_in, numbers, .. } = self.table;
        let root = self.root(0);
        let is_plain = numbers.is_none()
            && (path == root || path.parent().is_none_or(|folder| folder == root))
            && !self.name.contains(" + ");
        match (is_stand_in, is_plain) {
            (true, _) => Naming::Nothing,
            (false, true) => Naming::Column,
            (false, false) => Naming::Options,
        }
    }

    /// The number of row `index` in the file, from 1.
    pub fn number(&self, index: usize) -> usize {
        self.table.number(index)
    }

    /// The reason why row `index` cannot be read, if it cannot.
    pub fn broken(&self, index: usize) -> Option<&'a str> {
        self.table.broken.get(&index).map(String::as_str)
    }

    /// The folder that the file of row `index` is relative to: that of the table, or its `root`.
    pub(super) fn root(&self, index: usize) -> &'a Path {
        self.table.roots.of(self.table.place(index))
    }

    /// The file that the cell of row `index` names, relative to the table or its `root`.
    pub fn file(&self, index: usize) -> PathBuf {
        self.root(index).join(path(self.cell(index)))
    }

    /// Where tables of several folders are one, the path of row `index`'s folder from that which all are in; none
    /// where its cell alone says which item is meant.
    pub(crate) fn folder(&self, index: usize) -> Option<&'a Path> {
        let folder = self.table.roots.inner(self.table.place(index));
        let has_one = !folder.as_os_str().is_empty() && !self.cell(index).is_empty() && !self.holds_members();
        (has_one && path(self.cell(index)).is_relative()).then_some(folder)
    }

    /// What the item of row `index` is told apart by without reading it: its cell, behind its folder if it has one.
    pub(crate) fn known_by(&self, index: usize) -> Cow<'a, [u8]> {
        let cell = self.cell(index);
        match self.folder(index) {
            Some(folder) => Cow::Owned([folder.as_os_str().as_encoded_bytes(), b"/", cell].concat()),
            None => Cow::Borrowed(cell),
        }
    }

    /// True if the column holds members of archives, not cells.
    pub fn holds_members(&self) -> bool {
        self.cells.hold_members()
    }

    /// The member of an archive in row `index`; none if the row has none.
    pub fn member(&self, index: usize) -> Option<Member<'a>> {
        let (archive, place) = self.cells.member(index)?;
        Some(Member { archive, place, name: self.cell(index), root: self.root(index) })
    }

    /// True if the column holds members, but row `index` has none.
    pub(super) fn lacks_member(&self, index: usize) -> bool {
        self.holds_members() && self.member(index).is_none()
    }

    /// What row `index` is called where its item is not there: by its key, if there is one.
    pub(super) fn sample(&self, index: usize) -> String {
        match self.table.column("key").map(|keys| keys.cell(index)) {
            Ok(key) if !key.is_empty() => format!("sample {}", String::from_utf8_lossy(key)),
            _ => format!("row {}", self.number(index)),
        }
    }

    /// The item of row `index` in a column of files.
    pub fn item(&self, index: usize) -> Item<'a> {
        match self.member(index) {
            Some(member) => Item::Member(member),
            None => Item::File(self.file(index)),
        }
    }

    /// The table's file.
    pub fn source(&self) -> &'a Path {
        &self.table.path
    }
}

/// The path that a cell is, or that its `file:` URL names.
fn path(cell: &[u8]) -> PathBuf {
    let url = cell.strip_prefix(b"file://localhost/").or_else(|| cell.strip_prefix(b"file:///"));
    match url {
        Some(path) => native(&[b"/", &*percent_encoding::percent_decode(path).collect::<Vec<u8>>()].concat()),
        None => native(cell),
    }
}

/// The path that bytes name: any on Unix, and the nearest text elsewhere.
fn native(bytes: &[u8]) -> PathBuf {
    #[cfg(unix)]
    return <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(bytes).into();
    #[cfg(not(unix))]
    return String::from_utf8_lossy(bytes).into_owned().into();
}
