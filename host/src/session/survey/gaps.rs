//! Cells that say nothing: of items that are not named, and of captions without words.

use serde::Serialize;

use crate::dataset::Column;

/// Rows that are told of each kind.
const TOLD: usize = 10;

/// Cells of a column that say nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// The column.
    pub column: String,
    /// What they are: `empty`, or `blank` if they have white space alone.
    pub what: &'static str,
    /// Rows with such a cell.
    pub rows: usize,
    /// The first of them, from 1.
    pub first: Vec<usize>,
}

/// The empty cells of a column, and of one of `texts` also the blank ones. Rows that cannot be read are told elsewhere.
pub(super) fn gaps(column: Column<'_>, texts: bool) -> Vec<Gap> {
    let gap = |what| Gap { column: column.name().to_owned(), what, rows: 0, first: Vec::new() };
    let (mut found, mut last) = ([gap("empty"), gap("blank")], [None; 2]);
    for row in (0..column.len()).filter(|&row| column.broken(row).is_none()) {
        let cell = column.cell(row);
        let is_blank = || std::str::from_utf8(cell).is_ok_and(|text| text.trim().is_empty());
        let kind = match cell.is_empty() {
            true => 0,
            false if texts && is_blank() => 1,
            false => continue,
        };
        // A row of the file is several here where another column has several captions.
        let number = column.number(row);
        if last[kind].replace(number) == Some(number) {
            continue;
        }
        found[kind].rows += 1;
        if found[kind].first.len() < TOLD {
            found[kind].first.push(number);
        }
    }
    found.into_iter().filter(|gap| gap.rows > 0).collect()
}
