//! A matrix of f32 written row by row: a tensor of a .safetensors file, a .npy file, or a column of a .parquet file.
//!
//! Rows are in file order. A row without values is all NaN, so that nobody mistakes it for an embedding, and null in a
//! .parquet file; a .safetensors file lists such rows, counted from 0, in its metadata as `failed_indices`. Ids are a
//! column of a .parquet file, and a table beside the others.

mod parquet;

use bytemuck::cast_slice;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use self::parquet::NamedRows;
use crate::tensor_file;
use crate::whole_file::{PartFile, beside};

/// An error of an output file.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum ArrayFileError {
    #[error("{}: an output file must end in .safetensors, .npy or .parquet", path.display())]
    Format { path: PathBuf },
    #[error("{}: the id of row {row} has a tab or a line end; write a .parquet file instead", path.display())]
    Id { path: PathBuf, row: usize },
    #[error("cannot write {}: {cause}; check the folder and the free space on its disk", path.display())]
    Write { path: PathBuf, cause: io::Error },
}

#[derive(Clone, Copy, PartialEq)]
enum Format {
    Safetensors,
    Npy,
    Parquet,
}

/// An output file, opened before the work that fills it. It appears under its name once it is complete.
pub struct ArrayFile<'a> {
    file: PartFile,
    format: Format,
    ids: Option<Vec<&'a str>>,
    /// The table of ids beside the file, in formats without a column for them.
    table: Option<PartFile>,
}

/// The matrix that goes into an [`ArrayFile`].
pub struct Matrix {
    /// Its name, in formats with names: the plural of what a row is.
    pub name: &'static str,
    /// Values a row.
    pub width: usize,
    /// True for each row of the file that has values.
    pub present: Vec<bool>,
}

/// An [`ArrayFile`] that takes rows.
pub struct Rows<'a> {
    file: Rest<'a>,
    width: usize,
    /// True for each row of the file that has values; rows before `next` are written.
    present: Vec<bool>,
    next: usize,
}

/// The rest of a file, behind its header.
enum Rest<'a> {
    /// Values end to end, with a table of ids beside it.
    Values(PartFile, Option<PartFile>),
    Parquet(Box<NamedRows<'a>>),
}

fn write_error(path: &Path) -> impl Fn(io::Error) -> ArrayFileError {
    let path = path.to_owned();
    move |cause| ArrayFileError::Write { path: path.clone(), cause }
}

/// The table of ids beside `path`.
fn beside_ids(path: &Path) -> PathBuf {
    beside(path, ".ids.tsv")
}

impl<'a> ArrayFile<'a> {
    /// Opens `path` for writing; its ending tells the format. The id of each row may be given.
    pub fn create(path: &Path, ids: Option<Vec<&'a str>>) -> Result<Self, ArrayFileError> {
        let format = match path.extension().and_then(|ending| ending.to_str()).map(str::to_lowercase).as_deref() {
            Some("safetensors") => Format::Safetensors,
            Some("npy") => Format::Npy,
            Some("parquet") => Format::Parquet,
            _ => return Err(ArrayFileError::Format { path: path.to_owned() }),
        };
        let file = PartFile::create(path).map_err(write_error(path))?;
        let table = match &ids {
            Some(ids) if format != Format::Parquet => {
                let path = beside_ids(path);
                if let Some(row) = ids.iter().position(|id| id.contains(['\t', '\n', '\r'])) {
                    return Err(ArrayFileError::Id { path, row: row + 1 });
                }
                Some(ids_table(&path, ids).map_err(write_error(&path))?)
            }
            _ => None,
        };
        Ok(Self { file, format, ids, table })
    }

    /// Begins the file.
    pub fn begin(self, matrix: Matrix) -> Result<Rows<'a>, ArrayFileError> {
        let Self { mut file, format, ids, table } = self;
        let Matrix { name, width, present } = matrix;
        let path = file.path().to_owned();
        let header = match format {
            Format::Npy => npy_header(present.len(), width),
            Format::Safetensors => safetensors_header(name, width, &present),
            Format::Parquet => {
                let name = name.strip_suffix('s').unwrap_or(name);
                let rows = NamedRows::begin(file, name, width, ids).map_err(write_error(&path))?;
                return Ok(Rows { file: Rest::Parquet(Box::new(rows)), width, present, next: 0 });
            }
        };
        file.write(&header).map_err(write_error(&path))?;
        Ok(Rows { file: Rest::Values(file, table), width, present, next: 0 })
    }
}

/// A table with a column `id`, not yet in its place.
fn ids_table(path: &Path, ids: &[&str]) -> io::Result<PartFile> {
    let mut file = PartFile::create(path)?;
    file.write(b"id\n")?;
    for id in ids {
        file.write(id.as_bytes())?;
        file.write(b"\n")?;
    }
    Ok(file)
}

impl Rest<'_> {
    fn path(&self) -> &Path {
        match self {
            Self::Values(file, _) => file.path(),
            Self::Parquet(rows) => rows.path(),
        }
    }

    /// Writes a row; one without values has a width alone.
    fn row(&mut self, values: Option<&[f32]>, width: usize) -> Result<(), ArrayFileError> {
        let written = match self {
            Self::Values(file, _) => match values {
                Some(values) => file.write(cast_slice(values)),
                None => file.write(cast_slice(&vec![f32::NAN; width])),
            },
            Self::Parquet(rows) => rows.row(values),
        };
        written.map_err(|cause| write_error(self.path())(cause))
    }
}

impl Rows<'_> {
    /// Writes the next row that has values.
    pub fn row(&mut self, values: &[f32]) -> Result<(), ArrayFileError> {
        assert_eq!(values.len(), self.width, "a row of another width");
        self.skip_absent()?;
        assert!(self.next < self.present.len(), "more rows than were announced");
        self.next += 1;
        self.file.row(Some(values), self.width)
    }

    fn skip_absent(&mut self) -> Result<(), ArrayFileError> {
        while self.present.get(self.next) == Some(&false) {
            self.file.row(None, self.width)?;
            self.next += 1;
        }
        Ok(())
    }

    /// Makes the complete, synced file appear. All rows with values must have been written.
    pub fn finish(mut self) -> Result<(), ArrayFileError> {
        self.skip_absent()?;
        assert_eq!(self.next, self.present.len(), "rows are missing");
        let path = self.file.path().to_owned();
        let finish = || match self.file {
            Rest::Values(file, Some(ids)) => ids.finish().and_then(|()| file.finish()),
            Rest::Values(file, None) => {
                // Ids of an earlier file are not those of these rows.
                match std::fs::remove_file(beside_ids(file.path())) {
                    Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(cause),
                    _ => file.finish(),
                }
            }
            Rest::Parquet(rows) => rows.finish(),
        };
        finish().map_err(write_error(&path))
    }
}

impl Write for PartFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        PartFile::write(self, bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Version 1.0: magic, length of the text, the text padded to a multiple of 64 bytes.
pub(crate) fn npy_header(rows: usize, width: usize) -> Vec<u8> {
    let mut text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {width}), }}");
    let padded = (10 + text.len() + 1).next_multiple_of(64);
    text.extend(std::iter::repeat_n(' ', padded - 10 - text.len() - 1));
    text.push('\n');
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    header.extend((text.len() as u16).to_le_bytes());
    header.extend(text.as_bytes());
    header
}

fn safetensors_header(tensor: &str, width: usize, present: &[bool]) -> Vec<u8> {
    let failed = present.iter().enumerate().filter(|(_, present)| !**present).map(|(row, _)| row.to_string());
    let failed = failed.collect::<Vec<_>>().join(",");
    let rows = present.len();
    let json = serde_json::json!({
        "__metadata__": {"format": "pt", "failed_indices": failed},
        tensor: {"dtype": "F32", "shape": [rows, width], "data_offsets": [0, rows * width * size_of::<f32>()]},
    });
    tensor_file::header(&json)
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::SafeTensors;
    use std::fs;

    fn matrix() -> Matrix {
        Matrix { name: "latents", width: 2, present: vec![true, false, true] }
    }

    fn write(name: &str) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        let mut rows = ArrayFile::create(&path, Some(vec!["a", "b", "ü c"])).unwrap().begin(matrix()).unwrap();
        rows.row(&[1.0, 2.0]).unwrap();
        rows.row(&[5.0, 6.0]).unwrap();
        assert!(!path.exists());
        rows.finish().unwrap();
        let ids = folder.path().join(format!("{name}.ids.tsv"));
        assert_eq!(fs::read_to_string(ids).ok(), (!name.ends_with("parquet")).then(|| "id\na\nb\nü c\n".to_owned()));
        let files = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(files, if name.ends_with("parquet") { 1 } else { 2 });
        fs::read(&path).unwrap()
    }

    #[test]
    fn safetensors_reads_back_and_lists_failed_rows() {
        let bytes = write("out.safetensors");
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        assert_eq!(header.metadata().as_ref().unwrap()["failed_indices"], "1");
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let tensor = file.tensor("latents").unwrap();
        assert_eq!(tensor.shape(), [3, 2]);
        let values: Vec<f32> = tensor.data().chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        assert_eq!((values[0], values[1], values[4], values[5]), (1.0, 2.0, 5.0, 6.0));
        assert!(values[2].is_nan() && values[3].is_nan());
    }

    #[test]
    fn npy_has_the_header_that_numpy_reads() {
        let bytes = write("out.npy");
        assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
        let length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        assert_eq!((10 + length) % 64, 0);
        let text = std::str::from_utf8(&bytes[10..10 + length]).unwrap();
        assert_eq!(text.trim_end(), "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }");
        assert_eq!(bytes.len(), 10 + length + 24);
    }

    #[test]
    fn a_column_of_parquet_has_a_null_for_a_failed_row() {
        use ::parquet::arrow::arrow_reader::ParquetRecordBatchReader;
        use arrow_array::cast::AsArray;
        use arrow_array::types::Float32Type;
        use arrow_array::{Array, RecordBatchReader};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("read.parquet");
        fs::write(&path, write("out.parquet")).unwrap();
        let reader = ParquetRecordBatchReader::try_new(fs::File::open(path).unwrap(), 1024).unwrap();
        let names: Vec<String> = reader.schema().fields().iter().map(|field| field.name().clone()).collect();
        assert_eq!(names, ["id", "latent"]);
        let batches: Vec<_> = reader.map(Result::unwrap).collect();
        let [batch] = &batches[..] else { panic!("{} batches", batches.len()) };
        let ids: Vec<_> = batch.column(0).as_string::<i32>().iter().flatten().collect();
        assert_eq!(ids, ["a", "b", "ü c"]);
        let list = batch.column(1).as_fixed_size_list();
        assert_eq!((0..3).map(|row| list.is_null(row)).collect::<Vec<_>>(), [false, true, false]);
        assert_eq!(list.value(2).as_primitive::<Float32Type>().values(), &[5.0, 6.0]);
    }

    #[test]
    fn ids_of_an_earlier_file_go_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.npy");
        for (ids, files) in [(Some(vec!["a"]), 2), (None, 1)] {
            let matrix = Matrix { name: "latents", width: 1, present: vec![true] };
            let mut rows = ArrayFile::create(&path, ids).unwrap().begin(matrix).unwrap();
            rows.row(&[1.0]).unwrap();
            rows.finish().unwrap();
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), files);
        }
        let line = ArrayFile::create(&path, Some(vec!["a", "b\n"])).err().unwrap().to_string();
        assert!(line.contains("the id of row 2 has a tab or a line end"), "{line}");
    }

    #[test]
    fn what_is_not_finished_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        drop(ArrayFile::create(&folder.path().join("out.NPY"), Some(vec!["a"])).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(matches!(ArrayFile::create(Path::new("out.txt"), None), Err(ArrayFileError::Format { .. })));
    }
}
