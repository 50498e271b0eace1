//! `adapters.safetensors`: a fitted space.
//!
//! The tensors of tower T are `T.blocks.I.norm.weight`, `.norm.bias`, `.up.weight` (inner x width), `.up.bias`,
//! `.down.weight` (width x inner), `.down.bias` for I from 0; then `T.norm.weight`, `.bias`, `T.head.weight` (shared x
//! width), `.bias` (no biases of Linears if the recipe says `bias = false`), all f32, named and shaped as in PyTorch's
//! `LayerNorm` and `Linear`. A linear tower has only `T.head`, an identity tower no tensors. There is also
//! `log_temperature`. The metadata has `format = fusemix-adapters`, `version = 1`, and `towers`, a JSON list of `{name,
//! width, adapter, inner, blocks, shared, bias}`. In PyTorch:
//!
//! ```python
//! from safetensors.torch import load_file
//! from torch.nn import functional as F
//!
//! def embed(x, path, tower):                      # x: n x width latents
//!     w = {k.removeprefix(tower + "."): v for k, v in load_file(path).items() if k.startswith(tower + ".")}
//!     norm = lambda x, n: F.layer_norm(x, x.shape[-1:], w[n + ".weight"], w[n + ".bias"])
//!     linear = lambda x, n: F.linear(x, w[n + ".weight"], w.get(n + ".bias"))
//!     for i in range(sum(k.endswith("up.weight") for k in w)):
//!         b = f"blocks.{i}."
//!         x = x + linear(F.gelu(linear(norm(x, b + "norm"), b + "up")), b + "down")
//!     if "norm.weight" in w:                      # an MLP
//!         x = norm(x, "norm")
//!     if w:                                       # an identity tower has none
//!         x = linear(x, "head")
//!     return F.normalize(x, dim=1)
//! ```

use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{AdapterKind, Space, TowerSpec};
use crate::device::{Device, DeviceError};
use crate::nn::{Shape, Source, Version};
use crate::regular;
use crate::tensor_file::TensorFile;

const FORMAT: &str = "fusemix-adapters";
const VERSION: &str = "1";
/// The largest file of adapters.
const LARGEST: u64 = 64 << 30;

/// An error of a file of adapters.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum SpaceError {
    #[error("cannot read {}: {cause}", path.display())]
    Read { path: PathBuf, cause: io::Error },
    #[error("cannot write {}: {cause}; check the folder and the free space on its disk", path.display())]
    Write { path: PathBuf, cause: io::Error },
    #[error("{} holds no adapters that this version can read: {reason}", path.display())]
    Format { path: PathBuf, reason: String },
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// A tower in the metadata.
#[derive(Serialize, Deserialize)]
struct StoredTower {
    name: String,
    width: usize,
    adapter: AdapterKind,
    inner: usize,
    blocks: usize,
    shared: usize,
    #[serde(default = "yes")]
    bias: bool,
}

fn yes() -> bool {
    true
}

/// Values from a file, and the first error in its tensors.
struct Stored<'a> {
    tensors: SafeTensors<'a>,
    tower: String,
    wrong: Option<String>,
}

impl Source for Stored<'_> {
    fn begin(&mut self, tower: &str) {
        self.tower = tower.to_owned();
    }

    fn uniform(&mut self, name: &str, shape: &[usize], _: usize) -> Vec<f32> {
        let name = if self.tower.is_empty() { name.to_owned() } else { format!("{}.{name}", self.tower) };
        match self.tensors.tensor(&name) {
            Ok(tensor) if tensor.dtype() == Dtype::F32 && tensor.shape() == shape => {
                let values: Vec<f32> = bytemuck::pod_collect_to_vec(tensor.data());
                if let Some(at) = values.iter().position(|value| !value.is_finite()) {
                    let reason = || format!("tensor `{name}` holds {} at position {at}; train again", values[at]);
                    self.wrong.get_or_insert_with(reason);
                }
                values
            }
            other => {
                let found = other.map_or("is missing".into(), |t| format!("is {:?} {:?}", t.dtype(), t.shape()));
                self.wrong.get_or_insert(format!("tensor `{name}` {found}; it must be F32 {shape:?}"));
                vec![0.0; shape.iter().product()]
            }
        }
    }

    fn constant(&mut self, name: &str, shape: &[usize], _: f32) -> Vec<f32> {
        self.uniform(name, shape, 0)
    }
}

impl Space {
    /// Writes the resulting adapters to `path`; the file appears once it is complete and synced.
    pub fn save(&self, path: &Path) -> Result<(), SpaceError> {
        let shared = self.width;
        let entry = |tower: &super::tower::Tower| {
            let TowerSpec { name, width, adapter, .. } = tower.spec.clone();
            let Shape { inner, blocks, bias, .. } = tower.adapter.shape();
            StoredTower { name, width, adapter, inner, blocks, shared, bias }
        };
        let towers: Vec<StoredTower> = self.towers.iter().map(entry).collect();
        let metadata = BTreeMap::from([
            ("format".to_owned(), FORMAT.to_owned()),
            ("version".to_owned(), VERSION.to_owned()),
            ("towers".to_owned(), serde_json::to_string(&towers).expect("a list of names and numbers is JSON")),
        ]);
        let parameters = self.parameters();
        let tensors: Vec<_> =
            parameters.iter().map(|(name, parameter)| (name.clone(), parameter.shape.clone())).collect();
        let write = |cause| SpaceError::Write { path: path.to_owned(), cause };
        let mut file = TensorFile::create(path, &tensors, &metadata, false).map_err(write)?;
        for (_, parameter) in parameters {
            file.tensor(&self.device.read(parameter.values(Version::Kept))?).map_err(write)?;
        }
        file.finish().map_err(write)
    }

    /// Reads adapters onto a device.
    pub fn load(device: Arc<dyn Device>, path: &Path) -> Result<Self, SpaceError> {
        let bytes = regular::read(path, LARGEST).map_err(|cause| SpaceError::Read { path: path.to_owned(), cause })?;
        let wrong = |reason: String| SpaceError::Format { path: path.to_owned(), reason };
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|error| wrong(error.to_string()))?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let value = |key: &str| metadata.get(key).map_or("", String::as_str);
        if (value("format"), value("version")) != (FORMAT, VERSION) {
            let (format, version) = (value("format"), value("version"));
            return Err(wrong(format!("its format is `{format}` {version}, not `{FORMAT}` {VERSION}")));
        }
        let entries: Vec<StoredTower> =
            serde_json::from_str(value("towers")).map_err(|error| wrong(format!("`towers`: {error}")))?;
        let width = entries.first().map_or(0, |entry| entry.shared);
        let tower = |entry: StoredTower| {
            let StoredTower { name, width, adapter, inner, blocks, shared, bias } = entry;
            (
                Shape { kind: adapter, width, inner, blocks, shared, bias },
                TowerSpec { name, width, adapter, blocks: Some(blocks) },
            )
        };
        let towers = entries.into_iter().map(tower).collect();
        let tensors = SafeTensors::deserialize(&bytes).map_err(|error| wrong(error.to_string()))?;
        let mut stored = Stored { tensors, tower: String::new(), wrong: None };
        let fusion = Self::new(device, towers, width, 1.0, &mut stored);
        match stored.wrong {
            Some(reason) => Err(wrong(reason)),
            None => Ok(fusion),
        }
    }
}
