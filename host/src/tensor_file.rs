//! A .safetensors file of f32 tensors, written one after the other, so that it is never in memory as a whole.

use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use crate::whole_file::PartFile;

/// Bytes of a seal: the BLAKE3 of all that is before it.
const SEAL: usize = 32;

/// A file that takes its tensors in the announced order, and appears under its name once it is complete.
pub(crate) struct TensorFile {
    file: PartFile,
    hasher: blake3::Hasher,
    sealed: bool,
}

impl TensorFile {
    /// Announces all tensors, by name and shape. A `sealed` file ends in a tensor `seal`, which [`is_whole`] verifies.
    pub(crate) fn create(
        path: &Path,
        tensors: &[(String, Vec<usize>)],
        metadata: &BTreeMap<String, String>,
        sealed: bool,
    ) -> io::Result<Self> {
        let mut header = Map::from_iter([("__metadata__".to_owned(), json!(metadata))]);
        let mut end = 0;
        let mut announce = |name: &str, dtype: &str, shape: &[usize], bytes: usize| {
            let offsets = [end, end + bytes];
            end += bytes;
            let entry: Value = json!({"dtype": dtype, "shape": shape, "data_offsets": offsets});
            header.insert(name.to_owned(), entry);
        };
        for (name, shape) in tensors {
            announce(name, "F32", shape, shape.iter().product::<usize>() * size_of::<f32>());
        }
        if sealed {
            announce("seal", "U8", &[SEAL], SEAL);
        }
        let mut file = Self { file: PartFile::create(path)?, hasher: blake3::Hasher::new(), sealed };
        file.write(&self::header(&Value::Object(header)))?;
        Ok(file)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.sealed {
            self.hasher.update_rayon(bytes);
        }
        self.file.write(bytes)
    }

    /// Writes the next tensor.
    pub(crate) fn tensor(&mut self, values: &[f32]) -> io::Result<()> {
        self.write(bytemuck::cast_slice(values))
    }

    /// Makes the complete, synced file appear.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        if self.sealed {
            let seal = self.hasher.finalize();
            self.file.write(seal.as_bytes())?;
        }
        self.file.finish()
    }
}

/// The beginning of a .safetensors file: the length of the JSON, then the JSON, padded so that the values start at a
/// multiple of 8 bytes.
pub(crate) fn header(json: &Value) -> Vec<u8> {
    let mut json = json.to_string().into_bytes();
    json.resize(json.len().next_multiple_of(8), b' ');
    let mut header = (json.len() as u64).to_le_bytes().to_vec();
    header.extend(json);
    header
}

/// True if the bytes of a sealed file are intact.
pub(crate) fn is_whole(bytes: &[u8]) -> bool {
    let Some((content, seal)) = bytes.split_last_chunk::<SEAL>() else { return false };
    blake3::Hasher::new().update_rayon(content).finalize() == blake3::Hash::from_bytes(*seal)
}
