//! A .npy file of f32, and the items beside it.

use bytemuck::cast_slice;
use std::path::Path;

use super::items::ItemsFile;
use super::{Batch, ExportError};
use crate::array_file::npy_header;
use crate::gallery::GalleryInfo;
use crate::whole_file::PartFile;

pub(super) struct Sink {
    file: PartFile,
    items: ItemsFile,
}

impl Sink {
    pub(super) fn begin(info: &GalleryInfo, rows: usize, path: &Path) -> Result<Self, ExportError> {
        let items = ItemsFile::create(path, &info.columns)?;
        Ok(Self { file: create(path, rows, info.width)?, items })
    }
}

/// A .npy file that is open for its rows.
pub(super) fn create(path: &Path, rows: usize, width: usize) -> Result<PartFile, ExportError> {
    let mut file = PartFile::create(path).map_err(ExportError::write(path))?;
    file.write(&npy_header(rows, width)).map_err(ExportError::write(path))?;
    Ok(file)
}

impl super::Sink for Sink {
    fn take(&mut self, batch: Batch) -> Result<usize, ExportError> {
        let written = self.file.write(cast_slice(&batch.vectors));
        written.map_err(|cause| ExportError::write(self.file.path())(cause))?;
        self.items.take(batch.exhibits)?;
        Ok(0)
    }

    fn finish(self: Box<Self>) -> Result<(), ExportError> {
        let path = self.file.path().to_owned();
        self.items.finish()?;
        self.file.finish().map_err(ExportError::write(&path))
    }
}
