//! An error of a gallery.

use std::io;
use std::path::{Path, PathBuf};

use crate::filter::FilterError;
use crate::wording::suggest;

/// An error of a gallery.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum GalleryError {
    #[error("cannot {doing} {}: {cause}; check the folder's permissions and the free space on its disk",
            path.display())]
    Io { doing: &'static str, path: PathBuf, cause: io::Error },
    #[error("{} holds no gallery: {}", path.display(), match (is_run, path.is_dir()) {
        (true, _) => "it is a run; build a gallery of it with `fusemix gallery build`, and name that one",
        (false, true) => "it has no gallery.json; build one, or name another folder",
        (false, false) => "there is no such folder; build one with `fusemix gallery build`, or name another",
    })]
    Absent { path: PathBuf, is_run: bool },
    #[error("{} has no commit, though its files have {bytes} bytes: it was stopped before its first commit, or its \
             file `log` was cut; build the gallery again", path.display())]
    NoCommit { path: PathBuf, bytes: u64 },
    #[error("{} already holds a gallery; add to it, or name another folder", path.display())]
    Exists { path: PathBuf },
    #[error("{} is not empty: it holds `{file}`; name another folder for the gallery", path.display())]
    NotEmpty { path: PathBuf, file: String },
    #[error("{} is a file; name another place for the gallery", path.display())]
    File { path: PathBuf },
    #[error("{} is the folder that you are in; run this from outside of it, or name another folder for the gallery",
            path.display())]
    Current { path: PathBuf },
    #[error("{} was made by a newer version of fusemix (format {version}); use that version", path.display())]
    Newer { path: PathBuf, version: u32 },
    #[error("another process is writing to {}; wait until it has finished, then run this again", path.display())]
    InUse { path: PathBuf },
    #[error("{} was removed, or another gallery was built in its place, meanwhile; look at what is there, then do this \
             again", path.display())]
    Rebuilt { path: PathBuf },
    #[error("{} is truncated: it has {bytes} of at least {needed} bytes; restore it from a copy, or build the gallery \
             again", path.display())]
    Cut { path: PathBuf, bytes: u64, needed: u64 },
    #[error("{} is damaged ({what}); restore it from a copy, or build the gallery again", path.display())]
    Damaged { path: PathBuf, what: String },
    #[error("{}: an earlier commit failed halfway; open the gallery again before writing more", path.display())]
    Unsettled { path: PathBuf },
    #[error("{} is full: a gallery holds at most {most} rows; build another for the rest", path.display())]
    Full { path: PathBuf, most: usize },

    #[error("{} has no items to make codes of; add some first", path.display())]
    NothingToCode { path: PathBuf },
    #[error("{what}; use other settings for the gallery")]
    Info { what: String },
    #[error("the gallery was built with run {stored}, not {present}; use that run, or build a gallery with this one")]
    OtherRun { stored: String, present: String },
    #[error("run {run} was trained again after the gallery was built, so its space is another; build it again")]
    Retrained { run: String },
    #[error(
        "the gallery holds embeddings of tower `{stored}`, not `{present}`; use that tower, or build another gallery"
    )]
    OtherTower { stored: String, present: String },
    #[error("the gallery was built with encoders {stored}, not {present}; use those, or build another gallery")]
    OtherEncoders { stored: String, present: String },
    #[error(
        "encoder `{encoder}` is not the one that the gallery was built with: built with {stored}; now {present}; \
         restore it in plugins.toml, or build another gallery"
    )]
    OtherEncoder { encoder: String, stored: String, present: String },

    #[error("{count} values are not {rows} vectors of the gallery's {width} values; embed with the gallery's run")]
    Width { count: usize, rows: usize, width: usize },
    #[error(
        "{count} values are not a whole number of queries of the gallery's {width} values; embed with the gallery's run"
    )]
    QueryWidth { count: usize, width: usize },
    #[error("{}: row {row} has the impossible score {score}, so its vector is damaged; verify the gallery, \
             then restore it from a copy or build it again", path.display())]
    Score { path: PathBuf, row: usize, score: f32 },
    #[error("query {query} holds NaN or infinity; check what embedded it")]
    QueryNotFinite { query: usize },
    #[error("the vector of item `{id}` holds NaN or infinity; check what embedded it, or leave the item out")]
    NotFinite { id: String },
    #[error("the vector of item `{id}` holds {value}, beyond what f16 can hold; build the gallery with f32")]
    BeyondF16 { id: String, value: f32 },
    #[error("item {item} has an empty id; give every item one")]
    EmptyId { item: usize },
    #[error("items {first} and {second} have the same id `{id}`; give each its own, or leave one out")]
    SameId { id: String, first: usize, second: usize },
    #[error(
        "item `{id}` has {count} metadata values, but the gallery has {columns} columns; give one value per column"
    )]
    Columns { id: String, count: usize, columns: usize },
    #[error("item `{id}` has {kind} in column `{column}`; give text, a number, true, false or null")]
    Value { id: String, column: String, kind: &'static str },
    #[error("there is no row {row}: the gallery has {rows}; count from 0")]
    Row { row: usize, rows: usize },

    #[error(transparent)]
    Filter(#[from] FilterError),
    #[error("the gallery has no column `{column}`{}", suggest(column, columns.iter().map(String::as_str)))]
    NoColumn { column: String, columns: Vec<String> },
}

impl GalleryError {
    pub(super) fn io(doing: &'static str, path: &Path, cause: io::Error) -> Self {
        Self::Io { doing, path: path.to_owned(), cause }
    }

    pub(super) fn damaged(path: &Path, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), what: what.into() }
    }
}
