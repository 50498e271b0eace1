//! The words of an encoding: what is wanted, how far it is, and what came of it.

use serde::Serialize;
use std::collections::BTreeMap;

use super::EncodeError;
use super::column::{Failure, Places};

/// The progress of an encoding.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Rows that are finished.
    pub done: usize,
    /// All rows.
    pub total: usize,
    /// Items answered by the encoder in this run.
    pub worked: usize,
    /// Items without a latent.
    pub failed: usize,
}

/// The result of encoding a column.
#[derive(Debug)]
pub struct Encoding {
    /// The place of each row's latent; empty unless requested.
    pub places: Places,
    /// The counts.
    pub summary: Summary,
    /// The error that ended it early.
    pub error: Option<EncodeError>,
}

/// Counts of an encoding, as printed by `--json`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// Rows of the column.
    pub rows: usize,
    /// Items that this run encoded.
    pub encoded: usize,
    /// Rows whose latent was there before.
    pub cached: usize,
    /// Rows whose latent this run made for an earlier row with the same item.
    pub duplicates: usize,
    /// Items encoded by this run that the model truncated.
    pub truncated: usize,
    /// Rows without a latent.
    pub failed: usize,
    /// Those of them that failed for a passing reason: the next run tries them again by itself.
    pub passing: usize,
    /// Items that were not sent because they failed in an earlier run.
    pub remembered: usize,
    /// Items that were sent again because their cached latent was damaged.
    pub damaged: usize,
    /// Items for which the encoder returned NaN or infinity in this run.
    pub not_finite: usize,
    /// The rows without a latent, in file order.
    pub failures: Vec<Failure>,
    /// The encoder's usage in this run, by unit.
    pub usage: BTreeMap<String, f64>,
    /// The cost of this usage, if the encoder has a price.
    pub cost: Option<f64>,
    /// The error that ended it early.
    pub error: Option<String>,
    /// True if it was stopped before the end.
    pub stopped: bool,
    /// True if it ended at its bounds.
    pub bounded: bool,
    /// Seconds from the first item read to the last latent stored.
    pub seconds: f64,
}

/// The selection of a column's items to encode.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// True to include items that failed in an earlier run.
    pub retry_failed: bool,
    /// The most items.
    pub max_items: Option<usize>,
    /// The most cost, by the encoder's price and its measure of the items.
    pub max_cost: Option<f64>,
    /// True to return the place of each row's latent.
    pub places: bool,
}

impl Wanted {
    /// All new items, with the place of each row's latent.
    pub fn placed() -> Self {
        Self { places: true, ..Self::default() }
    }
}
