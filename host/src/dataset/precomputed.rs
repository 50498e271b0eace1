//! Precomputed latents: the tensors of a .safetensors file, where row i pairs with row i.

use half::{bf16, f16};
use memmap2::Mmap;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use std::borrow::Cow;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::DataError;
use crate::latents::{Latents, advise};
use crate::regular;
use crate::wording::suggest;

/// A .safetensors file in memory.
pub struct Precomputed {
    path: PathBuf,
    map: Arc<Mmap>,
}

impl Precomputed {
    /// Maps `path`.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let read = |cause| DataError::Read { path: path.to_owned(), cause };
        let file = regular::open(path, u64::MAX).map_err(read)?;
        // SAFETY: the file is only read; one that is cut while this program runs ends it with a bus error.
        let map = unsafe { Mmap::map(&file) }.map_err(read)?;
        let file = Self { path: path.to_owned(), map: Arc::new(map) };
        file.tensors()?;
        Ok(file)
    }

    /// The file's path.
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

    /// The tensor called `name`: f32, f16 or bf16 `[rows, width]`, all finite.
    pub fn column(&self, name: &str) -> Result<PrecomputedLatents, DataError> {
        let tensors = self.tensors()?;
        let wrong = |reason: String| DataError::Tensors { path: self.path.clone(), reason };
        let tensor = self.tensor(&tensors, name)?;
        let dtype = tensor.dtype();
        let (Dtype::F32 | Dtype::F16 | Dtype::BF16, &[rows, width @ (1..)]) = (dtype, tensor.shape()) else {
            let shape = tensor.shape();
            return Err(wrong(format!(
                "tensor `{name}` is {dtype:?} {shape:?}; it must be F32, F16 or BF16 [rows, width]"
            )));
        };
        let start = tensor.data().as_ptr() as usize - self.map.as_ptr() as usize;
        let bytes = start..start + tensor.data().len();
        let latents = PrecomputedLatents { map: self.map.clone(), bytes, dtype, rows, width };
        let mut values = vec![0.0; width];
        for row in 0..rows {
            latents.copy_row(row, &mut values);
            if let Some(column) = values.iter().position(|value| !value.is_finite()) {
                return Err(wrong(format!(
                    "tensor `{name}` has a non-finite value in row {}, column {}",
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
    dtype: Dtype,
    rows: usize,
    width: usize,
}

impl PrecomputedLatents {
    /// The values of row `index`, whatever they are stored as: the same ones are the same item.
    pub fn row_content(&self, index: usize) -> Cow<'_, [u8]> {
        match self.dtype {
            Dtype::F16 | Dtype::BF16 => {
                let mut values = vec![0.0_f32; self.width()];
                self.copy_row(index, &mut values);
                Cow::Owned(values.iter().flat_map(|value| value.to_le_bytes()).collect())
            }
            _ => Cow::Borrowed(self.row_bytes(index)),
        }
    }

    /// The bytes of row `index`.
    fn row_bytes(&self, index: usize) -> &[u8] {
        &self.map[self.row(index)]
    }

    /// The range of row `index` in the file.
    fn row(&self, index: usize) -> Range<usize> {
        let row = self.bytes.len() / self.rows;
        let start = self.bytes.start + index * row;
        start..start + row
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
        // The format aligns tensors to no more than the header's length, so a row is read byte by byte.
        let bytes = self.row_bytes(index);
        let halves = || bytes.as_chunks::<2>().0.iter();
        match self.dtype {
            Dtype::F16 => {
                out.iter_mut().zip(halves()).for_each(|(out, &half)| *out = f16::from_le_bytes(half).to_f32())
            }
            Dtype::BF16 => {
                out.iter_mut().zip(halves()).for_each(|(out, &half)| *out = bf16::from_le_bytes(half).to_f32())
            }
            _ => {
                out.iter_mut().zip(bytes.as_chunks::<4>().0).for_each(|(out, &value)| *out = f32::from_le_bytes(value))
            }
        }
    }

    fn read_ahead(&self, index: usize) {
        advise(&self.map, self.row(index));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_read_as_what_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("latents.safetensors");
        let values = [[1.0, -0.5, 3.25], [0.125, 2.0, -7.5]];
        let all = || values.as_flattened().iter();
        let tensors = [
            ("f32", Dtype::F32, all().flat_map(|value: &f32| value.to_le_bytes()).collect::<Vec<u8>>()),
            ("f16", Dtype::F16, all().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect()),
            ("bf16", Dtype::BF16, all().flat_map(|value| bf16::from_f32(*value).to_le_bytes()).collect()),
            ("f64", Dtype::F64, all().flat_map(|value| f64::from(*value).to_le_bytes()).collect()),
            ("bad", Dtype::F16, [0, 0, 0, 0x7c, 0, 0].to_vec()),
        ];
        let views = tensors.iter().map(|(name, dtype, bytes)| {
            let rows = if *name == "bad" { 1 } else { 2 };
            (*name, TensorView::new(*dtype, vec![rows, 3], bytes).unwrap())
        });
        std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
        let file = Precomputed::open(&path).unwrap();
        for name in ["f32", "f16", "bf16"] {
            let latents = file.column(name).unwrap();
            let mut row = [0.0; 3];
            for (index, expected) in values.iter().enumerate() {
                latents.copy_row(index, &mut row);
                latents.read_ahead(index);
                assert_eq!(row, *expected, "{name}");
            }
        }
        let error = |name| file.column(name).map(drop).unwrap_err().to_string();
        assert!(error("f64").contains("`f64` is F64 [2, 3]; it must be F32, F16 or BF16"), "{}", error("f64"));
        assert!(error("bad").contains("row 1, column 2"), "{}", error("bad"));
    }
}
