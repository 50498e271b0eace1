//! The folder that `clip-retrieval index` takes: `img_emb/` or `text_emb/` with a .npy file, and `metadata/` with a
//! .parquet file, whose column `image_path` or `caption` is the item.

use bytemuck::cast_slice;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::columns::{Kind, arrays, fields, kinds};
use super::{Batch, ExportError, raw_rows};
use crate::array_file::npy_header;
use crate::file_lock::PathLock;
use crate::gallery::{Gallery, GalleryError};
use crate::parquet_rows::ParquetRows;
use crate::whole_file::{self, PartFile};

/// The gallery's column with the item itself.
const ITEM: &str = "item";
/// What an export has in its folder, of either kind.
const FOLDERS: [&str; 3] = ["img_emb", "text_emb", "metadata"];

/// The kind of a gallery's items for clip-retrieval, which knows two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClipModality {
    /// Pictures.
    Image,
    /// Texts.
    Text,
}

impl ClipModality {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Text => "text",
        }
    }

    /// The folder of the vectors, and the column with the items.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Image => ("img_emb", "image_path"),
            Self::Text => ("text_emb", "caption"),
        }
    }
}

impl FromStr for ClipModality {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Image, Self::Text].into_iter().find(|modality| modality.name() == text).ok_or("choose image or text")
    }
}

pub(super) struct Sink {
    vectors: PartFile,
    rows: ParquetRows,
    kinds: Vec<Kind>,
    folder: Building,
}

/// The folder under another name, until it is whole; dropped before, it leaves nothing.
struct Building {
    out: PathBuf,
    part: PathBuf,
    /// Dropped last.
    _lock: PathLock,
}

impl Building {
    fn start(out: &Path) -> Result<Self, ExportError> {
        check_empty(out)?;
        let (part, lock) = (whole_file::beside(out, ".exporting"), whole_file::beside(out, ".exporting.lock"));
        let taken = PathLock::take(lock.clone()).map_err(ExportError::write(&lock))?;
        let lock = taken.ok_or_else(|| GalleryError::InUse { path: out.to_owned() })?;
        remove_left(&part)?;
        Ok(Self { out: out.to_owned(), part, _lock: lock })
    }

    fn finish(&self) -> Result<(), ExportError> {
        let _ = fs::remove_dir(&self.out);
        let moved = fs::rename(&self.part, &self.out).and_then(|()| whole_file::sync_folder(&self.out));
        moved.map_err(ExportError::write(&self.out))
    }
}

impl Drop for Building {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.part);
    }
}

/// Removes what a killed export left, and nothing else.
fn remove_left(part: &Path) -> Result<(), ExportError> {
    let files = match fs::read_dir(part) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
        files => files.and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(ExportError::write(part))?,
    };
    let is_own = |name: &OsStr| FOLDERS.iter().any(|own| name == *own);
    if let Some(other) = files.iter().find(|file| !is_own(&file.file_name())) {
        let file = other.file_name().to_string_lossy().into_owned();
        return Err(ExportError::NotEmpty { path: part.to_owned(), file });
    }
    fs::remove_dir_all(part).map_err(ExportError::write(part))
}

impl Sink {
    pub(super) fn begin(
        gallery: &Gallery,
        rows: &[usize],
        folder: &Path,
        modality: ClipModality,
    ) -> Result<Self, ExportError> {
        let (name, item) = modality.names();
        let names: Vec<String> = gallery.info().columns.iter().map(|column| renamed(column, item)).collect();
        if let Some(twice) = names.iter().find(|name| names.iter().filter(|other| other == name).count() > 1) {
            return Err(ExportError::Reserved { column: twice.clone(), what: "clip-retrieval" });
        }
        let building = Building::start(folder)?;
        let file = |folder_name: &str, file: &str| {
            let folder = building.part.join(folder_name);
            fs::create_dir_all(&folder).map_err(ExportError::write(&folder))?;
            Ok::<_, ExportError>(folder.join(file))
        };
        let vectors =
            raw_rows::create(&file(name, &format!("{name}_0.npy"))?, &npy_header(rows.len(), gallery.info().width))?;
        let path = file("metadata", "metadata_0.parquet")?;
        let metadata = PartFile::create(&path).map_err(ExportError::write(&path))?;
        let kinds = kinds(gallery, rows)?;
        let begun = ParquetRows::begin(metadata, fields(&names, &kinds), None);
        let rows = begun.map_err(ExportError::write(&path))?;
        Ok(Self { vectors, rows, kinds, folder: building })
    }
}

fn renamed(column: &str, item: &str) -> String {
    if column == ITEM { item.to_owned() } else { column.to_owned() }
}

/// An error if the folder holds anything: clip-retrieval reads all that is there.
fn check_empty(folder: &Path) -> Result<(), ExportError> {
    match fs::read_dir(folder) {
        Ok(mut files) => match files.next() {
            Some(file) => {
                let file = file.map_err(ExportError::write(folder))?.file_name().to_string_lossy().into_owned();
                Err(ExportError::NotEmpty { path: folder.to_owned(), file })
            }
            None => Ok(()),
        },
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(cause) => Err(ExportError::write(folder)(cause)),
    }
}

impl super::Sink for Sink {
    fn take(&mut self, batch: Batch) -> Result<usize, ExportError> {
        let written = self.vectors.write(cast_slice(&batch.vectors));
        written.map_err(|cause| ExportError::write(self.vectors.path())(cause))?;
        let written = self.rows.write(arrays(&batch.exhibits, &self.kinds), Vec::new(), None);
        written.map_err(|cause| ExportError::write(self.rows.path())(cause))?;
        Ok(0)
    }

    fn finish(self: Box<Self>) -> Result<(), ExportError> {
        let (vectors, rows) = (self.vectors.path().to_owned(), self.rows.path().to_owned());
        self.rows.finish().map_err(ExportError::write(&rows))?;
        self.vectors.finish().map_err(ExportError::write(&vectors))?;
        self.folder.finish()
    }
}
