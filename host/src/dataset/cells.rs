//! The cells of a column: texts, and of a column of an archive's members their names and places.

use std::sync::Arc;

use super::member::{Archive, Place};

/// The cells of a column, end to end.
#[derive(Default)]
pub(super) struct Cells {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// True if some cells are lists of texts, as JSON.
    pub(super) lists: bool,
    /// Where the members are, if these are names of members.
    pub(super) members: Option<Members>,
}

/// The members of archives, a row each.
#[derive(Default)]
pub(super) struct Members {
    /// Rows beyond its end have no member.
    pub(super) places: Vec<Place>,
    pub(super) archives: Vec<Arc<Archive>>,
}

impl Cells {
    pub(super) fn reserve(&mut self, bytes: usize) {
        self.bytes.reserve(bytes);
    }

    /// Rows that have a cell.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn push(&mut self, cell: &[u8]) {
        self.bytes.extend_from_slice(cell);
        self.ends.push(self.bytes.len());
    }

    /// Adds empty cells, up to `rows` of them.
    pub(super) fn pad(&mut self, rows: usize) {
        self.ends.resize(rows.max(self.ends.len()), self.bytes.len());
    }

    /// The cell of row `index`; an empty one beyond the end.
    pub(super) fn cell(&self, index: usize) -> &[u8] {
        let Some(&end) = self.ends.get(index) else { return &[] };
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..end]
    }

    /// Puts the member of the next row, whose cell is its name, at a place in `archive`.
    pub(super) fn push_member(&mut self, name: &[u8], archive: &Arc<Archive>, at: u64, length: u64) {
        let row = self.len();
        let members = self.members.get_or_insert_default();
        if !members.archives.last().is_some_and(|last| Arc::ptr_eq(last, archive)) {
            members.archives.push(archive.clone());
        }
        let number = members.archives.len() as u32 - 1;
        members.places.resize(row, Place::NONE);
        members.places.push(Place { archive: number, at, length });
        self.push(name);
    }

    /// The cells of these rows, in this order.
    pub(super) fn of(&self, rows: &[usize]) -> Self {
        let mut chosen = Self { lists: self.lists, ..Self::default() };
        rows.iter().for_each(|&row| chosen.push(self.cell(row)));
        chosen.members = self.members.as_ref().map(|members| Members {
            places: rows.iter().map(|&row| members.places.get(row).copied().unwrap_or(Place::NONE)).collect(),
            archives: members.archives.clone(),
        });
        chosen
    }

    /// Adds the cells of another column, whose first row is row `rows` of this one.
    pub(super) fn append(&mut self, rows: usize, other: &Self) {
        self.pad(rows);
        for row in 0..other.len() {
            self.push(other.cell(row));
        }
        self.lists |= other.lists;
        if let Some(others) = &other.members {
            let members = self.members.get_or_insert_default();
            members.places.resize(rows, Place::NONE);
            let shift = members.archives.len() as u32;
            let moved = |place: &Place| match place.archive {
                u32::MAX => Place::NONE,
                archive => Place { archive: archive + shift, ..*place },
            };
            members.places.extend(others.places.iter().map(moved));
            members.archives.extend(others.archives.iter().cloned());
        }
    }
}
