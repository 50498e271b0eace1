//! Several captions of an item: lists in cells, or several columns, become a row each, with the item repeated.

use super::cells::Cells;
use super::error::DataError;
use super::table::Table;
use super::usual::{self, FILES};

/// The name of a column that several columns make together.
pub fn together(columns: &[String]) -> String {
    columns.join(" + ")
}

impl Table {
    /// The table with a row for each caption in `columns`: those of a list in a cell, or those of several columns, for
    /// which there is a new one.
    pub(super) fn spread(self, columns: &[String]) -> Result<Self, DataError> {
        match columns {
            [] => Ok(self),
            // What is not there is told where it is used.
            [one] => match self.names.iter().position(|name| name == one) {
                Some(index) if self.holds_lists(index) => Ok(self.spread_lists(index)),
                _ => Ok(self),
            },
            // Nor are these, if none is there: they may be another file's.
            several if !several.iter().any(|name| self.names.contains(name)) => Ok(self),
            several => self.spread_columns(several),
        }
    }

    /// The same rows, a row for each caption where the cells of a column are lists of them.
    pub fn captions(self, column: &str) -> Result<Self, DataError> {
        self.spread(&[column.to_owned()])
    }

    /// The table with a row for each caption in some columns, and the name of their column; none if there are none.
    pub(crate) fn with_captions(self, columns: &[String]) -> Result<(Self, Option<String>), DataError> {
        let name = (!columns.is_empty()).then(|| together(columns));
        Ok((self.spread(columns)?, name))
    }

    /// The columns that seem to hold captions: one with a usual name, or `caption_1`, `caption_2` and so on.
    pub(crate) fn guess_captions(&self) -> Vec<String> {
        let is_usual = |name: &&str| self.names.len() > 1 || usual::CAPTIONS.contains(name);
        if let Some(name) = self.usual_name("text").filter(is_usual) {
            return vec![name.to_owned()];
        }
        let is_numbered =
            |name: &&String| name.strip_prefix("caption_").is_some_and(|number| number.parse::<usize>().is_ok());
        self.names.iter().filter(is_numbered).cloned().collect()
    }

    /// The column that seems to hold pictures or sounds: one of members, or one with a usual name.
    pub(crate) fn guess_items(&self) -> Option<String> {
        let members = || self.names.iter().zip(&self.columns).filter(|(_, cells)| cells.hold_members());
        // The one of all endings, where there is one.
        let usual = members().find(|(name, _)| FILES.contains(&name.as_str())).or_else(|| members().next());
        let named = || FILES.iter().find_map(|name| self.names.iter().find(|other| other == name));
        let inner = || usual::inner(&["image", "audio", "sound"], &self.names);
        usual.map(|(name, _)| name).or_else(named).cloned().or_else(|| inner().map(str::to_owned))
    }

    /// True if the cells of a column are lists of texts, as JSON.
    pub(super) fn holds_lists(&self, index: usize) -> bool {
        let cells = &self.columns[index];
        if cells.hold_lists() || cells.hold_members() {
            return cells.hold_lists();
        }
        let mut filled = (0..self.rows).map(|row| cells.cell(row)).filter(|cell| !cell.is_empty()).peekable();
        filled.peek().is_some_and(|first| list(first).is_some()) && filled.all(|cell| cell.starts_with(b"["))
    }

    fn spread_lists(mut self, index: usize) -> Self {
        let (mut rows, mut captions) = (Vec::new(), Cells::default());
        for row in 0..self.rows {
            let cell = self.columns[index].cell(row);
            match list(cell) {
                Some(list) if !list.is_empty() => {
                    for caption in list {
                        captions.push(caption.as_bytes());
                        rows.push(row);
                    }
                }
                found => {
                    let name = &self.names[index];
                    if !cell.is_empty() || found.is_some() {
                        let reason = || format!("column `{name}` has no list of texts here");
                        self.broken.entry(row).or_insert_with(reason);
                    }
                    captions.push(if found.is_some() { b"" } else { cell });
                    rows.push(row);
                }
            }
        }
        self.replaced(index, captions, &rows)
    }

    fn spread_columns(mut self, columns: &[String]) -> Result<Self, DataError> {
        let place = |name: &String| self.index(name).map(|index| (index, self.holds_lists(index)));
        let indices = columns.iter().map(place).collect::<Result<Vec<_>, _>>()?;
        let (mut rows, mut captions) = (Vec::new(), Cells::default());
        for row in 0..self.rows {
            let before = rows.len();
            for &(index, of_lists) in &indices {
                let cell = self.columns[index].cell(row);
                let listed = if of_lists { list(cell) } else { None };
                let texts = match &listed {
                    Some(texts) => texts.iter().map(String::as_bytes).collect(),
                    None => vec![cell],
                };
                for text in texts.into_iter().filter(|text| !text.is_empty()) {
                    captions.push(text);
                    rows.push(row);
                }
            }
            if rows.len() == before {
                let reason = || format!("none of the columns {} has a text here", columns.join(", "));
                self.broken.entry(row).or_insert_with(reason);
                captions.push(b"");
                rows.push(row);
            }
        }
        self.names.push(together(columns));
        self.columns.push(Cells::default());
        let index = self.columns.len() - 1;
        Ok(self.replaced(index, captions, &rows))
    }

    /// The table of these rows, where one column has other cells.
    fn replaced(mut self, index: usize, cells: Cells, rows: &[usize]) -> Self {
        // That column is replaced: it needs no rows.
        self.columns[index] = Cells::default();
        Cells::choose(&mut self.columns, rows);
        self.columns[index] = cells;
        self.renumber(rows);
        self
    }
}

/// A list of texts as JSON; none if it is anything else.
fn list(cell: &[u8]) -> Option<Vec<String>> {
    cell.starts_with(b"[").then(|| serde_json::from_slice(cell).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn cells(table: &Table, column: &str) -> Vec<String> {
        let column = table.column(column).unwrap();
        (0..table.len()).map(|row| column.text(row).unwrap().to_owned()).collect()
    }

    #[test]
    fn a_list_and_several_columns_make_a_row_a_caption() {
        let names = ["file", "raw", "a", "b"].map(str::to_owned);
        let mut table = Table::new(Path::new("t.csv"), "CSV", names.to_vec());
        table.add([&b"1.jpg"[..], br#"["one", "two"]"#, b"x", b"y"]);
        table.add([&b"2.jpg"[..], br#"["three"]"#, b"", b"z"]);
        table.add([&b"3.jpg"[..], b"[]", b"", b""]);
        table.add([&b"4.jpg"[..], b"[odd", b"w", b""]);
        let table = table.spread(&["raw".into()]).unwrap();
        assert_eq!(cells(&table, "file"), ["1.jpg", "1.jpg", "2.jpg", "3.jpg", "4.jpg"]);
        assert_eq!(cells(&table, "raw"), ["one", "two", "three", "", "[odd"]);
        assert_eq!(table.broken.keys().copied().collect::<Vec<_>>(), [3, 4]);
        assert_eq!((table.number(1), table.number(2)), (1, 2));
        let mut table = table.take(&[0, 2, 3]);
        table.broken.clear();
        let table = table.spread(&["a".into(), "b".into()]).unwrap();
        assert_eq!(cells(&table, "a + b"), ["x", "y", "z", ""]);
        assert_eq!(cells(&table, "file"), ["1.jpg", "1.jpg", "2.jpg", "3.jpg"]);
        assert_eq!(table.broken.keys().copied().collect::<Vec<_>>(), [3]);
        assert!(table.spread(&["a".into(), "none".into()]).is_err());
        let names = ["list", "title"].map(str::to_owned);
        let mut table = Table::new(Path::new("t.csv"), "CSV", names.to_vec());
        table.add([&br#"["one", "two"]"#[..], b"three"]);
        let table = table.spread(&names).unwrap();
        assert_eq!(cells(&table, "list + title"), ["one", "two", "three"]);
    }
}
