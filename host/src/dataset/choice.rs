//! The rows of a table that are meant: of a split, those that a filter keeps, the first ones, some at random, the
//! best.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::borrow::Cow;
use std::collections::BTreeMap;

use super::error::DataError;
use super::source::Source;
use super::table::Table;
use crate::filter::Filter;
use crate::wording::{count, short_path, suggest};

/// The column of splits.
const SPLIT: &str = "split";

impl Table {
    /// The table of the rows that `source` means.
    pub(super) fn chosen(mut self, source: &Source) -> Result<Self, DataError> {
        let wrong = |table: &Self, key, reason| DataError::Choice { path: table.path.clone(), key, reason };
        if let Some(split) = &source.split {
            let rows = self.of_split(split).map_err(|reason| wrong(&self, SPLIT, reason))?;
            self = self.take(&rows);
        }
        if let Some(filter) = &source.filter {
            let rows = self.kept(filter).map_err(|reason| wrong(&self, "where", reason))?;
            if rows.is_empty() {
                return Err(wrong(&self, "where", format!("no row passes the filter `{filter}`")));
            }
            self = self.take(&rows);
        }
        if let Some(sample) = source.sample.filter(|sample| *sample < self.rows) {
            // The first of one order, so that a larger sample of the same seed holds a smaller one.
            let mut rows: Vec<usize> = (0..self.rows).collect();
            rows.shuffle(&mut ChaCha8Rng::seed_from_u64(source.seed));
            rows.truncate(sample);
            rows.sort_unstable();
            self = self.take(&rows);
        }
        if let Some(limit) = source.limit.filter(|limit| *limit < self.rows) {
            self = self.take(&(0..limit).collect::<Vec<_>>());
        }
        if let Some((most, column)) = &source.best {
            let rows = self.best(column, *most)?;
            self = self.take(&rows);
        }
        Ok(self)
    }

    /// So many rows with the largest numbers in a column, in file order; of equal ones, the first.
    fn best(&self, column: &str, most: usize) -> Result<Vec<usize>, DataError> {
        let column = self.column(column)?;
        let number = |row: usize| {
            let cell = std::str::from_utf8(column.cell(row)).ok()?;
            cell.trim().parse().ok().filter(|number: &f64| number.is_finite())
        };
        let mut scores: Vec<(f64, usize)> = (0..self.rows).filter_map(|row| Some((number(row)?, row))).collect();
        if let Some(row) = (0..self.rows).find(|row| number(*row).is_none()) {
            let cell = String::from_utf8_lossy(column.cell(row)).into_owned();
            let (lost, row) = (self.rows - scores.len(), self.number(row));
            if scores.is_empty() {
                let reason = format!("column `{}` has no numbers, such as {cell:?} in row {row}", column.name());
                return Err(DataError::Choice { path: self.path.clone(), key: "quality_by", reason });
            }
            tracing::warn!(
                "{}, column `{}`: {} without a number, the first row {row}, {cell:?}; such pairs are not taken",
                short_path(&self.path).display(),
                column.name(),
                count(lost, "row")
            );
        }
        scores.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut rows: Vec<usize> = scores.into_iter().take(most).map(|(_, row)| row).collect();
        rows.sort_unstable();
        Ok(rows)
    }

    /// The rows of one split, or of several that `+` joins.
    fn of_split(&self, split: &str) -> Result<Vec<usize>, String> {
        let Some(column) = self.names.iter().position(|name| name == SPLIT) else {
            return Err(format!(
                "there is no column `{SPLIT}`, so it has no `{split}` (columns: {}); remove `split`, or choose with \
                 `where`",
                self.names.join(", ")
            ));
        };
        let wanted: Vec<&str> = split.split('+').map(str::trim).collect();
        let mut present: BTreeMap<Cow<'_, str>, usize> = BTreeMap::new();
        let mut rows = Vec::new();
        for row in 0..self.rows {
            let cell = String::from_utf8_lossy(self.columns[column].cell(row));
            if wanted.iter().any(|wanted| *wanted == cell) {
                rows.push(row);
            }
            *present.entry(cell).or_default() += 1;
        }
        match wanted.iter().find(|wanted| !present.contains_key(**wanted)) {
            Some(absent) => {
                let known = present.keys().take(20).map(AsRef::as_ref);
                Err(format!("no row is of the split `{absent}`{}", suggest(absent, known)))
            }
            None => Ok(rows),
        }
    }

    /// The rows that a filter keeps; an empty cell is null.
    fn kept(&self, filter: &str) -> Result<Vec<usize>, String> {
        let filter: Filter = filter.parse().map_err(|error: crate::filter::FilterError| error.to_string())?;
        let field = |name: &str| self.names.iter().position(|column| column == name);
        let bound = filter
            .of(field)
            .map_err(|name| format!("no column `{name}`{}", suggest(name, self.names.iter().map(String::as_str))))?;
        let mut rows = Vec::new();
        for row in 0..self.rows {
            let cell = |column: usize| {
                let cell = self.columns[column].cell(row);
                Ok::<_, String>((!cell.is_empty()).then(|| String::from_utf8_lossy(cell)))
            };
            if bound.keeps(cell)? {
                rows.push(row);
            }
        }
        Ok(rows)
    }

    /// The table of these rows, in this order.
    pub(super) fn take(mut self, rows: &[usize]) -> Self {
        self.columns.iter_mut().for_each(|column| *column = column.of(rows));
        self.renumber(rows);
        self
    }

    /// Notes that the rows are these of the former ones.
    pub(super) fn renumber(&mut self, rows: &[usize]) {
        let number = |&row: &usize| self.numbers.as_ref().map_or(row, |numbers| numbers[row]);
        let numbers = rows.iter().map(number).collect();
        self.of_file = self.rows_of_file();
        let broken = std::mem::take(&mut self.broken);
        if !broken.is_empty() {
            let of = |(at, row)| Some((at, broken.get(row)?.clone()));
            self.broken = rows.iter().enumerate().filter_map(of).collect();
        }
        self.numbers = Some(numbers);
        self.rows = rows.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn table() -> Table {
        let mut table = Table::new(Path::new("t.csv"), "CSV", vec!["n".into(), "split".into()]);
        for n in 0..12 {
            let split = ["train", "restval", "test"][n % 3];
            table.add([n.to_string().as_bytes(), split.as_bytes()]);
        }
        table.broken.insert(7, "line 8: odd".into());
        table
    }

    fn rows(source: Source) -> Result<(String, Vec<usize>), String> {
        let table = table().chosen(&source).map_err(|error| error.to_string())?;
        let column = table.column("n").unwrap();
        let cells = (0..table.len()).map(|row| column.text(row).unwrap().to_owned());
        Ok((cells.collect::<Vec<_>>().join(" "), (0..table.len()).map(|row| table.number(row)).collect()))
    }

    #[test]
    fn rows_are_chosen_and_keep_their_numbers() {
        let split = Some("train + restval".to_owned());
        let source = Source { split, filter: Some("n >= 3".into()), limit: Some(4), ..Source::default() };
        assert_eq!(rows(source.clone()).unwrap(), ("3 4 6 7".to_owned(), vec![4, 5, 7, 8]));
        let chosen = table().chosen(&source).unwrap();
        assert_eq!(chosen.broken.into_iter().collect::<Vec<_>>(), [(3, "line 8: odd".to_owned())]);
        let sample = |seed| rows(Source { sample: Some(3), seed, ..Source::default() }).unwrap().1;
        assert!(sample(1) == sample(1) && sample(1) != sample(2) && sample(1).len() == 3);
        assert!(sample(1).is_sorted());
        let larger = rows(Source { sample: Some(7), seed: 1, ..Source::default() }).unwrap().1;
        assert!(sample(1).iter().all(|row| larger.contains(row)), "a larger sample holds a smaller one");
        assert_eq!(rows(Source { limit: Some(99), ..Source::default() }).unwrap().1.len(), 12);
    }

    #[test]
    fn columns_have_the_names_of_other_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        std::fs::write(&path, "raw,caption,file\na dog,17,a.png\n").unwrap();
        let renamed = vec![("caption".to_owned(), "raw".to_owned())];
        let table = Source { renamed, ..Source::new(&path) }.table().unwrap();
        assert_eq!(table.names(), ["caption", "other caption", "file"]);
        assert_eq!(table.column("caption").unwrap().text(0).unwrap(), "a dog");
        let renamed = vec![("caption".to_owned(), "text".to_owned())];
        let error = Source { renamed, ..Source::new(&path) }.table().err().unwrap().to_string();
        assert!(error.contains("text"), "{error}");
    }

    #[test]
    fn what_cannot_be_chosen_is_named() {
        let error = |source| rows(source).unwrap_err();
        let split = error(Source { split: Some("train+tset".into()), ..Source::default() });
        assert!(split.contains("no row is of the split `tset`; did you mean `test`?"), "{split}");
        let filter = error(Source { filter: Some("m = 1".into()), ..Source::default() });
        assert!(filter.contains("no column `m`"), "{filter}");
        assert!(error(Source { filter: Some("n = 99".into()), ..Source::default() }).contains("no row passes"));
        let table = Table::new(Path::new("t.csv"), "CSV", vec!["n".into()]);
        let none = table.chosen(&Source { split: Some("train".into()), ..Source::default() }).err().unwrap();
        assert!(none.to_string().contains("there is no column `split`"), "{none}");
    }
}
