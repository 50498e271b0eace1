//! A folder as a table: shards, files with metadata beside them, samples of several files, or folders of classes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::cells::Cells;
use super::entries::{entries, files_below};
use super::error::DataError;
use super::fields::{Field, ending, name};
use super::format;
use super::img2dataset::{self, is_statistics};
use super::notes::Notes;
use super::roots::Roots;
use super::samples::{classes, has_samples, inner, samples};
use super::shards::{self, Part};
use super::splits::{split_shards, splits_of, with_split};
use super::table::Table;
use super::wanted::Wanted;
use crate::wording::short_path;

/// Files that a note names.
const NAMED: usize = 3;
/// The tables that say what the files beside them are.
const METADATA: [&str; 3] = ["metadata.csv", "metadata.jsonl", "metadata.parquet"];
/// Files that say how something is loaded, and not what is in it.
const SETTINGS: [&str; 4] = ["dataset_info.json", "dataset_infos.json", "config.json", "state.json"];

/// A folder, and what in it is read.
pub(super) struct Folder {
    path: PathBuf,
    /// All files in it, or of a folder with metadata the tables of these.
    files: Vec<PathBuf>,
    form: Form,
    /// What a reader should know of it.
    notes: Notes,
}

/// The form of a folder.
enum Form {
    /// Tables of metadata: of each of the files the folder that it is in, if it is not the folder itself.
    Described(Vec<Option<String>>),
    /// Tar archives, one after the other.
    Archives(Vec<PathBuf>),
    /// Files of one name.
    Samples,
    /// Pictures or sounds in folders of classes.
    Classes,
    /// Tables beside pictures or sounds.
    BesideMedia(Vec<PathBuf>),
    /// Tables, of which some may be of splits.
    Tables(Vec<PathBuf>),
}

impl Folder {
    /// The folder at `path`, of which no table has been read.
    pub(super) fn of(path: &Path) -> Result<Self, DataError> {
        let mut notes = Notes::default();
        let (folders, described): (Vec<Option<String>>, Vec<PathBuf>) = match metadata(path, &mut notes) {
            Some(file) => (vec![None], vec![file]),
            None => {
                let top = entries(path)?.into_iter().filter(|entry| entry.is_folder).map(|entry| entry.path);
                top.filter_map(|inner| Some((Some(name(&inner)), metadata(&inner, &mut notes)?))).unzip()
            }
        };
        let path = path.to_owned();
        if !described.is_empty() {
            return Ok(Self { path, files: described, form: Form::Described(folders), notes });
        }
        let files = files_below(&path)?;
        let has_media = files.iter().any(|file| Field::of_file(file).modality().is_some());
        let (archives, parquets, tables) =
            (ending_in(&files, &["tar"]), ending_in(&files, &["parquet"]), tables(&files));
        // The JSON beside them is a download's.
        let texts: Vec<&PathBuf> = tables.iter().filter(|file| ending(file).as_deref() != Some("json")).collect();
        let has_shards = !archives.is_empty() || !parquets.is_empty();
        if has_shards && !texts.is_empty() {
            let read = if archives.is_empty() { "Parquet files" } else { "tar archives" };
            let note = format!("the {read} are read, and not {}: name a file to read it", some(&texts));
            notes.warn("unread", note);
        }
        let endings: BTreeSet<Option<String>> = texts.iter().map(|file| ending(file)).collect();
        if endings.len() > 1 && !has_shards && !has_media {
            let note = format!("all are read as one table: {}; name a file to read one", some(&texts));
            notes.warn("mixed", note);
        }
        let form = if !archives.is_empty() {
            Form::Archives(archives)
        } else if has_media && has_samples(&files) {
            Form::Samples
        } else if has_media && tables.is_empty() {
            Form::Classes
        } else if has_media {
            Form::BesideMedia(tables)
        } else {
            Form::Tables(if parquets.is_empty() { tables } else { parquets })
        };
        Ok(Self { path, files, form, notes })
    }

    /// The files that it is read from: of pictures and sounds in folders, only names are read.
    pub(super) fn files(&self) -> Vec<&Path> {
        let all = self.files.iter().map(PathBuf::as_path);
        match &self.form {
            Form::Archives(files) | Form::BesideMedia(files) | Form::Tables(files) => {
                files.iter().map(PathBuf::as_path).chain(all.filter(|file| is_statistics(file))).collect()
            }
            Form::Described(_) | Form::Samples | Form::Classes => all.collect(),
        }
    }

    /// Reads the table that it is; what a table of it names is below `root`, or the folder of that table.
    pub(super) fn read(&self, root: Option<&Path>, wanted: &Wanted) -> Result<Table, DataError> {
        let Self { path, files, form, notes } = self;
        let mut table = match form {
            Form::Described(folders) => described(path, files, folders, wanted)?,
            Form::Archives(archives) => shards::read(path, archives, root, wanted)?,
            Form::Samples => samples(path, files, wanted)?,
            Form::Classes => classes(path, files, wanted),
            Form::BesideMedia(tables) => match &tables[..] {
                [one] => format::file(one, root, wanted)?,
                tables => beside_media(path, tables, root, wanted)?,
            },
            Form::Tables(tables) => split_shards(path, tables, root, wanted)?,
        };
        if table.notes.lost().is_none() {
            table.notes.statuses = img2dataset::statistics(files);
        }
        table.notes.also(notes.clone());
        table.path.clone_from(path);
        Ok(table)
    }
}

/// The names of the first of some files.
fn some(files: &[&PathBuf]) -> String {
    let mut names: Vec<String> = files.iter().take(NAMED).map(|file| name(file)).collect();
    if files.len() > NAMED {
        names.push(format!("{} more", files.len() - NAMED));
    }
    names.join(", ")
}

/// The files with one of these endings.
fn ending_in(files: &[PathBuf], wanted: &[&str]) -> Vec<PathBuf> {
    let is_it = |file: &&PathBuf| ending(file).is_some_and(|ending| wanted.contains(&ending.as_str()));
    files.iter().filter(is_it).cloned().collect()
}

/// The tables of text among some files; without one, those of JSON that tell of items.
fn tables(files: &[PathBuf]) -> Vec<PathBuf> {
    let mut tables = ending_in(files, &["csv", "tsv", "jsonl", "ndjson", "token"]);
    if tables.is_empty() {
        tables = ending_in(files, &["json"]);
        // What a download says of itself is no table.
        tables.retain(|path| !is_statistics(path) && !SETTINGS.contains(&name(path).as_str()));
    }
    tables
}

/// The table of metadata in a folder; those that are not read are noted.
fn metadata(folder: &Path, notes: &mut Notes) -> Option<PathBuf> {
    let mut there = METADATA.iter().filter(|name| folder.join(name).is_file());
    let read = there.next()?;
    let others: Vec<&str> = there.copied().collect();
    if !others.is_empty() {
        let others = others.join(" and ");
        let note = format!("{others} beside {read} is not read: remove the one that is not meant");
        notes.warn("metadata", format!("{note} (in {})", short_path(folder).display()));
    }
    Some(folder.join(read))
}

/// The tables of metadata, one after the other; `file` is the path of each row's file from the folder.
fn described(path: &Path, tables: &[PathBuf], folders: &[Option<String>], wanted: &Wanted) -> Result<Table, DataError> {
    let table = shards::joined(tables, |Part { number, path: file, name }| {
        let folder = &folders[*number];
        let mut table = format::part(file, name, None, wanted)?;
        let names = table.index("file_name").map_err(|_| DataError::Format {
            path: file.to_path_buf(),
            reason: format!("it has no column `file_name` (columns: {})", table.names.join(", ")),
        })?;
        let mut files = Cells::default();
        for row in 0..table.rows {
            let name = table.columns[names].cell(row);
            match folder {
                Some(folder) if !name.is_empty() => files.push(&[folder.as_bytes(), b"/", name].concat()),
                _ => files.push(name),
            }
        }
        if !table.names.iter().any(|name| name == "file") {
            table.names.push("file".to_owned());
            table.columns.push(files);
        }
        if let Some(folder) = folder {
            with_split(&mut table, folder);
        }
        table.roots = Roots::one(path);
        Ok(table)
    });
    let mut whole = table?.expect("there is at least one");
    (whole.path, whole.format) = (path.to_owned(), "folder with metadata");
    Ok(whole)
}

/// Tables beside pictures or sounds: those of splits are one table, of which others would be a guess.
fn beside_media(path: &Path, tables: &[PathBuf], root: Option<&Path>, wanted: &Wanted) -> Result<Table, DataError> {
    if let Some(table) = splits_of(tables, root, wanted)?.filter(|table| table.names.iter().any(|name| name == "split"))
    {
        return Ok(table);
    }
    let names: Vec<String> = tables.iter().take(5).map(|table| inner(path, table).display().to_string()).collect();
    let more = if tables.len() > names.len() { ", ..." } else { "" };
    Err(DataError::Format {
        path: path.to_owned(),
        reason: format!(
            "it holds pictures or sounds beside {} tables ({}{more}): name the one that is meant, and with `root` the \
             folder that its files are in",
            tables.len(),
            names.join(", ")
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::tar::tests::archive;

    struct Made(tempfile::TempDir);

    impl Made {
        fn new(files: &[(&str, &[u8])]) -> Self {
            let folder = Self(tempfile::tempdir().unwrap());
            for (name, content) in files {
                let path = folder.0.path().join(name);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, content).unwrap();
            }
            folder
        }

        fn read(&self) -> Table {
            read(self.0.path()).unwrap()
        }
    }

    fn read(path: &Path) -> Result<Table, DataError> {
        Folder::of(path)?.read(None, &Wanted::ALL)
    }

    fn cells(table: &Table, name: &str) -> String {
        let column = table.column(name).unwrap();
        (0..table.len()).map(|row| column.text(row).unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn classes_and_splits_are_folders() {
        let folder = Made::new(&[("train/cat/1.jpg", b"x"), ("train/dog/2.PNG", b"y"), ("test/cat/3.jpg", b"z")]);
        let table = folder.read();
        assert_eq!(cells(&table, "file"), "test/cat/3.jpg train/cat/1.jpg train/dog/2.PNG");
        assert_eq!((cells(&table, "label"), cells(&table, "split")), ("cat cat dog".into(), "test train train".into()));
        assert_eq!(table.column("file").unwrap().item(2).read().unwrap(), &b"y"[..]);
    }

    #[test]
    fn tables_beside_media_are_read_or_named() {
        let train = b"file_name,caption_1\na.wav,rain\n";
        let test = b"file_name,caption_1\nb.wav,wind\n";
        let folder = Made::new(&[("train.csv", train), ("test.csv", test), ("a.wav", b"x"), ("b.wav", b"y")]);
        let table = folder.read();
        assert_eq!((cells(&table, "file_name"), cells(&table, "split")), ("b.wav a.wav".into(), "test train".into()));
        assert_eq!(table.column("file_name").unwrap().item(0).read().unwrap(), &b"y"[..]);
        let folder = Made::new(&[("one.csv", train), ("two.csv", test), ("a.wav", b"x")]);
        let error = read(folder.0.path()).err().unwrap().to_string();
        assert!(error.contains("2 tables (one.csv, two.csv): name the one that is meant"), "{error}");
        let coco = br#"{"images": [{"id": 1, "file_name": "1.jpg"}],
            "annotations": [{"image_id": 1, "caption": "a dog"}]}"#;
        let folder = Made::new(&[("captions_train2017.json", coco), ("1.jpg", b"x")]);
        assert_eq!(cells(&folder.read(), "caption"), "a dog");
    }

    #[test]
    fn metadata_names_the_files_beside_it() {
        let rows = b"{\"file_name\": \"1.jpg\", \"text\": \"a\"}\n{\"file_name\": \"sub/2.jpg\", \"text\": \"b\"}\n";
        let folder = Made::new(&[("train/metadata.jsonl", rows), ("train/1.jpg", b"x"), ("train/sub/2.jpg", b"y")]);
        let table = folder.read();
        assert_eq!(
            (cells(&table, "file"), cells(&table, "split")),
            ("train/1.jpg train/sub/2.jpg".into(), "train train".into())
        );
        assert_eq!(table.column("file").unwrap().item(1).read().unwrap(), &b"y"[..]);
        let folder = Made::new(&[("metadata.csv", b"file_name,text\n1.wav,rain\n"), ("1.wav", b"x")]);
        assert_eq!(cells(&folder.read(), "file"), "1.wav");
    }

    #[test]
    fn files_of_one_name_are_samples() {
        let folder = Made::new(&[
            ("00000/000000000.jpg", b"x"),
            ("00000/000000000.txt", b"a dog\n"),
            ("00000/000000000.json", b"{\"width\": 5}"),
            ("00000/000000001.jpg", b"y"),
            ("00000/000000001.json", b"{"),
            (
                "00000_stats.json",
                b"{\"count\": 4, \"successes\": 2, \"failed_to_download\": 1, \"failed_to_resize\": 1}",
            ),
            ("README.txt", b"x"),
        ]);
        let reason = folder.read().broken()[&1].clone();
        assert!(reason.starts_with("00000/000000001.json is not JSON"), "{reason}");
        std::fs::write(folder.0.path().join("00000/000000001.json"), "{}").unwrap();
        let table = folder.read();
        assert_eq!((cells(&table, "txt"), cells(&table, "width")), ("a dog ".into(), "5 ".into()));
        assert_eq!(cells(&table, "image"), "00000/000000000.jpg 00000/000000001.jpg");
        let lost = "2 of 4 rows were downloaded; 1 failed_to_download, 1 failed_to_resize";
        assert_eq!(table.notes(), [lost]);
    }

    #[test]
    fn shards_are_one_table_and_one_table_may_lie_beside_its_files() {
        let shard = |key: &str| archive(&[(&format!("{key}.jpg"), key.as_bytes()), (&format!("{key}.txt"), b"a")]);
        let folder = Made::new(&[("00000.tar", &shard("a")), ("00001.tar", &shard("b")), ("00000.parquet", b"odd")]);
        let table = folder.read();
        assert_eq!((cells(&table, "jpg"), table.len()), ("00000.tar: a.jpg 00001.tar: b.jpg".into(), 2));
        assert_eq!(table.column("jpg").unwrap().item(1).read().unwrap(), &b"b"[..]);
        let folder = Made::new(&[("captions.csv", b"file,caption\nimages/1.jpg,a\n"), ("images/1.jpg", b"x")]);
        assert_eq!(cells(&folder.read(), "file"), "images/1.jpg");
        let folder = Made::new(&[("a.csv", b"x\n1\n"), ("b.csv", b"x\n2\n")]);
        assert_eq!(cells(&folder.read(), "x"), "1 2");
        let nothing = read(Made::new(&[("a.doc", b"x")]).0.path()).err().unwrap().to_string();
        assert!(nothing.contains("there is nothing in it that is read"), "{nothing}");
    }

    #[test]
    fn a_second_table_of_metadata_is_named_and_only_what_is_read_is_listed() {
        let rows = b"{\"file_name\": \"1.jpg\", \"text\": \"b\"}\n";
        let folder = Made::new(&[
            ("metadata.csv", b"file_name,text\n1.jpg,a\n"),
            ("metadata.jsonl", rows),
            ("metadata.parquet", b"PAR1"),
            ("1.jpg", b"x"),
        ]);
        let table = folder.read();
        assert_eq!(cells(&table, "text"), "a");
        let note = "metadata.jsonl and metadata.parquet beside metadata.csv is not read";
        assert!(table.notes()[0].contains(note), "{:?}", table.notes());
        assert_eq!(format::files(folder.0.path()), [folder.0.path().join("metadata.csv")]);
        // What is read lies deeper than the folder, and not all that lies there is read.
        let shard = archive(&[("a.jpg", b"x"), ("a.txt", b"y")]);
        let folder = Made::new(&[("part/0.tar", &shard), ("part/deep/1.tar", &shard), ("part/readme.md", b"x")]);
        let at = |name: &str| folder.0.path().join(name);
        assert_eq!(format::files(folder.0.path()), [at("part/0.tar"), at("part/deep/1.tar")]);
    }
}
