//! One item: the place of its bytes.

use std::borrow::Cow;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::wording::short_path;

/// The largest file that can be an item.
const LARGEST: u64 = 1 << 30;

/// An item to encode, read when needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// The bytes themselves: a text, or a picture or sound that is already in memory.
    Inline(Cow<'a, [u8]>),
    /// A file.
    File(PathBuf),
}

impl<'a> Item<'a> {
    /// A text.
    pub fn text(text: &'a str) -> Self {
        Self::Inline(text.as_bytes().into())
    }

    /// The content of a file, in memory.
    pub fn bytes(bytes: impl Into<Cow<'a, [u8]>>) -> Self {
        Self::Inline(bytes.into())
    }

    /// A file.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::File(path.into())
    }

    /// The bytes, or the reason why they cannot be read.
    pub fn read(self) -> Result<Cow<'a, [u8]>, String> {
        match self {
            Self::Inline(bytes) => Ok(bytes),
            Self::File(path) => read(&path).map(Cow::Owned),
        }
    }

    /// The path of a file.
    pub fn into_file(self) -> Option<PathBuf> {
        if let Self::File(path) = self { Some(path) } else { None }
    }

    /// The item's name in messages: the start of a text, or the path of a file.
    pub fn name(&self) -> String {
        match self {
            Self::Inline(bytes) => {
                let text = String::from_utf8_lossy(bytes);
                let start: String = text.chars().take(40).collect();
                format!("{start:?}{}", if start.len() < text.len() { "..." } else { "" })
            }
            Self::File(path) => short_path(path).display().to_string(),
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    // Before it is opened: that of a pipe waits for a writer.
    let is_file = std::fs::metadata(path).and_then(|found| match found.is_file() {
        true => Ok(()),
        false => Err(std::io::Error::other("it is not a regular file")),
    });
    let read = is_file.and_then(|()| File::open(path)).and_then(|file| {
        bytes.reserve(file.metadata()?.len().min(LARGEST) as usize);
        file.take(LARGEST + 1).read_to_end(&mut bytes)
    });
    match read {
        Err(error) => Err(format!("cannot read {}: {error}", short_path(path).display())),
        Ok(_) if bytes.len() as u64 > LARGEST => Err(format!("{} is larger than 1 GiB", short_path(path).display())),
        Ok(_) => Ok(bytes),
    }
}
