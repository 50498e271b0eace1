//! Users' data: tables of items and files of latents, one file per format.

mod audiocaps;
mod bytes_column;
mod captions;
mod cells;
mod choice;
mod coco;
mod column;
mod delimited;
mod dialect;
mod draft;
mod entries;
mod error;
mod fields;
mod folder;
mod format;
mod headless;
mod img2dataset;
mod in_order;
mod item;
mod items;
mod json;
mod json_file;
mod jsonl;
mod karpathy;
mod matrix;
mod member;
mod named;
mod near;
mod notes;
mod parquet_file;
mod parsed;
mod precomputed;
mod records;
mod roots;
mod samples;
mod shards;
mod source;
mod splits;
mod table;
mod tar;
mod text;
mod token;
mod usual;
mod vectors;
mod visual_genome;
mod wanted;
mod wavcaps;
mod webdataset;

use std::path::Path;

pub(crate) use bytes_column::Look;
pub use captions::together;
pub(crate) use choice::largest;
pub use column::{Column, Naming};
pub use error::DataError;
pub(crate) use in_order::in_order;
pub use item::Item;
pub use items::Items;
pub(crate) use items::{no_path, no_text};
pub use matrix::{Missing, PrecomputedLatents};
pub use member::Member;
pub use named::NamedLatents;
pub use near::NearTexts;
pub use precomputed::{Precomputed, holds_latents, may_hold_latents};
pub use source::Source;
pub use table::Table;

use wanted::Wanted;

/// A data file, whose extension tells its kind.
pub enum Dataset {
    /// Items, for encoders.
    Table(Table),
    /// Latents, for precomputed towers.
    Precomputed(Precomputed),
}

/// Reads the table at `path` into memory; its name and its content tell the format.
pub fn read_table(path: &Path) -> Result<Table, DataError> {
    format::read(path, None, &Wanted::ALL)
}

impl Dataset {
    /// Reads a table, or opens a file of latents.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        Source::new(path).open()
    }

    /// The same rows, a row for each caption where the cells of a column are lists of them.
    pub fn spread(self, column: &str) -> Result<Self, DataError> {
        match self {
            Self::Table(table) => table.captions(column).map(Self::Table),
            latents => Ok(latents),
        }
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
