//! One item: the place of its bytes.

use std::borrow::Cow;
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};

use super::member::Member;
use crate::regular;
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
    /// A part of an archive.
    Member(Member<'a>),
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
            Self::File(path) => read_file(&path).map(Cow::Owned),
            Self::Member(member) => member.read().map(Cow::Owned),
        }
    }

    /// The path of a file.
    pub fn into_file(self) -> Option<PathBuf> {
        if let Self::File(path) = self { Some(path) } else { None }
    }

    /// What a file, or a part of one, is known by, and the state of the file; none for what is in memory, or not there.
    pub(crate) fn origin(&self) -> Option<(PathBuf, Metadata)> {
        match self {
            Self::Inline(_) => None,
            Self::File(path) => Some((path.clone(), fs::metadata(path).ok()?)),
            Self::Member(member) => member.origin(),
        }
    }

    /// True if its content is in what [`Item::origin`] names, and not elsewhere.
    pub(crate) fn is_at_origin(&self) -> bool {
        if let Self::Member(member) = self { member.is_inside() } else { true }
    }

    /// The item's name in messages: the start of a text, the path of a file, or the archive and the part of it.
    pub fn name(&self) -> String {
        match self {
            Self::Inline(bytes) => {
                let text = String::from_utf8_lossy(bytes);
                let start: String = text.chars().take(40).collect();
                format!("{start:?}{}", if start.len() < text.len() { "..." } else { "" })
            }
            Self::File(path) => short_path(path).display().to_string(),
            Self::Member(member) => member.name().into_owned(),
        }
    }
}

/// The content of a file, or the reason why it cannot be read.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    regular::read(path, LARGEST).map_err(|error| format!("cannot read {}: {error}", short_path(path).display()))
}
