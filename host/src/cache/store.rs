//! One encoder's latents on disk.
//!
//! Rows are written and synced first, the index commits second. After a crash at any point, every row that the index
//! knows is whole; what lies behind the last of them is overwritten by the next append.

use rayon::prelude::*;
use redb::{
    Database, DatabaseError, ReadOnlyDatabase, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata,
    StorageError, TableDefinition,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::NamedTempFile;

use super::segments::{Mapped, Segments};
use super::{CacheError, Fingerprint, Key};
use crate::latents::Latents;
use crate::whole_file;

/// The file of a store's index.
pub(super) const INDEX: &str = "index.redb";
/// How long an index that another process holds is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// Key -> (row, checksum of the row).
const ROWS: TableDefinition<'_, &[u8; 32], (u64, u64)> = TableDefinition::new("rows");
/// Key -> why the item has no latent.
const FAILURES: TableDefinition<'_, &[u8; 32], &str> = TableDefinition::new("failures");
/// "rows": rows ever appended, "unit": those of them of length 1; "width": values a row.
const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");

/// The latents of one fingerprint. One process at a time has it open.
pub struct Store {
    folder: PathBuf,
    index: Index,
}

enum Index {
    Writable(Database),
    /// Of a cache that this process may only read.
    Readable(ReadOnlyDatabase),
}

/// What is known of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// Its latent is this row, which is whole.
    Row(u64),
    /// It had one, which is not what was stored: it must be encoded again.
    Damaged,
    /// It has none, for this reason.
    Failed(String),
}

/// What the index says of an item.
enum Indexed {
    /// (row, checksum)
    Row((u64, u64)),
    Failed(String),
}

/// `entry.json`: whose latents these are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryInfo {
    /// The parts of the fingerprint.
    pub fingerprint: BTreeMap<String, String>,
    /// The names that the encoder had in plugins.toml.
    pub encoders: BTreeSet<String>,
}

/// Sizes of a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Items with a latent.
    pub rows: u64,
    /// Items known to have none.
    pub failures: u64,
    /// Values a row.
    pub width: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Whether all rows, or none, have length 1; none if some have.
    pub normalized: Option<bool>,
}

impl Store {
    /// Opens the store of `fingerprint` in the cache folder, making it if it is not there.
    pub fn open(cache: &Path, fingerprint: &Fingerprint, encoder: &str) -> Result<Self, CacheError> {
        let folder = cache.join(fingerprint.hex());
        fs::create_dir_all(&folder).map_err(|cause| CacheError::io("make", &folder, cause))?;
        let store = Self::at(&folder)?;
        let path = folder.join("entry.json");
        let mut info = read_info(&path)
            .unwrap_or(EntryInfo { fingerprint: fingerprint.parts().clone(), encoders: BTreeSet::new() });
        if matches!(store.index, Index::Writable(_)) && info.encoders.insert(encoder.to_owned()) {
            let json = serde_json::to_string_pretty(&info).expect("a map of strings is JSON") + "\n";
            whole_file::write(&path, json.as_bytes()).map_err(|cause| CacheError::io("write", &path, cause))?;
        }
        Ok(store)
    }

    /// Opens the store in `folder`.
    pub(super) fn at(folder: &Path) -> Result<Self, CacheError> {
        let path = folder.join(INDEX);
        if !path.exists() {
            create_index(folder, &path)?;
        }
        let start = Instant::now();
        loop {
            match Database::open(&path) {
                Ok(index) => return Ok(Self { folder: folder.to_owned(), index: Index::Writable(index) }),
                Err(DatabaseError::Storage(StorageError::Io(error)))
                    if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) =>
                {
                    let index = ReadOnlyDatabase::open(&path).map_err(|error| CacheError::index(&path, error))?;
                    return Ok(Self { folder: folder.to_owned(), index: Index::Readable(index) });
                }
                // Reading takes moments; what takes longer is an encoding.
                Err(DatabaseError::DatabaseAlreadyOpen) if start.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(DatabaseError::DatabaseAlreadyOpen) => return Err(CacheError::InUse { path: folder.to_owned() }),
                Err(error) => return Err(CacheError::index(&path, error)),
            }
        }
    }

    /// What is known of each of `keys`; rows are held against their checksums.
    pub fn known(&self, keys: &[Key]) -> Result<Vec<Option<Known>>, CacheError> {
        let entries = self.read(|read| {
            let Some(rows) = found(read.open_table(ROWS))? else { return Ok(Vec::new()) };
            let failures = read.open_table(FAILURES)?;
            let entry = |key: &Key| match rows.get(&key.0)? {
                Some(row) => Ok(Some(Indexed::Row(row.value()))),
                None => Ok(failures.get(&key.0)?.map(|reason| Indexed::Failed(reason.value().to_owned()))),
            };
            keys.iter().map(entry).collect()
        })?;
        if entries.is_empty() {
            return Ok(vec![None; keys.len()]);
        }
        let mapped = self.map()?;
        let known = |entry| match entry {
            Indexed::Row((row, sum)) if is_whole(&mapped, row, sum) => Known::Row(row),
            Indexed::Row(_) => Known::Damaged,
            Indexed::Failed(reason) => Known::Failed(reason),
        };
        Ok(entries.into_par_iter().with_min_len(16).map(|entry: Option<Indexed>| entry.map(known)).collect())
    }

    /// Values a row, once there is one.
    pub fn width(&self) -> Result<Option<usize>, CacheError> {
        self.number("width").map(|width| width.map(|width| width as usize))
    }

    /// The row that the next latent gets.
    pub fn next_row(&self) -> Result<u64, CacheError> {
        Ok(self.number("rows")?.unwrap_or(0))
    }

    /// Stores latents (all of one width) and failures in one durable step: when it returns, they are on disk.
    /// An item that is stored already, or comes twice, is stored once; a latent replaces a failure. Returns each latent's row.
    pub fn append(&self, latents: &[(Key, &[f32])], failures: &[(Key, &str)]) -> Result<Vec<u64>, CacheError> {
        let known = self.known(&latents.iter().map(|(key, _)| *key).collect::<Vec<_>>())?;
        let first = self.next_row()?;
        let (mut fresh, mut seen): (Vec<(Key, &[f32])>, HashMap<Key, u64>) = Default::default();
        let mut places = Vec::with_capacity(latents.len());
        for (&(key, row), known) in latents.iter().zip(known) {
            places.push(match known {
                Some(Known::Row(at)) => at,
                _ => *seen.entry(key).or_insert_with(|| {
                    fresh.push((key, row));
                    first + fresh.len() as u64 - 1
                }),
            });
        }
        let stored = self.width()?;
        let width = stored.or(fresh.first().map(|(_, row)| row.len()));
        if let Some((_, row)) = fresh.iter().find(|(_, row)| Some(row.len()) != width) {
            return Err(CacheError::Width { path: self.folder.clone(), stored: width.unwrap_or(0), got: row.len() });
        }
        if let Some(width) = width {
            let block: Vec<f32> = fresh.iter().flat_map(|(_, row)| row.iter().copied()).collect();
            Segments::new(&self.folder, width).write(first, &block)?;
        }
        self.write(|write| {
            let mut rows = write.open_table(ROWS)?;
            let mut failed = write.open_table(FAILURES)?;
            let mut numbers = write.open_table(NUMBERS)?;
            for (row, (key, values)) in (first..).zip(&fresh) {
                rows.insert(&key.0, (row, checksum(values)))?;
                failed.remove(&key.0)?;
            }
            for (key, reason) in failures {
                if rows.get(&key.0)?.is_none() {
                    failed.insert(&key.0, *reason)?;
                }
            }
            numbers.insert("rows", first + fresh.len() as u64)?;
            let unit = numbers.get("unit")?.map_or(0, |unit| unit.value());
            numbers.insert("unit", unit + fresh.iter().filter(|(_, row)| is_unit(row)).count() as u64)?;
            if let Some(width) = width {
                numbers.insert("width", width as u64)?;
            }
            Ok(())
        })?;
        Ok(places)
    }

    /// The latents in these rows, which must be known, in this order, mapped.
    pub fn latents(&self, rows: Vec<u64>) -> Result<CachedLatents, CacheError> {
        Ok(CachedLatents { mapped: Arc::new(self.map()?), rows })
    }

    /// Holds every row against its checksum; returns the keys of those that differ.
    pub fn verify(&self) -> Result<Vec<Key>, CacheError> {
        let mapped = self.map()?;
        self.read(|read| {
            let Some(rows) = found(read.open_table(ROWS))? else { return Ok(Vec::new()) };
            let mut bad = Vec::new();
            for entry in rows.iter()? {
                let (key, value) = entry?;
                let (row, sum) = value.value();
                if !is_whole(&mapped, row, sum) {
                    bad.push(Key(*key.value()));
                }
            }
            Ok(bad)
        })
    }

    /// Forgets items, so that the next run encodes them again.
    pub fn forget(&self, keys: &[Key]) -> Result<(), CacheError> {
        self.write(|write| {
            let mut rows = write.open_table(ROWS)?;
            keys.iter().try_for_each(|key| rows.remove(&key.0).map(drop))?;
            Ok(())
        })
    }

    /// Sizes.
    pub fn counts(&self) -> Result<Counts, CacheError> {
        let width = self.number("width")?.unwrap_or(0);
        let (rows, failures) = self.read(|read| match found(read.open_table(ROWS))? {
            Some(rows) => Ok((rows.len()?, read.open_table(FAILURES)?.len()?)),
            None => Ok((0, 0)),
        })?;
        let files = fs::read_dir(&self.folder).map_err(|cause| CacheError::io("read", &self.folder, cause))?;
        let bytes = files.filter_map(|file| Some(file.ok()?.metadata().ok()?.len())).sum();
        let normalized = match (self.number("rows")?.unwrap_or(0), self.number("unit")?) {
            (0, _) => None,
            (all, Some(unit)) if unit == all => Some(true),
            (_, Some(0)) => Some(false),
            _ => None,
        };
        Ok(Counts { rows, failures, width, bytes, normalized })
    }

    fn map(&self) -> Result<Mapped, CacheError> {
        Segments::new(&self.folder, self.width()?.unwrap_or(1)).map(self.next_row()?)
    }

    fn number(&self, name: &str) -> Result<Option<u64>, CacheError> {
        self.read(|read| match found(read.open_table(NUMBERS))? {
            Some(numbers) => Ok(numbers.get(name)?.map(|number| number.value())),
            None => Ok(None),
        })
    }

    fn read<T>(&self, work: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>) -> Result<T, CacheError> {
        let read = || match &self.index {
            Index::Writable(index) => index.begin_read(),
            Index::Readable(index) => index.begin_read(),
        };
        let work = || work(&read()?);
        work().map_err(|error| CacheError::index(&self.folder, error))
    }

    fn write(&self, work: impl FnOnce(&redb::WriteTransaction) -> Result<(), redb::Error>) -> Result<(), CacheError> {
        let Index::Writable(index) = &self.index else {
            return Err(CacheError::io("write", &self.folder, ErrorKind::ReadOnlyFilesystem.into()));
        };
        let commit = || {
            let write = index.begin_write()?;
            work(&write)?;
            Ok::<_, redb::Error>(write.commit()?)
        };
        commit().map_err(|error| CacheError::index(&self.folder, error))
    }
}

/// Makes an empty index beside `path` and gives it its name when it is whole; another process may be faster.
fn create_index(folder: &Path, path: &Path) -> Result<(), CacheError> {
    let make = |cause| CacheError::io("make", path, cause);
    let part = NamedTempFile::new_in(folder).map_err(make)?;
    drop(Database::create(part.path()).map_err(|error| CacheError::index(path, error))?);
    match part.persist_noclobber(path) {
        Err(error) if error.error.kind() != ErrorKind::AlreadyExists => Err(make(error.error)),
        _ => whole_file::sync_folder(path).map_err(make),
    }
}

/// `None` for a table that was never written.
fn found<T>(table: Result<T, redb::TableError>) -> Result<Option<T>, redb::Error> {
    match table {
        Ok(table) => Ok(Some(table)),
        Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn read_info(path: &Path) -> Option<EntryInfo> {
    serde_json::from_str(&fs::read_to_string(path).ok()?).ok()
}

fn is_whole(mapped: &Mapped, row: u64, sum: u64) -> bool {
    mapped.row(row).is_some_and(|values| checksum(values) == sum)
}

fn is_unit(row: &[f32]) -> bool {
    (row.iter().map(|value| f64::from(value * value)).sum::<f64>() - 1.0).abs() < 1e-3
}

fn checksum(row: &[f32]) -> u64 {
    let hash = blake3::hash(bytemuck::cast_slice(row));
    u64::from_le_bytes(*hash.as_bytes().first_chunk().expect("a hash has 32 bytes"))
}

/// Rows of a store as a column, without a copy of them.
pub struct CachedLatents {
    mapped: Arc<Mapped>,
    rows: Vec<u64>,
}

impl Latents for CachedLatents {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn width(&self) -> usize {
        self.mapped.width
    }

    fn copy_row(&self, index: usize, out: &mut [f32]) {
        out.copy_from_slice(self.mapped.row(self.rows[index]).expect("a known row is there"));
    }

    fn read_ahead(&self, index: usize) {
        self.mapped.read_ahead(self.rows[index]);
    }
}
