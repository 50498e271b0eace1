//! Rows of a .parquet file with a vector each: columns beside a list of a fixed size, which is null where there is none.

use arrow_array::{ArrayRef, FixedSizeListArray, Float32Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::whole_file::PartFile;

/// Bytes of a row group, which is what a reader holds at once.
const GROUP: usize = 64 << 20;

/// The open file.
pub(crate) struct ParquetRows {
    path: PathBuf,
    writer: ArrowWriter<PartFile>,
    schema: Arc<Schema>,
    /// Values a vector; none in a file without vectors.
    width: Option<i32>,
}

impl ParquetRows {
    /// Begins a file with these columns, and then one of vectors with a name and a width, if any.
    pub(crate) fn begin(file: PartFile, columns: Vec<Field>, vector: Option<(&str, usize)>) -> io::Result<Self> {
        // Floats neither repeat nor shrink, and their extremes help nobody.
        let mut properties = WriterProperties::builder()
            .set_created_by(concat!("fusemix ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_compression(Compression::UNCOMPRESSED)
            .set_dictionary_enabled(false)
            .set_statistics_enabled(EnabledStatistics::None)
            .set_max_row_group_bytes(Some(GROUP));
        for column in &columns {
            let path = || ColumnPath::new(vec![column.name().clone()]);
            properties = properties
                .set_column_compression(path(), Compression::ZSTD(ZstdLevel::default()))
                .set_column_dictionary_enabled(path(), true)
                .set_column_statistics_enabled(path(), EnabledStatistics::Chunk);
        }
        let width = vector.map(|(_, width)| i32::try_from(width));
        let width = width.transpose().map_err(|_| io::Error::other("rows are too wide for Parquet"))?;
        let mut fields = columns;
        if let (Some((name, _)), Some(width)) = (vector, width) {
            fields.push(Field::new(name, DataType::FixedSizeList(item(), width), true));
        }
        let schema = Arc::new(Schema::new(fields));
        let path = file.path().to_owned();
        let writer = ArrowWriter::try_new(file, schema.clone(), Some(properties.build())).map_err(cause)?;
        Ok(Self { path, writer, schema, width })
    }

    /// The path under which the file will appear.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes rows: an array for each column, and the values of their vectors, row by row; `present` is false for each
    /// row whose values are none.
    pub(crate) fn write(
        &mut self,
        mut columns: Vec<ArrayRef>,
        values: Vec<f32>,
        present: Option<Vec<bool>>,
    ) -> io::Result<()> {
        if let Some(width) = self.width {
            let values = Arc::new(Float32Array::from(values));
            columns.push(Arc::new(FixedSizeListArray::new(item(), width, values, present.map(Into::into))));
        }
        let batch = RecordBatch::try_new(self.schema.clone(), columns);
        self.writer.write(&batch.map_err(|error| io::Error::other(error.to_string()))?).map_err(cause)
    }

    /// Makes the complete, synced file appear.
    pub(crate) fn finish(self) -> io::Result<()> {
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
