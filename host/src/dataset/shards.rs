//! Shards: several files that are one table, as `{000000..000146}.tar` names them, or as a folder holds them.

use rayon::prelude::*;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cells::Cells;
use super::error::DataError;
use super::fields;
use super::format;
use super::roots::shared;
use super::table::Table;
use super::wanted::Wanted;

/// The most files that braces may name.
const MOST: usize = 1_000_000;
/// Files that a core reads before they are joined.
const TOGETHER: usize = 4;
/// The most columns that several files make together, of which each may have its own.
const COLUMNS: usize = 4096;

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

/// A file that is read with others.
pub(super) struct Part<'a> {
    /// Its number among them, from 0.
    pub(super) number: usize,
    pub(super) path: &'a Path,
    /// What it is called among them.
    pub(super) name: String,
}

/// The names of files that are one table: those of the files; where two are the same, their paths from the folder that
/// all are in.
fn parts(files: &[PathBuf]) -> Vec<Part<'_>> {
    let mut names: Vec<String> = files.iter().map(|file| fields::name(file)).collect();
    if names.iter().collect::<HashSet<_>>().len() < names.len() {
        let folders = files.iter().filter_map(|file| file.parent()).map(Path::to_owned);
        let folder = folders.reduce(|one, other| shared(&one, &other)).unwrap_or_default();
        names = files.iter().map(|file| file.strip_prefix(&folder).unwrap_or(file).display().to_string()).collect();
    }
    let part = |((number, path), name): ((usize, _), _)| Part { number, path, name };
    files.iter().map(PathBuf::as_path).enumerate().zip(names).map(part).collect()
}

/// The tables that `read` makes of some files, one after the other; none if there are none. They are read on all cores,
/// some at a time.
pub(super) fn joined(
    files: &[PathBuf],
    read: impl Fn(&Part<'_>) -> Result<Table, DataError> + Sync,
) -> Result<Option<Table>, DataError> {
    let (mut whole, together): (Option<Table>, usize) = (None, TOGETHER * rayon::current_num_threads());
    let parts = parts(files);
    for parts in parts.chunks(together) {
        for (part, table) in parts.iter().zip(parts.par_iter().map(&read).collect::<Vec<_>>()) {
            let table = table?;
            match &mut whole {
                None => whole = Some(table),
                Some(whole) => whole.append(&table, &part.name),
            }
            if let (0, Some(whole)) = (part.number, &mut whole) {
                whole.notes.are_of(&part.name);
            }
        }
    }
    Ok(whole)
}

/// The table that several files make, one after the other; `path` is what it is called.
pub(super) fn read(path: &Path, files: &[PathBuf], root: Option<&Path>, wanted: &Wanted) -> Result<Table, DataError> {
    let whole = joined(files, |part| format::part(part.path, &part.name, root, wanted))?;
    let mut whole = whole.ok_or_else(|| DataError::Format {
        path: path.to_owned(),
        reason: format!("there is nothing in it that is read: it should hold {}", format::KNOWN),
    })?;
    whole.path = path.to_owned();
    Ok(whole)
}

impl Table {
    /// Adds the rows of the table in the file that is called `shard`, by the names of their columns.
    fn append(&mut self, other: &Self, shard: &str) {
        let mut beyond = 0;
        for (name, cells) in other.names.iter().zip(&other.columns) {
            let at = match self.names.iter().position(|known| known == name) {
                Some(at) => at,
                None if self.columns.len() >= COLUMNS => {
                    beyond += 1;
                    continue;
                }
                None => {
                    self.names.push(name.clone());
                    self.columns.push(if cells.are_kept() { Cells::default() } else { Cells::passed() });
                    self.columns.len() - 1
                }
            };
            if self.columns[at].len() <= self.rows {
                self.columns[at].append(self.rows, cells);
            }
        }
        let moved = other.broken.iter().map(|(row, reason)| {
            let is_named = reason.starts_with(shard);
            (self.rows + row, if is_named { reason.clone() } else { format!("{shard}: {reason}") })
        });
        self.broken.extend(moved);
        // Rows that a shard has left out count, as in the file.
        let before = self.rows_of_file();
        self.roots.append(before, &other.roots);
        if self.numbers.is_some() || other.numbers.is_some() {
            let rows = self.rows;
            let numbers = Arc::make_mut(self.numbers.get_or_insert_with(|| Arc::new((0..rows).collect())));
            numbers.extend((0..other.rows).map(|row| before + other.number(row) - 1));
        }
        self.of_file = before + other.rows_of_file();
        self.notes.add(&other.notes, shard);
        if beyond > 0 {
            let note = format!("its columns beyond the {COLUMNS} that earlier files have are left out: {beyond}");
            self.notes.warn("columns", note);
        }
        self.rows += other.rows;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Source;
    use crate::dataset::tar::tests::archive;

    /// A folder with these files.
    fn written(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        folder
    }

    /// The cells of a column, and the contents of the items that they name.
    fn items(table: &Table, name: &str) -> (String, String) {
        let column = table.column(name).unwrap();
        let all = |of: &dyn Fn(usize) -> Vec<u8>| {
            (0..table.len()).map(|row| String::from_utf8(of(row)).unwrap()).collect::<Vec<_>>().join(" ")
        };
        let read = |row| column.item(row).read().map_or_else(String::into_bytes, |bytes| bytes.into_owned());
        (all(&|row| column.cell(row).to_vec()), all(&read))
    }

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
        let statuses = [["success", "failed_to_download", "success"], ["failed_to_resize", "success", "success"]];
        let files = ["0", "1"].map(PathBuf::from);
        let table = joined(&files, |part| shard(&part.name, statuses[part.number])).unwrap().unwrap();
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
        let table = format::read(&at("{0..1}.csv"), None, &Wanted::ALL).unwrap();
        let cells = |name: &str| {
            let column = table.column(name).unwrap();
            (0..table.len()).map(|row| column.text(row).unwrap()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!([cells("a"), cells("b"), cells("c")], ["1  ", "2 3 5", " 4 6"]);
    }

    #[test]
    fn many_shards_keep_their_order_and_their_notes_are_summed_up() {
        let folder = tempfile::tempdir().unwrap();
        for shard in 0..40 {
            let spare = if shard % 4 == 3 { "," } else { "" };
            let text = format!("n{spare}\n1{shard:02}{spare}\n");
            std::fs::write(folder.path().join(format!("{shard:02}.csv")), text).unwrap();
        }
        let table = format::read(&folder.path().join("{00..39}.csv"), None, &Wanted::ALL).unwrap();
        let column = table.column("n").unwrap();
        let expected: Vec<String> = (0..40).map(|shard| format!("1{shard:02}")).collect();
        assert_eq!((0..40).map(|row| column.text(row).unwrap()).collect::<Vec<_>>(), expected);
        let note = "in 10 of 40 files, the first is 03.csv: a column has no name and is not used";
        assert_eq!(table.notes(), [note]);
    }

    #[test]
    fn tables_of_several_folders_name_the_files_beside_each() {
        let folder = written(&[
            ("test/captions.csv", b"file,caption,n\n1.jpg,a dog,1\n1.jpg,the dog,2\n2.jpg,a cat,3\n"),
            ("test/1.jpg", b"test1"),
            ("test/2.jpg", b"test2"),
            ("train/captions.csv", b"file,caption,n\n1.jpg,a car,4\n2.jpg,a bus,5\n"),
            ("train/1.jpg", b"train1"),
            ("train/2.jpg", b"train2"),
        ]);
        for path in [folder.path().to_owned(), folder.path().join("{test,train}/captions.csv")] {
            let table = Source::new(&path).table().unwrap();
            assert_eq!(items(&table, "file").1, "test1 test1 test2 train1 train2", "{}", path.display());
            let column = table.column("file").unwrap();
            assert_eq!([1, 3].map(|row| column.known_by(row)), [&b"test/1.jpg"[..], b"train/1.jpg"]);
            // Whichever rows are chosen, they keep their folders.
            let chosen = |source: Source| items(&source.table().unwrap(), "file").1;
            let some = Source { filter: Some("n = 2 or n = 3 or n = 5".into()), ..Source::new(&path) };
            assert_eq!(chosen(some.clone()), "test1 test2 train2");
            assert_eq!(chosen(Source { best: Some((1, "n".into())), ..some }), "train2");
            // One root is that of all.
            let root = Some(folder.path().join("train"));
            assert_eq!(chosen(Source { root, ..Source::new(&path) }), "train1 train1 train2 train1 train2");
        }
        // The last row of one folder and the first of the next are two items of one name.
        let column = Source { filter: Some("n = 1 or n = 4".into()), ..Source::new(folder.path()) }.table().unwrap();
        let items = crate::dataset::Items::new(column.column("file").unwrap(), &fusemix_sdk::Modality::Image, None);
        assert!(!items.repeats(1));
    }

    #[test]
    fn shards_of_one_name_are_called_by_their_folders() {
        let shard = |content: &[u8]| archive(&[("0.jpg", content), ("0.txt", b"a"), ("1.json", b"{")]);
        let folder = written(&[("a/00000.tar", &shard(b"one")), ("b/00000.tar", &shard(b"two"))]);
        for path in [folder.path().to_owned(), folder.path().join("{a,b}/00000.tar")] {
            for root in [None, Some(folder.path().to_owned())] {
                let table = Source { root, ..Source::new(&path) }.table().unwrap();
                let [first, second] = [0, 2].map(|row| items(&table.clone().take(&[row]), "jpg"));
                assert_eq!(first, ("a/00000.tar: 0.jpg".to_owned(), "one".to_owned()));
                assert_eq!(second, ("b/00000.tar: 0.jpg".to_owned(), "two".to_owned()));
                let reasons: Vec<&str> = table.broken().values().map(String::as_str).collect();
                assert!(reasons[0].starts_with("a/00000.tar: 1.json is not JSON"), "{reasons:?}");
                assert!(reasons[1].starts_with("b/00000.tar: 1.json is not JSON"), "{reasons:?}");
            }
        }
        let names = |files: &[&str]| {
            let files: Vec<PathBuf> = files.iter().map(PathBuf::from).collect();
            parts(&files).into_iter().map(|part| part.name).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(&["x/a/0.tar", "x/b/1.tar"]), "0.tar 1.tar");
        assert_eq!(names(&["x/a/0.tar", "x/a/1.tar", "x/b/0.tar"]), "a/0.tar a/1.tar b/0.tar");
    }

    #[test]
    fn the_root_of_several_files_of_json_is_where_names_are_looked_for() {
        let sounds = |id: &str| format!(r#"{{"data": [{{"id": "{id}", "caption": "c", "audio": "wav_path"}}]}}"#);
        let (one, two) = (sounds("Ya.wav"), sounds("Yb.wav"));
        let region = r#"[{"id": 7, "regions": [{"region_id": 1, "image_id": 7, "phrase": "a clock"}]}]"#;
        let folder = written(&[
            ("json/train.json", one.as_bytes()),
            ("json/test.json", two.as_bytes()),
            ("sounds/Ya.wav", b"rain"),
            ("sounds/Yb.mp3", b"wind"),
            ("regions/a.json", region.as_bytes()),
            ("regions/b.json", region.as_bytes()),
            ("pictures/VG_100K_2/7.jpg", b"clock"),
        ]);
        let read = |path: &str, root: &str| {
            let [path, root] = [path, root].map(|name| folder.path().join(name));
            items(&Source { root: Some(root), ..Source::new(path) }.table().unwrap(), "file")
        };
        for path in ["json", "json/{test,train}.json"] {
            assert_eq!(read(path, "sounds"), ("Yb.mp3 Ya.wav".to_owned(), "wind rain".to_owned()), "{path}");
        }
        for path in ["regions", "regions/{a,b}.json"] {
            let cells = "VG_100K_2/7.jpg VG_100K_2/7.jpg".to_owned();
            assert_eq!(read(path, "pictures"), (cells, "clock clock".to_owned()), "{path}");
        }
    }
}
