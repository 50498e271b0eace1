//! A folder as a table: shards, files with metadata beside them, samples of several files, or folders of classes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::cells::Cells;
use super::draft::Draft;
use super::error::DataError;
use super::fields::{self, Field};
use super::format::{self, ending, entries};
use super::table::Table;
use super::{img2dataset, json, shards};
use crate::regular;
use crate::wording::short_path;

/// The deepest folder that is looked into.
const DEEPEST: usize = 8;
/// The tables that say what the files beside them are.
const METADATA: [&str; 3] = ["metadata.csv", "metadata.jsonl", "metadata.parquet"];
/// Files that say how something is loaded, and not what is in it.
const SETTINGS: [&str; 4] = ["dataset_info.json", "dataset_infos.json", "config.json", "state.json"];
/// Names of splits.
const SPLITS: [&str; 10] =
    ["train", "training", "val", "valid", "validation", "dev", "test", "testing", "eval", "development"];

/// Reads the table that the folder at `path` is.
pub(super) fn read(path: &Path) -> Result<Table, DataError> {
    let top = entries(path)?;
    let with_metadata: Vec<(Option<String>, PathBuf)> = match metadata(path) {
        Some(file) => vec![(None, file)],
        None => top.iter().filter_map(|inner| Some((Some(name(inner)), metadata(inner)?))).collect(),
    };
    if !with_metadata.is_empty() {
        return described(path, with_metadata);
    }
    let mut files = Vec::new();
    walk(path, DEEPEST, &mut Vec::new(), &mut files)?;
    let of = |wanted: &[&str]| -> Vec<PathBuf> {
        let is_it = |file: &&PathBuf| ending(file).is_some_and(|ending| wanted.contains(&ending.as_str()));
        files.iter().filter(is_it).cloned().collect()
    };
    let media = files.iter().filter(|file| kind(file).modality().is_some()).count();
    let (tars, parquets) = (of(&["tar"]), of(&["parquet"]));
    let tables = match of(&["csv", "tsv", "jsonl", "ndjson", "token"]) {
        // What a download says of itself is no table.
        none if none.is_empty() => {
            let mut tables = of(&["json"]);
            tables.retain(|path| !name(path).ends_with("_stats.json") && !SETTINGS.contains(&name(path).as_str()));
            tables
        }
        tables => tables,
    };
    let mut table = if !tars.is_empty() {
        shards::read(path, &tars)?
    } else if media > 0 {
        match &tables[..] {
            _ if has_samples(&files) => samples(path, &files)?,
            [] => classes(path, &files),
            [one] => format::read(one, None)?,
            tables => beside_media(path, tables)?,
        }
    } else if !parquets.is_empty() {
        split_shards(path, &parquets)?
    } else {
        split_shards(path, &tables)?
    };
    if let Some(note) = img2dataset::statistics(&files).filter(|_| table.notes.is_empty()) {
        tracing::warn!("{}: {note}", short_path(path).display());
        table.notes.push(note);
    }
    table.path = path.to_owned();
    Ok(table)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn kind(path: &Path) -> Field {
    ending(path).map_or(Field::Other, |ending| Field::of(&ending))
}

fn metadata(folder: &Path) -> Option<PathBuf> {
    METADATA.iter().map(|name| folder.join(name)).find(|file| file.is_file())
}

/// The files below a folder, each folder in the order of names.
fn walk(folder: &Path, depth: usize, above: &mut Vec<PathBuf>, files: &mut Vec<PathBuf>) -> Result<(), DataError> {
    // A link to a folder that it is in would have all files again.
    let place = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    if above.contains(&place) {
        return Ok(());
    }
    above.push(place);
    for path in entries(folder)? {
        match path.is_dir() {
            true if depth > 0 => walk(&path, depth - 1, above, files)?,
            true => {}
            false => files.push(path),
        }
    }
    above.pop();
    Ok(())
}

/// The tables of metadata, one after the other; `file` is the path of each row's file from the folder.
fn described(path: &Path, tables: Vec<(Option<String>, PathBuf)>) -> Result<Table, DataError> {
    let tables = tables.into_iter().map(|(folder, file)| {
        let mut table = format::read(&file, None)?;
        let names = table.index("file_name").map_err(|_| DataError::Format {
            path: file.clone(),
            reason: format!("it has no column `file_name` (columns: {})", table.names.join(", ")),
        })?;
        let mut files = Cells::default();
        for row in 0..table.rows {
            let name = table.columns[names].cell(row);
            match &folder {
                Some(folder) if !name.is_empty() => files.push(&[folder.as_bytes(), b"/", name].concat()),
                _ => files.push(name),
            }
        }
        if !table.names.iter().any(|name| name == "file") {
            table.names.push("file".to_owned());
            table.columns.push(files);
        }
        if let Some(folder) = &folder {
            with_split(&mut table, folder);
        }
        table.root = path.to_owned();
        Ok(table)
    });
    let mut whole = shards::joined(tables)?.expect("there is at least one");
    (whole.path, whole.format) = (path.to_owned(), "folder with metadata");
    Ok(whole)
}

/// Gives all rows a split, unless they have one.
fn with_split(table: &mut Table, split: &str) {
    if !table.names.iter().any(|name| name == "split") {
        let mut cells = Cells::default();
        (0..table.rows).for_each(|_| cells.push(split.as_bytes()));
        table.names.push("split".to_owned());
        table.columns.push(cells);
    }
}

/// Shards. Where their names begin with a split, as `train-00000-of-00002.parquet` does, or their folder is called so,
/// rows have it.
fn split_shards(path: &Path, files: &[PathBuf]) -> Result<Table, DataError> {
    splits_of(files)?.map_or_else(|| shards::read(path, files), Ok)
}

/// The table of files whose names, or folders, all say a split; none if some do not.
fn splits_of(files: &[PathBuf]) -> Result<Option<Table>, DataError> {
    let split = |file: &PathBuf| {
        let stem = file.file_stem()?.to_str()?.split(['-', '_', '.']).next()?.to_lowercase();
        let folder = || Some(name(file.parent()?).to_lowercase());
        [Some(stem), folder()].into_iter().flatten().find(|name| SPLITS.contains(&name.as_str()))
    };
    let Some(splits) = files.iter().map(split).collect::<Option<Vec<_>>>().filter(|splits| !splits.is_empty()) else {
        return Ok(None);
    };
    let tables = files.iter().zip(splits).map(|(file, split)| {
        let mut table = format::read(file, None)?;
        with_split(&mut table, &split);
        Ok(table)
    });
    shards::joined(tables)
}

/// Tables beside pictures or sounds: those of splits are one table, of which others would be a guess.
fn beside_media(path: &Path, tables: &[PathBuf]) -> Result<Table, DataError> {
    if let Some(table) = splits_of(tables)?.filter(|table| table.names.iter().any(|name| name == "split")) {
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

/// A file's path from the folder.
fn inner<'a>(folder: &Path, file: &'a Path) -> &'a Path {
    file.strip_prefix(folder).unwrap_or(file)
}

/// True if pictures or sounds have texts of the same name beside them.
fn has_samples(files: &[PathBuf]) -> bool {
    files.iter().filter(|file| kind(file).is_text()).any(|text| {
        let stem = text.with_extension("");
        let at = files.partition_point(|file| file.with_extension("") < stem);
        let near = at.saturating_sub(8)..files.len().min(at + 8);
        files[near].iter().any(|file| kind(file).modality().is_some() && file.with_extension("") == stem)
    })
}

/// Samples: the files of one name are a row, with a column for each ending.
fn samples(path: &Path, files: &[PathBuf]) -> Result<Table, DataError> {
    let mut samples: BTreeMap<PathBuf, Vec<&PathBuf>> = BTreeMap::new();
    for file in files.iter().filter(|file| kind(file) != Field::Other) {
        samples.entry(inner(path, file).with_extension("")).or_default().push(file);
    }
    // Those of texts alone are about the whole.
    samples.retain(|_, files| files.iter().any(|file| kind(file).modality().is_some()));
    let mut draft = Draft::new(path, "folder of samples");
    for (key, files) in samples {
        draft.set("key", key.as_os_str().as_encoded_bytes());
        let (mut objects, mut broken) = (Vec::new(), None);
        for file in files {
            let (kind, ending) = (kind(file), ending(file).unwrap_or_default());
            if let Some(modality) = kind.modality() {
                let cell = inner(path, file).as_os_str().as_encoded_bytes();
                draft.set(&ending, cell);
                draft.set(modality, cell);
                continue;
            }
            match regular::read(file, fields::LONGEST) {
                Ok(text) if kind == Field::Text => draft.set(&ending, fields::trimmed(&text)),
                Ok(text) => match serde_json::from_slice::<serde_json::Value>(&text) {
                    Ok(serde_json::Value::Object(object)) => objects.push(object),
                    Ok(_) => broken = Some(format!("{}: it holds no object", inner(path, file).display())),
                    Err(error) => broken = Some(format!("{}: not JSON: {error}", inner(path, file).display())),
                },
                Err(error) => broken = Some(format!("{}: {error}", inner(path, file).display())),
            }
        }
        objects.iter().for_each(|object| json::set_all(&mut draft, object));
        match broken {
            Some(reason) => draft.end_broken_row(reason),
            None => draft.end_row(),
        }
    }
    draft.table().root = path.to_owned();
    Ok(draft.whole())
}

/// Pictures or sounds in folders of classes, which may be in folders of splits.
fn classes(path: &Path, files: &[PathBuf]) -> Table {
    let mut draft = Draft::new(path, "folders of classes");
    for file in files.iter().filter(|file| kind(file).modality().is_some()) {
        let inner = inner(path, file);
        draft.set("file", inner.as_os_str().as_encoded_bytes());
        let mut folders: Vec<_> = inner.iter().map(|part| part.to_string_lossy()).collect();
        folders.pop();
        if folders.first().is_some_and(|first| SPLITS.contains(&&*first.to_lowercase())) {
            draft.set("split", folders.remove(0).as_bytes());
        }
        if let Some(class) = folders.last() {
            draft.set("label", class.as_bytes());
        }
        draft.end_row();
    }
    draft.table().root = path.to_owned();
    draft.whole()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::tar::tests::archive;

    struct Folder(tempfile::TempDir);

    impl Folder {
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

    fn cells(table: &Table, name: &str) -> String {
        let column = table.column(name).unwrap();
        (0..table.len()).map(|row| column.text(row).unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn classes_and_splits_are_folders() {
        let folder = Folder::new(&[("train/cat/1.jpg", b"x"), ("train/dog/2.PNG", b"y"), ("test/cat/3.jpg", b"z")]);
        let table = folder.read();
        assert_eq!(cells(&table, "file"), "test/cat/3.jpg train/cat/1.jpg train/dog/2.PNG");
        assert_eq!((cells(&table, "label"), cells(&table, "split")), ("cat cat dog".into(), "test train train".into()));
        assert_eq!(table.column("file").unwrap().item(2).read().unwrap(), &b"y"[..]);
    }

    #[test]
    fn tables_beside_media_are_read_or_named() {
        let train = b"file_name,caption_1\na.wav,rain\n";
        let test = b"file_name,caption_1\nb.wav,wind\n";
        let folder = Folder::new(&[("train.csv", train), ("test.csv", test), ("a.wav", b"x"), ("b.wav", b"y")]);
        let table = folder.read();
        assert_eq!((cells(&table, "file_name"), cells(&table, "split")), ("b.wav a.wav".into(), "test train".into()));
        assert_eq!(table.column("file_name").unwrap().item(0).read().unwrap(), &b"y"[..]);
        let folder = Folder::new(&[("one.csv", train), ("two.csv", test), ("a.wav", b"x")]);
        let error = read(folder.0.path()).err().unwrap().to_string();
        assert!(error.contains("2 tables (one.csv, two.csv): name the one that is meant"), "{error}");
        let coco = br#"{"images": [{"id": 1, "file_name": "1.jpg"}],
            "annotations": [{"image_id": 1, "caption": "a dog"}]}"#;
        let folder = Folder::new(&[("captions_train2017.json", coco), ("1.jpg", b"x")]);
        assert_eq!(cells(&folder.read(), "caption"), "a dog");
    }

    #[test]
    fn metadata_names_the_files_beside_it() {
        let rows = b"{\"file_name\": \"1.jpg\", \"text\": \"a\"}\n{\"file_name\": \"sub/2.jpg\", \"text\": \"b\"}\n";
        let folder = Folder::new(&[("train/metadata.jsonl", rows), ("train/1.jpg", b"x"), ("train/sub/2.jpg", b"y")]);
        let table = folder.read();
        assert_eq!(
            (cells(&table, "file"), cells(&table, "split")),
            ("train/1.jpg train/sub/2.jpg".into(), "train train".into())
        );
        assert_eq!(table.column("file").unwrap().item(1).read().unwrap(), &b"y"[..]);
        let folder = Folder::new(&[("metadata.csv", b"file_name,text\n1.wav,rain\n"), ("1.wav", b"x")]);
        assert_eq!(cells(&folder.read(), "file"), "1.wav");
    }

    #[test]
    fn files_of_one_name_are_samples() {
        let folder = Folder::new(&[
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
        assert!(reason.starts_with("00000/000000001.json: not JSON"), "{reason}");
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
        let folder = Folder::new(&[("00000.tar", &shard("a")), ("00001.tar", &shard("b")), ("00000.parquet", b"odd")]);
        let table = folder.read();
        assert_eq!((cells(&table, "jpg"), table.len()), ("00000.tar: a.jpg 00001.tar: b.jpg".into(), 2));
        assert_eq!(table.column("jpg").unwrap().item(1).read().unwrap(), &b"b"[..]);
        let folder = Folder::new(&[("captions.csv", b"file,caption\nimages/1.jpg,a\n"), ("images/1.jpg", b"x")]);
        assert_eq!(cells(&folder.read(), "file"), "images/1.jpg");
        let folder = Folder::new(&[("a.csv", b"x\n1\n"), ("b.csv", b"x\n2\n")]);
        assert_eq!(cells(&folder.read(), "x"), "1 2");
        let nothing = read(Folder::new(&[("a.doc", b"x")]).0.path()).err().unwrap().to_string();
        assert!(nothing.contains("there is nothing in it that is read"), "{nothing}");
    }
}
