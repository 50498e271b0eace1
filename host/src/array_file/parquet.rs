//! The rows of a .parquet file: an id, and a list of a fixed size, which is null where there are no values.

use arrow_array::{ArrayRef, Int64Array, StringArray};
use arrow_schema::{DataType, Field};
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::parquet_rows::ParquetRows;
use crate::whole_file::PartFile;

/// Bytes of values that are encoded together.
const BATCH: usize = 4 << 20;

/// The open file. Rows are named by their ids, or without ids numbered from 0 in a column `row`.
pub(super) struct NamedRows<'a> {
    rows: ParquetRows,
    width: usize,
    ids: Option<Vec<&'a str>>,
    /// Rows that are with the writer.
    written: usize,
    /// The values of the next rows; zeros for those without any.
    values: Vec<f32>,
    present: Vec<bool>,
}

impl<'a> NamedRows<'a> {
    pub(super) fn begin(file: PartFile, column: &str, width: usize, ids: Option<Vec<&'a str>>) -> io::Result<Self> {
        let name = match ids {
            Some(_) => Field::new("id", DataType::Utf8, false),
            None => Field::new("row", DataType::Int64, false),
        };
        let rows = ParquetRows::begin(file, vec![name], Some((column, width)))?;
        Ok(Self { rows, width, ids, written: 0, values: Vec::new(), present: Vec::new() })
    }

    pub(super) fn path(&self) -> &Path {
        self.rows.path()
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
        let (values, present) = (std::mem::take(&mut self.values), std::mem::take(&mut self.present));
        self.rows.write(vec![names], values, Some(present))?;
        self.written = rows.end;
        Ok(())
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        if !self.present.is_empty() {
            self.flush()?;
        }
        self.rows.finish()
    }
}
