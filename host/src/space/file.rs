//! `adapters.safetensors`: a fitted space.
//!
//! The tensors of a trained tower T are `T.blocks.I.norm.weight`, `.norm.bias`, `.up.weight` (inner x width),
//! `.up.bias`, `.down.weight` (width x inner), `.down.bias` for I from 0; then `T.norm.weight`, `.bias`,
//! `T.head.weight` (shared x width), `.bias` (no biases of Linears if the recipe says `bias = false`), all f32, named
//! and shaped as in PyTorch's `LayerNorm` and `Linear`. With gated blocks, `.up` has twice the outputs, the gate first.
//! A linear tower has only `T.head`, an identity tower no tensors. There is also `log_temperature`.
//!
//! A tower in closed form has `T.mean`, `T.scale` (width); `T.unit` (1) if latents are scaled to length 1 first; unless
//! it is linear, `T.anchors` (inputs x width), and either `T.tau` or `T.power` and `T.top` (1); and `T.head.weight`
//! (shared x inputs), `.bias`, unless the similarities are the embedding. Of a joint space, `T.weights` has a factor
//! for each part, and the tensors of part P are `T.P.mean` and so on. A trained tower that began as a closed form has
//! the tensors of a map before it, `T.front.mean` and so on. With a term against hubs, every tower has also `T.bank`
//! (items x shared), and the metadata `hubness`, a JSON of `{alpha, neighbours}`.
//!
//! The metadata has `format = fusemix-adapters`, `version` (1 for trained towers, 2 for the others), and `towers`, a
//! JSON list of `{name, width, adapter, inner, blocks, shared, bias}`, or for a joint space `parts`, a JSON list of
//! such lists. In PyTorch, without the term against hubs:
//!
//! ```python
//! import torch
//! from safetensors.torch import load_file
//! from torch.nn import functional as F
//!
//! def embed(x, path, tower):                      # x: n x width latents
//!     return part(x, within(load_file(path), tower))
//!
//! def within(tensors, name):
//!     return {k.removeprefix(name + "."): v for k, v in tensors.items() if k.startswith(name + ".")}
//!
//! def part(x, w, length=True):
//!     if "weights" in w:                          # a joint space
//!         return torch.cat([s * part(x, within(w, str(p))) for p, s in enumerate(w["weights"])], dim=1)
//!     if "front.mean" in w:                       # trained on from a closed form
//!         x = part(x, within(w, "front"), False)
//!     norm = lambda x, n: F.layer_norm(x, x.shape[-1:], w[n + ".weight"], w[n + ".bias"])
//!     linear = lambda x, n: F.linear(x, w[n + ".weight"], w.get(n + ".bias"))
//!     for i in range(sum(k.endswith("up.weight") for k in w)):
//!         b = f"blocks.{i}."
//!         inner = w[b + "down.weight"].shape[1]
//!         a, *gated = linear(norm(x, b + "norm"), b + "up").split(inner, dim=1)
//!         x = x + linear(F.gelu(a) * (gated[0] if gated else 1), b + "down")
//!     if "norm.weight" in w:                      # an MLP
//!         x = norm(x, "norm")
//!     if "mean" in w:                             # in closed form
//!         x = F.normalize(x) if "unit" in w else x
//!         x = F.normalize((x - w["mean"]) * w["scale"])
//!     if "tau" in w:                              # with a kernel
//!         x = ((x @ w["anchors"].T - 1) / w["tau"]).exp()
//!     if "power" in w:                            # relative to the nearest anchors
//!         x = x @ w["anchors"].T
//!         x = x.clamp(min=0) ** w["power"] * (x >= x.topk(int(w["top"])).values[:, -1:])
//!     if "head.weight" in w:                      # an identity tower has none
//!         x = linear(x, "head")
//!     return F.normalize(x, dim=1) if length else x
//! ```

use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::stored::{Stored, StoredKind, StoredTower, inlet};
use super::{Head, Hubness, Inlet, Input, Kernel, Map, Network, Projection, Similarity, Space, Tower, TowerSpec};
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
    #[error("the fit has no finite values in `{tensor}`: latents beyond about 1e18 overflow; scale them")]
    Infinite { tensor: String },
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// The term against hubs in the metadata.
#[derive(Serialize, Deserialize)]
struct StoredHubness {
    alpha: f32,
    neighbours: usize,
}

impl Space {
    /// Writes the space to `path`; the file appears once it is complete and synced.
    pub fn save(&self, path: &Path) -> Result<(), SpaceError> {
        let write = |cause| SpaceError::Write { path: path.to_owned(), cause };
        let plain = |network: &Network| network.fronts.is_empty();
        let closed = !matches!(&self.map, Map::Network(network) if plain(network)) || self.hubness.is_some();
        let towers = match &self.map {
            Map::Joint(parts) => {
                let parts: Vec<_> = parts.iter().map(|part| self.stored(&part.map)).collect();
                ("parts".to_owned(), json(&parts))
            }
            map => ("towers".to_owned(), json(&self.stored(map))),
        };
        let mut metadata = BTreeMap::from([
            ("format".to_owned(), FORMAT.to_owned()),
            ("version".to_owned(), VERSIONS[usize::from(closed)].to_owned()),
            towers,
        ]);
        let mut tensors = Vec::new();
        self.add_map(&self.map, "", &mut tensors);
        if let Some(Hubness { alpha, neighbours, shared, banks }) = &self.hubness {
            metadata.insert("hubness".to_owned(), json(&StoredHubness { alpha: *alpha, neighbours: *neighbours }));
            for (tower, bank) in self.towers.iter().zip(banks) {
                let shape = vec![bank.len() / shared, *shared];
                tensors.push((format!("{}.bank", tower.name), shape, Values::Here(bank.into())));
            }
        }
        let shapes: Vec<_> = tensors.iter().map(|(name, shape, _)| (name.clone(), shape.clone())).collect();
        let mut file = TensorFile::create(path, &shapes, &metadata, false).map_err(write)?;
        for (name, _, values) in tensors {
            let values = match values {
                Values::Here(values) => values,
                Values::OnDevice(network, parameter) => network.device.read(parameter.values(Version::Kept))?.into(),
            };
            if values.iter().any(|value| !value.is_finite()) {
                return Err(SpaceError::Infinite { tensor: name });
            }
            file.tensor(&values).map_err(write)?;
        }
        file.finish().map_err(write)
    }

    /// The towers of a map in the metadata.
    fn stored(&self, map: &Map) -> Vec<StoredTower> {
        match map {
            Map::Network(network) => {
                let front = |at: usize| Some(Box::new(projected((self.towers.get(at)?, network.fronts.get(at)?))));
                let towers = network.towers.iter().enumerate();
                towers.map(|(at, tower)| StoredTower { front: front(at), ..trained(tower) }).collect()
            }
            Map::Projections(projections) => self.towers.iter().zip(projections).map(projected).collect(),
            Map::Joint(_) => unreachable!("parts of a joint map are not joint: see Map::joint"),
        }
    }

    /// The tensors of a map, whose names have `part` after the tower's.
    fn add_map<'a>(&'a self, map: &'a Map, part: &str, tensors: &mut Vec<(String, Vec<usize>, Values<'a>)>) {
        match map {
            Map::Network(network) => {
                self.add_projections(&network.fronts, &format!("{part}front."), tensors);
                for (name, parameter) in network.parameters_of_part(part) {
                    tensors.push((name, parameter.shape.clone(), Values::OnDevice(network, parameter)));
                }
            }
            Map::Projections(projections) => self.add_projections(projections, part, tensors),
            Map::Joint(parts) => {
                let weights: Vec<f32> = parts.iter().map(|part| part.weight).collect();
                for tower in &self.towers {
                    let name = format!("{}.weights", tower.name);
                    tensors.push((name, vec![parts.len()], Values::Here(weights.clone().into())));
                }
                parts.iter().enumerate().for_each(|(number, part)| {
                    self.add_map(&part.map, &format!("{number}."), tensors);
                });
            }
        }
    }

    /// The tensors of maps in closed form.
    fn add_projections<'a>(
        &'a self,
        projections: &'a [Projection],
        part: &str,
        tensors: &mut Vec<(String, Vec<usize>, Values<'a>)>,
    ) {
        for (tower, projection) in self.towers.iter().zip(projections) {
            let mut add = |name: &str, shape: Vec<usize>, values: Cow<'a, [f32]>| {
                tensors.push((format!("{}.{part}{name}", tower.name), shape, Values::Here(values)));
            };
            let Projection { input: Input { unit, mean, scale }, kernel, head } = projection;
            if *unit {
                add("unit", vec![1], Cow::Borrowed(&[1.0]));
            }
            add("mean", vec![tower.width], mean.into());
            add("scale", vec![tower.width], scale.into());
            if let Some(Kernel { anchors, similarity }) = kernel {
                add("anchors", vec![anchors.len() / tower.width, tower.width], anchors.into());
                match *similarity {
                    Similarity::Exponential { tau } => add("tau", vec![1], vec![tau].into()),
                    Similarity::Cosine { power, top } => {
                        add("power", vec![1], vec![power].into());
                        add("top", vec![1], vec![top as f32].into());
                    }
                }
            }
            if let Some(Head { weight, bias }) = head {
                add("head.weight", vec![bias.len(), weight.len() / bias.len()], weight.into());
                add("head.bias", vec![bias.len()], bias.into());
            }
        }
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
        let key = if metadata.contains_key("parts") { "parts" } else { "towers" };
        let read = |json: &str| -> Result<Vec<Vec<StoredTower>>, serde_json::Error> {
            if key == "parts" { serde_json::from_str(json) } else { Ok(vec![serde_json::from_str(json)?]) }
        };
        let mut parts = read(value(key)).map_err(|error| wrong(format!("`{key}`: {error}")))?;
        let hubness = metadata.get("hubness").map(|json| serde_json::from_str::<StoredHubness>(json)).transpose();
        let hubness = hubness.map_err(|error| wrong(format!("`hubness`: {error}")))?;
        let inlets: Vec<Inlet> = parts.first().into_iter().flatten().map(inlet).collect();
        let tensors = SafeTensors::deserialize(&bytes).map_err(|error| wrong(error.to_string()))?;
        let mut source = Stored::new(tensors);
        let map = match key {
            "parts" => source.joint(&device, parts),
            _ => source.map(&device, parts.swap_remove(0)),
        };
        let map = map.map_err(wrong)?;
        let shared = map.width();
        let hubness = hubness.map(|StoredHubness { alpha, neighbours }| {
            let bank = |tower: &Inlet| {
                source.begin(&tower.name);
                source.tensor("bank", &[0, shared]).0
            };
            Hubness { alpha, neighbours, shared, banks: inlets.iter().map(bank).collect() }
        });
        let sane = |hubness: &Hubness| {
            let Hubness { alpha, neighbours, banks, .. } = hubness;
            let filled = banks.iter().all(|bank| !bank.is_empty());
            (0.0..=Hubness::MOST).contains(alpha) && *neighbours > 0 && inlets.len() > 1 && filled
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
    Here(Cow<'a, [f32]>),
    OnDevice(&'a Network, &'a Parameter),
}

fn trained(tower: &Tower) -> StoredTower {
    let TowerSpec { name, width, adapter, .. } = tower.spec.clone();
    let Shape { inner, blocks, bias, shared, .. } = tower.adapter.shape();
    StoredTower { name, width, adapter: StoredKind::Trained(adapter), inner, blocks, shared, bias, front: None }
}

fn projected((tower, projection): (&Inlet, &Projection)) -> StoredTower {
    let inner = projection.kernel.as_ref().map_or(0, |kernel| kernel.anchors.len() / tower.width);
    let (adapter, shared) = (StoredKind::Projection, projection.width());
    let name = tower.name.clone();
    StoredTower { name, width: tower.width, adapter, inner, blocks: 0, shared, bias: true, front: None }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("names and numbers are JSON")
}
