//! The format of a file, by its name and by what is in it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::dialect::Dialect;
use super::error::DataError;
use super::fields::{ending, name};
use super::folder::Folder;
use super::table::Table;
use super::text::Text;
use super::wanted::Wanted;
use super::{delimited, json_file, jsonl, parquet_file, parsed, shards, token, webdataset};

/// The formats that are read, in words.
pub(super) const KNOWN: &str = ".tsv, .csv, .jsonl, .json, .token, .parquet, .tar, or a folder of these or of pictures \
                                or sounds";

/// What a path names.
enum Found {
    File(PathBuf),
    Shards(Vec<PathBuf>),
    Folder(Folder),
}

impl Found {
    fn at(path: &Path) -> Result<Self, DataError> {
        Ok(match shards::named(path)? {
            Some(paths) => Self::Shards(paths),
            None if path.is_dir() => Self::Folder(Folder::of(path)?),
            None => Self::File(path.to_owned()),
        })
    }

    /// The files that are read.
    fn files(&self) -> Vec<&Path> {
        match self {
            Self::File(path) => vec![path],
            Self::Shards(paths) => paths.iter().map(PathBuf::as_path).collect(),
            Self::Folder(folder) => folder.files(),
        }
    }
}

/// The table at `path`, of which only the wanted columns are kept; the files that its cells name are below `root`, or
/// the folder of the table. What a reader should know of it is told as warnings, once.
pub(super) fn read(path: &Path, root: Option<&Path>, wanted: &Wanted) -> Result<Table, DataError> {
    let found = Found::at(path)?;
    parsed::table((path, root), &found.files(), wanted, || {
        let table = match &found {
            Found::File(path) => file(path, root, wanted)?,
            Found::Shards(paths) => shards::read(path, paths, root, wanted)?,
            Found::Folder(folder) => folder.read(root, wanted)?,
        };
        table.warn();
        Ok(table)
    })
}

/// The files that the table at `path` is read from, as far as they are there.
pub(super) fn files(path: &Path) -> Vec<PathBuf> {
    match Found::at(path) {
        Ok(found) => found.files().into_iter().map(Path::to_owned).collect(),
        Err(_) if path.is_dir() => Vec::new(),
        Err(_) => vec![path.to_owned()],
    }
}

/// The table in a single file.
pub(super) fn file(path: &Path, root: Option<&Path>, wanted: &Wanted) -> Result<Table, DataError> {
    part(path, &name(path), root, wanted)
}

/// The table in a file that is read with others, among which it is called `name`.
pub(super) fn part(path: &Path, name: &str, root: Option<&Path>, wanted: &Wanted) -> Result<Table, DataError> {
    let unknown = |reason: String| DataError::Format { path: path.to_owned(), reason };
    match ending(path).as_deref() {
        Some("tsv") => delimited::read(path, Dialect::TSV, wanted),
        Some("csv") => delimited::read(path, Dialect::CSV, wanted),
        Some("jsonl" | "ndjson") => jsonl::read(path, wanted),
        Some("json") => json_file::read(path, root.unwrap_or(path.parent().unwrap_or(Path::new(""))), wanted),
        Some("token") => token::read(path, wanted),
        Some("parquet") => parquet_file::read(path, name, wanted),
        Some("tar") => webdataset::read(path, name, wanted),
        Some("gz" | "tgz" | "zst" | "bz2" | "xz" | "zip") => Err(unknown(
            "this is compressed, and single items of it cannot be read: decompress it first (gunzip, zstd -d, bunzip2, \
             unxz or unzip), and name what comes out of it"
                .to_owned(),
        )),
        Some("xlsx" | "xls" | "ods") => {
            Err(unknown("this is a spreadsheet: save the sheet as CSV in UTF-8, and name that file".to_owned()))
        }
        Some("txt") if token::is_token(&Text::open(path)?) => token::read(path, wanted),
        // One that is not there is told so.
        _ => match Text::open(path) {
            Err(error @ DataError::Read { .. }) => Err(error),
            _ => Err(unknown(format!("this is no format that is read; a table is {KNOWN}, and latents are .safetensors \
                                      or .npy"))),
        },
    }
}

/// The names of what is in a folder, as far as it can be read.
pub(super) fn names(folder: &Path) -> HashSet<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}
