//! Latents that somebody else computed: the tensors of a .safetensors file, row i pairing with row i.

use memmap2::Mmap;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::DataError;
use crate::latents::{Latents, advise};
use crate::toml_file::suggest;

/// A .safetensors file in memory.
pub struct Precomputed {
    path: PathBuf,
    map: Arc<Mmap>,
}

impl Precomputed {
    /// Maps `path`.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let read = |cause| DataError::Read { path: path.to_owned(), cause };
        let file = File::open(path).map_err(read)?;
        // SAFETY: the file is only read; one that is cut while this program runs ends it with a bus error.
        let map = unsafe { Mmap::map(&file) }.map_err(read)?;
        let file = Self { path: path.to_owned(), map: Arc::new(map) };
        file.tensors()?;
        Ok(file)
    }

    /// Where it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn tensors(&self) -> Result<SafeTensors<'_>, DataError> {
        SafeTensors::deserialize(&self.map)
            .map_err(|error| DataError::Tensors { path: self.path.clone(), reason: error.to_string() })
    }

    /// The rows of the tensor called `name`.
    pub fn rows(&self, name: &str) -> Result<usize, DataError> {
        let tensors = self.tensors()?;
        Ok(self.tensor(&tensors, name)?.shape().first().copied().unwrap_or(0))
    }

    fn tensor<'a>(&self, tensors: &SafeTensors<'a>, name: &str) -> Result<TensorView<'a>, DataError> {
        tensors.tensor(name).map_err(|_| DataError::Column {
            path: self.path.clone(),
            name: name.to_owned(),
            suggestion: suggest(name, tensors.names()),
        })
    }

    /// The tensor called `name`: f32 `[rows, width]`, all finite.
    pub fn column(&self, name: &str) -> Result<PrecomputedLatents, DataError> {
        let tensors = self.tensors()?;
        let wrong = |reason: String| DataError::Tensors { path: self.path.clone(), reason };
        let tensor = self.tensor(&tensors, name)?;
        let (Dtype::F32, &[rows, width @ (1..)]) = (tensor.dtype(), tensor.shape()) else {
            let (dtype, shape) = (tensor.dtype(), tensor.shape());
            return Err(wrong(format!("tensor `{name}` is {dtype:?} {shape:?}; it must be F32 [rows, width]")));
        };
        let start = tensor.data().as_ptr() as usize - self.map.as_ptr() as usize;
        let latents =
            PrecomputedLatents { map: self.map.clone(), bytes: start..start + tensor.data().len(), rows, width };
        for row in 0..rows {
            if let Some(column) = latents.values(row).position(|value| !value.is_finite()) {
                return Err(wrong(format!(
                    "tensor `{name}` has a value that is not finite in row {}, column {}",
                    row + 1,
                    column + 1
                )));
            }
        }
        Ok(latents)
    }
}

/// One tensor of a [`Precomputed`] file.
pub struct PrecomputedLatents {
    map: Arc<Mmap>,
    bytes: Range<usize>,
    rows: usize,
    width: usize,
}

impl PrecomputedLatents {
    /// The bytes of row `index`.
    pub fn row_bytes(&self, index: usize) -> &[u8] {
        let row = self.width * size_of::<f32>();
        &self.map[self.bytes.clone()][index * row..(index + 1) * row]
    }

    fn values(&self, index: usize) -> impl Iterator<Item = f32> {
        // The format aligns tensors to no more than the header's length, so a row is read byte by byte.
        self.row_bytes(index).chunks_exact(4).map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }
}

impl Latents for PrecomputedLatents {
    fn len(&self) -> usize {
        self.rows
    }

    fn width(&self) -> usize {
        self.width
    }

    fn copy_row(&self, index: usize, out: &mut [f32]) {
        out.iter_mut().zip(self.values(index)).for_each(|(out, value)| *out = value);
    }

    fn read_ahead(&self, index: usize) {
        let row = self.width * size_of::<f32>();
        let start = self.bytes.start + index * row;
        advise(&self.map, start..start + row);
    }
}
