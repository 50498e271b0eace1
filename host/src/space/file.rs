//! `adapters.safetensors`: a fitted space.
//!
//! The tensors of a trained tower T are `T.blocks.I.norm.weight`, `.norm.bias`, `.up.weight` (inner x width),
//! `.up.bias`, `.down.weight` (width x inner), `.down.bias` for I from 0; then `T.norm.weight`, `.bias`,
//! `T.head.weight` (shared x width), `.bias` (no biases of Linears if the recipe says `bias = false`), all f32, named
//! and shaped as in PyTorch's `LayerNorm` and `Linear`. A linear tower has only `T.head`, an identity tower no tensors.
//! There is also `log_temperature`.
//!
//! A tower in closed form has `T.mean`, `T.scale` (width), `T.head.weight` (shared x inputs), `.bias`, and, unless it
//! is linear, `T.anchors` (inputs x width) and `T.tau`. With a term against hubs, every tower has also `T.bank` (items
//! x shared), and the metadata `hubness`, a JSON of `{alpha, neighbours}`.
//!
//! The metadata has `format = fusemix-adapters`, `version` (1 for trained towers, 2 for the others), and `towers`, a
//! JSON list of `{name, width, adapter, inner, blocks, shared, bias}`. In PyTorch, without the term against hubs:
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
//!     if "mean" in w:                             # in closed form
//!         x = F.normalize((x - w["mean"]) * w["scale"])
//!     if "anchors" in w:                          # with a kernel
//!         x = ((x @ w["anchors"].T - 1) / w["tau"]).exp()
//!     if "head.weight" in w:                      # an identity tower has none
//!         x = linear(x, "head")
//!     return F.normalize(x, dim=1)
//! ```

use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{AdapterKind, Hubness, Inlet, Input, Kernel, Map, Network, Projection, Space, Tower, TowerSpec};
use crate::device::{Device, DeviceError};
use crate::nn::{Parameter, Shape, Source, Version};
use crate::regular;
use crate::tensor_file::TensorFile;

const FORMAT: &str = "fusemix-adapters";
/// Of trained towers, and of all others.
const VERSIONS: [&str; 2] = ["1", "2"];
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
    adapter: StoredKind,
    inner: usize,
    blocks: usize,
    shared: usize,
    #[serde(default = "yes")]
    bias: bool,
}

#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredKind {
    Projection,
    #[serde(untagged)]
    Trained(AdapterKind),
}

/// The term against hubs in the metadata.
#[derive(Serialize, Deserialize)]
struct StoredHubness {
    alpha: f32,
    neighbours: usize,
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

impl Stored<'_> {
    /// A tensor of a tower; `shape` has 0 where any size is right.
    fn tensor(&mut self, name: &str, shape: &[usize]) -> (Vec<f32>, Vec<usize>) {
        let full = format!("{}.{name}", self.tower);
        let found = self.tensors.tensor(&full).map(|tensor| tensor.shape().to_vec()).unwrap_or_default();
        let fits = found.len() == shape.len() && found.iter().zip(shape).all(|(is, must)| *must == 0 || is == must);
        let shape = if fits { found } else { shape.to_vec() };
        (self.uniform(name, &shape, 0), shape)
    }

    fn projection(&mut self, tower: &StoredTower) -> Projection {
        let &StoredTower { ref name, width, inner, shared, .. } = tower;
        self.begin(name);
        let input = Input { mean: self.tensor("mean", &[width]).0, scale: self.tensor("scale", &[width]).0 };
        let kernel = (inner > 0).then(|| {
            let anchors = self.tensor("anchors", &[inner, width]).0;
            let tau = self.tensor("tau", &[1]).0[0];
            if tau <= 0.0 {
                self.wrong.get_or_insert(format!("tensor `{name}.tau` must be above 0"));
            }
            Kernel { anchors, tau }
        });
        let inputs = if inner > 0 { inner } else { width };
        let (weight, bias) = (self.tensor("head.weight", &[shared, inputs]).0, self.tensor("head.bias", &[shared]).0);
        Projection { input, kernel, weight, bias }
    }
}

impl Space {
    /// Writes the space to `path`; the file appears once it is complete and synced.
    pub fn save(&self, path: &Path) -> Result<(), SpaceError> {
        let write = |cause| SpaceError::Write { path: path.to_owned(), cause };
        let towers: Vec<StoredTower> = match &self.map {
            Map::Network(network) => network.towers.iter().map(trained).collect(),
            Map::Projections(projections) => self.towers.iter().zip(projections).map(projected).collect(),
        };
        let closed = matches!(self.map, Map::Projections(_)) || self.hubness.is_some();
        let mut metadata = BTreeMap::from([
            ("format".to_owned(), FORMAT.to_owned()),
            ("version".to_owned(), VERSIONS[usize::from(closed)].to_owned()),
            ("towers".to_owned(), json(&towers)),
        ]);
        let mut tensors: Vec<(String, Vec<usize>, Values<'_>)> = Vec::new();
        match &self.map {
            Map::Network(network) => {
                for (name, parameter) in network.parameters() {
                    tensors.push((name, parameter.shape.clone(), Values::OnDevice(network, parameter)));
                }
            }
            Map::Projections(projections) => {
                for (tower, projection) in self.towers.iter().zip(projections) {
                    let Projection { input, kernel, weight, bias } = projection;
                    let mut add = |name: &str, shape: Vec<usize>, values| {
                        tensors.push((format!("{}.{name}", tower.name), shape, Values::Here(values)));
                    };
                    add("mean", vec![tower.width], &input.mean);
                    add("scale", vec![tower.width], &input.scale);
                    if let Some(Kernel { anchors, tau }) = kernel {
                        add("anchors", vec![anchors.len() / tower.width, tower.width], anchors);
                        add("tau", vec![1], std::slice::from_ref(tau));
                    }
                    add("head.weight", vec![bias.len(), weight.len() / bias.len()], weight);
                    add("head.bias", vec![bias.len()], bias);
                }
            }
        }
        if let Some(Hubness { alpha, neighbours, shared, banks }) = &self.hubness {
            metadata.insert("hubness".to_owned(), json(&StoredHubness { alpha: *alpha, neighbours: *neighbours }));
            for (tower, bank) in self.towers.iter().zip(banks) {
                tensors.push((format!("{}.bank", tower.name), vec![bank.len() / shared, *shared], Values::Here(bank)));
            }
        }
        let shapes: Vec<_> = tensors.iter().map(|(name, shape, _)| (name.clone(), shape.clone())).collect();
        let mut file = TensorFile::create(path, &shapes, &metadata, false).map_err(write)?;
        for (_, _, values) in tensors {
            match values {
                Values::Here(values) => file.tensor(values).map_err(write)?,
                Values::OnDevice(network, parameter) => {
                    file.tensor(&network.device.read(parameter.values(Version::Kept))?).map_err(write)?;
                }
            }
        }
        file.finish().map_err(write)
    }

    /// Reads a space; trained adapters go onto the device.
    pub fn load(device: Arc<dyn Device>, path: &Path) -> Result<Self, SpaceError> {
        let bytes = regular::read(path, LARGEST).map_err(|cause| SpaceError::Read { path: path.to_owned(), cause })?;
        let wrong = |reason: String| SpaceError::Format { path: path.to_owned(), reason };
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|error| wrong(error.to_string()))?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let value = |key: &str| metadata.get(key).map_or("", String::as_str);
        let (format, version) = (value("format"), value("version"));
        if format != FORMAT || !VERSIONS.contains(&version) {
            let known = VERSIONS.join(" or ");
            return Err(wrong(format!("its format is `{format}` {version}, not `{FORMAT}` {known}")));
        }
        let stored: Vec<StoredTower> =
            serde_json::from_str(value("towers")).map_err(|error| wrong(format!("`towers`: {error}")))?;
        let hubness = metadata.get("hubness").map(|json| serde_json::from_str::<StoredHubness>(json)).transpose();
        let hubness = hubness.map_err(|error| wrong(format!("`hubness`: {error}")))?;
        let shared = stored.first().map_or(0, |tower| tower.shared);
        if shared == 0 || stored.iter().any(|tower| tower.width == 0 || tower.shared != shared) {
            return Err(wrong("`towers`: widths must be above 0, and the shared one the same for all".to_owned()));
        }
        let inlets: Vec<Inlet> =
            stored.iter().map(|tower| Inlet { name: tower.name.clone(), width: tower.width }).collect();
        let tensors = SafeTensors::deserialize(&bytes).map_err(|error| wrong(error.to_string()))?;
        let mut source = Stored { tensors, tower: String::new(), wrong: None };
        let map = if stored.iter().all(|tower| tower.adapter == StoredKind::Projection) {
            Map::Projections(stored.iter().map(|tower| source.projection(tower)).collect())
        } else {
            let towers = stored.into_iter().map(shape).collect::<Option<Vec<_>>>();
            let towers = towers.ok_or_else(|| wrong("it has trained towers and others".to_owned()))?;
            Map::Network(Arc::new(Network::new(device, towers, shared, 1.0, &mut source)))
        };
        let hubness = hubness.map(|StoredHubness { alpha, neighbours }| {
            let bank = |tower: &Inlet| {
                source.begin(&tower.name);
                source.tensor("bank", &[0, shared]).0
            };
            Hubness { alpha, neighbours, shared, banks: inlets.iter().map(bank).collect() }
        });
        let sane = |hubness: &Hubness| {
            (0.0..=Hubness::MOST).contains(&hubness.alpha) && hubness.neighbours > 0 && inlets.len() > 1
        };
        if hubness.as_ref().is_some_and(|hubness| !sane(hubness)) {
            return Err(wrong("`hubness` has values that no fit gives".to_owned()));
        }
        match source.wrong {
            Some(reason) => Err(wrong(reason)),
            None => Ok(Self { towers: inlets, map, hubness }),
        }
    }
}

/// The values of a tensor to write.
enum Values<'a> {
    Here(&'a [f32]),
    OnDevice(&'a Network, &'a Parameter),
}

fn trained(tower: &Tower) -> StoredTower {
    let TowerSpec { name, width, adapter, .. } = tower.spec.clone();
    let Shape { inner, blocks, bias, shared, .. } = tower.adapter.shape();
    StoredTower { name, width, adapter: StoredKind::Trained(adapter), inner, blocks, shared, bias }
}

fn projected((tower, projection): (&Inlet, &Projection)) -> StoredTower {
    let inner = projection.kernel.as_ref().map_or(0, |kernel| kernel.anchors.len() / tower.width);
    let (adapter, shared) = (StoredKind::Projection, projection.width());
    StoredTower { name: tower.name.clone(), width: tower.width, adapter, inner, blocks: 0, shared, bias: true }
}

/// The shape of a trained tower; none of another.
fn shape(tower: StoredTower) -> Option<(Shape, TowerSpec)> {
    let StoredTower { name, width, adapter, inner, blocks, shared, bias } = tower;
    let StoredKind::Trained(adapter) = adapter else { return None };
    let shape = Shape { kind: adapter, width, inner, blocks, shared, bias };
    Some((shape, TowerSpec { name, width, adapter, blocks: Some(blocks) }))
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("names and numbers are JSON")
}
