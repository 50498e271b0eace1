//! Precomputed latents: the tensors of a .safetensors file, where row i pairs with row i, or the matrix of a .npy file.

use memmap2::Mmap;
use npyz::{DType, Endianness, NpyHeader, Order, TypeChar};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::error::DataError;
use super::fields::ending;
use super::matrix::{Missing, PrecomputedLatents, Stored};
use crate::latents::Latents;
use crate::regular;
use crate::wording::suggest;

/// True if the ending of `path` is that of a file of latents and nothing else.
pub fn holds_latents(path: &Path) -> bool {
    ending(path).is_some_and(|ending| ["safetensors", "npy"].contains(&ending.as_str()))
}

/// True if the ending of `path` is that of a file that may have latents in its rows.
pub fn may_hold_latents(path: &Path) -> bool {
    holds_latents(path) || ending(path).as_deref() == Some("parquet")
}

/// A file of latents in memory.
pub struct Precomputed {
    path: PathBuf,
    format: Format,
    /// The rows that are no latents, of each tensor that has been looked at.
    missing: Mutex<HashMap<String, Missing>>,
}

enum Format {
    Safetensors(Arc<Mmap>),
    /// A single matrix, which goes by any name, and the byte that it begins at.
    Npy(Arc<Mmap>, NpyHeader, usize),
}

impl Precomputed {
    /// Maps `path`, a .safetensors or .npy file.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let read = |cause| DataError::Read { path: path.to_owned(), cause };
        let wrong = |reason| DataError::Tensors { path: path.to_owned(), reason };
        let file = regular::open(path, u64::MAX).map_err(read)?;
        // SAFETY: the file is only read; one that is cut while this program runs ends it with a bus error.
        let map = |file| unsafe { Mmap::map(file) }.map(Arc::new).map_err(read);
        let format = match ending(path).as_deref() {
            Some("npy") => {
                let map = map(&file)?;
                let mut rest = &map[..];
                let header = NpyHeader::from_reader(&mut rest)
                    .map_err(|error| wrong(format!("not a .npy file ({error}); write it with numpy.save")))?;
                let start = map.len() - rest.len();
                Format::Npy(map, header, start)
            }
            _ => {
                let map = map(&file)?;
                SafeTensors::deserialize(&map).map_err(|error| wrong(error.to_string()))?;
                Format::Safetensors(map)
            }
        };
        Ok(Self { path: path.to_owned(), format, missing: Mutex::default() })
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn wrong(&self, reason: String) -> DataError {
        DataError::Tensors { path: self.path.clone(), reason }
    }

    fn tensors<'a>(&self, map: &'a [u8]) -> Result<SafeTensors<'a>, DataError> {
        SafeTensors::deserialize(map).map_err(|error| self.wrong(error.to_string()))
    }

    /// The rows of the tensor called `name`.
    pub fn rows(&self, name: &str) -> Result<usize, DataError> {
        match &self.format {
            Format::Npy(_, header, _) => Ok(header.shape().first().map_or(0, |&rows| rows as usize)),
            Format::Safetensors(map) => {
                Ok(self.tensor(&self.tensors(map)?, name)?.shape().first().copied().unwrap_or(0))
            }
        }
    }

    /// The width of the tensor called `name`, by the header alone.
    pub fn width(&self, name: &str) -> Result<usize, DataError> {
        Ok(self.matrix(name)?.width())
    }

    /// The tensors as they are stored: the name, the kind of its numbers, and its shape.
    pub(crate) fn tensors_stored(&self) -> Result<Vec<(String, String, Vec<usize>)>, DataError> {
        Ok(match &self.format {
            Format::Npy(_, header, _) => {
                let shape = header.shape().iter().map(|&size| size as usize).collect();
                vec![(String::new(), header.dtype().descr().trim_matches('\'').to_owned(), shape)]
            }
            Format::Safetensors(map) => {
                let tensors = self.tensors(map)?;
                let of = |(name, view): (String, TensorView<'_>)| {
                    (name, format!("{:?}", view.dtype()), view.shape().to_vec())
                };
                let mut all: Vec<_> = tensors.tensors().into_iter().map(of).collect();
                all.sort();
                all
            }
        })
    }

    /// The name of a tensor: the one that is given, or that of the only one.
    pub fn only(&self, named: Option<&str>) -> Result<String, DataError> {
        let names: Vec<String> = match &self.format {
            Format::Npy(..) => return Ok(named.unwrap_or_default().to_owned()),
            Format::Safetensors(map) => self.tensors(map)?.names().into_iter().map(str::to_owned).collect(),
        };
        match (named, &names[..]) {
            (Some(name), _) => Ok(name.to_owned()),
            (None, [name]) => Ok(name.clone()),
            (None, []) => Err(self.wrong("it has no tensor, and so no latents".to_owned())),
            (None, names) => {
                Err(self.wrong(format!("which of its tensors holds the latents? Name it: tensor = {names:?}")))
            }
        }
    }

    fn tensor<'a>(&self, tensors: &SafeTensors<'a>, name: &str) -> Result<TensorView<'a>, DataError> {
        tensors.tensor(name).map_err(|_| DataError::Column {
            path: self.path.clone(),
            name: name.to_owned(),
            suggestion: suggest(name, tensors.names()),
        })
    }

    /// The tensor called `name`, f64, f32, f16 or bf16 `[rows, width]`, with the rows that are no latents.
    pub fn column(&self, name: &str) -> Result<(PrecomputedLatents, Missing), DataError> {
        let latents = self.matrix(name)?;
        let seen = || self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(missing) = seen().get(name) {
            return Ok((latents, missing.clone()));
        }
        let missing = latents.missing();
        missing.warn(&self.path, name);
        seen().insert(name.to_owned(), missing.clone());
        Ok((latents, missing))
    }

    /// The tensor called `name`, of which nothing is read but what the header says.
    pub(crate) fn matrix(&self, name: &str) -> Result<PrecomputedLatents, DataError> {
        match &self.format {
            Format::Npy(map, header, start) => self.npy(map, header, *start),
            Format::Safetensors(map) => self.safetensors(map, name),
        }
    }

    fn safetensors(&self, map: &Arc<Mmap>, name: &str) -> Result<PrecomputedLatents, DataError> {
        let tensors = self.tensors(map)?;
        let tensor = self.tensor(&tensors, name)?;
        let (dtype, shape) = (tensor.dtype(), tensor.shape());
        let stored = match dtype {
            Dtype::F16 => Some(Stored::F16),
            Dtype::BF16 => Some(Stored::Bf16),
            Dtype::F32 => Some(Stored::F32),
            Dtype::F64 => Some(Stored::F64),
            _ => None,
        };
        let (Some(stored), &[rows, width @ (1..)]) = (stored, shape) else {
            let must = "it must be F64, F32, F16 or BF16 [rows, width]";
            return Err(self.wrong(format!("tensor `{name}` is {dtype:?} {shape:?}; {must}")));
        };
        let start = tensor.data().as_ptr() as usize - map.as_ptr() as usize;
        let bytes = start..start + tensor.data().len();
        Ok(PrecomputedLatents { map: map.clone(), bytes, stored, is_big_endian: false, rows, width })
    }

    fn npy(&self, map: &Arc<Mmap>, header: &NpyHeader, start: usize) -> Result<PrecomputedLatents, DataError> {
        let dtype = header.dtype();
        let plain = if let DType::Plain(plain) = &dtype { Some(plain) } else { None };
        let stored = plain.and_then(|plain| match (plain.type_char(), plain.size_field()) {
            (TypeChar::Float, 2) => Some(Stored::F16),
            (TypeChar::Float, 4) => Some(Stored::F32),
            (TypeChar::Float, 8) => Some(Stored::F64),
            _ => None,
        });
        let (Some(stored), &[rows, width @ (1..)]) = (stored, header.shape()) else {
            let (descr, shape) = (dtype.descr(), header.shape());
            return Err(self.wrong(format!("an array of {descr} {shape:?}; it must be floats [rows, width]")));
        };
        if header.order() == Order::Fortran && rows > 1 && width > 1 {
            let advice = "save numpy.ascontiguousarray(array)";
            return Err(self.wrong(format!("the array lies column by column (Fortran order); {advice}")));
        }
        let [rows, width] = [rows, width].map(|size| size as usize);
        let size = rows.checked_mul(width).and_then(|values| values.checked_mul(stored.bytes()));
        let Some(end) = size.and_then(|size| start.checked_add(size)).filter(|&end| end <= map.len()) else {
            let bytes = map.len() - start;
            return Err(self.wrong(format!("cut: it has {bytes} bytes of an array [{rows}, {width}]; write it again")));
        };
        let is_big_endian = plain.is_some_and(|plain| plain.endianness() == Endianness::Big);
        Ok(PrecomputedLatents { map: map.clone(), bytes: start..end, stored, is_big_endian, rows, width })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::{bf16, f16};

    const VALUES: [[f32; 3]; 2] = [[1.0, -0.5, 3.25], [0.125, 2.0, -7.5]];

    fn all() -> impl Iterator<Item = &'static f32> {
        VALUES.as_flattened().iter()
    }

    fn check(file: &Precomputed, name: &str) {
        let (latents, missing) = file.column(name).unwrap();
        let mut row = [0.0; 3];
        for (index, expected) in VALUES.iter().enumerate() {
            latents.copy_row(index, &mut row);
            latents.read_ahead(index);
            assert_eq!(row, *expected, "{name}");
            let content: Vec<u8> = expected.iter().flat_map(|value| value.to_le_bytes()).collect();
            assert_eq!(&*latents.row_content(index), content, "{name}");
        }
        assert_eq!(missing, Missing::default());
    }

    #[test]
    fn numbers_of_any_kind_read_as_what_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("latents.safetensors");
        let tensors = [
            ("f32", Dtype::F32, all().flat_map(|value: &f32| value.to_le_bytes()).collect::<Vec<u8>>()),
            ("f16", Dtype::F16, all().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect()),
            ("bf16", Dtype::BF16, all().flat_map(|value| bf16::from_f32(*value).to_le_bytes()).collect()),
            ("f64", Dtype::F64, all().flat_map(|value| f64::from(*value).to_le_bytes()).collect()),
            ("i32", Dtype::I32, vec![0; 24]),
        ];
        let views =
            tensors.iter().map(|(name, dtype, bytes)| (*name, TensorView::new(*dtype, vec![2, 3], bytes).unwrap()));
        std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
        let file = Precomputed::open(&path).unwrap();
        ["f32", "f16", "bf16", "f64"].into_iter().for_each(|name| check(&file, name));
        let error = file.column("i32").map(drop).unwrap_err().to_string();
        assert!(error.contains("`i32` is I32 [2, 3]; it must be F64, F32, F16 or BF16"), "{error}");
    }

    fn npy(descr: &str, order: &str, shape: &str, bytes: Vec<u8>) -> Result<Precomputed, DataError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("latents.NPY");
        let mut text = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}");
        text.extend(std::iter::repeat_n(' ', 117 - text.len()));
        let header = [&b"\x93NUMPY\x01\x00\x76\x00"[..], text.as_bytes(), b"\n"].concat();
        std::fs::write(&path, [header, bytes].concat()).unwrap();
        Precomputed::open(&path)
    }

    #[test]
    fn a_npy_file_is_a_matrix_of_any_name() {
        let little = |bytes: fn(f32) -> Vec<u8>| all().flat_map(|&value| bytes(value)).collect::<Vec<u8>>();
        for (descr, bytes) in [
            ("<f4", little(|value| value.to_le_bytes().into())),
            (">f4", little(|value| value.to_be_bytes().into())),
            ("<f8", little(|value| f64::from(value).to_le_bytes().into())),
            (">f8", little(|value| f64::from(value).to_be_bytes().into())),
            ("<f2", little(|value| f16::from_f32(value).to_le_bytes().into())),
        ] {
            let file = npy(descr, "False", "(2, 3)", bytes).unwrap();
            assert_eq!(file.rows("anything").unwrap(), 2);
            check(&file, "anything");
        }
        let error = |file: Result<Precomputed, DataError>| {
            file.and_then(|file| file.column("a").map(drop)).unwrap_err().to_string()
        };
        let zeros = || vec![0; 24];
        let integers = error(npy("<i4", "False", "(2, 3)", zeros()));
        assert!(integers.contains("an array of '<i4' [2, 3]; it must be floats"), "{integers}");
        assert!(error(npy("<f4", "False", "(6,)", zeros())).contains("must be floats [rows, width]"));
        assert!(error(npy("<f4", "True", "(2, 3)", zeros())).contains("ascontiguousarray"));
        assert!(error(npy("<f4", "False", "(2, 4)", zeros())).contains("cut: it has 24 bytes"));
        assert!(error(npy("<f4", "nonsense", "(2, 3)", zeros())).contains("not a .npy file"));
    }

    #[test]
    fn rows_that_are_no_latents_are_found() {
        let nan = f32::NAN;
        let rows = [[1.0, 2.0, 3.0], [nan, nan, nan], [4.0, 5.0, f32::INFINITY], [6.0, 7.0, 8.0], [9.0, nan, 1.0]];
        let bytes = rows.as_flattened().iter().flat_map(|value| value.to_le_bytes()).collect();
        let (_, missing) = npy("<f4", "False", "(5, 3)", bytes).unwrap().column("a").unwrap();
        assert_eq!(missing, Missing { empty: vec![1], broken: vec![(2, 2), (4, 1)], far: Vec::new() });
        let doubts = missing.doubts();
        assert!(doubts[0].contains("1 row of NaN alone, the first at index 1"), "{doubts:?}");
        assert!(doubts[1].contains("2 rows left out") && doubts[1].contains("index [2, 2]"), "{doubts:?}");
        // Too large for f32.
        let bytes = [1e300_f64, 0.0, 0.0].iter().flat_map(|value| value.to_le_bytes()).collect();
        let (_, missing) = npy("<f8", "False", "(1, 3)", bytes).unwrap().column("a").unwrap();
        assert_eq!(missing.broken, [(0, 0)]);
        // Far from all others, which may be far from 1 themselves, and some of which may be 0.
        for size in [1e-20, 1.0, 1e20] {
            let values = [size, 3.0 * size, 0.0, 1e9 * size, -2e8 * size, 1e4 * size, 2.0 * size, size, size];
            let bytes = values.iter().flat_map(|value: &f64| value.to_le_bytes()).collect();
            let (_, missing) = npy("<f8", "False", "(9, 1)", bytes).unwrap().column("a").unwrap();
            assert_eq!(missing, Missing { far: vec![3, 4], ..Missing::default() }, "{size}");
            assert!(missing.doubts()[0].contains("2 rows left out with values a million times"));
        }
    }
}
