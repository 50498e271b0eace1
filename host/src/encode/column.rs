//! The state of each row of a column, as it becomes known.

use serde::Serialize;
use std::collections::HashMap;

use crate::cache::{Key, Known};
use crate::dataset::Items;

/// A row without a latent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The row, from 1; the header does not count.
    pub row: usize,
    /// The item: the start of the text, or the file.
    pub item: String,
    /// The reason.
    pub reason: String,
    /// True if the reason may pass: the next run tries the item again by itself.
    pub passing: bool,
}

/// The reason why an item has no latent.
#[derive(Clone, Debug)]
pub(super) struct Reason {
    pub(super) text: String,
    /// See [`Failure::passing`].
    pub(super) passing: bool,
}

impl From<String> for Reason {
    /// One that does not pass.
    fn from(text: String) -> Self {
        Self { text, passing: false }
    }
}

/// Each row's item and the place of its latent.
#[derive(Debug, Default)]
pub struct Places {
    /// The key of each row's item; `None` if it could not be read, or not yet.
    pub keys: Vec<Option<Key>>,
    /// The store's row of each row's latent; `None` if it has none.
    pub rows: Vec<Option<u64>>,
}

/// True if an item whose state in the store is `known` need not be encoded.
pub(super) fn is_enough(known: Option<&Known>, retry_failed: bool) -> bool {
    match known {
        Some(Known::Row(_)) => true,
        Some(Known::Failed(_)) => !retry_failed,
        Some(Known::Damaged) | None => false,
    }
}

/// The rows of a column. Without places, its size grows with the failures and the pending items, not with the rows.
pub(super) struct ColumnRows<'a> {
    items: Items<'a>,
    retry_failed: bool,
    /// The first of the store's rows that belong to this run; the maximum if it has stored nothing yet.
    first: u64,
    places: Option<Places>,
    /// Rows of the pending items.
    waiting: HashMap<Key, Vec<usize>>,
    /// Items without a latent, with the reason.
    failed: HashMap<Key, Reason>,
    pub(super) failures: Vec<Failure>,
    /// Rows that are finished.
    pub(super) settled: usize,
    /// Finished rows whose latent was there before.
    pub(super) cached: usize,
    /// Finished rows whose latent this run made for an earlier row.
    pub(super) duplicates: usize,
    /// Items that failed in an earlier run.
    pub(super) remembered: usize,
    /// Items whose latent was damaged.
    pub(super) damaged: usize,
    /// Rows that could not be read.
    pub(super) unreadable: usize,
}

impl<'a> ColumnRows<'a> {
    /// The rows of `items` before a run. Stored failures count as unknown if `retry_failed`, and each row's place is
    /// kept if `placed`.
    pub(super) fn new(items: Items<'a>, retry_failed: bool, placed: bool) -> Self {
        let places = || Places { keys: vec![None; items.len()], rows: vec![None; items.len()] };
        Self {
            items,
            retry_failed,
            first: u64::MAX,
            places: placed.then(places),
            waiting: HashMap::new(),
            failed: HashMap::new(),
            failures: Vec::new(),
            settled: 0,
            cached: 0,
            duplicates: 0,
            remembered: 0,
            damaged: 0,
            unreadable: 0,
        }
    }

    /// Records that the run appends from the store's row `first` on.
    pub(super) fn begin(&mut self, first: u64) {
        self.first = self.first.min(first);
    }

    /// True if an item whose state in the store is `known` need not be encoded.
    pub(super) fn is_enough(&self, known: Option<&Known>) -> bool {
        is_enough(known, self.retry_failed)
    }

    /// Records that the item of `row` cannot be read.
    pub(super) fn unread(&mut self, row: usize, reason: String) {
        self.unreadable += 1;
        self.fail(row, reason.into());
    }

    /// Records that the item of `row` is `key`, with state `known` in the store; true if it must be encoded.
    pub(super) fn read(&mut self, row: usize, key: Key, known: Option<Known>) -> bool {
        if let Some(places) = &mut self.places {
            places.keys[row] = Some(key);
        }
        if let Some(rows) = self.waiting.get_mut(&key) {
            rows.push(row);
            return false;
        }
        if let Some(reason) = self.failed.get(&key) {
            self.fail(row, reason.clone());
            return false;
        }
        match known {
            Some(Known::Row(at)) => {
                self.cached += usize::from(at < self.first);
                self.duplicates += usize::from(at >= self.first);
                self.place(row, at);
                return false;
            }
            Some(Known::Failed(reason)) if !self.retry_failed => {
                self.remembered += 1;
                let reason = Reason::from(reason);
                self.fail(row, reason.clone());
                self.failed.insert(key, reason);
                return false;
            }
            Some(Known::Damaged) => self.damaged += 1,
            Some(Known::Failed(_)) | None => {}
        }
        self.waiting.insert(key, vec![row]);
        true
    }

    /// Records that the latent of `key` is the store's row `at`.
    pub(super) fn stored(&mut self, key: &Key, at: u64) {
        let rows = self.waiting.remove(key).unwrap_or_default();
        self.duplicates += rows.len().saturating_sub(1);
        rows.into_iter().for_each(|row| self.place(row, at));
    }

    /// Records that `key` has no latent.
    pub(super) fn failed(&mut self, key: Key, reason: Reason) {
        for row in self.waiting.remove(&key).unwrap_or_default() {
            self.fail(row, reason.clone());
        }
        self.failed.insert(key, reason);
    }

    fn place(&mut self, row: usize, at: u64) {
        self.settled += 1;
        if let Some(places) = &mut self.places {
            places.rows[row] = Some(at);
        }
    }

    fn fail(&mut self, row: usize, Reason { text, passing }: Reason) {
        self.settled += 1;
        self.failures.push(Failure { row: self.items.number(row), item: self.items.name(row), reason: text, passing });
    }

    /// The failures in file order, and the places.
    pub(super) fn end(mut self) -> (Vec<Failure>, Places) {
        self.failures.sort_unstable_by_key(|failure| failure.row);
        (self.failures, self.places.unwrap_or_default())
    }
}
