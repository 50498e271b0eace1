//! Errors of datasets.

use std::io;
use std::path::PathBuf;

/// An error of a dataset.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum DataError {
    #[error("cannot read {}: {cause}; check the path (paths in a recipe are relative to its folder)", path.display())]
    Read { path: PathBuf, cause: io::Error },
    #[error("{}: {reason}", path.display())]
    Format { path: PathBuf, reason: String },
    #[error("{}:{line}: {reason}", path.display())]
    Malformed { path: PathBuf, line: u64, reason: String },
    #[error("{}: {broken} of {rows} rows cannot be read, the first is row {row}: {reason}; is this the right file?",
            path.display())]
    Broken { path: PathBuf, broken: usize, rows: usize, row: usize, reason: String },
    #[error("{}, byte {byte}: {reason}", path.display())]
    Archive { path: PathBuf, byte: u64, reason: String },
    #[error("{}: {reason}", path.display())]
    Choice { path: PathBuf, key: &'static str, reason: String },
    #[error("{}: no column `{name}`{suggestion}{}", path.display(), match path.extension().and_then(|of| of.to_str()) {
        Some("tsv" | "csv") => "; the first line of the file names the columns",
        _ => "",
    })]
    Column { path: PathBuf, name: String, suggestion: String },
    #[error("{}: column `{name}` was not read, because nothing that was asked for needs it", path.display())]
    Passed { path: PathBuf, name: String },
    #[error("{}: two columns are called `{name}`; rename the one that is not meant", path.display())]
    Twice { path: PathBuf, name: String },
    #[error("{}: cannot tell which column holds the {modality} items; pass --column with one of: {columns}",
            path.display())]
    Unsaid { path: PathBuf, modality: String, columns: String },
    #[error("{}: row {row}, column `{column}`: byte {byte} is not UTF-8; save the file as UTF-8", path.display())]
    NotUtf8 { path: PathBuf, row: usize, column: String, byte: usize },
    #[error("{}: {reason}", path.display())]
    Tensors { path: PathBuf, reason: String },
    #[error("{}: tensors of {rows} and {other} rows cannot be paired; row i of one must belong to row i of the \
             other", path.display())]
    Lengths { path: PathBuf, rows: usize, other: usize },
    #[error("{}: the latents of tower `{tower}` have {width} values here, but {other} elsewhere", path.display())]
    Width { path: PathBuf, tower: String, width: usize, other: usize },
    #[error("{}: tower `{tower}` {}", path.display(), if *precomputed {
        "is precomputed: its files must be .safetensors or .npy"
    } else {
        "has encoders: its files must be tables, such as .csv, .jsonl, .parquet or .tar"
    })]
    Kind { path: PathBuf, tower: String, precomputed: bool },
}
