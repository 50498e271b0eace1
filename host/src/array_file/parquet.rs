//! The rows of a .parquet file: an id, and a list of a fixed size, which is null where there are no values.

use arrow_array::{ArrayRef, FixedSizeListArray, Float32Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::whole_file::PartFile;

/// Bytes of values that are encoded together, and of a row group, which is what a reader holds at once.
const BATCH: usize = 4 << 20;
const GROUP: usize = 64 << 20;

/// The open file. Rows are named by their ids, or without ids numbered from 0 in a column `row`.
pub(super) struct ParquetRows<'a> {
    path: PathBuf,
    writer: ArrowWriter<PartFile>,
    schema: Arc<Schema>,
    width: usize,
    ids: Option<Vec<&'a str>>,
    /// Rows that are with the writer.
    written: usize,
    /// The values of the next rows; zeros for those without any.
    values: Vec<f32>,
    present: Vec<bool>,
}

impl<'a> ParquetRows<'a> {
    pub(super) fn begin(file: PartFile, column: &str, width: usize, ids: Option<Vec<&'a str>>) -> io::Result<Self> {
        let size = i32::try_from(width).map_err(|_| io::Error::other("rows are too wide for Parquet"))?;
        let name = match ids {
            Some(_) => Field::new("id", DataType::Utf8, false),
            None => Field::new("row", DataType::Int64, false),
        };
        let list = DataType::FixedSizeList(item(), size);
        let schema = Arc::new(Schema::new(vec![name, Field::new(column, list, true)]));
        // Floats neither repeat nor shrink, and their extremes help nobody.
        let properties = WriterProperties::builder()
            .set_created_by(concat!("fusemix ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_compression(Compression::UNCOMPRESSED)
            .set_dictionary_enabled(false)
            .set_statistics_enabled(EnabledStatistics::None)
            .set_max_row_group_bytes(Some(GROUP))
            .build();
        let path = file.path().to_owned();
        let writer = ArrowWriter::try_new(file, schema.clone(), Some(properties)).map_err(cause)?;
        Ok(Self { path, writer, schema, width, ids, written: 0, values: Vec::new(), present: Vec::new() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn row(&mut self, values: Option<&[f32]>) -> io::Result<()> {
        self.present.push(values.is_some());
        match values {
            Some(values) => self.values.extend_from_slice(values),
            None => self.values.resize(self.values.len() + self.width, 0.0),
        }
        if size_of_val(&self.values[..]) >= BATCH { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        let rows = self.written..self.written + self.present.len();
        let names: ArrayRef = match &self.ids {
            Some(ids) => Arc::new(StringArray::from_iter_values(&ids[rows.clone()])),
            None => Arc::new(Int64Array::from_iter_values(rows.clone().map(|row| row as i64))),
        };
        let values = Arc::new(Float32Array::from(std::mem::take(&mut self.values)));
        let present = std::mem::take(&mut self.present).into();
        let lists = FixedSizeListArray::new(item(), self.width as i32, values, Some(present));
        let batch = RecordBatch::try_new(self.schema.clone(), vec![names, Arc::new(lists)]);
        self.writer.write(&batch.map_err(|error| io::Error::other(error.to_string()))?).map_err(cause)?;
        self.written = rows.end;
        Ok(())
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        if !self.present.is_empty() {
            self.flush()?;
        }
        self.writer.into_inner().map_err(cause)?.finish()
    }
}

/// The values of a list; those of Arrow's other readers and writers go by this name.
fn item() -> Arc<Field> {
    Arc::new(Field::new("item", DataType::Float32, false))
}

/// The system's error, if it is one.
fn cause(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(error) => match error.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(error) => io::Error::other(error.to_string()),
        },
        error => io::Error::other(error.to_string()),
    }
}
