//! Shards: several files that are one table, as `{000000..000146}.tar` names them, or as a folder holds them.

use std::path::{Path, PathBuf};

use super::cells::Cells;
use super::error::DataError;
use super::format;
use super::table::Table;

/// The most files that braces may name.
const MOST: usize = 1_000_000;

/// The files that a path with `{000..146}` names; none if it has no braces. All must be there.
pub(super) fn named(path: &Path) -> Result<Option<Vec<PathBuf>>, DataError> {
    let Some(text) = path.to_str().filter(|text| text.contains('{') && !path.exists()) else { return Ok(None) };
    let wrong = |reason: String| DataError::Format { path: path.to_owned(), reason };
    let paths = expanded(text).map_err(wrong)?;
    match paths.iter().filter(|path| !path.exists()).collect::<Vec<_>>()[..] {
        [] => Ok(Some(paths)),
        [first, ..] if paths.len() == 1 => Err(wrong(format!("there is no {}", first.display()))),
        [first, ref more @ ..] => Err(wrong(format!(
            "{} of the {} files are not there, the first is {}; name those that are",
            more.len() + 1,
            paths.len(),
            first.display()
        ))),
    }
}

/// The paths of a text in which `{00..12}` stands for numbers of that width, and `{a,b}` for words.
fn expanded(text: &str) -> Result<Vec<PathBuf>, String> {
    let mut all = vec![text.to_owned()];
    while let Some(open) = all[0].find('{') {
        let closing = |text: &str, open: usize| text[open..].find('}').map(|close| open + close);
        let close = closing(&all[0], open).ok_or("a brace is not closed: write {000000..000146}")?;
        let words = words(&all[0][open + 1..close])?;
        if words.len() * all.len() > MOST {
            return Err(format!("the braces name more than {MOST} files"));
        }
        // All of them have their first brace at the same place only if the words are of one length, so each by itself.
        let mut next = Vec::with_capacity(words.len() * all.len());
        for one in &all {
            let open = one.find('{').unwrap_or(0);
            let close = closing(one, open).unwrap_or(open);
            next.extend(words.iter().map(|word| format!("{}{word}{}", &one[..open], &one[close + 1..])));
        }
        all = next;
    }
    Ok(all.into_iter().map(PathBuf::from).collect())
}

fn words(braced: &str) -> Result<Vec<String>, String> {
    let Some((first, last)) = braced.split_once("..") else {
        return Ok(braced.split(',').map(str::to_owned).collect());
    };
    let number = |text: &str| text.parse::<usize>().map_err(|_| format!("`{{{braced}}}` is no range of numbers"));
    let (low, high) = (number(first)?, number(last)?);
    match high.checked_sub(low) {
        None => Err(format!("`{{{braced}}}` goes backwards")),
        Some(more) if more >= MOST => Err(format!("`{{{braced}}}` names more than {MOST} files")),
        Some(_) => Ok((low..=high).map(|number| format!("{number:0width$}", width = first.len())).collect()),
    }
}

/// Tables one after the other; none if there are none.
pub(super) fn joined(tables: impl IntoIterator<Item = Result<Table, DataError>>) -> Result<Option<Table>, DataError> {
    tables.into_iter().try_fold(None, |whole: Option<Table>, table| {
        let table = table?;
        Ok(Some(match whole {
            None => table,
            Some(mut whole) => {
                whole.append(&table);
                whole
            }
        }))
    })
}

/// The table that several files make, one after the other; `path` is what it is called.
pub(super) fn read(path: &Path, files: &[PathBuf]) -> Result<Table, DataError> {
    let whole = joined(files.iter().map(|file| format::read(file, None)))?;
    let mut whole = whole.ok_or_else(|| DataError::Format {
        path: path.to_owned(),
        reason: format!("there is nothing in it that is read: it should hold {}", format::KNOWN),
    })?;
    whole.path = path.to_owned();
    Ok(whole)
}

impl Table {
    /// Adds the rows of another table, by the names of their columns.
    pub(super) fn append(&mut self, other: &Self) {
        for (name, cells) in other.names.iter().zip(&other.columns) {
            let at = self.names.iter().position(|known| known == name).unwrap_or_else(|| {
                self.names.push(name.clone());
                self.columns.push(Cells::default());
                self.columns.len() - 1
            });
            if self.columns[at].len() <= self.rows {
                self.columns[at].append(self.rows, cells);
            }
        }
        let moved = other.broken.iter().map(|(row, reason)| {
            let shard = other.path.file_name().unwrap_or_default().to_string_lossy();
            let is_named = reason.starts_with(&*shard);
            (self.rows + row, if is_named { reason.clone() } else { format!("{shard}: {reason}") })
        });
        self.broken.extend(moved);
        // Rows that a shard has left out count, as in the file.
        let before = self.rows_of_file();
        if self.numbers.is_some() || other.numbers.is_some() {
            let rows = self.rows;
            let numbers = self.numbers.get_or_insert_with(|| (0..rows).collect());
            numbers.extend((0..other.rows).map(|row| before + other.number(row) - 1));
        }
        self.of_file = before + other.rows_of_file();
        self.notes.extend(other.notes.iter().cloned());
        self.rows += other.rows;
        let rows = self.rows;
        self.columns.iter_mut().for_each(|column| column.pad(rows));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_name_files() {
        let names = |text: &str| {
            let paths = expanded(text)?;
            Ok::<_, String>(paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(names("a/{008..011}.tar").unwrap(), "a/008.tar a/009.tar a/010.tar a/011.tar");
        assert_eq!(names("{a,bc}-{1..2}.tar").unwrap(), "a-1.tar a-2.tar bc-1.tar bc-2.tar");
        assert_eq!(names("a}b{x}-{1..2}.tar").unwrap(), "a}bx-1.tar a}bx-2.tar");
        assert!(names("{1..x}").unwrap_err().contains("no range"));
        assert!(names("{3..1}").unwrap_err().contains("backwards"));
        assert!(names("{1..9999999999}").unwrap_err().contains("more than"));
        assert!(names("{1").unwrap_err().contains("not closed"));
        let error = named(Path::new("/nowhere/{0..2}.tar")).unwrap_err().to_string();
        assert!(error.contains("3 of the 3 files are not there, the first is /nowhere/0.tar"), "{error}");
        assert!(named(Path::new("a.tar")).unwrap().is_none());
    }

    #[test]
    fn rows_of_shards_that_left_some_out_keep_their_numbers() {
        let shard = |name: &str, all: [&str; 3]| {
            let names = ["key", "url", "status"].map(str::to_owned).to_vec();
            let mut table = Table::new(Path::new(name), "CSV", names);
            for (row, status) in all.into_iter().enumerate() {
                table.add([format!("{name}{row}").as_bytes(), b"http://x", status.as_bytes()]);
            }
            Ok(super::super::img2dataset::survivors(table))
        };
        let shards =
            [("0", ["success", "failed_to_download", "success"]), ("1", ["failed_to_resize", "success", "success"])];
        let table = joined(shards.map(|(name, all)| shard(name, all))).unwrap().unwrap();
        let read = |table: &Table| {
            let key = table.column("key").unwrap();
            (0..table.len()).map(|row| (table.number(row), key.text(row).unwrap().to_owned())).collect::<Vec<_>>()
        };
        let all = [(1, "00"), (3, "02"), (5, "11"), (6, "12")].map(|(number, key)| (number, key.to_owned()));
        assert_eq!(read(&table), all);
        assert_eq!(read(&table.take(&[1, 3])), [all[1].clone(), all[3].clone()]);
    }

    #[test]
    fn tables_of_other_columns_are_joined_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("0.csv"), "a,b\n1,2\n").unwrap();
        std::fs::write(at("1.csv"), "b,c\n3,4\n5,6\n").unwrap();
        let table = format::read(&at("{0..1}.csv"), None).unwrap();
        let cells = |name: &str| {
            let column = table.column(name).unwrap();
            (0..table.len()).map(|row| column.text(row).unwrap()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!([cells("a"), cells("b"), cells("c")], ["1  ", "2 3 5", " 4 6"]);
    }
}
