//! Rows of an entry as a column.

use std::sync::Arc;

use super::segments::Mapped;
use crate::latents::Latents;

/// Rows of a store as a column, without a copy of them.
pub struct CachedLatents {
    mapped: Arc<Mapped>,
    rows: Vec<u64>,
}

impl CachedLatents {
    pub(super) fn new(mapped: Arc<Mapped>, rows: Vec<u64>) -> Self {
        Self { mapped, rows }
    }

    /// No rows.
    pub(super) fn none() -> Self {
        Self { mapped: Arc::default(), rows: Vec::new() }
    }
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
