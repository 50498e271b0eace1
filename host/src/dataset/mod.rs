//! Pair files: one file a format.

mod items;
mod precomputed;
mod table;

use std::io;
use std::path::{Path, PathBuf};

pub use items::Items;
pub use precomputed::{Precomputed, PrecomputedLatents};
pub use table::{Column, Table};

/// A pair file of either kind; its ending tells which.
pub enum DataFile {
    /// Items, for encoders.
    Table(Table),
    /// Latents, for precomputed towers.
    Precomputed(Precomputed),
}

impl DataFile {
    /// Reads a table, or maps a .safetensors.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        match path.extension() {
            Some(ending) if ending == "safetensors" => Precomputed::open(path).map(Self::Precomputed),
            _ => Table::read(path).map(Self::Table),
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

    /// The rows of two columns, or tensors, which must be as many.
    pub fn paired_rows(&self, [first, second]: [&str; 2]) -> Result<usize, DataError> {
        match (self.rows(first)?, self.rows(second)?) {
            (rows, other) if rows != other => Err(DataError::Lengths { path: self.path().to_owned(), rows, other }),
            (rows, _) => Ok(rows),
        }
    }
}

/// What is wrong with a pair file.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum DataError {
    #[error("cannot read {}: {cause}; check the path (those in a recipe start from its folder)", path.display())]
    Read { path: PathBuf, cause: io::Error },
    #[error("{}: a pair file must end in .tsv, .csv or .safetensors", path.display())]
    Format { path: PathBuf },
    #[error("{}:{line}: {reason}", path.display())]
    Malformed { path: PathBuf, line: u64, reason: String },
    #[error("{}: no column `{name}`{suggestion}", path.display())]
    Column { path: PathBuf, name: String, suggestion: String },
    #[error("{}: which column holds the {modality} items? Say --column with one of: {columns}", path.display())]
    Unsaid { path: PathBuf, modality: String, columns: String },
    #[error("{}: {reason}", path.display())]
    Tensors { path: PathBuf, reason: String },
    #[error("{}: tensors of {rows} and {other} rows cannot pair; row i of one belongs to row i of the other", path.display())]
    Lengths { path: PathBuf, rows: usize, other: usize },
    #[error("{}: the latents of tower `{tower}` have {width} values here, and {other} elsewhere", path.display())]
    Width { path: PathBuf, tower: String, width: usize, other: usize },
    #[error("{}: tower `{tower}` {}", path.display(), if *precomputed {
        "is precomputed: its files must be .safetensors"
    } else {
        "has encoders: its files must be .tsv or .csv"
    })]
    Kind { path: PathBuf, tower: String, precomputed: bool },
}
