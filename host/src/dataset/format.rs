//! The format of a file, by its name and by what is in it.

use std::path::{Path, PathBuf};

use super::dialect::Dialect;
use super::error::DataError;
use super::table::Table;
use super::text::Text;
use super::{delimited, folder, json_file, jsonl, parquet_file, shards, token, webdataset};

/// The formats that are read, in words.
pub(super) const KNOWN: &str = ".tsv, .csv, .jsonl, .json, .token, .parquet, .tar, or a folder of these or of pictures \
                                or sounds";

/// Reads the table at `path`; the files that its cells name are below `root`, or the folder of the table.
pub(super) fn read(path: &Path, root: Option<&Path>) -> Result<Table, DataError> {
    if let Some(paths) = shards::named(path)? {
        return shards::read(path, &paths);
    }
    if path.is_dir() {
        return folder::read(path);
    }
    let unknown = |reason: String| DataError::Format { path: path.to_owned(), reason };
    match ending(path).as_deref() {
        Some("tsv") => delimited::read(path, Dialect::TSV),
        Some("csv") => delimited::read(path, Dialect::CSV),
        Some("jsonl" | "ndjson") => jsonl::read(path),
        Some("json") => json_file::read(path, root.unwrap_or(path.parent().unwrap_or(Path::new("")))),
        Some("token") => token::read(path),
        Some("parquet") => parquet_file::read(path),
        Some("tar") => webdataset::read(path),
        Some("gz" | "tgz" | "zst" | "bz2" | "xz" | "zip") => Err(unknown(
            "this is compressed, and single items of it cannot be read: decompress it first (gunzip, zstd -d, bunzip2, \
             unxz or unzip), and name what comes out of it"
                .to_owned(),
        )),
        Some("xlsx" | "xls" | "ods") => {
            Err(unknown("this is a spreadsheet: save the sheet as CSV in UTF-8, and name that file".to_owned()))
        }
        Some("txt") if token::is_token(&Text::open(path)?) => token::read(path),
        // One that is not there is told so.
        _ => match Text::open(path) {
            Err(error @ DataError::Read { .. }) => Err(error),
            _ => Err(unknown(format!("this is no format that is read; a table is {KNOWN}, and latents are .safetensors \
                                      or .npy"))),
        },
    }
}

/// The ending of a path, in small letters.
pub(super) fn ending(path: &Path) -> Option<String> {
    Some(path.extension()?.to_str()?.to_lowercase())
}

/// The entries of a folder in the order of their names, without hidden ones.
pub(super) fn entries(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let failed = |cause| DataError::Read { path: folder.to_owned(), cause };
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            entries.push(entry.path());
        }
    }
    entries.sort();
    Ok(entries)
}
