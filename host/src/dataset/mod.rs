//! Pair files: one file a format.

mod items;
mod precomputed;
mod table;

use std::io;
use std::path::PathBuf;

pub use items::Items;
pub use precomputed::{Precomputed, PrecomputedLatents};
pub use table::{Column, Table};

/// What is wrong with a pair file.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum DataError {
    #[error("cannot read {}: {cause}; check the path, which starts from the recipe's folder", path.display())]
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
    #[error("{}: columns of {rows} and {other} rows cannot pair", path.display())]
    Lengths { path: PathBuf, rows: usize, other: usize },
}
