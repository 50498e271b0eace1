//! The items of a gallery on their way into another, as a table.

use serde_json::Value;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use super::ITEM;
use crate::dataset::Source;
use crate::gallery::{Exhibit, Gallery};
use crate::session::Error;

/// The column of their ids.
pub(super) const ID: &str = "id";

/// True if an item is a text, or a file here: a picture that was sent to a server may have an address, or nothing.
pub(super) fn is_here(item: &Value, are_files: bool) -> bool {
    let is_address = |item: &str| ["http://", "https://"].iter().any(|scheme| item.starts_with(scheme));
    item.as_str().is_some_and(|item| !(item.is_empty() || are_files && is_address(item)))
}

/// The items of a gallery as a table.
pub(super) struct MigrationItems {
    path: PathBuf,
    /// The folder that it is in, which goes with it.
    _folder: tempfile::TempDir,
    /// What messages name.
    gallery: PathBuf,
    /// The gallery's row of each.
    pub(super) rows: Vec<usize>,
    /// The ids of those that it has no item of: neither a text nor a file.
    pub(super) without: Vec<String>,
}

impl MigrationItems {
    /// Those in the column at this place.
    pub(super) fn of(gallery: &Gallery, place: usize, are_files: bool) -> Result<Self, Error> {
        let folder = tempfile::Builder::new().prefix("fusemix-").tempdir();
        let folder = folder.map_err(|cause| Error::Write { path: std::env::temp_dir(), cause })?;
        let path = folder.path().join("items.jsonl");
        let write = |cause| Error::Write { path: path.clone(), cause };
        let mut out = BufWriter::new(File::create_new(&path).map_err(write)?);
        let (mut rows, mut without) = (Vec::new(), Vec::new());
        for row in gallery.rows() {
            let Exhibit { id, metadata } = gallery.exhibit(row)?;
            let item = &metadata[place];
            if !is_here(item, are_files) {
                without.push(id);
                continue;
            }
            rows.push(row);
            let line = serde_json::json!({ID: id, ITEM: item});
            serde_json::to_writer(&mut out, &line).map_err(|cause| write(cause.into()))?;
            out.write_all(b"\n").map_err(write)?;
        }
        out.flush().map_err(write)?;
        drop(out);
        Ok(Self { path, _folder: folder, gallery: gallery.folder().to_owned(), rows, without })
    }

    /// The table. Its files are where the gallery says, or relative to the folder that the program runs in.
    pub(super) fn source(&self) -> Source {
        Source { root: std::env::current_dir().ok(), shown: Some(self.gallery.clone()), ..Source::new(&self.path) }
    }
}
