//! The rows of a table that are meant: of a split, those that a filter keeps, the first ones, some at random, the
//! best.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::captions::together;
use super::cells::Cells;
use super::error::DataError;
use super::source::Source;
use super::table::Table;
use crate::filter::Filter;
use crate::wording::{count, short_path, suggest};

/// The column of splits.
const SPLIT: &str = "split";

/// The places of the `most` largest scores, sorted; of equal ones, the first. What has none is not taken.
pub(crate) fn largest(scores: &[Option<f64>], most: usize) -> Vec<usize> {
    let mut rows: Vec<(f64, usize)> =
        scores.iter().enumerate().filter_map(|(row, score)| Some(((*score)?, row))).collect();
    rows.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut rows: Vec<usize> = rows.into_iter().take(most).map(|(_, row)| row).collect();
    rows.sort_unstable();
    rows
}

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
        self.is_short_of("sample", source.sample.unwrap_or(0), self.rows);
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
        Ok(self)
    }

    /// Notes that a key of the recipe wants more rows than there were for it, if it does.
    fn is_short_of(&mut self, key: &'static str, wanted: usize, rows: usize) {
        if wanted > rows {
            self.short.push((key, wanted, rows));
        }
    }

    /// So many rows with the largest numbers in a column, in file order; of equal ones, the first. One without a caption
    /// in `columns` is no pair.
    pub(super) fn best(mut self, column: &str, most: usize, columns: &[Vec<String>]) -> Result<Self, DataError> {
        let mut scores = self.scores(column)?;
        for name in columns.iter().map(|columns| together(columns)) {
            let captions = self.column(&name)?;
            let lacks = (0..self.rows).filter(|&row| captions.cell(row).is_empty());
            lacks.for_each(|row| scores[row] = None);
        }
        self.is_short_of("quality", most, scores.iter().flatten().count());
        Ok(self.take(&largest(&scores, most)))
    }

    /// The numbers in a column; none where there is none, which is told.
    fn scores(&self, column: &str) -> Result<Vec<Option<f64>>, DataError> {
        let column = self.column(column)?;
        let number = |row: usize| {
            let cell = std::str::from_utf8(column.cell(row)).ok()?;
            cell.trim().parse().ok().filter(|number: &f64| number.is_finite())
        };
        let scores: Vec<Option<f64>> = (0..self.rows).map(number).collect();
        if let Some(row) = scores.iter().position(Option::is_none) {
            let cell = String::from_utf8_lossy(column.cell(row)).into_owned();
            let row = self.number(row);
            if scores.iter().all(Option::is_none) {
                let reason = format!("column `{}` has no numbers, such as {cell:?} in row {row}", column.name());
                return Err(DataError::Choice { path: self.path.clone(), key: "quality_by", reason });
            }
            // A row of the file is several here where it has several captions.
            let mut lost: Vec<usize> = (0..self.rows).filter(|&row| scores[row].is_none()).collect();
            lost.dedup_by_key(|row| self.number(*row));
            tracing::warn!(
                "{}, column `{}`: {} without a number, the first row {row}, {cell:?}; such pairs are not taken",
                short_path(&self.path).display(),
                column.name(),
                count(lost.len(), "row")
            );
        }
        Ok(scores)
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
        Cells::choose(&mut self.columns, rows);
        self.renumber(rows);
        self
    }

    /// Notes that the rows are these of the former ones.
    pub(super) fn renumber(&mut self, rows: &[usize]) {
        let number = |&row: &usize| self.numbers.as_ref().map_or(row, |numbers| numbers[row]);
        let numbers = Arc::new(rows.iter().map(number).collect());
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
        let of = |renamed: &[[&str; 2]]| {
            let renamed = renamed.iter().map(|of| (of[0].to_owned(), of[1].to_owned())).collect();
            Source { renamed, ..Source::new(&path) }
        };
        // Headers that were swapped; and names that go round.
        let table = of(&[["caption", "file"], ["file", "caption"]]).table().unwrap();
        assert_eq!(table.names(), ["raw", "file", "caption"]);
        assert_eq!(table.column("caption").unwrap().text(0).unwrap(), "a.png");
        let table = of(&[["raw", "caption"], ["caption", "file"], ["file", "raw"]]).table().unwrap();
        assert_eq!(table.names(), ["file", "raw", "caption"]);
        let error = of(&[["a", "raw"], ["b", "raw"]]).table().err().unwrap().to_string();
        assert!(error.contains("`columns` gives `raw` two names"), "{error}");
        // A column that another one hides may be asked for too.
        let source = Source { filter: Some("'other caption' > 3".into()), ..of(&[["caption", "raw"]]) };
        let table = source.with_columns(vec![vec!["caption".to_owned()]]).table().unwrap();
        assert_eq!(table.column("other caption").unwrap().text(0).unwrap(), "17");
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

    #[test]
    fn the_best_are_so_many_pairs_where_rows_have_several_captions() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.jsonl");
        let row = |n: usize| format!(r#"{{"file": "{n}.png", "texts": ["{n} a", "{n} b", "{n} c"], "score": {n}}}"#);
        std::fs::write(&path, (0..10).map(row).collect::<Vec<_>>().join("\n")).unwrap();
        let columns = vec![vec!["file".to_owned()], vec!["texts".to_owned()]];
        let of = |source: Source| source.with_columns(columns.clone()).table().unwrap();
        let best = |most| of(Source { best: Some((most, "score".into())), ..Source::new(&path) });
        let texts = |table: &Table| {
            let column = table.column("texts").unwrap();
            (0..table.len()).map(|row| column.text(row).unwrap().to_owned()).collect::<Vec<_>>()
        };
        let table = best(5);
        assert_eq!(texts(&table), ["8 a", "8 b", "9 a", "9 b", "9 c"]);
        assert_eq!((table.number(1), table.number(2), table.short().len()), (9, 10, 0));
        // What a key asks for is compared with what there was for it.
        assert_eq!(best(31).short(), [("quality", 31, 30)]);
        let sample = |sample, best: usize| {
            let best = Some((best, "score".to_owned()));
            of(Source { sample: Some(sample), best, ..Source::new(&path) }).short().to_vec()
        };
        assert!(sample(8, 5).is_empty());
        assert_eq!(sample(11, 40), [("sample", 11, 10), ("quality", 40, 30)]);
    }
}
