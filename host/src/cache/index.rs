//! The index from items to rows, in an embedded database (redb) with atomic commits.

use redb::{
    Builder, Database, DatabaseError, ReadOnlyDatabase, ReadTransaction, ReadableDatabase, ReadableTable,
    ReadableTableMetadata, StorageError, TableDefinition, WriteTransaction,
};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::absent::Absent;
use super::known::Noted;
use super::record::{Numbers, Row, State};
use super::{CacheError, Key};
use crate::file_lock::{PATIENCE, PAUSE};
use crate::{quiet_panic, whole_file};

/// The file of an index.
pub(super) const FILE: &str = "index.redb";
/// Bytes of cached pages.
const PAGES: usize = 16 << 20;
/// Key -> (row, checksum of the row).
const ROWS: TableDefinition<'_, &[u8; 32], (u64, u64)> = TableDefinition::new("rows");
/// Key -> why the item has no latent.
const FAILURES: TableDefinition<'_, &[u8; 32], &str> = TableDefinition::new("failures");
/// The [`Numbers`].
const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");

/// The part of the log that the index covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Learnt {
    /// The log's generation; 0 for an index that predates logs.
    pub(super) log: u64,
    /// Records of the log.
    pub(super) records: u64,
}

pub(super) struct Index {
    folder: PathBuf,
    database: Opened,
    absent: Mutex<Absent>,
}

enum Opened {
    Writable(Database),
    /// A cache that this process may only read.
    Readable(ReadOnlyDatabase),
}

impl Index {
    /// Opens the index in `folder` for writing once no other process uses it; none if there is none. Damage is reported
    /// now, as [`CacheError::Index`], rather than later.
    pub(super) fn open(folder: &Path) -> Result<Option<Self>, CacheError> {
        Self::open_with(folder, |builder, path| {
            builder.set_check_integrity_on_open(true).open(path).map(Opened::Writable)
        })
    }

    /// Opens the index in `folder` for reading once no other process writes to it.
    pub(super) fn open_to_read(folder: &Path) -> Result<Option<Self>, CacheError> {
        Self::open_with(folder, |builder, path| builder.open_read_only(path).map(Opened::Readable))
    }

    fn open_with(
        folder: &Path,
        open: impl Fn(&mut Builder, &Path) -> Result<Opened, DatabaseError>,
    ) -> Result<Option<Self>, CacheError> {
        let path = folder.join(FILE);
        let mut builder = Database::builder();
        builder.set_cache_size(PAGES);
        let start = Instant::now();
        let database = loop {
            // Of a file that somebody else has written to, anything can be expected.
            match quiet_panic::catch(|| open(&mut builder, &path)) {
                Some(Ok(database)) => break database,
                Some(Err(DatabaseError::DatabaseAlreadyOpen)) if start.elapsed() < PATIENCE => {
                    std::thread::sleep(PAUSE)
                }
                Some(Err(DatabaseError::DatabaseAlreadyOpen)) => {
                    return Err(CacheError::InUse { path: folder.to_owned() });
                }
                Some(Err(DatabaseError::RepairAborted)) => return Err(CacheError::Unclean { path: folder.to_owned() }),
                Some(Err(DatabaseError::Storage(StorageError::Io(error)))) if error.kind() == ErrorKind::NotFound => {
                    return Ok(None);
                }
                Some(Err(error)) => return Err(CacheError::index(&path, error)),
                None => return Err(CacheError::index(&path, panics())),
            }
        };
        Ok(Some(Self { folder: folder.to_owned(), database, absent: Mutex::default() }))
    }

    pub(super) fn numbers(&self) -> Result<(Numbers, Learnt), CacheError> {
        self.read(|read| {
            let Some(numbers) = found(read.open_table(NUMBERS))? else { return Ok(Default::default()) };
            let number = |name| Ok::<_, redb::Error>(numbers.get(name)?.map_or(0, |number| number.value()));
            let (rows, unit, width) = (number("rows")?, number("unit")?, number("width")?);
            let learnt = Learnt { log: number("log")?, records: number("records")? };
            Ok((Numbers { rows, unit, width, doubted: number("doubted")? != 0 }, learnt))
        })
    }

    /// The recorded state of each of `keys`.
    pub(super) fn look_up(&self, keys: &[Key]) -> Result<Vec<Option<Noted>>, CacheError> {
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
                    Some(row) => Some(Noted::Row(of(row.value()))),
                    None => failures.get(&key.0)?.map(|reason| Noted::Failed(reason.value().to_owned())),
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

    /// Visits every row, in key order.
    pub(super) fn rows(&self, mut visit: impl FnMut(Key, Row) -> Result<(), CacheError>) -> Result<(), CacheError> {
        self.entries(ROWS, |key, row| visit(key, of(row)))
    }

    /// Visits every failure, in key order.
    pub(super) fn failures(
        &self,
        mut visit: impl FnMut(Key, &str) -> Result<(), CacheError>,
    ) -> Result<(), CacheError> {
        self.entries(FAILURES, |key, reason| visit(key, reason))
    }

    fn entries<V: redb::Value>(
        &self,
        table: TableDefinition<'_, &'static [u8; 32], V>,
        mut visit: impl FnMut(Key, V::SelfType<'_>) -> Result<(), CacheError>,
    ) -> Result<(), CacheError> {
        // What a visitor says ends the reading, and is no fault of the database.
        let mut outcome = Ok(());
        self.read(|read| {
            let Some(table) = found(read.open_table(table))? else { return Ok(()) };
            for entry in table.iter()? {
                let (key, value) = entry?;
                outcome = visit(Key(*key.value()), value.value());
                if outcome.is_err() {
                    break;
                }
            }
            Ok(())
        })?;
        outcome
    }

    /// Adds what the log says about items, in one durable step. `reason` reads the reason for a failure.
    pub(super) fn put(
        &self,
        states: &[(Key, State)],
        reason: impl Fn(&Key, u64) -> String,
        numbers: Numbers,
        learnt: Learnt,
    ) -> Result<(), CacheError> {
        let mut absent = self.absent();
        states.iter().for_each(|(key, _)| absent.remove(key));
        self.write(|write| {
            let mut rows = write.open_table(ROWS)?;
            let mut failed = write.open_table(FAILURES)?;
            for (key, state) in states {
                match *state {
                    State::Row(Row { at, sum }) => {
                        rows.insert(&key.0, (at, sum))?;
                        failed.remove(&key.0)?;
                    }
                    State::Failed { reason: place, anew } => {
                        if anew {
                            rows.remove(&key.0)?;
                        }
                        if rows.get(&key.0)?.is_none() {
                            failed.insert(&key.0, reason(key, place).as_str())?;
                        }
                    }
                    State::Forgotten => drop(rows.remove(&key.0)?),
                }
            }
            put_numbers(write, numbers, learnt)
        })
    }

    /// Removes all rows and starts a new log.
    pub(super) fn clear(&self, learnt: Learnt) -> Result<(), CacheError> {
        self.write(|write| {
            write.delete_table(ROWS)?;
            // Where there is one of the two, there is the other.
            write.open_table(ROWS)?;
            write.open_table(FAILURES)?;
            put_numbers(write, Numbers::default(), learnt)
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
        quiet_panic::catch(work)
            .unwrap_or_else(|| Err(panics()))
            .map_err(|error| CacheError::index(&self.path(), error))
    }

    fn write(&self, work: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>) -> Result<(), CacheError> {
        let Opened::Writable(database) = &self.database else {
            return Err(CacheError::io("write", &self.folder, ErrorKind::ReadOnlyFilesystem.into()));
        };
        let commit = || {
            let write = database.begin_write()?;
            work(&write)?;
            Ok::<_, redb::Error>(write.commit()?)
        };
        quiet_panic::catch(commit)
            .unwrap_or_else(|| Err(panics()))
            .map_err(|error| CacheError::index(&self.path(), error))
    }

    fn path(&self) -> PathBuf {
        self.folder.join(FILE)
    }
}

fn panics() -> redb::Error {
    redb::Error::Corrupted("the database panics".into())
}

fn of((at, sum): (u64, u64)) -> Row {
    Row { at, sum }
}

/// Makes an empty index in `folder`, which replaces any other once it is complete.
pub(super) fn make(folder: &Path) -> Result<(), CacheError> {
    let path = folder.join(FILE);
    let make = |cause| CacheError::io("make", &path, cause);
    let part = whole_file::part(&path);
    match std::fs::remove_file(&part) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        removed => removed.map_err(make)?,
    }
    drop(Database::create(&part).map_err(|error| CacheError::index(&path, error))?);
    std::fs::rename(&part, &path).and_then(|()| whole_file::sync_folder(&path)).map_err(make)
}

fn put_numbers(write: &WriteTransaction, numbers: Numbers, learnt: Learnt) -> Result<(), redb::Error> {
    let mut table = write.open_table(NUMBERS)?;
    let Numbers { rows, unit, width, doubted } = numbers;
    let Learnt { log, records } = learnt;
    let numbers = [
        ("rows", rows),
        ("unit", unit),
        ("width", width),
        ("doubted", doubted.into()),
        ("log", log),
        ("records", records),
    ];
    numbers.into_iter().try_for_each(|(name, number)| table.insert(name, number).map(drop).map_err(Into::into))
}

/// `None` for a table that was never written.
fn found<T>(table: Result<T, redb::TableError>) -> Result<Option<T>, redb::Error> {
    match table {
        Ok(table) => Ok(Some(table)),
        Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
