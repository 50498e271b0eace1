//! The records of an entry's log.

use super::Key;
use super::records::{self, SUM};

/// Bytes of a record: a key, a number whose upper byte is the record's kind, another number, the record's checksum.
pub(super) const RECORD: usize = 32 + 8 + 8 + SUM;

/// The place of a latent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) at: u64,
    /// Its checksum.
    pub(super) sum: u64,
}

/// Totals over all rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Numbers {
    /// Rows ever appended.
    pub(super) rows: u64,
    /// Those of them of length 1.
    pub(super) unit: u64,
    /// Values per row; 0 before the first.
    pub(super) width: u64,
    /// True if only one answer so far had that width.
    pub(super) doubted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Record {
    Row {
        key: Key,
        row: Row,
        /// True if its length is 1.
        unit: bool,
    },
    /// The item has no latent, for the reason at this byte of the file of reasons.
    Failed { key: Key, reason: u64 },
    /// The item's row no longer counts.
    Forgotten { key: Key },
    /// The totals of the records before; the width stands before the first row.
    Numbers(Numbers),
}

const ROW: u8 = 0;
const UNIT_ROW: u8 = 1;
const FAILED: u8 = 2;
const FORGOTTEN: u8 = 3;
const NUMBERS: u8 = 4;

impl Record {
    pub(super) fn write(&self) -> [u8; RECORD] {
        let (kind, key, place, sum) = match *self {
            Self::Row { key, row: Row { at, sum }, unit } => (if unit { UNIT_ROW } else { ROW }, key, at, sum),
            Self::Failed { key, reason } => (FAILED, key, reason, 0),
            Self::Forgotten { key } => (FORGOTTEN, key, 0, 0),
            Self::Numbers(Numbers { rows, unit, width, doubted }) => {
                let mut key = [0; 32];
                key[..8].copy_from_slice(&width.to_le_bytes());
                key[8] = doubted.into();
                (NUMBERS, Key(key), rows, unit)
            }
        };
        let mut record = [0; RECORD];
        record[..32].copy_from_slice(&key.0);
        record[32..40].copy_from_slice(&place.to_le_bytes());
        record[39] = kind;
        record[40..48].copy_from_slice(&sum.to_le_bytes());
        records::seal(record)
    }

    /// The content of an intact record; none for a kind that this version does not know.
    pub(super) fn read(record: &[u8; RECORD]) -> Option<Self> {
        let (kind, key) = (record[39], Key(*records::name(record)));
        let (place, sum) = (records::number(record, 32) & (u64::MAX >> 8), records::number(record, 40));
        Some(match kind {
            ROW | UNIT_ROW => Self::Row { key, row: Row { at: place, sum }, unit: kind == UNIT_ROW },
            FAILED => Self::Failed { key, reason: place },
            FORGOTTEN => Self::Forgotten { key },
            NUMBERS => Self::Numbers(Numbers {
                rows: place,
                unit: sum,
                width: records::number(record, 0),
                doubted: record[8] != 0,
            }),
            _ => return None,
        })
    }

    /// The item that the record is about, and the item's new state.
    pub(super) fn item(&self) -> Option<(Key, State)> {
        match *self {
            Self::Row { key, row, .. } => Some((key, State::Row(row))),
            Self::Failed { key, reason } => Some((key, State::Failed { reason, anew: false })),
            Self::Forgotten { key } => Some((key, State::Forgotten)),
            Self::Numbers(_) => None,
        }
    }
}

impl Numbers {
    /// Applies the log's next record.
    pub(super) fn learn(&mut self, record: &Record) {
        match *record {
            Record::Row { row, unit, .. } => {
                self.rows = self.rows.max(row.at + 1);
                self.unit += u64::from(unit);
            }
            Record::Numbers(numbers) => *self = numbers,
            Record::Failed { .. } | Record::Forgotten { .. } => {}
        }
    }
}

/// The state of an item by a part of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Row(Row),
    Failed {
        reason: u64,
        /// True if a row before that part no longer counts.
        anew: bool,
    },
    Forgotten,
}

impl State {
    /// The state of an item that was `earlier`: the newest record counts, but a failure never replaces a row.
    pub(super) fn after(self, earlier: Option<State>) -> State {
        match (earlier, self) {
            (Some(row @ State::Row(_)), State::Failed { .. }) => row,
            (Some(State::Forgotten | State::Failed { anew: true, .. }), State::Failed { reason, .. }) => {
                State::Failed { reason, anew: true }
            }
            (_, newest) => newest,
        }
    }
}
