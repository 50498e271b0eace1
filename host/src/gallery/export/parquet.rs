//! A .parquet file: `id`, the metadata in columns of their types, and the vectors as `FixedSizeList<f32>`.

use std::path::Path;

use super::columns::{Kind, arrays, fields, kinds};
use super::{Batch, ExportError};
use crate::gallery::Gallery;
use crate::parquet_rows::ParquetRows;
use crate::whole_file::PartFile;

pub(super) struct Sink {
    rows: ParquetRows,
    kinds: Vec<Kind>,
}

impl Sink {
    pub(super) fn begin(gallery: &Gallery, rows: &[usize], path: &Path, vector: &str) -> Result<Self, ExportError> {
        let info = gallery.info();
        super::free(&info.columns, vector)?;
        let file = PartFile::create(path).map_err(ExportError::write(path))?;
        let kinds = kinds(gallery, rows)?;
        let begun = ParquetRows::begin(file, fields(&info.columns, &kinds), Some((vector, info.width)));
        Ok(Self { rows: begun.map_err(ExportError::write(path))?, kinds })
    }
}

impl super::Sink for Sink {
    fn take(&mut self, batch: Batch) -> Result<usize, ExportError> {
        let written = self.rows.write(arrays(&batch.exhibits, &self.kinds), batch.vectors, None);
        written.map_err(|cause| ExportError::write(self.rows.path())(cause))?;
        Ok(0)
    }

    fn finish(self: Box<Self>) -> Result<(), ExportError> {
        let path = self.rows.path().to_owned();
        self.rows.finish().map_err(ExportError::write(&path))
    }
}
