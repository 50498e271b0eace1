//! Items as JSON, a line each.

use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

use super::ExportError;
use crate::gallery::Exhibit;
use crate::whole_file::{PartFile, beside};

/// An item as an object: `id`, then the metadata columns.
pub(super) fn object(exhibit: Exhibit, columns: &[String]) -> Map<String, Value> {
    let named = columns.iter().cloned().zip(exhibit.metadata);
    [("id".to_owned(), Value::from(exhibit.id))].into_iter().chain(named).collect()
}

/// The file beside vectors that have no place for more: line i is the item of row i, counted from 0.
pub(super) struct ItemsFile {
    file: PartFile,
    columns: Vec<String>,
}

impl ItemsFile {
    /// Its path beside that of the vectors.
    pub(super) fn path(vectors: &Path) -> PathBuf {
        beside(vectors, ".items.jsonl")
    }

    pub(super) fn create(vectors: &Path, columns: &[String]) -> Result<Self, ExportError> {
        let path = Self::path(vectors);
        let file = PartFile::create(&path).map_err(ExportError::write(&path))?;
        Ok(Self { file, columns: columns.to_vec() })
    }

    pub(super) fn take(&mut self, exhibits: Vec<Exhibit>) -> Result<(), ExportError> {
        for exhibit in exhibits {
            let mut line = serde_json::to_vec(&object(exhibit, &self.columns)).expect("all keys are text");
            line.push(b'\n');
            let written = self.file.write(&line);
            written.map_err(|cause| ExportError::write(self.file.path())(cause))?;
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<(), ExportError> {
        let path = self.file.path().to_owned();
        self.file.finish().map_err(ExportError::write(&path))
    }
}
