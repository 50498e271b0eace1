//! A member of an archive: an item that is a part of a larger file.

use std::borrow::Cow;
use std::fmt::{self, Debug, Formatter};
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};

use super::bytes_column::BytesColumn;
use super::tar::Shard;

/// A file whose parts are items.
pub(super) enum Archive {
    /// A tar archive: a member is a file in it.
    Tar(Shard),
    /// A column of bytes in a Parquet file: a member is a row.
    Parquet(Box<BytesColumn>),
}

/// The place of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The archive's number in its column.
    pub(super) archive: u32,
    /// The member's first byte, or its row.
    pub(super) at: u64,
    /// Its bytes, where they are known.
    pub(super) length: u64,
}

impl Place {
    /// That of a member that is not there.
    pub(super) const NONE: Self = Self { archive: u32::MAX, at: 0, length: 0 };
}

/// A member of an archive.
#[derive(Clone, Copy)]
pub struct Member<'a> {
    pub(super) archive: &'a Archive,
    pub(super) place: Place,
    pub(super) name: &'a [u8],
    pub(super) root: &'a Path,
}

impl<'a> Member<'a> {
    /// Its name in messages: `shard.tar: 00012.jpg`, or `data.parquet: row 17`.
    pub fn name(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.name)
    }

    /// The archive's file.
    pub fn file(&self) -> &'a Path {
        match self.archive {
            Archive::Tar(shard) => shard.path(),
            Archive::Parquet(column) => column.path(),
        }
    }

    /// Its bytes, if they are known without reading it.
    pub fn length(&self) -> Option<u64> {
        matches!(self.archive, Archive::Tar(_)).then_some(self.place.length)
    }

    /// The bytes, or the reason why they cannot be read.
    pub(super) fn read(&self) -> Result<Vec<u8>, String> {
        let read = match self.archive {
            Archive::Tar(shard) => shard.read(self.place.at, self.place.length),
            Archive::Parquet(column) => column.read(self.place.at as usize, self.root),
        };
        read.map_err(|reason| format!("cannot read {}: {reason}", self.name()))
    }

    /// True if its bytes are in the archive; false if a row of it names a file in their stead. For what was just read,
    /// this reads nothing.
    pub(super) fn is_inside(&self) -> bool {
        match self.archive {
            Archive::Tar(_) => true,
            Archive::Parquet(column) => column.has_bytes(self.place.at as usize),
        }
    }

    /// What the content of the member is known by: a path of its own below that of the archive, which no file can have,
    /// and the state of the archive.
    pub(super) fn origin(&self) -> Option<(PathBuf, Metadata)> {
        let (file, part) = match self.archive {
            Archive::Tar(shard) => (shard.path(), format!("{}+{}", self.place.at, self.place.length)),
            Archive::Parquet(column) => (column.path(), format!("{}:{}", column.name(), self.place.at)),
        };
        Some((file.join(part), fs::metadata(file).ok()?))
    }
}

impl PartialEq for Member<'_> {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.archive, other.archive) && self.place == other.place
    }
}

impl Eq for Member<'_> {}

impl Debug for Member<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "Member({})", self.name())
    }
}
