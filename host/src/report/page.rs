//! A self-contained HTML page as a file.

use std::fmt::{self, Display, Formatter};
use std::io;
use std::path::{Path, PathBuf};

use crate::whole_file::PartFile;

/// An error in making a page.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum PageError {
    #[error("cannot write {}: {cause}; check the folder's permissions and the free space on its disk", path.display())]
    Write { path: PathBuf, cause: io::Error },
    #[error("cannot draw the curves: {0}")]
    Drawing(String),
}

/// A page, opened before the work whose result it takes; what was there stays until it is whole.
pub struct Page {
    path: PathBuf,
    file: PartFile,
}

impl Page {
    /// Opens `path` for writing.
    pub fn create(path: &Path) -> Result<Self, PageError> {
        let write = |cause| PageError::Write { path: path.to_owned(), cause };
        Ok(Self { path: path.to_owned(), file: PartFile::create(path).map_err(write)? })
    }

    /// Writes it.
    pub fn write(mut self, html: &str) -> Result<(), PageError> {
        let write = |cause| PageError::Write { path: self.path.clone(), cause };
        self.file.write(html.as_bytes()).and_then(|()| self.file.finish()).map_err(write)
    }
}

/// Text, as a page shows it.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '&' => f.write_str("&amp;"),
                '<' => f.write_str("&lt;"),
                '>' => f.write_str("&gt;"),
                '"' => f.write_str("&quot;"),
                letter => write!(f, "{letter}"),
            }?;
        }
        Ok(())
    }
}
