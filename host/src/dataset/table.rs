//! A table in memory: rows under named columns, independent of the file format.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cells::Cells;
use super::column::Column;
use super::error::DataError;
use super::notes::Notes;
use super::roots::Roots;
use super::usual;
use super::wanted::Wanted;
use crate::wording::{count, short_path, suggest};

/// A table, column by column. Its copies share the cells.
#[derive(Clone)]
pub struct Table {
    pub(super) path: PathBuf,
    /// True if the path is not the file's own, but what messages name.
    pub(super) is_stand_in: bool,
    /// The folders that the files in cells are relative to.
    pub(super) roots: Roots,
    /// The format's name.
    pub(super) format: &'static str,
    pub(super) names: Vec<String>,
    pub(super) columns: Vec<Cells>,
    pub(super) rows: usize,
    /// Rows that cannot be read, with the reasons: their cells are empty.
    pub(super) broken: BTreeMap<usize, String>,
    /// The first of them: its line, and the reason.
    pub(super) first_broken: Option<(u64, String)>,
    /// The row of the file that each row is of, from 0; none if the rows are those of the file.
    pub(super) numbers: Option<Arc<Vec<usize>>>,
    /// The rows of the file where `numbers` says which of them are here.
    pub(super) of_file: usize,
    /// What a reader of the file should know, as rows that were left out.
    pub(super) notes: Notes,
    /// The keys that wanted more rows than there were: (key, wanted, rows).
    pub(super) short: Vec<(&'static str, usize, usize)>,
}

/// The most rows that may be broken: one in so many. With more of them, the file is not what it seems.
const BROKEN: usize = 10;

/// What stands before the name of a column that another one hides.
pub(super) const HIDDEN: &str = "other ";

impl Table {
    /// A table without rows, to be filled from the file at `path`.
    pub(super) fn new(path: &Path, format: &'static str, names: Vec<String>) -> Self {
        let columns = names.iter().map(|_| Cells::default()).collect();
        Self {
            path: path.to_owned(),
            is_stand_in: false,
            roots: Roots::one(path.parent().unwrap_or(Path::new(""))),
            format,
            names,
            columns,
            rows: 0,
            broken: BTreeMap::new(),
            first_broken: None,
            numbers: None,
            of_file: 0,
            notes: Notes::default(),
            short: Vec::new(),
        }
    }

    /// The same table, which keeps no cells of columns that are not wanted.
    pub(super) fn of(mut self, wanted: &Wanted) -> Self {
        for (column, _) in self.columns.iter_mut().zip(&self.names).filter(|(_, name)| !wanted.takes(name)) {
            *column = Cells::passed();
        }
        self
    }

    /// Columns.
    pub(super) fn width(&self) -> usize {
        self.columns.len()
    }

    /// Reserves so many bytes in a single column.
    pub(super) fn reserve(&mut self, bytes: usize) {
        if let [column] = &mut self.columns[..] {
            column.reserve(bytes);
        }
    }

    /// Adds a row with a cell for each column.
    pub(super) fn add<'a>(&mut self, cells: impl IntoIterator<Item = &'a [u8]>) {
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            column.push(cell);
        }
        self.rows += 1;
    }

    /// Adds rows of empty cells.
    pub(super) fn add_empty(&mut self, rows: u64) {
        self.rows += rows as usize;
        self.columns.iter_mut().for_each(|column| column.pad(self.rows));
    }

    /// Adds a row that cannot be read, in this line of the file.
    pub(super) fn add_broken(&mut self, line: u64, reason: String) {
        self.broken.insert(self.rows, format!("line {line}: {reason}"));
        self.first_broken.get_or_insert((line, reason));
        self.add_empty(1);
    }

    /// The table at the end of its file.
    ///
    /// # Errors
    /// Too many of them, with the first one's line.
    pub(super) fn settled(self) -> Result<Self, DataError> {
        let Some((&row, reason)) = self.broken.first_key_value() else { return Ok(self) };
        let broken = self.broken.len();
        if broken * BROKEN > self.rows {
            let path = self.path.clone();
            return Err(match self.first_broken {
                Some((line, reason)) => DataError::Malformed { path, line, reason },
                None => DataError::Broken { path, broken, rows: self.rows, row: row + 1, reason: reason.clone() },
            });
        }
        Ok(self)
    }

    /// Warns of rows that cannot be read, and of what else a reader should know; once, of all files that it is of.
    pub(super) fn warn(&self) {
        let path = short_path(&self.path);
        for (note, _) in self.notes.said().into_iter().filter(|(_, warns)| *warns) {
            tracing::warn!("{}: {note}", path.display());
        }
        if let Some((&row, reason)) = self.broken.first_key_value() {
            let (broken, rows) = (self.broken.len(), count(self.rows, "row"));
            let row = row + 1;
            tracing::warn!("{}: {broken} of {rows} cannot be read, the first is row {row}: {reason}", path.display());
        }
    }

    /// Bytes of memory that it takes, about.
    pub(super) fn bytes(&self) -> usize {
        self.columns.iter().map(Cells::bytes).sum::<usize>() + self.numbers.as_ref().map_or(0, |rows| 8 * rows.len())
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The name of the file's format.
    pub fn format(&self) -> &'static str {
        self.format
    }

    /// Rows.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// True if there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// What a reader of the file should know, as rows that were left out.
    pub fn notes(&self) -> Vec<String> {
        self.notes.said().into_iter().map(|(note, _)| note).collect()
    }

    /// The keys of a recipe that wanted more rows than there were for them: (key, wanted, rows).
    pub(crate) fn short(&self) -> &[(&'static str, usize, usize)] {
        &self.short
    }

    /// The rows that cannot be read, from 0, with the reasons.
    pub fn broken(&self) -> &BTreeMap<usize, String> {
        &self.broken
    }

    /// The rows of the file, also those that are not here.
    pub(super) fn rows_of_file(&self) -> usize {
        if self.numbers.is_some() { self.of_file } else { self.rows }
    }

    /// The number of a row in the file, from 1.
    pub fn number(&self, row: usize) -> usize {
        self.place(row) + 1
    }

    /// The number of a row in the file, from 0.
    pub(super) fn place(&self, row: usize) -> usize {
        self.numbers.as_ref().map_or(row, |numbers| numbers[row])
    }

    /// The names of the columns, in file order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// True if a column is called `name`.
    pub(super) fn has(&self, name: &str) -> bool {
        self.names.iter().any(|other| other == name)
    }

    /// The place of the column called `name`.
    pub(super) fn index(&self, name: &str) -> Result<usize, DataError> {
        let index = self.names.iter().position(|other| other == name).ok_or_else(|| DataError::Column {
            path: self.path.clone(),
            name: name.to_owned(),
            suggestion: suggest(name, self.names.iter().map(String::as_str)),
        })?;
        if self.names[index + 1..].iter().any(|other| other == name) {
            return Err(DataError::Twice { path: self.path.clone(), name: name.to_owned() });
        }
        Ok(index)
    }

    /// Calls columns by the names that other files have for them, all at once: (name, the file's own name). A column
    /// that has such a name already, and gets no other, is hidden.
    pub(super) fn rename(&mut self, renamed: &[(String, String)]) -> Result<(), DataError> {
        let places = renamed.iter().map(|(_, own)| self.index(own)).collect::<Result<Vec<_>, _>>()?;
        if let Some(again) = (1..places.len()).find(|&at| places[..at].contains(&places[at])) {
            let reason = format!("`columns` gives `{}` two names; it can have one", renamed[again].1);
            return Err(DataError::Choice { path: self.path.clone(), key: "columns", reason });
        }
        for (at, other) in self.names.iter_mut().enumerate() {
            if !places.contains(&at) && renamed.iter().any(|(name, _)| name == other) {
                other.insert_str(0, HIDDEN);
            }
        }
        renamed.iter().zip(places).for_each(|((name, _), at)| self.names[at].clone_from(name));
        Ok(())
    }

    /// The column called `name`.
    pub fn column(&self, name: &str) -> Result<Column<'_>, DataError> {
        let index = self.index(name)?;
        let cells = &self.columns[index];
        match cells.are_kept() {
            true => Ok(Column { table: self, name: &self.names[index], cells }),
            false => Err(DataError::Passed { path: self.path.clone(), name: name.to_owned() }),
        }
    }

    /// The default column for items of a modality: one with a usual name, or the only one.
    pub fn usual_column(&self, modality: &str) -> Result<Column<'_>, DataError> {
        match self.usual_name(modality) {
            Some(name) => self.column(name),
            None => Err(DataError::Unsaid {
                path: self.path.clone(),
                modality: modality.to_owned(),
                columns: self.names.join(", "),
            }),
        }
    }

    /// The name of the default column for items of a modality.
    pub(super) fn usual_name(&self, modality: &str) -> Option<&str> {
        let mut named = self.names.iter().filter(|name| !name.is_empty());
        let only = named.next().filter(|_| named.next().is_none()).map(String::as_str);
        usual::column(modality, &self.names).or(only)
    }
}
