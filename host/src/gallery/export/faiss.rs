//! A flat index of faiss by inner product (`IndexFlatIP`), as `faiss.write_index` writes it, and the items beside it.

use bytemuck::cast_slice;
use std::path::Path;

use super::items::ItemsFile;
use super::{Batch, ExportError};
use crate::gallery::GalleryInfo;
use crate::whole_file::PartFile;

/// faiss's name of the type.
const FLAT_INNER_PRODUCT: &[u8; 4] = b"IxFI";
/// A field of the header that no version uses, twice.
const UNUSED: i64 = 1 << 20;
/// `METRIC_INNER_PRODUCT`.
const INNER_PRODUCT: i32 = 0;

pub(super) struct Sink {
    file: PartFile,
    items: ItemsFile,
}

impl Sink {
    pub(super) fn begin(info: &GalleryInfo, rows: usize, path: &Path) -> Result<Self, ExportError> {
        let items = ItemsFile::create(path, &info.columns)?;
        let mut file = PartFile::create(path).map_err(ExportError::write(path))?;
        file.write(&header(rows, info.width)).map_err(ExportError::write(path))?;
        Ok(Self { file, items })
    }
}

/// All that is before the values: type, width, rows, two unused fields, "is trained", metric, values that follow.
fn header(rows: usize, width: usize) -> Vec<u8> {
    let mut header = FLAT_INNER_PRODUCT.to_vec();
    header.extend((width as i32).to_le_bytes());
    header.extend((rows as i64).to_le_bytes());
    header.extend([UNUSED; 2].map(i64::to_le_bytes).concat());
    header.push(1);
    header.extend(INNER_PRODUCT.to_le_bytes());
    header.extend(((rows * width) as u64).to_le_bytes());
    header
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
