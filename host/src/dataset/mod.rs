//! Users' data: tables of items and files of latents, one file per format.

mod delimited;
mod dialect;
mod error;
mod item;
mod items;
mod matrix;
mod named;
mod precomputed;
mod records;
mod table;
mod text;
mod vectors;

use std::path::Path;

use dialect::Dialect;
pub use error::DataError;
pub use item::Item;
pub use items::Items;
pub use matrix::{Missing, PrecomputedLatents};
pub use named::NamedLatents;
pub use precomputed::{Precomputed, holds_latents, may_hold_latents};
pub use table::{Column, Table};

/// A data file, whose extension tells its kind.
pub enum Dataset {
    /// Items, for encoders.
    Table(Table),
    /// Latents, for precomputed towers.
    Precomputed(Precomputed),
}

/// Reads the table at `path` into memory; its extension tells the format.
pub fn read_table(path: &Path) -> Result<Table, DataError> {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    match ending.as_deref() {
        Some("tsv") => delimited::read(path, Dialect::TSV),
        Some("csv") => delimited::read(path, Dialect::CSV),
        _ => Err(DataError::Format { path: path.to_owned() }),
    }
}

impl Dataset {
    /// Reads a table, or opens a file of latents.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        if holds_latents(path) {
            return Precomputed::open(path).map(Self::Precomputed);
        }
        read_table(path).map(Self::Table)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        match self {
            Self::Table(table) => table.path(),
            Self::Precomputed(file) => file.path(),
        }
    }

    /// The rows of the column, or tensor, called `name`.
    pub fn rows(&self, name: &str) -> Result<usize, DataError> {
        match self {
            Self::Table(table) => table.column(name).map(|column| column.len()),
            Self::Precomputed(file) => file.rows(name),
        }
    }

    /// The name of a row's item: its cell, or its number.
    pub fn name(&self, column: &str, row: usize) -> Result<String, DataError> {
        Ok(match self {
            Self::Table(table) => String::from_utf8_lossy(table.column(column)?.cell(row)).into_owned(),
            Self::Precomputed(_) => format!("row {}", row + 1),
        })
    }

    /// The cell of a row as text; that of a file of latents is the row's number.
    pub fn text(&self, column: &str, row: usize) -> Result<String, DataError> {
        match self {
            Self::Table(table) => table.column(column)?.text(row).map(str::to_owned),
            Self::Precomputed(_) => self.name(column, row),
        }
    }

    /// The rows of two columns or tensors, which must have equally many.
    pub fn paired_rows(&self, [first, second]: [&str; 2]) -> Result<usize, DataError> {
        match (self.rows(first)?, self.rows(second)?) {
            (rows, other) if rows != other => Err(DataError::Lengths { path: self.path().to_owned(), rows, other }),
            (rows, _) => Ok(rows),
        }
    }
}
