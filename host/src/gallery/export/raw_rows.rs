//! A header, then rows of f32 as they are, and the items beside the file.

use bytemuck::cast_slice;
use std::path::Path;

use super::items::ItemsFile;
use super::{Batch, ExportError};
use crate::gallery::GalleryInfo;
use crate::whole_file::PartFile;

pub(super) struct Sink {
    file: PartFile,
    items: ItemsFile,
}

impl Sink {
    pub(super) fn begin(info: &GalleryInfo, header: &[u8], path: &Path) -> Result<Self, ExportError> {
        let items = ItemsFile::create(path, &info.columns)?;
        Ok(Self { file: create(path, header)?, items })
    }
}

/// A file that is open for its rows.
pub(super) fn create(path: &Path, header: &[u8]) -> Result<PartFile, ExportError> {
    let mut file = PartFile::create(path).map_err(ExportError::write(path))?;
    file.write(header).map_err(ExportError::write(path))?;
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
