//! Latents in a .parquet file: a column whose cells are lists of floats, all of one length, or null.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float16Type, Float32Type, Float64Type, Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, Field};
use memmap2::{Mmap, MmapMut};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs::File;
use std::sync::Arc;

use crate::quiet_panic;

/// Rows that are decoded together.
const BATCH: usize = 4096;

/// A .parquet file with vectors.
pub(super) struct Vectors {
    file: File,
    names: Vec<String>,
    rows: usize,
}

/// The values of a column, `[rows, width]` in f32, in memory of the system's that goes with the last reader.
pub(super) struct Values {
    pub(super) map: Arc<Mmap>,
    pub(super) width: usize,
}

fn reason(error: impl std::fmt::Display) -> String {
    format!("not a Parquet file that can be read ({error}); write it again")
}

/// What `read` makes of a file; one that is damaged may be more than its reader bears.
fn whole<T>(read: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    quiet_panic::catch(read).unwrap_or_else(|| Err(reason("a part of it is damaged")))
}

impl Vectors {
    /// Reads the schema of `file`.
    pub(super) fn open(file: File) -> Result<Self, String> {
        whole(|| Self::of(file))
    }

    fn of(file: File) -> Result<Self, String> {
        let builder = ParquetRecordBatchReaderBuilder::try_new(handle(&file)?).map_err(reason)?;
        let names = builder.schema().fields().iter().filter(|field| holds_vectors(field));
        let names = names.map(|field| field.name().clone()).collect();
        let rows = builder.metadata().file_metadata().num_rows().max(0) as usize;
        Ok(Self { file, names, rows })
    }

    /// The columns with lists of floats.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// Rows.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// The cells of a column of texts or whole numbers; none if there is no such column.
    pub(super) fn ids(&self, name: &str) -> Result<Option<Vec<Vec<u8>>>, String> {
        whole(|| self.cells(name))
    }

    fn cells(&self, name: &str) -> Result<Option<Vec<Vec<u8>>>, String> {
        let builder = ParquetRecordBatchReaderBuilder::try_new(handle(&self.file)?).map_err(reason)?;
        let Ok(index) = builder.schema().index_of(name) else { return Ok(None) };
        let mask = ProjectionMask::roots(builder.parquet_schema(), [index]);
        let reader = builder.with_projection(mask).with_batch_size(BATCH).build().map_err(reason)?;
        let mut ids = Vec::with_capacity(self.rows);
        for batch in reader {
            let column = batch.map_err(reason)?.column(0).clone();
            match column.data_type() {
                DataType::Utf8 => ids.extend(column.as_string::<i32>().iter().map(text)),
                DataType::LargeUtf8 => ids.extend(column.as_string::<i64>().iter().map(text)),
                DataType::Utf8View => ids.extend(column.as_string_view().iter().map(text)),
                DataType::Int64 => ids.extend(column.as_primitive::<Int64Type>().iter().map(number)),
                DataType::Int32 => ids.extend(column.as_primitive::<Int32Type>().iter().map(number)),
                other => {
                    return Err(format!("column `{name}` has {other} for ids; it must have texts or whole numbers"));
                }
            }
        }
        if ids.len() != self.rows {
            return Err(reason(format!("its footer tells of {} rows, and there are {}", self.rows, ids.len())));
        }
        Ok(Some(ids))
    }

    /// The values of a column; those of a null are NaN.
    pub(super) fn values(&self, name: &str) -> Result<Values, String> {
        whole(|| self.decoded(name))
    }

    fn decoded(&self, name: &str) -> Result<Values, String> {
        let builder = ParquetRecordBatchReaderBuilder::try_new(handle(&self.file)?).map_err(reason)?;
        let index = builder.schema().index_of(name).map_err(reason)?;
        let mask = ProjectionMask::roots(builder.parquet_schema(), [index]);
        let reader = builder.with_projection(mask).with_batch_size(BATCH).build().map_err(reason)?;
        let (mut width, mut row) = (0, 0);
        let mut map: Option<MmapMut> = None;
        for batch in reader {
            let batch = batch.map_err(reason)?;
            if row + batch.num_rows() > self.rows {
                return Err(reason("its footer tells of fewer rows than there are"));
            }
            for list in lists(batch.column(0)) {
                if let Some(values) = list {
                    if width == 0 {
                        width = values.len();
                        map = Some(self.memory(width, row)?);
                    }
                    if values.len() != width || width == 0 {
                        let lengths = format!("has {} values, and the first has {width}", values.len());
                        return Err(format!("column `{name}`: the list of row {} {lengths}", row + 1));
                    }
                    let map = map.as_deref_mut().unwrap_or_default();
                    let out: &mut [f32] = bytemuck::cast_slice_mut(&mut map[row * width * 4..][..width * 4]);
                    copy(&values, out);
                } else if let Some(map) = &mut map {
                    blank(&mut map[row * width * 4..][..width * 4]);
                }
                row += 1;
            }
        }
        if row < self.rows {
            return Err(reason(format!("its footer tells of {} rows, and there are {row}", self.rows)));
        }
        let map = map.ok_or_else(|| format!("column `{name}` has no list of floats that is not null"))?;
        Ok(Values { map: Arc::new(map.make_read_only().map_err(reason)?), width })
    }

    /// Memory for all rows of this width, of which the first `blank_rows` are null.
    fn memory(&self, width: usize, blank_rows: usize) -> Result<MmapMut, String> {
        let bytes = self.rows.checked_mul(width).and_then(|values| values.checked_mul(size_of::<f32>()));
        let bytes = bytes.ok_or("it has more values than fit into memory")?;
        let mut map = MmapMut::map_anon(bytes.max(1))
            .map_err(|error| format!("no memory for {bytes} bytes of vectors: {error}"))?;
        blank(&mut map[..blank_rows * width * size_of::<f32>()]);
        Ok(map)
    }
}

fn text(id: Option<&str>) -> Vec<u8> {
    id.unwrap_or_default().as_bytes().to_vec()
}

fn number<N: ToString>(id: Option<N>) -> Vec<u8> {
    id.map_or_else(Vec::new, |id| id.to_string().into_bytes())
}

fn handle(file: &File) -> Result<File, String> {
    file.try_clone().map_err(reason)
}

/// Makes values NaN.
fn blank(bytes: &mut [u8]) {
    bytemuck::cast_slice_mut::<u8, f32>(bytes).fill(f32::NAN);
}

fn holds_vectors(field: &Field) -> bool {
    let of = match field.data_type() {
        DataType::FixedSizeList(of, _) | DataType::List(of) | DataType::LargeList(of) => of.data_type(),
        _ => return false,
    };
    matches!(of, DataType::Float16 | DataType::Float32 | DataType::Float64)
}

/// The lists of a column of [`holds_vectors`].
fn lists(column: &ArrayRef) -> Box<dyn Iterator<Item = Option<ArrayRef>> + '_> {
    match column.data_type() {
        DataType::FixedSizeList(..) => Box::new(column.as_fixed_size_list().iter()),
        DataType::LargeList(_) => Box::new(column.as_list::<i64>().iter()),
        _ => Box::new(column.as_list::<i32>().iter()),
    }
}

/// Copies floats of any size; one that is null is NaN.
fn copy(values: &ArrayRef, out: &mut [f32]) {
    match values.data_type() {
        DataType::Float16 => {
            out.iter_mut()
                .zip(values.as_primitive::<Float16Type>().values())
                .for_each(|(out, value)| *out = value.to_f32());
        }
        DataType::Float64 => {
            out.iter_mut()
                .zip(values.as_primitive::<Float64Type>().values())
                .for_each(|(out, value)| *out = *value as f32);
        }
        _ => out.copy_from_slice(values.as_primitive::<Float32Type>().values()),
    }
    if values.null_count() > 0 {
        (0..out.len()).filter(|index| values.is_null(*index)).for_each(|index| out[index] = f32::NAN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::builder::{FixedSizeListBuilder, LargeListBuilder, ListBuilder, PrimitiveBuilder};
    use arrow_array::types::ArrowPrimitiveType;
    use arrow_array::{RecordBatch, StringArray};
    use half::f16;
    use parquet::arrow::ArrowWriter;

    /// Rows of two values: one that is null, and one with a value that is null.
    const ROWS: [Option<[Option<f32>; 2]>; 4] =
        [None, Some([Some(1.5), Some(-2.0)]), Some([Some(0.25), None]), Some([Some(8.0), Some(0.0)])];

    fn written(column: ArrayRef) -> Result<Vec<f32>, String> {
        let batch = RecordBatch::try_from_iter([("vector", column)]).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let values = Vectors::open(file).unwrap().values("vector")?;
        assert_eq!(values.width, 2);
        Ok(bytemuck::cast_slice(&values.map[..]).to_vec())
    }

    /// The rows as lists of any kind, of values of any size.
    fn all<T: ArrowPrimitiveType>(of: fn(f32) -> T::Native) -> Vec<ArrayRef> {
        let values = PrimitiveBuilder::<T>::new;
        let (mut fixed, mut list) = (FixedSizeListBuilder::new(values(), 2), ListBuilder::new(values()));
        let mut large = LargeListBuilder::new(values());
        for row in ROWS {
            for value in row.unwrap_or_default() {
                fixed.values().append_option(value.map(of));
                if row.is_some() {
                    list.values().append_option(value.map(of));
                    large.values().append_option(value.map(of));
                }
            }
            fixed.append(row.is_some());
            list.append(row.is_some());
            large.append(row.is_some());
        }
        vec![Arc::new(fixed.finish()), Arc::new(list.finish()), Arc::new(large.finish())]
    }

    #[test]
    fn lists_of_any_kind_and_floats_of_any_size_are_the_same_rows() {
        let expected = [f32::NAN, f32::NAN, 1.5, -2.0, 0.25, f32::NAN, 8.0, 0.0].map(f32::to_bits);
        let columns = [all::<Float16Type>(f16::from_f32), all::<Float32Type>(|value| value)];
        for column in columns.into_iter().flatten().chain(all::<Float64Type>(f64::from)) {
            let kind = column.data_type().to_string();
            let bits: Vec<u32> = written(column).unwrap().into_iter().map(f32::to_bits).collect();
            assert_eq!(bits, expected, "{kind}");
        }
    }

    #[test]
    fn lists_of_other_lengths_and_without_any_are_refused() {
        let mut uneven = ListBuilder::new(PrimitiveBuilder::<Float32Type>::new());
        uneven.append_value([Some(1.0), Some(2.0)]);
        uneven.append_value([Some(1.0)]);
        assert_eq!(
            written(Arc::new(uneven.finish())).unwrap_err(),
            "column `vector`: the list of row 2 has 1 values, and the first has 2"
        );
        let mut none = ListBuilder::new(PrimitiveBuilder::<Float32Type>::new());
        none.append(false);
        let error = written(Arc::new(none.finish())).unwrap_err();
        assert_eq!(error, "column `vector` has no list of floats that is not null");
        let texts = RecordBatch::try_from_iter([("id", Arc::new(StringArray::from(vec!["a"])) as ArrayRef)]).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        let mut writer = ArrowWriter::try_new(&mut file, texts.schema(), None).unwrap();
        writer.write(&texts).unwrap();
        writer.close().unwrap();
        let file = Vectors::open(file).unwrap();
        assert!(file.names().is_empty());
        assert_eq!(file.ids("id").unwrap(), Some(vec![b"a".to_vec()]));
    }

    #[test]
    fn damage_anywhere_is_an_error_and_no_panic() {
        let mut list = ListBuilder::new(PrimitiveBuilder::<Float32Type>::new());
        (0..500).for_each(|row| list.append_value([Some(row as f32), Some(1.0)]));
        let ids: ArrayRef = Arc::new(StringArray::from_iter_values((0..500).map(|row| format!("id {row}"))));
        let columns = [("vector", Arc::new(list.finish()) as ArrayRef), ("id", ids)];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        let bytes = writer.into_inner().unwrap();
        let mut failed = 0;
        for at in (0..bytes.len()).step_by(7) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0xff;
            let mut file = tempfile::tempfile().unwrap();
            std::io::Write::write_all(&mut file, &damaged).unwrap();
            // What is read of it, if anything, is of the right size.
            match Vectors::open(file) {
                Ok(file) => {
                    failed += usize::from(file.values("vector").is_err()) + usize::from(file.ids("id").is_err());
                }
                Err(_) => failed += 1,
            }
        }
        assert!(failed > 10, "{failed}");
    }
}
