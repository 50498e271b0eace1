//! An error of an export.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::out::PIPE;
use crate::gallery::GalleryError;

/// An error of an export.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum ExportError {
    #[error(transparent)]
    Gallery(#[from] GalleryError),
    #[error("cannot write {}: {cause}; check the folder and the free space on its disk", path.display())]
    Write { path: PathBuf, cause: io::Error },
    #[error("{} is not an empty folder: it holds `{file}`; name another folder", path.display())]
    NotEmpty { path: PathBuf, file: String },
    #[error("the gallery has a metadata column `{column}` already; name that of the vectors with --vector-column")]
    Taken { column: String },
    #[error(
        "the gallery has a metadata column `{column}`, which {what} keeps for itself; build it without that column"
    )]
    Reserved { column: String, what: &'static str },
    #[error("a vector has {width} values, but {what} takes {most} at most; export to another form")]
    TooWide { width: usize, most: usize, what: &'static str },
    #[error(
        "item `{id}` has a NUL character in column `{column}`, which PostgreSQL does not store; build the gallery \
             without it"
    )]
    Nul { id: String, column: String },
    #[error("{url}: {what}")]
    Server { url: String, what: String },
}

impl ExportError {
    /// True if the reader of a pipe has had enough.
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Write { path, cause } if path == Path::new(PIPE) && cause.kind() == ErrorKind::BrokenPipe)
    }

    pub(super) fn write(path: &Path) -> impl Fn(io::Error) -> Self {
        let path = path.to_owned();
        move |cause| Self::Write { path: path.clone(), cause }
    }
}
