//! The place of text: a file, which appears once it is complete, or the standard output.

use std::io::{self, BufWriter, Stdout, Write};
use std::path::{Path, PathBuf};

use super::ExportError;
use crate::whole_file::PartFile;

/// The place of an export that is text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Out {
    /// A file.
    File(PathBuf),
    /// The standard output, for a pipe.
    Stdout,
}

/// An open [`Out`].
pub(super) enum Open {
    File(PartFile),
    Stdout(BufWriter<Stdout>),
}

impl Open {
    pub(super) fn create(out: &Out) -> Result<Self, ExportError> {
        Ok(match out {
            Out::File(path) => Self::File(PartFile::create(path).map_err(ExportError::write(path))?),
            Out::Stdout => Self::Stdout(BufWriter::with_capacity(1 << 16, io::stdout())),
        })
    }

    fn path(&self) -> &Path {
        match self {
            Self::File(file) => file.path(),
            Self::Stdout(_) => Path::new("the standard output"),
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), ExportError> {
        let written = match self {
            Self::File(file) => file.write(bytes),
            Self::Stdout(pipe) => pipe.write_all(bytes),
        };
        written.map_err(|cause| ExportError::write(self.path())(cause))
    }

    pub(super) fn finish(self) -> Result<(), ExportError> {
        let path = self.path().to_owned();
        let finished = match self {
            Self::File(file) => file.finish(),
            Self::Stdout(mut pipe) => pipe.flush(),
        };
        finished.map_err(ExportError::write(&path))
    }
}
