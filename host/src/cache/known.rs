//! Facts about an entry and its items.

use rayon::prelude::*;
use serde::Serialize;
use std::fs;
use std::path::Path;

use super::CacheError;
use super::record::{Numbers, Row};
use super::segments::Mapped;

/// The state of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// Its latent is this intact row.
    Row(u64),
    /// Its latent is damaged and must be encoded again.
    Damaged,
    /// It has none, for this reason.
    Failed(String),
}

/// The recorded state of an item, before its row is checked.
#[derive(Debug)]
pub(super) enum Noted {
    Row(Row),
    Failed(String),
}

/// The state of each item, with rows checked against their checksums.
pub(super) fn known(noted: Vec<Option<Noted>>, mapped: &Mapped) -> Vec<Option<Known>> {
    let known = |noted| match noted {
        Noted::Row(row) if mapped.is_whole(row) => Known::Row(row.at),
        Noted::Row(_) => Known::Damaged,
        Noted::Failed(reason) => Known::Failed(reason),
    };
    noted.into_par_iter().with_min_len(16).map(|noted| noted.map(known)).collect()
}

/// Sizes of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Items with a latent.
    pub rows: u64,
    /// Items known to have no latent.
    pub failures: u64,
    /// Values a row.
    pub width: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// True if all rows have length 1, false if no row has; none if only some have.
    pub normalized: Option<bool>,
}

impl Counts {
    pub(super) fn new(folder: &Path, rows: u64, failures: u64, numbers: Numbers) -> Result<Self, CacheError> {
        let files = fs::read_dir(folder).map_err(|cause| CacheError::io("read", folder, cause))?;
        let bytes = files.filter_map(|file| Some(file.ok()?.metadata().ok()?.len())).sum();
        let normalized = match (numbers.rows, numbers.unit) {
            (0, _) => None,
            (all, unit) if unit == all => Some(true),
            (_, 0) => Some(false),
            _ => None,
        };
        Ok(Self { rows, failures, width: numbers.width, bytes, normalized })
    }
}
