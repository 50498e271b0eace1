//! Which row is which item's, in an embedded database (redb) whose commits are atomic.

use redb::{
    Builder, Database, DatabaseError, ReadOnlyDatabase, ReadTransaction, ReadableDatabase, ReadableTable,
    ReadableTableMetadata, StorageError, TableDefinition,
};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tempfile::NamedTempFile;

use super::absent::Absent;
use super::{CacheError, Key, disk};
use crate::whole_file;

/// The file of an index.
pub(super) const FILE: &str = "index.redb";
/// How long an index that another process holds is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of pages that are kept in memory.
const PAGES: usize = 16 << 20;
/// Key -> (row, checksum of the row).
const ROWS: TableDefinition<'_, &[u8; 32], (u64, u64)> = TableDefinition::new("rows");
/// Key -> why the item has no latent.
const FAILURES: TableDefinition<'_, &[u8; 32], &str> = TableDefinition::new("failures");
/// The [`Numbers`].
const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");

/// Where a latent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) at: u64,
    /// Its checksum.
    pub(super) sum: u64,
}

/// What the index says of an item.
pub(super) enum Indexed {
    Row(Row),
    Failed(String),
}

/// What the index knows of all rows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Numbers {
    /// Rows ever appended.
    pub(super) rows: u64,
    /// Those of them of length 1.
    pub(super) unit: u64,
    /// Values a row; 0 before the first.
    pub(super) width: u64,
    /// Whether only one answer so far had that width.
    pub(super) doubted: bool,
}

pub(super) struct Index {
    folder: PathBuf,
    database: Opened,
    absent: Mutex<Absent>,
}

enum Opened {
    Writable(Database),
    /// Of a cache that this process may only read.
    Readable(ReadOnlyDatabase),
}

impl Index {
    /// Opens the index in `folder`, making it if it is not there.
    pub(super) fn open(folder: &Path) -> Result<Self, CacheError> {
        let path = folder.join(FILE);
        if !path.exists() {
            create(folder, &path)?;
        }
        let mut builder = Database::builder();
        builder.set_cache_size(PAGES);
        // What is there can be read without room for more.
        let full = disk::free(folder).is_some_and(|free| free < disk::LEAST);
        let readable = if full { builder.open_read_only(&path).ok() } else { None };
        let database = match readable {
            Some(database) => Opened::Readable(database),
            None => open_when_free(&builder, folder, &path)?,
        };
        Ok(Self { folder: folder.to_owned(), database, absent: Mutex::default() })
    }

    pub(super) fn is_writable(&self) -> bool {
        matches!(self.database, Opened::Writable(_))
    }

    pub(super) fn numbers(&self) -> Result<Numbers, CacheError> {
        self.read(|read| {
            let Some(numbers) = found(read.open_table(NUMBERS))? else { return Ok(Numbers::default()) };
            let number = |name| Ok::<_, redb::Error>(numbers.get(name)?.map_or(0, |number| number.value()));
            let (rows, unit, width) = (number("rows")?, number("unit")?, number("width")?);
            Ok(Numbers { rows, unit, width, doubted: number("doubted")? != 0 })
        })
    }

    /// What is known of each of `keys`.
    pub(super) fn look_up(&self, keys: &[Key]) -> Result<Vec<Option<Indexed>>, CacheError> {
        // Before the database is: a filter must not be made of what was there before a `put`.
        let mut absent = self.absent();
        self.read(|read| {
            let Some(rows) = found(read.open_table(ROWS))? else {
                return Ok(std::iter::repeat_with(|| None).take(keys.len()).collect());
            };
            let failures = read.open_table(FAILURES)?;
            absent.make_if_due(rows.len()? + failures.len()?, |insert| {
                rows.iter()?.try_for_each(|entry| entry.map(|(key, _)| insert(Key(*key.value()))))?;
                failures.iter()?.try_for_each(|entry| entry.map(|(key, _)| insert(Key(*key.value()))))?;
                Ok::<_, redb::Error>(())
            })?;
            let entry = |key: &Key| {
                if absent.surely_has(key) {
                    return Ok(None);
                }
                let entry = match rows.get(&key.0)? {
                    Some(row) => Some(Indexed::Row(of(row.value()))),
                    None => failures.get(&key.0)?.map(|reason| Indexed::Failed(reason.value().to_owned())),
                };
                if entry.is_none() {
                    absent.missed();
                }
                Ok(entry)
            };
            keys.iter().map(entry).collect()
        })
    }

    /// Items with a row, and those known to have none.
    pub(super) fn counts(&self) -> Result<(u64, u64), CacheError> {
        self.read(|read| match found(read.open_table(ROWS))? {
            Some(rows) => Ok((rows.len()?, read.open_table(FAILURES)?.len()?)),
            None => Ok((0, 0)),
        })
    }

    /// The keys whose row is as `wanted`.
    pub(super) fn keys(&self, wanted: impl Fn(Row) -> bool) -> Result<Vec<Key>, CacheError> {
        self.read(|read| {
            let mut keys = Vec::new();
            let Some(rows) = found(read.open_table(ROWS))? else { return Ok(keys) };
            for entry in rows.iter()? {
                let (key, row) = entry?;
                if wanted(of(row.value())) {
                    keys.push(Key(*key.value()));
                }
            }
            Ok(keys)
        })
    }

    /// Puts rows and failures in, in one durable step; a row replaces a failure, and no failure a row.
    pub(super) fn put(
        &self,
        rows: &[(Key, Row)],
        failures: &[(Key, &str)],
        numbers: Numbers,
    ) -> Result<(), CacheError> {
        let mut absent = self.absent();
        rows.iter().map(|(key, _)| key).chain(failures.iter().map(|(key, _)| key)).for_each(|key| absent.remove(key));
        self.write(|write| {
            let mut indexed = write.open_table(ROWS)?;
            let mut failed = write.open_table(FAILURES)?;
            for (key, Row { at, sum }) in rows {
                indexed.insert(&key.0, (*at, *sum))?;
                failed.remove(&key.0)?;
            }
            for (key, reason) in failures {
                if indexed.get(&key.0)?.is_none() {
                    failed.insert(&key.0, *reason)?;
                }
            }
            let mut table = write.open_table(NUMBERS)?;
            let Numbers { rows, unit, width, doubted } = numbers;
            for (name, number) in [("rows", rows), ("unit", unit), ("width", width), ("doubted", doubted.into())] {
                table.insert(name, number)?;
            }
            Ok(())
        })
    }

    /// Takes all rows out.
    pub(super) fn clear(&self) -> Result<(), CacheError> {
        self.write(|write| {
            write.delete_table(ROWS)?;
            write.delete_table(NUMBERS)?;
            // Where there is one of the two, there is the other.
            write.open_table(ROWS)?;
            write.open_table(FAILURES)?;
            Ok(())
        })
    }

    /// Takes rows out.
    pub(super) fn remove(&self, keys: &[Key]) -> Result<(), CacheError> {
        self.write(|write| {
            let mut rows = write.open_table(ROWS)?;
            keys.iter().try_for_each(|key| rows.remove(&key.0).map(drop))?;
            Ok(())
        })
    }

    fn absent(&self) -> MutexGuard<'_, Absent> {
        self.absent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T>(&self, work: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>) -> Result<T, CacheError> {
        let read = || match &self.database {
            Opened::Writable(database) => database.begin_read(),
            Opened::Readable(database) => database.begin_read(),
        };
        let work = || work(&read()?);
        work().map_err(|error| CacheError::index(&self.folder, error))
    }

    fn write(&self, work: impl FnOnce(&redb::WriteTransaction) -> Result<(), redb::Error>) -> Result<(), CacheError> {
        let Opened::Writable(database) = &self.database else {
            return Err(CacheError::io("write", &self.folder, ErrorKind::ReadOnlyFilesystem.into()));
        };
        let commit = || {
            let write = database.begin_write()?;
            work(&write)?;
            Ok::<_, redb::Error>(write.commit()?)
        };
        commit().map_err(|error| CacheError::index(&self.folder, error))
    }
}

/// Opens the index at `path` to write, or to read where nobody may write, after what another process does with it.
fn open_when_free(builder: &Builder, folder: &Path, path: &Path) -> Result<Opened, CacheError> {
    let start = Instant::now();
    loop {
        let opened = match builder.open(path).map(Opened::Writable) {
            Err(DatabaseError::Storage(StorageError::Io(error)))
                if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) =>
            {
                builder.open_read_only(path).map(Opened::Readable)
            }
            opened => opened,
        };
        match opened {
            Ok(opened) => return Ok(opened),
            // Reading takes moments; what takes longer is an encoding.
            Err(DatabaseError::DatabaseAlreadyOpen) if start.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(50));
            }
            Err(DatabaseError::DatabaseAlreadyOpen) => return Err(CacheError::InUse { path: folder.to_owned() }),
            Err(DatabaseError::RepairAborted) => return Err(CacheError::Unclean { path: folder.to_owned() }),
            Err(error) => return Err(CacheError::index(path, error)),
        }
    }
}

fn of((at, sum): (u64, u64)) -> Row {
    Row { at, sum }
}

/// Makes an empty index beside `path` and gives it its name when it is whole; another process may be faster.
fn create(folder: &Path, path: &Path) -> Result<(), CacheError> {
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
