//! The reconciliation of an entry's index and log: after a crash, damage, or use by an older version.

use rayon::prelude::*;
use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::index::{self, Index, Learnt};
use super::log::{self, Log, LogEnd};
use super::reasons::Reasons;
use super::record::{Numbers, Record, Row, State};
use super::segments::{Mapped, Segments, is_unit};
use super::{CacheError, Key, journal};

/// Records that wait before the index gets them: with another append, as many as a map of 2^18 slots takes.
pub(super) const RECENT: usize = 200_000;
/// Failures per write.
const FAILURES: usize = 1 << 12;

/// The items that the index does not have yet.
pub(super) type States = HashMap<Key, State>;

/// An entry that is ready to be written to.
pub(super) struct Opened {
    /// It covers the whole log.
    pub(super) index: Index,
    /// The log's generation before any repair.
    pub(super) found: u64,
    pub(super) end: LogEnd,
    pub(super) numbers: Numbers,
}

/// Opens the entry in `folder`, whose lock this process holds, and repairs what is damaged.
pub(super) fn open(folder: &Path) -> Result<Opened, CacheError> {
    let log = Log::open(folder)?;
    let found = log.as_ref().map_or(0, |log| log.generation);
    let index = index(folder, log.as_ref())?;
    let (numbers, learnt) = index.numbers()?;
    let old = journal::read(folder, numbers.rows)?;
    let log = match log {
        Some(log) if old.is_none() && has(&log, numbers, learnt)? => log,
        log => {
            let mut numbers = numbers;
            if let Some(log) = log {
                numbers = salvage(folder, &index, &log, numbers, learnt)?;
            }
            let old = old_records(folder, numbers, old)?;
            if !old.is_empty() {
                let mut states = States::new();
                old.iter().for_each(|record| note(&mut states, &mut numbers, record));
                settle(folder, &index, &mut states, numbers, learnt)?;
            }
            let learnt = write_log(folder, &index, learnt.log + 1, Some(numbers))?;
            index.put(&[], |_, _| String::new(), numbers, learnt)?;
            Log::open(folder)?.ok_or_else(|| CacheError::io("open", folder, ErrorKind::NotFound.into()))?
        }
    };
    match fs::remove_file(journal::path(folder)) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        removed => removed.map_err(|cause| CacheError::io("remove", &journal::path(folder), cause))?,
    }
    let (numbers, count) = learn(folder, &index, &log)?;
    let end = LogEnd::open(folder, count, log.generation)?;
    Ok(Opened { index, found, end, numbers })
}

/// Adds to the index what a damaged log has and the index lacks: records after those that the index took, or, where the
/// header is damaged, any.
fn salvage(folder: &Path, index: &Index, log: &Log, numbers: Numbers, learnt: Learnt) -> Result<Numbers, CacheError> {
    let (first, mut totals) = match log.generation {
        0 => (0, Numbers { rows: 0, unit: 0, ..numbers }),
        same if same == learnt.log => (learnt.records, numbers),
        _ => return Ok(numbers),
    };
    let mut states = States::new();
    log.scan(first, |_, record| {
        note(&mut states, &mut totals, &record);
        Ok(())
    })?;
    let (rows, unit) = (totals.rows.max(numbers.rows), totals.unit.max(numbers.unit));
    let totals = Numbers { rows, unit, ..totals };
    settle(folder, index, &mut states, totals, learnt)?;
    Ok(totals)
}

/// The index in `folder`: the existing one, or one rebuilt from the log.
fn index(folder: &Path, log: Option<&Log>) -> Result<Index, CacheError> {
    let damage = match (Index::open(folder), log) {
        (Ok(Some(index)), Some(log)) if index.numbers()?.1.log < log.generation => {
            // Somebody who cleared the entry, or made the log, did not come to tell the index.
            None
        }
        (Ok(Some(index)), _) => return Ok(index),
        (Ok(None), Some(_)) => Some("it is missing".to_owned()),
        (Ok(None), None) if holds_nothing(folder) => None,
        (Ok(None), None) => {
            tracing::warn!(
                "{}: rows.log and index.redb are both lost, so nobody knows whose the rows are; their items are \
                 encoded again",
                folder.display()
            );
            None
        }
        (Err(error @ CacheError::Index { .. }), Some(_)) => Some(error.to_string()),
        // The entry was just being made.
        (Err(CacheError::Index { .. }), None) if holds_nothing(folder) => None,
        (Err(error), _) => return Err(error),
    };
    if let Some(damage) = damage {
        tracing::warn!("{}: rebuilding the lost index from the log: {damage}", folder.display());
    }
    index::make(folder)?;
    let index = Index::open(folder)?.ok_or_else(|| CacheError::io("open", folder, ErrorKind::NotFound.into()))?;
    if let Some(log) = log {
        let (numbers, _) = learn(folder, &index, log)?;
        let lost = Segments::new(folder, numbers.width.max(1) as usize).on_disk()?.saturating_sub(numbers.rows);
        if lost > 0 && numbers.width > 0 {
            tracing::warn!(
                "{}: rows.log does not know {lost} of the rows, which a crash or a cut log left; their items are \
                 encoded again",
                folder.display()
            );
        }
    }
    Ok(index)
}

/// True if there is neither a row in `folder` nor a journal of any.
pub(super) fn holds_nothing(folder: &Path) -> bool {
    !Segments::new(folder, 1).are_there() && !journal::path(folder).exists()
}

/// True if the log is intact, and still has what the index took from it.
fn has(log: &Log, numbers: Numbers, learnt: Learnt) -> Result<bool, CacheError> {
    let (end, damaged) = log.damage()?;
    let header = log.generation > 0 && log.generation == learnt.log;
    let width = numbers.width == 0 || log.width()?.is_some();
    Ok(header && width && damaged == 0 && end >= learnt.records)
}

/// The log records for the rows of a journal, next to an index with these numbers.
pub(super) fn old_records(
    folder: &Path,
    numbers: Numbers,
    journal: Option<Vec<(Key, Row)>>,
) -> Result<Vec<Record>, CacheError> {
    // An index without a width is another one than the journal was written beside.
    let rows = journal.filter(|_| numbers.width > 0).unwrap_or_default();
    let end = rows.iter().map(|(_, row)| row.at + 1).max().unwrap_or(0);
    let mapped = map(folder, Numbers { rows: end, ..numbers })?;
    let record = |(key, row): (Key, Row)| Record::Row { key, row, unit: mapped.row(row.at).is_some_and(is_unit) };
    Ok(rows.into_iter().map(record).collect())
}

/// Makes a log from the index: from its failures, and from its rows if there are `numbers` of them.
pub(super) fn write_log(
    folder: &Path,
    index: &Index,
    generation: u64,
    numbers: Option<Numbers>,
) -> Result<Learnt, CacheError> {
    let reasons = Reasons::new(folder);
    let mut count = 0;
    log::make(folder, generation, |write| {
        let mut write = |record| {
            count += 1;
            write(record).map_err(|cause| CacheError::io("write", &folder.join(log::FILE), cause))
        };
        let numbers = numbers.filter(|numbers| numbers.width > 0);
        if let Some(Numbers { width, doubted, .. }) = numbers {
            write(Record::Numbers(Numbers { width, doubted, ..Numbers::default() }))?;
        }
        let mut failures: Vec<(Key, String)> = Vec::new();
        let mut failed = |failures: &mut Vec<(Key, String)>| {
            let texts: Vec<(Key, &str)> = failures.iter().map(|(key, reason)| (*key, reason.as_str())).collect();
            let places = if texts.is_empty() { Vec::new() } else { reasons.append(&texts)? };
            let records = failures.drain(..).zip(places).map(|((key, _), reason)| Record::Failed { key, reason });
            records.into_iter().try_for_each(&mut write)
        };
        index.failures(|key, reason| {
            failures.push((key, reason.to_owned()));
            if failures.len() == FAILURES { failed(&mut failures) } else { Ok(()) }
        })?;
        failed(&mut failures)?;
        if let Some(numbers) = numbers {
            let mapped = map(folder, numbers)?;
            index.rows(|key, row| {
                let unit = match numbers.unit {
                    0 => false,
                    unit if unit == numbers.rows => true,
                    _ => mapped.row(row.at).is_some_and(is_unit),
                };
                write(Record::Row { key, row, unit })
            })?;
            // Rows that count no more are among them.
            write(Record::Numbers(numbers))?;
        }
        Ok(())
    })?;
    Ok(Learnt { log: generation, records: count })
}

/// Adds to the index what it does not have yet of the log; returns the totals and the number of intact records.
fn learn(folder: &Path, index: &Index, log: &Log) -> Result<(Numbers, u64), CacheError> {
    let (mut numbers, learnt) = index.numbers()?;
    let mut states = States::new();
    let count = log.scan(learnt.records, |number, record| {
        note(&mut states, &mut numbers, &record);
        if states.len() >= RECENT {
            settle(folder, index, &mut states, numbers, Learnt { log: log.generation, records: number + 1 })?;
        }
        Ok(())
    })?;
    let all = Learnt { log: log.generation, records: count };
    if learnt != all {
        settle(folder, index, &mut states, numbers, all)?;
    }
    Ok((numbers, count))
}

/// Applies the log's next record.
pub(super) fn note(states: &mut States, numbers: &mut Numbers, record: &Record) {
    numbers.learn(record);
    if let Some((key, state)) = record.item() {
        let state = state.after(states.get(&key).copied());
        states.insert(key, state);
    }
}

/// Adds to the index what it does not have yet: `states`, up to `learnt`.
pub(super) fn settle(
    folder: &Path,
    index: &Index,
    states: &mut States,
    numbers: Numbers,
    learnt: Learnt,
) -> Result<(), CacheError> {
    let mut sorted: Vec<(Key, State)> = states.iter().map(|(key, state)| (*key, *state)).collect();
    // In the index's own order, pages are written once.
    sorted.par_sort_unstable_by_key(|(key, _)| *key);
    let reasons = Reasons::new(folder).open()?;
    index.put(&sorted, |key, place| reasons.read(key, place), numbers, learnt)?;
    states.clear();
    Ok(())
}

/// The rows of an entry with these numbers.
pub(super) fn map(folder: &Path, Numbers { rows, width, .. }: Numbers) -> Result<Mapped, CacheError> {
    Segments::new(folder, width.max(1) as usize).map(rows, &[])
}
