//! A column of a Parquet file that holds pictures or sounds: their bytes, read in windows when they are needed.

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use std::collections::VecDeque;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::item::read_file;
use crate::{quiet_panic, regular};

/// Bytes of a window, about.
const WINDOW: i64 = 8 << 20;
/// Windows that are held: readers that follow each other are within two.
const WINDOWS: usize = 2;

/// A column of bytes, or of a struct `{bytes, path}`.
pub(super) struct BytesColumn {
    path: PathBuf,
    name: String,
    metadata: ArrowReaderMetadata,
    /// The column's leaves.
    leaves: Vec<usize>,
    cursor: Mutex<Cursor>,
}

/// Where reading is.
#[derive(Default)]
struct Cursor {
    reader: Option<ParquetRecordBatchReader>,
    /// The row group that the reader is in.
    group: usize,
    /// The row after the last window.
    next: usize,
    windows: VecDeque<(Range<usize>, ArrayRef)>,
}

impl BytesColumn {
    pub(super) fn new(path: &Path, name: &str, metadata: ArrowReaderMetadata, leaves: Vec<usize>) -> Self {
        Self { path: path.to_owned(), name: name.to_owned(), metadata, leaves, cursor: Mutex::default() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The bytes of a row, or of the file below `root` that the row names in their stead; or why they cannot be read.
    pub(super) fn read(&self, row: usize, root: &Path) -> Result<Vec<u8>, String> {
        let damaged = || Err("this part of the file is damaged".to_owned());
        let (first, window) = quiet_panic::catch(|| self.window(row)).unwrap_or_else(damaged)?;
        let at = row - first;
        if let Some(column) = window.as_struct_opt() {
            let child = |name: &str| column.column_by_name(name).filter(|_| !column.is_null(at));
            if let Some(bytes) = child("bytes").and_then(|bytes| value(bytes, at)) {
                return Ok(bytes.to_vec());
            }
            let path = child("path").and_then(|path| value(path, at)).map(String::from_utf8_lossy);
            return match path.filter(|path| !path.is_empty()) {
                Some(path) => read_file(&root.join(&*path)),
                None => Err(format!("column `{}` has neither bytes nor a path here", self.name)),
            };
        }
        value(&window, at).map(<[u8]>::to_vec).ok_or_else(|| format!("column `{}` has nothing here", self.name))
    }

    /// The window with a row, and its first row.
    fn window(&self, row: usize) -> Result<(usize, ArrayRef), String> {
        let mut cursor = self.cursor.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((rows, window)) = cursor.windows.iter().find(|(rows, _)| rows.contains(&row)) {
            return Ok((rows.start, window.clone()));
        }
        let (group, rows) = self.group(row).ok_or("the file has fewer rows; was it changed?")?;
        let batch = self.batch(group);
        // What is not far ahead is read through.
        if cursor.reader.is_none() || cursor.group != group || !(cursor.next..cursor.next + 2 * batch).contains(&row) {
            *cursor = Cursor::default();
            cursor.reader = Some(self.reader(group, row - rows.start, batch).map_err(|error| error.to_string())?);
            (cursor.group, cursor.next) = (group, row);
        }
        loop {
            let next = cursor.reader.as_mut().and_then(Iterator::next);
            let window = match next {
                Some(Ok(window)) => window.column(0).clone(),
                Some(Err(error)) => {
                    *cursor = Cursor::default();
                    return Err(format!("row group {} is damaged ({error}); download the file again", group + 1));
                }
                None => return Err("the file has fewer rows than it says; download it again".to_owned()),
            };
            let rows = cursor.next..cursor.next + window.len();
            cursor.next = rows.end;
            cursor.windows.push_back((rows.clone(), window.clone()));
            if cursor.windows.len() > WINDOWS {
                cursor.windows.pop_front();
            }
            if rows.contains(&row) {
                return Ok((rows.start, window));
            }
        }
    }

    /// The row group with a row, and its rows.
    fn group(&self, row: usize) -> Option<(usize, Range<usize>)> {
        let mut start = 0;
        for (group, rows) in self.metadata.metadata().row_groups().iter().enumerate() {
            let end = start + rows.num_rows() as usize;
            if row < end {
                return Some((group, start..end));
            }
            start = end;
        }
        None
    }

    /// Rows a window of a row group.
    fn batch(&self, group: usize) -> usize {
        let group = self.metadata.metadata().row_group(group);
        let bytes: i64 = self.leaves.iter().map(|&leaf| group.column(leaf).uncompressed_size()).sum();
        (WINDOW * group.num_rows() / bytes.max(1)).clamp(1, 1024) as usize
    }

    fn reader(
        &self,
        group: usize,
        skip: usize,
        batch: usize,
    ) -> Result<ParquetRecordBatchReader, Box<dyn std::error::Error>> {
        let file = regular::open(&self.path, u64::MAX)?;
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone());
        let leaves = ProjectionMask::leaves(builder.parquet_schema(), self.leaves.iter().copied());
        let builder = builder.with_projection(leaves).with_row_groups(vec![group]).with_batch_size(batch);
        Ok(builder.with_offset(skip).build()?)
    }
}

/// True if a column is of bytes, or of a struct with bytes.
pub(super) fn holds_bytes(of: &DataType) -> bool {
    match of {
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => true,
        DataType::Struct(fields) => {
            fields.iter().any(|field| field.name() == "bytes" && holds_bytes(field.data_type()))
        }
        _ => false,
    }
}

/// The bytes or text of a row; none for null.
fn value(array: &ArrayRef, at: usize) -> Option<&[u8]> {
    if array.is_null(at) {
        return None;
    }
    Some(match array.data_type() {
        DataType::Binary => array.as_binary::<i32>().value(at),
        DataType::LargeBinary => array.as_binary::<i64>().value(at),
        DataType::BinaryView => array.as_binary_view().value(at),
        DataType::FixedSizeBinary(_) => array.as_fixed_size_binary().value(at),
        DataType::Utf8 => array.as_string::<i32>().value(at).as_bytes(),
        DataType::LargeUtf8 => array.as_string::<i64>().value(at).as_bytes(),
        DataType::Utf8View => array.as_string_view().value(at).as_bytes(),
        _ => return None,
    })
}
