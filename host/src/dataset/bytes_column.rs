//! A column of a Parquet file that holds pictures or sounds: their bytes, read in windows when they are needed.

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::file::metadata::RowGroupMetaData;
use std::collections::{HashSet, VecDeque};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::item::{is_file, read_file};
use crate::{quiet_panic, regular};

/// Bytes of a window, about.
const WINDOW: i64 = 8 << 20;
/// Windows that are held at least, and the bytes of more: the rows that all cores look at are within them.
const WINDOWS: usize = 2;
const HELD: usize = 64 << 20;
/// Columns that hold windows: a folder may have thousands of files, which are read one after the other.
const COLUMNS: usize = 4;

/// The columns that hold windows, the last one that read a new one at the end.
static HOLDING: Mutex<VecDeque<Arc<Mutex<Cursor>>>> = Mutex::new(VecDeque::new());

/// A column of bytes, or of a struct `{bytes, path}`.
pub(super) struct BytesColumn {
    path: PathBuf,
    name: String,
    metadata: ArrowReaderMetadata,
    /// The row after the last one of each row group.
    ends: Vec<usize>,
    /// The column's leaves.
    leaves: Vec<usize>,
    cursor: Arc<Mutex<Cursor>>,
    /// The row groups that were read to see which of their rows are null, and their bytes.
    looked: Mutex<(HashSet<usize>, i64)>,
}

/// What is known of a row whose bytes were not read.
#[derive(Debug)]
pub(crate) enum Look {
    /// It has bytes, or names a file that is there.
    There,
    /// It has neither, for this reason.
    Missing(String),
    /// It is in a row group of which some rows are null, and that is too large to see which.
    Unknown,
}

/// Bytes of row groups that are read to see which of their rows are null, a column.
const LOOKED: i64 = 1 << 30;

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
        let rows = |end: &mut usize, group: &RowGroupMetaData| {
            *end += group.num_rows().max(0) as usize;
            Some(*end)
        };
        let ends = metadata.metadata().row_groups().iter().scan(0, rows).collect();
        Self {
            path: path.to_owned(),
            name: name.to_owned(),
            metadata,
            ends,
            leaves,
            cursor: Arc::default(),
            looked: Mutex::default(),
        }
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

    /// What is known of a row by the counts of its row group, or where these leave it open by reading the group.
    pub(super) fn look(&self, row: usize, root: &Path) -> Look {
        let damaged = || Look::Missing("this part of the file is damaged".to_owned());
        quiet_panic::catch(|| self.seen(row, root)).unwrap_or_else(damaged)
    }

    fn seen(&self, row: usize, root: &Path) -> Look {
        let Some((group, _)) = self.group(row) else { return Look::Missing("the file has fewer rows".to_owned()) };
        if self.nulls(group) == Some(0) {
            return Look::There;
        }
        if !self.may_look(group) {
            return Look::Unknown;
        }
        let (first, window) = match self.window(row) {
            Ok(found) => found,
            Err(reason) => return Look::Missing(reason),
        };
        let at = row - first;
        let Some(column) = window.as_struct_opt() else {
            let missing = || Look::Missing(format!("column `{}` has nothing here", self.name));
            return value(&window, at).map_or_else(missing, |_| Look::There);
        };
        let child = |name: &str| column.column_by_name(name).filter(|_| !column.is_null(at));
        if child("bytes").and_then(|bytes| value(bytes, at)).is_some() {
            return Look::There;
        }
        let path = child("path").and_then(|path| value(path, at)).map(String::from_utf8_lossy);
        match path.filter(|path| !path.is_empty()) {
            Some(path) => is_file(&root.join(&*path)).map_or_else(Look::Missing, |()| Look::There),
            None => Look::Missing(format!("column `{}` has neither bytes nor a path here", self.name)),
        }
    }

    /// The rows of a row group without bytes, if the file counts them.
    fn nulls(&self, group: usize) -> Option<u64> {
        let group = self.metadata.metadata().row_group(group);
        let of_bytes = |leaf: &&usize| self.leaves.len() == 1 || group.column(**leaf).column_descr().name() == "bytes";
        group.column(*self.leaves.iter().find(of_bytes)?).statistics()?.null_count_opt()
    }

    /// True if a row group is small enough to be read for its nulls, beside those that were.
    fn may_look(&self, group: usize) -> bool {
        let (seen, bytes) = &mut *lock(&self.looked);
        if seen.contains(&group) {
            return true;
        }
        let of = self.metadata.metadata().row_group(group);
        let more: i64 = self.leaves.iter().map(|&leaf| of.column(leaf).compressed_size()).sum();
        let may = *bytes + more <= LOOKED;
        if may {
            *bytes += more;
            seen.insert(group);
        }
        may
    }

    /// True if a row has bytes of its own.
    pub(super) fn has_bytes(&self, row: usize) -> bool {
        let Some(Ok((first, window))) = quiet_panic::catch(|| self.window(row)) else { return false };
        let at = row - first;
        match window.as_struct_opt() {
            Some(column) => {
                !column.is_null(at) && column.column_by_name("bytes").is_some_and(|bytes| value(bytes, at).is_some())
            }
            None => value(&window, at).is_some(),
        }
    }

    /// The window with a row, and its first row.
    fn window(&self, row: usize) -> Result<(usize, ArrayRef), String> {
        let mut cursor = lock(&self.cursor);
        if let Some((rows, window)) = cursor.windows.iter().find(|(rows, _)| rows.contains(&row)) {
            return Ok((rows.start, window.clone()));
        }
        let (group, rows) = self.group(row).ok_or("the file has fewer rows; was it changed?")?;
        let batch = self.batch(group);
        self.hold();
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
            let bytes = |windows: &VecDeque<(Range<usize>, ArrayRef)>| -> usize {
                windows.iter().map(|(_, window)| window.get_array_memory_size()).sum()
            };
            while cursor.windows.len() > WINDOWS && bytes(&cursor.windows) > HELD {
                cursor.windows.pop_front();
            }
            if rows.contains(&row) {
                return Ok((rows.start, window));
            }
        }
    }

    /// Notes that this column holds windows, and drops those of the column that has read none for longest.
    fn hold(&self) {
        let mut holding = lock(&HOLDING);
        holding.retain(|cursor| !Arc::ptr_eq(cursor, &self.cursor));
        holding.push_back(self.cursor.clone());
        if holding.len() > COLUMNS
            && let Some(oldest) = holding.pop_front()
            // One that is in use says so again with its next window.
            && let Ok(mut cursor) = oldest.try_lock()
        {
            *cursor = Cursor::default();
        }
    }

    /// The row group with a row, and its rows.
    fn group(&self, row: usize) -> Option<(usize, Range<usize>)> {
        let group = self.ends.partition_point(|end| *end <= row);
        let end = *self.ends.get(group)?;
        Some((group, group.checked_sub(1).map_or(0, |before| self.ends[before])..end))
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

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
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

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{BinaryArray, RecordBatch};
    use parquet::arrow::ArrowWriter;
    use parquet::arrow::arrow_reader::ArrowReaderOptions;
    use std::fs::File;

    #[test]
    fn of_many_files_the_last_ones_are_held() {
        let folder = tempfile::tempdir().unwrap();
        let column = |number: usize| {
            let path = folder.path().join(format!("{number}.parquet"));
            let bytes: ArrayRef = Arc::new(BinaryArray::from_iter_values([[number as u8], [0]]));
            let batch = RecordBatch::try_from_iter([("image", bytes)]).unwrap();
            let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), batch.schema(), None).unwrap();
            writer.write(&batch).unwrap();
            writer.close().unwrap();
            let file = File::open(&path).unwrap();
            let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).unwrap();
            BytesColumn::new(&path, "image", metadata, vec![0])
        };
        let columns: Vec<BytesColumn> = (0..20).map(column).collect();
        for _ in 0..2 {
            for (number, column) in columns.iter().enumerate() {
                assert_eq!(column.read(0, folder.path()).unwrap(), [number as u8]);
            }
            let held = columns.iter().filter(|column| !lock(&column.cursor).windows.is_empty());
            // Fewer where other tests read at the same time.
            assert!(held.count() <= COLUMNS);
        }
    }

    #[test]
    fn a_row_is_found_among_row_groups_of_any_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        let schema =
            RecordBatch::try_from_iter([("image", Arc::new(BinaryArray::from_iter_values([b"x"])) as ArrayRef)]);
        let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), schema.unwrap().schema(), None).unwrap();
        let sizes = [3, 1, 5, 2];
        let mut rows = 0..11_u8;
        for size in sizes {
            let bytes: ArrayRef = Arc::new(BinaryArray::from_iter_values(rows.by_ref().take(size).map(|row| [row])));
            writer.write(&RecordBatch::try_from_iter([("image", bytes)]).unwrap()).unwrap();
            writer.flush().unwrap();
        }
        writer.close().unwrap();
        let metadata = ArrowReaderMetadata::load(&File::open(&path).unwrap(), ArrowReaderOptions::new()).unwrap();
        let column = BytesColumn::new(&path, "image", metadata, vec![0]);
        assert_eq!(column.ends, [3, 4, 9, 11]);
        let of = |row: usize| column.group(row).unwrap();
        assert_eq!([of(0), of(2), of(3), of(4)], [(0, 0..3), (0, 0..3), (1, 3..4), (2, 4..9)]);
        assert_eq!([of(8), of(9), of(10)], [(2, 4..9), (3, 9..11), (3, 9..11)]);
        assert!(column.group(11).is_none());
        for row in (0..11).rev() {
            assert_eq!(column.read(row, folder.path()).unwrap(), [row as u8]);
        }
    }
}
