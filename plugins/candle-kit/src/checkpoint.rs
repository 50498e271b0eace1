//! State dicts as `torch.save` writes them: the zip file of PyTorch 1.6 and later, and the stream of pickles before it.

use candle_core::pickle::{self, Object, Stack, TensorInfo};
use candle_core::{DType, Device, Layout, Result, Tensor, bail};
use candle_nn::VarBuilder;
use fusemix_sdk::Error;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt::Display;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::reason;

/// The magic number of the stream, pickled.
const MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

/// The tensors of a model's files as a model reads them, on `device`: safetensors, or state dicts.
pub fn load(paths: &[PathBuf], dtype: DType, device: &Device) -> std::result::Result<VarBuilder<'static>, Error> {
    if let Some(path) = paths.iter().find(|path| path.extension().is_some_and(|ending| ending == "json")) {
        let message = "is JSON, not weights; set `model` to the model's folder or to its weights file";
        return Err(Error::config(format!("{} {message}", path.display())).key("model"));
    }
    if paths.iter().all(|path| path.extension().is_some_and(|ending| ending == "safetensors")) {
        // SAFETY: nobody writes to a model's files while they are loaded, and the map ends with the builder: tensors
        // are copies.
        let mapped = unsafe { VarBuilder::from_mmaped_safetensors(paths, dtype, device) };
        return mapped.map_err(|error| match error {
            candle_core::Error::WithPath { inner, path } => unreadable(&path, reason(&inner)),
            other => unreadable(&paths[0], reason(&other)),
        });
    }
    let mut tensors = HashMap::new();
    for path in paths {
        tensors.extend(read(path).map_err(|error| unreadable(path, reason(&error)))?);
    }
    Ok(VarBuilder::from_tensors(tensors, dtype, device))
}

/// The tensors of the model itself, among those of a larger one or one with a head: under the first of `prefixes` under
/// which there is `tensor`, if any.
pub fn within<'a>(vb: VarBuilder<'a>, prefixes: &[&str], tensor: &str) -> VarBuilder<'a> {
    match prefixes.iter().find(|prefix| vb.contains_tensor(&format!("{prefix}.{tensor}"))) {
        Some(prefix) => vb.pp(prefix),
        None => vb,
    }
}

/// The error for an unreadable model file at `path`, with advice; `reason` is the reader's.
pub fn unreadable(path: &Path, reason: impl Display) -> Error {
    const POINTER: &[u8] = b"version https://git-lfs";
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(POINTER.len() as u64).read_to_end(&mut start));
    let path = path.display();
    Error::config(match read {
        Ok(0) => format!("{path} is empty; download it again"),
        Ok(_) if start == POINTER => {
            format!("{path} is a Git LFS pointer, not the file itself; run `git lfs pull` in its folder")
        }
        _ => format!("{path}: {reason}; if it is truncated or damaged, download it again"),
    })
}

/// The tensors of a state dict, by name, possibly nested in an entry among others, as trainers save it.
pub fn read(path: &Path) -> Result<HashMap<String, Tensor>> {
    let mut file = BufReader::new(File::open(path)?);
    if file.fill_buf()?.starts_with(MAGIC) {
        return stream(file);
    }
    let tensors = match pickle::read_all(path)? {
        none if none.is_empty() => pickle::read_all_with_key(path, Some("state_dict"))?,
        tensors => tensors,
    };
    Ok(tensors.into_iter().collect())
}

/// A pickle each for magic number, version, system, state dict and the keys of the storages; then each storage, in
/// the order of the keys: the number of its elements as i64, and the elements.
fn stream(mut file: impl BufRead) -> Result<HashMap<String, Tensor>> {
    file.consume(MAGIC.len());
    let (_version, _system) = (unpickle(&mut file)?, unpickle(&mut file)?);
    let Object::Dict(entries) = unpickle(&mut file)? else { bail!("not a state dict") };
    let Object::List(keys) = unpickle(&mut file)? else { bail!("no list of storages") };

    let mut stored: HashMap<String, Vec<TensorInfo>> = HashMap::new();
    for (name, value) in entries {
        if let Some(info) = value.into_tensor_info(name, Path::new(""))? {
            stored.entry(info.path.trim_start_matches('/').to_owned()).or_default().push(info);
        }
    }
    let mut tensors = HashMap::new();
    for key in keys {
        let infos = stored.remove(&key.unicode()?).unwrap_or_default();
        let Some(first) = infos.first() else { bail!("a storage without a tensor") };
        let mut elements = [0; 8];
        file.read_exact(&mut elements)?;
        let size = i64::from_le_bytes(elements) as u64 * first.dtype.size_in_bytes() as u64;
        let mut storage = Vec::new();
        file.by_ref().take(size).read_to_end(&mut storage)?;
        for info in infos {
            tensors.insert(info.name.clone(), tensor(&info, &storage)?);
        }
    }
    Ok(tensors)
}

fn unpickle(file: &mut impl BufRead) -> Result<Object> {
    let mut stack = Stack::empty();
    stack.read_loop(file)?;
    stack.finalize()
}

/// `storage` as the layout sees it: its dimensions may lie in any order, but without gaps.
fn tensor(info: &TensorInfo, storage: &[u8]) -> Result<Tensor> {
    let TensorInfo { name, layout, dtype, .. } = info;
    let (dims, stride) = (layout.dims(), layout.stride());
    let mut order: Vec<usize> = (0..dims.len()).collect();
    order.sort_by_key(|&dim| Reverse(stride[dim]));
    let shape: Vec<usize> = order.iter().map(|&dim| dims[dim]).collect();
    let stride: Vec<usize> = order.iter().map(|&dim| stride[dim]).collect();
    if !Layout::new(shape.clone().into(), stride, 0).is_contiguous() {
        bail!("{name} is a view with gaps");
    }
    // The layout's offset is in bytes.
    let start = layout.start_offset();
    let Some(values) = storage.get(start..start + layout.shape().elem_count() * dtype.size_in_bytes()) else {
        bail!("the file ends within {name}");
    };
    let place = |dim: usize| order.iter().position(|&other| other == dim).unwrap_or(dim);
    let back: Vec<usize> = (0..dims.len()).map(place).collect();
    Tensor::from_raw_buffer(values, *dtype, &shape, &Device::Cpu)?.permute(back)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_whole_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let whole = folder.path().join("whole.safetensors");
        candle_core::safetensors::save(
            &HashMap::from([("a", Tensor::new(&[1f32; 64], &Device::Cpu).unwrap())]),
            &whole,
        )
        .unwrap();
        let bytes = std::fs::read(&whole).unwrap();
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 90868376\n";
        let zip = [b"PK\x03\x04", &bytes[..]].concat();
        for (content, ending, says) in [
            (&b""[..], "safetensors", "is empty; download it again"),
            (b"", "bin", "is empty; download it again"),
            (pointer, "safetensors", "is a Git LFS pointer"),
            (pointer, "bin", "run `git lfs pull`"),
            (b"{\"model_type\": \"bert\"}", "json", "is JSON, not weights"),
            (&bytes[..5], "safetensors", "truncated or damaged, download it again"),
            (&bytes[..bytes.len() - 1], "safetensors", "truncated or damaged, download it again"),
            (&zip, "bin", "truncated or damaged, download it again"),
        ] {
            let path = folder.path().join(format!("model.{ending}"));
            std::fs::write(&path, content).unwrap();
            // The first shard is whole.
            let paths = if ending != "safetensors" { vec![path.clone()] } else { vec![whole.clone(), path.clone()] };
            let message = load(&paths, DType::F32, &Device::Cpu).err().expect("it loads").message;
            assert!(message.contains(says) && message.starts_with(path.to_str().unwrap()), "{message}");
        }
    }

    #[test]
    fn a_file_that_was_cut_is_refused() -> Result<()> {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../target/assets/efficientnet-lite0/efficientnet-lite0-57934424.pth"
        );
        let path = Path::new(path);
        let whole = std::fs::read(path).unwrap_or_else(|_| panic!("no {}; run ./check", path.display()));
        let tensors = stream(&whole[..])?;
        assert_eq!(tensors["_conv_stem.weight"].dims(), [32, 3, 3, 3]);
        for end in [MAGIC.len(), 30, 1000, whole.len() / 2, whole.len() - 1] {
            assert!(stream(&whole[..end]).is_err(), "cut at {end}");
        }
        Ok(())
    }
}
