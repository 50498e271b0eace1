//! The place of text: a file, which appears once it is complete, or a pipe.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::ExportError;
use crate::whole_file::PartFile;

/// The name of a pipe in errors.
pub(super) const PIPE: &str = "the pipe";

/// The place of an export that is text.
#[derive(Clone, Debug)]
pub enum Out {
    /// A file.
    File(PathBuf),
    /// An open file, such as the standard output.
    Pipe(Arc<File>),
}

/// An open [`Out`].
pub(super) enum Open {
    File(PartFile),
    Pipe(BufWriter<Arc<File>>),
}

impl Open {
    pub(super) fn create(out: &Out) -> Result<Self, ExportError> {
        Ok(match out {
            Out::File(path) => Self::File(PartFile::create(path).map_err(ExportError::write(path))?),
            Out::Pipe(pipe) => Self::Pipe(BufWriter::with_capacity(1 << 16, pipe.clone())),
        })
    }

    fn path(&self) -> &Path {
        match self {
            Self::File(file) => file.path(),
            Self::Pipe(_) => Path::new(PIPE),
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), ExportError> {
        let written = match self {
            Self::File(file) => file.write(bytes),
            Self::Pipe(pipe) => pipe.write_all(bytes),
        };
        written.map_err(|cause| ExportError::write(self.path())(cause))
    }

    pub(super) fn finish(self) -> Result<(), ExportError> {
        let path = self.path().to_owned();
        let finished = match self {
            Self::File(file) => file.finish(),
            Self::Pipe(mut pipe) => pipe.flush(),
        };
        finished.map_err(ExportError::write(&path))
    }
}
