//! A matrix of f32 written row by row: a tensor of a .safetensors file, or a .npy file.
//!
//! Rows are in file order. A row without values is all NaN, so that nobody mistakes it for an embedding; a .safetensors
//! file lists such rows, counted from 0, in its metadata as `failed_indices`.

use bytemuck::cast_slice;
use std::io;
use std::path::{Path, PathBuf};

use crate::tensor_file;
use crate::whole_file::PartFile;

/// An error of an output file.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum ArrayFileError {
    #[error("{}: an output file must end in .safetensors or .npy", path.display())]
    Format { path: PathBuf },
    #[error("cannot write {}: {cause}; check the folder and the free space on its disk", path.display())]
    Write { path: PathBuf, cause: io::Error },
}

#[derive(Clone, Copy)]
enum Format {
    Safetensors,
    Npy,
}

/// An output file, opened before the work that fills it. It appears under its name once it is complete.
pub struct ArrayFile {
    file: PartFile,
    format: Format,
}

/// An [`ArrayFile`] that takes rows.
pub struct Rows {
    file: ArrayFile,
    width: usize,
    /// True for each row of the file that has values; rows before `next` are written.
    present: Vec<bool>,
    next: usize,
}

impl ArrayFile {
    /// Opens `path` for writing; its ending tells the format.
    pub fn create(path: &Path) -> Result<Self, ArrayFileError> {
        let format = match path.extension().and_then(|ending| ending.to_str()).map(str::to_lowercase).as_deref() {
            Some("safetensors") => Format::Safetensors,
            Some("npy") => Format::Npy,
            _ => return Err(ArrayFileError::Format { path: path.to_owned() }),
        };
        let file = PartFile::create(path).map_err(|cause| ArrayFileError::Write { path: path.to_owned(), cause })?;
        Ok(Self { file, format })
    }

    /// Begins a matrix of `width` columns with a row for each entry of `present`, which is true if the row has values.
    /// `tensor` names the matrix in formats with names.
    pub fn begin(mut self, tensor: &str, width: usize, present: Vec<bool>) -> Result<Rows, ArrayFileError> {
        let header = match self.format {
            Format::Npy => npy_header(present.len(), width),
            Format::Safetensors => safetensors_header(tensor, width, &present),
        };
        self.write(&header)?;
        Ok(Rows { file: self, width, present, next: 0 })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), ArrayFileError> {
        self.file.write(bytes).map_err(|cause| ArrayFileError::Write { path: self.file.path().to_owned(), cause })
    }
}

impl Rows {
    /// Writes the next row that has values.
    pub fn row(&mut self, values: &[f32]) -> Result<(), ArrayFileError> {
        assert_eq!(values.len(), self.width, "a row of another width");
        self.skip_absent()?;
        assert!(self.next < self.present.len(), "more rows than were announced");
        self.next += 1;
        self.file.write(cast_slice(values))
    }

    fn skip_absent(&mut self) -> Result<(), ArrayFileError> {
        while self.present.get(self.next) == Some(&false) {
            self.file.write(cast_slice(&vec![f32::NAN; self.width]))?;
            self.next += 1;
        }
        Ok(())
    }

    /// Makes the complete, synced file appear. All rows with values must have been written.
    pub fn finish(mut self) -> Result<(), ArrayFileError> {
        self.skip_absent()?;
        assert_eq!(self.next, self.present.len(), "rows are missing");
        let file = self.file.file;
        let path = file.path().to_owned();
        file.finish().map_err(|cause| ArrayFileError::Write { path, cause })
    }
}

/// Version 1.0: magic, length of the text, the text padded to a multiple of 64 bytes.
fn npy_header(rows: usize, width: usize) -> Vec<u8> {
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

    fn write(name: &str) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        let mut rows = ArrayFile::create(&path).unwrap().begin("latents", 2, vec![true, false, true]).unwrap();
        rows.row(&[1.0, 2.0]).unwrap();
        rows.row(&[5.0, 6.0]).unwrap();
        assert!(!path.exists());
        rows.finish().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
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
    fn what_is_not_finished_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        drop(ArrayFile::create(&folder.path().join("out.NPY")).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(matches!(ArrayFile::create(Path::new("out.txt")), Err(ArrayFileError::Format { .. })));
    }
}
