//! The cells of a column: texts, and of a column of an archive's members their names and places.

use std::collections::HashMap;
use std::sync::Arc;

use super::member::{Archive, Place};

/// Of fewer rows than one in so many, the cells are copied, so that those of the others can go.
const FEW: usize = 8;

/// The cells of a column in the order of a table's rows. Tables that choose among the same rows share what is stored.
#[derive(Clone, Default)]
pub(super) struct Cells {
    stored: Arc<Stored>,
    /// The stored cell of each row; none if the rows are as they are stored.
    rows: Option<Arc<Vec<usize>>>,
}

/// Cells, end to end.
#[derive(Clone, Default)]
struct Stored {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// True if some cells are lists of texts, as JSON.
    lists: bool,
    /// Where the members are, if these are names of members.
    members: Option<Members>,
    /// The cells of a column that is not wanted, which are not kept; none if they are.
    passed: Option<usize>,
}

/// The members of archives, a row each.
#[derive(Clone, Default)]
struct Members {
    /// Rows beyond its end have no member.
    places: Vec<Place>,
    archives: Vec<Arc<Archive>>,
}

impl Stored {
    fn len(&self) -> usize {
        self.passed.unwrap_or(self.ends.len())
    }

    fn push(&mut self, cell: &[u8]) {
        match &mut self.passed {
            Some(passed) => *passed += 1,
            None => {
                self.bytes.extend_from_slice(cell);
                self.ends.push(self.bytes.len());
            }
        }
    }

    fn pad(&mut self, rows: usize) {
        let rows = rows.max(self.len());
        match &mut self.passed {
            Some(passed) => *passed = rows,
            None => self.ends.resize(rows, self.bytes.len()),
        }
    }

    fn cell(&self, index: usize) -> &[u8] {
        let Some(&end) = self.ends.get(index) else { return &[] };
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..end]
    }

    fn push_member(&mut self, name: &[u8], archive: &Arc<Archive>, at: u64, length: u64) {
        let row = self.len();
        if self.passed.is_none() {
            let members = self.members.get_or_insert_default();
            if !members.archives.last().is_some_and(|last| Arc::ptr_eq(last, archive)) {
                members.archives.push(archive.clone());
            }
            let number = members.archives.len() as u32 - 1;
            members.places.resize(row, Place::NONE);
            members.places.push(Place { archive: number, at, length });
        }
        self.push(name);
    }

    /// The cells of these rows, in this order.
    fn of(&self, rows: &[usize]) -> Self {
        let mut chosen = Self { lists: self.lists, passed: self.passed.map(|_| rows.len()), ..Self::default() };
        if self.passed.is_none() {
            rows.iter().for_each(|&row| chosen.push(self.cell(row)));
            chosen.members = self.members.as_ref().map(|members| Members {
                places: rows.iter().map(|&row| members.places.get(row).copied().unwrap_or(Place::NONE)).collect(),
                archives: members.archives.clone(),
            });
        }
        chosen
    }
}

impl Cells {
    /// The cells of a column that is not wanted: none is kept.
    pub(super) fn passed() -> Self {
        Self { stored: Arc::new(Stored { passed: Some(0), ..Stored::default() }), rows: None }
    }

    /// False if the column is not wanted, and its cells are not kept.
    pub(super) fn are_kept(&self) -> bool {
        self.stored.passed.is_none()
    }

    /// What is stored, to be added to.
    fn own(&mut self) -> &mut Stored {
        if let Some(rows) = self.rows.take() {
            self.stored = Arc::new(self.stored.of(&rows));
        }
        Arc::make_mut(&mut self.stored)
    }

    /// The place of a row in what is stored.
    fn place(&self, row: usize) -> usize {
        self.rows.as_ref().map_or(row, |rows| rows.get(row).copied().unwrap_or(usize::MAX))
    }

    pub(super) fn reserve(&mut self, bytes: usize) {
        if self.are_kept() {
            self.own().bytes.reserve(bytes);
        }
    }

    /// Rows that have a cell.
    pub(super) fn len(&self) -> usize {
        self.rows.as_ref().map_or_else(|| self.stored.len(), |rows| rows.len())
    }

    pub(super) fn push(&mut self, cell: &[u8]) {
        self.own().push(cell);
    }

    /// Adds a cell that is a list of texts, as JSON.
    pub(super) fn push_list(&mut self, json: &str) {
        let stored = self.own();
        stored.push(json.as_bytes());
        stored.lists = true;
    }

    /// Puts the member of the next row, whose cell is its name, at a place in `archive`.
    pub(super) fn push_member(&mut self, name: &[u8], archive: &Arc<Archive>, at: u64, length: u64) {
        self.own().push_member(name, archive, at, length);
    }

    /// Adds empty cells, up to `rows` of them.
    pub(super) fn pad(&mut self, rows: usize) {
        if rows > self.len() {
            self.own().pad(rows);
        }
    }

    /// The cell of row `index`; an empty one beyond the end.
    pub(super) fn cell(&self, index: usize) -> &[u8] {
        self.stored.cell(self.place(index))
    }

    /// True if some cells are lists of texts, as JSON.
    pub(super) fn hold_lists(&self) -> bool {
        self.stored.lists
    }

    /// True if these are names of members.
    pub(super) fn hold_members(&self) -> bool {
        self.stored.members.is_some()
    }

    /// The member of row `index`; none if it has none.
    pub(super) fn member(&self, index: usize) -> Option<(&Archive, Place)> {
        let members = self.stored.members.as_ref()?;
        let place = *members.places.get(self.place(index))?;
        Some((members.archives.get(place.archive as usize)?, place))
    }

    /// Bytes of memory that are stored, about.
    pub(super) fn bytes(&self) -> usize {
        let members = self.stored.members.as_ref().map_or(0, |members| members.places.capacity() * size_of::<Place>());
        self.stored.bytes.capacity() + self.stored.ends.capacity() * size_of::<usize>() + members
    }

    /// Leaves these rows of each column, in this order.
    pub(super) fn choose(columns: &mut [Self], rows: &[usize]) {
        let mut places: HashMap<Option<*const Vec<usize>>, Arc<Vec<usize>>> = HashMap::new();
        for column in columns {
            if rows.len() < column.len() / FEW {
                let at: Vec<usize> = rows.iter().map(|&row| column.place(row)).collect();
                *column = Self { stored: Arc::new(column.stored.of(&at)), rows: None };
                continue;
            }
            let before = column.rows.take();
            let chosen = places.entry(before.as_ref().map(Arc::as_ptr)).or_insert_with(|| {
                let of =
                    |&row: &usize| before.as_ref().map_or(row, |before| before.get(row).copied().unwrap_or(usize::MAX));
                Arc::new(rows.iter().map(of).collect())
            });
            column.rows = Some(chosen.clone());
        }
    }

    /// Adds the cells of another column, whose first row is row `rows` of this one.
    pub(super) fn append(&mut self, rows: usize, other: &Self) {
        self.pad(rows);
        let (len, stored) = (other.len(), self.own());
        if stored.passed.is_some() {
            return stored.pad(rows + len);
        }
        for row in 0..len {
            stored.push(other.cell(row));
        }
        stored.lists |= other.stored.lists;
        if let Some(others) = &other.stored.members {
            let members = stored.members.get_or_insert_default();
            members.places.resize(rows, Place::NONE);
            let shift = members.archives.len() as u32;
            let moved = |row| match others.places.get(other.place(row)) {
                None | Some(Place { archive: u32::MAX, .. }) => Place::NONE,
                Some(place) => Place { archive: place.archive + shift, ..*place },
            };
            members.places.extend((0..len).map(moved));
            members.archives.extend(others.archives.iter().cloned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(of: &[&str]) -> Cells {
        let mut cells = Cells::default();
        of.iter().for_each(|cell| cells.push(cell.as_bytes()));
        cells
    }

    fn text(cells: &Cells) -> String {
        (0..cells.len()).map(|row| String::from_utf8_lossy(cells.cell(row)).into_owned()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn chosen_rows_share_what_is_stored() {
        let all = [cells(&["a", "b", "c", "d"]), cells(&["1", "2"])];
        let mut chosen = all.clone();
        Cells::choose(&mut chosen, &[3, 1, 1]);
        Cells::choose(&mut chosen, &[1, 0]);
        assert_eq!((text(&chosen[0]), text(&chosen[1])), ("b d".into(), "2 ".into()));
        assert!(Arc::ptr_eq(&chosen[0].stored, &all[0].stored));
        // What is added to is its own.
        chosen[0].push(b"e");
        chosen[0].append(4, &chosen[1].clone());
        assert_eq!((text(&chosen[0]), text(&all[0])), ("b d e  2 ".into(), "a b c d".into()));
        let mut many = [cells(&["x"; 100])];
        let before = many[0].stored.clone();
        Cells::choose(&mut many, &[7, 8]);
        assert!(text(&many[0]) == "x x" && !Arc::ptr_eq(&many[0].stored, &before), "few rows do not keep all others");
    }

    #[test]
    fn cells_of_a_column_that_is_not_wanted_take_no_memory() {
        let mut passed = Cells::passed();
        (0..1000).for_each(|_| passed.push(&[b'x'; 100]));
        passed.pad(2000);
        assert_eq!((passed.len(), passed.bytes(), passed.cell(5), passed.are_kept()), (2000, 0, &b""[..], false));
    }
}
