//! The writer of a gallery.

use bytemuck::cast_slice;
use half::f16;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::files::Files;
use super::ids::{self, Ids};
use super::info::Header;
use super::lines::{ITEMS, Lines, OFFSETS};
use super::log::{Counts, Log, Record, Sums, sum};
use super::snapshot::{self, REMOVED};
use super::stamp::Stamp;
use super::{Dtype, Exhibit, GalleryError, GalleryInfo, codes, info, log, vectors};
use crate::file_lock;

/// The file that a writer holds a lock on.
const LOCK: &str = "lock";

/// The writer of a gallery: it adds and removes items. A second writer is refused until this one is dropped or its
/// process ends; each call is one commit, which exists entirely or not at all.
#[derive(Debug)]
pub struct Writer {
    folder: PathBuf,
    header: Header,
    files: Files,
    log: Log,
    lines: Lines,
    ids: Ids,
    /// Items in the gallery.
    len: usize,
    /// True if a commit failed halfway, so that the contents that count are unknown.
    unsettled: bool,
    /// Holds the lock.
    _lock: File,
}

/// The result of an append.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// Items whose ids are new.
    pub new: usize,
    /// Items that replaced others with the same id.
    pub replaced: usize,
}

/// The result of a removal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removal {
    /// Items that are removed.
    pub removed: usize,
    /// Ids that no item has, in the given order.
    pub unknown: Vec<String>,
}

impl Writer {
    /// A new gallery in `folder`, which must be new or empty.
    pub fn create(folder: &Path, info: GalleryInfo) -> Result<Self, GalleryError> {
        Self::create_as(folder, Header::new(info)?)
    }

    pub(super) fn create_as(folder: &Path, header: Header) -> Result<Self, GalleryError> {
        fs::create_dir_all(folder).map_err(|cause| GalleryError::io("make", folder, cause))?;
        refuse_used(folder)?;
        let lock = lock(folder)?;
        // Another may have made it meanwhile.
        refuse_used(folder)?;
        for file in FILES {
            let path = folder.join(file);
            File::create(&path).map_err(|cause| GalleryError::io("make", &path, cause))?;
        }
        header.write(folder)?;
        Self::new(folder, lock, Stamp::of(&folder.join(info::FILE)))
    }

    /// The gallery in `folder`, as of its last commit.
    pub fn open(folder: &Path) -> Result<Self, GalleryError> {
        // Before a lock is made where there is no gallery.
        Header::read(folder)?;
        let stamp = Stamp::of(&folder.join(info::FILE));
        Self::new(folder, lock(folder)?, stamp)
    }

    fn new(folder: &Path, lock: File, stamp: Option<Stamp>) -> Result<Self, GalleryError> {
        let (header, log) = (Header::read(folder)?, Log::open(folder)?);
        let files = Files::open(folder, stamp)?;
        let lines = Lines::map(folder, log.counts)?;
        let live = snapshot::live(folder, &log)?;
        let (ids, len) = (lines.ids(live.iter())?, live.len());
        // All of it is of one gallery.
        files.check_place()?;
        Ok(Self { folder: folder.to_owned(), header, files, log, lines, ids, len, unsettled: false, _lock: lock })
    }

    /// The description of the gallery's contents.
    pub fn info(&self) -> &GalleryInfo {
        &self.header.info
    }

    /// Items in the gallery.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if the gallery has no items.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// True if an item has this id.
    pub fn contains(&self, id: &str) -> Result<bool, GalleryError> {
        Ok(self.find(id)?.is_some())
    }

    /// Adds items and their vectors (row by row) in one commit, replacing items with the same id. A commit syncs the
    /// disk, and its items are in memory twice: a few thousand at a time work well.
    pub fn append(&mut self, exhibits: &[Exhibit], vectors: &[f32]) -> Result<Appended, GalleryError> {
        self.verify(exhibits, vectors)?;
        let replaced = self.rows(exhibits.iter().map(|exhibit| exhibit.id.as_str()))?;
        let first = self.log.counts.rows;
        if ids::MOST - first < exhibits.len() {
            return Err(GalleryError::Full { path: self.folder.clone(), most: ids::MOST });
        }
        let (mut items, mut ends) = (Vec::new(), Vec::with_capacity(exhibits.len()));
        for exhibit in exhibits {
            exhibit.write(&mut items);
            ends.push(self.log.counts.items + items.len() as u64);
        }
        let gone: Vec<usize> = replaced.iter().flatten().copied().collect();
        self.commit(&vectors::stored(vectors, self.info().width, self.info().dtype), &items, &ends, &gone)?;
        for (row, (exhibit, replaced)) in (first..).zip(exhibits.iter().zip(replaced)) {
            if let Some(old) = replaced {
                self.ids.remove(&exhibit.id, old);
            }
            self.ids.insert(&exhibit.id, row);
        }
        let new = exhibits.len() - gone.len();
        self.len += new;
        Ok(Appended { new, replaced: gone.len() })
    }

    /// Removes items by their ids in one commit.
    pub fn remove(&mut self, ids: &[&str]) -> Result<Removal, GalleryError> {
        let mut removal = Removal::default();
        let mut gone = HashMap::new();
        for (&id, row) in ids.iter().zip(self.rows(ids.iter().copied())?) {
            match row {
                Some(row) => drop(gone.insert(row, id)),
                None => removal.unknown.push(id.to_owned()),
            }
        }
        let mut rows: Vec<usize> = gone.keys().copied().collect();
        rows.sort_unstable();
        self.commit(&[], &[], &[], &rows)?;
        gone.iter().for_each(|(&row, id)| self.ids.remove(id, row));
        removal.removed = rows.len();
        self.len -= rows.len();
        Ok(removal)
    }

    /// Rejects items that a gallery must not hold.
    fn verify(&self, exhibits: &[Exhibit], vectors: &[f32]) -> Result<(), GalleryError> {
        let GalleryInfo { width, dtype, columns, .. } = self.info();
        if vectors.len() != exhibits.len() * width {
            return Err(GalleryError::Width { count: vectors.len(), rows: exhibits.len(), width: *width });
        }
        let mut seen = HashMap::new();
        for (item, (exhibit, vector)) in exhibits.iter().zip(vectors.chunks_exact(*width)).enumerate() {
            let id = || exhibit.id.clone();
            if exhibit.id.is_empty() {
                return Err(GalleryError::EmptyId { item });
            }
            if let Some(first) = seen.insert(exhibit.id.as_str(), item) {
                return Err(GalleryError::SameId { id: id(), first, second: item });
            }
            exhibit.verify(columns)?;
            if !vector.iter().all(|value| value.is_finite()) {
                return Err(GalleryError::NotFinite { id: id() });
            }
            let is_beyond = |value: &&f32| *dtype == Dtype::F16 && f16::from_f32(**value).is_infinite();
            if let Some(&value) = vector.iter().find(is_beyond) {
                return Err(GalleryError::BeyondF16 { id: id(), value });
            }
        }
        Ok(())
    }

    fn find(&self, id: &str) -> Result<Option<usize>, GalleryError> {
        self.ids.find(id, |row| Ok(self.lines.id(row)? == id))
    }

    /// The row of each id, if it has one.
    fn rows<'a>(&self, ids: impl Iterator<Item = &'a str>) -> Result<Vec<Option<usize>>, GalleryError> {
        ids.map(|id| self.find(id)).collect()
    }

    /// Appends to all files, and to the log last; only then does any of it count.
    fn commit(&mut self, vectors: &[u8], items: &[u8], ends: &[u64], gone: &[usize]) -> Result<(), GalleryError> {
        if self.unsettled {
            return Err(GalleryError::Unsettled { path: self.folder.clone() });
        }
        if ends.is_empty() && gone.is_empty() {
            return Ok(());
        }
        let before = self.log.counts;
        let gone: Vec<u64> = gone.iter().map(|&row| row as u64).collect();
        let (ends, gone): (&[u8], &[u8]) = (cast_slice(ends), cast_slice(&gone));
        let appended = Counts {
            rows: before.rows + ends.len() / 8,
            items: before.items + items.len() as u64,
            removed: before.removed + gone.len() / 8,
        };
        let [vectors_sum, items_sum, offsets, removed] = [vectors, items, ends, gone].map(|bytes| sum([bytes]));
        let sums = Sums { vectors: vectors_sum, items: items_sum, offsets, removed };
        let written = self.write(before, vectors, items, [ends, gone]);
        written.inspect_err(|_| self.files.cut(&self.header, before))?;
        // Until all are done, a failure leaves open what counts: in a folder that was moved aside now, all of it does.
        self.unsettled = true;
        self.log.append(&self.files.log, Record { counts: appended, sums })?;
        self.lines = self.lines.mapped_anew(&self.files, appended)?;
        self.files.check_place()?;
        self.unsettled = false;
        Ok(())
    }

    /// Writes what a commit appends to all files but the log.
    fn write(
        &mut self,
        before: Counts,
        vectors: &[u8],
        items: &[u8],
        [ends, gone]: [&[u8]; 2],
    ) -> Result<(), GalleryError> {
        self.files.write_vectors(&self.header, before.rows, vectors)?;
        self.files.items.write(before.items, items)?;
        self.files.offsets.write(before.rows as u64 * 8, ends)?;
        self.files.removed.write(before.removed as u64 * 8, gone)?;
        self.files.check_place()
    }
}

/// The files that a gallery has from the start, empty at first.
const FILES: [&str; 4] = [ITEMS, OFFSETS, REMOVED, log::FILE];

/// Rejects a folder that holds anything but the leftovers of a killed creation.
fn refuse_used(folder: &Path) -> Result<(), GalleryError> {
    if folder.join(info::FILE).exists() {
        return Err(GalleryError::Exists { path: folder.to_owned() });
    }
    let read = |cause| GalleryError::io("read", folder, cause);
    let part = crate::whole_file::part(Path::new(info::FILE));
    for entry in fs::read_dir(folder).map_err(read)? {
        let entry = entry.map_err(read)?;
        let name = entry.file_name();
        let is_left = name == LOCK || FILES.iter().any(|file| name == *file);
        let is_empty = entry.metadata().map_err(read)?.len() == 0;
        if !(is_left && is_empty) && name != part {
            let file = name.to_string_lossy().into_owned();
            return Err(GalleryError::NotEmpty { path: folder.to_owned(), file });
        }
    }
    Ok(())
}

/// Removes what a creation, or a writer, left in `folder`; anything else is refused.
pub(super) fn remove_left(folder: &Path) -> Result<(), GalleryError> {
    let read = |cause| GalleryError::io("read", folder, cause);
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(read)?.collect::<Result<Vec<_>, _>>().map_err(read)?,
    };
    let part = crate::whole_file::part(Path::new(info::FILE));
    let is_own = |name: &OsStr| {
        let others = [LOCK, info::FILE].iter().chain(&FILES).any(|file| name == *file);
        others || name == part || ["vectors-", codes::FILE].iter().any(|own| name.to_string_lossy().starts_with(own))
    };
    if let Some(entry) = entries.iter().find(|entry| !is_own(&entry.file_name())) {
        let file = entry.file_name().to_string_lossy().into_owned();
        return Err(GalleryError::NotEmpty { path: folder.to_owned(), file });
    }
    fs::remove_dir_all(folder).map_err(|cause| GalleryError::io("clear", folder, cause))
}

/// The lock of a folder, once any other writer has finished.
fn lock(folder: &Path) -> Result<File, GalleryError> {
    let path = folder.join(LOCK);
    match file_lock::open_locked(&path) {
        Ok(Some(file)) => Ok(file),
        Ok(None) => Err(GalleryError::InUse { path: folder.to_owned() }),
        Err(cause) => Err(GalleryError::io("lock", &path, cause)),
    }
}
